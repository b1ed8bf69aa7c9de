# SPDX-License-Identifier: Apache-2.0
# cmake -DPAGE=index.html -DOUT=page_data.c -P embed.cmake: the page as C arrays, as it is and
# gzipped, with its ETag and the CSP hashes of its one script and its one style.

# base64 of a SHA-256 given in hex: 32 bytes are ten groups of three and one of two.
function(base64_of_sha256 hex out)
  set(alphabet "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
  string(APPEND hex "00") # pads the last group; its fourth digit becomes '='
  set(text "")
  foreach(at RANGE 0 60 6)
    string(SUBSTRING ${hex} ${at} 6 group)
    foreach(shift 18 12 6 0)
      math(EXPR index "(0x${group} >> ${shift}) & 63")
      string(SUBSTRING ${alphabet} ${index} 1 digit)
      string(APPEND text ${digit})
    endforeach()
  endforeach()
  string(SUBSTRING ${text} 0 43 text)
  set(${out} "${text}=" PARENT_SCOPE)
endfunction()

# The text between <name> and </name>; the page has exactly one of each.
function(element_hash page name out)
  string(FIND "${page}" "<${name}>" begin)
  string(FIND "${page}" "</${name}>" end)
  if(begin LESS 0 OR end LESS 0)
    message(FATAL_ERROR "${PAGE}: no <${name}> element")
  endif()
  string(LENGTH "<${name}>" skip)
  math(EXPR begin "${begin} + ${skip}")
  math(EXPR length "${end} - ${begin}")
  string(SUBSTRING "${page}" ${begin} ${length} content)
  string(SHA256 hex "${content}")
  base64_of_sha256(${hex} hash)
  set(${out} "sha256-${hash}" PARENT_SCOPE)
endfunction()

function(c_bytes file out)
  file(READ ${file} hex HEX)
  string(REGEX REPLACE "(................................)" "\\1\n    " hex "${hex}")
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," hex "${hex}")
  set(${out} "${hex}" PARENT_SCOPE)
endfunction()

file(READ ${PAGE} page)
# Brackets and semicolons mean lists to CMake; as a quoted string they stay what they are.
element_hash("${page}" script script_source)
element_hash("${page}" style style_source)
file(SHA256 ${PAGE} digest)
string(SUBSTRING ${digest} 0 16 etag)

file(ARCHIVE_CREATE OUTPUT ${OUT}.gz PATHS ${PAGE} FORMAT raw COMPRESSION GZip COMPRESSION_LEVEL 9)
c_bytes(${PAGE} plain)
c_bytes(${OUT}.gz gzip)
# The time of compression, bytes 4 to 7, is no part of the page: the same page gives the same build.
string(SUBSTRING "${gzip}" 0 20 magic)
string(SUBSTRING "${gzip}" 40 -1 rest)
set(gzip "${magic}0x00,0x00,0x00,0x00,${rest}")

file(WRITE ${OUT} "/* SPDX-License-Identifier: Apache-2.0 */
/* Made from dashboard/index.html by embed.cmake. */
#include \"page_data.h\"

const unsigned char page_plain[] = {
    ${plain}
};
const size_t page_plain_bytes = sizeof page_plain;
const unsigned char page_gzip[] = {
    ${gzip}
};
const size_t page_gzip_bytes = sizeof page_gzip;
const char page_etag[] = \"${etag}\";
const char page_script_source[] = \"${script_source}\";
const char page_style_source[] = \"${style_source}\";
")

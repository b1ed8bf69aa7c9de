# SPDX-License-Identifier: Apache-2.0
# cmake -DSOURCES=dashboard -DDYGRAPHS=dir -DOUT=page_data.c -P embed.cmake: the page in one document,
# as C arrays, as it is and gzipped, with its ETag and the CSP hashes of its scripts and its style.
# Beside page_data.c lies the document itself, page_data.c.html.

cmake_minimum_required(VERSION 3.25)

# In the order of their imports: a module is put after all that it imports from.
set(modules exact otlp format dom store lineage stream status work verdict flow ledger charts traces logs
            config previous cost main)
set(gzip_bytes_max 153600)

# A file's text. Nothing of it is interpreted: in a quoted string, brackets and semicolons stay.
function(read_text path out)
  if(NOT EXISTS ${path})
    message(FATAL_ERROR "the page: ${path} is not there")
  endif()
  file(READ ${path} text)
  set(${out} "${text}" PARENT_SCOPE)
endfunction()

# Each import of a module must name one that stands before it, and what that one exports.
function(check_imports module source before)
  string(REGEX MATCHALL "import {[^}]*} from \"\\./[a-z]+\\.js\"" imports "${source}")
  string(REGEX MATCHALL "\nimport " lines "\n${source}")
  list(LENGTH imports understood)
  list(LENGTH lines written)
  if(NOT understood EQUAL written)
    message(FATAL_ERROR "${module}.js: an import is not of the form import { names } from \"./module.js\"")
  endif()
  foreach(import IN LISTS imports)
    string(REGEX REPLACE "import {([^}]*)} from \"\\./([a-z]+)\\.js\"" "\\1" names "${import}")
    set(from ${CMAKE_MATCH_2})
    if(NOT from IN_LIST before)
      message(FATAL_ERROR "${module}.js imports from ${from}.js, which is not among the modules before it: ${before}")
    endif()
    string(REGEX MATCHALL "[A-Za-z_0-9]+" names "${names}")
    foreach(name IN LISTS names)
      if(NOT exports_${from} MATCHES ",${name},")
        message(FATAL_ERROR "${module}.js imports ${name} from ${from}.js, which does not export it")
      endif()
    endforeach()
  endforeach()
endfunction()

# All modules as one: without their imports and the word export. Names are unique over all of them,
# or the browser and tests/page would refuse the whole.
function(join_modules out)
  set(joined "\n")
  set(before "")
  foreach(module IN LISTS modules)
    read_text(${SOURCES}/${module}.js source)
    check_imports(${module} "${source}" "${before}")
    string(REGEX MATCHALL "\nexport (async )?(const|let|class|function)[* ]+[A-Za-z_0-9]+" found "${source}")
    list(TRANSFORM found REPLACE ".*[* ]" "")
    list(JOIN found ",," found)
    set(exports_${module} ",${found},")
    string(REGEX REPLACE "import {[^}]*} from \"[^\"]*\";\n" "" source "${source}")
    string(REGEX REPLACE "\nexport " "\n" source "${source}")
    string(APPEND joined "${source}")
    list(APPEND before ${module})
  endforeach()
  set(${out} "${joined}" PARENT_SCOPE)
endfunction()

# The library as Debian has it, but that it writes text where it would write markup, and names no
# address: its licence is in the page.
function(read_library out)
  read_text(${DYGRAPHS}/dygraph.min.js library)
  string(REPLACE ".innerHTML=" ".textContent=" library "${library}")
  string(REGEX REPLACE "^/\\*![^\n]*\n" "" library "${library}")
  string(REGEX REPLACE "\n//# sourceMappingURL=[^\n]*" "" library "${library}")
  if(library MATCHES "innerHTML|</script|https?:")
    message(FATAL_ERROR "${DYGRAPHS}/dygraph.min.js holds what the page must not: ${CMAKE_MATCH_0}")
  endif()
  set(${out} "${library}" PARENT_SCOPE)
endfunction()

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

# What CSP calls the content of an element.
function(csp_hash content out)
  string(SHA256 hex "${content}")
  base64_of_sha256(${hex} hash)
  set(${out} "'sha256-${hash}'" PARENT_SCOPE)
endfunction()

function(c_bytes file out)
  file(READ ${file} hex HEX)
  string(REGEX REPLACE "(................................)" "\\1\n    " hex "${hex}")
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," hex "${hex}")
  set(${out} "${hex}" PARENT_SCOPE)
endfunction()

read_text(${SOURCES}/index.html page)
read_text(${SOURCES}/style.css style)
read_text(${SOURCES}/dygraphs-licence.txt licence)
read_text(${DYGRAPHS}/dygraph.min.css library_style)
string(REGEX REPLACE "/\\*# sourceMappingURL=[^*]*\\*/" "" library_style "${library_style}")
set(style "${library_style}\n${style}")
read_library(library)
join_modules(script)
csp_hash("${style}" style_source)
csp_hash("${library}" library_source)
csp_hash("${script}" script_source)
string(REPLACE "@LICENCE@" "${licence}" page "${page}")
string(REPLACE "@STYLE@" "${style}" page "${page}")
string(REPLACE "@LIBRARY@" "${library}" page "${page}")
string(REPLACE "@SCRIPT@" "${script}" page "${page}")
set(PAGE ${OUT}.html)
file(WRITE ${PAGE} "${page}")
file(SHA256 ${PAGE} digest)
string(SUBSTRING ${digest} 0 16 etag)

file(ARCHIVE_CREATE OUTPUT ${OUT}.gz PATHS ${PAGE} FORMAT raw COMPRESSION GZip COMPRESSION_LEVEL 9)
file(SIZE ${OUT}.gz gzip_bytes)
if(gzip_bytes GREATER gzip_bytes_max)
  message(FATAL_ERROR "the page is ${gzip_bytes} bytes gzipped, more than ${gzip_bytes_max}")
endif()
c_bytes(${PAGE} plain)
c_bytes(${OUT}.gz gzip)
# The time of compression, bytes 4 to 7, is no part of the page: the same page gives the same build.
string(SUBSTRING "${gzip}" 0 20 magic)
string(SUBSTRING "${gzip}" 40 -1 rest)
set(gzip "${magic}0x00,0x00,0x00,0x00,${rest}")

file(WRITE ${OUT} "/* SPDX-License-Identifier: Apache-2.0 */
/* Made from dashboard/ by embed.cmake. */
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
const char page_script_source[] = \"${library_source} ${script_source}\";
const char page_style_source[] = \"${style_source}\";
")

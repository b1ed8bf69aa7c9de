/* SPDX-License-Identifier: Apache-2.0 */
/* What embed.cmake makes of dashboard/. */
#ifndef SIDECAR_PAGE_DATA_H
#define SIDECAR_PAGE_DATA_H

#include <stddef.h>

extern const unsigned char page_plain[];
extern const size_t page_plain_bytes;
extern const unsigned char page_gzip[];
extern const size_t page_gzip_bytes;
extern const char page_etag[];      /* of the plain form, without quotes */
extern const char page_script_source[]; /* CSP sources, quoted: hashes of the scripts, of the style */
extern const char page_style_source[];

#endif

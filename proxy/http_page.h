/*
 * http_page.h - the page that HTTP shows: page.html, which the assembler puts into the program.
 */
#ifndef PGASIDE_HTTP_PAGE_H
#define PGASIDE_HTTP_PAGE_H

#include "bytes.h"

#define HTTP_PAGE_NONCE 32u /* characters */

/* The page, with this nonce for its style and its script. */
void http_page_write(struct bytes *out, const char *nonce);

#endif

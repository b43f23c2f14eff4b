/*
 * json.h - text as JSON has it.
 */
#ifndef PGASIDE_JSON_H
#define PGASIDE_JSON_H

#include "bytes.h"

/* "text", with its quotes; what is not UTF-8 becomes U+FFFD. */
void json_put_string(struct bytes *out, struct slice text);

#endif

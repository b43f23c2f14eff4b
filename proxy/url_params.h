/*
 * url_params.h - the parameters of a connection URL, one after the other.
 *
 * For the URL's own files only. The same walk serves the query of a URL and a keyword string.
 */
#ifndef PGASIDE_URL_PARAMS_H
#define PGASIDE_URL_PARAMS_H

#include "url.h"

enum {
	URL_KEY_SIZE = 40,     /* of a folded key */
	URL_TEXT_LIMIT = 65536 /* bytes of anything that is written */
};

/* One parameter as it stands in the text. */
struct url_param {
	struct slice raw; /* all of it */
	struct slice key;
	struct slice value;
	char folded[URL_KEY_SIZE]; /* the key in small letters, without '_'; "" if it is too long */
};

/* The next parameter of `*rest`, which moves on. False at the end. Of a keyword string that is
 * broken the walk ends early and `*rest` is not empty. */
bool url_next_param(enum url_form form, struct slice *rest, struct url_param *p);
/* Appends the value as it is meant. False when it has a zero byte in it, or without memory. */
bool url_decode_value(enum url_form form, struct slice raw, struct bytes *out);
/* What was written, as a string of its own; the bytes are wiped. NULL without memory. */
char *url_take_text(struct bytes *b);
/* The decoded value of the last parameter of that folded name; NULL when there is none, or without
 * memory. */
char *url_param_value(const struct url *u, const char *folded);
/* What the connection to the server must be secured with, as libpq's sslmode; "" = it is not said.
 * False as url_write_upstream(). */
bool url_sslmode(const struct url *u, const char **sslmode, struct err *e);
/* The libpq sslmode that `value` stands for; NULL when it stands for none. */
const char *url_sslmode_named(const char *value);

#endif

/*
 * url.h - the connection URLs that tools have in DATABASE_URL, and what `pgaside run` makes of
 * them.
 *
 * Pure text: nothing is resolved, opened or asked. Such a URL is not one of libpq's: it may carry
 * parameters that only the tool's driver knows, a driver in its scheme, percent signs that encode
 * nothing. So two things are made from it. For the client, the same text with only those parts
 * changed that name the server and say how to secure the way to it. For the upstream, a keyword
 * string with only what libpq knows.
 *
 * Understood are postgres://, postgresql:// and their kin with a driver (postgresql+psycopg2://),
 * jdbc: and r2dbc: before them, and libpq's own keyword strings.
 */
#ifndef PGASIDE_URL_H
#define PGASIDE_URL_H

#include <stdbool.h>
#include <stdint.h>

#include "bytes.h"
#include "err.h"

enum url_form {
	URL_PLAIN,
	URL_JDBC, /* and r2dbc */
	URL_KEYWORDS
};

enum url_value {
	URL_HOST, /* like libpq's: may be several, comma separated; a socket directory */
	URL_PORT,
	URL_USER,
	URL_PASSWORD,
	URL_DATABASE,
	URL_VALUES
};

struct url {
	enum url_form form;
	char *text;		  /* owned; the slices below are parts of it, as they stand there */
	struct slice head;	  /* up to and with "//", or as much of that as there is */
	struct slice userinfo;	  /* without its '@' */
	struct slice path;	  /* with its '/' */
	struct slice query;	  /* without its '?'; of a keyword string all of it */
	struct slice fragment;	  /* with its '#' */
	char *values[URL_VALUES]; /* owned, decoded; "" = not said */
};

/*
 * Copies and reads `text`. False when it is no such URL; the text of `e` is the end of a sentence
 * ("is not ..."), to be put behind the name of where the URL comes from, and has nothing of the URL
 * in it but its scheme.
 */
bool url_parse(struct url *u, const char *text, struct err *e);
/* Wipes what may be a password. Also after a failure, and twice. */
void url_release(struct url *u);

/* All hosts and ports are the same, whatever the spelling of loopback and of the default port. */
bool url_same_server(const struct url *a, const struct url *b);
/* Whether the driver takes a password from the URL. False without a user to go with it, and for
 * JDBC, where a password that is not in the URL is given beside it. */
bool url_carries_password(const struct url *u);

/*
 * Appends the URL for the command: host and port are 127.0.0.1 and `port`, and there is nothing in
 * it about TLS, GSS, or the choice among servers; if it asked for TLS in some way, it says
 * sslmode=disable instead, which every driver understands. With `password` (NULL = leave it) that
 * one stands in it, if url_carries_password(). False without memory.
 */
bool url_write_client(
	const struct url *u, uint16_t port, const char *password, struct bytes *out, struct err *e);

/*
 * Appends a keyword string for libpq that leads to the server. What the URL leaves open comes from
 * the PG* variables of `environment`, as libpq would have it (NULL = from nowhere), but for user,
 * password and database. TLS parameters of other drivers are translated; false with `e` as for
 * url_parse() when one cannot be.
 */
bool url_write_upstream(
	const struct url *u, char *const *environment, struct bytes *out, struct err *e);

/*
 * The same from the text of a URL, as an owned string. A keyword string is libpq's own and is
 * copied and completed: libpq complains about what it does not know. NULL with `e` as for
 * url_parse().
 */
char *url_to_upstream(const char *text, char *const *environment, struct err *e);

/*
 * Takes a key that libpq may be too old to know out of a keyword string, in which blanks take its
 * place. Returns its value, owned; NULL when it is not there, or without memory.
 */
char *url_take_keyword(char *keywords, const char *key);

/*
 * A keyword string, completed by user, password and password file of PGUSER, PGPASSWORD and
 * PGPASSFILE where it does not have its own. Owned; NULL without memory.
 */
char *url_add_identity(const char *keywords, char *const *environment);

#endif

/*
 * passfile.h - a password from the text of a .pgpass file.
 *
 * Pure. The format is that of the PostgreSQL documentation, "The Password File": lines of
 * host:port:database:user:password, '*' for any, '\' before ':' and '\', '#' for comments. The
 * first line that fits counts.
 */
#ifndef PGASIDE_PASSFILE_H
#define PGASIDE_PASSFILE_H

/* For whom. A unix socket in the default directory is "localhost". */
struct passfile_key {
	const char *host, *port, *database, *user;
};

/* Owned by the caller, who wipes it. NULL when no line fits, or without memory. */
char *passfile_find(const char *text, const struct passfile_key *key);

#endif

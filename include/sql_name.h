/*
 * sql_name.h - names as PostgreSQL understands them.
 *
 * A name in a text (Foo, "foo", U&"f\006fo" UESCAPE '\') becomes the bytes that the catalog would
 * hold: unquoted ASCII letters in lower case, quotes and escapes removed, cut to 63 bytes at the
 * border of a character. Two names are the same when those bytes are. Values: nothing to release.
 *
 * Knows nothing of search_path: an unqualified name stays so. Letters beyond ASCII are not folded;
 * PostgreSQL folds them only in single-byte server encodings.
 */
#ifndef PGASIDE_SQL_NAME_H
#define PGASIDE_SQL_NAME_H

#include "bytes.h"
#include "sql_lexer.h"

#define SQL_NAME_MAX 63	 /* NAMEDATALEN - 1 */
#define SQL_NAME_PARTS 3 /* catalog.schema.relation */

struct sql_name {
	char text[SQL_NAME_MAX + 1]; /* terminated, and without a zero byte inside */
	size_t len;
};

/* catalog.schema.relation, schema.relation or relation; the last part is the relation. */
struct sql_path {
	struct sql_name parts[SQL_NAME_PARTS];
	size_t n_parts;
};

/* One name. False when the text is not exactly one, when an escape in it is wrong, or when the
 * result depends on an encoding that is not UTF-8 (an escape beyond ASCII, a cut among bytes beyond
 * ASCII). */
bool sql_name_decode(struct slice text, struct sql_dialect dialect, struct sql_name *out);
/* One to three names with dots between them, whitespace and comments allowed. False as above. */
bool sql_path_decode(struct slice text, struct sql_dialect dialect, struct sql_path *out);

bool sql_name_equal(const struct sql_name *a, const struct sql_name *b);
bool sql_path_equal(const struct sql_path *a, const struct sql_path *b);

/* "name", quoted always, inner quotes doubled. */
void sql_name_write(struct bytes *out, const struct sql_name *name);
/* "schema"."relation": the canonical text of a qualified name. */
void sql_path_write(struct bytes *out, const struct sql_path *path);

#endif

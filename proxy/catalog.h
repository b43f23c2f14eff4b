/*
 * catalog.h - pieces of questions to the catalog, and their operators by their full names.
 *
 * A schema that stands before pg_catalog in the search_path may have an operator of its own, which
 * would be called with the rights of whoever migrates. It is not called by what is written with
 * these. They all bind alike and more tightly than =, so what is left of || needs parentheses.
 */
#ifndef PGASIDE_CATALOG_H
#define PGASIDE_CATALOG_H

#define EQ " OPERATOR(pg_catalog.=) "
#define NE " OPERATOR(pg_catalog.<>) "
#define LT " OPERATOR(pg_catalog.<) "
#define LE " OPERATOR(pg_catalog.<=) "
#define GE " OPERATOR(pg_catalog.>=) "
#define GT " OPERATOR(pg_catalog.>) "
#define CAT " OPERATOR(pg_catalog.||) "

/* Somebody holds the lock that every concurrent build holds on its table: that of pg_index i. */
#define SOMEBODY_BUILDS                                                                            \
	"EXISTS (SELECT 1 FROM pg_catalog.pg_locks l WHERE l.locktype" EQ "'relation' AND "        \
	"l.granted AND l.relation" EQ "i.indrelid AND l.mode" EQ "'ShareUpdateExclusiveLock' AND " \
	"l.database" EQ "(SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname" EQ           \
	"pg_catalog.current_database()))"

/* The question which server processes sit in a transaction with a snapshot, but for that one: their
 * numbers, in one row. */
#define ASIDE_SNAPSHOTS_SQL(self)                                                            \
	"SELECT pg_catalog.string_agg(s.pid::pg_catalog.text, ' ') "                         \
	"FROM pg_catalog.pg_stat_activity s WHERE s.backend_xmin IS NOT NULL AND s.state" EQ \
	"'idle in transaction' AND s.datname" EQ "pg_catalog.current_database() AND s.pid" NE self

/*
 * A number that tells an index of pg_index i and pg_class x from others of its table, but not from
 * the one that REINDEX CONCURRENTLY puts in its place: its name, and how it is defined. Places in
 * the text of an expression are no part of it.
 */
#define INDEX_LIKENESS(i, x)                                                                      \
	"pg_catalog.hashtextextended(" x ".relname::pg_catalog.text" CAT "' '" CAT x              \
	".relam::pg_catalog.text" CAT "' '" CAT "COALESCE(" x                                     \
	".reloptions::pg_catalog.text, '')" CAT "pg_catalog.regexp_replace(("                     \
	"pg_catalog.to_jsonb(" i ") OPERATOR(pg_catalog.-) '{indexrelid,indisvalid,indisready,"   \
	"indislive,indcheckxmin,indisclustered,indisreplident}'::pg_catalog.text[])::pg_catalog." \
	"text, "                                                                                  \
	"':location -?[0-9]+', '', 'g'), 0)"
#define LIKENESS_SIZE 24u /* of that as text */

/* The valid index of a table that has that likeness. */
#define INDEX_ALIKE_SQL(table, likeness)                                                        \
	"SELECT i.indexrelid FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class x ON x.oid" EQ \
	"i.indexrelid WHERE i.indrelid" EQ table                                                \
	"::pg_catalog.oid AND i.indisvalid AND " INDEX_LIKENESS("i", "x") EQ likeness           \
		"::pg_catalog.int8"

#endif

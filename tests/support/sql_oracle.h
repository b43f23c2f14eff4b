/*
 * sql_oracle.h - our lexer and splitter compared with libpg_query, which is the grammar of
 * PostgreSQL 15 itself.
 *
 * What libpg_query refuses is not compared, nor what is not UTF-8. Where it is known to differ from
 * the server it is not believed:
 * - its scanner does not continue a literal over a comment (the server does): such texts are
 * skipped;
 * - it ends U&'' and U&"" too early: only their beginning is compared;
 * - it takes \v for a character of its own, as servers before 17 do, where no statement can hold
 * one;
 * - it knows neither 1_000 nor standard_conforming_strings = off, and refuses or misreads them;
 * - its splitter by tokens cuts BEGIN ATOMIC bodies and loses pieces that begin with no keyword:
 * the splitter by the parser is used.
 */
#ifndef PGASIDE_SQL_ORACLE_H
#define PGASIDE_SQL_ORACLE_H

#include "slice.h"

struct sql_oracle {
	size_t tokens;	   /* compared so far */
	size_t statements; /* compared so far */
	size_t asides;	   /* of these */
	size_t controls;   /* of these */
	char why[1000];	   /* the first difference, or empty */
};

/* Each adds to the counts and returns false, with the reason, at the first difference. The text may
 * hold anything; with a zero byte in it there is nothing to compare. */
bool sql_oracle_tokens(struct sql_oracle *o, struct slice text);
/* The pieces of the text; and of each its kind, its details and its plain form. */
bool sql_oracle_statements(struct sql_oracle *o, struct slice text);

#endif

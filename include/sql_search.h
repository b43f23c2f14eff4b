/*
 * sql_search.h - the cheap question that spares nearly every text the lexer.
 */
#ifndef PGASIDE_SQL_SEARCH_H
#define PGASIDE_SQL_SEARCH_H

#include "slice.h"

/* Whether the bytes "concurrently" occur anywhere in the text, in any case of letters: in a string
 * or a comment, too. One pass, several bytes at a time. */
bool sql_search_concurrently(struct slice text);

#endif

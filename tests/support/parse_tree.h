/*
 * parse_tree.h - what a parse tree of libpg_query, as JSON, says about the statements that concern
 * us.
 *
 * The tree is not read but searched for the text that it must have; keys and strings of others
 * cannot be taken for it, because a quote inside a JSON string is escaped.
 */
#ifndef PGASIDE_PARSE_TREE_H
#define PGASIDE_PARSE_TREE_H

#include "statement.h"

/* What the only statement of the tree is; STATEMENT_OTHER when it does not concern us. */
enum statement_kind parse_tree_kind(const char *json);
/* Whether names and options of a statement of that kind are the same in the tree. Names that only
 * the grammar takes, or that we leave to the server, agree with anything. */
bool parse_tree_agrees(const char *json, const struct statement *s);

#endif

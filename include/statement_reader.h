/*
 * statement_reader.h - reads one statement token by token.
 *
 * The reader holds the token at hand and the one behind it; nothing is ever read twice. Functions
 * that return bool consume what they ask for when it is there and nothing when it is not, those
 * with a result excepted, which may stop in the middle.
 */
#ifndef PGASIDE_STATEMENT_READER_H
#define PGASIDE_STATEMENT_READER_H

#include "statement.h"

struct reader {
	struct sql_lexer lexer;
	struct slice text; /* borrowed: that of the statement */
	struct sql_dialect dialect;
	struct sql_token now;
	struct sql_token next;
};

void reader_init(struct reader *r, struct slice text, struct sql_dialect dialect);
void reader_advance(struct reader *r);
bool reader_at_end(const struct reader *r);
/* Whether there is a token at hand: neither the end nor an error. */
bool reader_at_token(const struct reader *r);
bool reader_at_word(const struct reader *r, const char *word);
bool reader_at_char(const struct reader *r, char c);
/* At a string of characters, not of bits, in any spelling. */
bool reader_at_string(const struct reader *r);
bool reader_accept_word(struct reader *r, const char *word);
bool reader_accept_char(struct reader *r, char c);
/* Both or neither: the first alone may be a name. */
bool reader_accept_words(struct reader *r, const char *first, const char *second);
struct slice reader_between(const struct reader *r, size_t start, size_t end);
/* A name with the UESCAPE clause that may belong to it. */
bool reader_name(struct reader *r, struct slice *out);
/* Names with dots between them. */
bool reader_path(struct reader *r, struct slice *out);

#endif

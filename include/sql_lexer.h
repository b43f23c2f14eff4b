/*
 * sql_lexer.h - cuts SQL text into the tokens that PostgreSQL's own lexer would see.
 *
 * Knows the lexical rules of PostgreSQL 14 to 18 (documentation chapter "Lexical Structure") and
 * nothing of the grammar: a keyword is a word like any other. It is flat: no recursion, no
 * allocation, and time linear in the text whatever the text holds. The text is borrowed, untrusted
 * and not terminated.
 *
 * Where it cannot be sure what the server would see it says so with SQL_TOKEN_ERROR, after which
 * there is nothing more: an unterminated literal or comment, a zero-length quoted name, a zero
 * byte, a spelling that server versions cut differently, or any byte from 0x80 up in a client
 * encoding whose second bytes may look like ASCII. Such a text belongs to the server, unread.
 */
#ifndef PGASIDE_SQL_LEXER_H
#define PGASIDE_SQL_LEXER_H

#include "slice.h"

/* What a byte below 0x80 is worth in a client_encoding. */
enum sql_encoding {
	SQL_ENCODING_UTF8,	   /* it is ASCII, and the rest is UTF-8 */
	SQL_ENCODING_SINGLE_BYTE,  /* it is ASCII, and each of the rest a character: LATIN1, .. */
	SQL_ENCODING_ASCII_SAFE,   /* it is ASCII, the rest is something else */
	SQL_ENCODING_ASCII_UNSAFE, /* it may be half a character: SJIS, BIG5, GBK, UHC, .. */
};

/* What the session says about how its texts are to be read; both values come from
 * ParameterStatus. */
struct sql_dialect {
	enum sql_encoding encoding;
	bool backslash_in_strings; /* standard_conforming_strings is off */
};

/* From a client_encoding as ParameterStatus names it; a name unknown here is unsafe. */
enum sql_encoding sql_encoding_of(struct slice client_encoding);

enum sql_token_kind {
	SQL_TOKEN_END,
	SQL_TOKEN_ERROR,	  /* from here on nothing is sure */
	SQL_TOKEN_WORD,		  /* an unquoted name, or a keyword */
	SQL_TOKEN_QUOTED_NAME,	  /* ".." */
	SQL_TOKEN_UNICODE_NAME,	  /* U&"..", without the UESCAPE that may follow */
	SQL_TOKEN_STRING,	  /* '..'; N'..' is the word N and then this */
	SQL_TOKEN_ESCAPE_STRING,  /* E'..', and '..' where backslashes count */
	SQL_TOKEN_UNICODE_STRING, /* U&'..', without the UESCAPE that may follow */
	SQL_TOKEN_BIT_STRING,	  /* B'..' and X'..' */
	SQL_TOKEN_DOLLAR_STRING,  /* $tag$..$tag$ */
	SQL_TOKEN_INTEGER,	  /* 1, 1_000, 0x1f, 0o17, 0b1 */
	SQL_TOKEN_DECIMAL,	  /* 1., .5, 1e9 */
	SQL_TOKEN_PARAMETER,	  /* $1 */
	SQL_TOKEN_OPERATOR,	  /* one that is not a single character of the grammar's own */
	SQL_TOKEN_CHAR,		  /* any other single byte: punctuation, + - * / < > = % ^ */
	SQL_TOKEN_SYMBOL,	  /* :: := .. */
};

struct sql_token {
	enum sql_token_kind kind;
	size_t start; /* offsets into the text: [start, end) */
	size_t end;
};

struct sql_lexer {
	struct slice text; /* borrowed while tokens are asked for */
	struct sql_dialect dialect;
	size_t at;
	size_t signs_end; /* up to here only single + and - follow */
	bool failed;
};

/* Reads the text once to see whether it can be lexed at all (zero bytes, unsafe encoding). */
void sql_lexer_init(struct sql_lexer *l, struct slice text, struct sql_dialect dialect);
/* The next token behind whitespace and comments. END has start and end at the end of the text and
 * is given for ever; so is ERROR, which reaches from what could not be read to the end. */
struct sql_token sql_lexer_next(struct sql_lexer *l);

/* The bytes of a token of that text. */
struct slice sql_token_text(struct slice text, struct sql_token t);
/* Whether it is this unquoted word; `word` is in lower case. */
bool sql_token_is_word(struct slice text, struct sql_token t, const char *word);
/* Whether it is this single character. */
bool sql_token_is_char(struct slice text, struct sql_token t, char c);
/* Whether it could be a name: a word or a quoted one. */
bool sql_token_is_name(struct sql_token t);

#endif

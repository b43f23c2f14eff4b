/*
 * config_table.h - the table of settings, and how the text of a value is read.
 *
 * Inside the configuration only: config.c walks it for files, environment, flags and help, tests
 * compare it with the sample file. The rest of the program sees struct config.
 */
#ifndef PGASIDE_CONFIG_TABLE_H
#define PGASIDE_CONFIG_TABLE_H

#include "config.h"

enum setting_kind {
	SETTING_STRING,
	SETTING_PORT,
	SETTING_NUMBER,
	SETTING_SIZE, /* bytes; kB, MB and GB are powers of 1024, as in PostgreSQL */
	SETTING_TIME,
	SETTING_BOOL,
	SETTING_WORD,	    /* one of `words`, kept as its value */
	SETTING_WORD_STRING /* one of `words`, kept as text */
};

struct setting_word {
	const char *name; /* NULL ends the list */
	unsigned value;
};

struct setting {
	const char *name;
	enum setting_kind kind;
	bool fixed;		  /* cannot change while pgaside runs */
	size_t offset;		  /* of the field in struct config */
	const char *initial;	  /* the default, as it would stand in the file */
	uint64_t lowest, highest; /* in the unit of the field */
	unsigned plain_ms;	  /* TIME: what a number without unit counts */
	unsigned field_ms;	  /* TIME: what the field counts */
	const struct setting_word *words;
	const char *placeholder; /* STRING: what `--help` shows for the value */
	const char *help;
};

extern const struct setting setting_table[];
extern const size_t setting_count;

/* NULL when there is none of that name; `len` bytes count. */
const struct setting *setting_find(const char *name, size_t len);
/* The value as it might stand in the file, times in ms. Returns `out`. */
const char *setting_text(const struct setting *s, const struct config *c, char *out, size_t size);
bool setting_is_same(const struct setting *s, const struct config *a, const struct config *b);
/* Copies the field; false without memory. */
bool setting_copy(const struct setting *s, struct config *to, const struct config *from);
/* Reads `value` into the field. False when it is bad; the text of `e` begins with `place`. */
bool setting_set(struct config *c, const struct setting *s, const char *value, const char *place,
	struct err *e);

#endif

/*
 * err.h - why something failed, in the words that both the log and the client get.
 *
 * A value: it owns its text and needs no release. Functions that can fail for a reason outside this
 * program return bool and take a `struct err *` last; they fill it exactly when they return false.
 */
#ifndef PGASIDE_ERR_H
#define PGASIDE_ERR_H

#include <stdbool.h>
#include <stdint.h>

struct err {
	char sqlstate[6]; /* five characters and a zero byte */
	char text[506];	  /* one line, terminated, cut if longer */
};

/* Fills `e` from a printf format; `sqlstate` has five characters. Returns false, so that a caller
 * can `return err_set(..)`. */
bool err_set(struct err *e, const char *sqlstate, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#endif

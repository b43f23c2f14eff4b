/*
 * run.h - `pgaside run`: one command behind a private pgaside.
 *
 * The command shares terminal, standard streams and process group with pgaside, which passes on the
 * signals that it alone gets and ends as the command ends.
 */
#ifndef PGASIDE_RUN_H
#define PGASIDE_RUN_H

#include <stddef.h>

#include "config.h"

enum {
	EXIT_USAGE = 2, /* bad input */
	EXIT_NOT_EXECUTABLE = 126,
	EXIT_NOT_FOUND = 127,
	EXIT_BY_SIGNAL = 128 /* and the number of the signal */
};

struct run_command {
	char *const *argv;	  /* borrowed; ends with NULL */
	const char *const *names; /* borrowed; variables that hold URLs, besides DATABASE_URL */
	size_t n_names;
	char *const *environment; /* borrowed; ends with NULL */
};

/*
 * Runs it to its end. `c` is completed with upstream, passwords and the private address, and
 * taken over. Returns the exit status for pgaside; what went wrong before the command ran has been
 * said on standard error.
 */
int run_command(struct config *c, const struct run_command *r);

#endif

/*
 * fuzz_sql_oracle.c - any text: what PostgreSQL's own lexer and grammar accept must be cut and
 * recognised here as there.
 */
#include "sql_oracle.h"

#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Longer texts nest so deep that libpg_query overflows its stack. */
enum {
	LONGEST = 2000,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sql_oracle o = {.tokens = 0};
	struct slice text = slice_of(data, size);

	if (size > LONGEST)
		return 0;
	if (!sql_oracle_tokens(&o, text) || !sql_oracle_statements(&o, text)) {
		fprintf(stderr, "%s\n", o.why);
		abort();
	}
	return 0;
}

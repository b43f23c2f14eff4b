/*
 * The corpus through our lexer and splitter and through the grammar of PostgreSQL: the same tokens,
 * the same pieces, the same aside statements with the same names.
 */
#include "sql_oracle.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <pg_query.h>

#define CORPUS "tests/corpus"

enum {
	FEWEST_STATEMENTS = 400,
	FEWEST_ASIDES = 60,
	FEWEST_CONTROLS = 40,
	FEWEST_TOKENS = 5000,
	FILE_MAX = 1 << 20,
};

/* What is called for each file of the corpus. */
typedef void (*file_fn)(struct sql_oracle *o, const char *name, struct slice text);

static void with_file(const char *name, file_fn fn, struct sql_oracle *o)
{
	static char text[FILE_MAX];
	char path[1000];
	FILE *file;
	size_t len;

	snprintf(path, sizeof(path), "%s/%s", CORPUS, name);
	file = fopen(path, "rb");
	assert_non_null(file);
	len = fread(text, 1, sizeof(text), file);
	assert_true(len < sizeof(text));
	fclose(file);
	fn(o, name, slice_of(text, len));
}

static void for_each_file(file_fn fn, struct sql_oracle *o)
{
	DIR *corpus = opendir(CORPUS);
	struct dirent *entry;

	assert_non_null(corpus);
	while ((entry = readdir(corpus)))
		if (strstr(entry->d_name, ".sql"))
			with_file(entry->d_name, fn, o);
	closedir(corpus);
}

static void same_tokens(struct sql_oracle *o, const char *name, struct slice text)
{
	size_t before = o->tokens;

	if (!sql_oracle_tokens(o, text))
		fail_msg("%s: %s", name, o->why);
	if (o->tokens == before)
		fail_msg("%s: not compared", name);
}

static void same_statements(struct sql_oracle *o, const char *name, struct slice text)
{
	size_t before = o->statements;

	if (!sql_oracle_statements(o, text))
		fail_msg("%s: %s", name, o->why);
	if (o->statements == before)
		fail_msg("%s: not compared", name);
}

static void no_token_differs(void **state)
{
	struct sql_oracle o = {.tokens = 0};

	(void)state;
	for_each_file(same_tokens, &o);
	printf("%zu tokens compared\n", o.tokens);
	assert_in_range(o.tokens, FEWEST_TOKENS, SIZE_MAX);
}

static void no_statement_differs(void **state)
{
	struct sql_oracle o = {.tokens = 0};

	(void)state;
	for_each_file(same_statements, &o);
	printf("%zu statements compared, %zu of them asides, %zu transaction control\n",
		o.statements, o.asides, o.controls);
	assert_in_range(o.statements, FEWEST_STATEMENTS, SIZE_MAX);
	assert_in_range(o.asides, FEWEST_ASIDES, SIZE_MAX);
	assert_in_range(o.controls, FEWEST_CONTROLS, SIZE_MAX);
}

/* Every beginning of the corpus, as far as PostgreSQL's lexer takes it. */
static void same_beginnings(struct sql_oracle *o, const char *name, struct slice text)
{
	for (size_t from = 0; from < text.len; from += 97) {
		size_t len = text.len - from < 120 ? text.len - from : 120;

		for (size_t end = 1; end <= len; end += 7)
			if (!sql_oracle_tokens(o, slice_of(text.data + from, end)))
				fail_msg("%s, %zu bytes from %zu: %s", name, end, from, o->why);
	}
}

static void no_cut_piece_differs(void **state)
{
	struct sql_oracle o = {.tokens = 0};

	(void)state;
	for_each_file(same_beginnings, &o);
	printf("%zu tokens of cut texts compared\n", o.tokens);
	assert_in_range(o.tokens, FEWEST_TOKENS, SIZE_MAX);
}

static int forget(void **state)
{
	(void)state;
	pg_query_exit();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_token_differs),
		cmocka_unit_test(no_statement_differs),
		cmocka_unit_test(no_cut_piece_differs),
	};

	return cmocka_run_group_tests(tests, NULL, forget);
}

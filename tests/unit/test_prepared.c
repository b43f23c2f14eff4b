#include "prepared.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define LENGTH(a) (sizeof(a) / sizeof((a)[0]))

static const char create[] = "create index concurrently i on t (a)";
static const char drop[] = "drop index concurrently i";

static void parse(struct prepared *p, const char *name, const char *sql, uint64_t batch)
{
	prepared_parse(p, slice_str(name), sql ? slice_str(sql) : slice_of(NULL, 0), batch);
}

static void bind(struct prepared *p, const char *portal, const char *name, uint64_t batch)
{
	prepared_bind(p, slice_str(portal), slice_str(name), batch);
}

/* Whether the portal holds `sql`, prepared under `name`; NULL: it holds nothing of ours. */
static bool holds(const struct prepared *p, const char *portal, const char *name, const char *sql)
{
	struct slice statement, text;

	if (!prepared_find(p, slice_str(portal), &statement, &text))
		return sql == NULL;
	return sql && slice_is(statement, name) && slice_is(text, sql);
}

static void a_new_one_is_empty(void **state)
{
	struct prepared *p = prepared_new();

	(void)state;
	assert_non_null(p);
	assert_true(prepared_is_empty(p));
	assert_true(holds(p, "", "", NULL));
	prepared_free(p);
	prepared_free(NULL);
}

static void a_portal_holds_what_was_parsed_and_bound(void **state)
{
	struct prepared *p = prepared_new();

	(void)state;
	parse(p, "s1", create, 1);
	assert_false(prepared_is_empty(p));
	assert_true(holds(p, "", "", NULL));
	bind(p, "", "s1", 1);
	assert_true(holds(p, "", "s1", create));
	assert_true(holds(p, "other", "", NULL));
	prepared_free(p);
}

static void unnamed_and_named_ones_are_apart(void **state)
{
	struct prepared *p = prepared_new();

	(void)state;
	parse(p, "", create, 1);
	parse(p, "s1", drop, 1);
	bind(p, "", "s1", 1);
	bind(p, "p1", "", 1);
	assert_true(holds(p, "", "s1", drop));
	assert_true(holds(p, "p1", "", create));
	prepared_free(p);
}

static void names_are_compared_whole(void **state)
{
	struct prepared *p = prepared_new();

	(void)state;
	parse(p, "s1", create, 1);
	bind(p, "p1", "s", 1);
	assert_true(holds(p, "p1", "", NULL));
	bind(p, "p1", "s11", 1);
	assert_true(holds(p, "p1", "", NULL));
	bind(p, "p1", "S1", 1);
	assert_true(holds(p, "p1", "", NULL));
	prepared_free(p);
}

static void another_statement_is_not_kept(void **state)
{
	struct prepared *p = prepared_new();

	(void)state;
	parse(p, "s1", NULL, 1);
	bind(p, "", "s1", 1);
	assert_true(prepared_is_empty(p));
	assert_true(holds(p, "", "", NULL));
	prepared_free(p);
}

static void a_name_parsed_again_has_the_new_text(void **state)
{
	struct prepared *p = prepared_new();

	(void)state;
	parse(p, "", create, 1);
	parse(p, "", drop, 2);
	bind(p, "", "", 2);
	assert_true(holds(p, "", "", drop));
	parse(p, "", NULL, 3);
	bind(p, "", "", 3);
	assert_true(prepared_is_empty(p));
	prepared_free(p);
}

static void a_portal_keeps_its_text_when_the_statement_goes(void **state)
{
	struct prepared *p = prepared_new();

	(void)state;
	parse(p, "s1", create, 1);
	bind(p, "p1", "s1", 1);
	prepared_close(p, 'S', slice_str("s1"));
	assert_true(holds(p, "p1", "s1", create));
	bind(p, "p2", "s1", 1);
	assert_true(holds(p, "p2", "", NULL));
	prepared_free(p);
}

static void a_portal_bound_to_another_statement_is_forgotten(void **state)
{
	struct prepared *p = prepared_new();

	(void)state;
	parse(p, "s1", create, 1);
	bind(p, "", "s1", 1);
	bind(p, "", "select", 1);
	assert_true(holds(p, "", "", NULL));
	prepared_free(p);
}

static void a_closed_one_is_forgotten(void **state)
{
	struct prepared *p = prepared_new();

	(void)state;
	parse(p, "x", create, 1);
	bind(p, "x", "x", 1);
	prepared_close(p, 'P', slice_str("x"));
	assert_true(holds(p, "x", "", NULL));
	assert_false(prepared_is_empty(p));
	prepared_close(p, 'S', slice_str("x"));
	assert_true(prepared_is_empty(p));
	prepared_close(p, 'S', slice_str("x"));
	prepared_close(p, 'X', slice_str(""));
	prepared_free(p);
}

static void a_query_forgets_the_unnamed_ones(void **state)
{
	struct prepared *p = prepared_new();

	(void)state;
	parse(p, "", create, 1);
	parse(p, "s1", drop, 1);
	bind(p, "", "", 1);
	bind(p, "p1", "s1", 1);
	prepared_query(p);
	assert_true(holds(p, "", "", NULL));
	assert_true(holds(p, "p1", "s1", drop));
	bind(p, "p2", "", 2);
	assert_true(holds(p, "p2", "", NULL));
	bind(p, "p2", "s1", 2);
	assert_true(holds(p, "p2", "s1", drop));
	prepared_free(p);
}

static void a_failed_pipeline_takes_what_it_brought(void **state)
{
	struct prepared *p = prepared_new();

	(void)state;
	parse(p, "old", create, 1);
	parse(p, "new", drop, 2);
	bind(p, "p1", "old", 2);
	parse(p, "next", create, 3);
	prepared_batch_failed(p, 2);
	assert_true(holds(p, "p1", "", NULL));
	bind(p, "p1", "new", 4);
	assert_true(holds(p, "p1", "", NULL));
	bind(p, "p1", "old", 4);
	assert_true(holds(p, "p1", "old", create));
	bind(p, "p1", "next", 4);
	assert_true(holds(p, "p1", "next", create));
	prepared_free(p);
}

/* The server still has the old one; its refusal is better than the wrong statement. */
static void a_name_that_failed_to_be_parsed_again_is_forgotten(void **state)
{
	struct prepared *p = prepared_new();

	(void)state;
	parse(p, "s1", create, 1);
	parse(p, "s1", drop, 2);
	prepared_batch_failed(p, 2);
	assert_true(prepared_is_empty(p));
	prepared_free(p);
}

static void the_end_of_a_transaction_ends_its_portals(void **state)
{
	struct prepared *p = prepared_new();

	(void)state;
	parse(p, "s1", create, 1);
	bind(p, "p1", "s1", 1);
	bind(p, "p2", "s1", 2);
	bind(p, "p3", "s1", 3);
	prepared_transaction_ended(p, 2);
	assert_true(holds(p, "p1", "", NULL));
	assert_true(holds(p, "p2", "", NULL));
	assert_true(holds(p, "p3", "s1", create));
	bind(p, "p1", "s1", 3);
	assert_true(holds(p, "p1", "s1", create));
	prepared_free(p);
}

static void names_and_texts_may_hold_any_byte(void **state)
{
	static const char name[] = "s\xff\x01";
	static const char sql[] = "create\0index";
	struct prepared *p = prepared_new();
	struct slice statement, text;

	(void)state;
	prepared_parse(p, slice_str(name), slice_of(sql, sizeof(sql)), 1);
	prepared_bind(p, slice_str(name), slice_str(name), 1);
	assert_true(prepared_find(p, slice_str(name), &statement, &text));
	assert_true(slice_is(statement, name));
	assert_true(slice_equal(text, slice_of(sql, sizeof(sql))));
	prepared_free(p);
}

static void drivers_that_close_nothing_lose_the_oldest(void **state)
{
	struct prepared *p = prepared_new();
	char name[20];

	(void)state;
	for (unsigned i = 0; i < 10000; i++) {
		snprintf(name, sizeof(name), "s%u", i);
		parse(p, name, create, i);
		bind(p, "", name, i);
		assert_true(holds(p, "", name, create));
	}
	bind(p, "", "s9900", 10000);
	assert_true(holds(p, "", "s9900", create));
	bind(p, "", "s1", 10000);
	assert_true(holds(p, "", "", NULL));
	prepared_free(p);
}

/*
 * When there is no more room, the oldest entry goes. Here that is the very statement that the new
 * portal is bound to, and its text was copied after it had been freed.
 */
static void a_portal_of_the_oldest_statement_pushes_it_out(void **state)
{
	struct prepared *p = prepared_new();
	char name[20];

	(void)state;
	parse(p, "oldest", drop, 1);
	for (unsigned i = 0; i < 255; i++) {
		snprintf(name, sizeof(name), "s%u", i);
		parse(p, name, create, 1);
	}
	bind(p, "p1", "oldest", 2);
	assert_true(holds(p, "p1", "oldest", drop));
	bind(p, "p2", "oldest", 2);
	assert_true(holds(p, "p2", "", NULL));
	prepared_free(p);
}

static void long_texts_share_a_limit(void **state)
{
	static char text[1024 * 1024 + 1];
	static const size_t sizes[] = {400 * 1024, 512 * 1024, 1024 * 1024 - 100};
	struct prepared *p = prepared_new();
	struct slice statement, sql;

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	for (size_t i = 0; i < LENGTH(sizes); i++) {
		prepared_parse(p, slice_str("long"), slice_of(text, sizes[i]), 1);
		prepared_bind(p, slice_str("p"), slice_str("long"), 1);
		assert_true(prepared_find(p, slice_str("p"), &statement, &sql));
		assert_int_equal(sql.len, sizes[i]);
	}
	parse(p, "short", create, 1);
	bind(p, "p", "short", 1);
	assert_true(holds(p, "p", "short", create));
	prepared_free(p);
}

static void a_text_beyond_the_limit_is_not_kept(void **state)
{
	static char text[1024 * 1024 + 1];
	struct prepared *p = prepared_new();

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	parse(p, "short", create, 1);
	parse(p, "long", text, 1);
	bind(p, "", "long", 1);
	assert_true(holds(p, "", "", NULL));
	bind(p, "", "short", 1);
	assert_true(holds(p, "", "short", create));
	prepared_free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_new_one_is_empty),
		cmocka_unit_test(a_portal_holds_what_was_parsed_and_bound),
		cmocka_unit_test(unnamed_and_named_ones_are_apart),
		cmocka_unit_test(names_are_compared_whole),
		cmocka_unit_test(another_statement_is_not_kept),
		cmocka_unit_test(a_name_parsed_again_has_the_new_text),
		cmocka_unit_test(a_portal_keeps_its_text_when_the_statement_goes),
		cmocka_unit_test(a_portal_bound_to_another_statement_is_forgotten),
		cmocka_unit_test(a_closed_one_is_forgotten),
		cmocka_unit_test(a_query_forgets_the_unnamed_ones),
		cmocka_unit_test(a_failed_pipeline_takes_what_it_brought),
		cmocka_unit_test(a_name_that_failed_to_be_parsed_again_is_forgotten),
		cmocka_unit_test(the_end_of_a_transaction_ends_its_portals),
		cmocka_unit_test(names_and_texts_may_hold_any_byte),
		cmocka_unit_test(drivers_that_close_nothing_lose_the_oldest),
		cmocka_unit_test(a_portal_of_the_oldest_statement_pushes_it_out),
		cmocka_unit_test(long_texts_share_a_limit),
		cmocka_unit_test(a_text_beyond_the_limit_is_not_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

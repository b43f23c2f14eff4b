#include "err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void an_error_is_filled_and_the_answer_is_false(void **state)
{
	struct err e;

	(void)state;
	memset(&e, 'x', sizeof(e));
	assert_false(err_set(&e, "08P01", "%s and %d", "text", 42));
	assert_string_equal(e.sqlstate, "08P01");
	assert_string_equal(e.text, "text and 42");
}

static void a_long_text_is_cut_and_terminated(void **state)
{
	struct err e;

	(void)state;
	memset(&e, 'x', sizeof(e));
	assert_false(err_set(&e, "XX000", "%1000s", "end"));
	assert_int_equal(strlen(e.text), sizeof(e.text) - 1);
}

static void a_sqlstate_is_five_characters_and_no_more(void **state)
{
	struct err e;

	(void)state;
	memset(&e, 'x', sizeof(e));
	assert_false(err_set(&e, "57P01 and more", "x"));
	assert_string_equal(e.sqlstate, "57P01");
	assert_false(err_set(&e, "", "x"));
	assert_string_equal(e.sqlstate, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_error_is_filled_and_the_answer_is_false),
		cmocka_unit_test(a_long_text_is_cut_and_terminated),
		cmocka_unit_test(a_sqlstate_is_five_characters_and_no_more),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

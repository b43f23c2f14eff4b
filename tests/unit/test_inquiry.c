#include "inquiry.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "exact.h"
#include "message.h"

#define LENGTH(a) (sizeof(a) / sizeof((a)[0]))
#define WIRE(text) text, sizeof(text) - 1

/* The rows as text: "0:a|NULL 1:b ". */
struct seen {
	char text[1000];
};

static void on_row(void *owner, unsigned question, const struct slice *values, int n)
{
	struct seen *seen = owner;
	size_t at = strlen(seen->text);

	at += (size_t)snprintf(seen->text + at, sizeof(seen->text) - at, "%u:", question);
	for (int i = 0; i < n; i++) {
		const char *text = values[i].data ? (const char *)values[i].data : "NULL";
		int len = values[i].data ? (int)values[i].len : 4;

		at += (size_t)snprintf(seen->text + at, sizeof(seen->text) - at, "%s%.*s",
			i > 0 ? "|" : "", len, text);
	}
	snprintf(seen->text + at, sizeof(seen->text) - at, " ");
}

/* Takes a message whose body is exactly sized. */
static bool take(struct inquiry *q, char type, const char *body, size_t len)
{
	struct slice copy = exact_copy(slice_of(body, len));
	bool ours = inquiry_take(q, (uint8_t)type, copy);

	exact_free(copy);
	return ours;
}

static void one_question_is_written_byte_for_byte(void **state)
{
	static const char want[] = "C\0\0\0\x0dPpgaside\0"
				   "C\0\0\0\x0dSpgaside\0"
				   "P\0\0\0\x18pgaside\0select $1\0\0\0"
				   "B\0\0\0\x1fpgaside\0pgaside\0\0\0\0\1\0\0\0\1x\0\0"
				   "E\0\0\0\x10pgaside\0\0\0\0\0"
				   "C\0\0\0\x0dPpgaside\0"
				   "C\0\0\0\x0dSpgaside\0"
				   "S\0\0\0\4";
	static const char *const values[] = {"x"};
	static const struct question question = {"select $1", values, 1};
	struct bytes out;

	(void)state;
	bytes_init(&out, 1000);
	inquiry_write(&out, false, &question, 1);
	assert_false(bytes_failed(&out));
	assert_int_equal(bytes_length(&out), sizeof(want) - 1);
	assert_memory_equal(bytes_view(&out).data, want, sizeof(want) - 1);
	bytes_release(&out);
}

/* The types of the messages in `out`. */
static void types_of(const struct bytes *out, char *types)
{
	struct cursor c = cursor_over(bytes_view(out));

	while (c.left > 0) {
		*types++ = (char)cursor_u8(&c);
		cursor_bytes(&c, cursor_u32(&c) - 4);
	}
	assert_true(cursor_done(&c));
	*types = '\0';
}

static void questions_share_one_sync(void **state)
{
	static const struct question questions[3] = {
		{"select 1", NULL, 0}, {"select 2", NULL, 0}, {"select 3", NULL, 0}};
	static const char *const want[] = {
		"CCS", "CCPBECCS", "CCPBECCPBECCS", "CCPBECCPBECCPBECCS"};
	char types[100];

	(void)state;
	for (unsigned n = 0; n < LENGTH(want); n++) {
		struct bytes out;

		bytes_init(&out, 1000);
		inquiry_write(&out, false, questions, n);
		types_of(&out, types);
		assert_string_equal(types, want[n]);
		bytes_release(&out);
	}
}

static void in_a_pipeline_there_is_no_sync(void **state)
{
	static const struct question question = {"select 1", NULL, 0};
	struct bytes out;
	char types[100];

	(void)state;
	bytes_init(&out, 1000);
	inquiry_write_in_pipeline(&out, &question, 1);
	types_of(&out, types);
	assert_string_equal(types, "CCPBECCH");
	bytes_release(&out);
}

static void the_unnamed_portal_is_closed_when_asked_for(void **state)
{
	static const char close[] = "C\0\0\0\x06P\0";
	struct bytes out;
	char types[100];

	(void)state;
	bytes_init(&out, 1000);
	inquiry_write(&out, true, NULL, 0);
	types_of(&out, types);
	assert_string_equal(types, "CCCS");
	assert_non_null(
		memmem(bytes_view(&out).data, bytes_length(&out), close, sizeof(close) - 1));
	bytes_release(&out);
}

static void rows_are_given_with_their_question(void **state)
{
	struct seen seen = {""};
	struct inquiry q = {0};

	(void)state;
	inquiry_init(&q, on_row, &seen);
	assert_true(take(&q, '3', NULL, 0));
	assert_true(take(&q, '1', NULL, 0));
	assert_true(take(&q, '2', NULL, 0));
	assert_true(take(&q, 'D', WIRE("\0\2\0\0\0\1a\xff\xff\xff\xff")));
	assert_true(take(&q, 'D', WIRE("\0\2\0\0\0\0\0\0\0\2bc")));
	assert_true(take(&q, 'C', WIRE("SELECT 2\0")));
	assert_true(take(&q, 'C', WIRE("SELECT 0\0")));
	assert_true(take(&q, 'D', WIRE("\0\1\0\0\0\1d")));
	assert_true(take(&q, 'C', WIRE("SELECT 1\0")));
	assert_false(q.done);
	assert_true(take(&q, 'Z', WIRE("T")));
	assert_true(q.done);
	assert_false(q.failed);
	assert_string_equal(seen.text, "0:a|NULL 0:|bc 2:d ");
	inquiry_release(&q);
}

static void what_is_not_an_answer_is_the_clients(void **state)
{
	struct inquiry q = {0};

	(void)state;
	inquiry_init(&q, on_row, NULL);
	assert_false(take(&q, 'N', WIRE("SNOTICE\0Mx\0\0")));
	assert_false(take(&q, 'S', WIRE("TimeZone\0UTC\0")));
	assert_false(take(&q, 'A', WIRE("\0\0\0\1channel\0\0")));
	assert_false(q.done || q.failed);
	inquiry_release(&q);
}

static void an_error_is_kept_with_its_state_and_body(void **state)
{
	static const char body[] = "SERROR\0VERROR\0C42501\0Mno\0\0";
	struct inquiry q = {0};

	(void)state;
	inquiry_init(&q, on_row, NULL);
	assert_true(take(&q, 'E', WIRE(body)));
	assert_true(q.failed);
	assert_false(q.done);
	assert_string_equal(q.sqlstate, "42501");
	assert_true(slice_equal(bytes_view(&q.error), slice_of(WIRE(body))));
	assert_true(take(&q, 'Z', WIRE("E")));
	assert_true(q.done && q.failed);
	inquiry_release(&q);
}

static const struct {
	const char *label;
	const char *body;
	size_t len;
	const char *want;
} errors[] = {
	{"no field", WIRE("\0"), "XX000"},
	{"no byte", WIRE(""), "XX000"},
	{"no SQLSTATE", WIRE("SERROR\0Mx\0\0"), "XX000"},
	{"unterminated", WIRE("SERROR\0C425"), "XX000"},
	{"an empty SQLSTATE", WIRE("C\0\0"), ""},
	{"a short SQLSTATE", WIRE("C42\0\0"), "42"},
	{"a long SQLSTATE", WIRE("C42P011234567890\0\0"), "42P01"},
};

static void every_error_has_a_sqlstate_of_five_at_most(void **state)
{
	struct inquiry q = {0};

	(void)state;
	for (size_t i = 0; i < LENGTH(errors); i++) {
		inquiry_init(&q, on_row, NULL);
		assert_true(take(&q, 'E', errors[i].body, errors[i].len));
		if (!q.failed || strcmp(q.sqlstate, errors[i].want) != 0)
			fail_msg("%s: %s", errors[i].label, q.sqlstate);
	}
	inquiry_release(&q);
}

/* The client's session ends with it, and nobody else will tell the client why. */
static void an_error_that_ends_the_session_is_the_clients(void **state)
{
	static const struct {
		const char *body;
		size_t len;
		bool ours;
	} cases[] = {{WIRE("SFATAL\0VFATAL\0C57P01\0Mx\0\0"), false},
		{WIRE("SPANIK\0VPANIC\0CXX000\0Mx\0\0"), false},
		{WIRE("SFATAL\0VERROR\0C57P01\0Mx\0\0"), true},
		{WIRE("SERROR\0C57P01\0Mx\0\0"), true}};
	struct inquiry q = {0};

	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++) {
		inquiry_init(&q, on_row, NULL);
		assert_int_equal(take(&q, 'E', cases[i].body, cases[i].len), cases[i].ours);
		assert_true(q.failed);
	}
	inquiry_release(&q);
}

static void a_malformed_row_is_no_row(void **state)
{
	static const char row[] = "\0\2\0\0\0\1a\0\0\0\1b";
	struct seen seen = {""};
	struct inquiry q = {0};

	(void)state;
	inquiry_init(&q, on_row, &seen);
	for (size_t len = 0; len < sizeof(row) - 1; len++)
		assert_true(take(&q, 'D', row, len));
	assert_string_equal(seen.text, "");
	assert_true(take(&q, 'D', WIRE("\xff\xff\0\0\0\1a")));
	assert_string_equal(seen.text, "");
	assert_true(take(&q, 'D', row, sizeof(row) - 1));
	assert_string_equal(seen.text, "0:a|b ");
	inquiry_release(&q);
}

static void a_row_of_more_columns_than_anybody_asks_for_is_cut(void **state)
{
	struct seen seen = {""};
	struct inquiry q = {0};
	struct bytes row;

	(void)state;
	bytes_init(&row, 1000000);
	bytes_put_u16(&row, 65535);
	for (unsigned i = 0; i < 65535; i++)
		bytes_put_u32(&row, 0xffffffff);
	inquiry_init(&q, on_row, &seen);
	assert_true(inquiry_take(&q, 'D', bytes_view(&row)));
	assert_int_equal(strlen(seen.text), strlen("0:") + INQUIRY_MAX_COLUMNS * strlen("NULL|"));
	bytes_release(&row);
	inquiry_release(&q);
}

static void all_is_answered_before_the_end_unless_something_has_failed(void **state)
{
	struct inquiry q = {0};

	(void)state;
	for (unsigned answers = 0; answers <= 2; answers++) {
		inquiry_init(&q, NULL, NULL);
		q.questions = 2;
		for (unsigned i = 0; i < answers; i++)
			inquiry_take(&q, 'C', slice_str("SHOW"));
		inquiry_take(&q, 'Z', slice_str("T"));
		assert_true(q.done);
		assert_int_equal(q.broken, answers < 2);
	}
	inquiry_init(&q, NULL, NULL);
	q.questions = 2;
	take(&q, 'E', WIRE("SERROR\0"));
	inquiry_take(&q, 'Z', slice_str("E"));
	assert_true(q.done && q.failed && !q.broken);
	inquiry_release(&q);
}

static void rows_may_be_of_no_interest(void **state)
{
	struct inquiry q = {0};

	(void)state;
	inquiry_init(&q, NULL, NULL);
	assert_true(take(&q, 'D', WIRE("\0\1\0\0\0\1a")));
	assert_true(take(&q, 'Z', WIRE("I")));
	assert_true(q.done);
	inquiry_release(&q);
}

static void an_inquiry_begins_anew(void **state)
{
	struct inquiry q = {0};

	(void)state;
	inquiry_init(&q, on_row, NULL);
	take(&q, 'C', WIRE("SELECT 0\0"));
	take(&q, 'E', WIRE("C42501\0\0"));
	take(&q, 'Z', WIRE("E"));
	inquiry_init(&q, on_row, NULL);
	assert_int_equal(q.question, 0);
	assert_false(q.done || q.failed);
	assert_string_equal(q.sqlstate, "");
	assert_int_equal(bytes_length(&q.error), 0);
	inquiry_release(&q);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_question_is_written_byte_for_byte),
		cmocka_unit_test(questions_share_one_sync),
		cmocka_unit_test(in_a_pipeline_there_is_no_sync),
		cmocka_unit_test(the_unnamed_portal_is_closed_when_asked_for),
		cmocka_unit_test(rows_are_given_with_their_question),
		cmocka_unit_test(what_is_not_an_answer_is_the_clients),
		cmocka_unit_test(an_error_is_kept_with_its_state_and_body),
		cmocka_unit_test(every_error_has_a_sqlstate_of_five_at_most),
		cmocka_unit_test(an_error_that_ends_the_session_is_the_clients),
		cmocka_unit_test(a_malformed_row_is_no_row),
		cmocka_unit_test(a_row_of_more_columns_than_anybody_asks_for_is_cut),
		cmocka_unit_test(all_is_answered_before_the_end_unless_something_has_failed),
		cmocka_unit_test(rows_may_be_of_no_interest),
		cmocka_unit_test(an_inquiry_begins_anew),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

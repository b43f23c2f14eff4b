#include "message.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "exact.h"
#include "frame.h"

#define LENGTH(a) (sizeof(a) / sizeof((a)[0]))
#define WIRE(text) text, sizeof(text) - 1

static bool decode_query(struct slice body)
{
	struct slice query;

	return query_decode(body, &query);
}

static bool decode_parse(struct slice body)
{
	struct parse_message m;

	return parse_decode(body, &m);
}

static bool decode_bind(struct slice body)
{
	struct bind_message m;

	return bind_decode(body, &m);
}

static bool decode_execute(struct slice body)
{
	struct slice portal;

	return execute_decode(body, &portal);
}

static bool decode_target(struct slice body)
{
	struct target_message m;

	return target_decode(body, &m);
}

static bool decode_parameter_status(struct slice body)
{
	struct slice name, value;

	return parameter_status_decode(body, &name, &value);
}

static bool decode_backend_key(struct slice body)
{
	struct backend_key key;

	return backend_key_decode(body, &key);
}

static bool decode_data_row(struct slice body)
{
	struct slice values[4];

	return data_row_decode(body, values, 4) >= 0;
}

static bool decode_authentication(struct slice body)
{
	struct slice rest;
	uint32_t code;

	return authentication_decode(body, &code, &rest);
}

static bool decode_sasl_initial(struct slice body)
{
	struct slice mechanism, data;

	return sasl_initial_decode(body, &mechanism, &data);
}

/* Bodies that are right; `open` if more may follow, and it needs no more than `least` bytes. */
static const struct {
	const char *label;
	bool (*decode)(struct slice body);
	const char *body;
	size_t len;
	bool open;
	size_t least;
} good[] = {
	{"Query", decode_query, WIRE("select 1\0"), false, 0},
	{"empty Query", decode_query, WIRE("\0"), false, 0},
	{"Parse", decode_parse, WIRE("s1\0select $1\0\0\1\0\0\0\x17"), false, 0},
	{"Parse without name and types", decode_parse, WIRE("\0select 1\0\0\0"), false, 0},
	{"Parse with two types", decode_parse, WIRE("\0\0\0\2\0\0\0\0\0\0\0\0"), false, 0},
	{"Bind", decode_bind, WIRE("p\0s\0\0\0\0\0\0\0"), true, 4},
	{"unnamed Bind", decode_bind, WIRE("\0\0\0\0\0\0\0\0"), true, 2},
	{"Execute", decode_execute, WIRE("p\0\0\0\0\0"), false, 0},
	{"Execute with most rows", decode_execute, WIRE("\0\x7f\xff\xff\xff"), false, 0},
	{"Describe statement", decode_target, WIRE("Ss1\0"), false, 0},
	{"Close unnamed portal", decode_target, WIRE("P\0"), false, 0},
	{"ParameterStatus", decode_parameter_status, WIRE("TimeZone\0UTC\0"), false, 0},
	{"ParameterStatus, empty", decode_parameter_status, WIRE("a\0\0"), false, 0},
	{"BackendKeyData", decode_backend_key, WIRE("\0\0\1\0abcd"), true, 8},
	{"DataRow without columns", decode_data_row, WIRE("\0\0"), false, 0},
	{"DataRow", decode_data_row, WIRE("\0\3\0\0\0\1x\xff\xff\xff\xff\0\0\0\0"), false, 0},
	{"AuthenticationOk", decode_authentication, WIRE("\0\0\0\0"), true, 4},
	{"MD5", decode_authentication, WIRE("\0\0\0\5salt"), true, 4},
	{"SASLInitialResponse", decode_sasl_initial, WIRE("SCRAM\0\0\0\0\3n,,"), false, 0},
	{"SASLInitialResponse, no data", decode_sasl_initial, WIRE("SCRAM\0\xff\xff\xff\xff"),
		false, 0},
};

static bool decodes(size_t i, struct slice body)
{
	struct slice copy = exact_copy(body);
	bool ok = good[i].decode(copy);

	exact_free(copy);
	return ok;
}

static void bodies_as_documented_are_decoded(void **state)
{
	(void)state;
	for (size_t i = 0; i < LENGTH(good); i++)
		if (!decodes(i, slice_of(good[i].body, good[i].len)))
			fail_msg("%s", good[i].label);
}

static void a_body_cut_at_any_byte_is_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < LENGTH(good); i++) {
		size_t least = good[i].open ? good[i].least : good[i].len;

		for (size_t len = 0; len < good[i].len; len++)
			if (decodes(i, slice_of(good[i].body, len)) != (len >= least))
				fail_msg("%s, %zu bytes", good[i].label, len);
	}
}

static void a_byte_left_over_is_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < LENGTH(good); i++) {
		struct bytes longer;

		bytes_init(&longer, 100);
		bytes_put(&longer, good[i].body, good[i].len);
		bytes_put_u8(&longer, 0);
		if (decodes(i, bytes_view(&longer)) != good[i].open)
			fail_msg("%s", good[i].label);
		bytes_release(&longer);
	}
}

static const struct {
	const char *label;
	bool (*decode)(struct slice body);
	const char *body;
	size_t len;
} bad[] = {
	{"Query with two strings", decode_query, WIRE("a\0b\0")},
	{"Parse with more types than there are", decode_parse, WIRE("\0\0\0\2\0\0\0\0")},
	{"Parse with 65535 types", decode_parse, WIRE("\0\0\xff\xff\0\0\0\0")},
	{"Parse with a zero byte in its text", decode_parse, WIRE("\0a\0b\0\0\0")},
	{"Execute without row limit", decode_execute, WIRE("p\0")},
	{"Describe without name", decode_target, WIRE("S")},
	{"ParameterStatus without value", decode_parameter_status, WIRE("a\0")},
	{"ParameterStatus with three strings", decode_parameter_status, WIRE("a\0b\0c\0")},
	{"key without secret", decode_backend_key, WIRE("\0\0\0\1")},
	{"key with a secret of 3 bytes", decode_backend_key, WIRE("\0\0\0\1abc")},
	{"row of -1 columns", decode_data_row, WIRE("\xff\xff")},
	{"row with a column one over", decode_data_row, WIRE("\0\1\0\0\0\2x")},
	{"row with a column of 0x7fffffff", decode_data_row, WIRE("\0\1\x7f\xff\xff\xffx")},
	{"row with a column of 0x80000000", decode_data_row, WIRE("\0\1\x80\0\0\0x")},
	{"row with a column of -2", decode_data_row, WIRE("\0\1\xff\xff\xff\xfex")},
	{"row that hides a byte", decode_data_row, WIRE("\0\1\0\0\0\0x")},
};

static void bodies_that_lie_are_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < LENGTH(bad); i++) {
		struct slice copy = exact_copy(slice_of(bad[i].body, bad[i].len));

		if (bad[i].decode(copy))
			fail_msg("%s", bad[i].label);
		exact_free(copy);
	}
}

static void cancel_keys_have_4_to_256_bytes(void **state)
{
	(void)state;
	for (size_t len = 0; len <= 300; len++) {
		struct bytes body;
		struct backend_key key;
		bool ok;

		bytes_init(&body, 400);
		bytes_put_u32(&body, 0x80000001);
		for (size_t i = 0; i < len; i++)
			bytes_put_u8(&body, (uint8_t)i);
		ok = backend_key_decode(bytes_view(&body), &key);
		assert_int_equal(ok, len >= 4 && len <= 256);
		if (ok) {
			assert_true(key.pid == 0x80000001u);
			assert_int_equal(key.secret.len, len);
			assert_int_equal(key.secret.data[len - 1], (uint8_t)(len - 1));
		}
		bytes_release(&body);
	}
}

/* The fields of an error: code and text each, and a zero byte. */
#define ERROR_BODY "SERROR\0VERROR\0C42P01\0Mno such\0P15\0\0"

static void fields_of_an_error_are_found_by_their_code(void **state)
{
	struct slice body = slice_of(WIRE(ERROR_BODY));
	struct slice value;

	(void)state;
	assert_true(error_field(body, 'S', &value) && slice_is(value, "ERROR"));
	assert_true(error_field(body, 'C', &value) && slice_is(value, "42P01"));
	assert_true(error_field(body, 'P', &value) && slice_is(value, "15"));
	assert_false(error_field(body, 'D', &value));
	assert_false(error_field(body, '\0', &value));
}

static void an_error_without_any_field_has_none(void **state)
{
	struct slice value;

	(void)state;
	assert_false(error_field(slice_of(NULL, 0), 'C', &value));
	assert_false(error_field(slice_of(WIRE("\0")), 'C', &value));
	assert_false(error_field(slice_of(WIRE("C")), 'C', &value));
	assert_false(error_field(slice_of(WIRE("C42P01")), 'C', &value));
	assert_false(error_field(slice_of(WIRE("SERROR\0\0C42P01\0")), 'C', &value));
	assert_false(error_field(slice_of(WIRE("SERROR\0\0x\0C42P01\0\0")), 'C', &value));
	assert_true(error_field(slice_of(WIRE("C\0\0")), 'C', &value));
	assert_int_equal(value.len, 0);
}

static void a_cut_error_still_has_the_fields_before_the_cut(void **state)
{
	static const size_t code_ends = sizeof("SERROR\0VERROR\0C42P01\0") - 1;

	(void)state;
	for (size_t len = 0; len < sizeof(ERROR_BODY) - 1; len++) {
		struct slice copy = exact_copy(slice_of(ERROR_BODY, len));
		struct slice value;

		assert_int_equal(error_field(copy, 'C', &value), len >= code_ends);
		exact_free(copy);
	}
}

static void a_row_gives_its_values_and_its_nulls(void **state)
{
	struct slice body = slice_of(WIRE("\0\3\0\0\0\2ab\xff\xff\xff\xff\0\0\0\0"));
	struct slice values[3];

	(void)state;
	assert_int_equal(data_row_decode(body, values, 3), 3);
	assert_true(slice_is(values[0], "ab"));
	assert_null(values[1].data);
	assert_non_null(values[2].data);
	assert_int_equal(values[2].len, 0);
}

static void a_row_with_more_columns_than_asked_for_is_counted_whole(void **state)
{
	struct slice body = slice_of(WIRE("\0\3\0\0\0\1a\0\0\0\1b\0\0\0\1c"));
	struct slice values[2] = {{0}, {0}};

	(void)state;
	assert_int_equal(data_row_decode(body, values, 1), 3);
	assert_true(slice_is(values[0], "a"));
	assert_null(values[1].data);
	assert_int_equal(data_row_decode(body, NULL, 0), 3);
}

/* The one message in `b`, whose length field must be right; its body is borrowed. */
static struct slice only_message(const struct bytes *b, char type)
{
	struct slice view = bytes_view(b);
	struct frame f;

	assert_false(bytes_failed(b));
	assert_int_equal(frame_peek(view.data, view.len, &f), FRAME_WHOLE_HEADER);
	assert_int_equal(f.type, type);
	assert_int_equal(f.size, view.len);
	return frame_body(view);
}

static void a_written_query_is_read_back(void **state)
{
	struct bytes b;
	struct slice query;

	(void)state;
	bytes_init(&b, 1000);
	message_put_query(&b, "select 'x'");
	assert_true(query_decode(only_message(&b, 'Q'), &query));
	assert_true(slice_is(query, "select 'x'"));
	bytes_release(&b);
}

static void a_written_parse_is_read_back(void **state)
{
	struct bytes b;
	struct parse_message m;

	(void)state;
	bytes_init(&b, 1000);
	message_put_parse(&b, "name", "select $1");
	assert_true(parse_decode(only_message(&b, 'P'), &m));
	assert_true(slice_is(m.name, "name"));
	assert_true(slice_is(m.query, "select $1"));
	bytes_release(&b);
}

static void a_written_bind_has_text_values_and_nulls(void **state)
{
	static const char *const values[] = {"one", NULL, ""};
	static const char want[] = "p\0s\0\0\0\0\3\0\0\0\3one\xff\xff\xff\xff\0\0\0\0\0\0";
	struct bytes b;
	struct slice body;
	struct bind_message m;

	(void)state;
	bytes_init(&b, 1000);
	message_put_bind(&b, "p", "s", values, 3);
	body = only_message(&b, 'B');
	assert_true(slice_equal(body, slice_of(WIRE(want))));
	assert_true(bind_decode(body, &m));
	assert_true(slice_is(m.portal, "p"));
	assert_true(slice_is(m.statement, "s"));
	bytes_release(&b);
}

static void a_written_execute_asks_for_all_rows(void **state)
{
	struct bytes b;
	struct slice body;
	struct slice portal;

	(void)state;
	bytes_init(&b, 1000);
	message_put_execute(&b, "cursor");
	body = only_message(&b, 'E');
	assert_true(execute_decode(body, &portal));
	assert_true(slice_is(portal, "cursor"));
	assert_memory_equal(body.data + body.len - 4, "\0\0\0\0", 4);
	bytes_release(&b);
}

static void a_written_close_is_read_back(void **state)
{
	struct bytes b;
	struct target_message m;

	(void)state;
	bytes_init(&b, 1000);
	message_put_target(&b, 'C', 'S', "s1");
	assert_true(target_decode(only_message(&b, 'C'), &m));
	assert_int_equal(m.kind, 'S');
	assert_true(slice_is(m.name, "s1"));
	bytes_release(&b);
}

static void small_messages_are_written_byte_for_byte(void **state)
{
	struct bytes b;
	struct slice rest;
	uint32_t code;

	(void)state;
	bytes_init(&b, 1000);
	message_put_empty(&b, 'S');
	assert_int_equal(only_message(&b, 'S').len, 0);
	bytes_clear(&b);
	message_put_ready(&b, 'T');
	assert_true(slice_is(only_message(&b, 'Z'), "T"));
	bytes_clear(&b);
	message_put_complete(&b, "CREATE INDEX");
	assert_true(slice_equal(only_message(&b, 'C'), slice_of("CREATE INDEX", 13)));
	bytes_clear(&b);
	message_put_authentication(&b, AUTHENTICATION_CLEARTEXT);
	assert_true(authentication_decode(only_message(&b, 'R'), &code, &rest));
	assert_int_equal(code, 3);
	assert_int_equal(rest.len, 0);
	bytes_release(&b);
}

static void passwords_are_written_as_they_are_asked_for(void **state)
{
	struct bytes b;

	(void)state;
	bytes_init(&b, 1000);
	message_put_password(&b, slice_str("secret"));
	assert_true(slice_equal(only_message(&b, 'p'), slice_of("secret", 7)));
	bytes_clear(&b);
	message_put_sasl_initial(&b, "SCRAM-SHA-256", slice_str("n,,n=,r=x"));
	assert_true(slice_equal(
		only_message(&b, 'p'), slice_of(WIRE("SCRAM-SHA-256\0\0\0\0\x09n,,n=,r=x"))));
	bytes_clear(&b);
	message_put_sasl_response(&b, slice_str("c=biws"));
	assert_true(slice_is(only_message(&b, 'p'), "c=biws"));
	bytes_wipe(&b);
}

static void a_report_has_the_fields_that_clients_want(void **state)
{
	static const struct report report = {
		"ERROR", "57014", "canceling statement", "a detail", "a hint"};
	static const struct {
		char code;
		const char *want;
	} fields[] = {{'S', "ERROR"}, {'V', "ERROR"}, {'C', "57014"}, {'M', "canceling statement"},
		{'D', "a detail"}, {'H', "a hint"}};
	struct bytes b;
	struct slice body;
	struct slice value;

	(void)state;
	bytes_init(&b, 1000);
	message_put_report(&b, &report);
	body = only_message(&b, 'E');
	for (size_t i = 0; i < LENGTH(fields); i++)
		assert_true(error_field(body, fields[i].code, &value) &&
			    slice_is(value, fields[i].want));
	assert_int_equal(body.data[body.len - 1], 0);
	assert_int_equal(body.data[body.len - 2], 0);
	bytes_release(&b);
}

static void the_severity_of_a_report_decides_its_type(void **state)
{
	static const struct {
		const char *severity;
		char type;
	} cases[] = {{"ERROR", 'E'}, {"FATAL", 'E'}, {"NOTICE", 'N'}, {"WARNING", 'N'}};

	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++) {
		struct report report = {cases[i].severity, "00000", "text", NULL, NULL};
		struct bytes b;
		struct slice value;

		bytes_init(&b, 1000);
		message_put_report(&b, &report);
		assert_false(error_field(only_message(&b, cases[i].type), 'D', &value));
		bytes_release(&b);
	}
}

static const struct {
	const char *label;
	const char *body;
	size_t len;
	unsigned long characters;
	const char *hint;
	const char *want;
	size_t want_len;
} changes[] = {
	{"nothing to change", WIRE("C42P01\0Mx\0\0"), 5, NULL, WIRE("C42P01\0Mx\0\0")},
	{"a position", WIRE("P15\0Mx\0\0"), 5, NULL, WIRE("Mx\0P20\0\0")},
	{"a hint", WIRE("Mx\0\0"), 5, "try", WIRE("Mx\0Htry\0\0")},
	{"a hint of its own", WIRE("Mx\0Hown\0\0"), 5, "try", WIRE("Mx\0Hown\0\0")},
	{"both", WIRE("P1\0Mx\0\0"), 0, "try", WIRE("Mx\0P1\0Htry\0\0")},
	{"not terminated", WIRE("Mx\0C42"), 5, NULL, WIRE("Mx\0\0")},
	{"no field", WIRE("\0"), 5, NULL, WIRE("\0")},
	{"no byte", WIRE(""), 5, NULL, WIRE("\0")},
	{"a position that is no number", WIRE("Px\0\0"), 5, NULL, WIRE("P5\0\0")},
};

static void an_error_is_copied_with_another_position_and_hint(void **state)
{
	(void)state;
	for (size_t i = 0; i < LENGTH(changes); i++) {
		struct slice body = exact_copy(slice_of(changes[i].body, changes[i].len));
		struct bytes b;

		bytes_init(&b, 1000);
		error_put_changed(&b, body, changes[i].characters, changes[i].hint);
		if (!slice_equal(bytes_view(&b), slice_of(changes[i].want, changes[i].want_len)))
			fail_msg("%s", changes[i].label);
		bytes_release(&b);
		exact_free(body);
	}
}

static void an_error_is_copied_with_a_position_set(void **state)
{
	struct bytes b;

	(void)state;
	bytes_init(&b, 1000);
	error_put_moved(&b, slice_of(WIRE("P15\0Mx\0\0")), 7);
	assert_true(slice_equal(bytes_view(&b), slice_of(WIRE("Mx\0P7\0\0"))));
	bytes_clear(&b);
	error_put_moved(&b, slice_of(WIRE("Mx\0\0")), 1);
	assert_true(slice_equal(bytes_view(&b), slice_of(WIRE("Mx\0P1\0\0"))));
	bytes_release(&b);
}

static void messages_follow_one_another(void **state)
{
	struct bytes b;

	(void)state;
	bytes_init(&b, 1000);
	message_put_ready(&b, 'I');
	bytes_consume(&b, 3);
	message_put_ready(&b, 'T');
	assert_true(slice_equal(bytes_view(&b), slice_of(WIRE("\0\5IZ\0\0\0\5T"))));
	bytes_release(&b);
}

static void a_message_beyond_the_limit_fails_and_crashes_nothing(void **state)
{
	static const char *const values[] = {"some text", NULL};
	static const struct report report = {"ERROR", "XX000", "text", "detail", "hint"};

	(void)state;
	for (size_t limit = 0; limit < 20; limit++) {
		struct bytes b;

		bytes_init(&b, limit);
		message_put_bind(&b, "portal", "statement", values, 2);
		assert_true(bytes_failed(&b));
		bytes_clear(&b);
		message_put_report(&b, &report);
		assert_true(bytes_failed(&b));
		bytes_release(&b);
	}
}

static void a_mechanism_is_found_in_a_list_only_as_a_whole(void **state)
{
	static const struct {
		const char *list;
		size_t len;
		bool found;
	} lists[] = {
		{WIRE("SCRAM-SHA-256\0\0"), true},
		{WIRE("SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0"), true},
		{WIRE("SCRAM-SHA-256\0"), true}, /* its end is not looked for */
		{WIRE("SCRAM-SHA-256"), false},
		{WIRE("SCRAM-SHA-256-PLUS\0\0"), false},
		{WIRE("SCRAM-SHA\0\0"), false},
		{WIRE("\0SCRAM-SHA-256\0\0"), false},
		{WIRE(""), false},
	};

	(void)state;
	for (size_t i = 0; i < LENGTH(lists); i++) {
		struct slice copy = exact_copy(slice_of(lists[i].list, lists[i].len));

		if (sasl_offers(copy, "SCRAM-SHA-256") != lists[i].found)
			fail_msg("list %zu", i);
		exact_free(copy);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bodies_as_documented_are_decoded),
		cmocka_unit_test(a_body_cut_at_any_byte_is_refused),
		cmocka_unit_test(a_byte_left_over_is_refused),
		cmocka_unit_test(bodies_that_lie_are_refused),
		cmocka_unit_test(cancel_keys_have_4_to_256_bytes),
		cmocka_unit_test(fields_of_an_error_are_found_by_their_code),
		cmocka_unit_test(an_error_without_any_field_has_none),
		cmocka_unit_test(a_cut_error_still_has_the_fields_before_the_cut),
		cmocka_unit_test(a_row_gives_its_values_and_its_nulls),
		cmocka_unit_test(a_row_with_more_columns_than_asked_for_is_counted_whole),
		cmocka_unit_test(a_written_query_is_read_back),
		cmocka_unit_test(a_written_parse_is_read_back),
		cmocka_unit_test(a_written_bind_has_text_values_and_nulls),
		cmocka_unit_test(a_written_execute_asks_for_all_rows),
		cmocka_unit_test(a_written_close_is_read_back),
		cmocka_unit_test(small_messages_are_written_byte_for_byte),
		cmocka_unit_test(passwords_are_written_as_they_are_asked_for),
		cmocka_unit_test(a_report_has_the_fields_that_clients_want),
		cmocka_unit_test(the_severity_of_a_report_decides_its_type),
		cmocka_unit_test(an_error_is_copied_with_another_position_and_hint),
		cmocka_unit_test(an_error_is_copied_with_a_position_set),
		cmocka_unit_test(messages_follow_one_another),
		cmocka_unit_test(a_message_beyond_the_limit_fails_and_crashes_nothing),
		cmocka_unit_test(a_mechanism_is_found_in_a_list_only_as_a_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

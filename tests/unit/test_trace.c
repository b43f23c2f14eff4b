#include "trace.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "exact.h"
#include "message.h"

#define LENGTH(a) (sizeof(a) / sizeof((a)[0]))
#define WIRE(text) text, sizeof(text) - 1

#define F TRACE_FRONTEND
#define B TRACE_BACKEND

/* One message of each kind; the line without its side and length. */
static const struct {
	enum trace_side from;
	char type;
	const char *body;
	size_t len;
	const char *want;
	bool open; /* any shorter body will do */
} cases[] = {
	{F, 'Q', WIRE("select 1\0"), "Query\t \"select 1\"", false},
	{F, 'P', WIRE("s1\0x\0\0\2\0\0\0\x17\0\1\0\0"), "Parse\t \"s1\" \"x\" 2 23 NNNN", false},
	{F, 'B', WIRE("p\0s\0\0\1\0\1\0\2\0\0\0\2ab\xff\xff\xff\xff\0\1\0\0"),
		"Bind\t \"p\" \"s\" 1 1 2 2 NULL 1 0", false},
	{F, 'E', WIRE("\0\0\0\0\x64"), "Execute\t \"\" 100", false},
	{F, 'D', WIRE("Ss1\0"), "Describe\t S \"s1\"", false},
	{F, 'C', WIRE("P\0"), "Close\t P \"\"", false},
	{F, 'S', WIRE(""), "Sync\t", false},
	{F, 'H', WIRE(""), "Flush\t", false},
	{F, 'X', WIRE(""), "Terminate\t", false},
	{F, 'c', WIRE(""), "CopyDone\t", false},
	{F, 'd', WIRE("1\t2\n"), "CopyData\t", true},
	{F, 'f', WIRE("why\0"), "CopyFail\t \"why\"", false},
	{F, 'F', WIRE("\0\0\0\x17\0\0\0\1\0\0\0\1x\0\0"), "FunctionCall\t 23 0 1 1 0", false},
	{B, '1', WIRE(""), "ParseComplete\t", false},
	{B, '2', WIRE(""), "BindComplete\t", false},
	{B, '3', WIRE(""), "CloseComplete\t", false},
	{B, 'n', WIRE(""), "NoData\t", false},
	{B, 's', WIRE(""), "PortalSuspended\t", false},
	{B, 'I', WIRE(""), "EmptyQueryResponse\t", false},
	{B, 'c', WIRE(""), "CopyDone\t", false},
	{B, 'd', WIRE("x"), "CopyData\t", true},
	{B, 'C', WIRE("SELECT 1\0"), "CommandComplete\t \"SELECT 1\"", false},
	{B, 'Z', WIRE("T"), "ReadyForQuery\t T", false},
	{B, 'Z', WIRE("\1"), "ReadyForQuery\t 1", false},
	{B, 'D', WIRE("\0\3\0\0\0\2ab\xff\xff\xff\xff\0\0\0\0"), "DataRow\t 3 2 NULL 0", false},
	{B, 'T', WIRE("\0\1a\0\0\1\0\0\0\2\0\0\0\x17\0\4\xff\xff\xff\xff\0\0"),
		"RowDescription\t 1 \"a\" NNNN 2 23 4 -1 0", false},
	{B, 't', WIRE("\0\1\0\0\0\x19"), "ParameterDescription\t 1 25", false},
	{B, 'E', WIRE("SERROR\0C42P01\0Fparse.c\0L12\0Rfn\0\0"),
		"ErrorResponse\t S \"ERROR\" C \"42P01\" F NNNN L NNNN R NNNN", false},
	{B, 'E', WIRE("\0"), "ErrorResponse\t", false},
	{B, 'N', WIRE("Mx\0\0"), "NoticeResponse\t M \"x\"", false},
	{B, 'A', WIRE("\0\0\0\7ch\0pay\0"), "NotificationResponse\t NNNN \"ch\" \"pay\"", false},
	{B, 'S', WIRE("TimeZone\0UTC\0"), "ParameterStatus\t \"TimeZone\" \"UTC\"", false},
	{B, 'G', WIRE("\0\0\2\0\0\0\1"), "CopyInResponse\t 0 2 0 1", false},
	{B, 'H', WIRE("\1\0\0"), "CopyOutResponse\t 1 0", false},
	{B, 'W', WIRE("\0\0\0"), "CopyBothResponse\t 0 0", false},
	{B, 'V', WIRE("\xff\xff\xff\xff"), "FunctionCallResponse\t NULL", false},
	{B, 'R', WIRE("\0\0\0\0"), "Authentication\t Ok", false},
	{B, 'R', WIRE("\0\0\0\3"), "Authentication\t CleartextPassword", false},
	{B, 'R', WIRE("\0\0\0\5salt"), "Authentication\t MD5Password NNNN", false},
	{B, 'R', WIRE("\0\0\0\x0aSCRAM-SHA-256\0\0"), "Authentication\t SASL \"SCRAM-SHA-256\"",
		false},
	{B, 'v', WIRE("\0\3\0\0\0\0\0\1_pq_.x\0"), "NegotiateProtocolVersion\t 196608 1 \"_pq_.x\"",
		false},
};

/* The line for a message of this type with this body, in exactly sized memory. */
static void trace(struct bytes *out, enum trace_side from, char type, struct slice body)
{
	struct bytes message;
	struct slice copy;
	size_t place;

	bytes_init(&message, 200000);
	place = message_begin(&message, type);
	bytes_put_slice(&message, body);
	message_end(&message, place);
	copy = exact_copy(bytes_view(&message));
	bytes_init(out, 1000000);
	trace_message(out, from, copy);
	assert_false(bytes_failed(out));
	exact_free(copy);
	bytes_release(&message);
}

static void check(struct bytes *out, const char *want)
{
	if (!slice_is(bytes_view(out), want))
		fail_msg("%.*s, not %s", (int)bytes_length(out), (const char *)bytes_view(out).data,
			want);
	bytes_release(out);
}

static void every_message_is_one_line(void **state)
{
	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++) {
		struct bytes out;
		char want[200];

		trace(&out, cases[i].from, cases[i].type, slice_of(cases[i].body, cases[i].len));
		snprintf(want, sizeof(want), "%c\t%zu\t%s", cases[i].from == F ? 'F' : 'B',
			cases[i].len + 4, cases[i].want);
		check(&out, want);
	}
}

static bool ends_with(const struct bytes *out, const char *end)
{
	struct slice view = bytes_view(out);
	size_t len = strlen(end);

	return view.len >= len && memcmp(view.data + view.len - len, end, len) == 0;
}

static void a_body_cut_at_any_byte_is_malformed(void **state)
{
	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++) {
		for (size_t len = 0; len < cases[i].len; len++) {
			struct bytes out;

			trace(&out, cases[i].from, cases[i].type, slice_of(cases[i].body, len));
			if (ends_with(&out, " malformed") == cases[i].open)
				fail_msg("%s, %zu bytes", cases[i].want, len);
			bytes_release(&out);
		}
	}
}

static void a_byte_left_over_is_malformed(void **state)
{
	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++) {
		struct bytes longer;
		struct bytes out;

		bytes_init(&longer, 1000);
		bytes_put(&longer, cases[i].body, cases[i].len);
		bytes_put_u8(&longer, 0);
		trace(&out, cases[i].from, cases[i].type, bytes_view(&longer));
		if (ends_with(&out, " malformed") == cases[i].open)
			fail_msg("%s", cases[i].want);
		bytes_release(&out);
		bytes_release(&longer);
	}
}

/* Not even their length. */
static void passwords_and_sasl_data_are_not_written(void **state)
{
	struct bytes out;

	(void)state;
	trace(&out, F, 'p', slice_of("secret", 7));
	check(&out, "F\tNNNN\tPassword\t");
	trace(&out, F, 'p', slice_of(WIRE("SCRAM-SHA-256\0\0\0\0\4n,,r")));
	check(&out, "F\tNNNN\tPassword\t");
	trace(&out, B, 'R', slice_of(WIRE("\0\0\0\x0br=nonce,s=salt,i=1")));
	check(&out, "B\t26\tAuthentication\t SASLContinue NNNN");
	trace(&out, B, 'R', slice_of(WIRE("\0\0\0\x0cv=proof")));
	check(&out, "B\t15\tAuthentication\t SASLFinal NNNN");
}

static void keys_are_not_written(void **state)
{
	struct bytes out;

	(void)state;
	trace(&out, B, 'K', slice_of(WIRE("\0\0\x30\x39secretkey")));
	check(&out, "B\t17\tBackendKeyData\t NNNN NNNN");
}

static void values_are_written_as_their_lengths_only(void **state)
{
	struct bytes out;

	(void)state;
	trace(&out, F, 'B', slice_of(WIRE("\0\0\0\0\0\1\0\0\0\6secret\0\0")));
	assert_null(memmem(bytes_view(&out).data, bytes_length(&out), "secret", 6));
	check(&out, "F\t22\tBind\t \"\" \"\" 0 1 6 0");
}

static void lines_hold_neither_control_characters_nor_loose_quotes(void **state)
{
	struct bytes out;

	(void)state;
	trace(&out, F, 'Q', slice_of(WIRE("a\n\t\"\\\x1b\x7f\xc3\xa9\0")));
	check(&out, "F\t14\tQuery\t \"a\\n\\x09\\\"\\\\\\x1b\\x7f\\xc3\\xa9\"");
}

static void unknown_types_are_named_by_number(void **state)
{
	struct bytes out;

	(void)state;
	trace(&out, F, '!', slice_of(WIRE("abc")));
	check(&out, "F\t7\tUnknown\t 33");
	trace(&out, B, '\0', slice_of(WIRE("")));
	check(&out, "B\t4\tUnknown\t 0");
	trace(&out, B, '\xff', slice_of(WIRE("")));
	check(&out, "B\t4\tUnknown\t 255");
	trace(&out, B, 'Q', slice_of(WIRE("select 1\0")));
	check(&out, "B\t13\tUnknown\t 81");
}

static void what_is_not_one_whole_message_is_malformed(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
	} wrong[] = {{WIRE("")}, {WIRE("Z")}, {WIRE("Z\0\0\0")}, {WIRE("Z\0\0\0\5")},
		{WIRE("Z\0\0\0\4I")}, {WIRE("Z\0\0\0\3")}, {WIRE("Z\xff\xff\xff\xff")}};

	(void)state;
	for (size_t i = 0; i < LENGTH(wrong); i++) {
		struct slice copy = exact_copy(slice_of(wrong[i].bytes, wrong[i].len));
		struct bytes out;

		bytes_init(&out, 1000);
		trace_message(&out, B, copy);
		assert_true(ends_with(&out, "Unknown\t malformed"));
		bytes_release(&out);
		exact_free(copy);
	}
}

static void lists_may_have_65535_members(void **state)
{
	struct bytes row;
	struct bytes out;

	(void)state;
	bytes_init(&row, 200000);
	bytes_put_u16(&row, 32768);
	for (unsigned i = 0; i < 32768; i++)
		bytes_put_u32(&row, 0xffffffff);
	trace(&out, B, 'D', bytes_view(&row));
	assert_true(ends_with(&out, " NULL NULL"));
	bytes_release(&out);
	bytes_release(&row);
}

static const struct {
	const char *packet;
	size_t len;
	const char *want;
} packets[] = {
	{WIRE("\0\0\0\x08\x04\xd2\x16\x2f"), "F\t8\tSSLRequest\t"},
	{WIRE("\0\0\0\x08\x04\xd2\x16\x30"), "F\t8\tGSSENCRequest\t"},
	{WIRE("\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\7abcd"), "F\t16\tCancelRequest\t NNNN NNNN"},
	{WIRE("\0\0\0\x12\0\3\0\0user\0app\0\0"), "F\t18\tStartupMessage\t 3 0 \"user\" \"app\""},
	{WIRE("\0\0\0\x12\0\3\0\2user\0\0app\0"),
		"F\t18\tStartupMessage\t 3 2 \"user\" \"\" \"app\" malformed"},
	{WIRE("\0\0\0\x09\0\3\0\0\0"), "F\t9\tStartupMessage\t 3 0"},
	{WIRE("\0\0\0\x08\0\2\0\0"), "F\t8\tStartup\t malformed"},
	{WIRE("\0\0\0\x08"), "F\t4\tStartup\t malformed"},
};

static void packets_without_type_are_one_line_each(void **state)
{
	(void)state;
	for (size_t i = 0; i < LENGTH(packets); i++) {
		struct slice copy = exact_copy(slice_of(packets[i].packet, packets[i].len));
		struct bytes out;

		bytes_init(&out, 1000);
		trace_startup(&out, copy);
		check(&out, packets[i].want);
		exact_free(copy);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_message_is_one_line),
		cmocka_unit_test(a_body_cut_at_any_byte_is_malformed),
		cmocka_unit_test(a_byte_left_over_is_malformed),
		cmocka_unit_test(passwords_and_sasl_data_are_not_written),
		cmocka_unit_test(keys_are_not_written),
		cmocka_unit_test(values_are_written_as_their_lengths_only),
		cmocka_unit_test(lines_hold_neither_control_characters_nor_loose_quotes),
		cmocka_unit_test(unknown_types_are_named_by_number),
		cmocka_unit_test(what_is_not_one_whole_message_is_malformed),
		cmocka_unit_test(lists_may_have_65535_members),
		cmocka_unit_test(packets_without_type_are_one_line_each),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "exact.h"
#include "message.h"

#define LENGTH(a) (sizeof(a) / sizeof((a)[0]))
#define WIRE(text) text, sizeof(text) - 1

#define CODE_CANCEL 80877102u
#define CODE_SSL 80877103u
#define CODE_GSSENC 80877104u
#define CODE_3_0 0x00030000u

/* A packet that says `length` and `code` and has `size` bytes, zero from the ninth on. */
static struct slice packet_of(uint32_t length, uint32_t code, size_t size)
{
	struct bytes b;
	struct slice s;

	bytes_init(&b, 20000);
	bytes_put_u32(&b, length);
	bytes_put_u32(&b, code);
	while (bytes_length(&b) < size)
		bytes_put_u8(&b, 0);
	s = exact_copy(slice_of(bytes_view(&b).data, size));
	bytes_release(&b);
	return s;
}

static enum startup_kind peek(uint32_t length, uint32_t code, size_t size)
{
	struct slice s = packet_of(length, code, size);
	size_t got = 0;
	enum startup_kind kind = startup_peek(s, &got);

	if (kind != STARTUP_BAD && kind != STARTUP_PARTIAL)
		assert_int_equal(got, length);
	exact_free(s);
	return kind;
}

static const struct {
	const char *label;
	uint32_t length;
	uint32_t code;
	enum startup_kind want;
} kinds[] = {
	{"SSLRequest", 8, CODE_SSL, STARTUP_SSL},
	{"SSLRequest with a tail", 9, CODE_SSL, STARTUP_BAD},
	{"GSSENCRequest", 8, CODE_GSSENC, STARTUP_GSSENC},
	{"GSSENCRequest with a tail", 12, CODE_GSSENC, STARTUP_BAD},
	{"the code behind GSSENCRequest", 8, CODE_GSSENC + 1, STARTUP_BAD},
	{"the code before CancelRequest", 16, CODE_CANCEL - 1, STARTUP_BAD},
	{"CancelRequest", 16, CODE_CANCEL, STARTUP_CANCEL},
	{"CancelRequest with a key of 3 bytes", 15, CODE_CANCEL, STARTUP_BAD},
	{"CancelRequest with a key of 5 bytes", 17, CODE_CANCEL, STARTUP_CANCEL},
	{"CancelRequest with a key of 32 bytes", 44, CODE_CANCEL, STARTUP_CANCEL},
	{"CancelRequest with a key of 256 bytes", 268, CODE_CANCEL, STARTUP_CANCEL},
	{"CancelRequest with a key of 257 bytes", 269, CODE_CANCEL, STARTUP_BAD},
	{"CancelRequest without key", 12, CODE_CANCEL, STARTUP_BAD},
	{"protocol 3.0", 20, CODE_3_0, STARTUP_SESSION},
	{"protocol 3.1", 20, 0x00030001, STARTUP_SESSION},
	{"protocol 3.2", 20, 0x00030002, STARTUP_SESSION},
	{"protocol 3.9999", 20, 0x0003270f, STARTUP_SESSION},
	{"protocol 3.65535", 20, 0x0003ffff, STARTUP_SESSION},
	{"protocol 2.0", 20, 0x00020000, STARTUP_BAD},
	{"protocol 4.0", 20, 0x00040000, STARTUP_BAD},
	{"protocol 0.0", 20, 0, STARTUP_BAD},
	{"the highest code", 20, 0xffffffff, STARTUP_BAD},
	{"length 0", 0, CODE_3_0, STARTUP_BAD},
	{"length 3", 3, CODE_3_0, STARTUP_BAD},
	{"length 4", 4, CODE_3_0, STARTUP_BAD},
	{"length 7", 7, CODE_3_0, STARTUP_BAD},
	{"length 8", 8, CODE_3_0, STARTUP_SESSION},
	{"the longest", 10004, CODE_3_0, STARTUP_SESSION},
	{"one over", 10005, CODE_3_0, STARTUP_BAD},
	{"length 0x7fffffff", 0x7fffffff, CODE_3_0, STARTUP_BAD},
	{"length 0x80000000", 0x80000000, CODE_3_0, STARTUP_BAD},
	{"length 0xffffffff", 0xffffffff, CODE_3_0, STARTUP_BAD},
	{"SSLRequest of length 0xffffffff", 0xffffffff, CODE_SSL, STARTUP_BAD},
};

static size_t size_of(size_t i)
{
	return kinds[i].length >= 8 && kinds[i].length <= STARTUP_MAX ? kinds[i].length : 8;
}

static void every_packet_has_its_kind(void **state)
{
	(void)state;
	for (size_t i = 0; i < LENGTH(kinds); i++)
		if (peek(kinds[i].length, kinds[i].code, size_of(i)) != kinds[i].want)
			fail_msg("%s", kinds[i].label);
}

static void what_follows_a_packet_is_not_looked_at(void **state)
{
	(void)state;
	for (size_t i = 0; i < LENGTH(kinds); i++)
		if (peek(kinds[i].length, kinds[i].code, size_of(i) + 1) != kinds[i].want)
			fail_msg("%s", kinds[i].label);
}

/* A wrong length is known with the fourth byte, a wrong code with the eighth. */
static void a_packet_cut_at_any_byte_is_partial_unless_it_is_known_to_be_bad(void **state)
{
	(void)state;
	for (size_t i = 0; i < LENGTH(kinds); i++) {
		bool bad_length = kinds[i].length < 8 || kinds[i].length > STARTUP_MAX;
		bool bad = kinds[i].want == STARTUP_BAD;

		for (size_t size = 0; size < size_of(i); size = size < 300 ? size + 1 : size * 2) {
			bool known = bad && size >= (bad_length ? 4 : 8);

			if (peek(kinds[i].length, kinds[i].code, size) !=
				(known ? STARTUP_BAD : STARTUP_PARTIAL))
				fail_msg("%s, %zu bytes", kinds[i].label, size);
		}
	}
}

static void what_speaks_another_protocol_is_bad_after_four_bytes(void **state)
{
	static const struct {
		const char *text;
		size_t len;
	} cases[] = {{WIRE("GET / HTTP/1.1\r\n")}, {WIRE("\x16\x03\x01\x02\x00\x01\x00\x01")},
		{WIRE("SSH-2.0-x")}, {WIRE("Q\0\0\0")}, {WIRE("p\0\0\0")}};
	size_t size;

	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++) {
		struct slice s = exact_copy(slice_of(cases[i].text, 4));

		assert_int_equal(startup_peek(s, &size), STARTUP_BAD);
		exact_free(s);
		assert_int_equal(
			startup_peek(slice_of(cases[i].text, cases[i].len), &size), STARTUP_BAD);
	}
}

/* A StartupMessage with this list of parameters, exactly sized. */
static struct slice session_packet(const char *list, size_t len)
{
	struct bytes b;
	struct slice s;

	bytes_init(&b, 20000);
	bytes_put_u32(&b, (uint32_t)(8 + len));
	bytes_put_u32(&b, CODE_3_0);
	bytes_put(&b, list, len);
	s = exact_copy(bytes_view(&b));
	bytes_release(&b);
	return s;
}

static const struct {
	const char *label;
	const char *list;
	size_t len;
	bool well_formed;
	const char *user; /* NULL: not there */
} lists[] = {
	{"user", WIRE("user\0app\0\0"), true, "app"},
	{"user and more", WIRE("database\0d\0user\0app\0options\0-c x=y\0\0"), true, "app"},
	{"no parameter", WIRE("\0"), true, NULL},
	{"no user", WIRE("database\0user\0\0"), true, NULL},
	{"the last of two wins", WIRE("user\0a\0user\0b\0\0"), true, "b"},
	{"an empty value", WIRE("user\0\0\0"), true, ""},
	{"an empty value before another", WIRE("database\0\0user\0app\0\0"), true, "app"},
	{"longer name", WIRE("username\0app\0\0"), true, NULL},
	{"other case", WIRE("USER\0app\0\0"), true, NULL},
	{"a protocol option", WIRE("user\0app\0_pq_.x\0on\0\0"), true, "app"},
	{"bytes that are no UTF-8", WIRE("user\0\xff\xfe\0\0"), true, "\xff\xfe"},
	{"nothing at all", WIRE(""), false, NULL},
	{"no terminator", WIRE("user\0app\0"), false, NULL},
	{"value without end", WIRE("user\0app"), false, NULL},
	{"name without value", WIRE("user\0"), false, NULL},
	{"name without end", WIRE("user"), false, NULL},
	{"bytes behind the terminator", WIRE("user\0app\0\0x"), false, NULL},
	{"two terminators", WIRE("user\0app\0\0\0"), false, NULL},
	{"terminator first", WIRE("\0user\0app\0\0"), false, NULL},
	{"name without value behind a good pair", WIRE("user\0app\0database\0"), false, NULL},
};

static void parameter_lists_are_judged_as_the_server_judges_them(void **state)
{
	(void)state;
	for (size_t i = 0; i < LENGTH(lists); i++) {
		struct slice packet = session_packet(lists[i].list, lists[i].len);

		if (startup_is_well_formed(packet) != lists[i].well_formed)
			fail_msg("%s", lists[i].label);
		exact_free(packet);
	}
}

static void a_parameter_is_found_in_a_good_list_only(void **state)
{
	(void)state;
	for (size_t i = 0; i < LENGTH(lists); i++) {
		struct slice packet = session_packet(lists[i].list, lists[i].len);
		struct slice value = slice_str("unchanged");
		bool found = startup_parameter(packet, "user", &value);
		const char *want = lists[i].user ? lists[i].user : "unchanged";

		if (found != (lists[i].user != NULL) || !slice_is(value, want))
			fail_msg("%s", lists[i].label);
		exact_free(packet);
	}
}

static void a_list_cut_at_any_byte_is_malformed(void **state)
{
	static const char list[] = "user\0app\0database\0db\0\0";

	(void)state;
	for (size_t len = 0; len < sizeof(list) - 1; len++) {
		struct slice packet = session_packet(list, len);
		struct slice value;

		assert_false(startup_is_well_formed(packet));
		assert_false(startup_parameter(packet, "user", &value));
		exact_free(packet);
	}
}

static void options_may_fill_the_longest_packet(void **state)
{
	static char list[STARTUP_MAX - 8];
	struct slice packet;
	struct slice value;
	size_t size;

	(void)state;
	memset(list, 'x', sizeof(list));
	memcpy(list, "options", 8);
	list[sizeof(list) - 2] = '\0';
	list[sizeof(list) - 1] = '\0';
	packet = session_packet(list, sizeof(list));
	assert_int_equal(startup_peek(packet, &size), STARTUP_SESSION);
	assert_true(startup_is_well_formed(packet));
	assert_true(startup_parameter(packet, "options", &value));
	assert_int_equal(value.len, sizeof(list) - 10);
	exact_free(packet);
}

static void a_packet_shorter_than_its_header_has_no_parameters(void **state)
{
	(void)state;
	for (size_t len = 0; len <= 8; len++) {
		struct slice packet = packet_of(8, CODE_3_0, len);
		struct slice value;

		assert_false(startup_is_well_formed(packet));
		assert_false(startup_parameter(packet, "user", &value));
		exact_free(packet);
	}
}

static void a_written_cancel_request_is_read_back(void **state)
{
	uint8_t secret[256];

	(void)state;
	memset(secret, 0xa5, sizeof(secret));
	for (size_t len = 4; len <= sizeof(secret); len++) {
		struct backend_key key = {.pid = 0xfffffffe, .secret = slice_of(secret, len)};
		struct backend_key got;
		struct bytes b;
		struct slice view;
		size_t size;

		bytes_init(&b, 300);
		startup_put_cancel(&b, &key);
		assert_false(bytes_failed(&b));
		view = bytes_view(&b);
		assert_int_equal(startup_peek(view, &size), STARTUP_CANCEL);
		assert_int_equal(size, view.len);
		assert_true(backend_key_decode(slice_of(view.data + 8, size - 8), &got));
		assert_true(got.pid == key.pid && slice_equal(got.secret, key.secret));
		bytes_release(&b);
	}
}

static void a_written_ssl_request_is_read_back(void **state)
{
	struct bytes b;
	size_t size;

	(void)state;
	bytes_init(&b, 100);
	startup_put_ssl_request(&b);
	assert_int_equal(startup_peek(bytes_view(&b), &size), STARTUP_SSL);
	assert_int_equal(size, bytes_length(&b));
	bytes_release(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_packet_has_its_kind),
		cmocka_unit_test(what_follows_a_packet_is_not_looked_at),
		cmocka_unit_test(a_packet_cut_at_any_byte_is_partial_unless_it_is_known_to_be_bad),
		cmocka_unit_test(what_speaks_another_protocol_is_bad_after_four_bytes),
		cmocka_unit_test(parameter_lists_are_judged_as_the_server_judges_them),
		cmocka_unit_test(a_parameter_is_found_in_a_good_list_only),
		cmocka_unit_test(a_list_cut_at_any_byte_is_malformed),
		cmocka_unit_test(options_may_fill_the_longest_packet),
		cmocka_unit_test(a_packet_shorter_than_its_header_has_no_parameters),
		cmocka_unit_test(a_written_cancel_request_is_read_back),
		cmocka_unit_test(a_written_ssl_request_is_read_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

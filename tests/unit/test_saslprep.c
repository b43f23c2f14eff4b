#include "saslprep.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define LENGTH(a) (sizeof(a) / sizeof((a)[0]))

/* The examples of RFC 4013, section 3, and PostgreSQL's way with what they prohibit. */
static const struct {
	const char *label, *in, *want;
} cases[] = {
	{"ASCII", "secret", "secret"},
	{"empty", "", ""},
	{"case is kept", "USER", "USER"},
	{"control characters that are ASCII", "a\x07\x7f", "a\x07\x7f"},
	{"a soft hyphen", "I\xc2\xadX", "IX"},
	{"soft hyphens alone", "\xc2\xad\xc2\xad", "\xc2\xad\xc2\xad"},
	{"an ordinal indicator", "\xc2\xaa", "a"},
	{"a Roman numeral", "\xe2\x85\xa8", "IX"},
	{"a no-break space", "a\xc2\xa0z", "a z"},
	{"an ideographic space", "a\xe3\x80\x80z", "a z"},
	{"a ligature", "\xef\xac\x81n", "fin"},
	{"full width", "\xef\xbc\xa1\xef\xbc\x91", "A1"},
	{"composed", "\xc3\xa9", "\xc3\xa9"},
	{"decomposed", "e\xcc\x81", "\xc3\xa9"},
	{"one character that becomes eighteen", "\xef\xb7\xba",
		"\xd8\xb5\xd9\x84\xd9\x89 \xd8\xa7\xd9\x84\xd9\x84\xd9\x87 "
		"\xd8\xb9\xd9\x84\xd9\x8a\xd9\x87 \xd9\x88\xd8\xb3\xd9\x84\xd9\x85"},
	/* Taken as they are. */
	{"a control character that is not ASCII", "\xc2\x85x\xc2\xad", "\xc2\x85x\xc2\xad"},
	{"ASCII control beside others", "\x07\xc2\xad", "\x07\xc2\xad"},
	{"private use", "\xee\x80\x80\xc2\xad", "\xee\x80\x80\xc2\xad"},
	{"both directions",
		"\xd8\xa7"
		"1\xc2\xad",
		"\xd8\xa7"
		"1\xc2\xad"},
	{"unassigned in Unicode 3.2", "\xf0\x9f\x98\x80\xc2\xad", "\xf0\x9f\x98\x80\xc2\xad"},
	{"a tone mark that becomes a permitted one", "e\xcd\x81\xc2\xad", "e\xcd\x81\xc2\xad"},
	{"another", "e\xcd\x80\xc2\xad", "e\xcd\x80\xc2\xad"},
	{"a sign that becomes a letter of the other direction", "a\xe2\x84\xb5", "a\xd7\x90"},
	{"Latin-1", "\xe9t\xe9", "\xe9t\xe9"},
	{"cut in a character", "a\xc2", "a\xc2"},
	{"an overlong form", "\xc0\x80\xc2\xad", "\xc0\x80\xc2\xad"},
	{"a surrogate", "\xed\xa0\x80\xc2\xad", "\xed\xa0\x80\xc2\xad"},
	{"beyond Unicode", "\xf4\x90\x80\x80\xc2\xad", "\xf4\x90\x80\x80\xc2\xad"},
};

static void passwords_become_what_postgres_makes_of_them(void **state)
{
	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++) {
		struct bytes out;

		bytes_init(&out, 1000);
		saslprep_put(&out, slice_str(cases[i].in));
		if (!slice_is(bytes_view(&out), cases[i].want))
			fail_msg("%s: %.*s", cases[i].label, (int)bytes_length(&out),
				(const char *)bytes_view(&out).data);
		bytes_release(&out);
	}
}

static void a_zero_byte_is_not_lost(void **state)
{
	static const char text[] = "a\0\xc2\xad";
	struct bytes out;

	(void)state;
	bytes_init(&out, 1000);
	saslprep_put(&out, slice_of(text, sizeof(text)));
	assert_true(slice_equal(bytes_view(&out), slice_of(text, sizeof(text))));
	bytes_release(&out);
}

/* A client could keep a thread busy for a second otherwise. */
static void a_very_long_password_is_taken_as_it_is(void **state)
{
	char text[SASLPREP_MAX + 3];
	struct bytes out;

	(void)state;
	for (size_t i = 0; i + 3 <= sizeof(text); i += 3)
		memcpy(text + i, "e\xcc\x81", 3);
	bytes_init(&out, 100000);
	saslprep_put(&out, slice_of(text, SASLPREP_MAX - SASLPREP_MAX % 3));
	assert_int_equal(bytes_length(&out), SASLPREP_MAX / 3 * 2);
	bytes_clear(&out);
	saslprep_put(&out, slice_of(text, SASLPREP_MAX + 1));
	assert_int_equal(bytes_length(&out), SASLPREP_MAX + 1);
	bytes_release(&out);
}

static void every_truncation_is_prepared_or_taken_as_it_is(void **state)
{
	static const char text[] = "\xef\xb7\xba\xf0\x9f\x98\x80\xe2\x85\xa8"
				   "e\xcc\x81";

	(void)state;
	for (size_t len = 0; len < sizeof(text); len++) {
		struct bytes out;

		bytes_init(&out, 1000);
		saslprep_put(&out, slice_of(text, len));
		assert_false(bytes_failed(&out));
		bytes_release(&out);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(passwords_become_what_postgres_makes_of_them),
		cmocka_unit_test(a_zero_byte_is_not_lost),
		cmocka_unit_test(a_very_long_password_is_taken_as_it_is),
		cmocka_unit_test(every_truncation_is_prepared_or_taken_as_it_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "sql_name.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define LENGTH(a) (sizeof(a) / sizeof((a)[0]))

#define TEN "abcdefghij"
#define SIXTY TEN TEN TEN TEN TEN TEN
#define E_ACUTE "\xc3\xa9"

static const struct sql_dialect utf8 = {.encoding = SQL_ENCODING_UTF8};
static const struct sql_dialect latin1 = {.encoding = SQL_ENCODING_ASCII_SAFE};
static const struct sql_dialect sjis = {.encoding = SQL_ENCODING_ASCII_UNSAFE};

struct decoding {
	const char *label;
	const char *text;
	const char *want; /* NULL: must be refused */
};

static void check_names(const struct decoding *cases, size_t n, struct sql_dialect dialect)
{
	struct sql_name name;

	for (size_t i = 0; i < n; i++) {
		bool good = sql_name_decode(slice_str(cases[i].text), dialect, &name);

		if (good != (cases[i].want != NULL))
			fail_msg("%s: %s", cases[i].label, good ? name.text : "refused");
		if (good && strcmp(name.text, cases[i].want) != 0)
			fail_msg("%s: got %s", cases[i].label, name.text);
		if (good)
			assert_int_equal(name.len, strlen(name.text));
	}
}

static void names_are_decoded_as_postgresql_does(void **state)
{
	static const struct decoding cases[] = {
		{"word", "Foo_1$", "foo_1$"},
		{"letters beyond ASCII stay", "\xc3\x89T\xc3\x89", "\xc3\x89t\xc3\x89"},
		{"quoted", "\"Foo\"\"Bar \"", "Foo\"Bar "},
		{"blanks around", " /* a */ foo -- b", "foo"},
		{"empty", "", NULL},
		{"empty quoted", "\"\"", NULL},
		{"two words", "a b", NULL},
		{"a string", "'a'", NULL},
		{"qualified", "a.b", NULL},
		{"not closed", "\"a", NULL},
		{"a number", "1a", NULL},
	};

	(void)state;
	check_names(cases, LENGTH(cases), utf8);
}

static void unicode_escapes_become_utf8(void **state)
{
	static const struct decoding cases[] = {
		{"four digits", "U&\"d\\0061t\\00e9\"", "dat" E_ACUTE},
		{"six digits", "u&\"\\+01F600\"", "\xf0\x9f\x98\x80"},
		{"two halves", "U&\"\\D83D\\DE00\"", "\xf0\x9f\x98\x80"},
		{"two halves of six", "U&\"\\+00D83D\\+00DE00x\"", "\xf0\x9f\x98\x80x"},
		{"three bytes", "U&\"\\20ac\"", "\xe2\x82\xac"},
		{"case is kept", "U&\"A\\0042\"", "AB"},
		{"backslash", "U&\"a\\\\0061\"", "a\\0061"},
		{"quote", "U&\"a\"\"b\"", "a\"b"},
		{"an escaped quote", "U&\"a\\0022b\"", "a\"b"},
		{"other escape", "U&\"a!0062\\\" UESCAPE '!'", "ab\\"},
		{"other escape, twice", "U&\"a!!b\"\nuescape /* */ '!'", "a!b"},
		{"zero", "U&\"\\0000\"", NULL},
		{"too large", "U&\"\\+110000\"", NULL},
		{"first half alone", "U&\"\\D83D\"", NULL},
		{"first half twice", "U&\"\\D83D\\D83D\"", NULL},
		{"first half and no digits", "U&\"\\D83D\\x\"", NULL},
		{"second half alone", "U&\"\\DE00\"", NULL},
		{"too few digits", "U&\"\\006\"", NULL},
		{"five after plus", "U&\"\\+00061\"", NULL},
		{"no digits", "U&\"\\\"", NULL},
		{"escape is a digit", "U&\"a\" UESCAPE 'a'", NULL},
		{"escape is a plus", "U&\"a\" UESCAPE '+'", NULL},
		{"escape is a blank", "U&\"a\" UESCAPE ' '", NULL},
		{"escape is too long", "U&\"a\" UESCAPE '!!'", NULL},
		{"escape is missing", "U&\"a\" UESCAPE", NULL},
		{"escape for another kind", "\"a\" UESCAPE '!'", NULL},
	};

	(void)state;
	check_names(cases, LENGTH(cases), utf8);
}

static void names_are_cut_at_the_border_of_a_character(void **state)
{
	static const struct decoding cases[] = {
		{"63 bytes", SIXTY "abc", SIXTY "abc"},
		{"64 bytes", SIXTY "abcd", SIXTY "abc"},
		{"many", "\"" SIXTY SIXTY SIXTY "\"", SIXTY "abc"},
		{"a character that fits", SIXTY "a" E_ACUTE "b", SIXTY "a" E_ACUTE},
		{"one that does not", SIXTY "ab" E_ACUTE "b", SIXTY "ab"},
		{"three bytes", SIXTY "a\xe2\x82\xac", SIXTY "a"},
		{"four bytes", SIXTY "\xf0\x9f\x98\x80", SIXTY},
		{"quotes count once", "\"" SIXTY "\"\"\"\"\"\"x\"", SIXTY "\"\"\""},
		{"by escape", "U&\"" SIXTY "ab\\00e9\"", SIXTY "ab"},
		{"an error behind the cut", "U&\"" SIXTY "abcd\\xx\"", NULL},
		{"half a character at the end", SIXTY "ab\xc3", SIXTY "ab\xc3"},
	};

	(void)state;
	check_names(cases, LENGTH(cases), utf8);
}

static void what_depends_on_another_encoding_is_refused(void **state)
{
	static const struct decoding cases[] = {
		{"plain bytes", "\"\xe9\"", "\xe9"},
		{"ASCII escape", "U&\"\\0061\"", "a"},
		{"escape beyond ASCII", "U&\"\\00e9\"", NULL},
		{"cut of ASCII", SIXTY "abcd", SIXTY "abc"},
		{"cut among others", SIXTY "ab\xe9\xe9", NULL},
		{"long, but not cut", SIXTY "ab\xe9", SIXTY "ab\xe9"},
	};

	(void)state;
	check_names(cases, LENGTH(cases), latin1);
	assert_false(sql_name_decode(slice_str("\"\xe9\""), sjis, &(struct sql_name){.len = 0}));
}

static void paths_become_canonical_text(void **state)
{
	static const struct decoding cases[] = {
		{"one", "Foo", "\"foo\""},
		{"two", "S.\"T\"", "\"s\".\"T\""},
		{"three", "db.s.t", "\"db\".\"s\".\"t\""},
		{"four", "a.b.c.d", NULL},
		{"blanks and comments", "a /* . */ . -- x\n b", "\"a\".\"b\""},
		{"quotes", "\"a\"\"b\".c", "\"a\"\"b\".\"c\""},
		{"a dot inside", "\"a.b\"", "\"a.b\""},
		{"escapes", "U&\"!0061\" UESCAPE '!'.U&\"\\0062\"", "\"a\".\"b\""},
		{"keywords behind a dot", "a.select", "\"a\".\"select\""},
		{"ends in a dot", "a.", NULL},
		{"begins with a dot", ".a", NULL},
		{"two dots", "a..b", NULL},
		{"something behind", "a.b c", NULL},
		{"a star", "a.*", NULL},
		{"nothing", " ", NULL},
	};
	struct sql_path path;
	struct bytes out;

	(void)state;
	bytes_init(&out, 1000);
	for (size_t i = 0; i < LENGTH(cases); i++) {
		bool good = sql_path_decode(slice_str(cases[i].text), utf8, &path);

		if (good != (cases[i].want != NULL))
			fail_msg("%s", cases[i].label);
		if (!good)
			continue;
		bytes_clear(&out);
		sql_path_write(&out, &path);
		if (!slice_is(bytes_view(&out), cases[i].want))
			fail_msg("%s: got %.*s", cases[i].label, (int)bytes_length(&out),
				(const char *)bytes_view(&out).data);
	}
	bytes_release(&out);
}

static struct sql_path path_of(const char *text)
{
	struct sql_path path;

	assert_true(sql_path_decode(slice_str(text), utf8, &path));
	return path;
}

static void names_are_compared_by_what_they_mean(void **state)
{
	static const struct {
		const char *a;
		const char *b;
		bool same;
	} cases[] = {
		{"foo", "FOO", true},
		{"foo", "\"foo\"", true},
		{"foo", "\"Foo\"", false},
		{"foo", "U&\"f\\006fo\"", true},
		{"a.b", "A . \"b\"", true},
		{"a.b", "b", false},
		{"a.b", "\"a.b\"", false},
		{"foo", "fo", false},
		{SIXTY "abcd", SIXTY "abce", true},
		{E_ACUTE, "U&\"\\00e9\"", true},
	};

	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++) {
		struct sql_path a = path_of(cases[i].a);
		struct sql_path b = path_of(cases[i].b);

		if (sql_path_equal(&a, &b) != cases[i].same)
			fail_msg("%s and %s", cases[i].a, cases[i].b);
		assert_true(sql_path_equal(&a, &a));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_are_decoded_as_postgresql_does),
		cmocka_unit_test(unicode_escapes_become_utf8),
		cmocka_unit_test(names_are_cut_at_the_border_of_a_character),
		cmocka_unit_test(what_depends_on_another_encoding_is_refused),
		cmocka_unit_test(paths_become_canonical_text),
		cmocka_unit_test(names_are_compared_by_what_they_mean),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

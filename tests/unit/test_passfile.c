#include "passfile.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LENGTH(a) (sizeof(a) / sizeof((a)[0]))

static const struct passfile_key key = {"h", "5432", "db", "u"};

static const struct {
	const char *label, *text;
	const char *want; /* NULL = nothing fits */
} cases[] = {
	{"empty", "", NULL},
	{"the line", "h:5432:db:u:secret\n", "secret"},
	{"no line end", "h:5432:db:u:secret", "secret"},
	{"Windows line end", "h:5432:db:u:secret\r\n", "secret"},
	{"wildcards", "*:*:*:*:any", "any"},
	{"some wildcards", "h:*:db:*:any", "any"},
	{"the first counts", "h:5432:db:u:one\nh:5432:db:u:two\n", "one"},
	{"others before",
		"\n#h:5432:db:u:no\nx:5432:db:u:a\nh:1:db:u:b\nh:5432:x:u:c\n"
		"h:5432:db:x:d\nh:5432:db:u:yes\n",
		"yes"},
	{"longer field", "hh:5432:db:u:x", NULL},
	{"shorter field", "h:543:db:u:x", NULL},
	{"star is not a pattern", "h*:5432:db:u:x", NULL},
	{"escaped star", "\\*:5432:db:u:x", NULL},
	{"escapes in the password", "h:5432:db:u:a\\:b\\\\c", "a:b\\c"},
	{"colons in the password", "h:5432:db:u:a:b", "a:b"},
	{"escaped letters", "\\h:5432:d\\b:u:x", "x"},
	{"backslash at the end", "h:5432:db:u:x\\", "x\\"},
	{"empty password", "h:5432:db:u:\nh:5432:db:u:x", ""},
	{"too few fields", "h:5432:db:u\nh:5432:db\nh", NULL},
	{"fields do not run into the next line", "h:5432\n:db:u:x", NULL},
};

static void the_first_line_that_fits_counts(void **state)
{
	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++) {
		char *got = passfile_find(cases[i].text, &key);

		if ((got == NULL) != (cases[i].want == NULL) ||
			(got && strcmp(got, cases[i].want) != 0))
			fail_msg("%s: %s", cases[i].label, got ? got : "nothing");
		free(got);
	}
}

static void names_with_colons_and_backslashes_are_found(void **state)
{
	static const struct passfile_key odd = {"::1", "5432", "a\\b", "*"};
	char *got;

	(void)state;
	got = passfile_find("\\:\\:1:5432:a\\\\b:\\*:x", &odd);
	assert_string_equal(got, "x");
	free(got);
	assert_null(passfile_find("::1:5432:a\\\\b:*:x", &odd));
}

static void every_truncation_is_read(void **state)
{
	static const char text[] = "#c\nx:1\\:2:*:*:p\nh:5432:db:u:a\\:b\\\\c\n";

	(void)state;
	for (size_t len = 0; len < sizeof(text); len++) {
		char *copy = strndup(text, len);

		assert_non_null(copy);
		free(passfile_find(copy, &key));
		free(copy);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_first_line_that_fits_counts),
		cmocka_unit_test(names_with_colons_and_backslashes_are_found),
		cmocka_unit_test(every_truncation_is_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "exact.h"

static void strings_are_quoted_and_made_utf8(void **state)
{
	static const struct {
		const char *text;
		size_t len;
		const char *want;
	} samples[] = {
		{"", 0, "\"\""},
		{"a\"b\\c", 5, "\"a\\\"b\\\\c\""},
		{"\0\n\x1f\x7f", 4, "\"\\u0000\\u000a\\u001f\x7f\""},
		{"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", 9,
			"\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\""},
		{"\xc3", 1, "\"\\ufffd\""},
		{"\xe2\x82", 2, "\"\\ufffd\\ufffd\""},
		{"\xc0\x80", 2, "\"\\ufffd\\ufffd\""},
		{"\xed\xa0\x80", 3, "\"\\ufffd\\ufffd\\ufffd\""},
		{"\xf4\x90\x80\x80", 4, "\"\\ufffd\\ufffd\\ufffd\\ufffd\""},
		{"\xff"
		 "a",
			2, "\"\\ufffda\""},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++) {
		struct slice text = exact_copy(slice_of(samples[i].text, samples[i].len));
		struct bytes out;

		bytes_init(&out, 1000);
		json_put_string(&out, text);
		assert_int_equal(bytes_length(&out), strlen(samples[i].want));
		assert_memory_equal(bytes_view(&out).data, samples[i].want, bytes_length(&out));
		bytes_release(&out);
		exact_free(text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(strings_are_quoted_and_made_utf8)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

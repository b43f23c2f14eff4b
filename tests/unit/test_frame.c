#include "frame.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "exact.h"

#define LENGTH(a) (sizeof(a) / sizeof((a)[0]))

static const struct {
	const char *label;
	const char *header; /* FRAME_HEADER bytes */
	enum frame_status want;
	size_t size;
} cases[] = {
	{"length 0", "Q\x00\x00\x00\x00", FRAME_BAD, 0},
	{"length 1", "Q\x00\x00\x00\x01", FRAME_BAD, 0},
	{"length 3", "Q\x00\x00\x00\x03", FRAME_BAD, 0},
	{"an empty body", "S\x00\x00\x00\x04", FRAME_WHOLE_HEADER, 5},
	{"a body of one byte", "Z\x00\x00\x00\x05", FRAME_WHOLE_HEADER, 6},
	{"the longest small one", "d\x00\x00\x00\xff", FRAME_WHOLE_HEADER, 0x100},
	{"every byte counts", "d\x01\x02\x03\x04", FRAME_WHOLE_HEADER, 0x01020305},
	{"1 GiB", "d\x40\x00\x00\x00", FRAME_WHOLE_HEADER, 0x40000001},
	{"the longest", "d\x7f\xff\xff\xff", FRAME_WHOLE_HEADER, 0x80000000},
	{"one over", "d\x80\x00\x00\x00", FRAME_BAD, 0},
	{"-1", "d\xff\xff\xff\xff", FRAME_BAD, 0},
	{"a type of zero", "\x00\x00\x00\x00\x08", FRAME_WHOLE_HEADER, 9},
	{"a type above ASCII", "\xff\x00\x00\x00\x08", FRAME_WHOLE_HEADER, 9},
};

static void every_length_field_has_its_verdict(void **state)
{
	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++) {
		struct slice s = exact_copy(slice_of(cases[i].header, FRAME_HEADER));
		struct frame f = {0};

		if (frame_peek(s.data, s.len, &f) != cases[i].want)
			fail_msg("%s", cases[i].label);
		if (f.size != cases[i].size)
			fail_msg("%s: size %zu", cases[i].label, f.size);
		if (cases[i].want == FRAME_WHOLE_HEADER)
			assert_int_equal(f.type, (uint8_t)cases[i].header[0]);
		exact_free(s);
	}
}

static void fewer_than_five_bytes_are_partial_whatever_they_say(void **state)
{
	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++) {
		for (size_t len = 0; len < FRAME_HEADER; len++) {
			struct slice s = exact_copy(slice_of(cases[i].header, len));
			struct frame f;

			assert_int_equal(frame_peek(s.data, s.len, &f), FRAME_PARTIAL);
			exact_free(s);
		}
	}
}

static void the_body_is_what_follows_the_header(void **state)
{
	(void)state;
	assert_true(slice_is(frame_body(slice_of("Z\0\0\0\5T", 6)), "T"));
	assert_int_equal(frame_body(slice_of("S\0\0\0\4", 5)).len, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_length_field_has_its_verdict),
		cmocka_unit_test(fewer_than_five_bytes_are_partial_whatever_they_say),
		cmocka_unit_test(the_body_is_what_follows_the_header),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

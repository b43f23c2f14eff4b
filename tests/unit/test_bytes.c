#include "bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "exact.h"

#define LENGTH(a) (sizeof(a) / sizeof((a)[0]))

static struct slice wire(const char *bytes, size_t len)
{
	return exact_copy(slice_of(bytes, len));
}

static void integers_are_big_endian(void **state)
{
	struct slice s = wire("\x01\x02\x03\x04\x05\x06\x07", 7);
	struct cursor c = cursor_over(s);

	(void)state;
	assert_int_equal(cursor_u8(&c), 0x01);
	assert_int_equal(cursor_u16(&c), 0x0203);
	assert_int_equal(cursor_u32(&c), 0x04050607);
	assert_true(cursor_done(&c));
	exact_free(s);
}

static void integers_with_the_highest_bit_stay_unsigned(void **state)
{
	struct slice s = wire("\xff\xfe\xfd\xff\xff\xff\xff", 7);
	struct cursor c = cursor_over(s);

	(void)state;
	assert_int_equal(cursor_u8(&c), 0xff);
	assert_int_equal(cursor_u16(&c), 0xfefd);
	assert_true(cursor_u32(&c) == 0xffffffffu);
	assert_true(cursor_done(&c));
	exact_free(s);
}

static void a_read_past_the_end_gives_zero_and_fails(void **state)
{
	(void)state;
	for (size_t len = 0; len < 4; len++) {
		struct slice s = wire("\xff\xff\xff", len);
		struct cursor c = cursor_over(s);

		assert_int_equal(cursor_u32(&c), 0);
		assert_false(cursor_done(&c));
		exact_free(s);
	}
}

static void after_the_first_failure_every_read_gives_nothing(void **state)
{
	struct slice s = wire("\xff\xff\0", 3);
	struct cursor c = cursor_over(s);

	(void)state;
	cursor_u32(&c);
	assert_int_equal(cursor_u8(&c), 0);
	assert_int_equal(cursor_u16(&c), 0);
	assert_int_equal(cursor_bytes(&c, 1).len, 0);
	assert_int_equal(cursor_cstr(&c).len, 0);
	assert_int_equal(cursor_rest(&c).len, 0);
	assert_false(cursor_done(&c));
	exact_free(s);
}

static void a_length_that_would_overflow_is_refused(void **state)
{
	static const size_t lengths[] = {
		4, 0x7fffffff, 0x80000000, 0xffffffff, SIZE_MAX - 3, SIZE_MAX};

	(void)state;
	for (size_t i = 0; i < LENGTH(lengths); i++) {
		struct slice s = wire("abc", 3);
		struct cursor c = cursor_over(s);

		assert_int_equal(cursor_bytes(&c, lengths[i]).len, 0);
		assert_true(c.failed);
		exact_free(s);
	}
}

static void bytes_up_to_the_very_end_are_given(void **state)
{
	struct slice s = wire("abc", 3);
	struct cursor c = cursor_over(s);

	(void)state;
	assert_true(slice_is(cursor_bytes(&c, 3), "abc"));
	assert_int_equal(cursor_bytes(&c, 0).len, 0);
	assert_true(cursor_done(&c));
	exact_free(s);
}

static void a_string_ends_at_its_zero_byte(void **state)
{
	struct slice s = wire("ab\0\0c\0", 6);
	struct cursor c = cursor_over(s);

	(void)state;
	assert_true(slice_is(cursor_cstr(&c), "ab"));
	assert_true(slice_is(cursor_cstr(&c), ""));
	assert_false(cursor_done(&c));
	assert_true(slice_is(cursor_cstr(&c), "c"));
	assert_true(cursor_done(&c));
	exact_free(s);
}

static void a_string_without_a_zero_byte_fails(void **state)
{
	(void)state;
	for (size_t len = 0; len < 4; len++) {
		struct slice s = wire("abc", len);
		struct cursor c = cursor_over(s);
		struct slice text = cursor_cstr(&c);

		assert_int_equal(text.len, 0);
		assert_true(c.failed);
		exact_free(s);
	}
}

static void an_empty_slice_without_address_can_be_read(void **state)
{
	struct cursor c = cursor_over(slice_of(NULL, 0));

	(void)state;
	assert_int_equal(cursor_rest(&c).len, 0);
	assert_int_equal(cursor_bytes(&c, 0).len, 0);
	assert_true(cursor_done(&c));
	assert_int_equal(cursor_u8(&c), 0);
	assert_false(cursor_done(&c));
}

static void the_rest_is_all_that_is_left(void **state)
{
	struct slice s = wire("abcd", 4);
	struct cursor c = cursor_over(s);

	(void)state;
	cursor_u8(&c);
	assert_true(slice_is(cursor_rest(&c), "bcd"));
	assert_true(cursor_done(&c));
	exact_free(s);
}

static void what_is_put_can_be_read_back(void **state)
{
	struct bytes b;
	struct cursor c;

	(void)state;
	bytes_init(&b, 1000);
	bytes_put_u8(&b, 0xab);
	bytes_put_u16(&b, 0xcdef);
	bytes_put_u32(&b, 0x89abcdef);
	bytes_put_cstr(&b, "name");
	bytes_put_slice(&b, slice_str("tail"));
	assert_false(bytes_failed(&b));
	c = cursor_over(bytes_view(&b));
	assert_int_equal(cursor_u8(&c), 0xab);
	assert_int_equal(cursor_u16(&c), 0xcdef);
	assert_true(cursor_u32(&c) == 0x89abcdefu);
	assert_true(slice_is(cursor_cstr(&c), "name"));
	assert_true(slice_is(cursor_rest(&c), "tail"));
	assert_true(cursor_done(&c));
	bytes_release(&b);
}

static void a_buffer_never_holds_more_than_its_limit(void **state)
{
	static const size_t limits[] = {0, 1, 255, 256, 257, 1000};

	(void)state;
	for (size_t i = 0; i < LENGTH(limits); i++) {
		struct bytes b;

		bytes_init(&b, limits[i]);
		for (size_t n = 0; n < limits[i]; n++)
			bytes_put_u8(&b, (uint8_t)n);
		assert_false(bytes_failed(&b));
		assert_int_equal(bytes_length(&b), limits[i]);
		assert_true(b.cap <= limits[i]);
		bytes_put_u8(&b, 0);
		assert_true(bytes_failed(&b));
		assert_int_equal(bytes_length(&b), limits[i]);
		bytes_release(&b);
	}
}

static void a_failure_lasts_until_the_buffer_is_cleared(void **state)
{
	struct bytes b;

	(void)state;
	bytes_init(&b, 4);
	bytes_put(&b, "12345", 5);
	assert_true(bytes_failed(&b));
	bytes_put(&b, "1", 1);
	bytes_printf(&b, "x");
	assert_null(bytes_reserve(&b, 1));
	assert_int_equal(bytes_length(&b), 0);
	bytes_clear(&b);
	assert_false(bytes_failed(&b));
	bytes_put(&b, "1234", 4);
	assert_true(slice_is(bytes_view(&b), "1234"));
	bytes_release(&b);
}

static void a_length_that_no_memory_has_is_refused(void **state)
{
	static const size_t lengths[] = {SIZE_MAX, SIZE_MAX - 1, SIZE_MAX / 2 + 1, 101};

	(void)state;
	for (size_t i = 0; i < LENGTH(lengths); i++) {
		struct bytes b;

		bytes_init(&b, 100);
		bytes_put_u8(&b, 1);
		assert_null(bytes_reserve(&b, lengths[i]));
		assert_true(bytes_failed(&b));
		bytes_release(&b);
	}
}

static void consuming_makes_room_again(void **state)
{
	struct bytes b;

	(void)state;
	bytes_init(&b, 300);
	for (unsigned round = 0; round < 1000; round++) {
		char text[64];
		int len = snprintf(text, sizeof(text), "%u and some more of it", round);

		bytes_put(&b, text, (size_t)len);
		assert_false(bytes_failed(&b));
		assert_memory_equal(bytes_view(&b).data, text, (size_t)len);
		if (round % 3 == 0)
			bytes_put(&b, "left", 4);
		bytes_consume(&b, (size_t)len);
		if (round % 3 == 0) {
			assert_true(slice_is(bytes_view(&b), "left"));
			bytes_consume(&b, 4);
		}
	}
	assert_int_equal(bytes_length(&b), 0);
	bytes_release(&b);
}

static void unread_bytes_survive_every_growth(void **state)
{
	struct bytes b;
	unsigned taken = 0;

	(void)state;
	bytes_init(&b, 100000);
	for (unsigned put = 0; put < 20000; put++) {
		bytes_put_u8(&b, (uint8_t)(put * 7));
		if (put % 5 == 4) {
			assert_int_equal(bytes_view(&b).data[0], (uint8_t)(taken * 7));
			bytes_consume(&b, 1);
			taken++;
		}
	}
	assert_false(bytes_failed(&b));
	for (; bytes_length(&b) > 0; taken++) {
		assert_int_equal(bytes_view(&b).data[0], (uint8_t)(taken * 7));
		bytes_consume(&b, 1);
	}
	assert_int_equal(taken, 20000);
	bytes_release(&b);
}

static void consuming_too_much_empties_it(void **state)
{
	struct bytes b;

	(void)state;
	bytes_init(&b, 100);
	bytes_put(&b, "abc", 3);
	bytes_consume(&b, SIZE_MAX);
	assert_int_equal(bytes_length(&b), 0);
	bytes_put(&b, "d", 1);
	assert_true(slice_is(bytes_view(&b), "d"));
	bytes_release(&b);
}

static void a_place_counts_from_the_first_unread_byte(void **state)
{
	struct bytes b;

	(void)state;
	bytes_init(&b, 100);
	bytes_put(&b, "xxabcdefgh", 10);
	bytes_consume(&b, 2);
	bytes_set_u32(&b, 2, 0x31323334);
	assert_true(slice_is(bytes_view(&b), "ab1234gh"));
	bytes_set_u32(&b, 4, 0x35363738);
	assert_true(slice_is(bytes_view(&b), "ab125678"));
	bytes_release(&b);
}

static void printed_text_has_no_zero_byte_behind_it(void **state)
{
	struct bytes b;

	(void)state;
	bytes_init(&b, 300);
	bytes_printf(&b, "%s", "");
	assert_int_equal(bytes_length(&b), 0);
	bytes_printf(&b, "%d-%s", 42, "x");
	bytes_put_u8(&b, '!');
	assert_true(slice_is(bytes_view(&b), "42-x!"));
	bytes_printf(&b, "%300s", "too long");
	assert_true(bytes_failed(&b));
	assert_true(slice_is(bytes_view(&b), "42-x!"));
	bytes_release(&b);
}

static void a_fitted_buffer_has_what_is_unread_and_no_more(void **state)
{
	struct bytes b;

	(void)state;
	bytes_init(&b, 1000);
	bytes_fit(&b);
	assert_null(b.data);
	bytes_put(&b, "0123456789", 10);
	bytes_consume(&b, 3);
	bytes_fit(&b);
	assert_int_equal(b.cap, 7);
	assert_true(slice_is(bytes_view(&b), "3456789"));
	bytes_put(&b, "x", 1);
	assert_true(slice_is(bytes_view(&b), "3456789x"));
	bytes_clear(&b);
	bytes_fit(&b);
	assert_int_equal(b.cap, 0);
	bytes_release(&b);
}

static void released_and_wiped_buffers_can_be_used_again(void **state)
{
	struct bytes b;

	(void)state;
	bytes_init(&b, 10);
	bytes_wipe(&b);
	bytes_put(&b, "secret", 6);
	bytes_wipe(&b);
	assert_int_equal(bytes_length(&b), 0);
	assert_null(bytes_view(&b).data);
	bytes_put(&b, "0123456789", 10);
	assert_false(bytes_failed(&b));
	bytes_release(&b);
	bytes_put(&b, "0123456789x", 11);
	assert_true(bytes_failed(&b));
	bytes_release(&b);
	bytes_release(&b);
}

static void nothing_can_be_put_from_no_address(void **state)
{
	struct bytes b;

	(void)state;
	bytes_init(&b, 10);
	bytes_put(&b, NULL, 0);
	bytes_put_slice(&b, slice_of(NULL, 0));
	assert_int_equal(bytes_length(&b), 0);
	assert_false(bytes_failed(&b));
	bytes_release(&b);
}

static void a_cut_is_between_two_characters(void **state)
{
	static const struct {
		const char *text;
		size_t most, len;
	} cases[] = {{"abc", 3, 3}, {"abc", 9, 3}, {"abc", 2, 2}, {"", 0, 0}, {"abc", 0, 0},
		{"a\xc3\xa4z", 1, 1}, {"a\xc3\xa4z", 2, 1}, {"a\xc3\xa4z", 3, 3},
		{"\xf0\x9f\x98\x80z", 3, 0}, {"\xf0\x9f\x98\x80z", 4, 4},
		/* No UTF-8: not much is lost. */
		{"\xb1\xb2\xb3\xb4\xb5\xb6\xb7", 6, 3}};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct slice text = slice_str(cases[i].text), cut = slice_cut(text, cases[i].most);

		assert_ptr_equal(cut.data, text.data);
		assert_int_equal(cut.len, cases[i].len);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_cut_is_between_two_characters),
		cmocka_unit_test(integers_are_big_endian),
		cmocka_unit_test(integers_with_the_highest_bit_stay_unsigned),
		cmocka_unit_test(a_read_past_the_end_gives_zero_and_fails),
		cmocka_unit_test(after_the_first_failure_every_read_gives_nothing),
		cmocka_unit_test(a_length_that_would_overflow_is_refused),
		cmocka_unit_test(bytes_up_to_the_very_end_are_given),
		cmocka_unit_test(a_string_ends_at_its_zero_byte),
		cmocka_unit_test(a_string_without_a_zero_byte_fails),
		cmocka_unit_test(an_empty_slice_without_address_can_be_read),
		cmocka_unit_test(the_rest_is_all_that_is_left),
		cmocka_unit_test(what_is_put_can_be_read_back),
		cmocka_unit_test(a_buffer_never_holds_more_than_its_limit),
		cmocka_unit_test(a_failure_lasts_until_the_buffer_is_cleared),
		cmocka_unit_test(a_length_that_no_memory_has_is_refused),
		cmocka_unit_test(consuming_makes_room_again),
		cmocka_unit_test(unread_bytes_survive_every_growth),
		cmocka_unit_test(consuming_too_much_empties_it),
		cmocka_unit_test(a_place_counts_from_the_first_unread_byte),
		cmocka_unit_test(printed_text_has_no_zero_byte_behind_it),
		cmocka_unit_test(a_fitted_buffer_has_what_is_unread_and_no_more),
		cmocka_unit_test(released_and_wiped_buffers_can_be_used_again),
		cmocka_unit_test(nothing_can_be_put_from_no_address),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "sql_search.h"

#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <strings.h>

#include <cmocka.h>

#define LENGTH(a) (sizeof(a) / sizeof((a)[0]))

static const char word[] = "concurrently";

enum {
	WORD_LEN = sizeof(word) - 1,
};

static bool naive(struct slice text)
{
	for (size_t i = 0; i + WORD_LEN <= text.len; i++)
		if (strncasecmp((const char *)text.data + i, word, WORD_LEN) == 0)
			return true;
	return false;
}

static void short_texts_are_answered(void **state)
{
	static const struct {
		const char *text;
		bool want;
	} cases[] = {
		{"", false},
		{"c", false},
		{"concurrentl", false},
		{"concurrently", true},
		{"CONCURRENTLY", true},
		{"CoNcUrReNtLy", true},
		{"xconcurrently", true},
		{"concurrentlyx", true},
		{"concconcurrently", true},
		{"concurrent ly", false},
		{"\"U&concurrently", true},
		{"CREATE INDEX CONCURRENTLY i ON t (a)", true},
		{"create index i on t (a)", false},
		/* Bytes that differ from a letter in the bit that tells the cases apart, or in
		   bit 7. */
		{"concurre\x0etly", false},
		{"con\x03urrently", false},
		{"\xe3oncurrently", false},
		{"concurrentl\xd9", false},
	};

	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++)
		if (sql_search_concurrently(slice_str(cases[i].text)) != cases[i].want)
			fail_msg("%s", cases[i].text);
	assert_false(sql_search_concurrently(slice_of(NULL, 0)));
}

/* The word at every place of texts of every length, at every alignment; and cut by one byte. */
static void the_word_is_found_at_every_place(void **state)
{
	enum {
		LONGEST = 200,
		ALIGNMENTS = 16,
	};
	uint8_t *memory = malloc(LONGEST + ALIGNMENTS);

	(void)state;
	assert_non_null(memory);
	for (size_t align = 0; align < ALIGNMENTS; align++) {
		for (size_t len = WORD_LEN; len <= LONGEST; len += len < 150 ? 7 : 1) {
			for (size_t at = 0; at + WORD_LEN <= len; at++) {
				memset(memory, 'c', LONGEST + ALIGNMENTS);
				memcpy(memory + align + at, word, WORD_LEN);
				assert_true(sql_search_concurrently(slice_of(memory + align, len)));
				assert_false(sql_search_concurrently(
					slice_of(memory + align, at + WORD_LEN - 1)));
				assert_false(sql_search_concurrently(
					slice_of(memory + align + at + 1, len - at - 1)));
			}
		}
	}
	free(memory);
}

static void nothing_beyond_the_text_is_read(void **state)
{
	(void)state;
	for (size_t len = 0; len < 300; len++) {
		uint8_t *exact = malloc(len ? len : 1);

		assert_non_null(exact);
		memset(exact, 'y', len);
		assert_false(sql_search_concurrently(slice_of(exact, len)));
		memset(exact, 'c', len);
		assert_false(sql_search_concurrently(slice_of(exact, len)));
		free(exact);
	}
}

/* Texts made of pieces of the word, so that near misses are frequent. */
static void it_agrees_with_the_naive_search(void **state)
{
	static const char *const pieces[] = {"con", "curr", "ently", "CONCURRENT", "LY", "y", "c",
		"concurrentl", " ", "concu", "rrently", "\xe3\xef"};
	uint64_t random = 20240229;
	uint8_t text[400];
	size_t found = 0;

	(void)state;
	for (size_t round = 0; round < 50000; round++) {
		size_t len = 0;

		while (len < sizeof(text) - 16) {
			const char *piece;

			random = random * 6364136223846793005U + 1442695040888963407U;
			piece = pieces[(random >> 33) % LENGTH(pieces)];
			memcpy(text + len, piece, strlen(piece));
			len += strlen(piece);
			if ((random >> 60) == 0)
				break;
		}
		assert_int_equal(
			sql_search_concurrently(slice_of(text, len)), naive(slice_of(text, len)));
		found += naive(slice_of(text, len));
	}
	assert_in_range(found, 1000, 49000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(short_texts_are_answered),
		cmocka_unit_test(the_word_is_found_at_every_place),
		cmocka_unit_test(nothing_beyond_the_text_is_read),
		cmocka_unit_test(it_agrees_with_the_naive_search),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

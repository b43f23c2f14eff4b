#include "sql_search.h"

#include <string.h>

/* Written so that compilers turn the inner loop into vector instructions: a fixed number of steps,
 * no branch, bytes only. */
enum {
	BLOCK = 64,
	WORD_LEN = 12, /* of "concurrently" */
	LAST = WORD_LEN - 1,
	CASE_BIT = 0x20, /* set in lower case; no other byte becomes one of these letters by it */
};

static const char word[] = "concurrently";

/* Whether the word may begin at one of BLOCK places: its first and its last letter stand right. */
static bool block_may_match(const uint8_t *at)
{
	uint8_t any = 0;

	for (size_t i = 0; i < BLOCK; i++) {
		uint8_t first = (uint8_t)((at[i] | CASE_BIT) ^ 'c');
		uint8_t last = (uint8_t)((at[i + LAST] | CASE_BIT) ^ 'y');

		any |= (uint8_t)((first | last) == 0);
	}
	return any != 0;
}

static bool matches(const uint8_t *at)
{
	size_t i = 0;

	while (i < WORD_LEN && (at[i] | CASE_BIT) == word[i])
		i++;
	return i == WORD_LEN;
}

static bool matches_within(const uint8_t *at, size_t places)
{
	for (size_t i = 0; i < places; i++)
		if (matches(at + i))
			return true;
	return false;
}

/* Fewer places than a block has: most texts are no longer than that. What follows them is zero. */
static bool rest_may_match(const uint8_t *at, size_t places)
{
	uint8_t block[BLOCK + LAST] = {0};

	memcpy(block, at, places + LAST);
	return block_may_match(block);
}

bool sql_search_concurrently(struct slice text)
{
	const uint8_t *at = text.data;
	size_t places = text.len < WORD_LEN ? 0 : text.len - LAST;

	for (; places >= BLOCK; at += BLOCK, places -= BLOCK)
		if (block_may_match(at) && matches_within(at, BLOCK))
			return true;
	return places > 0 && rest_may_match(at, places) && matches_within(at, places);
}

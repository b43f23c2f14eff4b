/*
 * search.c - how fast a text is searched for "concurrently", in GB a second.
 *
 * The text is one that has no such word, but many of its letters.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "sql_search.h"

#define SIZE ((size_t)1 << 20)
#define ROUNDS 2000

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int main(void)
{
	static const char line[] = "INSERT INTO currency (country, quantity) VALUES ('cyan', 1);\n";
	uint8_t *text = malloc(SIZE);
	unsigned found = 0;
	double began;

	if (!text)
		return 1;
	for (size_t i = 0; i < SIZE; i++)
		text[i] = (uint8_t)line[i % (sizeof(line) - 1)];
	began = now();
	for (unsigned i = 0; i < ROUNDS; i++)
		found += sql_search_concurrently(slice_of(text, SIZE));
	printf("%.1f\n", (double)SIZE * ROUNDS / (now() - began) / 1e9);
	free(text);
	return found > 0;
}

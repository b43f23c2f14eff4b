/*
 * patience.h - waiting for a condition, for a bounded time.
 *
 * A test never sleeps for a guessed time: it asks again and again, with a short rest between two
 * questions, and fails with the question's own text when the answer does not come.
 */
#ifndef PGASIDE_TESTS_PATIENCE_H
#define PGASIDE_TESTS_PATIENCE_H

#include <stdbool.h>
#include <stdint.h>

#define PATIENCE_MS 20000u

struct patience {
	uint64_t end_ms;
};

uint64_t patience_now_ms(void);
struct patience patience_of(unsigned ms);
/* False when the time is over; otherwise rests for some milliseconds. */
bool patience_left(const struct patience *p);
/* What is left in milliseconds, for poll(). */
int patience_rest_ms(const struct patience *p);

#define WAIT_FOR_MS(ms, condition)                                       \
	do {                                                             \
		struct patience patience_ = patience_of(ms);             \
		while (!(condition))                                     \
			if (!patience_left(&patience_))                  \
				fail_msg("in vain for: %s", #condition); \
	} while (0)
#define WAIT_FOR(condition) WAIT_FOR_MS(PATIENCE_MS, condition)

#endif

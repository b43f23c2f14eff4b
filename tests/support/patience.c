#include "patience.h"

#include <time.h>

#define REST_NS 4000000

uint64_t patience_now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

struct patience patience_of(unsigned ms)
{
	return (struct patience){.end_ms = patience_now_ms() + ms};
}

bool patience_left(const struct patience *p)
{
	static const struct timespec rest = {.tv_nsec = REST_NS};

	if (patience_now_ms() >= p->end_ms)
		return false;
	nanosleep(&rest, NULL);
	return true;
}

int patience_rest_ms(const struct patience *p)
{
	uint64_t now = patience_now_ms();

	return now < p->end_ms ? (int)(p->end_ms - now) : 0;
}

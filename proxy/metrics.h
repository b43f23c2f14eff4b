/*
 * metrics.h - a picture of the process as text: for Prometheus, and as JSON for the page.
 *
 * Pure: takes a picture (stats.h) and writes. Formats: Prometheus' text format 0.0.4, RFC 8259.
 * Every label has a bounded set of values. All text is valid UTF-8, whatever was put in.
 */
#ifndef PGASIDE_METRICS_H
#define PGASIDE_METRICS_H

#include "bytes.h"
#include "config.h"
#include "stats.h"

struct metrics_facts {
	const struct stats_picture *picture;
	const struct config *config;
	uint64_t now_ms;	/* timer_now_ms() */
	time_t now;		/* of the wall clock */
	unsigned owed_failures; /* since the start */
};

void metrics_write(struct bytes *out, const struct metrics_facts *f);
/* What runs, what is owed, what ended lately. */
void metrics_write_json(struct bytes *out, const struct metrics_facts *f);

#endif

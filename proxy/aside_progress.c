/*
 * aside_progress.c - what the watch connection sees of a build is told: to those who look from
 * outside, to the log and, if it wants to hear, to the client.
 */
#include <stdio.h>
#include <stdlib.h>

#include "aside_state.h"
#include "config.h"
#include "log.h"
#include "message.h"
#include "timer.h"

#define SHOW_MS 1000u
#define LOG_MS 10000u

static uint64_t number(const struct pq_result *r, enum watch_column column)
{
	const char *text = pq_value(r, 0, (int)column);

	return text ? strtoull(text, NULL, 10) : 0;
}

static void read_row(struct aside *a, const struct pq_result *r)
{
	struct stats_aside *seen = &a->job.seen;
	const char *command = pq_value(r, 0, WATCH_COMMAND);
	const char *who = pq_value(r, 0, WATCH_BLOCKERS);
	struct progress_sample s = {
		.phase = pq_value(r, 0, WATCH_PHASE),
		.reindex = command && strncmp(command, "REINDEX", 7) == 0,
		.lockers_total = number(r, WATCH_LOCKERS_TOTAL),
		.lockers_done = number(r, WATCH_LOCKERS_DONE),
		.blocks_total = number(r, WATCH_BLOCKS_TOTAL),
		.blocks_done = number(r, WATCH_BLOCKS_DONE),
		.tuples_total = number(r, WATCH_TUPLES_TOTAL),
		.tuples_done = number(r, WATCH_TUPLES_DONE),
	};

	progress_read(&seen->progress, &s);
	stats_copy_text(seen->blocked_by, sizeof(seen->blocked_by), slice_str(who ? who : ""));
}

/* On a terminal `pgaside run` draws the same: there it would be said twice. */
static void log_progress(struct aside *a, uint64_t now)
{
	const struct stats_aside *seen = &a->job.seen;
	const struct progress *p = &seen->progress;
	char percent[16] = "", quoted[STATS_TEXT + 64];

	if (now - a->job.progress_logged_ms < LOG_MS || log_has_status_line())
		return;
	a->job.progress_logged_ms = now;
	if (p->percent >= 0)
		snprintf(percent, sizeof(percent), "%d", p->percent);
	log_event(LOG_LEVEL_INFO, "aside_progress",
		"session=%llu aside=%llu phase=\"%s\" step=%u/%u percent=%s done=%llu total=%llu "
		"unit=%s elapsed_ms=%llu blocked_by=%s",
		(unsigned long long)a->session, (unsigned long long)seen->id,
		p->phase[0] ? p->phase : seen->state, p->step, p->steps, percent,
		(unsigned long long)p->done, (unsigned long long)p->total, p->unit,
		(unsigned long long)(now - seen->started_ms),
		log_quote(quoted, sizeof(quoted), seen->blocked_by,
			(unsigned)strlen(seen->blocked_by)));
}

/* The client has said that it wants no notices (client_min_messages). */
static bool client_is_quiet(const struct aside *a)
{
	struct slice level;

	return aside_setting(bytes_view(&a->job.settings), "client_min_messages", &level) &&
	       (slice_is(level, "warning") || slice_is(level, "error"));
}

static void notify_client(struct aside *a, uint64_t now)
{
	unsigned interval = a->target.snapshot->config.progress_interval_ms;
	const struct stats_aside *seen = &a->job.seen;
	struct progress_line line = {.progress = &seen->progress,
		.doing = seen->state,
		.blocked_by = seen->blocked_by,
		.elapsed_ms = now - seen->started_ms};
	char text[STATS_TEXT + 256];
	struct bytes body;

	if (interval == 0 || now - a->job.progress_notified_ms < interval || !a->owner ||
		a->job.told || a->job.mode == ASIDE_UNDO || client_is_quiet(a))
		return;
	a->job.progress_notified_ms = now;
	progress_sentence(text, sizeof(text), &line);
	bytes_init(&body, 4096);
	message_put_field(&body, 'S', "NOTICE");
	message_put_field(&body, 'V', "NOTICE");
	message_put_field(&body, 'C', "00000");
	message_put_field(&body, 'M', text);
	bytes_put_u8(&body, 0);
	a->events.notice(a->owner, bytes_view(&body));
	bytes_release(&body);
}

void aside_progress_note(struct aside *a, const struct pq_result *r)
{
	uint64_t now = timer_now_ms();

	if (now - a->job.progress_ms < SHOW_MS)
		return;
	a->job.progress_ms = now;
	read_row(a, r);
	stats_aside_show(a->worker->shared->stats, &a->job.seen);
	log_progress(a, now);
	notify_client(a, now);
}

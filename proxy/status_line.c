#include "status_line.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "log.h"
#include "progress.h"
#include "stats.h"
#include "timer.h"

#define TICK_MS 200u
/* What is over by then needs no line. */
#define PATIENCE_MS 700u
#define COLUMNS 80u

struct status_line {
	struct stats *stats; /* borrowed */
	struct timer *timer; /* owned */
	bool shown;
};

/*
 * ECMA-48 and DEC: erase what is below; make a line there, by scrolling if need be; remember the
 * cursor; go to the line and write without wrapping; back to the cursor.
 */
#define WIPE "\x1b[J"
#define BEFORE             \
	WIPE "\x1b"        \
	     "D\x1b[A\x1b" \
	     "7\x1b[B\r\x1b[?7l"
#define BEHIND         \
	"\x1b[?7h\x1b" \
	"8"

static void write_all(const char *text, size_t len)
{
	ssize_t n;

	do {
		n = write(STDERR_FILENO, text, len);
	} while (n < 0 && errno == EINTR);
}

/* Ctrl-S, or a connection that has stalled: sessions do not wait for that. */
static bool takes_output(void)
{
	struct pollfd terminal = {.fd = STDERR_FILENO, .events = POLLOUT};

	return poll(&terminal, 1, 0) == 1 && (terminal.revents & POLLOUT);
}

static void hide(struct status_line *l)
{
	if (!l->shown || !takes_output())
		return;
	l->shown = false;
	log_set_status_line(false);
	write_all(WIPE, strlen(WIPE));
}

static unsigned columns(void)
{
	struct winsize size;

	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0)
		return COLUMNS;
	return size.ws_col;
}

static void draw(struct status_line *l, const struct stats_aside *a, unsigned others, uint64_t age)
{
	struct progress_line line = {.progress = &a->progress,
		.doing = a->state,
		.blocked_by = a->blocked_by,
		.elapsed_ms = age,
		.others = others};
	char text[1024], all[1200];
	int n;

	progress_terminal(text, sizeof(text), columns(), &line);
	n = snprintf(all, sizeof(all), BEFORE "%s" BEHIND, text);
	log_set_status_line(true);
	l->shown = true;
	write_all(all, (size_t)n);
}

/* A job in the background must not write: the terminal would stop it. */
static bool in_foreground(void)
{
	return tcgetpgrp(STDERR_FILENO) == getpgrp();
}

static void on_tick(void *arg)
{
	struct status_line *l = arg;
	struct stats_aside oldest;
	unsigned running = stats_running(l->stats, &oldest);
	uint64_t now = timer_now_ms();

	if (running == 0 || now - oldest.started_ms < PATIENCE_MS || !in_foreground())
		hide(l);
	else if (takes_output())
		draw(l, &oldest, running - 1, now - oldest.started_ms);
	timer_start(l->timer, TICK_MS);
}

static bool can_be_drawn_on(void)
{
	const char *kind = getenv("TERM");

	return isatty(STDERR_FILENO) && kind && *kind && strcmp(kind, "dumb") != 0;
}

struct status_line *status_line_new(struct event_base *base, struct stats *stats)
{
	struct status_line *l;

	if (!can_be_drawn_on())
		return NULL;
	l = calloc(1, sizeof(*l));
	if (!l)
		return NULL;
	l->stats = stats;
	l->timer = timer_new(base, on_tick, l);
	if (!l->timer) {
		free(l);
		return NULL;
	}
	timer_start(l->timer, TICK_MS);
	return l;
}

void status_line_free(struct status_line *l)
{
	if (!l)
		return;
	hide(l);
	timer_free(l->timer);
	free(l);
}

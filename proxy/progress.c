#include "progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
	STEPS_BUILD = 9,    /* CREATE INDEX CONCURRENTLY */
	STEPS_REBUILD = 11, /* REINDEX: the old index goes, too */
	BAR_LEAST = 8,
	BAR_MOST = 32,
	TERMINAL_LEAST = 20
};

enum measure {
	MEASURE_NONE,
	MEASURE_LOCKERS, /* a count of sessions: it says nothing of the time they take */
	MEASURE_BLOCKS,
	MEASURE_TUPLES
};

/*
 * The phases in their order (documentation, "CREATE INDEX Phases"). The counters of a former phase
 * stay in the view, so that each phase must be told which of them is its own.
 */
static const struct phase {
	const char *name;
	unsigned step;
	enum measure measure;
} phases[] = {
	{"waiting for writers before build", 1, MEASURE_LOCKERS},
	{"building index", 2, MEASURE_BLOCKS}, /* other than btree: one phase */
	{"building index: initializing", 2, MEASURE_NONE},
	{"building index: scanning table", 2, MEASURE_BLOCKS},
	{"building index: sorting live tuples", 3, MEASURE_NONE},
	{"building index: sorting dead tuples", 3, MEASURE_NONE},
	{"building index: loading tuples in tree", 4, MEASURE_TUPLES},
	{"waiting for writers before validation", 5, MEASURE_LOCKERS},
	{"index validation: scanning index", 6, MEASURE_BLOCKS},
	{"index validation: sorting tuples", 7, MEASURE_NONE},
	{"index validation: scanning table", 8, MEASURE_BLOCKS},
	{"waiting for old snapshots", 9, MEASURE_LOCKERS},
	{"waiting for readers before marking dead", 10, MEASURE_LOCKERS},
	{"waiting for readers before dropping", 11, MEASURE_LOCKERS},
};

static const struct phase *find_phase(const char *name)
{
	for (size_t i = 0; i < sizeof(phases) / sizeof(phases[0]); i++)
		if (strcmp(phases[i].name, name) == 0)
			return &phases[i];
	return NULL;
}

static void set_measure(
	struct progress *p, const char *unit, uint64_t done, uint64_t total, bool is_share)
{
	if (total == 0)
		return;
	p->unit = unit;
	p->total = total;
	p->done = done < total ? done : total;
	/* In floating point: the product may be too large for 64 bits. */
	if (is_share)
		p->percent = (int)((double)p->done / (double)total * 100.0);
}

void progress_read(struct progress *p, const struct progress_sample *s)
{
	const struct phase *phase;

	*p = (struct progress){.percent = PROGRESS_NO_PERCENT, .unit = ""};
	if (!s->phase)
		return;
	snprintf(p->phase, sizeof(p->phase), "%s", s->phase);
	phase = find_phase(s->phase);
	if (!phase)
		return;
	p->step = phase->step;
	p->steps = s->reindex ? STEPS_REBUILD : STEPS_BUILD;
	switch (phase->measure) {
	case MEASURE_NONE:
		break;
	case MEASURE_LOCKERS:
		set_measure(p, "sessions", s->lockers_done, s->lockers_total, false);
		break;
	case MEASURE_BLOCKS:
		set_measure(p, "blocks", s->blocks_done, s->blocks_total, true);
		break;
	case MEASURE_TUPLES:
		set_measure(p, "tuples", s->tuples_done, s->tuples_total, true);
		break;
	}
}

const char *progress_time(char *out, size_t size, uint64_t ms)
{
	uint64_t seconds = ms / 1000, hours = seconds / 3600;

	if (hours > 0)
		snprintf(out, size, "%" PRIu64 ":%02" PRIu64 ":%02" PRIu64, hours,
			seconds / 60 % 60, seconds % 60);
	else
		snprintf(out, size, "%" PRIu64 ":%02" PRIu64, seconds / 60, seconds % 60);
	return out;
}

const char *progress_bar(char *out, unsigned width, int percent, uint64_t elapsed_ms)
{
	unsigned inside = width - 2;
	unsigned full = percent > 0 ? inside * (unsigned)percent / 100 : 0;

	out[0] = '[';
	memset(out + 1, percent < 0 ? '.' : '-', inside);
	if (percent < 0)
		out[1 + elapsed_ms / 1000 % inside] = '=';
	else
		memset(out + 1, '#', full < inside ? full : inside);
	out[width - 1] = ']';
	out[width] = '\0';
	return out;
}

/* A text that grows in a buffer of fixed size, and is cut there. */
struct text {
	char *out;
	size_t size, len;
};

static void put(struct text *t, const char *piece)
{
	int n = snprintf(t->out + t->len, t->size - t->len, "%s", piece);

	if (n > 0)
		t->len += (size_t)n < t->size - t->len ? (size_t)n : t->size - t->len - 1;
}

static void put_phase(struct text *t, const struct progress_line *l)
{
	const struct progress *p = l->progress;
	char step[40];

	put(t, p->phase[0] ? p->phase : l->doing);
	if (p->step == 0)
		return;
	snprintf(step, sizeof(step), " (%u/%u)", p->step, p->steps);
	put(t, step);
}

/* The share of the phase, or how many sessions it still waits for. */
static void put_measure(struct text *t, const struct progress *p, const char *before, int width)
{
	char text[64];

	if (p->percent >= 0)
		snprintf(text, sizeof(text), "%s%*d %%", before, width, p->percent);
	else if (p->total > 0)
		snprintf(text, sizeof(text), "%s%" PRIu64 " of %" PRIu64 " gone", before, p->done,
			p->total);
	else
		return;
	put(t, text);
}

static void put_others(struct text *t, unsigned others)
{
	char text[32];

	if (others == 0)
		return;
	snprintf(text, sizeof(text), "  and %u more", others);
	put(t, text);
}

static void put_blocker(struct text *t, const char *before, const char *who)
{
	if (!who[0])
		return;
	put(t, before);
	put(t, who);
}

/* Characters of UTF-8; whatever else it is counts a byte a character. */
static unsigned characters(const char *text)
{
	unsigned n = 0;

	for (; *text; text++)
		n += ((unsigned char)*text & 0xc0) != 0x80;
	return n;
}

static void cut(char *text, unsigned most)
{
	unsigned n = 0;

	for (; *text; text++) {
		if (((unsigned char)*text & 0xc0) != 0x80 && n++ == most) {
			*text = '\0';
			return;
		}
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			*text = '?';
	}
}

const char *progress_terminal(
	char *out, size_t size, unsigned columns, const struct progress_line *l)
{
	char head[160], tail[1200], bar[BAR_MOST + 1], time[24];
	struct text first = {head, sizeof(head), 0}, last = {tail, sizeof(tail), 0};
	unsigned room = columns > TERMINAL_LEAST ? columns - 1 : TERMINAL_LEAST - 1, used, wide;

	head[0] = tail[0] = '\0';
	put(&first, "pgaside: ");
	put_phase(&first, l);
	put_measure(&last, l->progress, " ", 3);
	put(&last, "  ");
	put(&last, progress_time(time, sizeof(time), l->elapsed_ms));
	put_others(&last, l->others);
	/* Who is in the way may be long; it is what is cut, not the bar. */
	used = characters(head) + characters(tail) + 1;
	put_blocker(&last, "  waits for ", l->blocked_by);
	wide = room > used ? room - used : 0;
	if (wide < BAR_LEAST)
		snprintf(out, size, "%s%s", head, tail);
	else
		snprintf(out, size, "%s %s%s", head,
			progress_bar(bar,
				l->blocked_by[0]  ? BAR_LEAST
				: wide < BAR_MOST ? wide
						  : BAR_MOST,
				l->progress->percent, l->elapsed_ms),
			tail);
	cut(out, room);
	return out;
}

const char *progress_sentence(char *out, size_t size, const struct progress_line *l)
{
	struct text t = {out, size, 0};
	char time[24];

	out[0] = '\0';
	put(&t, "pgaside: ");
	put_phase(&t, l);
	put_measure(&t, l->progress, ", ", 0);
	put(&t, ", ");
	put(&t, progress_time(time, sizeof(time), l->elapsed_ms));
	put_blocker(&t, ", waits for ", l->blocked_by);
	return out;
}

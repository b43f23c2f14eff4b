/*
 * metrics_json.c - the picture as JSON, for the page and for scripts.
 */
#include "metrics.h"

#include <inttypes.h>

#include "log_escape.h"
#include "version.h"

/* One character as it is in a string of JSON; what is not UTF-8 becomes U+FFFD. */
static size_t put_character(struct bytes *out, const unsigned char *text, size_t len)
{
	unsigned used = log_utf8_length(text, (unsigned)len);

	if (used > 0)
		bytes_put(out, text, used);
	else if (*text == '"' || *text == '\\')
		bytes_printf(out, "\\%c", *text);
	else if (*text < 0x20 || *text == 0x7f || strchr("<>&", *text))
		/* No script's or tag's end either, wherever this may be pasted. */
		bytes_printf(out, "\\u%04x", *text);
	else if (*text < 0x80)
		bytes_put_u8(out, *text);
	else
		bytes_printf(out, "\\ufffd");
	return used > 0 ? used : 1;
}

/* With a comma, unless it is the first of its object. */
static void put_key(struct bytes *out, const char *key)
{
	struct slice so_far = bytes_view(out);

	if (so_far.len > 0 && so_far.data[so_far.len - 1] != '{')
		bytes_put_u8(out, ',');
	bytes_printf(out, "\"%s\":", key);
}

static void put_text(struct bytes *out, const char *text)
{
	size_t len = strlen(text);

	bytes_put_u8(out, '"');
	for (size_t i = 0; i < len;)
		i += put_character(out, (const unsigned char *)text + i, len - i);
	bytes_put_u8(out, '"');
}

static void put_string(struct bytes *out, const char *key, const char *text)
{
	put_key(out, key);
	put_text(out, text);
}

static void put_number(struct bytes *out, const char *key, uint64_t value)
{
	put_key(out, key);
	bytes_printf(out, "%" PRIu64, value);
}

static void open_list(struct bytes *out, const char *key)
{
	put_key(out, key);
	bytes_put_u8(out, '[');
}

static void open_item(struct bytes *out, size_t i)
{
	if (i > 0)
		bytes_put_u8(out, ',');
	bytes_put_u8(out, '{');
}

static void close_item(struct bytes *out)
{
	bytes_put_u8(out, '}');
}

static void put_identity(struct bytes *out, const struct stats_aside *a)
{
	put_number(out, "id", a->id);
	put_number(out, "session", a->session);
	put_string(out, "user", a->user);
	put_string(out, "database", a->database);
	put_string(out, "kind", stats_statement_names[a->kind]);
	put_string(out, "placement", stats_placement_names[a->placement]);
	put_string(out, "statement", a->statement);
	put_number(out, "started_at", (uint64_t)a->started_at);
	put_number(out, "tries", a->tries);
}

static void put_progress(struct bytes *out, const struct progress *p)
{
	put_string(out, "phase", p->phase);
	put_number(out, "step", p->step);
	put_number(out, "steps", p->steps);
	put_key(out, "percent");
	if (p->percent >= 0)
		bytes_printf(out, "%d", p->percent);
	else
		bytes_printf(out, "null");
	put_number(out, "done", p->done);
	put_number(out, "total", p->total);
	put_string(out, "unit", p->unit);
}

static void put_running(struct bytes *out, const struct stats_aside *a, uint64_t now_ms)
{
	put_identity(out, a);
	put_string(out, "state", a->state);
	put_progress(out, &a->progress);
	put_string(out, "blocked_by", a->blocked_by);
	put_number(out, "elapsed_ms", now_ms - a->started_ms);
	put_number(out, "server_pid", (uint64_t)a->server_pid);
	put_number(out, "aside_pid", (uint64_t)a->aside_pid);
}

static void put_ended(struct bytes *out, const struct stats_aside *a)
{
	put_identity(out, a);
	put_string(out, "outcome", stats_outcome_names[a->outcome]);
	put_string(out, "sqlstate", a->sqlstate);
	put_string(out, "reason", a->reason);
	put_number(out, "duration_ms", a->duration_ms);
}

static void put_owed(struct bytes *out, const struct stats_owed *o)
{
	put_number(out, "session", o->session);
	put_key(out, "committed");
	bytes_printf(out, "%s", o->committed ? "true" : "false");
	put_number(out, "n", o->n);
	open_list(out, "statements");
	for (unsigned i = 0; i < o->n && i < STATS_OWED; i++) {
		if (i > 0)
			bytes_put_u8(out, ',');
		put_text(out, o->statements[i]);
	}
	bytes_put_u8(out, ']');
}

void metrics_write_json(struct bytes *out, const struct metrics_facts *f)
{
	const struct stats_picture *p = f->picture;

	open_item(out, 0);
	put_string(out, "version", PGASIDE_VERSION);
	put_number(out, "now", (uint64_t)f->now);
	put_number(out, "started_at", (uint64_t)p->started_at);
	put_number(out, "sessions", p->n_sessions);
	open_list(out, "running");
	for (size_t i = 0; i < p->n_running; i++) {
		open_item(out, i);
		put_running(out, &p->running[i], f->now_ms);
		close_item(out);
	}
	bytes_put_u8(out, ']');
	open_list(out, "owed");
	for (size_t i = 0; i < p->n_owed; i++) {
		open_item(out, i);
		put_owed(out, &p->owed[i]);
		close_item(out);
	}
	bytes_put_u8(out, ']');
	open_list(out, "recent");
	for (size_t i = 0; i < p->n_recent; i++) {
		open_item(out, i);
		put_ended(out, &p->recent[i]);
		close_item(out);
	}
	bytes_put_u8(out, ']');
	close_item(out);
}

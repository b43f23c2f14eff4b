/*
 * gate_ask.c - what the server connection has to say before a place is chosen: its settings, its
 * transaction's properties, its pid, and which relation the statement's names mean there.
 *
 * The first inquiry is harmless in every transaction. The second one is a SELECT, which would take
 * a snapshot that lasts in REPEATABLE READ: it is asked in READ COMMITTED only.
 */
#include <stdlib.h>

#include "aside.h"
#include "gate_state.h"
#include "log.h"
#include "message.h"

#define KEEP_ALIVE_LEAST_MS 100u

static uint64_t unit_ms(const char *unit)
{
	static const struct {
		const char *name;
		uint64_t ms;
	} units[] = {{"ms", 1}, {"s", 1000}, {"min", 60000}, {"h", 3600000}, {"d", 86400000}};

	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
		if (strcmp(unit, units[i].name) == 0)
			return units[i].ms;
	return 1;
}

/* A time as SHOW prints it: "0", "500ms", "5min". */
static uint64_t time_ms(struct slice value)
{
	char text[32];
	char *unit;
	unsigned long long n;

	if (value.len >= sizeof(text))
		return 0;
	memcpy(text, value.data, value.len);
	text[value.len] = '\0';
	n = strtoull(text, &unit, 10);
	return n * unit_ms(unit);
}

static void note_idle_timeout(struct gate *g, struct slice value)
{
	uint64_t third = time_ms(value) / 3;

	if (third == 0)
		return;
	if (third < KEEP_ALIVE_LEAST_MS)
		third = KEEP_ALIVE_LEAST_MS;
	if (g->keep_alive_ms == 0 || third < g->keep_alive_ms)
		g->keep_alive_ms = third < UINT32_MAX ? (unsigned)third : UINT32_MAX;
}

static void note_setting(struct gate *g, struct slice name, struct slice value)
{
	bytes_put_slice(&g->settings, name);
	bytes_put_u8(&g->settings, 0);
	bytes_put_slice(&g->settings, value);
	bytes_put_u8(&g->settings, 0);
	if (slice_is(name, "transaction_isolation"))
		g->facts.read_committed =
			slice_is(value, "read committed") || slice_is(value, "read uncommitted");
	else if (slice_is(name, "transaction_read_only"))
		g->facts.read_only = slice_is(value, "on");
	else if (slice_is(name, "idle_in_transaction_session_timeout") ||
		 slice_is(name, "idle_session_timeout"))
		note_idle_timeout(g, value);
}

/* Rows of SHOW ALL, SHOW session_authorization, SHOW role. */
static void on_setting(void *owner, unsigned question, const struct slice *values, int n)
{
	struct gate *g = owner;

	if (question == 0 && n >= 2)
		note_setting(g, values[0], values[1]);
	else if (question == 1 && n == 1)
		note_setting(g, slice_str("session_authorization"), values[0]);
	else if (question == 2 && n == 1)
		note_setting(g, slice_str("role"), values[0]);
}

static uint32_t number(struct slice value)
{
	uint32_t n = 0;

	for (size_t i = 0; i < value.len && value.data[i] >= '0' && value.data[i] <= '9'; i++)
		n = n * 10 + (uint32_t)(value.data[i] - '0');
	return n;
}

/* Rows of pg_backend_pid() and of the look-up. */
static void on_relation(void *owner, unsigned question, const struct slice *values, int n)
{
	struct gate *g = owner;

	if (question == 0 && n == 1) {
		g->server_pid = (int)number(values[0]);
	} else if (question == 1 && n >= 6) {
		g->relation = number(values[0]);
		g->index = number(values[2]);
		g->facts.exists = true;
		/* CONCURRENTLY is refused for these for another reason: see gate_run.c. */
		g->plain_is_same = slice_is(values[5], "r") || slice_is(values[5], "m");
	}
}

static void send_inquiry(struct session *s, inquiry_row_fn on_row, bool close_portal,
	const struct question *questions, unsigned n)
{
	struct bytes messages;

	inquiry_init(&s->gate->inquiry, on_row, s->gate);
	bytes_init(&messages, 1024u * 1024);
	inquiry_write(&messages, close_portal, questions, n);
	relay_send_server(s, &messages);
	bytes_release(&messages);
}

void gate_ask(struct session *s)
{
	static const struct question questions[] = {
		{.sql = "SHOW ALL"}, {.sql = "SHOW session_authorization"}, {.sql = "SHOW role"}};
	struct gate *g = s->gate;

	bytes_clear(&g->settings);
	g->keep_alive_ms = 0;
	gate_enter(s, GATE_ASKING);
	send_inquiry(s, on_setting, !g->extended || !g->unnamed, questions, 3);
}

static void resolve(struct session *s)
{
	struct gate *g = s->gate;
	struct bytes path, name;
	const char *values[2];
	struct question questions[2] = {{.sql = "SELECT pg_catalog.pg_backend_pid()"}};

	g->relation = g->index = 0;
	g->server_pid = 0;
	g->plain_is_same = false;
	bytes_init(&path, 4096);
	bytes_init(&name, 4096);
	gate_enter(s, GATE_RESOLVING);
	if (aside_lookup_parameters(&g->statement, s->dialect, &path, &name)) {
		values[0] = (const char *)bytes_view(&path).data;
		values[1] = (const char *)bytes_view(&name).data;
		questions[1] = (struct question){
			.sql = aside_lookup_sql(&g->statement), .values = values, .n_values = 2};
		send_inquiry(s, on_relation, false, questions, 2);
	} else {
		/* A REINDEX of a schema, or names we cannot read: PostgreSQL refuses it as ever. */
		gate_decide(s, FLOW_PASS, GATE_OPEN);
	}
	bytes_release(&path);
	bytes_release(&name);
}

void gate_ask_answered(struct session *s)
{
	struct gate *g = s->gate;

	if (g->inquiry.failed) {
		/* The transaction has failed by this: the statement's own answer will say so. */
		log_event(LOG_LEVEL_WARNING, "inquiry_failed", "session=%llu sqlstate=%s",
			(unsigned long long)s->id, g->inquiry.sqlstate);
		gate_decide(s, FLOW_PASS, GATE_OPEN);
	} else if (g->state == GATE_RESOLVING) {
		gate_place(s);
	} else if (g->facts.read_only) {
		gate_decide(s, FLOW_PASS, GATE_OPEN);
	} else if (!g->facts.read_committed) {
		gate_fail(s, "0A000",
			"pgaside cannot run this statement outside of a REPEATABLE READ or "
			"SERIALIZABLE transaction yet",
			NULL, "Use READ COMMITTED for this migration, or run the statement alone.");
	} else {
		resolve(s);
	}
}

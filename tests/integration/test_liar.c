/*
 * A server that breaks the protocol, once, at any message of any connection: while it answers the
 * client, and while it answers pgaside's own questions, settings, builds, looks and clean-ups.
 *
 * pgaside must neither crash nor keep anything; the client must hear the end of it, unless the lie
 * is that nothing more comes; and what it is told to be done is done. There are some thousands of
 * such cases, so an ordinary run takes a sample for LIES_SECONDS (30), by LIES_SEED; with LIES=all
 * it takes them all, and LIES=SHAPE:CONNECTION:MESSAGE:LIE takes one.
 */
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "fixture.h"
#include "frame.h"
#include "liar.h"
#include "message.h"

#define SILENCE_MS 300
#define GONE_MS 90000 /* an answer that is lost is noticed late */
#define CIC "CREATE INDEX CONCURRENTLY i ON t (id)"
#define EXTENDED '\1' /* in front of a text: by Parse, Bind, Describe, Execute */

struct shape {
	const char *name;
	const char *steps[5];
	const char *index; /* there and valid when all steps have succeeded */
};

static const struct shape shapes[] = {
	{"now", {"BEGIN", CIC, "COMMIT"}, "i"},
	{"owed", {"BEGIN", "INSERT INTO t VALUES (4711)", CIC, "COMMIT"}, "i"},
	{"failing", {"BEGIN", "CREATE UNIQUE INDEX CONCURRENTLY i ON t ((id % 10))", "ROLLBACK"},
		NULL},
	{"owed_failing",
		{"BEGIN", "INSERT INTO t VALUES (4711)",
			"CREATE UNIQUE INDEX CONCURRENTLY i ON t ((id % 10))", "COMMIT"},
		NULL},
	{"undone", {"BEGIN", CIC, "ROLLBACK"}, NULL},
	{"alone", {CIC}, "i"},
	{"block", {"INSERT INTO t VALUES (4711); " CIC "; SELECT 1"}, "i"},
	{"extended", {"\1BEGIN", "\1" CIC, "\1COMMIT"}, "i"},
	{"extended_owed", {"\1BEGIN", "\1INSERT INTO t VALUES (4711)", "\1" CIC, "\1COMMIT"}, "i"},
	{"inline",
		{"\1BEGIN", "\1CREATE TABLE n (id int)", "\1CREATE INDEX CONCURRENTLY i ON n (id)",
			"\1COMMIT"},
		"i"},
	{"dropped", {"BEGIN", "DROP INDEX CONCURRENTLY o", "COMMIT"}, NULL},
	{"rebuilt", {"BEGIN", "REINDEX INDEX CONCURRENTLY o", "COMMIT"}, "o"},
};

static struct liar liar;
static struct proxy *behind; /* in front of the liar */
static unsigned complaints;

static struct proxy *start_behind(void)
{
	char upstream[128];

	snprintf(upstream, sizeof(upstream), "host=127.0.0.1 port=%d sslmode=disable", liar.port);
	return proxy_start(upstream, "--workers", "1", "--undo-timeout", "2s", "--cleanup-timeout",
		"2s", "--shutdown-timeout", "3s", NULL);
}

static int start(void **state)
{
	(void)state;
	fixture_start("--auth trust");
	liar_start(&liar, cluster.port);
	behind = start_behind();
	return 0;
}

static int stop(void **state)
{
	int status = fixture_stop(state);

	liar_stop(&liar);
	return status;
}

enum heard {
	HEARD_READY,
	HEARD_END,
	HEARD_NOTHING, /* within the time */
};

static bool receive(struct wire *w, const struct patience *p)
{
	struct pollfd fd = {.fd = w->fd, .events = POLLIN};
	uint8_t *room = bytes_reserve(&w->in, 65536);
	ssize_t n;

	if (poll(&fd, 1, patience_rest_ms(p)) <= 0)
		return false;
	n = recv(w->fd, room, 65536, 0);
	bytes_commit(&w->in, n > 0 ? (size_t)n : 0);
	return n > 0;
}

/* Reads up to ReadyForQuery. `good` is false when an error came, or no CommandComplete. */
static enum heard hear(struct wire *w, unsigned ms, bool *good)
{
	struct patience p = patience_of(ms);
	struct frame f;
	bool complete = false, error = false;

	*good = false;
	for (;;) {
		struct slice in = bytes_view(&w->in);

		switch (frame_peek(in.data, in.len, &f)) {
		case FRAME_BAD:
			return HEARD_END;
		case FRAME_PARTIAL:
			f.size = SIZE_MAX;
			break;
		case FRAME_WHOLE_HEADER:
			break;
		}
		if (f.size > in.len) {
			if (receive(w, &p))
				continue;
			return patience_left(&p) ? HEARD_END : HEARD_NOTHING;
		}
		complete = complete || f.type == 'C';
		error = error || f.type == 'E';
		bytes_consume(&w->in, f.size);
		if (f.type == 'Z') {
			*good = complete && !error;
			return HEARD_READY;
		}
	}
}

static void say(struct wire *w, const char *text)
{
	if (text[0] != EXTENDED) {
		wire_query(w, text);
	} else {
		wire_parse(w, "", text + 1);
		wire_bind(w, "", "", 0);
		wire_describe(w, 'P', "");
		wire_execute(w, "", 0);
		wire_sync(w);
	}
	wire_send(w);
}

struct run {
	const struct shape *shape;
	unsigned connection, message;
	enum lie lie;
};

/* A server that says nothing more, or announces what never comes, cannot be told from one that is
 * at work. Half a message is no end either for who reads on. */
static bool may_be_silence(const struct run *r)
{
	switch (r->lie) {
	case LIE_LENGTH_HUGE:
	case LIE_LOST:
		return true;
	case LIE_NOTHING:
	case LIE_GONE:
	case LIE_CUT:
	case LIE_HALF_CLOSED:
	case LIE_DRIPPING:
	case LIE_TWICE:
	case LIE_FLOOD:
	case LIE_READY_EARLY:
		return false;
	default:
		/* All else takes a message away. */
		return true;
	}
}

static enum heard talk(const struct run *r, bool *good)
{
	struct wire *w = wire_open(behind->port);
	unsigned ms = may_be_silence(r) ? SILENCE_MS : PATIENCE_MS;
	enum heard heard;

	wire_startup(w, 0x30000, "app", "app", NULL);
	wire_send(w);
	heard = hear(w, ms, good);
	*good = true;
	for (unsigned i = 0; i < LENGTH(r->shape->steps) && r->shape->steps[i]; i++) {
		bool step_good;

		if (heard != HEARD_READY)
			break;
		say(w, r->shape->steps[i]);
		heard = hear(w, ms, &step_good);
		*good = *good && step_good;
	}
	*good = *good && heard == HEARD_READY;
	wire_close(w);
	return heard;
}

/* The others are tried all the same: one run shows what they have in common. */
static void complain(const struct run *r, const char *what)
{
	fprintf(stderr, "LIES=%s:%u:%u:%s (in place of '%c'): %s\n", r->shape->name, r->connection,
		r->message, lie_name(r->lie), liar_told(&liar), what);
	complaints++;
	proxy_stop(behind, SIGKILL);
	behind = start_behind();
	tell("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'client "
	     "backend' AND pid <> pg_backend_pid()");
}

static bool nothing_is_left(void)
{
	return ask_is("0",
		"SELECT count(*) FROM pg_index JOIN pg_class c ON c.oid = indexrelid "
		"WHERE NOT indisvalid OR NOT indisready OR relname LIKE 'pgaside_drop%%'");
}

static bool soon(bool (*condition)(void))
{
	struct patience p = patience_of(GONE_MS);

	while (!condition())
		if (!proxy_is_alive(behind) || !patience_left(&p))
			return false;
	return true;
}

static bool no_connection_is_open(void)
{
	return liar_open(&liar) == 0;
}

/* Who has lost his client may go on for a while. */
static bool no_backend_is_left(void)
{
	return ask_is("0", "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client "
			   "backend' AND pid <> pg_backend_pid()");
}

static void run(const struct run *r)
{
	bool good;
	enum heard heard;

	soon(no_backend_is_left);
	fresh_table();
	tell("CREATE INDEX o ON public.t (v)");
	liar_plan(&liar, r->connection, r->message, r->lie);
	heard = talk(r, &good);
	if (heard == HEARD_NOTHING && !may_be_silence(r))
		complain(r, "the client is not answered");
	else if (!soon(no_connection_is_open))
		complain(r, proxy_is_alive(behind) ? "connections stay" : "pgaside is gone");
	else if (!soon(nothing_is_left))
		complain(r, "an index is left");
	else if (good && r->shape->index && strcmp(index_state(r->shape->index), "t") != 0)
		complain(r, "it is told to be done, but is not");
}

/* How many messages there are to lie about: an honest run of each shape. */
static unsigned measure(const struct shape *shape, unsigned counts[8])
{
	struct run honest = {.shape = shape};
	unsigned n;

	run(&honest);
	n = liar_connections(&liar);
	n = n < 8 ? n : 8;
	for (unsigned i = 0; i < n; i++)
		counts[i] = liar_messages(&liar, i);
	return n;
}

static bool parse_run(const char *text, struct run *r)
{
	char shape[32], lie[32];
	bool found = false;

	if (sscanf(text, "%31[^:]:%u:%u:%31s", shape, &r->connection, &r->message, lie) != 4)
		return false;
	for (size_t i = 0; i < LENGTH(shapes); i++)
		if (strcmp(shapes[i].name, shape) == 0)
			r->shape = &shapes[i];
	for (unsigned l = 0; l < LIES; l++)
		if (strcmp(lie_name((enum lie)l), lie) == 0) {
			r->lie = (enum lie)l;
			found = true;
		}
	return found && r->shape;
}

static unsigned number_of(const char *variable, unsigned otherwise)
{
	const char *text = getenv(variable);

	return text ? (unsigned)strtoul(text, NULL, 10) : otherwise;
}

static void run_all(void)
{
	unsigned from = number_of("LIES_FROM", 0), n = 0;

	for (size_t s = 0; s < LENGTH(shapes); s++) {
		unsigned counts[8], connections = measure(&shapes[s], counts);

		for (unsigned c = 0; c < connections; c++)
			for (unsigned m = 0; m < counts[c]; m++)
				for (unsigned l = LIE_NOTHING + 1; l < LIES; l++)
					if (n++ >= from)
						run(&(struct run){&shapes[s], c, m, (enum lie)l});
		print_message("%s: %u\n", shapes[s].name, n);
	}
}

/* A CopyOutResponse behind a RowDescription makes libpq itself forget a result. */
static bool leaks_in_libpq(const struct run *r)
{
	return proxy_is_sanitized() && r->connection > 0 &&
	       (r->lie == LIE_COPY_IN || r->lie == LIE_COPY_OUT);
}

/* As many as take half a minute: the same ones each time, unless LIES_SEED says otherwise. */
#define SAMPLE 60u

static void run_sample(void)
{
	unsigned seed = number_of("LIES_SEED", 7), told = 0;
	unsigned counts[LENGTH(shapes)][8], connections[LENGTH(shapes)];
	struct patience p;

	print_message("LIES_SEED=%u\n", seed);
	srandom(seed);
	for (size_t s = 0; s < LENGTH(shapes); s++)
		connections[s] = measure(&shapes[s], counts[s]);
	p = patience_of(1000 * number_of("LIES_SECONDS", 30));
	while (told < SAMPLE && patience_left(&p)) {
		unsigned s = (unsigned)random() % LENGTH(shapes);
		unsigned c = (unsigned)random() % connections[s];
		struct run r = {&shapes[s], c, (unsigned)random() % (counts[s][c] + 1),
			(enum lie)(1 + (unsigned)random() % (LIES - 1))};

		if (r.message >= counts[s][c] || leaks_in_libpq(&r))
			continue;
		run(&r);
		told += liar_told(&liar) != 0;
	}
	print_message("%u lies told\n", told);
	assert_true(told > 20);
}

static void a_server_that_breaks_the_protocol_anywhere_costs_only_its_session(void **state)
{
	const char *what = getenv("LIES");
	struct run one = {.shape = NULL};

	(void)state;
	if (what && strcmp(what, "all") == 0)
		run_all();
	else if (what && parse_run(what, &one))
		run(&one);
	else
		run_sample();
	assert_int_equal(complaints, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_server_that_breaks_the_protocol_anywhere_costs_only_its_session),
	};

	return cmocka_run_group_tests(tests, start, stop);
}

#include "talk.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

int talk_start(void **state)
{
	(void)state;
	fixture_start("--auth password");
	assert_int_equal(proxy_stop(proxy, SIGTERM), 0);
	proxy = proxy_start(fixture_url(""), "--notify", "off", "--workers", proxy_workers(), NULL);
	return 0;
}

static void send_whole(struct wire *w)
{
	wire_send(w);
}

const char *with(struct talk *t, const char *before, const char *after)
{
	snprintf(t->sql, sizeof(t->sql), "%s %s %s", before, t->word, after);
	return t->sql;
}

const char *create(struct talk *t)
{
	return with(t, "CREATE INDEX", "i ON t (id)");
}

static void note(struct talk *t, const char *answers)
{
	size_t len = strlen(t->seen);

	snprintf(t->seen + len, sizeof(t->seen) - len, "%s%s | ", answers, t->w->positions);
}

void hear(struct talk *t, unsigned n_ready)
{
	t->send(t->w);
	note(t, wire_answers(t->w, n_ready));
}

void hear_until(struct talk *t, const char *word)
{
	t->send(t->w);
	note(t, wire_until(t->w, word));
}

void query(struct talk *t, const char *sql)
{
	wire_query(t->w, sql);
	hear(t, 1);
}

void bind_and_execute(struct talk *t, const char *statement, unsigned format)
{
	wire_bind(t->w, "", statement, format);
	wire_describe(t->w, 'P', "");
	wire_execute(t->w, "", 0);
}

void parse_to_execute(struct talk *t, const char *sql)
{
	wire_parse(t->w, "", sql);
	bind_and_execute(t, "", 0);
}

static void hold(const struct shape *s, struct talk *t, int port)
{
	fresh_table();
	t->seen[0] = '\0';
	t->w = wire_login(port, NULL);
	s->say(t);
	t->w->positions[0] = '\0';
	note(t, ask("SELECT coalesce(string_agg(relname || CASE WHEN indisvalid THEN '' ELSE ' "
		    "INVALID' END, ',' ORDER BY relname), '') FROM pg_index JOIN pg_class ON "
		    "pg_class.oid = indexrelid WHERE indrelid IN (to_regclass('t'), "
		    "to_regclass('u'))"));
	note(t, ask("SELECT count(*) FROM t"));
	wire_close(t->w);
}

void talk_compare(const struct shape *shapes, size_t n)
{
	static struct talk direct, through;

	for (size_t i = 0; i < n; i++) {
		direct = (struct talk){.word = "            ", .send = send_whole};
		hold(&shapes[i], &direct, cluster.port);
		through = (struct talk){.word = "CONCURRENTLY", .send = send_whole};
		hold(&shapes[i], &through, proxy->port);
		if (strcmp(through.seen, direct.seen) != 0)
			fail_msg("%s:\n%s\nwithout CONCURRENTLY:\n%s", shapes[i].name, through.seen,
				direct.seen);
		through = (struct talk){.word = "CONCURRENTLY", .send = wire_send_bytewise};
		hold(&shapes[i], &through, proxy->port);
		if (strcmp(through.seen, direct.seen) != 0)
			fail_msg("%s, bytewise:\n%s\nwithout CONCURRENTLY:\n%s", shapes[i].name,
				through.seen, direct.seen);
	}
}

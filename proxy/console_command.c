/*
 * console_command.c - what can be said to the console, and what it answers.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config_table.h"
#include "console_state.h"
#include "log.h"
#include "sql_lexer.h"
#include "timer.h"
#include "version.h"

enum {
	TIME_SIZE = sizeof("2026-01-31 23:59:59Z")
};

static bool take(struct console *c, struct stats_picture *p, struct err *e)
{
	return stats_take(c->session->worker->shared->stats, p) ||
	       err_set(e, "53200", "out of memory");
}

static const char *format_time(char out[TIME_SIZE], time_t t)
{
	struct tm parts;

	gmtime_r(&t, &parts);
	strftime(out, TIME_SIZE, "%Y-%m-%d %H:%M:%SZ", &parts);
	return out;
}

static void put_aside(struct console *c, const struct stats_aside *a)
{
	struct console_row r = console_row_begin(c, 14);
	char time[24];

	console_put_number(&r, a->id);
	console_put_number(&r, a->session);
	console_put_text(&r, a->user);
	console_put_text(&r, a->database);
	console_put_text(&r, stats_placement_names[a->placement]);
	console_put_text(&r, a->told ? stats_outcome_names[a->outcome] : a->state);
	console_put_text(&r, a->progress.phase);
	if (a->progress.percent >= 0)
		console_put_number(&r, (uint64_t)a->progress.percent);
	else
		console_put_null(&r);
	console_put_text(
		&r, progress_time(time, sizeof(time),
			    a->duration_ms > 0 ? a->duration_ms : timer_now_ms() - a->started_ms));
	console_put_text(&r, a->blocked_by);
	console_put_number(&r, (uint64_t)a->server_pid);
	console_put_number(&r, (uint64_t)a->aside_pid);
	console_put_text(&r, a->sqlstate);
	console_put_text(&r, a->statement);
	console_row_end(&r);
}

/* Those that run, then those that ended lately, the latest first. */
static bool show_asides(struct console *c, const char *argument, struct err *e)
{
	struct stats_picture p;

	(void)argument;
	if (!take(c, &p, e))
		return false;
	for (size_t i = 0; i < p.n_running; i++)
		put_aside(c, &p.running[i]);
	for (size_t i = 0; i < p.n_recent; i++)
		put_aside(c, &p.recent[i]);
	stats_release(&p);
	return true;
}

static bool show_owed(struct console *c, const char *argument, struct err *e)
{
	struct stats_picture p;

	(void)argument;
	if (!take(c, &p, e))
		return false;
	for (size_t i = 0; i < p.n_owed; i++) {
		for (unsigned n = 0; n < p.owed[i].n && n < STATS_OWED; n++) {
			struct console_row r = console_row_begin(c, 3);

			console_put_number(&r, p.owed[i].session);
			console_put_text(&r, p.owed[i].committed ? "committed" : "open");
			console_put_text(&r, p.owed[i].statements[n]);
			console_row_end(&r);
		}
	}
	stats_release(&p);
	return true;
}

static void put_session(struct console *c, const struct stats_seen_session *s)
{
	struct console_row r = console_row_begin(c, 10);
	char time[TIME_SIZE];

	console_put_number(&r, s->id);
	console_put_text(&r, s->user);
	console_put_text(&r, s->database);
	console_put_text(&r, s->application);
	console_put_text(&r, s->client);
	console_put_text(&r, s->tls ? "on" : "off");
	console_put_number(&r, (uint64_t)s->server_pid);
	console_put_text(&r, format_time(time, s->started_at));
	console_put_number(&r, s->bytes_up);
	console_put_number(&r, s->bytes_down);
	console_row_end(&r);
}

static bool show_sessions(struct console *c, const char *argument, struct err *e)
{
	struct stats_picture p;

	(void)argument;
	if (!take(c, &p, e))
		return false;
	for (size_t i = 0; i < p.n_sessions; i++)
		put_session(c, &p.sessions[i]);
	stats_release(&p);
	return true;
}

static void put_pair(struct console *c, const char *name, uint64_t value)
{
	struct console_row r = console_row_begin(c, 2);

	console_put_text(&r, name);
	console_put_number(&r, value);
	console_row_end(&r);
}

static void put_aside_counts(struct console *c, const struct stats_picture *p)
{
	char name[100];

	for (unsigned s = 0; s < STATS_STATEMENTS; s++) {
		for (unsigned l = 0; l < STATS_PLACEMENTS; l++) {
			for (unsigned o = 0; o < STATS_OUTCOMES; o++) {
				if (p->asides[s][l][o] == 0)
					continue;
				snprintf(name, sizeof(name), "%s %s %s", stats_statement_names[s],
					stats_placement_names[l], stats_outcome_names[o]);
				put_pair(c, name, p->asides[s][l][o]);
			}
		}
	}
}

static void put_error_counts(struct console *c, const struct stats_picture *p)
{
	char name[32];

	for (unsigned i = 0; i < stats_n_sqlstates; i++) {
		if (p->errors[i] == 0)
			continue;
		snprintf(name, sizeof(name), "errors %s", stats_sqlstates[i]);
		put_pair(c, name, p->errors[i]);
	}
}

static bool show_stats(struct console *c, const char *argument, struct err *e)
{
	struct shared *shared = c->session->worker->shared;
	struct stats_picture p;

	(void)argument;
	if (!take(c, &p, e))
		return false;
	put_pair(c, "sessions", p.n_sessions);
	put_pair(c, "sessions_total", p.counters[STATS_SESSIONS_TOTAL]);
	put_pair(c, "logins_total", p.counters[STATS_LOGINS]);
	put_pair(c, "cancel_requests_total", p.counters[STATS_CANCELS]);
	put_pair(c, "bytes_from_clients", p.bytes_up);
	put_pair(c, "bytes_from_servers", p.bytes_down);
	put_pair(c, "asides_running", p.n_running);
	put_pair(c, "owed_total", p.counters[STATS_OWED_TOTAL]);
	put_pair(c, "owed_failures_total", atomic_load(&shared->owed_failures));
	put_pair(c, "retries_total", p.counters[STATS_RETRIES]);
	put_pair(c, "leftovers_dropped_total", p.counters[STATS_LEFTOVERS_DROPPED]);
	put_aside_counts(c, &p);
	put_error_counts(c, &p);
	stats_release(&p);
	return true;
}

/* Where an upstream leads, without what its URL holds besides. */
static void describe_upstream(const struct upstream *u, char *out, size_t size)
{
	size_t len = 0;

	out[0] = '\0';
	for (unsigned i = 0; i < u->n_hosts && len < size; i++)
		len += (size_t)snprintf(out + len, size - len, "%s%s:%s", i > 0 ? "," : "",
			u->hosts[i].host, u->hosts[i].port);
	if (len < size && u->sslmode && *u->sslmode)
		snprintf(out + len, size - len, " sslmode=%s", u->sslmode);
}

/* A URL may hold a password, and more than one: nothing of its text is shown. */
static const char *value_of(
	const struct snapshot *snapshot, const struct setting *s, char *out, size_t size)
{
	if (strcmp(s->name, "upstream") == 0)
		describe_upstream(&snapshot->upstream, out, size);
	else if (strcmp(s->name, "aside_upstream") == 0)
		describe_upstream(&snapshot->other_upstream, out, size);
	else
		setting_text(s, &snapshot->config, out, size);
	return out;
}

static bool show_config(struct console *c, const char *argument, struct err *e)
{
	const struct snapshot *snapshot = c->session->worker->snapshot;
	char value[4096];

	(void)argument;
	(void)e;
	for (size_t i = 0; i < setting_count; i++) {
		const struct setting *s = &setting_table[i];
		struct console_row r = console_row_begin(c, 4);

		console_put_text(&r, s->name);
		console_put_text(&r, value_of(snapshot, s, value, sizeof(value)));
		console_put_text(&r, s->initial);
		console_put_text(&r, s->fixed ? "no" : "yes");
		console_row_end(&r);
	}
	return true;
}

static bool put_one(struct console *c, const char *value)
{
	struct console_row r = console_row_begin(c, 1);

	console_put_text(&r, value);
	console_row_end(&r);
	return true;
}

static bool show_version(struct console *c, const char *argument, struct err *e)
{
	(void)argument;
	(void)e;
	return put_one(c, "pgaside " PGASIDE_VERSION);
}

static bool select_one(struct console *c, const char *argument, struct err *e)
{
	(void)argument;
	(void)e;
	return put_one(c, "1");
}

static bool show_help(struct console *c, const char *argument, struct err *e);

static void log_command(struct console *c, const char *command)
{
	char user[64], quoted[160];

	session_parameter(c->session, "user", user, sizeof(user));
	log_event(LOG_LEVEL_INFO, "console", "session=%llu user=%s command=\"%s\"",
		(unsigned long long)c->session->id,
		log_quote(quoted, sizeof(quoted), user, (unsigned)strlen(user)), command);
}

static const struct stats_aside *find_running(const struct stats_picture *p, uint64_t id)
{
	for (size_t i = 0; i < p->n_running; i++)
		if (p->running[i].id == id)
			return &p->running[i];
	return NULL;
}

static bool cancel_aside(struct console *c, const struct stats_aside *a, struct err *e)
{
	struct worker_message m = {.kind = WORKER_CANCEL_ASIDE, .aside = a ? a->id : 0};
	char command[32];

	if (!a || a->told)
		return err_set(e, "42704", "no aside of that number runs: see SHOW ASIDES");
	if (a->placement == STATS_UNDO)
		return err_set(e, "55000",
			"this one takes back what a rollback has left: it is not cancelled");
	if (!worker_post(a->worker, &m))
		return err_set(e, "53000", "too many requests at once: say it again");
	snprintf(command, sizeof(command), "CANCEL %llu", (unsigned long long)a->id);
	log_command(c, command);
	return true;
}

static bool cancel(struct console *c, const char *argument, struct err *e)
{
	struct stats_picture p;
	char *end;
	uint64_t id = strtoull(argument, &end, 10);
	bool ok;

	if (argument[0] < '0' || argument[0] > '9' || *end)
		return err_set(e, "42601", "CANCEL needs the number of an aside: see SHOW ASIDES");
	if (!take(c, &p, e))
		return false;
	ok = cancel_aside(c, find_running(&p, id), e);
	stats_release(&p);
	return ok;
}

/* The main thread does it, as it does when the signal comes from outside. */
static bool reload(struct console *c, const char *argument, struct err *e)
{
	(void)argument;
	log_command(c, "RELOAD");
	if (kill(getpid(), SIGHUP) != 0)
		return err_set(e, "XX000", "the process cannot be signalled");
	console_notice(c, "the settings are read again; the log says how that went, SHOW CONFIG "
			  "what is in force");
	return true;
}

static bool shut_down(struct console *c, const char *argument, struct err *e)
{
	(void)argument;
	log_command(c, "SHUTDOWN");
	if (kill(getpid(), SIGTERM) != 0)
		return err_set(e, "XX000", "the process cannot be signalled");
	console_notice(c, "no client gets in any more; transactions and asides may end within "
			  "shutdown_timeout");
	return true;
}

static const struct console_command commands[] = {
	{"show asides", "SHOW",
		{"id", "session", "user", "database", "placement", "state", "phase", "percent",
			"time", "waits_for", "server_pid", "aside_pid", "sqlstate", "statement"},
		NULL, "what runs aside, and what ended lately", show_asides},
	{"show owed", "SHOW", {"session", "transaction", "statement"}, NULL,
		"statements that wait for a COMMIT, or follow one", show_owed},
	{"show sessions", "SHOW",
		{"id", "user", "database", "application_name", "client", "tls", "server_pid",
			"since", "bytes_from_client", "bytes_from_server"},
		NULL, "who is connected", show_sessions},
	{"show config", "SHOW", {"name", "value", "default", "reloadable"}, NULL,
		"the settings that new sessions begin with", show_config},
	{"show stats", "SHOW", {"name", "value"}, NULL, "counts since the start", show_stats},
	{"show version", "SHOW", {"version"}, NULL, "which pgaside this is", show_version},
	{"show help", "SHOW", {"command", "meaning"}, NULL, "this", show_help},
	{"cancel", "CANCEL", {NULL}, "number",
		"cancels an aside, and drops what it leaves; its client gets 57014", cancel},
	{"reload", "RELOAD", {NULL}, NULL, "reads the settings again, as SIGHUP does", reload},
	{"shutdown", "SHUTDOWN", {NULL}, NULL, "ends pgaside, as SIGTERM does", shut_down},

	/* What drivers say when they connect, or to see whether the connection lives. It is never
	 * in a transaction, whatever they say. */
	{"select 1", "SELECT 1", {"?column?"}, NULL, NULL, select_one},
	{"select version ( )", "SELECT 1", {"version"}, NULL, NULL, show_version},
	{"select pg_catalog . version ( )", "SELECT 1", {"version"}, NULL, NULL, show_version},
	{"set", "SET", {NULL}, "", NULL, NULL},
	{"reset", "RESET", {NULL}, "", NULL, NULL},
	{"begin", "BEGIN", {NULL}, "", NULL, NULL},
	{"start transaction", "START TRANSACTION", {NULL}, "", NULL, NULL},
	{"commit", "COMMIT", {NULL}, "", NULL, NULL},
	{"end", "COMMIT", {NULL}, "", NULL, NULL},
	{"rollback", "ROLLBACK", {NULL}, "", NULL, NULL},
	{"abort", "ROLLBACK", {NULL}, "", NULL, NULL},
	{"discard", "DISCARD ALL", {NULL}, "", NULL, NULL},
	{"deallocate", "DEALLOCATE", {NULL}, "", NULL, NULL},
};

static bool show_help(struct console *c, const char *argument, struct err *e)
{
	char text[64];

	(void)argument;
	(void)e;
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		const struct console_command *command = &commands[i];
		struct console_row r;

		if (!command->help)
			continue;
		snprintf(text, sizeof(text), "%s%s%s", command->words, command->argument ? " " : "",
			command->argument ? command->argument : "");
		for (char *at = text; *at && strncmp(at, " number", 7) != 0; at++)
			*at = *at >= 'a' && *at <= 'z' ? (char)(*at - ('a' - 'A')) : *at;
		r = console_row_begin(c, 2);
		console_put_text(&r, text);
		console_put_text(&r, command->help);
		console_row_end(&r);
	}
	return true;
}

/* The tokens in lower case with a blank between, as the table has them, and dots for what there is
 * no room for; nothing at all when one cannot be read. */
static void normalise(struct slice text, char *out, size_t size)
{
	static const struct sql_dialect dialect = {0};
	static const char cut[] = " ...";
	struct sql_lexer l;
	struct sql_token t;
	size_t len = 0;

	sql_lexer_init(&l, text, dialect);
	while ((t = sql_lexer_next(&l)).kind != SQL_TOKEN_END) {
		struct slice word = sql_token_text(text, t);

		if (t.kind == SQL_TOKEN_ERROR) {
			out[0] = '\0';
			return;
		}
		if (sql_token_is_char(text, t, ';'))
			break;
		if (word.len + 1 + sizeof(cut) > size - len) {
			memcpy(out + len, cut, sizeof(cut));
			return;
		}
		if (len > 0)
			out[len++] = ' ';
		for (size_t i = 0; i < word.len; i++)
			out[len++] = (char)(word.data[i] >= 'A' && word.data[i] <= 'Z'
						    ? word.data[i] + ('a' - 'A')
						    : word.data[i]);
	}
	out[len] = '\0';
}

/* What follows the words of a command; NULL when it is another. */
static const char *behind(const char *said, const char *words)
{
	size_t len = strlen(words);

	if (strncmp(said, words, len) != 0 || (said[len] && said[len] != ' '))
		return NULL;
	return said[len] ? said + len + 1 : said + len;
}

const struct console_command *console_find(
	struct slice text, char *argument, size_t size, struct err *e)
{
	char said[256];

	normalise(text, said, sizeof(said));
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		const char *rest = behind(said, commands[i].words);

		if (!rest || (*rest && !commands[i].argument))
			continue;
		snprintf(argument, size, "%s", rest);
		return &commands[i];
	}
	err_set(e, "42601", "this is pgaside's console, which does not know that: say SHOW HELP");
	return NULL;
}

/*
 * indexes.c - the command: flags, connection, its loop.
 */
#include "indexes.h"

#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "indexes_state.h"
#include "loop.h"
#include "message.h"
#include "run.h"
#include "url.h"

#define CONNECT_TIMEOUT_MS 30000u
#define LOCK_TIMEOUT_S 300u
#define LOCK_TIMEOUT_MAX_S 86400u
#define PARAMETERS 30

struct options {
	const char *url; /* borrowed; NULL = DATABASE_URL, or what libpq finds */
	bool help;
};

/* What libpq is given; all owned. */
struct parameters {
	char *keywords[PARAMETERS], *values[PARAMETERS];
	size_t n;
};

static void print_help(void)
{
	fputs("pgaside indexes [flags] [URL]\n"
	      "\n"
	      "Lists the INVALID indexes of a database: that of URL, of DATABASE_URL, or of the "
	      "PG*\n"
	      "variables. Ends with 1 if there is a leftover, which nobody is building, and with 2 "
	      "if\n"
	      "the database cannot be asked.\n"
	      "\n"
	      "  --repair drop|rebuild\n"
	      "        drop the leftovers, or build them anew, CONCURRENTLY. What REINDEX or DROP "
	      "has\n"
	      "        left is dropped in any case. Nothing that is being built, and nothing of a\n"
	      "        partitioned index is touched\n"
	      "  --lock-timeout SECONDS (default 300)\n"
	      "        how long a repair waits for a lock or for old transactions; 0: without end\n"
	      "  --format text|json\n",
		stdout);
}

static int fail(const char *text)
{
	fprintf(stderr, "pgaside: indexes: %s\n", text);
	return EXIT_USAGE;
}

void indexes_stop(struct indexes *x)
{
	event_base_loopbreak(x->worker.base);
}

void indexes_end(struct indexes *x, const struct pq_result *r)
{
	struct slice message = slice_str("");

	if (!r->ok) {
		x->failed = true;
		error_field(bytes_view(r->error), 'M', &message);
		err_set(&x->error, r->sqlstate, "%.*s", (int)message.len,
			(const char *)message.data);
	}
	indexes_stop(x);
}

static void on_listed(void *owner, const struct pq_result *r)
{
	struct indexes *x = owner;

	if (r->ok && !indexes_read(&x->list, r)) {
		x->failed = true;
		err_set(&x->error, "53200", "out of memory, or too many indexes");
		indexes_stop(x);
	} else if (r->ok && x->repair != REPAIR_NONE) {
		indexes_repair_all(x);
	} else {
		indexes_end(x, r);
	}
}

static void on_settings(void *owner, const struct pq_result *r)
{
	struct indexes *x = owner;

	if (!r->ok) {
		indexes_end(x, r);
		return;
	}
	if (strcmp(pq_value(r, 0, 1), "t") == 0) {
		x->failed = true;
		err_set(&x->error, "25006",
			"that is a standby: what is being built, only its primary knows");
		indexes_stop(x);
		return;
	}
	x->sees_files = strcmp(pq_value(r, 0, 0), "t") == 0;
	indexes_ask(x, on_listed);
}

static void on_connected(void *owner, const struct err *e)
{
	struct indexes *x = owner;
	char sql[512];

	if (e) {
		x->failed = true;
		x->error = *e;
		indexes_stop(x);
		return;
	}
	snprintf(sql, sizeof(sql),
		"SET search_path = pg_catalog; SET statement_timeout = 0; "
		"SET idle_session_timeout = 0; SET lock_timeout = '%ums'; "
		"SELECT pg_catalog.has_function_privilege('pg_catalog.pg_stat_file(text,boolean)', "
		"'EXECUTE'), pg_catalog.pg_is_in_recovery()",
		x->lock_timeout_ms);
	pq_query(x->pq, sql, on_settings, x);
}

static bool add_parameter(void *arg, const char *keyword, const char *value, struct err *e)
{
	struct parameters *p = arg;

	if (p->n == PARAMETERS)
		return err_set(e, "08001", "too many parameters");
	p->keywords[p->n] = strdup(keyword);
	p->values[p->n] = strdup(value);
	p->n++;
	return (p->keywords[p->n - 1] && p->values[p->n - 1]) ||
	       err_set(e, "53200", "out of memory");
}

static void release_parameters(struct parameters *p)
{
	for (size_t i = 0; i < p->n; i++) {
		if (p->values[i])
			explicit_bzero(p->values[i], strlen(p->values[i]));
		free(p->keywords[i]);
		free(p->values[i]);
	}
}

/* What the URL leaves open, libpq finds in the environment and the password file. */
static bool read_url(struct parameters *p, const char *url, struct err *e)
{
	const char *name = url ? "the URL" : "DATABASE_URL";
	struct err why;
	char *conninfo;
	bool ok;

	if (!add_parameter(p, "fallback_application_name", "pgaside indexes", e))
		return false;
	if (!url)
		url = getenv("DATABASE_URL");
	if (!url || !*url)
		return true;
	conninfo = url_to_upstream(url, environ, &why);
	if (!conninfo)
		return err_set(e, "08001", "%s %s", name, why.text);
	ok = pq_parse_conninfo(conninfo, add_parameter, p, e);
	explicit_bzero(conninfo, strlen(conninfo));
	free(conninfo);
	return ok;
}

static void loop(struct indexes *x, const struct parameters *p)
{
	static const struct pq_events events = {.connected = on_connected};
	struct pq_parameter list[PARAMETERS + 1] = {{NULL, NULL}};

	for (size_t i = 0; i < p->n; i++)
		list[i] = (struct pq_parameter){p->keywords[i], p->values[i]};
	x->worker.base = loop_new();
	if (x->worker.base)
		x->pq = pq_connect(&x->worker, list, CONNECT_TIMEOUT_MS, &events, x);
	if (x->pq) {
		event_base_dispatch(x->worker.base);
	} else {
		x->failed = true;
		err_set(&x->error, "53200", "out of memory");
	}
	pq_close(x->pq);
	if (x->worker.base)
		event_base_free(x->worker.base);
}

static bool ask_database(struct indexes *x, const char *url)
{
	struct parameters p = {.n = 0};

	if (!read_url(&p, url, &x->error))
		x->failed = true;
	else
		loop(x, &p);
	release_parameters(&p);
	return !x->failed;
}

static bool read_seconds(const char *value, unsigned *ms)
{
	char *end;
	unsigned long s;

	errno = 0;
	s = strtoul(value, &end, 10);
	if (end == value || *end || errno || *value == '-' || s > LOCK_TIMEOUT_MAX_S)
		return false;
	*ms = (unsigned)s * 1000;
	return true;
}

static bool set_flag(struct indexes *x, const char *name, const char *value)
{
	if (strcmp(name, "--repair") == 0) {
		x->repair = strcmp(value, "drop") == 0 ? REPAIR_DROP : REPAIR_REBUILD;
		return x->repair == REPAIR_DROP || strcmp(value, "rebuild") == 0;
	}
	if (strcmp(name, "--format") == 0) {
		x->json = strcmp(value, "json") == 0;
		return x->json || strcmp(value, "text") == 0;
	}
	return strcmp(name, "--lock-timeout") == 0 && read_seconds(value, &x->lock_timeout_ms);
}

/* One flag with its value, in one word or two. */
static bool read_flag(struct indexes *x, char *const *argv, int *at)
{
	const char *word = argv[*at], *equals = strchr(word, '=');
	char name[32];

	if (equals) {
		snprintf(name, sizeof(name), "%.*s", (int)(equals - word), word);
		return set_flag(x, name, equals + 1);
	}
	return argv[*at + 1] && set_flag(x, word, argv[++*at]);
}

static bool read_words(struct indexes *x, struct options *o, int argc, char *const *argv)
{
	for (int at = 1; at < argc; at++) {
		if (strcmp(argv[at], "--help") == 0 || strcmp(argv[at], "-h") == 0) {
			o->help = true;
		} else if (argv[at][0] == '-') {
			if (!read_flag(x, argv, &at))
				return false;
		} else if (o->url) {
			return false;
		} else {
			o->url = argv[at];
		}
	}
	return true;
}

int indexes_main(int argc, char *const *argv)
{
	struct indexes x = {.lock_timeout_ms = LOCK_TIMEOUT_S * 1000};
	struct options o = {.url = NULL};
	int status = EXIT_SUCCESS;

	if (!read_words(&x, &o, argc, argv))
		return fail("that is not understood: see pgaside indexes --help");
	if (o.help) {
		print_help();
		return EXIT_SUCCESS;
	}
	signal(SIGPIPE, SIG_IGN);
	if (ask_database(&x, o.url))
		indexes_print(&x);
	if (x.failed)
		status = fail(x.error.text);
	else if (indexes_count(x.after.rows ? &x.after : &x.list, INDEX_LEFTOVER) > 0)
		status = EXIT_FAILURE;
	indexes_release(&x.list);
	indexes_release(&x.after);
	if (fflush(stdout) != 0 || ferror(stdout))
		status = fail(strerror(errno));
	return status;
}

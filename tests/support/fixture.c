#include "fixture.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

struct cluster cluster;
struct proxy *proxy;

/* Not one of db_connect()'s: it outlives the tests. */
static PGconn *monitor;

static void ignore_notice(void *arg, const PGresult *r)
{
	(void)arg;
	(void)r;
}

static bool open_monitor(void)
{
	char text[256];

	PQfinish(monitor);
	snprintf(text, sizeof(text),
		"host=127.0.0.1 port=%d user=postgres password=postgres dbname=app "
		"application_name=monitor",
		cluster.port);
	monitor = PQconnectdb(text);
	PQsetNoticeReceiver(monitor, ignore_notice, NULL);
	return PQstatus(monitor) == CONNECTION_OK;
}

static const char *question(const char *sql)
{
	static char texts[8][4096];
	static unsigned next;
	char *text = texts[next++ % 8];
	PGresult *r = monitor ? PQexec(monitor, sql) : NULL;

	if (!r || PQstatus(monitor) != CONNECTION_OK) {
		/* The server may have been restarted meanwhile. */
		PQclear(r);
		WAIT_FOR(open_monitor());
		r = PQexec(monitor, sql);
	}
	if (PQresultStatus(r) != PGRES_TUPLES_OK && PQresultStatus(r) != PGRES_COMMAND_OK)
		fail_msg("%s: %s", sql, PQerrorMessage(monitor));
	snprintf(text, sizeof(texts[0]), "%s", PQntuples(r) > 0 ? PQgetvalue(r, 0, 0) : "");
	PQclear(r);
	return text;
}

const char *ask(const char *format, ...)
{
	char sql[8192];
	va_list args;

	va_start(args, format);
	vsnprintf(sql, sizeof(sql), format, args);
	va_end(args);
	return question(sql);
}

bool ask_is(const char *answer, const char *format, ...)
{
	char sql[8192];
	va_list args;

	va_start(args, format);
	vsnprintf(sql, sizeof(sql), format, args);
	va_end(args);
	return strcmp(question(sql), answer) == 0;
}

bool waits_in(uint32_t pid, const char *event)
{
	return ask_is(event, "SELECT wait_event FROM pg_stat_activity WHERE pid = %u", pid);
}

void tell(const char *format, ...)
{
	char sql[8192];
	va_list args;

	va_start(args, format);
	vsnprintf(sql, sizeof(sql), format, args);
	va_end(args);
	question(sql);
}

const char *index_state(const char *name)
{
	return ask("SELECT i.indisvalid AND i.indisready FROM pg_index i "
		   "WHERE i.indexrelid = to_regclass('%s')",
		name);
}

void fresh_table(void)
{
	tell("DROP SCHEMA IF EXISTS public CASCADE; CREATE SCHEMA public AUTHORIZATION app");
	tell("CREATE TABLE public.t (id int, v text); ALTER TABLE public.t OWNER TO app; "
	     "INSERT INTO public.t SELECT i, 'v' || i FROM generate_series(1, 1000) i");
}

#define BUILD_LOCK 4242

PGconn *hold_builds(void)
{
	PGconn *holder = db_connect(cluster.port, "application_name=holder");

	tell("CREATE OR REPLACE FUNCTION public.slow(int) RETURNS int IMMUTABLE LANGUAGE plpgsql "
	     "AS "
	     "'BEGIN PERFORM pg_advisory_xact_lock_shared(%d); RETURN $1; END'",
		BUILD_LOCK);
	db_do(holder, "SELECT pg_advisory_lock(%d)", BUILD_LOCK);
	return holder;
}

bool build_is_held(void)
{
	return ask_is("t",
		"SELECT count(*) > 0 FROM pg_locks WHERE locktype = 'advisory' AND objid = %d "
		"AND NOT granted",
		BUILD_LOCK);
}

bool aside_is_watched(void)
{
	return ask_is("1", "SELECT count(*) FROM pg_stat_activity WHERE application_name = "
			   "'pgaside/watch' AND query LIKE 'WITH %%'");
}

bool build_is_watched(void)
{
	return build_is_held() && aside_is_watched();
}

void release_builds(PGconn *holder)
{
	db_do(holder, "SELECT pg_advisory_unlock(%d)", BUILD_LOCK);
}

const char *fixture_url(const char *more)
{
	static char url[512];

	snprintf(url, sizeof(url), "postgresql://127.0.0.1:%d/app%s", cluster.port, more);
	return url;
}

int fixture_start(const char *options)
{
	cluster_start(&cluster, options);
	proxy = proxy_start(fixture_url(""), "--workers", proxy_workers(), NULL);
	return 0;
}

int fixture_stop(void **state)
{
	bool ok;

	(void)state;
	db_close_all();
	wire_close_all();
	PQfinish(monitor);
	monitor = NULL;
	ok = proxy_stop_all(NULL);
	cluster_stop(&cluster);
	return ok ? 0 : -1;
}

static bool becomes_empty(const char *what, const char *sql)
{
	struct patience p = patience_of(PATIENCE_MS);
	const char *found;

	while ((found = ask("%s", sql))[0])
		if (!patience_left(&p)) {
			fprintf(stderr, "left behind: %s: %s\n", what, found);
			return false;
		}
	return true;
}

static bool is_clean(void)
{
	return becomes_empty("connections",
		       "SELECT string_agg(format('%s %L %L', pid, application_name, query), ', ') "
		       "FROM pg_stat_activity WHERE backend_type = 'client backend' "
		       "AND pid <> pg_backend_pid()") &&
	       becomes_empty("INVALID indexes",
		       "SELECT string_agg(indexrelid::regclass::text, ', ') FROM pg_index "
		       "WHERE NOT indisvalid OR NOT indisready");
}

int fixture_tidy(void **state)
{
	bool ok;

	(void)state;
	db_close_all();
	wire_close_all();
	ok = is_clean();
	ok = proxy_stop_all(proxy) && ok;
	if (proxy && !proxy_is_alive(proxy)) {
		fprintf(stderr, "pgaside is gone\n");
		proxy_wait(proxy);
		proxy = proxy_start(fixture_url(""), "--workers", proxy_workers(), NULL);
		ok = false;
	}
	return ok ? 0 : -1;
}

int fixture_fresh(void **state)
{
	(void)state;
	fresh_table();
	return 0;
}

#include "db.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "patience.h"

#define MAX_CONNECTIONS 256
#define SQL_SIZE 8192

static PGconn *connections[MAX_CONNECTIONS];
static char notices[4096];

static void remember(PGconn *conn)
{
	for (int i = 0; i < MAX_CONNECTIONS; i++) {
		if (connections[i])
			continue;
		connections[i] = conn;
		return;
	}
	fail_msg("more than %d connections at a time", MAX_CONNECTIONS);
}

void db_close(PGconn *conn)
{
	for (int i = 0; i < MAX_CONNECTIONS; i++)
		if (connections[i] == conn)
			connections[i] = NULL;
	PQfinish(conn);
}

void db_close_all(void)
{
	for (int i = 0; i < MAX_CONNECTIONS; i++)
		if (connections[i])
			db_close(connections[i]);
}

static void ignore_notice(void *arg, const PGresult *r)
{
	(void)arg;
	(void)r;
}

/* Bounded, as everything here. */
static void finish_connecting(PGconn *conn)
{
	struct patience p = patience_of(PATIENCE_MS);
	PostgresPollingStatusType status = PGRES_POLLING_WRITING;

	while (status != PGRES_POLLING_OK && status != PGRES_POLLING_FAILED) {
		struct pollfd fd = {.fd = PQsocket(conn),
			.events = status == PGRES_POLLING_READING ? POLLIN : POLLOUT};

		if (poll(&fd, 1, patience_rest_ms(&p)) <= 0)
			fail_msg("no answer to the log-in");
		status = PQconnectPoll(conn);
	}
}

PGconn *db_try(int port, const char *more)
{
	char text[1024];
	PGconn *conn;

	snprintf(text, sizeof(text),
		"host=127.0.0.1 port=%d user=app password=secret dbname=app sslmode=disable "
		"gssencmode=disable %s",
		port, more ? more : "");
	conn = PQconnectStart(text);
	assert_non_null(conn);
	remember(conn);
	PQsetErrorVerbosity(conn, PQERRORS_VERBOSE);
	PQsetNoticeReceiver(conn, ignore_notice, NULL);
	if (PQstatus(conn) != CONNECTION_BAD)
		finish_connecting(conn);
	return conn;
}

PGconn *db_connect(int port, const char *more)
{
	PGconn *conn = db_try(port, more);

	if (PQstatus(conn) != CONNECTION_OK)
		fail_msg("log-in failed: %s", PQerrorMessage(conn));
	return conn;
}

PGconn *db_super(int port)
{
	return db_connect(port, "user=postgres password=postgres");
}

/* Until libpq has the answer, or its end. */
static void wait_for_answer(PGconn *conn)
{
	struct patience p = patience_of(PATIENCE_MS);

	while (PQisBusy(conn)) {
		struct pollfd fd = {.fd = PQsocket(conn), .events = POLLIN};

		if (PQflush(conn) > 0)
			fd.events = POLLIN | POLLOUT;
		if (poll(&fd, 1, patience_rest_ms(&p)) <= 0)
			fail_msg("no answer from the server");
		if (!PQconsumeInput(conn))
			return;
	}
}

const char *db_error_field(const PGresult *r, int field)
{
	const char *value = r ? PQresultErrorField(r, field) : NULL;

	return value ? value : "";
}

PGresult *db_result(PGconn *conn)
{
	PGresult *last = NULL, *r;

	for (;;) {
		wait_for_answer(conn);
		r = PQgetResult(conn);
		if (!r)
			return last;
		/* A lost connection is told once more, without the server's own reason. */
		if (db_error_field(last, PG_DIAG_SQLSTATE)[0] &&
			PQresultStatus(r) == PGRES_FATAL_ERROR) {
			PQclear(r);
			continue;
		}
		PQclear(last);
		last = r;
		if (PQresultStatus(r) == PGRES_COPY_IN || PQresultStatus(r) == PGRES_COPY_OUT)
			return r;
	}
}

PGresult *db_query(PGconn *conn, const char *sql)
{
	if (!PQsendQuery(conn, sql))
		return NULL;
	return db_result(conn);
}

static bool is_good(const PGresult *r)
{
	ExecStatusType status = PQresultStatus(r);

	return r && status != PGRES_FATAL_ERROR && status != PGRES_BAD_RESPONSE;
}

static const char *outcome_of(const PGresult *r)
{
	const char *state = db_error_field(r, PG_DIAG_SQLSTATE);

	if (is_good(r))
		return "00000";
	return state[0] ? state : "gone";
}

void db_do(PGconn *conn, const char *format, ...)
{
	char sql[SQL_SIZE];
	va_list args;
	PGresult *r;

	va_start(args, format);
	vsnprintf(sql, sizeof(sql), format, args);
	va_end(args);
	r = db_query(conn, sql);
	if (!is_good(r))
		fail_msg("%s: %s %s", sql, outcome_of(r), PQerrorMessage(conn));
	PQclear(r);
}

void db_fail(PGconn *conn, const char *sqlstate, const char *format, ...)
{
	char sql[SQL_SIZE];
	va_list args;
	PGresult *r;

	va_start(args, format);
	vsnprintf(sql, sizeof(sql), format, args);
	va_end(args);
	r = db_query(conn, sql);
	if (strcmp(outcome_of(r), sqlstate) != 0)
		fail_msg("%s: %s instead of %s: %s", sql, outcome_of(r), sqlstate,
			PQerrorMessage(conn));
	PQclear(r);
}

const char *db_text(PGconn *conn, const char *format, ...)
{
	static char texts[8][4096];
	static unsigned next;
	char *text = texts[next++ % 8];
	char sql[SQL_SIZE];
	va_list args;
	PGresult *r;

	va_start(args, format);
	vsnprintf(sql, sizeof(sql), format, args);
	va_end(args);
	r = db_query(conn, sql);
	if (!is_good(r))
		fail_msg("%s: %s", sql, PQerrorMessage(conn));
	snprintf(text, sizeof(texts[0]), "%s", PQntuples(r) > 0 ? PQgetvalue(r, 0, 0) : "");
	PQclear(r);
	return text;
}

void db_send(PGconn *conn, const char *format, ...)
{
	char sql[SQL_SIZE];
	va_list args;

	va_start(args, format);
	vsnprintf(sql, sizeof(sql), format, args);
	va_end(args);
	if (!PQsendQuery(conn, sql))
		fail_msg("%s: %s", sql, PQerrorMessage(conn));
}

void db_cancel(PGconn *conn)
{
	PGcancel *cancel = PQgetCancel(conn);
	char error[256];

	assert_non_null(cancel);
	if (!PQcancel(cancel, error, sizeof(error)))
		fail_msg("%s", error);
	PQfreeCancel(cancel);
}

const char *db_outcome(PGconn *conn)
{
	static char state[6];
	PGresult *r = db_result(conn);

	snprintf(state, sizeof(state), "%s", outcome_of(r));
	PQclear(r);
	return state;
}

const char *db_login_error(int port, const char *more)
{
	static char text[2][512];
	static unsigned next;
	char *out = text[next++ % 2];
	PGconn *conn = db_try(port, more);
	const char *message = PQerrorMessage(conn);
	const char *fatal = strstr(message, "FATAL:  ");

	snprintf(out, sizeof(text[0]), "%s", fatal ? fatal + 8 : message);
	out[strcspn(out, "\n")] = '\0';
	db_close(conn);
	return out;
}

bool db_has_answer(PGconn *conn)
{
	return !PQconsumeInput(conn) || !PQisBusy(conn);
}

char db_status(PGconn *conn)
{
	switch (PQtransactionStatus(conn)) {
	case PQTRANS_IDLE:
		return 'I';
	case PQTRANS_INTRANS:
		return 'T';
	case PQTRANS_INERROR:
		return 'E';
	case PQTRANS_ACTIVE:
	case PQTRANS_UNKNOWN:
		break;
	}
	return '-';
}

static void on_notice(void *arg, const PGresult *r)
{
	size_t len = strlen(notices);

	(void)arg;
	snprintf(notices + len, sizeof(notices) - len, "%s%s", len > 0 ? " " : "",
		db_error_field(r, PG_DIAG_SQLSTATE));
}

void db_keep_notices(PGconn *conn)
{
	db_forget_notices();
	PQsetNoticeReceiver(conn, on_notice, NULL);
}

const char *db_notices(void)
{
	return notices;
}

void db_forget_notices(void)
{
	notices[0] = '\0';
}

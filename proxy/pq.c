#include "pq.h"

#include <errno.h>
#include <event2/event.h>
#include <libpq-fe.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "message.h"
#include "timer.h"
#include "worker.h"

#define FIELD_MAX (32u * 1024u)
#define ERROR_BODY_MAX (1024u * 1024u)
#define MAX_PARAMETERS 32

/*
 * A log-in takes libpq milliseconds of pure computing (SCRAM), so it is done on a thread of its
 * own, which has the PGconn to itself meanwhile. The two ends of `pair`: the thread writes a byte
 * to tell that it is done; when the other end is closed it gives up.
 */
struct pq {
	struct worker *worker; /* borrowed */
	PGconn *conn;	       /* owned */
	struct event *event;   /* owned: what is waited for at the moment */
	struct timer *timer;   /* owned: tells of a failure from the loop */
	pthread_t thread;
	bool connecting; /* the thread is there */
	int pair[2];
	uint64_t deadline_ms;	   /* 0 = none */
	bool timed_out, logged_in; /* what the thread has found */
	struct pq_events events;   /* copied */
	void *owner;		   /* borrowed */
	pq_result_fn done;	   /* NULL when nothing runs */
	pq_rows_fn rows;	   /* of a script, else NULL */
	unsigned n_rows;	   /* times that was called */
	void *done_owner;
	PGresult *result; /* owned: of the running statement, the error if there was one */
	bool connected;
	const char *unusable; /* static text, NULL = it is not: why no answer can come any more */
	unsigned limit_ms;    /* for each answer, 0 = none */
};

static void on_socket(int fd, short what, void *arg);

/* A value from a row may stand in an error, and be of any length: each field is cut, between two
 * characters. */
static void put_field(struct bytes *body, char code, const char *value)
{
	if (!value)
		return;
	bytes_put_u8(body, (uint8_t)code);
	bytes_put_slice(body, slice_cut(slice_str(value), FIELD_MAX));
	bytes_put_u8(body, 0);
}

/* The server's last words: the end of the connection may not have come yet. */
static bool ends_session(const PGresult *r)
{
	const char *plain = PQresultErrorField(r, PG_DIAG_SEVERITY_NONLOCALIZED);

	return plain && (strcmp(plain, "FATAL") == 0 || strcmp(plain, "PANIC") == 0);
}

/* The end of another session is no more than an error to the client's: FATAL would make its driver
 * give up. */
static const char *severity(const PGresult *r, char code)
{
	return ends_session(r) ? "ERROR" : PQresultErrorField(r, code);
}

static void put_fields(struct bytes *body, const PGresult *r, bool error)
{
	static const char order[] = {PG_DIAG_SEVERITY, PG_DIAG_SEVERITY_NONLOCALIZED,
		PG_DIAG_SQLSTATE, PG_DIAG_MESSAGE_PRIMARY, PG_DIAG_MESSAGE_DETAIL,
		PG_DIAG_MESSAGE_HINT, PG_DIAG_STATEMENT_POSITION, PG_DIAG_INTERNAL_POSITION,
		PG_DIAG_INTERNAL_QUERY, PG_DIAG_CONTEXT, PG_DIAG_SCHEMA_NAME, PG_DIAG_TABLE_NAME,
		PG_DIAG_COLUMN_NAME, PG_DIAG_DATATYPE_NAME, PG_DIAG_CONSTRAINT_NAME,
		PG_DIAG_SOURCE_FILE, PG_DIAG_SOURCE_LINE, PG_DIAG_SOURCE_FUNCTION};

	for (size_t i = 0; i < sizeof(order); i++)
		put_field(body, order[i],
			error && i < 2 ? severity(r, order[i]) : PQresultErrorField(r, order[i]));
	bytes_put_u8(body, 0);
}

/* While the log-in runs on its thread. */
static void drop_notice(void *arg, const PGresult *r)
{
	(void)arg;
	(void)r;
}

static void on_notice(void *arg, const PGresult *r)
{
	struct pq *pq = arg;
	struct bytes body;

	if (!pq->events.notice)
		return;
	bytes_init(&body, ERROR_BODY_MAX);
	put_fields(&body, r, false);
	if (!bytes_failed(&body))
		pq->events.notice(pq->owner, bytes_view(&body));
	bytes_release(&body);
}

static bool wait_on(struct pq *pq, int fd, short what)
{
	if (pq->event)
		event_free(pq->event);
	pq->event = event_new(pq->worker->base, fd, what, on_socket, pq);
	return pq->event && event_add(pq->event, NULL) == 0;
}

static bool wait_for(struct pq *pq, short what)
{
	return wait_on(pq, PQsocket(pq->conn), what);
}

static void stop_waiting(struct pq *pq)
{
	if (pq->event)
		event_free(pq->event);
	pq->event = NULL;
}

/* libpq 15 gives no SQLSTATE of a failed log-in but in its verbose text: "FATAL:  53300: ...". */
static void take_connect_error(const char *text, struct err *e)
{
	const char *mark = strstr(text, "FATAL:  ");
	const char *state = mark ? mark + strlen("FATAL:  ") : NULL;
	size_t len;

	if (state && strspn(state, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") == 5 &&
		state[5] == ':') {
		char code[6];

		memcpy(code, state, 5);
		code[5] = '\0';
		state += strspn(state + 6, " ") + 6;
		len = strcspn(state, "\n");
		err_set(e, code, "%.*s", (int)len, state);
		return;
	}
	len = strcspn(text, "\n");
	err_set(e, "08001", "%.*s", (int)len, text);
}

static void fail_connect(struct pq *pq, const char *text)
{
	struct err e;

	if (PQconnectionNeedsPassword(pq->conn))
		err_set(&e, "28P01",
			"the server wants a password for another connection, and pgaside has none "
			"of user \"%s\": upstream (or PGUSER and PGPASSWORD) must name that user "
			"and its password, or the password file must have it",
			PQuser(pq->conn));
	else
		take_connect_error(text, &e);
	pq->events.connected(pq->owner, &e);
}

/* False: the time is over, or the owner has lost interest. */
static bool wait_on_thread(struct pq *pq, short events)
{
	struct pollfd fds[] = {{.fd = PQsocket(pq->conn), .events = events},
		{.fd = pq->pair[1], .events = POLLIN}};
	int n;

	do {
		uint64_t now = timer_now_ms();
		int left = -1;

		if (pq->deadline_ms > 0)
			left = pq->deadline_ms > now ? (int)(pq->deadline_ms - now) : 0;
		n = poll(fds, 2, left);
	} while (n < 0 && errno == EINTR);
	pq->timed_out = n == 0;
	return n > 0 && fds[1].revents == 0;
}

static void *connect_on_thread(void *arg)
{
	struct pq *pq = arg;
	PostgresPollingStatusType status = PGRES_POLLING_WRITING;

	while (status == PGRES_POLLING_WRITING || status == PGRES_POLLING_READING) {
		if (!wait_on_thread(pq, status == PGRES_POLLING_WRITING ? POLLOUT : POLLIN))
			break;
		status = PQconnectPoll(pq->conn);
	}
	pq->logged_in = status == PGRES_POLLING_OK;
	send(pq->pair[1], "", 1, MSG_NOSIGNAL);
	return NULL;
}

/* The thread ends soon: it has said so, or its peer is closed. */
static void end_thread(struct pq *pq)
{
	if (!pq->connecting)
		return;
	pq->connecting = false;
	close(pq->pair[0]);
	pthread_join(pq->thread, NULL);
	close(pq->pair[1]);
}

static void end_connecting(struct pq *pq)
{
	stop_waiting(pq);
	end_thread(pq);
	if (!pq->logged_in) {
		fail_connect(pq, pq->timed_out ? "timeout expired (server_connect_timeout)"
					       : PQerrorMessage(pq->conn));
		return;
	}
	PQsetErrorVerbosity(pq->conn, PQERRORS_DEFAULT);
	PQsetNoticeReceiver(pq->conn, on_notice, pq);
	pq->connected = PQsetnonblocking(pq->conn, 1) == 0;
	pq->events.connected(pq->owner, NULL);
}

static bool start_thread(struct pq *pq)
{
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pq->pair) != 0)
		return false;
	pq->connecting = pthread_create(&pq->thread, NULL, connect_on_thread, pq) == 0;
	if (!pq->connecting) {
		close(pq->pair[0]);
		close(pq->pair[1]);
	}
	return pq->connecting && wait_on(pq, pq->pair[0], EV_READ);
}

static void put_lost(struct bytes *body, const char *text)
{
	char line[256];
	size_t len = strcspn(text, "\n");

	len = len < sizeof(line) ? len : sizeof(line) - 1;
	memcpy(line, text, len);
	line[len] = '\0';
	report_put_error(body, "08006", line, NULL, NULL);
}

static void describe_error(const struct pq *pq, struct pq_result *out, struct bytes *body)
{
	const char *state = pq->result ? PQresultErrorField(pq->result, PG_DIAG_SQLSTATE) : NULL;

	if (state) {
		out->lost = out->lost || ends_session(pq->result);
		put_fields(body, pq->result, true);
		strncpy(out->sqlstate, state, 5);
	} else {
		/* Not the server's word but libpq's, which has lost the thread if not the
		 * connection. */
		out->lost = true;
		put_lost(body, pq->unusable ? pq->unusable : PQerrorMessage(pq->conn));
		strncpy(out->sqlstate, "08006", 6);
	}
	out->error = body;
}

static bool is_error(const PGresult *r)
{
	ExecStatusType status = PQresultStatus(r);

	return status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK;
}

/* The statement has ended: hands the result over. The owner may close the pq or send the next
 * statement. */
static void finish(struct pq *pq)
{
	struct pq_result out = {.ok = pq->result && !is_error(pq->result)};
	struct bytes body;
	PGresult *result = pq->result;
	pq_result_fn done = pq->done;

	bytes_init(&body, ERROR_BODY_MAX);
	timer_stop(pq->timer);
	out.lost = pq->unusable || PQstatus(pq->conn) != CONNECTION_OK;
	if (!out.ok)
		describe_error(pq, &out, &body);
	if (out.lost)
		pq->connected = false;
	out.rows = result;
	out.n_rows = out.ok ? PQntuples(result) : 0;
	stop_waiting(pq);
	pq->result = NULL;
	pq->done = NULL;
	done(pq->done_owner, &out);
	PQclear(result);
	bytes_release(&body);
}

/* The last one, but an error stays, and rows are not forgotten for an end that comes twice. */
static void keep_result(struct pq *pq, PGresult *r)
{
	bool stays = pq->result &&
		     (is_error(pq->result) || (PQresultStatus(pq->result) == PGRES_TUPLES_OK &&
						      PQresultStatus(r) == PGRES_COMMAND_OK));

	PQclear(stays ? r : pq->result);
	if (!stays)
		pq->result = r;
}

static void hand_rows(struct pq *pq, PGresult *r)
{
	const struct pq_result out = {.ok = true, .rows = r, .n_rows = PQntuples(r)};

	if (pq->rows && PQresultStatus(r) == PGRES_TUPLES_OK)
		pq->rows(pq->done_owner, pq->n_rows++, &out);
}

/* In these states libpq gives the same result for ever. */
static bool is_copy(const PGresult *r)
{
	ExecStatusType status = PQresultStatus(r);

	return status == PGRES_COPY_IN || status == PGRES_COPY_OUT || status == PGRES_COPY_BOTH;
}

static void continue_query(struct pq *pq)
{
	int unsent = PQflush(pq->conn);

	/* A lost connection shows as an error result with nothing to wait for. */
	PQconsumeInput(pq->conn);
	while (!PQisBusy(pq->conn)) {
		PGresult *r = PQgetResult(pq->conn);

		if (!r) {
			finish(pq);
			return;
		}
		if (is_copy(r))
			pq->unusable = "the server answered with COPY, which nobody asked for";
		hand_rows(pq, r);
		keep_result(pq, r);
		if (pq->unusable) {
			finish(pq);
			return;
		}
	}
	if (!wait_for(pq, (short)(EV_READ | (unsent > 0 ? EV_WRITE : 0))))
		finish(pq);
}

static void on_socket(int fd, short what, void *arg)
{
	struct pq *pq = arg;

	(void)fd;
	(void)what;
	if (pq->connecting)
		end_connecting(pq);
	else
		continue_query(pq);
}

/* The time to answer is over, or it could not even begin: a statement to be sent, or a connection.
 */
static void on_timer(void *arg)
{
	struct pq *pq = arg;

	if (pq->done)
		pq_give_up(pq);
	else
		fail_connect(pq, PQerrorMessage(pq->conn));
}

/* A server that takes direct TLS takes it after a request, too, which is what an older libpq can.
 */
static bool is_known(const char *keyword)
{
	return PQlibVersion() >= 170000 || strcmp(keyword, "sslnegotiation") != 0;
}

bool pq_knows_system_roots(void)
{
	return PQlibVersion() >= 160000;
}

static bool start_connect(struct pq *pq, const struct pq_parameter *parameters)
{
	const char *keywords[MAX_PARAMETERS + 1];
	const char *values[MAX_PARAMETERS + 1];
	int n = 0;

	for (const struct pq_parameter *p = parameters; p->keyword && n < MAX_PARAMETERS; p++) {
		if (!is_known(p->keyword))
			continue;
		keywords[n] = p->keyword;
		values[n++] = p->value;
	}
	keywords[n] = NULL;
	values[n] = NULL;
	pq->conn = PQconnectStartParams(keywords, values, 0);
	if (!pq->conn)
		return false;
	PQsetErrorVerbosity(pq->conn, PQERRORS_VERBOSE);
	PQsetNoticeReceiver(pq->conn, drop_notice, NULL);
	return true;
}

struct pq *pq_connect(struct worker *w, const struct pq_parameter *parameters, unsigned timeout_ms,
	const struct pq_events *events, void *owner)
{
	struct pq *pq = calloc(1, sizeof(*pq));

	if (!pq)
		return NULL;
	pq->worker = w;
	pq->events = *events;
	pq->owner = owner;
	pq->deadline_ms = timeout_ms > 0 ? timer_now_ms() + timeout_ms : 0;
	pq->timer = timer_new(w->base, on_timer, pq);
	if (!pq->timer || !start_connect(pq, parameters)) {
		pq_close(pq);
		return NULL;
	}
	/* Without a socket the timer tells at once. */
	if (PQstatus(pq->conn) == CONNECTION_BAD) {
		timer_start(pq->timer, 0);
	} else if (!start_thread(pq)) {
		pq_close(pq);
		return NULL;
	}
	return pq;
}

static void sent(struct pq *pq, int ok, pq_result_fn done, void *owner)
{
	pq->done = done;
	pq->done_owner = owner;
	if (!ok || !wait_for(pq, EV_READ | EV_WRITE))
		timer_start(pq->timer, 0);
	else if (pq->limit_ms > 0)
		timer_start(pq->timer, pq->limit_ms);
}

void pq_query(struct pq *pq, const char *sql, pq_result_fn done, void *owner)
{
	pq_script(pq, sql, NULL, done, owner);
}

void pq_script(struct pq *pq, const char *sql, pq_rows_fn rows, pq_result_fn done, void *owner)
{
	pq->rows = rows;
	pq->n_rows = 0;
	sent(pq, PQsendQuery(pq->conn, sql), done, owner);
}

void pq_query_params(struct pq *pq, const char *sql, const char *const *values, int n,
	pq_result_fn done, void *owner)
{
	pq->rows = NULL;
	sent(pq, PQsendQueryParams(pq->conn, sql, n, NULL, values, NULL, NULL, 0), done, owner);
}

const char *pq_value(const struct pq_result *r, int row, int column)
{
	const PGresult *rows = r->rows;

	return row < PQntuples(rows) && column < PQnfields(rows) ? PQgetvalue(rows, row, column)
								 : "";
}

void pq_limit(struct pq *pq, unsigned ms)
{
	pq->limit_ms = ms;
}

void pq_give_up(struct pq *pq)
{
	if (!pq->done)
		return;
	/* What libpq itself has to say about a lost connection is better. */
	if (PQstatus(pq->conn) == CONNECTION_OK)
		pq->unusable = "the server has not answered";
	PQclear(pq->result);
	pq->result = NULL;
	finish(pq);
}

/* PQcancel() waits for the server, and needs nothing of the connection. */
static void *cancel_on_thread(void *arg)
{
	char why[256];

	PQcancel(arg, why, sizeof(why));
	PQfreeCancel(arg);
	return NULL;
}

void pq_cancel(struct pq *pq)
{
	PGcancel *cancel = PQgetCancel(pq->conn);
	pthread_t thread;

	if (cancel && pthread_create(&thread, NULL, cancel_on_thread, cancel) == 0)
		pthread_detach(thread);
	else
		PQfreeCancel(cancel);
}

bool pq_is_connected(const struct pq *pq)
{
	return pq && pq->connected;
}

bool pq_is_busy(const struct pq *pq)
{
	return pq && pq->done;
}

bool pq_is_quiet(const struct pq *pq)
{
	struct pollfd socket = {.fd = PQsocket(pq->conn), .events = POLLIN};

	return poll(&socket, 1, 0) == 0;
}

int pq_backend_pid(const struct pq *pq)
{
	return PQbackendPID(pq->conn);
}

void pq_close(struct pq *pq)
{
	if (!pq)
		return;
	stop_waiting(pq);
	end_thread(pq);
	timer_free(pq->timer);
	PQclear(pq->result);
	PQfinish(pq->conn);
	free(pq);
}

void pq_forget_environment(void)
{
	PQconninfoOption *options = PQconndefaults();

	for (PQconninfoOption *o = options; o && o->keyword; o++)
		if (o->envvar)
			unsetenv(o->envvar);
	PQconninfoFree(options);
}

bool pq_parse_conninfo(const char *conninfo,
	bool (*each)(void *arg, const char *keyword, const char *value, struct err *e), void *arg,
	struct err *e)
{
	char *error = NULL;
	PQconninfoOption *options = PQconninfoParse(conninfo, &error);
	bool ok = options != NULL;

	if (!ok)
		err_set(e, "08001", "it is neither a PostgreSQL URL nor a list of keyword=value");
	for (PQconninfoOption *o = options; ok && o->keyword; o++)
		if (o->val)
			ok = each(arg, o->keyword, o->val, e);
	PQfreemem(error);
	PQconninfoFree(options);
	return ok;
}

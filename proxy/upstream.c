#include "upstream.h"

#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "message.h"
#include "resolver.h"
#include "timer.h"
#include "worker.h"

struct upstream_job {
	struct worker *worker;		 /* borrowed */
	const struct upstream *upstream; /* borrowed */
	struct resolver_job *resolving;	 /* owned while it runs */
	struct conn *conn;		 /* owned */
	struct timer *timer;		 /* owned */
	unsigned timeout_ms;		 /* for each address, 0 = any time */
	upstream_done_fn done;
	void *owner; /* borrowed */
	struct resolver_address addresses[RESOLVER_MAX];
	unsigned n_addresses;
	unsigned next_address;
	unsigned host;	   /* index of the one being tried */
	unsigned host_end; /* and behind the last one to try */
	char address[64];  /* numeric: the only one to try; "" = whatever the host resolves to */
	struct upstream_route route;
	struct err error;
};

static void try_host(struct upstream_job *job);
static void try_address(struct upstream_job *job);

static void free_job(struct upstream_job *job)
{
	resolver_cancel(job->resolving);
	timer_free(job->timer);
	conn_free(job->conn);
	free(job);
}

void upstream_cancel(struct upstream_job *job)
{
	if (job)
		free_job(job);
}

static void ignore_event(void *owner, struct conn *c, enum conn_event event)
{
	(void)owner;
	(void)c;
	(void)event;
}

static void succeed(struct upstream_job *job)
{
	struct conn *c = job->conn;

	job->conn = NULL;
	conn_set_owner(c, ignore_event, NULL);
	job->done(job->owner, c, &job->route, NULL);
	free_job(job);
}

static void give_up(struct upstream_job *job)
{
	job->done(job->owner, NULL, NULL, &job->error);
	free_job(job);
}

static const struct upstream_host *host_of(const struct upstream_job *job)
{
	return &job->upstream->hosts[job->host];
}

/* The next address, then the next host; after the last the last error stands. */
static void fail_attempt(struct upstream_job *job, const char *why)
{
	const struct upstream_host *h = host_of(job);

	err_set(&job->error, "08001", "connection to server at \"%s\"%s%s%s, port %s failed: %s",
		h->host, job->route.address[0] ? " (" : "", job->route.address,
		job->route.address[0] ? ")" : "", h->port, why);
	conn_free(job->conn);
	job->conn = NULL;
	timer_stop(job->timer);
	try_address(job);
}

/* One timer for both ends: an attempt that takes too long, and the last failure, told from the
 * loop. */
static void on_timeout(void *arg)
{
	struct upstream_job *job = arg;

	if (job->conn)
		fail_attempt(job, "timeout expired");
	else
		give_up(job);
}

static void start_tls(struct upstream_job *job)
{
	const struct upstream *u = job->upstream;

	conn_start_tls_client(job->conn, u->tls, host_of(job)->host,
		u->tls_mode == TLS_VERIFY_FULL ? host_of(job)->host : "");
}

static void succeed_without_tls(struct upstream_job *job)
{
	job->route.refuses_tls = true;
	succeed(job);
}

/*
 * The server's answer to SSLRequest is one byte. Whatever comes with it was sent by somebody in
 * between before the encryption began, and must never be taken for the server's word
 * (CVE-2021-23222).
 */
static void read_tls_answer(struct upstream_job *job)
{
	uint8_t answer[2];
	size_t len;
	enum conn_read_result r = conn_read(job->conn, answer, sizeof(answer), &len);

	if (r == CONN_READ_NOTHING)
		return;
	if (r != CONN_READ_BYTES)
		fail_attempt(job, conn_error(job->conn));
	else if (len > 1)
		fail_attempt(job, "received unencrypted data after SSL response");
	else if (answer[0] == 'S')
		start_tls(job);
	else if (answer[0] == 'N' && job->upstream->tls_mode == TLS_PREFER)
		succeed_without_tls(job);
	else if (answer[0] == 'N')
		fail_attempt(job, "server does not support SSL, but SSL was required");
	else
		fail_attempt(job, "unexpected answer to the SSL request");
}

/* With TLS from the first byte on, only ALPN says that this is a PostgreSQL server. */
static void finish_tls(struct upstream_job *job)
{
	if (job->upstream->direct_tls && !conn_has_alpn(job->conn))
		fail_attempt(job, "direct SSL connection was established without ALPN protocol "
				  "negotiation extension");
	else
		succeed(job);
}

static bool wants_tls(const struct upstream_job *job)
{
	return job->upstream->tls_mode != TLS_DISABLE && job->route.address[0] != '\0';
}

static void request_tls(struct upstream_job *job)
{
	struct bytes request;

	bytes_init(&request, 16);
	startup_put_ssl_request(&request);
	conn_send(job->conn, bytes_view(&request));
	bytes_release(&request);
}

static void on_conn_event(void *owner, struct conn *c, enum conn_event event)
{
	struct upstream_job *job = owner;

	switch (event) {
	case CONN_CONNECTED:
		if (!wants_tls(job))
			succeed(job);
		else if (job->upstream->direct_tls)
			start_tls(job);
		else
			request_tls(job);
		break;
	case CONN_SECURED:
		finish_tls(job);
		break;
	case CONN_READABLE:
		read_tls_answer(job);
		break;
	case CONN_FAILED:
		fail_attempt(job, conn_error(c));
		break;
	case CONN_DRAINED:
		break;
	}
}

static void describe_route(struct upstream_job *job, const struct resolver_address *a)
{
	job->route.host = host_of(job);
	job->route.address[0] = '\0';
	job->route.refuses_tls = false;
	if (a->address.ss_family != AF_UNIX)
		getnameinfo((const struct sockaddr *)&a->address, a->len, job->route.address,
			sizeof(job->route.address), NULL, 0, NI_NUMERICHOST);
}

static void try_address(struct upstream_job *job)
{
	const struct resolver_address *a;
	struct err e;

	if (job->next_address >= job->n_addresses) {
		job->host++;
		try_host(job);
		return;
	}
	a = &job->addresses[job->next_address++];
	describe_route(job, a);
	job->conn = conn_connect(job->worker->base, (const struct sockaddr *)&a->address, a->len,
		on_conn_event, job, &e);
	if (!job->conn) {
		fail_attempt(job, e.text);
		return;
	}
	if (job->timeout_ms > 0)
		timer_start(job->timer, job->timeout_ms);
}

static void on_resolved(
	void *owner, const struct resolver_address *found, unsigned n, const char *error)
{
	struct upstream_job *job = owner;

	job->resolving = NULL;
	memcpy(job->addresses, found, n * sizeof(*found));
	job->n_addresses = n;
	job->next_address = 0;
	if (n == 0)
		fail_attempt(job, error);
	else
		try_address(job);
}

static void try_host(struct upstream_job *job)
{
	job->n_addresses = 0;
	job->next_address = 0;
	job->route.address[0] = '\0';
	if (job->host >= job->host_end) {
		timer_start(job->timer, 0);
		return;
	}
	job->resolving =
		resolver_start(job->worker, job->address[0] ? job->address : host_of(job)->target,
			host_of(job)->port, on_resolved, job);
	if (!job->resolving)
		fail_attempt(job, "out of memory");
}

static struct upstream_job *new_job(struct worker *w, const struct upstream *u, unsigned timeout_ms,
	upstream_done_fn done, void *owner)
{
	struct upstream_job *job = calloc(1, sizeof(*job));

	if (!job)
		return NULL;
	job->worker = w;
	job->upstream = u;
	job->timeout_ms = timeout_ms;
	job->done = done;
	job->owner = owner;
	job->timer = timer_new(w->base, on_timeout, job);
	if (!job->timer) {
		free(job);
		return NULL;
	}
	job->host_end = u->n_hosts;
	return job;
}

struct upstream_job *upstream_connect(struct worker *w, const struct upstream *u,
	unsigned timeout_ms, upstream_done_fn done, void *owner)
{
	struct upstream_job *job = new_job(w, u, timeout_ms, done, owner);

	if (job)
		try_host(job);
	return job;
}

struct upstream_job *upstream_connect_again(struct worker *w, const struct upstream *u,
	const struct upstream_route *route, unsigned timeout_ms, upstream_done_fn done, void *owner)
{
	struct upstream_job *job = new_job(w, u, timeout_ms, done, owner);

	if (!job)
		return NULL;
	job->host = (unsigned)(route->host - u->hosts);
	job->host_end = job->host + 1;
	snprintf(job->address, sizeof(job->address), "%s", route->address);
	try_host(job);
	return job;
}

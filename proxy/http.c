#include "http.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/http.h>
#include <event2/listener.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "http_page.h"
#include "listener.h"
#include "log.h"
#include "metrics.h"
#include "timer.h"
#include "worker.h"

enum {
	MAX_HEADERS = 8192,
	TIMEOUT_SECONDS = 15,
	MAX_CONNECTIONS = 32, /* service.c keeps descriptors for them */
	NONCE_BYTES = 16,
	MISDIRECTED = 421 /* RFC 9110, 15.5.20 */
};
#define MAX_ANSWER ((size_t)64 << 20)
/* How long accepting rests, and how often the log says so. */
#define REST_MS 200u
#define TELL_MS 10000u

struct http {
	struct evhttp *server;		    /* owned */
	struct evhttp_bound_socket *socket; /* of the server; NULL when it listens no more */
	struct timer *rest;		    /* owned */
	struct shared *shared;		    /* borrowed */
	struct http_owner owner;
	struct bufferevent *clients[MAX_CONNECTIONS]; /* held, as evhttp holds them */
	unsigned n_clients;
	uint64_t told_ms; /* when the log was told of a rest */
	bool loopback;	  /* listens there alone */
};

/* evhttp has its own argument in the callbacks of a listener. */
static struct http *listening;

/* The name of a host that can only be this machine, or an address. */
static bool is_plain_host(const char *host)
{
	return strcasecmp(host, "localhost") == 0 || host[0] == '[' ||
	       host[strspn(host, "0123456789.")] == '\0';
}

static bool is_loopback(const char *address)
{
	return strcmp(address, "localhost") == 0 || strcmp(address, "::1") == 0 ||
	       strncmp(address, "127.", 4) == 0;
}

static void set_headers(struct evhttp_request *r, const char *type, const char *policy)
{
	struct evkeyvalq *headers = evhttp_request_get_output_headers(r);

	evhttp_add_header(headers, "Content-Type", type);
	evhttp_add_header(headers, "Content-Security-Policy", policy);
	evhttp_add_header(headers, "X-Content-Type-Options", "nosniff");
	evhttp_add_header(headers, "Referrer-Policy", "no-referrer");
	evhttp_add_header(headers, "Cross-Origin-Resource-Policy", "same-origin");
	evhttp_add_header(headers, "Cache-Control", "no-store");
}

#define NOTHING_ALLOWED "default-src 'none'; frame-ancestors 'none'"

static void answer(struct evhttp_request *r, int status, const char *type, const char *policy,
	struct slice text)
{
	struct evbuffer *body = evbuffer_new();
	bool head = evhttp_request_get_command(r) == EVHTTP_REQ_HEAD;
	char length[24];

	set_headers(r, type, policy);
	/* evhttp would send the body, and not its length. */
	snprintf(length, sizeof(length), "%zu", text.len);
	if (head)
		evhttp_add_header(evhttp_request_get_output_headers(r), "Content-Length", length);
	else if (body)
		evbuffer_add(body, text.data, text.len);
	evhttp_send_reply(r, body ? status : HTTP_INTERNAL,
		status == MISDIRECTED ? "Misdirected Request" : NULL, body);
	if (body)
		evbuffer_free(body);
}

static void answer_text(struct evhttp_request *r, int status, const char *text)
{
	answer(r, status, "text/plain; charset=utf-8", NOTHING_ALLOWED, slice_str(text));
}

/* False when it was answered already. */
static bool may_answer(const struct http *h, struct evhttp_request *r)
{
	const char *host = evhttp_request_get_host(r);

	/* A browser always names one. */
	if (!h->loopback || !host || is_plain_host(host))
		return true;
	answer_text(r, MISDIRECTED, "This pgaside answers to localhost and to addresses only.\n");
	return false;
}

static void answer_picture(struct http *h, struct evhttp_request *r, const char *type,
	void (*write)(struct bytes *out, const struct metrics_facts *f))
{
	struct stats_picture picture;
	struct metrics_facts facts = {
		.picture = &picture,
		.config = h->owner.config(h->owner.arg),
		.now_ms = timer_now_ms(),
		.now = time(NULL),
		.owed_failures = atomic_load(&h->shared->owed_failures),
	};
	struct bytes text;

	if (!may_answer(h, r))
		return;
	if (!stats_take(h->shared->stats, &picture)) {
		answer_text(r, HTTP_INTERNAL, "out of memory\n");
		return;
	}
	bytes_init(&text, MAX_ANSWER);
	write(&text, &facts);
	if (bytes_failed(&text))
		answer_text(r, HTTP_INTERNAL, "out of memory\n");
	else
		answer(r, HTTP_OK, type, NOTHING_ALLOWED, bytes_view(&text));
	bytes_release(&text);
	stats_release(&picture);
}

static void on_metrics(struct evhttp_request *r, void *arg)
{
	answer_picture(arg, r, "text/plain; version=0.0.4; charset=utf-8", metrics_write);
}

static void on_asides(struct evhttp_request *r, void *arg)
{
	answer_picture(arg, r, "application/json", metrics_write_json);
}

static void on_health(struct evhttp_request *r, void *arg)
{
	const struct http *h = arg;

	if (!may_answer(h, r))
		return;
	if (h->owner.is_stopping(h->owner.arg))
		answer_text(r, HTTP_SERVUNAVAIL, "stopping\n");
	else
		answer_text(r, HTTP_OK, "ok\n");
}

/*
 * The page is one file with its style and its script in it. Only those that bear the nonce of this
 * answer are heard, so that nothing that might get into the page by mistake is.
 */
static void on_page(struct evhttp_request *r, void *arg)
{
	uint8_t random[NONCE_BYTES];
	char nonce[HTTP_PAGE_NONCE + 1], policy[512];
	struct bytes text;

	if (!may_answer(arg, r))
		return;
	if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random)) {
		answer_text(r, HTTP_INTERNAL, "the system has no random bytes\n");
		return;
	}
	for (size_t i = 0; i < sizeof(random); i++)
		snprintf(nonce + 2 * i, 3, "%02x", random[i]);
	snprintf(policy, sizeof(policy),
		"default-src 'none'; script-src 'nonce-%s'; style-src 'nonce-%s'; connect-src "
		"'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors "
		"'none'",
		nonce, nonce);
	bytes_init(&text, MAX_ANSWER);
	http_page_write(&text, nonce);
	answer(r, HTTP_OK, "text/html; charset=utf-8", policy, bytes_view(&text));
	bytes_release(&text);
}

static void on_other(struct evhttp_request *r, void *arg)
{
	(void)arg;
	answer_text(r, HTTP_NOTFOUND, "There are /, /asides, /metrics and /healthz.\n");
}

bool http_is_wanted(const struct config *c)
{
	return c->http_listen_addr[0] || c->http_listen_port != 0;
}

static struct evconnlistener *listener_of(struct http *h)
{
	return evhttp_bound_socket_get_listener(h->socket);
}

static void rest(struct http *h, const char *why)
{
	uint64_t now = timer_now_ms();

	if (h->told_ms == 0 || now - h->told_ms >= TELL_MS) {
		h->told_ms = now;
		log_event(LOG_LEVEL_ERROR, "http_paused", "reason=\"%s\"", why);
	}
	evconnlistener_disable(listener_of(h));
	timer_start(h->rest, REST_MS);
}

/* evhttp does not say when a connection ends, but then nobody listens to it any more. */
static bool is_over(struct bufferevent *client)
{
	bufferevent_event_cb heard = NULL;

	bufferevent_getcb(client, NULL, NULL, &heard, NULL);
	return !heard;
}

static void forget_those_over(struct http *h)
{
	unsigned n = 0;

	for (unsigned i = 0; i < h->n_clients; i++) {
		if (is_over(h->clients[i]))
			bufferevent_decref(h->clients[i]);
		else
			h->clients[n++] = h->clients[i];
	}
	h->n_clients = n;
}

static void on_rested(void *arg)
{
	struct http *h = arg;

	forget_those_over(h);
	if (h->n_clients < MAX_CONNECTIONS)
		evconnlistener_enable(listener_of(h));
	else
		timer_start(h->rest, REST_MS);
}

static void on_accept_failed(struct evconnlistener *l, void *arg)
{
	(void)l;
	(void)arg;
	rest(listening, strerrordesc_np(errno));
}

/* What evhttp is to use for the connection that it has accepted. */
static struct bufferevent *on_accepted(struct event_base *base, void *arg)
{
	struct bufferevent *client = bufferevent_socket_new(base, -1, 0);
	struct http *h = arg;

	forget_those_over(h);
	if (!client || h->n_clients == MAX_CONNECTIONS)
		return client;
	bufferevent_incref(client);
	h->clients[h->n_clients++] = client;
	if (h->n_clients == MAX_CONNECTIONS)
		rest(h, "too many connections at once");
	return client;
}

/* `fd` is taken in any case. */
static bool accept_on(struct http *h, struct event_base *base, int fd)
{
	struct evconnlistener *l = evconnlistener_new(
		base, NULL, NULL, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 0, fd);

	if (!l) {
		close(fd);
		return false;
	}
	h->socket = evhttp_bind_listener(h->server, l);
	if (!h->socket) {
		evconnlistener_free(l);
		return false;
	}
	evconnlistener_set_error_cb(l, on_accept_failed);
	listening = h;
	return true;
}

static bool listen_on(
	struct http *h, struct event_base *base, const struct config *c, struct err *e)
{
	const char *address = c->http_listen_addr[0] ? c->http_listen_addr : "127.0.0.1";
	int fd = listener_socket(address, c->http_listen_port, c->so_reuseport, e);
	struct sockaddr_storage where;
	socklen_t len = sizeof(where);
	char port[8] = "";

	if (fd < 0)
		return false;
	if (getsockname(fd, (struct sockaddr *)&where, &len) == 0)
		getnameinfo((struct sockaddr *)&where, len, NULL, 0, port, sizeof(port),
			NI_NUMERICSERV);
	if (!accept_on(h, base, fd))
		return err_set(e, "53200", "out of memory");
	h->loopback = is_loopback(address);
	log_event(LOG_LEVEL_INFO, "http_listening", "address=%s port=%s", address, port);
	return true;
}

static bool prepare(struct http *h)
{
	evhttp_set_allowed_methods(h->server, EVHTTP_REQ_GET | EVHTTP_REQ_HEAD);
	evhttp_set_max_headers_size(h->server, MAX_HEADERS);
	evhttp_set_max_body_size(h->server, 0);
	evhttp_set_timeout(h->server, TIMEOUT_SECONDS);
	evhttp_set_gencb(h->server, on_other, h);
	evhttp_set_bevcb(h->server, on_accepted, h);
	return evhttp_set_cb(h->server, "/", on_page, h) == 0 &&
	       evhttp_set_cb(h->server, "/asides", on_asides, h) == 0 &&
	       evhttp_set_cb(h->server, "/metrics", on_metrics, h) == 0 &&
	       evhttp_set_cb(h->server, "/healthz", on_health, h) == 0;
}

struct http *http_new(struct event_base *base, const struct config *c, struct shared *shared,
	const struct http_owner *owner, struct err *e)
{
	struct http *h = calloc(1, sizeof(*h));

	if (h) {
		h->server = evhttp_new(base);
		h->rest = timer_new(base, on_rested, h);
	}
	if (!h || !h->server || !h->rest || !prepare(h)) {
		err_set(e, "53200", "out of memory");
		http_free(h);
		return NULL;
	}
	h->shared = shared;
	h->owner = *owner;
	if (!listen_on(h, base, c, e)) {
		http_free(h);
		return NULL;
	}
	return h;
}

void http_stop_listening(struct http *h)
{
	timer_stop(h->rest);
	if (h->socket)
		evhttp_del_accept_socket(h->server, h->socket);
	h->socket = NULL;
}

void http_free(struct http *h)
{
	if (!h)
		return;
	http_stop_listening(h);
	if (h->server)
		evhttp_free(h->server);
	forget_those_over(h);
	timer_free(h->rest);
	free(h);
}

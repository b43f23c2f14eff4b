#include "server.h"

#include <event2/event.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "http.h"
#include "listener.h"
#include "log.h"
#include "loop.h"
#include "registry.h"
#include "service.h"
#include "snapshot.h"
#include "stats.h"
#include "timer.h"
#include "worker.h"

#define MAX_LISTENERS 16
#define MAX_WORKERS 64
#define N_SIGNALS 4
/* What a worker takes at most beyond its patience. */
#define LAST_WORDS_MS 10000u
/* How long handshakes that have begun may take before a listener closes. */
#define HANDSHAKES_MS 50u

static const int signal_numbers[N_SIGNALS] = {SIGTERM, SIGINT, SIGHUP, SIGCHLD};

struct server {
	struct snapshot *snapshot; /* held: what new sessions begin with */
	struct event_base *base;   /* owned */
	struct shared shared;
	struct listener *listeners[MAX_LISTENERS]; /* owned */
	unsigned n_listeners;
	struct http *http;		     /* owned; NULL without */
	struct worker *workers[MAX_WORKERS]; /* owned */
	unsigned n_workers;
	unsigned next_worker;
	unsigned n_ended;
	int ended[2];		   /* owned: a pipe on which the workers say that they have ended */
	struct event *ended_event; /* owned */
	struct event *signals[N_SIGNALS]; /* owned */
	struct server_owner owner;
	struct timer *handshakes; /* owned: runs from server_stop() until the listeners close */
	unsigned grace_ms;	  /* of server_stop() */
	bool stopping;
};

const struct config *server_config(const struct server *s)
{
	return &s->snapshot->config;
}

static bool has_room(void *arg)
{
	struct server *s = arg;

	return service_has_descriptors(atomic_load(&s->shared.clients), s->n_workers);
}

/* It counts from here on, so that a burst does not get more in than there is room for. */
static void on_client(void *arg, int fd)
{
	struct server *s = arg;
	struct worker_message m = {.kind = WORKER_ACCEPT, .fd = fd};

	m.clients = atomic_fetch_add(&s->shared.clients, 1) + 1;
	/* In turn; past one whose inbox is full. */
	for (unsigned i = 0; i < s->n_workers; i++)
		if (worker_post(s->workers[s->next_worker++ % s->n_workers], &m))
			return;
	atomic_fetch_sub(&s->shared.clients, 1);
	close(fd);
}

static bool keep_listener(struct server *s, struct listener *l)
{
	if (l)
		s->listeners[s->n_listeners++] = l;
	return l != NULL;
}

static bool listen_on_address(
	struct server *s, const char *address, const struct listener_owner *owner, struct err *e)
{
	/* With both families port 0 is to be the same one. */
	uint16_t port = server_port(s) ? server_port(s) : server_config(s)->listen_port;

	if (s->n_listeners == MAX_LISTENERS - 1)
		return err_set(
			e, "08000", "listen_addr: more than %d addresses", MAX_LISTENERS - 1);
	return keep_listener(s, listener_new_tcp(s->base, address, port, owner, e));
}

static bool listen_on_all(struct server *s, const struct listener_owner *owner, struct err *e)
{
	return listen_on_address(s, "0.0.0.0", owner, e) &&
	       (!listener_knows_ipv6() || listen_on_address(s, "::", owner, e));
}

static bool listen_on_addresses(struct server *s, struct err *e)
{
	const struct config *c = server_config(s);
	const struct listener_owner owner = {has_room, on_client, s, c->so_reuseport};
	const char *at = c->listen_addr;
	char address[256];

	while (*at) {
		size_t len = strcspn(at, ",");

		if (len >= sizeof(address))
			return err_set(e, "08000", "listen_addr: an address is too long");
		memcpy(address, at, len);
		address[len] = '\0';
		if (strcmp(address, "*") == 0 ? !listen_on_all(s, &owner, e)
					      : !listen_on_address(s, address, &owner, e))
			return false;
		at += len;
		at += strspn(at, ", ");
	}
	if (!c->unix_socket_dir[0])
		return true;
	/* The socket's name has the port that TCP got, which may have been any free one. */
	return keep_listener(
		s, listener_new_unix(s->base, c->unix_socket_dir,
			   server_port(s) ? server_port(s) : c->listen_port, &owner, e));
}

static void on_worker_ended(int fd, short what, void *arg);
static void on_handshakes_over(void *arg);

/* Workers tell of their end through a pipe, since only this thread may touch its own loop. */
static bool hear_workers(struct server *s)
{
	if (pipe2(s->ended, O_CLOEXEC | O_NONBLOCK) != 0)
		return false;
	s->shared.ended_fd = s->ended[1];
	s->ended_event = event_new(s->base, s->ended[0], EV_READ | EV_PERSIST, on_worker_ended, s);
	return s->ended_event && event_add(s->ended_event, NULL) == 0;
}

static void on_signal(int signo, short what, void *arg)
{
	struct server *s = arg;

	(void)what;
	if (s->owner.on_signal)
		s->owner.on_signal(s, signo, s->owner.arg);
}

/* SIG_BLOCK or SIG_UNBLOCK of those that we catch. */
static bool mask_signals(int how)
{
	sigset_t ours;

	sigemptyset(&ours);
	for (int i = 0; i < N_SIGNALS; i++)
		sigaddset(&ours, signal_numbers[i]);
	return pthread_sigmask(how, &ours, NULL) == 0;
}

/* Whoever has started us may have left them blocked. */
static bool catch_signals(struct server *s)
{
	signal(SIGPIPE, SIG_IGN);
	for (int i = 0; i < N_SIGNALS; i++) {
		s->signals[i] = evsignal_new(s->base, signal_numbers[i], on_signal, s);
		if (!s->signals[i] || event_add(s->signals[i], NULL) != 0)
			return false;
	}
	return mask_signals(SIG_UNBLOCK);
}

/* Worker threads get no signal: they would interrupt their system calls for nothing. */
static bool start_workers(struct server *s, struct err *e)
{
	sigset_t all, before;
	unsigned wanted = config_workers(server_config(s));

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	for (s->n_workers = 0; s->n_workers < wanted; s->n_workers++) {
		s->workers[s->n_workers] =
			worker_new(&s->shared, s->snapshot, wanted == 1 ? s->base : NULL, e);
		if (!s->workers[s->n_workers])
			break;
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return s->n_workers == wanted && wanted > 0;
}

static const struct config *config_for_http(void *arg)
{
	return server_config(arg);
}

static bool is_stopping(void *arg)
{
	return ((const struct server *)arg)->stopping;
}

static bool listen_for_http(struct server *s, struct err *e)
{
	const struct http_owner owner = {config_for_http, is_stopping, s};

	if (!http_is_wanted(server_config(s)))
		return true;
	s->http = http_new(s->base, server_config(s), &s->shared, &owner, e);
	return s->http != NULL;
}

static bool prepare(struct server *s, struct err *e)
{
	s->base = loop_new();
	s->shared.registry = registry_new();
	s->shared.stats = stats_new();
	s->handshakes = s->base ? timer_new(s->base, on_handshakes_over, s) : NULL;
	if (!s->handshakes || !s->shared.registry || !s->shared.stats || !catch_signals(s) ||
		!hear_workers(s))
		return err_set(e, "53200", "out of memory");
	return start_workers(s, e) && listen_on_addresses(s, e) && listen_for_http(s, e);
}

struct server *server_new(struct snapshot *snapshot, struct err *e)
{
	struct server *s = calloc(1, sizeof(*s));

	if (!s) {
		err_set(e, "53200", "out of memory");
		return NULL;
	}
	s->snapshot = snapshot_hold(snapshot);
	if (!prepare(s, e)) {
		server_free(s);
		return NULL;
	}
	for (unsigned i = 0; i < s->n_listeners; i++)
		listener_log(s->listeners[i]);
	return s;
}

uint16_t server_port(const struct server *s)
{
	for (unsigned i = 0; i < s->n_listeners; i++)
		if (listener_port(s->listeners[i]) != 0)
			return listener_port(s->listeners[i]);
	return 0;
}

unsigned server_owed_failures(const struct server *s)
{
	return atomic_load(&s->shared.owed_failures);
}

struct stats *server_stats(const struct server *s)
{
	return s->shared.stats;
}

struct event_base *server_base(const struct server *s)
{
	return s->base;
}

static void stop_listening(struct server *s)
{
	for (unsigned i = 0; i < s->n_listeners; i++)
		listener_free(s->listeners[i]);
	s->n_listeners = 0;
}

static void on_handshakes_over(void *arg)
{
	struct server *s = arg;
	struct worker_message m = {.kind = WORKER_STOP, .grace_ms = s->grace_ms};

	stop_listening(s);
	/* Whoever asks is to hear of the successor, if there may be one, and of us otherwise. */
	if (s->http && server_config(s)->so_reuseport)
		http_stop_listening(s->http);
	for (unsigned i = 0; i < s->n_workers; i++)
		worker_post(s->workers[i], &m);
}

static bool shut_doors(struct server *s)
{
	bool shut = false;

	for (unsigned i = 0; i < s->n_listeners; i++)
		shut |= listener_shut_door(s->listeners[i]);
	return shut;
}

void server_stop(struct server *s, unsigned grace_ms)
{
	s->stopping = true;
	s->grace_ms = grace_ms;
	service_stopping((uint64_t)grace_ms + server_config(s)->cleanup_timeout_ms + LAST_WORDS_MS);
	timer_stop(s->handshakes);
	if (grace_ms >= HANDSHAKES_MS && shut_doors(s))
		timer_start(s->handshakes, HANDSHAKES_MS);
	else
		on_handshakes_over(s);
}

static void on_worker_ended(int fd, short what, void *arg)
{
	struct server *s = arg;
	char byte;

	(void)what;
	while (read(fd, &byte, 1) == 1)
		s->n_ended++;
	if (s->n_ended == s->n_workers)
		event_base_loopexit(s->base, NULL);
}

void server_loop(struct server *s, const struct server_owner *owner)
{
	s->owner = *owner;
	service_ready();
	event_base_loop(s->base, 0);
}

static void hand_out(struct server *s)
{
	for (unsigned i = 0; i < s->n_workers; i++) {
		struct worker_message m = {
			.kind = WORKER_RELOAD, .snapshot = snapshot_hold(s->snapshot)};

		if (!worker_post(s->workers[i], &m))
			snapshot_release(m.snapshot);
	}
}

static void tell_fixed(const char *name, void *arg)
{
	(void)arg;
	log_event(LOG_LEVEL_WARNING, "reload",
		"setting=%s reason=\"it cannot change while pgaside runs: restart it\"", name);
}

static void take_over(struct server *s, struct snapshot *next)
{
	config_keep_fixed(&next->config, server_config(s), tell_fixed, NULL);
	snapshot_release(s->snapshot);
	s->snapshot = next;
	hand_out(s);
	log_event(LOG_LEVEL_INFO, "reloaded", "workers=%u", s->n_workers);
}

static bool load(struct server *s, struct err *e)
{
	struct snapshot *next;

	/* A worker that has ended reads no message any more. */
	if (s->stopping || !s->owner.load)
		return err_set(e, "55000",
			s->stopping ? "pgaside is stopping" : "there is nothing to reload");
	service_reloading();
	next = s->owner.load(s->owner.arg, e);
	if (next)
		take_over(s, next);
	service_ready();
	return next != NULL;
}

bool server_reload(struct server *s, struct err *e)
{
	char quoted[1024];

	if (load(s, e))
		return true;
	log_event(LOG_LEVEL_ERROR, "reload_failed", "reason=%s",
		log_quote(quoted, sizeof(quoted), e->text, (unsigned)strlen(e->text)));
	return false;
}

static void stop_workers(struct server *s)
{
	if (s->n_ended < s->n_workers)
		server_stop(s, 0);
	for (unsigned i = 0; i < s->n_workers; i++)
		worker_join(s->workers[i]);
}

/* Without these events a signal would do what it does by itself; but the end has come already. */
static void release_signals(struct server *s)
{
	mask_signals(SIG_BLOCK);
	for (int i = 0; i < N_SIGNALS; i++)
		if (s->signals[i])
			event_free(s->signals[i]);
}

void server_free(struct server *s)
{
	if (!s)
		return;
	stop_listening(s);
	release_signals(s);
	stop_workers(s);
	if (s->ended_event)
		event_free(s->ended_event);
	if (s->ended[0] > 0) {
		close(s->ended[0]);
		close(s->ended[1]);
	}
	http_free(s->http);
	timer_free(s->handshakes);
	if (s->base)
		event_base_free(s->base);
	registry_free(s->shared.registry);
	stats_free(s->shared.stats);
	snapshot_release(s->snapshot);
	free(s);
}

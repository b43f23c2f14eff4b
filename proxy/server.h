/*
 * server.h - the running proxy: listeners, worker threads, signals, reloading.
 *
 * Lives on the main thread. Refuses to know what a session does, and where settings come from.
 */
#ifndef PGASIDE_SERVER_H
#define PGASIDE_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#include "config.h"
#include "err.h"
#include "snapshot.h"

struct event_base;
struct server;
struct stats;

/* Both are called on the main thread, from its loop. */
struct server_owner {
	/* SIGTERM, SIGINT, SIGHUP or SIGCHLD. */
	void (*on_signal)(struct server *s, int signo, void *arg);
	/* Reads all settings again; the caller gets the only holder. NULL: `e` says why. */
	struct snapshot *(*load)(void *arg, struct err *e);
	void *arg; /* borrowed */
};

/* Binds, starts the workers and catches the signals; holds the snapshot. NULL with `e` filled when
 * a port cannot be bound, ... */
struct server *server_new(struct snapshot *snapshot, struct err *e);
/* The settings that new sessions begin with; borrowed until the next server_reload(). */
const struct config *server_config(const struct server *s);
/* The TCP port really bound; 0 when only a unix socket is listened on. */
uint16_t server_port(const struct server *s);
/* Serves until server_stop() and the end of its sessions. */
void server_loop(struct server *s, const struct server_owner *owner);
/*
 * Has the settings read again, certificates with them, and hands them to the workers: new sessions
 * begin with them. False: everything stays as it was, and `e` and the log say why.
 */
bool server_reload(struct server *s, struct err *e);
/*
 * Stops accepting. Sessions that do nothing are closed, asides get `grace_ms` to finish, then they
 * are cancelled and cleaned up; server_loop() returns. May be called again with a shorter time.
 */
void server_stop(struct server *s, unsigned grace_ms);
/* How many transactions have committed since the start, and what they owed has failed. */
unsigned server_owed_failures(const struct server *s);
/* What it is doing; good until server_free(), as is the loop of the main thread. */
struct stats *server_stats(const struct server *s);
struct event_base *server_base(const struct server *s);
void server_free(struct server *s);

#endif

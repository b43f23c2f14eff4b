/*
 * server.h - the running proxy: listeners, worker threads, signals.
 *
 * Lives on the main thread. Refuses to know what a session does.
 */
#ifndef PGASIDE_SERVER_H
#define PGASIDE_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#include "config.h"
#include "err.h"

struct server;

/* Called on the main thread for SIGTERM, SIGINT, SIGHUP and SIGCHLD. */
typedef void (*server_signal_fn)(struct server *s, int signo, void *arg);

/* Binds, starts the workers and catches the signals; `c` is borrowed until server_free(). NULL with
 * `e` filled when a port cannot be bound, ... */
struct server *server_new(const struct config *c, struct err *e);
/* The TCP port really bound; 0 when only a unix socket is listened on. */
uint16_t server_port(const struct server *s);
/* Serves until server_stop() and the end of its sessions. */
void server_loop(struct server *s, server_signal_fn on_signal, void *arg);
/*
 * Stops accepting. Sessions that do nothing are closed, asides get `grace_ms` to finish, then they
 * are cancelled and cleaned up; server_loop() returns. May be called again with a shorter time.
 */
void server_stop(struct server *s, unsigned grace_ms);
/* How many transactions have committed since the start, and what they owed has failed. */
unsigned server_owed_failures(const struct server *s);
void server_free(struct server *s);

#endif

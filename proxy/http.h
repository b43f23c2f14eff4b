/*
 * http.h - a running pgaside, seen from outside over HTTP.
 *
 *   /         a page that shows what runs, what is owed and what ended lately
 *   /asides   the same as JSON
 *   /metrics  for Prometheus
 *   /healthz  200 while it accepts clients, 503 when it ends; see http_stop_listening()
 *
 * Lives on the main thread's loop and only reads: what it knows of sessions and asides it has from
 * stats. No log-in and no TLS, so it listens on loopback unless told otherwise; there it answers
 * only to a Host that is an address or localhost, or to none, so that no web page can have it read
 * by way of a name of its own.
 */
#ifndef PGASIDE_HTTP_H
#define PGASIDE_HTTP_H

#include "config.h"
#include "err.h"

struct event_base;
struct http;
struct shared;

struct http_owner {
	/* The settings that new sessions begin with. */
	const struct config *(*config)(void *arg);
	bool (*is_stopping)(void *arg);
	void *arg; /* borrowed */
};

/* Whether the settings want it. */
bool http_is_wanted(const struct config *c);
/* Listens as `c` says; `shared` is borrowed. NULL with `e` filled when that cannot be. */
struct http *http_new(struct event_base *base, const struct config *c, struct shared *shared,
	const struct http_owner *owner, struct err *e);
/* Nobody new gets in, so that a successor on the same port is alone; connections that there are go
 * on. */
void http_stop_listening(struct http *h);
/* Takes NULL. */
void http_free(struct http *h);

#endif

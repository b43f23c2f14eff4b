/*
 * service.h - what a daemon and the system it runs on have to tell each other: how many descriptors
 * there may be, and, for systemd, when it is ready, reloading and stopping.
 *
 * On the main thread. Without a service manager (NOTIFY_SOCKET) nobody is told anything.
 */
#ifndef PGASIDE_SERVICE_H
#define PGASIDE_SERVICE_H

#include <stdbool.h>
#include <stdint.h>

/* Raises the soft limit of descriptors, as far as the hard one allows, to what so many sessions and
 * their asides need. When that is not enough, a warning says how many sessions are. */
void service_raise_descriptors(unsigned sessions, unsigned workers);
/* Whether there are descriptors for one session more than `sessions`. */
bool service_has_descriptors(unsigned sessions, unsigned workers);

void service_ready(void);
/* service_ready() follows, also when nothing came of it. */
void service_reloading(void);
/* It may take so long. */
void service_stopping(uint64_t ms);

#endif

/*
 * registry.h - which session a cancel key belongs to. Shared by all threads; every call locks.
 *
 * A key is what the server sent in BackendKeyData, byte for byte. An entry is only a pointer to
 * hand to the worker that owns the session: nobody else may look behind it.
 */
#ifndef PGASIDE_REGISTRY_H
#define PGASIDE_REGISTRY_H

#include <stdbool.h>
#include <stdint.h>

#include "message.h"
#include "snapshot.h"

struct registry;
struct worker;

/* Where a session's server connection went, to which its cancel requests go, too. */
struct registry_server {
	struct snapshot *snapshot;   /* NULL = not known */
	struct upstream_route route; /* of that snapshot's upstream */
};

struct registry *registry_new(void);
void registry_free(struct registry *r);

/* Key and server are copied, the snapshot is held; NULL for no server. False without memory: a
 * cancel of that session is then passed to the server.
 */
bool registry_add(struct registry *r, const struct backend_key *key, struct worker *worker,
	uint64_t session, const struct registry_server *server);
void registry_remove(struct registry *r, const struct backend_key *key, uint64_t session);
/* Whose key it is; false when it is nobody's here. Compares the secret in constant time. With
 * `server`, it says where that is; its snapshot is held for the caller. */
bool registry_find(struct registry *r, const struct backend_key *key, struct worker **worker,
	uint64_t *session, struct registry_server *server);
/* A session whose server process has this number; false: none here. */
bool registry_find_pid(struct registry *r, uint32_t pid, struct worker **worker, uint64_t *session);

#endif

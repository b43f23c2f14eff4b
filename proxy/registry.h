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

struct registry;
struct worker;

struct registry *registry_new(void);
void registry_free(struct registry *r);

/* The key is copied. False without memory: a cancel of that session is then passed to the server.
 */
bool registry_add(
	struct registry *r, const struct backend_key *key, struct worker *worker, uint64_t session);
void registry_remove(struct registry *r, const struct backend_key *key, uint64_t session);
/* Whose key it is; false when it is nobody's here. Compares the secret in constant time. */
bool registry_find(struct registry *r, const struct backend_key *key, struct worker **worker,
	uint64_t *session);
/* A session whose server process has this number; false: none here. */
bool registry_find_pid(struct registry *r, uint32_t pid, struct worker **worker, uint64_t *session);
/* Calls `fn` for each session; it must not call the registry. */
void registry_each(struct registry *r,
	void (*fn)(void *arg, struct worker *worker, uint64_t session), void *arg);

#endif

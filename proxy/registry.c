#include "registry.h"

#include <pthread.h>
#include <stdlib.h>

#define BUCKETS 1024u

struct entry {
	struct entry *next;    /* owned */
	struct worker *worker; /* borrowed; workers outlive the registry */
	uint64_t session;
	struct registry_server server;
	uint32_t pid;
	uint16_t len;
	uint8_t secret[];
};

struct registry {
	pthread_mutex_t lock;
	struct entry *buckets[BUCKETS];
};

struct registry *registry_new(void)
{
	struct registry *r = calloc(1, sizeof(*r));

	if (r)
		pthread_mutex_init(&r->lock, NULL);
	return r;
}

static void free_entry(struct entry *e)
{
	snapshot_release(e->server.snapshot);
	free(e);
}

void registry_free(struct registry *r)
{
	if (!r)
		return;
	for (unsigned i = 0; i < BUCKETS; i++) {
		while (r->buckets[i]) {
			struct entry *e = r->buckets[i];

			r->buckets[i] = e->next;
			free_entry(e);
		}
	}
	pthread_mutex_destroy(&r->lock);
	free(r);
}

static struct entry **bucket_of(struct registry *r, uint32_t pid)
{
	return &r->buckets[pid % BUCKETS];
}

/* Every byte is looked at, so that time does not tell how many were right. */
static bool secret_is(const struct entry *e, struct slice secret)
{
	uint8_t difference = 0;

	if (e->len != secret.len)
		return false;
	for (size_t i = 0; i < secret.len; i++)
		difference |= (uint8_t)(e->secret[i] ^ secret.data[i]);
	return difference == 0;
}

bool registry_add(struct registry *r, const struct backend_key *key, struct worker *worker,
	uint64_t session, const struct registry_server *server)
{
	struct entry *e = calloc(1, sizeof(*e) + key->secret.len);
	struct entry **bucket = bucket_of(r, key->pid);

	if (!e)
		return false;
	e->worker = worker;
	e->session = session;
	if (server)
		e->server = *server;
	if (e->server.snapshot)
		snapshot_hold(e->server.snapshot);
	e->pid = key->pid;
	e->len = (uint16_t)key->secret.len;
	memcpy(e->secret, key->secret.data, key->secret.len);
	pthread_mutex_lock(&r->lock);
	e->next = *bucket;
	*bucket = e;
	pthread_mutex_unlock(&r->lock);
	return true;
}

void registry_remove(struct registry *r, const struct backend_key *key, uint64_t session)
{
	pthread_mutex_lock(&r->lock);
	for (struct entry **at = bucket_of(r, key->pid); *at; at = &(*at)->next) {
		struct entry *e = *at;

		if (e->pid == key->pid && e->session == session && secret_is(e, key->secret)) {
			*at = e->next;
			free_entry(e);
			break;
		}
	}
	pthread_mutex_unlock(&r->lock);
}

/* With `key` NULL any secret will do. */
static bool find(struct registry *r, uint32_t pid, const struct backend_key *key,
	struct worker **worker, uint64_t *session, struct registry_server *server)
{
	bool found = false;

	pthread_mutex_lock(&r->lock);
	for (struct entry *e = *bucket_of(r, pid); e && !found; e = e->next) {
		if (e->pid != pid || (key && !secret_is(e, key->secret)))
			continue;
		*worker = e->worker;
		*session = e->session;
		if (server)
			*server = e->server;
		if (server && server->snapshot)
			snapshot_hold(server->snapshot);
		found = true;
	}
	pthread_mutex_unlock(&r->lock);
	return found;
}

bool registry_find(struct registry *r, const struct backend_key *key, struct worker **worker,
	uint64_t *session, struct registry_server *server)
{
	return find(r, key->pid, key, worker, session, server);
}

bool registry_find_pid(struct registry *r, uint32_t pid, struct worker **worker, uint64_t *session)
{
	return find(r, pid, NULL, worker, session, NULL);
}

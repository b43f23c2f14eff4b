#include "resolver.h"

#include <netdb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "worker.h"

struct resolver_job {
	struct worker *worker; /* borrowed */
	resolver_done_fn done; /* NULL when cancelled; only the worker's thread looks at it */
	void *owner;	       /* borrowed */
	struct resolver_address found[RESOLVER_MAX];
	unsigned n;
	int error; /* of getaddrinfo */
	char host[256];
	char port[32];
};

static void take_addresses(struct resolver_job *job, const struct addrinfo *list)
{
	for (const struct addrinfo *at = list; at && job->n < RESOLVER_MAX; at = at->ai_next) {
		struct resolver_address *a = &job->found[job->n];

		if (at->ai_addrlen > sizeof(a->address))
			continue;
		memcpy(&a->address, at->ai_addr, at->ai_addrlen);
		a->len = at->ai_addrlen;
		job->n++;
	}
}

static bool look_up(struct resolver_job *job, int flags)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = flags | AI_NUMERICSERV};
	struct addrinfo *list = NULL;

	job->error = getaddrinfo(job->host, job->port, &hints, &list);
	if (job->error != 0)
		return false;
	take_addresses(job, list);
	freeaddrinfo(list);
	return true;
}

static void *look_up_on_thread(void *arg)
{
	struct resolver_job *job = arg;
	struct worker_message m = {.kind = WORKER_RESOLVED, .job = job};

	look_up(job, AI_ADDRCONFIG);
	worker_post(job->worker, &m);
	return NULL;
}

void resolver_deliver(struct resolver_job *job)
{
	if (job->done)
		job->done(job->owner, job->found, job->n,
			job->error ? gai_strerror(job->error) : "no address");
	free(job);
}

static void deliver(void *arg)
{
	resolver_deliver(arg);
}

static void take_unix_socket(struct resolver_job *job)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int len = snprintf(
		address.sun_path, sizeof(address.sun_path), "%s/.s.PGSQL.%s", job->host, job->port);

	if (len < 0 || (size_t)len >= sizeof(address.sun_path)) {
		job->error = EAI_NONAME;
		return;
	}
	memcpy(&job->found[0].address, &address, sizeof(address));
	job->found[0].len = sizeof(address);
	job->n = 1;
}

static bool start_thread(struct resolver_job *job)
{
	pthread_attr_t attributes;
	pthread_t id;
	bool ok;

	pthread_attr_init(&attributes);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	ok = pthread_create(&id, &attributes, look_up_on_thread, job) == 0;
	pthread_attr_destroy(&attributes);
	return ok;
}

static bool copy(char *to, size_t size, const char *from)
{
	int n = snprintf(to, size, "%s", from);

	return n >= 0 && (size_t)n < size;
}

struct resolver_job *resolver_start(
	struct worker *w, const char *host, const char *port, resolver_done_fn done, void *owner)
{
	struct resolver_job *job = calloc(1, sizeof(*job));

	if (!job)
		return NULL;
	job->worker = w;
	job->done = done;
	job->owner = owner;
	if (!copy(job->host, sizeof(job->host), host) ||
		!copy(job->port, sizeof(job->port), port)) {
		job->error = EAI_NONAME;
		worker_defer(w, deliver, job);
	} else if (host[0] == '/') {
		take_unix_socket(job);
		worker_defer(w, deliver, job);
	} else if (look_up(job, AI_NUMERICHOST)) {
		worker_defer(w, deliver, job);
	} else if (!start_thread(job)) {
		free(job);
		return NULL;
	}
	return job;
}

void resolver_cancel(struct resolver_job *job)
{
	if (job)
		job->done = NULL;
}

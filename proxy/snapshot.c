#include "snapshot.h"

#include <stdlib.h>
#include <string.h>

#include "tls.h"

static bool add_upstream(struct upstream *u, const char *name, const char *conninfo, struct err *e)
{
	struct err why;

	return upstream_init(u, conninfo, &why) ||
	       err_set(e, why.sqlstate, "%s: %s", name, why.text);
}

static bool prepare(struct snapshot *s, const struct config *c, struct err *e)
{
	if (!config_check(c, e) || !add_upstream(&s->upstream, "upstream", c->upstream, e))
		return false;
	s->aside_upstream = &s->upstream;
	if (c->aside_upstream[0]) {
		if (!add_upstream(&s->other_upstream, "aside_upstream", c->aside_upstream, e))
			return false;
		s->aside_upstream = &s->other_upstream;
	}
	if (c->client_tls_sslmode == CLIENT_TLS_DISABLE)
		return true;
	s->client_tls = tls_server_context(
		c->client_tls_cert_file, c->client_tls_key_file, c->client_tls_ca_file, e);
	return s->client_tls != NULL;
}

static void free_snapshot(struct snapshot *s)
{
	tls_context_free(s->client_tls);
	upstream_release(&s->upstream);
	upstream_release(&s->other_upstream);
	config_release(&s->config);
	free(s);
}

struct snapshot *snapshot_new(struct config *c, struct err *e)
{
	struct snapshot *s = calloc(1, sizeof(*s));

	if (!s) {
		err_set(e, "53200", "out of memory");
		return NULL;
	}
	if (!prepare(s, c, e)) {
		free_snapshot(s);
		return NULL;
	}
	s->config = *c;
	memset(c, 0, sizeof(*c));
	atomic_init(&s->holders, 1);
	return s;
}

struct snapshot *snapshot_hold(struct snapshot *s)
{
	atomic_fetch_add_explicit(&s->holders, 1, memory_order_relaxed);
	return s;
}

void snapshot_release(struct snapshot *s)
{
	if (s && atomic_fetch_sub_explicit(&s->holders, 1, memory_order_acq_rel) == 1)
		free_snapshot(s);
}

#include "target.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "message.h"
#include "worker.h"

#define PASSWORD_MAX 65536u
#define NUMBER_SIZE 12

static char *copy_text(struct slice s)
{
	return strndup(s.len > 0 ? (const char *)s.data : "", s.len);
}

static bool is_complete(struct target *t)
{
	if (t->user && t->database && t->application_name && !bytes_failed(&t->password))
		return true;
	target_release(t);
	return false;
}

static char *name_for(struct slice application_name)
{
	char *name;

	if (asprintf(&name, "pgaside/%.*s", (int)application_name.len,
		    application_name.len > 0 ? (const char *)application_name.data : "") < 0)
		return NULL;
	return name;
}

/* That of the upstream, if it is this user's. Nobody gets in by the password of somebody else. */
static struct slice own_password(const struct target *t)
{
	const struct upstream *u = t->snapshot->aside_upstream;

	return t->user && strcmp(u->user, t->user) == 0 ? slice_str(u->password)
							: slice_of(NULL, 0);
}

bool target_init(struct target *t, struct snapshot *snapshot, const struct upstream_route *route,
	struct slice startup, struct slice password)
{
	struct slice user = {0}, database = {0}, application_name = {0};

	startup_parameter(startup, "user", &user);
	startup_parameter(startup, "application_name", &application_name);
	if (!startup_parameter(startup, "database", &database) || database.len == 0)
		database = user;
	t->snapshot = snapshot_hold(snapshot);
	t->route = *route;
	t->user = copy_text(user);
	t->database = copy_text(database);
	t->application_name = name_for(application_name);
	bytes_init(&t->password, PASSWORD_MAX);
	bytes_put_slice(&t->password, password.len > 0 ? password : own_password(t));
	bytes_put_u8(&t->password, 0);
	return is_complete(t);
}

bool target_copy(struct target *t, const struct target *from)
{
	t->snapshot = snapshot_hold(from->snapshot);
	t->route = from->route;
	t->user = strdup(from->user);
	t->database = strdup(from->database);
	t->application_name = strdup(from->application_name);
	bytes_init(&t->password, PASSWORD_MAX);
	bytes_put_slice(&t->password, bytes_view(&from->password));
	return is_complete(t);
}

void target_release(struct target *t)
{
	snapshot_release(t->snapshot);
	t->snapshot = NULL;
	free(t->user);
	free(t->database);
	free(t->application_name);
	t->user = t->database = t->application_name = NULL;
	bytes_wipe(&t->password);
}

/* An empty value is none to libpq; a 0 it would hand to the system, which refuses it. */
static const char *number(char out[NUMBER_SIZE], unsigned n)
{
	out[0] = '\0';
	if (n > 0)
		snprintf(out, NUMBER_SIZE, "%u", n);
	return out;
}

struct pq *target_connect(const struct target *t, struct worker *w, const char *application_name,
	const struct pq_events *events, void *owner)
{
	const struct upstream *u = t->snapshot->aside_upstream;
	const struct config *c = &t->snapshot->config;
	char idle[NUMBER_SIZE], interval[NUMBER_SIZE], count[NUMBER_SIZE], patience[NUMBER_SIZE];
	const struct pq_parameter parameters[] = {
		{"host", t->route.host->host},
		{"hostaddr", t->route.address},
		{"port", t->route.host->port},
		{"user", t->user},
		{"password", (const char *)t->password.data},
		{"dbname", t->database},
		/* With "prefer", what the session was told is asked again only if it does not go
		 * without. */
		{"sslmode", t->route.refuses_tls ? "allow" : u->sslmode},
		{"sslrootcert", u->sslrootcert},
		{"sslcert", u->sslcert},
		{"sslkey", u->sslkey},
		{"sslcrl", u->sslcrl},
		{"sslpassword", u->sslpassword},
		{"channel_binding", u->channel_binding},
		{"sslnegotiation", u->direct_tls ? "direct" : ""},
		{"passfile", u->passfile},
		{"gssencmode", "disable"},
		{"keepalives", c->tcp_keepalive ? "1" : "0"},
		{"keepalives_idle", number(idle, c->tcp_keepidle)},
		{"keepalives_interval", number(interval, c->tcp_keepintvl)},
		{"keepalives_count", number(count, c->tcp_keepcnt)},
		{"tcp_user_timeout", number(patience, c->tcp_user_timeout_ms)},
		{"application_name", application_name ? application_name : t->application_name},
		{NULL, NULL},
	};

	return pq_connect(w, parameters, c->server_connect_timeout_ms, events, owner);
}

#include "run_plan.h"

#include <stdlib.h>
#include <string.h>

#include "passfile.h"

static const char bad_variable[] = "F0000";

static const char *value_of(char *const *environment, const char *name)
{
	size_t len = strlen(name);

	for (; *environment; environment++)
		if (strncmp(*environment, name, len) == 0 && (*environment)[len] == '=')
			return *environment + len + 1;
	return NULL;
}

static const char *set_value_of(char *const *environment, const char *name)
{
	const char *value = value_of(environment, name);

	return value ? value : "";
}

/* Puts the name of where a URL came from before what is wrong with it. */
static bool blame(const char *name, const struct err *why, struct err *e)
{
	return err_set(e, bad_variable, "%s %s", name, why->text);
}

static bool has_variable(const struct run_plan *p, const char *name)
{
	for (size_t i = 0; i < p->n_variables; i++)
		if (strcmp(p->variables[i].name, name) == 0)
			return true;
	return false;
}

static bool add_variable(struct run_plan *p, const char *name, const char *text, struct err *e)
{
	struct run_variable *v = &p->variables[p->n_variables++];
	struct err why;

	v->name = name;
	return url_parse(&v->url, text, &why) || blame(name, &why, e);
}

static bool add_variables(struct run_plan *p, const struct run_request *r, struct err *e)
{
	const char *text = value_of(r->environment, "DATABASE_URL");

	p->n_variables = 0;
	p->variables = calloc(r->n_names + 1, sizeof(*p->variables));
	if (!p->variables)
		return err_set(e, "53200", "out of memory");
	if (text && !add_variable(p, "DATABASE_URL", text, e))
		return false;
	for (size_t i = 0; i < r->n_names; i++) {
		if (has_variable(p, r->names[i]))
			continue;
		text = value_of(r->environment, r->names[i]);
		if (!text)
			return err_set(e, bad_variable, "--env %s: there is no such variable",
				r->names[i]);
		if (!add_variable(p, r->names[i], text, e))
			return false;
	}
	return true;
}

/* DATABASE_URL, if there is one. */
static const struct run_variable *database_url(const struct run_plan *p)
{
	return p->n_variables > 0 && strcmp(p->variables[0].name, "DATABASE_URL") == 0
		       ? &p->variables[0]
		       : NULL;
}

/* Of --upstream alone: DATABASE_URL is made from it, so that the command finds one. */
static bool add_database_url(struct run_plan *p, const struct run_request *r, struct err *e)
{
	struct run_variable last;

	if (p->upstream_url.form == URL_KEYWORDS)
		return true;
	if (!add_variable(p, "DATABASE_URL", r->upstream, e))
		return false;
	/* It stands first, as if it had been there. */
	last = p->variables[p->n_variables - 1];
	memmove(p->variables + 1, p->variables, (p->n_variables - 1) * sizeof(last));
	p->variables[0] = last;
	return true;
}

static bool use_upstream(struct run_plan *p, const struct run_request *r, struct err *e)
{
	struct err why;

	if (!url_parse(&p->upstream_url, r->upstream, &why))
		return blame("upstream", &why, e);
	p->upstream = url_to_upstream(r->upstream, r->environment, &why);
	if (!p->upstream)
		return blame("upstream", &why, e);
	if (!database_url(p) && !add_database_url(p, r, e))
		return false;
	p->base = database_url(p) ? &database_url(p)->url : &p->upstream_url;
	return true;
}

static bool use_database_url(struct run_plan *p, const struct run_request *r, struct err *e)
{
	const struct run_variable *v = database_url(p);
	struct err why;

	if (!v)
		return err_set(e, bad_variable,
			"DATABASE_URL is not set: set it, or name the server with --upstream");
	p->upstream = url_to_upstream(v->url.text, r->environment, &why);
	p->base = &v->url;
	return p->upstream || blame(v->name, &why, e);
}

static bool find_upstream(struct run_plan *p, const struct run_request *r, struct err *e)
{
	return *r->upstream ? use_upstream(p, r, e) : use_database_url(p, r, e);
}

static bool other_server(const struct run_variable *v, const char *expected, struct err *e)
{
	const char *host = v->url.values[URL_HOST], *port = v->url.values[URL_PORT];

	return err_set(e, bad_variable, "--env %s: it leads to %s%s%s, another server than %s",
		v->name, *host ? host : "no host", *port ? " port " : "", port, expected);
}

/* Another server behind --env would silently become ours. DATABASE_URL itself may name a pooler, if
 * --upstream names what is behind it. */
static bool check_servers(const struct run_plan *p, const struct run_request *r, struct err *e)
{
	for (size_t i = 0; i < p->n_variables; i++) {
		const struct run_variable *v = &p->variables[i];

		if (&v->url == p->base || url_same_server(&v->url, p->base) ||
			(*r->upstream && url_same_server(&v->url, &p->upstream_url)))
			continue;
		return other_server(v, *r->upstream ? "upstream" : "DATABASE_URL", e);
	}
	return true;
}

static bool differs(const char *password, const char *known)
{
	return *password && strcmp(password, known) != 0;
}

/* A driver that is given its password beside the URL will show one that is not known here. */
static bool hides_password(const struct url *u)
{
	return u->form == URL_JDBC && !url_carries_password(u);
}

/* Not everybody who comes will have the one password. */
static bool is_open(const struct run_plan *p)
{
	if (p->keep_password)
		return true;
	for (size_t i = 0; i < p->n_variables; i++) {
		const struct url *u = &p->variables[i].url;

		if (hides_password(u) || differs(u->values[URL_PASSWORD], p->password))
			return true;
	}
	return false;
}

/* PGUSER and PGPASSWORD of somebody else than the URL's user. */
static bool is_other_identity(const struct run_plan *p)
{
	const char *user = set_value_of(p->environment, "PGUSER");

	return differs(user, p->base->values[URL_USER]) &&
	       differs(set_value_of(p->environment, "PGPASSWORD"), p->password);
}

static const char *first_of(const char *a, const char *b, const char *c)
{
	return *a ? a : *b ? b : c;
}

/* The first of a comma separated list, owned; `otherwise` when that is empty. */
static char *first_item(const char *list, const char *otherwise)
{
	size_t len = strcspn(list, ",");

	return len > 0 ? strndup(list, len) : strdup(otherwise);
}

/* What libpq would have found; owned, NULL when that is nothing. */
static char *find_in_passfile(const struct run_plan *p, const struct run_request *r)
{
	const struct url *server = *r->upstream ? &p->upstream_url : p->base;
	char *host = first_item(
		first_of(server->values[URL_HOST], set_value_of(r->environment, "PGHOST"), ""),
		"localhost");
	char *port = first_item(
		first_of(server->values[URL_PORT], set_value_of(r->environment, "PGPORT"), ""),
		"5432");
	struct passfile_key key = {
		/* The default directory of the socket counts as the host itself. */
		.host = host && strcmp(host, "/var/run/postgresql") == 0 ? "localhost" : host,
		.port = port,
		.user = first_of(p->base->values[URL_USER], set_value_of(r->environment, "PGUSER"),
			r->os_user),
	};
	char *password = NULL;

	key.database = first_of(p->base->values[URL_DATABASE],
		set_value_of(r->environment, "PGDATABASE"), key.user);
	if (host && port)
		password = passfile_find(r->passfile, &key);
	free(host);
	free(port);
	return password;
}

/* What the server is shown when the command has no password to show: that of --upstream, if it is
 * the same user's, or of the password file. Owned; "" when there is none. */
static char *password_of_server(const struct run_plan *p, const struct run_request *r)
{
	const struct url *upstream = &p->upstream_url;
	char *found;

	if (*r->upstream && *upstream->values[URL_PASSWORD] &&
		!differs(upstream->values[URL_USER], p->base->values[URL_USER]))
		return strdup(upstream->values[URL_PASSWORD]);
	found = find_in_passfile(p, r);
	return found ? found : strdup("");
}

static bool choose_passwords(struct run_plan *p, const struct run_request *r, struct err *e)
{
	p->password = p->base->values[URL_PASSWORD];
	if (!*p->password && p->base->form != URL_JDBC)
		p->password = set_value_of(r->environment, "PGPASSWORD");
	p->keep_password = *p->password && is_other_identity(p);
	if (is_open(p)) {
		p->private_password = strdup("");
		p->server_password = strdup("");
	} else if (*p->password) {
		p->private_password = strdup(p->password);
		p->server_password = strdup(p->password);
	} else {
		p->private_password = strdup(r->random);
		p->server_password = password_of_server(p, r);
	}
	return (p->private_password && p->server_password) || err_set(e, "53200", "out of memory");
}

bool run_plan_init(struct run_plan *p, const struct run_request *r, struct err *e)
{
	*p = (struct run_plan){.environment = r->environment, .password = ""};
	return add_variables(p, r, e) && find_upstream(p, r, e) && check_servers(p, r, e) &&
	       choose_passwords(p, r, e);
}

static void wipe_string(char **s)
{
	if (*s)
		explicit_bzero(*s, strlen(*s));
	free(*s);
	*s = NULL;
}

void run_plan_release(struct run_plan *p)
{
	for (size_t i = 0; i < p->n_variables; i++)
		url_release(&p->variables[i].url);
	free(p->variables);
	url_release(&p->upstream_url);
	wipe_string(&p->upstream);
	wipe_string(&p->private_password);
	wipe_string(&p->server_password);
	*p = (struct run_plan){0};
}

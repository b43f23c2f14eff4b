/*
 * run_environment.c - the environment of the command of `pgaside run`.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "run_plan.h"

enum {
	OUR_VARIABLES = 8, /* PGHOST, PGPORT, ... and the NULL at the end */
	MAX_URL = 65536
};

/* An environment that grows; room for all of it was made at the start. */
struct list {
	char **items; /* owned, and so is each */
	size_t n;
	bool failed;
};

static void add(struct list *l, const char *name, const char *value)
{
	char *item = NULL;

	if (asprintf(&item, "%s=%s", name, value) < 0) {
		l->failed = true;
		return;
	}
	l->items[l->n++] = item;
}

static void keep(struct list *l, const char *variable)
{
	l->items[l->n] = strdup(variable);
	if (l->items[l->n])
		l->n++;
	else
		l->failed = true;
}

static bool is_named(const char *variable, const char *name)
{
	size_t len = strlen(name);

	return strncmp(variable, name, len) == 0 && variable[len] == '=';
}

static bool is_set(char *const *environment, const char *name)
{
	for (; *environment; environment++)
		if (is_named(*environment, name))
			return true;
	return false;
}

/* What leads to the real server, or secures the way to it. */
static bool is_about_server(const char *variable)
{
	static const char *const names[] = {"PGHOST", "PGHOSTADDR", "PGPORT", "PGSERVICE",
		"PGSERVICEFILE", "PGCHANNELBINDING", "PGREQUIREAUTH", "PGREQUIREPEER",
		"PGREQUIRESSL", "PGGSSENCMODE", "PGTARGETSESSIONATTRS", "PGLOADBALANCEHOSTS"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (is_named(variable, names[i]))
			return true;
	return strncmp(variable, "PGSSL", 5) == 0;
}

/* The password of PG* is the one that the private port wants. */
static bool replaces_password(const struct run_plan *p)
{
	return *p->private_password && !p->keep_password;
}

static bool is_replaced(const struct run_plan *p, const char *variable)
{
	if (is_about_server(variable))
		return true;
	if (replaces_password(p) && is_named(variable, "PGPASSWORD"))
		return true;
	for (size_t i = 0; i < p->n_variables; i++)
		if (is_named(variable, p->variables[i].name))
			return true;
	return false;
}

static void add_unless_set(
	const struct run_plan *p, struct list *l, const char *name, const char *value)
{
	if (*value && !is_set(p->environment, name))
		add(l, name, value);
}

static void add_server(const struct run_plan *p, struct list *l, uint16_t port)
{
	char number[8];

	snprintf(number, sizeof(number), "%u", (unsigned)port);
	add(l, "PGHOST", "127.0.0.1");
	add(l, "PGPORT", number);
	add(l, "PGSSLMODE", "disable");
	add_unless_set(p, l, "PGUSER", p->base->values[URL_USER]);
	add_unless_set(p, l, "PGDATABASE", p->base->values[URL_DATABASE]);
	if (replaces_password(p))
		add(l, "PGPASSWORD", p->private_password);
	else
		add_unless_set(p, l, "PGPASSWORD", p->base->values[URL_PASSWORD]);
}

/* Its own password stays as it is written; only where there is none, one is put in. */
static void add_url(
	const struct run_plan *p, struct list *l, const struct run_variable *v, uint16_t port)
{
	const char *password = *v->url.values[URL_PASSWORD] ? "" : p->private_password;
	struct bytes text;
	struct err e;

	bytes_init(&text, MAX_URL);
	if (url_write_client(&v->url, port, *password ? password : NULL, &text, &e))
		bytes_put_u8(&text, '\0');
	if (bytes_failed(&text) || bytes_length(&text) == 0)
		l->failed = true;
	else
		add(l, v->name, (const char *)bytes_view(&text).data);
	bytes_wipe(&text);
}

char **run_plan_environment(const struct run_plan *p, uint16_t port, struct err *e)
{
	struct list l = {0};
	size_t n = 0;

	while (p->environment[n])
		n++;
	l.items = calloc(n + p->n_variables + OUR_VARIABLES, sizeof(*l.items));
	if (!l.items) {
		err_set(e, "53200", "out of memory");
		return NULL;
	}
	for (size_t i = 0; i < n; i++) {
		if (!is_replaced(p, p->environment[i]))
			keep(&l, p->environment[i]);
	}
	add_server(p, &l, port);
	for (size_t i = 0; i < p->n_variables; i++)
		add_url(p, &l, &p->variables[i], port);
	if (l.failed) {
		err_set(e, "53200", "out of memory");
		run_environment_free(l.items);
		return NULL;
	}
	return l.items;
}

void run_environment_free(char **environment)
{
	if (!environment)
		return;
	for (char **item = environment; *item; item++) {
		explicit_bzero(*item, strlen(*item));
		free(*item);
	}
	free(environment);
}

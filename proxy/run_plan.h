/*
 * run_plan.h - what `pgaside run` takes from its environment, and what it tells the command.
 *
 * Pure: arrays of "NAME=value" in, arrays out. First the plan, from which the private server is
 * configured; then, when its port is known, the command's environment.
 *
 * Who may use the private port? The password that stands in DATABASE_URL (or PGPASSWORD) is known
 * to the command and to the server, so it is what must be shown. If there is none, one is made up
 * and told to the command; the server is then shown what --upstream or the password file has, if
 * anything. Only if passwords differ, or if a driver is given its password in a way
 * that is not seen here (JDBC), anybody may try: then the server alone decides.
 */
#ifndef PGASIDE_RUN_PLAN_H
#define PGASIDE_RUN_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "url.h"

/* A variable that holds a URL. */
struct run_variable {
	const char *name; /* borrowed from the request */
	struct url url;	  /* owned */
};

struct run_request {
	const char *upstream;	  /* the setting, "" = take DATABASE_URL */
	char *const *environment; /* ends with NULL */
	const char *const *names; /* of --env */
	size_t n_names;
	const char *random;   /* a password nobody can guess */
	const char *passfile; /* the text of ~/.pgpass, "" = none */
	const char *os_user;  /* who runs us: PostgreSQL's default user */
};

struct run_plan {
	char *upstream;			/* owned; for struct config, like the next two */
	char *private_password;		/* owned; "" = any client may try */
	char *server_password;		/* owned; "" = none */
	struct run_variable *variables; /* owned */
	size_t n_variables;
	struct url upstream_url;  /* owned; when --upstream was given */
	const struct url *base;	  /* where user, password and database of PG* come from */
	const char *password;	  /* borrowed from base or environment; "" = none is known */
	bool keep_password;	  /* PGPASSWORD belongs to another user: leave it */
	char *const *environment; /* borrowed */
};

/* False with a sentence in `e` that names the variable or flag. `p` must be released in any case.
 */
bool run_plan_init(struct run_plan *p, const struct run_request *r, struct err *e);
void run_plan_release(struct run_plan *p);
/*
 * The environment of the command: DATABASE_URL and the --env variables lead to 127.0.0.1 and
 * `port`, and so do PGHOST and PGPORT; PGSSLMODE is disable; what else would lead or secure the way
 * to the real server is gone. Owned, to be freed by run_environment_free(). NULL without memory.
 */
char **run_plan_environment(const struct run_plan *p, uint16_t port, struct err *e);
void run_environment_free(char **environment);

#endif

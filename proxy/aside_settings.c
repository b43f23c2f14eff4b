/*
 * aside_settings.c - the aside connection gets the settings in force on the server connection.
 *
 * SHOW ALL on both, and what differs is set with set_config(): client_encoding first, since the
 * texts of the others are in it, session_authorization and role last, since they may forbid the
 * rest. A search_path, an encoding or a role that cannot be had would run the statement as
 * something else: that is fatal.
 */
#include <stdio.h>
#include <string.h>

#include "aside_state.h"
#include "config.h"
#include "log.h"

/* Never replayed: facts about the server, the transaction's own affairs, and what would end an idle
 * connection. */
static const char *const skipped[] = {"application_name", "transaction_isolation",
	"transaction_read_only", "transaction_deferrable", "transaction_timeout",
	"default_transaction_isolation", "default_transaction_read_only",
	"default_transaction_deferrable", "idle_in_transaction_session_timeout",
	"idle_session_timeout", "in_hot_standby", "is_superuser", "session_authorization", "role",
	"client_connection_check_interval", "client_encoding", NULL};

/*
 * A role may have others by ALTER ROLE .. SET. Read-only transactions have been refused already;
 * the connection waits for COMMIT as long as that takes; and the server itself notices when pgaside
 * is gone, and ends the build.
 */
static const char *const ours[][2] = {{"default_transaction_read_only", "off"},
	{"idle_session_timeout", "0"}, {"client_connection_check_interval", "10s"}};

#define MOST_AT_ONCE 32
#define WHO "SELECT pg_catalog.pg_backend_pid(), "

static bool is_one_of(const char *const *names, struct slice name)
{
	for (; *names; names++)
		if (slice_is(name, *names))
			return true;
	return false;
}

/* Walks "name, zero, value, zero, ..". False at the end. */
static bool next_setting(struct cursor *c, struct slice *name, struct slice *value)
{
	*name = cursor_cstr(c);
	*value = cursor_cstr(c);
	return !c->failed;
}

bool aside_setting(struct slice settings, const char *name, struct slice *value)
{
	struct cursor c = cursor_over(settings);
	struct slice n, v;

	while (next_setting(&c, &n, &v)) {
		if (slice_is(n, name)) {
			*value = v;
			return true;
		}
	}
	return false;
}

static void put_setting(struct bytes *list, struct slice name, struct slice value)
{
	bytes_put_slice(list, name);
	bytes_put_u8(list, 0);
	bytes_put_slice(list, value);
	bytes_put_u8(list, 0);
}

void aside_settings_of_role(struct slice settings, struct bytes *out)
{
	static const char *const names[] = {"session_authorization", "role"};
	struct slice value;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (aside_setting(settings, names[i], &value))
			put_setting(out, slice_str(names[i]), value);
}

/* The value here, in the rows of SHOW ALL; NULL when the setting is not among them. Both sides have
 * the same order, so the search begins where the last one ended. */
static const char *value_here(const struct pq_result *r, struct slice name, int *next)
{
	for (int i = 0; i < r->n_rows; i++) {
		int row = (*next + i) % r->n_rows;

		if (slice_is(name, pq_value(r, row, 0))) {
			*next = row + 1;
			return pq_value(r, row, 1);
		}
	}
	return NULL;
}

static void put_difference(struct aside *a, const struct pq_result *r, struct slice name,
	struct slice wanted, int *next)
{
	const char *here = value_here(r, name, next);

	if (!(here && slice_is(wanted, here)))
		put_setting(&a->job.changes, name, wanted);
}

static void put_encoding(struct aside *a, const struct pq_result *r)
{
	struct slice wanted;
	int next = 0;

	if (aside_setting(bytes_view(&a->job.settings), "client_encoding", &wanted))
		put_difference(a, r, slice_str("client_encoding"), wanted, &next);
}

/* Always: the role of a new connection may be another than its user, by ALTER ROLE .. SET role. */
static void put_role(struct aside *a, const char *name)
{
	struct slice wanted;

	if (aside_setting(bytes_view(&a->job.settings), name, &wanted))
		put_setting(&a->job.changes, slice_str(name), wanted);
}

static void put_timeout(struct aside *a, const char *name, unsigned ms)
{
	char value[32];

	if (ms == 0)
		return;
	snprintf(value, sizeof(value), "%ums", ms);
	put_setting(&a->job.changes, slice_str(name), slice_str(value));
}

/* The client's own limit is for its transaction; that it has none is for the aside as well. */
static void put_lifted_limit(struct aside *a)
{
	struct slice wanted, name = slice_str("transaction_timeout");

	if (aside_setting(bytes_view(&a->job.settings), "transaction_timeout", &wanted) &&
		slice_is(wanted, "0"))
		put_setting(&a->job.changes, name, wanted);
}

static void compare(struct aside *a, const struct pq_result *r)
{
	const struct config *config = &a->target.snapshot->config;
	struct cursor c = cursor_over(bytes_view(&a->job.settings));
	struct slice name, value;
	int next = 0;

	put_encoding(a, r);
	while (next_setting(&c, &name, &value))
		if (!is_one_of(skipped, name))
			put_difference(a, r, name, value, &next);
	for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
		put_setting(&a->job.changes, slice_str(ours[i][0]), slice_str(ours[i][1]));
	put_lifted_limit(a);
	put_timeout(a, "lock_timeout", config->aside_lock_timeout_ms);
	put_timeout(a, "statement_timeout", config->aside_statement_timeout_ms);
	put_role(a, "session_authorization");
	put_role(a, "role");
}

static void apply_next(struct aside *a);

static bool is_fatal(struct slice name)
{
	static const char *const names[] = {
		"search_path", "client_encoding", "role", "session_authorization", NULL};

	return is_one_of(names, name);
}

/* Behind a pooler, what it said at log-in is not the server's. */
static void note_pid(struct aside *a, const struct pq_result *r)
{
	if (r->ok && r->n_rows == 1)
		a->aside_pid = (int)aside_oid(pq_value(r, 0, 0));
}

static void on_applied(void *owner, const struct pq_result *r)
{
	struct aside *a = owner;
	struct cursor c = cursor_over(bytes_view(&a->job.changes));
	struct slice name, value;

	note_pid(a, r);
	cursor_bytes(&c, a->job.next_change);
	next_setting(&c, &name, &value);
	a->job.next_change += name.len + value.len + 2;
	if (r->ok || (a->state == ASIDE_CLEANING && !r->lost)) {
		apply_next(a);
	} else if (a->state == ASIDE_CLEANING) {
		aside_clean_up_elsewhere(a);
	} else if (r->lost || is_fatal(name)) {
		aside_fail_with(a, r);
	} else {
		log_event(LOG_LEVEL_DEBUG, "setting_kept", "session=%llu name=%.*s sqlstate=%s",
			(unsigned long long)a->session, (int)name.len, (const char *)name.data,
			r->sqlstate);
		apply_next(a);
	}
}

static void apply_next(struct aside *a)
{
	struct cursor c = cursor_over(bytes_view(&a->job.changes));
	struct slice name, value;
	const char *parameters[2];

	cursor_bytes(&c, a->job.next_change);
	if (!next_setting(&c, &name, &value)) {
		aside_settings_done(a);
		return;
	}
	/* Both are zero-terminated where they are. */
	parameters[0] = (const char *)name.data;
	parameters[1] = (const char *)value.data;
	pq_query_params(
		a->aside, WHO "pg_catalog.set_config($1, $2, false)", parameters, 2, on_applied, a);
}

/* One by one when one of them does not go, to find out which. */
static void on_all_applied(void *owner, const struct pq_result *r)
{
	struct aside *a = owner;

	note_pid(a, r);
	if (r->ok)
		aside_settings_done(a);
	else if (r->lost)
		aside_fail_with(a, r);
	else
		apply_next(a);
}

/* In one statement, whose parts are done in their order. False when it cannot be put together. */
static bool apply_all(struct aside *a)
{
	struct cursor c = cursor_over(bytes_view(&a->job.changes));
	struct slice name, value;
	const char *parameters[2 * MOST_AT_ONCE];
	struct bytes sql;
	int n = 0;

	bytes_init(&sql, 128u * MOST_AT_ONCE);
	while (n + 2 <= 2 * MOST_AT_ONCE && next_setting(&c, &name, &value)) {
		bytes_printf(&sql, "%spg_catalog.set_config($%d, $%d, false)", n ? ", " : WHO,
			n + 1, n + 2);
		/* Both are zero-terminated where they are. */
		parameters[n++] = (const char *)name.data;
		parameters[n++] = (const char *)value.data;
	}
	bytes_put_u8(&sql, 0);
	if (c.left > 0 || bytes_failed(&sql)) {
		bytes_release(&sql);
		return false;
	}
	pq_query_params(
		a->aside, (const char *)bytes_view(&sql).data, parameters, n, on_all_applied, a);
	bytes_release(&sql);
	return true;
}

/* Rows of the question about the transaction, if there is one, and of SHOW ALL. */
static void on_rows(void *owner, unsigned question, const struct pq_result *r)
{
	struct aside *a = owner;

	if (question == 0 && aside_looks_for_obstacles(a))
		aside_take_answer(a, r);
	else
		compare(a, r);
}

static void on_shown(void *owner, const struct pq_result *r)
{
	struct aside *a = owner;
	struct slice name, value;
	struct cursor c;

	if (!r->ok) {
		aside_fail_with(a, r);
		return;
	}
	c = cursor_over(bytes_view(&a->job.changes));
	next_setting(&c, &name, &value);
	/* The texts of the others are in that encoding, so it must be there before them. */
	if (slice_is(name, "client_encoding") || !apply_all(a))
		apply_next(a);
}

void aside_settings_go_on(struct aside *a)
{
	struct bytes sql;

	bytes_clear(&a->job.changes);
	a->job.next_change = 0;
	bytes_init(&sql, 4096);
	if (aside_looks_for_obstacles(a))
		aside_put_question(a, &sql);
	bytes_put_cstr(&sql, "SHOW ALL");
	if (bytes_failed(&sql))
		aside_fail(a, "53200", "out of memory", NULL);
	else
		pq_script(a->aside, (const char *)bytes_view(&sql).data, on_rows, on_shown, a);
	bytes_release(&sql);
}

static void on_reset(void *owner, const struct pq_result *r)
{
	struct aside *a = owner;

	if (r->ok)
		aside_ask_for_obstacles(a);
	else
		aside_fail_with(a, r);
}

void aside_settings_begin(struct aside *a)
{
	aside_enter(a, ASIDE_SETTINGS);
	/* It may have served another statement, under other settings. */
	if (a->used)
		pq_query(a->aside, "DISCARD ALL", on_reset, a);
	else
		aside_ask_for_obstacles(a);
	a->used = true;
}

void aside_settings_role(struct aside *a)
{
	bytes_clear(&a->job.changes);
	a->job.next_change = 0;
	put_role(a, "session_authorization");
	put_role(a, "role");
	apply_next(a);
}

#include "console.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "console_state.h"
#include "frame.h"
#include "message.h"
#include "statement.h"

enum {
	MAX_MESSAGE = 65536, /* bytes: a command is short */
	MAX_ANSWER = 64 << 20,
	OID_TEXT = 25,
};

/* Whether a comma list has that name. */
static bool lists(const char *list, const char *name)
{
	size_t len = strlen(name);

	while (*list) {
		size_t n = strcspn(list, ",");
		size_t end = n;

		while (end > 0 && list[end - 1] == ' ')
			end--;
		if (end == len && strncmp(list, name, len) == 0)
			return true;
		list += n;
		list += strspn(list, ", ");
	}
	return false;
}

bool console_is_wanted(const struct session *s)
{
	char database[sizeof(CONSOLE_DATABASE) + 1];

	return s->snapshot->config.admin_users[0] &&
	       strcmp(session_parameter(s, "database", database, sizeof(database)),
		       CONSOLE_DATABASE) == 0;
}

bool console_admit(struct session *s)
{
	char user[256];

	session_parameter(s, "user", user, sizeof(user));
	if (!*user || !lists(s->snapshot->config.admin_users, user)) {
		session_refuse(s, "28000",
			"the database \"" CONSOLE_DATABASE
			"\" is pgaside's console, and this user is not one of admin_users");
		return false;
	}
	if (!conn_is_local(s->client)) {
		session_refuse(s, "28000",
			"pgaside's console is open over loopback and unix sockets only");
		return false;
	}
	s->console = calloc(1, sizeof(*s->console));
	if (!s->console) {
		session_refuse(s, "53200", "out of memory");
		return false;
	}
	s->console->session = s;
	bytes_init(&s->console->prepared, MAX_MESSAGE);
	bytes_init(&s->console->text, MAX_MESSAGE);
	bytes_init(&s->console->out, MAX_ANSWER);
	return true;
}

void console_free(struct console *c)
{
	if (!c)
		return;
	bytes_release(&c->prepared);
	bytes_release(&c->text);
	bytes_release(&c->out);
	free(c);
}

/* StartupMessage (protocol documentation, "Message Formats"): length, version, pairs, zero. */
void console_put_startup(const struct session *s, struct bytes *out)
{
	const char *database = s->snapshot->upstream.dbname;
	struct cursor c = cursor_over(bytes_view(&s->startup));
	char user[256];
	size_t place = bytes_length(out);

	cursor_u32(&c);
	bytes_put_u32(out, 0);
	bytes_put_u32(out, cursor_u32(&c)); /* the client's own version: the server negotiates it */
	bytes_put_cstr(out, "user");
	bytes_put_cstr(out, session_parameter(s, "user", user, sizeof(user)));
	bytes_put_cstr(out, "database");
	bytes_put_cstr(out, database && *database ? database : "postgres");
	bytes_put_cstr(out, "application_name");
	bytes_put_cstr(out, "pgaside/console");
	bytes_put_u8(out, 0);
	if (!bytes_failed(out))
		bytes_set_u32(out, place, (uint32_t)(bytes_length(out) - place));
}

/* ReadyForQuery says that the server has let the client in: only now is its role known to exist and
 * to be allowed. */
enum flow_action console_server_message(struct session *s, uint8_t type)
{
	if (type == 'Z')
		s->console->ready = true;
	/* A key of a server process that will be gone cancels nothing. */
	return type == 'K' ? FLOW_DROP : FLOW_PASS;
}

/* What the server is left with is a polite word; everything from here on is ours. */
void console_begin_if_due(struct session *s)
{
	struct bytes terminate;

	if (!s->console->ready || s->console->begun)
		return;
	s->console->begun = true;
	bytes_wipe(&s->password);
	bytes_init(&terminate, 16);
	message_put_empty(&terminate, 'X');
	conn_send(s->server, bytes_view(&terminate));
	bytes_release(&terminate);
	conn_want_read(s->server, false);
	conn_set_owner(s->server, NULL, NULL);
	conn_finish(s->server);
	s->server = NULL;
	console_go_on(s);
}

struct console_row console_row_begin(struct console *c, unsigned n_columns)
{
	struct console_row r = {
		.out = &c->out, .place = message_begin(&c->out, 'D'), .left = n_columns};

	bytes_put_u16(&c->out, (uint16_t)n_columns);
	return r;
}

void console_put_text(struct console_row *r, const char *value)
{
	size_t len = strlen(value);

	bytes_put_u32(r->out, (uint32_t)len);
	bytes_put(r->out, value, len);
	r->left--;
}

void console_put_number(struct console_row *r, uint64_t value)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRIu64, value);
	console_put_text(r, text);
}

void console_put_null(struct console_row *r)
{
	bytes_put_u32(r->out, UINT32_MAX);
	r->left--;
}

void console_row_end(struct console_row *r)
{
	assert(r->left == 0);
	message_end(r->out, r->place);
}

static void put_report(struct console *c, const char *severity, const struct err *e)
{
	struct report report = {.severity = severity, .sqlstate = e->sqlstate, .message = e->text};

	message_put_report(&c->out, &report);
}

void console_notice(struct console *c, const char *text)
{
	struct err e;

	err_set(&e, "00000", "%s", text);
	put_report(c, "NOTICE", &e);
}

/* RowDescription: name, no table, no column, text, variable length, no modifier, text format. */
static void put_description(struct console *c, const struct console_command *command)
{
	unsigned n = 0;
	size_t place;

	while (n < CONSOLE_COLUMNS && command->columns[n])
		n++;
	if (n == 0) {
		message_put_empty(&c->out, 'n');
		return;
	}
	place = message_begin(&c->out, 'T');
	bytes_put_u16(&c->out, (uint16_t)n);
	for (unsigned i = 0; i < n; i++) {
		bytes_put_cstr(&c->out, command->columns[i]);
		bytes_put_u32(&c->out, 0);
		bytes_put_u16(&c->out, 0);
		bytes_put_u32(&c->out, OID_TEXT);
		bytes_put_u16(&c->out, UINT16_MAX);
		bytes_put_u32(&c->out, UINT32_MAX);
		bytes_put_u16(&c->out, 0);
	}
	message_end(&c->out, place);
}

/* One statement; false after an error, which is written. */
static bool run(struct console *c, struct slice text, bool describe)
{
	const struct console_command *command;
	char argument[64];
	struct err e;

	command = console_find(text, argument, sizeof(argument), &e);
	if (!command) {
		put_report(c, "ERROR", &e);
		return false;
	}
	if (describe && command->columns[0])
		put_description(c, command);
	if (command->run && !command->run(c, argument, &e)) {
		put_report(c, "ERROR", &e);
		return false;
	}
	message_put_complete(&c->out, command->tag);
	return true;
}

static void on_query(struct console *c, struct slice body)
{
	static const struct sql_dialect dialect = {0};
	struct statement_iterator it;
	struct statement st;
	struct slice text;
	bool any = false;

	if (!query_decode(body, &text))
		text = slice_of("", 0);
	statement_iterator_init(&it, text, dialect);
	while (statement_next(&it, &st)) {
		if (st.kind == STATEMENT_EMPTY)
			continue;
		any = true;
		if (!run(c, st.text, true))
			break;
	}
	if (!any)
		message_put_empty(&c->out, 'I');
	message_put_ready(&c->out, 'I');
}

static void fail(struct console *c, const char *sqlstate, const char *text)
{
	struct err e;

	err_set(&e, sqlstate, "%s", text);
	put_report(c, "ERROR", &e);
	c->skipping = true;
}

static void set(struct bytes *to, struct slice value)
{
	bytes_clear(to);
	bytes_put_slice(to, value);
}

static void on_parse(struct console *c, struct slice body)
{
	struct parse_message m;

	if (!parse_decode(body, &m)) {
		fail(c, "08P01", "malformed Parse message");
		return;
	}
	set(&c->prepared, m.name);
	set(&c->text, m.query);
	message_put_empty(&c->out, '1');
}

static bool is_prepared(const struct console *c, struct slice name)
{
	return slice_equal(bytes_view(&c->prepared), name);
}

/* The statement that was prepared last is the one that is remembered. */
static void on_bind(struct console *c, struct slice body)
{
	struct bind_message m;

	if (bind_decode(body, &m) && is_prepared(c, m.statement))
		message_put_empty(&c->out, '2');
	else
		fail(c, "26000", "the console remembers the last prepared statement only");
}

static bool is_empty(struct slice text)
{
	static const struct sql_dialect dialect = {0};
	struct statement st;

	return !statement_first(text, dialect, &st);
}

static void on_describe(struct console *c, struct slice body)
{
	const struct console_command *command;
	struct target_message m;
	char argument[64];
	size_t place;
	struct err e;

	if (!target_decode(body, &m) || (m.kind == 'S' && !is_prepared(c, m.name))) {
		fail(c, "26000", "the console remembers the last prepared statement only");
		return;
	}
	if (m.kind == 'S') {
		place = message_begin(&c->out, 't'); /* ParameterDescription: none */
		bytes_put_u16(&c->out, 0);
		message_end(&c->out, place);
	}
	if (is_empty(bytes_view(&c->text))) {
		message_put_empty(&c->out, 'n');
		return;
	}
	command = console_find(bytes_view(&c->text), argument, sizeof(argument), &e);
	if (command)
		put_description(c, command);
	else
		fail(c, e.sqlstate, e.text);
}

static void on_execute(struct console *c)
{
	if (is_empty(bytes_view(&c->text)))
		message_put_empty(&c->out, 'I');
	else if (!run(c, bytes_view(&c->text), false))
		c->skipping = true;
}

/* False: the client ends the session. */
static bool take_message(struct console *c, uint8_t type, struct slice body)
{
	if (type == 'X')
		return false;
	if (type == 'S') {
		c->skipping = false;
		message_put_ready(&c->out, 'I');
		return true;
	}
	if (c->skipping)
		return true;
	switch (type) {
	case 'Q':
		on_query(c, body);
		break;
	case 'P':
		on_parse(c, body);
		break;
	case 'B':
		on_bind(c, body);
		break;
	case 'D':
		on_describe(c, body);
		break;
	case 'E':
		on_execute(c);
		break;
	case 'C':
		message_put_empty(&c->out, '3');
		break;
	case 'H':
	case 'd': /* what is left of a COPY that was refused */
	case 'c':
	case 'f':
		break;
	default:
		fail(c, "08P01", "the console does not know this message");
		break;
	}
	return true;
}

/* The next whole message; false when there is none, or the session has ended. */
static bool step(struct session *s)
{
	struct console *c = s->console;
	struct slice held = bytes_view(&s->up.held);
	struct frame f;
	enum frame_status status = frame_peek(held.data, held.len, &f);
	bool goes_on;

	if (status == FRAME_BAD || (status == FRAME_WHOLE_HEADER && f.size > MAX_MESSAGE)) {
		session_refuse(s, "08P01", "a message to the console is too long, or malformed");
		return false;
	}
	if (status == FRAME_PARTIAL || held.len < f.size)
		return false;
	goes_on = take_message(c, f.type, frame_body(slice_of(held.data, f.size)));
	bytes_consume(&s->up.held, f.size);
	if (!goes_on)
		session_close(s, "the client closed the connection");
	else if (bytes_failed(&c->out))
		session_refuse(s, "53200", "out of memory");
	else
		session_tell(s, &c->out);
	bytes_clear(&c->out);
	return s->state == SESSION_CONSOLE;
}

/* A client that does not read its answers is not listened to meanwhile. */
static void update_reading(struct session *s)
{
	bool room = bytes_length(&s->up.held) <= MAX_MESSAGE &&
		    conn_unsent(s->client) <= CONN_HIGH_WATER;

	if (s->state == SESSION_CONSOLE)
		conn_want_read(s->client, room);
}

void console_go_on(struct session *s)
{
	while (s->console->begun && conn_unsent(s->client) <= CONN_HIGH_WATER && step(s))
		continue;
	if (s->state == SESSION_CONSOLE && bytes_length(&s->up.held) == 0)
		bytes_release(&s->up.held);
	update_reading(s);
}

void console_read_client(struct session *s)
{
	enum conn_read_result r = flow_read(&s->up, s, s->client, NULL, s->worker->buffer);

	if (r == CONN_READ_END || r == CONN_READ_ERROR)
		session_close(s, "the client closed the connection");
	else
		console_go_on(s);
}

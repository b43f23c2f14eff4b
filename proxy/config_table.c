#include "config_table.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"

enum {
	SECOND = 1000, /* milliseconds */
	QUOTED_SIZE = 100
};

static const struct setting_word tls_words[] = {
	{"disable", CLIENT_TLS_DISABLE},
	{"allow", CLIENT_TLS_ALLOW},
	{"require", CLIENT_TLS_REQUIRE},
	{"verify-ca", CLIENT_TLS_VERIFY},
	/* pgbouncer's other names: a client has no host name to be verified */
	{"verify-full", CLIENT_TLS_VERIFY},
	{"prefer", CLIENT_TLS_ALLOW},
	{NULL, 0},
};
static const struct setting_word auth_words[] = {
	{"password", AUTH_PASSWORD}, {"relay", AUTH_RELAY}, {NULL, 0}};
static const struct setting_word allow_words[] = {
	{"local", ALLOW_LOCAL}, {"always", ALLOW_ALWAYS}, {NULL, 0}};
static const struct setting_word native_words[] = {
	{"pass", NATIVE_PASS}, {"guard", NATIVE_GUARD}, {NULL, 0}};
static const struct setting_word conflict_words[] = {{"at_commit", CONFLICT_AT_COMMIT},
	{"inline", CONFLICT_INLINE}, {"error", CONFLICT_ERROR}, {0}};
static const struct setting_word rollback_words[] = {
	{"undo", ROLLBACK_UNDO}, {"keep", ROLLBACK_KEEP}, {0}};
static const struct setting_word notify_words[] = {
	{"notice", NOTIFY_NOTICE}, {"off", NOTIFY_OFF}, {NULL, 0}};
static const struct setting_word format_words[] = {
	{"text", LOG_AS_TEXT}, {"json", LOG_AS_JSON}, {NULL, 0}};
static const struct setting_word time_words[] = {
	{"auto", LOG_TIME_AUTO}, {"on", LOG_TIME_ON}, {"off", LOG_TIME_OFF}, {NULL, 0}};
static const struct setting_word level_words[] = {
	{"error", 0}, {"warning", 0}, {"info", 0}, {"debug", 0}, {NULL, 0}};

_Static_assert(sizeof(enum config_allow) == sizeof(unsigned), "a word is stored as unsigned");

#define AT(field) .name = #field, .offset = offsetof(struct config, field)
#define STRING(field, shown) AT(field), .kind = SETTING_STRING, .placeholder = (shown)
#define NUMBER(field, low, high) \
	AT(field), .kind = SETTING_NUMBER, .lowest = (low), .highest = (high)
/* Milliseconds, and seconds if the value is a plain number. */
#define TIMEOUT(key)                                                                     \
	.name = #key, .offset = offsetof(struct config, key##_ms), .kind = SETTING_TIME, \
	.highest = INT_MAX, .plain_ms = SECOND, .field_ms = 1
/* Milliseconds, also if it is a plain number: as PostgreSQL and the kernel have it. */
#define TIMEOUT_MS(key)                                                                  \
	.name = #key, .offset = offsetof(struct config, key##_ms), .kind = SETTING_TIME, \
	.highest = INT_MAX, .plain_ms = 1, .field_ms = 1
#define SECONDS(field, high) \
	AT(field), .kind = SETTING_TIME, .highest = (high), .plain_ms = SECOND, .field_ms = SECOND
#define WORD(field, list) AT(field), .kind = SETTING_WORD, .words = (list)
#define BOOL(field) AT(field), .kind = SETTING_BOOL

/* Keys that pgbouncer has too, mean the same and count in the same unit. */
const struct setting setting_table[] = {
	{STRING(upstream, "URL"), .initial = "",
		.help = "the PostgreSQL server: a libpq connection URI or keyword string"},
	{STRING(aside_upstream, "URL"), .initial = "",
		.help = "where asides connect, if upstream is a pooler; empty: upstream"},
	{STRING(listen_addr, "ADDRESSES"), .initial = "127.0.0.1", .fixed = true,
		.help = "TCP addresses to listen on, comma separated; empty: none"},
	{AT(listen_port), .kind = SETTING_PORT, .initial = "6432", .highest = UINT16_MAX,
		.fixed = true, .help = "TCP port; 0: any free one"},
	{STRING(unix_socket_dir, "DIRECTORY"), .initial = "", .fixed = true,
		.help = "also listen on a unix socket in this directory; empty: no"},
	{BOOL(so_reuseport), .initial = "off", .fixed = true,
		.help = "let another pgaside listen on the same port, which then takes over"},
	{STRING(pidfile, "FILE"), .initial = "", .fixed = true,
		.help = "write the process id there, and start only if no other process has it"},
	{STRING(http_listen_addr, "ADDRESS"), .initial = "", .fixed = true,
		.help = "where a page with what is running, metrics and health are served over "
			"HTTP; "
			"empty: 127.0.0.1, if http_listen_port is set"},
	{AT(http_listen_port), .kind = SETTING_PORT, .initial = "0", .highest = UINT16_MAX,
		.fixed = true,
		.help = "its port; 0: any free one, if http_listen_addr is set, else no HTTP"},
	{NUMBER(workers, 0, 64), .initial = "0", .fixed = true,
		.help = "worker threads; 0: one for two CPUs, at most 4"},

	{STRING(admin_users, "NAMES"), .initial = "",
		.help = "who may use the admin console, the database \"pgaside\"; comma separated; "
			"empty: nobody, and there is no console"},
	{WORD(client_tls_sslmode, tls_words), .initial = "disable",
		.help = "TLS between client and pgaside"},
	{STRING(client_tls_key_file, "FILE"), .initial = "", .help = "private key for it (PEM)"},
	{STRING(client_tls_cert_file, "FILE"), .initial = "", .help = "certificate for it (PEM)"},
	{STRING(client_tls_ca_file, "FILE"), .initial = "",
		.help = "authority of clients' certificates, for verify-ca (PEM)"},

	{WORD(auth, auth_words), .initial = "password",
		.help = "password: pgaside asks the client and answers the server; "
			"relay: the server authenticates the client, message by message"},
	{WORD(allow_cleartext, allow_words), .initial = "local",
		.help = "who is asked for a password in clear; "
			"local: clients on loopback, a unix socket or TLS"},
	{WORD(allow_passwordless, allow_words), .initial = "local",
		.help = "who may use an upstream that asks for no password; "
			"local: clients on loopback or a unix socket"},

	{NUMBER(max_client_conn, 1, 1000000), .initial = "1000", .help = "most sessions at a time"},
	{TIMEOUT(client_login_timeout), .initial = "60s",
		.help = "a client must have logged in by then; 0: no limit"},
	{TIMEOUT(server_connect_timeout), .initial = "15s",
		.help = "the upstream must have answered by then; 0: no limit"},
	{AT(max_statement_size), .kind = SETTING_SIZE, .initial = "64MB", .lowest = 1024,
		.highest = 1024 * 1024 * 1024, .help = "longer statements are passed on unread"},

	{BOOL(aside), .initial = "on", .help = "off: pass everything on, take nothing aside"},
	{WORD(native, native_words), .initial = "pass",
		.help = "such a statement outside of a transaction; guard: repair, watch, verify "
			"and "
			"clean up there, too"},
	{WORD(conflict, conflict_words), .initial = "at_commit",
		.help = "a statement that its own transaction is in the way of: run it after "
			"COMMIT, "
			"run it without CONCURRENTLY, or refuse it"},
	{WORD(on_rollback, rollback_words), .initial = "undo",
		.help = "an index made during a transaction that does not commit: drop it, or keep "
			"it"},
	{BOOL(repair_invalid), .initial = "on",
		.help = "drop an INVALID index that has the name and table of the one to be made"},
	{NUMBER(aside_retries, 0, 10), .initial = "3",
		.help = "further tries after a lock timeout or a deadlock"},
	{TIMEOUT(undo_timeout), .initial = "30s",
		.help = "how long the answer to ROLLBACK or COMMIT waits for such indexes to be "
			"dropped"},
	{WORD(notify, notify_words), .initial = "notice",
		.help = "whether a NOTICE tells the client where a statement ran"},
	{TIMEOUT(progress_interval), .initial = "0",
		.help = "how often a NOTICE tells the client how far its statement is; 0: never"},
	{TIMEOUT_MS(aside_lock_timeout), .initial = "0",
		.help = "lock_timeout of asides; 0: that of the session"},
	{TIMEOUT_MS(aside_statement_timeout), .initial = "0",
		.help = "statement_timeout of asides; 0: that of the session"},
	{TIMEOUT(aside_idle_timeout), .initial = "1s",
		.help = "how long the connections of an aside wait for the session's next one"},
	{TIMEOUT(cleanup_timeout), .initial = "30s",
		.help = "how long a client waits for the clean-up after a failed aside"},
	{TIMEOUT(shutdown_timeout), .initial = "60s",
		.help = "how long SIGTERM lets running asides finish"},

	{BOOL(tcp_keepalive), .initial = "on", .help = "TCP keepalives on both legs"},
	{SECONDS(tcp_keepidle, 32767), .initial = "0",
		.help = "idle time before the first keepalive; 0: the system's"},
	{SECONDS(tcp_keepintvl, 32767), .initial = "0",
		.help = "time between keepalives; 0: the system's"},
	{NUMBER(tcp_keepcnt, 0, 127), .initial = "0",
		.help = "lost keepalives that end a connection; 0: the system's"},
	{TIMEOUT_MS(tcp_user_timeout), .initial = "0",
		.help = "how long sent data may stay unacknowledged; 0: the system's"},

	{BOOL(log_connections), .initial = "on", .help = "log every log-in"},
	{BOOL(log_disconnections), .initial = "on", .help = "log every end of a session"},
	{WORD(log_format, format_words), .initial = "text",
		.help = "how a line of the log is written"},
	{WORD(log_timestamps, time_words), .initial = "auto",
		.help = "whether a line of the log begins with the time; auto: unless it goes to "
			"the "
			"journal"},
	{AT(log_level), .kind = SETTING_WORD_STRING, .words = level_words, .initial = "info",
		.help = "what is logged, to standard error"},
};

const size_t setting_count = sizeof(setting_table) / sizeof(setting_table[0]);

const struct setting *setting_find(const char *name, size_t len)
{
	for (size_t i = 0; i < setting_count; i++)
		if (strlen(setting_table[i].name) == len &&
			memcmp(setting_table[i].name, name, len) == 0)
			return &setting_table[i];
	return NULL;
}

bool config_set_string(char **field, const char *value)
{
	char *copy = strdup(value);

	if (!copy)
		return false;
	if (*field)
		explicit_bzero(*field, strlen(*field));
	free(*field);
	*field = copy;
	return true;
}

static bool is_string(const struct setting *s)
{
	return s->kind == SETTING_STRING || s->kind == SETTING_WORD_STRING;
}

static size_t field_size(const struct setting *s)
{
	switch (s->kind) {
	case SETTING_STRING:
	case SETTING_WORD_STRING:
		return sizeof(char *);
	case SETTING_PORT:
		return sizeof(uint16_t);
	case SETTING_SIZE:
		return sizeof(size_t);
	case SETTING_BOOL:
		return sizeof(bool);
	case SETTING_NUMBER:
	case SETTING_TIME:
	case SETTING_WORD:
		return sizeof(unsigned);
	}
	return 0;
}

bool setting_is_same(const struct setting *s, const struct config *a, const struct config *b)
{
	const void *in_a = (const char *)a + s->offset, *in_b = (const char *)b + s->offset;

	if (is_string(s))
		return strcmp(*(char *const *)in_a, *(char *const *)in_b) == 0;
	return memcmp(in_a, in_b, field_size(s)) == 0;
}

bool setting_copy(const struct setting *s, struct config *to, const struct config *from)
{
	void *field = (char *)to + s->offset;
	const void *value = (const char *)from + s->offset;

	if (is_string(s))
		return config_set_string(field, *(char *const *)value);
	memcpy(field, value, field_size(s));
	return true;
}

static bool set_unsigned(void *field, unsigned value)
{
	memcpy(field, &value, sizeof(value));
	return true;
}

/* The digits at `*text`, which moves behind them. False when there are none, or too many. */
static bool read_digits(const char **text, uint64_t *n)
{
	const char *start = *text;

	*n = 0;
	for (; **text >= '0' && **text <= '9'; (*text)++) {
		if (*n > UINT64_MAX / 100)
			return false;
		*n = *n * 10 + (uint64_t)(**text - '0');
	}
	return *text != start;
}

struct unit {
	const char *name;
	uint64_t factor;
};

/* A number and a unit of the list, with blanks between if one likes, as a count of what has factor
 * 1. */
static bool read_quantity(const char *text, const struct unit *units, uint64_t plain, uint64_t *n)
{
	uint64_t factor = plain;

	if (!read_digits(&text, n))
		return false;
	text += strspn(text, " ");
	if (*text) {
		while (units->name && strcasecmp(units->name, text) != 0)
			units++;
		if (!units->name)
			return false;
		factor = units->factor;
	}
	if (*n > UINT64_MAX / factor)
		return false;
	*n *= factor;
	return true;
}

static bool within(const struct setting *s, uint64_t n)
{
	return n >= s->lowest && n <= s->highest;
}

static bool set_number(const struct setting *s, void *field, const char *value)
{
	uint64_t n;

	if (!read_digits(&value, &n) || *value || !within(s, n))
		return false;
	if (s->kind == SETTING_PORT)
		memcpy(field, &(uint16_t){(uint16_t)n}, sizeof(uint16_t));
	else
		set_unsigned(field, (unsigned)n);
	return true;
}

static bool set_size(const struct setting *s, void *field, const char *value)
{
	static const struct unit units[] = {{"B", 1}, {"kB", 1 << 10}, {"KiB", 1 << 10},
		{"MB", 1 << 20}, {"MiB", 1 << 20}, {"GB", 1 << 30}, {"GiB", 1 << 30}, {NULL, 0}};
	uint64_t n;

	if (!read_quantity(value, units, 1, &n) || !within(s, n))
		return false;
	memcpy(field, &(size_t){n}, sizeof(size_t));
	return true;
}

static bool set_time(const struct setting *s, void *field, const char *value)
{
	static const struct unit units[] = {{"ms", 1}, {"s", SECOND}, {"min", 60 * SECOND},
		{"h", 3600 * SECOND}, {"d", 86400 * SECOND}, {NULL, 0}};
	uint64_t ms;

	if (!read_quantity(value, units, s->plain_ms, &ms) || ms % s->field_ms != 0 ||
		!within(s, ms / s->field_ms))
		return false;
	return set_unsigned(field, (unsigned)(ms / s->field_ms));
}

static bool set_bool(void *field, const char *value)
{
	static const char *const words[] = {"off", "on", "false", "true", "no", "yes", "0", "1"};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (strcasecmp(words[i], value) == 0) {
			memcpy(field, &(bool){i % 2 == 1}, sizeof(bool));
			return true;
		}
	}
	return false;
}

static const struct setting_word *find_word(const struct setting *s, const char *value)
{
	for (const struct setting_word *w = s->words; w->name; w++)
		if (strcmp(w->name, value) == 0)
			return w;
	return NULL;
}

static bool set_field(const struct setting *s, void *field, const char *value)
{
	const struct setting_word *word;

	switch (s->kind) {
	case SETTING_STRING:
		return config_set_string(field, value);
	case SETTING_PORT:
	case SETTING_NUMBER:
		return set_number(s, field, value);
	case SETTING_SIZE:
		return set_size(s, field, value);
	case SETTING_TIME:
		return set_time(s, field, value);
	case SETTING_BOOL:
		return set_bool(field, value);
	case SETTING_WORD:
		word = find_word(s, value);
		return word && set_unsigned(field, word->value);
	case SETTING_WORD_STRING:
		return find_word(s, value) && config_set_string(field, value);
	}
	return false;
}

/* What a value of this setting should have been. */
static void describe(const struct setting *s, char *out, size_t size)
{
	size_t len;

	switch (s->kind) {
	case SETTING_STRING:
		snprintf(out, size, "stored: out of memory");
		return;
	case SETTING_PORT:
		snprintf(out, size, "a port (0 to 65535)");
		return;
	case SETTING_NUMBER:
		snprintf(out, size, "a number from %" PRIu64 " to %" PRIu64, s->lowest, s->highest);
		return;
	case SETTING_SIZE:
		snprintf(out, size,
			"a size from %" PRIu64 " to %" PRIu64 " bytes (units: B, kB, MB, GB)",
			s->lowest, s->highest);
		return;
	case SETTING_TIME:
		snprintf(out, size,
			"a time from %" PRIu64 " to %" PRIu64
			" %s (units: ms, s, min, h, d; a plain number counts %s)",
			s->lowest, s->highest, s->field_ms == 1 ? "ms" : "s",
			s->plain_ms == 1 ? "milliseconds" : "seconds");
		return;
	case SETTING_BOOL:
		snprintf(out, size, "on or off");
		return;
	case SETTING_WORD:
	case SETTING_WORD_STRING:
		len = (size_t)snprintf(out, size, "one of");
		for (const struct setting_word *w = s->words; w->name && len < size; w++)
			len += (size_t)snprintf(
				out + len, size - len, "%s%s", w == s->words ? " " : ", ", w->name);
		return;
	}
}

bool setting_set(struct config *c, const struct setting *s, const char *value, const char *place,
	struct err *e)
{
	char quoted[QUOTED_SIZE], wanted[200];

	if (set_field(s, (char *)c + s->offset, value))
		return true;
	describe(s, wanted, sizeof(wanted));
	log_quote(quoted, sizeof(quoted), value, (unsigned)strlen(value));
	return err_set(e, "F0000", "%s: %s is not %s", place, quoted, wanted);
}

const char *setting_text(const struct setting *s, const struct config *c, char *out, size_t size)
{
	const void *field = (const char *)c + s->offset;
	const struct setting_word *word = s->words;

	switch (s->kind) {
	case SETTING_STRING:
	case SETTING_WORD_STRING:
		snprintf(out, size, "%s", *(char *const *)field);
		break;
	case SETTING_PORT:
		snprintf(out, size, "%u", *(const uint16_t *)field);
		break;
	case SETTING_NUMBER:
		snprintf(out, size, "%u", *(const unsigned *)field);
		break;
	case SETTING_SIZE:
		snprintf(out, size, "%zu", *(const size_t *)field);
		break;
	case SETTING_TIME:
		snprintf(out, size, "%u%s", *(const unsigned *)field,
			s->field_ms == SECOND ? "s" : "ms");
		break;
	case SETTING_BOOL:
		snprintf(out, size, "%s", *(const bool *)field ? "on" : "off");
		break;
	case SETTING_WORD:
		while (word->name && word->value != *(const unsigned *)field)
			word++;
		snprintf(out, size, "%s", word->name ? word->name : "");
		break;
	}
	return out;
}

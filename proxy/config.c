#include "config.h"

#include <errno.h>
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config_table.h"

enum {
	MAX_INI_LINE = 65536,
	MAX_AUTO_WORKERS = 4,
	NAME_SIZE = 64
};

static const char bad_setting[] = "F0000"; /* config_file_error */
static const char variable_prefix[] = "PGASIDE_";

/* The strings that are no settings, and those that are, by offset. */
static char **string_field(struct config *c, const struct setting *s)
{
	return s->kind == SETTING_STRING || s->kind == SETTING_WORD_STRING
		       ? (char **)(void *)((char *)c + s->offset)
		       : NULL;
}

bool config_try_init(struct config *c, struct err *e)
{
	bool ok;

	memset(c, 0, sizeof(*c));
	ok = config_set_string(&c->private_password, "") &&
	     config_set_string(&c->server_password, "");
	for (size_t i = 0; ok && i < setting_count; i++)
		ok = setting_set(
			c, &setting_table[i], setting_table[i].initial, setting_table[i].name, e);
	return ok || err_set(e, "53200", "out of memory");
}

void config_init(struct config *c)
{
	struct err e;

	if (config_try_init(c, &e))
		return;
	fprintf(stderr, "pgaside: %s\n", e.text);
	exit(EXIT_FAILURE);
}

static void release_string(char **field)
{
	if (*field)
		explicit_bzero(*field, strlen(*field));
	free(*field);
	*field = NULL;
}

void config_release(struct config *c)
{
	release_string(&c->private_password);
	release_string(&c->server_password);
	for (size_t i = 0; i < setting_count; i++) {
		char **field = string_field(c, &setting_table[i]);

		if (field)
			release_string(field);
	}
}

struct ini_file {
	struct config *config; /* borrowed */
	const char *path;      /* borrowed */
	FILE *stream;	       /* owned */
	unsigned line;
	bool line_is_over; /* the next piece read begins another line */
	bool failed;
	struct err *e;
};

/* fgets, counting lines; inih asks for long ones in pieces. */
static char *read_line(char *buffer, int size, void *arg)
{
	struct ini_file *f = arg;
	char *piece = fgets(buffer, size, f->stream);

	if (piece) {
		f->line += f->line_is_over;
		f->line_is_over = strchr(piece, '\n') != NULL;
	}
	return piece;
}

static bool take_pair(struct ini_file *f, const char *section, const char *name, const char *value)
{
	const struct setting *s = setting_find(name, strlen(name));
	char place[512];

	if (*section && strcmp(section, "pgaside") != 0)
		return err_set(f->e, bad_setting, "%s:%u: unknown section [%s]", f->path, f->line,
			section);
	if (!s)
		return err_set(
			f->e, bad_setting, "%s:%u: unknown setting \"%s\"", f->path, f->line, name);
	snprintf(place, sizeof(place), "%s:%u: %s", f->path, f->line, name);
	return setting_set(f->config, s, value, place, f->e);
}

/* Called by inih: 0 stops it. */
static int on_pair(void *arg, const char *section, const char *name, const char *value)
{
	struct ini_file *f = arg;

	if (!f->failed)
		f->failed = !take_pair(f, section, name, value);
	return !f->failed;
}

/* Values may be as long as URLs are, and hold semicolons. */
static void set_up_inih(void)
{
	ini_use_stack = false;
	ini_allow_realloc = true;
	ini_max_line = MAX_INI_LINE;
	ini_allow_multiline = false;
	ini_allow_inline_comments = false;
	ini_stop_on_first_error = true;
}

bool config_read_file(struct config *c, const char *path, struct err *e)
{
	struct ini_file f = {.config = c, .path = path, .line_is_over = true, .e = e};
	int bad_line;
	bool readable;

	f.stream = fopen(path, "re");
	if (!f.stream)
		return err_set(e, bad_setting, "%s: %s", path, strerror(errno));
	set_up_inih();
	bad_line = ini_parse_stream(read_line, &f, on_pair, &f);
	readable = !ferror(f.stream);
	if (!readable)
		err_set(e, bad_setting, "%s: %s", path, strerror(errno));
	fclose(f.stream);
	if (!readable || f.failed)
		return false;
	if (bad_line < 0)
		return err_set(e, bad_setting, "%s: out of memory", path);
	if (bad_line > 0)
		return err_set(e, bad_setting, "%s:%u: neither \"key = value\" nor a comment", path,
			f.line);
	return true;
}

/* How a character of a setting's name is written in a variable or a flag. */
static char spelled(char c, bool variable)
{
	if (c == '_')
		return variable ? '_' : '-';
	return variable && c >= 'a' && c <= 'z' ? (char)(c - ('a' - 'A')) : c;
}

static const struct setting *find_spelled(const char *text, size_t len, bool variable)
{
	for (size_t i = 0; i < setting_count; i++) {
		const char *name = setting_table[i].name;
		size_t at = 0;

		while (at < len && name[at] && spelled(name[at], variable) == text[at])
			at++;
		if (at == len && !name[at])
			return &setting_table[i];
	}
	return NULL;
}

static bool take_variable(struct config *c, const char *variable, struct err *e)
{
	size_t prefix = strlen(variable_prefix);
	size_t len = strcspn(variable, "=");
	const struct setting *s = find_spelled(variable + prefix, len - prefix, true);
	char place[sizeof(variable_prefix) + NAME_SIZE];

	if (!s)
		return err_set(e, bad_setting, "%.*s: there is no setting for this variable",
			(int)len, variable);
	snprintf(place, sizeof(place), "%.*s", (int)len, variable);
	return setting_set(c, s, variable + len + (variable[len] == '='), place, e);
}

/* What Kubernetes tells each container of a Service called pgaside. */
static bool is_of_a_service(const char *variable)
{
	static const char *const names[] = {
		"PGASIDE_PORT=", "PGASIDE_PORT_", "PGASIDE_SERVICE_HOST=", "PGASIDE_SERVICE_PORT"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strncmp(variable, names[i], strlen(names[i])) == 0)
			return true;
	return false;
}

bool config_read_environment(struct config *c, char *const *environment, struct err *e)
{
	for (; *environment; environment++)
		if (strncmp(*environment, variable_prefix, strlen(variable_prefix)) == 0 &&
			!is_of_a_service(*environment) && !take_variable(c, *environment, e))
			return false;
	return true;
}

int config_read_flag(struct config *c, int argc, char *const *argv, int at, struct err *e)
{
	const char *flag = argv[at];
	size_t len = strcspn(flag, "=");
	const char *value = flag[len] ? flag + len + 1 : NULL;
	const struct setting *s = NULL;
	char place[NAME_SIZE + 2];

	if (strncmp(flag, "--", 2) == 0)
		s = find_spelled(flag + 2, len - 2, false);
	if (!s) {
		err_set(e, bad_setting, "unknown flag %.*s", (int)len, flag);
		return 0;
	}
	if (!value) {
		at++;
		value = at < argc && strncmp(argv[at], "--", 2) != 0 ? argv[at] : NULL;
	}
	if (!value) {
		err_set(e, bad_setting, "%.*s: needs a value", (int)len, flag);
		return 0;
	}
	snprintf(place, sizeof(place), "%.*s", (int)len, flag);
	return setting_set(c, s, value, place, e) ? at + 1 : 0;
}

int config_read_arguments(struct config *c, int argc, char *const *argv, struct err *e)
{
	int at = 1;

	while (at < argc && argv[at][0] == '-') {
		if (strcmp(argv[at], "--") == 0)
			return at + 1;
		at = config_read_flag(c, argc, argv, at, e);
		if (at == 0)
			return 0;
	}
	return at;
}

bool config_check(const struct config *c, struct err *e)
{
	bool key = *c->client_tls_key_file, certificate = *c->client_tls_cert_file;

	if (!*c->upstream)
		return err_set(e, bad_setting,
			"upstream is not set: give --upstream, PGASIDE_UPSTREAM or a file with "
			"\"upstream = ...\"");
	if (!*c->listen_addr && !*c->unix_socket_dir)
		return err_set(e, bad_setting,
			"listen_addr and unix_socket_dir are both empty: nothing to listen on");
	if (c->client_tls_sslmode != CLIENT_TLS_DISABLE && (!key || !certificate))
		return err_set(e, bad_setting,
			"client_tls_sslmode needs client_tls_key_file and client_tls_cert_file");
	if (c->client_tls_sslmode == CLIENT_TLS_DISABLE && (key || certificate))
		return err_set(e, bad_setting,
			"client_tls_key_file and client_tls_cert_file need client_tls_sslmode = "
			"allow or require");
	if ((c->client_tls_sslmode == CLIENT_TLS_VERIFY) != (*c->client_tls_ca_file != '\0'))
		return err_set(e, bad_setting,
			"client_tls_sslmode = verify-ca and client_tls_ca_file need each other");
	return true;
}

void config_keep_fixed(struct config *c, const struct config *running,
	void (*told)(const char *name, void *arg), void *arg)
{
	for (size_t i = 0; i < setting_count; i++) {
		const struct setting *s = &setting_table[i];

		if (!s->fixed || setting_is_same(s, c, running))
			continue;
		told(s->name, arg);
		setting_copy(s, c, running);
	}
}

unsigned config_workers(const struct config *c)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	if (c->workers > 0)
		return c->workers;
	/* PostgreSQL has more to do for a message than we have. One worker with twice the sessions
	 * finds more of them ready each time that it wakes up. */
	if (cpus < 4)
		return 1;
	return cpus / 2 < MAX_AUTO_WORKERS ? (unsigned)cpus / 2 : MAX_AUTO_WORKERS;
}

static void print_flag(const struct setting *s)
{
	fputs("  --", stdout);
	for (const char *c = s->name; *c; c++)
		putchar(*c == '_' ? '-' : *c);
	putchar(' ');
}

static void print_words(const struct setting *s)
{
	for (const struct setting_word *w = s->words; w->name; w++)
		printf("%s%s", w == s->words ? "" : "|", w->name);
}

static void print_value(const struct setting *s)
{
	switch (s->kind) {
	case SETTING_STRING:
		fputs(s->placeholder, stdout);
		return;
	case SETTING_PORT:
		fputs("PORT", stdout);
		return;
	case SETTING_NUMBER:
		fputs("NUMBER", stdout);
		return;
	case SETTING_SIZE:
		fputs("SIZE (bytes, or with kB, MB, GB)", stdout);
		return;
	case SETTING_TIME:
		printf("TIME (%s, or with ms, s, min, h, d)",
			s->plain_ms == 1 ? "milliseconds" : "seconds");
		return;
	case SETTING_BOOL:
		fputs("on|off", stdout);
		return;
	case SETTING_WORD:
	case SETTING_WORD_STRING:
		print_words(s);
		return;
	}
}

void config_print_help(void)
{
	for (size_t i = 0; i < setting_count; i++) {
		const struct setting *s = &setting_table[i];

		print_flag(s);
		print_value(s);
		printf("\n        %s%s%s%s%s\n", s->help, *s->initial ? " (default " : "",
			s->initial, *s->initial ? ")" : "", s->fixed ? "; needs a restart" : "");
	}
}

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config.h"
#include "log.h"
#include "pq.h"
#include "run.h"
#include "server.h"
#include "url.h"
#include "version.h"

/* The flags that are no settings. */
struct options {
	const char *config_path; /* borrowed from argv, as all here; NULL = none */
	const char **names;	 /* owned; of --env */
	size_t n_names;
	bool is_run;
	bool help;
	int rest; /* the first word behind the flags */
};

static int fail(const struct err *e)
{
	fprintf(stderr, "pgaside: %s\n", e->text);
	return EXIT_USAGE;
}

static void print_usage(FILE *to)
{
	fputs("pgaside - CREATE INDEX CONCURRENTLY in migrations that run in a transaction\n"
	      "\n"
	      "  pgaside run [flags] [--] COMMAND ...\n"
	      "        run COMMAND with DATABASE_URL leading through a private pgaside\n"
	      "  pgaside serve [flags]\n"
	      "        serve everybody who comes to listen_addr and listen_port\n"
	      "  pgaside --version\n"
	      "\n"
	      "`pgaside run --help` and `pgaside serve --help` name the flags.\n",
		to);
}

static void print_command_help(bool is_run)
{
	if (is_run)
		fputs("pgaside run [flags] [--] COMMAND ...\n"
		      "\n"
		      "Runs COMMAND with DATABASE_URL and the PG* variables leading through a "
		      "pgaside\n"
		      "of its own, on a free port of 127.0.0.1, and ends with COMMAND's exit "
		      "status.\n"
		      "The server is the one of DATABASE_URL, unless --upstream names it.\n"
		      "listen_* and client_tls_* are without effect here.\n"
		      "\n"
		      "  --env NAME\n"
		      "        another variable that holds a URL of the same server (repeatable)\n",
			stdout);
	else
		fputs("pgaside serve [flags]\n"
		      "\n"
		      "Serves until SIGTERM (running asides may finish) or SIGINT (at once).\n"
		      "\n",
			stdout);
	fputs("  --config FILE\n"
	      "        read settings from this file; see pgaside.ini\n"
	      "\n"
	      "Every setting is a flag, a variable (PGASIDE_LISTEN_PORT for --listen-port) and a\n"
	      "key of the file (listen_port):\n"
	      "\n",
		stdout);
	config_print_help();
}

/* A flag of ours that takes a value: its value; NULL if it is not `name`, or `e` filled. */
static const char *own_value(const char *name, int argc, char *const *argv, int *at, bool *missing)
{
	size_t len = strlen(name);
	const char *word = argv[*at];

	if (strncmp(word, name, len) != 0 || (word[len] && word[len] != '='))
		return NULL;
	if (word[len])
		return word + len + 1;
	if (*at + 1 < argc && argv[*at + 1][0] != '-')
		return argv[++*at];
	*missing = true;
	return NULL;
}

/* One flag at argv[at]: the index behind it, 0 on error. */
static int read_flag(
	struct options *o, struct config *c, int argc, char *const *argv, int at, struct err *e)
{
	bool missing = false;
	const char *value;

	if (strcmp(argv[at], "--help") == 0 || strcmp(argv[at], "-h") == 0) {
		o->help = true;
		return at + 1;
	}
	if ((value = own_value("--config", argc, argv, &at, &missing))) {
		o->config_path = value;
		return at + 1;
	}
	if (!missing && o->is_run && (value = own_value("--env", argc, argv, &at, &missing))) {
		o->names[o->n_names++] = value;
		return at + 1;
	}
	if (missing) {
		err_set(e, "F0000", "%s: needs a value", argv[at]);
		return 0;
	}
	return config_read_flag(c, argc, argv, at, e);
}

/* Reads the flags behind the command's name into `o` and `c`. */
static bool read_flags(
	struct options *o, struct config *c, int argc, char *const *argv, struct err *e)
{
	int at = 2;

	o->n_names = 0;
	while (at < argc && argv[at][0] == '-' && !o->help) {
		if (strcmp(argv[at], "--") == 0) {
			at++;
			break;
		}
		at = read_flag(o, c, argc, argv, at, e);
		if (at == 0)
			return false;
	}
	o->rest = at;
	return true;
}

/* Flags are read twice: they say which file is read before they are heard. */
static bool load(struct options *o, struct config *c, int argc, char *const *argv, struct err *e)
{
	struct config scratch;
	bool ok;

	config_init(&scratch);
	ok = read_flags(o, &scratch, argc, argv, e);
	config_release(&scratch);
	if (!ok || o->help)
		return ok;
	if (o->config_path && !config_read_file(c, o->config_path, e))
		return false;
	return config_read_environment(c, environ, e) && read_flags(o, c, argc, argv, e);
}

/* A URL as drivers have them becomes one that libpq can read. */
static bool make_readable(char **setting, const char *name, struct err *e)
{
	struct err why;
	char *readable;
	bool ok;

	if (!**setting)
		return true;
	readable = url_to_upstream(*setting, environ, &why);
	if (!readable)
		return err_set(e, "F0000", "%s %s", name, why.text);
	ok = config_set_string(setting, readable);
	explicit_bzero(readable, strlen(readable));
	free(readable);
	return ok || err_set(e, "53200", "out of memory");
}

static void set_log_level(const struct config *c)
{
	enum log_level level;

	if (log_level_from_name(c->log_level, &level))
		log_set_level(level);
}

static void on_signal(struct server *s, int signo, void *arg)
{
	const struct config *c = arg;

	switch (signo) {
	case SIGTERM:
		log_event(LOG_LEVEL_INFO, "stopping", "signal=SIGTERM grace_ms=%u",
			c->shutdown_timeout_ms);
		server_stop(s, c->shutdown_timeout_ms);
		break;
	case SIGINT:
		log_event(LOG_LEVEL_INFO, "stopping", "signal=SIGINT grace_ms=0");
		server_stop(s, 0);
		break;
	case SIGHUP:
		log_event(LOG_LEVEL_WARNING, "reload",
			"reason=\"settings cannot be changed while pgaside runs\"");
		break;
	default:
		break;
	}
}

static int serve(struct config *c, const struct options *o, char *const *argv)
{
	struct server *s;
	struct err e;

	if (argv[o->rest]) {
		err_set(&e, "F0000", "serve: unexpected word \"%s\"", argv[o->rest]);
		return fail(&e);
	}
	if (!config_check(c, &e) || !make_readable(&c->upstream, "upstream", &e))
		return fail(&e);
	signal(SIGPIPE, SIG_IGN);
	pq_forget_environment();
	s = server_new(c, &e);
	if (!s) {
		fail(&e);
		return EXIT_FAILURE;
	}
	server_loop(s, on_signal, c);
	server_free(s);
	return EXIT_SUCCESS;
}

static int run(struct config *c, const struct options *o, char *const *argv)
{
	struct run_command command = {
		.argv = argv + o->rest,
		.names = o->names,
		.n_names = o->n_names,
		.environment = environ,
	};
	struct err e;

	if (!*command.argv) {
		err_set(&e, "F0000", "run: which command? pgaside run [flags] -- COMMAND ...");
		return fail(&e);
	}
	return run_command(c, &command);
}

static int start(struct options *o, int argc, char *const *argv)
{
	struct config c;
	struct err e;
	int status;

	config_init(&c);
	if (o->is_run) {
		/* The command's own output matters here. */
		c.log_connections = false;
		c.log_disconnections = false;
	}
	if (!load(o, &c, argc, argv, &e)) {
		status = fail(&e);
	} else if (o->help) {
		print_command_help(o->is_run);
		status = EXIT_SUCCESS;
	} else if (!make_readable(&c.aside_upstream, "aside_upstream", &e)) {
		status = fail(&e);
	} else {
		set_log_level(&c);
		c.workers = config_workers(&c);
		status = o->is_run ? run(&c, o, argv) : serve(&c, o, argv);
	}
	config_release(&c);
	return status;
}

int main(int argc, char **argv)
{
	const char *word = argc > 1 ? argv[1] : "";
	struct options o = {.is_run = strcmp(word, "run") == 0};
	int status;

	if (strcmp(word, "--version") == 0) {
		puts("pgaside " PGASIDE_VERSION);
		return EXIT_SUCCESS;
	}
	if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
		print_usage(stdout);
		return EXIT_SUCCESS;
	}
	if (!o.is_run && strcmp(word, "serve") != 0) {
		if (*word)
			fprintf(stderr, "pgaside: there is no command \"%s\"; see pgaside --help\n",
				word);
		else
			fputs("pgaside: which command? See pgaside --help\n", stderr);
		return EXIT_USAGE;
	}
	o.names = calloc((size_t)argc, sizeof(*o.names));
	if (!o.names) {
		fputs("pgaside: out of memory\n", stderr);
		return EXIT_FAILURE;
	}
	status = start(&o, argc, argv);
	free(o.names);
	return status;
}

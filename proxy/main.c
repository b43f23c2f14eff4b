#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "config.h"
#include "indexes.h"
#include "log.h"
#include "pidfile.h"
#include "pq.h"
#include "run.h"
#include "server.h"
#include "service.h"
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
	int argc;
	char *const *argv;
	char **environment; /* owned: the variables as pgaside was started with; strings borrowed */
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
	      "  pgaside check [flags] FILE.sql ...\n"
	      "        say what would become of each statement, without a server\n"
	      "  pgaside indexes [flags] [URL]\n"
	      "        list INVALID indexes, tell leftovers from builds, repair them\n"
	      "  pgaside --version\n"
	      "\n"
	      "`pgaside COMMAND --help` names the flags.\n",
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
		      "listen_*, client_tls_*, auth and pidfile are without effect here.\n"
		      "\n"
		      "  --env NAME\n"
		      "        another variable that holds a URL of the same server (repeatable)\n",
			stdout);
	else
		fputs("pgaside serve [flags]\n"
		      "\n"
		      "Serves until SIGTERM (running asides may finish) or SIGINT (at once).\n"
		      "SIGHUP reads settings and certificates again, for new sessions.\n"
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
static bool read_flags(struct options *o, struct config *c, struct err *e)
{
	int at = 2;

	o->n_names = 0;
	while (at < o->argc && o->argv[at][0] == '-' && !o->help) {
		if (strcmp(o->argv[at], "--") == 0) {
			at++;
			break;
		}
		at = read_flag(o, c, o->argc, o->argv, at, e);
		if (at == 0)
			return false;
	}
	o->rest = at;
	return true;
}

/* Flags are read twice: they say which file is read before they are heard. */
static bool read_settings(struct options *o, struct config *c, struct err *e)
{
	struct config scratch;
	bool ok;

	ok = config_try_init(&scratch, e) && read_flags(o, &scratch, e);
	config_release(&scratch);
	if (!ok || o->help)
		return ok;
	if (o->config_path && !config_read_file(c, o->config_path, e))
		return false;
	return config_read_environment(c, o->environment, e) && read_flags(o, c, e);
}

static void wipe(char *text)
{
	if (text)
		explicit_bzero(text, strlen(text));
	free(text);
}

/* A URL as drivers have them becomes one that libpq can read; what it does not say of user and
 * password comes from the environment. */
static bool make_readable(const struct options *o, char **setting, const char *name, struct err *e)
{
	struct err why;
	char *readable, *complete;
	bool ok;

	if (!**setting)
		return true;
	readable = url_to_upstream(*setting, o->environment, &why);
	if (!readable)
		return err_set(e, "F0000", "%s %s", name, why.text);
	complete = url_add_identity(readable, o->environment);
	ok = complete && config_set_string(setting, complete);
	wipe(readable);
	wipe(complete);
	return ok || err_set(e, "53200", "out of memory");
}

static void set_log(const struct config *c)
{
	struct log_options o = {.json = c->log_format == LOG_AS_JSON, .time = c->log_timestamps};

	if (log_level_from_name(c->log_level, &o.level))
		log_configure(&o);
}

static bool load(struct options *o, struct config *c, struct err *e)
{
	if (!config_try_init(c, e))
		return false;
	if (o->is_run) {
		/* The command's own output matters here. */
		c->log_connections = false;
		c->log_disconnections = false;
	}
	return read_settings(o, c, e) &&
	       (o->help || make_readable(o, &c->aside_upstream, "aside_upstream", e));
}

/* What is needed to serve everybody. Takes over what `c` owns. */
static struct snapshot *snapshot_of(const struct options *o, struct config *c, struct err *e)
{
	struct snapshot *s = NULL;

	if (make_readable(o, &c->upstream, "upstream", e))
		s = snapshot_new(c, e);
	if (s) {
		set_log(&s->config);
		service_raise_descriptors(s->config.max_client_conn, config_workers(&s->config));
	}
	return s;
}

static struct snapshot *load_again(void *arg, struct err *e)
{
	struct options *o = arg;
	struct snapshot *s = NULL;
	struct config c;

	if (load(o, &c, e))
		s = snapshot_of(o, &c, e);
	config_release(&c);
	return s;
}

static void stop(struct server *s, const char *signal_name, unsigned grace_ms)
{
	log_event(LOG_LEVEL_INFO, "stopping", "signal=%s grace_ms=%u", signal_name, grace_ms);
	server_stop(s, grace_ms);
}

static void on_signal(struct server *s, int signo, void *arg)
{
	struct err e;

	(void)arg;
	switch (signo) {
	case SIGTERM:
		stop(s, "SIGTERM", server_config(s)->shutdown_timeout_ms);
		break;
	case SIGINT:
		stop(s, "SIGINT", 0);
		break;
	case SIGHUP:
		server_reload(s, &e);
		break;
	default:
		break;
	}
}

static int serve_with(struct options *o, struct snapshot *snapshot)
{
	const struct server_owner owner = {on_signal, load_again, o};
	const char *path = snapshot->config.pidfile;
	struct pidfile *pidfile = NULL;
	struct server *s = NULL;
	struct err e;

	if (*path)
		pidfile = pidfile_new(path, &e);
	if (pidfile || !*path)
		s = server_new(snapshot, &e);
	if (s)
		server_loop(s, &owner);
	else
		fail(&e);
	server_free(s);
	pidfile_free(pidfile);
	return s ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int serve(struct config *c, struct options *o)
{
	struct snapshot *snapshot;
	struct err e;
	int status;

	if (o->argv[o->rest]) {
		err_set(&e, "F0000", "serve: unexpected word \"%s\"", o->argv[o->rest]);
		return fail(&e);
	}
	signal(SIGPIPE, SIG_IGN);
	snapshot = snapshot_of(o, c, &e);
	if (!snapshot)
		return fail(&e);
	pq_forget_environment();
	status = serve_with(o, snapshot);
	snapshot_release(snapshot);
	return status;
}

static int run(struct config *c, const struct options *o)
{
	struct run_command command = {
		.argv = o->argv + o->rest,
		.names = o->names,
		.n_names = o->n_names,
		.environment = o->environment,
	};
	struct err e;

	if (!*command.argv) {
		err_set(&e, "F0000", "run: which command? pgaside run [flags] -- COMMAND ...");
		return fail(&e);
	}
	/* Its socket is for the command, which may be what the service manager waits for. */
	unsetenv("NOTIFY_SOCKET");
	return run_command(c, &command);
}

static int start(struct options *o)
{
	struct config c;
	struct err e;
	int status;

	if (!load(o, &c, &e)) {
		status = fail(&e);
	} else if (o->help) {
		print_command_help(o->is_run);
		status = EXIT_SUCCESS;
	} else {
		set_log(&c);
		status = o->is_run ? run(&c, o) : serve(&c, o);
	}
	config_release(&c);
	return status;
}

/* Some variables are taken out of the environment later, and all are read again on SIGHUP. */
static bool keep_environment(struct options *o)
{
	size_t n = 0;

	while (environ[n])
		n++;
	o->environment = calloc(n + 1, sizeof(*o->environment));
	if (o->environment)
		memcpy(o->environment, environ, n * sizeof(*environ));
	return o->environment != NULL;
}

int main(int argc, char **argv)
{
	const char *word = argc > 1 ? argv[1] : "";
	struct options o = {.is_run = strcmp(word, "run") == 0, .argc = argc, .argv = argv};
	int status;

	if (strcmp(word, "--version") == 0) {
		puts("pgaside " PGASIDE_VERSION);
		return EXIT_SUCCESS;
	}
	if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
		print_usage(stdout);
		return EXIT_SUCCESS;
	}
	if (strcmp(word, "check") == 0)
		return check_main(argc - 1, argv + 1);
	if (strcmp(word, "indexes") == 0)
		return indexes_main(argc - 1, argv + 1);
	if (!o.is_run && strcmp(word, "serve") != 0) {
		if (*word)
			fprintf(stderr, "pgaside: there is no command \"%s\"; see pgaside --help\n",
				word);
		else
			fputs("pgaside: which command? See pgaside --help\n", stderr);
		return EXIT_USAGE;
	}
	o.names = calloc((size_t)argc, sizeof(*o.names));
	if (!o.names || !keep_environment(&o)) {
		fputs("pgaside: out of memory\n", stderr);
		status = EXIT_FAILURE;
	} else {
		status = start(&o);
	}
	free(o.names);
	free(o.environment);
	return status;
}

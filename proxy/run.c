#include "run.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "log.h"
#include "run_plan.h"
#include "server.h"
#include "status_line.h"

enum {
	RANDOM_BYTES = 16,
	MAX_PASSFILE = 65536
};

/* How signals were set when pgaside was started: so the command gets them. */
struct inherited {
	sigset_t mask;
	sigset_t ignored;
	int policy; /* of the scheduler */
};

struct run {
	struct server *server; /* owned */
	struct inherited inherited;
	bool ended;
	int status; /* for exit() */
};

/* Signals that pgaside itself has no use for, passed on at once by a handler. */
static const int passed_signals[] = {SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH};
/* Those that the server's loop hands us. */
static const int loop_signals[] = {SIGTERM, SIGINT, SIGHUP};

/* Of the handler: the command while it runs, else 0. */
static volatile sig_atomic_t child;

static int complain(int status, const struct err *e)
{
	fprintf(stderr, "pgaside: %s\n", e->text);
	return status;
}

/* What a terminal sends goes to the whole process group, so the command has it already. */
static void pass_on(int signo, siginfo_t *info, void *context)
{
	int saved_errno = errno;

	(void)context;
	if (child > 0 && info->si_code != SI_KERNEL)
		kill((pid_t)child, signo);
	errno = saved_errno;
}

static bool is_ignored(int signo)
{
	struct sigaction action;

	return sigaction(signo, NULL, &action) == 0 && !(action.sa_flags & SA_SIGINFO) &&
	       action.sa_handler == SIG_IGN;
}

static void note_inherited(struct inherited *i)
{
	sigemptyset(&i->ignored);
	i->policy = sched_getscheduler(0);
	pthread_sigmask(SIG_SETMASK, NULL, &i->mask);
	for (size_t n = 0; n < sizeof(passed_signals) / sizeof(passed_signals[0]); n++)
		if (is_ignored(passed_signals[n]))
			sigaddset(&i->ignored, passed_signals[n]);
	for (size_t n = 0; n < sizeof(loop_signals) / sizeof(loop_signals[0]); n++)
		if (is_ignored(loop_signals[n]))
			sigaddset(&i->ignored, loop_signals[n]);
	if (is_ignored(SIGPIPE))
		sigaddset(&i->ignored, SIGPIPE);
}

/* Catches what is to be passed on. What was ignored at the start (nohup, a background job) stays
 * so, here and in the command. */
static void catch_signals(const struct inherited *i)
{
	struct sigaction action = {.sa_sigaction = pass_on, .sa_flags = SA_SIGINFO | SA_RESTART};

	sigemptyset(&action.sa_mask);
	for (size_t n = 0; n < sizeof(passed_signals) / sizeof(passed_signals[0]); n++)
		if (!sigismember(&i->ignored, passed_signals[n]))
			sigaction(passed_signals[n], &action, NULL);
	for (size_t n = 0; n < sizeof(loop_signals) / sizeof(loop_signals[0]); n++)
		if (sigismember(&i->ignored, loop_signals[n]))
			signal(loop_signals[n], SIG_IGN);
}

/* A worker has, on this thread, and that is not for the command. */
static bool has_changed_policy(const struct inherited *i)
{
	return i->policy == SCHED_OTHER && sched_getscheduler(0) != SCHED_OTHER;
}

/* Handlers are undone by exec itself; what is ignored stays ignored, unless it was not before. */
static int spawn(
	pid_t *pid, char *const *argv, char *const *environment, const struct inherited *inherited)
{
	posix_spawnattr_t attributes;
	sigset_t defaults;
	int error;

	sigemptyset(&defaults);
	if (!sigismember(&inherited->ignored, SIGPIPE))
		sigaddset(&defaults, SIGPIPE);
	error = posix_spawnattr_init(&attributes);
	if (error)
		return error;
	posix_spawnattr_setflags(&attributes,
		POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK |
			(has_changed_policy(inherited) ? POSIX_SPAWN_SETSCHEDULER : 0));
	posix_spawnattr_setsigdefault(&attributes, &defaults);
	posix_spawnattr_setsigmask(&attributes, &inherited->mask);
	posix_spawnattr_setschedpolicy(&attributes, SCHED_OTHER);
	error = posix_spawnp(pid, argv[0], NULL, &attributes, argv, environment);
	posix_spawnattr_destroy(&attributes);
	return error;
}

/* Waits for nothing: SIGCHLD says when to look. */
static void reap(struct run *r)
{
	int status;

	if (r->ended || waitpid((pid_t)child, &status, WNOHANG) != (pid_t)child)
		return;
	r->ended = true;
	r->status = WIFSIGNALED(status) ? EXIT_BY_SIGNAL + WTERMSIG(status) : WEXITSTATUS(status);
	child = 0;
	server_stop(r->server, server_config(r->server)->shutdown_timeout_ms);
}

/* Whether the terminal's own keys reach the command without us. */
static bool shares_terminal(void)
{
	int fd = open("/dev/tty", O_RDONLY | O_NOCTTY | O_CLOEXEC);
	bool shares;

	if (fd < 0)
		return false;
	shares = tcgetpgrp(fd) == getpgrp();
	close(fd);
	return shares;
}

/*
 * The loop does not say who sent a signal. A second SIGINT makes many tools give up cleaning up, so
 * when Ctrl-C may have sent it to the whole group, it is not sent again; SIGTERM is nobody's key.
 */
static void pass_on_from_loop(int signo)
{
	if (signo == SIGTERM || !shares_terminal())
		kill((pid_t)child, signo);
}

static void on_signal(struct server *s, int signo, void *arg)
{
	struct run *r = arg;

	if (signo == SIGCHLD)
		reap(r);
	else if (!r->ended)
		pass_on_from_loop(signo);
	else if (signo != SIGHUP)
		server_stop(s, 0);
}

static bool make_random(char out[2 * RANDOM_BYTES + 1])
{
	uint8_t bytes[RANDOM_BYTES];

	if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
		return false;
	for (size_t i = 0; i < sizeof(bytes); i++)
		snprintf(out + 2 * i, 3, "%02x", bytes[i]);
	return true;
}

/* As libpq: a file that others can read is not trusted. */
static bool is_private_file(FILE *f, const char *path)
{
	struct stat s;
	char quoted[256];

	if (fstat(fileno(f), &s) != 0 || !S_ISREG(s.st_mode))
		return false;
	if ((s.st_mode & (S_IRWXG | S_IRWXO)) == 0)
		return true;
	log_event(LOG_LEVEL_WARNING, "passfile",
		"path=%s reason=\"group or others have access to it: it is not used\"",
		log_quote(quoted, sizeof(quoted), path, (unsigned)strlen(path)));
	return false;
}

static const char *variable(const struct run_command *command, const char *name)
{
	size_t len = strlen(name);

	for (char *const *v = command->environment; *v; v++)
		if (strncmp(*v, name, len) == 0 && (*v)[len] == '=')
			return *v + len + 1;
	return "";
}

/* The text of the password file, "" when there is none. */
static void read_passfile(const struct run_command *command, char *text, size_t size)
{
	const char *chosen = variable(command, "PGPASSFILE");
	char path[PATH_MAX];
	FILE *f;
	size_t len = 0;

	snprintf(path, sizeof(path), "%s%s", *chosen ? chosen : variable(command, "HOME"),
		*chosen ? "" : "/.pgpass");
	f = fopen(path, "re");
	if (f && is_private_file(f, path))
		len = fread(text, 1, size - 1, f);
	text[len] = '\0';
	if (f)
		fclose(f);
}

static const char *os_user(void)
{
	const struct passwd *entry = getpwuid(geteuid());

	return entry ? entry->pw_name : "";
}

static bool make_plan(const struct config *c, const struct run_command *command,
	struct run_plan *plan, struct err *e)
{
	char random[2 * RANDOM_BYTES + 1];
	static char passfile[MAX_PASSFILE];
	struct run_request request = {
		.upstream = c->upstream,
		.environment = command->environment,
		.names = command->names,
		.n_names = command->n_names,
		.random = random,
		.passfile = passfile,
		.os_user = os_user(),
	};
	bool ok;

	*plan = (struct run_plan){0};
	if (!make_random(random))
		return err_set(e, "XX000", "the system has no random bytes for a password");
	read_passfile(command, passfile, sizeof(passfile));
	ok = run_plan_init(plan, &request, e);
	explicit_bzero(passfile, sizeof(passfile));
	return ok;
}

/* The private server: on loopback, on any free port, for one command. */
static bool complete_config(struct config *c, const struct run_plan *plan, struct err *e)
{
	c->listen_port = 0;
	c->client_tls_sslmode = CLIENT_TLS_DISABLE;
	c->auth = AUTH_PASSWORD;
	if (config_set_string(&c->listen_addr, "127.0.0.1") &&
		config_set_string(&c->unix_socket_dir, "") &&
		config_set_string(&c->admin_users, "") &&
		config_set_string(&c->client_tls_key_file, "") &&
		config_set_string(&c->client_tls_cert_file, "") &&
		config_set_string(&c->client_tls_ca_file, "") &&
		config_set_string(&c->upstream, plan->upstream) &&
		config_set_string(&c->private_password, plan->private_password) &&
		config_set_string(&c->server_password, plan->server_password))
		return true;
	return err_set(e, "53200", "out of memory");
}

static int not_started(const char *name, int error)
{
	const char *why = error == ENOENT ? "command not found" : strerror(error);

	fprintf(stderr, "pgaside: %s: %s\n", name, why);
	return error == ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_EXECUTABLE;
}

static int serve_command(struct run *r, const struct run_command *command, char *const *environment)
{
	const struct server_owner owner = {.on_signal = on_signal, .arg = r};
	struct status_line *line;
	pid_t pid;
	int error;

	catch_signals(&r->inherited);
	error = spawn(&pid, command->argv, environment, &r->inherited);
	if (error)
		return not_started(command->argv[0], error);
	child = (sig_atomic_t)pid;
	line = status_line_new(server_base(r->server), server_stats(r->server));
	server_loop(r->server, &owner);
	status_line_free(line);
	return r->status;
}

static void log_access(const struct config *c)
{
	if (!*c->private_password)
		log_event(LOG_LEVEL_INFO, "private_port",
			"access=anybody reason=\"the command has more than one password, or one "
			"that is not in a URL: the server decides\"");
}

static int with_server(struct run *r, const struct run_command *command, struct run_plan *plan,
	struct snapshot *snapshot)
{
	char **environment;
	struct err e;
	int status;

	r->server = server_new(snapshot, &e);
	if (!r->server)
		return complain(EXIT_FAILURE, &e);
	log_access(&snapshot->config);
	environment = run_plan_environment(plan, server_port(r->server), &e);
	if (environment)
		status = serve_command(r, command, environment);
	else
		status = complain(EXIT_FAILURE, &e);
	run_environment_free(environment);
	if (status == EXIT_SUCCESS && server_owed_failures(r->server) > 0) {
		err_set(&e, "XX000",
			"the command has succeeded, but a statement that was to run after COMMIT "
			"has "
			"failed: see above");
		status = complain(EXIT_FAILURE, &e);
	}
	server_free(r->server);
	return status;
}

int run_command(struct config *c, const struct run_command *command)
{
	struct run r = {0};
	struct snapshot *snapshot = NULL;
	struct run_plan plan;
	struct err e;
	int status;

	note_inherited(&r.inherited);
	signal(SIGPIPE, SIG_IGN);
	if (make_plan(c, command, &plan, &e) && complete_config(c, &plan, &e))
		snapshot = snapshot_new(c, &e);
	if (snapshot)
		status = with_server(&r, command, &plan, snapshot);
	else
		status = complain(EXIT_USAGE, &e);
	snapshot_release(snapshot);
	run_plan_release(&plan);
	return status;
}

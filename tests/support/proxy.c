#include "proxy.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "patience.h"

#define MAX_FLAGS 32
#define MAX_PROXIES 8

static struct proxy *running[MAX_PROXIES]; /* owned */

const char *proxy_program(void)
{
	const char *program = getenv("PGASIDE");

	return program ? program : "build/pgaside";
}

const char *proxy_workers(void)
{
	const char *n = getenv("TEST_WORKERS");

	return n ? n : "1";
}

static void remember(struct proxy *p)
{
	for (int i = 0; i < MAX_PROXIES; i++) {
		if (running[i])
			continue;
		running[i] = p;
		return;
	}
	fail_msg("more than %d programs at a time", MAX_PROXIES);
}

static void forget(const struct proxy *p)
{
	for (int i = 0; i < MAX_PROXIES; i++)
		if (running[i] == p)
			running[i] = NULL;
}

static void run(const struct proxy *p, const char *const *argv, pid_t parent)
{
	int log = open(p->log, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0600);

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (log < 0 || dup2(log, 1) < 0 || dup2(log, 2) < 0 || getppid() != parent)
		_exit(127);
	execv(argv[0], (char *const *)(uintptr_t)argv);
	_exit(127);
}

static int count_lines(const struct proxy *p, const char *first, const char *second)
{
	char line[8192];
	FILE *f = fopen(p->log, "r");
	int n = 0;

	if (!f)
		return 0;
	while (fgets(line, sizeof(line), f))
		n += strstr(line, first) && (!second || strstr(line, second));
	fclose(f);
	return n;
}

bool proxy_has_logged(const struct proxy *p, const char *first, const char *second)
{
	return count_lines(p, first, second) > 0;
}

int proxy_count_logged(const struct proxy *p, const char *text)
{
	return count_lines(p, text, NULL);
}

/* The port is in the line that says that it listens. */
static bool find_port(struct proxy *p)
{
	char line[8192];
	FILE *f = fopen(p->log, "r");

	if (!f)
		return false;
	while (fgets(line, sizeof(line), f)) {
		bool listens = strstr(line, "event=listening") ||
			       strstr(line, "\"event\":\"listening\""); /* as JSON */
		const char *port = strstr(line, "port");

		if (listens && port)
			p->port = (int)strtol(port + strcspn(port, "0123456789"), NULL, 10);
	}
	fclose(f);
	return p->port > 0;
}

struct proxy *proxy_start(const char *upstream, ...)
{
	static unsigned count;
	const char *argv[MAX_FLAGS + 8] = {proxy_program(), "serve", "--listen-port", "0"};
	struct proxy *p = calloc(1, sizeof(*p));
	int n = 4;
	pid_t parent = getpid();
	va_list flags;

	if (upstream) {
		argv[n++] = "--upstream";
		argv[n++] = upstream;
	}
	va_start(flags, upstream);
	while (n < MAX_FLAGS && (argv[n] = va_arg(flags, const char *)))
		n++;
	va_end(flags);
	argv[n] = NULL;
	assert_non_null(p);
	snprintf(p->log, sizeof(p->log), "/tmp/pgaside-test-%d-%u.log", (int)parent, count++);
	p->pid = fork();
	assert_true(p->pid >= 0);
	if (p->pid == 0)
		run(p, argv, parent);
	remember(p);
	WAIT_FOR(find_port(p) || !proxy_is_alive(p));
	if (p->port == 0)
		fail_msg("pgaside did not start: see %s", p->log);
	return p;
}

/* A process that has ended is a zombie until it is waited for. */
bool proxy_is_alive(const struct proxy *p)
{
	siginfo_t info = {.si_pid = 0};

	return waitid(P_PID, (id_t)p->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
	       info.si_pid == 0;
}

/* Everything that is no log line is worth reading. */
static void show_reports(const struct proxy *p)
{
	char line[8192];
	FILE *f = fopen(p->log, "r");

	if (!f)
		return;
	while (fgets(line, sizeof(line), f))
		if (!strstr(line, " event=") && line[0] != '{')
			fputs(line, stderr);
	fclose(f);
}

/* TEST_LOG_DIR names a directory in which the logs are kept. */
static void put_log_away(const struct proxy *p)
{
	const char *keep = getenv("TEST_LOG_DIR");
	char path[512];

	if (!keep) {
		unlink(p->log);
		return;
	}
	snprintf(path, sizeof(path), "%s/%s", keep, strrchr(p->log, '/') + 1);
	rename(p->log, path);
}

int proxy_wait(struct proxy *p)
{
	struct patience patience = patience_of(PATIENCE_MS);
	int status = 0;

	while (proxy_is_alive(p) && patience_left(&patience))
		continue;
	if (proxy_is_alive(p)) {
		kill(p->pid, SIGKILL);
		fprintf(stderr, "pgaside did not end by itself\n");
	}
	waitpid(p->pid, &status, 0);
	show_reports(p);
	put_log_away(p);
	forget(p);
	free(p);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int proxy_stop(struct proxy *p, int signo)
{
	if (proxy_is_alive(p))
		kill(p->pid, signo);
	return proxy_wait(p);
}

bool proxy_stop_all(const struct proxy *except)
{
	bool ok = true;

	for (int i = 0; i < MAX_PROXIES; i++) {
		struct proxy *p = running[i];
		int status = p && p != except ? proxy_stop(p, SIGTERM) : 0;

		if (status != 0)
			fprintf(stderr, "pgaside ended with %d\n", status);
		ok = ok && status == 0;
	}
	return ok;
}

/* What /proc says of that, with the blanks in front of it; "" if nothing. In a static buffer. */
static const char *status_of(const struct proxy *p, const char *field)
{
	static char line[256];
	char path[64];
	const char *value = "";
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)p->pid);
	f = fopen(path, "r");
	assert_non_null(f);
	while (!*value && fgets(line, sizeof(line), f))
		if (strncmp(line, field, strlen(field)) == 0)
			value = line + strlen(field);
	fclose(f);
	return value;
}

static long status_kb(const struct proxy *p, const char *field)
{
	const char *value = status_of(p, field);

	return *value ? strtol(value, NULL, 10) : -1;
}

bool proxy_is_asleep(const struct proxy *p)
{
	return strstr(status_of(p, "State:"), "S (sleeping)") != NULL;
}

long proxy_memory_kb(const struct proxy *p)
{
	return status_kb(p, "VmRSS:");
}

long proxy_peak_kb(const struct proxy *p)
{
	return status_kb(p, "VmHWM:");
}

int proxy_descriptors(const struct proxy *p)
{
	char path[64];
	DIR *d;
	int n = 0;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)p->pid);
	d = opendir(path);
	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n - 2;
}

/* The tests are built as the program is. */
bool proxy_is_sanitized(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	return true;
#elif defined(__has_feature)
	return __has_feature(address_sanitizer) || __has_feature(thread_sanitizer);
#else
	return false;
#endif
}

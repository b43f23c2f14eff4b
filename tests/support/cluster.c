#include "cluster.h"

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
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "patience.h"

static void take_line(struct cluster *c, const char *line)
{
	if (strncmp(line, "DIR=", 4) == 0)
		snprintf(c->dir, sizeof(c->dir), "%.*s", (int)strcspn(line + 4, "\n"), line + 4);
	else if (strncmp(line, "PID=", 4) == 0)
		c->pid = (pid_t)strtol(line + 4, NULL, 10);
	else if (strncmp(line, "PGPORT=", 7) == 0)
		c->port = (int)strtol(line + 7, NULL, 10);
}

const char *cluster_programs(int version)
{
	static char found[512];
	char line[512], wanted[32];
	FILE *out = popen("tests/matrix/install-servers.sh", "r"); /* NOLINT(cert-env33-c) */

	assert_non_null(out);
	snprintf(wanted, sizeof(wanted), "/postgres-%d/", version);
	found[0] = '\0';
	while (fgets(line, sizeof(line), out))
		if (strstr(line, wanted))
			snprintf(found, sizeof(found), "%.*s", (int)strcspn(line, "\n"), line);
	assert_int_equal(pclose(out), 0);
	assert_true(found[0] != '\0');
	return found;
}

void cluster_start(struct cluster *c, const char *options)
{
	char command[1024], line[1024];
	FILE *out;

	memset(c, 0, sizeof(*c));
	snprintf(command, sizeof(command), "tests/support/cluster.sh start --owner %d %s",
		(int)getpid(), options);
	out = popen(command, "r");
	assert_non_null(out);
	while (fgets(line, sizeof(line), out))
		take_line(c, line);
	assert_int_equal(pclose(out), 0);
	assert_true(c->port > 0 && c->pid > 0);
}

void cluster_stop(struct cluster *c)
{
	if (c->dir[0])
		cluster_shell("tests/support/cluster.sh stop %s", c->dir);
	c->dir[0] = '\0';
}

void cluster_shell(const char *format, ...)
{
	char command[2048];
	va_list args;

	va_start(args, format);
	vsnprintf(command, sizeof(command), format, args);
	va_end(args);
	assert_int_equal(system(command), 0); /* NOLINT(cert-env33-c): a test's own command */
}

const char *cluster_file(const struct cluster *c, const char *name)
{
	static char paths[8][512];
	static unsigned next;
	char *path = paths[next++ % 8];

	snprintf(path, sizeof(paths[0]), "%s/%s", c->dir, name);
	return path;
}

static bool is_gone(pid_t pid)
{
	return kill(pid, 0) != 0 && errno == ESRCH;
}

void cluster_crash(struct cluster *c)
{
	assert_int_equal(kill(c->pid, SIGQUIT), 0);
	WAIT_FOR(is_gone(c->pid));
}

/* The directory of the server programs, which cluster.sh has noted. */
static void find_programs(const struct cluster *c, char *out, size_t size)
{
	FILE *f = fopen(cluster_file(c, ".pgaside-cluster"), "r");

	assert_non_null(f);
	assert_non_null(fgets(out, (int)size, f));
	out[strcspn(out, "\n")] = '\0';
	fclose(f);
}

/* As the owner of the directory: PostgreSQL refuses root. */
static void start_server(const struct cluster *c, const char *programs)
{
	char program[512], data[512], options[64];
	struct stat s;
	int null = open("/dev/null", O_RDWR);

	snprintf(program, sizeof(program), "%s/pg_ctl", programs);
	snprintf(data, sizeof(data), "%s/data", c->dir);
	snprintf(options, sizeof(options), "-p %d", c->port);
	if (null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(null, 2) < 0)
		_exit(1);
	if (stat(c->dir, &s) != 0)
		_exit(1);
	if (geteuid() == 0 && (setgid(s.st_gid) != 0 || setuid(s.st_uid) != 0))
		_exit(1);
	/* By its own path it finds the server beside it, not the one in PATH. */
	execl(program, program, "start", "-w", "-t", "60", "-s", "-D", data, "-l",
		cluster_file(c, "log"), "-o", options, (char *)NULL);
	_exit(1);
}

void cluster_restart(struct cluster *c)
{
	char programs[256], line[64];
	int status;
	pid_t pid;
	FILE *f;

	find_programs(c, programs, sizeof(programs));
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		start_server(c, programs);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	f = fopen(cluster_file(c, "data/postmaster.pid"), "r");
	assert_non_null(f);
	assert_non_null(fgets(line, sizeof(line), f));
	fclose(f);
	c->pid = (pid_t)strtol(line, NULL, 10);
}

void cluster_write_hba(const struct cluster *c, const char *lines)
{
	FILE *f = fopen(cluster_file(c, "data/pg_hba.conf"), "w");

	assert_non_null(f);
	assert_true(fputs(lines, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

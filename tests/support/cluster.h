/*
 * cluster.h - a throwaway PostgreSQL, made by cluster.sh.
 *
 * It goes away with the test program, however that ends. All functions fail the test (or end the
 * program, outside of one) when they cannot do what they say.
 */
#ifndef PGASIDE_TESTS_CLUSTER_H
#define PGASIDE_TESTS_CLUSTER_H

#include <sys/types.h>

struct cluster {
	char dir[256];
	pid_t pid; /* of the postmaster */
	int port;
};

/* The directory of the programs of that major version, which tests/matrix/install-servers.sh has
 * from npm; in a static buffer. */
const char *cluster_programs(int version);
/* `options` as on cluster.sh's command line. */
void cluster_start(struct cluster *c, const char *options);
void cluster_stop(struct cluster *c);
/* Kills every server process at once, as `pg_ctl stop -m immediate`, and waits for their end. */
void cluster_crash(struct cluster *c);
/* Starts the stopped server again, on the same port. */
void cluster_restart(struct cluster *c);
/* Replaces pg_hba.conf; the server must be told to reload. */
void cluster_write_hba(const struct cluster *c, const char *lines);
/* DIR/name, in one of several static buffers. */
const char *cluster_file(const struct cluster *c, const char *name);
/* Runs a shell command and fails unless it ends with 0. */
void cluster_shell(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif

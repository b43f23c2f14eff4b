/*
 * proxy.h - the program under test, as a process.
 *
 * Started on a free port, with its log in a file. It is killed when the test program ends. Whatever
 * it writes besides log lines (a sanitizer's report) is shown when it is stopped.
 */
#ifndef PGASIDE_TESTS_PROXY_H
#define PGASIDE_TESTS_PROXY_H

#include <stdbool.h>
#include <sys/types.h>

struct proxy {
	pid_t pid;
	int port;
	char log[64]; /* path */
};

/* `pgaside serve --listen-port 0 --upstream URL FLAG ..`, until it listens; flags end with NULL. No
 * --upstream if that is NULL. What is returned lives until the program is stopped. */
struct proxy *proxy_start(const char *upstream, ...) __attribute__((sentinel));
/* Sends the signal and waits. Returns the exit status, 128 + N when signal N ended it. */
int proxy_stop(struct proxy *p, int signo);
/* The same without a signal: it is expected to end by itself. */
int proxy_wait(struct proxy *p);
/* Stops with SIGTERM those that are still running, but for one (NULL = none); false when one does
 * not end with 0. */
bool proxy_stop_all(const struct proxy *except);
bool proxy_is_alive(const struct proxy *p);
/* Its main thread sleeps. Under ThreadSanitizer a signal that interrupts it elsewhere may be lost.
 */
bool proxy_is_asleep(const struct proxy *p);
/* Whether a line of the log has both texts in it; `second` may be NULL. */
bool proxy_has_logged(const struct proxy *p, const char *first, const char *second);
/* How many lines of the log have that text. */
int proxy_count_logged(const struct proxy *p, const char *text);
/* Resident memory and its peak, in kB. */
long proxy_memory_kb(const struct proxy *p);
long proxy_peak_kb(const struct proxy *p);
/* Open file descriptors. */
int proxy_descriptors(const struct proxy *p);
/* Whether the program is built with a sanitizer: memory is then no measure. */
bool proxy_is_sanitized(void);
/* The program's path. */
const char *proxy_program(void);
/* How many workers a test takes that does not care: TEST_WORKERS, or one. */
const char *proxy_workers(void);

#endif

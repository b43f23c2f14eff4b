#include "service.h"

#include <inttypes.h>
#include <sys/resource.h>
#include <systemd/sd-daemon.h>
#include <time.h>

#include "log.h"

enum {
	FOR_SESSION = 2,  /* client and server */
	FOR_ASIDE = 2,	  /* the aside and the watch connection */
	FOR_PROCESS = 48, /* with those of http.c */
	FOR_WORKER = 8,
	RESERVE_MOST = 64 /* kept for asides when descriptors are short */
};

static rlim_t needed(unsigned sessions, unsigned workers, unsigned for_each)
{
	return FOR_PROCESS + (rlim_t)workers * FOR_WORKER + (rlim_t)sessions * for_each;
}

static rlim_t reserve(rlim_t limit)
{
	return limit / 8 < RESERVE_MOST ? limit / 8 : RESERVE_MOST;
}

/* For so many sessions there is one more; 0 when the limit is not known. */
static rlim_t most_sessions(rlim_t limit, unsigned workers)
{
	rlim_t taken = needed(0, workers, 0) + reserve(limit);

	return limit > taken ? (limit - taken) / FOR_SESSION : 0;
}

bool service_has_descriptors(unsigned sessions, unsigned workers)
{
	struct rlimit limit;

	return getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY ||
	       sessions < most_sessions(limit.rlim_cur, workers);
}

void service_raise_descriptors(unsigned sessions, unsigned workers)
{
	rlim_t wanted = needed(sessions, workers, FOR_SESSION + FOR_ASIDE);
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted)
		return;
	limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
	if (setrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur == wanted)
		return;
	getrlimit(RLIMIT_NOFILE, &limit);
	log_event(LOG_LEVEL_WARNING, "few_descriptors",
		"limit=%ju wanted=%ju sessions=%ju reason=\"the limit of open files is low for "
		"max_client_conn = %u: raise it (ulimit -Hn, LimitNOFILE)\"",
		(uintmax_t)limit.rlim_cur, (uintmax_t)wanted,
		(uintmax_t)most_sessions(limit.rlim_cur, workers), sessions);
}

void service_ready(void)
{
	sd_notify(0, "READY=1\nSTATUS=Serving");
}

void service_reloading(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	sd_notifyf(0, "RELOADING=1\nSTATUS=Reloading\nMONOTONIC_USEC=%" PRIu64,
		(uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u);
}

void service_stopping(uint64_t ms)
{
	/* Else the manager would kill what it has told to finish. */
	sd_notifyf(0,
		"STOPPING=1\nSTATUS=Letting transactions and asides finish\n"
		"EXTEND_TIMEOUT_USEC=%" PRIu64,
		ms * 1000u);
}

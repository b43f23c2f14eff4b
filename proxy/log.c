#include "log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "log_escape.h"

enum {
	LINE_SIZE = 4096, /* with the line end; no more than PIPE_BUF, so that a write is whole */
	PRIORITY_LENGTH = 3,
	TIME_SIZE = sizeof("2026-01-31T23:59:59.999Z")
};

static const char *const level_names[] = {
	[LOG_LEVEL_ERROR] = "error",
	[LOG_LEVEL_WARNING] = "warning",
	[LOG_LEVEL_INFO] = "info",
	[LOG_LEVEL_DEBUG] = "debug",
};

static atomic_int highest = LOG_LEVEL_INFO;
static atomic_bool as_json, with_time, with_priority;
static atomic_bool status_line;

/* "Erase from here to the end of the screen." */
#define WIPE "\x1b[J"

bool log_level_from_name(const char *name, enum log_level *level)
{
	for (int i = LOG_LEVEL_ERROR; i <= LOG_LEVEL_DEBUG; i++) {
		if (strcmp(name, level_names[i]) == 0) {
			*level = (enum log_level)i;
			return true;
		}
	}
	return false;
}

void log_set_level(enum log_level level)
{
	atomic_store_explicit(&highest, (int)level, memory_order_relaxed);
}

void log_set_status_line(bool shown)
{
	atomic_store_explicit(&status_line, shown, memory_order_relaxed);
}

bool log_has_status_line(void)
{
	return atomic_load_explicit(&status_line, memory_order_relaxed);
}

bool log_enabled(enum log_level level)
{
	return (int)level <= atomic_load_explicit(&highest, memory_order_relaxed);
}

/* Whether standard error is the stream to the journal that the service manager has told us of. */
static bool goes_to_journal(void)
{
	const char *named = getenv("JOURNAL_STREAM");
	char ours[64];
	struct stat s;

	if (!named || fstat(STDERR_FILENO, &s) != 0)
		return false;
	snprintf(ours, sizeof(ours), "%ju:%ju", (uintmax_t)s.st_dev, (uintmax_t)s.st_ino);
	return strcmp(named, ours) == 0;
}

void log_configure(const struct log_options *o)
{
	bool journal = goes_to_journal();

	log_set_level(o->level);
	atomic_store_explicit(&as_json, o->json, memory_order_relaxed);
	atomic_store_explicit(&with_priority, journal, memory_order_relaxed);
	atomic_store_explicit(&with_time,
		o->time == LOG_TIME_ON || (o->time == LOG_TIME_AUTO && !journal),
		memory_order_relaxed);
}

/* A last line of defence: whatever the caller's format put in, it is one line. */
static void flatten(char *line, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
			line[i] = '?';
}

/* How many bytes at `at` belong together: an escape inside quotes, or a character. */
static size_t unit(const char *at, bool quoted)
{
	size_t len = 1;

	if (quoted && at[0] == '\\')
		return at[1] == 'x' ? 4 : 2;
	while (((unsigned char)at[len] & 0xc0) == 0x80)
		len++;
	return len;
}

/* Shows that the line was longer, with the quotes closed. Returns its length. */
static size_t cut_line(char *line)
{
	size_t len = 0, next;
	bool quoted = false;

	while ((next = len + unit(line + len, quoted)) <=
		LINE_SIZE - PRIORITY_LENGTH - strlen("...\"\n")) {
		if (line[len] == '"')
			quoted = !quoted;
		len = next;
	}
	memcpy(line + len, "...", 3);
	len += 3;
	if (quoted)
		line[len++] = '"';
	return len;
}

static void write_line(char *line, size_t len)
{
	static char wipe[] = WIPE;
	struct iovec pieces[] = {{wipe, sizeof(wipe) - 1}, {line, len}};
	bool both = log_has_status_line();
	ssize_t n;

	do {
		n = writev(STDERR_FILENO, both ? pieces : pieces + 1, both ? 2 : 1);
	} while (n < 0 && errno == EINTR);
}

/* RFC 3339, in UTC: the same in every place, and in order as text. */
static void format_time(char out[TIME_SIZE])
{
	struct timespec now;
	struct tm parts;
	size_t len;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &parts);
	len = strftime(out, TIME_SIZE, "%Y-%m-%dT%H:%M:%S", &parts);
	snprintf(out + len, TIME_SIZE - len, ".%03uZ", (unsigned)(now.tv_nsec / 1000000) % 1000u);
}

/* What stands before the key=value part. Returns its length. */
static size_t write_head(char line[LINE_SIZE + 1], enum log_level level, const char *event)
{
	bool json = atomic_load_explicit(&as_json, memory_order_relaxed);
	char time[TIME_SIZE] = "";
	int n;

	if (atomic_load_explicit(&with_time, memory_order_relaxed))
		format_time(time);
	n = snprintf(line, LINE_SIZE + 1, "%s%s%s%s%s event=%s ", json && *time ? "time=" : "",
		time, *time ? " " : "", json ? "level=" : "", level_names[level], event);
	if (n < 0)
		return 0;
	return n > LINE_SIZE ? LINE_SIZE : (size_t)n;
}

/* What the journal takes off again: how urgent the line is, as in syslog. */
static size_t write_priority(char *out, enum log_level level)
{
	static const char digits[] = {
		[LOG_LEVEL_ERROR] = '3',
		[LOG_LEVEL_WARNING] = '4',
		[LOG_LEVEL_INFO] = '6',
		[LOG_LEVEL_DEBUG] = '7',
	};

	if (!atomic_load_explicit(&with_priority, memory_order_relaxed))
		return 0;
	memcpy(out, (const char[]){'<', digits[level], '>'}, PRIORITY_LENGTH);
	return PRIORITY_LENGTH;
}

static void write_out(enum log_level level, const char *line)
{
	char out[LINE_SIZE];
	size_t len = write_priority(out, level);

	if (atomic_load_explicit(&as_json, memory_order_relaxed))
		len += log_json(out + len, LINE_SIZE - 1 - len, line);
	else
		len += (size_t)snprintf(out + len, LINE_SIZE - len, "%s", line);
	out[len++] = '\n';
	write_line(out, len);
}

void log_event(enum log_level level, const char *event, const char *format, ...)
{
	char line[LINE_SIZE + 1];
	int saved_errno = errno;
	size_t len;
	int n;
	va_list args;

	if (!log_enabled(level))
		return;
	len = write_head(line, level, event);
	va_start(args, format);
	n = vsnprintf(line + len, sizeof(line) - len, format, args);
	va_end(args);
	len += n < 0 ? 0 : (size_t)n;
	if (len >= LINE_SIZE - PRIORITY_LENGTH)
		len = cut_line(line);
	while (len > 0 && line[len - 1] == ' ')
		len--;
	flatten(line, len);
	line[len] = '\0';
	write_out(level, line);
	errno = saved_errno;
}

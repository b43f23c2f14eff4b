/*
 * log.h - one line an event, on standard error.
 *
 * `time level event=name key=value reason="..."`, or a JSON object of the same. Safe to call from
 * any thread; a line is one write. What goes to systemd's journal has the level in front as it
 * wants it. Control characters and quotes in values are escaped, a line is cut at 4 KiB. Never hand
 * it a password, SASL data or a bound value.
 */
#ifndef PGASIDE_LOG_H
#define PGASIDE_LOG_H

#include <stdbool.h>

enum log_level {
	LOG_LEVEL_ERROR,
	LOG_LEVEL_WARNING,
	LOG_LEVEL_INFO,
	LOG_LEVEL_DEBUG
};

enum log_time {
	LOG_TIME_AUTO, /* unless standard error goes to systemd's journal, which adds its own */
	LOG_TIME_ON,
	LOG_TIME_OFF
};

struct log_options {
	enum log_level level;
	enum log_time time;
	bool json;
};

/* "error", "warning", "info", "debug"; false for anything else. */
bool log_level_from_name(const char *name, enum log_level *level);
/* On the main thread, at any time. Before the first call lines are text without time. */
void log_configure(const struct log_options *o);
/* What is above `level` is not written. The start value is info. */
void log_set_level(enum log_level level);
bool log_enabled(enum log_level level);

/*
 * Writes one line. `format` makes the `key=value` part, with plain `%s` only for values that this
 * program made itself; foreign text goes through log_quote(). errno stays as it was. A line that
 * cannot be written is lost: nothing waits for the log.
 */
void log_event(enum log_level level, const char *event, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/*
 * While a status line stands below the cursor of the terminal that is our standard error, a line of
 * the log wipes it first; whoever draws it will draw it again (status_line.h).
 */
void log_set_status_line(bool shown);
bool log_has_status_line(void);

/*
 * `text` in quotes, and cut to fit `size` (at least 8), which then shows as `..."`. Quotes and
 * backslashes get a backslash, line ends and tabs become \n, \r, \t, other control characters and
 * what is not UTF-8 \xNN. Returns `out`.
 */
const char *log_quote(char *out, unsigned size, const char *text, unsigned len);

#endif

/*
 * log_escape.h - a log line as JSON: pure text.
 *
 * The line is made as text in any case; log_quote() of log.h, which makes its values, is in the
 * same file.
 */
#ifndef PGASIDE_LOG_ESCAPE_H
#define PGASIDE_LOG_ESCAPE_H

#include <stddef.h>

/*
 * Writes `key=value key="value" ..` as one JSON object, without line end. Values of digits become
 * numbers, but for `sqlstate`; \xNN of log_quote() becomes \u00NN. What does not fit into `size`
 * (at least 64 bytes) is cut, so that it is an object still. Whatever the line has in it, the
 * result is well-formed and UTF-8. Returns its length; it is not terminated.
 */
size_t log_json(char *out, size_t size, const char *line);

/*
 * How many bytes the character at `text` has in UTF-8; 0 when it is of ASCII, none at all, or a
 * control character (U+0080 to U+009F). `len` is at least 1.
 */
unsigned log_utf8_length(const unsigned char *text, unsigned len);

#endif

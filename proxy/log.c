#include "log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
	LINE_SIZE = 4096, /* with the line end; no more than PIPE_BUF, so that a write is whole */
	PIECE_SIZE = 5	  /* the longest escape, \xNN, or a character of UTF-8, terminated */
};

static const char *const level_names[] = {
	[LOG_LEVEL_ERROR] = "error",
	[LOG_LEVEL_WARNING] = "warning",
	[LOG_LEVEL_INFO] = "info",
	[LOG_LEVEL_DEBUG] = "debug",
};

static atomic_int highest = LOG_LEVEL_INFO;

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

bool log_enabled(enum log_level level)
{
	return (int)level <= atomic_load_explicit(&highest, memory_order_relaxed);
}

/* How many bytes the character at `text` has in UTF-8; 0 when it is none, or a control character
 * (U+0080 to U+009F). */
static unsigned utf8_length(const unsigned char *text, unsigned len)
{
	static const struct {
		unsigned char lowest, highest, second_lowest, second_highest, length;
	} forms[] = {
		{0xc2, 0xc2, 0xa0, 0xbf, 2},
		{0xc3, 0xdf, 0x80, 0xbf, 2},
		{0xe0, 0xe0, 0xa0, 0xbf, 3},
		{0xe1, 0xec, 0x80, 0xbf, 3},
		{0xed, 0xed, 0x80, 0x9f, 3},
		{0xee, 0xef, 0x80, 0xbf, 3},
		{0xf0, 0xf0, 0x90, 0xbf, 4},
		{0xf1, 0xf3, 0x80, 0xbf, 4},
		{0xf4, 0xf4, 0x80, 0x8f, 4},
	};
	unsigned f = 0;

	while (f < sizeof(forms) / sizeof(forms[0]) &&
		!(text[0] >= forms[f].lowest && text[0] <= forms[f].highest))
		f++;
	if (f == sizeof(forms) / sizeof(forms[0]) || len < forms[f].length ||
		text[1] < forms[f].second_lowest || text[1] > forms[f].second_highest)
		return 0;
	for (unsigned i = 2; i < forms[f].length; i++)
		if ((text[i] & 0xc0) != 0x80)
			return 0;
	return forms[f].length;
}

/* One character as it is written, terminated. Returns how many bytes of `text` that is. */
static unsigned escape(char piece[PIECE_SIZE], const unsigned char *text, unsigned len)
{
	static const char special[] = "\"\"\\\\\nn\rr\tt"; /* pairs: character, letter */
	unsigned char c = text[0];
	unsigned used = utf8_length(text, len);

	for (const char *s = special; *s; s += 2) {
		if ((char)c == s[0]) {
			snprintf(piece, PIECE_SIZE, "\\%c", s[1]);
			return 1;
		}
	}
	if (c >= 0x20 && c < 0x7f)
		used = 1;
	if (used == 0) {
		snprintf(piece, PIECE_SIZE, "\\x%02x", c);
		return 1;
	}
	memcpy(piece, text, used);
	piece[used] = '\0';
	return used;
}

const char *log_quote(char *out, unsigned size, const char *text, unsigned len)
{
	static const char cut[] = "...\"";
	unsigned at = 1, cut_at = 1;
	char piece[PIECE_SIZE];

	out[0] = '"';
	for (unsigned i = 0; i < len;) {
		unsigned used = escape(piece, (const unsigned char *)text + i, len - i);
		unsigned n = (unsigned)strlen(piece);

		if (at + sizeof(cut) <= size)
			cut_at = at;
		if (at + n + sizeof("\"") > size) {
			memcpy(out + cut_at, cut, sizeof(cut));
			return out;
		}
		memcpy(out + at, piece, n);
		at += n;
		i += used;
	}
	memcpy(out + at, "\"", sizeof("\""));
	return out;
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

	while ((next = len + unit(line + len, quoted)) <= LINE_SIZE - strlen("...\"\n")) {
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

static void write_line(const char *line, size_t len)
{
	ssize_t n;

	do {
		n = write(STDERR_FILENO, line, len);
	} while (n < 0 && errno == EINTR);
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
	n = snprintf(line, sizeof(line), "%s event=%s ", level_names[level], event);
	len = n < 0 ? 0 : (size_t)n;
	if (len >= sizeof(line))
		len = sizeof(line) - 1;
	va_start(args, format);
	n = vsnprintf(line + len, sizeof(line) - len, format, args);
	va_end(args);
	len += n < 0 ? 0 : (size_t)n;
	if (len >= LINE_SIZE)
		len = cut_line(line);
	while (len > 0 && line[len - 1] == ' ')
		len--;
	flatten(line, len);
	line[len++] = '\n';
	write_line(line, len);
	errno = saved_errno;
}

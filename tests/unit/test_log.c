#include "log.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define LENGTH(a) (sizeof(a) / sizeof((a)[0]))
#define TEXT(text) text, sizeof(text) - 1

static const struct {
	const char *label;
	const char *text;
	size_t len;
	const char *want;
} quote_cases[] = {
	{"empty", TEXT(""), "\"\""},
	{"plain", TEXT("select 1"), "\"select 1\""},
	{"quote and backslash", TEXT("a\"b\\c"), "\"a\\\"b\\\\c\""},
	{"line ends and tab", TEXT("a\nb\rc\td"), "\"a\\nb\\rc\\td\""},
	{"NUL", TEXT("a\0b"), "\"a\\x00b\""},
	{"terminal escape", TEXT("\033[31m"), "\"\\x1b[31m\""},
	{"DEL", TEXT("\177"), "\"\\x7f\""},
	{"percent", TEXT("%s%n"), "\"%s%n\""},
	{"UTF-8 of two bytes", TEXT("\xc3\xa9"), "\"\xc3\xa9\""},
	{"UTF-8 of three bytes", TEXT("\xe2\x82\xac"), "\"\xe2\x82\xac\""},
	{"UTF-8 of four bytes", TEXT("\xf0\x9f\x90\x98"), "\"\xf0\x9f\x90\x98\""},
	{"control character in UTF-8", TEXT("\xc2\x9b"), "\"\\xc2\\x9b\""},
	{"Latin 1", TEXT("caf\xe9"), "\"caf\\xe9\""},
	{"alone continuation", TEXT("\x80z"), "\"\\x80z\""},
	{"overlong", TEXT("\xc0\xaf"), "\"\\xc0\\xaf\""},
	{"overlong of three bytes", TEXT("\xe0\x80\xaf"), "\"\\xe0\\x80\\xaf\""},
	{"surrogate", TEXT("\xed\xa0\x80"), "\"\\xed\\xa0\\x80\""},
	{"above Unicode", TEXT("\xf4\x90\x80\x80"), "\"\\xf4\\x90\\x80\\x80\""},
	{"cut character", TEXT("\xe2\x82"), "\"\\xe2\\x82\""},
	{"broken character", TEXT("\xe2\x82z"), "\"\\xe2\\x82z\""},
};

static void foreign_text_is_quoted_and_escaped(void **state)
{
	char out[100];

	(void)state;
	for (size_t i = 0; i < LENGTH(quote_cases); i++) {
		const char *got = log_quote(
			out, sizeof(out), quote_cases[i].text, (unsigned)quote_cases[i].len);

		assert_ptr_equal(got, out);
		if (strcmp(got, quote_cases[i].want) != 0)
			fail_msg("%s: %s", quote_cases[i].label, got);
	}
}

static void quoted_text_is_cut_to_its_size(void **state)
{
	static const struct {
		const char *text;
		unsigned size;
		const char *want;
	} cases[] = {
		{"abcde", 8, "\"abcde\""},
		{"abcdef", 8, "\"ab...\""},
		{"abcdefghijkl", 12, "\"abcdef...\""},
		{"\n\n\n\n", 8, "\"\\n...\""},
		{"a\n\n\n\n", 8, "\"a...\""},
		{"ab\n\n\n\n", 8, "\"ab...\""},
		{"\xf0\x9f\x90\x98\xf0\x9f\x90\x98", 8, "\"...\""},
		{"\x01\x01\x01", 8, "\"...\""},
	};

	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++) {
		/* Exactly as large as promised, so that the sanitizer sees a write past it. */
		char *out = malloc(cases[i].size);

		assert_non_null(out);
		log_quote(out, cases[i].size, cases[i].text, (unsigned)strlen(cases[i].text));
		assert_string_equal(out, cases[i].want);
		free(out);
	}
}

static void every_size_and_length_stays_within_bounds(void **state)
{
	static const char text[] = "a\"\n\x01\xe2\x82\xac\xf0\x9f\x90\x98\xff-tail";

	(void)state;
	for (unsigned size = 8; size < 60; size++) {
		for (unsigned len = 0; len < sizeof(text); len++) {
			char *out = malloc(size);

			assert_non_null(out);
			log_quote(out, size, text, len);
			assert_true(strlen(out) < size);
			assert_int_equal(out[0], '"');
			assert_int_equal(out[strlen(out) - 1], '"');
			free(out);
		}
	}
}

/* Standard error goes into a pipe meanwhile. */
struct capture {
	int saved, reader;
	char text[10000];
};

static void capture_start(struct capture *c)
{
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	c->saved = dup(STDERR_FILENO);
	c->reader = fds[0];
	dup2(fds[1], STDERR_FILENO);
	close(fds[1]);
}

static void capture_end(struct capture *c)
{
	size_t len = 0;
	ssize_t n;

	dup2(c->saved, STDERR_FILENO);
	close(c->saved);
	while ((n = read(c->reader, c->text + len, sizeof(c->text) - 1 - len)) > 0)
		len += (size_t)n;
	c->text[len] = '\0';
	close(c->reader);
}

static void a_line_names_level_and_event(void **state)
{
	struct capture c;

	(void)state;
	log_set_level(LOG_LEVEL_INFO);
	capture_start(&c);
	log_event(LOG_LEVEL_ERROR, "one", "session=%d", 17);
	log_event(LOG_LEVEL_WARNING, "two", "a=%s b=%s", "x", "y");
	log_event(LOG_LEVEL_INFO, "three", "%s", "");
	capture_end(&c);
	assert_string_equal(c.text, "error event=one session=17\n"
				    "warning event=two a=x b=y\n"
				    "info event=three\n");
}

static void what_is_above_the_level_is_not_written(void **state)
{
	struct capture c;

	(void)state;
	log_set_level(LOG_LEVEL_WARNING);
	capture_start(&c);
	log_event(LOG_LEVEL_INFO, "no", "a=1");
	log_event(LOG_LEVEL_DEBUG, "no", "a=1");
	log_event(LOG_LEVEL_WARNING, "yes", "a=1");
	capture_end(&c);
	assert_string_equal(c.text, "warning event=yes a=1\n");
	assert_true(log_enabled(LOG_LEVEL_ERROR));
	assert_false(log_enabled(LOG_LEVEL_INFO));
	log_set_level(LOG_LEVEL_INFO);
}

static void control_characters_never_make_a_second_line(void **state)
{
	struct capture c;

	(void)state;
	capture_start(&c);
	log_event(LOG_LEVEL_INFO, "x", "user=%s", "a\nerror event=forged\033[0m");
	capture_end(&c);
	assert_string_equal(c.text, "info event=x user=a?error event=forged?[0m\n");
}

/* The line of an event with a quoted value of `len` times `fill`. */
static void write_long(struct capture *c, int fill, unsigned len)
{
	static char text[9000], quoted[9000];

	memset(text, fill, len);
	capture_start(c);
	log_event(LOG_LEVEL_INFO, "x", "sql=%s after=1",
		log_quote(quoted, sizeof(quoted), text, len));
	capture_end(c);
}

static bool ends_with(const char *text, const char *end)
{
	size_t len = strlen(text), end_len = strlen(end);

	return len >= end_len && strcmp(text + len - end_len, end) == 0;
}

static unsigned quotes(const char *text)
{
	unsigned n = 0;

	for (; *text; text++) {
		if (*text == '\\' && text[1])
			text++;
		else if (*text == '"')
			n++;
	}
	return n;
}

static void a_line_is_cut_at_four_kib_with_its_quotes_closed(void **state)
{
	static const int fills[] = {'a', '\\', '"', '\n', 1};
	struct capture c;

	(void)state;
	for (size_t f = 0; f < LENGTH(fills); f++) {
		for (unsigned len = 900; len < 4100; len += len % 1000 < 60 ? 1 : 31) {
			write_long(&c, fills[f], len);
			assert_true(strlen(c.text) <= 4096);
			assert_int_equal(strcspn(c.text, "\n"), strlen(c.text) - 1);
			assert_int_equal(quotes(c.text), 2);
			if (strlen(c.text) < 4090)
				assert_true(ends_with(c.text, "\" after=1\n"));
			else
				assert_true(ends_with(c.text, " after=1\n") ||
					    ends_with(c.text, "...\n") ||
					    ends_with(c.text, "...\"\n"));
		}
	}
}

static void errno_survives(void **state)
{
	struct capture c;

	(void)state;
	capture_start(&c);
	close(STDERR_FILENO);
	errno = ENOENT;
	log_event(LOG_LEVEL_INFO, "x", "a=1");
	assert_int_equal(errno, ENOENT);
	capture_end(&c);
	assert_string_equal(c.text, "");
}

static void levels_have_names(void **state)
{
	enum log_level level;

	(void)state;
	assert_true(log_level_from_name("error", &level));
	assert_int_equal(level, LOG_LEVEL_ERROR);
	assert_true(log_level_from_name("debug", &level));
	assert_int_equal(level, LOG_LEVEL_DEBUG);
	assert_false(log_level_from_name("", &level));
	assert_false(log_level_from_name("Info", &level));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(foreign_text_is_quoted_and_escaped),
		cmocka_unit_test(quoted_text_is_cut_to_its_size),
		cmocka_unit_test(every_size_and_length_stays_within_bounds),
		cmocka_unit_test(a_line_names_level_and_event),
		cmocka_unit_test(what_is_above_the_level_is_not_written),
		cmocka_unit_test(control_characters_never_make_a_second_line),
		cmocka_unit_test(a_line_is_cut_at_four_kib_with_its_quotes_closed),
		cmocka_unit_test(errno_survives),
		cmocka_unit_test(levels_have_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

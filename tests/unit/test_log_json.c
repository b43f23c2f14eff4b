#include "log_escape.h"

#include "log.h"

#include <regex.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define LENGTH(a) (sizeof(a) / sizeof((a)[0]))

static const struct {
	const char *label, *line, *want;
} cases[] = {
	{"nothing", "", "{}"},
	{"words and numbers", "level=info event=x session=17",
		"{\"level\":\"info\",\"event\":\"x\",\"session\":17}"},
	{"quoted", "user=\"app\" reason=\"a b=c\"", "{\"user\":\"app\",\"reason\":\"a b=c\"}"},
	{"empty", "sqlstate= reason=\"\"", "{\"sqlstate\":\"\",\"reason\":\"\"}"},
	{"a SQLSTATE is no number", "sqlstate=42501 n=42501",
		"{\"sqlstate\":\"42501\",\"n\":42501}"},
	{"no number either", "a=007 b=0 c=-1 d=1234567890123456",
		"{\"a\":\"007\",\"b\":0,\"c\":\"-1\",\"d\":\"1234567890123456\"}"},
	{"a number in quotes", "user=\"17\"", "{\"user\":\"17\"}"},
	{"escapes", "a=\"\\\"\\\\\\n\\r\\t\\x01\\xff\"",
		"{\"a\":\"\\\"\\\\\\n\\r\\t\\u0001\\u00ff\"}"},
	{"escapes that log_quote() does not make", "a=\"\\q\\x\"", "{\"a\":\"\\\\q\\\\x\"}"},
	{"backslash and quote outside of quotes", "a=x\"y\\z", "{\"a\":\"x\\\"y\\\\z\"}"},
	{"a quote that is not closed", "a=\"xy", "{\"a\":\"xy\"}"},
	{"a backslash at the end", "a=\"xy\\", "{\"a\":\"xy\\\\\"}"},
	{"a word alone", "a=x y z=1", "{\"a\":\"x\",\"y\":\"\",\"z\":1}"},
	{"UTF-8", "a=\"\xe2\x82\xac\"", "{\"a\":\"\xe2\x82\xac\"}"},
	{"not UTF-8", "a=\xff\x1f", "{\"a\":\"\\u00ff\\u001f\"}"},
};

static void a_line_becomes_an_object(void **state)
{
	char out[200];

	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++) {
		size_t len = log_json(out, sizeof(out), cases[i].line);

		if (len != strlen(cases[i].want) || memcmp(out, cases[i].want, len) != 0)
			fail_msg("%s: %.*s", cases[i].label, (int)len, out);
	}
}

/* {"key":value,...} with strings and whole numbers: all that is written here. */
static bool is_object(const char *text)
{
#define STRING "\"([^\"\\\\\001-\037]|\\\\[\"\\\\nrt]|\\\\u00[0-9a-f]{2})*\""
#define PAIR STRING ":(" STRING "|[0-9]+)"
	static regex_t pattern;
	static bool compiled;

	if (!compiled)
		assert_int_equal(regcomp(&pattern, "^\\{(" PAIR "(," PAIR ")*)?\\}$",
					 REG_EXTENDED | REG_NOSUB),
			0);
	compiled = true;
	return regexec(&pattern, text, 0, NULL, 0) == 0;
}

static void a_cut_object_is_one_still(void **state)
{
	static const char *const lines[] = {
		"level=info event=something user=\"a\\xff\\x01\\\"\\\\\\n-tail\" n=12345 last=x",
		"a=\"\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xf0\x9f\x90\x98\" b=\"\" c= d=1 e=2 f=3 "
		"g=44444",
		"a_rather_long_key_of_which_nothing_may_be_lost=1 another_one_of_that_kind=2",
		"a=\".............................................................................."
		"..\"",
	};

	(void)state;
	for (size_t i = 0; i < LENGTH(lines); i++) {
		for (size_t size = 64; size < 160; size++) {
			/* Exactly as large as promised, so that the sanitizer sees a write past it.
			 */
			char *out = malloc(size), *text;
			size_t len;

			assert_non_null(out);
			len = log_json(out, size, lines[i]);
			assert_in_range(len, 2, size);
			text = strndup(out, len);
			assert_non_null(text);
			if (!is_object(text))
				fail_msg("%zu: %s", size, text);
			free(text);
			free(out);
		}
	}
}

static void any_bytes_become_an_object(void **state)
{
	static const char alphabet[] = "ab= \"\"\\\\xn0917=,{}\xe2\x82\xac\xff\x1f\x7f";
	unsigned random = 4711;

	(void)state;
	for (int i = 0; i < 20000; i++) {
		char line[60], out[401];
		size_t len = (size_t)i % sizeof(line);

		for (size_t at = 0; at < len; at++) {
			random = random * 1103515245u + 12345u;
			line[at] = alphabet[(random >> 16) % (sizeof(alphabet) - 1)];
		}
		line[len] = '\0';
		out[log_json(out, i % 3 ? 400 : 64, line)] = '\0';
		if (!is_object(out))
			fail_msg("%s", out);
	}
}

/* What log_event() writes to standard error, with these options. */
static const char *written(const struct log_options *o)
{
	static char text[5000];
	int fds[2], saved = dup(STDERR_FILENO);
	ssize_t n;

	assert_int_equal(pipe(fds), 0);
	dup2(fds[1], STDERR_FILENO);
	log_configure(o);
	log_event(LOG_LEVEL_WARNING, "x", "user=\"a\" n=%d", 1);
	dup2(saved, STDERR_FILENO);
	close(saved);
	close(fds[1]);
	n = read(fds[0], text, sizeof(text) - 1);
	close(fds[0]);
	assert_true(n > 0);
	text[n] = '\0';
	log_configure(&(struct log_options){.level = LOG_LEVEL_INFO, .time = LOG_TIME_OFF});
	return text;
}

static void assert_like(const char *text, const char *pattern)
{
	regex_t r;

	assert_int_equal(regcomp(&r, pattern, REG_EXTENDED | REG_NOSUB), 0);
	if (regexec(&r, text, 0, NULL, 0) != 0)
		fail_msg("%s", text);
	regfree(&r);
}

#define TIME "20[0-9]{2}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-6][0-9]\\.[0-9]{3}Z"

static void a_line_begins_with_the_time_if_that_is_wanted(void **state)
{
	struct log_options o = {.level = LOG_LEVEL_INFO};

	(void)state;
	assert_like(written(&o), "^" TIME " warning event=x user=\"a\" n=1\n$");
	o.time = LOG_TIME_OFF;
	assert_string_equal(written(&o), "warning event=x user=\"a\" n=1\n");
	o.json = true;
	assert_string_equal(
		written(&o), "{\"level\":\"warning\",\"event\":\"x\",\"user\":\"a\",\"n\":1}\n");
	o.time = LOG_TIME_ON;
	assert_like(
		written(&o), "^\\{\"time\":\"" TIME "\",\"level\":\"warning\",\"event\":\"x\",");
}

/* JOURNAL_STREAM names standard error only if that is the journal. */
static void the_journal_gets_the_level_and_adds_the_time_itself(void **state)
{
	struct log_options o = {.level = LOG_LEVEL_INFO};
	int saved = dup(STDERR_FILENO), fd;
	char path[] = "/tmp/pgaside-test-XXXXXX", name[64], text[200];
	struct stat s;
	ssize_t n;

	(void)state;
	setenv("JOURNAL_STREAM", "1:1", 1);
	assert_like(written(&o), "^" TIME " warning");
	fd = mkstemp(path);
	assert_true(fd >= 0);
	unlink(path);
	assert_int_equal(fstat(fd, &s), 0);
	snprintf(name, sizeof(name), "%ju:%ju", (uintmax_t)s.st_dev, (uintmax_t)s.st_ino);
	setenv("JOURNAL_STREAM", name, 1);
	dup2(fd, STDERR_FILENO);
	log_configure(&o);
	log_event(LOG_LEVEL_WARNING, "x", "n=1");
	o.json = true;
	o.time = LOG_TIME_ON;
	log_configure(&o);
	log_event(LOG_LEVEL_ERROR, "y", "n=2");
	dup2(saved, STDERR_FILENO);
	close(saved);
	unsetenv("JOURNAL_STREAM");
	n = pread(fd, text, sizeof(text) - 1, 0);
	close(fd);
	text[n > 0 ? n : 0] = '\0';
	assert_like(
		text, "^<4>warning event=x n=1\n<3>\\{\"time\":\"" TIME "\",\"level\":\"error\"");
	log_configure(&(struct log_options){.level = LOG_LEVEL_INFO, .time = LOG_TIME_OFF});
}

/* Escapes grow in JSON: the line must still be one write, and an object. */
static void a_long_line_is_cut_to_four_kib_as_json_too(void **state)
{
	static char text[5000], quoted[9000], got[5000];
	int fds[2], saved = dup(STDERR_FILENO);
	ssize_t n;

	(void)state;
	memset(text, 1, sizeof(text));
	assert_int_equal(pipe(fds), 0);
	dup2(fds[1], STDERR_FILENO);
	log_configure(&(struct log_options){.level = LOG_LEVEL_INFO, .json = true});
	log_event(LOG_LEVEL_INFO, "x", "sql=%s after=1",
		log_quote(quoted, sizeof(quoted), text, sizeof(text)));
	dup2(saved, STDERR_FILENO);
	close(saved);
	log_configure(&(struct log_options){.level = LOG_LEVEL_INFO, .time = LOG_TIME_OFF});
	close(fds[1]);
	n = read(fds[0], got, sizeof(got) - 1);
	close(fds[0]);
	assert_in_range(n, 4000, 4096);
	assert_int_equal(got[n - 1], '\n');
	got[n - 1] = '\0';
	assert_true(is_object(got));
	assert_non_null(strstr(got, "...\"}"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_line_becomes_an_object),
		cmocka_unit_test(a_cut_object_is_one_still),
		cmocka_unit_test(any_bytes_become_an_object),
		cmocka_unit_test(a_line_begins_with_the_time_if_that_is_wanted),
		cmocka_unit_test(the_journal_gets_the_level_and_adds_the_time_itself),
		cmocka_unit_test(a_long_line_is_cut_to_four_kib_as_json_too),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "progress.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LENGTH(a) (sizeof(a) / sizeof((a)[0]))

/* Counters of all kinds at once: what a former phase has left in the view. */
static struct progress read_phase(const char *phase, bool reindex)
{
	struct progress_sample s = {.phase = phase,
		.reindex = reindex,
		.lockers_total = 4,
		.lockers_done = 1,
		.blocks_total = 200,
		.blocks_done = 50,
		.tuples_total = 1000,
		.tuples_done = 999};
	struct progress p;

	progress_read(&p, &s);
	return p;
}

static void each_phase_is_measured_by_its_own_counter(void **state)
{
	static const struct {
		const char *phase;
		unsigned step;
		int percent;
		const char *unit;
	} want[] = {
		{"initializing", 0, -1, ""},
		{"waiting for writers before build", 1, -1, "sessions"},
		{"building index", 2, 25, "blocks"},
		{"building index: initializing", 2, -1, ""},
		{"building index: scanning table", 2, 25, "blocks"},
		{"building index: sorting live tuples", 3, -1, ""},
		{"building index: sorting dead tuples", 3, -1, ""},
		{"building index: loading tuples in tree", 4, 99, "tuples"},
		{"waiting for writers before validation", 5, -1, "sessions"},
		{"index validation: scanning index", 6, 25, "blocks"},
		{"index validation: sorting tuples", 7, -1, ""},
		{"index validation: scanning table", 8, 25, "blocks"},
		{"waiting for old snapshots", 9, -1, "sessions"},
		{"waiting for readers before marking dead", 10, -1, "sessions"},
		{"waiting for readers before dropping", 11, -1, "sessions"},
		{"a phase of a version to come", 0, -1, ""},
	};

	(void)state;
	for (size_t i = 0; i < LENGTH(want); i++) {
		struct progress p = read_phase(want[i].phase, true);

		assert_string_equal(p.phase, want[i].phase);
		if (p.step != want[i].step || p.percent != want[i].percent ||
			strcmp(p.unit, want[i].unit) != 0)
			fail_msg("%s: step %u, %d %%, %s", p.phase, p.step, p.percent, p.unit);
		assert_int_equal(p.steps, want[i].step ? 11 : 0);
	}
	assert_int_equal(read_phase("building index", false).steps, 9);
}

static void what_the_server_does_not_say_has_no_measure(void **state)
{
	struct progress p = read_phase(NULL, false);
	struct progress_sample nothing = {.phase = "building index: scanning table"};

	(void)state;
	assert_string_equal(p.phase, "");
	assert_int_equal(p.step, 0);
	assert_int_equal(p.percent, PROGRESS_NO_PERCENT);
	progress_read(&p, &nothing);
	assert_int_equal(p.percent, PROGRESS_NO_PERCENT);
	assert_int_equal(p.total, 0);
}

static void a_percentage_stays_between_0_and_100(void **state)
{
	static const struct {
		uint64_t done, total;
		int want;
	} cases[] = {{0, 1, 0}, {1, 1, 100}, {199, 200, 99}, {201, 200, 100}, {UINT64_MAX, 1, 100},
		{UINT64_MAX / 2, UINT64_MAX, 50}, {1, UINT64_MAX, 0}};

	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++) {
		struct progress_sample s = {.phase = "building index",
			.blocks_done = cases[i].done,
			.blocks_total = cases[i].total};
		struct progress p;

		progress_read(&p, &s);
		assert_int_equal(p.percent, cases[i].want);
	}
}

static void a_phase_that_is_too_long_is_cut(void **state)
{
	char phase[200];

	(void)state;
	memset(phase, 'x', sizeof(phase));
	phase[sizeof(phase) - 1] = '\0';
	assert_int_equal(strlen(read_phase(phase, false).phase), PROGRESS_PHASE - 1);
}

static void times_are_written_as_on_a_clock(void **state)
{
	static const struct {
		uint64_t ms;
		const char *want;
	} cases[] = {{0, "0:00"}, {999, "0:00"}, {59999, "0:59"}, {60000, "1:00"},
		{3599999, "59:59"}, {3600000, "1:00:00"}, {360000000, "100:00:00"}};
	char out[24];

	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++)
		assert_string_equal(progress_time(out, sizeof(out), cases[i].ms), cases[i].want);
}

static void a_bar_is_as_full_as_the_percentage(void **state)
{
	static const struct {
		unsigned width;
		int percent;
		uint64_t ms;
		const char *want;
	} cases[] = {{12, 0, 0, "[----------]"}, {12, 9, 0, "[----------]"},
		{12, 10, 0, "[#---------]"}, {12, 99, 0, "[#########-]"},
		{12, 100, 0, "[##########]"}, {3, 50, 0, "[-]"}, {3, 100, 0, "[#]"},
		{12, -1, 0, "[=.........]"}, {12, -1, 3500, "[...=......]"},
		{12, -1, 12000, "[..=.......]"}};
	char out[16];

	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++)
		assert_string_equal(
			progress_bar(out, cases[i].width, cases[i].percent, cases[i].ms),
			cases[i].want);
}

static struct progress_line line_of(const struct progress *p, const char *blocked_by)
{
	return (struct progress_line){
		.progress = p, .doing = "running", .blocked_by = blocked_by, .elapsed_ms = 72000};
}

static void a_line_has_phase_bar_percent_and_time(void **state)
{
	struct progress p = read_phase("building index: scanning table", false);
	struct progress_line l = line_of(&p, "");
	char out[400];

	(void)state;
	assert_string_equal(progress_terminal(out, sizeof(out), 80, &l),
		"pgaside: building index: scanning table (2/9) [####---------------]  25 %  "
		"1:12");
	assert_string_equal(progress_terminal(out, sizeof(out), 200, &l),
		"pgaside: building index: scanning table (2/9) "
		"[#######-----------------------]  25 %  1:12");
	/* Without room for a bar there is none. */
	assert_string_equal(progress_terminal(out, sizeof(out), 60, &l),
		"pgaside: building index: scanning table (2/9)  25 %  1:12");
	l.others = 2;
	assert_non_null(strstr(progress_terminal(out, sizeof(out), 100, &l), "and 2 more"));
}

static void a_line_says_who_is_in_the_way(void **state)
{
	struct progress p = read_phase("waiting for old snapshots", false), none;
	struct progress_line l = line_of(&p, "77 idle in transaction 'app'");
	struct progress_sample nothing = {.phase = NULL};
	char out[400];

	(void)state;
	assert_string_equal(progress_terminal(out, sizeof(out), 120, &l),
		"pgaside: waiting for old snapshots (9/9) [=.....] 1 of 4 gone  1:12  "
		"waits for 77 idle in transaction 'app'");
	progress_read(&none, &nothing);
	l = line_of(&none, "");
	assert_string_equal(progress_terminal(out, sizeof(out), 50, &l),
		"pgaside: running [=.......................]  1:12");
}

static void a_line_never_is_wider_than_the_terminal(void **state)
{
	struct progress p = read_phase("building index: loading tuples in tree", true);
	struct progress_line l =
		line_of(&p, "77 active '\xc3\xa4\xc3\xb6\xc3\xbc\x1b[2J\n', 78 idle in transaction "
			    "'something with a very long name that goes on and on'");
	char out[400];

	(void)state;
	l.others = 3;
	for (unsigned columns = 0; columns < 200; columns++) {
		unsigned n = 0, most = columns > 20 ? columns - 1 : 19;

		progress_terminal(out, sizeof(out), columns, &l);
		for (const char *c = out; *c; c++) {
			n += ((unsigned char)*c & 0xc0) != 0x80;
			assert_true((unsigned char)*c >= 0x20);
		}
		if (n > most)
			fail_msg("%u characters in %u columns: %s", n, columns, out);
	}
	/* And a buffer that is too small is never overrun. */
	for (size_t size = 1; size < 100; size++)
		assert_true(strlen(progress_terminal(out, size, 200, &l)) < size);
}

static void a_sentence_says_the_same_without_a_bar(void **state)
{
	struct progress p = read_phase("index validation: scanning table", false);
	struct progress_line l = line_of(&p, "77 active 'x'");
	char out[400];

	(void)state;
	assert_string_equal(progress_sentence(out, sizeof(out), &l),
		"pgaside: index validation: scanning table (8/9), 25 %, 1:12, waits for 77 active "
		"'x'");
	for (size_t size = 1; size < 100; size++)
		assert_true(strlen(progress_sentence(out, size, &l)) < size);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_phase_is_measured_by_its_own_counter),
		cmocka_unit_test(what_the_server_does_not_say_has_no_measure),
		cmocka_unit_test(a_percentage_stays_between_0_and_100),
		cmocka_unit_test(a_phase_that_is_too_long_is_cut),
		cmocka_unit_test(times_are_written_as_on_a_clock),
		cmocka_unit_test(a_bar_is_as_full_as_the_percentage),
		cmocka_unit_test(a_line_has_phase_bar_percent_and_time),
		cmocka_unit_test(a_line_says_who_is_in_the_way),
		cmocka_unit_test(a_line_never_is_wider_than_the_terminal),
		cmocka_unit_test(a_sentence_says_the_same_without_a_bar),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

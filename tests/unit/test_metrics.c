#include "metrics.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ledger.h"

static struct stats_aside aside_of(uint64_t id, const char *statement)
{
	struct stats_aside a = {.id = id,
		.session = 7,
		.kind = STATS_REINDEX,
		.placement = STATS_NOW,
		.state = "running",
		.progress = {.percent = PROGRESS_NO_PERCENT, .unit = ""}};

	stats_copy_text(a.statement, sizeof(a.statement), slice_str(statement));
	return a;
}

/* What a writer makes of the picture, terminated; the caller frees it. */
static char *written(
	struct stats *st, void (*write)(struct bytes *out, const struct metrics_facts *f))
{
	struct stats_picture p;
	struct config config = {.workers = 2};
	struct metrics_facts f = {.picture = &p, .config = &config, .now_ms = 5000};
	struct bytes out;
	char *text;

	assert_true(stats_take(st, &p));
	bytes_init(&out, 1u << 20);
	write(&out, &f);
	bytes_put_u8(&out, 0);
	assert_false(bytes_failed(&out));
	text = strdup((const char *)bytes_view(&out).data);
	bytes_release(&out);
	stats_release(&p);
	return text;
}

static void has(struct stats *st, void (*write)(struct bytes *, const struct metrics_facts *),
	const char *wanted)
{
	char *text = written(st, write);

	if (!strstr(text, wanted))
		fail_msg("no %s in %s", wanted, text);
	free(text);
}

static void a_text_is_cut_between_two_characters(void **state)
{
	static const char text[] = "a\xc3\xa4\xe2\x82\xac";
	static const size_t want[] = {0, 0, 1, 1, 3, 3, 3, 6, 6};
	char out[16];

	(void)state;
	for (size_t size = 1; size < sizeof(want) / sizeof(want[0]); size++) {
		stats_copy_text(out, size, slice_str(text));
		assert_int_equal(strlen(out), want[size]);
	}
}

static void a_running_aside_is_seen_until_it_is_gone(void **state)
{
	struct stats *st = stats_new();
	struct stats_aside first = aside_of(1, "REINDEX 1"), second = aside_of(2, "REINDEX 2"), got;

	(void)state;
	assert_int_equal(stats_running(st, &got), 0);
	stats_aside_show(st, &first);
	stats_aside_show(st, &second);
	first.state = "verifying";
	stats_aside_show(st, &first);
	assert_int_equal(stats_running(st, &got), 2);
	assert_int_equal(got.id, 1);
	assert_string_equal(got.state, "verifying");
	stats_aside_gone(st, 1);
	stats_aside_gone(st, 1);
	assert_int_equal(stats_running(st, &got), 1);
	assert_int_equal(got.id, 2);
	stats_free(st);
}

static void the_latest_that_ended_comes_first_and_the_oldest_is_forgotten(void **state)
{
	struct stats *st = stats_new();
	struct stats_picture p;

	(void)state;
	for (uint64_t id = 1; id <= STATS_RECENT + 3; id++) {
		struct stats_aside a = aside_of(id, "REINDEX");

		a.outcome = STATS_DONE;
		stats_aside_told(st, &a);
		/* Where nothing ran, nothing ended. */
		a.outcome = STATS_IN_THE_WAY;
		stats_aside_told(st, &a);
	}
	assert_true(stats_take(st, &p));
	assert_int_equal(p.n_recent, STATS_RECENT);
	assert_int_equal(p.recent[0].id, STATS_RECENT + 3);
	assert_int_equal(p.recent[STATS_RECENT - 1].id, 4);
	assert_int_equal(p.asides[STATS_REINDEX][STATS_NOW][STATS_DONE], STATS_RECENT + 3);
	assert_int_equal(p.asides[STATS_REINDEX][STATS_NOW][STATS_IN_THE_WAY], STATS_RECENT + 3);
	stats_release(&p);
	stats_free(st);
}

static void a_duration_is_in_the_bucket_that_bounds_it(void **state)
{
	static const uint64_t durations[] = {0, 50, 51, 250, 1000, 7200000, 7200001};
	struct stats *st = stats_new();

	(void)state;
	for (size_t i = 0; i < sizeof(durations) / sizeof(durations[0]); i++) {
		struct stats_aside a = aside_of(i, "REINDEX");

		a.duration_ms = durations[i];
		stats_aside_told(st, &a);
	}
	has(st, metrics_write, "{statement=\"reindex\",placement=\"now\",le=\"0.05\"} 2\n");
	has(st, metrics_write, "{statement=\"reindex\",placement=\"now\",le=\"0.25\"} 4\n");
	has(st, metrics_write, "{statement=\"reindex\",placement=\"now\",le=\"1\"} 5\n");
	has(st, metrics_write, "{statement=\"reindex\",placement=\"now\",le=\"1800\"} 5\n");
	has(st, metrics_write, "{statement=\"reindex\",placement=\"now\",le=\"7200\"} 6\n");
	has(st, metrics_write, "{statement=\"reindex\",placement=\"now\",le=\"+Inf\"} 7\n");
	has(st, metrics_write, "seconds_sum{statement=\"reindex\",placement=\"now\"} 14401.352\n");
	stats_free(st);
}

static void an_sqlstate_that_nobody_knows_is_counted_as_other(void **state)
{
	struct stats *st = stats_new();

	(void)state;
	stats_error(st, "23505");
	stats_error(st, "P0001");
	stats_error(st, "XY123");
	stats_error(st, "");
	has(st, metrics_write, "pgaside_errors_total{sqlstate=\"23505\"} 1\n");
	has(st, metrics_write, "pgaside_errors_total{sqlstate=\"other\"} 3\n");
	stats_free(st);
}

static void bytes_of_a_session_that_is_gone_still_count(void **state)
{
	struct stats *st = stats_new();
	atomic_ullong up = 10, down = 20;
	struct stats_session s = {.id = 1, .up = &up, .down = &down};
	struct stats_session other = {.id = 2, .up = &up, .down = &down};

	(void)state;
	stats_session_add(st, &s);
	stats_session_add(st, &other);
	stats_session_remove(st, &s);
	stats_session_remove(st, &s);
	has(st, metrics_write, "pgaside_bytes_total{from=\"client\"} 20\n");
	has(st, metrics_write, "pgaside_sessions 1\n");
	stats_session_remove(st, &other);
	has(st, metrics_write, "pgaside_bytes_total{from=\"server\"} 40\n");
	has(st, metrics_write, "pgaside_sessions 0\n");
	stats_free(st);
}

static void what_is_owed_is_seen_until_the_ledger_is_empty(void **state)
{
	static const struct sql_dialect dialect = {0};
	struct stats *st = stats_new();
	struct slice text = slice_str("DROP INDEX CONCURRENTLY i");
	struct statement s;
	struct ledger l, empty;

	(void)state;
	ledger_init(&l);
	ledger_init(&empty);
	assert_true(statement_first(text, dialect, &s));
	for (unsigned i = 0; i < STATS_OWED + 2; i++)
		assert_non_null(ledger_owe(&l, text, &s, slice_str("")));
	stats_owe(st, 9, false, &empty);
	has(st, metrics_write_json, "\"owed\":[]");
	stats_owe(st, 9, false, &l);
	has(st, metrics_write, "pgaside_owed_statements{transaction=\"open\"} 10\n");
	has(st, metrics_write_json, "{\"session\":9,\"committed\":false,\"n\":10,\"statements\":[");
	stats_owe(st, 9, true, &l);
	has(st, metrics_write, "pgaside_owed_statements{transaction=\"committed\"} 10\n");
	stats_owe(st, 9, true, &empty);
	has(st, metrics_write_json, "\"owed\":[]");
	ledger_release(&l);
	stats_free(st);
}

static void json_is_escaped(void **state)
{
	static const struct {
		const char *text, *want;
	} cases[] = {
		{"a\"b\\c", "\"a\\\"b\\\\c\""},
		{"\n\x01\x7f", "\"\\u000a\\u0001\\u007f\""},
		{"</script>&", "\"\\u003c/script\\u003e\\u0026\""},
		{"\xc3\xa4\xf0\x9f\x98\x80", "\"\xc3\xa4\xf0\x9f\x98\x80\""},
		{"\xe4x\xc3", "\"\\ufffdx\\ufffd\""},
		{"\xed\xa0\x80", "\"\\ufffd\\ufffd\\ufffd\""},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct stats *st = stats_new();
		struct stats_aside a = aside_of(1, cases[i].text);
		char want[100];

		stats_aside_show(st, &a);
		snprintf(want, sizeof(want), "\"statement\":%s,", cases[i].want);
		has(st, metrics_write_json, want);
		has(st, metrics_write_json, "\"percent\":null");
		stats_free(st);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_text_is_cut_between_two_characters),
		cmocka_unit_test(a_running_aside_is_seen_until_it_is_gone),
		cmocka_unit_test(the_latest_that_ended_comes_first_and_the_oldest_is_forgotten),
		cmocka_unit_test(a_duration_is_in_the_bucket_that_bounds_it),
		cmocka_unit_test(an_sqlstate_that_nobody_knows_is_counted_as_other),
		cmocka_unit_test(bytes_of_a_session_that_is_gone_still_count),
		cmocka_unit_test(what_is_owed_is_seen_until_the_ledger_is_empty),
		cmocka_unit_test(json_is_escaped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "placement.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LENGTH(a) (sizeof(a) / sizeof((a)[0]))

/* In a transaction at READ COMMITTED, an index on a table that everybody sees, nothing in the way.
 */
static struct placement_facts plain(void)
{
	return (struct placement_facts){.status = 'T',
		.guard = true,
		.read_committed = true,
		.visible = true,
		.exists = true};
}

static struct placement_facts outside(void)
{
	struct placement_facts f = plain();

	f.status = 'I';
	return f;
}

static void decides(struct placement_facts f, enum placement want)
{
	enum placement got = placement_decide(&f);

	if (got != want)
		fail_msg("%s, not %s", placement_name(got), placement_name(want));
}

static void outside_of_a_transaction_it_is_guarded(void **state)
{
	(void)state;
	decides(outside(), PLACEMENT_NOW);
}

static void outside_of_a_transaction_without_the_guard_it_is_native(void **state)
{
	struct placement_facts f = outside();

	(void)state;
	f.guard = false;
	decides(f, PLACEMENT_NATIVE);
}

static void outside_of_a_transaction_what_others_cannot_see_is_native(void **state)
{
	struct placement_facts f = outside();

	(void)state;
	f.visible = false;
	decides(f, PLACEMENT_NATIVE);
	f.exists = false;
	decides(f, PLACEMENT_NATIVE);
}

static void outside_of_a_transaction_any_obstacle_makes_it_native(void **state)
{
	(void)state;
	for (int o = OBSTACLE_LOCK; o <= OBSTACLE_ORDER; o++) {
		struct placement_facts f = outside();

		f.obstacle = (enum placement_obstacle)o;
		decides(f, PLACEMENT_NATIVE);
	}
}

static void outside_of_a_transaction_its_rules_do_not_count(void **state)
{
	struct placement_facts f = outside();

	(void)state;
	f.read_committed = false;
	f.read_only = true;
	f.destroys = true;
	decides(f, PLACEMENT_NOW);
}

static void a_failed_transaction_refuses_whatever_else_is_true(void **state)
{
	(void)state;
	for (unsigned bits = 0; bits < 128; bits++) {
		struct placement_facts f = {.status = 'E',
			.guard = bits & 1,
			.read_only = bits & 2,
			.read_committed = bits & 4,
			.visible = bits & 8,
			.exists = bits & 16,
			.destroys = bits & 32,
			.owes = bits & 64};

		decides(f, PLACEMENT_REFUSE);
	}
}

static void a_read_only_transaction_refuses(void **state)
{
	struct placement_facts f = plain();

	(void)state;
	f.read_only = true;
	decides(f, PLACEMENT_REFUSE);
	f.visible = false;
	decides(f, PLACEMENT_REFUSE);
}

static void with_nothing_in_the_way_it_runs_now(void **state)
{
	(void)state;
	decides(plain(), PLACEMENT_NOW);
}

static void what_does_not_exist_fails_now(void **state)
{
	struct placement_facts f = plain();

	(void)state;
	f.exists = false;
	f.visible = false;
	decides(f, PLACEMENT_NOW);
	f.obstacle = OBSTACLE_NAME;
	decides(f, PLACEMENT_NOW);
	f.read_committed = false;
	decides(f, PLACEMENT_NOW);
}

static void what_only_this_transaction_sees_is_done_inline(void **state)
{
	struct placement_facts f = plain();

	(void)state;
	f.visible = false;
	decides(f, PLACEMENT_INLINE);
	f.obstacle = OBSTACLE_LOCK;
	decides(f, PLACEMENT_INLINE);
}

/* At COMMIT a temporary table would be no more visible than now. */
static void inline_comes_before_every_reason_to_wait_for_the_commit(void **state)
{
	struct placement_facts f = plain();

	(void)state;
	f.visible = false;
	f.read_committed = false;
	f.destroys = true;
	f.owes = true;
	decides(f, PLACEMENT_INLINE);
}

static void every_obstacle_defers_it_to_the_commit(void **state)
{
	(void)state;
	for (int o = OBSTACLE_LOCK; o <= OBSTACLE_ORDER; o++) {
		struct placement_facts f = plain();

		f.obstacle = (enum placement_obstacle)o;
		decides(f, PLACEMENT_AT_COMMIT);
	}
}

static void repeatable_read_defers_it_to_the_commit(void **state)
{
	struct placement_facts f = plain();

	(void)state;
	f.read_committed = false;
	decides(f, PLACEMENT_AT_COMMIT);
	assert_int_equal(placement_policy(&f), OBSTACLE_ISOLATION);
}

static void what_destroys_is_deferred_to_the_commit(void **state)
{
	struct placement_facts f = plain();

	(void)state;
	f.destroys = true;
	decides(f, PLACEMENT_AT_COMMIT);
	assert_int_equal(placement_policy(&f), OBSTACLE_DESTROYS);
}

static void what_calls_a_changed_function_is_deferred_to_the_commit(void **state)
{
	struct placement_facts f = plain();

	(void)state;
	f.redefines = true;
	decides(f, PLACEMENT_AT_COMMIT);
	assert_int_equal(placement_policy(&f), OBSTACLE_OBJECT);
}

static void behind_what_is_owed_everything_is_owed(void **state)
{
	struct placement_facts f = plain();

	(void)state;
	f.owes = true;
	decides(f, PLACEMENT_AT_COMMIT);
	assert_int_equal(placement_policy(&f), OBSTACLE_ORDER);
}

static void policy_is_a_matter_of_open_transactions(void **state)
{
	static const char statuses[] = {'I', 'E'};
	struct placement_facts f = plain();

	(void)state;
	assert_int_equal(placement_policy(&f), OBSTACLE_NONE);
	f.read_committed = false;
	f.destroys = true;
	f.owes = true;
	for (size_t i = 0; i < LENGTH(statuses); i++) {
		f.status = statuses[i];
		assert_int_equal(placement_policy(&f), OBSTACLE_NONE);
	}
}

/* The whole table once more, by its rules instead of by examples. */
static void every_combination_of_facts_has_the_place_that_the_rules_give(void **state)
{
	(void)state;
	for (unsigned bits = 0; bits < 1024; bits++) {
		struct placement_facts f = {.status = bits & 1 ? 'I' : 'T',
			.guard = bits & 2,
			.read_only = bits & 4,
			.read_committed = bits & 8,
			.visible = bits & 16,
			.exists = bits & 32,
			.destroys = bits & 64,
			.owes = bits & 128,
			.obstacle = bits & 256 ? OBSTACLE_LOCK : OBSTACLE_NONE,
			.redefines = bits & 512};
		enum placement got = placement_decide(&f);
		bool waits = f.obstacle != OBSTACLE_NONE || !f.read_committed || f.destroys ||
			     f.owes || f.redefines;

		if (f.status == 'I')
			assert_int_equal(got == PLACEMENT_NOW,
				f.guard && f.visible && f.obstacle == OBSTACLE_NONE);
		else
			assert_int_equal(got == PLACEMENT_REFUSE, f.read_only);
		if (got == PLACEMENT_INLINE)
			assert_true(f.exists && !f.visible);
		if (got == PLACEMENT_AT_COMMIT)
			assert_true(f.exists && f.visible && waits);
		if (got == PLACEMENT_NOW && f.status == 'T')
			assert_true(!f.exists || !waits);
	}
}

static void names_and_reasons_are_all_there_and_all_different(void **state)
{
	(void)state;
	for (int p = PLACEMENT_NATIVE; p <= PLACEMENT_REFUSE; p++) {
		assert_true(strlen(placement_name((enum placement)p)) > 0);
		for (int q = PLACEMENT_NATIVE; q < p; q++)
			assert_string_not_equal(placement_name((enum placement)p),
				placement_name((enum placement)q));
	}
	for (int o = OBSTACLE_NONE; o <= OBSTACLE_ORDER; o++) {
		assert_true(strlen(placement_obstacle_text((enum placement_obstacle)o)) > 0);
		for (int q = OBSTACLE_NONE; q < o; q++)
			assert_string_not_equal(placement_obstacle_text((enum placement_obstacle)o),
				placement_obstacle_text((enum placement_obstacle)q));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(outside_of_a_transaction_it_is_guarded),
		cmocka_unit_test(outside_of_a_transaction_without_the_guard_it_is_native),
		cmocka_unit_test(outside_of_a_transaction_what_others_cannot_see_is_native),
		cmocka_unit_test(outside_of_a_transaction_any_obstacle_makes_it_native),
		cmocka_unit_test(outside_of_a_transaction_its_rules_do_not_count),
		cmocka_unit_test(a_failed_transaction_refuses_whatever_else_is_true),
		cmocka_unit_test(a_read_only_transaction_refuses),
		cmocka_unit_test(with_nothing_in_the_way_it_runs_now),
		cmocka_unit_test(what_does_not_exist_fails_now),
		cmocka_unit_test(what_only_this_transaction_sees_is_done_inline),
		cmocka_unit_test(inline_comes_before_every_reason_to_wait_for_the_commit),
		cmocka_unit_test(every_obstacle_defers_it_to_the_commit),
		cmocka_unit_test(repeatable_read_defers_it_to_the_commit),
		cmocka_unit_test(what_destroys_is_deferred_to_the_commit),
		cmocka_unit_test(what_calls_a_changed_function_is_deferred_to_the_commit),
		cmocka_unit_test(behind_what_is_owed_everything_is_owed),
		cmocka_unit_test(policy_is_a_matter_of_open_transactions),
		cmocka_unit_test(every_combination_of_facts_has_the_place_that_the_rules_give),
		cmocka_unit_test(names_and_reasons_are_all_there_and_all_different),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "locks.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define CASE(f) cmocka_unit_test_setup_teardown(f, begin, end)
#define PG_CLASS "1259"
#define PG_NAMESPACE "2615"

static struct locks locks;

static int begin(void **state)
{
	(void)state;
	locks_init(&locks);
	return 0;
}

static int end(void **state)
{
	(void)state;
	locks_release(&locks);
	return 0;
}

/* NULL is NULL. */
static void note(const char *type, const char *mode, const char *relation, const char *class,
	const char *granted)
{
	const char *texts[LOCKS_COLUMNS] = {type, mode, relation, class, granted};
	struct slice values[LOCKS_COLUMNS] = {{0}};

	for (unsigned i = 0; i < LOCKS_COLUMNS; i++)
		if (texts[i])
			values[i] = slice_str(texts[i]);
	locks_note(&locks, values);
}

static const char *strong(void)
{
	static char text[100];
	struct bytes out;

	bytes_init(&out, sizeof(text));
	locks_put_strong(&locks, &out);
	assert_false(bytes_failed(&out));
	memcpy(text, bytes_view(&out).data, bytes_length(&out));
	bytes_release(&out);
	return text;
}

static void nothing_is_locked_at_first(void **state)
{
	(void)state;
	note("virtualxid", "ExclusiveLock", NULL, NULL, "t");
	note("transactionid", "ExclusiveLock", NULL, NULL, "t");
	assert_false(locks_has(&locks, 16384, false));
	assert_false(locks_has(&locks, 0, false));
	assert_false(locks_has_strong(&locks));
	assert_string_equal(strong(), "{}");
	assert_false(locks.object);
	assert_false(locks.waiting);
}

static void readers_are_told_from_writers(void **state)
{
	(void)state;
	note("relation", "AccessShareLock", "16384", NULL, "t");
	note("relation", "RowShareLock", "16385", NULL, "t");
	note("relation", "RowExclusiveLock", "16386", NULL, "t");
	for (uint32_t relation = 16384; relation <= 16386; relation++) {
		assert_true(locks_has(&locks, relation, false));
		assert_int_equal(locks_has(&locks, relation, true), relation == 16386);
	}
	assert_false(locks_has(&locks, 1638, false));
	assert_false(locks_has_strong(&locks));
}

static void one_writing_lock_among_several_counts(void **state)
{
	(void)state;
	note("relation", "AccessShareLock", "16384", NULL, "t");
	note("relation", "ShareUpdateExclusiveLock", "16384", NULL, "t");
	assert_true(locks_has(&locks, 16384, true));
	assert_string_equal(strong(), "{}");
}

static void what_keeps_others_out_is_strong(void **state)
{
	static const char *const modes[] = {"AccessShareLock", "RowShareLock", "RowExclusiveLock",
		"ShareUpdateExclusiveLock", "ShareLock", "ShareRowExclusiveLock", "ExclusiveLock",
		"AccessExclusiveLock"};
	static const char *const relations[] = {"1", "2", "3", "4", "5", "6", "7", "4294967295"};

	(void)state;
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
		note("relation", modes[i], relations[i], NULL, "t");
	assert_true(locks_has_strong(&locks));
	assert_string_equal(strong(), "{5,6,7,4294967295}");
}

static void a_changed_object_counts_unless_it_is_a_schema(void **state)
{
	(void)state;
	note("object", "AccessExclusiveLock", NULL, PG_NAMESPACE, "t");
	note("object", "AccessShareLock", NULL, PG_CLASS, "t");
	assert_false(locks.object);
	note("object", "AccessExclusiveLock", NULL, PG_CLASS, "t");
	assert_true(locks.object);
	note("object", "AccessExclusiveLock", NULL, PG_NAMESPACE, "t");
	assert_true(locks.object);
	assert_false(locks_has_strong(&locks));
}

/* Not ours: ours are granted, since our process is the one that asks. */
static void who_waits_has_nothing(void **state)
{
	(void)state;
	note("relation", "AccessExclusiveLock", "16384", NULL, "f");
	assert_true(locks.waiting);
	assert_false(locks_has(&locks, 16384, false));
	assert_false(locks_has_strong(&locks));
}

static void a_copy_is_the_same_and_clearing_forgets(void **state)
{
	struct locks copy;

	(void)state;
	note("relation", "ShareLock", "16384", NULL, "t");
	note("relation", "ShareLock", "16390", NULL, "f");
	note("object", "AccessExclusiveLock", NULL, PG_CLASS, "t");
	locks_init(&copy);
	locks_copy(&copy, &locks);
	locks_clear(&locks);
	assert_false(locks_has(&locks, 16384, false));
	assert_false(locks.object || locks.waiting);
	assert_true(locks_has(&copy, 16384, true));
	assert_true(copy.object && copy.waiting);
	locks_release(&copy);
}

static void too_many_are_everywhere(void **state)
{
	struct locks copy;
	struct bytes out;

	(void)state;
	locks.held.limit = 64;
	for (unsigned i = 0; i < 20; i++)
		note("relation", "AccessShareLock", "16384", NULL, "t");
	assert_true(locks_has(&locks, 1, true));
	locks_init(&copy);
	locks_copy(&copy, &locks);
	assert_true(locks_has(&copy, 1, true));
	assert_true(locks_has_strong(&copy));
	bytes_init(&out, 100);
	locks_put_strong(&copy, &out);
	assert_true(bytes_failed(&out));
	bytes_release(&out);
	locks_release(&copy);
	locks_clear(&locks);
	assert_false(locks_has(&locks, 1, true));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(nothing_is_locked_at_first),
		CASE(readers_are_told_from_writers),
		CASE(one_writing_lock_among_several_counts),
		CASE(what_keeps_others_out_is_strong),
		CASE(a_changed_object_counts_unless_it_is_a_schema),
		CASE(who_waits_has_nothing),
		CASE(a_copy_is_the_same_and_clearing_forgets),
		CASE(too_many_are_everywhere),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "registry.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define LENGTH(a) (sizeof(a) / sizeof((a)[0]))

/* The registry only hands pointers on. */
static struct worker *worker(unsigned n)
{
	static char workers[10];

	return (struct worker *)&workers[n];
}

static struct backend_key key_of(uint32_t pid, const char *secret)
{
	return (struct backend_key){.pid = pid, .secret = slice_str(secret)};
}

/* Whose the key is: the session, or 0 for nobody's. */
static uint64_t owner(struct registry *r, struct backend_key key)
{
	struct worker *w;
	uint64_t session;

	return registry_find(r, &key, &w, &session, NULL) ? session : 0;
}

static void a_key_leads_to_its_worker_and_session(void **state)
{
	struct registry *r = registry_new();
	struct backend_key key = key_of(7, "abcd");
	struct worker *w;
	uint64_t session;

	(void)state;
	assert_false(registry_find(r, &key, &w, &session, NULL));
	assert_true(registry_add(r, &key, worker(3), 42, NULL));
	assert_true(registry_find(r, &key, &w, &session, NULL));
	assert_ptr_equal(w, worker(3));
	assert_int_equal(session, 42);
	session = 0;
	assert_true(registry_find_pid(r, 7, &w, &session));
	assert_ptr_equal(w, worker(3));
	assert_int_equal(session, 42);
	assert_false(registry_find_pid(r, 8, &w, &session));
	registry_free(r);
	registry_free(NULL);
}

static void a_key_must_be_right_to_the_last_byte(void **state)
{
	static const struct {
		uint32_t pid;
		const char *secret;
	} wrong[] = {{8, "abcd"}, {7, "abce"}, {7, "bbcd"}, {7, "abc"}, {7, "abcde"}, {7, ""},
		{7 + 1024, "abcd"}, {0x80000007, "abcd"}};
	struct registry *r = registry_new();
	struct backend_key key = key_of(7, "abcd");

	(void)state;
	registry_add(r, &key, worker(0), 1, NULL);
	for (size_t i = 0; i < LENGTH(wrong); i++)
		assert_int_equal(owner(r, key_of(wrong[i].pid, wrong[i].secret)), 0);
	assert_int_equal(owner(r, key), 1);
	registry_free(r);
}

static void secrets_of_every_length_are_kept_whole(void **state)
{
	struct registry *r = registry_new();
	uint8_t secret[256];

	(void)state;
	memset(secret, 0, sizeof(secret));
	for (size_t len = 4; len <= sizeof(secret); len++) {
		struct backend_key key = {.pid = 1, .secret = slice_of(secret, len)};

		assert_true(registry_add(r, &key, worker(0), len, NULL));
	}
	for (size_t len = 4; len <= sizeof(secret); len++) {
		struct backend_key key = {.pid = 1, .secret = slice_of(secret, len)};

		assert_int_equal(owner(r, key), len);
	}
	secret[255] = 1;
	assert_int_equal(owner(r, (struct backend_key){1, slice_of(secret, 256)}), 0);
	registry_free(r);
}

static void the_key_is_copied(void **state)
{
	struct registry *r = registry_new();
	uint8_t secret[4] = {1, 2, 3, 4};
	uint8_t again[4] = {1, 2, 3, 4};
	struct backend_key key = {.pid = 1, .secret = slice_of(secret, 4)};

	(void)state;
	registry_add(r, &key, worker(0), 1, NULL);
	memset(secret, 0, sizeof(secret));
	key.secret = slice_of(again, 4);
	assert_int_equal(owner(r, key), 1);
	registry_free(r);
}

static void a_removed_key_is_nobodys(void **state)
{
	struct registry *r = registry_new();
	struct backend_key key = key_of(7, "abcd");

	(void)state;
	registry_add(r, &key, worker(0), 1, NULL);
	registry_remove(r, &key, 1);
	assert_int_equal(owner(r, key), 0);
	registry_remove(r, &key, 1);
	registry_add(r, &key, worker(0), 2, NULL);
	assert_int_equal(owner(r, key), 2);
	registry_free(r);
}

/* Behind a load balancer two servers may give the same key. */
static void a_session_removes_only_its_own_entry(void **state)
{
	struct registry *r = registry_new();
	struct backend_key key = key_of(7, "abcd");

	(void)state;
	registry_add(r, &key, worker(0), 1, NULL);
	registry_add(r, &key, worker(0), 2, NULL);
	registry_remove(r, &key, 3);
	registry_remove(r, &key, 2);
	assert_int_equal(owner(r, key), 1);
	registry_remove(r, &key, 1);
	assert_int_equal(owner(r, key), 0);
	registry_free(r);
}

static void sessions_of_the_same_bucket_do_not_meet(void **state)
{
	struct registry *r = registry_new();

	(void)state;
	for (uint32_t i = 0; i < 100; i++) {
		struct backend_key key = key_of(i * 1024, "abcd");

		registry_add(r, &key, worker(0), i + 1, NULL);
	}
	for (uint32_t i = 0; i < 100; i += 2) {
		struct backend_key key = key_of(i * 1024, "abcd");

		registry_remove(r, &key, i + 1);
	}
	for (uint32_t i = 0; i < 100; i++)
		assert_int_equal(owner(r, key_of(i * 1024, "abcd")), i % 2 == 0 ? 0 : i + 1);
	registry_free(r);
}

static void *come_and_go(void *arg)
{
	struct registry *r = arg;
	static const char secrets[] = "abcdefghijkl";
	static _Atomic unsigned next;
	unsigned me = next++;
	struct backend_key key = {.pid = 5, .secret = slice_of(secrets + me, 4)};

	for (unsigned i = 0; i < 1000; i++) {
		struct worker *w;
		uint64_t session;

		if (!registry_add(r, &key, worker(me), me, NULL) ||
			!registry_find(r, &key, &w, &session, NULL) || session != me ||
			w != worker(me))
			return NULL;
		registry_remove(r, &key, me);
		if (registry_find(r, &key, &w, &session, NULL))
			return NULL;
	}
	return arg;
}

static void threads_may_come_and_go(void **state)
{
	struct registry *r = registry_new();
	pthread_t threads[4];

	(void)state;
	for (size_t i = 0; i < LENGTH(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, come_and_go, r), 0);
	for (size_t i = 0; i < LENGTH(threads); i++) {
		void *good;

		pthread_join(threads[i], &good);
		assert_ptr_equal(good, r);
	}
	registry_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_key_leads_to_its_worker_and_session),
		cmocka_unit_test(a_key_must_be_right_to_the_last_byte),
		cmocka_unit_test(secrets_of_every_length_are_kept_whole),
		cmocka_unit_test(the_key_is_copied),
		cmocka_unit_test(a_removed_key_is_nobodys),
		cmocka_unit_test(a_session_removes_only_its_own_entry),
		cmocka_unit_test(sessions_of_the_same_bucket_do_not_meet),
		cmocka_unit_test(threads_may_come_and_go),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

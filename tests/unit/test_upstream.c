/*
 * A connection string becomes an upstream, or is refused: what would make the way to the server
 * less safe than asked for is not left out.
 */
#include "upstream.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "err.h"
#include "pq.h"

#define LENGTH(a) (sizeof(a) / sizeof((a)[0]))

/* What it is refused with; "" when it is not. */
static const char *refusal(const char *conninfo)
{
	static struct err e;
	struct upstream u;

	if (!upstream_init(&u, conninfo, &e))
		return e.text;
	upstream_release(&u);
	return "";
}

static void what_would_be_less_safe_is_refused(void **state)
{
	static const struct {
		const char *conninfo, *refused; /* a part of the reason; "" = not */
	} rows[] = {
		{"host=h sslmode=disable", ""},
		{"host=h sslmode=require", ""},
		{"host=h sslmode=sure", "none of disable"},
		{"host=h require_auth=scram-sha-256",
			"require_auth=scram-sha-256 is not supported"},
		{"host=h requirepeer=postgres", "requirepeer=postgres is not supported"},
		{"host=h sslcertmode=require", "sslcertmode=require is not supported"},
		{"host=h sslcertmode=disable", "sslcertmode=disable is not supported"},
		{"host=h sslcertmode=allow", ""},
		{"host=h target_session_attrs=read-write", "is not supported"},
		{"host=h target_session_attrs=any", ""},
		{"host=h gssencmode=require", "gssencmode=require is not supported"},
		{"host=h sslnegotiation=direct", "needs sslmode=require"},
		{"host=h channel_binding=perhaps", "none of disable"},
		{"host=h port=0", "is no port"},
	};

	(void)state;
	for (size_t i = 0; i < LENGTH(rows); i++) {
		const char *got = refusal(rows[i].conninfo);

		if (rows[i].refused[0] ? !strstr(got, rows[i].refused) : got[0])
			fail_msg("%s: \"%s\"", rows[i].conninfo, got);
	}
}

/* Whom the system trusts may call itself anything: the name is looked at, or nothing goes. */
static void the_roots_of_the_system_need_the_name(void **state)
{
	(void)state;
	if (!pq_knows_system_roots()) {
		assert_non_null(strstr(refusal("host=h sslrootcert=system"), "needs libpq 16"));
		return;
	}
	assert_non_null(strstr(
		refusal("host=h sslrootcert=system sslmode=require"), "needs sslmode=verify-full"));
	assert_string_equal(refusal("host=h sslrootcert=system"), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_would_be_less_safe_is_refused),
		cmocka_unit_test(the_roots_of_the_system_need_the_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

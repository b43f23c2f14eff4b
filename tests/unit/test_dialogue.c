#include "dialogue.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LENGTH(a) (sizeof(a) / sizeof((a)[0]))

/*
 * A conversation: ">Q" is a Query to the server, "<C" a CommandComplete from it, "<ZT" a
 * ReadyForQuery with status T. Spaces are for the reader.
 */
static void talk(struct dialogue *d, const char *script)
{
	for (const char *at = script; *at; at++) {
		if (at[0] == '>') {
			dialogue_client(d, (uint8_t)at[1]);
			at++;
		} else if (at[0] == '<' && at[1] == 'Z') {
			dialogue_server(d, 'Z', at[2]);
			at += 2;
		} else if (at[0] == '<') {
			dialogue_server(d, (uint8_t)at[1], 0);
			at++;
		}
	}
}

/* A session behind its log-in, in which this was said. */
static struct dialogue after(const char *script)
{
	struct dialogue d;

	dialogue_init(&d);
	talk(&d, "<ZI");
	talk(&d, script);
	return d;
}

static uint64_t outstanding(const struct dialogue *d)
{
	return d->ready_sent - d->ready_got;
}

/* One that has more rows, or was not executed yet. Until the transaction ends: another Query need
 * not have ended the portal, if it was a named one.
 */
static void a_portal_with_rows_left_is_known(void **state)
{
	(void)state;
	assert_false(after(">P >B >E >S <1 <2 <D <C <ZT").suspended);
	assert_true(after(">P >B >E >S <1 <2 <D <s <ZT").suspended);
	assert_true(after(">P >B >E >S <1 <2 <D <s <ZT >Q <C <ZT").suspended);
	assert_false(after(">P >B >E >S <1 <2 <D <s <ZT >Q <C <ZI").suspended);
	assert_false(after(">P >B >E >S <1 <2 <D <s <ZI").suspended);
	assert_true(after(">P >B >S <1 <2 <ZT").bound);
	assert_false(after(">P >B >E >S <1 <2 <D <C <ZT").bound);
	assert_false(after(">P >B >S <1 <2 <ZI").bound);
}

/* What a Sync has ended is answered by ReadyForQuery; what is behind it counts from there on. */
static void the_answers_of_an_open_pipeline_are_counted(void **state)
{
	(void)state;
	assert_int_equal(after(">P >B >D >E").unanswered, 4);
	assert_int_equal(after(">P >B >D >E <1 <2").unanswered, 2);
	assert_int_equal(after(">P >D >B >D >E >C <1 <t <T <2 <n <D <C <3").unanswered, 0);
	assert_int_equal(after(">P >B >E >E <1 <2 <D <s <N <S <I").unanswered, 0);
	assert_int_equal(after(">P >B >E >S").unanswered, 0);
	assert_int_equal(after(">P >B >E >S >B >E <1 <2 <C").unanswered, 2);
	assert_int_equal(after(">P >B >E >S >B >E <1 <2 <C <ZI <2").unanswered, 1);
	assert_int_equal(after(">Q >B >E <T <D <C <ZT").unanswered, 2);
	assert_int_equal(after(">Q <T <D <C <ZT").unanswered, 0);
}

static void the_log_in_is_an_outstanding_request(void **state)
{
	struct dialogue d;

	(void)state;
	dialogue_init(&d);
	assert_false(dialogue_is_idle(&d));
	talk(&d, "<R <S <K");
	assert_false(dialogue_is_idle(&d));
	talk(&d, "<ZI");
	assert_true(dialogue_is_idle(&d));
	assert_int_equal(d.ready_sent, 1);
	assert_int_equal(d.ready_got, 1);
	assert_false(d.uncertain);
}

/* What stands after each conversation. All are of clients that keep to the protocol, so nothing is
 * ever uncertain. */
static const struct {
	const char *label;
	const char *script;
	unsigned outstanding; /* ReadyForQuery to come */
	bool idle;
	char status;
	bool pipeline_open;
	bool copy_in;
} cases[] = {
	{"a Query", ">Q", 1, false, 'I', false, false},
	{"a Query answered", ">Q <T <D <C <ZI", 0, true, 'I', false, false},
	{"BEGIN answered", ">Q <C <ZT", 0, true, 'T', false, false},
	{"an error in a transaction", ">Q <C <ZT >Q <E <ZE", 0, true, 'E', false, false},
	{"an empty Query", ">Q <I <ZI", 0, true, 'I', false, false},
	{"three Queries at once", ">Q >Q >Q", 3, false, 'I', false, false},
	{"two of three answered", ">Q >Q >Q <C <ZT <C <ZT", 1, false, 'T', false, false},
	{"all three answered", ">Q >Q >Q <C <ZT <C <ZT <C <ZI", 0, true, 'I', false, false},
	{"a function call", ">F <V", 1, false, 'I', false, false},
	{"a function call answered", ">F <V <ZI", 0, true, 'I', false, false},
	{"a function call in error", ">F <E <ZI", 0, true, 'I', false, false},
	{"Terminate", ">X", 0, true, 'I', false, false},

	{"an open pipeline", ">P >B >D >E", 0, false, 'I', true, false},
	{"an open pipeline, flushed", ">P >D >H <1 <t <n", 0, false, 'I', true, false},
	{"Flush alone", ">H", 0, true, 'I', false, false},
	{"Close alone", ">C", 0, false, 'I', true, false},
	{"a pipeline", ">P >B >D >E >S", 1, false, 'I', false, false},
	{"a pipeline answered", ">P >B >E >S <1 <2 <C <ZI", 0, true, 'I', false, false},
	{"a pipeline in error", ">P >B >E >S <E <ZI", 0, true, 'I', false, false},
	{"an error before the Sync", ">P >H <E >B >E", 0, false, 'I', true, false},
	{"and its Sync", ">P >H <E >B >E >S <ZI", 0, true, 'I', false, false},
	{"two pipelines at once", ">P >B >E >S >B >E >S", 2, false, 'I', false, false},
	{"the first of two in error", ">P >B >E >S >B >E >S <E <ZI", 1, false, 'I', false, false},
	{"a bare Sync", ">S <ZT", 0, true, 'T', false, false},
	{"three Syncs", ">S >S >S <ZI", 2, false, 'I', false, false},
	{"a pipeline begun before the answer", ">Q >P >B <C <ZT", 0, false, 'T', true, false},
	{"a suspended portal", ">P >B >E >S <1 <2 <D <s <ZT", 0, true, 'T', false, false},
	{"a Query behind a pipeline", ">P >B >E >Q <1 <2 <C <C <ZI", 0, true, 'I', false, false},

	{"notices and the like change nothing", ">Q <N <S <A", 1, false, 'I', false, false},
	{"a notification while idle", "<A <N <S", 0, true, 'I', false, false},
	{"a Query behind a pipeline behind an error", ">Q <E >P >B >E >Q <ZI", 1, false, 'I', false,
		false},
	{"COPY OUT", ">Q <H <d <d <c <C <ZI", 0, true, 'I', false, false},

	{"COPY IN begins", ">Q <G", 1, false, 'I', false, true},
	{"COPY IN takes data", ">Q <G >d >d >d", 1, false, 'I', false, true},
	{"COPY IN ends", ">Q <G >d >c", 1, false, 'I', false, false},
	{"COPY IN is answered", ">Q <G >d >c <C <ZI", 0, true, 'I', false, false},
	{"COPY IN is given up", ">Q <G >f <E <ZI", 0, true, 'I', false, false},
	{"COPY IN fails", ">Q <G >d <E <ZI", 0, true, 'I', false, false},
	{"a late CopyDone after that", ">Q <G >d <E <ZI >d >c", 0, true, 'I', false, false},
	{"a late CopyDone and a Query", ">Q <G >d <E >c <ZI >Q", 1, false, 'I', false, false},
	{"a CopyDone crosses the error", ">Q <G >d >c <E <ZI", 0, true, 'I', false, false},
	{"Sync in a COPY is thrown away", ">Q <G >d >S >S", 1, false, 'I', false, true},
	{"and does not count", ">Q <G >d >S >c <C <ZI", 0, true, 'I', false, false},
	{"a COPY of two in one Query", ">Q <G >d >c <C <G >d >c <C <ZI", 0, true, 'I', false,
		false},

	{"extended COPY IN", ">P >B >E >H <1 <2 <G", 0, false, 'I', true, true},
	{"its CopyDone", ">P >B >E >H <G >d >c", 0, false, 'I', true, false},
	{"its Sync", ">P >B >E >H <G >d >c >S", 1, false, 'I', false, false},
	{"and its answer", ">P >B >E >H <G >d >c >S <C <ZI", 0, true, 'I', false, false},
	{"libpq: Sync right behind Execute", ">P >B >D >E >S", 1, false, 'I', false, false},
	{"that Sync is thrown away", ">P >B >D >E >S <G", 0, false, 'I', true, true},
	{"libpq ends with another", ">P >B >D >E >S <G >d >c >S", 1, false, 'I', false, false},
	{"libpq's COPY", ">P >B >D >E >S <G >d >c >S <C <ZI", 0, true, 'I', false, false},
	{"libpq's COPY fails", ">P >B >E >S <G >d <E >c >S <ZI", 0, true, 'I', false, false},
	{"it fails behind the end", ">P >B >E >S <G >d >c >S <E <ZI", 0, true, 'I', false, false},
	{"libpq gives up", ">P >B >E >S <G >d >f >S <E <ZI", 0, true, 'I', false, false},
	{"libpq's COPY is refused", ">P >B >E >S <E <ZI", 0, true, 'I', false, false},
	{"more statements behind a COPY", ">P >B >E >S <G >c >P >B >E >S <C <C <ZI", 0, true, 'I',
		false, false},

	{"a COPY sent in one burst", ">Q >d >d >c", 1, false, 'I', false, false},
	{"the burst is taken", ">Q >d >c <G", 1, false, 'I', false, false},
	{"the burst is answered", ">Q >d >c <G <C <ZI", 0, true, 'I', false, false},
	{"the burst is refused", ">Q >d >c <E <ZI", 0, true, 'I', false, false},
	{"a Query behind the burst", ">Q >d >c >Q <G <C <ZI", 1, false, 'I', false, false},
	{"both answered", ">Q >d >c >Q <G <C <ZI <C <ZT", 0, true, 'T', false, false},
	{"a Sync inside the burst", ">Q >d >S >c <G <C <ZI", 0, true, 'I', false, false},
	{"an extended burst", ">P >B >E >d >c >S <G", 1, false, 'I', false, false},
	{"the extended burst answered", ">P >B >E >d >c >S <G <C <ZI", 0, true, 'I', false, false},
	{"the extended burst refused", ">P >B >E >d >c >S <E <ZI", 0, true, 'I', false, false},
	{"its Sync comes later", ">P >B >E >d >c <G <C", 0, false, 'I', true, false},
	{"and counts", ">P >B >E >d >c <G <C >S <ZI", 0, true, 'I', false, false},
	{"an early Sync in the burst", ">P >B >E >S >d >c >S <G <C <ZI", 0, true, 'I', false,
		false},
	{"that burst refused", ">P >B >E >S >d >c >S <E <ZI", 1, false, 'I', false, false},
	{"its second Sync answered", ">P >B >E >S >d >c >S <E <ZI <ZI", 0, true, 'I', false, false},
	{"behind another Query", ">Q >P >B >E >d >c >S <C <ZT <G", 1, false, 'T', false, false},
	{"and answered", ">Q >P >B >E >d >c >S <C <ZT <G <C <ZT", 0, true, 'T', false, false},
	{"two bursts", ">Q >d >c >Q >d >c <G <C <ZI <G <C <ZI", 0, true, 'I', false, false},
	{"two COPYs of a pipeline, the first in a burst", ">E >d >c >E >S <G <C <G >d >c >S <C <ZI",
		0, true, 'I', false, false},
	{"a CopyDone twice", ">E >d >c >c >f >S <G <C <ZI", 0, true, 'I', false, false},
	{"a CopyDone out of nowhere", ">c >f", 0, true, 'I', false, false},
	{"a CopyDone behind what is no COPY", ">Q >c <C <ZT", 0, true, 'T', false, false},
};

static void every_conversation_ends_where_it_should(void **state)
{
	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++) {
		struct dialogue d = after(cases[i].script);

		if (outstanding(&d) != cases[i].outstanding)
			fail_msg("%s: %d to come", cases[i].label, (int)outstanding(&d));
		if (dialogue_is_idle(&d) != cases[i].idle)
			fail_msg("%s: idle", cases[i].label);
		if (d.status != cases[i].status)
			fail_msg("%s: status", cases[i].label);
		if (d.pipeline_open != cases[i].pipeline_open)
			fail_msg("%s: pipeline", cases[i].label);
		if (d.copy_in != cases[i].copy_in)
			fail_msg("%s: copy", cases[i].label);
		if (d.uncertain)
			fail_msg("%s: uncertain", cases[i].label);
	}
}

/* The gate waits for count == 0: it must get there exactly when nothing is to come. */
static void the_count_is_zero_when_nothing_is_to_come(void **state)
{
	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++) {
		struct dialogue d = after(cases[i].script);

		if ((d.count == 0) != (outstanding(&d) == 0))
			fail_msg("%s: count %u", cases[i].label, d.count);
	}
}

/* Wherever in the ring the conversation begins. */
static void every_conversation_can_follow_any_number_of_others(void **state)
{
	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++) {
		struct dialogue d = after("");

		for (unsigned before = 0; before < DIALOGUE_DEPTH - 2; before++)
			talk(&d, ">Q <C <ZI");
		talk(&d, cases[i].script);
		if (outstanding(&d) != cases[i].outstanding || d.uncertain ||
			dialogue_is_idle(&d) != cases[i].idle)
			fail_msg("%s", cases[i].label);
	}
}

/* The same conversation a hundred times over leaves nothing behind. */
static void a_conversation_that_has_ended_leaves_nothing_behind(void **state)
{
	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++) {
		struct dialogue d = after("");

		if (!cases[i].idle)
			continue;
		for (unsigned round = 0; round < 100; round++)
			talk(&d, cases[i].script);
		if (!dialogue_is_idle(&d) || d.uncertain || outstanding(&d) != 0)
			fail_msg("%s", cases[i].label);
	}
}

/*
 * A client sent COPY, its data and CopyDone in one burst, and PostgreSQL refused the COPY. The
 * CopyDone stayed in the ring as if an answer to it were due, and the gate waited for that answer
 * in front of the next aside statement, for ever.
 */
static void a_copy_end_that_nobody_answers_is_not_waited_for(void **state)
{
	struct dialogue d = after(">Q >d >c <E <ZI");

	(void)state;
	assert_int_equal(d.count, 0);
	assert_true(dialogue_is_idle(&d));
	d = after(">P >B >E >c");
	assert_int_equal(d.count, 0);
}

static void an_error_is_remembered_until_ready(void **state)
{
	struct dialogue d = after(">P >B >E >S >P >B >E >S <E");

	(void)state;
	assert_true(d.failed);
	talk(&d, "<ZE");
	assert_false(d.failed);
	assert_int_equal(d.status, 'E');
}

static void an_execute_is_remembered_until_sync(void **state)
{
	struct dialogue d = after(">P >B");

	(void)state;
	assert_false(d.executed);
	talk(&d, ">E");
	assert_true(d.executed);
	talk(&d, ">S");
	assert_false(d.executed);
	d = after(">P >E >Q");
	assert_false(d.executed);
}

/* The Execute of a COPY is part of the pipeline that goes on after it, early Sync or not. */
static void a_pipeline_goes_on_after_its_copy(void **state)
{
	struct dialogue d = after(">P >B >E >S <G >d >c");

	(void)state;
	assert_true(d.pipeline_open);
	assert_true(d.executed);
	d = after(">P >B >E >S >d >c <G");
	assert_true(d.pipeline_open);
	assert_true(d.executed);
}

static void a_sync_that_the_server_throws_away_is_not_counted_as_sent(void **state)
{
	struct dialogue d = after(">P >B >E >S");
	uint64_t sent = d.ready_sent;

	(void)state;
	talk(&d, "<G");
	assert_int_equal(d.ready_sent, sent - 1);
	talk(&d, ">d >S >c >S");
	assert_int_equal(d.ready_sent, sent);
}

static const char *const doubtful[] = {
	"<ZI",			      /* an answer to nothing */
	">Q <ZI <ZI",		      /* one too many */
	">P >B >E >d >c >Q <E",	      /* the same behind a COPY sent in one burst */
	">P >B >E >S >d >f >Q <G <E", /* the same: that Sync was thrown away */
	">P >H <E >Q",		      /* the server skips it */
	">P >E >d >c >E >d >c",	      /* which answer is for which end? */
	">P >B >E >Q <E",	      /* the Query may be skipped, or may have run */
	">Q <G >Q",		      /* a Query fails the COPY */
	">P >B >E >S <G >d >Q",	      /* the same */
	">Q >Q <G",		      /* the second one does */
	">P >B >E >S >Q <G",	      /* the same */
	">Q >P <G",		      /* and so does a Parse */
};

static void what_makes_the_count_doubtful_is_said_and_stays_said(void **state)
{
	(void)state;
	for (size_t i = 0; i < LENGTH(doubtful); i++) {
		struct dialogue d = after(doubtful[i]);

		if (!d.uncertain)
			fail_msg("%s", doubtful[i]);
		talk(&d, "<ZI >Q >d >c <G <C <ZI >P >B >E >S <1 <2 <C <ZI");
		if (!d.uncertain)
			fail_msg("%s, forgotten", doubtful[i]);
	}
}

static void a_deep_pipeline_is_full_before_it_overflows(void **state)
{
	struct dialogue d = after("");
	unsigned depth = 0;

	(void)state;
	for (; !dialogue_is_full(&d); depth++)
		talk(&d, ">P >B >E >S");
	assert_true(depth >= DIALOGUE_DEPTH - 2);
	assert_int_equal(d.count, depth);
	talk(&d, ">S"); /* one of our own */
	assert_false(d.uncertain);
	for (; depth > 0; depth--)
		talk(&d, "<1 <2 <C <ZI");
	assert_false(dialogue_is_idle(&d));
	talk(&d, "<ZI");
	assert_true(dialogue_is_idle(&d));
	assert_false(d.uncertain);
}

/* What takes two places, and a Sync of our own behind it, is what the reserve is for. */
static void the_last_message_that_is_let_in_always_fits(void **state)
{
	static const char *const last[] = {">S", ">Q", ">c", ">P >c >S", ">P >c >Q", ">P >c"};

	(void)state;
	for (size_t i = 0; i < LENGTH(last); i++) {
		struct dialogue d = after("");

		while (d.count < DIALOGUE_DEPTH - 3)
			talk(&d, ">S");
		assert_false(dialogue_is_full(&d));
		talk(&d, last[i]);
		talk(&d, ">S");
		if (d.uncertain || d.count > DIALOGUE_DEPTH)
			fail_msg("%s", last[i]);
	}
}

static void more_than_the_depth_is_doubtful_and_stays_in_bounds(void **state)
{
	struct dialogue d = after("");

	(void)state;
	for (unsigned i = 0; i < 3 * DIALOGUE_DEPTH; i++)
		talk(&d, ">Q");
	assert_true(d.uncertain);
	assert_int_equal(d.count, DIALOGUE_DEPTH);
	for (unsigned i = 0; i < 3 * DIALOGUE_DEPTH; i++)
		talk(&d, "<ZI");
	assert_int_equal(d.count, 0);
}

static void a_flood_of_copy_ends_does_not_fill_the_ring(void **state)
{
	struct dialogue d = after(">Q");

	(void)state;
	for (unsigned i = 0; i < 10000; i++)
		talk(&d, ">d >c >f");
	assert_false(dialogue_is_full(&d));
	talk(&d, "<C <ZI");
	assert_true(dialogue_is_idle(&d));
	assert_false(d.uncertain);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_portal_with_rows_left_is_known),
		cmocka_unit_test(the_answers_of_an_open_pipeline_are_counted),
		cmocka_unit_test(the_log_in_is_an_outstanding_request),
		cmocka_unit_test(every_conversation_ends_where_it_should),
		cmocka_unit_test(the_count_is_zero_when_nothing_is_to_come),
		cmocka_unit_test(every_conversation_can_follow_any_number_of_others),
		cmocka_unit_test(a_conversation_that_has_ended_leaves_nothing_behind),
		cmocka_unit_test(a_copy_end_that_nobody_answers_is_not_waited_for),
		cmocka_unit_test(an_error_is_remembered_until_ready),
		cmocka_unit_test(an_execute_is_remembered_until_sync),
		cmocka_unit_test(a_pipeline_goes_on_after_its_copy),
		cmocka_unit_test(a_sync_that_the_server_throws_away_is_not_counted_as_sent),
		cmocka_unit_test(what_makes_the_count_doubtful_is_said_and_stays_said),
		cmocka_unit_test(a_deep_pipeline_is_full_before_it_overflows),
		cmocka_unit_test(the_last_message_that_is_let_in_always_fits),
		cmocka_unit_test(more_than_the_depth_is_doubtful_and_stays_in_bounds),
		cmocka_unit_test(a_flood_of_copy_ends_does_not_fill_the_ring),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

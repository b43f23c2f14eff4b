#include "statement.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define LENGTH(a) (sizeof(a) / sizeof((a)[0]))

static const struct sql_dialect utf8 = {.encoding = SQL_ENCODING_UTF8};
static const struct sql_dialect backslashes = {
	.encoding = SQL_ENCODING_UTF8, .backslash_in_strings = true};

/* The pieces with '|' between them, '!' at the end when the split is unsure. */
static void render_split(struct slice text, struct sql_dialect dialect, char *out, size_t size)
{
	struct statement_iterator it;
	struct statement s;
	size_t used = 0;
	size_t n = 0;

	statement_iterator_init(&it, text, dialect);
	for (; statement_next(&it, &s); n++)
		used += (size_t)snprintf(out + used, size - used, "%s%.*s", n ? "|" : "",
			(int)s.text.len, s.text.len ? (const char *)s.text.data : "");
	snprintf(out + used, size - used, "%s", it.unsure ? "!" : "");
}

struct splitting {
	const char *label;
	const char *text;
	const char *want;
};

static void check_splits(const struct splitting *cases, size_t n, struct sql_dialect dialect)
{
	char got[2000];

	for (size_t i = 0; i < n; i++) {
		render_split(slice_str(cases[i].text), dialect, got, sizeof(got));
		if (strcmp(got, cases[i].want) != 0)
			fail_msg("%s\n  got  %s\n  want %s", cases[i].label, got, cases[i].want);
	}
}

static void a_text_is_split_at_its_semicolons(void **state)
{
	static const struct splitting cases[] = {
		{"nothing", "", ""},
		{"one", "select 1", "select 1"},
		{"terminated", "select 1;", "select 1|"},
		{"two", "a; b", "a|b"},
		{"empty ones", ";;a;;", "||a||"},
		{"blanks and comments go", "/* x */ a -- y\n; -- z\n b /* ; */ ;", "a|b|"},
		{"comment inside stays", "a /* ; */ b", "a /* ; */ b"},
		{"in literals", "select ';', \";\", $$;$$, E'\\';';b",
			"select ';', \";\", $$;$$, E'\\';'|b"},
		{"only a comment", "-- nothing", ""},
		{"plain parentheses", "select (1); select (2)", "select (1)|select (2)"},
		{"rule", "create rule r as on insert to t do (a; b); c",
			"create rule r as on insert to t do (a; b)|c"},
		{"replaced rule", "CREATE OR REPLACE RULE r AS ON UPDATE TO t DO ALSO (a;b;);c",
			"CREATE OR REPLACE RULE r AS ON UPDATE TO t DO ALSO (a;b;)|c"},
	};

	(void)state;
	check_splits(cases, LENGTH(cases), utf8);
}

static void a_body_between_begin_atomic_and_end_is_one_piece(void **state)
{
	static const struct splitting cases[] = {
		{"one statement", "create function f() begin atomic select 1; end; x",
			"create function f() begin atomic select 1; end|x"},
		{"empty body", "create procedure p() begin atomic end; x",
			"create procedure p() begin atomic end|x"},
		{"empty statements", "create function f() begin atomic ;; select 1;; end; x",
			"create function f() begin atomic ;; select 1;; end|x"},
		{"case",
			"create or replace function f() begin atomic select case when a then b "
			"end; end; x",
			"create or replace function f() begin atomic select case when a then b "
			"end; end|x"},
		{"nested case",
			"create function f() begin atomic "
			"select case when case 1 when 2 then 3 end = 4 then 5 end; end;x",
			"create function f() begin atomic "
			"select case when case 1 when 2 then 3 end = 4 then 5 end; end|x"},
		{"a column called end",
			"create function f() begin atomic select 1 end; select t.end; end;x",
			"create function f() begin atomic select 1 end; select t.end; end|x"},
		{"a column called case", "create function f() begin atomic select 1 as case; end;x",
			"create function f() begin atomic select 1 as case; end|x"},
		{"return", "create function f() begin atomic return 1; end;x",
			"create function f() begin atomic return 1; end|x"},
		{"comment between",
			"create function f() begin /* */ atomic select 1; /* end */ end; x",
			"create function f() begin /* */ atomic select 1; /* end */ end|x"},
		{"a body in a body",
			"create function f() begin atomic create function g() begin atomic "
			"select 1; end; select 2; end; x",
			"create function f() begin atomic create function g() begin atomic "
			"select 1; end; select 2; end|x"},
		{"a rule in a body",
			"create function f() begin atomic create rule r as on insert to t do "
			"(a;b); end;x",
			"create function f() begin atomic create rule r as on insert to t do "
			"(a;b); end|x"},
		{"no body", "create function f() language sql as 'select 1; end'; x",
			"create function f() language sql as 'select 1; end'|x"},
		{"returned expression", "create function f() return 1; end",
			"create function f() return 1|end"},
		{"a setting called begin",
			"create function f() set a to begin begin atomic b; end; x",
			"create function f() set a to begin begin atomic b; end|x"},
		{"not a routine", "select begin atomic from t; end; x",
			"select begin atomic from t|end|x"},
		{"in parentheses", "create function f() return (select begin atomic from t); x",
			"create function f() return (select begin atomic from t)|x"},
		{"function called function", "create function function() begin atomic a; end;x",
			"create function function() begin atomic a; end|x"},
		{"procedural block", "begin; a; end; b", "begin|a|end|b"},
	};

	(void)state;
	check_splits(cases, LENGTH(cases), utf8);
}

static void what_cannot_be_split_for_sure_is_said_to_be_unsure(void **state)
{
	static const struct splitting cases[] = {
		{"string", "a; select 'b; c", "a|select 'b; c!"},
		{"comment", "a; /* b; c", "a|/* b; c!"},
		{"comment behind", "a /* b", "a /* b!"},
		{"name", "a; \"b; c", "a|\"b; c!"},
		{"dollar", "a; $$ b; c", "a|$$ b; c!"},
		{"not opened", "a); b", "a)|b!"},
		{"not closed", "(a; b", "(a; b!"},
		{"semicolon in parentheses", "select (a; b); c", "select (a; b)|c!"},
		{"body not closed", "create function f() begin atomic a; b",
			"create function f() begin atomic a; b!"},
		{"no semicolon before end", "create function f() begin atomic select 1 end; x",
			"create function f() begin atomic select 1 end; x!"},
	};

	(void)state;
	check_splits(cases, LENGTH(cases), utf8);
}

static void backslashes_decide_where_a_piece_ends(void **state)
{
	static const struct splitting standard[] = {{"standard", "a '\\'; b '", "a '\\'|b '!"}};
	static const struct splitting other[] = {{"other", "a '\\'; b '; c", "a '\\'; b '|c"}};

	(void)state;
	check_splits(standard, 1, utf8);
	check_splits(other, 1, backslashes);
}

static void pieces_know_their_place_in_the_text(void **state)
{
	static const char text[] = " a b ; -- x\n c;;";
	static const struct {
		size_t start, offset, len, end;
	} want[] = {{0, 1, 3, 5}, {6, 13, 1, 14}, {15, 15, 0, 15}, {16, 16, 0, 16}};
	struct statement_iterator it;
	struct statement s;

	(void)state;
	statement_iterator_init(&it, slice_str(text), utf8);
	for (size_t i = 0; i < LENGTH(want); i++) {
		assert_true(statement_next(&it, &s));
		assert_int_equal(s.start, want[i].start);
		assert_int_equal(s.offset, want[i].offset);
		assert_int_equal(s.text.len, want[i].len);
		assert_int_equal(s.end, want[i].end);
		assert_int_equal(s.kind, want[i].len ? STATEMENT_OTHER : STATEMENT_EMPTY);
	}
	assert_false(statement_next(&it, &s));
	assert_false(statement_next(&it, &s));
}

static void a_summary_counts_what_the_text_holds(void **state)
{
	struct statement_summary all = statement_summarise(
		slice_str("BEGIN; CREATE INDEX CONCURRENTLY i ON t (a);; SELECT 1; COMMIT;"), utf8);
	struct statement s;

	(void)state;
	assert_false(all.unsure);
	assert_int_equal(all.n_pieces, 4);
	assert_int_equal(all.n_asides, 1);
	assert_int_equal(all.n_controls, 2);
	all = statement_summarise(slice_str("drop index concurrently a; select 'b"), utf8);
	assert_true(all.unsure);
	assert_int_equal(all.n_asides, 1);
	assert_int_equal(statement_summarise(slice_str(" ; "), utf8).n_pieces, 0);
	assert_false(statement_first(slice_str(";; -- x"), utf8, &s));
	assert_false(statement_first(slice_of(NULL, 0), utf8, &s));
	assert_true(statement_first(slice_str(";; commit; x"), utf8, &s));
	assert_int_equal(s.kind, STATEMENT_COMMIT);
}

static bool lies_within(struct slice inner, struct slice outer)
{
	return inner.len == 0 ||
	       (inner.data >= outer.data && inner.len <= outer.len &&
		       (size_t)(inner.data - outer.data) <= outer.len - inner.len);
}

/* Pieces follow one another without a gap, and every detail lies in its own statement. */
static size_t check_pieces(struct slice text, struct sql_dialect dialect)
{
	struct statement_iterator it;
	struct statement s;
	size_t next = 0;
	size_t n = 0;

	statement_iterator_init(&it, text, dialect);
	for (; statement_next(&it, &s); n++) {
		assert_int_equal(s.start, next);
		assert_true(s.offset >= s.start && s.offset <= s.end && s.end <= text.len);
		assert_true(s.text.len <= s.end - s.offset);
		assert_true(s.text.len == 0 || s.text.data == text.data + s.offset);
		assert_true((s.kind == STATEMENT_EMPTY) == (s.text.len == 0));
		assert_true(
			lies_within(s.aside.index, s.text) && lies_within(s.aside.table, s.text));
		assert_true(lies_within(s.aside.partition, s.text) &&
			    lies_within(s.aside.scope, s.text));
		assert_true(lies_within(s.control.savepoint, s.text));
		for (size_t i = 0; i < s.aside.n_blanks; i++)
			assert_true(lies_within(s.aside.blanks[i], s.text));
		next = s.end + 1;
	}
	assert_int_equal(next, text.len + 1);
	return n;
}

static const char tricky[] =
	"BEGIN ISOLATION LEVEL SERIALIZABLE, READ ONLY; CREATE UNIQUE/**/INDEX CONCURRENTLY IF NOT "
	"EXISTS \"a;\"\"b\" ON ONLY U&\"!0061\" UESCAPE '!'.t * USING gin (x) WHERE y = ';';; DROP "
	"INDEX "
	"CONCURRENTLY IF EXISTS a.b, c CASCADE; REINDEX (VERBOSE, CONCURRENTLY on) TABLE x; ALTER "
	"TABLE "
	"IF EXISTS t DETACH PARTITION p CONCURRENTLY; CREATE OR REPLACE FUNCTION f() BEGIN ATOMIC "
	"SELECT "
	"CASE a WHEN 1 THEN 2 END; END; CREATE RULE r AS ON INSERT TO t DO (a; b); DO $x$ ; $x$; "
	"ROLLBACK TO SAVEPOINT s; PREPARE TRANSACTION 'x'; COMMIT AND CHAIN -- end";

static void every_truncation_keeps_its_ranges(void **state)
{
	(void)state;
	assert_int_equal(check_pieces(slice_str(tricky), utf8), 12);
	for (size_t len = 0; len < sizeof(tricky); len++) {
		uint8_t *copy = malloc(len ? len : 1);

		assert_non_null(copy);
		memcpy(copy, tricky, len);
		check_pieces(slice_of(copy, len), utf8);
		check_pieces(slice_of(copy, len), backslashes);
		for (size_t from = 1; from < len; from += 17)
			check_pieces(slice_of(copy + from, len - from), utf8);
		free(copy);
	}
}

static void a_million_pieces_take_no_time(void **state)
{
	static const char *const units[] = {";", "(", ")", "begin;",
		"create index concurrently i on t(a);", "create function f() begin atomic ", "a,",
		"drop index concurrently a,", "create or replace "};
	enum {
		SIZE = 1000 * 1000,
	};
	uint8_t *text = malloc(SIZE);

	(void)state;
	assert_non_null(text);
	for (size_t u = 0; u < LENGTH(units); u++) {
		size_t unit = strlen(units[u]);

		for (size_t i = 0; i < SIZE; i++)
			text[i] = (uint8_t)units[u][i % unit];
		if (check_pieces(slice_of(text, SIZE), utf8) != SIZE + 1)
			assert_true(u > 0);
	}
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_text_is_split_at_its_semicolons),
		cmocka_unit_test(a_body_between_begin_atomic_and_end_is_one_piece),
		cmocka_unit_test(what_cannot_be_split_for_sure_is_said_to_be_unsure),
		cmocka_unit_test(backslashes_decide_where_a_piece_ends),
		cmocka_unit_test(pieces_know_their_place_in_the_text),
		cmocka_unit_test(a_summary_counts_what_the_text_holds),
		cmocka_unit_test(every_truncation_keeps_its_ranges),
		cmocka_unit_test(a_million_pieces_take_no_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

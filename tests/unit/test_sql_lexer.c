#include "sql_lexer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define LENGTH(a) (sizeof(a) / sizeof((a)[0]))

static const struct sql_dialect utf8 = {.encoding = SQL_ENCODING_UTF8};
static const struct sql_dialect backslashes = {
	.encoding = SQL_ENCODING_UTF8, .backslash_in_strings = true};
static const struct sql_dialect sjis = {.encoding = SQL_ENCODING_ASCII_UNSAFE};

static const char *const kind_names[] = {
	[SQL_TOKEN_END] = "end",
	[SQL_TOKEN_ERROR] = "error",
	[SQL_TOKEN_WORD] = "word",
	[SQL_TOKEN_QUOTED_NAME] = "quoted",
	[SQL_TOKEN_UNICODE_NAME] = "uname",
	[SQL_TOKEN_STRING] = "string",
	[SQL_TOKEN_ESCAPE_STRING] = "escape",
	[SQL_TOKEN_UNICODE_STRING] = "ustring",
	[SQL_TOKEN_BIT_STRING] = "bits",
	[SQL_TOKEN_DOLLAR_STRING] = "dollar",
	[SQL_TOKEN_INTEGER] = "int",
	[SQL_TOKEN_DECIMAL] = "dec",
	[SQL_TOKEN_PARAMETER] = "param",
	[SQL_TOKEN_OPERATOR] = "op",
	[SQL_TOKEN_CHAR] = "char",
	[SQL_TOKEN_SYMBOL] = "symbol",
};

/* A text for the lexer in memory of its own, so that a read past its end is seen by ASan. */
static struct slice exact_copy(struct slice text)
{
	uint8_t *copy = malloc(text.len ? text.len : 1);

	assert_non_null(copy);
	if (text.len > 0)
		memcpy(copy, text.data, text.len);
	return slice_of(copy, text.len);
}

static void discard(struct slice copy)
{
	free((void *)(uintptr_t)copy.data);
}

/* All tokens as "kind[text]" with blanks between them; END is left out. */
static void render(struct slice text, struct sql_dialect dialect, char *out, size_t size)
{
	struct slice copy = exact_copy(text);
	struct sql_lexer l;
	struct sql_token t;
	size_t used = 0;

	out[0] = '\0';
	sql_lexer_init(&l, copy, dialect);
	do {
		t = sql_lexer_next(&l);
		if (t.kind != SQL_TOKEN_END)
			used += (size_t)snprintf(out + used, size - used, "%s%s[%.*s]",
				used ? " " : "", kind_names[t.kind], (int)(t.end - t.start),
				(const char *)copy.data + t.start);
		assert_true(used < size);
	} while (t.kind != SQL_TOKEN_END && t.kind != SQL_TOKEN_ERROR);
	assert_int_equal(sql_lexer_next(&l).kind, t.kind);
	discard(copy);
}

struct lexing {
	const char *label;
	const char *text;
	const char *want;
};

static void check_all(const struct lexing *cases, size_t n, struct sql_dialect dialect)
{
	char got[2000];

	for (size_t i = 0; i < n; i++) {
		render(slice_str(cases[i].text), dialect, got, sizeof(got));
		if (strcmp(got, cases[i].want) != 0)
			fail_msg("%s: %s\n  got  %s\n  want %s", cases[i].label, cases[i].text, got,
				cases[i].want);
	}
}

static void words_and_quoted_names_are_told_apart(void **state)
{
	static const struct lexing cases[] = {
		{"nothing", "", ""},
		{"word", "Select", "word[Select]"},
		{"dollar inside", "a$1$b c", "word[a$1$b] word[c]"},
		{"beyond ASCII", "\xc3\xa9t\xc3\xa9 x", "word[\xc3\xa9t\xc3\xa9] word[x]"},
		{"quoted", "\"a b\"\"c\"d", "quoted[\"a b\"\"c\"] word[d]"},
		{"quoted with backslash", "\"a\\\"b", "quoted[\"a\\\"] word[b]"},
		{"quoted is not continued", "\"a\"\n\"b\"", "quoted[\"a\"] quoted[\"b\"]"},
		{"empty quoted", "a \"\"", "word[a] error[\"\"]"},
		{"unicode", "U&\"d\\0061t\" u&\"x\"", "uname[U&\"d\\0061t\"] uname[u&\"x\"]"},
		{"empty unicode", "U&\"\"", "error[U&\"\"]"},
		{"not unicode", "u &\"x\"", "word[u] op[&] quoted[\"x\"]"},
		{"u and an operator", "u&x", "word[u] op[&] word[x]"},
		{"not closed", "a \"b", "word[a] error[\"b]"},
		{"only doubled", "\"\"\"\"", "quoted[\"\"\"\"]"},
		{"only doubled, not closed", "\"\"\"", "error[\"\"\"]"},
	};

	(void)state;
	check_all(cases, LENGTH(cases), utf8);
}

static void strings_end_where_postgresql_ends_them(void **state)
{
	static const struct lexing cases[] = {
		{"plain", "'a''b'c", "string['a''b'] word[c]"},
		{"empty", "''", "string['']"},
		{"backslash is nothing", "'a\\' b", "string['a\\'] word[b]"},
		{"semicolon inside", "';' ;", "string[';'] char[;]"},
		{"escape", "E'a\\'b''c' e'\\\\'", "escape[E'a\\'b''c'] escape[e'\\\\']"},
		{"escape at the end", "E'a\\", "error[E'a\\]"},
		{"national", "N'a\\' x", "word[N] string['a\\'] word[x]"},
		{"a word before", "foo'a'", "word[foo] string['a']"},
		{"a word that ends in e", "type'a\\'", "word[type] string['a\\']"},
		{"unicode", "U&'a\\0061' x", "ustring[U&'a\\0061'] word[x]"},
		{"bits", "B'01' x'1F'", "bits[B'01'] bits[x'1F']"},
		{"bits have no doubled quote", "b'0''1'", "bits[b'0'] string['1']"},
		{"not closed", "x 'abc", "word[x] error['abc]"},
		{"not closed after two", "'abc''", "error['abc'']"},
	};

	(void)state;
	check_all(cases, LENGTH(cases), utf8);
}

static void literals_go_on_behind_a_newline(void **state)
{
	static const struct lexing cases[] = {
		{"newline", "'a'\n'b'", "string['a'\n'b']"},
		{"blank only", "'a' 'b'", "string['a'] string['b']"},
		{"carriage return", "'a' \r\t'b' x", "string['a' \r\t'b'] word[x]"},
		{"comment and newline", "'a' -- c 'd'\n 'b'", "string['a' -- c 'd'\n 'b']"},
		{"newline and comment", "'a'\n-- c\n'b'", "string['a'\n-- c\n'b']"},
		{"block comment", "'a' /* */\n'b'", "string['a'] string['b']"},
		{"behind block comment", "'a'\n/* */'b'", "string['a'] string['b']"},
		{"three", "'a'\n'b'\n'c'", "string['a'\n'b'\n'c']"},
		{"the rule of the first", "E'a'\n'\\'b'", "escape[E'a'\n'\\'b']"},
		{"of the first, plain", "'a'\n'\\' E'b'", "string['a'\n'\\'] escape[E'b']"},
		{"second not plain", "'a'\nE'b'", "string['a'] escape[E'b']"},
		{"bits", "B'0'\n'1'", "bits[B'0'\n'1']"},
		{"second not closed", "'a'\n'b", "error['a'\n'b]"},
		{"dollar is not", "$$a$$\n'b'", "dollar[$$a$$] string['b']"},
		{"form feed is blank", "'a'\f\v\n\f'b'", "string['a'\f\v\n\f'b']"},
		{"a minus", "'a'\n-'b'", "string['a'] char[-] string['b']"},
		{"end in the comment", "'a' --", "string['a']"},
	};

	(void)state;
	check_all(cases, LENGTH(cases), utf8);
}

static void dollar_quotes_match_their_own_tag(void **state)
{
	static const struct lexing cases[] = {
		{"no tag", "$$a;'b$$c", "dollar[$$a;'b$$] word[c]"},
		{"tag", "$x$ $$ $y$ $x$", "dollar[$x$ $$ $y$ $x$]"},
		{"empty", "$$$$", "dollar[$$$$]"},
		{"tags are bytes", "$x$ $X$ $x$", "dollar[$x$ $X$ $x$]"},
		{"half a tag before", "$x$ $x $x$", "dollar[$x$ $x $x$]"},
		{"glued to another", "$x$$y$x$", "dollar[$x$$y$x$]"},
		{"one dollar inside", "$$$x$$", "dollar[$$$x$$]"},
		{"beyond ASCII", "$\xc3\xa9$ $\xc3\xa9$", "dollar[$\xc3\xa9$ $\xc3\xa9$]"},
		{"digit in the tag", "$a1$ $a1$", "dollar[$a1$ $a1$]"},
		{"a digit does not begin a tag", "$1$1$", "param[$1] param[$1] char[$]"},
		{"no second dollar", "$a b", "char[$] word[a] word[b]"},
		{"not closed", "1 $a$ b $a", "int[1] error[$a$ b $a]"},
		{"in a word", "a$$b", "word[a$$b]"},
		{"behind a parameter", "$1$$ ' $$", "param[$1] dollar[$$ ' $$]"},
		{"behind a number", "1$$ ' $$", "int[1] dollar[$$ ' $$]"},
	};

	(void)state;
	check_all(cases, LENGTH(cases), utf8);
}

static void numbers_do_not_swallow_what_follows(void **state)
{
	static const struct lexing cases[] = {
		{"integers", "0 12 $12", "int[0] int[12] param[$12]"},
		{"decimals", "1. .5 1.5 1e5 1.e-5 .5E+10",
			"dec[1.] dec[.5] dec[1.5] dec[1e5] dec[1.e-5] dec[.5E+10]"},
		{"range", "1..2", "int[1] symbol[..] int[2]"},
		{"three dots", "1...2", "int[1] symbol[..] dec[.2]"},
		{"two points", "1.2.3", "dec[1.2] dec[.3]"},
		{"no exponent", "1e 1e+ 1ex",
			"int[1] word[e] int[1] word[e] char[+] int[1] word[ex]"},
		{"escape string behind", "1e'\\''", "int[1] escape[e'\\'']"},
		{"bit string behind", "0b'1''0'", "int[0] bits[b'1'] string['0']"},
		{"bases", "0x1F 0o17 0B10 0x_f", "int[0x1F] int[0o17] int[0B10] int[0x_f]"},
		{"no base", "0x 0o8 0b2 00x1",
			"int[0] word[x] int[0] word[o8] int[0] word[b2] int[00] word[x1]"},
		{"underscores", "1_000 1_0.0_1 1_0e1_0", "int[1_000] dec[1_0.0_1] dec[1_0e1_0]"},
		{"no underscore", "1_ 1__0 1_a", "int[1] word[_] int[1] word[__0] int[1] word[_a]"},
		{"versions differ on base", "0x1g", "error[0x1g]"},
		{"versions differ on underscore", "1_0e'\\''", "error[1_0e'\\'']"},
		{"versions differ on dollar", "0x1$a$ ' $a$", "error[0x1$a$ ' $a$]"},
		{"a plain number and a word", "12abc", "int[12] word[abc]"},
		{"a field", "t.5", "word[t] dec[.5]"},
	};

	(void)state;
	check_all(cases, LENGTH(cases), utf8);
}

static void operators_give_back_comments_and_signs(void **state)
{
	static const struct lexing cases[] = {
		{"single", "+-*/<>=%^", "op[+-*/<>=%^]"},
		{"single, apart", "a+b-c*d",
			"word[a] char[+] word[b] char[-] word[c] char[*] word[d]"},
		{"comparisons", "<= >= <> != =>", "op[<=] op[>=] op[<>] op[!=] op[=>]"},
		{"sign behind", "a=-1", "word[a] char[=] char[-] int[1]"},
		{"signs behind", "a=+-+1", "word[a] char[=] char[+] char[-] char[+] int[1]"},
		{"sign inside", "=-=", "op[=-=]"},
		{"free operator keeps it", "@- ~+ ->", "op[@-] op[~+] op[->]"},
		{"only signs", "+-+", "char[+] char[-] char[+]"},
		{"line comment behind", "a+--b\n1", "word[a] char[+] int[1]"},
		{"block comment behind", "a*/**/b", "word[a] char[*] word[b]"},
		{"comment first", "--+\n+", "char[+]"},
		{"star slash", "*/", "op[*/]"},
		{"json", "a->>'b' @> $1 #- x",
			"word[a] op[->>] string['b'] op[@>] param[$1] op[#-] word[x]"},
		{"question", "a ? b ?| c ?& d",
			"word[a] op[?] word[b] op[?|] word[c] op[?&] word[d]"},
		{"colons", "a::b := c:d :",
			"word[a] symbol[::] word[b] symbol[:=] word[c] char[:] word[d] char[:]"},
		{"punctuation", "(a[1:2],b.*);",
			"char[(] word[a] char[[] int[1] char[:] int[2] char[]] "
			"char[,] word[b] char[.] char[*] char[)] char[;]"},
		{"single free ones", "~ ! @ # & | `", "op[~] op[!] op[@] op[#] op[&] op[|] op[`]"},
		{"no operator at all", "\\ { }", "char[\\] char[{] char[}]"},
		{"longest", "|||||||||||||||||||||||||||||||||||||||||||||||||||||||||||||||",
			"op[|||||||||||||||||||||||||||||||||||||||||||||||||||||||||||||||]"},
		{"too long", "||||||||||||||||||||||||||||||||||||||||||||||||||||||||||||||||",
			"error[||||||||||||||||||||||||||||||||||||||||||||||||||||||||||||||||]"},
	};

	(void)state;
	check_all(cases, LENGTH(cases), utf8);
}

static void whitespace_and_comments_separate(void **state)
{
	static const struct lexing cases[] = {
		{"all whitespace", "a \t\n\r\f\vb", "word[a] word[b]"},
		{"comment instead", "create/**/index", "word[create] word[index]"},
		{"line comment", "a -- b ' \" $$ /*\nc", "word[a] word[c]"},
		{"ends at carriage return", "a --b\rc", "word[a] word[c]"},
		{"to the end", "a --b", "word[a]"},
		{"nested", "a /* /* */ ' */ b", "word[a] word[b]"},
		{"not a new level", "/*/ */ b", "word[b]"},
		{"glued ends", "/*/**/*/b", "word[b]"},
		{"stars", "/****/ b /***/ c", "word[b] word[c]"},
		{"level not closed", "a /* /* */", "word[a] error[/* /* */]"},
		{"not closed", "/*", "error[/*]"},
		{"quotes do not count inside", "/* ' */ a /* \" */", "word[a]"},
		{"line comment does not count inside", "/* -- */ a", "word[a]"},
		{"only blanks", " \n ", ""},
		{"no-break space is a letter", "\xc2\xa0", "word[\xc2\xa0]"},
	};

	(void)state;
	check_all(cases, LENGTH(cases), utf8);
}

static void backslashes_count_when_strings_are_not_standard(void **state)
{
	static const struct lexing cases[] = {
		{"plain", "'a\\' b' c", "escape['a\\' b'] word[c]"},
		{"continued", "'a'\n'\\'' c", "escape['a'\n'\\''] word[c]"},
		{"national", "N'\\''", "word[N] escape['\\'']"},
		{"bits are bits", "B'\\'", "bits[B'\\']"},
		{"dollar", "$$\\$$", "dollar[$$\\$$]"},
		{"name", "\"\\\"", "quoted[\"\\\"]"},
		{"unicode name", "U&\"\\0061\"", "uname[U&\"\\0061\"]"},
		{"unicode string is refused", "U&'a'", "error[U&'a']"},
	};

	(void)state;
	check_all(cases, LENGTH(cases), backslashes);
}

static void bytes_beyond_ascii_are_refused_in_an_unsafe_encoding(void **state)
{
	static const struct lexing cases[] = {
		{"ASCII is fine", "select 'a'", "word[select] string['a']"},
		{"anywhere", "select 1; '\x83\x5c'", "error[select 1; '\x83\x5c']"},
	};

	(void)state;
	check_all(cases, LENGTH(cases), sjis);
}

static void zero_bytes_are_refused(void **state)
{
	char got[100];

	(void)state;
	render(slice_of("a\0b", 3), utf8, got, sizeof(got));
	assert_memory_equal(got, "error[a", 7);
	render(slice_of("\0", 1), utf8, got, sizeof(got));
	assert_memory_equal(got, "error[", 6);
}

static void encodings_are_known_by_name(void **state)
{
	static const struct {
		const char *name;
		enum sql_encoding want;
	} cases[] = {
		{"UTF8", SQL_ENCODING_UTF8},
		{"SQL_ASCII", SQL_ENCODING_ASCII_SAFE},
		{"LATIN1", SQL_ENCODING_SINGLE_BYTE},
		{"EUC_JIS_2004", SQL_ENCODING_ASCII_SAFE},
		{"WIN1252", SQL_ENCODING_SINGLE_BYTE},
		{"KOI8R", SQL_ENCODING_SINGLE_BYTE},
		{"ISO_8859_5", SQL_ENCODING_SINGLE_BYTE},
		{"MULE_INTERNAL", SQL_ENCODING_ASCII_SAFE},
		{"SJIS", SQL_ENCODING_ASCII_UNSAFE},
		{"SHIFT_JIS_2004", SQL_ENCODING_ASCII_UNSAFE},
		{"BIG5", SQL_ENCODING_ASCII_UNSAFE},
		{"GBK", SQL_ENCODING_ASCII_UNSAFE},
		{"UHC", SQL_ENCODING_ASCII_UNSAFE},
		{"GB18030", SQL_ENCODING_ASCII_UNSAFE},
		{"JOHAB", SQL_ENCODING_ASCII_UNSAFE},
		{"", SQL_ENCODING_ASCII_UNSAFE},
		{"UTF", SQL_ENCODING_ASCII_UNSAFE},
	};

	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++)
		if (sql_encoding_of(slice_str(cases[i].name)) != cases[i].want)
			fail_msg("%s", cases[i].name);
}

static void words_are_compared_without_case(void **state)
{
	struct slice text = slice_str("CoNcurrently \"create\" concurrentl concurrentlyx ;");
	struct sql_lexer l;

	(void)state;
	sql_lexer_init(&l, text, utf8);
	assert_true(sql_token_is_word(text, sql_lexer_next(&l), "concurrently"));
	assert_false(sql_token_is_word(text, sql_lexer_next(&l), "create"));
	assert_false(sql_token_is_word(text, sql_lexer_next(&l), "concurrently"));
	assert_false(sql_token_is_word(text, sql_lexer_next(&l), "concurrently"));
	assert_true(sql_token_is_char(text, sql_lexer_next(&l), ';'));
	assert_false(sql_token_is_word(text, sql_lexer_next(&l), ""));
}

/* Tokens lie in the text, in order, and only the last may be an END or an ERROR. */
static size_t check_ranges(struct slice text, struct sql_dialect dialect)
{
	struct sql_lexer l;
	struct sql_token t;
	size_t last = 0;
	size_t n = 0;

	sql_lexer_init(&l, text, dialect);
	for (;; n++) {
		t = sql_lexer_next(&l);
		assert_true(t.start >= last && t.start <= t.end && t.end <= text.len);
		if (t.kind == SQL_TOKEN_END || t.kind == SQL_TOKEN_ERROR)
			break;
		assert_true(t.end > t.start);
		last = t.end;
	}
	assert_int_equal(t.end, text.len);
	return n;
}

static const char tricky[] =
	"CREATE/*a/*b*/c*/INDEX--x\r\"q\"\"r\"U&\"\\0061\" UESCAPE '!' 'a''b'\n-- c\n'd' "
	"E'\\'\\\\' "
	"N'x' b'01'\n'10' X'f' U&'\\0061' $t$ $u$ '$t$ $1 $$$$ 1.5e-3 0x_1f 1_0.0 1..2 .5 <=+- @- "
	"a->>b ::int := x[1:2] \xc3\xa9 /*+*/ *-- end";

static void every_truncation_keeps_its_ranges(void **state)
{
	static const struct sql_dialect *const dialects[] = {&utf8, &backslashes, &sjis};

	(void)state;
	for (size_t d = 0; d < LENGTH(dialects); d++) {
		for (size_t from = 0; from < sizeof(tricky); from++) {
			for (size_t len = 0; len < sizeof(tricky) - from; len += 1 + from / 8) {
				struct slice copy = exact_copy(slice_of(tricky + from, len));

				check_ranges(copy, *dialects[d]);
				discard(copy);
			}
		}
	}
}

static void every_pair_of_bytes_keeps_its_ranges(void **state)
{
	(void)state;
	for (unsigned pair = 0; pair < 0x10000; pair++) {
		uint8_t bytes[4] = {(uint8_t)(pair >> 8), (uint8_t)pair, '\'', '\n'};

		check_ranges(slice_of(bytes, sizeof(bytes)), utf8);
		check_ranges(slice_of(bytes, 2), utf8);
	}
}

/* A million bytes of what would take hours if any part of it were looked at again and again. */
static void every_text_takes_time_in_proportion(void **state)
{
	static const char *const units[] = {"+", "-+", "*+", "=+@", "/*", "$a", "$a$ ", "'a' ",
		"''\n", "'a'--\n", "(", "U&", "1.", "1_", "0x", ".", "\"\"", "a", ";", "E'\\", " ",
		"\n", "--", "--\n", "|+ ", "$", "$$ $a$ ", "'\n'-- ", "0_0e+", "\xff"};
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
		check_ranges(slice_of(text, SIZE), utf8);
		check_ranges(slice_of(text, SIZE), backslashes);
	}
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(words_and_quoted_names_are_told_apart),
		cmocka_unit_test(strings_end_where_postgresql_ends_them),
		cmocka_unit_test(literals_go_on_behind_a_newline),
		cmocka_unit_test(dollar_quotes_match_their_own_tag),
		cmocka_unit_test(numbers_do_not_swallow_what_follows),
		cmocka_unit_test(operators_give_back_comments_and_signs),
		cmocka_unit_test(whitespace_and_comments_separate),
		cmocka_unit_test(backslashes_count_when_strings_are_not_standard),
		cmocka_unit_test(bytes_beyond_ascii_are_refused_in_an_unsafe_encoding),
		cmocka_unit_test(zero_bytes_are_refused),
		cmocka_unit_test(encodings_are_known_by_name),
		cmocka_unit_test(words_are_compared_without_case),
		cmocka_unit_test(every_truncation_keeps_its_ranges),
		cmocka_unit_test(every_pair_of_bytes_keeps_its_ranges),
		cmocka_unit_test(every_text_takes_time_in_proportion),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

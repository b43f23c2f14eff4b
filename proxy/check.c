/*
 * check.c - the command: flags, files, what is printed.
 */
#include "check.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bytes.h"
#include "json.h"
#include "run.h"

#define FILE_MAX (256u * 1024u * 1024u)
#define EXCERPT 72u

struct options {
	enum check_as as;
	bool json, together, help;
	const char *config_path;
	int rest; /* the first file */
};

/* What was said so far. */
struct report {
	const char *file; /* the one being read */
	bool json;
	unsigned n_files, n_statements, n_problems;
	unsigned n_asides[CHECK_NOT_REACHED + 1];
};

static const char *const as_names[] = {
	[CHECK_AS_TRANSACTION] = "transaction",
	[CHECK_AS_QUERY] = "query",
	[CHECK_AS_STATEMENTS] = "statements",
};

static void print_help(void)
{
	fputs("pgaside check [flags] FILE.sql ...\n"
	      "\n"
	      "Says of each statement what pgaside would do with it, and why. No server is asked: "
	      "a\n"
	      "relation of which the files say nothing is taken for an ordinary table that "
	      "everybody\n"
	      "can see, an index for a valid one. - is standard input. Ends with 1 if something\n"
	      "could not be helped, with 2 if a file or a flag cannot be read.\n"
	      "\n"
	      "  --as transaction|query|statements\n"
	      "        how the tool sends a file: BEGIN, one statement after the other, COMMIT\n"
	      "        (default); all of it in one Query; one after the other, without a "
	      "transaction\n"
	      "  --together\n"
	      "        all files are in one transaction\n"
	      "  --format text|json\n"
	      "  --config FILE\n"
	      "        settings, as for serve and run, which are flags and variables, too:\n"
	      "        aside, native, conflict and max_statement_size count here\n",
		stdout);
}

static int fail(const char *what, const char *why)
{
	fprintf(stderr, "pgaside: check: %s: %s\n", what, why);
	return EXIT_USAGE;
}

static bool read_as(struct options *o, const char *value)
{
	for (size_t i = 0; i < sizeof(as_names) / sizeof(as_names[0]); i++) {
		if (strcmp(value, as_names[i]) == 0) {
			o->as = (enum check_as)i;
			return true;
		}
	}
	return false;
}

/* The value of a flag of ours, and how many words it took; NULL when it is another flag. */
static const char *value_of(const char *name, char *const *argv, int *words)
{
	size_t len = strlen(name);

	if (strncmp(argv[0], name, len) != 0 || (argv[0][len] && argv[0][len] != '='))
		return NULL;
	*words = argv[0][len] ? 1 : 2;
	if (argv[0][len])
		return argv[0] + len + 1;
	return argv[1] ? argv[1] : "";
}

/* One flag: the number of words it took, 0 on error. */
static int read_flag(
	struct options *o, struct config *c, int argc, char *const *argv, int at, struct err *e)
{
	const char *word = argv[at], *value;
	int words = 1;

	if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
		o->help = true;
	} else if (strcmp(word, "--together") == 0) {
		o->together = true;
	} else if ((value = value_of("--as", argv + at, &words))) {
		if (!read_as(o, value))
			return err_set(e, "F0000", "--as is transaction, query or statements");
	} else if ((value = value_of("--format", argv + at, &words))) {
		o->json = strcmp(value, "json") == 0;
		if (!o->json && strcmp(value, "text") != 0)
			return err_set(e, "F0000", "--format is text or json");
	} else if ((value = value_of("--config", argv + at, &words))) {
		o->config_path = value;
	} else {
		int behind = config_read_flag(c, argc, argv, at, e);

		words = behind > 0 ? behind - at : 0;
	}
	return words;
}

static bool read_flags(
	struct options *o, struct config *c, int argc, char *const *argv, struct err *e)
{
	int at = 1, words;

	for (; at < argc && argv[at][0] == '-' && argv[at][1]; at += words) {
		if (strcmp(argv[at], "--") == 0) {
			at++;
			break;
		}
		words = read_flag(o, c, argc, argv, at, e);
		if (words == 0)
			return false;
	}
	o->rest = at < argc ? at : argc;
	return true;
}

/* Flags are read twice: they say which file is read before they are heard. */
static bool load(struct options *o, struct config *c, int argc, char *const *argv, struct err *e)
{
	struct config scratch;
	bool ok;

	config_init(&scratch);
	ok = read_flags(o, &scratch, argc, argv, e);
	config_release(&scratch);
	if (!ok || o->help)
		return ok;
	if (o->config_path && !config_read_file(c, o->config_path, e))
		return false;
	return config_read_environment(c, environ, e) && read_flags(o, c, argc, argv, e);
}

/* The beginning of a statement, on one line. */
static void put_excerpt(struct bytes *out, struct slice text)
{
	bool space = false;
	size_t n = 0;

	for (size_t i = 0; i < text.len; i++) {
		uint8_t byte = text.data[i];

		if (n >= EXCERPT && (byte & 0xc0) != 0x80) {
			bytes_printf(out, " ..");
			return;
		}
		if (byte <= ' ' || byte == 0x7f) {
			space = true;
			continue;
		}
		if (space)
			bytes_put_u8(out, ' ');
		n += (space ? 1u : 0u) + ((byte & 0xc0) != 0x80 ? 1u : 0u);
		space = false;
		bytes_put_u8(out, byte);
	}
}

static void write_out(struct bytes *line)
{
	struct slice s = bytes_view(line);

	fwrite(s.data, 1, s.len, stdout);
	bytes_release(line);
}

static void print_text(const struct report *r, const struct check_step *step)
{
	struct bytes line;

	bytes_init(&line, 64u * 1024);
	bytes_printf(&line, "%s:%u: %s%s: ", r->file, step->line, step->problem ? "PROBLEM, " : "",
		check_verdict_name(step->verdict));
	if (step->text.len > 0)
		put_excerpt(&line, step->text);
	else
		bytes_printf(&line, "the COMMIT at the end");
	bytes_put_u8(&line, '\n');
	if (*step->reason)
		bytes_printf(&line, "    %s\n", step->reason);
	if (*step->note)
		bytes_printf(&line, "    only the server knows: %s\n", step->note);
	write_out(&line);
}

static void put_member(struct bytes *out, const char *name, struct slice value)
{
	bytes_printf(out, ", \"%s\": ", name);
	json_put_string(out, value);
}

static void print_json(const struct report *r, const struct check_step *step)
{
	const char *tag = statement_command_tag(step->statement);
	struct bytes line;

	bytes_init(&line, FILE_MAX);
	bytes_printf(&line, "%s\n  {\"file\": ", r->n_statements > 1 ? "," : "");
	json_put_string(&line, slice_str(r->file));
	bytes_printf(&line, ", \"line\": %u", step->line);
	put_member(&line, "statement", step->text);
	put_member(&line, "aside", slice_str(tag ? tag : ""));
	put_member(&line, "verdict", slice_str(check_verdict_name(step->verdict)));
	bytes_printf(&line, ", \"problem\": %s", step->problem ? "true" : "false");
	put_member(&line, "reason", slice_str(step->reason));
	put_member(&line, "note", slice_str(step->note));
	bytes_put_u8(&line, '}');
	write_out(&line);
}

static void on_step(void *arg, const struct check_step *step)
{
	struct report *r = arg;

	r->n_statements++;
	r->n_problems += step->problem;
	r->n_asides[step->verdict] += statement_is_aside(step->statement);
	if (r->json)
		print_json(r, step);
	else
		print_text(r, step);
}

/* Reads a file; `out` is limited to FILE_MAX. False with errno. */
static bool read_stream(FILE *f, struct bytes *out)
{
	for (;;) {
		uint8_t *room = bytes_reserve(out, 65536);
		size_t n = room ? fread(room, 1, 65536, f) : 0;

		if (!room) {
			errno = EFBIG;
			return false;
		}
		bytes_commit(out, n);
		if (n == 0)
			return !ferror(f);
	}
}

static bool read_file(const char *name, struct bytes *out)
{
	FILE *f = strcmp(name, "-") == 0 ? stdin : fopen(name, "re");
	bool ok;

	if (!f)
		return false;
	errno = 0;
	ok = read_stream(f, out);
	if (f != stdin)
		fclose(f);
	if (!ok && errno == 0)
		errno = EIO;
	return ok;
}

/* Without the byte order mark that editors leave. */
static struct slice text_of(const struct bytes *file)
{
	struct slice s = bytes_view(file);

	return s.len >= 3 && memcmp(s.data, "\xef\xbb\xbf", 3) == 0
		       ? slice_of(s.data + 3, s.len - 3)
		       : s;
}

static void print_begin(const struct options *o)
{
	if (o->json)
		printf("{\"as\": \"%s\", \"together\": %s, \"statements\": [", as_names[o->as],
			o->together ? "true" : "false");
}

static void print_end(const struct options *o, const struct report *r)
{
	const char *between = "";

	if (o->json) {
		printf("\n], \"problems\": %u}\n", r->n_problems);
		return;
	}
	printf("%u %s, %u statement%s, of the aside ones: ", r->n_files,
		r->n_files == 1 ? "file" : "files", r->n_statements,
		r->n_statements == 1 ? "" : "s");
	for (size_t i = 0; i < sizeof(r->n_asides) / sizeof(r->n_asides[0]); i++) {
		if (r->n_asides[i] == 0)
			continue;
		printf("%s%u %s", between, r->n_asides[i],
			check_verdict_name((enum check_verdict)i));
		between = ", ";
	}
	printf("%s; %u problem%s; assumed: --as %s%s\n", *between ? "" : "none", r->n_problems,
		r->n_problems == 1 ? "" : "s", as_names[o->as], o->together ? " --together" : "");
}

/* All files stay in memory: a transaction may reach over several. */
static int check_files(const struct options *o, const struct config *c, char *const *names, int n)
{
	struct report r = {.json = o->json};
	struct bytes *files = calloc((size_t)n, sizeof(*files));
	struct check *check = check_new(o->as, o->together, c);
	int status = EXIT_SUCCESS;
	bool ok = files && check;

	for (int i = 0; files && i < n; i++)
		bytes_init(&files[i], FILE_MAX);
	for (int i = 0; ok && i < n; i++)
		if (!read_file(names[i], &files[i]))
			status = fail(names[i], strerror(errno));
	if (ok && status == EXIT_SUCCESS) {
		print_begin(o);
		for (int i = 0; ok && i < n; i++) {
			r.file = strcmp(names[i], "-") == 0 ? "(standard input)" : names[i];
			r.n_files++;
			ok = check_text(check, text_of(&files[i]), on_step, &r);
		}
		print_end(o, &r);
		status = r.n_problems > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
	}
	if (!ok)
		status = fail(n > 0 && r.file ? r.file : "files",
			"out of memory, or too many relations or savepoints");
	for (int i = 0; files && i < n; i++)
		bytes_release(&files[i]);
	free(files);
	check_free(check);
	if (fflush(stdout) != 0 || ferror(stdout))
		status = fail("standard output", strerror(errno));
	return status;
}

int check_main(int argc, char *const *argv)
{
	struct options o = {.as = CHECK_AS_TRANSACTION};
	struct config c;
	struct err e;
	int status;

	config_init(&c);
	if (!load(&o, &c, argc, argv, &e)) {
		fprintf(stderr, "pgaside: %s\n", e.text);
		status = EXIT_USAGE;
	} else if (o.help) {
		print_help();
		status = EXIT_SUCCESS;
	} else if (o.rest == argc) {
		status = fail("which file?", "pgaside check [flags] FILE.sql ...");
	} else {
		status = check_files(&o, &c, argv + o.rest, argc - o.rest);
	}
	config_release(&c);
	return status;
}

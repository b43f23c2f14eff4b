/*
 * check_marks.c - comments by which migration tools divide a file: where the part begins that takes
 * the migration back, and whether the tool leaves the transaction out.
 */
#include <strings.h>

#include "check_walk.h"

/* Of dbmate, goose, sql-migrate and node-pg-migrate; they begin a line. */
static const char *const downs[] = {
	"-- migrate:down", "-- +goose Down", "-- +migrate Down", "-- Down Migration"};

/* A line that begins with `mark` has `option` in it; NULL: the mark alone says so. */
static const struct {
	const char *mark, *option;
} alone[] = {{"-- migrate:up", "transaction:false"}, {"-- +goose NO TRANSACTION", NULL},
	{"-- +migrate Up", "notransaction"}};

static struct slice line_at(struct slice text, size_t at)
{
	const uint8_t *end = memchr(text.data + at, '\n', text.len - at);

	return slice_of(text.data + at, end ? (size_t)(end - text.data) - at : text.len - at);
}

static bool begins_with(struct slice line, const char *mark)
{
	size_t len = strlen(mark);

	return len <= line.len && strncasecmp((const char *)line.data, mark, len) == 0;
}

static bool is_down(struct slice line)
{
	for (size_t i = 0; i < sizeof(downs) / sizeof(downs[0]); i++)
		if (begins_with(line, downs[i]))
			return true;
	return false;
}

static bool is_alone(struct slice line)
{
	for (size_t i = 0; i < sizeof(alone) / sizeof(alone[0]); i++)
		if (begins_with(line, alone[i].mark) &&
			(!alone[i].option || memmem(line.data, line.len, alone[i].option,
						     strlen(alone[i].option))))
			return true;
	return false;
}

/* Where the first such line begins; the end of the text if there is none. */
static size_t find_line(struct slice text, bool (*is_such)(struct slice line))
{
	struct slice line;

	for (size_t at = 0; at < text.len; at += line.len + 1) {
		line = line_at(text, at);
		if (is_such(line))
			return at;
	}
	return text.len;
}

size_t check_up_length(struct slice text)
{
	return find_line(text, is_down);
}

bool check_has_no_transaction(struct slice text)
{
	return find_line(text, is_alone) < text.len;
}

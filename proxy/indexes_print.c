/*
 * indexes_print.c - the list, for people and for programs.
 */
#include <stdio.h>

#include "indexes_state.h"
#include "json.h"

static const char *state_name(enum indexes_state state)
{
	switch (state) {
	case INDEX_LEFTOVER:
		return "leftover";
	case INDEX_BUILDING:
		return "building";
	case INDEX_PARTITIONED:
		return "partitioned";
	case INDEX_ATTACHED:
		return "attached";
	}
	return "";
}

/* What the repair has come to, as the catalog has it afterwards. */
static const char *outcome(const struct indexes *x, const struct indexes_row *row)
{
	if (!row->tried)
		return "";
	if (indexes_find(&x->after, row->oid))
		return row->why ? "failed" : "not touched";
	if (row->done == REPAIR_REBUILD)
		return "rebuilt";
	return row->done == REPAIR_DROP ? "dropped" : "gone";
}

static void put_size(struct bytes *out, uint64_t size)
{
	static const char *const units[] = {"bytes", "kB", "MB", "GB", "TB"};
	size_t unit = 0;

	while (size >= 10240 && unit + 1 < sizeof(units) / sizeof(units[0])) {
		size = (size + 512) / 1024;
		unit++;
	}
	bytes_printf(out, "%llu %s", (unsigned long long)size, units[unit]);
}

static void put_duration(struct bytes *out, long long s)
{
	if (s < 120)
		bytes_printf(out, "%lld s", s);
	else if (s < 7200)
		bytes_printf(out, "%lld min", s / 60);
	else if (s < 172800)
		bytes_printf(out, "%lld h", s / 3600);
	else
		bytes_printf(out, "%lld d", s / 86400);
}

static void put_age(struct bytes *out, const struct indexes_row *row)
{
	if (row->age_s >= 0) {
		bytes_printf(out, ", ");
		put_duration(out, row->age_s);
		bytes_printf(out, " old");
	} else if (row->written_s >= 0) {
		bytes_printf(out, ", written ");
		put_duration(out, row->written_s);
		bytes_printf(out, " ago");
	}
}

/* Names may hold anything. */
static void write_out(struct bytes *b, bool text)
{
	struct slice s = bytes_view(b);

	for (size_t i = 0; i < s.len; i++)
		putchar(text && (s.data[i] < ' ' || s.data[i] == 0x7f) && s.data[i] != '\n'
				? '?'
				: s.data[i]);
	bytes_release(b);
}

static void print_row(const struct indexes *x, const struct indexes_row *row)
{
	const char *result = outcome(x, row);
	struct bytes b;

	bytes_init(&b, 64u * 1024);
	bytes_printf(&b, "%s on %s, ", row->name, row->table);
	put_size(&b, row->size);
	put_age(&b, row);
	bytes_printf(&b, ": %s%s%s\n    ", state_name(row->state), *result ? ", " : "", result);
	indexes_explain(&b, row);
	bytes_put_u8(&b, '\n');
	if (row->why)
		bytes_printf(&b, "    %s\n", row->why);
	write_out(&b, true);
}

static void put_member(struct bytes *out, const char *name, const char *value)
{
	bytes_printf(out, ", \"%s\": ", name);
	json_put_string(out, slice_str(value));
}

static void put_number(struct bytes *out, const char *name, long long value)
{
	bytes_printf(out, ", \"%s\": ", name);
	if (value >= 0)
		bytes_printf(out, "%lld", value);
	else
		bytes_printf(out, "null");
}

static void print_json_row(const struct indexes *x, const struct indexes_row *row)
{
	struct bytes b, why;

	bytes_init(&b, 256u * 1024);
	bytes_init(&why, 64u * 1024);
	indexes_explain(&why, row);
	bytes_put_u8(&why, 0);
	bytes_printf(&b, "%s\n  {\"oid\": %u", row == x->list.rows ? "" : ",", row->oid);
	put_member(&b, "index", row->name);
	put_member(&b, "table", row->table);
	put_member(&b, "state", state_name(row->state));
	put_member(&b, "explanation", (const char *)bytes_view(&why).data);
	put_number(&b, "size_bytes", (long long)row->size);
	put_number(&b, "age_seconds", row->age_s);
	put_number(&b, "written_seconds_ago", row->written_s);
	put_number(&b, "process", row->holder > 0 ? row->holder : -1);
	put_member(&b, "repair", outcome(x, row));
	put_member(&b, "error", row->why ? row->why : "");
	bytes_put_u8(&b, '}');
	write_out(&b, false);
	bytes_release(&why);
}

/* What is INVALID now. */
static const struct indexes_list *latest(const struct indexes *x)
{
	return x->after.rows ? &x->after : &x->list;
}

static void print_summary(const struct indexes *x)
{
	const struct indexes_list *list = latest(x);
	size_t left = indexes_count(list, INDEX_LEFTOVER);

	printf("%zu INVALID: %zu leftover%s, %zu being built, %zu of partitioned tables\n", list->n,
		left, left == 1 ? "" : "s", indexes_count(list, INDEX_BUILDING),
		indexes_count(list, INDEX_PARTITIONED) + indexes_count(list, INDEX_ATTACHED));
	if (left > 0 && x->repair == REPAIR_NONE)
		printf("pgaside indexes --repair drop, or --repair rebuild, mends the leftovers\n");
}

void indexes_print(const struct indexes *x)
{
	if (x->json) {
		printf("{\"indexes\": [");
		for (size_t i = 0; i < x->list.n; i++)
			print_json_row(x, &x->list.rows[i]);
		printf("\n], \"leftovers\": %zu}\n", indexes_count(latest(x), INDEX_LEFTOVER));
		return;
	}
	for (size_t i = 0; i < x->list.n; i++)
		print_row(x, &x->list.rows[i]);
	print_summary(x);
}

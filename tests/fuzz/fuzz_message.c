/*
 * fuzz_message.c - any bytes as a message of any type, through every decoder.
 *
 * The first byte of the input is the type, the rest the body.
 */
#include <stdlib.h>

#include "frame.h"
#include "inquiry.h"
#include "message.h"
#include "trace.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MOST ((size_t)1 << 26)

static void expect(bool truth)
{
	if (!truth)
		abort();
}

static bool is_inside(struct slice inner, struct slice outer)
{
	return inner.data >= outer.data && inner.len <= outer.len &&
	       (size_t)(inner.data - outer.data) <= outer.len - inner.len;
}

static void decode_frontend(struct slice body)
{
	struct parse_message parse;
	struct bind_message bind;
	struct target_message target;
	struct slice text, data;

	if (query_decode(body, &text))
		expect(text.len == body.len - 1);
	if (parse_decode(body, &parse))
		expect(is_inside(parse.name, body) && is_inside(parse.query, body));
	if (bind_decode(body, &bind))
		expect(is_inside(bind.portal, body) && is_inside(bind.statement, body));
	if (execute_decode(body, &text))
		expect(text.len == body.len - 5);
	if (target_decode(body, &target))
		expect(target.kind == body.data[0] && target.name.len == body.len - 2);
	sasl_offers(body, "SCRAM-SHA-256-PLUS");
	if (sasl_initial_decode(body, &text, &data))
		expect(text.len + data.len + 5 == body.len);
}

static void decode_row(struct slice body)
{
	struct slice values[5];
	int n = data_row_decode(body, values, 5);

	for (int i = 0; i < n && i < 5; i++)
		expect(!values[i].data || is_inside(values[i], body));
}

static void decode_backend(struct slice body)
{
	struct backend_key key;
	struct slice name, value;
	uint32_t code;

	if (backend_key_decode(body, &key))
		expect(key.secret.len == body.len - 4);
	if (parameter_status_decode(body, &name, &value))
		expect(name.len + value.len + 2 == body.len);
	if (authentication_decode(body, &code, &value))
		expect(value.len == body.len - 4);
	decode_row(body);
}

/* What is copied has every field that there was, the position as asked for, and its end. */
static void change_error(struct slice body)
{
	struct bytes out;
	struct slice before, after;

	bytes_init(&out, MOST);
	error_put_changed(&out, body, 3, "hint");
	expect(error_field(bytes_view(&out), 'H', &after));
	if (error_field(body, 'C', &before))
		expect(error_field(bytes_view(&out), 'C', &after) && slice_equal(before, after));
	expect(error_field(bytes_view(&out), 'P', &after) == error_field(body, 'P', &before));
	bytes_clear(&out);
	error_put_moved(&out, body, 42);
	expect(error_field(bytes_view(&out), 'P', &after) && slice_is(after, "42"));
	expect(bytes_view(&out).data[bytes_length(&out) - 1] == 0);
	bytes_release(&out);
}

static void on_row(void *owner, unsigned question, const struct slice *values, int n)
{
	const struct slice *body = owner;

	(void)question;
	for (int i = 0; i < n; i++)
		expect(!values[i].data || is_inside(values[i], *body));
}

static void inquire(uint8_t type, struct slice body)
{
	struct inquiry q = {0};

	inquiry_init(&q, on_row, &body);
	inquiry_take(&q, type, body);
	expect(q.failed == (type == 'E') && q.done == (type == 'Z'));
	expect(memchr(q.sqlstate, 0, sizeof(q.sqlstate)) != NULL);
	inquiry_release(&q);
}

/* One line, printable, whatever comes in. */
static void trace(uint8_t type, struct slice body)
{
	struct bytes message, line;
	size_t place;

	bytes_init(&message, MOST);
	bytes_init(&line, MOST);
	place = message_begin(&message, (char)type);
	bytes_put_slice(&message, body);
	message_end(&message, place);
	trace_message(&line, TRACE_FRONTEND, bytes_view(&message));
	trace_message(&line, TRACE_BACKEND, bytes_view(&message));
	trace_message(&line, TRACE_BACKEND, body);
	expect(!bytes_failed(&line));
	for (size_t i = 0; i < bytes_length(&line); i++) {
		uint8_t c = bytes_view(&line).data[i];

		expect(c == '\t' || (c >= 0x20 && c < 0x7f));
	}
	bytes_release(&message);
	bytes_release(&line);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice body;
	struct frame f;

	if (size == 0)
		return 0;
	body = slice_of(data + 1, size - 1);
	decode_frontend(body);
	decode_backend(body);
	change_error(body);
	inquire(data[0], body);
	trace(data[0], body);
	if (frame_peek(data, size, &f) == FRAME_WHOLE_HEADER)
		expect(f.size >= FRAME_HEADER && f.size <= (size_t)0x7fffffff + 1);
	return 0;
}

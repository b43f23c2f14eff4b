#include "flow.h"

#include <event2/event.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "message.h"
#include "worker.h"

#define LENGTH(a) (sizeof(a) / sizeof((a)[0]))
#define HELD_LIMIT ((size_t)1024 * 1024)

/*
 * What becomes of a message is decided by its type:
 *   d, e  forwarded
 *   p     forwarded without a question
 *   Q     gathered and passed
 *   x     gathered and dropped
 *   r     gathered and replaced with what replaced() writes
 *   w     waits until the gate is open, then is forwarded
 *   s     gathered, stops until the gate is open, then is passed
 */
struct session {
	struct event_base *base;
	struct conn *from;
	struct conn *to;
	int client; /* the other ends of the two */
	int server;
	struct flow flow;
	uint8_t *buffer;
	struct bytes arrived; /* at the server */
	char heard[200];      /* 'd' for a header that was forwarded, "(Q)" for a whole message */
	unsigned asked;	      /* how often for a header */
	bool gate_open;
	bool raw_when_malformed;
	size_t arrived_before; /* how much had arrived when a message was last handed over */
};

static void hear(struct session *s, char type, bool whole)
{
	size_t at = strlen(s->heard);

	assert_true(at + 4 < sizeof(s->heard));
	snprintf(s->heard + at, sizeof(s->heard) - at, whole ? "(%c)" : "%c", type);
}

static void drain(struct session *s)
{
	uint8_t chunk[65536];
	ssize_t n;

	for (;;) {
		event_base_loop(s->base, EVLOOP_NONBLOCK);
		n = recv(s->server, chunk, sizeof(chunk), MSG_DONTWAIT);
		if (n <= 0)
			break;
		bytes_put(&s->arrived, chunk, (size_t)n);
	}
}

static bool on_plain(const struct session *s, uint8_t type)
{
	(void)s;
	return type == 'p';
}

static enum flow_verdict on_header(struct session *s, const struct frame *f)
{
	s->asked++;
	assert_int_not_equal(f->type, 'p');
	switch (f->type) {
	case 'w':
		if (!s->gate_open)
			return FLOW_WAIT;
		break;
	case 'Q':
	case 'x':
	case 'r':
	case 's':
		return FLOW_GATHER;
	default:
		break;
	}
	hear(s, (char)f->type, false);
	return FLOW_FORWARD;
}

static void replaced(struct bytes *out)
{
	message_put_query(out, "in its place");
}

static enum flow_action on_message(struct session *s, uint8_t type, struct slice message)
{
	struct frame f;

	drain(s);
	s->arrived_before = bytes_length(&s->arrived);
	assert_int_equal(frame_peek(message.data, message.len, &f), FRAME_WHOLE_HEADER);
	assert_int_equal(f.size, message.len);
	assert_int_equal(f.type, type);
	if (type == 's' && !s->gate_open)
		return FLOW_STOP;
	hear(s, (char)type, true);
	if (type == 'r')
		replaced(&s->flow.substitute);
	return type == 'x' ? FLOW_DROP : type == 'r' ? FLOW_REPLACE : FLOW_PASS;
}

static bool on_malformed(struct session *s)
{
	drain(s);
	s->arrived_before = bytes_length(&s->arrived);
	hear(s, '!', false);
	return s->raw_when_malformed;
}

static const struct flow_rules rules = {{'p', 'P'}, on_plain, on_header, on_message, on_malformed};

static void set_up(struct session *s)
{
	int up[2], down[2];

	memset(s, 0, sizeof(*s));
	s->base = event_base_new();
	assert_non_null(s->base);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, up), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, down), 0);
	s->client = up[0];
	s->from = conn_new(s->base, up[1], NULL, NULL);
	s->to = conn_new(s->base, down[0], NULL, NULL);
	s->server = down[1];
	assert_true(s->from && s->to);
	conn_want_read(s->from, false);
	conn_want_read(s->to, false);
	s->buffer = malloc(WORKER_BUFFER);
	assert_non_null(s->buffer);
	flow_init(&s->flow, &rules, HELD_LIMIT);
	bytes_init(&s->arrived, 16 * HELD_LIMIT);
}

static void tear_down(struct session *s)
{
	conn_free(s->from);
	conn_free(s->to);
	close(s->client);
	close(s->server);
	event_base_free(s->base);
	free(s->buffer);
	flow_release(&s->flow);
	bytes_release(&s->arrived);
}

/* The client sends `data`, and one read is made of it. It fits into one. */
static enum conn_read_result feed(struct session *s, struct conn *to, struct slice data)
{
	enum conn_read_result r;

	assert_true(data.len <= WORKER_BUFFER);
	assert_int_equal(send(s->client, data.data, data.len, 0), data.len);
	r = flow_read(&s->flow, s, s->from, to, s->buffer);
	drain(s);
	return r;
}

static void resume(struct session *s)
{
	s->gate_open = true;
	flow_resume(&s->flow, s, s->to);
	drain(s);
}

static void put_message(struct bytes *b, char type, const char *text)
{
	size_t place = message_begin(b, type);

	bytes_put(b, text, strlen(text));
	message_end(b, place);
}

/* The stream that a script of types stands for, and what of it is to arrive. */
static void write_stream(const char *types, struct bytes *stream, struct bytes *want)
{
	char text[40];

	bytes_init(stream, 100000);
	bytes_init(want, 100000);
	for (size_t i = 0; types[i]; i++) {
		snprintf(text, sizeof(text), "%.*s", (int)(i * 3 % 11), "body of it");
		put_message(stream, types[i], text);
		if (types[i] == 'r')
			replaced(want);
		else if (types[i] != 'x')
			put_message(want, types[i], text);
	}
	assert_false(bytes_failed(stream) || bytes_failed(want));
}

static void check_arrived(struct session *s, const struct bytes *want, const char *what, size_t cut)
{
	if (!slice_equal(bytes_view(&s->arrived), bytes_view(want)))
		fail_msg("%s, cut at %zu: %zu bytes arrived, not %zu", what, cut,
			bytes_length(&s->arrived), bytes_length(want));
}

/* Nothing is left behind when a stream is through. */
static void check_empty(struct session *s, const struct bytes *stream)
{
	assert_false(s->flow.waiting);
	assert_int_equal(s->flow.passing, 0);
	assert_int_equal(s->flow.total, bytes_length(stream));
	assert_null(s->flow.held.data);
	assert_null(s->flow.substitute.data);
}

static const char *const scripts[] = {"d", "Q", "x", "r", "de", "dQd", "QQQ", "xd", "dx", "dxd",
	"xx", "rd", "dr", "drd", "rr", "xr", "rxrx", "dQexdrQdd", "w", "s", "dw", "wd", "ds", "sd",
	"ws", "sw", "wsw", "dQwQxsrd", "swxr", "ddddsdddd", "p", "pp", "pppdpp", "dpQppxpr", "pwp",
	"sppsp"};

/* What on_header() and on_message() hear of a script. */
static void heard_of(const char *types, char heard[200])
{
	size_t at = 0;

	heard[0] = '\0';
	for (; *types; types++) {
		bool whole = strchr("Qxrs", *types) != NULL;

		if (*types == 'p')
			continue;
		at += (size_t)snprintf(heard + at, 200 - at, whole ? "(%c)" : "%c", *types);
	}
}

/* The stream in two pieces, the second cut nowhere; the gate opens at the end. */
static void run_cut(const char *types, size_t cut, bool early_gate)
{
	struct session s;
	struct bytes stream, want;
	struct slice all;
	char heard[200];

	set_up(&s);
	write_stream(types, &stream, &want);
	all = bytes_view(&stream);
	s.gate_open = early_gate;
	if (cut > 0)
		assert_int_equal(feed(&s, s.to, slice_of(all.data, cut)), CONN_READ_BYTES);
	if (cut < all.len)
		assert_int_equal(
			feed(&s, s.to, slice_of(all.data + cut, all.len - cut)), CONN_READ_BYTES);
	while (s.flow.waiting)
		resume(&s);
	check_arrived(&s, &want, types, cut);
	check_empty(&s, &stream);
	heard_of(types, heard);
	assert_string_equal(s.heard, heard);
	bytes_release(&stream);
	bytes_release(&want);
	tear_down(&s);
}

static size_t length_of(const char *types)
{
	struct bytes stream, want;
	size_t len;

	write_stream(types, &stream, &want);
	len = bytes_length(&stream);
	bytes_release(&stream);
	bytes_release(&want);
	return len;
}

static void a_stream_cut_at_every_byte_arrives_the_same(void **state)
{
	(void)state;
	for (size_t i = 0; i < LENGTH(scripts); i++)
		for (size_t cut = 0; cut <= length_of(scripts[i]); cut++)
			run_cut(scripts[i], cut, true);
}

static void a_stream_that_waits_arrives_the_same_when_the_gate_opens(void **state)
{
	(void)state;
	for (size_t i = 0; i < LENGTH(scripts); i++)
		for (size_t cut = 0; cut <= length_of(scripts[i]); cut++)
			run_cut(scripts[i], cut, false);
}

static void a_stream_of_single_bytes_arrives_the_same(void **state)
{
	(void)state;
	for (size_t i = 0; i < LENGTH(scripts); i++) {
		struct session s;
		struct bytes stream, want;
		char heard[200];

		set_up(&s);
		write_stream(scripts[i], &stream, &want);
		for (size_t at = 0; at < bytes_length(&stream); at++)
			feed(&s, s.to, slice_of(bytes_view(&stream).data + at, 1));
		while (s.flow.waiting)
			resume(&s);
		check_arrived(&s, &want, scripts[i], 1);
		check_empty(&s, &stream);
		heard_of(scripts[i], heard);
		assert_string_equal(s.heard, heard);
		bytes_release(&stream);
		bytes_release(&want);
		tear_down(&s);
	}
}

/* As during the log-in: everything is held until there is a server. */
static void without_a_peer_everything_is_held(void **state)
{
	(void)state;
	for (size_t i = 0; i < LENGTH(scripts); i++) {
		struct session s;
		struct bytes stream, want;
		size_t half;

		set_up(&s);
		write_stream(scripts[i], &stream, &want);
		half = bytes_length(&stream) / 2;
		feed(&s, NULL, slice_of(bytes_view(&stream).data, half));
		feed(&s, NULL,
			slice_of(bytes_view(&stream).data + half, bytes_length(&stream) - half));
		assert_int_equal(bytes_length(&s.arrived), 0);
		assert_string_equal(s.heard, "");
		assert_int_equal(bytes_length(&s.flow.held), bytes_length(&stream));
		resume(&s);
		check_arrived(&s, &want, scripts[i], half);
		check_empty(&s, &stream);
		bytes_release(&stream);
		bytes_release(&want);
		tear_down(&s);
	}
}

static void nothing_passes_what_waits(void **state)
{
	static const char *const waiting[] = {"w", "s"};

	(void)state;
	for (size_t i = 0; i < LENGTH(waiting); i++) {
		struct session s;
		struct bytes b;
		unsigned asked;

		set_up(&s);
		bytes_init(&b, 1000);
		put_message(&b, 'd', "first");
		feed(&s, s.to, bytes_view(&b));
		bytes_clear(&b);
		put_message(&b, waiting[i][0], "waits");
		put_message(&b, 'd', "behind it");
		feed(&s, s.to, bytes_view(&b));
		assert_true(s.flow.waiting);
		assert_int_equal(bytes_length(&s.arrived), 5 + 5);
		asked = s.asked;
		feed(&s, s.to, bytes_view(&b));
		assert_int_equal(s.asked, asked);
		assert_int_equal(bytes_length(&s.arrived), 5 + 5);
		assert_string_equal(s.heard, "d");
		resume(&s);
		assert_false(s.flow.waiting);
		assert_int_equal(bytes_length(&s.arrived), 5 + 5 + 2 * bytes_length(&b));
		bytes_release(&b);
		tear_down(&s);
	}
}

static void resuming_too_early_changes_nothing(void **state)
{
	struct session s;
	struct bytes b;

	(void)state;
	set_up(&s);
	flow_resume(&s.flow, &s, s.to);
	bytes_init(&b, 1000);
	put_message(&b, 's', "waits");
	feed(&s, s.to, bytes_view(&b));
	for (unsigned i = 0; i < 3; i++) {
		flow_resume(&s.flow, &s, s.to);
		assert_true(s.flow.waiting);
		assert_int_equal(bytes_length(&s.flow.held), bytes_length(&b));
	}
	resume(&s);
	assert_string_equal(s.heard, "(s)");
	assert_true(slice_equal(bytes_view(&s.arrived), bytes_view(&b)));
	bytes_release(&b);
	tear_down(&s);
}

/* A message of `size` bytes and a small one behind it, through reads of at most `piece`. */
static void run_large(char type, size_t size, size_t piece)
{
	struct session s;
	struct bytes stream;
	size_t place;

	set_up(&s);
	bytes_init(&stream, 2 * HELD_LIMIT);
	place = message_begin(&stream, type);
	while (bytes_length(&stream) < size)
		bytes_put_u8(&stream, (uint8_t)(bytes_length(&stream) * 31 >> 3));
	message_end(&stream, place);
	put_message(&stream, 'e', "behind it");
	for (size_t at = 0; at < bytes_length(&stream); at += piece) {
		size_t left = bytes_length(&stream) - at;

		assert_int_equal(feed(&s, s.to,
					 slice_of(bytes_view(&stream).data + at,
						 left < piece ? left : piece)),
			CONN_READ_BYTES);
		/* What is only forwarded is not kept. */
		if (type == 'd')
			assert_true(bytes_length(&s.flow.held) < FRAME_HEADER);
	}
	check_arrived(&s, &stream, "large", size);
	check_empty(&s, &stream);
	bytes_release(&stream);
	tear_down(&s);
}

static void messages_larger_than_the_buffer_arrive_whole(void **state)
{
	static const size_t sizes[] = {
		WORKER_BUFFER - 1, WORKER_BUFFER, WORKER_BUFFER + 1, 2 * WORKER_BUFFER, 500000};

	(void)state;
	for (size_t i = 0; i < LENGTH(sizes); i++) {
		run_large('d', sizes[i], WORKER_BUFFER);
		run_large('d', sizes[i], 50021);
		run_large('Q', sizes[i], WORKER_BUFFER);
		run_large('Q', sizes[i], 50021);
	}
}

static void a_declared_gigabyte_is_forwarded_as_it_comes(void **state)
{
	struct session s;

	(void)state;
	set_up(&s);
	feed(&s, s.to, slice_of("d\x7f\xff\xff\xffsome", 9));
	assert_int_equal(bytes_length(&s.arrived), 9);
	assert_true(s.flow.passing == 0x80000000u - 9);
	assert_null(s.flow.held.data);
	tear_down(&s);
}

static void what_cannot_be_held_ends_the_reading(void **state)
{
	static uint8_t junk[WORKER_BUFFER];
	struct session s;
	enum conn_read_result r;
	size_t fed = 0;

	(void)state;
	set_up(&s);
	r = feed(&s, s.to, slice_of("Q\x7f\xff\xff\xff", 5));
	for (; r == CONN_READ_BYTES && fed < 2 * HELD_LIMIT; fed += sizeof(junk))
		r = feed(&s, s.to, slice_of(junk, sizeof(junk)));
	assert_int_equal(r, CONN_READ_ERROR);
	assert_true(fed <= HELD_LIMIT + sizeof(junk));
	assert_true(s.flow.held.cap <= HELD_LIMIT);
	assert_int_equal(bytes_length(&s.arrived), 0);
	tear_down(&s);
}

static const char *const malformed[] = {
	"d\0\0\0\0", "d\0\0\0\3", "Q\x80\0\0\0", "s\xff\xff\xff\xff"};

static void what_is_no_message_is_forwarded_unread_where_the_rules_say_so(void **state)
{
	(void)state;
	for (size_t i = 0; i < LENGTH(malformed); i++) {
		struct session s;
		struct bytes stream;

		set_up(&s);
		s.raw_when_malformed = true;
		bytes_init(&stream, 1000);
		put_message(&stream, 'd', "good");
		bytes_put(&stream, malformed[i], 5);
		put_message(&stream, 'x', "not looked at");
		for (size_t at = 0; at < bytes_length(&stream); at++)
			feed(&s, s.to, slice_of(bytes_view(&stream).data + at, 1));
		check_arrived(&s, &stream, "malformed", i);
		check_empty(&s, &stream);
		assert_string_equal(s.heard, "d!");
		bytes_release(&stream);
		tear_down(&s);
	}
}

static void what_is_no_message_stops_the_stream_where_the_rules_say_so(void **state)
{
	(void)state;
	for (size_t i = 0; i < LENGTH(malformed); i++) {
		struct session s;
		struct bytes stream;

		set_up(&s);
		bytes_init(&stream, 1000);
		put_message(&stream, 'd', "good");
		bytes_put(&stream, malformed[i], 5);
		put_message(&stream, 'd', "lost");
		feed(&s, s.to, bytes_view(&stream));
		/* What came before it is sent before anybody is told. */
		assert_int_equal(s.arrived_before, 5 + 4);
		assert_int_equal(bytes_length(&s.arrived), 5 + 4);
		assert_string_equal(s.heard, "d!");
		bytes_release(&stream);
		tear_down(&s);
	}
}

static void an_eager_flow_sends_what_is_before_a_message_first(void **state)
{
	(void)state;
	for (unsigned eager = 0; eager < 2; eager++) {
		struct session s;
		struct bytes stream;

		set_up(&s);
		s.flow.eager = eager;
		bytes_init(&stream, 1000);
		put_message(&stream, 'd', "first");
		put_message(&stream, 'Q', "second");
		feed(&s, s.to, bytes_view(&stream));
		assert_int_equal(s.arrived_before, eager ? 5 + 5 : 0);
		assert_true(slice_equal(bytes_view(&s.arrived), bytes_view(&stream)));
		bytes_release(&stream);
		tear_down(&s);
	}
}

static void nothing_and_the_end_are_told_as_the_connection_tells_them(void **state)
{
	struct session s;

	(void)state;
	set_up(&s);
	assert_int_equal(flow_read(&s.flow, &s, s.from, s.to, s.buffer), CONN_READ_NOTHING);
	feed(&s, s.to, slice_of("Q\0\0\0", 4));
	assert_int_equal(flow_read(&s.flow, &s, s.from, s.to, s.buffer), CONN_READ_NOTHING);
	shutdown(s.client, SHUT_WR);
	assert_int_equal(flow_read(&s.flow, &s, s.from, s.to, s.buffer), CONN_READ_END);
	assert_int_equal(bytes_length(&s.flow.held), 4);
	assert_int_equal(bytes_length(&s.arrived), 0);
	tear_down(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_stream_cut_at_every_byte_arrives_the_same),
		cmocka_unit_test(a_stream_that_waits_arrives_the_same_when_the_gate_opens),
		cmocka_unit_test(a_stream_of_single_bytes_arrives_the_same),
		cmocka_unit_test(without_a_peer_everything_is_held),
		cmocka_unit_test(nothing_passes_what_waits),
		cmocka_unit_test(resuming_too_early_changes_nothing),
		cmocka_unit_test(messages_larger_than_the_buffer_arrive_whole),
		cmocka_unit_test(a_declared_gigabyte_is_forwarded_as_it_comes),
		cmocka_unit_test(what_cannot_be_held_ends_the_reading),
		cmocka_unit_test(what_is_no_message_is_forwarded_unread_where_the_rules_say_so),
		cmocka_unit_test(what_is_no_message_stops_the_stream_where_the_rules_say_so),
		cmocka_unit_test(an_eager_flow_sends_what_is_before_a_message_first),
		cmocka_unit_test(nothing_and_the_end_are_told_as_the_connection_tells_them),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

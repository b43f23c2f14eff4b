/*
 * replay.c - prints a recording of record.py, one line for each message.
 *
 * The dialogue is told of every message as well, and stands in the last line: a recording is of a
 * client that keeps to the protocol, so the count must come out even and nothing be uncertain. A
 * message is printed when its last byte has come, whatever the pieces were.
 */
#include <stdio.h>
#include <stdlib.h>

#include "dialogue.h"
#include "frame.h"
#include "message.h"
#include "trace.h"

#define MOST_BYTES ((size_t)1 << 24)

struct replay {
	struct bytes frontend; /* what came and is not printed yet */
	struct bytes backend;
	struct dialogue dialogue;
	bool started;	      /* the StartupMessage has come */
	unsigned encryptions; /* requests for it that one byte answers */
};

static void print_line(struct bytes *line)
{
	bytes_put_u8(line, '\n');
	if (bytes_failed(line))
		abort();
	fwrite(bytes_view(line).data, 1, bytes_length(line), stdout);
	bytes_release(line);
}

/* A packet without type. False when there is no whole one. */
static bool take_packet(struct replay *r)
{
	struct slice view = bytes_view(&r->frontend);
	struct bytes line;
	size_t size = view.len;
	enum startup_kind kind = startup_peek(view, &size);

	if (kind == STARTUP_PARTIAL)
		return false;
	bytes_init(&line, MOST_BYTES);
	trace_startup(&line, slice_of(view.data, size));
	print_line(&line);
	bytes_consume(&r->frontend, size);
	if (kind == STARTUP_SSL || kind == STARTUP_GSSENC) {
		r->encryptions++;
	} else if (kind == STARTUP_SESSION) {
		r->started = true;
		dialogue_init(&r->dialogue);
	}
	return true;
}

/* Tells the dialogue what the relay tells it. */
static void tell(struct replay *r, enum trace_side from, struct slice message)
{
	uint8_t type = message.data[0];
	struct cursor c = cursor_over(frame_body(message));

	if (from == TRACE_FRONTEND)
		dialogue_client(&r->dialogue, type);
	else
		dialogue_server(&r->dialogue, type, type == 'Z' ? (char)cursor_u8(&c) : 0);
}

static bool take_message(struct replay *r, enum trace_side from)
{
	struct bytes *b = from == TRACE_FRONTEND ? &r->frontend : &r->backend;
	struct slice view = bytes_view(b);
	struct bytes line;
	struct frame f;

	if (frame_peek(view.data, view.len, &f) != FRAME_WHOLE_HEADER || f.size > view.len)
		return false;
	bytes_init(&line, MOST_BYTES);
	trace_message(&line, from, slice_of(view.data, f.size));
	print_line(&line);
	tell(r, from, slice_of(view.data, f.size));
	bytes_consume(b, f.size);
	return true;
}

/* The one byte that answers SSLRequest or GSSENCRequest. */
static bool take_answer(struct replay *r)
{
	if (bytes_length(&r->backend) == 0)
		return false;
	printf("B\t1\tEncryption\t %c\n", bytes_view(&r->backend).data[0]);
	bytes_consume(&r->backend, 1);
	r->encryptions--;
	return true;
}

static bool take(struct replay *r, char side)
{
	if (side == 'B')
		return r->encryptions > 0 ? take_answer(r) : take_message(r, TRACE_BACKEND);
	return r->started ? take_message(r, TRACE_FRONTEND) : take_packet(r);
}

/* One piece of the recording. False at its end, or when it is none. */
static bool read_piece(struct replay *r, FILE *in, bool *whole)
{
	uint8_t head[5] = {0};
	size_t got = fread(head, 1, sizeof(head), in);
	size_t len = bytes_peek_u32(head + 1);
	struct bytes *b = head[0] == 'F' ? &r->frontend : &r->backend;
	uint8_t *room;

	*whole = got == 0 && !ferror(in);
	if (got < sizeof(head) || (head[0] != 'F' && head[0] != 'B') || len > MOST_BYTES)
		return false;
	room = bytes_reserve(b, len);
	if (!room || fread(room, 1, len, in) != len)
		return false;
	bytes_commit(b, len);
	while (take(r, (char)head[0]))
		continue;
	return true;
}

static void print_end(const struct replay *r)
{
	const struct dialogue *d = &r->dialogue;

	printf("-\tdialogue\t%s, %s, status %c, %llu of %llu answered\n",
		dialogue_is_idle(d) ? "idle" : "not idle", d->uncertain ? "uncertain" : "certain",
		d->status, (unsigned long long)d->ready_got, (unsigned long long)d->ready_sent);
}

int main(int argc, char **argv)
{
	static struct replay r;
	FILE *in = argc == 2 ? fopen(argv[1], "rb") : NULL;
	bool whole = false;

	if (!in) {
		fprintf(stderr, "usage: replay FILE.rec\n");
		return 2;
	}
	bytes_init(&r.frontend, MOST_BYTES);
	bytes_init(&r.backend, MOST_BYTES);
	while (read_piece(&r, in, &whole))
		continue;
	fclose(in);
	whole = whole && bytes_length(&r.frontend) == 0 && bytes_length(&r.backend) == 0;
	print_end(&r);
	if (!whole)
		printf("-\tthe recording ends inside a message\n");
	bytes_release(&r.frontend);
	bytes_release(&r.backend);
	return whole ? 0 : 1;
}

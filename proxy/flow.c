#include "flow.h"

#include <string.h>

#include "worker.h"

/* So much that is held is put in front of what is read rather than read behind it. */
#define HELD_SMALL 4096u
/* A message that must be seen whole is read in pieces of at most so much. */
#define READ_MOST (1024u * 1024u)

void flow_init(struct flow *f, const struct flow_rules *rules, size_t limit)
{
	*f = (struct flow){.rules = rules};
	bytes_init(&f->held, limit);
	bytes_init(&f->substitute, limit);
}

void flow_release(struct flow *f)
{
	bytes_release(&f->held);
	bytes_release(&f->substitute);
}

/* Where a walk stands: [sent, at) goes to the peer in one piece. */
struct walk {
	struct flow *flow;
	struct session *session;
	struct conn *to;
	struct slice data;
	size_t sent;
	size_t at;
};

static void send_run(struct walk *w)
{
	if (w->at == w->sent)
		return;
	conn_send(w->to, slice_of(w->data.data + w->sent, w->at - w->sent));
	w->sent = w->at;
}

static void pass_through(struct walk *w)
{
	size_t left = w->data.len - w->at;
	size_t n = w->flow->passing < left ? (size_t)w->flow->passing : left;

	w->at += n;
	w->flow->passing -= n;
}

static void skip(struct walk *w)
{
	size_t left = w->data.len - w->at;
	size_t n = w->flow->skipping < left ? (size_t)w->flow->skipping : left;

	if (n == 0)
		return;
	send_run(w);
	w->at += n;
	w->sent = w->at;
	w->flow->skipping -= n;
}

/* Leaves a message of `size` bytes out, and sends the substitute in its place if there is one. */
static void leave_out(struct walk *w, size_t size, bool replace)
{
	send_run(w);
	w->at += size;
	w->sent = w->at;
	if (replace) {
		conn_send(w->to, bytes_view(&w->flow->substitute));
		bytes_release(&w->flow->substitute);
	}
}

/* False when the walk ends here. */
static bool act(struct walk *w, const struct frame *frame)
{
	struct slice message = slice_of(w->data.data + w->at, frame->size);

	if (w->flow->eager)
		send_run(w);
	switch (w->flow->rules->message(w->session, frame->type, message)) {
	case FLOW_PASS:
		w->flow->passing = frame->size;
		return true;
	case FLOW_DROP:
		leave_out(w, frame->size, false);
		return true;
	case FLOW_REPLACE:
		leave_out(w, frame->size, true);
		return true;
	case FLOW_STOP:
		w->flow->waiting = true;
		return false;
	}
	return false;
}

/* Decides on the message at `at`. False when the walk ends here: not whole, or not to go on. */
static bool step(struct walk *w)
{
	struct frame frame;
	size_t left = w->data.len - w->at;

	switch (frame_peek(w->data.data + w->at, left, &frame)) {
	case FRAME_PARTIAL:
		return false;
	case FRAME_BAD:
		send_run(w);
		w->flow->raw = w->flow->rules->malformed(w->session);
		if (w->flow->raw)
			w->at = w->data.len;
		return false;
	case FRAME_WHOLE_HEADER:
		break;
	}
	switch (w->flow->rules->header(w->session, &frame)) {
	case FLOW_FORWARD:
		w->flow->passing = frame.size;
		return true;
	case FLOW_SKIP:
		w->flow->skipping = frame.size;
		return true;
	case FLOW_GATHER:
		if (frame.size <= left)
			return act(w, &frame);
		w->flow->wanted = frame.size;
		return false;
	case FLOW_WAIT:
		w->flow->waiting = true;
		return false;
	}
	return false;
}

/* Rows and copy data come by the million. */
static void pass_plain(struct walk *w)
{
	const struct flow_rules *rules = w->flow->rules;
	struct frame f;
	uint8_t type = w->data.data[w->at];
	size_t left = w->data.len - w->at;

	if ((type != rules->plain[0] && type != rules->plain[1]) ||
		!rules->is_plain(w->session, type))
		return;
	while (frame_peek(w->data.data + w->at, left, &f) == FRAME_WHOLE_HEADER && f.type == type) {
		if (f.size > left) {
			w->flow->passing = f.size;
			pass_through(w);
			return;
		}
		w->at += f.size;
		left -= f.size;
	}
}

/* Returns how many bytes are done with; the rest is to be held. */
static size_t walk(struct flow *f, struct session *s, struct conn *to, struct slice data)
{
	struct walk w = {.flow = f, .session = s, .to = to, .data = data};

	f->waiting = false;
	f->wanted = 0;
	if (f->raw) {
		w.at = data.len;
	} else {
		do {
			pass_through(&w);
			skip(&w);
			if (w.at < data.len)
				pass_plain(&w);
		} while (w.at < data.len && step(&w));
	}
	send_run(&w);
	return w.at;
}

static void walk_held(struct flow *f, struct session *s, struct conn *to)
{
	bytes_consume(&f->held, walk(f, s, to, bytes_view(&f->held)));
	if (bytes_length(&f->held) == 0)
		bytes_release(&f->held);
}

/* This thread alone counts, so that no locked instruction is needed. */
static void count(struct flow *f, size_t len)
{
	atomic_store_explicit(&f->total,
		atomic_load_explicit(&f->total, memory_order_relaxed) + len, memory_order_relaxed);
}

/* How much is still to come of what is gathered: room for all of it is made at once. It has met its
 * limit in header(). */
static size_t missing(const struct flow *f)
{
	size_t held = bytes_length(&f->held);

	return f->wanted > held + WORKER_BUFFER ? f->wanted - held : WORKER_BUFFER;
}

static enum conn_read_result read_held(
	struct flow *f, struct session *s, struct conn *from, struct conn *to)
{
	size_t len;
	size_t most = missing(f);
	uint8_t *room = bytes_reserve(&f->held, most);
	enum conn_read_result r;

	if (!room)
		return CONN_READ_ERROR;
	r = conn_read(from, room, most < READ_MOST ? most : READ_MOST, &len);
	bytes_commit(&f->held, len);
	count(f, len);
	if (len > 0 && !f->waiting)
		walk_held(f, s, to);
	return r;
}

/*
 * Before there is a peer: only what has come takes memory, so that a client that logs in by halves
 * costs little. It may be a password, which does not stay in memory that is used again.
 */
static enum conn_read_result read_early(struct flow *f, struct conn *from, uint8_t *buffer)
{
	size_t len;
	enum conn_read_result r = conn_read(from, buffer, WORKER_BUFFER, &len);

	bytes_put(&f->held, buffer, len);
	explicit_bzero(buffer, len);
	f->total += len;
	return bytes_failed(&f->held) ? CONN_READ_ERROR : r;
}

enum conn_read_result flow_read(
	struct flow *f, struct session *s, struct conn *from, struct conn *to, uint8_t *buffer)
{
	struct slice held = bytes_view(&f->held);
	size_t len;
	size_t done;
	enum conn_read_result r;

	if (!to)
		return read_early(f, from, buffer);
	if (f->waiting || held.len > HELD_SMALL)
		return read_held(f, s, from, to);
	if (held.len > 0)
		memcpy(buffer, held.data, held.len);
	r = conn_read(from, buffer + held.len, WORKER_BUFFER - held.len, &len);
	if (len == 0)
		return r;
	count(f, len);
	if (held.len > 0)
		bytes_release(&f->held);
	len += held.len;
	done = walk(f, s, to, slice_of(buffer, len));
	if (done == len)
		return r;
	bytes_put(&f->held, buffer + done, len - done);
	return bytes_failed(&f->held) ? CONN_READ_ERROR : r;
}

void flow_resume(struct flow *f, struct session *s, struct conn *to)
{
	walk_held(f, s, to);
}

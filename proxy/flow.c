#include "flow.h"

#include "worker.h"

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
		return frame.size <= left && act(w, &frame);
	case FLOW_WAIT:
		w->flow->waiting = true;
		return false;
	}
	return false;
}

/* Returns how many bytes are done with; the rest is to be held. */
static size_t walk(struct flow *f, struct session *s, struct conn *to, struct slice data)
{
	struct walk w = {.flow = f, .session = s, .to = to, .data = data};

	f->waiting = false;
	if (f->raw) {
		w.at = data.len;
	} else {
		do {
			pass_through(&w);
			skip(&w);
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

static enum conn_read_result read_held(
	struct flow *f, struct session *s, struct conn *from, struct conn *to)
{
	size_t len;
	uint8_t *room = bytes_reserve(&f->held, WORKER_BUFFER);
	enum conn_read_result r;

	if (!room)
		return CONN_READ_ERROR;
	r = conn_read(from, room, WORKER_BUFFER, &len);
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
	size_t len;
	size_t done;
	enum conn_read_result r;

	if (!to)
		return read_early(f, from, buffer);
	if (f->waiting || bytes_length(&f->held) > 0)
		return read_held(f, s, from, to);
	r = conn_read(from, buffer, WORKER_BUFFER, &len);
	if (len == 0)
		return r;
	count(f, len);
	done = walk(f, s, to, slice_of(buffer, len));
	bytes_put(&f->held, buffer + done, len - done);
	return bytes_failed(&f->held) ? CONN_READ_ERROR : r;
}

void flow_resume(struct flow *f, struct session *s, struct conn *to)
{
	walk_held(f, s, to);
}

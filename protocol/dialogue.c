#include "dialogue.h"

#include <string.h>

enum dialogue_request {
	REQUEST_QUERY,		 /* Query or FunctionCall */
	REQUEST_QUERY_PIPELINED, /* the same behind extended messages without Sync */
	REQUEST_SYNC,
	/* CopyDone or CopyFail sent before CopyInResponse was seen; no ReadyForQuery comes for it.
	 * It goes when the request that it follows is answered, or when a CopyInResponse was meant
	 * by it. */
	REQUEST_COPY_END,
	/* The same in a pipeline whose Sync or Query comes next in the ring. */
	REQUEST_COPY_END_PIPELINED,
};

static enum dialogue_request request_at(const struct dialogue *d, unsigned i)
{
	unsigned place = (d->head + i) % DIALOGUE_DEPTH;

	return (enum dialogue_request)(d->ring[place / 2] >> place % 2 * 4 & 0xf);
}

static void set_request(struct dialogue *d, unsigned i, enum dialogue_request r)
{
	unsigned place = (d->head + i) % DIALOGUE_DEPTH;
	unsigned shift = place % 2 * 4;
	unsigned other = d->ring[place / 2] & ~(0xfu << shift);

	d->ring[place / 2] = (uint8_t)(other | (unsigned)r << shift);
}

static void push(struct dialogue *d, enum dialogue_request r)
{
	if (d->count == DIALOGUE_DEPTH) {
		d->uncertain = true;
		return;
	}
	set_request(d, d->count, r);
	d->count++;
}

void dialogue_init(struct dialogue *d)
{
	memset(d, 0, sizeof(*d));
	d->status = 'I';
	push(d, REQUEST_SYNC);
	d->ready_sent = 1;
}

static void pop(struct dialogue *d)
{
	d->head = (uint16_t)((d->head + 1) % DIALOGUE_DEPTH);
	d->count--;
}

static void end_request(struct dialogue *d, enum dialogue_request r)
{
	if (d->copy_ended)
		push(d, REQUEST_COPY_END_PIPELINED);
	push(d, r);
	d->ready_sent++;
	d->unanswered = 0;
	d->pipeline_open = false;
	d->executed = false;
	d->copy_ended = false;
}

/* Sync ends a pipeline; the server throws it away while it takes copy data. */
static void sync_sent(struct dialogue *d)
{
	if (!d->copy_in)
		end_request(d, REQUEST_SYNC);
}

static void query_sent(struct dialogue *d)
{
	bool skipped = d->pipeline_open && d->failed && d->count == 0;

	if (d->copy_in || skipped)
		d->uncertain = true;
	end_request(d, d->pipeline_open ? REQUEST_QUERY_PIPELINED : REQUEST_QUERY);
}

/* One COPY in a pipeline may be ended ahead of its CopyInResponse; nobody is known to end two. */
static void pipelined_copy_end_sent(struct dialogue *d)
{
	if (d->copy_ended && d->executed_since)
		d->uncertain = true;
	d->copy_ended = true;
	d->executed_since = false;
}

static void copy_end_sent(struct dialogue *d)
{
	if (d->copy_in)
		d->copy_in = false;
	else if (d->pipeline_open)
		pipelined_copy_end_sent(d);
	else if (d->count > 0 && request_at(d, d->count - 1u) != REQUEST_COPY_END)
		push(d, REQUEST_COPY_END);
}

void dialogue_client(struct dialogue *d, uint8_t type)
{
	switch (type) {
	case 'Q':
	case 'F':
		query_sent(d);
		break;
	case 'S':
		sync_sent(d);
		break;
	case 'E':
		d->executed = true;
		d->executed_since = true;
		d->pipeline_open = true;
		d->bound = false;
		d->unanswered++;
		break;
	case 'B':
		d->bound = true;
		d->pipeline_open = true;
		d->unanswered++;
		break;
	case 'P':
	case 'D':
	case 'C':
		d->pipeline_open = true;
		d->unanswered++;
		break;
	case 'c':
	case 'f':
		copy_end_sent(d);
		break;
	default:
		break;
	}
}

static bool is_copy_end(enum dialogue_request r)
{
	return r == REQUEST_COPY_END || r == REQUEST_COPY_END_PIPELINED;
}

static void ready_received(struct dialogue *d, char status)
{
	while (d->count > 0 && is_copy_end(request_at(d, 0)))
		pop(d);
	if (d->count == 0)
		d->uncertain = true;
	else
		pop(d);
	/* Meant for a COPY that never took data: whoever waits for answers must not wait for it. */
	while (d->count > 0 && request_at(d, 0) == REQUEST_COPY_END)
		pop(d);
	d->ready_got++;
	d->status = status;
	d->failed = false;
	d->suspended = d->suspended && status != 'I';
	d->bound = d->bound && status != 'I';
	d->copy_in = false;
}

/* Takes the requests [from, to) out of the ring. */
static void take_out(struct dialogue *d, unsigned from, unsigned to)
{
	for (unsigned i = to; i < d->count; i++)
		set_request(d, from + i - to, request_at(d, i));
	d->count = (uint16_t)(d->count - (to - from));
}

/*
 * CopyInResponse answers the oldest request. From here to the client's CopyDone the server drops
 * every Sync, also those it was sent already: libpq sends one right behind the Execute of a COPY.
 */
static void copy_in_received(struct dialogue *d)
{
	bool extended = d->count == 0 || (request_at(d, 0) != REQUEST_QUERY &&
						 request_at(d, 0) != REQUEST_QUERY_PIPELINED);
	unsigned keep = extended ? 0 : 1;
	unsigned i = keep;
	bool ended;

	while (i < d->count && request_at(d, i) == REQUEST_SYNC)
		i++;
	ended = i < d->count && is_copy_end(request_at(d, i));
	if (i < d->count && !ended) {
		d->uncertain = true;
		return;
	}
	d->ready_sent -= i - keep;
	take_out(d, keep, ended ? i + 1 : i);
	if (!ended) {
		d->copy_in = !d->copy_ended;
		d->copy_ended = false;
	}
	/* Without its Sync the pipeline goes on, up to a Query if that is what follows. */
	if (extended && d->count > 0 && request_at(d, 0) == REQUEST_QUERY)
		set_request(d, 0, REQUEST_QUERY_PIPELINED);
	if (extended && d->count == 0) {
		/* The Sync that is dropped had ended the counting. */
		d->unanswered += i > keep;
		d->pipeline_open = true;
		d->executed = true;
	} else if (!extended && !ended && d->pipeline_open) {
		d->uncertain = true; /* what is no copy data fails the COPY */
	}
}

static void error_received(struct dialogue *d)
{
	unsigned i = 0;

	d->failed = true;
	d->copy_in = false;
	while (i < d->count && is_copy_end(request_at(d, i)))
		i++;
	if (i < d->count && request_at(d, i) == REQUEST_QUERY_PIPELINED)
		d->uncertain = true; /* the server may skip that Query, or have run it */
}

/* The answer to one message, or the last of several. */
static void answer_received(struct dialogue *d)
{
	if (d->count == 0 && d->unanswered > 0)
		d->unanswered--;
}

void dialogue_server(struct dialogue *d, uint8_t type, char status)
{
	switch (type) {
	case 'Z':
		ready_received(d, status);
		break;
	case 'G':
		copy_in_received(d);
		break;
	case 'E':
		error_received(d);
		break;
	case 's':
		d->suspended = true;
		answer_received(d);
		break;
	case '1':
	case '2':
	case '3':
	case 'C':
	case 'I':
	case 'T':
	case 'n':
		answer_received(d);
		break;
	default:
		break;
	}
}

bool dialogue_is_idle(const struct dialogue *d)
{
	return d->count == 0 && !d->pipeline_open;
}

bool dialogue_is_full(const struct dialogue *d)
{
	/* A message of the client takes up to two places, and one is kept for a Sync of our own. */
	return d->count >= DIALOGUE_DEPTH - 2;
}

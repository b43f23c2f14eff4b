#include "dialogue.h"

#include <string.h>

enum dialogue_request {
	REQUEST_QUERY,		 /* Query or FunctionCall */
	REQUEST_QUERY_PIPELINED, /* the same behind extended messages without Sync */
	REQUEST_SYNC,
	REQUEST_COPY_END, /* CopyDone or CopyFail sent before CopyInResponse was seen: no
			     ReadyForQuery */
};

static enum dialogue_request request_at(const struct dialogue *d, unsigned i)
{
	return (enum dialogue_request)d->ring[(d->head + i) % DIALOGUE_DEPTH];
}

static void push(struct dialogue *d, enum dialogue_request r)
{
	if (d->count == DIALOGUE_DEPTH) {
		d->uncertain = true;
		return;
	}
	d->ring[(d->head + d->count) % DIALOGUE_DEPTH] = (uint8_t)r;
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
	push(d, r);
	d->ready_sent++;
	d->pipeline_open = false;
	d->executed = false;
}

/* Sync ends a pipeline; the server throws it away while it takes copy data. */
static void sync_sent(struct dialogue *d)
{
	if (!d->copy_in)
		end_request(d, REQUEST_SYNC);
}

static void query_sent(struct dialogue *d)
{
	if (d->copy_in)
		d->uncertain = true;
	end_request(d, d->pipeline_open ? REQUEST_QUERY_PIPELINED : REQUEST_QUERY);
}

static void copy_end_sent(struct dialogue *d)
{
	if (d->copy_in)
		d->copy_in = false;
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
		d->pipeline_open = true;
		break;
	case 'P':
	case 'B':
	case 'D':
	case 'C':
		d->pipeline_open = true;
		break;
	case 'c':
	case 'f':
		copy_end_sent(d);
		break;
	default:
		break;
	}
}

static void ready_received(struct dialogue *d, char status)
{
	while (d->count > 0 && request_at(d, 0) == REQUEST_COPY_END)
		pop(d);
	if (d->count == 0)
		d->uncertain = true;
	else
		pop(d);
	d->ready_got++;
	d->status = status;
	d->failed = false;
	d->copy_in = false;
}

/*
 * CopyInResponse answers the oldest request. From here to the client's CopyDone the server drops
 * every Sync, also those it was sent already: libpq sends one right behind the Execute of a COPY.
 */
static void copy_in_received(struct dialogue *d)
{
	bool extended = d->count == 0 || request_at(d, 0) == REQUEST_SYNC;
	unsigned keep = extended ? 0 : 1;
	unsigned i = keep;

	while (i < d->count && request_at(d, i) == REQUEST_SYNC)
		i++;
	if (i < d->count && request_at(d, i) != REQUEST_COPY_END) {
		d->uncertain = true;
		return;
	}
	if (i < d->count) {
		/* The end of the data is on its way already; what follows it counts. */
		d->uncertain = i > keep;
		return;
	}
	d->ready_sent -= d->count - keep;
	d->count = (uint16_t)keep;
	d->copy_in = true;
	d->pipeline_open = extended;
}

static void error_received(struct dialogue *d)
{
	d->failed = true;
	d->copy_in = false;
	if (d->count > 0 && request_at(d, 0) == REQUEST_QUERY_PIPELINED)
		d->uncertain = true; /* the server may skip that Query, or have run it */
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
	/* One place is kept for a Sync of our own. */
	return d->count >= DIALOGUE_DEPTH - 1;
}

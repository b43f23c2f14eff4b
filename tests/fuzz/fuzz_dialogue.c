/*
 * fuzz_dialogue.c - the dialogue between a client that keeps to the protocol and a model of
 * PostgreSQL, with any delay between the two.
 *
 * The first byte chooses whether the client keeps to the protocol or says anything; each other one
 * is a step: the client says something, the server takes a message, or the proxy reads an answer.
 * At the end everything is taken, read and ended; then the dialogue must be idle, or must have said
 * that it is uncertain. A count that never comes down would hold an aside statement for ever.
 */
#include <stdlib.h>
#include <string.h>

#include "dialogue.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
	MOST = 4096
};

enum outcome {
	OUTCOME_GOOD,
	OUTCOME_ERROR,
	OUTCOME_COPY,
	OUTCOME_COPY_REFUSED,
};

struct message {
	char type;
	enum outcome outcome;
};

struct queue {
	struct message items[MOST];
	unsigned first, end;
};

struct model {
	struct dialogue dialogue;
	struct queue sent;    /* by the client, not taken by the server */
	struct queue answers; /* not read by the proxy; ReadyForQuery is 'Z' */
	bool copying;	      /* the server takes copy data */
	bool copy_simple;     /* for a Query */
	bool skipping;	      /* the server waits for Sync */
	bool in_data;	      /* the client sends copy data */
	bool just_begun;      /* and has sent none yet */
};

static void expect(bool truth)
{
	if (!truth)
		abort();
}

static void put(struct queue *q, char type, enum outcome outcome)
{
	if (q->end < MOST)
		q->items[q->end++] = (struct message){type, outcome};
}

static void answer(struct model *m, char type)
{
	put(&m->answers, type, OUTCOME_GOOD);
}

static void check(const struct model *m)
{
	const struct dialogue *d = &m->dialogue;

	expect(d->count <= DIALOGUE_DEPTH && d->head < DIALOGUE_DEPTH);
	if (dialogue_is_idle(d))
		expect(d->count == 0 && !d->pipeline_open);
	if (d->uncertain)
		return;
	expect(d->ready_got <= d->ready_sent);
	expect((d->count == 0) == (d->ready_got == d->ready_sent));
	expect(d->count >= d->ready_sent - d->ready_got);
}

/* As the relay does it: nothing is sent while the dialogue is full. */
static void say(struct model *m, char type, enum outcome outcome)
{
	if (dialogue_is_full(&m->dialogue) || m->sent.end == MOST)
		return;
	dialogue_client(&m->dialogue, (uint8_t)type);
	put(&m->sent, type, outcome);
	check(m);
}

static void read_answer(struct model *m)
{
	if (m->answers.first == m->answers.end)
		return;
	dialogue_server(&m->dialogue, (uint8_t)m->answers.items[m->answers.first].type, 'I');
	m->answers.first++;
	check(m);
}

static void end_copy(struct model *m, bool good)
{
	m->copying = false;
	answer(m, good ? 'C' : 'E');
	if (m->copy_simple)
		answer(m, 'Z');
	else
		m->skipping = !good;
}

/* CopyGetData() in PostgreSQL: Sync and Flush are ignored, everything unexpected is an error. */
static void take_copying(struct model *m, struct message message)
{
	switch (message.type) {
	case 'S':
	case 'H':
		break;
	case 'd':
		if (message.outcome == OUTCOME_ERROR)
			end_copy(m, false);
		break;
	case 'c':
		end_copy(m, true);
		break;
	default:
		end_copy(m, false);
		break;
	}
}

static void begin_copy(struct model *m, bool simple)
{
	m->copying = true;
	m->copy_simple = simple;
	answer(m, 'G');
}

static void take_query(struct model *m, enum outcome outcome)
{
	if (outcome == OUTCOME_COPY) {
		begin_copy(m, true);
		return;
	}
	answer(m, outcome == OUTCOME_GOOD ? 'C' : 'E');
	answer(m, 'Z');
}

static void take_extended(struct model *m, struct message message)
{
	if (message.type == 'E' && message.outcome == OUTCOME_COPY) {
		begin_copy(m, false);
	} else if (message.outcome == OUTCOME_GOOD || message.outcome == OUTCOME_COPY) {
		answer(m, '1');
	} else {
		answer(m, 'E');
		m->skipping = true;
	}
}

/* PostgresMain(). */
static void take(struct model *m)
{
	struct message message;

	if (m->sent.first == m->sent.end)
		return;
	message = m->sent.items[m->sent.first++];
	if (m->copying) {
		take_copying(m, message);
	} else if (message.type == 'S') {
		m->skipping = false;
		answer(m, 'Z');
	} else if (!m->skipping) {
		if (message.type == 'Q' || message.type == 'F')
			take_query(m, message.outcome);
		else if (message.type != 'd' && message.type != 'c' && message.type != 'f' &&
			 message.type != 'H')
			take_extended(m, message);
	}
}

/* The client has sent a COPY: perhaps a Sync right behind it as libpq does, data, and an end. */
static void say_data(struct model *m, uint8_t step)
{
	switch (step % 4) {
	case 0:
		say(m, 'd', step & 4 ? OUTCOME_ERROR : OUTCOME_GOOD);
		break;
	case 1:
		if (m->just_begun)
			say(m, 'S', OUTCOME_GOOD);
		break;
	default:
		say(m, step & 1 ? 'c' : 'f', OUTCOME_GOOD);
		m->in_data = false;
		break;
	}
	m->just_begun = false;
}

static void say_something(struct model *m, uint8_t step)
{
	static const char types[] = "QQSSPBEEDCFH";
	char type = types[step % (sizeof(types) - 1)];
	enum outcome outcome = (enum outcome)(step / 16 % 4);

	/* The client waits, and goes on as if nothing had been. */
	if (dialogue_is_full(&m->dialogue))
		return;
	if (m->in_data) {
		say_data(m, step);
		return;
	}
	if (type != 'Q' && type != 'E' && outcome >= OUTCOME_COPY)
		outcome = OUTCOME_GOOD;
	say(m, type, outcome);
	m->in_data = outcome >= OUTCOME_COPY;
	m->just_begun = m->in_data;
}

static void say_anything(struct model *m, uint8_t step)
{
	static const char types[] = "QSPBECDFHcfdX";

	say(m, types[step % (sizeof(types) - 1)], (enum outcome)(step / 16 % 4));
}

static void settle(struct model *m)
{
	while (m->sent.first < m->sent.end)
		take(m);
	while (m->answers.first < m->answers.end)
		read_answer(m);
}

/* Everything is said, taken and read. */
static void finish(struct model *m)
{
	settle(m);
	if (m->in_data)
		say(m, 'c', OUTCOME_GOOD);
	settle(m);
	if (m->dialogue.pipeline_open)
		say(m, 'S', OUTCOME_GOOD);
	settle(m);
	if (!m->dialogue.uncertain)
		expect(dialogue_is_idle(&m->dialogue) && !m->dialogue.copy_in && !m->skipping &&
			!m->copying);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct model m;
	bool keeps = size > 0 && data[0] < 0x80;

	if (size == 0 || size > MOST / 8)
		return 0;
	memset(&m, 0, sizeof(m));
	dialogue_init(&m.dialogue);
	answer(&m, 'Z');
	for (size_t i = 1; i < size; i++) {
		if (data[i] >= 0xc0)
			take(&m);
		else if (data[i] >= 0x80)
			read_answer(&m);
		else if (keeps)
			say_something(&m, data[i]);
		else
			say_anything(&m, data[i]);
	}
	if (keeps)
		finish(&m);
	return 0;
}

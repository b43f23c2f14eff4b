/*
 * gate_message.c - what becomes of a message of the server while the gate has to do with it.
 */
#include <stdio.h>
#include <string.h>

#include "gate_state.h"
#include "message.h"

bool gate_wants(const struct session *s, uint8_t type)
{
	const struct gate *g = s->gate;

	if (!g)
		return false;
	switch (g->state) {
	case GATE_OPEN:
		return (g->bind_answer && (type == '2' || type == 'E')) ||
		       (gate_is_engaged(s) && (type == 'C' || type == 'E'));
	case GATE_ANSWERS:
	case GATE_SYNC:
		return type == 'E' || (g->bind_answer && type == '2');
	case GATE_UNIT:
		return type == 'E' || type == 'C' || type == 'G';
	case GATE_ASKING:
	case GATE_ASIDE:
	case GATE_KEEPING:
	case GATE_FAILING:
	case GATE_INLINE:
	case GATE_PREPARING:
	case GATE_SETTLING:
		return true;
	}
	return false;
}

static void note_complete(struct gate *g, struct slice message)
{
	struct slice tag;

	g->completed = true;
	if (!query_decode(frame_body(message), &tag))
		return;
	snprintf(g->tag, sizeof(g->tag), "%.*s", (int)tag.len, (const char *)tag.data);
	bytes_clear(&g->complete);
	bytes_put_slice(&g->complete, message);
}

/* Something may not be there yet because it is owed: the client is told so. */
static enum flow_action explain(struct session *s, struct slice message, unsigned long offset)
{
	char text[400];
	const char *hint = gate_owed_hint(s, frame_body(message), text, sizeof(text));
	size_t place;

	if (!hint && offset == 0)
		return FLOW_PASS;
	place = message_begin(&s->down.substitute, 'E');
	error_put_changed(&s->down.substitute, frame_body(message), offset, hint);
	message_end(&s->down.substitute, place);
	return FLOW_REPLACE;
}

/* The answer to a Bind of ours; behind an error it does not come. */
static bool is_bind_answer(struct gate *g, uint8_t type)
{
	bool is = g->bind_answer && type == '2';

	if (type == '2' || type == 'E')
		g->bind_answer = false;
	return is;
}

static enum flow_action open_message(struct session *s, uint8_t type, struct slice message)
{
	struct gate *g = s->gate;
	bool drop = is_bind_answer(g, type);

	if (type == 'C') {
		note_complete(g, message);
		g->commit_seen |= strcmp(g->tag, "COMMIT") == 0;
		g->rollback_seen |= strcmp(g->tag, "ROLLBACK") == 0;
		s->ledger.untracked |=
			gate_is_engaged(s) &&
			(strcmp(g->tag, "SAVEPOINT") == 0 || strcmp(g->tag, "RELEASE") == 0);
	}
	if (type == 'E' && gate_is_engaged(s))
		return explain(s, message, 0);
	return drop ? FLOW_DROP : FLOW_PASS;
}

/* An error of one statement of several: its position is counted from the beginning of them all. */
static enum flow_action unit_error(struct session *s, struct slice message)
{
	struct gate *g = s->gate;

	g->failed = true;
	return explain(s, message, g->extended ? 0 : gate_unit_offset(g));
}

static enum flow_action unit_message(struct session *s, uint8_t type, struct slice message)
{
	struct gate *g = s->gate;
	struct bytes fail;
	size_t place;

	switch (type) {
	case 'Z':
		return FLOW_DROP;
	case 'E':
		return unit_error(s, message);
	case 'C':
		note_complete(g, message);
		return g->hold_complete ? FLOW_DROP : FLOW_PASS;
	case 'G':
		bytes_init(&fail, 256);
		place = message_begin(&fail, 'f');
		bytes_put_cstr(&fail, "pgaside: COPY FROM STDIN beside an aside statement");
		message_end(&fail, place);
		relay_send_server(s, &fail);
		bytes_release(&fail);
		return FLOW_DROP;
	default:
		return FLOW_PASS;
	}
}

/* The one ErrorResponse that the server must send: its fields are ours. Notices before it are the
 * refusal's own. */
static enum flow_action failing_message(struct session *s, uint8_t type)
{
	struct gate *g = s->gate;
	size_t place;

	if (type == 'N' || (type == 'Z' && g->failed))
		return FLOW_DROP;
	if (type == 'C' || type == 'Z') {
		session_close(s, "the server executed what it had to refuse");
		return FLOW_DROP;
	}
	if (type != 'E')
		return FLOW_PASS;
	g->failed = true;
	place = message_begin(&s->down.substitute, 'E');
	error_put_changed(&s->down.substitute, bytes_view(&g->error),
		g->extended ? 0 : gate_unit_offset(g), NULL);
	message_end(&s->down.substitute, place);
	return FLOW_REPLACE;
}

/* ParseComplete, BindComplete and CloseComplete are ours, what is between them the client's. */
static enum flow_action inline_message(struct session *s, uint8_t type)
{
	struct gate *g = s->gate;

	switch (type) {
	case '1':
	case '2':
		return FLOW_DROP;
	case '3':
		if (--g->closes == 0)
			gate_enter(s, GATE_OPEN);
		return FLOW_DROP;
	case 'E':
		gate_enter(s, GATE_OPEN);
		return FLOW_PASS;
	default:
		return FLOW_PASS;
	}
}

void gate_error_passes(struct session *s)
{
	struct gate *g = s->gate;

	g->bind_answer = false;
	if (g->state == GATE_OPEN || g->state == GATE_ANSWERS)
		return;
	if (g->state == GATE_SYNC)
		g->failed_before = true;
	else if (g->state == GATE_INLINE)
		gate_enter(s, GATE_OPEN);
	else
		g->failed = true;
}

enum flow_action gate_server_message(struct session *s, uint8_t type, struct slice message)
{
	struct gate *g = s->gate;

	switch (g->state) {
	case GATE_OPEN:
		return open_message(s, type, message);
	case GATE_ANSWERS:
		return is_bind_answer(g, type) ? FLOW_DROP : FLOW_PASS;
	case GATE_SYNC:
		if (is_bind_answer(g, type))
			return FLOW_DROP;
		if (type == 'E')
			g->failed_before = true;
		return type == 'Z' && s->dialogue.count == 0 ? FLOW_DROP : FLOW_PASS;
	case GATE_UNIT:
		return unit_message(s, type, message);
	case GATE_ASKING:
		return inquiry_take(&g->inquiry, type, frame_body(message)) ? FLOW_DROP : FLOW_PASS;
	case GATE_ASIDE:
	case GATE_KEEPING:
	case GATE_PREPARING:
	case GATE_SETTLING:
		return type == 'Z' ? FLOW_DROP : FLOW_PASS;
	case GATE_FAILING:
		return failing_message(s, type);
	case GATE_INLINE:
		return inline_message(s, type);
	}
	return FLOW_PASS;
}

#include "gate.h"

#include <assert.h>
#include <stdlib.h>

#include "aside.h"
#include "gate_state.h"
#include "log.h"
#include "message.h"
#include "prepared.h"
#include "timer.h"

#define TELL_MS 10000u
#define TEXT_LIMIT ((size_t)1 << 31)

#define TO(state) (1u << (state))

static const struct {
	const char *name;
	unsigned next; /* states that may follow */
} states[] = {
	[GATE_OPEN] = {"open", TO(GATE_ANSWERS)},
	[GATE_ANSWERS] = {"answers", TO(GATE_OPEN) | TO(GATE_SYNC) | TO(GATE_ASKING)},
	[GATE_SYNC] = {"sync", TO(GATE_OPEN) | TO(GATE_ASKING)},
	[GATE_ASKING] = {"asking", TO(GATE_OPEN) | TO(GATE_RESOLVING) | TO(GATE_FAILING)},
	[GATE_RESOLVING] = {"resolving", TO(GATE_OPEN) | TO(GATE_ASIDE) | TO(GATE_FAILING)},
	[GATE_ASIDE] = {"aside", TO(GATE_SETTLING)},
	[GATE_SETTLING] = {"settling", TO(GATE_OPEN) | TO(GATE_FAILING) | TO(GATE_INLINE)},
	[GATE_FAILING] = {"failing", TO(GATE_OPEN)},
	[GATE_INLINE] = {"inline", TO(GATE_OPEN)},
};

void gate_enter(struct session *s, enum gate_state state)
{
	struct gate *g = s->gate;

	assert(states[g->state].next & TO(state));
	log_event(LOG_LEVEL_DEBUG, "gate_state", "session=%llu from=%s to=%s",
		(unsigned long long)s->id, states[g->state].name, states[state].name);
	g->state = state;
	if (state == GATE_OPEN)
		timer_stop(g->timer);
}

void gate_decide(struct session *s, enum flow_action head, enum gate_state next)
{
	s->gate->decided = true;
	s->gate->head = head;
	gate_enter(s, next);
	relay_resume(s);
}

static void tell_wait(struct session *s)
{
	log_event(LOG_LEVEL_INFO, "gate_waits",
		"session=%llu state=%s waited_ms=%llu answers_outstanding=%u",
		(unsigned long long)s->id, states[s->gate->state].name,
		(unsigned long long)(timer_now_ms() - s->gate->closed_ms), s->dialogue.count);
}

/* A bare Sync is all that it takes to hold off idle_in_transaction_session_timeout. */
static void keep_alive(struct session *s)
{
	struct bytes sync;

	if (s->dialogue.count > 0)
		return;
	bytes_init(&sync, 16);
	message_put_empty(&sync, 'S');
	relay_send_server(s, &sync);
	bytes_release(&sync);
}

static void on_timer(void *arg)
{
	struct session *s = arg;
	struct gate *g = s->gate;

	if (g->state == GATE_ASIDE && g->keep_alive_ms > 0) {
		keep_alive(s);
		timer_start(g->timer, g->keep_alive_ms);
	} else if (g->state != GATE_ASIDE) {
		tell_wait(s);
		timer_start(g->timer, TELL_MS);
	}
}

static struct gate *gate_of(struct session *s)
{
	struct gate *g = s->gate;

	if (g)
		return g;
	g = calloc(1, sizeof(*g));
	if (!g)
		return NULL;
	g->timer = timer_new(s->worker->base, on_timer, s);
	if (!g->timer) {
		free(g);
		return NULL;
	}
	bytes_init(&g->portal, 64u * 1024);
	bytes_init(&g->prepared, 64u * 1024);
	bytes_init(&g->text, TEXT_LIMIT);
	bytes_init(&g->settings, 4u * 1024 * 1024);
	bytes_init(&g->error, 1024u * 1024);
	s->gate = g;
	return g;
}

static void close_gate(struct session *s, bool extended)
{
	struct gate *g = s->gate;

	g->extended = extended;
	g->decided = false;
	g->failed_before = false;
	g->finished = false;
	g->closed_ms = timer_now_ms();
	gate_enter(s, GATE_ANSWERS);
	timer_start(g->timer, TELL_MS);
}

/* Copies the text, since the message may move, and recognises the statement in the copy. */
static bool take_text(struct session *s, struct slice text)
{
	struct gate *g = gate_of(s);

	if (!g)
		return false;
	bytes_clear(&g->text);
	bytes_put_slice(&g->text, text);
	return !bytes_failed(&g->text) &&
	       statement_first(bytes_view(&g->text), s->dialect, &g->statement) &&
	       statement_is_aside(&g->statement);
}

bool gate_meets_query(struct session *s, struct slice text)
{
	struct statement_summary sum = statement_summarise(text, s->dialect);

	if (sum.unsure || sum.n_asides == 0)
		return false;
	if (sum.n_pieces > 1) {
		log_event(LOG_LEVEL_WARNING, "not_taken_aside",
			"session=%llu reason=\"more than one statement in a Query\" statements=%zu",
			(unsigned long long)s->id, sum.n_pieces);
		return false;
	}
	if (!take_text(s, text))
		return false;
	close_gate(s, false);
	return true;
}

static void set_name(struct bytes *to, struct slice name)
{
	bytes_clear(to);
	bytes_put_slice(to, name);
	bytes_put_u8(to, 0);
}

bool gate_meets_execute(
	struct session *s, struct slice portal, struct slice statement, struct slice text)
{
	if (!take_text(s, text))
		return false;
	set_name(&s->gate->portal, portal);
	set_name(&s->gate->prepared, statement);
	if (bytes_failed(&s->gate->portal) || bytes_failed(&s->gate->prepared))
		return false;
	s->gate->unnamed = portal.len == 0;
	close_gate(s, true);
	return true;
}

bool gate_is_busy(const struct session *s)
{
	return s->gate && s->gate->state != GATE_OPEN;
}

bool gate_head_is_decided(const struct session *s)
{
	return s->gate && s->gate->decided;
}

enum flow_action gate_head(struct session *s)
{
	s->gate->decided = false;
	return s->gate->head;
}

/* A Sync outside of a transaction makes the server forget the portal: it is bound again. */
static void bind_again(struct session *s)
{
	struct gate *g = s->gate;
	struct bytes message;

	bytes_init(&message, 256u * 1024);
	message_put_bind(&message, (const char *)bytes_view(&g->portal).data,
		(const char *)bytes_view(&g->prepared).data, NULL, 0);
	g->bind_answer = true;
	relay_send_server(s, &message);
	bytes_release(&message);
}

/* Everything is answered: the status is true. */
static void decide(struct session *s, bool after_sync)
{
	struct gate *g = s->gate;

	g->facts = (struct placement_facts){.status = s->dialogue.status};
	if (g->facts.status == 'T') {
		gate_ask(s);
		return;
	}
	if (g->extended && after_sync && g->facts.status == 'I')
		bind_again(s);
	gate_decide(s, FLOW_PASS, GATE_OPEN);
}

/* Outside of a transaction a pipeline that has not executed anything is as good as none. */
static bool needs_sync(const struct session *s)
{
	const struct dialogue *d = &s->dialogue;

	if (!d->pipeline_open)
		return false;
	return d->status != 'I' || d->executed || !s->gate->extended;
}

static void step_answers(struct session *s)
{
	struct bytes sync;

	if (s->dialogue.count > 0)
		return;
	if (!needs_sync(s)) {
		decide(s, false);
		return;
	}
	gate_enter(s, GATE_SYNC);
	bytes_init(&sync, 16);
	message_put_empty(&sync, 'S');
	relay_send_server(s, &sync);
	bytes_release(&sync);
}

/*
 * A statement of the same pipeline has failed: the server would have skipped everything up to the
 * client's Sync, this statement too.
 */
static void skip_to_sync(struct session *s)
{
	s->discarding = true;
	gate_enter(s, GATE_OPEN);
	relay_resume(s);
}

void gate_step(struct session *s)
{
	struct gate *g = s->gate;

	if (!g || s->state != SESSION_RELAY)
		return;
	switch (g->state) {
	case GATE_ANSWERS:
		step_answers(s);
		break;
	case GATE_SYNC:
		if (s->dialogue.count == 0 && g->failed_before)
			skip_to_sync(s);
		else if (s->dialogue.count == 0)
			decide(s, true);
		break;
	case GATE_ASKING:
	case GATE_RESOLVING:
		if (g->inquiry.done)
			gate_ask_answered(s);
		break;
	case GATE_SETTLING:
		if (s->dialogue.count == 0)
			gate_settle(s);
		break;
	case GATE_OPEN:
	case GATE_ASIDE:
	case GATE_FAILING:
	case GATE_INLINE:
		break;
	}
}

bool gate_wants(const struct session *s, uint8_t type)
{
	const struct gate *g = s->gate;

	if (!g)
		return false;
	switch (g->state) {
	case GATE_OPEN:
		return g->bind_answer && (type == '2' || type == 'E');
	case GATE_ANSWERS:
	case GATE_SYNC:
		return type == 'E';
	case GATE_ASKING:
	case GATE_RESOLVING:
	case GATE_ASIDE:
	case GATE_SETTLING:
	case GATE_FAILING:
	case GATE_INLINE:
		return true;
	}
	return false;
}

static enum flow_action bind_message(struct gate *g, uint8_t type)
{
	g->bind_answer = g->bind_answer && type != '2' && type != 'E';
	return type == '2' ? FLOW_DROP : FLOW_PASS;
}

/* The one ErrorResponse that the server must send: its fields are the aside's. Notices before it
 * are the refusal's own. */
static enum flow_action failing_message(struct session *s, uint8_t type)
{
	struct gate *g = s->gate;
	size_t place;

	if (type == 'N')
		return FLOW_DROP;
	if (type == 'C' || type == 'Z') {
		session_close(s, "the server executed what it had to refuse");
		return FLOW_DROP;
	}
	if (type != 'E')
		return FLOW_PASS;
	place = message_begin(&s->down.substitute, 'E');
	bytes_put_slice(&s->down.substitute, bytes_view(&g->error));
	message_end(&s->down.substitute, place);
	gate_enter(s, GATE_OPEN);
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

enum flow_action gate_server_message(struct session *s, uint8_t type, struct slice message)
{
	struct gate *g = s->gate;

	switch (g->state) {
	case GATE_OPEN:
		return g->bind_answer ? bind_message(g, type) : FLOW_PASS;
	case GATE_ANSWERS:
		return FLOW_PASS;
	case GATE_SYNC:
		if (type == 'E')
			g->failed_before = true;
		return type == 'Z' && s->dialogue.count == 0 ? FLOW_DROP : FLOW_PASS;
	case GATE_ASKING:
	case GATE_RESOLVING:
		return inquiry_take(&g->inquiry, type, frame_body(message)) ? FLOW_DROP : FLOW_PASS;
	case GATE_ASIDE:
	case GATE_SETTLING:
		return type == 'Z' ? FLOW_DROP : FLOW_PASS;
	case GATE_FAILING:
		return failing_message(s, type);
	case GATE_INLINE:
		return inline_message(s, type);
	}
	return FLOW_PASS;
}

void gate_cancel(struct session *s)
{
	if (s->gate && s->gate->aside)
		aside_cancel(s->gate->aside);
}

void gate_abandon(struct session *s)
{
	struct gate *g = s->gate;

	if (!g)
		return;
	timer_stop(g->timer);
	if (g->aside)
		aside_abandon(g->aside);
	g->aside = NULL;
}

void gate_free(struct session *s)
{
	struct gate *g = s->gate;

	if (!g)
		return;
	timer_free(g->timer);
	bytes_release(&g->portal);
	bytes_release(&g->prepared);
	bytes_release(&g->text);
	bytes_release(&g->settings);
	bytes_release(&g->error);
	free(g);
	s->gate = NULL;
}

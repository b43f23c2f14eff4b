#include "inquiry.h"

#include "message.h"

#define NAME "pgaside"
#define ERROR_MAX (256u * 1024u)

void inquiry_init(struct inquiry *q, inquiry_row_fn on_row, void *owner)
{
	bytes_release(&q->error);
	*q = (struct inquiry){.on_row = on_row, .owner = owner};
	bytes_init(&q->error, ERROR_MAX);
}

void inquiry_release(struct inquiry *q)
{
	bytes_release(&q->error);
}

static void write_question(struct bytes *out, const struct question *q)
{
	message_put_parse(out, NAME, q->sql);
	message_put_bind(out, NAME, NAME, q->values, q->n_values);
	message_put_execute(out, NAME);
	message_put_target(out, 'C', 'P', NAME);
	message_put_target(out, 'C', 'S', NAME);
}

/* One that failed before could not be closed. */
static void write_closes(struct bytes *out)
{
	message_put_target(out, 'C', 'P', NAME);
	message_put_target(out, 'C', 'S', NAME);
}

void inquiry_write(
	struct bytes *out, bool close_portal, const struct question *questions, unsigned n)
{
	write_closes(out);
	if (close_portal)
		message_put_target(out, 'C', 'P', "");
	for (unsigned i = 0; i < n; i++)
		write_question(out, &questions[i]);
	message_put_empty(out, 'S');
}

void inquiry_write_in_pipeline(struct bytes *out, const struct question *questions, unsigned n)
{
	write_closes(out);
	for (unsigned i = 0; i < n; i++)
		write_question(out, &questions[i]);
	message_put_empty(out, 'H');
}

static void take_row(struct inquiry *q, struct slice body)
{
	struct slice values[INQUIRY_MAX_COLUMNS];
	int n = data_row_decode(body, values, INQUIRY_MAX_COLUMNS);

	if (n >= 0 && q->on_row)
		q->on_row(q->owner, q->question, values,
			n < INQUIRY_MAX_COLUMNS ? n : INQUIRY_MAX_COLUMNS);
}

/* False for the last words of a server that ends the session: they are for the client. */
static bool take_error(struct inquiry *q, struct slice body)
{
	struct slice state = slice_str("XX000");
	struct slice severity = slice_str("ERROR");

	q->failed = true;
	bytes_clear(&q->error);
	bytes_put_slice(&q->error, body);
	error_field(body, 'C', &state);
	memset(q->sqlstate, 0, sizeof(q->sqlstate));
	memcpy(q->sqlstate, state.data, state.len < 5 ? state.len : 5);
	error_field(body, 'V', &severity);
	return !slice_is(severity, "FATAL") && !slice_is(severity, "PANIC");
}

bool inquiry_take(struct inquiry *q, uint8_t type, struct slice body)
{
	switch (type) {
	case 'N': /* NoticeResponse */
		return q->silent;
	case 'S': /* ParameterStatus */
	case 'A': /* NotificationResponse */
		return false;
	case 'D':
		take_row(q, body);
		return true;
	case 'C':
		q->question++;
		return true;
	case 'E':
		return take_error(q, body);
	case 'Z':
		q->done = true;
		q->broken = !q->failed && q->question < q->questions;
		return true;
	default:
		return true;
	}
}

#include "trace.h"

#include "frame.h"
#include "message.h"

#define UNSTABLE " NNNN"
/* The first OID that is not PostgreSQL's own: access/transam.h. */
#define FIRST_USER_OID 16384u

static void put_quoted(struct bytes *out, struct slice text)
{
	bytes_printf(out, " \"");
	for (size_t i = 0; i < text.len; i++) {
		uint8_t c = text.data[i];

		if (c == '"' || c == '\\')
			bytes_printf(out, "\\%c", c);
		else if (c == '\n')
			bytes_printf(out, "\\n");
		else if (c < 0x20 || c > 0x7e)
			bytes_printf(out, "\\x%02x", c);
		else
			bytes_put_u8(out, c);
	}
	bytes_printf(out, "\"");
}

/* Nothing is written for a field that is not there. */
static void put_text(struct bytes *out, struct cursor *c)
{
	struct slice text = cursor_cstr(c);

	if (!c->failed)
		put_quoted(out, text);
}

static void put_two_texts(struct bytes *out, struct cursor *c)
{
	put_text(out, c);
	put_text(out, c);
}

static uint8_t put_byte(struct bytes *out, struct cursor *c)
{
	uint8_t byte = cursor_u8(c);

	if (c->failed)
		return 0;
	bytes_printf(out, byte > 0x20 && byte < 0x7f ? " %c" : " %u", byte);
	return byte;
}

static void put_i16(struct bytes *out, struct cursor *c)
{
	int16_t n = (int16_t)cursor_u16(c);

	if (!c->failed)
		bytes_printf(out, " %d", n);
}

/* How many of something follow. */
static unsigned put_count(struct bytes *out, struct cursor *c)
{
	unsigned n = cursor_u16(c);

	if (!c->failed)
		bytes_printf(out, " %u", n);
	return n;
}

static void put_i32(struct bytes *out, struct cursor *c)
{
	int32_t n = (int32_t)cursor_u32(c);

	if (!c->failed)
		bytes_printf(out, " %d", n);
}

static void put_unstable(struct bytes *out, struct cursor *c)
{
	cursor_u32(c);
	if (!c->failed)
		bytes_printf(out, UNSTABLE);
}

static void put_oid(struct bytes *out, struct cursor *c)
{
	uint32_t oid = cursor_u32(c);

	if (c->failed)
		return;
	if (oid < FIRST_USER_OID)
		bytes_printf(out, " %u", oid);
	else
		bytes_printf(out, UNSTABLE);
}

static void put_formats(struct bytes *out, struct cursor *c)
{
	unsigned n = put_count(out, c);

	for (unsigned i = 0; i < n && !c->failed; i++)
		put_i16(out, c);
}

static void put_oids(struct bytes *out, struct cursor *c)
{
	unsigned n = put_count(out, c);

	for (unsigned i = 0; i < n && !c->failed; i++)
		put_oid(out, c);
}

/* The length of one value, which is passed over. */
static void put_value(struct bytes *out, struct cursor *c)
{
	uint32_t len = cursor_u32(c);

	if (!c->failed && len == 0xffffffffu) {
		bytes_printf(out, " NULL");
		return;
	}
	cursor_bytes(c, len);
	if (!c->failed)
		bytes_printf(out, " %u", len);
}

static void put_values(struct bytes *out, struct cursor *c)
{
	unsigned n = put_count(out, c);

	for (unsigned i = 0; i < n && !c->failed; i++)
		put_value(out, c);
}

static void put_parse(struct bytes *out, struct cursor *c)
{
	put_two_texts(out, c);
	put_oids(out, c);
}

static void put_bind(struct bytes *out, struct cursor *c)
{
	put_two_texts(out, c);
	put_formats(out, c);
	put_values(out, c);
	put_formats(out, c);
}

static void put_execute(struct bytes *out, struct cursor *c)
{
	put_text(out, c);
	put_i32(out, c);
}

static void put_target(struct bytes *out, struct cursor *c)
{
	put_byte(out, c);
	put_text(out, c);
}

static void put_function_call(struct bytes *out, struct cursor *c)
{
	put_oid(out, c);
	put_formats(out, c);
	put_values(out, c);
	put_i16(out, c);
}

static void put_nothing(struct bytes *out, struct cursor *c)
{
	(void)out;
	(void)c;
}

static void put_only_length(struct bytes *out, struct cursor *c)
{
	(void)out;
	cursor_rest(c);
}

static void put_ready(struct bytes *out, struct cursor *c)
{
	put_byte(out, c);
}

static void put_copy(struct bytes *out, struct cursor *c)
{
	bytes_printf(out, " %u", cursor_u8(c));
	put_formats(out, c);
}

static void put_key(struct bytes *out, struct cursor *c)
{
	put_unstable(out, c);
	cursor_rest(c);
	bytes_printf(out, UNSTABLE);
}

static void put_notification(struct bytes *out, struct cursor *c)
{
	put_unstable(out, c);
	put_two_texts(out, c);
}

static void put_column(struct bytes *out, struct cursor *c)
{
	put_text(out, c);
	put_oid(out, c); /* table */
	put_i16(out, c); /* attribute */
	put_oid(out, c); /* type */
	put_i16(out, c); /* its size */
	put_i32(out, c); /* its modifier */
	put_i16(out, c); /* format */
}

static void put_row_description(struct bytes *out, struct cursor *c)
{
	unsigned n = put_count(out, c);

	for (unsigned i = 0; i < n && !c->failed; i++)
		put_column(out, c);
}

/* Fields until a zero byte. File, line and function of the server's source change with it. */
static void put_report(struct bytes *out, struct cursor *c)
{
	uint8_t code;

	while ((code = cursor_u8(c)) != 0) {
		bytes_printf(out, code > 0x20 && code < 0x7f ? " %c" : " %u", code);
		if (!strchr("FLR", code)) {
			put_text(out, c);
			continue;
		}
		cursor_cstr(c);
		bytes_printf(out, UNSTABLE);
	}
}

static void put_negotiation(struct bytes *out, struct cursor *c)
{
	uint32_t n;

	put_i32(out, c);
	n = cursor_u32(c);
	bytes_printf(out, " %u", n);
	for (uint32_t i = 0; i < n && !c->failed; i++)
		put_text(out, c);
}

/* The list of mechanisms ends with an empty one. */
static void put_mechanisms(struct bytes *out, struct cursor *c)
{
	for (;;) {
		struct slice name = cursor_cstr(c);

		if (name.len == 0)
			return;
		put_quoted(out, name);
	}
}

static void put_authentication(struct bytes *out, struct cursor *c)
{
	uint32_t code = cursor_u32(c);

	if (c->failed)
		return;
	switch (code) {
	case AUTHENTICATION_OK:
		bytes_printf(out, " Ok");
		return;
	case AUTHENTICATION_CLEARTEXT:
		bytes_printf(out, " CleartextPassword");
		return;
	case AUTHENTICATION_MD5:
		bytes_printf(out, " MD5Password");
		put_unstable(out, c);
		return;
	case AUTHENTICATION_SASL:
		bytes_printf(out, " SASL");
		put_mechanisms(out, c);
		return;
	case AUTHENTICATION_SASL_CONTINUE:
	case AUTHENTICATION_SASL_FINAL:
		bytes_printf(
			out, code == AUTHENTICATION_SASL_FINAL ? " SASLFinal" : " SASLContinue");
		break;
	default:
		bytes_printf(out, " %u", code);
		break;
	}
	cursor_rest(c);
	bytes_printf(out, UNSTABLE);
}

typedef void (*fields_fn)(struct bytes *out, struct cursor *c);

struct kind {
	char type;
	const char *name;
	fields_fn fields;
};

static const struct kind frontend[] = {
	{'B', "Bind", put_bind},
	{'C', "Close", put_target},
	{'D', "Describe", put_target},
	{'E', "Execute", put_execute},
	{'F', "FunctionCall", put_function_call},
	{'H', "Flush", put_nothing},
	{'P', "Parse", put_parse},
	{'Q', "Query", put_text},
	{'S', "Sync", put_nothing},
	{'X', "Terminate", put_nothing},
	{'c', "CopyDone", put_nothing},
	{'d', "CopyData", put_only_length},
	{'f', "CopyFail", put_text},
	{'p', "Password", put_only_length}, /* and SASL: which one, only the conversation tells */
	{0},
};

static const struct kind backend[] = {
	{'1', "ParseComplete", put_nothing},
	{'2', "BindComplete", put_nothing},
	{'3', "CloseComplete", put_nothing},
	{'A', "NotificationResponse", put_notification},
	{'C', "CommandComplete", put_text},
	{'D', "DataRow", put_values},
	{'E', "ErrorResponse", put_report},
	{'G', "CopyInResponse", put_copy},
	{'H', "CopyOutResponse", put_copy},
	{'I', "EmptyQueryResponse", put_nothing},
	{'K', "BackendKeyData", put_key},
	{'N', "NoticeResponse", put_report},
	{'R', "Authentication", put_authentication},
	{'S', "ParameterStatus", put_two_texts},
	{'T', "RowDescription", put_row_description},
	{'V', "FunctionCallResponse", put_value},
	{'W', "CopyBothResponse", put_copy},
	{'Z', "ReadyForQuery", put_ready},
	{'c', "CopyDone", put_nothing},
	{'d', "CopyData", put_only_length},
	{'n', "NoData", put_nothing},
	{'s', "PortalSuspended", put_nothing},
	{'t', "ParameterDescription", put_oids},
	{'v', "NegotiateProtocolVersion", put_negotiation},
	{0},
};

static const struct kind *kind_of(enum trace_side from, uint8_t type)
{
	const struct kind *k = from == TRACE_FRONTEND ? frontend : backend;

	while (k->type && k->type != (char)type)
		k++;
	return k->type ? k : NULL;
}

static void put_head(struct bytes *out, enum trace_side from, size_t len, const char *name)
{
	bytes_printf(out, "%c\t%zu\t%s\t", from == TRACE_FRONTEND ? 'F' : 'B', len, name);
}

static void put_verdict(struct bytes *out, const struct cursor *c)
{
	if (!cursor_done(c))
		bytes_printf(out, " malformed");
}

void trace_message(struct bytes *out, enum trace_side from, struct slice message)
{
	const struct kind *k;
	struct cursor c;
	struct frame f;

	if (frame_peek(message.data, message.len, &f) != FRAME_WHOLE_HEADER ||
		f.size != message.len) {
		put_head(out, from, message.len, "Unknown");
		bytes_printf(out, " malformed");
		return;
	}
	k = kind_of(from, f.type);
	c = cursor_over(frame_body(message));
	if (!k) {
		put_head(out, from, f.size - 1, "Unknown");
		bytes_printf(out, " %u", f.type);
		return;
	}
	/* How long a password is says much about it. */
	if (from == TRACE_FRONTEND && f.type == 'p')
		bytes_printf(out, "F\tNNNN\t%s\t", k->name);
	else
		put_head(out, from, f.size - 1, k->name);
	k->fields(out, &c);
	put_verdict(out, &c);
}

static void put_session(struct bytes *out, struct slice packet)
{
	struct cursor c = cursor_over(packet);

	cursor_u32(&c);
	put_i16(out, &c);
	put_i16(out, &c);
	for (;;) {
		struct slice name = cursor_cstr(&c);

		if (name.len == 0)
			break;
		put_quoted(out, name);
		put_text(out, &c);
	}
	put_verdict(out, &c);
}

void trace_startup(struct bytes *out, struct slice packet)
{
	size_t size = 0;

	switch (startup_peek(packet, &size)) {
	case STARTUP_PARTIAL:
	case STARTUP_BAD:
		put_head(out, TRACE_FRONTEND, packet.len, "Startup");
		bytes_printf(out, " malformed");
		return;
	case STARTUP_SSL:
		put_head(out, TRACE_FRONTEND, size, "SSLRequest");
		return;
	case STARTUP_GSSENC:
		put_head(out, TRACE_FRONTEND, size, "GSSENCRequest");
		return;
	case STARTUP_CANCEL:
		put_head(out, TRACE_FRONTEND, size, "CancelRequest");
		bytes_printf(out, UNSTABLE UNSTABLE);
		return;
	case STARTUP_SESSION:
		put_head(out, TRACE_FRONTEND, size, "StartupMessage");
		put_session(out, slice_of(packet.data, size));
		return;
	}
}

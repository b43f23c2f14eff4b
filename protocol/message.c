#include "message.h"

bool query_decode(struct slice body, struct slice *query)
{
	struct cursor c = cursor_over(body);

	*query = cursor_cstr(&c);
	return cursor_done(&c);
}

bool parse_decode(struct slice body, struct parse_message *m)
{
	struct cursor c = cursor_over(body);
	uint16_t types;

	m->name = cursor_cstr(&c);
	m->query = cursor_cstr(&c);
	types = cursor_u16(&c);
	cursor_bytes(&c, sizeof(uint32_t) * types);
	return cursor_done(&c);
}

bool bind_decode(struct slice body, struct bind_message *m)
{
	struct cursor c = cursor_over(body);

	m->portal = cursor_cstr(&c);
	m->statement = cursor_cstr(&c);
	return !c.failed;
}

bool execute_decode(struct slice body, struct slice *portal)
{
	struct cursor c = cursor_over(body);

	*portal = cursor_cstr(&c);
	cursor_u32(&c);
	return cursor_done(&c);
}

bool target_decode(struct slice body, struct target_message *m)
{
	struct cursor c = cursor_over(body);

	m->kind = cursor_u8(&c);
	m->name = cursor_cstr(&c);
	return cursor_done(&c);
}

bool parameter_status_decode(struct slice body, struct slice *name, struct slice *value)
{
	struct cursor c = cursor_over(body);

	*name = cursor_cstr(&c);
	*value = cursor_cstr(&c);
	return cursor_done(&c);
}

bool backend_key_decode(struct slice body, struct backend_key *key)
{
	struct cursor c = cursor_over(body);

	key->pid = cursor_u32(&c);
	key->secret = cursor_rest(&c);
	return !c.failed && key->secret.len >= 4 && key->secret.len <= 256;
}

bool error_field(struct slice body, char code, struct slice *value)
{
	struct cursor c = cursor_over(body);

	for (;;) {
		uint8_t found = cursor_u8(&c);
		struct slice text;

		if (found == 0)
			return false;
		text = cursor_cstr(&c);
		if (c.failed)
			return false;
		if (found == (uint8_t)code) {
			*value = text;
			return true;
		}
	}
}

static unsigned long number_of(struct slice digits)
{
	unsigned long n = 0;

	for (size_t i = 0; i < digits.len && digits.data[i] >= '0' && digits.data[i] <= '9'; i++)
		n = n * 10 + (unsigned long)(digits.data[i] - '0');
	return n;
}

static void put_text_field(struct bytes *b, uint8_t code, struct slice text)
{
	bytes_put_u8(b, code);
	bytes_put_slice(b, text);
	bytes_put_u8(b, 0);
}

/* Copies the fields but for those of `without`. */
static void put_fields_without(struct bytes *b, struct slice body, const char *without)
{
	struct cursor c = cursor_over(body);

	for (;;) {
		uint8_t code = cursor_u8(&c);
		struct slice text;

		if (code == 0)
			return;
		text = cursor_cstr(&c);
		if (c.failed)
			return;
		if (!strchr(without, code))
			put_text_field(b, code, text);
	}
}

static void put_position(struct bytes *b, unsigned long position)
{
	bytes_put_u8(b, 'P');
	bytes_printf(b, "%lu", position);
	bytes_put_u8(b, 0);
}

void error_put_moved(struct bytes *b, struct slice body, unsigned long position)
{
	put_fields_without(b, body, "P");
	put_position(b, position);
	bytes_put_u8(b, 0);
}

void error_put_changed(
	struct bytes *b, struct slice body, unsigned long characters, const char *hint)
{
	struct slice position, unused;

	put_fields_without(b, body, "P");
	if (error_field(body, 'P', &position))
		put_position(b, number_of(position) + characters);
	if (hint && !error_field(body, 'H', &unused))
		put_text_field(b, 'H', slice_str(hint));
	bytes_put_u8(b, 0);
}

void error_put_explained(struct bytes *b, struct slice body, const char *detail, struct slice hint)
{
	struct slice before;

	put_fields_without(b, body, hint.data ? "PDH" : "PD");
	bytes_put_u8(b, 'D');
	if (error_field(body, 'D', &before) && before.len > 0) {
		bytes_put_slice(b, before);
		bytes_put_u8(b, '\n');
	}
	bytes_put_cstr(b, detail);
	if (hint.data)
		put_text_field(b, 'H', hint);
	bytes_put_u8(b, 0);
}

int data_row_decode(struct slice body, struct slice *values, int max)
{
	struct cursor c = cursor_over(body);
	int n = cursor_u16(&c);

	for (int i = 0; i < n && !c.failed; i++) {
		uint32_t len = cursor_u32(&c);
		struct slice value = slice_of(NULL, 0);

		if (len != 0xffffffffu)
			value = cursor_bytes(&c, len);
		if (i < max)
			values[i] = value;
	}
	return cursor_done(&c) ? n : -1;
}

bool authentication_decode(struct slice body, uint32_t *code, struct slice *rest)
{
	struct cursor c = cursor_over(body);

	*code = cursor_u32(&c);
	*rest = cursor_rest(&c);
	return !c.failed;
}

bool sasl_offers(struct slice mechanisms, const char *name)
{
	struct cursor c = cursor_over(mechanisms);

	for (;;) {
		struct slice offered = cursor_cstr(&c);

		if (offered.len == 0)
			return false;
		if (slice_is(offered, name))
			return true;
	}
}

bool sasl_initial_decode(struct slice body, struct slice *mechanism, struct slice *data)
{
	struct cursor c = cursor_over(body);
	uint32_t len;

	*mechanism = cursor_cstr(&c);
	len = cursor_u32(&c);
	*data = len == 0xffffffffu ? slice_of(NULL, 0) : cursor_bytes(&c, len);
	return cursor_done(&c);
}

size_t message_begin(struct bytes *b, char type)
{
	size_t place;

	bytes_put_u8(b, (uint8_t)type);
	place = bytes_length(b);
	bytes_put_u32(b, 0);
	return place;
}

void message_end(struct bytes *b, size_t place)
{
	if (!bytes_failed(b))
		bytes_set_u32(b, place, (uint32_t)(bytes_length(b) - place));
}

void message_put_empty(struct bytes *b, char type)
{
	message_end(b, message_begin(b, type));
}

void message_put_query_slice(struct bytes *b, struct slice sql)
{
	size_t place = message_begin(b, 'Q');

	bytes_put_slice(b, sql);
	bytes_put_u8(b, 0);
	message_end(b, place);
}

void message_put_query(struct bytes *b, const char *sql)
{
	message_put_query_slice(b, slice_str(sql));
}

void message_put_parse(struct bytes *b, const char *name, const char *sql)
{
	size_t place = message_begin(b, 'P');

	bytes_put_cstr(b, name);
	bytes_put_cstr(b, sql);
	bytes_put_u16(b, 0);
	message_end(b, place);
}

void message_put_bind(struct bytes *b, const char *portal, const char *name,
	const char *const *values, uint16_t n)
{
	size_t place = message_begin(b, 'B');

	bytes_put_cstr(b, portal);
	bytes_put_cstr(b, name);
	bytes_put_u16(b, 0);
	bytes_put_u16(b, n);
	for (uint16_t i = 0; i < n; i++) {
		if (!values[i]) {
			bytes_put_u32(b, 0xffffffffu);
			continue;
		}
		bytes_put_u32(b, (uint32_t)strlen(values[i]));
		bytes_put(b, values[i], strlen(values[i]));
	}
	bytes_put_u16(b, 0);
	message_end(b, place);
}

void message_put_execute(struct bytes *b, const char *portal)
{
	size_t place = message_begin(b, 'E');

	bytes_put_cstr(b, portal);
	bytes_put_u32(b, 0);
	message_end(b, place);
}

void message_put_target(struct bytes *b, char type, char kind, const char *name)
{
	size_t place = message_begin(b, type);

	bytes_put_u8(b, (uint8_t)kind);
	bytes_put_cstr(b, name);
	message_end(b, place);
}

void message_put_password(struct bytes *b, struct slice password)
{
	size_t place = message_begin(b, 'p');

	bytes_put_slice(b, password);
	bytes_put_u8(b, 0);
	message_end(b, place);
}

void message_put_sasl_initial(struct bytes *b, const char *mechanism, struct slice data)
{
	size_t place = message_begin(b, 'p');

	bytes_put_cstr(b, mechanism);
	bytes_put_u32(b, (uint32_t)data.len);
	bytes_put_slice(b, data);
	message_end(b, place);
}

void message_put_sasl_response(struct bytes *b, struct slice data)
{
	size_t place = message_begin(b, 'p');

	bytes_put_slice(b, data);
	message_end(b, place);
}

void message_put_authentication(struct bytes *b, enum authentication code)
{
	size_t place = message_begin(b, 'R');

	bytes_put_u32(b, (uint32_t)code);
	message_end(b, place);
}

void message_put_ready(struct bytes *b, char status)
{
	size_t place = message_begin(b, 'Z');

	bytes_put_u8(b, (uint8_t)status);
	message_end(b, place);
}

void message_put_complete(struct bytes *b, const char *tag)
{
	size_t place = message_begin(b, 'C');

	bytes_put_cstr(b, tag);
	message_end(b, place);
}

void message_put_field(struct bytes *b, char code, const char *value)
{
	if (!value)
		return;
	bytes_put_u8(b, (uint8_t)code);
	bytes_put_cstr(b, value);
}

static bool is_notice(const struct report *r)
{
	return strcmp(r->severity, "NOTICE") == 0 || strcmp(r->severity, "WARNING") == 0;
}

void report_put_body(struct bytes *b, const struct report *r)
{
	message_put_field(b, 'S', r->severity);
	message_put_field(b, 'V', r->severity);
	message_put_field(b, 'C', r->sqlstate);
	message_put_field(b, 'M', r->message);
	message_put_field(b, 'D', r->detail);
	message_put_field(b, 'H', r->hint);
	bytes_put_u8(b, 0);
}

void report_put_error(struct bytes *b, const char *sqlstate, const char *message,
	const char *detail, const char *hint)
{
	struct report r = {"ERROR", sqlstate, message, detail, hint};

	report_put_body(b, &r);
}

void report_put_notice(struct bytes *b, const char *message)
{
	struct report r = {.severity = "NOTICE", .sqlstate = "00000", .message = message};

	report_put_body(b, &r);
}

void message_put_report(struct bytes *b, const struct report *r)
{
	size_t place = message_begin(b, is_notice(r) ? 'N' : 'E');

	report_put_body(b, r);
	message_end(b, place);
}

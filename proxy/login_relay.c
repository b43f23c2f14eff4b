/*
 * login_relay.c - auth = relay: the server authenticates the client, message by message.
 *
 * pgaside passes on what both say and learns no secret. Only channel binding does not survive it:
 * SCRAM-SHA-256-PLUS binds the exchange to the certificate that the client sees, which must then be
 * the server's own. Where it is not, that mechanism is taken off the server's list (protocol
 * documentation, "SCRAM-SHA-256 Authentication").
 */
#include "login_state.h"
#include "message.h"
#include "scram.h"

/* The list without channel binding, as a message, in `out`. False when it is malformed; `left` says
 * how many mechanisms remain. */
static bool put_without_plus(struct bytes *out, struct slice mechanisms, unsigned *left)
{
	struct cursor c = cursor_over(mechanisms);
	size_t place = message_begin(out, 'R');

	*left = 0;
	bytes_put_u32(out, AUTHENTICATION_SASL);
	for (;;) {
		struct slice name = cursor_cstr(&c);

		if (name.len == 0)
			break;
		if (slice_is(name, SCRAM_MECHANISM_PLUS))
			continue;
		bytes_put_slice(out, name);
		bytes_put_u8(out, 0);
		(*left)++;
	}
	bytes_put_u8(out, 0);
	message_end(out, place);
	return cursor_done(&c);
}

static enum flow_action on_mechanisms(struct session *s, struct slice mechanisms)
{
	struct bytes *list = &s->down.substitute;
	unsigned left;

	s->login->choosing = true;
	if (!sasl_offers(mechanisms, SCRAM_MECHANISM_PLUS) ||
		conn_same_certificate(s->client, s->server)) {
		login_expect(s);
		return FLOW_PASS;
	}
	bytes_clear(list);
	if (!put_without_plus(list, mechanisms, &left) || bytes_failed(list))
		session_refuse(s, "08P01", "the server sent a malformed authentication request");
	else if (left == 0)
		session_refuse(s, "08P01",
			"the server offers channel binding only, which needs its own certificate "
			"on both sides of pgaside");
	if (s->state == SESSION_CLOSED)
		return FLOW_STOP;
	s->login->without_plus = true;
	login_expect(s);
	return FLOW_REPLACE;
}

enum flow_action login_relay_request(struct session *s, uint32_t code, struct slice rest)
{
	switch (code) {
	case AUTHENTICATION_CLEARTEXT:
		if (!login_allows_cleartext(s))
			return FLOW_STOP;
		break;
	case AUTHENTICATION_SASL:
		return on_mechanisms(s, rest);
	case AUTHENTICATION_SASL_FINAL:
		return FLOW_PASS; /* nothing to be answered */
	default:
		break;
	}
	login_expect(s);
	return FLOW_PASS;
}

/*
 * A client with TLS that could do channel binding and was not offered it says so, to unmask whoever
 * took it off the list. The server will refuse that in words that do not help.
 */
static bool unmasks_us(const struct session *s, struct slice mechanism, struct slice data)
{
	return s->login->without_plus && slice_is(mechanism, SCRAM_MECHANISM) && data.len > 0 &&
	       data.data[0] == 'y';
}

/* False when the log-in has ended. */
static bool note_choice(struct session *s, struct slice body)
{
	struct slice mechanism, data;

	if (!sasl_initial_decode(body, &mechanism, &data))
		return true; /* the server will have the right words for that */
	s->login->bound = slice_is(mechanism, SCRAM_MECHANISM_PLUS);
	if (!unmasks_us(s, mechanism, data))
		return true;
	session_refuse(s, "28000",
		"SCRAM channel binding negotiation error: client and server have TLS with "
		"different certificates, so pgaside cannot pass channel binding on; use "
		"channel_binding=disable, or give pgaside the server's own certificate");
	return false;
}

void login_relay_answer(struct session *s, struct slice message)
{
	bool chooses = s->login->choosing;

	s->login->choosing = false;
	if (!chooses || note_choice(s, frame_body(message)))
		conn_send(s->server, message);
}

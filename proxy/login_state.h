/*
 * login_state.h - the inside of a log-in, for the files that make it up.
 *
 * The StartupMessage goes to the server as it is; what the server then asks of the client becomes
 * of, by the setting `auth`:
 *
 *   login.c            both: connects, waits for the client's answer, decides who gets in
 *   login_password.c   password: the client is asked in clear, pgaside answers the server
 *   login_relay.c      relay: the messages go through, and the client answers the server
 */
#ifndef PGASIDE_LOGIN_STATE_H
#define PGASIDE_LOGIN_STATE_H

#include "flow.h"
#include "scram.h"
#include "session_state.h"

#define LOGIN_ANSWER_MAX                                                  \
	65535u /* what the length of a password or token may say, as with \
		PostgreSQL: all but the type */

enum login_method {
	LOGIN_NONE,
	LOGIN_CLEARTEXT,
	LOGIN_MD5,
	LOGIN_SCRAM
};

struct login {
	struct session *session; /* borrowed */
	struct timer *timer;	 /* owned: what is better done from the loop */
	bool due;		 /* the client is to answer */
	bool answered;		 /* it has, at least once */
	bool bound;		 /* SCRAM is bound to the server's certificate */

	/* auth = password */
	enum login_method method;
	uint8_t salt[4];
	struct scram *scram; /* owned */
	enum scram_binding binding;
	uint8_t end_point[TLS_END_POINT_MAX];
	size_t end_point_len;

	/* auth = relay */
	bool choosing;	   /* the answer that is due names a SASL mechanism */
	bool without_plus; /* channel binding was taken off the server's list */
};

/* The client is asked something: its answer is waited for, or there already. */
void login_expect(struct session *s);
/* False, with the client refused, when a password in clear could be overheard. */
bool login_allows_cleartext(struct session *s);
/* The upstream's channel_binding is `require`, or `disable`. */
bool login_must_bind(const struct session *s);
bool login_must_not_bind(const struct session *s);
/* Goes on to the server. */
void login_connect(struct session *s);

/* An authentication request of the server, AuthenticationOk excepted. `rest` follows the code. */
enum flow_action login_password_request(struct session *s, uint32_t code, struct slice rest);
enum flow_action login_relay_request(struct session *s, uint32_t code, struct slice rest);
/* A whole message of the client, type 'p', in the place of an answer that is due. */
void login_password_answer(struct session *s, struct slice message);
void login_relay_answer(struct session *s, struct slice message);

/* Asks the client for its password. */
void login_password_ask(struct session *s);
/* The next piece of SCRAM's work, if there is any. */
void login_password_work(struct login *l);
/* False, with the session ended, when the server has skipped its part of SCRAM. */
bool login_password_is_mutual(struct session *s);

#endif

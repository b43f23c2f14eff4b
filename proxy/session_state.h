/*
 * session_state.h - the inside of a session, for the files that make it up.
 *
 *   STARTUP --StartupMessage--> [PASSWORD] --> CONNECTING --> LOGIN --AuthenticationOk--> RELAY
 *      |                                                                                    |
 *      +--CancelRequest--> CANCEL         LOGIN --AuthenticationOk, admin_users--> CONSOLE
 *                                                     every state --session_close()--> CLOSED
 *
 * STARTUP    reads the first packets: TLS and GSS requests, then what the client wants (startup.c)
 * PASSWORD   a private port asks before it connects anywhere (login.c)
 * CONNECTING waits for a connection to the server (login.c)
 * LOGIN      carries the authentication (login.c)
 * RELAY      moves bytes (relay.c), with an aside when one is met (gate.c)
 * CONSOLE    is answered by pgaside itself (console.c)
 * CANCEL     passes a CancelRequest on to the server (startup.c)
 * CLOSED     waits for the loop to free it
 */
#ifndef PGASIDE_SESSION_STATE_H
#define PGASIDE_SESSION_STATE_H

#include "bytes.h"
#include "conn.h"
#include "dialogue.h"
#include "err.h"
#include "flow.h"
#include "ledger.h"
#include "session.h"
#include "snapshot.h"
#include "sql_lexer.h"
#include "stats.h"
#include "upstream.h"
#include "worker.h"

enum session_state {
	SESSION_STARTUP,
	SESSION_PASSWORD,
	SESSION_CONNECTING,
	SESSION_LOGIN,
	SESSION_RELAY,
	SESSION_CONSOLE,
	SESSION_CANCEL,
	SESSION_CLOSED,
};

struct console;
struct gate;
struct login;
struct prepared;
struct timer;

struct session {
	struct session *next;
	struct session **link;	   /* what points here: the worker's list or the one before */
	struct worker *worker;	   /* borrowed */
	struct snapshot *snapshot; /* held: what it began with */
	uint64_t id;
	enum session_state state;
	struct conn *client; /* owned */
	struct conn *server; /* owned, NULL until connected */
	struct flow up;	     /* client to server */
	struct flow down;    /* server to client */
	struct dialogue dialogue;
	struct timer *timer;		 /* owned: log-in timeout */
	struct upstream_job *connecting; /* owned while it runs */
	struct upstream_route route;
	struct console *console;   /* owned, NULL unless it is one, or is to be */
	struct login *login;	   /* owned while logging in */
	struct prepared *prepared; /* owned, NULL until an aside statement is prepared */
	struct gate *gate;	   /* owned, NULL until an aside statement is met */
	struct ledger ledger;	   /* of the open transaction */
	struct bytes startup;	   /* owned: the StartupMessage, verbatim */
	struct bytes password;	   /* owned, wiped: what the client showed, "" = none */
	struct bytes key;	   /* owned: the body of BackendKeyData, in the registry */
	struct sql_dialect dialect;
	unsigned tls_requests; /* SSLRequest and GSSENCRequest seen: once each */
	bool surplus;	       /* above max_client_conn: may only cancel */
	bool aside;	       /* asides are on for this session */
	bool client_ended;     /* it sends nothing more, but waits for answers */
	bool refused;	       /* the server has said why it ends the log-in */
	bool replication;      /* passes through uninspected */
	bool discarding;       /* the server would skip to Sync: so do we */
	uint64_t started_ms;
	size_t held;		/* of what it holds, as much as counts in the sum of all sessions */
	uint64_t passed_before; /* bytes, when it was last looked whether it does anything */
	struct stats_session seen; /* what others may see of it */
};

/* Moves to a state that the diagram allows; asserts that. */
void session_enter(struct session *s, enum session_state state);
/*
 * Ends the session; may be called from anywhere, more than once. With `report`, the client is told
 * by a FATAL ErrorResponse of its SQLSTATE and text. `why` goes to the log.
 */
void session_close(struct session *s, const char *why);
void session_fail(struct session *s, const struct err *report);
/* The same in one call. */
void session_refuse(struct session *s, const char *sqlstate, const char *text);
/* The same for a client above max_client_conn. */
void session_refuse_full(struct session *s);
/* Sends to the client. */
void session_tell(struct session *s, const struct bytes *message);

/* A parameter of the StartupMessage as a C string, cut to fit; "" when it was not given. Returns
 * `out`. */
const char *session_parameter(const struct session *s, const char *name, char *out, size_t size);

/* startup.c: the client sent bytes in state STARTUP. */
void startup_read(struct session *s);
/* startup.c: the client's leg is encrypted now. */
void startup_secured(struct session *s);

/* login.c: the StartupMessage is there; connects and logs in. */
void login_begin(struct session *s);
/* login.c: the client sent bytes in PASSWORD, CONNECTING or LOGIN. */
void login_read_client(struct session *s);
/* login.c: a whole message of the server in state LOGIN. */
enum flow_action login_server_message(struct session *s, uint8_t type, struct slice message);
void login_free(struct login *l);

/* relay.c: the rules of both directions. */
extern const struct flow_rules relay_up_rules;
extern const struct flow_rules relay_down_rules;
/* relay.c: something can be read from the client or from the server. */
void relay_read_client(struct session *s);
void relay_read_server(struct session *s);
/* relay.c: behind each of these: conn_look_again(), at once or a while later. `c` may be gone. */
void relay_look_again(struct session *s, struct conn *c);
/* relay.c: goes on with what the client sent and was held; sets who is listened to. */
void relay_resume(struct session *s);
/* relay.c: sets who is listened to, by what is unsent and what waits. */
void relay_update_reading(struct session *s);
/* relay.c: sends a message of our own to the server; the dialogue is told. */
void relay_send_server(struct session *s, const struct bytes *messages);

#endif

/*
 * message.h - the bodies of the messages that pgaside reads or writes itself.
 *
 * Decoders borrow from the slice they are given and return false for a body that does not have
 * exactly the documented fields. Writers append one whole message to a `struct bytes`; whether that
 * worked is asked once, at the end, with bytes_failed(). Layouts: protocol documentation, section
 * "Message Formats".
 */
#ifndef PGASIDE_MESSAGE_H
#define PGASIDE_MESSAGE_H

#include "bytes.h"

/* The first packet of a connection: Int32 length (with itself), Int32 code, then what the code
 * says. */
enum startup_kind {
	STARTUP_PARTIAL,
	STARTUP_BAD,
	STARTUP_SSL,
	STARTUP_GSSENC,
	STARTUP_CANCEL,
	STARTUP_SESSION,
};

/* Bytes, the length included, as PostgreSQL has it: 10000 behind the length. */
#define STARTUP_MAX 10004u

/*
 * What the packet at the front of `data` is; `size` gets its length unless PARTIAL or BAD. A length
 * outside 8 .. STARTUP_MAX is BAD at once, and so is a protocol other than 3.x.
 */
enum startup_kind startup_peek(struct slice data, size_t *size);
/* The value of a parameter of a StartupMessage; false when it is not there or the list is
 * malformed. */
bool startup_parameter(struct slice packet, const char *name, struct slice *value);
/* True when the list is pairs of strings ended by a zero byte, as PostgreSQL demands. */
bool startup_is_well_formed(struct slice packet);

/* CancelRequest: Int32 pid and a secret of 4 to 256 bytes; BackendKeyData has the same body. */
struct backend_key {
	uint32_t pid;
	struct slice secret;
};
bool backend_key_decode(struct slice body, struct backend_key *key);

struct parse_message {
	struct slice name;
	struct slice query;
};
bool parse_decode(struct slice body, struct parse_message *m);

struct bind_message {
	struct slice portal;
	struct slice statement;
};
/* Only the two names at the front; the rest is not looked at. */
bool bind_decode(struct slice body, struct bind_message *m);

/* Query: one string. */
bool query_decode(struct slice body, struct slice *query);
/* Execute: the portal's name and a row limit. */
bool execute_decode(struct slice body, struct slice *portal);

/* Describe and Close: 'S' (statement) or 'P' (portal), and a name. */
struct target_message {
	uint8_t kind;
	struct slice name;
};
bool target_decode(struct slice body, struct target_message *m);

/* ParameterStatus: name and value. */
bool parameter_status_decode(struct slice body, struct slice *name, struct slice *value);

/* One field of an ErrorResponse or NoticeResponse; false when it is not there. Malformed bodies end
 * early. */
bool error_field(struct slice body, char code, struct slice *value);

/*
 * Copies the body of an ErrorResponse or NoticeResponse with its position ('P') moved on by
 * `characters`, and with `hint` if it has none of its own. NULL: no hint.
 */
void error_put_changed(
	struct bytes *b, struct slice body, unsigned long characters, const char *hint);

/*
 * The same without a position, with `detail` behind what DETAIL it has, and with `hint` in the
 * place of its own unless that is NULL.
 */
void error_put_explained(struct bytes *b, struct slice body, const char *detail, struct slice hint);

/* The same with another position. */
void error_put_moved(struct bytes *b, struct slice body, unsigned long position);

/*
 * A DataRow's columns one after another: Int16 count, then Int32 length (-1 = NULL) and bytes for
 * each. `values` gets up to `max`; a NULL has data NULL. Returns how many there are, -1 when
 * malformed.
 */
int data_row_decode(struct slice body, struct slice *values, int max);

/* Authentication request: the code; `rest` borrows what follows it. */
bool authentication_decode(struct slice body, uint32_t *code, struct slice *rest);

/* Whether AuthenticationSASL's list has that mechanism. */
bool sasl_offers(struct slice mechanisms, const char *name);
/* SASLInitialResponse: the mechanism's name, and its data as far as there is any. */
bool sasl_initial_decode(struct slice body, struct slice *mechanism, struct slice *data);

enum authentication {
	AUTHENTICATION_OK = 0,
	AUTHENTICATION_CLEARTEXT = 3,
	AUTHENTICATION_MD5 = 5,
	AUTHENTICATION_SASL = 10,
	AUTHENTICATION_SASL_CONTINUE = 11,
	AUTHENTICATION_SASL_FINAL = 12,
};

/* Begins a message of `type`; returns the place that message_end() fills in. */
size_t message_begin(struct bytes *b, char type);
void message_end(struct bytes *b, size_t place);

/* A message without a body: Sync, Flush, Terminate, CopyDone, .. */
void message_put_empty(struct bytes *b, char type);
void message_put_query(struct bytes *b, const char *sql);
void message_put_query_slice(struct bytes *b, struct slice sql);
void message_put_parse(struct bytes *b, const char *name, const char *sql);
/* Bind without result formats (all text); `values` are text parameters, NULL for a NULL. */
void message_put_bind(struct bytes *b, const char *portal, const char *name,
	const char *const *values, uint16_t n);
void message_put_execute(struct bytes *b, const char *portal);
/* Describe ('D') or Close ('C') of a statement ('S') or portal ('P'). */
void message_put_target(struct bytes *b, char type, char kind, const char *name);
/* PasswordMessage: `password` and a zero byte. */
void message_put_password(struct bytes *b, struct slice password);
void message_put_sasl_initial(struct bytes *b, const char *mechanism, struct slice data);
void message_put_sasl_response(struct bytes *b, struct slice data);
void message_put_authentication(struct bytes *b, enum authentication code);
void message_put_ready(struct bytes *b, char status);
void message_put_complete(struct bytes *b, const char *tag);

/* Fields of an error or notice that pgaside speaks itself; `detail` and `hint` may be NULL. */
struct report {
	const char *severity; /* ERROR, FATAL, NOTICE, WARNING */
	const char *sqlstate;
	const char *message;
	const char *detail;
	const char *hint;
};
/* The body alone, as it is handed around before it is sent. */
void report_put_body(struct bytes *b, const struct report *r);
/* The same with severity ERROR, and with NOTICE and 00000. */
void report_put_error(struct bytes *b, const char *sqlstate, const char *message,
	const char *detail, const char *hint);
void report_put_notice(struct bytes *b, const char *message);
/* An ErrorResponse, or a NoticeResponse when the severity is NOTICE or WARNING. */
void message_put_report(struct bytes *b, const struct report *r);
/* One field into a message begun with 'E' or 'N'. */
void message_put_field(struct bytes *b, char code, const char *value);

void startup_put_ssl_request(struct bytes *b);
void startup_put_cancel(struct bytes *b, const struct backend_key *key);

#endif

/*
 * console.h - the admin console: a session with the database `pgaside`, for `admin_users`.
 *
 * Who may use it is known from the server: the client logs in there first, to the upstream's own
 * database, and only when the server has let it in does the session become a console; the
 * connection to the server is closed then. So pgaside needs no list of passwords. Only over
 * loopback or a unix socket. Without `admin_users` there is no console, and a database of that name
 * is one like any other.
 *
 * What it shows of other threads' sessions and asides it has from stats. It speaks both protocols
 * as far as drivers need it for a statement without parameters; it is never in a transaction.
 */
#ifndef PGASIDE_CONSOLE_H
#define PGASIDE_CONSOLE_H

#include "flow.h"
#include "session_state.h"

#define CONSOLE_DATABASE "pgaside"

/* The StartupMessage is there, and asks for it. */
bool console_is_wanted(const struct session *s);
/* False: the session was refused. */
bool console_admit(struct session *s);
/* The StartupMessage that goes to the server instead of the client's. */
void console_put_startup(const struct session *s, struct bytes *out);
/* A whole message of the server behind AuthenticationOk. */
enum flow_action console_server_message(struct session *s, uint8_t type);
/* To be called after a walk: the server has let the client in, so that it is not needed any more.
 */
void console_begin_if_due(struct session *s);
/* The client sent bytes. */
void console_read_client(struct session *s);
/* There is room for answers again. */
void console_go_on(struct session *s);
void console_free(struct console *c);

#endif

/*
 * db.h - libpq for tests: every wait is bounded, every failure fails the test.
 *
 * Connections opened here are closed by db_close_all(), which a test's teardown calls, so that a
 * test that failed in the middle leaves no lock behind.
 */
#ifndef PGASIDE_TESTS_DB_H
#define PGASIDE_TESTS_DB_H

#include <libpq-fe.h>
#include <stdbool.h>

/* app/secret@127.0.0.1/app, sslmode=disable; `more` is keyword=value text that may override. */
PGconn *db_connect(int port, const char *more);
/* The same as the superuser. */
PGconn *db_super(int port);
/* The same, but the connection may have failed. */
PGconn *db_try(int port, const char *more);
void db_close(PGconn *conn);
void db_close_all(void);

/* Runs text and returns the last result, or NULL when the connection was lost. */
PGresult *db_query(PGconn *conn, const char *sql);
/* For a statement that was sent in another way: its result; further ones are read and dropped. */
PGresult *db_result(PGconn *conn);
/* Runs text that must succeed. */
void db_do(PGconn *conn, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Runs text that must fail with this SQLSTATE. */
void db_fail(PGconn *conn, const char *sqlstate, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* First column of the first row, "" if there is none; in one of several static buffers. */
const char *db_text(PGconn *conn, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Sends text without waiting. */
void db_send(PGconn *conn, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A CancelRequest for what was sent. */
void db_cancel(PGconn *conn);
/* Takes what was sent: its SQLSTATE, "00000" for success, "gone" when the connection was lost. */
const char *db_outcome(PGconn *conn);
/* Whether the answer to what was sent is there. */
bool db_has_answer(PGconn *conn);
/* 'I', 'T', 'E', or '-' when it is none of these. */
char db_status(PGconn *conn);
/* What a log-in fails with: "28P01: password authentication failed ..", or libpq's own message; ""
 * when it succeeds. In one of two static buffers. */
const char *db_login_error(int port, const char *more);
const char *db_error_field(const PGresult *r, int field);
/* Keeps the notices of this connection; db_notices() gives "SQLSTATE SQLSTATE ..". */
void db_keep_notices(PGconn *conn);
const char *db_notices(void);
void db_forget_notices(void);

#endif

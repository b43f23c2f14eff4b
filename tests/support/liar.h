/*
 * liar.h - a PostgreSQL that breaks the protocol once.
 *
 * A relay of its own process between pgaside and the cluster: all that it passes on is the real
 * server's, but for one message of one connection, in whose place it tells a lie. So every answer
 * that pgaside waits for, the client's and its own, can be made any kind of wrong.
 *
 * Messages are counted from the log-in on; of a run of rows or parameters only the first two are.
 */
#ifndef PGASIDE_TESTS_LIAR_H
#define PGASIDE_TESTS_LIAR_H

#include <stdbool.h>
#include <sys/types.h>

enum lie {
	LIE_NOTHING,
	LIE_GONE,	      /* the connection ends in front of it */
	LIE_CUT,	      /* in the middle of it */
	LIE_HALF_CLOSED,      /* the server ends its side in the middle of it, and listens on */
	LIE_DRIPPING,	      /* from here on the bytes come one by one */
	LIE_TWICE,	      /* it comes twice */
	LIE_LOST,	      /* it does not come */
	LIE_EMPTY,	      /* without its body */
	LIE_LENGTH_3,	      /* a length that none can have */
	LIE_LENGTH_HUGE,      /* 0x7fffffff */
	LIE_LENGTH_NEGATIVE,  /* 0xffffffff */
	LIE_ONE_BYTE_MORE,    /* a byte behind its body, and counted */
	LIE_GARBAGE,	      /* its body is noise */
	LIE_ERROR_EMPTY,      /* an ErrorResponse without fields in its place */
	LIE_ERROR_STATELESS,  /* one without SQLSTATE */
	LIE_ERROR_OPEN,	      /* one whose last field does not end */
	LIE_ERROR_FATAL,      /* one that ends the session; but it goes on */
	LIE_FLOOD,	      /* 3000 ParameterStatus and NoticeResponse in front of it */
	LIE_READY_ODD,	      /* ReadyForQuery with a status that there is not, in its place */
	LIE_READY_EARLY,      /* ReadyForQuery in front of it */
	LIE_ROW_MANY_COLUMNS, /* a row that announces 65535 columns */
	LIE_ROW_LONG_COLUMN,  /* a column that is longer than the row */
	LIE_ROW_OF_NULLS,     /* as many columns as the message has; other types: 8 */
	LIE_COPY_IN,	      /* CopyInResponse in its place */
	LIE_COPY_OUT,
	LIE_AUTHENTICATION, /* a request for a password */
	LIE_UNKNOWN_TYPE,
	LIES
};

struct liar {
	int port;
	pid_t pid;
	struct liar_shared *shared;
};

/* In front of the server on that port; it ends with the test program. */
void liar_start(struct liar *l, int server_port);
void liar_stop(struct liar *l);
/* The message'th message of the connection'th connection from here on, both from 0. */
void liar_plan(struct liar *l, unsigned connection, unsigned message, enum lie lie);
/* The type of the message in whose place the lie was told; 0: it was not told. */
char liar_told(const struct liar *l);
/* Connections that pgaside holds open. */
unsigned liar_open(const struct liar *l);
/* Since the last plan: connections, and messages counted in one. */
unsigned liar_connections(const struct liar *l);
unsigned liar_messages(const struct liar *l, unsigned connection);
const char *lie_name(enum lie lie);

#endif

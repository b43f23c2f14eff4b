/*
 * trace.h - a protocol message as one line of text, for people and for comparison.
 *
 * In the manner of libpq's PQtrace(): who sent it, its length, its name and its fields, with tabs
 * between the first three. What differs from one run to the next is written NNNN: process numbers,
 * keys, identifiers of relations and types made by users, places in the server's source. Passwords
 * and SASL data are never written, not even their length; of bound values, rows and copied data
 * only the length is. What is not as documented is written as far as it goes, and then "malformed".
 * Pure.
 */
#ifndef PGASIDE_TRACE_H
#define PGASIDE_TRACE_H

#include "bytes.h"

enum trace_side {
	TRACE_FRONTEND,
	TRACE_BACKEND
};

/* Appends the line for one whole message, without a line end. */
void trace_message(struct bytes *out, enum trace_side from, struct slice message);
/* The same for a whole packet without type: SSLRequest, CancelRequest, StartupMessage, .. */
void trace_startup(struct bytes *out, struct slice packet);

#endif

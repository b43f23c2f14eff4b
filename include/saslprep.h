/*
 * saslprep.h - a password as SCRAM derives its key from it (RFC 4013).
 *
 * As PostgreSQL does it on both sides: a password that is ASCII, no valid UTF-8, or has characters
 * that the profile prohibits or Unicode 3.2 did not know, is taken as it is. Of others, exotic
 * spaces become U+0020, soft hyphens and the like go, and the rest is normalised (NFKC).
 *
 * Two differences are known. PostgreSQL normalises by a newer Unicode, so characters younger than
 * 3.2 that stand for older ones (U+1F130, a squared A) are replaced there and left alone here. And
 * a password longer than SASLPREP_MAX that is not ASCII is taken as it is: the time that libidn
 * takes grows with the square of the length, and a client chooses that.
 */
#ifndef PGASIDE_SASLPREP_H
#define PGASIDE_SASLPREP_H

#include "bytes.h"

#define SASLPREP_MAX 2048u /* bytes */

/* Appends the prepared password. libidn's own working copies of one that is not ASCII are freed,
 * but not wiped. */
void saslprep_put(struct bytes *out, struct slice password);

#endif

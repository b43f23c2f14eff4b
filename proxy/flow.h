/*
 * flow.h - one direction of a session: bytes from one connection to the other.
 *
 * Walks the message headers of what was read, in place, asks what is to become of each message, and
 * sends runs of bytes on as they are. Only a message that must be seen whole and is not, and what
 * waits behind a closed gate, is copied into `held`.
 */
#ifndef PGASIDE_FLOW_H
#define PGASIDE_FLOW_H

#include <stdatomic.h>

#include "bytes.h"
#include "conn.h"
#include "frame.h"

struct session;

/* On seeing a header. */
enum flow_verdict {
	FLOW_FORWARD, /* send it on as it comes, however long */
	FLOW_GATHER,  /* hand it over whole */
	FLOW_SKIP,    /* drop it as it comes, however long */
	FLOW_WAIT,    /* not now: keep it and what follows */
};

/* On having a whole message. */
enum flow_action {
	FLOW_PASS,
	FLOW_DROP,
	FLOW_REPLACE, /* `substitute` goes in its place */
	FLOW_STOP,    /* keep it and what follows */
};

struct flow_rules {
	/*
	 * Two types of which there may be millions, and whether header() would have those of one
	 * forwarded and do nothing else: then it is not asked for each. True as long as none of
	 * another type comes.
	 */
	uint8_t plain[2];
	bool (*is_plain)(const struct session *s, uint8_t type);
	enum flow_verdict (*header)(struct session *s, const struct frame *f);
	enum flow_action (*message)(struct session *s, uint8_t type, struct slice message);
	/* A header that is none. True: forward everything from here unread. False: stop. */
	bool (*malformed)(struct session *s);
};

struct flow {
	const struct flow_rules *rules;
	struct bytes held;	 /* owned: a message not whole, or what waits */
	struct bytes substitute; /* owned: what FLOW_REPLACE sends */
	uint64_t passing;	 /* bytes still to come of a message that is forwarded */
	uint64_t skipping;	 /* the same of one that is dropped */
	size_t wanted;		 /* size of the message that is gathered and not whole; 0 = none */
	atomic_ullong total;	 /* bytes read, ever; others may look */
	bool raw;		 /* forward everything unread */
	bool eager; /* send what passes before a message is handed over: its handler may speak, too
		     */
	bool waiting; /* the last walk ended in WAIT or STOP */
};

void flow_init(struct flow *f, const struct flow_rules *rules, size_t limit);
void flow_release(struct flow *f);

/*
 * Reads `from` once and sends on what may go to `to` (NULL while there is none: everything is
 * held). `buffer` is scratch memory of WORKER_BUFFER bytes. The result is conn_read()'s;
 * CONN_READ_ERROR also when `held` is full.
 */
enum conn_read_result flow_read(
	struct flow *f, struct session *s, struct conn *from, struct conn *to, uint8_t *buffer);
/* Goes on with what is held, after the reason to wait is gone. */
void flow_resume(struct flow *f, struct session *s, struct conn *to);

#endif

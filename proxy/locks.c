#include "locks.h"

#include <string.h>

#include "catalog.h"

#define HELD_MAX (8u * 1024u * 1024u)
#define PG_NAMESPACE 2615u

enum strength {
	READS, /* AccessShare, RowShare: a build does not mind */
	WRITES,
	STRONG, /* keeps others from writing, or from reading */
};

struct held_lock {
	uint32_t relation;
	enum strength strength;
};

enum {
	TYPE,
	MODE,
	RELATION,
	CLASS,
	GRANTED
};

/* A pass over all locks, without the views above them: planning them costs more than that. */
const char locks_sql[] = "SELECT l.locktype, l.mode, l.relation, l.classid, l.granted FROM "
			 "pg_catalog.pg_lock_status() l WHERE l.pid" EQ
			 "pg_catalog.pg_backend_pid() OR NOT l.granted";

void locks_init(struct locks *l)
{
	*l = (struct locks){0};
	bytes_init(&l->held, HELD_MAX);
}

void locks_release(struct locks *l)
{
	bytes_release(&l->held);
}

void locks_clear(struct locks *l)
{
	bytes_clear(&l->held);
	l->object = l->waiting = false;
}

void locks_copy(struct locks *l, const struct locks *from)
{
	locks_clear(l);
	bytes_put_slice(&l->held, bytes_view(&from->held));
	if (bytes_failed(&from->held))
		l->held.failed = true;
	l->object = from->object;
	l->waiting = from->waiting;
}

static enum strength strength_of(struct slice mode)
{
	static const char *const reads[] = {"AccessShareLock", "RowShareLock"};
	static const char *const strong[] = {
		"ShareLock", "ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock"};

	for (size_t i = 0; i < sizeof(reads) / sizeof(reads[0]); i++)
		if (slice_is(mode, reads[i]))
			return READS;
	for (size_t i = 0; i < sizeof(strong) / sizeof(strong[0]); i++)
		if (slice_is(mode, strong[i]))
			return STRONG;
	return WRITES;
}

void locks_note(struct locks *l, const struct slice *values)
{
	struct held_lock lock;

	if (!slice_is(values[GRANTED], "t")) {
		l->waiting = true;
	} else if (slice_is(values[TYPE], "relation")) {
		lock = (struct held_lock){
			slice_number(values[RELATION]), strength_of(values[MODE])};
		bytes_put(&l->held, &lock, sizeof(lock));
	} else if (slice_is(values[TYPE], "object")) {
		l->object = l->object || (slice_is(values[MODE], "AccessExclusiveLock") &&
						 slice_number(values[CLASS]) != PG_NAMESPACE);
	}
}

/* Walks over them. False at the end. */
static bool next(const struct locks *l, size_t *at, struct held_lock *lock)
{
	struct slice held = bytes_view(&l->held);

	if (*at + sizeof(*lock) > held.len)
		return false;
	memcpy(lock, held.data + *at, sizeof(*lock));
	*at += sizeof(*lock);
	return true;
}

bool locks_has(const struct locks *l, uint32_t relation, bool by_writing)
{
	struct held_lock lock;
	size_t at = 0;

	while (next(l, &at, &lock))
		if (lock.relation == relation && !(by_writing && lock.strength == READS))
			return true;
	return bytes_failed(&l->held);
}

bool locks_has_strong(const struct locks *l)
{
	struct held_lock lock;
	size_t at = 0;

	while (next(l, &at, &lock))
		if (lock.strength == STRONG)
			return true;
	return bytes_failed(&l->held);
}

void locks_put_strong(const struct locks *l, struct bytes *out)
{
	struct held_lock lock;
	size_t at = 0;
	bool first = true;

	bytes_put_u8(out, '{');
	while (next(l, &at, &lock)) {
		if (lock.strength != STRONG)
			continue;
		bytes_printf(out, "%s%u", first ? "" : ",", lock.relation);
		first = false;
	}
	bytes_put(out, "}", 2);
	if (bytes_failed(&l->held))
		out->failed = true;
}

#include "placement.h"

enum placement_obstacle placement_policy(const struct placement_facts *f)
{
	if (f->status != 'T')
		return OBSTACLE_NONE;
	if (!f->read_committed)
		return OBSTACLE_ISOLATION;
	if (f->owes)
		return OBSTACLE_ORDER;
	if (f->redefines)
		return OBSTACLE_OBJECT;
	return f->destroys ? OBSTACLE_DESTROYS : OBSTACLE_NONE;
}

enum placement placement_decide(const struct placement_facts *f)
{
	if (f->status == 'I')
		return f->guard && f->visible && f->obstacle == OBSTACLE_NONE ? PLACEMENT_NOW
									      : PLACEMENT_NATIVE;
	if (f->status == 'E' || f->read_only)
		return PLACEMENT_REFUSE;
	if (!f->exists)
		return PLACEMENT_NOW; /* the error, or with IF EXISTS the notice, comes from there
				       */
	if (!f->visible)
		return PLACEMENT_INLINE;
	if (f->obstacle != OBSTACLE_NONE || placement_policy(f) != OBSTACLE_NONE)
		return PLACEMENT_AT_COMMIT;
	return PLACEMENT_NOW;
}

const char *placement_name(enum placement p)
{
	switch (p) {
	case PLACEMENT_NATIVE:
		return "native";
	case PLACEMENT_NOW:
		return "now";
	case PLACEMENT_INLINE:
		return "inline";
	case PLACEMENT_AT_COMMIT:
		return "at_commit";
	case PLACEMENT_REFUSE:
		return "refuse";
	}
	return "";
}

const char *placement_obstacle_text(enum placement_obstacle o)
{
	switch (o) {
	case OBSTACLE_NONE:
		return "is in nobody's way";
	case OBSTACLE_LOCK:
		return "has locked the relation before";
	case OBSTACLE_SNAPSHOT:
		return "holds a snapshot that the statement would wait for";
	case OBSTACLE_CATALOG:
		return "has changed the relation before";
	case OBSTACLE_NAME:
		return "has made, dropped or renamed a relation of that name";
	case OBSTACLE_OBJECT:
		return "has changed objects that the statement may use";
	case OBSTACLE_STRONG_LOCK:
		return "keeps other sessions out of a relation that it has changed or locked";
	case OBSTACLE_THIRD:
		return "is waited for by another session that is in the statement's way";
	case OBSTACLE_ISOLATION:
		return "is REPEATABLE READ or SERIALIZABLE";
	case OBSTACLE_DESTROYS:
		return "could not bring back what the statement destroys";
	case OBSTACLE_ORDER:
		return "owes an earlier statement";
	}
	return "";
}

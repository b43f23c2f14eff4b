/*
 * aside_indexes.c - the indexes of a table, before a statement and after it.
 */
#include <stdlib.h>

#include "aside_state.h"

/* An OID as the server prints it; 0 for NULL. */
uint32_t aside_oid(const char *text)
{
	return text ? (uint32_t)strtoul(text, NULL, 10) : 0;
}

/* Reads "16385:t,16390:f". */
void aside_indexes_read(struct aside *a, const char *list)
{
	const char *at = list ? list : "";

	a->n_before = 0;
	a->too_many = false;
	while (*at) {
		char *end;
		unsigned long oid = strtoul(at, &end, 10);

		if (*end != ':')
			return;
		if (a->n_before == ASIDE_MAX_INDEXES) {
			a->too_many = true;
			return;
		}
		a->before[a->n_before++] =
			(struct aside_index){.oid = (uint32_t)oid, .valid = end[1] == 't'};
		at = end + 2;
		if (*at == ',')
			at++;
	}
}

bool aside_index_was_there(const struct aside *a, uint32_t oid, bool *valid)
{
	for (unsigned i = 0; i < a->n_before; i++) {
		if (a->before[i].oid != oid)
			continue;
		*valid = a->before[i].valid;
		return true;
	}
	return false;
}

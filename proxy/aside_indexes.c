/*
 * aside_indexes.c - the indexes of a table, before a statement and after it.
 */
#include <stdlib.h>

#include "aside_state.h"

/* An OID as the server prints it; 0 for NULL, which comes as "". */
uint32_t aside_oid(const char *text)
{
	return (uint32_t)strtoul(text, NULL, 10);
}

/* Reads "16385:t,16390:f,16400:d": valid, not, and not under a name that INDEX_DROP_PREFIX begins.
 */
void aside_indexes_read(struct aside_job *j, const char *list)
{
	const char *at = list;

	j->n_before = 0;
	j->too_many = false;
	while (*at) {
		char *end;
		unsigned long oid = strtoul(at, &end, 10);

		if (end[0] != ':' || end[1] == '\0')
			return;
		if (j->n_before == ASIDE_MAX_INDEXES) {
			j->too_many = true;
			return;
		}
		j->before[j->n_before++] = (struct aside_index){
			.oid = (uint32_t)oid, .valid = end[1] == 't', .renamed = end[1] == 'd'};
		at = end + 2;
		if (*at == ',')
			at++;
	}
}

bool aside_index_was_there(const struct aside_job *j, uint32_t oid, bool *valid)
{
	for (unsigned i = 0; i < j->n_before; i++) {
		if (j->before[i].oid != oid)
			continue;
		*valid = j->before[i].valid;
		return true;
	}
	return false;
}

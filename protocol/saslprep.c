#include "saslprep.h"

#include <assert.h>
#include <stdlib.h>
#include <stringprep.h>

#define STEPS 32 /* more than the profile has */

/* PostgreSQL looks for what is prohibited before it normalises, and not behind that, as the profile
 * has it. */
static void put_normalisation_last(Stringprep_profile *out, size_t room)
{
	const Stringprep_profile *step = stringprep_saslprep;
	size_t n = 0;

	for (; step->operation && n + 2 < room; step++)
		if (step->operation != STRINGPREP_NFKC)
			out[n++] = *step;
	assert(!step->operation);
	out[n++] = (Stringprep_profile){.operation = STRINGPREP_NFKC};
	out[n] = (Stringprep_profile){.operation = 0};
}

/* In place; false when the profile has something against it. A character becomes eighteen at most,
 * so that libidn never has to ask for more room, which it would do again and again. */
static bool prepare_characters(uint32_t **text, size_t *len)
{
	Stringprep_profile profile[STEPS];
	size_t room = *len * 18 + 1;
	uint32_t *wider = reallocarray(*text, room, sizeof(*wider));

	if (!wider)
		return false;
	*text = wider;
	put_normalisation_last(profile, STEPS);
	return stringprep_4i(wider, len, room, STRINGPREP_NO_UNASSIGNED, profile) == STRINGPREP_OK;
}

/* Zero-terminated and owned; NULL when it is to be taken as it is. */
static char *prepare(struct slice password)
{
	uint32_t *text;
	char *prepared = NULL;
	size_t len;

	if (password.len > SASLPREP_MAX || memchr(password.data, 0, password.len))
		return NULL;
	text = stringprep_utf8_to_ucs4((const char *)password.data, (ssize_t)password.len, &len);
	if (!text)
		return NULL;
	if (prepare_characters(&text, &len))
		prepared = stringprep_ucs4_to_utf8(text, (ssize_t)len, NULL, NULL);
	explicit_bzero(text, len * sizeof(*text));
	free(text);
	return prepared;
}

void saslprep_put(struct bytes *out, struct slice password)
{
	char *prepared = slice_is_ascii(password) ? NULL : prepare(password);

	/* One of soft hyphens alone would become empty. */
	if (prepared && *prepared)
		bytes_put(out, prepared, strlen(prepared));
	else
		bytes_put_slice(out, password);
	if (prepared)
		explicit_bzero(prepared, strlen(prepared));
	free(prepared);
}

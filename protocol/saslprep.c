#include "saslprep.h"

#include <stdlib.h>
#include <stringprep.h>

static bool is_ascii(struct slice text)
{
	for (size_t i = 0; i < text.len; i++)
		if (text.data[i] > 0x7f)
			return false;
	return true;
}

/* NULL when the profile has something against it; owned. */
static char *prepare(struct slice password)
{
	char *copy = strndup((const char *)password.data, password.len);
	char *prepared = NULL;

	if (!copy)
		return NULL;
	if (strlen(copy) != password.len || stringprep_profile(copy, &prepared, "SASLprep",
						    STRINGPREP_NO_UNASSIGNED) != STRINGPREP_OK)
		prepared = NULL;
	explicit_bzero(copy, password.len);
	free(copy);
	return prepared;
}

void saslprep_put(struct bytes *out, struct slice password)
{
	char *prepared = is_ascii(password) ? NULL : prepare(password);

	/* One of soft hyphens alone would become empty. */
	if (prepared && *prepared)
		bytes_put(out, prepared, strlen(prepared));
	else
		bytes_put_slice(out, password);
	if (prepared)
		explicit_bzero(prepared, strlen(prepared));
	free(prepared);
}

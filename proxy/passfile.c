#include "passfile.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* One character of a field, unescaped; moves on. '\0' at the end of the line. */
static char next_char(const char **at, bool *escaped)
{
	*escaped = **at == '\\' && (*at)[1] != '\0' && (*at)[1] != '\n';
	if (*escaped)
		(*at)++;
	if (**at == '\0' || **at == '\n')
		return '\0';
	return *(*at)++;
}

/* Whether the field at `*at` means `value`; moves behind its colon. False also when it has none. */
static bool take_field(const char **at, const char *value)
{
	bool any = strncmp(*at, "*:", 2) == 0, fits = true, escaped;
	char c;

	while ((c = next_char(at, &escaped)) != '\0' && (escaped || c != ':')) {
		fits = fits && *value == c;
		value += *value != '\0';
	}
	return c == ':' && (any || (fits && *value == '\0'));
}

static char *rest_of_line(const char *at)
{
	size_t len = strcspn(at, "\n"), n = 0;
	char *password = malloc(len + 1), c;
	bool escaped;

	if (!password)
		return NULL;
	if (len > 0 && at[len - 1] == '\r')
		len--;
	for (const char *end = at + len; at < end && (c = next_char(&at, &escaped)) != '\0';)
		password[n++] = c;
	password[n] = '\0';
	return password;
}

char *passfile_find(const char *text, const struct passfile_key *key)
{
	while (*text) {
		const char *at = text;

		if (*at != '#' && take_field(&at, key->host) && take_field(&at, key->port) &&
			take_field(&at, key->database) && take_field(&at, key->user))
			return rest_of_line(at);
		text += strcspn(text, "\n");
		text += *text == '\n';
	}
	return NULL;
}

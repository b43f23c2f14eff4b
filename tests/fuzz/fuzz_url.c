/*
 * fuzz_url.c - any text as DATABASE_URL.
 *
 * What is made for the client must be such a URL again: of the private port, with the same user and
 * database. What is made for the upstream must be read by libpq, with the values that were meant.
 */
#include "passfile.h"
#include "url.h"

#include <stdlib.h>

#include <libpq-fe.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char password[] = "p'%/ \\";

static void must(bool ok)
{
	if (!ok)
		abort();
}

static bool same_value(const struct url *a, const struct url *b, enum url_value which)
{
	return strcmp(a->values[which], b->values[which]) == 0;
}

static void check_client(const struct url *u)
{
	struct bytes text;
	struct err e;
	struct url again;

	bytes_init(&text, 1 << 20);
	must(url_write_client(u, 5499, password, &text, &e));
	bytes_put_u8(&text, '\0');
	must(url_parse(&again, (const char *)bytes_view(&text).data, &e));
	must(strcmp(again.values[URL_HOST], "127.0.0.1") == 0);
	must(strcmp(again.values[URL_PORT], "5499") == 0);
	must(same_value(u, &again, URL_USER) && same_value(u, &again, URL_DATABASE));
	must(url_carries_password(u) ? strcmp(again.values[URL_PASSWORD], password) == 0
				     : same_value(u, &again, URL_PASSWORD));
	url_release(&again);
	bytes_release(&text);
}

static void check_option(const PQconninfoOption *o, const char *keyword, const char *want)
{
	if (strcmp(o->keyword, keyword) == 0)
		must(strcmp(o->val ? o->val : "", want) == 0);
}

/* Keywords of a later libpq, which pgaside reads before this one does. */
static bool is_too_new(const char *complaint)
{
	static const char *const keywords[] = {
		"\"require_auth\"", "\"sslcertmode\"", "\"sslnegotiation\""};

	for (size_t i = 0; i < sizeof(keywords) / sizeof(keywords[0]); i++)
		if (strstr(complaint, keywords[i]))
			return true;
	return false;
}

static void check_upstream(const struct url *u)
{
	PQconninfoOption *options;
	char *complaint = NULL;
	struct bytes text;
	struct err e;

	bytes_init(&text, 1 << 20);
	if (url_write_upstream(u, NULL, &text, &e)) {
		bytes_put_u8(&text, '\0');
		options = PQconninfoParse((const char *)bytes_view(&text).data, &complaint);
		must(options || (complaint && is_too_new(complaint)));
		PQfreemem(complaint);
		for (const PQconninfoOption *o = options; o && o->keyword; o++) {
			check_option(o, "host", u->values[URL_HOST]);
			check_option(o, "port", u->values[URL_PORT]);
			check_option(o, "password", u->values[URL_PASSWORD]);
			check_option(o, "dbname", u->values[URL_DATABASE]);
		}
		PQconninfoFree(options);
	}
	bytes_release(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct passfile_key key = {"h", "5432", "db", "u"};
	char *text = strndup((const char *)data, size);
	struct url u = {0};
	struct err e;

	must(text != NULL);
	/* Longer ones may be refused for their length alone. */
	if (strlen(text) < 10000 && url_parse(&u, text, &e)) {
		check_client(&u);
		check_upstream(&u);
	}
	url_release(&u);
	free(passfile_find(text, &key));
	free(text);
	return 0;
}

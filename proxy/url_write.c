/*
 * url_write.c - the two texts that are made from a connection URL.
 */
#include <ctype.h>
#include <stdlib.h>
#include <strings.h>

#include "url.h"
#include "url_params.h"

enum param_use {
	PARAM_KEEP,
	PARAM_DROP,
	PARAM_SSL, /* asks for TLS or for none: sslmode=disable stands in its place */
	PARAM_PASSWORD
};

static bool out_of_memory(struct err *e)
{
	return err_set(e, "53200", "cannot be rewritten: out of memory");
}

static void put_text(struct bytes *out, const char *text)
{
	bytes_put(out, text, strlen(text));
}

static bool is_one_of(const char *folded, const char *const *names, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(folded, names[i]) == 0)
			return true;
	return false;
}

static enum param_use use_of(const struct url_param *p)
{
	static const char *const ssl[] = {"sslmode", "ssl", "sslaccept", "requiressl"};
	static const char *const drop[] = {"host", "port", "hostaddr", "channelbinding",
		"requireauth", "gssencmode", "targetsessionattrs", "targetservertype",
		"loadbalancehosts", "service"};

	if (is_one_of(p->folded, ssl, sizeof(ssl) / sizeof(ssl[0])))
		return PARAM_SSL;
	if (strncmp(p->folded, "ssl", 3) == 0 ||
		is_one_of(p->folded, drop, sizeof(drop) / sizeof(drop[0])))
		return PARAM_DROP;
	return strcmp(p->folded, "password") == 0 ? PARAM_PASSWORD : PARAM_KEEP;
}

static void put_percent_encoded(struct bytes *out, const char *text)
{
	for (; *text; text++) {
		if (isalnum((unsigned char)*text) || strchr("-._~", *text))
			bytes_put_u8(out, (uint8_t)*text);
		else
			bytes_printf(out, "%%%02X", (unsigned)(unsigned char)*text);
	}
}

static void put_quoted(struct bytes *out, const char *text)
{
	bytes_put_u8(out, '\'');
	for (; *text; text++) {
		if (*text == '\'' || *text == '\\')
			bytes_put_u8(out, '\\');
		bytes_put_u8(out, (uint8_t)*text);
	}
	bytes_put_u8(out, '\'');
}

static void put_value(const struct url *u, struct bytes *out, const char *text)
{
	if (u->form == URL_KEYWORDS)
		put_quoted(out, text);
	else
		put_percent_encoded(out, text);
}

/* sslmode=disable under the name that the driver knows. */
static void put_no_tls(const struct url *u, const struct url_param *p, struct bytes *out)
{
	bool asyncpg = u->head.len > 0 && memmem(u->head.data, u->head.len, "+asyncpg", 8);

	if (strcmp(p->folded, "sslmode") == 0 || (asyncpg && strcmp(p->folded, "ssl") == 0)) {
		bytes_put_slice(out, p->key);
		put_text(out, "=disable");
	} else if (u->head.len > 0 && u->head.data[0] == 'r') {
		put_text(out, "sslMode=disable");
	} else {
		put_text(out, "sslmode=disable");
	}
}

/* State of the walk over a query that is written anew. */
struct rewrite {
	const struct url *url;
	const char *password; /* to be put in, NULL = none */
	struct bytes *out;
	bool first;
	bool tls_said, password_said;
	char mark, separator;
};

static void separate(struct rewrite *r)
{
	if (!r->first)
		bytes_put_u8(r->out, (uint8_t)r->separator);
	else if (r->mark)
		bytes_put_u8(r->out, (uint8_t)r->mark);
	r->first = false;
}

static void put_password(struct rewrite *r, struct slice key)
{
	separate(r);
	bytes_put_slice(r->out, key);
	bytes_put_u8(r->out, '=');
	put_value(r->url, r->out, r->password);
	r->password_said = true;
}

static void put_param(struct rewrite *r, const struct url_param *p)
{
	switch (use_of(p)) {
	case PARAM_DROP:
		return;
	case PARAM_SSL:
		if (r->tls_said)
			return;
		r->tls_said = true;
		separate(r);
		put_no_tls(r->url, p, r->out);
		return;
	case PARAM_PASSWORD:
		if (!r->password)
			break;
		/* The last one would count. */
		if (!r->password_said)
			put_password(r, p->key);
		return;
	case PARAM_KEEP:
		break;
	}
	separate(r);
	bytes_put_slice(r->out, p->raw);
	/* Behind a bare "key =" the next word would be the value. */
	if (r->url->form == URL_KEYWORDS && p->value.len == 0)
		put_text(r->out, "''");
}

static void put_params(struct rewrite *r)
{
	struct slice rest = r->url->query;
	struct url_param p;

	while (url_next_param(r->url->form, &rest, &p))
		put_param(r, &p);
	if (r->password && !r->password_said)
		put_password(r, slice_str("password"));
}

static bool has_param(const struct url *u, const char *folded)
{
	struct slice rest = u->query;
	struct url_param p;

	while (url_next_param(u->form, &rest, &p))
		if (strcmp(p.folded, folded) == 0)
			return true;
	return false;
}

/* The user and, if it belongs here, the new password. */
static void put_userinfo(struct rewrite *r)
{
	struct slice info = r->url->userinfo;
	const uint8_t *colon = info.len > 0 ? memchr(info.data, ':', info.len) : NULL;
	struct slice user = colon ? slice_of(info.data, (size_t)(colon - info.data)) : info;

	if (info.len == 0)
		return;
	if (r->password && user.len > 0 && r->url->form == URL_PLAIN &&
		!has_param(r->url, "password")) {
		bytes_put_slice(r->out, user);
		bytes_put_u8(r->out, ':');
		put_percent_encoded(r->out, r->password);
		r->password_said = true;
	} else {
		bytes_put_slice(r->out, info);
	}
	bytes_put_u8(r->out, '@');
}

bool url_write_client(
	const struct url *u, uint16_t port, const char *password, struct bytes *out, struct err *e)
{
	struct rewrite r = {.url = u, .out = out, .first = true, .mark = '?', .separator = '&'};

	if (password && url_carries_password(u))
		r.password = password;
	if (u->form == URL_KEYWORDS) {
		r.mark = ' ';
		r.separator = ' ';
		bytes_printf(out, "host=127.0.0.1 port=%u", (unsigned)port);
		put_params(&r);
		return !bytes_failed(out) || out_of_memory(e);
	}
	bytes_put_slice(out, u->head);
	if (u->head.data[u->head.len - 1] != '/')
		put_text(out, "//");
	put_userinfo(&r);
	bytes_printf(out, "127.0.0.1:%u", (unsigned)port);
	/* Older versions of pgjdbc want the slash. */
	if (u->form == URL_JDBC && (u->path.len == 0 || u->path.data[0] != '/'))
		bytes_put_u8(out, '/');
	bytes_put_slice(out, u->path);
	put_params(&r);
	bytes_put_slice(out, u->fragment);
	return !bytes_failed(out) || out_of_memory(e);
}

/* What the upstream's string may have, as far as it can be copied. What belongs into the
 * StartupMessage is not here: the client says that itself. */
static const struct {
	const char *key, *folded;
	const char *variable; /* NULL = libpq has none */
} upstream_keys[] = {
	{"hostaddr", "hostaddr", NULL},
	{"connect_timeout", "connecttimeout", "PGCONNECT_TIMEOUT"},
	{"passfile", "passfile", "PGPASSFILE"},
	{"target_session_attrs", "targetsessionattrs", "PGTARGETSESSIONATTRS"},
	{"sslrootcert", "sslrootcert", "PGSSLROOTCERT"},
	{"sslcert", "sslcert", "PGSSLCERT"},
	{"sslkey", "sslkey", "PGSSLKEY"},
	{"sslcertmode", "sslcertmode", "PGSSLCERTMODE"},
	{"sslpassword", "sslpassword", NULL},
	{"sslcrl", "sslcrl", "PGSSLCRL"},
	{"sslcrldir", "sslcrldir", "PGSSLCRLDIR"},
	{"sslsni", "sslsni", "PGSSLSNI"},
	{"sslnegotiation", "sslnegotiation", "PGSSLNEGOTIATION"},
	{"ssl_min_protocol_version", "sslminprotocolversion", "PGSSLMINPROTOCOLVERSION"},
	{"ssl_max_protocol_version", "sslmaxprotocolversion", "PGSSLMAXPROTOCOLVERSION"},
	{"requirepeer", "requirepeer", "PGREQUIREPEER"},
	{"channel_binding", "channelbinding", "PGCHANNELBINDING"},
	{"require_auth", "requireauth", "PGREQUIREAUTH"},
	{"gssencmode", "gssencmode", "PGGSSENCMODE"},
	{"krbsrvname", "krbsrvname", "PGKRBSRVNAME"},
	{"gsslib", "gsslib", "PGGSSLIB"},
	{"keepalives", "keepalives", NULL},
	{"keepalives_idle", "keepalivesidle", NULL},
	{"keepalives_interval", "keepalivesinterval", NULL},
	{"keepalives_count", "keepalivescount", NULL},
	{"tcp_user_timeout", "tcpusertimeout", NULL},
};

static const char *variable_value(char *const *environment, const char *name)
{
	size_t len = strlen(name);

	for (; environment && *environment; environment++)
		if (strncmp(*environment, name, len) == 0 && (*environment)[len] == '=')
			return *environment + len + 1;
	return "";
}

static void put_setting(struct bytes *out, const char *key, const char *value)
{
	if (!*value)
		return;
	if (bytes_length(out) > 0)
		bytes_put_u8(out, ' ');
	put_text(out, key);
	bytes_put_u8(out, '=');
	put_quoted(out, value);
}

static const char *first_of(const char *value, const char *otherwise)
{
	return *value ? value : otherwise;
}

/* It may say more than the server's name: how to be sure of it. */
static bool names_a_service(struct err *e)
{
	return err_set(e, "F0000",
		"goes with a service (PGSERVICE), which is not read, and may say more about the "
		"way "
		"to the server: put that into the URL, and unset PGSERVICE");
}

static bool put_server(
	const struct url *u, char *const *environment, struct bytes *out, struct err *e)
{
	const char *host = u->values[URL_HOST];

	if (has_param(u, "service") || *variable_value(environment, "PGSERVICE"))
		return names_a_service(e);
	if (!*host && !has_param(u, "hostaddr")) {
		host = variable_value(environment, "PGHOST");
		put_setting(out, "host", host);
		put_setting(out, "hostaddr", variable_value(environment, "PGHOSTADDR"));
	} else {
		put_setting(out, "host", host);
	}
	put_setting(
		out, "port", first_of(u->values[URL_PORT], variable_value(environment, "PGPORT")));
	put_setting(out, "user", u->values[URL_USER]);
	put_setting(out, "password", u->values[URL_PASSWORD]);
	put_setting(out, "dbname", u->values[URL_DATABASE]);
	return true;
}

/* PGSSLMODE, or what libpq's old variable says. */
static const char *environment_sslmode(char *const *environment)
{
	const char *sslmode = variable_value(environment, "PGSSLMODE");

	if (!*sslmode && variable_value(environment, "PGREQUIRESSL")[0] == '1')
		return "require";
	return sslmode;
}

/* libpq's old word for sslmode=require. */
static bool requires_ssl(const struct url *u)
{
	char *value = url_param_value(u, "requiressl");
	bool yes = value && value[0] == '1';

	free(value);
	return yes;
}

static bool put_sslmode(
	const struct url *u, char *const *environment, struct bytes *out, struct err *e)
{
	const char *variable = environment_sslmode(environment);
	const char *sslmode;

	if (!url_sslmode(u, &sslmode, e))
		return false;
	if (!*sslmode && requires_ssl(u))
		sslmode = "require";
	if (!*sslmode && *variable) {
		sslmode = url_sslmode_named(variable);
		if (!sslmode)
			return err_set(e, "F0000", "goes with a PGSSLMODE that is not known");
	}
	put_setting(out, "sslmode", sslmode);
	return true;
}

/* A word for TLS that is misspelt must not be lost: it might be the one that makes it safe. */
static bool check_tls_keys(const struct url *u, struct err *e)
{
	static const char *const known[] = {"ssl", "sslmode", "sslaccept", "sslfactory",
		"sslfactoryarg", "sslhostnameverifier", "sslpasswordcallback", "sslresponsetimeout",
		"sslcompression", "sslinline", "sslkeylogfile"};
	struct slice rest = u->query;
	struct url_param p;

	while (url_next_param(u->form, &rest, &p)) {
		bool ok = strncmp(p.folded, "ssl", 3) != 0 ||
			  is_one_of(p.folded, known, sizeof(known) / sizeof(known[0]));

		if (strcmp(p.folded, "sslidentity") == 0)
			return err_set(e, "F0000",
				"has sslidentity, which libpq cannot read: name the server with "
				"--upstream, sslcert and sslkey");
		for (size_t i = 0; !ok && i < sizeof(upstream_keys) / sizeof(upstream_keys[0]); i++)
			ok = strcmp(p.folded, upstream_keys[i].folded) == 0;
		if (!ok)
			return err_set(
				e, "F0000", "has a TLS parameter that is not known: %s", p.folded);
	}
	return true;
}

/* The folded name under which the URL has what libpq calls `key`. Prisma's sslcert is the
 * certificate of the server's authority. */
static const char *name_in_url(const struct url *u, const char *folded)
{
	if (has_param(u, "sslaccept")) {
		if (strcmp(folded, "sslrootcert") == 0)
			return "sslcert";
		if (strcmp(folded, "sslcert") == 0)
			return "";
	}
	return folded;
}

static const char *translated(const char *folded, const char *value)
{
	/* Others count in other units and write them down. */
	if (strcmp(folded, "connecttimeout") == 0 && value[strspn(value, "0123456789")])
		return "";
	return value;
}

static void put_known(const struct url *u, char *const *environment, struct bytes *out)
{
	for (size_t i = 0; i < sizeof(upstream_keys) / sizeof(upstream_keys[0]); i++) {
		const char *folded = upstream_keys[i].folded;
		char *value = url_param_value(u, name_in_url(u, folded));

		if (value)
			put_setting(out, upstream_keys[i].key, translated(folded, value));
		else if (upstream_keys[i].variable)
			put_setting(out, upstream_keys[i].key,
				variable_value(environment, upstream_keys[i].variable));
		free(value);
	}
}

/* JDBC's word for a standby. Who wants one is refused by whoever reads this; who wants none finds
 * out by the first statement. */
static void put_server_type(const struct url *u, struct bytes *out)
{
	char *type = url_param_value(u, "targetservertype");

	if (type && (strcasecmp(type, "secondary") == 0 || strcasecmp(type, "slave") == 0))
		put_setting(out, "target_session_attrs", type);
	free(type);
}

bool url_write_upstream(
	const struct url *u, char *const *environment, struct bytes *out, struct err *e)
{
	if (!check_tls_keys(u, e) || !put_server(u, environment, out, e) ||
		!put_sslmode(u, environment, out, e))
		return false;
	put_known(u, environment, out);
	put_server_type(u, out);
	return !bytes_failed(out) || out_of_memory(e);
}

static bool has_keyword(const char *keywords, const char *key)
{
	struct slice rest = slice_str(keywords);
	struct url_param p;

	while (url_next_param(URL_KEYWORDS, &rest, &p))
		if (slice_is(p.key, key))
			return true;
	return false;
}

/* What libpq would take from the environment, where the string does not have it. */
static bool complete_keywords(
	const char *text, char *const *environment, struct bytes *out, struct err *e)
{
	static const char *const places[][2] = {
		{"host", "PGHOST"}, {"hostaddr", "PGHOSTADDR"}, {"port", "PGPORT"}};
	bool named = has_keyword(text, "host") || has_keyword(text, "hostaddr");

	if (has_keyword(text, "service") || *variable_value(environment, "PGSERVICE"))
		return names_a_service(e);
	put_text(out, text);
	for (size_t i = named ? 2 : 0; i < sizeof(places) / sizeof(places[0]); i++)
		if (!has_keyword(text, places[i][0]))
			put_setting(out, places[i][0], variable_value(environment, places[i][1]));
	if (!has_keyword(text, "sslmode") && !has_keyword(text, "requiressl"))
		put_setting(out, "sslmode", environment_sslmode(environment));
	for (size_t i = 0; i < sizeof(upstream_keys) / sizeof(upstream_keys[0]); i++)
		if (upstream_keys[i].variable && !has_keyword(text, upstream_keys[i].key))
			put_setting(out, upstream_keys[i].key,
				variable_value(environment, upstream_keys[i].variable));
	return !bytes_failed(out) || out_of_memory(e);
}

static bool put_upstream(const struct url *u, const char *text, char *const *environment,
	struct bytes *out, struct err *e)
{
	return u->form == URL_KEYWORDS ? complete_keywords(text, environment, out, e)
				       : url_write_upstream(u, environment, out, e);
}

char *url_to_upstream(const char *text, char *const *environment, struct err *e)
{
	char *upstream = NULL;
	struct bytes out;
	struct url u;

	bytes_init(&out, URL_TEXT_LIMIT);
	if (url_parse(&u, text, e) && put_upstream(&u, text, environment, &out, e)) {
		upstream = url_take_text(&out);
		if (!upstream)
			out_of_memory(e);
	}
	bytes_wipe(&out);
	url_release(&u);
	return upstream;
}

char *url_add_identity(const char *keywords, char *const *environment)
{
	static const struct {
		const char *key, *variable;
	} parts[] = {{"user", "PGUSER"}, {"password", "PGPASSWORD"}, {"passfile", "PGPASSFILE"}};
	struct bytes out;

	bytes_init(&out, URL_TEXT_LIMIT);
	put_text(&out, keywords);
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		if (!has_keyword(keywords, parts[i].key))
			put_setting(
				&out, parts[i].key, variable_value(environment, parts[i].variable));
	return url_take_text(&out);
}

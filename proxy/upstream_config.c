/*
 * upstream_config.c - a libpq connection string becomes a struct upstream.
 *
 * What is not said has libpq's default: the local socket directory, port 5432, sslmode=prefer. As
 * with libpq, lists of hosts, addresses and ports go together by place, and one port serves for
 * all.
 */
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pq.h"
#include "upstream.h"
#include "url.h"

#define DEFAULT_HOST "/var/run/postgresql"
#define DEFAULT_PORT "5432"

struct reading {
	struct upstream *upstream;
	char *hosts, *addresses, *ports; /* owned, comma separated; NULL = not given */
};

static bool set(char **place, const char *value, struct err *e)
{
	char *copy = strdup(value);

	if (!copy)
		return err_set(e, "53200", "out of memory");
	free(*place);
	*place = copy;
	return true;
}

static bool set_mode(struct upstream *u, const char *value, struct err *e)
{
	static const struct {
		const char *name;
		enum tls_mode mode;
	} modes[] = {
		{"disable", TLS_DISABLE},
		{"allow", TLS_PREFER},
		{"prefer", TLS_PREFER},
		{"require", TLS_REQUIRE},
		{"verify-ca", TLS_VERIFY_CA},
		{"verify-full", TLS_VERIFY_FULL},
	};

	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		if (strcmp(modes[i].name, value) != 0)
			continue;
		u->tls_mode = modes[i].mode;
		return set(&u->sslmode, value, e);
	}
	return err_set(e, "08001",
		"sslmode \"%s\" is none of disable, allow, prefer, require, verify-ca, verify-full",
		value);
}

/* What forbids something, and would not be heeded. Other parameters that are not ours change
 * nothing here. */
static bool is_unsupported(const char *keyword, const char *value)
{
	static const struct {
		const char *keyword;
		const char *harmless; /* separated by blanks */
	} list[] = {
		{"gssencmode", "disable prefer"},
		{"require_auth", ""},
		{"requirepeer", ""},
		{"sslcertmode", "allow"},
		{"sslcrldir", ""},
		{"ssl_max_protocol_version", ""},
		{"ssl_min_protocol_version", "TLSv1 TLSv1.1 TLSv1.2"},
		{"target_session_attrs", "any"},
	};

	for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++)
		if (strcmp(list[i].keyword, keyword) == 0)
			return value[0] && !strstr(list[i].harmless, value);
	return false;
}

static bool take(void *arg, const char *keyword, const char *value, struct err *e)
{
	struct reading *r = arg;
	struct upstream *u = r->upstream;
	const struct {
		const char *name;
		char **place;
	} strings[] = {
		{"host", &r->hosts},
		{"hostaddr", &r->addresses},
		{"port", &r->ports},
		{"sslrootcert", &u->sslrootcert},
		{"sslcert", &u->sslcert},
		{"sslkey", &u->sslkey},
		{"sslcrl", &u->sslcrl},
		{"sslpassword", &u->sslpassword},
		{"channel_binding", &u->channel_binding},
		{"user", &u->user},
		{"password", &u->password},
		{"passfile", &u->passfile},
		{"dbname", &u->dbname},
	};

	if (strcmp(keyword, "sslmode") == 0)
		return set_mode(u, value, e);
	if (is_unsupported(keyword, value))
		return err_set(e, "08001",
			"%s=%s is not supported, and leaving it out would be less safe than asked "
			"for",
			keyword, value);
	for (size_t i = 0; i < sizeof(strings) / sizeof(strings[0]); i++)
		if (strcmp(strings[i].name, keyword) == 0)
			return set(strings[i].place, value, e);
	return true;
}

/* The next of a comma separated list; false behind the last. An empty list has one empty item. */
static bool next_item(const char **list, struct slice *item)
{
	size_t len;

	if (!*list)
		return false;
	len = strcspn(*list, ",");
	*item = slice_of(*list, len);
	*list = (*list)[len] ? *list + len + 1 : NULL;
	return true;
}

static char *or_default(struct slice s, const char *otherwise)
{
	return s.len > 0 ? strndup((const char *)s.data, s.len) : strdup(otherwise);
}

static bool add_host(struct upstream *u, struct slice host, struct slice address, struct slice port,
	struct err *e)
{
	struct upstream_host *h = &u->hosts[u->n_hosts];
	long number;

	if (u->n_hosts == UPSTREAM_HOSTS)
		return err_set(e, "08001", "more than %d hosts", UPSTREAM_HOSTS);
	u->n_hosts++;
	h->host = or_default(host.len > 0 ? host : address, DEFAULT_HOST);
	h->target = or_default(address, h->host ? h->host : "");
	h->port = or_default(port, DEFAULT_PORT);
	if (!h->host || !h->target || !h->port)
		return err_set(e, "53200", "out of memory");
	number = strtol(h->port, NULL, 10);
	if (strspn(h->port, "0123456789") != strlen(h->port) || number < 1 || number > 65535)
		return err_set(e, "08001", "\"%s\" is no port", h->port);
	return true;
}

static bool add_hosts(struct reading *r, struct err *e)
{
	struct slice host = {0}, address = {0}, port = {0};
	const char *hosts = r->hosts ? r->hosts : (r->addresses ? NULL : "");
	const char *addresses = r->addresses;
	const char *ports = r->ports;

	for (;;) {
		bool has_host = next_item(&hosts, &host);
		bool has_address = next_item(&addresses, &address);

		next_item(&ports, &port); /* the last one serves for the rest */
		if (!has_host && !has_address)
			return true;
		if (!add_host(r->upstream, has_host ? host : slice_of(NULL, 0),
			    has_address ? address : slice_of(NULL, 0), port, e))
			return false;
	}
}

#define STRINGS 11

static void list_strings(struct upstream *u, char **list[STRINGS])
{
	char **const strings[STRINGS] = {&u->sslmode, &u->sslrootcert, &u->sslcert, &u->sslkey,
		&u->sslcrl, &u->sslpassword, &u->channel_binding, &u->user, &u->password,
		&u->passfile, &u->dbname};

	memcpy(list, strings, sizeof(strings));
}

static bool set_defaults(struct upstream *u, struct err *e)
{
	char **list[STRINGS];

	memset(u, 0, sizeof(*u));
	u->tls_mode = TLS_PREFER;
	list_strings(u, list);
	for (size_t i = 0; i < STRINGS; i++)
		if (!set(list[i], "", e))
			return false;
	return true;
}

static bool set_negotiation(struct upstream *u, const char *value, struct err *e)
{
	u->direct_tls = strcmp(value, "direct") == 0;
	return u->direct_tls || strcmp(value, "postgres") == 0 ||
	       err_set(e, "08001", "sslnegotiation \"%s\" is none of postgres, direct", value);
}

/* As sslnegotiation, these are unknown to an older libpq. */
static bool take_unknown(struct reading *r, char *text, struct err *e)
{
	static const char *const keywords[] = {"require_auth", "sslcertmode"};
	bool ok = true;

	for (size_t i = 0; ok && i < sizeof(keywords) / sizeof(keywords[0]); i++) {
		char *value = url_take_keyword(text, keywords[i]);

		ok = !value || take(r, keywords[i], value, e);
		free(value);
	}
	return ok;
}

static bool parse(struct reading *r, const char *conninfo, struct err *e)
{
	char *text = strdup(conninfo);
	char *negotiation;
	bool ok;

	if (!text)
		return err_set(e, "53200", "out of memory");
	negotiation = url_take_keyword(text, "sslnegotiation");
	ok = (!negotiation || set_negotiation(r->upstream, negotiation, e)) &&
	     take_unknown(r, text, e) && pq_parse_conninfo(text, take, r, e);
	free(negotiation);
	explicit_bzero(text, strlen(text));
	free(text);
	return ok;
}

/* As libpq: who gives no answer to a question that was not asked must not be taken for one without
 * TLS. */
static bool check_negotiation(const struct upstream *u, struct err *e)
{
	return !u->direct_tls || u->tls_mode >= TLS_REQUIRE ||
	       err_set(e, "08001",
		       "sslnegotiation=direct needs sslmode=require, verify-ca or verify-full");
}

/*
 * As libpq since version 16: who trusts everybody that the system trusts must at least know the
 * name. An older libpq, which runs the asides, would look for a file of that name.
 */
static bool check_system_roots(struct upstream *u, bool mode_said, struct err *e)
{
	if (strcmp(u->sslrootcert, "system") != 0)
		return true;
	if (!pq_knows_system_roots())
		return err_set(e, "08001",
			"sslrootcert=system needs libpq 16: name the file, such as "
			"/etc/ssl/certs/ca-certificates.crt, and sslmode=verify-full");
	if (!mode_said)
		return set_mode(u, "verify-full", e);
	return u->tls_mode == TLS_VERIFY_FULL ||
	       err_set(e, "08001", "sslrootcert=system needs sslmode=verify-full");
}

static bool check_binding(const struct upstream *u, struct err *e)
{
	static const char *const words[] = {"", "disable", "prefer", "require"};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strcmp(words[i], u->channel_binding) == 0)
			return true;
	return err_set(e, "08001", "channel_binding \"%s\" is none of disable, prefer, require",
		u->channel_binding);
}

/* What is not named, and is there: libpq's own files in the user's directory. */
static bool find_file(char **place, const char *home, const char *name, struct err *e)
{
	char *path;
	bool ok = true;

	if (**place)
		return true;
	if (asprintf(&path, "%s/.postgresql/%s", home, name) < 0)
		return err_set(e, "53200", "out of memory");
	if (access(path, F_OK) == 0)
		ok = set(place, path, e);
	free(path);
	return ok;
}

static bool find_files(struct upstream *u, struct err *e)
{
	const char *home = getenv("HOME");
	const struct passwd *user = home && *home ? NULL : getpwuid(geteuid());

	if (user)
		home = user->pw_dir;
	if (!home || !*home)
		return true;
	return find_file(&u->sslrootcert, home, "root.crt", e) &&
	       (!u->sslrootcert[0] || find_file(&u->sslcrl, home, "root.crl", e)) &&
	       find_file(&u->sslcert, home, "postgresql.crt", e) &&
	       (!u->sslcert[0] || find_file(&u->sslkey, home, "postgresql.key", e));
}

static bool prepare_tls(struct upstream *u, struct err *e)
{
	struct tls_files files;

	if (u->tls_mode == TLS_DISABLE)
		return true;
	if (!find_files(u, e))
		return false;
	files = (struct tls_files){.rootcert = u->sslrootcert,
		.cert = u->sslcert,
		.key = u->sslkey,
		.crl = u->sslcrl,
		.password = u->sslpassword};
	u->tls = tls_client_context(u->tls_mode, &files, e);
	return u->tls != NULL;
}

bool upstream_init(struct upstream *u, const char *conninfo, struct err *e)
{
	struct reading r = {.upstream = u};
	bool ok = set_defaults(u, e) && parse(&r, conninfo, e) && add_hosts(&r, e) &&
		  check_system_roots(u, u->sslmode[0], e) && check_negotiation(u, e) &&
		  check_binding(u, e) && prepare_tls(u, e);

	free(r.hosts);
	free(r.addresses);
	free(r.ports);
	if (!ok)
		upstream_release(u);
	return ok;
}

void upstream_release(struct upstream *u)
{
	char **list[STRINGS];

	list_strings(u, list);
	for (size_t i = 0; i < STRINGS; i++) {
		if (*list[i])
			explicit_bzero(*list[i], strlen(*list[i]));
		free(*list[i]);
	}
	for (unsigned i = 0; i < u->n_hosts; i++) {
		free(u->hosts[i].host);
		free(u->hosts[i].target);
		free(u->hosts[i].port);
	}
	tls_context_free(u->tls);
	memset(u, 0, sizeof(*u));
}

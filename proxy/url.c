#include "url.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "url_params.h"

static const char bad_url[] = "F0000";
static const char default_port[] = "5432";

enum {
	MAX_SCHEME_SHOWN = 30
};

/* The list of servers while it is read. */
struct host_list {
	struct bytes hosts, ports; /* comma separated */
	unsigned n;
	bool any_host, any_port;
};

static size_t span_until(struct slice s, const char *stops)
{
	size_t n = 0;

	while (n < s.len && !strchr(stops, s.data[n]))
		n++;
	return n;
}

static struct slice from(struct slice s, size_t start)
{
	return slice_of(s.data + start, s.len - start);
}

static struct slice upto(struct slice s, size_t end)
{
	return slice_of(s.data, end);
}

static bool is_number(struct slice s)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.data[i] < '0' || s.data[i] > '9')
			return false;
	return s.len > 0;
}

static bool has_prefix(struct slice s, const char *prefix)
{
	size_t len = strlen(prefix);

	return s.len >= len && memcmp(s.data, prefix, len) == 0;
}

static bool is_postgres(struct slice scheme)
{
	static const char *const names[] = {
		"postgresql", "postgres", "postgis", "pgsql", "psql", "pg"};
	struct slice base = upto(scheme, span_until(scheme, "+"));

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (slice_is(base, names[i]))
			return true;
	return false;
}

static size_t scheme_length(struct slice s)
{
	size_t n = 0;

	while (n < s.len && strchr("abcdefghijklmnopqrstuvwxyz0123456789+-.", s.data[n]))
		n++;
	return n < s.len && s.data[n] == ':' ? n : 0;
}

static bool is_keyword_string(struct slice s)
{
	size_t key = 0;

	while (key < s.len && strchr("abcdefghijklmnopqrstuvwxyz_", s.data[key]))
		key++;
	return key > 0 && key < s.len && (s.data[key] == '=' || s.data[key] == ' ');
}

/* Finds form and head; `rest` becomes what follows. */
static bool read_head(struct url *u, struct slice *rest, struct err *e)
{
	struct slice all = *rest, scheme;
	size_t start = has_prefix(all, "jdbc:") ? 5 : has_prefix(all, "r2dbc:") ? 6 : 0;
	size_t len = scheme_length(from(all, start)), end;

	scheme = upto(from(all, start), len);
	u->form = start > 0 ? URL_JDBC : URL_PLAIN;
	if (len == 0 && start == 0 && is_keyword_string(all)) {
		u->form = URL_KEYWORDS;
		return true;
	}
	end = start + len + 1;
	if (len > 0 && !is_postgres(scheme) && has_prefix(from(all, end), "//"))
		return err_set(e, bad_url, "is not a PostgreSQL URL: its scheme is \"%.*s\"",
			(int)(len < MAX_SCHEME_SHOWN ? len : MAX_SCHEME_SHOWN),
			(const char *)scheme.data);
	if (len == 0 || !is_postgres(scheme) ||
		(u->form == URL_PLAIN && !has_prefix(from(all, end), "//")))
		return err_set(e, bad_url, "is not a PostgreSQL URL");
	if (has_prefix(from(all, end), "//"))
		end += 2;
	u->head = upto(all, end);
	*rest = from(all, end);
	return true;
}

/*
 * Where the authority ends: before a '/', '?' or '#'. libpq looks for '@' first, so that a password
 * may have the last two in it; that reading is taken when there is no other, because what stands
 * there would not be a port.
 */
static size_t authority_length(struct slice s)
{
	size_t end = span_until(s, "/?#");
	size_t slash = span_until(s, "/");
	size_t colon = span_until(upto(s, end), ":");
	size_t at = span_until(s, "@");

	if (at < end || at >= slash || colon == end || s.data[0] == '[' ||
		is_number(slice_of(s.data + colon + 1, end - colon - 1)))
		return end;
	return at + span_until(from(s, at), "/?#");
}

static bool add_host(struct host_list *l, struct slice host, struct slice port, struct err *e)
{
	if (port.len > 0 && !is_number(port))
		return err_set(e, bad_url,
			"has a port that is not a number (in a password, '/', '?', '#' and '@' are "
			"written %%2F, %%3F, %%23, %%40)");
	if (l->n++ > 0) {
		bytes_put_u8(&l->hosts, ',');
		bytes_put_u8(&l->ports, ',');
	}
	l->any_host |= host.len > 0;
	l->any_port |= port.len > 0;
	if (!url_decode_value(URL_PLAIN, host, &l->hosts))
		return err_set(e, bad_url, "has a zero byte in its host");
	bytes_put_slice(&l->ports, port.len > 0 ? port : slice_str(default_port));
	return true;
}

/* host, host:port, [::1]:port */
static bool add_authority_host(struct host_list *l, struct slice item, struct err *e)
{
	size_t colon = span_until(item, ":");
	struct slice host = upto(item, colon), port = {0};

	if (has_prefix(item, "[")) {
		size_t close = span_until(item, "]");

		if (close == item.len || (close + 1 < item.len && item.data[close + 1] != ':'))
			return err_set(e, bad_url, "has a broken IPv6 address");
		host = slice_of(item.data + 1, close - 1);
		colon = close + 1;
	}
	if (colon < item.len)
		port = from(item, colon + 1);
	return add_host(l, host, port, e);
}

/* In a query, host=::1 is an address, host=/run a directory, and host=name:5432 SQLAlchemy's. */
static bool add_query_host(struct host_list *l, struct slice item, struct err *e)
{
	size_t colon = span_until(item, ":");
	struct slice port = from(item, colon + (colon < item.len));

	if (!has_prefix(item, "/") && colon < item.len && is_number(port))
		return add_host(l, upto(item, colon), port, e);
	return add_host(l, item, slice_of(NULL, 0), e);
}

static bool add_hosts(struct host_list *l, struct slice list,
	bool (*add)(struct host_list *, struct slice, struct err *), struct err *e)
{
	for (;;) {
		size_t comma = span_until(list, ",");

		if (!add(l, upto(list, comma), e))
			return false;
		if (comma == list.len)
			return true;
		list = from(list, comma + 1);
	}
}

static void list_init(struct host_list *l)
{
	*l = (struct host_list){0};
	bytes_init(&l->hosts, URL_TEXT_LIMIT);
	bytes_init(&l->ports, URL_TEXT_LIMIT);
}

static void list_release(struct host_list *l)
{
	bytes_release(&l->hosts);
	bytes_release(&l->ports);
}

static bool set_value(struct url *u, enum url_value which, struct bytes *text, struct err *e)
{
	char *value = url_take_text(text);

	if (!value)
		return err_set(e, bad_url, "is too long, or there is no memory");
	if (u->values[which])
		explicit_bzero(u->values[which], strlen(u->values[which]));
	free(u->values[which]);
	u->values[which] = value;
	return true;
}

static bool set_hosts(struct url *u, struct host_list *l, struct err *e)
{
	if (l->any_port && !set_value(u, URL_PORT, &l->ports, e))
		return false;
	return !l->any_host || set_value(u, URL_HOST, &l->hosts, e);
}

/* `form` says how `raw` is encoded: what stands before a query is as in URL_PLAIN. */
static bool set_decoded(
	struct url *u, enum url_value which, enum url_form form, struct slice raw, struct err *e)
{
	struct bytes text;

	bytes_init(&text, URL_TEXT_LIMIT);
	if (url_decode_value(form, raw, &text))
		return set_value(u, which, &text, e);
	bytes_wipe(&text);
	return err_set(e, bad_url, "has a zero byte in it, or is too long");
}

static bool read_userinfo(struct url *u, struct err *e)
{
	size_t colon = span_until(u->userinfo, ":");
	struct slice password = from(u->userinfo, colon + (colon < u->userinfo.len));

	return set_decoded(u, URL_USER, URL_PLAIN, upto(u->userinfo, colon), e) &&
	       set_decoded(u, URL_PASSWORD, URL_PLAIN, password, e);
}

static size_t last_at(struct slice s)
{
	for (size_t i = s.len; i > 0; i--)
		if (s.data[i - 1] == '@')
			return i - 1;
	return s.len;
}

static bool read_authority(struct url *u, struct slice authority, struct err *e)
{
	size_t at = last_at(authority);
	struct host_list l;
	bool ok;

	if (at < authority.len) {
		u->userinfo = upto(authority, at);
		authority = from(authority, at + 1);
	}
	list_init(&l);
	ok = add_hosts(&l, authority, add_authority_host, e) && set_hosts(u, &l, e);
	list_release(&l);
	return ok && read_userinfo(u, e);
}

/* Splits what follows the authority. JDBC knows no fragments. */
static void split_tail(struct url *u, struct slice tail)
{
	size_t fragment = u->form == URL_JDBC ? tail.len : span_until(tail, "#");
	size_t query = span_until(upto(tail, fragment), "?");

	u->fragment = from(tail, fragment);
	u->path = upto(tail, query);
	if (query < fragment)
		u->query = slice_of(tail.data + query + 1, fragment - query - 1);
}

static bool take_host_param(struct url *u, struct host_list *l, struct slice raw, struct err *e)
{
	struct bytes text;
	bool ok;

	bytes_init(&text, URL_TEXT_LIMIT);
	ok = url_decode_value(u->form, raw, &text) &&
	     (bytes_length(&text) == 0 || add_hosts(l, bytes_view(&text), add_query_host, e));
	bytes_release(&text);
	return ok || err_set(e, bad_url, "has a host that cannot be read");
}

/* What the query says counts more than what stands before it. */
static bool read_params(struct url *u, struct err *e)
{
	static const char *const names[URL_VALUES] = {"", "port", "user", "password", "dbname"};
	struct slice rest = u->query;
	struct url_param p, port = {0};
	struct host_list l;
	bool ok = true;

	list_init(&l);
	while (ok && url_next_param(u->form, &rest, &p)) {
		if (strcmp(p.folded, "host") == 0 && p.value.len > 0)
			ok = take_host_param(u, &l, p.value, e);
		else if (strcmp(p.folded, names[URL_PORT]) == 0)
			port = p;
		for (int v = URL_USER; ok && v < URL_VALUES; v++)
			if (strcmp(p.folded, names[v]) == 0)
				ok = set_decoded(u, (enum url_value)v, u->form, p.value, e);
	}
	if (ok && l.n > 0)
		ok = set_hosts(u, &l, e);
	if (ok && port.value.len > 0)
		ok = set_decoded(u, URL_PORT, u->form, port.value, e);
	list_release(&l);
	if (ok && rest.len > 0)
		return err_set(e, bad_url, "is a keyword string that is broken");
	return ok;
}

static bool check_ports(const struct url *u, struct err *e)
{
	const char *ports = u->values[URL_PORT];

	for (;;) {
		size_t len = strcspn(ports, ",");
		unsigned long n = strtoul(ports, NULL, 10);

		if (len > 0 && (!is_number(slice_of(ports, len)) || len > 5 || n < 1 || n > 65535))
			return err_set(e, bad_url, "has a port that is not 1 to 65535");
		if (!ports[len])
			return true;
		ports += len + 1;
	}
}

static bool read_parts(struct url *u, struct slice rest, struct err *e)
{
	struct slice database;
	size_t authority;

	if (u->form == URL_KEYWORDS) {
		u->query = rest;
		return true;
	}
	/* jdbc:postgresql:database has no authority. */
	authority = u->head.data[u->head.len - 1] == '/' ? authority_length(rest) : 0;
	split_tail(u, from(rest, authority));
	database = from(u->path, has_prefix(u->path, "/"));
	return read_authority(u, upto(rest, authority), e) &&
	       set_decoded(u, URL_DATABASE, URL_PLAIN, database, e);
}

bool url_parse(struct url *u, const char *text, struct err *e)
{
	struct slice rest;
	bool ok = true;

	*u = (struct url){.text = strdup(text)};
	for (int v = 0; v < URL_VALUES; v++)
		ok = (u->values[v] = strdup("")) && ok;
	if (!u->text || !ok)
		return err_set(e, "53200", "cannot be read: out of memory");
	u->head = u->userinfo = u->path = u->query = u->fragment = slice_of(u->text, 0);
	rest = slice_str(u->text);
	if (rest.len == 0)
		return err_set(e, bad_url, "is empty");
	ok = read_head(u, &rest, e) && read_parts(u, rest, e) && read_params(u, e) &&
	     check_ports(u, e);
	if (ok && u->form == URL_JDBC && !*u->values[URL_HOST]) {
		free(u->values[URL_HOST]);
		u->values[URL_HOST] = strdup("localhost");
		ok = u->values[URL_HOST] || err_set(e, "53200", "cannot be read: out of memory");
	}
	return ok;
}

void url_release(struct url *u)
{
	if (u->text)
		explicit_bzero(u->text, strlen(u->text));
	free(u->text);
	for (int v = 0; v < URL_VALUES; v++) {
		if (u->values[v])
			explicit_bzero(u->values[v], strlen(u->values[v]));
		free(u->values[v]);
	}
	*u = (struct url){0};
}

static bool is_loopback(struct slice host)
{
	return slice_is(host, "localhost") || slice_is(host, "127.0.0.1") || slice_is(host, "::1");
}

static bool same_host(struct slice a, struct slice b)
{
	if (is_loopback(a) && is_loopback(b))
		return true;
	return a.len == b.len &&
	       strncasecmp((const char *)a.data, (const char *)b.data, a.len) == 0;
}

/* The next of a comma separated list; the last one again behind its end. */
static struct slice next_item(const char **list)
{
	struct slice item = slice_of(*list, strcspn(*list, ","));

	if ((*list)[item.len])
		*list += item.len + 1;
	return item;
}

static bool same_port(struct slice a, struct slice b)
{
	return slice_equal(
		a.len > 0 ? a : slice_str(default_port), b.len > 0 ? b : slice_str(default_port));
}

static size_t commas(const char *list)
{
	size_t n = 0;

	for (; *list; list++)
		n += *list == ',';
	return n;
}

bool url_same_server(const struct url *a, const struct url *b)
{
	const char *a_host = a->values[URL_HOST], *b_host = b->values[URL_HOST];
	const char *a_port = a->values[URL_PORT], *b_port = b->values[URL_PORT];
	size_t n = commas(a_host);

	if (n != commas(b_host))
		return false;
	for (size_t i = 0; i <= n; i++)
		if (!same_host(next_item(&a_host), next_item(&b_host)) ||
			!same_port(next_item(&a_port), next_item(&b_port)))
			return false;
	return true;
}

bool url_carries_password(const struct url *u)
{
	switch (u->form) {
	case URL_PLAIN:
		return *u->values[URL_USER];
	case URL_JDBC:
		return *u->values[URL_PASSWORD];
	case URL_KEYWORDS:
		return true;
	}
	return false;
}

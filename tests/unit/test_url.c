#include "url.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>
#include <libpq-fe.h>

#define LENGTH(a) (sizeof(a) / sizeof((a)[0]))
#define SERVICE                                                                                  \
	"goes with a service (PGSERVICE), which is not read, and may say more about the way to " \
	"the server: put that into the URL, and unset PGSERVICE"
#define AT "127.0.0.1:5499"

static const struct {
	const char *url, *client, *upstream;
} cases[] = {
	/* The plain parts, there and not there. */
	{"postgresql://u:p@h:5433/db", "postgresql://u:p@" AT "/db",
		"host='h' port='5433' user='u' password='p' dbname='db'"},
	{"postgres://u:p@h/db", "postgres://u:p@" AT "/db",
		"host='h' user='u' password='p' dbname='db'"},
	{"postgresql://h", "postgresql://" AT, "host='h'"},
	{"postgresql://h/", "postgresql://" AT "/", "host='h'"},
	{"postgresql://h:5433", "postgresql://" AT, "host='h' port='5433'"},
	{"postgresql://u@h/db", "postgresql://u@" AT "/db", "host='h' user='u' dbname='db'"},
	{"postgresql://u:@h/db", "postgresql://u:@" AT "/db", "host='h' user='u' dbname='db'"},
	{"postgresql://:p@h/db", "postgresql://:p@" AT "/db", "host='h' password='p' dbname='db'"},
	{"postgresql://", "postgresql://" AT, ""},
	{"postgresql:///db", "postgresql://" AT "/db", "dbname='db'"},
	{"postgresql://:5433/db", "postgresql://" AT "/db", "port='5433' dbname='db'"},
	{"postgresql://u@/db", "postgresql://u@" AT "/db", "user='u' dbname='db'"},
	{"postgresql://h?application_name=x", "postgresql://" AT "?application_name=x", "host='h'"},
	{"postgresql://h/db?", "postgresql://" AT "/db", "host='h' dbname='db'"},
	{"postgresql://h/db#frag", "postgresql://" AT "/db#frag", "host='h' dbname='db'"},
	{"postgresql://h/db?a=b#f?g=h&i", "postgresql://" AT "/db?a=b#f?g=h&i",
		"host='h' dbname='db'"},
	{"postgresql://h:05432/db", "postgresql://" AT "/db", "host='h' port='05432' dbname='db'"},

	/* Schemes that name a driver, too. */
	{"postgresql+psycopg2://u:p@h/db", "postgresql+psycopg2://u:p@" AT "/db",
		"host='h' user='u' password='p' dbname='db'"},
	{"postgresql+psycopg://h/db", "postgresql+psycopg://" AT "/db", "host='h' dbname='db'"},
	{"postgres+asyncpg://h/db?ssl=require", "postgres+asyncpg://" AT "/db?ssl=disable",
		"host='h' dbname='db' sslmode='require'"},
	{"postgis://h/db", "postgis://" AT "/db", "host='h' dbname='db'"},
	{"pgsql://h/db", "pgsql://" AT "/db", "host='h' dbname='db'"},

	/* Odd characters and percent signs. */
	{"postgresql://us%65r:p%40%2F%3a@h/d%20b", "postgresql://us%65r:p%40%2F%3a@" AT "/d%20b",
		"host='h' user='user' password='p@/:' dbname='d b'"},
	{"postgresql://u:100%@h/db", "postgresql://u:100%@" AT "/db",
		"host='h' user='u' password='100%' dbname='db'"},
	{"postgresql://u:%zz%4@h/db", "postgresql://u:%zz%4@" AT "/db",
		"host='h' user='u' password='%zz%4' dbname='db'"},
	{"postgresql://u:p@ss:w@h/db", "postgresql://u:p@ss:w@" AT "/db",
		"host='h' user='u' password='p@ss:w' dbname='db'"},
	{"postgresql://u:p#w@h/db", "postgresql://u:p#w@" AT "/db",
		"host='h' user='u' password='p#w' dbname='db'"},
	{"postgresql://u:p?w@h:1/db", "postgresql://u:p?w@" AT "/db",
		"host='h' port='1' user='u' password='p?w' dbname='db'"},
	{"postgresql://u:a'b\\c d@h/db", "postgresql://u:a'b\\c d@" AT "/db",
		"host='h' user='u' password='a\\'b\\\\c d' dbname='db'"},
	{"postgresql://u:a+b&c=d@h/db", "postgresql://u:a+b&c=d@" AT "/db",
		"host='h' user='u' password='a+b&c=d' dbname='db'"},
	{"postgresql://\xc3\xbc:\xc3\xa9@h/\xc3\xb6",
		"postgresql://\xc3\xbc:\xc3\xa9@" AT "/\xc3\xb6",
		"host='h' user='\xc3\xbc' password='\xc3\xa9' dbname='\xc3\xb6'"},
	{"postgresql://h:5433?user=a@b", "postgresql://" AT "?user=a@b",
		"host='h' port='5433' user='a@b'"},

	/* Hosts. */
	{"postgresql://[::1]:5433/db", "postgresql://" AT "/db",
		"host='::1' port='5433' dbname='db'"},
	{"postgresql://u:p@[fe80::1%25eth0]/db", "postgresql://u:p@" AT "/db",
		"host='fe80::1%eth0' user='u' password='p' dbname='db'"},
	{"postgresql://h1:5432,h2:5433/db", "postgresql://" AT "/db",
		"host='h1,h2' port='5432,5433' dbname='db'"},
	{"postgresql://h1,[::2]:5433,h3/db?target_session_attrs=read-write&a=b",
		"postgresql://" AT "/db?a=b",
		"host='h1,::2,h3' port='5432,5433,5432' dbname='db' "
		"target_session_attrs='read-write'"},
	{"postgresql://h1,h2/db", "postgresql://" AT "/db", "host='h1,h2' dbname='db'"},
	{"postgresql:///db?host=/var/run/postgresql", "postgresql://" AT "/db",
		"host='/var/run/postgresql' dbname='db'"},
	{"postgresql://%2Fvar%2Frun:5433/db", "postgresql://" AT "/db",
		"host='/var/run' port='5433' dbname='db'"},
	{"postgresql://u@/db?host=/tmp&port=5433&a=b", "postgresql://u@" AT "/db?a=b",
		"host='/tmp' port='5433' user='u' dbname='db'"},
	{"postgresql://old:1/db?host=new", "postgresql://" AT "/db",
		"host='new' port='1' dbname='db'"},
	{"postgresql+psycopg2://u@/db?host=h1:5432&host=h2:5433",
		"postgresql+psycopg2://u@" AT "/db",
		"host='h1,h2' port='5432,5433' user='u' dbname='db'"},
	{"postgresql:///db?host=::1", "postgresql://" AT "/db", "host='::1' dbname='db'"},
	{"postgresql://h/db?hostaddr=10.0.0.1", "postgresql://" AT "/db",
		"host='h' dbname='db' hostaddr='10.0.0.1'"},

	/* What stands in the query instead. */
	{"postgresql://h/?user=u&password=p%26&dbname=db",
		"postgresql://" AT "/?user=u&password=p%26&dbname=db",
		"host='h' user='u' password='p&' dbname='db'"},
	{"postgresql://a:b@h/c?user=u&password=p&dbname=d",
		"postgresql://a:b@" AT "/c?user=u&password=p&dbname=d",
		"host='h' user='u' password='p' dbname='d'"},

	/* Parameters that only drivers know stay, and are nothing for libpq. */
	{"postgresql://h/db?schema=public&connection_limit=5&pool_timeout=10&pgbouncer=true"
	 "&statement_cache_size=0&socket_timeout=3&options=-c%20x%3Dy&application_name=z",
		"postgresql://" AT "/db?schema=public&connection_limit=5&pool_timeout=10"
		"&pgbouncer=true&statement_cache_size=0&socket_timeout=3&options=-c%20x%3Dy"
		"&application_name=z",
		"host='h' dbname='db'"},
	{"postgresql://h/db?connect_timeout=10", "postgresql://" AT "/db?connect_timeout=10",
		"host='h' dbname='db' connect_timeout='10'"},
	{"postgresql://h/db?a&&b=&=c", "postgresql://" AT "/db?a&b=&=c", "host='h' dbname='db'"},

	/* TLS and the like. */
	{"postgresql://h/db?sslmode=require", "postgresql://" AT "/db?sslmode=disable",
		"host='h' dbname='db' sslmode='require'"},
	{"postgresql://u:p@h/db?sslmode=require&channel_binding=require",
		"postgresql://u:p@" AT "/db?sslmode=disable",
		"host='h' user='u' password='p' dbname='db' sslmode='require' "
		"channel_binding='require'"},
	{"postgresql://h/db?a=b&sslmode=no-verify&c=d",
		"postgresql://" AT "/db?a=b&sslmode=disable&c=d",
		"host='h' dbname='db' sslmode='require'"},
	{"postgresql://h/db?uselibpqcompat=true&sslmode=require",
		"postgresql://" AT "/db?uselibpqcompat=true&sslmode=disable",
		"host='h' dbname='db' sslmode='require'"},
	{"postgresql://h/db?sslmode=verify-full&sslrootcert=/a%20b.pem&sslcert=c&sslkey=k",
		"postgresql://" AT "/db?sslmode=disable",
		"host='h' dbname='db' sslmode='verify-full' sslrootcert='/a b.pem' sslcert='c' "
		"sslkey='k'"},
	{"postgresql://h/db?sslmode=disable", "postgresql://" AT "/db?sslmode=disable",
		"host='h' dbname='db' sslmode='disable'"},
	{"postgresql://h/db?ssl=true", "postgresql://" AT "/db?sslmode=disable",
		"host='h' dbname='db' sslmode='require'"},
	{"postgresql://h/db?ssl=1&sslmode=prefer", "postgresql://" AT "/db?sslmode=disable",
		"host='h' dbname='db' sslmode='prefer'"},
	{"postgresql://h/db?ssl=0", "postgresql://" AT "/db?sslmode=disable",
		"host='h' dbname='db' sslmode='disable'"},
	{"postgres://h/db?ssl=no-verify", "postgres://" AT "/db?sslmode=disable",
		"host='h' dbname='db' sslmode='require'"},
	{"postgresql://h/db?ssl_min_protocol_version=TLSv1.3&sslsni=0", "postgresql://" AT "/db",
		"host='h' dbname='db' sslsni='0' ssl_min_protocol_version='TLSv1.3'"},
	{"postgresql://h/"
	 "db?gssencmode=disable&load_balance_hosts=random",
		"postgresql://" AT "/db", "host='h' dbname='db' gssencmode='disable'"},
	{"postgresql://h?requiressl=1", "postgresql://" AT "?sslmode=disable",
		"host='h' sslmode='require'"},
	{"jdbc:postgresql://h/db?targetServerType=primary", "jdbc:postgresql://" AT "/db",
		"host='h' dbname='db'"},
	{"jdbc:postgresql://h/db?targetServerType=secondary", "jdbc:postgresql://" AT "/db",
		"host='h' dbname='db' target_session_attrs='secondary'"},
	{"postgresql://h/db?schema=s&sslaccept=accept_invalid_certs",
		"postgresql://" AT "/db?schema=s&sslmode=disable",
		"host='h' dbname='db' sslmode='require'"},
	{"postgresql://h/db?sslmode=require&sslaccept=strict&sslcert=ca.pem",
		"postgresql://" AT "/db?sslmode=disable",
		"host='h' dbname='db' sslmode='verify-full' sslrootcert='ca.pem'"},
	{"postgresql://h/db?sslaccept=strict", "postgresql://" AT "/db?sslmode=disable",
		"host='h' dbname='db' sslmode='verify-full'"},
	{"postgresql://h/db?sslmode=prefer&sslaccept=accept_invalid_certs",
		"postgresql://" AT "/db?sslmode=disable", "host='h' dbname='db' sslmode='prefer'"},

	/* JDBC and R2DBC. */
	{"jdbc:postgresql://h:5433/db?user=u&password=p%2B+x&currentSchema=s",
		"jdbc:postgresql://" AT "/db?user=u&password=p%2B+x&currentSchema=s",
		"host='h' port='5433' user='u' password='p+ x' dbname='db'"},
	{"jdbc:postgresql://h1:1,h2:2/db?targetServerType=primary&loadBalanceHosts=true&a=#b",
		"jdbc:postgresql://" AT "/db?a=#b", "host='h1,h2' port='1,2' dbname='db'"},
	{"jdbc:postgresql:db", "jdbc:postgresql://" AT "/db", "host='localhost' dbname='db'"},
	{"jdbc:postgresql:/", "jdbc:postgresql://" AT "/", "host='localhost'"},
	{"jdbc:postgresql:db?user=u", "jdbc:postgresql://" AT "/db?user=u",
		"host='localhost' user='u' dbname='db'"},
	{"jdbc:postgresql://h", "jdbc:postgresql://" AT "/", "host='h'"},
	{"jdbc:postgresql://h/db?ssl=true", "jdbc:postgresql://" AT "/db?sslmode=disable",
		"host='h' dbname='db' sslmode='verify-full'"},
	{"jdbc:postgresql://h/db?ssl&a=b", "jdbc:postgresql://" AT "/db?sslmode=disable&a=b",
		"host='h' dbname='db' sslmode='verify-full'"},
	{"jdbc:postgresql://h/db?ssl=true&sslfactory=org.postgresql.ssl.NonValidatingFactory",
		"jdbc:postgresql://" AT "/db?sslmode=disable",
		"host='h' dbname='db' sslmode='require'"},
	{"jdbc:postgresql://h/db?sslmode=require&gssEncMode=disable&channelBinding=require"
	 "&connectTimeout=5",
		"jdbc:postgresql://" AT "/db?sslmode=disable&connectTimeout=5",
		"host='h' dbname='db' sslmode='require' connect_timeout='5' "
		"channel_binding='require' gssencmode='disable'"},
	{"r2dbc:postgresql://u:p@h/db?sslMode=VERIFY_FULL&sslRootCert=r&connectTimeout=PT5S",
		"r2dbc:postgresql://u:p@" AT "/db?sslMode=disable&connectTimeout=PT5S",
		"host='h' user='u' password='p' dbname='db' sslmode='verify-full' sslrootcert='r'"},

	/* libpq's other notation. */
	{"host=h port=5433 dbname=db user=u password='a b\\'c' sslmode=require options='-c a=b'",
		"host=127.0.0.1 port=5499 dbname=db user=u password='a b\\'c' sslmode=disable "
		"options='-c a=b'",
		"host='h' port='5433' user='u' password='a b\\'c' dbname='db' sslmode='require'"},
	{"dbname = db\n host = '/tmp' ", "host=127.0.0.1 port=5499 dbname = db",
		"host='/tmp' dbname='db'"},
	{"dbname=''", "host=127.0.0.1 port=5499 dbname=''", ""},
	{"host='' user=u", "host=127.0.0.1 port=5499 user=u", "user='u'"},
	{"user=u dbname = ", "host=127.0.0.1 port=5499 user=u dbname = ''", "user='u'"},
	{"host=a,b port=1,2 user=u\\ v", "host=127.0.0.1 port=5499 user=u\\ v",
		"host='a,b' port='1,2' user='u v'"},
};

static struct bytes text_buffer(void)
{
	struct bytes b;

	bytes_init(&b, 100000);
	return b;
}

/* What was written, until the next call. */
static const char *written(struct bytes *b)
{
	static char text[2000];
	struct slice s = bytes_view(b);

	assert_true(s.len < sizeof(text));
	if (s.len > 0)
		memcpy(text, s.data, s.len);
	text[s.len] = '\0';
	bytes_release(b);
	return text;
}

static void parse(struct url *u, const char *text)
{
	struct err e;

	if (!url_parse(u, text, &e))
		fail_msg("%s: %s", text, e.text);
}

static const char *client_of(const struct url *u, const char *password)
{
	struct bytes out = text_buffer();
	struct err e;

	assert_true(url_write_client(u, 5499, password, &out, &e));
	return written(&out);
}

static const char *upstream_of(const struct url *u, char *const *environment)
{
	struct bytes out = text_buffer();
	struct err e;

	if (!url_write_upstream(u, environment, &out, &e))
		fail_msg("%s: %s", u->text, e.text);
	return written(&out);
}

static void the_client_gets_its_own_url_with_another_server(void **state)
{
	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++) {
		struct url u;

		parse(&u, cases[i].url);
		if (strcmp(client_of(&u, NULL), cases[i].client) != 0)
			fail_msg("%s: %s", cases[i].url, client_of(&u, NULL));
		url_release(&u);
	}
}

static void the_upstream_gets_what_libpq_knows(void **state)
{
	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++) {
		struct url u;

		parse(&u, cases[i].url);
		if (strcmp(upstream_of(&u, NULL), cases[i].upstream) != 0)
			fail_msg("%s: %s", cases[i].url, upstream_of(&u, NULL));
		url_release(&u);
	}
}

static void libpq_reads_every_upstream_string(void **state)
{
	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++) {
		char *error = NULL;
		PQconninfoOption *options = PQconninfoParse(cases[i].upstream, &error);

		if (!options)
			fail_msg("%s: %s", cases[i].upstream, error);
		PQconninfoFree(options);
	}
}

/* The client's text is again such a URL, and says where it leads. */
static void a_rewritten_url_can_be_read_again(void **state)
{
	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++) {
		struct url before, after;

		parse(&before, cases[i].url);
		parse(&after, cases[i].client);
		assert_string_equal(after.values[URL_HOST], "127.0.0.1");
		assert_string_equal(after.values[URL_PORT], "5499");
		for (int v = URL_USER; v < URL_VALUES; v++)
			assert_string_equal(after.values[v], before.values[v]);
		url_release(&before);
		url_release(&after);
	}
}

static void a_password_is_put_where_the_driver_finds_it(void **state)
{
	static const struct {
		const char *url, *want;
		bool carries;
	} rows[] = {
		{"postgresql://u@h/db", "postgresql://u:s%27%2Fx@" AT "/db", true},
		{"postgresql://u:old@h/db", "postgresql://u:s%27%2Fx@" AT "/db", true},
		{"postgresql://u%40:@h", "postgresql://u%40:s%27%2Fx@" AT, true},
		{"postgresql://h/db?user=u", "postgresql://" AT "/db?user=u&password=s%27%2Fx",
			true},
		{"postgresql://h/db?password=old&user=u",
			"postgresql://" AT "/db?password=s%27%2Fx&user=u", true},
		{"postgresql://a:b@h/db?user=u&password=p",
			"postgresql://a:b@" AT "/db?user=u&password=s%27%2Fx", true},
		{"postgresql://h/db?password=old&user=u&password=older",
			"postgresql://" AT "/db?password=s%27%2Fx&user=u", true},
		{"postgresql://h/db", "postgresql://" AT "/db", false},
		{"postgresql://:p@h/db", "postgresql://:p@" AT "/db", false},
		{"jdbc:postgresql://h/db?user=u", "jdbc:postgresql://" AT "/db?user=u", false},
		{"jdbc:postgresql://h/db?user=u&password=p",
			"jdbc:postgresql://" AT "/db?user=u&password=s%27%2Fx", true},
		{"dbname=db", "host=127.0.0.1 port=5499 dbname=db password='s\\'/x'", true},
		{"password=p dbname=db", "host=127.0.0.1 port=5499 password='s\\'/x' dbname=db",
			true},
	};

	(void)state;
	for (size_t i = 0; i < LENGTH(rows); i++) {
		struct url u;

		parse(&u, rows[i].url);
		assert_int_equal(url_carries_password(&u), rows[i].carries);
		if (strcmp(client_of(&u, "s'/x"), rows[i].want) != 0)
			fail_msg("%s: %s", rows[i].url, client_of(&u, "s'/x"));
		url_release(&u);
	}
}

static void the_environment_says_what_the_url_leaves_open(void **state)
{
	static const struct {
		const char *url;
		const char *environment[4];
		const char *want;
	} rows[] = {
		{"postgresql:///db", {"PGHOST=h", "PGPORT=5433"},
			"host='h' port='5433' dbname='db'"},
		{"postgresql:///db", {"PGHOSTADDR=::1"}, "hostaddr='::1' dbname='db'"},
		{"postgresql://x:1/db", {"PGHOST=h", "PGPORT=5433", "PGHOSTADDR=::1"},
			"host='x' port='1' dbname='db'"},
		{"postgresql://x/db", {"PGHOST=h", "PGPORT=5433"},
			"host='x' port='5433' dbname='db'"},
		{"postgresql://x", {"PGSSLMODE=verify-full", "PGSSLROOTCERT=/r"},
			"host='x' sslmode='verify-full' sslrootcert='/r'"},
		{"postgresql://x", {"PGSSLMODE=no-verify"}, "host='x' sslmode='require'"},
		{"postgresql://x", {"PGSSLMODE=", "PGSSLCERT="}, "host='x'"},
		{"postgresql://x?sslmode=require&sslrootcert=/u",
			{"PGSSLMODE=verify-full", "PGSSLROOTCERT=/r"},
			"host='x' sslmode='require' sslrootcert='/u'"},
		{"postgresql://x", {"PGUSER=u", "PGPASSWORD=p", "PGDATABASE=d"}, "host='x'"},
		{"postgresql://x", {"PGREQUIRESSL=1"}, "host='x' sslmode='require'"},
		{"postgresql://x", {"PGREQUIRESSL=1", "PGSSLMODE=disable"},
			"host='x' sslmode='disable'"},
		{"postgresql://x", {"PGREQUIREAUTH=md5"}, "host='x' require_auth='md5'"},
		{"postgresql://x?require_auth=md5", {NULL}, "host='x' require_auth='md5'"},
		{"postgresql://x", {"PGSSLCERTMODE=require"}, "host='x' sslcertmode='require'"},
		{"postgresql://x?sslcertmode=disable", {NULL}, "host='x' sslcertmode='disable'"},
		{"jdbc:postgresql:db", {"PGHOST=h"}, "host='localhost' dbname='db'"},
	};

	(void)state;
	for (size_t i = 0; i < LENGTH(rows); i++) {
		char copies[4][100], *environment[5] = {NULL};
		struct url u;

		for (size_t k = 0; k < 4 && rows[i].environment[k]; k++) {
			environment[k] = copies[k];
			memcpy(copies[k], rows[i].environment[k],
				strlen(rows[i].environment[k]) + 1);
		}
		parse(&u, rows[i].url);
		if (strcmp(upstream_of(&u, environment), rows[i].want) != 0)
			fail_msg("%s: %s", rows[i].url, upstream_of(&u, environment));
		url_release(&u);
	}
}

static const struct {
	const char *url, *want;
} refused[] = {
	{"", "is empty"},
	{"x", "is not a PostgreSQL URL"},
	{"mysql://u:secret@h/db", "is not a PostgreSQL URL: its scheme is \"mysql\""},
	{"cockroachdb://h/db", "is not a PostgreSQL URL: its scheme is \"cockroachdb\""},
	{"prisma+postgres://x/?api_key=secret",
		"is not a PostgreSQL URL: its scheme is \"prisma+postgres\""},
	{"jdbc:mysql://h/db", "is not a PostgreSQL URL: its scheme is \"mysql\""},
	{"averyveryveryveryveryverylongscheme://h",
		"is not a PostgreSQL URL: its scheme is \"averyveryveryveryveryverylongs\""},
	{"postgresql:db", "is not a PostgreSQL URL"},
	{"POSTGRESQL://h/db", "is not a PostgreSQL URL"},
	{" postgresql://h/db", "is not a PostgreSQL URL"},
	{"\"postgresql://h/db\"", "is not a PostgreSQL URL"},
	{"file:test.db", "is not a PostgreSQL URL"},
	{"Host=h;Username=u;Password=secret", "is not a PostgreSQL URL"},
	{"postgresql://u:p/secret@h/db",
		"has a port that is not a number (in a password, '/', '?', '#' and '@' are written "
		"%2F, %3F, %23, %40)"},
	{"postgresql://::1/db",
		"has a port that is not a number (in a password, '/', '?', '#' and '@' are written "
		"%2F, %3F, %23, %40)"},
	{"postgresql://h:0/db", "has a port that is not 1 to 65535"},
	{"postgresql://h:65536/db", "has a port that is not 1 to 65535"},
	{"postgresql://h:99999999999999999999/db", "has a port that is not 1 to 65535"},
	{"postgresql:///db?port=x", "has a port that is not 1 to 65535"},
	{"postgresql://[::1/db", "has a broken IPv6 address"},
	{"postgresql://[::1]5/db", "has a broken IPv6 address"},
	{"postgresql://u:a%00b@h/db", "has a zero byte in it, or is too long"},
	{"postgresql://h/d%00b", "has a zero byte in it, or is too long"},
	{"postgresql://h%00/db", "has a zero byte in its host"},
	{"postgresql:///db?host=%00", "has a host that cannot be read"},
	{"host=h password='secret", "is a keyword string that is broken"},
	{"host=h password", "is a keyword string that is broken"},
	{"host=h password=a\\", "is a keyword string that is broken"},
	{"host =", NULL},
	{"host", "is not a PostgreSQL URL"},
};

static void what_is_no_such_url_is_refused_without_repeating_it(void **state)
{
	(void)state;
	for (size_t i = 0; i < LENGTH(refused); i++) {
		struct err e = {.text = ""};
		struct url u;
		bool ok = url_parse(&u, refused[i].url, &e);

		if (ok != (refused[i].want == NULL))
			fail_msg("%s: %s", refused[i].url, ok ? "accepted" : e.text);
		if (!ok && strcmp(e.text, refused[i].want) != 0)
			fail_msg("%s: %s", refused[i].url, e.text);
		url_release(&u);
		url_release(&u);
	}
}

static void what_cannot_be_said_to_libpq_is_refused(void **state)
{
	static const struct {
		const char *url, *variable, *want;
	} rows[] = {
		{"postgresql://h?sslmode=requir", NULL, "has an sslmode that is not known"},
		{"postgresql://h?ssl={}", NULL, "has an sslmode that is not known"},
		{"postgresql://h?sslmode=averyveryveryveryverylongsslmodeindeed", NULL,
			"has an sslmode that is not known"},
		{"postgresql://h?sslmod=require", NULL,
			"has a TLS parameter that is not known: sslmod"},
		{"postgresql://h?sslidentity=x.p12&sslaccept=strict", NULL,
			"has sslidentity, which libpq cannot read: name the server with "
			"--upstream, sslcert and sslkey"},
		{"postgresql:///?service=s", NULL, SERVICE},
		{"postgresql://x", "PGSERVICE=s", SERVICE},
		{"postgresql://h", "PGSSLMODE=x", "goes with a PGSSLMODE that is not known"},
	};

	(void)state;
	for (size_t i = 0; i < LENGTH(rows); i++) {
		char variable[50] = "A=b", *environment[] = {variable, NULL};
		struct bytes out = text_buffer();
		struct err e;
		struct url u;

		if (rows[i].variable)
			memcpy(variable, rows[i].variable, strlen(rows[i].variable) + 1);
		parse(&u, rows[i].url);
		assert_false(url_write_upstream(&u, environment, &out, &e));
		assert_string_equal(e.text, rows[i].want);
		bytes_release(&out);
		url_release(&u);
	}
}

static void a_keyword_string_is_completed(void **state)
{
	static const struct {
		const char *text;
		const char *environment[4];
		const char *want; /* NULL: it is refused */
	} rows[] = {
		{"host=h", {"PGHOST=x", "PGHOSTADDR=::1", "PGPORT=1"}, "host=h port='1'"},
		{"dbname=d", {"PGHOST=x", "PGPORT=1"}, "dbname=d host='x' port='1'"},
		{"hostaddr=::1", {"PGHOST=x", "PGSSLMODE=verify-full"},
			"hostaddr=::1 sslmode='verify-full'"},
		{"host=h sslmode=require", {"PGSSLMODE=verify-full", "PGSSLROOTCERT=r"},
			"host=h sslmode=require sslrootcert='r'"},
		{"host=h requiressl=1", {"PGSSLMODE=disable"}, "host=h requiressl=1"},
		{"host=h", {"PGREQUIRESSL=1"}, "host=h sslmode='require'"},
		{"host=h", {"PGUSER=u", "PGDATABASE=d", "PGPASSWORD=p"}, "host=h"},
		{"host=h service=s", {NULL}, NULL},
		{"host=h", {"PGSERVICE=s"}, NULL},
	};

	(void)state;
	for (size_t i = 0; i < LENGTH(rows); i++) {
		char copies[4][100], *environment[5] = {NULL}, *got;
		struct err e;

		for (size_t k = 0; k < 4 && rows[i].environment[k]; k++) {
			environment[k] = copies[k];
			memcpy(copies[k], rows[i].environment[k],
				strlen(rows[i].environment[k]) + 1);
		}
		got = url_to_upstream(rows[i].text, environment, &e);
		if (rows[i].want)
			assert_string_equal(got, rows[i].want);
		else
			assert_null(got);
		free(got);
	}
}

static void the_same_server_is_recognised(void **state)
{
	static const struct {
		const char *a, *b;
		bool want;
	} rows[] = {
		{"postgresql://h/a", "postgres://u:p@H:5432/b?x=y", true},
		{"postgresql://h", "postgresql://h:5433", false},
		{"postgresql://h", "postgresql://i", false},
		{"postgresql://h", "postgresql://hh", false},
		{"postgresql://localhost:5433", "postgresql://127.0.0.1:5433", true},
		{"postgresql://[::1]", "jdbc:postgresql:db", true},
		{"postgresql://h1,h2", "postgresql://h1:5432,h2:5432", true},
		{"postgresql://h1,h2", "postgresql://h2,h1", false},
		{"postgresql://h1,h2", "postgresql://h1", false},
		{"postgresql://h1:1,h2:1", "host=h1,h2 port=1", true},
		{"postgresql:///a", "postgresql:///b", true},
		{"postgresql:///a?host=/tmp", "host=/tmp dbname=x", true},
		{"postgresql:///a", "postgresql://h/a", false},
	};

	(void)state;
	for (size_t i = 0; i < LENGTH(rows); i++) {
		struct url a, b;

		parse(&a, rows[i].a);
		parse(&b, rows[i].b);
		if (url_same_server(&a, &b) != rows[i].want ||
			url_same_server(&b, &a) != rows[i].want)
			fail_msg("%s %s", rows[i].a, rows[i].b);
		url_release(&a);
		url_release(&b);
	}
}

/* Nothing to be asserted but that nothing is read that is not there. */
static void every_truncation_is_read_or_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++) {
		for (size_t len = 0; len <= strlen(cases[i].url); len++) {
			char *text = strndup(cases[i].url, len);
			struct bytes out = text_buffer();
			struct err e;
			struct url u;

			assert_non_null(text);
			if (url_parse(&u, text, &e)) {
				client_of(&u, "x");
				url_write_upstream(&u, NULL, &out, &e);
			}
			bytes_release(&out);
			url_release(&u);
			free(text);
		}
	}
}

static void what_libpq_is_too_old_for_is_taken_out(void **state)
{
	static const struct {
		const char *text, *value, *left;
	} list[] = {
		{"", NULL, ""},
		{"host=a port=1", NULL, "host=a port=1"},
		{"host=a x=direct port=1", "direct", "host=a          port=1"},
		{"x = 'a b' host=a", "a b", "          host=a"},
		{"x=a host=a x=b", "b", "    host=a    "},
		{"password='x=a' host=a", NULL, "password='x=a' host=a"},
		{"xx=a x_=b", NULL, "xx=a x_=b"},
	};

	(void)state;
	for (size_t i = 0; i < LENGTH(list); i++) {
		char *text = strdup(list[i].text);
		char *value = url_take_keyword(text, "x");

		assert_string_equal(text, list[i].left);
		if (list[i].value)
			assert_string_equal(value, list[i].value);
		else
			assert_null(value);
		free(value);
		free(text);
	}
}

static void an_identity_comes_from_the_environment_where_none_is_named(void **state)
{
	static const char *const environment[] = {
		"PGUSER=deploy", "PGPASSWORD=it's", "PGPASSFILE=/p", "PGHOST=elsewhere", NULL};
	static const char *const none[] = {"PGUSER=", NULL};
	static const struct {
		const char *text;
		const char *const *environment;
		const char *want;
	} list[] = {
		{"host='a'", none, "host='a'"},
		{"host='a'", environment, "host='a' user='deploy' password='it\\'s' passfile='/p'"},
		{"user=me", environment, "user=me password='it\\'s' passfile='/p'"},
		{"user=me password=x passfile=y", environment, "user=me password=x passfile=y"},
	};

	(void)state;
	for (size_t i = 0; i < LENGTH(list); i++) {
		char *got = url_add_identity(
			list[i].text, (char *const *)(uintptr_t)list[i].environment);

		assert_string_equal(got, list[i].want);
		free(got);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_client_gets_its_own_url_with_another_server),
		cmocka_unit_test(the_upstream_gets_what_libpq_knows),
		cmocka_unit_test(libpq_reads_every_upstream_string),
		cmocka_unit_test(a_rewritten_url_can_be_read_again),
		cmocka_unit_test(a_password_is_put_where_the_driver_finds_it),
		cmocka_unit_test(the_environment_says_what_the_url_leaves_open),
		cmocka_unit_test(what_is_no_such_url_is_refused_without_repeating_it),
		cmocka_unit_test(what_cannot_be_said_to_libpq_is_refused),
		cmocka_unit_test(a_keyword_string_is_completed),
		cmocka_unit_test(the_same_server_is_recognised),
		cmocka_unit_test(every_truncation_is_read_or_refused),
		cmocka_unit_test(what_libpq_is_too_old_for_is_taken_out),
		cmocka_unit_test(an_identity_comes_from_the_environment_where_none_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

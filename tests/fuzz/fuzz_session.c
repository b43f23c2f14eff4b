/*
 * fuzz_session.c - a whole session, with a client and a server that say anything.
 *
 * No part of it is a stand-in: session, relay, gate and login are the program's own, on an event
 * loop and real sockets, whose other ends are here. Only asides cannot be run, for where they would
 * have to connect nobody listens. The input is a script of records: one byte says who speaks and
 * whether it is a message from the lists below or the bytes that follow. When both are gone, the
 * session must have ended, and nothing of it may be left.
 */
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "config.h"
#include "log.h"
#include "message.h"
#include "registry.h"
#include "session.h"
#include "snapshot.h"
#include "stats.h"
#include "timer.h"
#include "worker.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
	MOST_RECORDS = 200,
	ROUNDS = 4,	    /* of the loop behind each record */
	LAST_ROUNDS = 1000, /* until the session has ended */
};

/* One message: its type, 0 for a packet without; and what it holds, terminators included. */
struct canned {
	char type;
	const char *body;
	size_t len;
};

#define M(type, body)                        \
	{                                    \
		type, body, sizeof(body) - 1 \
	}
#define TEXT(type, text)                 \
	{                                \
		type, text, sizeof(text) \
	}
#define CIC "create index concurrently i on t(a)"

static const struct canned client_says[] = {
	M(0, "\0\3\0\0user\0app\0\0"),
	M(0, "\4\xd2\x16\x2f"),
	TEXT('p', "secret"),
	TEXT('Q', "BEGIN"),
	TEXT('Q', "COMMIT"),
	TEXT('Q', "ROLLBACK"),
	TEXT('Q', CIC),
	TEXT('Q', "drop index concurrently if exists i"),
	TEXT('Q', "select 1; " CIC "; select 2"),
	TEXT('Q', "copy t from stdin"),
	TEXT('Q', "savepoint a"),
	M('P', "s\0" CIC "\0\0\0"),
	M('P', "\0commit\0\0\0"),
	M('B', "\0s\0\0\0\0\0\0\0"),
	M('B', "\0\0\0\0\0\0\0\0"),
	TEXT('D', "P"),
	M('E', "\0\0\0\0\0"),
	TEXT('C', "P"),
	M('S', ""),
	M('H', ""),
	M('c', ""),
	TEXT('f', ""),
	M('d', "x\n"),
	M('F', ""),
	M('X', ""),
};

static const struct canned server_says[] = {
	M('R', "\0\0\0\0"),
	M('R', "\0\0\0\3"),
	M('R', "\0\0\0\5salt"),
	M('R', "\0\0\0\x0aSCRAM-SHA-256\0\0"),
	M('K', "\0\0\0\1\0\0\0\2"),
	TEXT('S', "standard_conforming_strings\0on"),
	M('Z', "I"),
	M('Z', "T"),
	M('Z', "E"),
	TEXT('C', "BEGIN"),
	TEXT('C', "COMMIT"),
	TEXT('C', "ROLLBACK"),
	TEXT('C', "SELECT 1"),
	M('1', ""),
	M('2', ""),
	M('3', ""),
	M('n', ""),
	M('T', "\0\0"),
	M('D', "\0\1\0\0\0\1t"),
	M('G', "\0\0\0"),
	M('H', "\0\0\0"),
	M('c', ""),
	TEXT('E', "SERROR\0VERROR\0C42P01\0Mno\0P7\0"),
	TEXT('E', "SFATAL\0VFATAL\0C57P01\0"),
	TEXT('N', "SNOTICE\0VNOTICE\0C00000\0"),
	M('A', "\0\0\0\1a\0b\0"),
};

#define NIL "\xff\xff\xff\xff"
#define YES "\0\0\0\1t"

/* Rows that answer a question of pgaside's own. */
static const struct canned settings[] = {
	M('D', "\0\3\0\0\0\x15transaction_isolation\0\0\0\x0eread committed" NIL),
	M('D', "\0\1\0\0\0\3app"),
	M('D', "\0\1\0\0\0\4none"),
};

static const struct canned relation[] = {
	M('D', "\0\1\0\0\0\3"
	       "123"),
	M('D', "\0\x0e\0\0\0\1"
	       "7" NIL NIL NIL NIL "\0\0\0\1r\0\0\0\1s" YES YES YES YES YES YES NIL),
};

static const struct canned nothing[] = {M('n', "")};

static struct shared shared;
static struct worker worker = {.shared = &shared};
static int listener, client, server;

static void must(bool ok)
{
	if (!ok)
		abort();
}

static int listen_in(const char *directory)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	int len = snprintf(at.sun_path, sizeof(at.sun_path), "%s/.s.PGSQL.5432", directory);

	must(fd >= 0 && len > 0 && (size_t)len < sizeof(at.sun_path));
	must(bind(fd, (struct sockaddr *)&at, sizeof(at)) == 0 && listen(fd, 64) == 0);
	return fd;
}

static char directory[] = "/tmp/pgaside-fuzz-XXXXXX";

static void remove_directory(void)
{
	char path[64];

	snprintf(path, sizeof(path), "%s/.s.PGSQL.5432", directory);
	unlink(path);
	rmdir(directory);
}

static void look_again(void *arg)
{
	(void)arg;
	worker.looks_due = false;
	session_look_again_all(&worker);
}

static void set_up(void)
{
	struct config config;
	char text[100];
	struct err e;

	must(mkdtemp(directory) != NULL && atexit(remove_directory) == 0);
	listener = listen_in(directory);
	snprintf(text, sizeof(text), "host=%s sslmode=disable", directory);
	config_init(&config);
	must(config_set_string(&config.upstream, text));
	must(config_set_string(&config.aside_upstream, "host=/nowhere sslmode=disable"));
	worker.snapshot = snapshot_new(&config, &e);
	must(worker.snapshot != NULL);
	log_set_level(LOG_LEVEL_ERROR);
	shared.registry = registry_new();
	worker.base = event_base_new();
	worker.buffer = malloc(WORKER_BUFFER);
	shared.stats = stats_new();
	worker.looks = timer_new(worker.base, look_again, NULL);
	must(shared.registry && shared.stats && worker.base && worker.buffer && worker.looks);
}

/* What was said to them is of no interest here. */
static void drain(int fd)
{
	static char scratch[65536];

	while (fd >= 0 && recv(fd, scratch, sizeof(scratch), MSG_DONTWAIT) > 0)
		continue;
}

static void pump(void)
{
	for (int i = 0; i < ROUNDS; i++) {
		event_base_loop(worker.base, EVLOOP_NONBLOCK);
		if (server < 0)
			server = accept(listener, NULL, NULL);
		drain(client);
		drain(server);
	}
}

static void say(int fd, const void *data, size_t len)
{
	if (fd >= 0 && len > 0)
		send(fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void hang_up(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void begin(void)
{
	int pair[2];

	must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) == 0);
	client = pair[0];
	server = -1;
	atomic_fetch_add(&shared.clients, 1); /* as who accepts it does */
	session_accept(&worker, pair[1], 1);
}

static void end(void)
{
	hang_up(&client);
	hang_up(&server);
	session_stop_all(&worker, true);
	for (int i = 0; i < LAST_ROUNDS && worker.sessions; i++) {
		pump();
		hang_up(&server);
	}
	must(!worker.sessions && !worker.asides && worker.settlements == 0);
	must(atomic_load(&shared.clients) == 0);
	/* A session that was just being connected. */
	for (int fd = accept(listener, NULL, NULL); fd >= 0; fd = accept(listener, NULL, NULL))
		close(fd);
	event_base_loop(worker.base, EVLOOP_NONBLOCK);
}

#define COUNT(list) (sizeof(list) / sizeof((list)[0]))

static void put(struct bytes *b, const struct canned *c)
{
	size_t place = bytes_length(b);

	if (c->type) {
		place = message_begin(b, c->type);
		bytes_put(b, c->body, c->len);
		message_end(b, place);
		return;
	}
	bytes_put_u32(b, (uint32_t)c->len + 4);
	bytes_put(b, c->body, c->len);
}

static void put_empty(struct bytes *b, const char *types)
{
	for (; *types; types++)
		message_put_empty(b, *types);
}

/* The whole answer to an inquiry with these rows, one a question. */
static void put_answers(struct bytes *b, const struct canned *rows, size_t n)
{
	static const struct canned tag = TEXT('C', "SELECT 1"), ready = M('Z', "T");

	put_empty(b, "33");
	for (size_t i = 0; i < n; i++) {
		put_empty(b, "12");
		put(b, &rows[i]);
		put(b, &tag);
		put_empty(b, "33");
	}
	put(b, &ready);
}

static void say_buffer(int fd, struct bytes *b)
{
	say(fd, bytes_view(b).data, bytes_length(b));
	bytes_release(b);
}

static void client_says_one(unsigned which)
{
	struct bytes b;

	bytes_init(&b, 4096);
	put(&b, &client_says[which % COUNT(client_says)]);
	say_buffer(client, &b);
}

static void server_says_one(unsigned which)
{
	struct bytes b;

	which %= COUNT(server_says) + 3;
	bytes_init(&b, 4096);
	if (which < COUNT(server_says))
		put(&b, &server_says[which]);
	else if (which == COUNT(server_says))
		put_answers(&b, settings, COUNT(settings));
	else if (which == COUNT(server_says) + 1)
		put_answers(&b, relation, COUNT(relation));
	else
		put_answers(&b, nothing, COUNT(nothing));
	say_buffer(server, &b);
}

/* Bits 0 and 1 of a record's first byte say who and how, the others what or how much. */
static void play(struct slice script)
{
	for (int i = 0; i < MOST_RECORDS && script.len > 0; i++) {
		uint8_t what = script.data[0];
		size_t len = (size_t)(what >> 2) + 1;

		script = slice_of(script.data + 1, script.len - 1);
		len = len < script.len ? len : script.len;
		switch (what & 3) {
		case 0:
			client_says_one(what >> 2);
			break;
		case 1:
			server_says_one(what >> 2);
			break;
		default:
			say((what & 3) == 2 ? client : server, script.data, len);
			script = slice_of(script.data + len, script.len - len);
			break;
		}
		pump();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!worker.base)
		set_up();
	begin();
	play(slice_of(data, size));
	end();
	return 0;
}

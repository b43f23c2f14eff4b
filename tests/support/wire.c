#include "wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "message.h"
#include "patience.h"

#define MAX_WIRES 512
#define QUEUE_LIMIT ((size_t)1 << 30)
#define CANCEL_CODE 80877102u

static struct wire *wires[MAX_WIRES];

static struct wire *wire_over(int fd)
{
	struct wire *w = calloc(1, sizeof(*w));
	struct timeval limit = {.tv_sec = PATIENCE_MS / 1000};
	int on = 1, i = 0;

	assert_non_null(w);
	assert_true(fd >= 0);
	while (i < MAX_WIRES && wires[i])
		i++;
	assert_true(i < MAX_WIRES);
	wires[i] = w;
	bytes_init(&w->out, QUEUE_LIMIT);
	bytes_init(&w->in, QUEUE_LIMIT);
	w->fd = fd;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	return w;
}

struct wire *wire_open_at(const char *address, int port)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	struct wire *w = wire_over(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));

	assert_int_equal(inet_pton(AF_INET, address, &to.sin_addr), 1);
	assert_int_equal(connect(w->fd, (struct sockaddr *)&to, sizeof(to)), 0);
	return w;
}

int wire_listen(int *port)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(at);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(listen(fd, 16), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
	*port = ntohs(at.sin_port);
	return fd;
}

struct wire *wire_accept(int listener)
{
	struct pollfd fd = {.fd = listener, .events = POLLIN};

	if (poll(&fd, 1, PATIENCE_MS) <= 0)
		fail_msg("nobody connects");
	return wire_over(accept4(listener, NULL, NULL, SOCK_CLOEXEC));
}

static void become_client(int fd, int port, const char *arguments)
{
	char command[1024];

	snprintf(command, sizeof(command),
		"exec openssl s_client -quiet -connect 127.0.0.1:%d %s 2>/dev/null", port,
		arguments);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (dup2(fd, 0) == 0 && dup2(fd, 1) == 1)
		execl("/bin/sh", "sh", "-c", command, (char *)NULL);
	_exit(127);
}

struct wire *wire_open_tls(int port, const char *arguments)
{
	int pair[2];
	struct wire *w;
	pid_t pid;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		become_client(pair[1], port, arguments);
	close(pair[1]);
	w = wire_over(pair[0]);
	w->helper = pid;
	return w;
}

struct wire *wire_open(int port)
{
	return wire_open_at("127.0.0.1", port);
}

void wire_close(struct wire *w)
{
	for (int i = 0; i < MAX_WIRES; i++)
		if (wires[i] == w)
			wires[i] = NULL;
	close(w->fd);
	if (w->helper > 0 && kill(w->helper, SIGKILL) == 0)
		waitpid(w->helper, NULL, 0);
	bytes_release(&w->out);
	bytes_release(&w->in);
	free(w);
}

void wire_close_all(void)
{
	for (int i = 0; i < MAX_WIRES; i++)
		if (wires[i])
			wire_close(wires[i]);
}

void wire_raw(struct wire *w, const void *data, size_t len)
{
	bytes_put(&w->out, data, len);
}

void wire_message(struct wire *w, char type, const void *body, size_t len)
{
	bytes_put_u8(&w->out, (uint8_t)type);
	bytes_put_u32(&w->out, (uint32_t)len + 4);
	bytes_put(&w->out, body, len);
}

static void put_pair(struct bytes *b, const char *name, const char *value)
{
	if (!value)
		return;
	bytes_put_cstr(b, name);
	bytes_put_cstr(b, value);
}

void wire_startup(struct wire *w, uint32_t version, const char *user, const char *database,
	const char *options)
{
	size_t place = bytes_length(&w->out);

	bytes_put_u32(&w->out, 0);
	bytes_put_u32(&w->out, version);
	put_pair(&w->out, "user", user);
	put_pair(&w->out, "database", database);
	put_pair(&w->out, "options", options);
	bytes_put_u8(&w->out, 0);
	bytes_set_u32(&w->out, place, (uint32_t)(bytes_length(&w->out) - place));
}

void wire_startup_with(struct wire *w, uint32_t version, ...)
{
	size_t place = bytes_length(&w->out);
	const char *name;
	va_list args;

	bytes_put_u32(&w->out, 0);
	bytes_put_u32(&w->out, version);
	va_start(args, version);
	while ((name = va_arg(args, const char *)))
		put_pair(&w->out, name, va_arg(args, const char *));
	va_end(args);
	bytes_put_u8(&w->out, 0);
	bytes_set_u32(&w->out, place, (uint32_t)(bytes_length(&w->out) - place));
}

void wire_request(struct wire *w, uint32_t code)
{
	bytes_put_u32(&w->out, 8);
	bytes_put_u32(&w->out, code);
}

void wire_cancel(struct wire *w, uint32_t pid, uint32_t secret)
{
	bytes_put_u32(&w->out, 16);
	bytes_put_u32(&w->out, CANCEL_CODE);
	bytes_put_u32(&w->out, pid);
	bytes_put_u32(&w->out, secret);
}

void wire_cancel_key(struct wire *w, const uint8_t *key, size_t len)
{
	bytes_put_u32(&w->out, (uint32_t)len + 8);
	bytes_put_u32(&w->out, CANCEL_CODE);
	bytes_put(&w->out, key, len);
}

/* A message whose body is strings, perhaps behind one byte and before some more. */
static void put_strings(struct wire *w, char type, char kind, const char *first, const char *second,
	const void *tail, size_t tail_len)
{
	struct bytes body;

	bytes_init(&body, QUEUE_LIMIT);
	if (kind)
		bytes_put_u8(&body, (uint8_t)kind);
	bytes_put_cstr(&body, first);
	if (second)
		bytes_put_cstr(&body, second);
	bytes_put(&body, tail, tail_len);
	assert_false(bytes_failed(&body));
	wire_message(w, type, bytes_view(&body).data, bytes_length(&body));
	bytes_release(&body);
}

void wire_password(struct wire *w, const char *password)
{
	put_strings(w, 'p', 0, password, NULL, "", 0);
}

void wire_query(struct wire *w, const char *sql)
{
	put_strings(w, 'Q', 0, sql, NULL, "", 0);
}

void wire_parse(struct wire *w, const char *name, const char *sql)
{
	put_strings(w, 'P', 0, name, sql, "\0\0", 2);
}

void wire_bind(struct wire *w, const char *portal, const char *statement, unsigned format)
{
	const uint8_t tail[] = {0, 0, 0, 0, 0, 1, 0, (uint8_t)format};

	put_strings(w, 'B', 0, portal, statement, tail, sizeof(tail));
}

void wire_bind_text(
	struct wire *w, const char *portal, const char *statement, const char *parameter)
{
	struct bytes tail;

	bytes_init(&tail, QUEUE_LIMIT);
	bytes_put_u16(&tail, 0);
	bytes_put_u16(&tail, 1);
	bytes_put_u32(&tail, (uint32_t)strlen(parameter));
	bytes_put(&tail, parameter, strlen(parameter));
	bytes_put_u16(&tail, 0);
	put_strings(w, 'B', 0, portal, statement, bytes_view(&tail).data, bytes_length(&tail));
	bytes_release(&tail);
}

void wire_describe(struct wire *w, char kind, const char *name)
{
	put_strings(w, 'D', kind, name, NULL, "", 0);
}

void wire_execute(struct wire *w, const char *portal, uint32_t limit)
{
	const uint8_t tail[] = {(uint8_t)(limit >> 24), (uint8_t)(limit >> 16),
		(uint8_t)(limit >> 8), (uint8_t)limit};

	put_strings(w, 'E', 0, portal, NULL, tail, sizeof(tail));
}

void wire_close_target(struct wire *w, char kind, const char *name)
{
	put_strings(w, 'C', kind, name, NULL, "", 0);
}

void wire_sync(struct wire *w)
{
	wire_message(w, 'S', "", 0);
}

void wire_flush(struct wire *w)
{
	wire_message(w, 'H', "", 0);
}

/* So many bytes a segment. False when the other side has closed. */
static bool send_queued(struct wire *w, size_t most)
{
	while (bytes_length(&w->out) > 0) {
		struct slice s = bytes_view(&w->out);
		ssize_t n = send(w->fd, s.data, s.len < most ? s.len : most, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EPIPE || errno == ECONNRESET))
			return false;
		if (n < 0)
			fail_msg("the other side takes nothing any more");
		bytes_consume(&w->out, (size_t)n);
	}
	bytes_release(&w->out);
	return true;
}

bool wire_send(struct wire *w)
{
	return send_queued(w, SIZE_MAX);
}

void wire_send_bytewise(struct wire *w)
{
	send_queued(w, 1);
}

/* False at the end. */
static bool receive(struct wire *w)
{
	struct pollfd fd = {.fd = w->fd, .events = POLLIN};
	uint8_t *room = bytes_reserve(&w->in, 65536);
	ssize_t n;

	assert_non_null(room);
	if (poll(&fd, 1, PATIENCE_MS) <= 0)
		fail_msg("no answer; until now: %s", w->text);
	n = recv(w->fd, room, 65536, 0);
	if (n <= 0)
		return false;
	bytes_commit(&w->in, (size_t)n);
	return true;
}

bool wire_has_input(struct wire *w)
{
	struct pollfd fd = {.fd = w->fd, .events = POLLIN};

	return bytes_length(&w->in) > 0 || poll(&fd, 1, 0) > 0;
}

int wire_byte(struct wire *w)
{
	int byte;

	if (bytes_length(&w->in) == 0 && !receive(w))
		return -1;
	byte = bytes_view(&w->in).data[0];
	bytes_consume(&w->in, 1);
	return byte;
}

bool wire_ends(struct wire *w)
{
	return bytes_length(&w->in) == 0 && !receive(w);
}

bool wire_take(struct wire *w, void *out, size_t len)
{
	while (bytes_length(&w->in) < len)
		if (!receive(w))
			return false;
	memcpy(out, bytes_view(&w->in).data, len);
	bytes_consume(&w->in, len);
	return true;
}

uint32_t wire_take_startup(struct wire *w)
{
	uint8_t header[8], byte;
	uint32_t length;

	if (!wire_take(w, header, sizeof(header)))
		return 0;
	length = bytes_peek_u32(header);
	for (uint32_t i = 8; i < length; i++)
		if (!wire_take(w, &byte, 1))
			return 0;
	return bytes_peek_u32(header + 4);
}

static void say(struct wire *w, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void say(struct wire *w, const char *format, ...)
{
	size_t len = strlen(w->text);
	va_list args;

	if (len > 0 && len + 1 < sizeof(w->text)) {
		w->text[len++] = ' ';
		w->text[len] = '\0';
	}
	va_start(args, format);
	vsnprintf(w->text + len, sizeof(w->text) - len, format, args);
	va_end(args);
}

static const char *field(struct slice body, char code, char *out, size_t size)
{
	struct slice value = {0};

	error_field(body, code, &value);
	snprintf(out, size, "%.*s", (int)value.len, value.len > 0 ? (const char *)value.data : "");
	return out;
}

static void note_position(struct wire *w, struct slice body)
{
	char position[32];
	size_t len = strlen(w->positions);

	if (field(body, 'P', position, sizeof(position))[0])
		snprintf(w->positions + len, sizeof(w->positions) - len, " @%s", position);
}

static void say_row(struct wire *w, struct slice body)
{
	struct slice values[16];
	int n = data_row_decode(body, values, 16);
	struct bytes row;

	bytes_init(&row, 4096);
	for (int i = 0; i < n && i < 16; i++)
		bytes_printf(&row, "%s%.*s", i > 0 ? "," : "",
			values[i].data ? (int)values[i].len : 1,
			values[i].data ? (const char *)values[i].data : "-");
	say(w, "D(%.*s)", (int)bytes_length(&row), (const char *)bytes_view(&row).data);
	bytes_release(&row);
}

static void say_key(struct wire *w, struct cursor c)
{
	w->key_len = c.left < sizeof(w->key) ? c.left : sizeof(w->key);
	memcpy(w->key, c.at, w->key_len);
	w->pid = cursor_u32(&c);
	w->secret = cursor_u32(&c);
	say(w, "K");
}

static void say_pair(struct wire *w, char type, struct cursor c)
{
	struct slice first, second;

	if (type == 'A')
		cursor_u32(&c);
	first = cursor_cstr(&c);
	second = cursor_cstr(&c);
	say(w, "%c(%.*s%c%.*s)", type, (int)first.len, (const char *)first.data,
		type == 'A' ? ',' : '=', (int)second.len, (const char *)second.data);
}

static void say_negotiation(struct wire *w, struct cursor c)
{
	uint32_t minor = cursor_u32(&c), n = cursor_u32(&c);
	char names[256] = "";

	for (uint32_t i = 0; i < n && !c.failed; i++) {
		struct slice name = cursor_cstr(&c);
		size_t len = strlen(names);

		snprintf(names + len, sizeof(names) - len, ",%.*s", (int)name.len,
			(const char *)name.data);
	}
	say(w, "v(%u%s%s)", minor & 0xffff, names, cursor_done(&c) ? "" : " malformed");
}

static void say_message(struct wire *w, char type, struct slice body)
{
	struct cursor c = cursor_over(body);
	char state[64];

	switch (type) {
	case 'E':
		note_position(w, body);
		field(body, 'M', w->error, sizeof(w->error));
		field(body, 'D', w->detail, sizeof(w->detail));
		say(w, "E(%s)", field(body, 'C', state, sizeof(state)));
		break;
	case 'N':
		say(w, "N(%s)", field(body, 'C', state, sizeof(state)));
		break;
	case 'R':
		say(w, "R(%u)", cursor_u32(&c));
		break;
	case 'C':
		say(w, "C(%s)", body.len > 0 ? (const char *)body.data : "");
		break;
	case 'T':
	case 't':
		say(w, "%c(%u)", type, cursor_u16(&c));
		break;
	case 'D':
		say_row(w, body);
		break;
	case 'S':
	case 'A':
		say_pair(w, type, c);
		break;
	case 'K':
		say_key(w, c);
		break;
	case 'v':
		say_negotiation(w, c);
		break;
	case 'd':
		say(w, "d(%zu)", body.len);
		break;
	case 'Z':
		say(w, "Z:%c", cursor_u8(&c));
		break;
	default:
		say(w, "%c", type);
		break;
	}
}

/* One message into the transcript: its type, 0 at the end. */
static char read_message(struct wire *w)
{
	struct slice s;
	size_t size;
	char type;

	while (bytes_length(&w->in) < 5)
		if (!receive(w))
			return 0;
	size = (size_t)bytes_peek_u32(bytes_view(&w->in).data + 1) + 1;
	if (size < 5 || size > QUEUE_LIMIT) {
		say(w, "%c(length %zu)", bytes_view(&w->in).data[0], size - 1);
		return 0;
	}
	while (bytes_length(&w->in) < size)
		if (!receive(w))
			return 0;
	s = bytes_view(&w->in);
	type = (char)s.data[0];
	say_message(w, type, slice_of(s.data + 5, size - 5));
	bytes_consume(&w->in, size);
	return type;
}

const char *wire_answers(struct wire *w, unsigned n_ready)
{
	w->text[0] = w->positions[0] = '\0';
	while (n_ready > 0) {
		char type = read_message(w);

		if (type == 0) {
			say(w, "EOF");
			return w->text;
		}
		if (type == 'Z')
			n_ready--;
	}
	return w->text;
}

const char *wire_until(struct wire *w, const char *word)
{
	w->text[0] = w->positions[0] = '\0';
	for (;;) {
		size_t before = strlen(w->text);
		const char *last = w->text + before + (before > 0);

		if (read_message(w) == 0) {
			say(w, "EOF");
			return w->text;
		}
		if (strncmp(last, word, strlen(word)) == 0)
			return w->text;
	}
}

void wire_login_as(struct wire *w, const char *user, const char *password, const char *database,
	const char *options)
{
	wire_startup(w, 0x30000, user, database, options);
	assert_true(wire_send(w));
	assert_string_equal(wire_until(w, "R"), "R(3)");
	wire_password(w, password);
	assert_true(wire_send(w));
	wire_answers(w, 1);
	if (!strstr(w->text, " Z:I"))
		fail_msg("log-in: %s %s", w->text, w->error);
}

struct wire *wire_login(int port, const char *options)
{
	struct wire *w = wire_open(port);

	wire_login_as(w, "app", "secret", "app", options);
	return w;
}

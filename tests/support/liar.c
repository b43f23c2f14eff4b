#include "liar.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "bytes.h"
#include "frame.h"
#include "message.h"
#include "wire.h"

#define MOST 32u
#define FLOOD 1500
#define BUFFER_LIMIT ((size_t)1 << 26)

static const char *const names[LIES] = {
	[LIE_NOTHING] = "nothing",
	[LIE_GONE] = "gone",
	[LIE_CUT] = "cut",
	[LIE_HALF_CLOSED] = "half_closed",
	[LIE_DRIPPING] = "dripping",
	[LIE_TWICE] = "twice",
	[LIE_LOST] = "lost",
	[LIE_EMPTY] = "empty",
	[LIE_LENGTH_3] = "length_3",
	[LIE_LENGTH_HUGE] = "length_huge",
	[LIE_LENGTH_NEGATIVE] = "length_negative",
	[LIE_ONE_BYTE_MORE] = "one_byte_more",
	[LIE_GARBAGE] = "garbage",
	[LIE_ERROR_EMPTY] = "error_empty",
	[LIE_ERROR_STATELESS] = "error_stateless",
	[LIE_ERROR_OPEN] = "error_open",
	[LIE_ERROR_FATAL] = "error_fatal",
	[LIE_FLOOD] = "flood",
	[LIE_READY_ODD] = "ready_odd",
	[LIE_READY_EARLY] = "ready_early",
	[LIE_ROW_MANY_COLUMNS] = "row_many_columns",
	[LIE_ROW_LONG_COLUMN] = "row_long_column",
	[LIE_ROW_OF_NULLS] = "row_of_nulls",
	[LIE_COPY_IN] = "copy_in",
	[LIE_COPY_OUT] = "copy_out",
	[LIE_AUTHENTICATION] = "authentication",
	[LIE_UNKNOWN_TYPE] = "unknown_type",
};

struct liar_shared {
	atomic_uint connection, message, lie; /* the plan */
	atomic_uint told;
	atomic_uint open, connections;
	atomic_uint messages[MOST];
};

/* One connection of pgaside and its real one. */
struct pair {
	int client, server; /* -1: free */
	struct bytes in;    /* of the server, not passed on yet */
	unsigned number;
	char last; /* type of the message before */
	unsigned run;
	bool dripping;
	bool mute; /* has ended its side */
};

static struct pair pairs[MOST];
static struct liar_shared *shared;

const char *lie_name(enum lie lie)
{
	return names[lie];
}

static int connect_to(int port)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0)
		return fd;
	close(fd);
	return -1;
}

static void hang_up(struct pair *p)
{
	close(p->client);
	close(p->server);
	p->client = p->server = -1;
	bytes_release(&p->in);
	atomic_fetch_sub(&shared->open, 1);
}

static void take_connection(int listener, int port)
{
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC), on = 1;
	struct timeval limit = {.tv_sec = 5};
	struct pair *p = pairs;

	while (p < pairs + MOST && p->client >= 0)
		p++;
	if (fd < 0 || p == pairs + MOST) {
		close(fd);
		return;
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	*p = (struct pair){.client = fd, .server = connect_to(port)};
	bytes_init(&p->in, BUFFER_LIMIT);
	p->number = atomic_fetch_add(&shared->connections, 1);
	atomic_fetch_add(&shared->open, 1);
	if (p->server < 0)
		hang_up(p);
}

static void send_raw(struct pair *p, const void *data, size_t len)
{
	const uint8_t *at = data;
	size_t piece = p->dripping ? 1 : len;

	while (len > 0 && !p->mute) {
		ssize_t n = send(p->client, at, piece < len ? piece : len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return;
		at += n;
		len -= (size_t)n;
	}
}

static void send_message(struct pair *p, char type, uint32_t length, const void *body, size_t len)
{
	uint8_t header[5] = {(uint8_t)type, (uint8_t)(length >> 24), (uint8_t)(length >> 16),
		(uint8_t)(length >> 8), (uint8_t)length};

	send_raw(p, header, sizeof(header));
	send_raw(p, body, len);
}

static void send_body(struct pair *p, char type, const void *body, size_t len)
{
	send_message(p, type, (uint32_t)len + 4, body, len);
}

#define SEND_TEXT(p, type, text) send_body(p, type, text, sizeof(text) - 1)

static void flood(struct pair *p)
{
	for (int i = 0; i < FLOOD; i++) {
		SEND_TEXT(p, 'S', "application_name\0somebody\0");
		SEND_TEXT(p, 'N', "SNOTICE\0C00000\0Mnothing\0\0");
	}
}

static void send_noise(struct pair *p, struct slice message)
{
	uint8_t noise[4096];
	size_t len = message.len - FRAME_HEADER;

	len = len < sizeof(noise) ? len : sizeof(noise);
	for (size_t i = 0; i < len; i++)
		noise[i] = (uint8_t)(i * 151 + 83);
	send_body(p, (char)message.data[0], noise, len);
}

static void send_nulls(struct pair *p, struct slice message)
{
	uint8_t body[2 + 4 * 64];
	unsigned n = 8;

	if (message.data[0] == 'D' && message.len >= 7)
		n = message.data[6];
	n = n < 64 ? n : 64;
	memset(body, 0xff, sizeof(body));
	body[0] = 0;
	body[1] = (uint8_t)n;
	send_body(p, 'D', body, 2 + 4 * (size_t)n);
}

static void end_half(struct pair *p, struct slice message)
{
	send_raw(p, message.data, message.len / 2);
	shutdown(p->client, SHUT_WR);
	p->mute = true;
}

static void tell_length(struct pair *p, struct slice message, uint32_t length)
{
	send_message(p, (char)message.data[0], length, message.data + FRAME_HEADER,
		message.len - FRAME_HEADER);
}

static void send_longer(struct pair *p, struct slice message)
{
	send_message(p, (char)message.data[0], (uint32_t)message.len, message.data + FRAME_HEADER,
		message.len - FRAME_HEADER);
	send_raw(p, "", 1);
}

/* What comes in the place of the message. False: the connection is over. */
static bool lie_about(struct pair *p, struct slice message, enum lie lie)
{
	char type = (char)message.data[0];

	switch (lie) {
	case LIE_GONE:
		return false;
	case LIE_CUT:
		send_raw(p, message.data, message.len / 2);
		return false;
	case LIE_HALF_CLOSED:
		end_half(p, message);
		break;
	case LIE_DRIPPING:
		p->dripping = true;
		send_raw(p, message.data, message.len);
		break;
	case LIE_TWICE:
		send_raw(p, message.data, message.len);
		send_raw(p, message.data, message.len);
		break;
	case LIE_EMPTY:
		send_body(p, type, "", 0);
		break;
	case LIE_LENGTH_3:
		tell_length(p, message, 3);
		break;
	case LIE_LENGTH_HUGE:
		tell_length(p, message, 0x7fffffff);
		break;
	case LIE_LENGTH_NEGATIVE:
		tell_length(p, message, 0xffffffff);
		break;
	case LIE_ONE_BYTE_MORE:
		send_longer(p, message);
		break;
	case LIE_GARBAGE:
		send_noise(p, message);
		break;
	case LIE_ERROR_EMPTY:
		SEND_TEXT(p, 'E', "");
		break;
	case LIE_ERROR_STATELESS:
		SEND_TEXT(p, 'E', "SERROR\0VERROR\0Mno state\0\0");
		break;
	case LIE_ERROR_OPEN:
		SEND_TEXT(p, 'E', "SERROR\0VERROR\0C2350");
		break;
	case LIE_ERROR_FATAL:
		SEND_TEXT(p, 'E', "SFATAL\0VFATAL\0C57P01\0Mbye\0\0");
		break;
	case LIE_FLOOD:
		flood(p);
		send_raw(p, message.data, message.len);
		break;
	case LIE_READY_ODD:
		SEND_TEXT(p, 'Z', "X");
		break;
	case LIE_READY_EARLY:
		SEND_TEXT(p, 'Z', "I");
		send_raw(p, message.data, message.len);
		break;
	case LIE_ROW_MANY_COLUMNS:
		SEND_TEXT(p, 'D', "\xff\xff\0\0\0\1t");
		break;
	case LIE_ROW_LONG_COLUMN:
		SEND_TEXT(p, 'D', "\0\1\x7f\xff\xff\xfft");
		break;
	case LIE_ROW_OF_NULLS:
		send_nulls(p, message);
		break;
	case LIE_COPY_IN:
		SEND_TEXT(p, 'G', "\0\0\1\0\0");
		break;
	case LIE_COPY_OUT:
		SEND_TEXT(p, 'H', "\0\0\1\0\0");
		break;
	case LIE_AUTHENTICATION:
		SEND_TEXT(p, 'R', "\0\0\0\3");
		break;
	case LIE_UNKNOWN_TYPE:
		SEND_TEXT(p, '\x01', "who knows");
		break;
	case LIE_LOST:
	case LIE_NOTHING:
	case LIES:
		break;
	}
	return true;
}

/* True when it counts: in a long run of the same type it does not. */
static bool counts(struct pair *p, char type)
{
	p->run = type == p->last ? p->run + 1 : 0;
	p->last = type;
	return (type != 'D' && type != 'S') || p->run < 2;
}

/* False: the connection is over. */
static bool pass_on(struct pair *p, struct slice message)
{
	unsigned n;

	if (p->number >= MOST || !counts(p, (char)message.data[0])) {
		send_raw(p, message.data, message.len);
		return true;
	}
	n = atomic_fetch_add(&shared->messages[p->number], 1);
	if (atomic_load(&shared->told) || p->number != atomic_load(&shared->connection) ||
		n != atomic_load(&shared->message) || atomic_load(&shared->lie) == LIE_NOTHING) {
		send_raw(p, message.data, message.len);
		return true;
	}
	atomic_store(&shared->told, message.data[0]);
	return lie_about(p, message, (enum lie)atomic_load(&shared->lie));
}

static void hear_server(struct pair *p)
{
	struct frame f;
	ssize_t n = recv(p->server, bytes_reserve(&p->in, 65536), 65536, 0);

	if (n <= 0) {
		hang_up(p);
		return;
	}
	bytes_commit(&p->in, (size_t)n);
	for (;;) {
		struct slice in = bytes_view(&p->in);

		if (frame_peek(in.data, in.len, &f) != FRAME_WHOLE_HEADER || f.size > in.len)
			return;
		if (!pass_on(p, slice_of(in.data, f.size))) {
			hang_up(p);
			return;
		}
		bytes_consume(&p->in, f.size);
	}
}

static void hear_client(struct pair *p)
{
	char buffer[65536];
	ssize_t n = recv(p->client, buffer, sizeof(buffer), 0);

	for (ssize_t at = 0; at < n;) {
		ssize_t sent = send(p->server, buffer + at, (size_t)(n - at), MSG_NOSIGNAL);

		n = sent > 0 ? n : -1;
		at += sent;
	}
	if (n <= 0)
		hang_up(p);
}

static void serve(int listener, int port)
{
	struct pollfd fds[1 + 2 * MOST];

	for (;;) {
		fds[0] = (struct pollfd){.fd = listener, .events = POLLIN};
		for (size_t i = 0; i < MOST; i++) {
			fds[1 + 2 * i] = (struct pollfd){.fd = pairs[i].client, .events = POLLIN};
			fds[2 + 2 * i] = (struct pollfd){.fd = pairs[i].server, .events = POLLIN};
		}
		poll(fds, 1 + 2 * MOST, -1);
		for (size_t i = 0; i < MOST; i++) {
			if (fds[2 + 2 * i].revents && pairs[i].server >= 0)
				hear_server(&pairs[i]);
			if (fds[1 + 2 * i].revents && pairs[i].client >= 0)
				hear_client(&pairs[i]);
		}
		if (fds[0].revents)
			take_connection(listener, port);
	}
}

void liar_start(struct liar *l, int server_port)
{
	int listener = wire_listen(&l->port);
	pid_t parent = getpid();

	l->shared = mmap(NULL, sizeof(*l->shared), PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(l->shared != MAP_FAILED);
	shared = l->shared;
	for (size_t i = 0; i < MOST; i++)
		pairs[i].client = pairs[i].server = -1;
	l->pid = fork();
	assert_true(l->pid >= 0);
	if (l->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() == parent)
			serve(listener, server_port);
		_exit(0);
	}
	close(listener);
}

void liar_stop(struct liar *l)
{
	kill(l->pid, SIGKILL);
	waitpid(l->pid, NULL, 0);
	munmap(l->shared, sizeof(*l->shared));
}

void liar_plan(struct liar *l, unsigned connection, unsigned message, enum lie lie)
{
	atomic_store(&l->shared->lie, LIE_NOTHING);
	atomic_store(&l->shared->connections, 0);
	for (size_t i = 0; i < MOST; i++)
		atomic_store(&l->shared->messages[i], 0);
	atomic_store(&l->shared->connection, connection);
	atomic_store(&l->shared->message, message);
	atomic_store(&l->shared->told, 0);
	atomic_store(&l->shared->lie, lie);
}

char liar_told(const struct liar *l)
{
	return (char)atomic_load(&l->shared->told);
}

unsigned liar_open(const struct liar *l)
{
	return atomic_load(&l->shared->open);
}

unsigned liar_connections(const struct liar *l)
{
	unsigned n = atomic_load(&l->shared->connections);

	return n < MOST ? n : MOST;
}

unsigned liar_messages(const struct liar *l, unsigned connection)
{
	return atomic_load(&l->shared->messages[connection]);
}

#include "listener.h"

#include <errno.h>
#include <event2/event.h>
#include <linux/filter.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "log.h"
#include "timer.h"

#define BACKLOG 1024
#define AT_ONCE (2 * BACKLOG)
/* How long accepting rests when the process has no descriptor left. */
#define REST_MS 200u
/* How often the log says so. */
#define TELL_MS 10000u

struct listener {
	int fd;		     /* owned */
	struct event *event; /* owned */
	struct timer *rest;  /* owned */
	struct listener_owner owner;
	bool shut;	  /* listener_shut_door() */
	uint64_t told_ms; /* when the log was told of a rest */
	dev_t device;	  /* of the file at `path` */
	ino_t inode;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)]; /* "" for TCP */
};

static void on_rested(void *arg)
{
	struct listener *l = arg;

	event_add(l->event, NULL);
}

static void rest(struct listener *l, const char *why)
{
	uint64_t now = timer_now_ms();

	if (l->told_ms == 0 || now - l->told_ms >= TELL_MS) {
		l->told_ms = now;
		log_event(LOG_LEVEL_ERROR, "accept_paused", "reason=\"%s\"", why);
	}
	event_del(l->event);
	timer_start(l->rest, REST_MS);
}

/* Accepts who is waiting, within reason: the loop has other things to do. NULL, or why not all
 * could be. */
static const char *accept_all(struct listener *l)
{
	for (int i = 0; i < AT_ONCE; i++) {
		int client;

		if (!l->owner.has_room(l->owner.arg))
			return "no descriptors are left for another session";
		client = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (client >= 0)
			l->owner.on_client(l->owner.arg, client);
		else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
			return strerrordesc_np(errno);
		else if (errno != EINTR && errno != ECONNABORTED)
			return NULL;
	}
	return NULL;
}

static void on_readable(int fd, short what, void *arg)
{
	struct listener *l = arg;
	const char *why = accept_all(l);

	(void)fd;
	(void)what;
	if (why)
		rest(l, why);
}

/* `fd` listens already. */
static struct listener *listen_on(
	struct event_base *base, int fd, const struct listener_owner *owner)
{
	struct listener *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	l->fd = fd;
	l->owner = *owner;
	l->event = event_new(base, fd, EV_READ | EV_PERSIST, on_readable, l);
	l->rest = timer_new(base, on_rested, l);
	if (!l->event || !l->rest || event_add(l->event, NULL) != 0) {
		l->fd = -1;
		listener_free(l);
		return NULL;
	}
	return l;
}

static struct addrinfo *look_up(const char *address, uint16_t port, struct err *e)
{
	struct addrinfo hints = {
		.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
	struct addrinfo *found = NULL;
	char service[8];
	int error;

	snprintf(service, sizeof(service), "%u", port);
	error = getaddrinfo(strcmp(address, "*") == 0 ? NULL : address, service, &hints, &found);
	if (error != 0)
		err_set(e, "08000", "cannot listen on \"%s\": %s", address, gai_strerror(error));
	return found;
}

static int listening_socket(const struct addrinfo *a, bool reuseport)
{
	int fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int on = 1;

	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (reuseport)
		setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
	/* As PostgreSQL does it: IPv4 has a socket of its own. */
	if (a->ai_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	if (bind(fd, a->ai_addr, a->ai_addrlen) != 0 || listen(fd, BACKLOG) != 0) {
		int error = errno;

		close(fd);
		errno = error;
		return -1;
	}
	return fd;
}

bool listener_knows_ipv6(void)
{
	int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

int listener_socket(const char *address, uint16_t port, bool reuseport, struct err *e)
{
	struct addrinfo *found = look_up(address, port, e);
	int fd;

	if (!found)
		return -1;
	fd = listening_socket(found, reuseport);
	freeaddrinfo(found);
	if (fd < 0)
		err_set(e, "08000", "cannot listen on %s port %u: %s", address, port,
			strerrordesc_np(errno));
	return fd;
}

struct listener *listener_new_tcp(struct event_base *base, const char *address, uint16_t port,
	const struct listener_owner *owner, struct err *e)
{
	int fd = listener_socket(address, port, owner->reuseport, e);
	struct listener *l = fd >= 0 ? listen_on(base, fd, owner) : NULL;

	if (!l && fd >= 0) {
		err_set(e, "53200", "out of memory");
		close(fd);
	}
	return l;
}

/* True when somebody answers there: then the file is not ours to replace. */
static bool is_served(const struct sockaddr_un *address)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool served =
		fd >= 0 && connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0;

	if (fd >= 0)
		close(fd);
	return served;
}

/*
 * Bound under another name first, and then renamed: so there is no moment in which the place is
 * empty, and a predecessor's socket goes on with those who are connected to it.
 */
static int listening_unix_socket(const struct sockaddr_un *address, bool reuseport)
{
	struct sockaddr_un own = {.sun_family = AF_UNIX};
	int len = snprintf(
		own.sun_path, sizeof(own.sun_path), "%s.%d", address->sun_path, (int)getpid());
	int fd, error;

	if (len < 0 || (size_t)len >= sizeof(own.sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	if (!reuseport && is_served(address)) {
		errno = EADDRINUSE;
		return -1;
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	unlink(own.sun_path);
	if (bind(fd, (const struct sockaddr *)&own, sizeof(own)) == 0 && listen(fd, BACKLOG) == 0 &&
		rename(own.sun_path, address->sun_path) == 0)
		return fd;
	error = errno;
	unlink(own.sun_path);
	close(fd);
	errno = error;
	return -1;
}

struct listener *listener_new_unix(struct event_base *base, const char *directory, uint16_t port,
	const struct listener_owner *owner, struct err *e)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct listener *l = NULL;
	struct stat file;
	int len = snprintf(
		address.sun_path, sizeof(address.sun_path), "%s/.s.PGSQL.%u", directory, port);
	int fd;

	if (len < 0 || (size_t)len >= sizeof(address.sun_path)) {
		err_set(e, "08000", "unix_socket_dir: \"%s\" is too long", directory);
		return NULL;
	}
	fd = listening_unix_socket(&address, owner->reuseport);
	if (fd >= 0)
		l = listen_on(base, fd, owner);
	if (!l) {
		err_set(e, "08000", "cannot listen on %s: %s", address.sun_path,
			strerrordesc_np(errno));
		if (fd >= 0)
			close(fd);
		return NULL;
	}
	memcpy(l->path, address.sun_path, sizeof(l->path));
	if (lstat(l->path, &file) == 0) {
		l->device = file.st_dev;
		l->inode = file.st_ino;
	}
	return l;
}

void listener_log(const struct listener *l)
{
	struct sockaddr_storage address;
	socklen_t len = sizeof(address);
	char host[64] = "", quoted[160];

	if (l->path[0])
		log_event(LOG_LEVEL_INFO, "listening", "path=%s",
			log_quote(quoted, sizeof(quoted), l->path, (unsigned)strlen(l->path)));
	else if (getsockname(l->fd, (struct sockaddr *)&address, &len) == 0 &&
		 getnameinfo((const struct sockaddr *)&address, len, host, sizeof(host), NULL, 0,
			 NI_NUMERICHOST) == 0)
		log_event(
			LOG_LEVEL_INFO, "listening", "address=%s port=%u", host, listener_port(l));
}

uint16_t listener_port(const struct listener *l)
{
	struct sockaddr_storage address = {.ss_family = AF_UNSPEC};
	socklen_t len = sizeof(address);
	const struct sockaddr_in *v4 = (const void *)&address;
	const struct sockaddr_in6 *v6 = (const void *)&address;

	if (getsockname(l->fd, (struct sockaddr *)&address, &len) != 0)
		return 0;
	if (address.ss_family == AF_INET)
		return ntohs(v4->sin_port);
	return address.ss_family == AF_INET6 ? ntohs(v6->sin6_port) : 0;
}

static bool attach(int fd, int option, struct sock_filter *steps, size_t n)
{
	const struct sock_fprog program = {(unsigned short)n, steps};

	return setsockopt(fd, SOL_SOCKET, option, &program, sizeof(program)) == 0;
}

/* Of those who listen on a port the first has number 0, and who came after it number 1. */
static void prefer_successor(int fd)
{
	struct sock_filter second[] = {BPF_STMT(BPF_RET | BPF_K, 1)};

	attach(fd, SO_ATTACH_REUSEPORT_CBPF, second, 1);
}

/* Everything passes but a SYN without ACK: the flags are byte 13 of the TCP header. */
static bool drop_first_segments(int fd)
{
	struct sock_filter no_syn[] = {
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 13),
		BPF_STMT(BPF_ALU | BPF_AND | BPF_K, TH_SYN | TH_ACK),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, TH_SYN, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, 0),
		BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
	};

	return attach(fd, SO_ATTACH_FILTER, no_syn, sizeof(no_syn) / sizeof(no_syn[0]));
}

bool listener_shut_door(struct listener *l)
{
	if (!l->owner.reuseport || l->path[0])
		return false;
	prefer_successor(l->fd);
	l->shut = drop_first_segments(l->fd);
	return l->shut;
}

/* A successor may have put its own socket there. */
static void remove_file(const struct listener *l)
{
	struct stat file;

	if (l->path[0] && lstat(l->path, &file) == 0 && file.st_dev == l->device &&
		file.st_ino == l->inode)
		unlink(l->path);
}

void listener_free(struct listener *l)
{
	if (!l)
		return;
	remove_file(l);
	/* Whoever else listens shares again. */
	if (l->shut)
		setsockopt(l->fd, SOL_SOCKET, SO_DETACH_REUSEPORT_BPF, &(int){0}, sizeof(int));
	/* To these the kernel has said that they are connected. */
	if (l->fd >= 0)
		accept_all(l);
	if (l->event)
		event_free(l->event);
	timer_free(l->rest);
	if (l->fd >= 0)
		close(l->fd);
	free(l);
}

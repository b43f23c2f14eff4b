/*
 * conn_address.c - who is at the other end of a conn.
 */
#include "conn.h"

#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

bool conn_is_unix(const struct conn *c)
{
	struct sockaddr_storage own = {.ss_family = AF_UNSPEC};
	socklen_t len = sizeof(own);

	return getsockname(conn_fd(c), (struct sockaddr *)&own, &len) == 0 &&
	       own.ss_family == AF_UNIX;
}

bool conn_is_local(const struct conn *c)
{
	struct sockaddr_storage peer;
	socklen_t len = sizeof(peer);
	const struct sockaddr_in *v4 = (const void *)&peer;
	const struct sockaddr_in6 *v6 = (const void *)&peer;

	if (getpeername(conn_fd(c), (struct sockaddr *)&peer, &len) != 0)
		return false;
	switch (peer.ss_family) {
	case AF_UNIX:
		return true;
	case AF_INET:
		return ntohl(v4->sin_addr.s_addr) >> 24 == 127;
	case AF_INET6:
		return IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr) ||
		       (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr) && v6->sin6_addr.s6_addr[12] == 127);
	default:
		return false;
	}
}

const char *conn_peer(const struct conn *c, char *out, size_t size)
{
	struct sockaddr_storage peer = {.ss_family = AF_UNSPEC};
	socklen_t len = sizeof(peer);
	char host[INET6_ADDRSTRLEN + 16], port[8];

	out[0] = '\0';
	if (getpeername(conn_fd(c), (struct sockaddr *)&peer, &len) != 0)
		return out;
	if (peer.ss_family == AF_UNIX)
		snprintf(out, size, "unix");
	else if (getnameinfo((struct sockaddr *)&peer, len, host, sizeof(host), port, sizeof(port),
			 NI_NUMERICHOST | NI_NUMERICSERV) == 0)
		snprintf(out, size, "%s%s%s:%s", strchr(host, ':') ? "[" : "", host,
			strchr(host, ':') ? "]" : "", port);
	return out;
}

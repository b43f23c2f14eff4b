#include "pidfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define TRIES 10

struct pidfile {
	int fd;	    /* owned: the lock */
	char *path; /* owned */
};

static bool refuse(const char *path, const char *why, struct err *e)
{
	return err_set(e, "F0001", "pidfile \"%s\": %s", path, why);
}

/* What is in it; false when that is no process id. */
static bool read_pid(int fd, char pid[24])
{
	ssize_t n = pread(fd, pid, 23, 0);
	size_t digits;

	pid[n > 0 ? n : 0] = '\0';
	digits = strspn(pid, "0123456789");
	if (strcmp(pid + digits, "\n") != 0 && pid[digits])
		return false;
	pid[digits] = '\0';
	return true;
}

/* Another process may have removed the file between our opening and locking it. */
static bool is_at(const char *path, int fd)
{
	struct stat ours, there;

	return fstat(fd, &ours) == 0 && lstat(path, &there) == 0 && ours.st_dev == there.st_dev &&
	       ours.st_ino == there.st_ino;
}

static bool write_pid(int fd)
{
	char text[24];
	int len = snprintf(text, sizeof(text), "%d\n", (int)getpid());

	return ftruncate(fd, 0) == 0 && pwrite(fd, text, (size_t)len, 0) == len;
}

/* The descriptor of the locked file; -1 with `e` filled. */
static int take(const char *path, struct err *e)
{
	char pid[24], why[64];
	int fd;

	for (int i = 0; i < TRIES; i++) {
		fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
		if (fd < 0)
			break;
		if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
			snprintf(why, sizeof(why), "process %s has it",
				read_pid(fd, pid) && *pid ? pid : "of another kind");
			close(fd);
			refuse(path, why, e);
			return -1;
		}
		if (is_at(path, fd))
			return fd;
		close(fd);
	}
	refuse(path, fd < 0 ? strerrordesc_np(errno) : "it comes and goes", e);
	return -1;
}

struct pidfile *pidfile_new(const char *path, struct err *e)
{
	struct pidfile *p = calloc(1, sizeof(*p));
	char pid[24];

	if (p)
		p->path = strdup(path);
	if (!p || !p->path) {
		refuse(path, "out of memory", e);
		free(p);
		return NULL;
	}
	p->fd = take(path, e);
	if (p->fd >= 0 && read_pid(p->fd, pid) && write_pid(p->fd))
		return p;
	if (p->fd >= 0) {
		/* It may be anything: it is left as it is. */
		refuse(path, "it holds something else, or cannot be written", e);
		close(p->fd);
	}
	free(p->path);
	free(p);
	return NULL;
}

void pidfile_free(struct pidfile *p)
{
	if (!p)
		return;
	/* Before the lock goes, so that nobody else's is removed. */
	unlink(p->path);
	close(p->fd);
	free(p->path);
	free(p);
}

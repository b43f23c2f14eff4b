/*
 * pidfile.h - a file that names the running process, and lets no second one run beside it.
 *
 * What holds it is a lock, which ends with the process however that ends: a file that is left over
 * is in nobody's way.
 */
#ifndef PGASIDE_PIDFILE_H
#define PGASIDE_PIDFILE_H

#include "err.h"

struct pidfile;

/*
 * Takes the file and writes our process id and a line end. NULL with `e` filled when a living
 * process has it, when it holds something else than a process id, or cannot be written. `path` is
 * copied.
 */
struct pidfile *pidfile_new(const char *path, struct err *e);
/* Removes the file. Takes NULL. */
void pidfile_free(struct pidfile *p);

#endif

/*
 * indexes.h - `pgaside indexes`: the INVALID indexes of a database, and their repair.
 */
#ifndef PGASIDE_INDEXES_H
#define PGASIDE_INDEXES_H

/* The command; `argv` begins with its name. Returns the exit status. */
int indexes_main(int argc, char *const *argv);

#endif

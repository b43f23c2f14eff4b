/*
 * version.h - which pgaside this is.
 */
#ifndef PGASIDE_VERSION_H
#define PGASIDE_VERSION_H

#define PGASIDE_VERSION "0.1.0"

_Static_assert(sizeof(PGASIDE_VERSION) > sizeof("0.0"), "major.minor.patch");

#endif

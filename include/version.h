/*
 * version.h - which pgaside this is.
 */
#ifndef PGASIDE_VERSION_H
#define PGASIDE_VERSION_H

#define PGASIDE_VERSION "0.1.0"

#endif

#include "err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

bool err_set(struct err *e, const char *sqlstate, const char *format, ...)
{
	va_list args;

	strncpy(e->sqlstate, sqlstate, sizeof(e->sqlstate) - 1);
	e->sqlstate[sizeof(e->sqlstate) - 1] = '\0';
	va_start(args, format);
	vsnprintf(e->text, sizeof(e->text), format, args);
	va_end(args);
	return false;
}

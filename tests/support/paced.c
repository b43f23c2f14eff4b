#include "paced.h"

#define LOCKS 4300
#define QUARTER 1000

PGconn *paced_hold(void)
{
	PGconn *holder = db_connect(cluster.port, "application_name=holder");

	tell("DROP TABLE IF EXISTS public.paced; CREATE TABLE public.paced (id int, v text) "
	     "WITH (autovacuum_enabled = off); ALTER TABLE public.paced OWNER TO app; INSERT INTO "
	     "public.paced "
	     "SELECT i, pg_catalog.repeat('x', 100) FROM generate_series(0, %d) i",
		4 * QUARTER - 1);
	tell("CREATE OR REPLACE FUNCTION public.pace(int) RETURNS int IMMUTABLE LANGUAGE plpgsql "
	     "AS "
	     "'BEGIN PERFORM pg_advisory_xact_lock_shared(%d + $1 / %d); RETURN $1; END'",
		LOCKS, QUARTER);
	for (int i = 1; i <= 3; i++)
		db_do(holder, "SELECT pg_advisory_lock(%d)", LOCKS + i);
	return holder;
}

bool paced_is_at(int quarter)
{
	return ask_is("t",
		"SELECT count(*) > 0 FROM pg_locks WHERE locktype = 'advisory' AND objid = %d "
		"AND NOT granted",
		LOCKS + quarter);
}

void paced_release(PGconn *holder, int quarter)
{
	db_do(holder, "SELECT pg_advisory_unlock(%d)", LOCKS + quarter);
}

SET LOCAL statement_timeout = '60s';
SELECT pg_advisory_xact_lock(42);
SET LOCAL maintenance_work_mem = '64MB';
CREATE INDEX CONCURRENTLY i1 ON users (email);

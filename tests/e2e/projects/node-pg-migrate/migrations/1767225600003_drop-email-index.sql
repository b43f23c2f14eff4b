-- Up Migration
DROP INDEX CONCURRENTLY IF EXISTS users_email_idx;

-- Down Migration
CREATE INDEX CONCURRENTLY users_email_idx ON users (email);

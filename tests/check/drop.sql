DROP INDEX CONCURRENTLY users_name_idx;
CREATE INDEX CONCURRENTLY users_name_idx ON users (name, email);

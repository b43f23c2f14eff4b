-- as a generator changes an index
DROP INDEX users_name_idx;
CREATE INDEX CONCURRENTLY users_name_idx ON users (lower(name));

-- as: query
CREATE INDEX CONCURRENTLY i1 ON users (email)

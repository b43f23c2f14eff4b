UPDATE ONLY (users) SET name = 'x' WHERE id = 1;
CREATE INDEX CONCURRENTLY i1 ON users (email);

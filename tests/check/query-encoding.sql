-- as: query
SET client_encoding = 'LATIN1';
CREATE INDEX CONCURRENTLY i1 ON users (email);
UPDATE users SET name = 'é';

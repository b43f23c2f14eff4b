-- as: query
BEGIN;
UPDATE users SET name = 'y' WHERE id = 3;
CREATE INDEX CONCURRENTLY i1 ON users (email);
COMMIT;
CREATE INDEX CONCURRENTLY i2 ON users (email, id);

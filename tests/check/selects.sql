SELECT count(*) FROM users u JOIN orders o ON o.user_id = u.id;
SELECT id FROM users FOR UPDATE;
CREATE INDEX CONCURRENTLY i1 ON users (email);
REINDEX TABLE CONCURRENTLY orders;

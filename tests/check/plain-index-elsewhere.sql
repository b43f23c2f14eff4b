CREATE INDEX plain ON orders (user_id);
CREATE INDEX CONCURRENTLY i1 ON users (email);

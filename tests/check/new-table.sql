CREATE TABLE posts (id bigint PRIMARY KEY, body text);
CREATE INDEX CONCURRENTLY posts_body_idx ON posts (body);
CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS posts_both ON public.posts (id, body);
DROP INDEX CONCURRENTLY posts_body_idx;
REINDEX INDEX CONCURRENTLY posts_both;

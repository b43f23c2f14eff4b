DROP TABLE orders;
CREATE TABLE orders (id int, user_id int);
CREATE INDEX CONCURRENTLY i1 ON orders (user_id);
DROP INDEX users_name_idx;
DROP INDEX CONCURRENTLY IF EXISTS users_name_idx;
DROP INDEX CONCURRENTLY users_name_idx;
SELECT 1;

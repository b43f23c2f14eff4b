CREATE SCHEMA app2;
CREATE TABLE app2.users (id int);
CREATE INDEX CONCURRENTLY i1 ON app2.users (id);
CREATE INDEX CONCURRENTLY i2 ON users (email);
SET LOCAL search_path TO app2, public;
CREATE INDEX CONCURRENTLY i3 ON users (id);

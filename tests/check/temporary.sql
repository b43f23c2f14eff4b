CREATE TEMPORARY TABLE users (id int, email text);
CREATE INDEX CONCURRENTLY i1 ON users (email);
CREATE INDEX CONCURRENTLY i2 ON public.users (email);

-- as: query
CREATE INDEX CONCURRENTLY i0 ON users (id, name);
CREATE TABLE posts (id int);
CREATE INDEX CONCURRENTLY i1 ON posts (id);
INSERT INTO posts VALUES (1);
CREATE INDEX CONCURRENTLY i2 ON users (email);
ALTER TABLE users ADD COLUMN nickname text;
CREATE INDEX CONCURRENTLY i3 ON users (nickname);
UPDATE users SET nickname = 'x';

-- as: query
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
CREATE INDEX CONCURRENTLY i1 ON users (email);
UPDATE users SET name = 'é\';

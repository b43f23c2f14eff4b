-- as: query
COPY users FROM STDIN;
CREATE INDEX CONCURRENTLY i1 ON users (email);

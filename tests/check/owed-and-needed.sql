INSERT INTO users VALUES (1001, 'a', 'b');
CREATE UNIQUE INDEX CONCURRENTLY users_id_email ON users (id, email);
INSERT INTO users VALUES (1001, 'a', 'b') ON CONFLICT (id, email) DO NOTHING;

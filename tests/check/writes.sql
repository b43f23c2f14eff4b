UPDATE users SET name = 'x' WHERE id = 1;
CREATE INDEX CONCURRENTLY orders_user_idx ON orders (user_id);
CREATE INDEX CONCURRENTLY users_email_idx ON users (email);

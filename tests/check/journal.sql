CREATE TABLE IF NOT EXISTS journal (v text);
INSERT INTO journal VALUES ('1');
CREATE INDEX CONCURRENTLY users_email_idx ON "users" USING btree ("email");
INSERT INTO journal VALUES ('2');
CREATE INDEX CONCURRENTLY orders_user_idx ON public.orders (user_id);

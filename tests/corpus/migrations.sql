-- migrate:up
;
/* What tools send in one text: empty statements, comments, blanks of every kind. */
BEGIN;;
CREATE TABLE "User" ("id" SERIAL NOT NULL, "email" TEXT NOT NULL, CONSTRAINT "User_pkey" PRIMARY KEY ("id"))
;
-- CreateIndex
CREATE UNIQUE INDEX CONCURRENTLY "User_email_key" ON "User"("email");
--> statement-breakpoint
CREATE INDEX CONCURRENTLY IF NOT EXISTS "user_name_idx" ON "User" USING btree ("name" DESC NULLS LAST);--> statement-breakpoint
ALTER TABLE "User" ADD COLUMN "deletedAt" TIMESTAMP(3);
UPDATE "User" SET "deletedAt" = NULL WHERE "email" LIKE '%;%' /* ; */ ; ; ;
	DROP INDEX CONCURRENTLY IF EXISTS "User_old_idx"	;
INSERT INTO "schema_migrations" (version) VALUES ('20240101000000'), ('20240102000000');
COMMIT;

SET client_min_messages TO warning;SET TIME ZONE 'UTC';select pg_advisory_lock(72707369);
SELECT set_config('lock_timeout', '5s', true);
DO $$ BEGIN
 CREATE TYPE "public"."role" AS ENUM('admin', 'user');
EXCEPTION
 WHEN duplicate_object THEN null;
END $$;
INSERT INTO "knex_migrations" ("batch", "name", "migration_time") VALUES ($1, $2, $3) RETURNING "id";
SELECT a.attname, format_type(a.atttypid, a.atttypmod), pg_get_expr(d.adbin, d.adrelid), a.attnotnull FROM pg_attribute a LEFT JOIN pg_attrdef d ON a.attrelid = d.adrelid AND a.attnum = d.adnum WHERE a.attrelid = '"users"'::regclass AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum;
SELECT EXISTS (SELECT 1 FROM information_schema.tables WHERE table_name = '__drizzle_migrations');
CREATE TABLE IF NOT EXISTS "drizzle"."__drizzle_migrations" (id SERIAL PRIMARY KEY, hash text NOT NULL, created_at bigint);
SAVEPOINT active_record_1;
ROLLBACK TO SAVEPOINT active_record_1;
RELEASE SAVEPOINT active_record_1;
ALTER TABLE "orders" ADD CONSTRAINT "orders_user_fk" FOREIGN KEY ("user_id") REFERENCES "users"("id") ON DELETE no action ON UPDATE no action NOT VALID;
CREATE INDEX CONCURRENTLY "index_orders_on_user_id_and_state" ON "orders" ("user_id", "state") WHERE ("state" = 'open')

DROP INDEX "users_email_idx";--> statement-breakpoint
CREATE INDEX CONCURRENTLY "users_organization_idx" ON "users" USING btree ("organization_id","created_at");
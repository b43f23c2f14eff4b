DROP INDEX "users_organization_idx";--> statement-breakpoint
CREATE INDEX CONCURRENTLY "users_organization_idx" ON "users" USING btree ("organization_id","created_at","id");
-- For the list of an organization's users, newest first.
CREATE INDEX CONCURRENTLY IF NOT EXISTS users_organization_idx
	ON users (organization_id, created_at DESC);

CREATE TABLE users (
	id bigserial PRIMARY KEY,
	organization_id bigint NOT NULL,
	email text NOT NULL,
	created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX users_email_idx ON users (email);
INSERT INTO users (organization_id, email) VALUES (1, 'first@example.org');

exports.up = (knex) =>
	knex.raw(`
		ALTER TABLE users ADD COLUMN nickname text;
		CREATE INDEX CONCURRENTLY users_nickname_idx ON users (nickname);
		UPDATE users SET nickname = 'x; y' WHERE nickname IS NULL;
	`);

exports.down = (knex) => knex.raw('ALTER TABLE users DROP COLUMN nickname');

exports.up = (knex) =>
	knex.raw('CREATE INDEX CONCURRENTLY users_organization_idx ON users (organization_id, created_at)');

exports.down = (knex) => knex.raw('DROP INDEX CONCURRENTLY users_organization_idx');

exports.up = (knex) => knex.raw('DROP INDEX CONCURRENTLY users_email_idx');

exports.down = (knex) => knex.raw('CREATE INDEX CONCURRENTLY users_email_idx ON users (email)');

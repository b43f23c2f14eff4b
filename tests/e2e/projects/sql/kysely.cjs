const { Kysely, Migrator, PostgresDialect, sql } = require('kysely');
const { Pool } = require('pg');
const files = require('./files.cjs');

const pool = new Pool({ connectionString: process.env.DATABASE_URL });
const db = new Kysely({ dialect: new PostgresDialect({ pool }) });
const migrations = Object.fromEntries(
	files.map(([name, text]) => [name, { up: (db) => sql.raw(text).execute(db) }]),
);
const migrator = new Migrator({ db, provider: { getMigrations: async () => migrations } });

(async () => {
	const { error } = await migrator.migrateToLatest();
	await db.destroy();
	if (error) throw error;
})();

// One transaction, each file in a savepoint of it.
const pgp = require('pg-promise')();
const files = require('./files.cjs');

const db = pgp(process.env.DATABASE_URL);

(async () => {
	await db.none('CREATE TABLE IF NOT EXISTS migrations (name text PRIMARY KEY)');
	await db.tx(async (all) => {
		for (const [name, text] of files) {
			if (await all.oneOrNone('SELECT 1 FROM migrations WHERE name = $1', name)) continue;
			await all.tx(async (each) => {
				await each.none(text);
				await each.none('INSERT INTO migrations VALUES ($1)', name);
			});
		}
	});
	await db.$pool.end();
})();

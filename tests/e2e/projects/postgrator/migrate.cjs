const { Client } = require('pg');

(async () => {
	const { default: Postgrator } = await import('postgrator');
	const client = new Client({ connectionString: process.env.DATABASE_URL });
	await client.connect();
	try {
		const postgrator = new Postgrator({
			migrationPattern: 'migrations/*',
			driver: 'pg',
			database: client.database,
			execQuery: (query) => client.query(query),
		});
		await postgrator.migrate();
	} finally {
		await client.end();
	}
})();

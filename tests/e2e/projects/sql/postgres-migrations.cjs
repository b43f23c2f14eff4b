const { migrate } = require('postgres-migrations');
const { Client } = require('pg');

(async () => {
	const client = new Client({ connectionString: process.env.DATABASE_URL });
	await client.connect();
	try {
		await migrate({ client }, 'migrations');
	} finally {
		await client.end();
	}
})();

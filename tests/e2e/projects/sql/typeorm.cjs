// The argument says where transactions are: all, each or none.
require('reflect-metadata');
const { DataSource } = require('typeorm');
const files = require('./files.cjs');

const migrations = files.map(([name, text], at) => {
	const migration = class {
		async up(runner) {
			await runner.query(text);
		}
		async down() {}
	};
	Object.defineProperty(migration, 'name', { value: `M${name}${1767225600001 + at}` });
	return migration;
});

(async () => {
	const source = new DataSource({ type: 'postgres', url: process.env.DATABASE_URL, migrations });
	await source.initialize();
	try {
		await source.runMigrations({ transaction: process.argv[2] });
	} finally {
		await source.destroy();
	}
})();

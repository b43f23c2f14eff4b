const { SlonikMigrator } = require('@slonik/migrator');
const { createPool } = require('slonik');

const slonik = createPool(process.env.DATABASE_URL);
const migrator = new SlonikMigrator({
	slonik,
	migrationsPath: `${__dirname}/migrations`,
	migrationTableName: 'migrations',
	logger: undefined,
});

migrator.up().finally(() => slonik.end());

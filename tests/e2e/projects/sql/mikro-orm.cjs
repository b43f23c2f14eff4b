const { EntitySchema, MikroORM } = require('@mikro-orm/postgresql');
const { Migration, Migrator } = require('@mikro-orm/migrations');
const files = require('./files.cjs');

const migrationsList = files.map(([name, text]) => ({
	name,
	class: class extends Migration {
		up() {
			this.addSql(text);
		}
	},
}));
const user = new EntitySchema({ name: 'User', properties: { id: { type: 'number', primary: true } } });

(async () => {
	const orm = await MikroORM.init({
		clientUrl: process.env.DATABASE_URL,
		entities: [user],
		extensions: [Migrator],
		// Else it sets session_replication_role, which only a superuser may.
		migrations: { migrationsList, disableForeignKeys: false, snapshot: false },
	});
	try {
		await orm.migrator.up();
	} finally {
		await orm.close();
	}
})();

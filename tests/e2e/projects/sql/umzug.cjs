const { Sequelize } = require('sequelize');
const { SequelizeStorage, Umzug } = require('umzug');
const files = require('./files.cjs');

const sequelize = new Sequelize(process.env.DATABASE_URL, { logging: false });
const umzug = new Umzug({
	migrations: files.map(([name, text]) => ({
		name,
		up: () => sequelize.transaction((transaction) => sequelize.query(text, { transaction })),
	})),
	storage: new SequelizeStorage({ sequelize }),
	logger: undefined,
});

umzug.up().finally(() => sequelize.close());

// Drizzle's own migrator with node-postgres, as the tools below tests/e2e have them.
import { createRequire } from 'node:module';

const require = createRequire(new URL('../e2e/tools/pg/package.json', import.meta.url));
const { drizzle } = require('drizzle-orm/node-postgres');
const { migrate } = require('drizzle-orm/node-postgres/migrator');

const [migrationsFolder, migrationsSchema] = process.argv.slice(2);
const db = drizzle(process.env.DATABASE_URL);
try {
  await migrate(db, { migrationsFolder, migrationsSchema });
} finally {
  await db.$client.end();
}

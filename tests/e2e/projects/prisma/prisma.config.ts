import { PrismaPg } from '@prisma/adapter-pg';
import Result from 'pg/lib/result.js';
import { defineConfig } from 'prisma/config';

// The JavaScript engine asks the catalog for columns of the types "char" and name, which its
// adapter does not know; they are shown to it as text.
const addFields = Result.prototype.addFields;
Result.prototype.addFields = function (fields) {
	for (const field of fields) {
		if (field.dataTypeID === 18 || field.dataTypeID === 19) field.dataTypeID = 25;
	}
	return addFields.call(this, fields);
};

// The engine's timers of ten seconds, for its lock, outlive its work, and would keep the process up.
const { setTimeout } = globalThis;
globalThis.setTimeout = ((action: () => void, delay?: number, ...rest: unknown[]) => {
	const timer = setTimeout(action, delay, ...rest);
	return delay === 10000 ? timer.unref() : timer;
}) as typeof setTimeout;

const url = new URL(process.env.DATABASE_URL!);

export default defineConfig({
	experimental: { adapter: true },
	engine: 'js',
	schema: 'schema.prisma',
	migrations: { path: 'migrations' },
	adapter: async () =>
		new PrismaPg({
			host: url.hostname,
			port: Number(url.port),
			user: url.username,
			password: url.password,
			database: url.pathname.slice(1),
			idleTimeoutMillis: 100,
		}),
});

/*
 * postgres.js: a transaction of its own making, pipelined; every parameter makes a named statement.
 * Without fetch_types it would ask for the array types first, in hundreds of rows.
 */
const postgres = require("postgres");

async function main() {
	const sql = postgres({ max: 1, fetch_types: false, onnotice: () => {} });
	await sql.begin(async (tx) => {
		await tx.unsafe("create table if not exists postgres_js (id int, name text)");
		await Promise.all([1, 2].map((id) => tx`insert into postgres_js values (${id}, ${"name"})`));
		await tx.unsafe("create index concurrently postgres_js_name on postgres_js (name)");
	}).catch(() => {});
	await sql.end();
}

main();

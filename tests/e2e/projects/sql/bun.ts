// Arguments: the driver (sql, which is Bun's own, or postgres); `file` for a text with its own BEGIN
// and COMMIT, `begin` for the driver's transaction.
import { SQL } from 'bun';
import postgres from 'postgres';
import files from './files.cjs';

const [driver, how] = process.argv.slice(2);
const url = process.env.DATABASE_URL!;
const sql = driver === 'sql' ? new SQL(url, { max: 1 }) : postgres(url, { max: 1, onnotice() {} });

try {
	await sql.unsafe('CREATE TABLE IF NOT EXISTS migrations (name text PRIMARY KEY)');
	for (const [name, text] of files) {
		if ((await sql`SELECT 1 FROM migrations WHERE name = ${name}`).length) continue;
		const journal = `INSERT INTO migrations VALUES ('${name}');`;
		if (how === 'file') {
			await sql.unsafe(`BEGIN;\n${text}\n${journal}\nCOMMIT;`);
		} else {
			await sql.begin(async (transaction) => {
				await transaction.unsafe(text);
				await transaction`INSERT INTO migrations VALUES (${name})`;
			});
		}
	}
} finally {
	await sql.end();
}

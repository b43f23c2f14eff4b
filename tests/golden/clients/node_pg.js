/* The driver pg as migration tools use it: BEGIN and COMMIT as texts, parameters unnamed. */
const { Client } = require("pg");

async function main() {
	const client = new Client();
	await client.connect();
	await client.query("begin");
	await client.query("create table if not exists node_pg (id int, name text)");
	await client.query("insert into node_pg values ($1, $2)", [1, "one"]);
	await client.query({ name: "by-id", text: "select name from node_pg where id = $1", values: [1] });
	await client.query({ name: "by-id", text: "select name from node_pg where id = $1", values: [2] });
	await client.query("create index concurrently node_pg_name on node_pg (name)").catch(() => {});
	await client.query("rollback");
	await client.end();
}

main();

const url = new URL(process.env.DATABASE_URL);

module.exports = {
	host: url.hostname,
	port: Number(url.port),
	user: url.username,
	password: url.password,
	database: url.pathname.slice(1),
};

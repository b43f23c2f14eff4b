// The files of migrations/, as [name, text].
const fs = require('node:fs');

module.exports = fs
	.readdirSync('migrations')
	.filter((name) => name.endsWith('.sql'))
	.sort()
	.map((name) => [name.slice(0, -4), fs.readFileSync(`migrations/${name}`, 'utf8')]);

# shellcheck shell=bash disable=SC2034
# Common to run and demo.sh: where things are, the tools, a project as it was some commits ago.
top=$(readlink -f "$(dirname "${BASH_SOURCE[0]}")/../..")
e2e=$top/tests/e2e
pgaside=$(readlink -m "${PGASIDE:-$top/build/pgaside}")

# $1 directory below tools/: its packages, as the lock file has them.
install_tools() {
	local tools=$e2e/tools/$1 log
	if [ "$tools/node_modules/.package-lock.json" -nt "$tools/package-lock.json" ]; then return; fi
	echo "installing the npm packages of tests/e2e/tools/$1"
	log=$(mktemp)
	if ! (cd "$tools" && timeout 900 npm ci --no-audit --no-fund --loglevel=error) >"$log" 2>&1; then
		cat "$log"
		rm -f "$log"
		return 1
	fi
	rm -f "$log"
	touch "$tools/node_modules/.package-lock.json"
}

# $1 projects, one laid over the other, $2 and $3 numbers, $4 directory: the project with its migrations
# from the one to the other. What a file of projects/sql says is put into the tool's own form by the
# project's template, a path that ends with .in. Nothing in a file is changed but the length of
# Drizzle's journal.
stage() {
	local folder project
	rm -rf "$4"
	mkdir "$4"
	for project in $1; do cp -R "$e2e/projects/$project/." "$4"; done
	perl "$e2e/generate.pl" "$4" "$e2e/projects/sql/migrations"/*.sql
	for folder in drizzle db/migrate db/migrations app/migrations versions deploy migrations/committed \
		migrations; do
		if [ -d "$4/$folder" ]; then break; fi
	done
	find "$4/$folder" -mindepth 1 -maxdepth 1 -name '*[0-9]*' | sort |
		awk -v from="$2" -v to="$3" 'NR < from || NR > to' | xargs -r rm -r
	if [ $folder = drizzle ]; then
		node -e '
			const fs = require("fs"), path = process.argv[1];
			const journal = JSON.parse(fs.readFileSync(path));
			journal.entries.length = Number(process.argv[2]);
			fs.writeFileSync(path, JSON.stringify(journal, null, 2));' \
			"$4/drizzle/meta/_journal.json" "$3"
	fi
}

# $1 seconds, then a command: tries it until it succeeds or the time is over.
await() {
	local end=$((SECONDS + $1))
	shift
	until "$@"; do
		[ "$SECONDS" -lt "$end" ] || return 1
		sleep 0.05
	done
}

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

# $1 project, $2 number, $3 directory: the project when it had that many migrations. Nothing in a
# file is changed but the length of Drizzle's journal.
stage() {
	local folder=migrations
	if [ "$1" = drizzle ]; then folder=drizzle; fi
	rm -rf "$3"
	cp -R "$e2e/projects/$1" "$3"
	find "$3/$folder" -maxdepth 1 -type f | sort | tail -n "+$(($2 + 1))" | xargs -r rm
	if [ "$1" = drizzle ]; then
		node -e '
			const fs = require("fs"), path = process.argv[1];
			const journal = JSON.parse(fs.readFileSync(path));
			journal.entries.length = Number(process.argv[2]);
			fs.writeFileSync(path, JSON.stringify(journal, null, 2));' \
			"$3/drizzle/meta/_journal.json" "$2"
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

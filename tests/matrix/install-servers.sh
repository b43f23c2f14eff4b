#!/bin/bash
# install-servers.sh: the PostgreSQL servers that servers/package-lock.json names, by npm. Prints the
# directory of each one's programs, for `run --bin`. Does nothing but that when they are there.
set -euo pipefail

servers=$(readlink -f "$(dirname "$0")/servers")
# Several test programs may come at once.
exec 9<"$servers"
flock 9

# Their packages make links of their own when npm runs scripts, which may be forbidden here.
install_servers() {
	(cd "$servers" && timeout 900 npm ci --ignore-scripts --no-audit --no-fund --loglevel=error) || return
	for package in "$servers"/node_modules/postgres-*; do
		(cd "$package" && node scripts/hydrate-symlinks.js) || return
	done
	# The server runs as another user.
	chmod -R a+rX "$servers/node_modules"
	touch "$servers/node_modules/.package-lock.json"
}

if ! [ "$servers/node_modules/.package-lock.json" -nt "$servers/package-lock.json" ]; then
	log=$(mktemp)
	trap 'rm -f "$log"' EXIT
	if ! install_servers >"$log" 2>&1; then
		cat "$log" >&2
		exit 1
	fi
fi
for package in "$servers"/node_modules/postgres-*; do
	echo "$package/native/bin"
done

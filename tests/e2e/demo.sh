#!/bin/bash
# The main job in one minute: a Drizzle migration that PostgreSQL refuses, then the same project
# through pgaside. Ends with status 1 as soon as anything is not as it is said to be.
set -euo pipefail

. "$(dirname "$0")/lib.sh"

if [ -t 1 ]; then bold=$'\e[1m' dim=$'\e[2m' plain=$'\e[0m'; else bold='' dim='' plain=''; fi

step() {
	printf '\n%s%s%s\n' "$bold" "$1" "$plain"
}

indented() {
	sed -e "s/^/    $dim/" -e "s/\$/$plain/"
}

fail() {
	printf '\ndemo: %s\n' "$1" >&2
	exit 1
}

# $1 the status that is expected, then a command, in the project; shows both, and what it prints.
shown() {
	local expected=$1 status=0
	shift
	printf '  $ %s\n' "${*/#"$pgaside"/pgaside}"
	(cd "$project" && exec timeout -k 10 120 "$@") >"$tmp/output" 2>&1 </dev/null || status=$?
	# Without colours, blank lines, npm's remarks and all but the last state of the progress line.
	sed -e 's/\x1b\[[0-9;?]*[A-Za-z]//g' -e '/^[[:space:]]*$/d' -e '/^npm warn/d' \
		-e 's/^\[.*\(\[[^]]*\] \)/\1/' "$tmp/output" | awk 1 | indented
	printf '    exit status %s\n' "$status"
	[ "$status" -eq "$expected" ] || fail "not the exit status that was expected, $expected"
}

query() {
	PGPASSWORD=$PGPASSWORD psql -X -h 127.0.0.1 -p "$PGPORT" -U "$PGUSER" -d "$PGDATABASE" \
		-v ON_ERROR_STOP=1 "$@"
}

cleanup() {
	"$top/tests/support/cluster.sh" stop "$tmp/cluster" || :
	rm -rf "$tmp"
}

[ -x "$pgaside" ] || fail "$pgaside is not there; make builds it"
install_tools pg
tmp=$(mktemp -d "${TMPDIR:-/tmp}/pgaside-demo-XXXXXXXX")
trap cleanup EXIT
trap 'exit 130' HUP INT TERM
chmod 755 "$tmp"
export TMPDIR=$tmp
project=$tmp/project
unset "${!PG@}"
cluster=$("$top/tests/support/cluster.sh" start "$tmp/cluster" --auth scram --owner $$)
eval "$cluster"
export DATABASE_URL=$URL

step "A throwaway PostgreSQL, with SCRAM log-in"
printf '    %s on port %s, in %s\n' "$(query -Atc 'show server_version')" "$PGPORT" "$DIR"

step "The first migration makes the table, which then fills"
stage drizzle 1 1 "$project"
ln -s "$e2e/tools/pg/node_modules" "$project/node_modules"
shown 0 npx drizzle-kit migrate
query -qc "insert into users (organization_id, email)
	select n % 500, 'user' || n || '@example.org' from generate_series(2, 200000) n"
printf '    %s rows\n' "$(query -Atc 'select count(*) from users')"

step "Then schema.ts gets an index declared .concurrently(), and drizzle-kit generate writes"
stage drizzle 1 2 "$project"
ln -s "$e2e/tools/pg/node_modules" "$project/node_modules"
(cd "$project" && grep -H concurrently schema.ts && grep -H . drizzle/0001_*.sql) | indented
files=$(cd "$project" && find . -type f -exec sha256sum {} +)

step "Straight to PostgreSQL: drizzle-kit runs migrations in a transaction, and that is refused"
shown 1 npx drizzle-kit migrate
printf "    drizzle-kit does not say why; PostgreSQL's log does:\n"
grep -m 1 '25001 ERROR:' "$LOG" | indented || fail "no 25001 in PostgreSQL's log"

step "The same project, the same command, through pgaside"
shown 0 "$pgaside" run -- npx drizzle-kit migrate
[ "$files" = "$(cd "$project" && find . -type f -exec sha256sum {} +)" ] || fail "the project was changed"

step "What PostgreSQL has now"
query -P footer=off -c "select relname as index, indisvalid, indisready, pg_size_pretty(pg_relation_size(indexrelid)) as size
	from pg_index join pg_class on pg_class.oid = indexrelid where indrelid = 'users'::regclass order by 1" \
	-c "select id, left(hash, 16) || '...' as hash, created_at from drizzle.__drizzle_migrations order by id" |
	sed '/^$/d' | indented
[ "$(query -Atc "select indisvalid and indisready from pg_index
	where indexrelid = 'users_organization_idx'::regclass")" = t ] || fail "the index is not valid"
[ "$(query -Atc 'select count(*) from drizzle.__drizzle_migrations')" = 2 ] ||
	fail "the journal has not two rows"
[ "$(query -Atc 'select count(*) from pg_index where not indisvalid')" = 0 ] || fail "an index is INVALID"

step "Done: the index is valid, the journal has both migrations, no file was changed."

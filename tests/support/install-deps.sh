#!/bin/bash
# install-deps.sh build|demo|test|bench: installs the Debian packages that are missing for that purpose.
# Says nothing when all are there. Needs root or sudo only when something is missing.
set -euo pipefail

packages=(gcc libc6-dev make pkg-config libevent-dev libssl-dev libpq-dev libinih-dev libidn-dev
	libsystemd-dev)
demo=(postgresql-15 postgresql-client-15 openssl nodejs npm ca-certificates)
test=(libcmocka-dev libpg-query-dev libprotobuf-c-dev clang clang-format clang-tidy
	libclang-rt-14-dev cppcheck shellcheck valgrind python3 python3-psycopg python3-psycopg2
	default-jdk-headless libpostgresql-jdbc-java libspring-jdbc-java
	python3-alembic python3-asyncpg python3-django python3-peewee python3-pg8000 yoyo
	ruby-activerecord ruby-pg ruby-sequel php-cli php-pgsql php-doctrine-dbal php-illuminate-database
	libdbd-pg-perl sqitch golang-go golang-github-jackc-pgx-v4-dev golang-github-lib-pq-dev
	golang-github-jackc-pgmock-dev golang-github-rubenv-sql-migrate-dev pgbouncer tmux
	debhelper lintian mandoc mmdebstrap yamllint python3-yaml
	chromium python3-prometheus-client)
bench=(pgbouncer haproxy strace valgrind python3)
case ${1:-} in
build) ;;
demo) packages+=("${demo[@]}") ;;
test) packages+=("${demo[@]}" "${test[@]}") ;;
bench) packages+=("${demo[@]}" "${bench[@]}") ;;
*) echo "usage: install-deps.sh build|demo|test|bench" >&2 && exit 2 ;;
esac

# Node often comes from elsewhere, with npm in the same package; those must not be mixed. Any Java
# that can compile will do.
present() {
	case $1 in
	nodejs) command -v node >/dev/null ;;
	npm) command -v npm >/dev/null ;;
	default-jdk-headless) command -v javac >/dev/null && command -v java >/dev/null ;;
	*) [[ $installed == *" $1 "* ]] ;;
	esac
}

if ! command -v dpkg-query >/dev/null; then
	echo "install-deps.sh: no Debian system; needed are: ${packages[*]}" >&2
	exit 0
fi
# Ends with status 1 when it does not know a package.
states=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "${packages[@]}" 2>/dev/null || :)
installed=" $(sed -n 's/^installed //p' <<<"$states" | tr '\n' ' ')"
missing=()
for package in "${packages[@]}"; do
	present "$package" || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

as_root=()
if [ "$(id -u)" -ne 0 ]; then
	as_root=(sudo)
	if ! command -v sudo >/dev/null; then
		echo "install-deps.sh: needs root or sudo for: apt-get install ${missing[*]}" >&2
		exit 1
	fi
fi
apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300)

# The server package would make and start a cluster of its own; nobody here needs it.
no_cluster=/etc/postgresql-common/createcluster.d/pgaside-install.conf
if [[ " ${missing[*]} " == *" postgresql-15 "* ]]; then
	trap '"${as_root[@]}" rm -f "$no_cluster"
		"${as_root[@]}" rmdir --ignore-fail-on-non-empty "${no_cluster%/*}"' EXIT
	"${as_root[@]}" mkdir -p "${no_cluster%/*}"
	echo "create_main_cluster = off" | "${as_root[@]}" tee "$no_cluster" >/dev/null
fi

echo "installing ${missing[*]}"
log=$(mktemp)
if ! { "${apt[@]}" update && "${apt[@]}" install --no-install-recommends "${missing[@]}"; } \
	>"$log" 2>&1 </dev/null; then
	tail -n 30 "$log"
	echo "install-deps.sh: apt-get failed; all of its output is in $log" >&2
	exit 1
fi
rm -f "$log"

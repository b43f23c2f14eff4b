#!/bin/bash
# A throwaway PostgreSQL for tests. Prints NAME=value lines (safe to eval) and nothing else on
# standard output; what goes wrong is on standard error, with exit status 1.
#
#   cluster.sh start [DIR] [--auth scram|md5|password|trust] [--tls] [--owner PID]
#                    [--set NAME=VALUE]... [--bin DIRECTORY]
#   cluster.sh stop DIR
#
# DIR (default: a fresh one in the system's temporary folder) must not exist or be empty; it gets
# data, log, unix socket and certificates, and `stop` removes it. With --owner the cluster also goes
# away by itself when that process does, however it ends. Options are described in tests/README.md.
set -euo pipefail

marker=.pgaside-cluster
self=$(readlink -f "$0")

fail() {
	echo "cluster.sh: $*" >&2
	exit 1
}

# PostgreSQL refuses to run as root.
as_user() {
	local user=nobody
	if [ "$(id -u)" -ne 0 ]; then
		"$@"
		return
	fi
	if id postgres >/dev/null 2>&1; then user=postgres; fi
	setpriv --reuid="$user" --regid="$(id -g "$user")" --clear-groups -- "$@"
}

find_bin() {
	local found
	found=$(find /usr/lib/postgresql -maxdepth 3 -path '*/bin/initdb' 2>/dev/null | sort -V | tail -n 1)
	[ -n "$found" ] || fail "no PostgreSQL server programs below /usr/lib/postgresql; see --bin"
	dirname "$found"
}

run_initdb() {
	as_user "$bin/initdb" -D "$dir/data" -U postgres -A trust -E UTF8 --locale C --no-sync \
		>"$dir/initdb.log" 2>&1 || fail "initdb failed: $(tail -n 5 "$dir/initdb.log")"
}

write_settings() {
	local encryption=scram-sha-256 name
	if [ "$method" = md5 ]; then encryption=md5; fi
	cat >>"$dir/data/postgresql.conf" <<-END
		listen_addresses = '127.0.0.1'
		unix_socket_directories = '$dir'
		password_encryption = '$encryption'
		log_line_prefix = '%m [%p] %q%u@%d %e '
		max_prepared_transactions = 10
		shared_buffers = 16MB
		autovacuum = off
		fsync = off
		synchronous_commit = off
		full_page_writes = off
	END
	if [ "$tls" ]; then
		cat >>"$dir/data/postgresql.conf" <<-END
			ssl = on
			ssl_ca_file = '$dir/ca.crt'
			ssl_cert_file = '$dir/server.crt'
			ssl_key_file = '$dir/server.key'
		END
	fi
	for name in "${settings[@]}"; do echo "${name%%=*} = '${name#*=}'"; done >>"$dir/data/postgresql.conf"
}

write_hba() {
	{
		echo "local all,replication all $method"
		if [ "$tls" ]; then
			echo "hostssl all certified 127.0.0.1/32 cert"
			echo "hostssl all,replication all 127.0.0.1/32 $method"
		else
			echo "host all,replication all 127.0.0.1/32 $method"
		fi
	} >"$dir/data/pg_hba.conf"
}

# Before the server runs, so that no moment has a role without its password.
make_roles() {
	as_user "$bin/postgres" --single -D "$dir/data" -c exit_on_error=true postgres \
		>"$dir/roles.log" 2>&1 <<-END || fail "roles: $(cat "$dir/roles.log")"
		ALTER ROLE postgres PASSWORD 'postgres'
		CREATE ROLE app LOGIN PASSWORD 'secret'
		CREATE ROLE certified LOGIN
		CREATE DATABASE app OWNER app
	END
}

# $1 name, $2 subject, $3 extensions
sign() {
	openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -batch \
		-keyout "$dir/$1.key" -out "$dir/$1.csr" -subj "/CN=$2"
	openssl x509 -req -in "$dir/$1.csr" -CA "$dir/ca.crt" -CAkey "$dir/ca.key" -CAcreateserial \
		-days 30 -out "$dir/$1.crt" -extfile <(echo "$3")
}

make_certificates() {
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -batch -days 30 \
		-keyout "$dir/ca.key" -out "$dir/ca.crt" -subj "/CN=pgaside test authority"
	sign server localhost "subjectAltName = DNS:localhost, IP:127.0.0.1"
	sign client certified "extendedKeyUsage = clientAuth"
	chmod 600 "$dir"/*.key
	if [ "$(id -u)" -eq 0 ]; then chown "$(stat -c %U "$dir")" "$dir/server.key"; fi
}

# Another process may take the port between choosing and binding it, so a failed bind chooses anew.
start_server() {
	for _ in 1 2 3 4 5 6 7 8; do
		port=$(shuf -i 20000-32000 -n 1)
		: >"$dir/log"
		if [ "$(id -u)" -eq 0 ]; then chown "$(stat -c %U "$dir")" "$dir/log"; fi
		if as_user "$bin/pg_ctl" start -w -t 60 -s -D "$dir/data" -l "$dir/log" -o "-p $port" \
			</dev/null >/dev/null 2>&1; then
			return
		fi
		grep -q "could not bind" "$dir/log" || break
	done
	fail "the server did not start: $(tail -n 5 "$dir/log")"
}

# A zombie that nobody reaps is not alive.
alive() {
	[ -e "/proc/$1" ] && ! grep -qs '^State:[[:space:]]*Z' "/proc/$1/status"
}

watch_owner() {
	[ "$owner" ] || return 0
	setsid "$self" watch "$owner" "$dir" </dev/null >/dev/null 2>&1 &
	echo $! >"$dir/watch.pid"
}

watch() {
	while alive "$1"; do sleep 0.2; done
	rm -f "$2/watch.pid"
	stop "$2"
}

print_variables() {
	cat <<-END
		DIR=$dir
		PID=$(head -n 1 "$dir/data/postmaster.pid")
		LOG=$dir/log
		SOCKET_DIR=$dir
		PGHOST=127.0.0.1
		PGPORT=$port
		PGUSER=app
		PGPASSWORD=secret
		PGDATABASE=app
		URL=postgresql://app:secret@127.0.0.1:$port/app
		SUPER_URL=postgresql://postgres:postgres@127.0.0.1:$port/app
	END
	if [ "$tls" ]; then
		echo "CA_FILE=$dir/ca.crt"
		echo "CLIENT_CERT_FILE=$dir/client.crt"
		echo "CLIENT_KEY_FILE=$dir/client.key"
		echo "SERVER_CERT_FILE=$dir/server.crt"
		echo "SERVER_KEY_FILE=$dir/server.key"
	fi
}

stop() {
	local dir=$1 pid
	[ -e "$dir" ] || return 0
	[ -e "$dir/$marker" ] || fail "$dir is no cluster of ours"
	if pid=$(cat "$dir/watch.pid" 2>/dev/null); then kill "$pid" 2>/dev/null || :; fi
	if pid=$(head -n 1 "$dir/data/postmaster.pid" 2>/dev/null) && alive "$pid"; then
		as_user "$(cat "$dir/$marker")/pg_ctl" stop -m immediate -t 30 -s -D "$dir/data" \
			</dev/null >/dev/null 2>&1 || fail "the server in $dir did not stop"
	fi
	rm -rf -- "$dir"
}

# On any way out of an unfinished start.
undo_start() {
	local status=$?
	if [ $status -ne 0 ]; then
		[ ! -s "$dir/openssl.log" ] || [ -s "$dir/log" ] || cat "$dir/openssl.log" >&2
		stop "$dir" || :
	fi
	exit $status
}

start() {
	dir='' method=scram tls='' owner='' bin='' settings=()
	while [ $# -gt 0 ]; do
		case $1 in
		--auth) method=$2 && shift 2 ;;
		--tls) tls=yes && shift ;;
		--owner) owner=$2 && shift 2 ;;
		--set) settings+=("$2") && shift 2 ;;
		--bin) bin=$2 && shift 2 ;;
		-*) fail "unknown option $1" ;;
		*) dir=$1 && shift ;;
		esac
	done
	case $method in
	scram) method=scram-sha-256 ;;
	md5 | password | trust) ;;
	*) fail "unknown --auth $method" ;;
	esac
	if [ -z "$bin" ]; then bin=${PG_BIN:-$(find_bin)}; fi
	if [ -z "$dir" ]; then
		dir=$(mktemp -d "${TMPDIR:-/tmp}/pgaside-XXXXXXXX")
	else
		mkdir -p "$dir"
		[ -z "$(ls -A "$dir")" ] || fail "$dir is not empty"
	fi
	dir=$(readlink -f "$dir")
	[[ $dir =~ ^[A-Za-z0-9_./+-]+$ ]] || fail "only letters, digits and _./+- may be in the path $dir"
	echo "$bin" >"$dir/$marker"
	trap undo_start EXIT
	trap 'exit 1' HUP INT TERM
	as_user true || fail "cannot become an unprivileged user"
	if [ "$(id -u)" -eq 0 ]; then chown "$(as_user id -u)" "$dir"; fi
	chmod 755 "$dir"
	run_initdb
	if [ "$tls" ]; then make_certificates >"$dir/openssl.log" 2>&1; fi
	write_settings
	write_hba
	make_roles
	start_server
	watch_owner
	print_variables
}

case ${1:-} in
start) start "${@:2}" ;;
watch) watch "$2" "$3" ;; # for itself
stop) stop "${2:?stop needs a directory}" ;;
*) fail "usage: cluster.sh start [DIR] [options] | cluster.sh stop DIR" ;;
esac

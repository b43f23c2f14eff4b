#!/bin/bash
# suite.sh NAME PROGRAM...: runs test programs side by side, shows the output of those that fail,
# and ends with "NAME: N passed, N failed". A program is a cmocka one, or a replay of a fuzz corpus
# (.../fuzz_NAME, given the files of tests/fuzz/corpus/NAME), or prints "N passed, N failed" itself.
#
# BUILD: where the logs go. JOBS: how many at a time (all processors). TIMEOUT: seconds a program.
# UNDER: what runs the programs, such as "setarch -R".
set -euo pipefail

name=$1
shift
logs=${BUILD:-build}/logs/$name
rm -rf "$logs"
mkdir -p "$logs"
export logs TIMEOUT=${TIMEOUT:-600} UNDER=${UNDER:-}

# build/tests/unit/test_frame -> build/logs/unit/unit-test_frame
log_of() {
	local name=${1##*tests/}
	echo "$logs/${name//\//-}"
}
export -f log_of

run_one() {
	local base=${1##*/} log arguments=() status=0
	log=$(log_of "$1")
	if [[ $base == fuzz_* ]]; then
		mapfile -d '' -t arguments < <(find "tests/fuzz/corpus/${base#fuzz_}" -type f -print0 | sort -z)
	fi
	# shellcheck disable=SC2086 # UNDER is words
	timeout -k 10 "$TIMEOUT" $UNDER "$1" "${arguments[@]}" >"$log.log" 2>&1 </dev/null || status=$?
	if [[ $base == fuzz_* && $status -eq 0 ]]; then
		echo "${#arguments[@]} passed, 0 failed" >>"$log.log"
	fi
	echo "$status" >"$log.status"
}
export -f run_one

# Counts of cmocka and of our own summaries; a program that fails without naming a test, or that ran
# none, is one failure.
count() {
	awk -v status="$2" '
		/^\[  PASSED  \] [0-9]+ test/ { passed += $4 }
		/^\[  FAILED  \] [0-9]+ test/ { failed += $4 }
		/[0-9]+ passed, [0-9]+ failed$/ { passed += $(NF - 3); failed += $(NF - 1) }
		END {
			if (!failed && (status || !passed)) failed = 1
			print passed + 0, failed + 0
		}' "$1"
}

if [ $# -gt 0 ]; then
	# shellcheck disable=SC2016 # for the inner shell
	printf '%s\0' "$@" | xargs -0 -n 1 -P "${JOBS:-$(nproc)}" bash -c 'run_one "$1"' run
fi
passed=0 failed=0
for program; do
	log=$(log_of "$program")
	status=$(cat "$log.status")
	read -r p f < <(count "$log.log" "$status")
	if [ "$f" -gt 0 ]; then
		cat "$log.log"
		echo "$name: $program: $f failed, exit status $status"
	fi
	passed=$((passed + p)) failed=$((failed + f))
done
echo "$name: $passed passed, $failed failed"
[ "$failed" -eq 0 ]

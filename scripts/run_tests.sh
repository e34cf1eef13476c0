#!/usr/bin/env bash
# Runs the Swift tests that `swift build --build-tests` built: a process for each test target, side by side. `swift test
# --parallel` gives every test a process of its own, and starting 600 of them takes as long as the tests.
#
#     scripts/run_tests.sh [regular expression]        (of Target.Class/test names; default: all)
#
# Ends with what failed and a line of sums. A process that dies takes the tests after the one it names with it.
set -uo pipefail
cd "$(dirname "$0")/.."
bin=$(swift build --show-bin-path)
bundle=$(echo "$bin"/*.xctest)
logs=$PWD/.build/tests
rm -rf "$logs" && mkdir -p "$logs"

"$bundle" -l 2>/dev/null | tr -d ' ' | grep -E '^[A-Za-z]+\.[A-Za-z]+/test' | grep -E -- "${1-.}" >"$logs/names" || {
    echo "run_tests: no test of $bundle is called ${1-}" >&2
    exit 1
}
jobs=()
for target in $(cut -d . -f 1 "$logs/names" | sort -u); do
    "$bundle" "$(grep "^$target\." "$logs/names" | paste -sd ,)" >"$logs/$target.log" 2>&1 </dev/null &
    jobs+=("$target:$!")
done

status=0 started=0 failed=0
for job in "${jobs[@]}"; do
    log=$logs/${job%:*}.log result=0
    wait "${job#*:}" || result=$?
    started=$((started + $(grep -c "^Test Case .* started at" "$log")))
    failed=$((failed + $(grep -c "^Test Case .* failed (" "$log")))
    [ $result -eq 0 ] && continue
    status=1
    grep -E ": error: |^Fatal error|Fatal error:" "$log"
    [ $result -eq 1 ] || echo "${job%:*} ended with $result in $(sed -n "s/^Test Case '\(.*\)' started at.*/\1/p" "$log" | tail -n 1); see $log"
done
expected=$(wc -l <"$logs/names")
echo "Executed $started tests of $expected, with $failed failures"
[ "$started" -eq "$expected" ] || status=1
exit $status

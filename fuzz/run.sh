#!/usr/bin/env bash
# Fuzzes every reader for SECONDS each (default 20), with AddressSanitizer, starting from fuzz/corpus.
#
#     fuzz/run.sh [seconds] [target...]
#
# New inputs go to .build/fuzz/corpus, where the next run finds them; an input that crashes to .build/fuzz/crashes.
# FUZZ_CONFIGURATION=debug builds in half the time and runs slower: enough for a run of seconds.
# Ends with a line a target: executions, coverage. Exits with 1 if any target crashed, hung or used too much memory.
set -euo pipefail
cd "$(dirname "$0")"
seconds=${1-20}
shift || true
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=(descriptor wisdom weights onnx pickle packed json config labels arrays picture orientation)
build=$PWD/../.build/fuzz
configuration=${FUZZ_CONFIGURATION:-release}
runtime=$(clang -print-resource-dir)/lib/linux/libclang_rt.fuzzer_no_main-$(uname -m).a

[ "${FUZZ_BUILT-}" ] || swift build -c "$configuration" --scratch-path "$build" --sanitize=address \
    -Xswiftc -sanitize-coverage=edge,indirect-calls,trace-cmp,inline-8bit-counters,pc-table \
    -Xcc -fsanitize=fuzzer-no-link -Xlinker "$runtime" -Xlinker -lstdc++

mkdir -p "$build/crashes"
status=0
for target in "${targets[@]}"; do
    mkdir -p "$build/corpus/$target"
    log=$build/$target.log
    # Bounded: a hang is 30 s, memory 1 GiB, and inputs 64 KiB. OpenMP's threads live as long as the process.
    if ! ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 OMP_NUM_THREADS=2 KMP_BLOCKTIME=0 "$build/$configuration/fuzz" "$target" \
        -max_total_time="$seconds" -timeout=30 -rss_limit_mb=1024 -malloc_limit_mb=1024 -max_len=65536 \
        -artifact_prefix="$build/crashes/$target-" -print_final_stats=1 "$build/corpus/$target" "corpus/$target" \
        >"$log" 2>&1; then
        status=1
        echo "$target: FAILED, see $log" >&2
        grep -vE '^#' "$log" | tail -n 40 >&2
        continue
    fi
    printf '%-10s %9s executions, %s\n' "$target" \
        "$(sed -n 's/stat::number_of_executed_units: *//p' "$log")" \
        "$(grep -oE 'cov: [0-9]+ ft: [0-9]+' "$log" | tail -n 1)"
done
exit "$status"

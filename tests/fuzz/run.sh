#!/bin/sh
# fuzz/run.sh SECONDS TARGET...: runs libFuzzer targets (built by configure --enable-fuzz) on copies of their
# corpora, that long each.  A finding's input stays in ./fuzz-findings.  Prints "N passed, N failed".
: "${top_srcdir:?}"
seconds=$1
shift
passed=0
failed=0
mkdir -p fuzz-findings
ASAN_OPTIONS=${ASAN_OPTIONS:-allocator_may_return_null=1:detect_leaks=1}
UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1:halt_on_error=1}
export ASAN_OPTIONS UBSAN_OPTIONS
for target; do
    name=${target##*/}
    corpus=fuzz-corpus/$name
    mkdir -p "$corpus"
    log=fuzz-findings/$name.log
    if "./$target" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 -max_len=65536 -print_final_stats=1 \
        -artifact_prefix="fuzz-findings/$name-" "$corpus" "$top_srcdir/tests/fuzz/corpus/$name" >"$log" 2>&1; then
        passed=$((passed + 1))
        echo "fuzz $name: $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") inputs, nothing found"
    else
        failed=$((failed + 1))
        echo "fuzz $name: FAILED"
        tail -n 40 "$log"
    fi
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]

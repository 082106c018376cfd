# Sourced before every test (and by benches): the environment they run in.
#   OPENBLAS_CORETYPE   set where this OpenBLAS does not know the processor and would take its slowest
#                       kernels (tests/blascore says which ones instead, or nothing)
#   PATH                the built program first
#   top_srcdir, top_builddir  where sources and objects are
# shellcheck shell=sh
top_builddir=$(pwd)
top_srcdir=$(cd "${srcdir:-.}" && pwd)
export top_builddir top_srcdir
PATH=$top_builddir:$PATH
LC_ALL=C
OPENBLAS_NUM_THREADS=1
# fontconfig keeps memory until the process ends; the leak checker of sanitizer builds need not say so.
LSAN_OPTIONS=suppressions=$top_srcdir/tests/lsan.supp:print_suppressions=0${LSAN_OPTIONS:+:$LSAN_OPTIONS}
export PATH LC_ALL OPENBLAS_NUM_THREADS LSAN_OPTIONS
# A refused 2^62 bytes is an answer, not an error of the program.
ASAN_OPTIONS=${ASAN_OPTIONS:-allocator_may_return_null=1}
UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}
TSAN_OPTIONS=${TSAN_OPTIONS:-halt_on_error=1 allocator_may_return_null=1}
CK_DEFAULT_TIMEOUT=${CK_DEFAULT_TIMEOUT:-60}
export ASAN_OPTIONS UBSAN_OPTIONS TSAN_OPTIONS CK_DEFAULT_TIMEOUT
if [ -z "${OPENBLAS_CORETYPE:-}" ] && [ -x tests/blascore ]; then
    core=$(tests/blascore)
    if [ -n "$core" ]; then
        OPENBLAS_CORETYPE=$core
        export OPENBLAS_CORETYPE
    fi
fi

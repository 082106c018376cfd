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
export PATH LC_ALL OPENBLAS_NUM_THREADS
if [ -z "${OPENBLAS_CORETYPE:-}" ] && [ -x tests/blascore ]; then
    core=$(tests/blascore)
    if [ -n "$core" ]; then
        OPENBLAS_CORETYPE=$core
        export OPENBLAS_CORETYPE
    fi
fi

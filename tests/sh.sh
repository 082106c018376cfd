# The shell tests' library.  A test begins with
#
#     . "${top_srcdir:?run by make check}/tests/sh.sh"
#
# and then stands in an empty folder, with the built program in PATH.
#
#     title 'what is tried'          names the cases that follow, in messages
#     run COMMAND ARGUMENT...        runs it without standard input; its output is in the files out and
#                                    err, its exit status in $code
#     code N                         the status was N
#     ok                             the status was 0
#     error N REGEX                  the status was N, standard error is one line "diffeo..." that
#                                    matches REGEX (extended), standard output is empty
#     out REGEX, err REGEX           a line of standard output / error matches
#     no_file FILE, a_file FILE      FILE does not exist / exists and is not empty
#     same FILE FILE                 the same bytes
#     json PATH [OP VALUE [TOL]]     standard output is one JSON object and the comparison holds (see
#                                    tests/jsonget.c);  json  alone: it is one JSON object
#     fitted CHECK...                such a check of what a training has reached: not asked where loops are shortened
#     steps N                        prints the steps of such a training: N, or a twentieth there
#     value PATH                     prints a value of standard output's JSON
#     python 'text' SCRIPT ARG...    runs a python3 script, or says that it was left out (no python3/numpy)
#     finish                         says how many checks held; the test's exit status
#
# Every check counts; a failing one prints the case, the command, what was expected and what came.
# shellcheck shell=sh

: "${top_srcdir:?run by make check}" "${top_builddir:?run by make check}"

passed=0
failed=0
case_=
last=
code=
jsonget=$top_builddir/tests/jsonget

work=$(mktemp -d "${TMPDIR:-/tmp}/diffeo-sh-XXXXXX") || exit 99
trap 'chmod -R u+w "$work" 2>/dev/null; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
cd "$work" || exit 99

title() { case_=$1; }

# Loops are shortened by DIFFEO_TEST_MULTIPLIER below 1, as under sanitizers.
case ${DIFFEO_TEST_MULTIPLIER:-1} in 0*) short=yes ;; *) short=no ;; esac
fitted() { [ "$short" = yes ] || "$@"; }
steps() { if [ "$short" = yes ]; then echo $(($1 / 20 + 1)); else echo "$1"; fi; }

run() {
    last=$*
    "$@" >out 2>err </dev/null
    code=$?
}

_good() { passed=$((passed + 1)); }

_bad() {
    failed=$((failed + 1))
    {
        echo "FAILED: $case_"
        echo "  command:  $last"
        echo "  expected: $1"
        echo "  came:     status $code"
        [ -s out ] && sed 's/^/  stdout:   /' out | head -n 8
        [ -s err ] && sed 's/^/  stderr:   /' err | head -n 8
    } >&2
    return 0
}

code() {
    if [ "$code" = "$1" ]; then _good; else _bad "status $1"; fi
}

ok() { code 0; }

error() {
    if [ "$code" != "$1" ]; then
        _bad "status $1"
    elif [ "$(grep -cvE '^Try .diffeo.* --help|^information\.$' err)" != 1 ]; then
        _bad "one line on standard error (and, after a misuse, where help is), got $(wc -l <err)"
    elif ! grep -qE '^diffeo( [a-z]+)?: ' err; then
        _bad "a line that begins with 'diffeo COMMAND: '"
    elif ! grep -qE -- "$2" err; then
        _bad "standard error that matches: $2"
    elif [ -s out ]; then
        _bad 'nothing on standard output'
    else
        _good
    fi
}

out() { if grep -qE -- "$1" out; then _good; else _bad "standard output that matches: $1"; fi; }
err() { if grep -qE -- "$1" err; then _good; else _bad "standard error that matches: $1"; fi; }

a_file() { if [ -s "$1" ]; then _good; else _bad "a file $1 that is not empty"; fi; }
no_file() { if [ ! -e "$1" ]; then _good; else _bad "no file $1"; fi; }
same() { if cmp -s "$1" "$2"; then _good; else _bad "the same bytes in $1 and $2"; fi; }

json() {
    if text=$("$jsonget" out "$@"); then _good; else _bad "${text:-JSON}"; fi
}
value() { "$jsonget" out "$1"; }

# What needs numpy is left out, with a word, where it is not.
python() {
    what=$1
    shift
    if python3 -c 'import numpy' 2>/dev/null; then
        run python3 "$@"
        ok
    else
        echo "left out (no python3 with numpy): $what"
    fi
}

finish() {
    echo "$passed passed, $failed failed"
    [ "$failed" = 0 ] || exit 1
    [ "$passed" != 0 ] || exit 99
    exit 0
}

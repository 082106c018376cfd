#!/bin/sh
# The shell tests' library itself: its checks pass what is right and fail what is wrong.
# shellcheck source=tests/sh.sh
. "${top_srcdir:?run by make check}/tests/sh.sh"

title 'status and streams'
run sh -c 'echo out; echo err >&2; exit 3'
code 3
out '^out$'
err '^err$'
run sh -c 'echo "diffeo train: x.csv: expected a number" >&2; exit 1'
error 1 'x\.csv: expected'

title 'files'
echo a >one
cp one two
same one two
a_file one
no_file three

title 'JSON'
run echo '{"rows":3,"mean":-1.25,"name":"nsf","list":[{"x":1e-3},null],"yes":true}'
json
json rows == 3
json rows type integer
json mean '<' -1.2
json mean '~' -1.2500001 1e-6
json name == nsf
json name '!=' nice
json list.0.x '>=' 1e-3
json list.1 == null
json yes == true
[ "$(value list.0.x)" = 0.001 ] && _good

# Each of these must fail, and says so.
good=$passed
wrong() {
    before=$failed
    "$@" 2>report
    if [ "$failed" = "$before" ] || ! grep -q FAILED report; then
        echo "the library lets this pass: $*" >&2
        exit 1
    fi
    failed=$before
    passed=$good
}
wrong code 1
wrong out '^nothing$'
wrong error 1 x
wrong same one out
wrong a_file three
wrong no_file one
wrong json rows == 4
wrong json missing == 4
wrong json mean '~' -1.3 0.01
run echo '{} trailing'
wrong json
run sh -c 'echo one line without the name >&2; exit 1'
wrong error 1 line
run sh -c 'echo "diffeo: a" >&2; echo "diffeo: b" >&2; exit 1'
wrong error 1 a
finish

#!/bin/sh
# An installed copy: what `make install` lays down, every public header alone under gcc and g++ in both
# precisions, and README's C program and the library's examples built with pkg-config against it, shared and static.
: "${top_srcdir:?run by make check}" "${top_builddir:?run by make check}"
unset MAKEFLAGS MFLAGS MAKELEVEL MAKE_TERMOUT MAKE_TERMERR
tmp=$(mktemp -d "${TMPDIR:-/tmp}/diffeo-install-XXXXXX") || exit 99
trap 'rm -rf "$tmp"' EXIT
cd "$top_builddir" || exit 99
passed=0
failed=0
try() {
    what=$1
    shift
    if "$@" >"$tmp/log" 2>&1; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED: $what"
        echo "  $*"
        sed 's/^/  /' "$tmp/log" | head -n 8
    fi
}
make_variable() { sed -n "s/^$1 = //p" Makefile | head -n 1; }
CC=$(make_variable CC)
CXX=$(make_variable TEST_CXX)
SAN=$(make_variable SAN_CFLAGS)
prefix=$(make_variable prefix)

try 'make install' make install DESTDIR="$tmp/root" LIBTOOLFLAGS=--silent
root=$tmp/root$prefix
PKG_CONFIG_PATH=$root/lib/pkgconfig
LD_LIBRARY_PATH=$root/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
export PKG_CONFIG_PATH LD_LIBRARY_PATH
pc() { pkg-config --define-variable=prefix="$root" "$@" diffeo; }

# ---- the files
for f in lib/pkgconfig/diffeo.pc include/diffeo/real.h include/diffeo/names_double.h share/diffeo/faithful.csv \
    share/man/man1/diffeo.1 share/man/man5/diffeo-layers.5 share/bash-completion/completions/diffeo; do
    try "installs $f" test -s "$root/$f"
done
private=$(find "$root/include" -name '*_impl.h' -o -name '*_state.h')
try "no private headers: $private" test -z "$private"
shared=$root/lib/libdiffeo.so
if [ -e "$shared" ]; then
    try 'a soname with a version' sh -c "readelf -d '$shared' | grep -q 'SONAME.*libdiffeo\\.so\\.[0-9]'"
fi

# ---- headers, each alone
for h in "$root"/include/diffeo/*.h; do
    name=${h##*/}
    [ "$name" = names_double.h ] && continue
    for precision in '' -DDFO_DOUBLE; do
        # shellcheck disable=SC2046,SC2086
        {
            echo "#include <diffeo/$name>" >"$tmp/one.c"
            echo 'typedef int not_empty;' >>"$tmp/one.c"
            try "<diffeo/$name> $precision in C11" $CC -std=c11 -pedantic -Wall -Wextra -Wstrict-prototypes \
                -Werror -fsyntax-only $precision $(pc --cflags) "$tmp/one.c"
            if [ -n "$CXX" ]; then
                cp "$tmp/one.c" "$tmp/one.cc"
                try "<diffeo/$name> $precision in C++" $CXX -std=c++11 -Wall -Wextra -Werror -fsyntax-only \
                    $precision $(pc --cflags) "$tmp/one.cc"
            fi
        }
    done
done
[ -n "$CXX" ] || echo 'left out (no g++): headers under C++'

# ---- README's program
awk '/^```c$/ { inside = 1; next } /^```$/ { inside = 0 } inside' "$top_srcdir/README.md" >"$tmp/readme.c"
if [ -s "$tmp/readme.c" ]; then
    # shellcheck disable=SC2046,SC2086
    try "README's program compiles" $CC -std=c11 -Wall -Wextra -Werror $SAN "$tmp/readme.c" -o "$tmp/readme" \
        $(if [ -e "$shared" ]; then pc --cflags --libs; else pc --static --cflags --libs; fi)
    lines=$(wc -l <"$tmp/readme.c")
    try "README's program has about 30 lines ($lines)" test "$lines" -le 40
    if [ ! -e "$shared" ]; then
        try 'it holds the library itself' sh -c "! ldd '$tmp/readme' | grep -q libdiffeo"
    fi
    diffeo=$root/bin/diffeo
    data=$root/share/diffeo/faithful.csv
    model=$tmp/model.safetensors
    try 'the installed program trains' "$diffeo" train --data "$data" --flow realnvp --steps 20 --quiet -o "$model"
    "$diffeo" loglik "$model" --data "$data" --json >"$tmp/loglik.json" 2>/dev/null
    want=$("$top_builddir/tests/jsonget" "$tmp/loglik.json" mean_nats)
    got=$("$tmp/readme" "$model" "$data" 2>"$tmp/log" | grep -oE -- '-?[0-9]+\.[0-9]+' | head -n 1)
    try "README's program says what diffeo loglik says: '$got' and '$want'" \
        awk -v a="$got" -v b="$want" 'BEGIN { d = a - b; exit !(a != "" && b != "" && d * d < 1e-6) }'
    # Whose CBLAS GSL finds in an installed program.
    LD_BIND_NOW=1 LD_DEBUG=bindings "$tmp/readme" "$model" "$data" >/dev/null 2>"$tmp/bindings" || true
    wrong=$(grep -E 'symbol .(cblas_[a-z0-9_]+)' "$tmp/bindings" | grep -E ' to .*gslcblas' | grep -v 'file .*libgslcblas[^ ]* \[' | head -n 3)
    try "CBLAS comes from OpenBLAS, not from GSL: $wrong" test -z "$wrong"
else
    echo "left out: README holds no C program yet"
fi

# ---- the examples, from what is installed alone
for precision in '' -DDFO_DOUBLE; do
    for name in neural_ode neural_cde; do
        # shellcheck disable=SC2046,SC2086
        try "example $name $precision compiles" $CC -std=c11 -Wall -Wextra -Werror $SAN $precision \
            "$top_srcdir/tests/examples/$name.c" -o "$tmp/$name" \
            $(if [ -e "$shared" ]; then pc --cflags --libs; else pc --static --cflags --libs; fi) $(pkg-config --cflags --libs jansson) -lm
    done
done
try 'an example runs' "$tmp/neural_ode" 2

# ---- and away again
try 'make uninstall' make uninstall DESTDIR="$tmp/root"
left=$(find "$tmp/root" -type f -o -type l | head -n 3)
try "nothing is left: $left" test -z "$left"

echo "$passed passed, $failed failed"
[ "$failed" = 0 ]

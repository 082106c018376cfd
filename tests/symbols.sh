#!/bin/sh
# What the shared library exports: dfo_ and dfod_ names alone, and all that the public headers declare,
# in both precisions where there are two.
: "${top_srcdir:?run by make check}" "${top_builddir:?run by make check}"
library=$top_builddir/.libs/libdiffeo.so
if [ ! -f "$library" ]; then
    echo "no shared library was built"
    exit 77
fi
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
nm -D --defined-only "$library" | awk '$2 ~ /[A-Z]/ { print $3 }' | sed 's/@.*//' | sort -u >"$tmp/exported"
status=0
if grep -vE '^(dfod?_|_init$|_fini$)' "$tmp/exported" >"$tmp/foreign"; then
    echo "exported, but neither dfo_ nor dfod_:"
    cat "$tmp/foreign"
    status=1
fi

# Declared functions: a name before a bracket, outside comments and inline functions.
cat "$top_srcdir"/*/diffeo/*.h | tr '\n' '\001' | sed 's:/\*[^*]*\**\([^/*][^*]*\*\**\)*/: :g' | tr '\001' '\n' |
    awk '/^static inline/ { skip = 1 } !skip { print } /^}/ { skip = 0 }' |
    grep -oE '\bdfo_[a-z0-9_]+\(' | tr -d '(' | sort -u >"$tmp/declared"
awk '/^#define dfo_/ { print $2, $3 }' "$top_builddir/lib/diffeo/names_double.h" | sort >"$tmp/twice"
if [ ! -s "$tmp/declared" ] || [ ! -s "$tmp/twice" ]; then
    echo "no declarations found: $(wc -l <"$tmp/declared") names, $(wc -l <"$tmp/twice") in two precisions"
    exit 1
fi
# A double name whose float name is in no header would be rubbish in names_double.h.
{
    cat "$tmp/declared"
    awk 'NR == FNR { declared[$1]; next } $1 in declared { print $2 }' "$tmp/declared" "$tmp/twice"
} | sort -u >"$tmp/wanted"
if comm -23 "$tmp/wanted" "$tmp/exported" >"$tmp/missing" && [ -s "$tmp/missing" ]; then
    echo "declared in a public header, but not exported:"
    cat "$tmp/missing"
    status=1
fi
if comm -13 "$tmp/wanted" "$tmp/exported" | grep -E '^dfod?_' >"$tmp/hidden"; then
    echo "exported, but declared in no public header (private names begin with dfoi_):"
    cat "$tmp/hidden"
    status=1
fi
echo "$(wc -l <"$tmp/exported") names exported, $(wc -l <"$tmp/wanted") declared"
exit $status

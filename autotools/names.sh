#!/bin/sh
# shellcheck disable=SC2086
# names.sh public|private HEADER...: prints "#define dfo_x dfod_x" for what the headers of twice-compiled
# sources declare (those that include real.h or real_impl.h); names that other headers declare stay.
kind=$1; shift
real=; once=
for h in "$@"; do
    if grep -q '#include [<"].*real\(_impl\)\{0,1\}\.h' "$h"; then real="$real $h"; else once="$once $h"; fi
done
names() {
    [ $# -gt 0 ] || return 0
    sed -e 's://.*$::' "$@" | tr '\n' '\001' | sed -e 's:/\*[^*]*\**\([^/*][^*]*\*\**\)*/: :g' | tr '\001' '\n' |
        grep -v '^[[:space:]]*#' |
        grep -oE '\b(dfoi?_[a-z0-9_]+)\(|^extern .*\b(dfoi?_[a-z0-9_]+)(\[[^]]*\])?;' |
        sed -E -e 's/\($//' -e 's/(\[[^]]*\])?;$//' -e 's/^.*[^a-z0-9_](dfoi?_[a-z0-9_]+)$/\1/' | sort -u
}
prefix=dfo_; to=dfod_
[ "$kind" = private ] && prefix=dfoi_ && to=dfoid_
t=${TMPDIR:-/tmp}/names.$$
trap 'rm -f "$t"' EXIT
names $once >"$t"
names $real | grep "^$prefix" | comm -23 - "$t" | sed "s/^$prefix\(.*\)\$/#define $prefix\1 $to\1/"

#!/bin/sh
# coverage.sh: in a folder built with --enable-gcov, after make check: lines executed, file by file (the best
# of the float and the double build), and the total.
: "${top_srcdir:?}"
find . -name '*.gcda' -print | while read -r data; do
    gcov -n -o "${data%/*}" "$data" 2>/dev/null
done | awk -v root="$top_srcdir/" '
/^File / { file = $0; sub(/^File ./, "", file); sub(/.$/, "", file); i = index(file, root); if (i) file = substr(file, i + length(root)); next }
/^Lines executed:/ {
    if (file !~ /^(lib|solvers|flows|samplers|apps)\//) next
    split($0, p, /[:% ]+/)
    share = p[3]; n = $NF
    if (!(file in lines) || share > best[file]) { best[file] = share; lines[file] = n }
}
END {
    for (f in lines) {
        printf "%6.1f %% of %4d  %s\n", best[f], lines[f], f | "sort -n"
        all += lines[f]; done += lines[f] * best[f] / 100
    }
    close("sort -n")
    if (!all) { print "no coverage data"; exit 1 }
    printf "%6.1f %% of %d lines\n", 100 * done / all, all
}'

#!/bin/sh
# Runs the man pages' examples: every line between .EX and .EE that begins with "$ ", page by page, in one
# empty folder a page, with the built program in PATH and the geyser's data as faithful.csv.  An example that
# fails fails the test, with its page and line.  A line that ends in a backslash goes on.
# A line between them that begins with "# status N" says that the next command ends with status N.
# Then the options: what a command's --help lists must stand in its page.
# shellcheck source=tests/sh.sh
. "${top_srcdir:?run by make check}/tests/sh.sh"

: "${work:?}"
pages=$(find "$top_srcdir/apps/man" -name '*.1' 2>/dev/null | sort)
if [ -z "$pages" ]; then
    echo 'no man pages yet'
    exit 77
fi
for page in $pages; do
    name=${page##*/}
    mkdir "$work/$name" && cd "$work/$name" || exit 99
    cp "$top_srcdir/apps/data/faithful.csv" .
    # LINE<tab>STATUS<tab>COMMAND, with troff's \- \e \(aq \(dq undone
    awk '
    /^\.EX/ { inside = 1; next }
    /^\.EE/ { inside = 0; next }
    inside && /^# status [0-9]+/ { status = $3; next }
    inside && (/^\$ / || more) {
        if (!more) { line = NR; text = "" }
        s = $0; sub(/^\$ /, "", s)
        gsub(/\\-/, "-", s); gsub(/\\&/, "", s); gsub(/\\\(aq/, "\047", s); gsub(/\\\(dq/, "\"", s)
        more = sub(/(\\e|\\)$/, "", s); gsub(/\\e/, "\\", s)
        text = text s
        if (!more) { printf "%d\t%d\t%s\n", line, status, text; status = 0 }
    }' "$page" >examples
    while IFS="$(printf '\t')" read -r line status command; do
        title "$name, line $line: $command"
        run sh -c "$command"
        if grep -q 'configured with --without-cairo' err; then
            echo "left out (no cairo): $command"
            continue
        fi
        code "$status"
    done <examples
    command=${name#diffeo-}
    command=${command%.1}
    [ "$name" = diffeo.1 ] && continue
    title "$name names the options of diffeo $command --help"
    run diffeo "$command" --help
    grep -oE -- '^ .{0,6}--[a-z][a-z-]*' out | sed 's/^[^-]*\(-[A-Za-z?], *\)\{0,1\}--/--/' >options
    sed 's/\\f[BIR]//g; s/\\//g' "$page" >plain
    while read -r option; do
        run grep -qE -e "$option([^a-z-]|\$)" plain
        ok
    done <options
done
finish

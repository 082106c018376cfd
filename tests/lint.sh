#!/bin/sh
# The house rules that a compiler does not check:
#   direction   includes point downhill: apps > samplers > flows > solvers > lib, and inside lib
#               base < math < nn < dist, data, plot < train; apps include public headers only
#   length      no file over 600 lines
#   calls       no printing, exiting, aborting and no unsafe calls in library folders; memory from
#               lib/base/mem.c alone
#   comments    a contract comment stands before (or beside) every public function
#   names       a header whose functions come in two precisions includes real.h itself, others do not;
#               the generated names are fresh
#   listed      every source file is in a local.mk
#   tidy        no open notes, tabs, trailing blanks; shellcheck has nothing to say
# Each finding is one line FILE:LINE: text.  Runs on the source tree alone.
set -u
LC_ALL=C
export LC_ALL
cd "${top_srcdir:-$(dirname "$0")/..}" || exit 1
found=$(mktemp) || exit 1
trap 'rm -f "$found" "$found".*' EXIT

sources() { find "$@" -name '*.[ch]' ! -path '*/b[0-9]*' 2>/dev/null | sort; }
library='lib solvers flows samplers'
# shellcheck disable=SC2086
sources $library >"$found.library"
sources apps >"$found.apps"
sources tests >"$found.tests"
cat "$found.library" "$found.apps" "$found.tests" >"$found.all"
if [ "$(wc -l <"$found.all")" -lt 10 ]; then
    echo "lint: no sources below $(pwd)"
    exit 1
fi

# ---- direction ------------------------------------------------------------------------------------

# "diffeo/x.h floor": the floor is the folder, in lib the folder in lib whose local.mk lists the header.
for f in lib/diffeo/*.h; do
    owner=$(grep -lw "$f" lib/*/local.mk lib/local.mk | head -n 1)
    case $owner in
    lib/*/local.mk) owner=${owner#lib/}; echo "diffeo/${f##*/} ${owner%/local.mk}" ;;
    *) echo "$f:1: in no local.mk below lib" >>"$found" ;;
    esac
done >"$found.floors"
for folder in solvers flows samplers; do
    for f in "$folder"/diffeo/*.h; do
        [ -f "$f" ] && echo "diffeo/${f##*/} $folder"
    done
done >>"$found.floors"

# shellcheck disable=SC2046
awk '
BEGIN {
    split("base 0 math 1 nn 2 dist 3 data 3 plot 3 train 4 solvers 5 flows 6 samplers 7 apps 8", w, " ")
    for (i = 1; i in w; i += 2) level[w[i]] = w[i + 1]
}
FILENAME == FLOORS { owner[$1] = $2; next }
FNR == 1 {
    split(FILENAME, part, "/")
    me = part[1] == "lib" ? part[2] : part[1]
    if (part[1] == "lib" && part[2] == "diffeo") me = owner["diffeo/" part[3]]
    if (me == "") next
}
/^[ \t]*#[ \t]*include[ \t]*[<"]/ {
    line = $0
    sub(/^[^<"]*[<"]/, "", line); sub(/[>"].*/, "", line)
    public = line ~ /^diffeo\//
    if (line == "diffeo/names_double.h") next
    if (public) {
        if (!(line in owner)) { print FILENAME ":" FNR ": no such public header: " line; next }
        to = owner[line]
    } else if (line ~ /\//) {
        split(line, p, "/")
        to = p[1]
        if (!(to in level)) next                        # sys/stat.h, Random123/philox.h
    } else next
    if (me == "apps" && !public && to != "apps")
        print FILENAME ":" FNR ": apps use public headers alone, not " line
    else if (to != me && !(level[to] < level[me]))
        print FILENAME ":" FNR ": " me " may not include " line " (of " to ")"
}' FLOORS="$found.floors" "$found.floors" $(cat "$found.library" "$found.apps") >>"$found"

# ---- length ----------------------------------------------------------------------------------------

xargs wc -l <"$found.all" | awk '$2 != "total" && $1 > 600 { print $2 ":600: " $1 " lines, at most 600" }' >>"$found"

# ---- calls -----------------------------------------------------------------------------------------

# The text without comments and strings, "FILE:LINE:code".
code() {
    awk '
    FNR == 1 { inside = 0 }
    {
        s = $0; out = ""
        while (s != "") {
            if (inside) {
                i = index(s, "*/")
                if (!i) { s = ""; break }
                s = substr(s, i + 2); inside = 0
            } else if (match(s, /\/\*|\/\/|"|'\''/)) {
                c = substr(s, RSTART, RLENGTH)
                out = out substr(s, 1, RSTART - 1)
                s = substr(s, RSTART + RLENGTH)
                if (c == "/*") inside = 1
                else if (c == "//") s = ""
                else {
                    while (s != "" && substr(s, 1, 1) != c) s = substr(s, substr(s, 1, 1) == "\\" ? 3 : 2)
                    s = substr(s, 2)
                    out = out c c
                }
            } else { out = out s; s = "" }
        }
        print FILENAME ":" FNR ":" out
    }' "$@"
}
forbid() {        # FILES-LIST NAMES TEXT [EXCEPT-REGEX]
    # shellcheck disable=SC2046
    code $(grep -v -E "${4:-^$}" "$1") | grep -E ":.*(^|[^A-Za-z0-9_.>])($2)[[:space:]]*\(" |
        grep -v -E '^[^:]*:[0-9]*:[[:space:]]*#' |
        sed -E "s#^([^:]*:[0-9]*):.*[^A-Za-z0-9_.>]($2)[[:space:]]*[(].*#\1: \2: $3#" >>"$found"
}
forbid "$found.library" 'printf|fprintf|vprintf|vfprintf|puts|fputs|putchar|perror|abort|exit|_exit|_Exit|assert' \
    'the library never prints, exits or aborts'
forbid "$found.library" 'malloc|calloc|realloc|free|strdup|strndup|posix_memalign|aligned_alloc|alloca' \
    'memory comes from lib/base/mem.c' '^lib/base/mem\.c$'
cat "$found.library" "$found.apps" >"$found.both"
forbid "$found.both" 'atoi|atol|atof|strtok|sprintf|vsprintf|gets|strcpy|strcat|rand|srand' 'forbidden: see style'

# ---- comments --------------------------------------------------------------------------------------

# A comment, then declarations without an empty line between them: it speaks for all of them.
# shellcheck disable=SC2046
awk '
FNR == 1 { block = 0; inside = 0 }
inside { if (/\*\//) { inside = 0; block = 1 } ; next }
/^[ \t]*\/\*/ { if (!/\*\//) inside = 1; else block = 1; next }
/^[ \t]*$/ || /^[#}]/ { block = 0; next }
/^(typedef|struct|enum|static|extern "C")/ { next }
/^[a-z].*[ *]dfo_[a-z0-9_]+\(/ && !block && !/\/\*/ {
    name = $0; sub(/\(.*/, "", name); sub(/.*[ *]/, "", name)
    print FILENAME ":" FNR ": " name ": no contract comment"
}' lib/diffeo/*.h $(find solvers/diffeo flows/diffeo samplers/diffeo -name '*.h' 2>/dev/null | sort) >>"$found"

# ---- names -----------------------------------------------------------------------------------------

# shellcheck disable=SC2046
code $(grep '\.h$' "$found.library") | awk -F: '
{
    file = $1; text = $0; sub(/^[^:]*:[0-9]*:/, "", text)
    if (text ~ /#include[ \t]*[<"].*real(_impl)?\.h|#include[ \t]*""/ ) ;
    if (text ~ /(^|[^a-z0-9_])dfo_real([^a-z0-9_]|$)/) { if (!(file in uses)) uses[file] = $2 }
}
END { for (f in uses) print f ":" uses[f] }' | while IFS=: read -r file line; do
    case $file in lib/diffeo/real.h | lib/base/real_impl.h) continue ;; esac
    grep -q '#include [<"].*real\(_impl\)\{0,1\}\.h' "$file" ||
        echo "$file:$line: mentions dfo_real without including real.h itself: its names would not come in double"
done >>"$found"
if [ -n "${top_builddir:-}" ] && [ -f "$top_builddir/Makefile" ]; then
    for kind in public private; do
        case $kind in public) made=lib/diffeo/names_double.h ;; *) made=lib/names_double_impl.h ;; esac
        # shellcheck disable=SC2046
        sh autotools/names.sh $kind $(grep '\.h$' "$found.library") | cmp -s - "$top_builddir/$made" ||
            echo "$made:1: not what autotools/names.sh makes of the headers" >>"$found"
    done
fi

# ---- listed ----------------------------------------------------------------------------------------

cat Makefile.am ./*/local.mk ./*/*/local.mk tests/*.mk 2>/dev/null | tr -s ' \t' '\n' | sort -u >"$found.listed"
while read -r file; do
    grep -qxF -- "$file" "$found.listed" || echo "$file:1: in no local.mk" >>"$found"
done <"$found.all"

# ---- tidy ------------------------------------------------------------------------------------------

scripts=$(find bootstrap .ci/run autotools/names.sh tests apps -type f 2>/dev/null |
    grep -E '\.sh$|^bootstrap$|^\.ci/run$' | sort)
note='TO''DO|FIX''ME|XX''X'
# shellcheck disable=SC2046,SC2086
{
    grep -nE "(^|[^A-Za-z])($note)([^A-Za-z]|$)" $(cat "$found.all") $scripts | sed 's/$/   (an open note)/'
    grep -nE "$(printf '\t')|[[:blank:]]+\$" $(cat "$found.all") | sed 's/:\([0-9]*\):.*/:\1: a tab, or blanks at the end/'
} >>"$found"
if command -v shellcheck >/dev/null 2>&1; then
    # shellcheck disable=SC2086
    shellcheck -e SC1091 -f gcc $scripts >>"$found"
else
    echo "lint: no shellcheck here: shell scripts were not checked"
fi

# ----------------------------------------------------------------------------------------------------
if [ -s "$found" ]; then
    cat "$found"
    echo "lint: $(wc -l <"$found") findings"
    exit 1
fi
echo "lint: $(wc -l <"$found.all") files, no findings"

# Sequences of the UEA archive (.ts: channels joined by ':', their values by ',', the class last) as the table that neural_cde reads:
#     zcat X_TRAIN.ts.gz | awk -v points=29 -f sequences.awk >train.csv
# points: of the longest sequence; what a shorter one lacks is nan.  Classes are numbered from 0 in the order of the file's list.
tolower($1) == "@classlabel" { for (i = 3; i <= NF; i++) class[$i] = i - 3; next }
tolower($1) == "@data" { data = 1; next }
/^[#@]/ || !data || !NF { next }
{
    sub(/\r$/, "")
    channels = split($0, part, ":") - 1
    for (c = 1; c <= channels; c++) {
        n = split(part[c], value, ",")
        if (n > points) {
            printf "sequences.awk: line %d: %d points, expected %d at most\n", FNR, n, points >"/dev/stderr"
            exit 1
        }
        for (p = 1; p <= points; p++)
            x[p, c] = p > n || value[p] == "?" ? "nan" : value[p]
    }
    line = class[part[channels + 1]]
    for (p = 1; p <= points; p++)
        for (c = 1; c <= channels; c++)
            line = line "," x[p, c]
    print line
}

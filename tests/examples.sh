#!/bin/sh
# The library's examples: what they learn, the same bits twice, tables that they refuse.  Real sequences come from
# DIFFEO_SHARED/data, or ../shared/data beside the checkout; without them a word says so.
# shellcheck source=tests/sh.sh
. "${top_srcdir:?run by make check}/tests/sh.sh"
: "${top_builddir:?}" "${work:?}" "${code=}"
ode=$top_builddir/tests/examples/neural_ode
cde=$top_builddir/tests/examples/neural_cde

# number REGEX: the number behind the first match in standard output.
number() { sed -nE "s/.*$1 *([-0-9.e]+).*/\\1/p" out | head -n 1; }
# holds EXPRESSION: of awk.
holds() {
    last="$last: $1"
    if awk "BEGIN { exit !($1) }" </dev/null; then code=0; else code=1; fi
    ok
}

title 'a neural ODE forecasts swings that it has not seen'
for precision in '' _d; do
    run "$ode$precision" 300
    ok
    e=$(number 'root mean squared error:') untrained=$(number 'untrained') line=$(number 'lines')
    holds "\"$e\" != \"\" && $e < 0.05 && $e < $untrained / 10 && $e < $line / 10"
done
run "$ode" 50
cp out once
run "$ode" 50
ok
same once out

title 'a neural CDE tells circles to the left from circles to the right'
# 8 to 20 points, every seventh number missing.
for seed in 1 2; do
    awk -v seed=$seed 'function draw() { seed = (seed * 16807) % 2147483647; return seed / 2147483647 }
        BEGIN {
            for (i = 0; i < 200; i++) {
                phase = 6.2832 * draw(); points = 8 + int(13 * draw()); line = i % 2
                for (p = 0; p < 20; p++) {
                    angle = phase + (i % 2 ? -0.4 : 0.4) * p
                    x = cos(angle) + 0.1 * draw(); y = sin(angle) + 0.1 * draw()
                    line = line "," (p < points && draw() > 1 / 7 ? x : "nan") "," (p < points && draw() > 1 / 7 ? y : "nan")
                }
                print line
            }
        }' >circles$seed.csv
done
run "$cde" circles1.csv circles2.csv 2 60
ok
holds "$(number 'accuracy') >= 0.97"
cp out once
run "$cde" circles1.csv circles2.csv 2 60
same once out

title 'tables that do not fit'
run "$cde"
code 2
err '^usage: '
run "$cde" circles1.csv circles2.csv 3
code 1
err 'circles1.csv: expected a class and 2 to 256 points of 3 channels, got 41 columns'
sed 's/^1,/1.5,/' circles2.csv >half.csv
run "$cde" circles1.csv half.csv 2
code 1
err 'row 201: class 1.5, expected a whole number'
run "$cde" circles1.csv no.csv 2
code 1
err '^neural_cde: no.csv: '

title 'a neural CDE tells speakers by their vowels'
data=${DIFFEO_SHARED:-$top_srcdir/../shared}/data/timeseries
if [ -f "$data/JapaneseVowels_TRAIN.ts.gz" ]; then
    for part in TRAIN TEST; do
        gzip -dc "$data/JapaneseVowels_$part.ts.gz" | awk -v points=29 -f "$top_srcdir/tests/examples/sequences.awk" >$part.csv
    done
    run "$cde" TRAIN.csv TEST.csv 12 300
    ok
    out '270 sequences of up to 29 points, 12 channels and time, 9 classes'
    out 'of 370 in the test'
    echo "accuracy of 370 test sequences: $(number 'accuracy')"
    holds "$(number 'accuracy') > 0.92"
else
    echo "left out (no $data/JapaneseVowels_TRAIN.ts.gz): sequences of vowels"
fi

finish

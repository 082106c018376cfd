#!/bin/sh
# Tables: columns of every kind, words, densities in the columns' own units, probabilities that sum to 1, rows that lack something
# against the closed form of a Gaussian, and what goes wrong.
# shellcheck source=tests/sh.sh
. "${top_srcdir:?run by make check}/tests/sh.sh"
: "${work:?}" "${code=}"

awk 'function n() { return sqrt(-2 * log(1 - rand())) * cos(6.283185307179586 * rand()) }
    BEGIN { srand(3); print "age,rate,count,kind,angle"
    for (i = 0; i < 600; i++) { z = n(); k = rand() < 0.5 ? "red" : rand() < 0.6 ? "green" : "deep blue"
        printf "%.4f,%.4f,%d,%s,%.3f\n", exp(0.5 * z + 1), 1 / (1 + exp(-n() - 0.5 * z)), 1 + rand() * (k == "red" ? 3 : 6), k, (350 + 40 * z + 3600) % 360 }
    }' >people.csv
types='--type age=positive,rate=[0,1],count=integer[1,6] --type kind=categorical --type angle=periodic:360'
small='--flow realnvp --set layers=2 --set hidden=16 --quiet'
train() {
    # shellcheck disable=SC2086
    run diffeo train $small "$@"
}

title 'every kind: there and back, words as they were'
# shellcheck disable=SC2086
train --data people.csv $types --steps 60 -o people.safetensors
ok
run diffeo info people.safetensors
ok
out '"kind": "integer"'
out '"red", "deep blue", "green"|"words"'
run diffeo loglik people.safetensors --data people.csv --json
ok
json estimate == bound
json dims == 5
one=$(value mean_nats)
run diffeo loglik people.safetensors --data people.csv --draws 64 --json
ok
json estimate == bound
json mean_nats '>' "$one"
json estimate_stderr '<' 0.01
run diffeo encode people.safetensors --data people.csv -o z.safetensors --precision double
ok
run diffeo decode people.safetensors --data z.safetensors -o back.csv --precision double
ok
awk -F, 'NR == FNR { row[FNR] = $0; next } FNR == 1 { if ($0 != row[1]) print "header" ; next } { split(row[FNR], a, ",")
    if (a[3] != $3 || a[4] != $4) print "row " FNR ": " $0 " of " row[FNR]
    for (j = 1; j <= 5; j++) if (j != 3 && j != 4 && (a[j] - $j > 1e-6 || $j - a[j] > 1e-6)) print "row " FNR ": " $0 " of " row[FNR] }' \
    people.csv back.csv >differences
run grep -c . differences
out '^0$'

title 'samples are inside their bounds, whole where they are to be'
run diffeo sample people.safetensors -n 2000 -o s.csv
ok
run awk -F, 'NR > 1 && !($1 > 0 && $2 > 0 && $2 < 1 && $3 ~ /^[1-6]$/ && $4 ~ /^(red|green|deep blue)$/ && $5 >= 0 && $5 <= 360) { print; bad = 1 }
    END { exit bad || NR != 2001 }' s.csv
ok
run diffeo loglik people.safetensors --data s.csv
ok
run diffeo sample people.safetensors -n 10 -o s.npy
ok
run diffeo loglik people.safetensors --data s.npy
ok

title 'units: of a positive column in thousandths, log p is less by log 1000'
awk -F, 'NR == 1 { print "age"; next } { print $1 }' people.csv >age.csv
awk 'NR == 1 { print; next } { print 1000 * $1 }' age.csv >milli.csv
for f in age milli; do
    train --data $f.csv --type age=positive --steps 20 --flow nsf --set layers=1 --valid-fraction 0 -o $f.safetensors
    ok
    run diffeo loglik $f.safetensors --data $f.csv --json
    ok
    json estimate == exact
    [ $f = age ] && age=$(value mean_nats)
done
json mean_nats '~' "$(awk -v a="$age" 'BEGIN { print a - log(1000) }')" 1e-3

title 'all outcomes of a small table: probabilities sum to 1'
awk 'BEGIN { srand(2); print "n,c"; for (i = 0; i < 400; i++) { n = int(3 * rand()); printf "%d,%s\n", n, rand() < 0.3 + 0.2 * n ? "yes" : "no" } }' >small.csv
train --data small.csv --type 'n=integer[0,2],c=categorical' --steps 100 -o small.safetensors
ok
awk 'BEGIN { print "n,c"; for (n = 0; n < 3; n++) { print n ",yes"; print n ",no" } }' >all.csv
run diffeo loglik small.safetensors --data all.csv --draws 20000 -o p.csv --json
ok
error=$(value estimate_stderr)
# errors of log p, of 6 rows: that of their sum is at most 6 times that of their mean
run awk -v e="$error" 'NR > 1 { sum += exp($1) } END { print sum; exit !(sum > 1 - 18 * e - 1e-3 && sum < 1 + 18 * e + 1e-3) }' p.csv
ok
run awk -v e="$error" 'BEGIN { exit !(e < 0.003) }'
ok

title 'codes in place of words, and integers without bounds'
awk -F, 'NR == 1 { print; next } { print $1 - 1 "," ($2 == "yes") }' small.csv >codes.csv
train --data codes.csv --type '1=integer,2=categorical:3' --steps 10 -o codes.safetensors --json
ok
run diffeo sample codes.safetensors -n 50 -o -
ok
run awk -F, 'NR > 1 && !($1 ~ /^-?[0-9]+$/ && $2 ~ /^[012]$/) { bad = 1 } END { exit bad }' out
ok

title 'the same bits again'
train --data small.csv --type 'n=integer[0,2],c=categorical' --steps 100 --threads 1 -o again.safetensors
ok
same again.safetensors small.safetensors

title 'pictures: of whole numbers as a corner plot, of bounded columns within their bounds'
run diffeo plot people.safetensors people.csv -o people.png
if grep -q 'without-cairo' err; then
    echo 'left out: no cairo'
else
    ok
    run diffeo plot small.safetensors small.csv -o small.png
    ok
    run diffeo plot age.safetensors -o age.png
    ok
    a_file age.png
fi

title 'what is refused'
refused() {
    status=$1
    text=$2
    shift 2
    train --data people.csv --steps 2 -o no.safetensors "$@"
    error "$status" "$text"
    no_file no.safetensors
}
k='--type=kind=categorical'
refused 2 "no column 'agge' in people.csv; known: age, rate, count, kind, angle, or 1 to 5" $k --type agge=positive
refused 2 "no column '6' in" $k --type 6=positive
refused 2 "unknown kind 'odd'; known: real, positive" $k --type age=odd
refused 2 "unknown kind '\[1,0\]'" $k --type 'age=[1,0]'
refused 2 "unknown kind 'integer\[0.5,\]'" $k --type 'age=integer[0.5,]'
refused 2 "unknown kind 'categorical:1'" $k --type 'age=categorical:1'
refused 2 "unknown kind 'periodic:0'" $k --type 'age=periodic:0'
refused 2 "column '1' has two kinds" $k --type age=positive,1=real
refused 2 "expected NAME=KIND, got 'age'" $k --type age
refused 1 'row 0 \(line 2\), column 4 \(kind\): expected a number, got .red' --type age=positive
refused 1 'row [0-9]+, column 2 \(rate\): expected a number inside its bounds \(not on them\), got' $k --type 'rate=[0,0.5]'
refused 1 'row [0-9]+, column 1 \(age\): expected a whole number, got' $k --type age=integer
refused 1 'row [0-9]+, column 3 \(count\): expected a whole number within its bounds, got 6' $k --type 'count=integer[1,5]'
refused 2 'missing: expected marginalise or impute' $k --missing drop
echo '{"flow":"custom","bijector":{"type":"actnorm"}}' >own.json
run diffeo train --data small.csv --flow own.json --type n=integer,c=categorical -o no.safetensors
error 2 'goes with presets'
sed 's/^0,yes/0,maybe/' small.csv >maybe.csv
run diffeo loglik small.safetensors --data maybe.csv
error 1 'column 2 \(c\): expected one of yes, no, got .maybe|column 2 \(c\): expected one of no, yes, got .maybe'
echo 'n,c
3,yes' >three.csv
run diffeo loglik small.safetensors --data three.csv
error 3 'column 0: 3 is not a whole number from 0 to 2 \(integer\)'
run diffeo loglik age.safetensors --data age.csv --draws 4
error 1 'draws nothing'
run diffeo loglik small.safetensors --data all.csv --draws 4 --gradient-out g.csv
error 2 'does not go with --gradient-out'

title 'missing values of Gaussian data: log p of what is known in closed form'
# a ~ N(1, 4), b = a/2 + N(0, 1), c = (a - b)/2 + N(0, 1/4): a third of each is missing; the density of what is known to stdout
awk 'function n() { return sqrt(-2 * log(1 - rand())) * cos(6.283185307179586 * rand()) }
    BEGIN { srand(5); print "a,b,c"; for (i = 0; i < 3000; i++) { a = 1 + 2 * n(); b = a / 2 + n(); c = (a - b) / 2 + n() / 2
        printf "%s,%s,%s\n", rand() < 0.33 ? "nan" : a, rand() < 0.33 ? "nan" : b, rand() < 0.33 ? "nan" : c } }' >holes.csv
# means 1, 1/2, 1/4; covariances 4, 2 2, 1 0 3/4: by elimination of the known columns
closed=$(awk -F, 'BEGIN { m[1] = 1; m[2] = 0.5; m[3] = 0.25; split("4 2 1 2 2 0 1 0 0.75", s, " ") }
    NR > 1 { k = 0; for (j = 1; j <= 3; j++) if ($j != "nan") { k++; r[k] = $j - m[j]; o[k] = j }
        for (i = 1; i <= k; i++) for (j = 1; j <= k; j++) a[i, j] = s[3 * (o[i] - 1) + o[j]]
        for (i = 1; i <= k; i++) { total -= (r[i] * r[i] / a[i, i] + log(6.283185307179586 * a[i, i])) / 2
            for (j = i + 1; j <= k; j++) { f = a[j, i] / a[i, i]; r[j] -= f * r[i]; for (l = i; l <= k; l++) a[j, l] -= f * a[i, l] } } }
    END { print total / (NR - 1) }' holes.csv)
for how in marginalise impute; do
    train --data holes.csv --flow maf --set layers=1 --set hidden=16 --missing $how --lr 5e-3 --steps "$(steps 200)" -o $how.safetensors
    ok
done
run diffeo loglik marginalise.safetensors --data holes.csv --draws 20 --json
ok
json estimate == bound
fitted json mean_nats '~' "$closed" 0.015
json estimate_stderr '<' 0.005
run diffeo loglik impute.safetensors --data holes.csv --json
ok
json estimate == imputed
json mean_nats '<' "$closed"
run diffeo loglik impute.safetensors --data holes.csv --draws 4
error 1 'draws nothing'
grep -v nan holes.csv >whole.csv
run diffeo loglik marginalise.safetensors --data whole.csv --json
ok
json estimate == exact
run diffeo encode marginalise.safetensors --data holes.csv -o z.safetensors
ok
run diffeo decode marginalise.safetensors --data z.safetensors -o filled.csv
ok
run grep -c nan filled.csv
out '^0$'
run diffeo loglik age.safetensors --data holes.csv
error 1 'expected a finite number'
printf 'a,b\n1,2\n4,inf\n2,nan\n' >infinite.csv
for how in marginalise impute; do
    train --data infinite.csv --type b=periodic --missing $how --steps 2 -o no.safetensors
    error 1 'row 1, column 2 \(b\): expected a finite number, got inf'
done
no_file no.safetensors

title 'missing words and counts'
awk -F, 'BEGIN { OFS = ","; srand(8) } NR > 1 { if (rand() < 0.2) $3 = "nan"; if (rand() < 0.2) $4 = "" } { print }' people.csv >gaps.csv
# shellcheck disable=SC2086
train --data gaps.csv $types --missing marginalise --steps 20 -o gaps.safetensors
ok
run diffeo loglik gaps.safetensors --data gaps.csv --draws 4 --json
ok
json mean_nats '<' 0
finish

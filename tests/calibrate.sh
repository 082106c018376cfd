#!/bin/sh
# Calibration as people meet it: a normal law that is right and wrong, a conditional one with its own and with another context, the
# files that come out, and what goes wrong.
# shellcheck source=tests/sh.sh
. "${top_srcdir:?run by make check}/tests/sh.sh"
: "${work:?}"

cat >normal.json <<'END'
{"flow":"custom","bijector":{"type":"chain","layers":[{"type":"standardise"}]}}
END
run diffeo train --data toy:gaussian1:5000:1 --flow normal.json --steps 1 --quiet -o n.safetensors
ok

title 'a law that is right'
run diffeo calibrate n.safetensors --data toy:gaussian1:4000:7 --json -o right.csv
ok
json rows == 4000
json dims == 1
json draws == 99
json bins == 20
json p '>' 1e-4
json columns.0.name == x1
json columns.0.coverage.0.level == 0.5
json columns.0.coverage.0.covered '~' 0.5 0.04
json columns.0.coverage.3.covered '~' 0.95 0.02
json region.coverage.2.covered '~' 0.9 0.025
json columns.0.ranks.19 '>' 100
nats=$(value mean_nats)
run diffeo loglik n.safetensors --data toy:gaussian1:4000:7 --json
ok
json mean_nats '~' "$nats" 1e-6
run head -n 1 right.csv
out '^pit_x1,region,crps_x1,energy$'
run awk -F, 'NR > 1 && ($1 <= 0 || $1 >= 1 || $2 <= 0 || $2 >= 1 || ($3 - $4) ^ 2 > 1e-10) { bad++ } END { exit bad || NR != 4001 }' right.csv
ok
run diffeo calibrate n.safetensors --data toy:gaussian1:4000:7 --batch 100 --threads 1 -o again.csv
ok
same right.csv again.csv
out '^4000 rows, 1 columns, 99 draws each: '
out '^rows .* 0\.9[0-9]* '
out 'p of all tests together at most'
run diffeo calibrate n.safetensors --data toy:gaussian1:4000:7 --seed 1 -o seed.csv
ok
run cmp -s right.csv seed.csv
code 1

title 'data twice as wide: middle intervals of mass 0.8 and 0.95 cover erf of half as much, 0.4784 and 0.6729'
run diffeo sample n.safetensors -n 4000 --seed 5 --temperature 2 -o wide.csv
ok
run diffeo calibrate n.safetensors --data wide.csv --draws 399 --levels 0.8,0.95 --bins 10 --json
ok
json p '<' 1e-9
json draws == 399
json columns.0.coverage.0.covered '~' 0.4784 0.045
json columns.0.coverage.1.covered '~' 0.6729 0.045
json region.coverage.0.covered '~' 0.4784 0.045
run diffeo calibrate n.safetensors --data wide.csv
ok
out 'rows do not fall where the model says'

title 'a conditional law'
awk 'BEGIN { srand(3); print "y,x"; for (i = 0; i < 3000; i++) { x = 2 * rand() - 1; s = 0; for (k = 0; k < 12; k++) s += rand()
    printf "%.6f,%.6f\n", 2 * x + 0.3 * (s - 6), x } }' >pairs.csv
run diffeo train --data 'pairs.csv#0:2000' --context-columns x --flow realnvp --set layers=2 --set hidden=16 --steps 400 --lr 5e-3 --quiet \
    -o c.safetensors
ok
run diffeo calibrate c.safetensors --data 'pairs.csv#2000:3000' --context-columns x --json --plot coverage.png
ok
json columns.0.name == y
json columns.0.coverage.1.covered '~' 0.8 0.08
json columns.0.crps '~' 0.169 0.03
a_file coverage.png
awk -F, 'NR == 1 || NR > 2001 { print $2 }' pairs.csv >x.csv
awk -F, 'NR == 1 || NR > 2001 { print $1 }' pairs.csv >y.csv
run diffeo calibrate c.safetensors --data y.csv --context x.csv --json --precision double
ok
json columns.0.coverage.1.covered '~' 0.8 0.08
{ head -n 1 x.csv; tail -n +2 x.csv | sort; } >others.csv
run diffeo calibrate c.safetensors --data y.csv --context others.csv --json
ok
json p '<' 1e-9
json columns.0.coverage.1.covered '<' 0.5

title 'bad input'
run diffeo calibrate
code 2
err 'MODEL is missing'
run diffeo calibrate n.safetensors
error 2 'data is missing'
run diffeo calibrate none.safetensors --data toy:gaussian1:10
error 1 'none.safetensors'
run diffeo calibrate n.safetensors --data toy:gaussian3:10
error 1 'expected 1 columns, got 3'
run diffeo calibrate c.safetensors --data y.csv
error 1 'expected 1 context columns .* got 0'
run diffeo calibrate n.safetensors --data toy:gaussian1:100 --draws 1
error 2 'draws: expected an integer of at least 2'
run diffeo calibrate n.safetensors --data toy:gaussian1:100 --draws 9 --bins 11
error 1 'bins: expected 2 to 10, as many as ranks, got 11'
run diffeo calibrate n.safetensors --data toy:gaussian1:100 --draws 18446744073709551615
error 1 'draws: 18446744073709551615 are too many'
run diffeo calibrate n.safetensors --data toy:gaussian1:100 --draws 1000000000000000000
code 1
for levels in 0 1 '0.5,' a 0.5,2 0.5x; do
    run diffeo calibrate n.safetensors --data toy:gaussian1:100 --levels "$levels"
    error 2 "levels: expected up to 32 numbers between 0 and 1, got '$levels'"
done
run diffeo calibrate n.safetensors --data toy:gaussian1:100000 --memory 1M
error 1 'the limit is 1048576'
run diffeo calibrate n.safetensors --data toy:gaussian1:100 --json -o -
error 2 "'-o -' and --json both want standard output"
run diffeo calibrate n.safetensors --data toy:gaussian1:100 -o none/rows.csv
error 1 'none/rows.csv'
run diffeo calibrate n.safetensors --data toy:gaussian1:100 --plot none/p.png
error 1 'none/p.png'
finish

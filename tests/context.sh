#!/bin/sh
# Contexts as people meet them: in units of their own, whatever these are; models that say so, and those that do not; many of them at once.
# shellcheck source=tests/sh.sh
. "${top_srcdir:?run by make check}/tests/sh.sh"
: "${code=}" "${top_builddir:?}"

# Two columns given two others (a, b), which stand in metres and in micrometres from elsewhere; a little of it for validation.
awk 'BEGIN { srand(3); print "x,y,a,b" >"near.csv"; print "x,y,a,b" >"far.csv"
    for (i = 0; i < 2000; i++) { a = 2 * rand() - 1; b = sqrt(-2 * log(1 - rand())) * cos(6.2831853 * rand())
        x = a + 0.3 * (rand() - 0.5); y = sin(2 * b) + 0.3 * (rand() - 0.5)
        printf "%.9g,%.9g,%.9g,%.9g\n", x, y, a, b >"near.csv"
        printf "%.9g,%.9g,%.17g,%.17g\n", x, y, 3e6 + 1e6 * a, 1e6 * b - 5e6 >"far.csv" } }'
fit() {
    data=$1
    shift
    run diffeo train --data "$data" --context-columns a,b --batch 128 --lr 2e-3 --quiet --json "$@"
}
train() { fit "$@" --set layers=2 --set hidden=16; }
loglik() { run diffeo loglik "$1" --data "$2" --context-columns a,b --json; }

title 'units do not matter'
for flow in 'nsf --set layers=2' 'maf --set layers=2' flow-matching; do
    # shellcheck disable=SC2086
    fit near.csv --flow $flow --set hidden=16 --steps 60 --precision double -o near.safetensors
    ok
    loglik near.safetensors near.csv
    near=$(value mean_nats)
    # shellcheck disable=SC2086
    fit far.csv --flow $flow --set hidden=16 --steps 60 --precision double -o far.safetensors
    ok
    loglik far.safetensors far.csv
    json mean_nats '~' "$near" 1e-3
done
# float rounds what stands far away, and training makes more of it
train near.csv --flow nsf --steps 10 -o near.safetensors
loglik near.safetensors near.csv
near=$(value mean_nats)
train far.csv --flow nsf --steps 10 -o far.safetensors
loglik far.safetensors far.csv
json mean_nats '~' "$near" 1e-3
# left as they are, such numbers are no input of a net
train far.csv --flow nsf --steps 10 --set condition=raw -o raw.safetensors
ok
loglik raw.safetensors far.csv
json mean_nats '<' "$(awk -v x="$near" 'BEGIN { print x - 1 }')"

title 'what is said of it'
run diffeo info far.safetensors
ok
out 'given 2, standardised, '
run diffeo info far.safetensors --json
json config.condition == standardise
json architecture.condition == standardise
run diffeo info raw.safetensors
out 'given 2, [0-9]+ parameters'
run diffeo info raw.safetensors --json
json config.condition == raw
run diffeo info --preset nsf --json
json condition == null
run sh -c 'diffeo info --preset irevnet | grep -q condition'
code 1
run diffeo check far.safetensors --data far.csv#0:300 --context-columns a,b --tolerance roundtrip_max_rel=1e-4 --json
ok
json finite == true

title 'what is refused'
train near.csv --flow nsf --steps 1 --set condition=normalise -o x.safetensors
error 1 'condition: expected raw or standardise, got normalise'
run diffeo train --data near.csv --flow nsf --set condition=standardise --steps 1 -o x.safetensors
error 1 'condition: standardise goes with a flow that has a condition'
echo '{"flow": "custom", "bijector": {"type": "affine"}, "condition": 3}' >bad.json
fit near.csv --flow bad.json --steps 1 -o x.safetensors
error 1 'condition'
no_file x.safetensors

title 'statistics of the training rows alone'
sed '2,2001s/,[^,]*$/,1e9/' near.csv >wild.csv
train near.csv --flow nsf --steps 5 --keep last --valid near.csv#0:100 -o calm.safetensors
train near.csv --flow nsf --steps 5 --keep last --valid wild.csv#0:100 -o wild.safetensors
run diffeo info calm.safetensors --json
calm=$(value hash)
run diffeo info wild.safetensors --json
json hash == "$calm"

title 'configurations of layers say it themselves'
echo '{"flow": "custom", "bijector": {"type": "chain", "layers": [{"type": "standardise"},
    {"type": "affine", "net": {"type": "mlp", "hidden": [8]}}]}}' >custom.json
fit near.csv --flow custom.json --steps 2 -o custom.safetensors
ok
run diffeo info custom.safetensors
out 'given 2, [0-9]+ parameters'
sed 's/^{/{"condition": "standardise", /' custom.json >custom2.json
fit near.csv --flow custom2.json --steps 2 -o custom.safetensors
ok
run diffeo info custom.safetensors
out ', standardised'

title 'labels are no measurements'
awk 'BEGIN { for (i = 0; i < 2000; i++) print i % 3 }' >labels.csv
run diffeo train --data near.csv --columns x,y --labels labels.csv --flow nsf --set layers=1 --set hidden=8 --steps 2 --quiet -o classes.safetensors
ok
run diffeo info classes.safetensors --json
json config.condition == raw

title 'stopped and resumed'
train near.csv --flow nsf --steps 40 -o whole.safetensors
ok
train near.csv --flow nsf --steps 40 --checkpoint half.ckpt --checkpoint-every 15 -o half.safetensors
ok
fit near.csv --steps 40 --resume half.ckpt -o half.safetensors
ok
same whole.safetensors half.safetensors

title 'begun with another model'
train near.csv --flow nsf --steps 3 --init raw.safetensors -o from.safetensors
ok
run diffeo info from.safetensors --json
json config.condition == raw
train near.csv --flow nsf --steps 3 --init far.safetensors -o from.safetensors
ok
run diffeo info from.safetensors --json
json config.condition == standardise
train near.csv --flow nsf --steps 3 --init far.safetensors --set condition=raw -o x.safetensors
error 1 'the other model has'

title 'a teacher sees the condition as it learned it, and where it is left out so does who learns'
layers='"condition": "standardise", "bijector": {"type": "chain", "layers": [{"type": "standardise"},
    {"type": "cnf", "solver": "euler", "steps": 4, "net": {"type": "concatsquash", "hidden": 16}}]}'
echo '{"flow": "custom", "matching": {"label_dropout": 0.3},' "$layers}" >teacher.json
echo '{"flow": "custom", "matching": {"windows": 4, "teacher_steps": 2, "label_dropout": 0.3},' "$layers}" >student.json
fit far.csv --flow teacher.json --steps 300 -o teacher.safetensors
ok
fit far.csv --flow student.json --teacher teacher.safetensors --steps 3 --lr 1e-9 -o student.safetensors     # as it begins: the teacher itself
ok
json train_loss '<' 0.01
run diffeo train --data far.csv --context-columns a,b --flow perflow --set hidden=16 --teacher teacher.safetensors --steps 2 --quiet -o x.safetensors
error 1 "the other model has"

title 'samples: the first context first, and bits that blocks and threads do not change'
train far.csv --flow nsf --steps "$(steps 1000)" -o far.safetensors
printf '%s\n' 2200000,-5000000 3000000,-5000000 3800000,-5000000 >three.csv     # a: -0.8, 0, 0.8
run diffeo sample far.safetensors --context three.csv -n 50 -o three_out.csv --json
ok
json rows == 150
# shellcheck disable=SC2016
fitted run awk -F , 'NR > 1 { mean[int((NR - 2) / 50)] += $1 / 50 }
    END { for (k = 0; k < 3; k++) { off = mean[k] - 0.8 * (k - 1); print mean[k]; if (off > 0.3 || off < -0.3) bad = 1 } exit bad || NR != 151 }' three_out.csv
ok
run diffeo sample far.safetensors --context three.csv#1:2 -n 150 -o alone.csv
ok
sed -n 52,101p three_out.csv >middle           # row i is of model, seed, i and its context
sed -n 52,101p alone.csv >middle_alone
same middle middle_alone
awk 'BEGIN { for (i = 0; i < 400; i++) printf "%d,%d\n", 3e6 + 5e3 * (i - 200), i * 2e4 - 9e6 }' >many.csv
for n in 1 7 1000; do
    run diffeo sample far.safetensors --context many.csv -n $n -o all.npy --threads 1
    ok
    for how in '--batch 1 --threads 1' '--batch 128 --threads 3' '--batch 1000000 --threads 2' '--memory 8M'; do
        # shellcheck disable=SC2086
        run diffeo sample far.safetensors --context many.csv -n $n -o parts.npy $how
        ok
        same all.npy parts.npy
    done
done

title 'memory does not grow with the contexts'
run diffeo train --data near.csv --columns a,b --flow nsf --set layers=1 --set hidden=8 --steps 2 --quiet -o contexts.safetensors
ok
for n in 1000 100000; do
    run diffeo sample contexts.safetensors -n $n -o contexts.npy
    for to in npy csv; do
        run "$top_builddir/tests/peak" peak diffeo sample far.safetensors --context contexts.npy -n 10 -o out.$to
        ok
        eval "${to}_$n=$(cat peak)"
    done
done
# 1,000,000 rows of 8 bytes and 100,000 of context would be 8,600 KiB more
# shellcheck disable=SC2154
for pair in "$npy_1000 $npy_100000" "$csv_1000 $csv_100000"; do
    fitted run awk -v kib="$pair" 'BEGIN { split(kib, k, " "); print kib; exit !(k[2] < k[1] + 3000) }'
    ok
done

finish

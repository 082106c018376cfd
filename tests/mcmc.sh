#!/bin/sh
# Densities in place of data: flows fitted to them, their draws weighted, chains in their columns and in a flow's latents, and what
# goes wrong.
# shellcheck source=tests/sh.sh
. "${top_srcdir:?run by make check}/tests/sh.sh"
: "${work:?}"

# JSON's PATH is WANT within 4 of the errors, at ERROR's path, and a little.
within() {
    json "$1" '~' "$2" "$(awk -v e="$(value "$3")" 'BEGIN { print 4 * e + 1e-3 }')"
}
# Means 0, deviation 1 of the first column, 2,000 rows of two.
cat >moments.awk <<'EOF'
NR > 1 { n++; a += $1; b += $2; c += $1 * $1 }
END { exit !(NF == 2 && n == 2000 && (a / n) ^ 2 < 0.01 && (b / n) ^ 2 < 0.02 && (c / n - 1) ^ 2 < 0.04) }
EOF
small='--flow realnvp --set layers=4 --set hidden=16 --lr 5e-3 --quiet'

title 'a banana: the bound of log Z, then log Z, 1.837877, by weights'
# shellcheck disable=SC2086
run diffeo train --target banana $small --steps "$(steps 600)" --json -o b.safetensors
ok
fitted json valid_nats '~' 1.8379 0.03
bound=$(value valid_nats)
fitted json train_nats '~' 1.8379 0.03
run diffeo sample b.safetensors --target banana -n 5000 --seed 3 --json -o b.csv
ok
json rows == 5000
json dims == 2
json target == banana
fitted json ess '>' 2500
json log_normaliser_known '~' 1.837877066 1e-8
fitted within log_normaliser 1.837877 log_normaliser_stderr
run head -n 1 b.csv
out '^x1,x2,log_weight$'
awk -F, 'NR > 1 { print $1 "," $2 }' b.csv >rows.csv
run diffeo loglik b.safetensors --data rows.csv -o q.csv
ok
paste -d , b.csv q.csv >both.csv
run awk -F, 'NR > 1 { p = -($1 ^ 2 + ($2 - ($1 ^ 2 - 1) / 2) ^ 2) / 2; if (($3 + $4 - p) ^ 2 > 1e-6 * (1 - p)) bad++ } END { exit bad || NR != 5001 }' both.csv
ok
run diffeo info b.safetensors
out '"target": "banana"'

title 'validation has draws of its own: at the same seed those of sample have another mean'
run diffeo sample b.safetensors --target banana -n 4096 -o v.csv
ok
run awk -F, -v bound="$bound" 'NR > 1 { sum += $3 } END { print sum / 4096, bound; exit NR != 4097 || (sum / 4096 - bound) ^ 2 < 1e-10 }' v.csv
ok

title 'the model is one as any other; its draws without weights are those with them'
run diffeo sample b.safetensors -n 5000 --seed 3 -o plain.csv
ok
same rows.csv plain.csv
run diffeo check b.safetensors --json
ok

title 'flows whose inverse is found by steps; the standard normal is at 1.588'
for flow in 'bnaf --set layers=2 --set hidden=4 --lr 2e-2' 'residual --set layers=2 --set hidden=16 --lr 1e-2' \
    'ffjord --set hidden=16 --set solver_steps=4 --lr 1e-2'; do
    # shellcheck disable=SC2086
    run diffeo train --target banana --flow $flow --steps "$(steps 150)" --quiet --json -o s.safetensors
    ok
    fitted json valid_nats '>' 1.7
    run diffeo sample s.safetensors --target banana -n 2000 --json -o s.csv
    ok
    fitted json ess '>' 600
    fitted within log_normaliser 1.837877 log_normaliser_stderr
done

title 'resampled: in the order of the draws, without weights, and twice the same'
run diffeo sample b.safetensors --target banana -n 2000 --resample -o r.csv
ok
fitted out '^log Z 1\.8[34][0-9]* \+- .* \(known: 1\.83788\); 2000 draws are worth 1[0-9][0-9][0-9]\.'
fitted run awk -F, -f moments.awk r.csv
ok
run diffeo sample b.safetensors --target banana -n 2000 --resample --threads 1 -o again.csv --quiet
ok
same r.csv again.csv
run diffeo sample b.safetensors --target banana -n 100 --resample -o -
ok
err '^log Z '

title 'from a fitted model on: a step of no length leaves it as good as it was'
# shellcheck disable=SC2086
run diffeo train --target banana $small --lr 1e-12 --steps 1 --init b.safetensors --json -o same.safetensors
ok
json valid_nats '~' "$bound" 1e-4

title 'alpha, a checkpoint, names of columns'
# shellcheck disable=SC2086
run diffeo train --target eight-schools --alpha 0.5 $small --steps 60 --checkpoint-every 20 --checkpoint e.ckpt -o e.safetensors
ok
out 'nats \(bound of log Z\)'
run diffeo train --target eight-schools --alpha 0.5 --resume e.ckpt --lr 5e-3 --steps 60 --quiet -o resumed.safetensors
ok
same e.safetensors resumed.safetensors
run diffeo train --target ring --resume e.ckpt --steps 70 --quiet -o no.safetensors
error 1 'what it fitted is --target eight-schools --alpha 0.5, not --target ring'
run diffeo train --data toy:moons:500 --resume e.ckpt --steps 70 --quiet -o no.safetensors
error 1 'what it fitted is --target eight-schools --alpha 0.5, not data'
run diffeo train --target banana --flow realnvp --set layers=2 --set hidden=4 --batch 1 --steps 3 --quiet -o odd.safetensors
ok
run diffeo sample e.safetensors --target eight-schools -n 200 -o e.csv
ok
run head -n 1 e.csv
out '^mu,log_tau,eta1,.*,eta8,log_weight$'

title 'chains of a normal law'
for method in rwm mala hmc; do
    draws=2000
    [ $method = hmc ] || draws=6000
    run diffeo mcmc --target normal:3:0.5 --method $method -n $draws --json -o n.csv
    ok
    json method == $method
    json latents == false
    json chains == 4
    json draws == $draws
    json divergences == 0
    json rhat '<' 1.05
    json acceptance '>' 0.15
    for k in 0 1 2; do
        json columns.$k.name == x$((k + 1))
        json columns.$k.rhat '<' 1.05
        json columns.$k.ess '>' 400
        within columns.$k.mean 0 columns.$k.error
        json columns.$k.deviation '~' 1 0.1
    done
    mean=$(value columns.1.mean)
    run awk -F, -v mean="$mean" -v n=$((4 * draws)) 'NR > 1 { s += $2 } END { exit !(NR == n + 1 && (s / n - mean) ^ 2 < 1e-10) }' n.csv
    ok
done
run diffeo mcmc --target eight-schools
ok
out '^hmc: 4 chains of 1000 draws, step '
out '^log_tau '
out '^largest R-hat 1\.0'

title 'in latents'
run diffeo mcmc b.safetensors --target banana --chains 8 --warmup 200 -n 500 --leapfrog 4 --json -o l.npy
ok
json latents == true
json rhat '<' 1.05
json chains == 8
json warmup == 200
within columns.0.mean 0 columns.0.error
within columns.1.mean 0 columns.1.error
a_file l.npy

title 'in double, the same bits for any number of threads'
for threads in 1 2; do
    # shellcheck disable=SC2086
    run diffeo train --target eight-schools $small --precision double --alpha 0.5 --steps 20 --threads $threads -o t$threads.safetensors
    ok
done
same t1.safetensors t2.safetensors
run diffeo mcmc t1.safetensors --target eight-schools --precision double --warmup 50 -n 50 --leapfrog 4 --json -o t.csv
ok
json columns.0.name == mu
run diffeo sample t1.safetensors --target eight-schools --precision double -n 100 -o t.npy
ok
out '; 100 draws are worth '

title 'chains that do not mix are told'
run diffeo mcmc --target gaussians8 --method mala --step 0.1 --warmup 0 -n 100 --no-mass --acceptance 0.9
ok
out '^R-hat above 1.01: the chains are not mixed'

title 'a regression on a file: the weights that its rows were drawn by'
awk 'BEGIN { srand(5); print "size,y"; for (i = 0; i < 200; i++) { x = 4 * rand() - 2; print x "," (rand() < 1 / (1 + exp(0.5 - 1.5 * x))) } }' >rows.csv
run diffeo mcmc --target logistic:rows.csv:2.5 --json
ok
json columns.0.name == intercept
json columns.1.name == size
within columns.1.mean 1.5 columns.1.deviation
json columns.1.deviation '<' 0.5
json rhat '<' 1.05
# shellcheck disable=SC2086
run diffeo train --target logistic:rows.csv:2.5 $small --steps "$(steps 200)" -o w.safetensors
ok
run diffeo sample w.safetensors --target logistic:rows.csv:2.5 -n 2000 --json -o w.csv
ok
fitted json ess '>' 1000
json log_normaliser_known == null

title 'interrupted: the file is not there, and nothing beside it'
mkdir stopped
# COMMAND: SIGNAL comes when its file is being written.
interrupted() {
    signal=$1
    shift
    last="$*, then SIG$signal"
    "$@" >out 2>err </dev/null &
    pid=$!
    for _ in $(seq 400); do
        [ -z "$(ls stopped)" ] || break
        sleep 0.05
    done
    kill -s "$signal" $pid
    wait $pid
    code=$?
    error 130 'interrupted$'
    run ls stopped
    if [ -s out ]; then _bad 'an empty folder'; else _good; fi
}
interrupted TERM diffeo mcmc --target banana -n 5000000 -o stopped/m.csv
interrupted INT diffeo mcmc --target banana --warmup 5000000 -n 10 -o stopped/m.npy
interrupted TERM diffeo sample b.safetensors --target banana -n 5000000 --quiet -o stopped/w.csv
interrupted INT diffeo sample b.safetensors -n 50000000 --quiet -o stopped/s.csv

title 'bad input'
run diffeo mcmc
error 2 'target is missing'
for command in 'mcmc' 'train --flow nsf -o x.safetensors' 'sample b.safetensors -n 5 -o x.csv'; do
    # shellcheck disable=SC2086
    run diffeo $command --target bananas
    error 2 "unknown target 'bananas'; known: normal\[:D\[:RHO\]\], banana, .*, logistic:SPEC\[:DEVIATION\]"
done
run diffeo mcmc --target normal:0
error 2 "target normal: expected a number of columns from 1 to 4096, got '0'"
run diffeo mcmc --target logistic:none.csv
error 1 'none.csv'
printf '1,0\n2,0.5\n' >half.csv
run diffeo mcmc --target logistic:half.csv
error 1 'half.csv: row 1: expected 0 or 1 in the last column, got 0.5'
printf '1,0\nx,1\n' >text.csv
run diffeo mcmc --target logistic:text.csv
error 1 'text.csv'
run diffeo mcmc --target banana --method nuts
code 2
err "unknown value 'nuts'; expected rwm, mala, hmc"
run diffeo mcmc --target banana --step 0
code 2
err "step: expected a number between 0 and"
run diffeo mcmc --target banana --acceptance 1
code 2
err "acceptance: expected a number between 0 and 1, got '1'"
run diffeo mcmc --target banana -n 3
code 2
err 'n: expected an integer of at least 4'
run diffeo mcmc --target banana --chains 4000000000 -n 4000000000000
error 1 'are too many'
run diffeo mcmc --target banana --memory 10K
error 1 'are too many for --memory'
run diffeo mcmc --target banana --method rwm --leapfrog 3
error 2 '\-\-leapfrog goes with --method hmc'
run diffeo mcmc --target banana --format csv
error 2 '\-\-format goes with -o'
run diffeo mcmc --target banana --json -o -
error 2 "'-o -' and --json both want standard output"
run diffeo mcmc --target banana -o none/rows.csv
error 1 'none/rows.csv'
run diffeo mcmc b.safetensors --target normal:3
error 1 'b.safetensors and target normal:3: neutra: a flow of rows of 2 numbers, a target of 3'
run diffeo sample b.safetensors --target normal:3 -n 5 -o x.csv
error 1 'a flow of rows of 2 numbers, a target of 3'
run diffeo sample b.safetensors --target banana -n 5 --temperature 2 -o x.csv
error 2 '\-\-target and --temperature exclude each other'
run diffeo sample b.safetensors --resample -n 5 -o x.csv
error 2 '\-\-resample goes with --target'
run diffeo sample b.safetensors --target banana -n 1000000 --memory 1M -o x.csv
error 1 'are too many for --memory'
for options in '--data toy:moons' '--valid toy:moons' '--epochs 3' '--labels x.csv' '--missing impute'; do
    # shellcheck disable=SC2086
    run diffeo train --target banana --flow nsf $options -o x.safetensors
    error 2 "${options%% *} has no place beside --target"
done
run diffeo train --data toy:moons --alpha 1 --flow nsf -o x.safetensors
error 2 '\-\-alpha goes with --target'
run diffeo train --target banana --alpha 2 --flow nsf -o x.safetensors
code 2
err "alpha: expected a number from 0 to 1, got '2'"
run diffeo train --target banana --flow vp --steps 1 --quiet -o x.safetensors
error 1 'a flow with "matching" is fitted by rows, not to a density'
no_file x.safetensors
no_file x.csv
finish

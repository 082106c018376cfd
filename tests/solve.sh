#!/bin/sh
# Continuous flows from the shell: trained by likelihood and by flow matching, scored, there and back, resumed; solver options.
# shellcheck source=tests/sh.sh
. "${top_srcdir:?run by make check}/tests/sh.sh"
: "${work:?}" "${code=}"
small='--set hidden=16 --set depth=2 --batch 256 --quiet'

title 'ffjord'
# shellcheck disable=SC2086
run diffeo train --data toy:gaussian:2000 --flow ffjord $small --steps 60 --lr 1e-2 --rtol 1e-4 --atol 1e-4 -o f.safetensors --json
ok
json valid_nats '>' -6
run diffeo info f.safetensors
out '"rtol": 0.0001'
run diffeo loglik f.safetensors --data toy:gaussian:500:3 --json
ok
json estimate == exact
nats=$(value mean_nats)
run diffeo loglik f.safetensors --data toy:gaussian:500:3 --json --rtol 1e-7 --atol 1e-7 --precision double
tight=$(value mean_nats)
run awk "BEGIN { d = $nats - $(value mean_nats); exit !(d < 1e-2 && d > -1e-2) }"
ok
run diffeo loglik f.safetensors --data toy:gaussian:500:3 --json --rtol 1e-9 --atol 1e-9 --precision double --solver dop853
ok
run awk "BEGIN { d = ${tight:?} - $(value mean_nats); exit !(d < 1e-5 && d > -1e-5) }"
ok
run diffeo loglik f.safetensors --data toy:gaussian:500:3 --json --solver rk4 --solver-steps 30
run awk "BEGIN { d = $nats - $(value mean_nats); exit !(d < 1e-2 && d > -1e-2) }"
ok
run diffeo loglik f.safetensors --data toy:gaussian:500:3 --json --trace hutchinson:8
ok
json estimate == hutchinson
eight=$(value estimate_stderr)
run diffeo loglik f.safetensors --data toy:gaussian:500:3 --json --trace hutchinson:512
run awk "BEGIN { r = ${eight:?} / $(value estimate_stderr); d = $nats - $(value mean_nats); e = 5 * $(value estimate_stderr) + 1e-3; exit !(r > 6 && r < 11 && d < e && d > -e) }"
ok
run diffeo loglik f.safetensors --data toy:gaussian:500:3 --trace hutchinson:1
out 'tells its error'
run diffeo encode f.safetensors --data toy:gaussian:500:3 --solver rk4 --solver-steps 64 -o z.safetensors --verify --json
ok
json rows_over_tolerance == 0
run diffeo decode f.safetensors --data z.safetensors --solver rk4 --solver-steps 64 -o back.csv
ok
run diffeo decode f.safetensors --data z.safetensors -o plain.csv
ok
same plain.csv back.csv
run diffeo decode f.safetensors --data z.safetensors --solver-steps 7 -o other.csv
ok
run cmp -s other.csv back.csv
code 1
run diffeo decode f.safetensors --data z.safetensors --solver euler --solver-steps 0 -o no.csv
error 1 'euler has no estimate of its errors'
run diffeo encode f.safetensors --data toy:gaussian:500:3 --solver rk4 --solver-steps 64 --trace hutchinson:2 -o z.safetensors --verify \
    --tolerance 1e-7 --json
json rows_repaired '>' 0
json rows_over_tolerance == 0
run diffeo decode f.safetensors --data z.safetensors --solver rk4 --solver-steps 64 -o back.csv
run diffeo decode f.safetensors --data z.safetensors -o plain.csv
ok
same plain.csv back.csv
run diffeo encode f.safetensors --data toy:gaussian:500:3 -o z.safetensors
run diffeo decode f.safetensors --data z.safetensors -o back.csv
run diffeo decode f.safetensors --data z.safetensors --rtol 1e-3 --atol 1e-3 -o other.csv
ok
run cmp -s other.csv back.csv
code 1
run diffeo check f.safetensors --rtol 1e-6 --atol 1e-6 --json
ok
json normalisation '~' 1 1e-4
json roundtrip_max_abs '<' 0.001
run diffeo sample f.safetensors -n 100 --threads 1 -o one.csv
run diffeo sample f.safetensors -n 100 --threads 2 --batch 128 -o two.csv
same one.csv two.csv

title 'planar, radial, sylvester: densities that integrate to 1'
for flow in planar radial sylvester; do
    run diffeo train --data toy:moons:2000 --flow $flow --batch 256 --steps 100 --lr 2e-2 --quiet -o $flow.safetensors --json
    ok
    json valid_nats '>' -3.25
    run diffeo check $flow.safetensors --data toy:moons:200:3 --json
    ok
    json normalisation '~' 1 1e-4
    json roundtrip_max_abs '<' 1e-4
done
run diffeo info --preset sylvester
out '"rank": null'
run diffeo train --data toy:moons:200 --flow sylvester --set rank=3 --steps 1 --quiet -o no.safetensors
error 1 'rank'

title 'residual: exact and estimated log-dets'
for trace in exact roulette; do
    run diffeo train --data toy:moons:2000 --flow residual --set layers=2 --set hidden=16 --set trace=$trace --batch 256 --steps 60 --lr 1e-2 \
        --quiet -o r.safetensors --json
    ok
    json valid_nats '>' -3.35
    run diffeo check r.safetensors --data toy:moons:100:3 --json
    ok
    json normalisation '~' 1 1e-4
    json roundtrip_max_abs '<' 1e-4
done
run diffeo train --data toy:moons:200 --flow residual --set lipschitz=1 --steps 1 --quiet -o no.safetensors
error 1 'lipschitz'

title 'rnode: fewer evaluations; images'
for cost in 0 1; do
    # shellcheck disable=SC2086
    run diffeo train --data toy:moons:2000 --flow rnode $small --steps "$(steps 300)" --lr 1e-2 --rtol 1e-4 --atol 1e-4 --set kinetic=$cost --set jacobian=$cost \
        -o $cost.safetensors
    ok
    run diffeo loglik $cost.safetensors --data toy:moons:500:3 --json
    eval "nfe$cost=$(value nfe)"
done
fitted run awk "BEGIN { exit !(${nfe1:?} < 0.8 * ${nfe0:?}) }"
ok
for cost in 0 1; do
    run diffeo check $cost.safetensors --json
    ok
    json normalisation '~' 1 1e-3
done
awk 'BEGIN { for (i = 0; i < 64; i++) { line = ""; for (k = 0; k < 64; k++) line = line (k ? "," : "") (i * 37 + k * k * 11 + k) % 251; print line } }' >pictures.csv
run diffeo train --data pictures.csv --images 8x8 --flow ffjord-image --set hidden=4 --batch 32 --steps 3 --quiet -o i.safetensors
ok
run diffeo loglik i.safetensors --data pictures.csv --images 8x8 --solver rk4 --solver-steps 3 --trace hutchinson:3 --json
ok
json nfe == 12
json estimate_stderr '>' 0
run diffeo encode i.safetensors --data pictures.csv --images 8x8 --rtol 1e-6 --atol 1e-6 -o z.safetensors --verify --json
ok
json pixels_wrong == 0

title 'gradients: the same fit in less memory'
for gradient in stored checkpoint adjoint reversible; do
    # shellcheck disable=SC2086
    run diffeo train --data toy:gaussian:2000 --flow ffjord $small --steps 40 --lr 1e-2 --solver rk4 --solver-steps 64 --gradient $gradient \
        -o $gradient.safetensors --json
    ok
    eval "$gradient=$(value valid_nats) bytes_$gradient=$(value peak_bytes)"
done
run awk "BEGIN { d = ${stored:?} - ${checkpoint:?}; exit !(d < 1e-5 && d > -1e-5 && ${bytes_checkpoint:?} < ${bytes_stored:?}) }"
ok
run awk "BEGIN { d = ${stored:?} - ${adjoint:?}; exit !(d < 1e-3 && d > -1e-3 && ${bytes_adjoint:?} < ${bytes_stored:?}) }"
ok
run awk "BEGIN { d = ${stored:?} - ${reversible:?}; exit !(d < 1e-3 && d > -1e-3 && ${bytes_reversible:?} < ${bytes_stored:?}) }"
ok

title 'an interrupted run is the same run'
# shellcheck disable=SC2086
run diffeo train --data toy:moons:1000 --flow ffjord $small --steps 20 --threads 1 -o whole.safetensors
# shellcheck disable=SC2086
run diffeo train --data toy:moons:1000 --flow ffjord $small --steps 20 --checkpoint-every 7 --checkpoint c --threads 2 -o first.safetensors
run diffeo train --data toy:moons:1000 --batch 256 --quiet --steps 20 --resume c -o resumed.safetensors
ok
same whole.safetensors resumed.safetensors

title 'flow matching'
for flow in flow-matching ot-flow-matching; do
    # shellcheck disable=SC2086
    run diffeo train --data toy:gaussian:5000 --flow $flow $small --steps "$(steps 800)" --lr 1e-2 -o m.safetensors --json
    ok
    json valid_nats == null
    fitted json valid_loss '<' 2
    run diffeo loglik m.safetensors --data toy:gaussian:1000:3 --json
    ok
    fitted run awk "BEGIN { d = -($(value entropy_nats)) - ($(value mean_nats)); exit !(d < 0.1 && d > -0.1) }"
    ok
    run diffeo sample m.safetensors -n 1000 --solver euler --solver-steps 8 -o s.csv
    ok
done
title 'flow matching of two classes, guided, by a residual net'
awk 'BEGIN { srand(4); for (i = 0; i < 1000; i++) { k = i % 2; print 3 * k + rand() "," rand() >"two.csv"; print k >"two_labels.csv" } }'
# shellcheck disable=SC2086
run diffeo train --data two.csv --labels two_labels.csv --flow flow-matching $small --set net=time-mlp --steps "$(steps 400)" --lr 5e-3 -o two.safetensors
ok
run diffeo loglik two.safetensors --data two.csv#0:200 --labels two_labels.csv#0:200 --guidance 1 --json
ok
with=$(value mean_nats)
run diffeo loglik two.safetensors --data two.csv#0:200 --labels two_labels.csv#0:200 --guidance 0 --json
ok
fitted run awk "BEGIN { exit !($with > $(value mean_nats) + 0.3) }"       # the classes are apart: log 2 more where they are known
ok
run diffeo check two.safetensors --data two.csv#0:4 --labels two_labels.csv#0:4 --solver kvaerno3 --json
ok
json finite == true
json gradient_max_rel == null
# shellcheck disable=SC2086
run diffeo train --data two.csv --labels two_labels.csv --flow flow-matching --set label_dropout=0 $small --steps 5 -o none.safetensors
ok
run diffeo loglik none.safetensors --data two.csv#0:9 --labels two_labels.csv#0:9 --guidance 2
error 1 'it was not trained with label_dropout'
# shellcheck disable=SC2086
run diffeo train --data toy:moons:1000 --flow flow-matching ${small% --quiet} --set path=bridge --set sigma=0.5 --steps 20 -o b.safetensors
ok
out 'matching loss'

title 'reflow: straight paths want fewer steps'
# shellcheck disable=SC2086
run diffeo train --data toy:moons:4000 --flow rectified-flow ${small% --quiet} --quiet --steps "$(steps 1500)" --lr 5e-3 -o one.safetensors
ok
run diffeo encode one.safetensors --data toy:moons:4000:5 -o pairs.npy
ok
# shellcheck disable=SC2086
run diffeo train --data toy:moons:4000:5 --pairs pairs.npy --flow rectified-flow $small --init one.safetensors --steps "$(steps 1500)" --lr 5e-3 -o two.safetensors \
    --log two.jsonl --checkpoint-every 700 --json
ok
fitted json valid_loss '<' 0.3
run diffeo info two.safetensors
out '"given"'
for m in one two; do
    run diffeo sample $m.safetensors -n 2000 --solver euler --solver-steps 1 -o $m.csv
    run diffeo distance $m.csv toy:moons:2000:9 --json
    eval "far_$m=$(value sliced_wasserstein)"
done
fitted run awk "BEGIN { exit !(${far_two:?} < ${far_one:?} / 2) }"
ok
run diffeo loglik two.safetensors --data toy:moons:1000:3 --json
ok
json nfe '>' 5
title 'perflow: windows of a fitted flow, a step each'
# shellcheck disable=SC2086
run diffeo train --data toy:moons:4000 --teacher one.safetensors --flow perflow $small --set windows=2 --set solver_steps=2 --steps "$(steps 1500)" --lr 5e-3 \
    -o windows.safetensors --json
ok
fitted json valid_loss '<' 0.2
for m in one windows; do
    run diffeo sample $m.safetensors -n 2000 --solver euler --solver-steps 2 -o $m.csv
    run diffeo distance $m.csv toy:moons:2000:9 --json
    eval "far_$m=$(value sliced_wasserstein)"
done
fitted run awk "BEGIN { exit !(${far_windows:?} < 0.7 * ${far_one:?}) }"
ok
run diffeo sample windows.safetensors -n 2000 -o plain.csv
same plain.csv windows.csv
# shellcheck disable=SC2086
run diffeo train --data toy:moons:4000 --flow perflow $small --steps 5 -o no.safetensors
error 2 'name that by --teacher'
# shellcheck disable=SC2086
run diffeo train --data toy:moons:4000 --teacher one.safetensors --flow flow-matching $small --steps 5 -o no.safetensors
error 1 'a teacher goes with windows'
# shellcheck disable=SC2086
run diffeo train --data toy:gaussian:400 --teacher f.safetensors --flow perflow $small --set depth=1 --steps 5 -o no.safetensors
error 1 'teacher f.safetensors'

title 'who learns from a teacher begins with its layers, those that start from data too'
layers='"bijector": {"type": "chain", "layers": [{"type": "actnorm"}, {"type": "cnf", "solver": "rk4", "steps": 8, "net": {"type": "concatsquash", "hidden": [8]}}]}, "base": {"type": "normal"}'
echo "{\"flow\": \"custom\", \"matching\": {}, $layers}" >teacher.json
echo "{\"flow\": \"custom\", \"matching\": {\"windows\": 4, \"teacher_steps\": 2}, $layers}" >pupil.json
run diffeo train --data toy:moons:500 --flow teacher.json --steps 100 --lr 1e-2 --quiet -o teacher.safetensors
ok
run diffeo loglik teacher.safetensors --data toy:moons:500:1 --json
nats=$(value mean_nats)
run diffeo train --data toy:gaussian:500 --flow pupil.json --teacher teacher.safetensors --steps 1 --lr 1e-9 --quiet -o pupil.safetensors
ok
run diffeo loglik pupil.safetensors --data toy:moons:500:1 --json
run awk "BEGIN { d = $nats - $(value mean_nats); exit !(d < 1e-3 && d > -1e-3) }"
ok

title 'rectified flow with a configuration of its own'
cat >own.json <<'EOF'
{"flow": "custom", "matching": {"path": "straight"}, "bijector": {"type": "chain", "layers": [
 {"type": "cnf", "net": {"type": "concatsquash", "hidden": [16, 16]}}]}}
EOF
run diffeo train --data toy:moons:4000:5 --pairs pairs.npy --flow own.json --steps 20 --quiet -o own.safetensors
ok
awk 'BEGIN { for (i = 0; i < 4000; i++) print i }' >narrow.csv
# shellcheck disable=SC2086
run diffeo train --data toy:moons:4000:5 --pairs narrow.csv --flow rectified-flow $small --steps 5 -o no.safetensors
error 2 'expected rows of 2 numbers, got 1'
# shellcheck disable=SC2086
run diffeo train --data toy:moons:4000 --pairs toy:moons:300 --flow rectified-flow $small --steps 5 -o no.safetensors
error 1 'expected one for each'
run diffeo train --data toy:moons:4000 --pairs pairs.npy --flow nsf --steps 5 --quiet -o no.safetensors
error 1 'pairing'
# shellcheck disable=SC2086
run diffeo train --data toy:moons:4000 --flow rectified-flow --set pairing=given $small --steps 5 -o no.safetensors
error 1 'given wants the noise of every row'

title 'what goes wrong'
run diffeo loglik f.safetensors --data toy:gaussian:10 --solver rk5
error 1 "f.safetensors: solver: no method is called 'rk5'; known: euler, midpoint"
run diffeo loglik f.safetensors --data toy:gaussian:10 --solver rk4 --solver-steps 0
error 1 'rk4 has no estimate of its errors'
run diffeo loglik f.safetensors --data toy:gaussian:10 --rtol 0 --atol 0
error 1 'expected tolerances above 0'
run diffeo loglik f.safetensors --data toy:gaussian:10 --rtol -1
error 2 'rtol: expected a number from 0 to 1'
run diffeo loglik f.safetensors --data toy:gaussian:10 --trace some
error 2 "trace: expected exact or hutchinson:K, got 'some'"
run diffeo train --data toy:moons:100 --flow ffjord --set end=0 --steps 2 --quiet -o no.safetensors
error 1 'end'
run diffeo train --data toy:moons:100 --flow ffjord --gradient reversible --steps 2 --quiet -o no.safetensors
error 1 'reversible wants a number of steps'
run diffeo train --data toy:moons:100 --flow ffjord --gradient backsolve --steps 2 --quiet -o no.safetensors
error 2 "gradient: unknown value 'backsolve'; expected stored, checkpoint, adjoint, reversible"
run diffeo train --data toy:moons:100 --flow ffjord --gradient stored --solver kvaerno3 --steps 2 --quiet -o no.safetensors
error 1 "solver: kvaerno3 is implicit: its gradient is the adjoint's alone"
run diffeo train --data toy:moons:100 --flow ffjord --solver rk5 --steps 2 --quiet -o no.safetensors
error 1 "no method is called 'rk5'"
run diffeo train --data toy:moons:100 --flow realnvp --solver rk4 --steps 2 --quiet -o no.safetensors
error 2 "unknown key 'solver'"
run diffeo train --data toy:moons:100 --flow flow-matching --set path=curved --steps 2 --quiet -o no.safetensors
error 1 'path: expected straight'
for flow in flow-matching rectified-flow ot-flow-matching; do
    run diffeo train --data toy:moons:100 --flow $flow --set blocks=2 --steps 2 --quiet -o no.safetensors
    error 1 'matching: fits one cnf layer, the last: others before it \(blocks of a preset\) would never be fitted'
done
run diffeo train --data toy:moons:100 --flow ffjord --set net=unet --steps 2 --quiet -o no.safetensors
error 1 'net: expected concatsquash, concat, hyper, mlp or time-mlp, got unet'
no_file no.safetensors
run diffeo loglik f.safetensors --data toy:gaussian:10 --solver rk4 --solver-steps 1073741825
error 1 'solver: 1073741825 steps: expected 1073741824 at most'
run diffeo train --data toy:moons:200 --flow realnvp --set layers=2 --steps 2 --quiet -o r.safetensors
run diffeo loglik r.safetensors --data toy:moons:10 --solver rk4 --solver-steps 3
error 1 'r.safetensors: it has no continuous layer'
finish

#!/bin/sh
# Diffusion models from the shell: every schedule trained, scored by its probability flow, sampled, there and back; what is refused.
# shellcheck source=tests/sh.sh
. "${top_srcdir:?run by make check}/tests/sh.sh"
: "${work:?}" "${code=}"
small='--set hidden=32 --set depth=1 --batch 256 --quiet'

title 'every schedule'
for flow in vp subvp ve edm; do
    # shellcheck disable=SC2086
    run diffeo train --data toy:gaussian:4000 --flow $flow $small --steps 400 --lr 5e-3 -o $flow.safetensors --json
    ok
    json valid_loss '<' 1
    run diffeo loglik $flow.safetensors --data toy:gaussian:500:3 --rtol 1e-4 --atol 1e-4 --json
    ok
    json estimate == exact
    run awk "BEGIN { d = $(value mean_nats) + $(value entropy_nats); exit !(d > -0.3 && d < 0.1) }"
    ok
    run diffeo sample $flow.safetensors -n 2000 --solver heun --solver-steps 20 -o $flow.csv
    ok
    run diffeo distance $flow.csv toy:gaussian:2000:9 --json
    ok
    json sliced_wasserstein '<' 0.5
done

title 'a density, there and back'
run diffeo check vp.safetensors --rtol 1e-5 --atol 1e-5 --json
ok
json normalisation '>' 0.97
json normalisation '<' 1.03
run diffeo encode vp.safetensors --data toy:gaussian:200:3 --rtol 1e-6 --atol 1e-6 --precision double -o z.safetensors --verify --json
ok
json max_roundtrip_error '<' 0.01
run diffeo info vp.safetensors
out '"flow": "vp"'

title 'the same for any number of threads, and after an interruption'
# shellcheck disable=SC2086
run diffeo train --data toy:moons:1000 --flow vp $small --steps 20 --threads 1 -o whole.safetensors
# shellcheck disable=SC2086
run diffeo train --data toy:moons:1000 --flow vp $small --steps 20 --checkpoint-every 7 --checkpoint c --threads 2 -o first.safetensors
run diffeo train --data toy:moons:1000 --batch 256 --quiet --steps 20 --resume c -o resumed.safetensors
ok
same whole.safetensors first.safetensors
same whole.safetensors resumed.safetensors

title 'what is refused'
run diffeo train --data toy:moons:100 --flow vp --set prediction=score --steps 2 --quiet -o no.safetensors
error 1 'expected one of noise, data, velocity, edm, got score'
run diffeo train --data toy:moons:100 --flow vp --set beta_min=-1 --steps 2 --quiet -o no.safetensors
error 1 'beta_min'
run diffeo train --data toy:moons:100 --flow edm --set beta_min=1 --steps 2 --quiet -o no.safetensors
error 2 "unknown key 'beta_min'"
cat >mixed.json <<'EOF'
{"flow": "custom", "matching": {"path": "straight"}, "bijector": {"type": "chain", "layers": [{"type": "cnf", "diffusion": {}}]}}
EOF
run diffeo train --data toy:moons:100 --flow mixed.json --steps 2 --quiet -o no.safetensors
error 1 'the path diffusion goes with a cnf layer'

finish

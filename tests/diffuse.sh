#!/bin/sh
# Diffusion models from the shell: every schedule trained, scored by its probability flow, sampled, there and back; what is refused.
# shellcheck source=tests/sh.sh
. "${top_srcdir:?run by make check}/tests/sh.sh"
: "${work:?}" "${code=}"
small='--set hidden=32 --set depth=1 --batch 256 --quiet'

title 'every schedule'
flows='vp subvp ve edm'
[ "$short" = no ] || flows=vp      # where every loop is shortened
for flow in $flows; do
    # shellcheck disable=SC2086
    run diffeo train --data toy:gaussian:4000 --flow "$flow" $small --steps "$(steps 400)" --lr 5e-3 -o "$flow.safetensors" --json
    ok
    fitted json valid_loss '<' 1
    run diffeo loglik "$flow.safetensors" --data toy:gaussian:500:3 --solver rk4 --solver-steps 20 --json
    ok
    json estimate == exact
    flow_nats=$(value mean_nats)
    fitted run awk "BEGIN { d = $flow_nats + $(value entropy_nats); exit !(d > -0.3 && d < 0.1) }"
    fitted ok
    run diffeo loglik "$flow.safetensors" --data toy:gaussian:500:3 --bound --json
    ok
    json estimate == bound
    fitted json estimate_stderr '<' 0.05
    fitted run awk "BEGIN { d = $(value mean_nats) - $flow_nats; exit !(d > -0.3 && d < 4 * $(value estimate_stderr)) }"
    fitted ok
    run diffeo sample "$flow.safetensors" -n 1000 --solver heun --solver-steps 20 -o "$flow.csv"
    ok
    run diffeo distance "$flow.csv" toy:gaussian:1000:9 --json
    ok
    fitted json sliced_wasserstein '<' 0.5
done

title 'a bound: the same for the same seed'
run diffeo loglik vp.safetensors --data toy:gaussian:300:3 --bound=16 -o bound.csv
ok
out 'The variational bound by 16 draws a row'
run diffeo loglik vp.safetensors --data toy:gaussian:300:3 --bound=16 --batch 128 --threads 1 -o again.csv
same bound.csv again.csv
run diffeo loglik vp.safetensors --data toy:gaussian:300:3 --bound=16 --seed 1 -o other.csv
run cmp -s bound.csv other.csv
code 1
run diffeo loglik vp.safetensors --data toy:gaussian:10 --bound=7
error 2 'an even number of draws, got 7'
run diffeo loglik vp.safetensors --data toy:gaussian:10 --bound=0
error 2 '--bound'
run diffeo loglik vp.safetensors --data toy:gaussian:10 --bound --gradient-out g.csv
error 2 'no gradient'
run diffeo train --data toy:moons:100 --flow nice --set layers=2 --steps 2 --quiet -o nice.safetensors
run diffeo loglik nice.safetensors --data toy:moons:10 --bound
error 1 'nice.safetensors is no diffusion model'

title 'a density, there and back'
if [ "$flows" != vp ]; then
    run diffeo check vp.safetensors --solver rk4 --solver-steps 25 --json
    ok
    json normalisation '>' 0.97
    json normalisation '<' 1.03
fi
run diffeo encode vp.safetensors --data toy:gaussian:200:3 --rtol 1e-6 --atol 1e-6 --precision double -o z.safetensors --verify --json
ok
json max_roundtrip_error '<' 0.01
json normality_rows == 200
fitted json latents_variance '<' 1.5
fitted json column_distance '<' 0.3
json normality_p '<' 1.01
run diffeo encode vp.safetensors --data toy:moons:500 --solver heun --solver-steps 20 -o z.csv
ok
out ': not normal at 1 %'
run diffeo info vp.safetensors
out '"flow": "vp"'

title 'Rex: there, and back from two states'
near() {
    paste -d, "$1" "$2" >both.csv
    run awk -F, -v most="$3" 'NF == 4 && $1 + 0 == $1 {
        n++; for (i = 1; i < 3; i++) { e = $i - $(i + 2); bad += !(e <= most && e >= -most) } } END { exit bad || n < 100 }' both.csv
    ok
}
head -n 301 vp.csv >vp300.csv
run diffeo encode vp.safetensors --data vp.csv#0:300 --sampler rex:midpoint --solver-steps 50 --verify -o z.safetensors --json
ok
json max_roundtrip_error '<' 4e-6
json rows_over_tolerance == 0
run diffeo decode vp.safetensors --data z.safetensors -o back.csv
ok
near vp300.csv back.csv 1e-5
run diffeo encode vp.safetensors --data vp.csv#0:300 --sampler rex --solver-steps 50 --threads 1 --batch 128 -o again.safetensors
same z.safetensors again.safetensors
run diffeo encode vp.safetensors --data vp.csv#0:300 --sampler rex --solver-steps 50 --precision double --verify -o z.safetensors --json
ok
json max_roundtrip_error '<' 1e-13
run diffeo encode vp.safetensors --data vp.csv#0:300 --sampler rex:rk4 --solver-steps 100 --lossy -o rex.csv
ok
run diffeo encode vp.safetensors --data vp.csv#0:300 --rtol 1e-6 --atol 1e-6 -o ode.csv
fitted near rex.csv ode.csv 0.02

title 'Rex: to the bit'
cat >bare.json <<'END'
{"flow": "custom", "matching": {"path": "diffusion"}, "bijector": {"type": "chain", "layers": [
    {"type": "cnf", "net": {"type": "time-mlp", "hidden": 16, "layers": 1}, "diffusion": {"prediction": "data"}}]}}
END
run diffeo train --data toy:gaussian:1000 --flow bare.json --steps 30 --batch 256 --quiet -o bare.safetensors
ok
for more in '' '--sde'; do
    for precision in float double; do
        how="--sampler rex --solver-steps 30 --bit-exact $more --precision $precision --json"
        # shellcheck disable=SC2086
        run diffeo encode bare.safetensors --data toy:gaussian:300:3 $how --verify -o bits.safetensors
        ok
        if [ $precision = float ]; then json max_roundtrip_error == 0; else json max_roundtrip_error '<' 1e-13; fi
        run diffeo decode bare.safetensors --data bits.safetensors --precision $precision -o bits.npy
        ok
        # shellcheck disable=SC2086
        run diffeo encode bare.safetensors --data bits.npy $how --verify --batch 128 -o twice.safetensors
        json max_roundtrip_error == 0
        same bits.safetensors twice.safetensors
    done
done
run diffeo decode bare.safetensors --data bits.safetensors -o no.npy
error 1 'whole numbers of the precision double: --precision double decodes them'

title 'Rex: with the noise of the start'
run diffeo encode vp.safetensors --data vp.csv#0:300 --sampler rex:midpoint --solver-steps 50 --start-noise --seed 5 --verify -o z.safetensors --json
ok
json max_roundtrip_error '<' 4e-6
run diffeo decode vp.safetensors --data z.safetensors -o back.csv
ok
near vp300.csv back.csv 1e-5
run diffeo decode vp.safetensors --data z.safetensors --precision double -o back.csv
ok
near vp300.csv back.csv 1e-4
run diffeo encode vp.safetensors --data vp.csv#0:300 --sampler rex --solver-steps 50 --start-noise --seed 5 --threads 1 --batch 128 -o again.safetensors
same z.safetensors again.safetensors
LC_ALL=C sed 's/start_noise\\":true/start_noise\\":1234/' z.safetensors >hostile.safetensors
run diffeo decode vp.safetensors --data hostile.safetensors -o no.csv
error 1 'start_noise: expected true or false'
LC_ALL=C sed 's/start_noise\\":true/start_nose\\": true/' z.safetensors >old.safetensors
run diffeo decode vp.safetensors --data old.safetensors -o old.csv
ok
run cmp -s old.csv back.csv            # what the file does not tell of stays in
code 1
run diffeo encode vp.safetensors --data vp.csv#0:300 --sampler rex --solver-steps 20 --start-noise=0.05 --verify -o z.safetensors --json
ok
json max_roundtrip_error '<' 4e-6
run diffeo decode vp.safetensors --data z.safetensors -o back.csv
ok
near vp300.csv back.csv 1e-5
LC_ALL=C sed 's/start_time\\":0.05/start_time\\":5.05/' z.safetensors >hostile.safetensors
run diffeo decode vp.safetensors --data hostile.safetensors -o no.csv
error 1 'expected a start from 0.001, the data.s time, to below 1, got 5.05'
run diffeo encode vp.safetensors --data vp.csv#0:300 --sampler rex --solver-steps 5 --start-noise=1e-4 -o no.safetensors
error 1 'expected a start from 0.001'
run diffeo encode vp.safetensors --data vp.csv#0:300 --sampler rex --solver-steps 5 --start-noise=x -o no.safetensors
error 2 'start-noise'
run diffeo encode vp.safetensors --data vp.csv#0:300 --solver-steps 5 --start-noise -o no.safetensors
error 2 '--zeta, --bit-exact, --sde and --start-noise go with --sampler rex'

title 'a schedule whose noise end has hardly any data'
# shellcheck disable=SC2086
run diffeo train --data toy:gaussian:4000 --flow ddpm --set schedule=cosine --set prediction=velocity $small --steps "$(steps 400)" --lr 5e-3 -o cosine.safetensors
ok
run diffeo loglik cosine.safetensors --data toy:gaussian:500:3 --solver rk4 --solver-steps 20 --json
ok
fitted run awk "BEGIN { d = $(value mean_nats) + $(value entropy_nats); exit !(d > -0.3 && d < 0.1) }"
fitted ok
run diffeo encode cosine.safetensors --data toy:gaussian:100:3 --sampler rex --solver-steps 20 --verify -o z.safetensors --json
ok
json max_roundtrip_error '<' 1e-5
run diffeo sample cosine.safetensors -n 1000 --solver heun --solver-steps 20 -o cosine.csv
ok
run diffeo distance cosine.csv toy:gaussian:1000:9 --json
fitted json sliced_wasserstein '<' 0.5

title 'Rex: along the SDE'
run diffeo encode vp.safetensors --data toy:gaussian:300:3 --sampler rex --sde --solver-steps 50 --precision double --verify -o sde.safetensors --json
ok
json max_roundtrip_error '<' 1e-6
run diffeo encode vp.safetensors --data toy:gaussian:300:3 --sampler rex:shark --sde --solver-steps 50 --precision double --batch 128 --threads 1 -o again.safetensors
same sde.safetensors again.safetensors

title 'Rex: what is refused'
rex() { run diffeo encode vp.safetensors --data toy:gaussian:10 -o no.safetensors --sampler "$@"; }
run diffeo encode nice.safetensors --data toy:moons:10 --sampler rex --solver-steps 5 -o no.safetensors
error 1 'nice.safetensors has no diffusion layer: --sampler rex wants one'
rex rex
error 2 'wants --solver-steps N, 1 at least'
rex rex --solver-steps 0
error 2 'wants --solver-steps N, 1 at least'
rex rex --solver-steps 5 --zeta 0
error 2 'zeta: expected a number above 0, 1 at most'
rex rex --solver-steps 5 --zeta 1.5
error 2 'zeta: expected a number from 0 to 1'
rex rex:leapfrog --solver-steps 5
error 1 "no method for an ODE is called 'leapfrog'; known: euler, midpoint, .*, dop853$"
run diffeo encode vp.safetensors --data vp.csv#0:3 --sampler rex --solver-steps 5 -o z.safetensors --quiet
for option in '--solver rk4 --solver-steps 3' '--solver-steps 1' '--rtol 0.5'; do
    # shellcheck disable=SC2086
    run diffeo decode vp.safetensors --data z.safetensors $option -o no.csv
    error 2 'z.safetensors: of --sampler rex, which goes back as it came'
done
rex rex:heun --sde --solver-steps 5
error 1 "no method for an SDE is called 'heun'; known: euler-maruyama, shark"
rex rex --solver-steps 5 --bit-exact --zeta 0.9
error 2 'bit-exact and --zeta exclude each other'
rex rex --solver-steps 5 --rtol 1e-3
error 2 'do not go with --sampler rex'
rex ddim --solver-steps 5
error 2 "expected rex or rex:METHOD, got 'ddim'"
for change in '"format":1/"format":9' '"kind":"flow"/"kind":"tree"'; do
    LC_ALL=C sed "s/$(echo "$change" | sed 's/"/\\\\"/g')/" z.safetensors >hostile.safetensors
    run diffeo decode vp.safetensors --data hostile.safetensors -o no.csv
    error 1 'hostile.safetensors: latents of'
done
run diffeo encode vp.safetensors --data toy:gaussian:10 --sampler rex --solver-steps 5 --seed 9223372036854775808 -o no.safetensors
error 2 'seed: expected an integer of at most 9223372036854775807'
run diffeo encode vp.safetensors --data toy:gaussian:10 --sampler rex --solver-steps 5 --seed 9223372036854775807 -o z.safetensors --quiet
ok
run diffeo decode vp.safetensors --data z.safetensors -o back.csv
ok
run diffeo encode vp.safetensors --data toy:gaussian:10 --bit-exact -o no.safetensors
error 2 'go with --sampler rex'
run diffeo encode vp.safetensors --data toy:gaussian:10 --sampler rex --solver-steps 5 -o no.npy
error 2 '--lossy writes the latents'
no_file no.safetensors

title 'chains of noise, as of 2015'
run diffeo train --data toy:moons:4000 --flow diffusion-2015 --set steps=20 --set hidden=48 --set depth=2 --steps "$(steps 400)" --lr 3e-3 --quiet -o 2015.safetensors
ok
run diffeo loglik 2015.safetensors --data toy:moons:500:3 --json
ok
json estimate == bound
fitted json mean_nats '>' -3.6
run diffeo sample 2015.safetensors -n 500 -o 2015.csv
ok
run diffeo distance 2015.csv toy:moons:500:3 --json
ok
fitted json sliced_wasserstein '<' 0.5
# three bits, the last of which is the first two's sum modulo 2
awk 'BEGIN { for (i = 0; i < 800; i++) { a = int(i / 2) % 2; b = i % 2; print a "," b "," (a + b) % 2 } }' >bits.csv
run diffeo train --data bits.csv --flow diffusion-2015-binary --set steps=10 --set hidden=32 --set depth=2 --steps "$(steps 500)" --lr 5e-3 --quiet -o bits.safetensors
ok
run diffeo loglik bits.safetensors --data bits.csv --json
ok
fitted json mean_nats '>' -1.8
run diffeo sample bits.safetensors -n 400 -o drawn.csv
ok
# shellcheck disable=SC2016
fitted run awk -F, '($1 + $2 + $3) % 2 { wrong++ } END { exit !(NR == 400 && wrong < 80) }' drawn.csv
fitted ok
echo 0,1,0.5 >half.csv
run diffeo loglik bits.safetensors --data half.csv
error 1 'row 0, column 2: expected 0 or 1, got 0.5'
run diffeo train --data toy:moons:100 --flow diffusion-2015-binary --steps 2 --quiet -o no.safetensors
error 1 'expected 0 or 1'
run diffeo train --data toy:moons:100 --flow diffusion-2015 --set last=1.5 --steps 2 --quiet -o no.safetensors
error 1 'last'
run diffeo train --data toy:moons:100 --flow diffusion-2015-binary --set learned=true --steps 2 --quiet -o no.safetensors
error 2 "unknown key 'learned'"

title 'samplers'
# NAME EVALUATIONS-IN-20-STEPS OPTION...: draws are the data's, the same for any threads and batch.  Distances were 0.16 to 0.33, two
# sets of data are 0.09 apart.
sampler() {
    name=$1 nfe=$2
    shift 2
    run diffeo sample two.safetensors -n 600 --sampler "$name" --solver-steps 20 "$@" -o drawn.csv --json
    ok
    json nfe == "$nfe"
    run diffeo sample two.safetensors -n 300 --sampler "$name" --solver-steps 20 "$@" --threads 1 --batch 64 -o fewer.csv
    head -n 300 drawn.csv >first.csv
    same fewer.csv first.csv
    run diffeo distance drawn.csv toy:moons:1000:9 --measures sliced --json
    fitted json sliced_wasserstein '<' 0.45
}
flow=edm
[ "$flows" != vp ] || flow=vp
run diffeo train --data toy:moons:4000 --flow $flow --set hidden=32 --set depth=1 --batch 128 --quiet --steps "$(steps 400)" --lr 1e-2 --schedule cosine \
    -o two.safetensors
ok
sampler ancestral 20
sampler ddim 20 --eta 0.5
sampler euler-maruyama 20 --grid log-snr
sampler predictor-corrector 60 --corrections 2 --snr 0.2
sampler edm-heun 39 --churn 5 --churn-min 0.01 --churn-max 10 --churn-noise 1.01
sampler langevin 101 --corrections 5 --snr 0.5
sampler rex 39
sampler rex:rk4 77
sampler rex:euler-maruyama 20 --sde
draw() { run diffeo sample vp.safetensors -n 10 --solver-steps 5 -o no.csv "$@"; }
run diffeo sample nice.safetensors -n 10 --sampler ddim --solver-steps 5 -o no.csv
error 1 'nice.safetensors is not a diffusion model: --sampler wants one'
draw --sampler ddpm
error 2 "none is called 'ddpm'; known: ancestral, ddim, euler-maruyama, predictor-corrector, edm-heun, langevin, rex"
draw --sampler rex:kvaerno3
error 1 'implicit'
draw --sampler ddim --churn 1
error 2 'churn-noise go with --sampler edm-heun'
draw --sampler ancestral --snr 0.1
error 2 'snr goes with --sampler predictor-corrector or langevin'
draw --eta 1
error 2 'eta goes with --sampler ddim'
draw --sde --sampler ddim
error 2 'sde goes with --sampler rex'
draw --grid edm
error 2 'grid goes with --sampler'
draw --sampler ddim --grid cubic
error 1 "none is called 'cubic'; known: uniform, log-snr, edm, ddpm"
draw --sampler ddim --eta 2
error 2 'eta: expected a number from 0 to 1'
draw --sampler ddim --rtol 1e-3
error 2 'do not go with --sampler'
draw --sampler ddim --temperature 0.5
error 2 'exclude each other'
draw --sampler ddim --solver-steps 0
error 2 'wants --solver-steps N, 1 at least'
no_file no.csv

title 'pictures, of classes'
awk 'BEGIN { for (i = 0; i < 240; i++) { line = ""
    for (k = 0; k < 16; k++) { v = (i * 37 + k * 17 + int(k / 4) * 29) % 60 + (int(k % 4 / 2) == i % 2 ? 180 : 10); line = line (k ? "," : "") v }
    print line } }' >images.csv
awk 'BEGIN { for (i = 0; i < 240; i++) print i % 2 }' >labels.csv
few='--data images.csv#0:32 --labels labels.csv#0:32 --images 4x4'
run diffeo train --data images.csv --images 4x4 --labels labels.csv --flow vp --set channels=8 --set levels=2 \
    --batch 48 --lr 1e-2 --steps 150 --quiet -o p.safetensors --json
ok
json train_loss '<' 0.4
# shellcheck disable=SC2086
run diffeo loglik p.safetensors $few --solver rk4 --solver-steps 4 --trace hutchinson:1 --json
ok
json bits_per_dim '>' 4
json bits_per_dim '<' 12
for how in '' '--guidance 2' --bit-exact '--start-noise --seed 3' '--start-noise --seed 4 --bit-exact'; do
    # shellcheck disable=SC2086
    run diffeo encode p.safetensors $few --sampler rex --solver-steps 5 $how -o p_z.safetensors --json
    ok
    json pixels_wrong == 0
    run diffeo decode p.safetensors --data p_z.safetensors --labels labels.csv#0:32 -o p_back.csv
    ok
    head -n 32 images.csv >p_few.csv
    same p_back.csv p_few.csv
done
run diffeo train --data images.csv --images 4x4 --labels labels.csv --flow vp --set channels=8 --set levels=2 --set spread=log-snr --set norm=none \
    --set centre=0 --set first=2e-3 --batch 48 --steps 3 --quiet -o d.safetensors
ok
run diffeo info d.safetensors --json
out '"spread": "log-snr"'
out '"norm": "none"'
out '"low": -64.0, "high": 64.0'
out '"first": 0.002'
for class in 0 1; do
    run diffeo sample p.safetensors -n 32 --class $class --guidance 2 --solver euler --solver-steps 6 -o s.csv
    ok
    run awk -F, -v c=$class '{ for (k = 1; k <= 16; k++) s[int((k - 1) % 4 / 2)] += $k } END { exit !(s[c] > s[1 - c] + 60 * 8 * NR) }' s.csv
    ok
done
run diffeo sample p.safetensors -n 32 --class 1 --solver euler --solver-steps 4 -o plain.csv
run diffeo sample p.safetensors -n 32 --class 1 --guidance 1 --solver euler --solver-steps 4 -o one.csv
same plain.csv one.csv
run diffeo sample p.safetensors -n 4 --class 1 --solver euler --solver-steps 4 -o grid.png
ok
run diffeo sample p.safetensors -n 4 --class 2 -o no.csv
error 2 'class: expected 0 to 1, got 2'
run diffeo sample p.safetensors -n 4 --guidance 2 -o no.csv
error 2 'class K is missing'
run diffeo sample vp.safetensors -n 4 --guidance 2 -o no.csv
error 1 'no condition to be guided by'

title 'pictures of one gray, their bits known'
# What a net at zero means: of vp and edm data of a normal density, whose value at x = 0, the middle, takes 1.3257 bits beside those of
# the scale, 7 and 6; of ddpm that there is no noise, and rows shrink by alpha, e^-5.025.
awk 'BEGIN { for (i = 0; i < 30; i++) { line = "127"; for (k = 1; k < 16; k++) line = line "," (i + k) % 2 + 127; print line } }' >gray.csv
awk 'BEGIN { for (i = 0; i < 30; i++) print 0 }' >gray_labels.csv
for flow in vp ddpm edm; do
    run diffeo train --data gray.csv --images 4x4 --labels gray_labels.csv --flow $flow --set channels=8 --set label_dropout=0 --steps 1 --lr 1e-300 --quiet \
        -o $flow.0.safetensors
    ok
done
for known in 'vp 8.3257' 'edm 7.3257' 'ddpm 15.575'; do
    run diffeo loglik "${known% *}.0.safetensors" --data gray.csv#0:8 --images 4x4 --class 0 --solver rk4 --solver-steps 8 --trace hutchinson:1 --json
    ok
    json bits_per_dim '~' "${known#* }" 0.005
done
run diffeo sample vp.0.safetensors -n 1 --class 0 --guidance 2 -o no.csv
error 1 'not trained with label_dropout'
run diffeo train --data gray.csv --images 4x4 --labels gray_labels.csv --flow vp --guidance 2 --steps 1 -o no.safetensors
error 2 'is for trained models'
run diffeo train --data gray.csv --images 4x4 --flow vp --set levels=4 --steps 1 -o no.safetensors
error 1 'levels: expected from 1 to 3 for 4x4 pixels, got 4'
run diffeo train --data gray.csv --images 4x4 --flow vp --set net=mlp --steps 1 -o no.safetensors
error 1 'net: expected unet or time-mlp, got mlp'

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
error 1 'expected noise, data, velocity or edm, got score'
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

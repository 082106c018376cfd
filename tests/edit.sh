#!/bin/sh
# Rows of one class made into another's, and draws where something is known: tables, bits and pictures from the shell; what is refused.
# shellcheck source=tests/sh.sh
. "${top_srcdir:?run by make check}/tests/sh.sh"
: "${work:?}" "${code=}"

# means FILE: of its columns, and the number of rows
means() { awk -F, '{ for (k = 1; k <= NF; k++) s[k] += $k } END { for (k = 1; k <= NF; k++) printf "%.6f ", s[k] / NR; print NR }' "$1"; }

# within FILE COLUMN LOW HIGH: the column's mean; between: where the model is fitted
within() {
    run awk -v k="$2" -v low="$3" -v high="$4" -v m="$(means "$1")" 'BEGIN { split(m, a, " "); exit !(a[k] > low && a[k] < high) }'
    ok
}
between() { fitted within "$@"; }

title 'two classes of a table'
# around (-2, 1) and (2, -1), columns correlated by 0.8
awk 'BEGIN { srand(3); for (i = 0; i < 2000; i++) {
    r = sqrt(-2 * log(1 - rand())); a = 6.2831853 * rand(); x = r * cos(a); y = 0.8 * x + 0.6 * r * sin(a); s = i % 2 ? 1 : -1
    printf "%.6f,%.6f\n", 2 * s + 0.5 * x, -s + 0.5 * y } }' >rows.csv
awk 'BEGIN { for (i = 0; i < 2000; i++) print i % 2 }' >labels.csv
awk 'NR % 2' rows.csv | head -n 300 >first.csv
run diffeo train --data rows.csv --labels labels.csv --flow vp --set hidden=32 --set depth=1 --batch 128 --lr 1e-2 --schedule cosine --steps "$(steps 400)" \
    --quiet -o two.safetensors
ok
edit() { run diffeo edit two.safetensors --data first.csv "$@"; }
edit --from-class 0 --to-class 1 --strength 1 --solver-steps 30 -o edited.csv --json
ok
json rows == 300
json method == midpoint
json values_changed '>' 590
json sigma '>' 0.99
between edited.csv 1 1.6 2.4
between edited.csv 2 -1.4 -0.6
edit --from-class 0 --to-class 1 --strength 1 --solver-steps 30 --threads 1 --batch 64 -o again.csv
same edited.csv again.csv
edit --class 0 --to-class 1 --strength 1 --solver-steps 30 -o again.csv
same edited.csv again.csv
edit --labels labels.csv#0:300 --to-class 1 --solver-steps 10 --strength 0.3 --sampler rex:heun --zeta 0.9 --precision double -o again.csv --json
ok
json method == heun
json time '~' 0.3 0.01
# the classes are each other's mirror: guidance takes the mean further
edit --from-class 0 --to-class 1 --strength 0.6 --guidance 3 -o guided.csv
ok
edit --from-class 0 --to-class 1 --strength 0.6 -o plain.csv
fitted run awk -v a="$(means guided.csv)" -v b="$(means plain.csv)" 'BEGIN { split(a, x, " "); split(b, y, " "); exit !(x[1] > y[1] + 0.1) }'
fitted ok

title 'to the class it is of: the rows themselves'
for precision in float double; do
    edit --from-class 0 --to-class 0 --strength 0.7 --precision $precision -o self.csv --json
    ok
    paste -d, first.csv self.csv >both.csv
    run awk -F, '{ for (k = 1; k < 3; k++) { e = $k - $(k + 2); bad += !(e < 1e-4 && e > -1e-4) } } END { exit bad || NR != 300 }' both.csv
    ok
done

title 'a mask of columns'
echo 1,0 >mask.csv
edit --from-class 0 --to-class 1 --mask mask.csv -o masked.csv --json
ok
json values_changed_outside == 0
json kept_max_error '<' 1e-4
json values_changed '>' 290
edit --from-class 0 --to-class 1 --mask mask.csv --before -o pairs.csv
ok
awk 'NR % 2' pairs.csv >before.csv
awk 'NR % 2 == 0' pairs.csv >after.csv
same after.csv masked.csv
cut -d, -f2 before.csv >kept_before.csv
cut -d, -f2 masked.csv >kept_after.csv
same kept_before.csv kept_after.csv
out 'outside the mask 0; they came back to'

title 'pictures'
# class 0 is bright on the left, class 1 on the right
awk 'BEGIN { for (i = 0; i < 240; i++) { line = ""
    for (k = 0; k < 16; k++) { v = (i * 37 + k * 17 + int(k / 4) * 29) % 60 + (int(k % 4 / 2) == i % 2 ? 180 : 10); line = line (k ? "," : "") v }
    print line } }' >images.csv
awk 'BEGIN { for (i = 0; i < 240; i++) print i % 2 }' >of_images.csv
echo 1 >one.csv
run diffeo train --data images.csv --images 4x4 --labels of_images.csv --flow vp --set channels=8 --set levels=2 --batch 48 --lr 1e-2 --steps 150 \
    --quiet -o p.safetensors
ok
awk 'NR % 2' images.csv | head -n 32 >zeros.csv
picture() { run diffeo edit p.safetensors --data zeros.csv --images 4x4 --from-class 0 "$@"; }
picture --to-class 0 --solver-steps 10 -o same.csv --json
ok
json values_changed == 0
same zeros.csv same.csv
picture --to-class 1 --strength 0.7 --solver-steps 10 -o ones.csv
ok
run awk -F, '{ for (k = 1; k <= 16; k++) s[int((k - 1) % 4 / 2)] += $k } END { exit !(s[1] > s[0] + 40 * 8 * NR) }' ones.csv
ok
echo 0,0,0,0,0,0,0,0,255,255,255,255,255,255,255,255 >lower.csv
run diffeo filter lower.csv --images 4x4 --kernel one.csv -o lower.png
ok
picture --to-class 1 --mask lower.png --strength 0.7 --solver-steps 10 -o lower_edited.csv --json
ok
json values_changed_outside == 0
json kept_max_error '<' 1
json values_changed '>' 200
picture --to-class 1 --mask lower.csv --strength 0.7 --solver-steps 10 -o again.csv
same lower_edited.csv again.csv
cut -d, -f1-8 zeros.csv >upper.csv
cut -d, -f1-8 lower_edited.csv >upper_edited.csv
same upper.csv upper_edited.csv
picture --to-class 1 --before --solver-steps 3 -o grid.png
ok
a_file grid.png

title 'what edit refuses'
run diffeo train --data toy:moons:100 --flow vp --set hidden=8 --set depth=1 --steps 2 --quiet -o plain.safetensors
run diffeo train --data toy:moons:100 --flow nice --set layers=2 --steps 2 --quiet -o nice.safetensors
run diffeo train --data rows.csv --labels labels.csv --flow nice --set layers=2 --steps 2 --quiet -o classes.safetensors
run diffeo edit plain.safetensors --data first.csv --from-class 0 --to-class 1 -o no.csv
error 1 'plain.safetensors was not trained with --labels: it knows no classes'
run diffeo edit classes.safetensors --data first.csv --from-class 0 --to-class 1 -o no.csv
error 1 'classes.safetensors: edit wants a diffusion model that goes there and back'
edit --from-class 2 --to-class 1 -o no.csv
error 2 'from-class: expected 0 to 1, got 2'
edit --from-class 0 --to-class 7 -o no.csv
error 2 'to-class: expected 0 to 1, got 7'
edit --from-class 0 -o no.csv
error 2 'to-class B is missing'
edit --to-class 1 -o no.csv
error 2 'from-class A is missing'
edit --from-class 0 --class 1 --to-class 1 -o no.csv
error 2 'exclude each other'
edit --from-class 0 --labels labels.csv --to-class 1 -o no.csv
error 2 'from-class and --labels exclude each other'
edit --from-class 0 --to-class 1
error 2 'o FILE is missing'
edit --from-class 0 --to-class 1 --strength 0 -o no.csv
error 2 "strength: expected a number above 0, 1 at most, got '0'"
edit --from-class 0 --to-class 1 --strength 1.5 -o no.csv
error 2 'strength: expected a number from 0 to 1'
edit --from-class 0 --to-class 1 --zeta 0 -o no.csv
error 2 'zeta: expected a number above 0'
edit --from-class 0 --to-class 1 --solver-steps 0 -o no.csv
error 2 'solver-steps: expected an integer of at least 1'
edit --from-class 0 --to-class 1 --sampler ddim -o no.csv
error 2 "expected rex or rex:METHOD, got 'ddim'"
edit --from-class 0 --to-class 1 --sampler rex:kvaerno3 -o no.csv
error 1 'implicit'
edit --from-class 0 --to-class 1 --mask lower.png -o no.csv
error 1 'lower.png: expected a mask of 1x1, the model.s, got 4x4x1'
echo 1,0,1 >three.csv
edit --from-class 0 --to-class 1 --mask three.csv -o no.csv
error 1 'three.csv: expected a mask of 2 numbers, got 3'
edit --from-class 0 --to-class 1 --mask first.csv -o no.csv
error 1 'first.csv: expected one mask, got 300 rows'
edit --from-class 0 --to-class 1 --mask none.png -o no.csv
error 1 'none.png'
run diffeo filter 'images.csv#0:1' --images 2x8 --kernel one.csv -o wide.png
picture --to-class 1 --mask wide.png -o no.csv
error 1 'wide.png: expected a mask of 4x4, the model.s, got 2x8x1'
run diffeo train --data rows.csv --labels labels.csv --flow vp --set hidden=8 --set depth=1 --set label_dropout=0 --steps 2 --quiet -o always.safetensors
run diffeo edit always.safetensors --data first.csv --from-class 0 --to-class 1 --guidance 2 -o no.csv
error 1 'not trained with label_dropout'
no_file no.csv

title 'draws where something is known: a table'
# Of class 0 the second column is 1 and 0.8 of what the first is off: 0.4 and 1.6.  The net has a part of that, and few corrections take away a
# part more: 0.59 and 1.25 came, with ancestral 0.83 and 1.11.
printf '%s\n' -2.75,NaN -1.25,NaN >known.csv
draw() { run diffeo sample two.safetensors --class 0 --given known.csv -n 400 --sampler "$@"; }
draw predictor-corrector --solver-steps 30 --corrections 20 --snr 0.3 --grid log-snr -o given.csv --json
ok
json rows == 800
head -n 400 given.csv >low.csv
tail -n 400 given.csv >high.csv
within low.csv 1 -2.7500001 -2.7499999
between high.csv 1 -1.2500001 -1.2499999
between low.csv 2 0.3 0.75
between high.csv 2 1.05 1.6
draw predictor-corrector --solver-steps 30 --corrections 20 --snr 0.3 --grid log-snr --threads 1 --batch 64 -o again.csv
same given.csv again.csv
draw ancestral --solver-steps 10 -o given.csv
ok
draw ddim --solver-steps 10 -o given.csv
ok
# all known, with noise: exact draws of what it was before
echo -2.5,0.5 >noisy.csv
run diffeo sample two.safetensors --class 0 --given noisy.csv --given-noise 0.1 -n 400 --sampler ancestral --solver-steps 20 -o clean.csv
ok
between clean.csv 1 -2.7 -2.2
between clean.csv 2 0.3 0.9
echo 1,0 >mask.csv
run diffeo sample two.safetensors --class 0 --given noisy.csv --mask mask.csv -n 10 --sampler ancestral --solver-steps 5 -o masked.csv
ok
between masked.csv 2 0.4999999 0.5000001

title 'draws where something is known: chains of noise'
awk 'BEGIN { for (i = 0; i < 800; i++) { a = int(i / 2) % 2; b = i % 2; print a "," b "," (a + b) % 2 } }' >bits.csv
run diffeo train --data bits.csv --flow diffusion-2015-binary --set steps=10 --set hidden=32 --set depth=2 --steps "$(steps 500)" --lr 5e-3 --quiet -o bits.safetensors
ok
# the likelihood at every step leaves a bias: 0.76 of the draws are right, of those without anything known 0.88
printf '%s\n' 1,0,NaN 1,1,NaN >bits_known.csv
run diffeo sample bits.safetensors --given bits_known.csv -n 200 -o bits_drawn.csv
ok
# shellcheck disable=SC2016
fitted run awk -F, '$1 != 1 || $2 != (NR > 200) { exit 1 } { right += $3 == (NR <= 200) } END { exit !(NR == 400 && right > 260) }' bits_drawn.csv
fitted ok
echo 1,0,0 >bits_known.csv
run diffeo sample bits.safetensors --given bits_known.csv --given-noise 0.2 -n 200 -o bits_drawn.csv
ok
# 0.44 keep what is given, which is no row of theirs
# shellcheck disable=SC2016
fitted run awk -F, '($1 + $2 + $3) % 2 { wrong++ } END { exit !(NR == 200 && wrong < 120) }' bits_drawn.csv
fitted ok
run diffeo check bits.safetensors --data bits.csv#0:50 --json
ok
run diffeo sample bits.safetensors --given bits_known.csv --given-noise 0.5 -n 200 -o no.csv
error 1 'expected the chance of a wrong bit, below 0.5'
awk 'NR % 2' rows.csv >class0.csv
run diffeo train --data class0.csv --flow diffusion-2015 --set steps=30 --set hidden=32 --set depth=2 --steps "$(steps 400)" --lr 5e-3 --quiet -o chain.safetensors
ok
run diffeo sample chain.safetensors --given known.csv -n 400 -o given.csv
ok
head -n 400 given.csv >low.csv
tail -n 400 given.csv >high.csv
within low.csv 1 -2.7500001 -2.7499999
fitted run awk -v a="$(means low.csv)" -v b="$(means high.csv)" 'BEGIN { split(a, x, " "); split(b, y, " "); exit !(y[2] > x[2] + 0.3) }'
fitted ok

title 'draws where something is known: pictures'
run diffeo sample p.safetensors --class 1 --given zeros.csv#0:4 --mask lower.png -n 2 --sampler predictor-corrector --solver-steps 10 -o filled.csv
ok
run awk -F, 'NR == FNR { row[NR] = $1 "," $2 "," $8; next } $1 "," $2 "," $8 != row[int((FNR - 1) / 2) + 1] { exit 1 }' zeros.csv filled.csv
ok
run diffeo sample p.safetensors --class 0 --given zeros.csv#0:4 --given-noise 0.2 -n 1 --sampler ancestral --solver-steps 10 -o filled.png
ok
a_file filled.png

title 'what is refused'
draw rex --solver-steps 5 -o no.csv
error 2 'given goes with --sampler ancestral or ddim or'
run diffeo sample two.safetensors --class 0 --given known.csv -n 2 -o no.csv
error 2 'given wants --sampler NAME'
run diffeo sample nice.safetensors --given known.csv -n 2 -o no.csv
error 1 'nice.safetensors is no diffusion model: --given wants one'
run diffeo sample two.safetensors --class 0 --given noisy.csv -n 2 --sampler ancestral --solver-steps 5 -o no.csv
error 2 'nothing is missing'
run diffeo sample two.safetensors --class 0 -n 2 --mask mask.csv -o no.csv
error 2 'mask goes with --given'
run diffeo sample two.safetensors --class 0 -n 2 --given-noise 1 -o no.csv
error 2 'given-noise goes with --given'
run diffeo sample two.safetensors --class 0 --given three.csv -n 2 --sampler ancestral --solver-steps 5 -o no.csv
error 1 'expected 2 columns, got 3'
run diffeo sample two.safetensors --class 0 --given noisy.csv --mask three.csv -n 2 --sampler ancestral --solver-steps 5 -o no.csv
error 1 'expected a mask of 2 numbers, got 3'
run diffeo sample two.safetensors --class 0 --given noisy.csv --given-noise 1e-9 -n 2 --sampler ancestral --solver-steps 5 -o no.csv
error 1 'what the schedule has'
run diffeo sample two.safetensors --class 0 --given noisy.csv --mask mask.csv --given-noise 1e-9 -n 2 --sampler ancestral --solver-steps 5 -o no.csv
error 1 'expected none, or from'
run diffeo sample two.safetensors --class 0 --given noisy.csv --given-noise 0.5 -n 2 --sampler edm-heun --churn 3 --solver-steps 5 -o no.csv
error 1 'edm-heun: churn below the noise of what is given would forget it'
run diffeo sample two.safetensors --class 0 --given noisy.csv --given-noise 0.5 -n 2 --sampler edm-heun --churn 0 --solver-steps 5 -o end.csv
ok
run diffeo sample two.safetensors --class 0 -n 2 --sampler edm-heun --churn-noise 1.1 --solver-steps 5 -o no.csv
error 2 'churn-noise go with --churn above 0'
run diffeo sample p.safetensors --class 0 --given wide.png -n 2 --mask lower.png --sampler ancestral --solver-steps 5 -o no.csv
error 1 'expected images of 4x4x1'
no_file no.csv

finish

#!/bin/sh
# Classifiers as people meet them: an i-RevNet on small pictures, its probabilities and calibration, pictures back from
# features, what it lacks, and what goes wrong.
# shellcheck source=tests/sh.sh
. "${top_srcdir:?run by make check}/tests/sh.sh"
: "${work:?}" "${code=}"

# 200 pictures of 8x8 that grow lighter to the right (1) or downwards (0), with noise; as IDX and as CSV.
pictures() {
    awk -v n="$1" 'BEGIN { srand(1); for (i = 0; i < n; i++) for (j = 0; j < 64; j++)
        printf "%d%s", 1 + (i % 2 ? j % 8 : int(j / 8)) * 8 + 60 * rand(), j < 63 ? "," : "\n" }'
}
pictures 200 >pictures.csv
printf '\000\000\010\003\000\000\000\310\000\000\000\010\000\000\000\010' >pictures-idx3-ubyte
LC_ALL=C awk -F, '{ for (j = 1; j <= NF; j++) printf "%c", $j + 0 }' pictures.csv >>pictures-idx3-ubyte
seq 0 199 | awk '{ print $1 % 2 }' >labels.csv
data='--data pictures-idx3-ubyte --labels labels.csv'
small='--flow irevnet --set blocks=1 --set hidden=8 --batch 50 --lr 5e-3 --quiet'
train() {
    # shellcheck disable=SC2086
    run diffeo train $small "$@"
}

title 'train'
# shellcheck disable=SC2086
train $data --steps 100 --valid-fraction 0 --json -o c.safetensors
ok
json steps == 100
json parameters '>' 100
# shellcheck disable=SC2086
train $data --steps 6 --valid-fraction 0 --threads 1 -o one.safetensors
ok
out 'train -[0-9.]+ nats$'
# shellcheck disable=SC2086
train $data --steps 6 --valid-fraction 0 --threads 2 -o two.safetensors
ok
same one.safetensors two.safetensors
run diffeo info c.safetensors
ok
out '^c.safetensors: a classifier over images of 8x8x1 .* of 256 levels, of 2 classes, '
out '^head: .*"classes": 2'
out 'irevnet'
run diffeo info --preset irevnet --json
ok
json flow == irevnet

title 'a configuration in a file: what it leaves out is as in the preset'
printf '%s' '{"flow":"irevnet","blocks":1,"hidden":8}' >short.json
# shellcheck disable=SC2086
run diffeo train $data --flow short.json --batch 50 --lr 5e-3 --quiet --steps 6 --valid-fraction 0 -o short.safetensors
ok
same short.safetensors one.safetensors

title 'classify'
# shellcheck disable=SC2086
run diffeo classify c.safetensors $data --json -o p.csv
ok
json rows == 200
json classes == 2
json accuracy '>' 0.95
json nll '>' 0
json nll '<' 0.3
json brier '<' 0.2
json ece '<' 0.3
json ece_mass '<' 0.3
json ece_classwise '<' 0.3
json mce '>' 0
json bins == 15
json reliability.14.high == 1
accuracy=$(value accuracy)
run awk -F, 'NF != 2 || $1 < 0 || $2 < 0 || ($1 + $2 - 1) ^ 2 > 1e-10 { bad++ } END { exit bad || NR != 200 }' p.csv
ok
run awk -F, -v a="$accuracy" 'FNR == NR { y[FNR] = $1; next } { right += ($2 > $1) == y[FNR] }
    END { exit right / FNR != a }' labels.csv p.csv
ok
# shellcheck disable=SC2086
run diffeo classify c.safetensors $data --threads 1 -o q.csv
ok
out '^200 rows, 2 classes'
out '^accuracy .* negative log-likelihood .* Brier .* ECE '
same p.csv q.csv
run diffeo classify c.safetensors --data 'pictures-idx3-ubyte#0:7' -o part.csv --json
ok
json rows == 7
head -n 7 p.csv >first.csv
same part.csv first.csv
run diffeo classify c.safetensors --data pictures.csv --images 8x8 --labels labels.csv --json
ok
json accuracy == "$accuracy"
# shellcheck disable=SC2086
run diffeo classify c.safetensors $data --bins 4 --reliability
ok
out '^ *0\.750 +1\.000 '

title 'temperature scaling'
# shellcheck disable=SC2086
run diffeo classify c.safetensors $data --temperature-scaling --valid 'pictures-idx3-ubyte#0:100' \
    --valid-labels 'labels.csv#0:100' --json -o scaled.csv
ok
json scaled.valid_rows == 100
json scaled.temperature '>' 0
json scaled.accuracy == "$accuracy"
json rows == 200
run cmp -s p.csv scaled.csv
code 1
# shellcheck disable=SC2086
run diffeo classify c.safetensors $data --temperature-scaling --valid-fraction 0.5
ok
out '^temperature [0-9.]+ \(fitted to [0-9]+ rows\):'
# fitted to the scored rows themselves it cannot be worse
# shellcheck disable=SC2086
run diffeo classify c.safetensors $data --temperature-scaling --valid pictures-idx3-ubyte --valid-labels labels.csv --json
ok
json scaled.nll '<=' "$(value nll)"
# shellcheck disable=SC2086
run diffeo classify c.safetensors $data --temperature-scaling
error 2 'goes with --valid and --valid-labels, or --valid-fraction'
# shellcheck disable=SC2086
run diffeo classify c.safetensors $data --valid-fraction 0.5
error 2 'goes with'
# shellcheck disable=SC2086
run diffeo classify c.safetensors $data --temperature-scaling --valid pictures-idx3-ubyte
error 2 'valid-labels is missing'
# shellcheck disable=SC2086
run diffeo classify c.safetensors $data --temperature-scaling --valid pictures-idx3-ubyte --valid-labels labels.csv \
    --valid-fraction 0.1
error 2 'exclude each other'
run diffeo classify c.safetensors --data pictures-idx3-ubyte --temperature-scaling --valid-fraction 0.5
error 1 'no validation rows with labels'

title 'pictures back from features'
run diffeo encode c.safetensors --data pictures-idx3-ubyte --verify --json -o z.safetensors
ok
json rows == 200
json pixels_wrong == 0
json max_roundtrip_error == 0
run diffeo decode c.safetensors --data z.safetensors -o back.csv
ok
same back.csv pictures.csv
run diffeo check c.safetensors --data 'pictures-idx3-ubyte#0:20' --json
ok
json finite
json roundtrip_max_abs '<' 0.01
run diffeo check c.safetensors
error 2 'c.safetensors is a classifier: it is checked with --data'

title 'batch normalisation: running statistics once it is trained'
# shellcheck disable=SC2086
train $data --set norm=batch --steps 40 --valid-fraction 0 -o batch.safetensors
ok
# shellcheck disable=SC2086
run diffeo classify batch.safetensors $data --json
ok
json accuracy '>' 0.8
run diffeo encode batch.safetensors --data pictures-idx3-ubyte --verify --json -o z.npy
ok
json pixels_wrong == 0

title 'what it lacks'
run diffeo loglik c.safetensors --data pictures-idx3-ubyte
error 1 "c.safetensors is a classifier: it has no density; try 'diffeo classify'"
run diffeo sample c.safetensors -n 3 -o s.csv
error 1 "c.safetensors is a classifier: it has no samples; try 'diffeo classify'"
no_file s.csv
run diffeo plot c.safetensors -o s.png
error 1 "c.safetensors is a classifier: it has no density"
no_file s.png
run diffeo train --data "$top_srcdir/apps/data/faithful.csv" --flow nice --set layers=1 --set hidden=4 --steps 1 --quiet \
    -o flow.safetensors
ok
run diffeo classify flow.safetensors --data "$top_srcdir/apps/data/faithful.csv"
error 1 "flow.safetensors is a flow: it has no classes; try 'diffeo loglik'"

title 'bad input'
run diffeo classify
code 2
err 'MODEL is missing'
run diffeo classify c.safetensors
error 2 '\-\-data is missing'
run diffeo classify c.safetensors --data "$top_srcdir/apps/data/faithful.csv"
error 1 'expected 64 columns, got 2'
seq 0 199 >many.csv
run diffeo classify c.safetensors --data pictures-idx3-ubyte --labels many.csv
error 1 'row 2: label 2, expected an integer from 0 to 1'
run diffeo classify c.safetensors --data pictures-idx3-ubyte --labels labels.csv#0:9
error 1 'expected one for each'
run diffeo classify c.safetensors --data pictures-idx3-ubyte --class 1
error 2 'a classifier is given no class'
# shellcheck disable=SC2086
run diffeo classify c.safetensors $data --bins 0
code 2
err 'bins: expected an integer of at least 1'
train --data pictures-idx3-ubyte --steps 1 -o bad.safetensors
error 2 'a classifier is trained with --labels'
# shellcheck disable=SC2086
train $data --set classes=1 --steps 1 -o bad.safetensors
error 1 'classes must be at least 2, got 1'
# shellcheck disable=SC2086
train $data --set 'strides=[2,2,2]' --steps 1 -o bad.safetensors
error 1 'images of 8x8 cannot be divided by 16'
# shellcheck disable=SC2086
train $data --set 'blocks=[1,2,3]' --steps 1 -o bad.safetensors
error 1 'blocks: expected 2 numbers, one for each of strides, got 3'
train --data pictures.csv --labels labels.csv --steps 1 -o bad.safetensors
error 1 'irevnet: expected images, got rows of 64 columns'
printf '%s' '{"flow":"custom","head":{"classes":2},"bijector":{"type":"irevnet","channels":64}}' >injective.json
# shellcheck disable=SC2086
run diffeo train $data --flow injective.json --steps 1 --quiet -o bad.safetensors
code 1
no_file bad.safetensors

finish

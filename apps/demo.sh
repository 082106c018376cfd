#!/bin/sh
# The demo: two densities fitted, scored, drawn, encoded and decoded.  Needs the program in PATH; writes into
# ./diffeo-demo (or the folder given).
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
out=${1:-diffeo-demo}
mkdir -p "$out"
cd "$out"

say() { printf '\n%s\n' "$*"; }
show() { printf '$ %s\n' "$*"; "$@"; }

say "1. A toy whose entropy is known: a ring of eight Gaussians.  The best possible is minus its entropy."
show diffeo train --data toy:gaussians8:40000 --flow nsf --set layers=5 --set hidden=64 --lr 3e-3 --steps 1500 --quiet -o toy.safetensors
show diffeo loglik toy.safetensors --data toy:gaussians8:20000:1
cat >gauss.json <<'END'
{"flow": "custom", "bijector": {"type": "chain", "layers": [{"type": "standardise"}, {"type": "linear", "bias": true}]}}
END
diffeo train --data toy:gaussians8:40000 --flow gauss.json --lr 1e-2 --steps 500 --quiet -o gauss.safetensors >gauss.txt
show diffeo loglik gauss.safetensors --data toy:gaussians8:20000:1
printf '(the second is a Gaussian)\n'
show diffeo plot toy.safetensors toy:gaussians8:2000:1 -o toy.png --title 'eight Gaussians: density and data'

say "2. Old Faithful: 272 eruptions, their length and the waiting time after them, in minutes."
cp "$here/data/faithful.csv" .
show diffeo train --data 'faithful.csv#0:200' --valid 'faithful.csv#200:272' --flow nsf --set layers=3 --set hidden=32 --set bins=5 --set dropout=0.1 --weight-decay 1e-4 --steps 600 --batch 200 --valid-every 25 --quiet --log geyser.jsonl -o geyser.safetensors
show diffeo loglik geyser.safetensors --data 'faithful.csv#200:272'
diffeo train --data 'faithful.csv#0:200' --valid-fraction 0 --flow gauss.json --lr 1e-2 --steps 500 --quiet -o plain.safetensors >plain.txt
show diffeo loglik plain.safetensors --data 'faithful.csv#200:272'
printf '(the second is a Gaussian)\n'
show diffeo plot geyser.safetensors faithful.csv -o geyser.png --title 'Old Faithful: density and data'
show diffeo plot geyser.jsonl -o geyser-training.png --title 'Old Faithful: training'

say "3. Data to latents and back."
show diffeo encode geyser.safetensors --data faithful.csv -o latents.safetensors --verify
show diffeo decode geyser.safetensors --data latents.safetensors -o back.csv
show diffeo check geyser.safetensors --data faithful.csv
show diffeo sample geyser.safetensors -n 1000 -o more.csv

say "Pictures: $(pwd)/toy.png geyser.png geyser-training.png"

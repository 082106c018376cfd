#!/bin/sh
# The figures that README quotes: trains, scores and checks on real data, and writes one file a job into
# tests/results: command, seed, wall time, figures.  Long: power 5 min, bsds 20 min, bsds_long 105 min, wine 40 min, deblur, sides and sampling a minute each,
# detest two minutes, kodak, reflow, perflow and neural_cde 3 min, continuous two hours, matching 45 min, gradients 3 min, roundtrip 10 min, binary 6 min,
# samplers 5 min, edit 15 min, diffusion_mnist, rex and diffusion_power 10 min each after edit's training, latents 25 min, toys 15 min, columns 7 min, earth
# 10 min, sbibm 20 min, regression 5 min, protein 10 min, ffjord_image two hours, table an hour, glow and inverse_flow an hour a set, irevnet an hour.
#     make results               all of them            make results JOBS='power wine'     some
#     make results THREADS=1     on one core
#     make results KEEP=DIR      models that several jobs take are kept in this folder and taken from there
# Data: DIFFEO_SHARED/data, or ../shared/data beside the checkout.
# shellcheck disable=SC2086
set -eu
: "${top_srcdir:?run by make results}" "${top_builddir:?run by make results}"
data=${DIFFEO_SHARED:-$top_srcdir/../shared}/data
out=$top_srcdir/tests/results
[ -d "$data" ] || { echo "results: no data in $data"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
jobs=${JOBS:-power bsds bsds_long wine deblur sides detest sampling kodak reflow perflow binary samplers edit diffusion_mnist rex latents diffusion_power neural_cde gradients roundtrip sbibm regression protein toys columns earth continuous matching ffjord_image table glow inverse_flow irevnet}
threads=${THREADS:-$(nproc)}

# record FILE: what follows on stdin, with the machine and the program.
record() {
    {
        printf 'date: %s\n' "$(date -u +%F)"
        printf 'machine: %s, %s cores\n' "$(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1)" "$(nproc)"
        diffeo --version | sed 's/^/program: /'
        sed "s#$work/##g; s#$out/#tests/results/#g"
    } >"$out/$1.tmp"
    mv "$out/$1.tmp" "$out/$1"
    echo "wrote tests/results/$1"
}

run() {
    printf '$ diffeo %s\n' "$(printf '%s' "$*" | sed "s#$data#../shared/data#g; s#$work/##g; s#$out/#tests/results/#g")"
    diffeo "$@"
}

power() {
    p=$data/uci_density/power37k
    {
        run train --data ${p}_train_6_f32.npy --valid ${p}_val_6_f32.npy --flow nsf --time-limit 300 --threads "$threads" --seed 0 \
            -o "$work/m.safetensors" --json --quiet
        run loglik "$work/m.safetensors" --data ${p}_test_6_f32.npy --json
        run check "$work/m.safetensors" --data ${p}_test_6_f32.npy
        run check "$work/m.safetensors" --data ${p}_test_6_f32.npy --precision double
    } | record power37k.txt
}

# bsds_rows TRAIN [TURNS]: BSDS300 into $work/TRAIN, val.npy and test.npy.
bsds_rows() {
    b=$data/bsds300/patches8x8
    "$top_builddir/tests/results/prepare" bsds 1 ${b}_train_u8.npy "$work/$1" ${2:-1}
    "$top_builddir/tests/results/prepare" bsds 2 ${b}_val_u8.npy "$work/val.npy"
    "$top_builddir/tests/results/prepare" bsds 3 ${b}_test_u8.npy "$work/test.npy"
}

# kept NAME ...: the model NAME.safetensors in $work, from the folder KEEP, or trained by the rest of the words, with -o, and kept there; says how.
kept() {
    kept_model=$1
    shift
    [ ! -f "${KEEP:-}/$kept_model.safetensors" ] || cp "$KEEP/$kept_model.safetensors" "$KEEP/$kept_model.train" "$work"
    [ -f "$work/$kept_model.safetensors" ] || run "$@" -o "$work/$kept_model.safetensors" --json --quiet >"$work/$kept_model.train"
    [ -z "${KEEP:-}" ] || cp "$work/$kept_model.safetensors" "$work/$kept_model.train" "$KEEP"
    cat "$work/$kept_model.train"
}

bsds() {
    bsds_rows train.npy
    {
        run train --data "$work/train.npy" --valid "$work/val.npy" --flow nsf --time-limit "${BSDS_SECONDS:-1200}" \
            --threads "$threads" --seed 0 -o "$work/m.safetensors" --json --quiet
        run loglik "$work/m.safetensors" --data "$work/test.npy" --json
        run loglik "$work/m.safetensors" --data "$work/val.npy" --json
    } | record bsds300.txt
}

# Longer, and with every patch of training under the eight symmetries of the square, each with noise of its own: 1.6 million rows (the
# official file has a million).
bsds_long() {
    bsds_rows train8.npy 8
    {
        echo "\$ prepare bsds 1 patches8x8_train_u8.npy train8.npy 8"
        kept bsds train --data "$work/train8.npy" --valid "$work/val.npy#0:10000" --flow nsf --lr 1e-3 --schedule cosine --threads 1 --seed 0 \
            --time-limit "${BSDS_LONG_SECONDS:-6200}" --valid-every 2000
        run loglik "$work/bsds.safetensors" --data "$work/test.npy" --threads "$threads" --json
        run loglik "$work/bsds.safetensors" --data "$work/val.npy" --threads "$threads" --json
    } | record bsds300_long.txt
}

# Ten folds.  The training part is given 20 times, with noise of 0.1 standard deviations: 1,400 rows alone are learned
# by heart, and their grid with them.  Heavy tails: outliers lie 10 deviations off.
wine() {
    for colour in ${COLOURS:-red white}; do
        rows=$data/uci_density/wine_${colour}_11.npy
        steps=4000
        [ $colour = white ] && steps=8000              # three times as many rows
        {
            echo "\$ prepare fold K 10 wine_${colour}_11.npy train.npy test.npy 20 0.1"
            for k in 0 1 2 3 4 5 6 7 8 9; do
                "$top_builddir/tests/results/prepare" fold $k 10 "$rows" "$work/train.npy" "$work/test.npy" 20 0.1
                run train --data "$work/train.npy" --flow nsf --set layers=5 --set hidden=64 --set dropout=0.2 \
                    --set tail_bound=5 --set 'base={"type":"student-t","df":5}' --optimiser adamw \
                    --weight-decay 0.01 --batch 256 --steps $steps --valid-fraction 0.02 --threads "$threads" \
                    --seed $k -o "$work/m.safetensors" --json --quiet
                run loglik "$work/m.safetensors" --data "$work/test.npy" --json
            done | tee "$work/folds"
            sed -n 's/.*"rows": .*"mean_nats": \([-0-9.e]*\).*/\1/p' "$work/folds" | awk '{ s += $1; n++ } END {
                printf "mean test log-likelihood, columns standardised by the training part: %.4f over %d folds\n", s / n, n }'
        } | record wine_$colour.txt
    done
}

# Continuous flows beside couplings, as long each: test log-likelihoods with the exact trace, at two numbers of steps.
continuous() {
    p=$data/uci_density/power37k b=$data/bsds300/patches8x8
    for part in "1 train" "2 val" "3 test"; do
        "$top_builddir/tests/results/prepare" bsds "${part% *}" "${b}_${part#* }_u8.npy" "$work/bsds_${part#* }.npy"
        cp "${p}_${part#* }_6_f32.npy" "$work/power37k_${part#* }.npy"
    done
    for name in ${SETS:-power37k bsds300}; do
        set=${name%300}
        ffjord="--set hidden=128"
        [ $name = power37k ] || ffjord="--set hidden=256 --set solver=rk4 --set solver_steps=5"
        {
            for how in "flow-matching --set hidden=512 --set depth=2 --batch 512 --ema 0.999" "ffjord $ffjord --set depth=2 --batch 256" \
                "realnvp --batch 512"; do
                run train --data "$work/${set}_train.npy" --valid "$work/${set}_val.npy" --flow $how --lr 1e-3 --schedule cosine \
                    --time-limit "${CONTINUOUS_SECONDS:-1200}" --threads "$threads" --seed 0 -o "$work/m.safetensors" --json --quiet
                solvers="8 16"
                [ "${how%% *}" != realnvp ] || solvers=none
                for n in $solvers; do
                    solver="--trace exact --solver rk4 --solver-steps $n"
                    [ $n != none ] || solver=
                    run loglik "$work/m.safetensors" --data "$work/${set}_test.npy" $solver --threads "$threads" --json
                done
            done
        } | record continuous_$name.txt
    done
}

# Twenty minutes of a core on the rows of bsds_long, by flow matching with a residual net, whose exact trace takes a tangent a column, and
# by realnvp.
matching() {
    bsds_rows train8.npy 8
    {
        echo "\$ prepare bsds 1 patches8x8_train_u8.npy train8.npy 8"
        for how in "matching flow-matching --set net=time-mlp --set hidden=384 --set depth=3 --ema 0.999" "realnvp realnvp"; do
            name=${how%% *}
            kept $name train --data "$work/train8.npy" --valid "$work/val.npy#0:10000" --flow ${how#* } --batch 512 --lr 1e-3 --schedule cosine \
                --time-limit "${CONTINUOUS_SECONDS:-1200}" --threads 1 --seed 0
            solver="--trace exact --solver rk4 --solver-steps"
            if [ $name = matching ]; then
                run loglik "$work/$name.safetensors" --data "$work/test.npy#0:10000" $solver 8 --threads "$threads" --json
                run loglik "$work/$name.safetensors" --data "$work/test.npy#0:2000" $solver 8 --threads "$threads" --json
                run loglik "$work/$name.safetensors" --data "$work/test.npy#0:2000" $solver 16 --threads "$threads" --json
            else
                run loglik "$work/$name.safetensors" --data "$work/test.npy#0:10000" --threads "$threads" --json
                run loglik "$work/$name.safetensors" --data "$work/test.npy" --threads "$threads" --json
            fi
        done
    } | record matching_bsds300.txt
}

# Samples of few steps before and after reflow: sliced Wasserstein distance to held-out rows.
reflow() {
    {
        for toy in checkerboard moons; do
            run train --data toy:$toy:50000 --flow rectified-flow --steps 12000 --lr 2e-3 --seed 0 --threads "$threads" --quiet \
                -o "$work/1.safetensors" --json
            run encode "$work/1.safetensors" --data toy:$toy:50000:5 --solver rk4 --solver-steps 32 -o "$work/z.npy" --json
            run train --data toy:$toy:50000:5 --pairs "$work/z.npy" --flow rectified-flow --init "$work/1.safetensors" --steps 12000 \
                --lr 1e-3 --seed 0 --threads "$threads" --quiet -o "$work/2.safetensors" --json
            for m in 1 2; do
                run loglik $work/$m.safetensors --data toy:$toy:10000:9 --json
                for n in 1 2 4 8 32; do
                    drawn $toy $m $n
                done
            done
        done
    } | record reflow.txt
}

# drawn TOY MODEL STEPS: how far rows drawn by so many steps of Euler's lie from held-out rows of the toy.
drawn() {
    run sample "$work/$2.safetensors" -n 10000 --seed 3 --solver euler --solver-steps $3 -o "$work/s.npy"
    run distance "$work/s.npy" toy:$1:10000:9 --json >"$work/d"
    printf '%s, model %s, %s steps: %s\n' $1 $2 $3 "$(grep -oE '"sliced_wasserstein(_stderr|_same)?": [0-9.e-]*' "$work/d" | tr '\n' ' ')"
}

# The same for windows of time (PeRFlow), without pairs.
perflow() {
    {
        for toy in checkerboard moons; do
            run train --data toy:$toy:50000 --flow rectified-flow --steps 6000 --lr 2e-3 --seed 0 --threads "$threads" --quiet \
                -o "$work/1.safetensors" --json
            run train --data toy:$toy:50000 --teacher "$work/1.safetensors" --flow perflow --set windows=4 --set solver_steps=4 --steps 3000 \
                --lr 1e-3 --seed 0 --threads "$threads" --quiet -o "$work/perflow.safetensors" --json
            for m in 1 perflow; do
                for n in 1 2 4 8; do
                    drawn $toy $m $n
                done
            done
        done
    } | record perflow.txt
}

# A training step of ffjord by every way to its gradient.
gradients() {
    {
        echo '# error: |g - g_stored| / |g_stored| with as many steps; MiB: working memory of the step; seconds of the processor, one thread'
        echo '$ gradients --plot tests/results/gradients.png'
        "$top_builddir/tests/results/gradients" --plot "$out/gradients.png"
        echo '$ gradients_d'
        "$top_builddir/tests/results/gradients_d"
    } | record gradients.txt
}

# Pictures to noise and back by every scheme, with a small diffusion model of Fashion-MNIST.
roundtrip() {
    set=/usr/share/datasets/fashion-mnist
    [ -d $set ] || { echo "results: no $set: roundtrip is left out"; return; }
    {
        run train --data $set/train-images-idx3-ubyte.gz#0:20000 --flow vp --set channels=8 --set first=1e-3 \
            --batch 32 --lr 2e-3 --ema 0.99 --valid-fraction 0 --time-limit "${ROUNDTRIP_SECONDS:-240}" --threads "$threads" --seed 0 \
            -o "$work/m.safetensors" --json --quiet
        for program in roundtrip roundtrip_d; do
            plot=
            [ $program = roundtrip ] || plot=$out/roundtrip.png
            echo "\$ $program m.safetensors $set/t10k-images-idx3-ubyte.gz${plot:+ tests/results/roundtrip.png}"
            "$top_builddir/tests/results/$program" "$work/m.safetensors" $set/t10k-images-idx3-ubyte.gz $plot
        done
    } | record roundtrip.txt
}

# Flow matching and ffjord on toys: held-out nats beside the entropy, and their densities side by side.
toys() {
    for name in ${FLOWS:-flow-matching ffjord}; do
        how="--lr 2e-3 --steps ${TOY_STEPS:-20000}"
        [ $name = flow-matching ] || how="--lr 5e-3 --steps ${TOY_SOLVES:-1500}"
        pictures=
        {
            for toy in checkerboard rings spirals pinwheel moons; do
                run train --data toy:$toy:50000 --flow $name $how --rtol 1e-3 --atol 1e-3 --batch 512 --seed 0 \
                    --schedule cosine --threads "$threads" --quiet -o "$work/m.safetensors" --json
                run loglik "$work/m.safetensors" --data toy:$toy:5000:9 --rtol 1e-5 --atol 1e-5 --threads "$threads" --json
                run plot "$work/m.safetensors" --width 300 --height 300 --title $toy -o "$work/$toy.png"
            done
        } | record toys_$name.txt
        for toy in checkerboard rings spirals pinwheel moons; do
            pictures="$pictures $work/$toy.png"
        done
        "$top_builddir/tests/results/prepare" crop 0 0 300 "$out/toys_$name.png" $pictures
    done
}

# Tables whose columns have kinds: bits as categories, places on the earth as a latitude and an angle, in units of the sphere (the
# density of degrees times (180/pi)^2 over the cosine), beside the figures of data/README.md; and what three tenths missing costs.
columns() {
    limit="--time-limit ${COLUMNS_SECONDS:-60} --threads $threads --seed 0 --quiet"
    small='--flow nsf-ar --set layers=2 --set hidden=64 --lr 2e-3'
    bits=$(seq 16 | sed 's/$/=categorical:2/' | paste -sd ,)
    for part in train valid test; do
        gzip -dc "$data/binary/nltcs.$part.csv.gz" >"$work/$part.csv"
        awk -F, -v OFS=, 'BEGIN { srand(1) } { for (j = 1; j <= NF; j++) if (rand() < 0.3) $j = "nan"; print }' "$work/$part.csv" >"$work/$part.gaps.csv"
    done
    {
        echo 'nltcs:'
        run train --data "$work/train.csv" --valid "$work/valid.csv" $small --type "$bits" $limit -o "$work/m.safetensors" --json
        run loglik "$work/m.safetensors" --data "$work/test.csv" --draws 200 --threads "$threads" --json
        echo 'nltcs, three tenths of the training rows missing; test rows whole:'
        for how in marginalise impute; do
            run train --data "$work/train.gaps.csv" --valid "$work/valid.gaps.csv" $small --type "$bits" --missing $how $limit \
                -o "$work/m.safetensors" --json
            run loglik "$work/m.safetensors" --data "$work/test.csv" --draws 200 --threads "$threads" --json
        done
        for set in volcano earthquake flood fire; do
            for part in 0 1 2; do
                awk -v part=$part 'BEGIN { srand(1) } NR == 1 { print; next } { r = rand(); if ((r >= 0.8) + (r >= 0.9) == part) print }' \
                    "$data/earth/$set.csv" >"$work/$part.csv"
            done
            echo "$set, 80/10/10:"
            run train --data "$work/0.csv" --valid "$work/1.csv" $small --type 'latitude_deg=[-90,90],longitude_deg=periodic:360' $limit \
                -o "$work/m.safetensors" --json
            run loglik "$work/m.safetensors" --data "$work/2.csv" --threads "$threads" -o "$work/p.csv" --json
            paste -d, "$work/2.csv" "$work/p.csv" | awk -F, 'NR > 1 { s += $3 + 2 * log(57.29577951308232) - log(cos($1 / 57.29577951308232)) }
                END { printf "of the sphere: %.3f nats, negative log-likelihood in steradians\n", -s / (NR - 1) }'
        done
    } | record columns.txt
}

# MNIST by a continuous flow: bits of 1,000 test images, and the tolerance at which all their pixels come back.
ffjord_image() {
    f=$data/mnist
    {
        run train --data "$f/train-images-idx3-ubyte.gz#0:59500" --valid "$f/train-images-idx3-ubyte.gz#59500:60000" --flow ffjord-image \
            --set hidden=24 --rtol 1e-3 --atol 1e-3 --batch 64 --lr 3e-3 --warmup 50 --schedule cosine --threads 1 --seed 0 \
            --time-limit "${FFJORD_SECONDS:-5700}" -o "$work/m.safetensors" --json --quiet
        run loglik "$work/m.safetensors" --data "$f/t10k-images-idx3-ubyte.gz#0:1000" --rtol 1e-5 --atol 1e-5 --trace hutchinson:2 \
            --threads "$threads" --json
        for tol in 1e-3 1e-4 1e-5 1e-6 1e-7; do
            run encode "$work/m.safetensors" --data "$f/t10k-images-idx3-ubyte.gz#0:1000" --rtol $tol --atol $tol --verify \
                --threads "$threads" -o "$work/z.safetensors" --json
        done
    } | record ffjord_image.txt
}

# Rows of bits by the bound of a chain of noise, beside the figures of data/README.md.
binary() {
    b=$data/binary
    {
        for set in nltcs plants jester dna mushrooms; do
            gzip -dc $b/$set.train.csv.gz >"$work/train.csv"
            gzip -dc $b/$set.valid.csv.gz >"$work/valid.csv"
            gzip -dc $b/$set.test.csv.gz >"$work/test.csv"
            echo "$set:"
            run train --data "$work/train.csv" --valid "$work/valid.csv" --flow diffusion-2015-binary --set dropout=0.2 --lr 2e-3 --ema 0.999 \
                --time-limit "${BINARY_SECONDS:-60}" --threads "$threads" --seed 0 --quiet -o "$work/m.safetensors" --json
            run loglik "$work/m.safetensors" --data "$work/test.csv" --threads "$threads" --json
        done
    } | record binary.txt
}

# Speakers told by their vowels, 270 sequences of 7 to 29 points to learn from and 370 to tell: three seeds.
neural_cde() {
    v=$data/timeseries/JapaneseVowels
    for part in TRAIN TEST; do
        gzip -dc ${v}_$part.ts.gz | awk -v points=29 -f "$top_srcdir/tests/examples/sequences.awk" >"$work/$part.csv"
    done
    {
        echo '$ zcat ../shared/data/timeseries/JapaneseVowels_TRAIN.ts.gz | awk -v points=29 -f tests/examples/sequences.awk >TRAIN.csv; TEST.csv'
        for seed in 0 1 2; do
            echo "\$ neural_cde TRAIN.csv TEST.csv 12 ${CDE_STEPS:-1200} $seed"
            start=$(date +%s)
            OMP_NUM_THREADS=$threads "$top_builddir/tests/examples/neural_cde" "$work/TRAIN.csv" "$work/TEST.csv" 12 "${CDE_STEPS:-1200}" $seed
            echo "seconds: $(($(date +%s) - start))"
        done | tee "$work/seeds"
        awk '/accuracy/ { s += $NF; n++ } END { printf "mean accuracy of the test set: %.4f over %d seeds\n", s / n, n }' "$work/seeds"
    } | record neural_cde.txt
}

# Debian's dataset-fashion-mnist.
irevnet() {
    f=/usr/share/datasets/fashion-mnist
    [ -d $f ] || { echo "results: no data in $f (Debian: dataset-fashion-mnist)"; return; }
    images=-images-idx3-ubyte.gz
    labels=-labels-idx1-ubyte.gz
    {
        run train --data "$f/train$images#0:55000" --labels "$f/train$labels#0:55000" --valid "$f/train$images#55000:60000" \
            --valid-labels "$f/train$labels#55000:60000" --flow irevnet --memory-mode store --batch 128 --lr 4e-3 \
            --time-limit "${IREVNET_SECONDS:-3600}" --threads "$threads" --seed 0 -o "$work/m.safetensors" --json --quiet
        run classify "$work/m.safetensors" --data $f/t10k$images --labels $f/t10k$labels --temperature-scaling \
            --valid "$f/train$images#55000:60000" --valid-labels "$f/train$labels#55000:60000" --reliability
        run encode "$work/m.safetensors" --data $f/t10k$images --verify --json -o "$work/z.safetensors"
        run check "$work/m.safetensors" --data "$f/t10k$images#0:256"
    } | record irevnet.txt
    run interpolate "$work/m.safetensors" --data "$f/t10k$images#0:6" -n 10 -o "$out/irevnet_interpolation.png"
}

# Places on the earth: 80, 10 and 10 percent of the rows by three seeds; of two lengths of training, and of the steps of each, what is best
# on the second part is scored on the third.  The four sets at a time, a thread each.
earth() {
    for name in volcano earthquake flood fire; do
        for seed in 0 1 2; do
            places $name $seed
        done >"$work/$name.log" 2>&1 &
    done
    wait
    {
        for name in volcano earthquake flood fire; do
            cat "$work/$name.log"
            awk -v name=$name '{ s += $1; q += $1 * $1; n++ } END { m = s / n
                printf "%s: negative log-likelihood %.3f nats a steradian, standard deviation over %d splits %.3f\n", name, m, n,
                    sqrt((q - n * m * m) / (n - 1)) }' "$work/$name.scores"
        done
        echo '# published (volcano, earthquake, flood, fire): mixture of Kent distributions -0.80 0.33 0.73 -1.18, Riemannian CNF -6.05 0.14 1.11'
        echo '# -0.80, Moser flow -4.21 -0.16 0.57 -1.28, RSGM -4.92 -0.19 0.48 -1.33, Riemannian flow matching -7.93 -0.28 0.42 -1.86; uniform 2.531'
    } | record earth.txt
}

# places NAME SEED: one split; its negative log-likelihood goes to NAME.scores.
places() {
    rows=$work/$1_$2.npy n=$(($(wc -l <"$data/earth/$1.csv") - 1)) best=none
    echo "\$ prepare shuffle $2 ../shared/data/earth/$1.csv $1_$2.npy"
    "$top_builddir/tests/results/prepare" shuffle $2 "$data/earth/$1.csv" "$rows"
    for steps in ${EARTH_STEPS:-700 2000}; do
        run train --data "$rows#0:$((n * 8 / 10))" --valid "$rows#$((n * 8 / 10)):$((n * 9 / 10))" --flow sphere --batch 256 \
            --lr 3e-3 --schedule cosine --steps $steps --threads 1 --seed $2 -o "$work/$1_new.safetensors" --json --quiet \
            >"$work/$1.out"
        cat "$work/$1.out"
        valid=$(sed -n 's/.*"valid_nats": \([-0-9.e]*\).*/\1/p' "$work/$1.out")
        if [ $best = none ] || awk "BEGIN { exit !($valid > $best) }"; then
            best=$valid
            mv "$work/$1_new.safetensors" "$work/$1_best.safetensors"
        fi
    done
    run loglik "$work/$1_best.safetensors" --data "$rows#$((n * 9 / 10)):$n" --threads 1 --json >"$work/$1.out"
    cat "$work/$1.out"
    sed -n 's/.*"mean_nats": \([-0-9.e]*\).*/\1/p' "$work/$1.out" | awk '{ print -$1 }' >>"$work/$1.scores"
    if [ "$1 $2" = 'earthquake 0' ]; then
        run plot "$work/$1_best.safetensors" "$rows#$((n * 9 / 10)):$n" --log-scale --seed 0 -o "$out/earth.png"
    fi
}

# bits FLOW NAME TRAIN TEST VALID-FROM ROWS SECONDS OPTIONS: a flow of these images, what it says of the test set, and
# every test image to latents and back.
bits() {
    flow=$1 name=$2 train=$3 test=$4 from=$5 rows=$6 seconds=$7
    shift 7
    [ -f "$train" ] || { echo "results: no $train"; return; }
    {
        run train --data "$train#0:$from" --valid "$train#$from:$rows" --flow "$flow" --batch 32 --lr 1e-3 \
            --schedule cosine --clip 50 --time-limit "$seconds" --threads "$threads" --seed 0 "$@" \
            -o "$work/m.safetensors" --json --quiet
        run loglik "$work/m.safetensors" --data "$test" --threads "$threads" --json
        run encode "$work/m.safetensors" --data "$test" --threads "$threads" -o "$work/z.safetensors" --json
        for t in 0.7 1.0; do
            run sample "$work/m.safetensors" -n 64 --temperature $t --seed 1 --threads "$threads" -o "$out/${flow}_${name}_$t.png"
        done
    } | record "${flow}_$name.txt"
}

# A plain PyTorch Glow (K = 8, L = 2, hidden 128, uniform dequantisation, Adam 1e-3 with a cosine, batch 32) reaches
# 3.65 bits on Fashion-MNIST and 1.84 on MNIST in 1,200 s on one core.
glow() {
    for name in ${SETS:-fashion-mnist mnist cifar10}; do
        images glow "$name" "${GLOW_SECONDS:-3600}"
    done
}

# The same with the solve of a causal convolution and a spline in every step.
inverse_flow() {
    for name in ${SETS:-fashion-mnist mnist}; do
        images inverse-flow "$name" "${GLOW_SECONDS:-3600}"
    done
}

images() {
    case $2 in
    cifar10) f=$data/cifar10
        bits "$1" cifar10 $f/train_5017.bin $f/test_1017.bin 4600 5017 "${CIFAR_SECONDS:-1800}" --set levels=3 ;;
    *)  f=$data/mnist
        [ "$2" = mnist ] || f=/usr/share/datasets/$2
        bits "$1" "$2" $f/train-images-idx3-ubyte.gz $f/t10k-images-idx3-ubyte.gz 55000 60000 "$3" ;;
    esac
}

# The Kodak photographs through a Gaussian of 15x15 and back: from real values exactly; from 8 bits by Tikhonov's solve,
# the noise being the rounding's.
deblur() {
    awk 'BEGIN { n = 15; s = 2; for (i = 0; i < n; i++) sum += exp(-(i - 7) ^ 2 / 2 / s / s)
        for (i = 0; i < n; i++) for (j = 0; j < n; j++)
            printf "%.17g%s", exp(-((i - 7) ^ 2 + (j - 7) ^ 2) / 2 / s / s) / sum / sum, j < n - 1 ? "," : "\n" }' >"$work/gauss.csv"
    {
        echo '# gauss.csv: 15x15, standard deviation 2, sum 1'
        for k in "$data"/kodak/*.png; do
            run filter --kernel "$work/gauss.csv" "$k" -o "$work/blurred.npy" --json
            run filter --kernel "$work/gauss.csv" --inverse "$work/blurred.npy" --compare "$k" -o "$work/restored.png" --json
            run filter --kernel "$work/gauss.csv" "$k" --compare "$k" -o "$work/blurred.png" --json
            run filter --kernel "$work/gauss.csv" --inverse "$work/blurred.png" --compare "$k" -o "$work/plain.npy" --json
            run filter --kernel "$work/gauss.csv" --inverse --tikhonov 2e-4 "$work/blurred.png" --compare "$k" \
                -o "$work/damped.png" --json
            if [ "${k##*/}" = kodim23.png ]; then
                "$top_builddir/tests/results/prepare" crop 420 80 200 "$out/deblur.png" "$k" "$work/blurred.png" \
                    "$work/restored.png" "$work/damped.png"
            fi
        done
    } | record deblur.txt
}

# Time of a causal convolution and its solve against the side of the image.
sides() {
    {
        echo '$ bench_sides --plot tests/results/sides.png'
        "$top_builddir/tests/bench/bench_sides" --plot "$out/sides.png"
    } | record sides.txt
}

# Solvers on DETEST beside GSL's, scipy's and torchdiffeq's algorithm.
detest() {
    set --
    if /usr/bin/python3 -c 'import scipy, torch' 2>/dev/null; then
        /usr/bin/python3 -B "$out/detest_peers.py" >"$work/peers.txt"
        set -- --peers "$work/peers.txt"
    else
        echo 'results: detest without torch dopri5 and scipy: no python3-torch, python3-scipy'
    fi
    {
        echo '# error at t = 20 over max(1, |x|) and evaluations of the field; rtol = atol; "all": geometric mean and sum.  gsl: odeiv2, first step'
        echo '# a thousandth of the way.  torch dopri5: torchdiffeq'"'"'s algorithm as documented, written anew (detest_peers.py); the package cannot be'
        echo '# installed here.  scipy: solve_ivp.'
        echo "\$ detest ${*:+$* }--plot tests/results/detest.png"
        "$top_builddir/tests/results/detest" "$@" --plot "$out/detest.png"
    } | record detest.txt
}

# Images a second drawn from flows whose convolutions are solved, plain and none, on both ways; five times each.
sampling() {
    f=/usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz
    [ -f $f ] || { echo "results: no $f (Debian: dataset-fashion-mnist)"; return; }
    {
        for flow in glow inverse-flow 'inverse-flow --set spline_bins=0' finc-flow emerging periodic; do
            run train --data "$f#0:2000" --flow $flow --steps 50 --batch 32 --valid-fraction 0 --seed 0 --threads "$threads" \
                -o "$work/s.safetensors" --json --quiet
            for seed in 1 2 3 4 5; do
                run sample "$work/s.safetensors" -n 4000 --seed $seed --threads "$threads" -o "$work/s.npy" --json
            done
        done
    } | record sampling.txt
}

# The Kodak photographs, squares of 64x64 of them, to latents of a glow and back: fitted with one step, and with 300.
kodak() {
    "$top_builddir/tests/results/prepare" crop 300 200 64 "$work/squares/" "$data"/kodak/*.png
    {
        for steps in 1 300; do
            run train --data "$work/squares/" --flow glow --set hidden=64 --steps $steps --batch 12 --lr 1e-3 --valid-fraction 0 \
                --threads "$threads" --seed 0 -o "$work/m.safetensors" --json --quiet
            run encode "$work/m.safetensors" --data "$work/squares/" -o "$work/z.safetensors" --json
            run decode "$work/m.safetensors" --data "$work/z.safetensors" -o "$work/back/"
            echo "\$ diff -r squares back"
            diff -r "$work/squares" "$work/back" && echo 'no differences'
            rm -r "$work/back"
        done
    } | record kodak.txt
}

# shellcheck source=/dev/null
. "$top_srcdir/tests/results/tables.sh"
# shellcheck source=/dev/null
. "$top_srcdir/tests/results/inference.sh"
# shellcheck source=/dev/null
. "$top_srcdir/tests/results/diffusion.sh"
for job in $jobs; do
    "$job"
done

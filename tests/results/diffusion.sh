# Part of results.sh: diffusion models, their samplers, densities, edits and round trips.
# shellcheck shell=sh disable=SC2086,SC2154

# Every sampler in 5 to 50 steps: distances to held-out rows and evaluations of the net.  Of the moons a plot of one against the other
# (samplers_error.png), and held-out rows beside draws in 10 steps (samplers.png).
samplers() {
    mkdir "$work/panels"
    {
        for toy in checkerboard moons; do
            run train --data toy:$toy:50000 --flow vp --set hidden=64 --batch 512 --lr 3e-3 --schedule cosine --ema 0.999 \
                --steps "${SAMPLER_STEPS:-2500}" --seed 0 --threads "$threads" --quiet -o "$work/m.safetensors" --json
            "$top_builddir/tests/results/prepare" shuffle 0 toy:$toy:5000:9 "$work/10.csv"
            points 01 data
            panel=1
            : >"$work/errors"
            while read -r name how; do
                panel=$((panel + 1))
                for n in 5 10 20 50; do
                    run sample "$work/m.safetensors" -n 5000 --seed 3 --sampler $name --solver-steps $n $how --threads "$threads" --json \
                        -o "$work/$n.csv" >"$work/s"
                    run distance "$work/$n.csv" toy:$toy:5000:9 --measures sliced --json >"$work/d"
                    printf '%s, %s %s, %s steps: %s\n' $toy $name "$how" $n "$(cat "$work/s" "$work/d" |
                        grep -oE '"(nfe|sliced_wasserstein(_stderr|_same)?)": [0-9.e-]*' | tr '\n' ' ')"
                    printf '%s\t%s\t%s\n' "$name${how:+ $how}" "$(value nfe "$work/s")" "$(value sliced_wasserstein "$work/d")" >>"$work/errors"
                done
                points "$(printf %02d $panel)" "$name${how:+ $how}"
            done <<'END'
ancestral
ddim
euler-maruyama
predictor-corrector
edm-heun
edm-heun --churn 10
langevin
rex:euler
rex:midpoint
rex:rk4
rex:shark --sde
END
        done
    } | record samplers.txt
    awk -F '\t' -v OFS='\t' -v same="$(value sliced_wasserstein_same "$work/d")" '{ print; if ($2 > most) most = $2 }
        END { print "two sets of data", 5, same; print "two sets of data", most, same }' "$work/errors" |
        "$top_builddir/tests/results/curves" --log 'moons, 5, 10, 20 and 50 steps' 'evaluations of the net' 'sliced Wasserstein distance' \
            "$out/samplers_error.png"
    diffeo plot "$work/panels/" -o "$out/samplers.png"
}

# points NUMBER TITLE: 1,500 of the rows of 10.csv, as a picture of the panels.
points() {
    awk -F, -v OFS='\t' 'NR <= 1500 { print "rows", $1, $2 }' "$work/10.csv" |
        "$top_builddir/tests/results/curves" --dots --side 240 "$2" x1 x2 "$work/panels/$1.png"
}

# The diffusion model of MNIST's classes that the jobs below take: trained once, also for later runs with the same folder KEEP, and told in
# each of their files.
mnist_model() {
    f=$data/mnist
    images=$f/t10k-images-idx3-ubyte.gz labels=$f/t10k-labels-idx1-ubyte.gz
    kept mnist train --data "$f/train-images-idx3-ubyte.gz#0:50000" --labels "$f/train-labels-idx1-ubyte.gz#0:50000" --flow vp --set channels=24 \
        --batch 32 --lr 2e-3 --schedule cosine --ema 0.999 --valid-fraction 0 --time-limit "${EDIT_SECONDS:-3000}" --threads 1 --seed 0 \
        --checkpoint none
}

# told FILE.csv CLASS|LABELS: how many of these pictures a classifier takes for this class, or for their labels (a file, one a line).
told() {
    diffeo classify "$work/classifier.safetensors" --data "$1" --images 28x28 --threads "$threads" --quiet -o "$work/told.csv" >"$work/c"
    awk -F, -v name="${1##*/}" -v class="$2" 'function best(  k, b) { b = 1; for (k = 2; k <= NF; k++) if ($k > $b) b = k; return b - 1 }
        FILENAME != ARGV[2] { label[++rows] = $1; next }
        { n++; right += best() == (rows ? label[n] : class) }
        END { printf "%s: %d of %d told as %s\n", name, right, n, rows ? "their own class" : class }' \
        "$([ -f "$2" ] && echo "$2" || echo /dev/null)" "$work/told.csv"
}

# MNIST by that model: test pictures made into eights, whole and their lower halves alone (pictures before and after, in pairs), by how far they
# go to noise, and what a classifier says of them; all the way to noise and back as what they are not, threes; lower halves drawn anew under
# what is above them (four draws of each).
edit() {
    echo 1 >"$work/one.csv"
    awk 'BEGIN { for (k = 0; k < 784; k++) printf "%s%d", k ? "," : "", k < 392 ? 0 : 255; print "" }' >"$work/mask.csv"
    {
        mnist_model
        gunzip -c "$labels" | tail -c +9 | head -c 32 | od -An -v -tu1 -w1 | tr -d ' ' >"$work/labels.csv"
        head -n 16 "$work/labels.csv" | awk '{ for (k = 0; k < 10; k++) printf "%s%d", k ? "," : "", k == $1; print "" }' >"$work/classes.csv"
        head -n 16 "$work/labels.csv" | awk '{ for (k = 0; k < 4; k++) print }' >"$work/four.csv"
        run filter "$work/mask.csv" --images 28x28 --kernel "$work/one.csv" -o "$work/mask.png"
        run train --data "$f/train-images-idx3-ubyte.gz" --labels "$f/train-labels-idx1-ubyte.gz" --flow irevnet --memory-mode store --batch 128 \
            --lr 4e-3 --time-limit "${CLASSIFIER_SECONDS:-120}" --threads 1 --seed 0 --checkpoint none --json --quiet \
            -o "$work/classifier.safetensors"
        run classify "$work/classifier.safetensors" --data "$images" --labels "$labels" --threads "$threads"
        for strength in 0.5 0.6 0.7; do
            run edit "$work/mnist.safetensors" --data "$images#0:32" --labels "$labels#0:32" --to-class 8 --strength $strength --guidance 3 \
                --solver-steps 20 --before --threads "$threads" -o "$work/pairs_$strength.csv" --json
            awk 'NR % 2 == 0' "$work/pairs_$strength.csv" >"$work/edited_$strength.csv"
            told "$work/edited_$strength.csv" 8
        done
        awk 'NR % 2' "$work/pairs_0.6.csv" >"$work/originals.csv"
        told "$work/originals.csv" 8
        told "$work/originals.csv" "$work/labels.csv"
        run filter "$work/pairs_0.6.csv" --images 28x28 --kernel "$work/one.csv" -o "$out/edit.png"
        run edit "$work/mnist.safetensors" --data "$images#0:16" --labels "$labels#0:16" --to-class 8 --strength 0.8 --guidance 1.5 --solver-steps 20 \
            --mask "$work/mask.png" --before --threads "$threads" -o "$out/edit_mask.png" --json
        run edit "$work/mnist.safetensors" --data "$images#0:16" --from-class 3 --to-class 3 --strength 1 --solver-steps 20 --threads "$threads" \
            -o "$work/same.png" --json
        run sample "$work/mnist.safetensors" --given "$images#0:16" --mask "$work/mask.png" --context "$work/classes.csv" -n 4 --threads "$threads" \
            --sampler predictor-corrector --solver-steps 30 --corrections 2 -o "$work/filled.csv" --json
        told "$work/filled.csv" "$work/four.csv"
        run filter "$work/filled.csv" --images 28x28 --kernel "$work/one.csv" -o "$out/inpaint.png"
    } | record edit.txt
}

# What that model makes of test pictures: bits per dimension by the bound and by the probability flow (of 16 in twice as many steps, too), the
# normality of latents, draws of every class.
diffusion_mnist() {
    awk 'BEGIN { for (c = 0; c < 10; c++) for (k = 0; k < 10; k++) printf "%d%s", k == c, k < 9 ? "," : "\n" }' >"$work/each.csv"
    {
        mnist_model
        run loglik "$work/mnist.safetensors" --data "$images#0:500" --labels "$labels#0:500" --bound=16 --threads "$threads" --json
        run loglik "$work/mnist.safetensors" --data "$images#0:128" --labels "$labels#0:128" --bound=16 --threads "$threads" --json
        for how in "0:128 25" "0:16 25" "0:16 50"; do
            run loglik "$work/mnist.safetensors" --data "$images#${how% *}" --labels "$labels#${how% *}" --solver rk4 --solver-steps ${how#* } \
                --threads "$threads" --json
        done
        run encode "$work/mnist.safetensors" --data "$images#0:100" --labels "$labels#0:100" --sampler rex:rk4 --solver-steps 25 \
            --threads "$threads" -o "$work/z.safetensors" --json
        run sample "$work/mnist.safetensors" --context "$work/each.csv" -n 10 --guidance 1.5 --sampler rex:midpoint --solver-steps 20 --seed 1 \
            --threads "$threads" -o "$out/diffusion_mnist.png" --json
    } | record diffusion_mnist.txt
}

# 1,000 test pictures to the prior and back by Rex, 200 at a time: the pixels that come back wrong, in double along the SDE and in float along
# the ODE.
rex() {
    {
        mnist_model
        for how in "--sampler rex:euler-maruyama --sde --zeta 0.999 --precision double" "--sampler rex:euler --zeta 0.999"; do
            start=$(date +%s)
            : >"$work/wrong"
            for part in ${REX_PARTS:-0:200 200:400 400:600 600:800 800:1000}; do
                run encode "$work/mnist.safetensors" --data "$images#$part" --labels "$labels#$part" $how --solver-steps 20 \
                    --threads "$threads" -o "$work/z.safetensors" --json --quiet >"$work/e"
                cat "$work/e"
                echo "$(value rows "$work/e") $(value pixels_wrong "$work/e")" >>"$work/wrong"
            done
            awk -v how="$how" -v s=$(($(date +%s) - start)) '{ rows += $1; wrong += $2 }
                END { printf "%s: %d of %d pixels wrong, %.2f seconds of wall time a picture, there and back\n", how, wrong, 784 * rows, s / rows }' \
                "$work/wrong"
        done
    } | record rex.txt
}

# MNIST to latents that are normal: by another model, whose training has its times even over the log-SNR, whose net has no group normalisation, and
# black at 0 (also kept in KEEP). 64 test pictures without the noise of the start and with that of two times, what the file gives back beside the
# pictures themselves; 1,000 there and back by Rex along the ODE, with the noise of two later times.
latents() {
    f=$data/mnist images=$data/mnist/t10k-images-idx3-ubyte.gz labels=$data/mnist/t10k-labels-idx1-ubyte.gz
    rows=${LATENTS_ROWS:-1000}
    {
        kept latents train --data "$f/train-images-idx3-ubyte.gz#0:50000" --labels "$f/train-labels-idx1-ubyte.gz#0:50000" --flow vp \
            --set channels=16 --set first=2e-3 --set spread=log-snr --set norm=none --set centre=0 --clip 1 --batch 32 --lr 2e-3 \
            --schedule cosine --ema 0.99 --valid-fraction 0 --time-limit "${LATENTS_SECONDS:-840}" --threads 1 --seed 0 --checkpoint none
        for noise in '' --start-noise --start-noise=0.01; do
            run encode "$work/latents.safetensors" --data "$images#0:64" --labels "$labels#0:64" --sampler rex:rk4 --solver-steps 15 $noise \
                --threads "$threads" -o "$work/z.safetensors" --json
        done
        gunzip -c "$labels" | tail -c +9 | head -c 64 | od -An -v -tu1 -w1 | tr -d ' ' >"$work/labels.csv"
        run decode "$work/latents.safetensors" --data "$work/z.safetensors" --labels "$work/labels.csv" --threads "$threads" --quiet -o "$work/back.csv"
        gunzip -c "$images" | tail -c +17 | head -c $((784 * 64)) | od -An -v -tu1 -w784 | sed 's/^ *//; s/  */,/g' >"$work/pictures.csv"
        paste -d, "$work/pictures.csv" "$work/back.csv" | awk -F, '{ n += NF / 2; for (k = 1; k <= 784; k++) wrong += $k != $(k + 784) }
            END { printf "decoded from the file: %d of %d pixels wrong\n", wrong, n }'
        for noise in --start-noise=0.03 --start-noise=0.05; do
            start=$(date +%s)
            run encode "$work/latents.safetensors" --data "$images#0:$rows" --labels "$labels#0:$rows" --sampler rex:rk4 --solver-steps 15 $noise \
                --threads "$threads" -o "$work/z.safetensors" --json
            awk -v n="$rows" -v s=$(($(date +%s) - start)) 'BEGIN { printf "%.2f seconds of wall time a picture, there and back\n", s / n }'
        done
    } | record latents_mnist.txt
}

# Six columns by the probability flow of diffusion models, and by their bound; nsf's, ffjord's and others' figures stand in power37k.txt,
# continuous_power37k.txt and table_power37k.txt.
diffusion_power() {
    p=$data/uci_density/power37k
    test=${p}_test_6_f32.npy
    {
        for flow in edm vp "vp --set weighting=likelihood"; do
            run train --data ${p}_train_6_f32.npy --valid ${p}_val_6_f32.npy --flow $flow --set hidden=256 --batch 512 --lr 2e-3 --schedule cosine \
                --ema 0.999 --time-limit "${DIFFUSION_SECONDS:-480}" --threads 1 --seed 0 --checkpoint none -o "$work/m.safetensors" --json --quiet
            for how in " 25" "#0:1000 25" "#0:1000 50"; do
                run loglik "$work/m.safetensors" --data "$test${how% *}" --trace exact --solver rk4 --solver-steps ${how#* } --threads "$threads" --json
            done
            run loglik "$work/m.safetensors" --data "$test" --bound --threads "$threads" --json
        done
    } | record diffusion_power37k.txt
}

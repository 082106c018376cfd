# Part of results.sh: conditional densities, posteriors of simulators and regression.
# shellcheck shell=sh disable=SC2086,SC2154

# Simulation-based inference: posteriors of sbibm's tasks by conditional flows of simulated pairs, beside its reference posteriors.  Flows see
# parameters on the whole line (simulate free), what they draw is taken back: none lies outside a prior.  They standardise observations themselves.
sbibm() {
    s=$data/sbibm
    simulate=$top_builddir/tests/results/simulate
    {
        echo '$ simulate check ../shared/data/sbibm'
        "$simulate" check "$s"
        for task in two_moons gaussian_linear gaussian_linear_uniform gaussian_mixture slcp bernoulli_glm lotka_volterra sir; do
            for k in 1 2; do
                "$simulate" free $task "$s/${task}_obs${k}_observation.csv" "$work/obs$k.csv"
            done
            for n in ${SIMULATIONS:-10000 100000}; do
                how="--batch 128 --epochs 60"
                [ "$n" -lt 100000 ] || how="--batch 256 --epochs 12"
                echo "\$ simulate $task $n 1 table.csv; simulate free $task table.csv pairs.csv; simulate free $task ..._observation.csv obsK.csv"
                "$simulate" $task "$n" 1 "$work/table.csv"
                "$simulate" free $task "$work/table.csv" "$work/pairs.csv"
                columns=$(head -n 1 "$work/pairs.csv" | tr , '\n' | grep -n data | cut -d : -f 1 | tr '\n' ,)
                for flow in nsf maf; do
                    run train --data "$work/pairs.csv" --context-columns "${columns%,}" --flow $flow --set layers=5 --set hidden=64 --lr 1e-3 $how \
                        --patience 10 --threads "$threads" --seed 0 --quiet --json -o "$work/m.safetensors"
                    for k in 1 2; do
                        run sample "$work/m.safetensors" -n 10000 --context "$work/obs$k.csv" --seed 2 --threads "$threads" --quiet -o "$work/free.csv"
                        "$simulate" back $task "$work/free.csv" "$work/drawn.csv"
                        run distance "$work/drawn.csv" "$s/${task}_obs${k}_reference_posterior_f32.npy" --measures mmd,c2st --threads "$threads" \
                            --json >"$work/d"
                        cat "$work/d"
                        printf '%s %s %s %s %s\n' $task "$n" $flow "$(sed 's/.*"c2st": \([^,]*\).*/\1/' "$work/d" | tail -n 1)" \
                            "$(sed 's/.*"mmd_squared": \([^,]*\).*/\1/' "$work/d" | tail -n 1)" >>"$work/sbibm"
                    done
                done
            done
        done
        echo '# C2ST, squared MMD, of observations 1 and 2'
        awk '{ key = $1 " " $2 " " $3; if (!(key in c)) order[++n] = key; c[key] = c[key] sprintf("  %.3f", $4); m[key] = m[key] sprintf("  %8.1e", $5) }
            END { for (i = 1; i <= n; i++) { split(order[i], p, " "); printf "%-24s %6d simulations  %s %s %s\n", p[1], p[2], p[3], c[order[i]], m[order[i]] } }' \
            "$work/sbibm"
    } | record sbibm.txt
}

# Regression by a conditional density: test log-likelihoods in the target's units on five of the customary splits (5 to 9: settings were looked
# for on the first three), beside MC dropout's of data/README.md, which are means over 20.  wine_red's targets are whole numbers: noise of one unit
# is put on those that are learned, and none on those that are scored.
# regression_of FILE SPLITS HOW...: of the sets on standard input.
regression_of() {
    to=$1 splits=$2
    shift 2
    r=$data/uci_regression
    : >"$work/regression"
    {
        while read -r set inputs dropout dither; do
            for k in $splits; do
                echo "\$ prepare split $k $set.npy ${set}_test_mask.npy train.npy test.npy $dither"
                scale=$("$top_builddir/tests/results/prepare" split $k "$r/$set.npy" "$r/${set}_test_mask.npy" "$work/train.npy" "$work/test.npy" $dither)
                echo "$scale"
                run train --data "$work/train.npy" --context-columns 1-$inputs --flow nsf --set layers=2 "$@" --lr 1e-3 --optimiser adamw \
                    --weight-decay 0.1 --ema 0.99 --threads "$threads" --seed $k -o "$work/m.safetensors" --json --quiet
                run loglik "$work/m.safetensors" --data "$work/test.npy" --context-columns 1-$inputs --threads "$threads" --json >"$work/l"
                cat "$work/l"
                printf '%s %s %s %s\n' $set "$dropout" "$scale" "$(sed -n 's/.*"mean_nats": \([^,]*\).*/\1/p' "$work/l")" >>"$work/regression"
            done
        done
        awk '{ v = $4 - log($3); if (!($1 in n)) order[++sets] = $1; n[$1]++; s[$1] += v; q[$1] += v * v; dropout[$1] = $2 }
            END { for (i = 1; i <= sets; i++) { t = order[i]; m = s[t] / n[t]
                printf "%-12s test log-likelihood in the target'"'"'s units %7.3f +- %.3f over %d splits (MC dropout: %s)\n", t, m,
                    sqrt((q[t] / n[t] - m * m) / (n[t] - 1)), n[t], dropout[t] } }' "$work/regression"
    } | record "$to"
}

regression() {
    regression_of regression.txt "5 6 7 8 9" --set hidden=64 --set dropout=0.2 --batch 64 --steps "${REGRESSION_STEPS:-5000}" <<'END'
concrete 8 -2.94 0
energy 8 -1.21 0
yacht 6 -1.25 0
kin8nm 8 1.14 0
power_plant 4 -2.81 0
wine_red 11 -0.93 1
END
}

# The large one of these sets, on all of its five splits; settings were looked for on split 1.
protein() {
    regression_of regression_protein.txt "0 1 2 3 4" --set hidden=128 --set dropout=0.05 --batch 256 --schedule cosine --steps "${REGRESSION_STEPS:-8000}" <<'END'
protein 9 -2.87 0
END
}

# Part of results.sh: every flow on the same tables, as long each.  SETS, FLOWS and TABLE_SECONDS choose; one file a set, whose end is
# its table.
# shellcheck shell=sh disable=SC2086,SC2154

value() {
    sed -n "s/.*\"$1\": \([-0-9.e+]*\).*/\1/p" "$2"
}

# What a set is: $train, $valid (the option and its value), $test, $columns, $note.
set_of_rows() {
    columns='' note='' valid='--valid-fraction 0.1'
    case $1 in
        power37k)
            p=$data/uci_density/power37k
            train=${p}_train_6_f32.npy valid="--valid ${p}_val_6_f32.npy" test=${p}_test_6_f32.npy ;;
        bsds300 | bsds500rows)
            for part in "1 train" "2 val" "3 test"; do
                file=$work/bsds_${part#* }.npy
                [ -f "$file" ] || "$top_builddir/tests/results/prepare" bsds "${part% *}" "$data/bsds300/patches8x8_${part#* }_u8.npy" "$file"
            done
            train=$work/bsds_train.npy valid="--valid $work/bsds_val.npy#0:10000" test="$work/bsds_test.npy#0:10000"
            note='the first 10,000 rows of the test set, validated on the first 10,000 of its own'
            [ $1 = bsds300 ] || { train="$train#0:500" note="500 rows of training; $note"; } ;;
        wine_red | wine_white)
            train=$work/train.npy test=$work/test.npy note='fold 0 of 10, standardised by the training part'
            "$top_builddir/tests/results/prepare" fold 0 10 "$data/uci_density/$1_11.npy" "$train" "$test" ;;
        higgs)
            p=$data/uci_density/higgs columns='--columns 2-9,11-13,15-17,19-21,23-29'
            train=${p}_train_7000x29_f32.npy test=${p}_test_500x29_f32.npy
            note='without the label and the four columns of three values' ;;
    esac
}

table() {
    for name in ${SETS:-power37k bsds300 bsds500rows wine_red wine_white higgs}; do
        set_of_rows $name
        small=
        case $name in wine* | bsds500rows) small='--weight-decay 0.01 --optimiser adamw' ;; esac
        flows='realnvp nice nsf nsf-ar maf iaf ferumal gaussianization residual mixture-coupling naf ffjord flow-matching'
        [ $name != bsds500rows ] || flows='realnvp nsf maf ferumal ffjord'
        : >"$work/table"
        {
            for flow in ${FLOWS:-$flows}; do
                how='' solver='' rate=1e-3 limit=${TABLE_SECONDS:-60}
                case $flow in
                    ffjord) how='--set hidden=128 --set depth=2 --batch 256' ;;
                    flow-matching) how='--set hidden=256 --set depth=2 --ema 0.999' ;;
                esac
                # few rows: fewer points, slower, tails (looked for on the validation rows)
                case $name-$flow in
                    bsds500rows-ferumal)
                        how='--set points=60 --set mask=alternate --set base.type=student-t --set base.learned=true' rate=3e-4 limit=180 ;;
                esac
                case $flow in
                    ffjord | flow-matching) solver='--solver rk4 --solver-steps 12' ;;
                esac
                trace=${solver:+--trace exact}
                run train --data "$train" $valid $columns --flow $flow $how --lr $rate $small --time-limit "$limit" --patience 20 \
                    --threads "$threads" --seed 0 -o "$work/m.safetensors" --json --quiet >"$work/t" || { cat "$work/t"; continue; }
                run loglik "$work/m.safetensors" --data "$test" $columns $solver $trace --threads "$threads" --json >"$work/l" 2>&1 || :
                run sample "$work/m.safetensors" -n 2000 --seed 1 $solver --threads "$threads" -o "$work/s.npy" --json >"$work/s" 2>&1 || :
                cat "$work/t" "$work/l" "$work/s"
                printf '| %s | %.2f +- %.2f | %s | %.0f | %.3g | %s |\n' $flow "$(value mean_nats "$work/l")" "$(value stderr_nats "$work/l")" \
                    "$(value parameters "$work/t")" "$(value seconds "$work/t")" "$(value rows_per_second "$work/l")" \
                    "$(speed=$(value rows_per_second "$work/s"); [ -z "$speed" ] && echo 'not finite' || printf %.3g "$speed")" >>"$work/table"
            done
            echo
            echo "$name${note:+: $note}"
            echo '| flow | test log-likelihood, nats | parameters | training, s | log-likelihoods a second | samples a second |'
            echo '|---|---|---|---|---|---|'
            cat "$work/table"
        } | record table_$name.txt
    done
}

#!/bin/sh
# The program as people meet it: the jobs on a table, what they print, what goes wrong and how it is said.
# shellcheck source=tests/sh.sh
. "${top_srcdir:?run by make check}/tests/sh.sh"
: "${work:?}" "${code=}"
data=$top_srcdir/apps/data/faithful.csv
small='--set layers=2 --set hidden=16 --batch 64 --quiet'
train() {
    # shellcheck disable=SC2086
    run diffeo train --data "$data" --flow realnvp $small "$@"
}

title 'help and version'
run diffeo --help
ok
for command in train loglik sample encode decode edit classify check info plot interpolate distance calibrate; do
    out "^ .*$command"
done
run diffeo --version
ok
out '^diffeo [0-9]+\.[0-9]+\.[0-9]+$'
out '^OpenBLAS: '
for command in train loglik sample encode decode edit classify check info plot interpolate distance calibrate; do
    run diffeo $command --help
    ok
    out '^Usage: diffeo'
done

title 'usage errors'
run diffeo
code 2
run diffeo nonsense
error 2 "unknown command 'nonsense'"
run diffeo train
error 2 '\-\-data'
run diffeo train --data "$data" --bogus
code 2
err "unrecognized option '--bogus'"
run diffeo train --data "$data" --flow nope -o x.safetensors
error 2 "unknown flow 'nope'"
train --set nokey=3 -o x.safetensors
error 2 "unknown key 'nokey'; known: .*hidden"
train --steps many -o x.safetensors
error 2 "steps: expected an integer.*'many'"
train --steps 1 --set layers=-1 -o x.safetensors
[ "$code" = 0 ] && _bad 'a failure'
err '^diffeo train: .*layers must be at least'
no_file x.safetensors

title 'train'
train --steps 30 --json -o m.safetensors
ok
json steps == 30
json train_nats '<' 0
json valid_nats '<' 0
json parameters '>' 100
json peak_bytes '>' 1000
json rows_per_second '>' 0
a_file m.safetensors
no_file m.safetensors.ckpt
train --steps 30 -o again.safetensors --threads 1
ok
run diffeo loglik m.safetensors --data "$data" -o a.npy
ok
run diffeo loglik again.safetensors --data "$data" -o b.npy --threads 2
title 'any number of threads: the same bits'
same a.npy b.npy

title 'loglik'
run diffeo loglik m.safetensors --data "$data" --json
ok
json rows == 272
json dims == 2
json mean_nats '<' 0
json stderr_nats '>' 0
json estimate == exact
mean=$(value mean_nats)
run diffeo loglik m.safetensors --data "$data#0:100" --json
ok
json rows == 100
run diffeo loglik m.safetensors --data "$data" -o l.csv
ok
[ "$(grep -cE '^-?[0-9.]+' l.csv)" = 272 ] && _good
run diffeo sample m.safetensors -n 3 --precision double -o precise.csv
for how in '-P double' -Pdouble --prec=double; do
    # shellcheck disable=SC2086
    run diffeo sample m.safetensors -n 3 $how -o again.csv
    same precise.csv again.csv
done
run diffeo sample m.safetensors -n 3 -P float --precision double -o again.csv
same precise.csv again.csv
run diffeo sample m.safetensors -n 3 -P float -o again.csv
run cmp -s precise.csv again.csv
code 1
run diffeo sample m.safetensors -n 3 -P rubbish -o -
error 2 "expected float or double, got 'rubbish'"
run diffeo sample m.safetensors -n 3 -qPdouble -o -
error 2 'P: expected an option of its own'
run diffeo loglik m.safetensors --data "$data" --precision double --json
ok
json mean_nats '~' "$mean" 1e-4

title 'any number of rows at a time: the same bits'
run diffeo sample m.safetensors -n 700 -o rows.npy --quiet
ok
for n in 1 3 128 129 500 100000; do
    for threads in 1 2; do
        how="--batch $n --threads $threads --quiet"
        # shellcheck disable=SC2086
        {
            run diffeo loglik m.safetensors --data rows.npy -o l.npy --gradient-out g.npy $how
            ok
            run diffeo encode m.safetensors --data rows.npy -o z.npy $how
            ok
            run diffeo decode m.safetensors --data z.npy -o x.npy $how
            ok
            run diffeo sample m.safetensors -n 700 -o s.npy --seed 5 $how
            ok
            run diffeo check m.safetensors --data rows.npy --json $how
            ok
        }
        mv out c.npy
        for kind in l g z x s c; do
            [ -e $kind.first ] || cp $kind.npy $kind.first
            same $kind.npy $kind.first
        done
    done
done
run diffeo loglik m.safetensors --data rows.npy --batch 0
error 2 'batch: expected an integer of at least 1'
run diffeo loglik m.safetensors --data rows.npy -o l.npy --memory 100K
error 1 'working memory: [0-9]+ bytes needed, --memory allows 102400'
run diffeo loglik m.safetensors --data rows.npy -o l.npy --memory 20M
ok
same l.npy l.first

title 'info'
run diffeo info m.safetensors --json
ok
json kind == flow
json config.hidden == 16
run diffeo info --preset nsf
ok
json

title 'sample'
run diffeo sample m.safetensors -n 1000 -o s.csv --seed 3
ok
[ "$(wc -l <s.csv)" -ge 1000 ] && _good
run diffeo sample m.safetensors -n 1000 -o s1.npy --seed 3 --threads 1
ok
run diffeo sample m.safetensors -n 1000 -o s2.npy --seed 3 --threads 2
ok
same s1.npy s2.npy
run diffeo sample m.safetensors -n 1000 -o s3.npy --seed 4
title 'another seed: other rows'
cmp -s s1.npy s3.npy && _bad 'different bytes in s1.npy and s3.npy'

title 'encode and decode'
run diffeo encode m.safetensors --data "$data" -o z.safetensors --verify --json
ok
json rows == 272
json max_roundtrip_error '<' 1e-2
run diffeo decode m.safetensors --data z.safetensors -o back.csv
ok
if tail -n 272 back.csv | awk -F, -v data="$data" 'BEGIN { getline line <data }
    { getline line <data; split(line, w, ","); a = $1 - w[1]; b = $2 - w[2]
      if (a > 1e-2 || a < -1e-2 || b > 1e-2 || b < -1e-2) bad++ } END { exit bad > 0 || NR != 272 }'; then
    _good
else
    _bad 'the rows of the data in back.csv'
fi
run diffeo decode again.safetensors --data z.safetensors -o back2.csv
ok                                                     # the same weights: the same model
train --steps 5 -o other.safetensors --seed 9
run diffeo decode other.safetensors --data z.safetensors -o wrong.csv
error 1 'another model|other model|--force'
no_file wrong.csv

title 'rows that float does not give back are repaired'
run diffeo encode m.safetensors --data rows.npy -o z.safetensors --verify --json
ok
json rows_over_tolerance == 0
json rows_repaired == 0
json max_roundtrip_error '>' 0
run diffeo encode m.safetensors --data rows.npy -o exact.safetensors --verify --tolerance 0 --json --batch 256
ok
json rows_repaired '>' 0
json rows_over_tolerance == 0
json max_roundtrip_error == 0
json max_roundtrip_error_before '>' 0
run diffeo encode m.safetensors --data rows.npy -o exact2.safetensors --verify --tolerance 0 --threads 1
ok
out ' before [0-9]+ rows were repaired'
same exact.safetensors exact2.safetensors
for how in '' '--batch 130 --threads 1'; do
    # shellcheck disable=SC2086
    run diffeo decode m.safetensors --data exact.safetensors -o back.npy --quiet $how
    ok
    same back.npy rows.npy
done
run diffeo decode m.safetensors --data exact.safetensors -o back.npy --precision double --quiet
ok
run diffeo encode m.safetensors --data rows.npy -o exact.npy --verify --tolerance 0
error 1 'exact.npy: [0-9]+ of 700 rows .*--lossy'
no_file exact.npy
run diffeo encode m.safetensors --data rows.npy -o exact.npy --verify --tolerance 0 --lossy --json
ok
json rows_over_tolerance '>' 0
run diffeo encode m.safetensors --data rows.npy -o exact.npy --verify --tolerance -1
error 2 'tolerance: expected a number from 0'

title 'check'
run diffeo check m.safetensors --data "$data" --json
ok
json finite == true
json roundtrip_max_abs '<' 1e-2
json roundtrip_over_bound '<' 1
json logdet_over_bound '<' 1
json logdet_sum_p999_abs '<' 1e-3
json layers.0.logdet_kappa '>' 1
run diffeo check m.safetensors --data "$data" --tolerance roundtrip_max_abs=1e-30 --json
code 1

title 'autoregressive flows'
for flow in maf iaf bnaf bernstein sum-of-squares nsf-ar; do
    [ $flow = bnaf ] && steps=300 || steps=60              # it learns more slowly
    run diffeo train --data "$data" --flow $flow --set layers=2 --set hidden=16 --batch 64 --steps "$steps" --lr 1e-2 --quiet --json \
        -o ar.safetensors
    ok
    json valid_nats '>' -5
    run diffeo check ar.safetensors --data "$data" --json
    ok
    json finite == true
    json roundtrip_over_bound '<' 1
    json logdet_over_bound '<' 1
    run diffeo sample ar.safetensors -n 50 -o ar.npy
    ok
    run diffeo encode ar.safetensors --data "$data" -o ar-z.safetensors --verify --json
    ok
    json max_roundtrip_error '<' 1e-2
done
run diffeo train --data "$data" --flow maf --set scale=sigmoid --steps 1 -o no.safetensors
error 1 'scale: expected tanh or exp, got sigmoid'
no_file no.safetensors

title 'one model, many threads'
run "$top_builddir/apps/examples/threads" m.safetensors 500
ok
out '^thread 3: mean log p -'
cp out first
run "$top_builddir/apps/examples/threads" m.safetensors 500
same first out

title 'no space left'
run diffeo loglik m.safetensors --data "$data" -o /dev/full
error 1 '/dev/full: .*No space left'

title 'bad data'
printf 'a,b\n1,5\n2,5\n3,5\n' >constant.csv
run diffeo train --data constant.csv --flow nsf --steps 2 --quiet -o no.safetensors
error 1 'constant.csv: column 2 \(b\) is constant \(5\)'
no_file no.safetensors
printf '1,2\n' >row.csv
run diffeo train --data row.csv --flow realnvp --steps 2 --quiet -o no.safetensors
error 1 'row.csv: column 1 is constant'
seq 1 40 >column.csv
run diffeo train --data column.csv --flow nsf --set layers=1 --steps 5 --quiet -o column.safetensors
ok
: >empty.csv
printf 'a,b\n1,2\n3,x\n' >text.csv
printf '1,2\n3,nan\n' >nan.csv
printf '1,2\n3\n' >ragged.csv
printf '1,2,3\n4,5,6\n' >three.csv
for case in 'nofile.csv:No such file' "$work:directory" 'empty.csv:empty' 'text.csv:row 1.*column 2|column 2' \
    'nan.csv:row 1.*column 2|column 2' 'ragged.csv:row|line' 'three.csv:expected 2 columns, got 3'; do
    run diffeo loglik m.safetensors --data "${case%%:*}" -o no.npy
    error 1 "${case#*:}"
    no_file no.npy
    case $case in three.csv*) continue ;; esac
    run diffeo train --data "${case%%:*}" --flow realnvp --steps 2 --quiet -o no.safetensors
    error 1 "${case#*:}"
    no_file no.safetensors
    no_file no.safetensors.ckpt
done

title 'bad models'
run diffeo loglik nofile.safetensors --data "$data"
error 1 'nofile\.safetensors'
head -c 1000 m.safetensors >cut.safetensors
run diffeo loglik cut.safetensors --data "$data"
error 1 'cut\.safetensors'
: >empty.safetensors
run diffeo loglik empty.safetensors --data "$data"
error 1 'empty\.safetensors'
printf '\377\377\377\377\377\377\377\077{}' >huge.safetensors
run diffeo loglik huge.safetensors --data "$data"
error 1 'huge\.safetensors'
printf "\223NUMPY\001\000v\000{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 2), }%60s\n" ' ' >huge.npy
run diffeo loglik m.safetensors --data huge.npy
error 1 'huge\.npy'

title 'no space left'
run diffeo sample m.safetensors -n 100000 --format csv -o /dev/full
error 1 'No space left'
run diffeo train --data "$data" --flow realnvp --set layers=2 --set hidden=16 --steps 2 --quiet -o /nonexistent/m.safetensors
error 1 '/nonexistent'

title 'odd tables'
printf '1\n2\n4\n3\n1.5\n2.5\n3.5\n2\n1\n3\n' >one.csv
run diffeo train --data one.csv --flow nsf --set layers=1 --steps 3 --quiet -o one.safetensors
ok
run diffeo sample one.safetensors -n 3 -o -
ok
printf '1,5\n2,5\n3,5\n4,5\n' >constant.csv
run diffeo train --data constant.csv --flow realnvp --steps 2 --quiet -o constant.safetensors
[ "$code" = 0 ] || [ "$code" = 1 ] || _bad 'status 0 or 1, with a word about the constant column'
[ "$code" = 0 ] || err '^diffeo train: .*(column|constant)'
printf '1,2\n' >row.csv
run diffeo train --data row.csv --flow realnvp --steps 2 --quiet -o row.safetensors
[ "$code" = 0 ] || error 1 'row'

title 'pipes'
run sh -c "diffeo sample m.safetensors -n 50 -o - | diffeo loglik m.safetensors --data - --format csv --json"
ok
json rows == 50

title 'stop and go on: the same bits'
train --steps 40 -o whole.safetensors
ok
train --steps 40 --checkpoint half.ckpt --checkpoint-every 7 -o half.safetensors
ok
for delay in 0.05 0.15 0.3; do
    rm -f half.ckpt half.safetensors
    # shellcheck disable=SC2086
    timeout -s KILL $delay diffeo train --data "$data" --flow realnvp $small --steps 40 --checkpoint half.ckpt \
        --checkpoint-every 7 -o half.safetensors >/dev/null 2>&1 </dev/null
    if [ -f half.ckpt ]; then
        train --steps 40 --resume half.ckpt --checkpoint half.ckpt -o half.safetensors
    elif [ ! -f half.safetensors ]; then
        train --steps 40 -o half.safetensors
    fi
    ok
    run diffeo loglik whole.safetensors --data "$data" -o whole.npy
    run diffeo loglik half.safetensors --data "$data" -o half.npy
    same whole.npy half.npy
done
for signal in INT TERM; do
    rm -f half.ckpt half.safetensors
    last="train, then SIG$signal"
    # shellcheck disable=SC2086
    diffeo train --data "$data" --flow realnvp $small --schedule constant --steps 1000000 --checkpoint half.ckpt --checkpoint-every 3 \
        -o half.safetensors --quiet >out 2>err </dev/null &
    pid=$!
    for _ in $(seq 400); do
        [ ! -f half.ckpt ] || break
        sleep 0.05
    done
    kill -s $signal $pid
    wait $pid
    code=$?
    error 130 'interrupted at step [0-9]+; go on with --resume half.ckpt$'
    no_file half.safetensors
    more=$(($(sed -n 's/.*at step \([0-9]*\);.*/\1/p' err) + 5))
    train --schedule constant --steps $more --resume half.ckpt -o half.safetensors
    ok
    train --schedule constant --steps $more -o whole.safetensors
    same whole.safetensors half.safetensors
done
title 'rows on standard output'
run diffeo encode m.safetensors --data "$data#0:3" -o -
ok
err '^3 rows to -, mean log-likelihood'
run sh -c 'test "$(diffeo loglik m.safetensors --data "$1#0:3" -o - 2>/dev/null | wc -l)" = 4' sh "$data"
ok
run diffeo loglik m.safetensors --data "$data#0:3" --gradient-out - --json
error 2 "'-o -' and --json both want standard output"
for job in 'sample m.safetensors -n 2' "encode m.safetensors --data $data" "loglik m.safetensors --data $data" \
    "interpolate m.safetensors --data $data"; do
    # shellcheck disable=SC2086
    run diffeo $job -o - --json
    error 2 "'-o -' and --json both want standard output"
done

title 'distance'
run diffeo distance toy:moons:500:1 toy:moons:500:2 --json
ok
json rows == 500
json dims == 2
json sliced_wasserstein '<' 0.5
json c2st '~' 0.5 0.15
run diffeo distance toy:moons:500:1 toy:circles:400:2 --measures energy,sliced --rows 300 --directions 20 --json
ok
json other_rows == 300
json energy_distance '>' 0.02
json sliced_wasserstein '>' 0.2
run diffeo distance toy:moons:500:1 toy:moons:500:2 --measures mmd --bandwidth 1
ok
out '^squared MMD .*bandwidth 1\)$'
run diffeo distance "$data" toy:gaussian3:50
error 1 'has 2 columns, .* has 3'
run diffeo distance "$data" toy:moons:19
error 1 'expected 20 rows or more, got 19'
run diffeo distance "$data" none.csv
error 1 'none.csv'
run diffeo distance "$data"
code 2
run diffeo distance "$data" "$data" --measures nearness
error 2 "expected some of sliced,energy,mmd,c2st, got 'nearness'"
run diffeo distance "$data" "$data" --data "$data"
code 2

finish

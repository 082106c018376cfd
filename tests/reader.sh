#!/bin/sh
# A model file is enough: another program (reader.py) finds the same densities in it, in float and in double.
# shellcheck source=tests/sh.sh
. "${top_srcdir:?run by make check}/tests/sh.sh"

if ! python3 -c '' 2>/dev/null; then
    echo 'left out: no python3'
    exit 77
fi
# Five columns that hang together.
awk 'BEGIN {
    srand(4)
    for (i = 0; i < 300; i++) {
        a = rand() - 0.5; b = rand(); c = rand()
        printf "%.6f,%.6f,%.6f,%.6f,%.6f\n", a, 3 * b + a * a, 10 + c * a, b * c, 100 * a + b
    }
}' >rows.csv
for precision in float double; do
    title "$precision: densities found again from the file"
    run diffeo train --data rows.csv --flow realnvp --set layers=4 --set hidden=16 --steps 60 --lr 0.01 --quiet \
        --precision "$precision" -o "$precision.safetensors"
    ok
    run diffeo loglik "$precision.safetensors" --data rows.csv --precision "$precision" -o "$precision.npy"
    ok
    limit=1e-4
    [ "$precision" = double ] && limit=1e-9
    run python3 "$top_srcdir/tests/reader.py" "$precision.safetensors" rows.csv "$precision.npy" "$limit"
    ok
    cat out
done

title 'densities of another model are told apart'
run python3 "$top_srcdir/tests/reader.py" double.safetensors rows.csv float.npy 1e-9
code 1
finish

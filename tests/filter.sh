#!/bin/sh
# diffeo filter: blurred and back, in whole numbers and in real ones, every boundary, and what goes wrong.
# shellcheck source=tests/sh.sh
. "${top_srcdir:?run by make check}/tests/sh.sh"
: "${work:?}" "${code=}"

# Three pictures of 24x16 as an IDX file.
printf '\000\000\010\003\000\000\000\003\000\000\000\030\000\000\000\020' >three-idx3-ubyte
LC_ALL=C awk 'BEGIN { srand(7); for (i = 0; i < 1152; i++) printf "%c", 1 + int(250 * rand()) }' >>three-idx3-ubyte
gauss() {
    awk -v n="$1" -v s="$2" 'BEGIN { c = (n - 1) / 2; for (i = 0; i < n; i++) for (j = 0; j < n; j++)
        printf "%.17g%s", exp(-((i - c) ^ 2 + (j - c) ^ 2) / 2 / s / s), j < n - 1 ? "," : "\n" }'
}
gauss 7 1 >gauss.csv

title 'blurred and back, every pixel'
for boundary in periodic symmetric; do
    run diffeo filter --kernel gauss.csv --boundary $boundary three-idx3-ubyte -o blurred.npy --json
    ok
    json condition '>' 100
    json condition '<' 1e6
    json values_outside == 0
    run diffeo filter --kernel gauss.csv --boundary $boundary --inverse blurred.npy --compare three-idx3-ubyte -o back/ --json
    ok
    json pixels_wrong == 0
    json max_difference '<' 1e-8
    json rows == 3
    a_file back/00002.png
    run diffeo filter --kernel gauss.csv --boundary $boundary --inverse back/ -o again.npy --compare three-idx3-ubyte
    ok
    out 'condition number [0-9.]+'
    out 'values differ from three-idx3-ubyte'
    rm -r back
done
printf '1,-0.5\n-0.4,0.2\n' >corner.csv
run diffeo filter --kernel corner.csv --boundary causal three-idx3-ubyte -o blurred.npy
ok
out '^norm 2.1, of the inverse '
run diffeo filter --kernel corner.csv --boundary causal --inverse blurred.npy --compare three-idx3-ubyte -o back.png --json
ok
json pixels_wrong == 0

title 'rounded to 8 bits: damped, the picture is nearer'
awk -F, '{ for (i = 1; i <= NF; i++) sum += $i; line[NR] = $0 } END { for (r = 1; r <= NR; r++) { n = split(line[r], a, ",")
    for (i = 1; i <= n; i++) printf "%.17g%s", a[i] / sum, i < n ? "," : "\n" } }' gauss.csv >unit.csv
run diffeo filter --kernel unit.csv three-idx3-ubyte -o blurred/ --json
ok
json largest == 1 1e-12
run diffeo filter --kernel unit.csv --inverse blurred/ --compare three-idx3-ubyte -o plain.npy --json
ok
plain=$(value rms_difference)
run diffeo filter --kernel unit.csv --inverse --tikhonov 1e-4 blurred/ --compare three-idx3-ubyte -o damped.npy --json
ok
json rms_difference '<' "$plain"
json pixels_wrong '>' 0

title 'float, where asked for'
run diffeo filter --kernel gauss.csv three-idx3-ubyte -o b4.npy --precision float
ok
run diffeo filter --kernel gauss.csv three-idx3-ubyte -o b8.npy
ok
out '^3 pictures of 24x16 to b8.npy, kernel 7x7, condition number '
if [ "$(wc -c <b8.npy)" -gt "$(wc -c <b4.npy)" ]; then _good; else _bad 'doubles in b8.npy'; fi

title 'what goes wrong'
refused() {
    status=$1 regex=$2
    shift 2
    run diffeo filter "$@" -o no.npy
    error "$status" "$regex"
    no_file no.npy
}
printf '1,1,1\n1,1,1\n1,1,1\n' >box.csv
printf '1,2\n3,4\n' >even.csv
printf '1,2,3\n4,nan,6\n7,8,9\n' >nan.csv
printf '0,1\n1,1\n' >zero.csv
gauss 17 2 >large.csv
refused 3 'box.csv: the kernel has no inverse: at frequency (8, 0|[0-9]+, [0-9]+) it is' --kernel box.csv --inverse three-idx3-ubyte
refused 3 'zero.csv: the kernel has no inverse: its first entry is 0' --kernel zero.csv --boundary causal --inverse three-idx3-ubyte
refused 1 'even.csv: expected a kernel with odd sides.* got 2x2' --kernel even.csv three-idx3-ubyte
refused 1 'large.csv: expected a kernel of 1x1 to 24x16, the picture.s size, got 17x17' --kernel large.csv three-idx3-ubyte
refused 1 'nan.csv: .*row 1.*column 2' --kernel nan.csv three-idx3-ubyte
refused 1 'none.csv: cannot open' --kernel none.csv three-idx3-ubyte
refused 1 'gauss.csv: expected pictures, got rows of 7 columns' --kernel box.csv gauss.csv
printf '1,2,3\n4,5,6\n7,8,9\n' >even3.csv
refused 1 'a symmetric boundary wants a kernel that is its own mirror image' --kernel even3.csv --boundary symmetric three-idx3-ubyte
refused 1 'no Tikhonov inverse' --kernel corner.csv --boundary causal --inverse --tikhonov 1 three-idx3-ubyte
refused 2 'boundary: expected periodic, symmetric or causal' --kernel box.csv --boundary mirror three-idx3-ubyte
refused 2 'tikhonov goes with --inverse' --kernel box.csv --tikhonov 1 three-idx3-ubyte
refused 2 'kernel is missing' three-idx3-ubyte
run diffeo filter --kernel box.csv three-idx3-ubyte -o no.csv
error 1 'no.csv: expected the name of an output of images to end in'
finish

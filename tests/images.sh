#!/bin/sh
# The program on pictures: every format in and out, labels and classes, and what goes wrong and how it is said.
# shellcheck source=tests/sh.sh
. "${top_srcdir:?run by make check}/tests/sh.sh"
: "${work:?}" "${code=}"
corpus=$top_srcdir/tests/fuzz/corpus/png

# 60 images of 6 x 8, whole numbers to 255; image i is of class i mod 3, which says where it is bright.
awk 'BEGIN { s = 1; for (i = 0; i < 60; i++) { line = ""
    for (k = 0; k < 48; k++) { s = (s * 75 + 74) % 65537; v = int(s % 60) + (int(k / 16) == i % 3 ? 190 : 0)
        if (i + k == 0) v = 255
        line = line (k ? "," : "") v }
    print line } }' >images.csv
awk 'BEGIN { for (i = 0; i < 60; i++) print i % 3 }' >labels.csv
small='--flow realnvp --set layers=2 --set hidden=16 --steps 30 --batch 32 --quiet'
train() {
    # shellcheck disable=SC2086
    run diffeo train $small "$@"
}

title 'images from text'
train --data images.csv --images 6x8 --json -o m.safetensors --log log.jsonl
ok
json train_bits_per_dim '>' 1
json valid_bits_per_dim '<' 9
run tail -n 1 log.jsonl
json train_bits_per_dim '>' 1
# shellcheck disable=SC2086
run diffeo train ${small% --quiet} --data images.csv --images 6x8 -o m.safetensors
ok
out 'train [0-9.]+ bits/dim$'
err 'train [0-9.]+ bits/dim  valid [0-9.]+'
run diffeo info m.safetensors
out 'over images of 6x8x1 \(height, width, channels\) of 256 levels'
run diffeo loglik m.safetensors --data images.csv --images 6x8 --json
ok
json bits_per_dim '>' 1
mean=$(value mean_nats)

title 'latents and back: every pixel'
run diffeo encode m.safetensors --data images.csv --images 6x8 -o z.safetensors --verify --json
ok
json pixels_wrong == 0
json max_roundtrip_error '<' 0.01
run diffeo decode m.safetensors --data z.safetensors -o back.npy
ok
run diffeo decode m.safetensors --data z.safetensors -o back/
ok
run diffeo decode m.safetensors --data z.safetensors -o back.csv
ok
tail -c +129 back.npy | od -An -v -tu1 -w48 | tr -s ' ' ',' | sed 's/^,//' >pixels.csv
same pixels.csv images.csv
run diffeo check m.safetensors --data back.npy --tolerance pixels_wrong=0 --json
ok
json pixels_wrong == 0
run diffeo check m.safetensors --json
ok
json pixels_wrong == 0

title 'the same images in every format'
{ printf '\000\000\010\003\000\000\000\074\000\000\000\006\000\000\000\010'; tail -c +129 back.npy; } >x-idx3-ubyte
gzip -c x-idx3-ubyte >y-idx3-ubyte.gz
cp x-idx3-ubyte otherwise
for data in back.npy back back/ x-idx3-ubyte y-idx3-ubyte.gz otherwise; do
    run diffeo loglik m.safetensors --data $data --json
    ok
    json mean_nats '~' "$mean" 1e-5
done
run sh -c 'diffeo loglik m.safetensors --data - --json <x-idx3-ubyte'
json mean_nats '~' "$mean" 1e-5
run diffeo loglik m.safetensors --data back/00007.png --json
ok
json rows == 1
run diffeo loglik m.safetensors --data 'back/#7:8' -o seven.npy
ok

title 'pictures out'
run diffeo sample m.safetensors -n 10 -o grid.png --seed 2
ok
run diffeo sample m.safetensors -n 10 -o grid.npy --seed 2
ok
run diffeo sample m.safetensors -n 10 -o grid2.png --seed 2 --threads 1
same grid.png grid2.png
run diffeo sample m.safetensors -n 3 -o new/ --seed 2
ok
a_file new/00002.png
no_file new/00003.png
run diffeo sample m.safetensors -n 3 -o new/ --seed 2
error 1 'new: the folder is not empty'
run diffeo sample m.safetensors -n 3 -o grid.jpg
error 1 'grid.jpg: expected the name of an output of images to end in .png, .npy or /'
run diffeo sample m.safetensors -n 3 -o nowhere/grid.png
error 1 'nowhere/grid.png: cannot create'
run diffeo sample m.safetensors -n 100000000 -o no.png
error 1 'more than (65535 pixels|268435456 bytes in a grid)'
no_file no.png
run diffeo plot m.safetensors -o draws.png
ok
run diffeo plot x-idx3-ubyte -o data.png
ok
a_file data.png
run sh -c 'diffeo plot - -o piped.png <x-idx3-ubyte'
ok
same piped.png data.png
run sh -c 'cut -d, -f1,2 images.csv | diffeo plot - -o corner.png'
grep -q 'without-cairo' err || ok
run diffeo plot x-idx3-ubyte back.npy -o no.png
error 1 'holds images: one data set at a time'
run diffeo plot m.safetensors back.npy -o no.png
error 1 'its pictures are of draws, without data'

title 'in between'
run diffeo interpolate m.safetensors --data 'back.npy#0:3' -n 2 -o ends.npy
ok
{ tail -c +129 back.npy | head -c 96; tail -c +177 back.npy | head -c 96; } >expected
tail -c +129 ends.npy >came
same expected came
run diffeo interpolate m.safetensors --data 'back.npy#0:3' -n 7 --route circle -o way.png --json
ok
json rows == 14
run diffeo interpolate m.safetensors --data 'back.npy#0:3' -n 7 -o way2.png
ok
cmp -s way.png way2.png && _bad 'a circle that is no line'
run diffeo interpolate m.safetensors --data 'back.npy#0:1' -o no.png
error 1 'expected at least two rows to go between, got 1'
run diffeo interpolate m.safetensors --data back.npy -n 1 -o no.png
error 2 '\-n: expected an integer of at least 2'
run diffeo interpolate m.safetensors --data back.npy --route around -o no.png
error 2 "route: expected line or circle, got 'around'"
run diffeo interpolate m.safetensors --data back.npy
error 2 '\-o FILE is missing'
no_file no.png

title 'classes'
train --data back.npy --labels labels.csv --steps 150 -o c.safetensors
ok
{ printf '\000\000\010\001\000\000\000\074'; awk 'BEGIN { for (i = 0; i < 60; i++) printf "\\00%d", i % 3 }' |
    sed 's/^/printf "/; s/$/"/' | sh; } >x-idx1-ubyte
run diffeo info c.safetensors --json
json context == 3
json notes.classes == 3
json notes.levels == 256
run diffeo loglik c.safetensors --data back.npy --labels labels.csv --json
ok
json bits_per_dim '>' 1
mean=$(value mean_nats)
run diffeo loglik c.safetensors --data back --labels x-idx1-ubyte --json
json mean_nats '~' "$mean" 1e-5
run diffeo loglik c.safetensors --data back.npy --class 0 --json
ok
json mean_nats '<' "$mean"
awk 'BEGIN { print "which,class"; for (i = 0; i < 60; i++) print "a" i "," i % 3 }' >two.csv
run diffeo loglik c.safetensors --data back.npy --labels two.csv --labels-column class --json
json mean_nats '~' "$mean" 1e-5
run diffeo encode c.safetensors --data back.npy --labels labels.csv -o zc.safetensors --verify --json
json pixels_wrong == 0
run diffeo decode c.safetensors --data zc.safetensors --labels labels.csv -o backc.npy
ok
same backc.npy back.npy
run diffeo check c.safetensors --data back.npy --labels labels.csv --json
ok
run diffeo sample c.safetensors -n 4 --class 2 -o two.png
ok
run diffeo plot c.safetensors -o classes.png
ok
run diffeo interpolate c.safetensors --data 'back.npy#0:2' --class 1 -o way.png
ok
train --data back.npy --labels labels.csv --valid back.npy --valid-labels labels.csv -o v.safetensors
ok
run diffeo sample c.safetensors -n 4 -o no.png
error 2 'c.safetensors draws from classes: --class K is missing \(0 to 2\)'
run diffeo sample c.safetensors -n 4 --class 3 -o no.png
error 2 '\-\-class: expected 0 to 2, got 3'
run diffeo sample m.safetensors -n 4 --class 0 -o no.png
error 1 'm.safetensors was not trained with --labels: it knows no classes'
run diffeo loglik c.safetensors --data back.npy
error 1 'expected 3 context columns \(--labels or --class\), got 0'
run diffeo loglik c.safetensors --data back.npy --class 1 --labels labels.csv
error 2 '\-\-labels and --class exclude each other'
run diffeo loglik c.safetensors --data back.npy --class 1 --context labels.csv
error 2 '\-\-class and a context exclude each other'
run diffeo loglik c.safetensors --data back.npy --labels two.csv
error 1 "two.csv: row 0"
sed 's/2/5/' labels.csv >more.csv
run diffeo loglik c.safetensors --data back.npy --labels more.csv
error 1 'more.csv: expected classes from 0 to 2, found 5'
sed '3s/.*/0.5/' labels.csv >half.csv
run diffeo loglik c.safetensors --data back.npy --labels half.csv
error 1 'half.csv: row 2: expected a class from 0 to 9999, found 0.5'
head -n 59 labels.csv >few.csv
run diffeo loglik c.safetensors --data back.npy --labels few.csv
error 1 'back.npy has 60 rows, few.csv 59: expected one for each'
train --data back.npy --class 1 -o no.safetensors
error 2 '\-\-class is for trained models'
train --data back.npy --labels labels.csv --valid back.npy -o no.safetensors
error 2 '\-\-valid-labels is missing: the labels of back.npy'
train --data back.npy --valid-labels labels.csv -o no.safetensors
error 2 '\-\-valid-labels goes with --valid and --labels'
no_file no.safetensors

title 'CIFAR-10 records'
for label in 000 001 002 003 004 005 006 007 010 011 000 001; do
    printf '%b' "\\0$label"
    head -c 3072 m.safetensors
done >x.bin
run diffeo train --data x.bin --labels x.bin --flow nice --set layers=1 --set hidden=4 --steps 2 --quiet -o cifar.safetensors
ok
run diffeo info cifar.safetensors
out 'over images of 32x32x3 .* of 256 levels given 10 classes'
run diffeo encode cifar.safetensors --data x.bin --labels x.bin -o zb.safetensors --verify --json
json pixels_wrong == 0
head -c 30000 x.bin >cut.bin

title 'bad pictures'
printf 'no picture\n' >text.png
head -c 60 back/00000.png >cut.png
head -c 10 x-idx3-ubyte >ten-idx3-ubyte
head -c 100 y-idx3-ubyte.gz >cut-idx3-ubyte.gz
printf '\000\000\010\003\177\377\377\377\177\377\377\377\000\000\000\001' >huge-idx3-ubyte
mkdir mixed none
cp back/00000.png mixed/a.png
cp "$corpus/gray8" mixed/b.png
for kind in rgba graya palette_alpha huge largest crc; do
    cp "$corpus/$kind" $kind.png
done
for case in 'text.png:not a PNG file' 'cut.png:truncated: the PNG data end early' \
    'ten-idx3-ubyte:truncated: expected an IDX header of 16 bytes, the file has 10' \
    'cut-idx3-ubyte.gz:truncated' 'huge-idx3-ubyte:truncated: the header promises 4611686014132420625 bytes' \
    'mixed:/b.png: 5 x 4 pixels, gray, 8 bits, but mixed/a.png has 8 x 6' \
    'none:is a directory without any' 'rgba.png:expected gray or RGB, found an alpha channel' \
    'graya.png:expected gray or RGB, found an alpha channel' \
    'palette_alpha.png:expected gray or RGB, found transparent colours' \
    'huge.png:20000 x 20000 pixels need 1200000000 bytes, expected at most 268435456' \
    'largest.png:2147483647 x 2147483647 pixels need' 'crc.png:libpng: ' 'cut.bin:expected records of 3073 bytes'; do
    run diffeo loglik m.safetensors --data "${case%%:*}" -o no.npy
    error 1 "${case%%:*}.*${case#*:}"
    train --data "${case%%:*}" -o no.safetensors
    error 1 "${case%%:*}.*${case#*:}"
    no_file no.npy
    no_file no.safetensors
    no_file no.safetensors.ckpt
done
cp "$corpus/gray8" other.png
run diffeo encode m.safetensors --data other.png -o no.safetensors
error 1 'other.png: expected images of 6x8x1 \(height, width, channels\), got 4x5x1'
awk '{ print 300 "," $0 }' images.csv | cut -d, -f1-48 >wide.csv
run diffeo loglik m.safetensors --data wide.csv --images 6x8
error 1 'wide.csv: expected images of 256 levels, got 65536'
train --data wide.csv --images 6x8 -o wide.safetensors
ok
run diffeo sample wide.safetensors -n 4 -o wide.png
ok
run diffeo encode wide.safetensors --data wide.csv --images 6x8 -o w.safetensors --verify --json
json pixels_wrong == 0
run diffeo decode wide.safetensors --data w.safetensors -o w/
ok
run diffeo loglik wide.safetensors --data w --json
json rows == 60
run diffeo loglik m.safetensors --data x.bin
error 1 'x.bin: expected images of 6x8x1 .*, got 32x32x3'
run diffeo loglik m.safetensors --data back.npy --images 6x8
ok
run diffeo loglik m.safetensors --data back --images 6x8
error 1 'its images have a size of their own'
run diffeo loglik m.safetensors --data back.npy --columns 1-3
error 1 'columns cannot be chosen from images'
run diffeo loglik m.safetensors --data back/00000.png --memory 40
error 1 '00000.png: 8 x 6 pixels need 48 bytes, expected at most 40'
run diffeo sample m.safetensors -n 3 -o /dev/full --format png
error 1 '/dev/full: .*No space left'
seq 1 40 >column.csv
run diffeo train --data column.csv --flow nsf --set layers=1 --steps 2 --quiet -o column.safetensors
run diffeo sample column.safetensors -n 3 -o no.png
error 1 'no.png: pictures are of images of 8 or 16 bits, which this model does not make'
no_file no.png

title 'pictures in frames'
small_glow='--flow glow --set levels=2 --set depth=1 --set hidden=8 --steps 10 --batch 32 --valid-fraction 0 --quiet'
awk -F, '{ line = ""                       # 8 x 8: a row of zeros above and below
    for (k = 0; k < 64; k++) line = line (k ? "," : "") (k < 8 || k >= 56 ? 0 : $(k - 7))
    print line }' images.csv >framed.csv
# shellcheck disable=SC2086
run diffeo train $small_glow --set pad=true --data images.csv --images 6x8 --json -o p.safetensors
ok
nats=$(value train_nats)
bits=$(value train_bits_per_dim)
# shellcheck disable=SC2086
run diffeo train $small_glow --data framed.csv --images 8x8 --json -o q.safetensors
ok
json train_nats == "$nats"
json train_bits_per_dim '<' "$bits"
run diffeo info p.safetensors
out 'over images of 6x8x1 .* of 256 levels in frames of 8x8'
run diffeo loglik p.safetensors --data images.csv --images 6x8 --grad g.csv --json
ok
json dims == 48
json estimate == bound
nats=$(value mean_nats)
bits=$(value bits_per_dim)
run awk -F, 'NF != 48 { exit 1 }' g.csv
ok
run awk "BEGIN { b = $nats / -48 / log(2); exit !(b - $bits < 1e-6 && $bits - b < 1e-6) }"
ok
run diffeo loglik q.safetensors --data framed.csv --images 8x8 --json
json mean_nats == "$nats"
run diffeo encode p.safetensors --data images.csv --images 6x8 -o pz.safetensors --json
ok
json pixels_wrong == 0
json dims == 64
run diffeo decode p.safetensors --data pz.safetensors -o p.npy
ok
run diffeo decode m.safetensors --data z.safetensors -o m.npy
ok
same p.npy m.npy
run diffeo check p.safetensors --data images.csv --images 6x8 --json
ok
json pixels_wrong == 0
run diffeo sample p.safetensors -n 3 -o p/
ok
run diffeo loglik p.safetensors --data p --json
json rows == 3
run diffeo plot p.safetensors -o p.png
ok
run diffeo interpolate p.safetensors --data images.csv#:2 --images 6x8 -n 3 -o p.csv
ok
run awk -F, 'NF != 48 { exit 1 }' p.csv
ok
run diffeo loglik p.safetensors --data framed.csv --images 8x8
error 1 'framed.csv: expected images of 6x8x1 .*, got 8x8x1'
run diffeo decode p.safetensors --data images.csv --images 6x8 -o no.npy
error 1 'images.csv: expected 64 features, got 48'
# shellcheck disable=SC2086
run diffeo train $small_glow --set pad=true --data column.csv -o no.safetensors
error 1 'pad=true frames images, got rows of 1 columns'
# shellcheck disable=SC2086
run diffeo train $small_glow --set pad=true --data images.csv --valid p --images 6x8 -o no.safetensors
error 1 'its images have a size of their own'
no_file no.safetensors

title 'flows of images'
for flow in glow realnvp-image nsf-image inverse-flow finc-flow emerging periodic; do
    run diffeo train --data back.npy --labels labels.csv --flow $flow --set depth=1 --set hidden=8 --steps 30 --batch 32 \
        --quiet -o f.safetensors --json
    ok
    json valid_bits_per_dim '<' 12
    run diffeo encode f.safetensors --data back.npy --labels labels.csv -o f-z.safetensors --verify --json
    ok
    json pixels_wrong == 0
    json max_roundtrip_error == 0
    run diffeo loglik f.safetensors --data back.npy --labels labels.csv --json
    ok
    json estimate == bound
    json bits_per_dim '<' 12
    run diffeo decode f.safetensors --data f-z.safetensors -o f-back.npy --labels labels.csv
    ok
    same f-back.npy back.npy
    run diffeo check f.safetensors --data back.npy --labels labels.csv --json
    ok
    json pixels_wrong == 0
    run diffeo sample f.safetensors -n 4 --class 2 -o f.png
    ok
done
run diffeo train --data wide.csv --images 6x8 --flow glow --set depth=1 --set hidden=8 --set dequantise=variational \
    --steps 5 --batch 32 --quiet -o wide.safetensors
ok
run diffeo info wide.safetensors
out '"values": 65536|values=65536|65536 levels'
run diffeo train --data back.npy --flow glow --set levels=2 --steps 5 --quiet -o no.safetensors
error 1 'levels must be at most 1 for 6x8 pixels, got 2; pad=true frames them'
run diffeo train --data images.csv --flow glow --steps 5 --quiet -o no.safetensors
error 1 'glow wants images with an even number of rows and columns, got 1x1 pixels'
run diffeo train --data back.npy --flow glow --set convolution=exp --set depth=1 --set hidden=8 --steps 5 --quiet -o e.safetensors
ok
run diffeo check e.safetensors --data back.npy --json
json pixels_wrong == 0
run diffeo train --data back.npy --flow glow --set values=100 --steps 5 --quiet -o no.safetensors
error 3 'dequantise: row [0-9]+, column [0-9]+: [0-9]+ is not a whole number from 0 to 99'
no_file no.safetensors
finish

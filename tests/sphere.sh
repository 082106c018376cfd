#!/bin/sh
# Places on a sphere: training, its density's integral, draws, round trips, maps, rows that are not on earth.
# shellcheck source=tests/sh.sh
. "${top_srcdir:?run by make check}/tests/sh.sh"

# A belt that crosses the date line, and a pole.
awk 'BEGIN { print "latitude,longitude"
    for (i = 0; i < 800; i++) { l = 150 + 60 * sin(i * 0.37) + 15 * sin(i * i * 0.77)
        printf "%.4f,%.4f\n", 50 * cos(i * 0.37) + 20 * sin(i * i * 1.13), (l > 180 ? l - 360 : l) }
    print "90,0"; print "-90,77"; print "0,180"; print "0,-180"; print "10,190" }' >earth.csv

title 'training'
run diffeo train --data earth.csv --flow sphere --set layers=2 --set hidden=16 --set blocks=1 --batch 128 --steps "$(steps 100)" --lr 5e-3 \
    --quiet --json -o m.safetensors
ok
fitted json valid_nats '>' -1.9                        # the uniform density has -2.53
run diffeo info --preset sphere --json
ok
json units == degrees

title 'densities a steradian integrate to 1'
awk 'BEGIN { n = 300; m = 600; pi = atan2(0, -1)
    for (i = 0; i < n; i++) { z = (2 * i + 1) / n - 1; lat = atan2(z, sqrt(1 - z * z)) * 180 / pi
        for (j = 0; j < m; j++) printf "%.9g,%.9g\n", lat, (j + 0.5) * 360 / m - 180 } }' >grid.csv
run diffeo loglik m.safetensors --data grid.csv -o p.csv --json
ok
json rows == 180000
run awk '$1 + 0 == $1 { sum += exp($1); n++ } END { s = sum / n * 4 * atan2(0, -1); print n, s; exit !(n == 180000 && s > 0.999 && s < 1.001) }' p.csv
ok

title 'poles and date line are single places'
printf '90,0\n90,123\n90,-180\n' >north.csv
printf '12,180\n12,-180\n12,540\n' >line.csv
for file in north line; do
    run diffeo loglik m.safetensors --data $file.csv -o p.csv
    ok
    run awk '$1 + 0 == $1 { if (!n++) a = $1; if ($1 - a > 1e-4 || a - $1 > 1e-4) exit 1 } END { exit n != 3 }' p.csv
    ok
done

title 'draws, latents, checks'
run diffeo sample m.safetensors -n 500 -o s.csv
ok
run awk -F, '$1 + 0 == $1 { n++; if ($1 < -90 || $1 > 90 || $2 < -180 || $2 > 180) exit 1 } END { exit n != 500 }' s.csv
ok
run diffeo encode m.safetensors --data s.csv --verify --json -o z.safetensors
ok
run diffeo decode m.safetensors --data z.safetensors -o back.csv
ok
run diffeo check m.safetensors --data s.csv --json
ok
json finite == true
json roundtrip_over_bound '<' 1
json logdet_over_bound '<' 1
json logdet_jacobian_max_abs == null
json gradient_max_rel '<' 0.1

title 'maps'
run diffeo plot m.safetensors earth.csv --log-scale -o map.png
grep -q 'without-cairo' err || { ok && a_file map.png; }
run diffeo plot m.safetensors -o map.png
grep -q 'without-cairo' err || ok

title 'rows that are not on earth'
printf '10,20\n95.5,20\n' >bad.csv
run diffeo loglik m.safetensors --data bad.csv
error 3 'row 1: latitude 95.5 and longitude 20 are no place on earth; latitudes are from -90 to 90'
run diffeo train --data bad.csv --flow sphere --steps 1 --quiet -o no.safetensors
code 3
no_file no.safetensors
printf '1,2,3\n4,5,6\n' >three.csv
run diffeo train --data three.csv --flow sphere --steps 1 --quiet -o no.safetensors
error 1 'latitude and longitude, got 3 columns'
run diffeo train --data earth.csv --flow sphere --set units=miles --steps 1 --quiet -o no.safetensors
error 1 'units: expected degrees or radians, got miles'
run diffeo train --data earth.csv --flow sphere --set harmonics=65 --steps 1 --quiet -o no.safetensors
error 1 'harmonics'
no_file no.safetensors

finish

#!/bin/sh
# What apps/diffeo.bash-completion offers.
# shellcheck source=tests/sh.sh
. "${top_srcdir:?run by make check}/tests/sh.sh"

if ! bash -c 'mapfile -t x </dev/null' 2>/dev/null; then
    echo 'left out: no bash'
    exit 77
fi
completion=$top_srcdir/apps/diffeo.bash-completion
title 'the file is bash'
run bash -n "$completion"
ok

cat >ask.sh <<'EOF'
. "$1"
shift
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_diffeo
printf '%s\n' "${COMPREPLY[@]}"
EOF
offers() {
    expected=$1
    shift
    title "offered after: $*"
    run bash ask.sh "$completion" "$@"
    ok
    out "^$expected\$"
}
echo >some.json
offers train diffeo tr
offers plot diffeo ''
offers interpolate diffeo in
offers mmd diffeo distance --measures m
offers causal diffeo filter --boundary c
offers --steps= diffeo train --st
offers --verify diffeo encode --v
offers --gradient-out= diffeo loglik --gr
offers --batch= diffeo decode --ba
offers logdet_over_bound= diffeo check --tolerance logdet_o
offers nsf diffeo train --flow ns
offers some.json diffeo train --flow ''
offers circle diffeo interpolate --route =
offers --from-class= diffeo edit --fr
offers rex:rk4 diffeo edit --sampler rex:rk4
offers cifar10 diffeo train --format c
offers double diffeo check --precision = d
offers impute diffeo train --missing im
offers cosine diffeo train --schedule =
offers edm-heun diffeo sample --sampler e
offers mala diffeo mcmc --method ma
offers eight-schools diffeo train --target e
offers log-snr diffeo sample --grid l
offers some.json diffeo train --data so
title 'every command of the program is offered'
for command in $(diffeo --help | grep -oE '(^|   )  ?[a-z]+   ' | tr -d ' '); do
    offers "$command" diffeo "$command"
done
title 'every target'
run diffeo mcmc --target none
targets=$(sed 's/.*known: //; s/,//g; s/\[[^ ]*//g; s/SPEC//' err)
for target in $targets; do
    offers "$target" diffeo mcmc --target "$target"
done
title 'every preset'
run diffeo info --preset none
presets=$(sed 's/.*known: //; s/ or a .json file//; s/,//g' err)
for preset in $presets; do
    offers "$preset" diffeo info --preset "$preset"
done

finish

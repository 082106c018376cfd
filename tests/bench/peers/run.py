"""diffeo beside its peers, interleaved: python3 run.py --ours PATH/TO/bench [--rounds 5] [--libs plain|all]
Each round times, for 1 and 2 threads, ours and then every peer on the same case, each in a fresh process.
Prints every line as JSON, then the table of ratios: best peer at its best setting against ours, by medians and
by minima over the rounds in which two cores really were two (sgemm on 2 threads at least 1.6 times 1 thread)."""
import argparse
import json
import os
import subprocess
import sys

import common
import w1_coupling
import w2_spline_maf
import w3_glow
import w4_ffjord
import w5_invconv
import w6_irevnet
import w7_diffusion

HERE = os.path.dirname(os.path.abspath(__file__))
CASES = {
    "d43_h128": ("W1", w1_coupling, dict(case="d43_h128", dim=43, hidden=128, layers=10)),
    "d43_h512": ("W1", w1_coupling, dict(case="d43_h512", dim=43, hidden=512, layers=10)),
    "nsfc": ("W2", w2_spline_maf, dict(case="nsfc", dim=43, hidden=128, layers=10, bins=8)),
    "maf": ("W2", w2_spline_maf, dict(case="maf", dim=43, hidden=512, layers=5)),
    "32x32x3_K8": ("W3", w3_glow, dict(case="32x32x3_K8", ch=3, K=8)),
    "32x32x3_K32": ("W3", w3_glow, dict(case="32x32x3_K32", ch=3, K=32)),
    "toy2d_hutch": ("W4", w4_ffjord, dict(case="toy2d", trace="hutch")),
    "toy2d_exact": ("W4", w4_ffjord, dict(case="toy2d", trace="exact")),
    "miniboone_hutch": ("W4", w4_ffjord, dict(case="miniboone", trace="hutch")),
    "miniboone_exact": ("W4", w4_ffjord, dict(case="miniboone", trace="exact")),
    "12x32x32": ("W5", w5_invconv, dict(case="12x32x32", images=32)),
    "48x64x64": ("W5", w5_invconv, dict(case="48x64x64", images=32)),
    "small": ("W6", w6_irevnet, dict(case="small")),
    "full": ("W6", w6_irevnet, dict(case="full")),
    "mlp2d": ("W7", w7_diffusion, dict(case="mlp2d")),
    "conv32": ("W7", w7_diffusion, dict(case="conv32")),
}

PEERS = {"W4": ["torchdiffeq+plain", "torch-dopri5"], "W5": ["torch-loop", "torch-wave", "torch-fft-cached"]}     # else --libs


def ours(program, case, threads, seconds):
    env = common.config_env("tuned", threads)
    env.pop("LD_LIBRARY_PATH", None)
    work = CASES[case][0]
    own = {"W6": "bench_irevnet", "W7": "bench_diffusion"}.get(work)
    program = os.path.join(os.path.dirname(program), own) if own else program
    out = subprocess.run([program, "--threads", str(threads), "--seconds", str(seconds), "--filter", "%s %s" % (work, case)],
                         env=env, stdout=subprocess.PIPE, text=True, check=True).stdout
    return [json.loads(x) for x in out.splitlines() if x.startswith("{")]


def machine(program):
    env = common.config_env("tuned", 1)
    out = subprocess.run([program, "--machine"], env=env, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(out.splitlines()[0])


def peer(case, lib, threads, seconds):
    work, module, c = CASES[case]
    script = os.path.join(HERE, os.path.basename(module.__file__))
    opts = dict(budget=seconds, min_rep=5, max_rep=400, count=False, replay=False)
    r = common.spawn(script, dict(c, lib=lib), "tuned", threads, opts)
    if "ops" not in r:
        print(json.dumps(dict(workload=work, case=case, lib=lib, threads=threads, skip=r.get("skip"))), flush=True)
        return []
    rows = []
    for op, v in r["ops"].items():
        s = v["samples"]
        rows.append(dict(workload=work, case=case, lib=lib, op=op, threads=threads, config="tuned", batch=v["batch"], n=len(s),
                         ms_med=1e3 * common.quant(s, 0.5), ms_min=1e3 * min(s), ms_max=1e3 * max(s),
                         peak_rss_mb=v["peak_rss_mb"], ref_gflops=r.get("ref")))
    return rows


def table(rows, dropped, rounds):
    med = lambda v: sorted(v)[len(v) // 2]
    cell = {}
    for r in rows:
        cell.setdefault((r["case"], r["op"], r["lib"], r["threads"]), []).append(r)
    print("\nrounds: %d, dropped because two cores were not two: %d" % (rounds, dropped))
    print("\n| case | operation | ours, 2 threads: median (min) ms | ours, 1 thread | best peer: median (min) ms | ratio of medians, 2 / 1 thread | ratio of minima, 2 / 1 |")
    print("|---|---|---|---|---|---|---|")
    for case in CASES:
        for op in ("log_prob", "sample", "train", "train, store", "encode", "invert", "solve", "conv_fwd", "solve_bwd",
                   "solve_bwd, store", "fft_solve", "ddim", "em"):
            best = None
            mine = {}
            for (c, o, lib, threads), v in cell.items():
                if c != case or o != (op if lib == "ours" else op.split(",")[0]):
                    continue
                m = (med([x["ms_med"] for x in v]), min(x["ms_min"] for x in v))
                if lib == "ours":
                    mine[threads] = m
                else:
                    name = "%s, %d thread%s" % (lib, threads, "s" if threads > 1 else "")
                    best = best or [(m[0], name), (m[1], name)]
                    best = [min(best[0], (m[0], name)), min(best[1], (m[1], name))]
            if not best or 1 not in mine or 2 not in mine:
                continue
            print("| %s %s | %s | %.3g (%.3g) | %.3g (%.3g) | %s: %.3g (%.3g) | **%.2f** / %.2f | **%.2f** / %.2f |" % (
                CASES[case][0], case, op, *mine[2], *mine[1], best[0][1], best[0][0], best[1][0],
                best[0][0] / mine[2][0], best[0][0] / mine[1][0], best[1][0] / mine[2][1], best[1][0] / mine[1][1]))


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--ours", required=True)
    ap.add_argument("--rounds", type=int, default=5)
    ap.add_argument("--seconds", type=float, default=1.0)
    ap.add_argument("--libs", default="plain", choices=("plain", "all"))
    ap.add_argument("--cases", default=",".join(CASES))
    a = ap.parse_args()
    program = os.path.abspath(a.ours)
    libs = ["plain"] if a.libs == "plain" else ["plain", "nflows", "normflows", "zuko", "FrEIA", "pytorch-i-revnet"]
    v = subprocess.run([sys.executable, "-c", "import torch; print(torch.__version__)"], stdout=subprocess.PIPE, text=True).stdout.strip()
    print(json.dumps(dict(torch=v or None, rounds=a.rounds, seconds=a.seconds, libs=libs)), flush=True)
    rows, dropped = [], 0
    for r in range(a.rounds):
        m = machine(program)
        good = m["sgemm_2"] >= 1.6 * m["sgemm_1"]
        print(json.dumps(dict(m, round=r, counted=good)), flush=True)
        dropped += not good
        for case in a.cases.split(","):
            for threads in (1, 2):
                got = ours(program, case, threads, a.seconds)
                for lib in PEERS.get(CASES[case][0], libs):
                    got += peer(case, lib, threads, a.seconds)
                for x in got:
                    print(json.dumps(dict(x, round=r)), flush=True)
                    if x["case"].endswith("_store"):       # the same architecture in another memory mode
                        x = dict(x, case=x["case"][:-6], op=x["op"] + ", store")
                    if x["case"].endswith("_fft"):
                        x = dict(x, case=x["case"][:-4])
                    if good:
                        rows.append(x)
    table(rows, dropped, a.rounds)


if __name__ == "__main__":
    main()

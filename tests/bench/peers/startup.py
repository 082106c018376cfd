"""Whole processes: start, load a saved W1 model (43 columns, 10 couplings, hidden 128), score 10,000 rows, exit:
    python3 startup.py --ours PATH/TO/diffeo [--rounds 5] [--libs plain|all]
Interleaved, 1 and 2 threads.  Prints every median as JSON (ms, peak resident memory), then the ratios."""
import argparse
import json
import os
import subprocess
import sys
import tempfile
import time

import common
import w1_coupling

D, HIDDEN, ROWS = 43, 128, 10000
LIBS = ["plain", "nflows", "normflows", "zuko", "FrEIA"]


def child(lib, folder):
    import numpy as np
    import torch

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    m, log_prob, _ = w1_coupling.model(lib, D, HIDDEN)
    m.load_state_dict(torch.load(os.path.join(folder, lib + ".pt")))
    m.eval()
    with torch.no_grad():
        print(float(log_prob(torch.from_numpy(np.load(os.path.join(folder, "x.npy")))).mean()))


def prepare(folder):
    import numpy as np
    import torch

    np.save(os.path.join(folder, "x.npy"), np.random.default_rng(0).standard_normal((ROWS, D)).astype("f4"))
    for lib in LIBS:
        try:
            torch.save(w1_coupling.model(lib, D, HIDDEN)[0].state_dict(), os.path.join(folder, lib + ".pt"))
        except common.Skip:
            pass


def make(libs, program, folder):
    """Models and rows, by processes of their own: Linux counts what a parent held to the peak of its children."""
    subprocess.run([sys.executable, os.path.abspath(__file__), "--prepare", folder], check=True)
    subprocess.run([program, "train", "--data", os.path.join(folder, "x.npy"), "--flow", "realnvp", "--set",
                    "hidden=%d" % HIDDEN, "--steps", "1", "--quiet", "-o", os.path.join(folder, "m.safetensors")],
                   stdout=subprocess.DEVNULL, check=True)
    return [lib for lib in libs if os.path.exists(os.path.join(folder, lib + ".pt"))]


def timed(command, env):
    """Milliseconds and MiB of one process."""
    start = time.perf_counter()
    p = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(p.pid, 0)
    p.returncode = os.waitstatus_to_exitcode(status)
    if p.returncode:
        raise SystemExit("status %d: %s" % (p.returncode, " ".join(command)))
    return 1e3 * (time.perf_counter() - start), usage.ru_maxrss / 1024


def measure(program, libs, folder, rounds):
    got = {}
    ours = [program, "loglik", os.path.join(folder, "m.safetensors"), "--data", os.path.join(folder, "x.npy"), "--json"]
    jobs = [("ours", ours)] + [(lib, [sys.executable, os.path.abspath(__file__), "--child", lib, folder]) for lib in libs]
    for r in range(rounds + 1):
        for threads in (1, 2):
            env = dict(common.config_env("tuned", threads), PYTHONWARNINGS="ignore")
            for lib, command in jobs:
                if lib == "ours":
                    now = timed(command + ["--threads", str(threads)], dict(os.environ))
                else:
                    now = timed(command, env)
                if r:  # the first round warms the page cache
                    got.setdefault((lib, threads), []).append(now)
    return got


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--ours")
    ap.add_argument("--rounds", type=int, default=5)
    ap.add_argument("--libs", default="plain", choices=("plain", "all"))
    ap.add_argument("--child", nargs=2)
    ap.add_argument("--prepare")
    a = ap.parse_args()
    if a.child:
        return child(*a.child)
    if a.prepare:
        return prepare(a.prepare)
    libs = LIBS if a.libs == "all" else LIBS[:1]
    program = os.path.abspath(a.ours)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        got = measure(program, make(libs, program, folder), folder, a.rounds)
    for (lib, threads), v in got.items():
        ms = sorted(x[0] for x in v)
        rows.append(dict(workload="startup", case="process", lib=lib, op="log_prob", threads=threads, batch=ROWS, n=len(ms),
                         ms_med=round(ms[len(ms) // 2], 2), ms_min=round(ms[0], 2), ms_max=round(ms[-1], 2),
                         peak_rss_mb=round(max(x[1] for x in v), 1)))
        print(json.dumps(rows[-1]), flush=True)
    mine = [r for r in rows if r["lib"] == "ours"]
    peers = [r for r in rows if r["lib"] != "ours"]
    print("\nload a model and score %d rows, as whole processes: best peer over ours: %.1f times the time by medians (%.1f by minima), "
          "%.1f times the memory" % (ROWS, *(min(r[k] for r in peers) / min(r[k] for r in mine) for k in ("ms_med", "ms_min", "peak_rss_mb"))))


if __name__ == "__main__":
    main()

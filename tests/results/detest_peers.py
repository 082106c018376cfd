"""DETEST's 25 problems as tests/results/detest.c solves them, by others: detest_peers.py >TABLE.  A line for every problem and tolerance,
rtol = atol, with error and evaluations of each of

    torch dopri5    torchdiffeq's algorithm as its pages and sources tell it, written anew in double, without the package: Dormand and
                    Prince 5(4) with Shampine's weights of the error, the norm a root mean square, steps changed by
                    0.9 err^(-1/5) between 0.2 (1 if accepted) and 10, Hairer's first step, and no step made shorter for the end:
                    the last one goes past it, and the state is taken from the quartic through both ends, their slopes and the middle
    scipy RK45, scipy DOP853     solve_ivp

Problems: Hull et al. (1972).  The states at the end are tests/reference/ode_reference.json's."""
import json
import os
import sys

import numpy as np
import torch
from scipy.integrate import solve_ivp

TESTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
sys.path.insert(0, os.path.join(TESTS, "bench", "peers"))
from dopri5_torch import A, C, E, first_step, norm  # noqa: E402

MIDDLE = (6025192743 / 30085553152 / 2, 0, 51252292925 / 65400821598 / 2, -2691868925 / 45128329728 / 2,
          187940372067 / 1594534317056 / 2, -1776094331 / 19743644256 / 2, 11237099 / 235043384 / 2)
MASSES = np.array([.000954786104043, .000285583733151, .0000437273164546, .0000517759138449, .00000277777777778])


def bodies(x):                             # C5, five planets: places (5, 3), then speeds
    p = x[:15].reshape(5, 3)
    pull = p / (p ** 2).sum(1, keepdims=True) ** 1.5
    a = -(1.00000597682 + MASSES)[:, None] * pull
    for j in range(5):
        for k in range(5):
            if k != j:
                a[j] += MASSES[k] * ((p[k] - p[j]) / ((p[k] - p[j]) ** 2).sum() ** 1.5 - pull[k])
    return np.concatenate([x[15:], 2.95912208286 * a.ravel()])


def decay(x, rate):                        # C1, C2: what leaves one goes to the next, and stays in the last
    flow = rate * x[:-1]
    return np.concatenate([-flow, [0]]) + np.concatenate([[0], flow])


def heat(x):                               # C3, C4
    return np.concatenate([[0], x[:-1]]) - 2 * x + np.concatenate([x[1:], [0]])


def orbit(x):                              # D1 .. D5
    return np.concatenate([x[2:], -x[:2] / (x[0] ** 2 + x[1] ** 2) ** 1.5])


def torus(x):                              # B4
    r = np.hypot(x[0], x[1])
    return np.array([-x[1] - x[0] * x[2] / r, x[0] - x[1] * x[2] / r, x[0] / r])


def second(of):                            # E: x'' = of(t, x, x')
    return lambda t, x: np.array([x[1], of(t, x[0], x[1])])


FIELDS = {
    "A1": lambda t, x: -x,
    "A2": lambda t, x: -x ** 3 / 2,
    "A3": lambda t, x: x * np.cos(t),
    "A4": lambda t, x: x / 4 * (1 - x / 20),
    "A5": lambda t, x: (x - t) / (x + t),
    "B1": lambda t, x: np.array([2 * (x[0] - x[0] * x[1]), -(x[1] - x[0] * x[1])]),
    "B2": lambda t, x: np.array([-x[0] + x[1], x[0] - 2 * x[1] + x[2], x[1] - x[2]]),
    "B3": lambda t, x: np.array([-x[0], x[0] - x[1] ** 2, x[1] ** 2]),
    "B4": lambda t, x: torus(x),
    "B5": lambda t, x: np.array([x[1] * x[2], -x[0] * x[2], -0.51 * x[0] * x[1]]),
    "C1": lambda t, x: decay(x, 1),
    "C2": lambda t, x: decay(x, np.arange(1, len(x))),
    "C3": lambda t, x: heat(x),
    "C4": lambda t, x: heat(x),
    "C5": lambda t, x: bodies(x),
    **{f"D{k}": lambda t, x: orbit(x) for k in range(1, 6)},
    "E1": second(lambda t, x, v: -(v / (t + 1) + (1 - 0.25 / (t + 1) ** 2) * x)),
    "E2": second(lambda t, x, v: (1 - x * x) * v - x),
    "E3": second(lambda t, x, v: x ** 3 / 6 - x + 2 * np.sin(2.78535 * t)),
    "E4": second(lambda t, x, v: 0.032 - 0.4 * v * v),
    "E5": second(lambda t, x, v: np.sqrt(1 + v * v) / (25 - t)),
}


def torch_dopri5(f, t, y, end, tol):
    parts = [len(y)]
    k = f(t, y)
    h = float(first_step(f, t, y, k, parts, 1.0, tol, tol))
    while t < end:
        ks = [k]
        for a, c in zip(A, C):
            at = y + h * torch.mv(torch.stack(ks, 1), torch.tensor(a))
            ks.append(f(t + c * h, at))
        stages = torch.stack(ks, 1)
        ratio = norm(h * torch.mv(stages, torch.tensor(E)) / (tol + tol * torch.maximum(y.abs(), at.abs())), parts)
        step, h = h, h * (10.0 if ratio == 0 else min(10.0, max(0.2 if ratio >= 1 else 1.0, 0.9 * ratio ** -0.2)))
        if ratio <= 1:
            before, middle, first, y = y, y + step * torch.mv(stages, torch.tensor(MIDDLE)), k, at
            k, t = ks[-1], t + step
    s = (end - t) / step + 1               # from 0 to 1 over the last step
    d0, d1, rise, half = step * first, step * k, y - before, middle - before
    return before + s * (d0 + s * (16 * half - 5 * rise - 4 * d0 + d1 + s * (14 * rise - 32 * half + 5 * d0 - 3 * d1
                                                                              + s * (16 * half - 8 * rise + 2 * (d1 - d0)))))


class Counted:
    def __init__(self, field):
        self.field, self.n = field, 0

    def __call__(self, t, x):
        self.n += 1
        return torch.from_numpy(self.field(t, x.numpy())) if torch.is_tensor(x) else self.field(t, x)


def by_torch(f, t, x, end, tol):
    return torch_dopri5(f, t, torch.from_numpy(x), end, tol).numpy()


def by_scipy(method):
    return lambda f, t, x, end, tol: solve_ivp(f, (t, end), x, method=method, rtol=tol, atol=tol).y[:, -1]


def main():
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    with open(os.path.join(TESTS, "reference", "ode_reference.json")) as file:
        cases = [c for c in json.load(file)["cases"] if c["name"].startswith("DETEST_")]
    for case in cases:
        start, end = case["settings"]["t0"], case["inputs"]["t"]["data"][0]
        begin, want = (np.array(a["data"], float) for a in (case["inputs"]["y0"], case["outputs"]["y"]))
        for k in range(3, 10):
            line = f"{case['settings']['problem']} 1e-{k}"
            for solve in (by_torch, by_scipy("RK45"), by_scipy("DOP853")):
                f = Counted(FIELDS[case["settings"]["problem"]])
                got = solve(f, float(start), begin, float(end), 10.0 ** -k)
                line += f" {np.max(np.abs(got - want) / np.maximum(1, np.abs(want))):.4e} {f.n}"
            print(line, flush=True)


if __name__ == "__main__":
    main()

"""Dormand-Prince 5(4) with step control and the continuous adjoint in plain torch, called as torchdiffeq is: the state is one flat
vector, the norm the largest root mean square of its parts, steps change by 0.9 err^(-1/5) within 0.2 and 10, the first is Hairer's."""
import torch

A = ((1 / 5,), (3 / 40, 9 / 40), (44 / 45, -56 / 15, 32 / 9), (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
     (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656), (35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84))
C = (1 / 5, 3 / 10, 4 / 5, 8 / 9, 1, 1)
E = (35 / 384 - 1951 / 21600, 0, 500 / 1113 - 22642 / 50085, 125 / 192 - 451 / 720, -2187 / 6784 + 12231 / 42400, 11 / 84 - 649 / 6300,
     -1 / 60)                              # Shampine's (1986), as torchdiffeq has


def norm(x, parts):
    return max(float(p.pow(2).mean().sqrt()) for p in torch.split(x, parts))


def first_step(f, t, y, k, parts, sign, rtol, atol):
    scale = atol + rtol * y.abs()
    d0, d1 = norm(y / scale, parts), norm(k / scale, parts)
    h = 1e-6 if min(d0, d1) < 1e-5 else 0.01 * d0 / d1
    d2 = norm((f(t + sign * h, y + sign * h * k) - k) / scale, parts) / h
    most = max(1e-6, h * 1e-3) if max(d1, d2) <= 1e-15 else (0.01 / max(d1, d2)) ** (1 / 5)
    return min(100 * h, most)


def solve(f, y, t, end, parts, rtol, atol):
    sign = 1.0 if end > t else -1.0
    k = f(t, y)
    h = first_step(f, t, y, k, parts, sign, rtol, atol)
    while (end - t) * sign > 0:
        last = h >= (end - t) * sign
        step = end - t if last else sign * h
        ks = [k]
        for a, c in zip(A, C):
            stages = torch.stack(ks, 1)
            at = torch.addmv(y, stages, torch.tensor(a) * step)
            ks.append(f(t + c * step, at))
        error = torch.mv(torch.stack(ks, 1), torch.tensor(E) * step)
        ratio = norm(error / (atol + rtol * torch.maximum(y.abs(), at.abs())), parts)
        if ratio <= 1:
            t, y, k = (end if last else t + step), at, ks[-1]
        h = abs(step) * min(10.0, max(0.2 if ratio > 1 else 1.0, 0.9 * max(ratio, 1e-10) ** -0.2))
    return y


def flat(f, shapes):
    sizes = [s.numel() for s in shapes]

    def call(t, y):
        state = tuple(p.view(s) for p, s in zip(torch.split(y, sizes), shapes))
        return torch.cat([d.reshape(-1) for d in f(torch.tensor(t), state)])

    return call, sizes


def odeint(f, state, times, rtol, atol, method="dopri5"):
    t0, t1 = float(times[0]), float(times[1])
    shapes = [s.shape for s in state]
    call, sizes = flat(f, shapes)
    y = solve(call, torch.cat([s.reshape(-1) for s in state]), t0, t1, sizes, rtol, atol)
    return [torch.stack((a, b.view(a.shape))) for a, b in zip(state, torch.split(y, sizes))]


class Adjoint(torch.autograd.Function):
    @staticmethod
    def forward(ctx, f, t0, t1, rtol, atol, count, *rest):
        ctx.f, ctx.span, ctx.tol, ctx.count = f, (t0, t1), (rtol, atol), count
        with torch.no_grad():
            ends = odeint(f, rest[:count], torch.tensor([t0, t1]), rtol, atol)
        ends = tuple(e[1] for e in ends)
        ctx.save_for_backward(*ends, *rest[count:])
        return ends

    @staticmethod
    def backward(ctx, *grads):
        n = ctx.count
        ends, params = ctx.saved_tensors[:n], ctx.saved_tensors[n:]
        state = ends + grads + tuple(torch.zeros_like(p) for p in params)

        def back(t, s):
            with torch.enable_grad():
                y = tuple(x.detach().requires_grad_(True) for x in s[:n])
                d = ctx.f(t, y)
                g = torch.autograd.grad(d, y + params, tuple(-a for a in s[n:2 * n]), allow_unused=True)
            g = tuple(torch.zeros_like(x) if v is None else v for x, v in zip(y + params, g))
            return tuple(x.detach() for x in d) + g

        with torch.no_grad():
            out = odeint(back, state, torch.tensor([ctx.span[1], ctx.span[0]]), *ctx.tol)
        out = [o[1] for o in out]
        return (None,) * 6 + tuple(out[n:])


def odeint_adjoint(f, state, times, rtol, atol, method="dopri5"):
    ends = Adjoint.apply(f, float(times[0]), float(times[1]), rtol, atol, len(state), *state, *f.parameters())
    return [torch.stack((a, b)) for a, b in zip(state, ends)]

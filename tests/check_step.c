/* The Adam pass against its definition in long double, and the affine transform of couplings against
 * its definition, its own inverse and central differences; the same bits at every instruction set.  */
#include <math.h>
#include <string.h>

#include "math/kern_table.h"
#include "util.h"

#define REQUIRE(condition, ...)                  \
    do {                                         \
        if (!(condition))                        \
            ck_abort_msg(__VA_ARGS__);           \
    } while (0)
#define N 1003

static void fill(test_rng *rng, size_t n, double scale, dfo_real *x)
{
    for (size_t i = 0; i < n; i++)
        x[i] = (dfo_real)(scale * test_rng_normal(rng));
}

/* ---- Adam ---- */

START_TEST(adam)
{
    static dfo_real g[N], w[N], m[N], v[N], ema[N];
    static long double w0[N], m0[N], v0[N], ema0[N];
    test_rng rng = test_rng_new(test_seed());
    for (int with = 0; with < 4; with++) {           /* bit 0: average; bit 1: decay of both kinds */
        dfoi_adam how = {.lr = 3e-3, .beta1 = 0.9, .beta2 = 0.99, .eps = 1e-8, .wd = with & 2 ? 0.1 : 0,
                         .l2 = with & 2 ? 0.01 : 0, .scale = 0.25, .ema_decay = 0.9};
        fill(&rng, N, 1, w);
        for (size_t i = 0; i < N; i++)
            w0[i] = ema0[i] = ema[i] = w[i], m0[i] = v0[i] = m[i] = v[i] = 0;
        for (int step = 1; step <= 20; step++) {
            how.step = step;
            fill(&rng, N, 1, g);
            g[7] = 0;
            dfoi_adam_step(&how, N, g, w, m, v, with & 1 ? ema : NULL);
            for (size_t i = 0; i < N; i++) {
                long double slope = how.scale * (long double)g[i] + how.l2 * w0[i];
                m0[i] = how.beta1 * m0[i] + (1 - (long double)how.beta1) * slope;
                v0[i] = how.beta2 * v0[i] + (1 - (long double)how.beta2) * slope * slope;
                long double first = m0[i] / (1 - powl(how.beta1, step)), second = v0[i] / (1 - powl(how.beta2, step));
                w0[i] -= how.lr * how.wd * w0[i];
                w0[i] -= how.lr * first / (sqrtl(second) + how.eps);
                ema0[i] = how.ema_decay * ema0[i] + (1 - (long double)how.ema_decay) * w0[i];
            }
        }
        for (size_t i = 0; i < N; i++) {
            long double bound = 40 * DFO_REAL_EPS;
            REQUIRE(fabsl((long double)w[i] - w0[i]) <= bound * (1 + fabsl(w0[i])), "weight %zu: %.17g, want %.17Lg", i,
                    (double)w[i], w0[i]);
            REQUIRE(fabsl((long double)m[i] - m0[i]) <= bound && fabsl((long double)v[i] - v0[i]) <= bound,
                    "moments of %zu", i);
            if (with & 1)
                REQUIRE(fabsl((long double)ema[i] - ema0[i]) <= bound * (1 + fabsl(ema0[i])), "average of %zu", i);
        }
    }
}
END_TEST

/* ---- affine ---- */

struct affine_case {
    dfoi_affine how;
    size_t nb, m;
    dfo_real par[2 * N], x[N], ld[N], gz[N], gld[N], gpar[2 * N];
};

static void draw_case(test_rng *rng, struct affine_case *c)
{
    c->how.kind = (int)test_rng_between(rng, 0, 1);
    c->how.smax = (dfo_real)test_rng_real(rng, 0.5, 3);
    c->m = test_rng_between(rng, 0, 1) ? DFO_PANEL : test_rng_between(rng, 1, 70);
    c->nb = test_rng_between(rng, 1, N / c->m < 9 ? N / c->m : 9);
    size_t n = c->nb * c->m;
    fill(rng, 2 * n, 2, c->par);
    fill(rng, n, 1, c->x);
    fill(rng, n, 1, c->gz);
    fill(rng, c->m, 1, c->ld);
    fill(rng, c->m, 1, c->gld);
}

static long double log_scale(const dfoi_affine *how, long double r)
{
    if (how->kind == 0)
        return how->smax * tanhl(r / how->smax);
    return -log1pl(expl(-(r + 2)));
}

START_TEST(affine_definition)
{
    static struct affine_case c;
    static dfo_real z[N], ld[N], back[N];
    test_rng rng = test_rng_new(test_seed());
    for (size_t t = test_times(40); t--;) {
        draw_case(&rng, &c);
        size_t n = c.nb * c.m;
        memcpy(z, c.x, sizeof z);
        memcpy(ld, c.ld, sizeof ld);
        dfoi_affine_forward(&c.how, c.nb, c.m, c.par, z, ld);
        for (size_t i = 0; i < c.m; i++) {
            long double sum = c.ld[i], size = 1 + fabsl(sum);
            for (size_t f = 0; f < c.nb; f++) {
                long double s = log_scale(&c.how, c.par[f * c.m + i]), shift = c.par[(c.nb + f) * c.m + i];
                long double scaled = (long double)c.x[f * c.m + i] * expl(s);
                sum += s;
                size += fabsl(s);
                REQUIRE(fabsl((long double)z[f * c.m + i] - (scaled + shift)) <=
                            16 * DFO_REAL_EPS * (fabsl(scaled) * (1 + fabsl(s)) + fabsl(shift)),
                        "kind %d, nb %zu, m %zu: z at %zu, %zu", c.how.kind, c.nb, c.m, f, i);
            }
            REQUIRE(fabsl((long double)ld[i] - sum) <= 16 * DFO_REAL_EPS * size, "kind %d: logdet %zu: %.9g, want %.9Lg",
                    c.how.kind, i, (double)ld[i], sum);
        }
        memcpy(back, z, sizeof back);
        dfoi_affine_inverse(&c.how, c.nb, c.m, c.par, back, ld);
        for (size_t i = 0; i < n; i++) {
            dfo_real shift = c.par[n + i];
            double size = fabs((double)c.x[i]) + fabs((double)shift) / (double)expl(log_scale(&c.how, c.par[i]));
            REQUIRE(fabs((double)(back[i] - c.x[i])) <= 4 * DFO_REAL_EPS * size, "round trip at %zu: %.9g, want %.9g", i,
                    (double)back[i], (double)c.x[i]);
        }
        for (size_t i = 0; i < c.m; i++)
            REQUIRE(fabs((double)(ld[i] - c.ld[i])) <= 64 * DFO_REAL_EPS, "log-dets do not cancel");
    }
}
END_TEST

/* sum of gz z + gld logdet of one element, in long double: what backward differentiates.  */
static long double objective(const dfoi_affine *how, int inverse, long double x, long double r, long double shift,
                             long double gz, long double gld)
{
    long double s = log_scale(how, r);
    return inverse ? gz * (x - shift) * expl(-s) - gld * s : gz * (x * expl(s) + shift) + gld * s;
}

START_TEST(affine_gradients)
{
    static struct affine_case c;
    static dfo_real v[N], g[N], ld[N];
    test_rng rng = test_rng_new(test_seed());
    for (size_t t = test_times(40); t--;) {
        draw_case(&rng, &c);
        size_t n = c.nb * c.m;
        int inverse = (int)(t % 2);
        memset(ld, 0, sizeof ld);
        memcpy(v, c.x, sizeof v);
        memcpy(g, c.gz, sizeof g);
        if (inverse) {
            dfoi_affine_inverse(&c.how, c.nb, c.m, c.par, v, ld);
            dfoi_affine_inverse_backward(&c.how, c.nb, c.m, c.par, v, g, c.gld, c.gpar);
        } else {
            dfoi_affine_forward(&c.how, c.nb, c.m, c.par, v, ld);
            dfoi_affine_backward(&c.how, c.nb, c.m, c.par, v, g, c.gld, c.gpar);
        }
        for (size_t i = 0; i < n; i++) {
            const long double h = 1e-6L, x = c.x[i], r = c.par[i], shift = c.par[n + i], gz = c.gz[i], gld = c.gld[i % c.m];
            long double scale = expl(fabsl(log_scale(&c.how, r)));
#define SLOPE(dx, dr, dt)                                                             \
    ((objective(&c.how, inverse, x + (dx), r + (dr), shift + (dt), gz, gld) -         \
      objective(&c.how, inverse, x - (dx), r - (dr), shift - (dt), gz, gld)) / (2 * h))
            long double want[3] = {SLOPE(h, 0, 0), SLOPE(0, h, 0), SLOPE(0, 0, h)};
            long double got[3] = {g[i], c.gpar[i], c.gpar[n + i]};
            long double bound = (64 * (long double)DFO_REAL_EPS + 1e-11L) *
                                (fabsl(gld) + (1 + fabsl(gz)) * scale * scale * (1 + fabsl(x) + fabsl(shift)));
            for (int k = 0; k < 3; k++)
                REQUIRE(fabsl(got[k] - want[k]) <= bound, "kind %d inverse %d: gradient %d at %zu: %.12Lg, want %.12Lg",
                        c.how.kind, inverse, k, i, got[k], want[k]);
            REQUIRE(fabsl((long double)v[i] - x) <= 8 * DFO_REAL_EPS * scale * scale * (fabsl(x) + fabsl(shift)),
                    "kind %d inverse %d: input %zu not rebuilt", c.how.kind, inverse, i);
        }
    }
}
END_TEST

START_TEST(levels_agree)
{
    static struct affine_case c, d;
    test_rng rng = test_rng_new(test_seed());
    for (int level = 1; level <= (int)dfoi_cpu_level(); level++) {
        const struct dfoi_step_kernels *generic = &dfoi_step_kernels_generic, *best = DFOI_AT_LEVEL(dfoi_step_kernels, level);
        for (size_t t = test_times(40); t--;) {
            draw_case(&rng, &c);
            d = c;
#define BOTH(call_c, call_d)                                                          \
    generic->call_c, best->call_d;                                                    \
    ck_assert(!memcmp(c.x, d.x, sizeof c.x) && !memcmp(c.ld, d.ld, sizeof c.ld) &&    \
              !memcmp(c.gz, d.gz, sizeof c.gz) && !memcmp(c.gpar, d.gpar, sizeof c.gpar))
            BOTH(affine_forward(&c.how, c.nb, c.m, c.par, c.x, c.ld), affine_forward(&d.how, d.nb, d.m, d.par, d.x, d.ld));
            BOTH(affine_inverse(&c.how, c.nb, c.m, c.par, c.x, c.ld), affine_inverse(&d.how, d.nb, d.m, d.par, d.x, d.ld));
            BOTH(affine_backward(&c.how, c.nb, c.m, c.par, c.x, c.gz, c.gld, c.gpar),
                 affine_backward(&d.how, d.nb, d.m, d.par, d.x, d.gz, d.gld, d.gpar));
            BOTH(affine_inverse_backward(&c.how, c.nb, c.m, c.par, c.x, c.gz, c.gld, c.gpar),
                 affine_inverse_backward(&d.how, d.nb, d.m, d.par, d.x, d.gz, d.gld, d.gpar));
            dfoi_adam how = {1e-3, 0.9, 0.999, 1e-8, 0.01, 0.1, 0.5, 0.99, 3};
            struct dfoi_adam_constants constants = dfoi_adam_prepare(&how);
            for (size_t i = 0; i < N; i++)
                c.gz[i] = d.gz[i] = (dfo_real)fabs((double)c.gz[i]);      /* second moments */
            BOTH(adam(&constants, N, c.par, c.x, c.ld, c.gz, c.gpar), adam(&constants, N, d.par, d.x, d.ld, d.gz, d.gpar));
        }
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("step");
    TCase *tcase = tcase_create("step");
    tcase_set_timeout(tcase, 120);
    suite_add_tcase(suite, tcase);
    tcase_add_test(tcase, adam);
    tcase_add_test(tcase, affine_definition);
    tcase_add_test(tcase, affine_gradients);
    tcase_add_test(tcase, levels_agree);
    return test_run(suite);
}

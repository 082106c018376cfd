/* Flows that end in diffusion through Rex: against solutions in closed form, there and back to rounding and to the bit, whatever the
 * blocks and threads; their draws by every sampler; what is refused.  */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <diffeo/rng.h>
#include "cnf_impl.h"
#include "util.h"

enum { N = 150, D = 3 };                   /* more than a block of rows */

struct model {
    dfo_ctx   *ctx;
    dfo_store *store;
    dfo_flow  *flow;
    dfo_flow_rex *rex;
};

static const char *const schedule[] = {"vp", "subvp", "ve", "edm"};
static const char *const prediction[] = {"noise", "data", "velocity", "edm"};

static struct model model_of(const char *of, const char *predicts, int zero)
{
    struct model m = {0};
    ck_assert(dfo_ctx_new(&m.ctx) == DFO_OK && dfo_store_new(m.ctx, &m.store) == DFO_OK);
    dfo_build build = {.ctx = m.ctx, .store = m.store, .seed = 7, .path = "f", .shape = dfo_shape_vector(D)};
    json_t *config = json_pack("{s:{s:s, s:[{s:s}, {s:s, s:b, s:{s:s, s:i, s:i}, s:{s:s, s:s}}]}}", "bijector", "type", "chain", "layers", "type", "affine",
                               "type", "cnf", "zero_init", zero, "net", "type", "time-mlp", "hidden", 8, "layers", 1, "diffusion", "schedule", of,
                               "prediction", predicts);
    ck_assert_msg(dfo_flow_new(&build, config, &m.flow) == DFO_OK, "%s", dfo_ctx_error(m.ctx));
    json_decref(config);
    return m;
}

static void ready(struct model *m, const dfo_flow_rex_options *how)
{
    ck_assert_msg(dfo_flow_rex_new(m->ctx, m->flow, how, &m->rex) == DFO_OK, "%s", dfo_ctx_error(m->ctx));
}

static void done(struct model *m)
{
    dfo_flow_rex_free(m->rex);
    dfo_flow_free(m->flow);
    dfo_store_free(m->store);
    dfo_ctx_free(m->ctx);
}

static void fill(dfo_real *x)
{
    for (size_t i = 0; i < N * D; i++)
        x[i] = (dfo_real)(1.5 * cos(3.0 * (double)i));
}

/* A net that says 0.  Of data: Y = x/sigma stays as it is.  Of noise: x/alpha does, but for the method's errors; in double, since x_0 =
 * (x - sigma e)/alpha of a net that does not know noise multiplies rounding by 1/alpha.  */
START_TEST(closed_form)
{
    for (size_t k = 0; k < 4; k++)
        for (int noise = 0; noise < 1 + IS_DOUBLE; noise++) {
            struct model m = model_of(schedule[k], noise ? "noise" : "data", 1);
            dfo_real x[N * D], z[N * D], aux[N * D];
            ready(&m, &(dfo_flow_rex_options){.steps = noise ? 400 : 10, .zeta = 0.999});
            size_t at;
            const dfoi_diffusion *d = dfoi_cnf_diffusion(dfoi_chain_layer(dfo_flow_bijector(m.flow), 1, &at));
            dfo_noise_point a = dfo_noise_schedule_at(&d->schedule, d->first);
            dfo_noise_point b = dfo_noise_schedule_at(&d->schedule, d->noisy);
            double by = hypot(a.alpha, a.sigma) / hypot(b.alpha, b.sigma) * (noise ? b.alpha / a.alpha : b.sigma / a.sigma);
            fill(x);
            memcpy(z, x, sizeof x);
            ck_assert_int_eq(dfo_flow_rex_encode(m.rex, 0, dfo_batch_of(z, N, D), NULL, dfo_batch_of(aux, N, D)), DFO_OK);
            double allowed = noise ? 0.02 : IS_DOUBLE ? 1e-13 : 1e-5;
            for (size_t i = 0; i < N * D; i++) {
                double want = by * (double)x[i], size = fabs(want) + (noise ? 0.1 * fabs((double)x[i]) : 0);
                ck_assert_msg(fabs((double)z[i] - want) <= allowed * size && fabs((double)aux[i] - want) <= allowed * size,
                              "%s, %d: %zu: %.9g and %.9g, expected %.9g", schedule[k], noise, i, (double)z[i], (double)aux[i], want);
            }
            done(&m);
        }
}
END_TEST

/* Float: nets of noise are left out for the same reason.  */
START_TEST(there_and_back)
{
    for (size_t k = 0; k < 4; k++)
        for (size_t j = !IS_DOUBLE; j < 4; j++) {
            struct model m = model_of(schedule[k], prediction[j], 0);
            dfo_real x[N * D], z[N * D], aux[N * D];
            ready(&m, &(dfo_flow_rex_options){.method = _i ? "rk4" : NULL, .steps = 20, .zeta = 0.999});
            ck_assert_str_eq(dfo_flow_rex_options_of(m.rex)->method, _i ? "rk4" : "midpoint");
            ck_assert(dfo_flow_rex_growth(m.rex) >= 1 && dfo_flow_rex_growth(m.rex) < 1.1);
            fill(x);
            memcpy(z, x, sizeof x);
            ck_assert_int_eq(dfo_flow_rex_encode(m.rex, 0, dfo_batch_of(z, N, D), NULL, dfo_batch_of(aux, N, D)), DFO_OK);
            ck_assert_int_eq(dfo_flow_rex_decode(m.rex, 0, dfo_batch_of(z, N, D), NULL, dfo_batch_of(aux, N, D)), DFO_OK);
            double most = 0;
            for (size_t i = 0; i < N * D; i++)
                most = fmax(most, fabs((double)z[i] - (double)x[i]));
            ck_assert_msg(most < (!IS_DOUBLE ? 1e-5 : j ? 1e-13 : 1e-11) * dfo_flow_rex_growth(m.rex), "%s, %s: off by %g", schedule[k], prediction[j], most);
            done(&m);
        }
}
END_TEST

/* affine begins at the identity: x is what the diffusion layer is given.  Two calls, of a block and of the rest.  With noise at the start too.  */
START_TEST(to_the_bit)
{
    for (size_t k = 0; k < 4; k++) {
        struct model m = model_of(schedule[k], "data", 0);
        dfo_real x[N * D], z[N * D], again[N * D];
        int64_t *y = malloc(4 * sizeof x / sizeof *x * sizeof *y), *yh = y + N * D, *y2 = yh + N * D, *yh2 = y2 + N * D;
        size_t first = dfo_flow_block(m.flow);
        int sde = _i % 2;
        ready(&m, &(dfo_flow_rex_options){.steps = 20, .zeta = 1, .exact = 1, .sde = sde, .start_noise = _i > 1, .method = sde ? "shark" : NULL, .seed = 5});
        fill(x);
        memcpy(z, x, sizeof x);
        memcpy(again, x, sizeof x);
        ck_assert(first < N);
        ck_assert_msg(dfo_flow_rex_encode_exact(m.rex, 0, dfo_batch_of(z, N, D), NULL, y, yh) == DFO_OK, "%s: %s", schedule[k], dfo_ctx_error(m.ctx));
        ck_assert_int_eq(dfo_flow_rex_encode_exact(m.rex, 0, dfo_batch_of(again, first, D), NULL, y2, yh2), DFO_OK);
        ck_assert_int_eq(dfo_flow_rex_encode_exact(m.rex, first, dfo_batch_of(again + first * D, N - first, D), NULL, y2 + first * D, yh2 + first * D),
                         DFO_OK);
        ck_assert(!memcmp(y, y2, N * D * sizeof *y) && !memcmp(yh, yh2, N * D * sizeof *yh) && !memcmp(z, again, sizeof z));
        ck_assert_int_eq(dfo_flow_rex_decode_exact(m.rex, 0, dfo_batch_of(again, N, D), NULL, y, yh), DFO_OK);
        for (size_t i = 0; i < N * D; i++)
            ck_assert_msg(IS_DOUBLE ? fabs((double)(again[i] - x[i])) <= 0x1p-48 : !memcmp(again + i, x + i, sizeof *x), "%s: %zu: %.17g for %.17g",
                          schedule[k], i, (double)again[i], (double)x[i]);
        memcpy(z, again, sizeof z);        /* what came back comes back */
        ck_assert_int_eq(dfo_flow_rex_encode_exact(m.rex, 0, dfo_batch_of(z, N, D), NULL, y2, yh2), DFO_OK);
        ck_assert(!memcmp(y, y2, N * D * sizeof *y) && !memcmp(yh, yh2, N * D * sizeof *yh));
        free(y);
        done(&m);
    }
}
END_TEST

/* A net that finds 0 in everything knows rows near 0, whose x/sigma stays as it is: with noise at the start, the data's time or a later one,
 * latents are its normal numbers, those of seed and absolute row; without it there is next to nothing.  */
START_TEST(noise_is_the_law)
{
    for (size_t k = 0; k < 4; k++)
        for (int noise = 0; noise < 3; noise++) {
            struct model m = model_of(schedule[k], "data", 1);
            dfo_real x[N * D], z[N * D], aux[N * D], e[D];
            uint64_t seed = test_seed();
            size_t at, first = dfo_flow_block(m.flow);
            double square = 0;
            const dfoi_diffusion *d = dfoi_cnf_diffusion(dfoi_chain_layer(dfo_flow_bijector(m.flow), 1, &at));
            dfo_flow_rex_options how = {.steps = 10, .zeta = 0.999, .start_noise = noise > 0, .start_time = noise > 1 ? 10 * d->first : 0, .seed = seed};
            ready(&m, &how);
            double start = dfo_flow_rex_options_of(m.rex)->start_time;
            ck_assert_msg(fabs(start / d->first - (noise > 1 ? 10 : 1)) < 1e-12, "%s: starts at %g", schedule[k], start);
            dfo_noise_point a = dfo_noise_schedule_at(&d->schedule, start);
            dfo_noise_point b = dfo_noise_schedule_at(&d->schedule, d->noisy);
            double end = b.sigma / hypot(b.alpha, b.sigma);
            fill(x);
            for (size_t i = 0; i < N * D; i++)
                z[i] = x[i] = (dfo_real)(0.1 * a.sigma) * x[i];
            ck_assert_int_eq(dfo_flow_rex_encode(m.rex, 0, dfo_batch_of(z, first, D), NULL, dfo_batch_of(aux, first, D)), DFO_OK);
            ck_assert_int_eq(dfo_flow_rex_encode(m.rex, first, dfo_batch_of(z + first * D, N - first, D), NULL,
                                                 dfo_batch_of(aux + first * D, N - first, D)), DFO_OK);
            for (size_t i = 0; i < N; i++) {
                dfo_draw_real_normal((dfo_key){.seed = seed, .row = i, .purpose = DFO_FOR_NOISE}, D, e);
                for (size_t j = 0; j < D; j++) {
                    double y = (double)x[i * D + j], got = (double)z[i * D + j];
                    double want = end * (noise ? a.alpha * y / a.sigma + (double)e[j] : hypot(a.alpha, a.sigma) * y / a.sigma);
                    ck_assert_msg(fabs(got - want) <= 200 * DFO_REAL_EPS * (1 + fabs(want)), "%s, %d: row %zu: %.9g, expected %.9g", schedule[k], noise, i,
                                  got, want);
                    square += got * got / (N * D);
                }
            }
            ck_assert_msg(noise ? fabs(square - 1) < 0.35 : square < 0.05, "%s, %d: variance %g", schedule[k], noise, square);
            done(&m);
        }
}
END_TEST

/* The noise is taken off; who does not know of it is left with it.  */
START_TEST(noise_comes_off)
{
    for (size_t k = 0; k < 4; k++) {
        struct model m = model_of(schedule[k], "velocity", 0);
        dfo_real x[N * D], z[N * D], aux[N * D], other[N * D], second[N * D];
        dfo_flow_rex *wrong;
        dfo_flow_rex_options how = {.steps = 20, .zeta = 0.999, .start_noise = 1, .seed = test_seed()};
        ready(&m, &how);
        ck_assert(dfo_flow_rex_options_of(m.rex)->start_noise);
        fill(x);
        memcpy(z, x, sizeof x);
        ck_assert_int_eq(dfo_flow_rex_encode(m.rex, 0, dfo_batch_of(z, N, D), NULL, dfo_batch_of(aux, N, D)), DFO_OK);
        memcpy(other, z, sizeof z);
        memcpy(second, aux, sizeof aux);
        ck_assert_int_eq(dfo_flow_rex_decode(m.rex, 0, dfo_batch_of(z, N, D), NULL, dfo_batch_of(aux, N, D)), DFO_OK);
        how.start_noise = 0;
        ck_assert_int_eq(dfo_flow_rex_new(m.ctx, m.flow, &how, &wrong), DFO_OK);
        ck_assert_int_eq(dfo_flow_rex_decode(wrong, 0, dfo_batch_of(other, N, D), NULL, dfo_batch_of(second, N, D)), DFO_OK);
        dfo_flow_rex_free(wrong);
        size_t at;
        const dfoi_diffusion *d = dfoi_cnf_diffusion(dfoi_chain_layer(dfo_flow_bijector(m.flow), 1, &at));
        double sigma = dfo_noise_schedule_at(&d->schedule, d->first).sigma, most = 0, left = 0;
        for (size_t i = 0; i < N * D; i++) {
            most = fmax(most, fabs((double)z[i] - (double)x[i]));
            left += pow(((double)other[i] - (double)x[i]) / sigma, 2) / (N * D);
        }
        ck_assert_msg(most < (IS_DOUBLE ? 1e-12 : 1e-5) * dfo_flow_rex_growth(m.rex), "%s: off by %g", schedule[k], most);
        ck_assert_msg(fabs(left - 1) < 0.5, "%s: %g of the noise's variance left", schedule[k], left);
        done(&m);
    }
}
END_TEST

/* The variance of draws where the net finds x_0 = alpha x/n^2: linear samplers' steps are x = f x + s z, and v becomes f^2 v + s^2, from
 * n^2 at the first level to what x_0 has at the last.  Negative: of no such sampler.  */
static double variance_of(const struct model *m, const dfo_denoiser_kind *kind, const dfo_denoiser_options *o, size_t steps)
{
    size_t at;
    const dfoi_diffusion *d = dfoi_cnf_diffusion(dfoi_chain_layer(dfo_flow_bijector(m->flow), 1, &at));
    const dfo_noise_schedule *of = &d->schedule;
    int langevin = !strcmp(kind->name, "langevin"), em = !strcmp(kind->name, "euler-maruyama"), both = !strcmp(kind->name, "predictor-corrector"),
        implicit = !strcmp(kind->name, "ddim"), ancestral = !strcmp(kind->name, "ancestral");
    double t[400], v = 0;
    if (!langevin && !em && !both && !implicit && !ancestral)
        return -1;
    dfo_time_grid grid = {.kind = of->kind == DFO_NOISE_EDM && !langevin ? "edm" : kind->grid, .from = d->noisy, .to = d->first};
    ck_assert_int_eq(dfo_noise_schedule_grid(m->ctx, of, &grid, steps - 1, t), DFO_OK);
    for (size_t i = 0; i < steps; i++) {
        dfo_noise_point p = dfo_noise_schedule_at(of, t[i]), q = dfo_noise_schedule_at(of, t[i + 1 < steps ? i + 1 : i]);
        double n2 = p.alpha * p.alpha + p.sigma * p.sigma, noise = p.sigma * p.sigma / n2;     /* x - alpha x_0 = noise x */
        v = i ? v : n2;
        for (size_t k = 0; (langevin || both) && k < o->corrections; k++) {
            double f = 1 - 2 * o->snr * o->snr * noise;
            v = f * f * v + 4 * o->snr * o->snr * p.sigma * p.sigma;
        }
        if (i + 1 == steps)
            return v * p.alpha * p.alpha / (n2 * n2);
        double h = q.t - p.t, f, s2 = 0;
        if (langevin) {
            f = q.alpha / p.alpha;
        } else if (em || both) {
            f = 1 + h * p.drift + h * p.g2 / (p.sigma * p.sigma) * noise;
            s2 = fabs(h * p.g2);
        } else {
            double chi = p.alpha * q.sigma / (q.alpha * p.sigma), u = 1 - chi * chi, c = q.sigma / p.sigma * (ancestral ? chi : 1);
            f = c * noise + q.alpha * p.alpha / n2;
            s2 = ancestral ? q.sigma * q.sigma * u : 0;
        }
        v = f * f * v + s2;
    }
    return v;
}

/* A net of edm that says 0 is right for normal data: draws of any sampler are normal, whatever the schedule; their variance is known, or 1 up to a
 * small bias of the steps.  */
START_TEST(draws_normal)
{
    enum { ROWS = 400, STEPS = 50 };
    for (size_t i = 0; dfo_denoiser_kind_at(i); i++)
        for (size_t k = i % 2; k < 4; k += 2) {
            struct model m = model_of(schedule[k], "edm", 1);
            const dfo_denoiser_kind *kind = dfo_denoiser_kind_at(i);
            dfo_denoiser_options o;
            dfo_flow_denoiser *r;
            dfo_real x[ROWS * D];
            double sum = 0, squares = 0, count = ROWS * D;
            dfo_denoiser_defaults(&o);
            o.sampler = kind->name;
            o.seed = test_seed();
            int langevin = !strcmp(kind->name, "langevin");
            o.snr = 0.25;
            o.corrections = langevin ? 20 : 2;
            o.churn = 10;
            double want = variance_of(&m, kind, &o, STEPS), bias = want > 0 ? 1e-4 : 0.05;
            want = want > 0 ? want : 1;
            ck_assert_msg(dfo_flow_denoiser_new(m.ctx, m.flow, &o, NULL, STEPS, &r) == DFO_OK, "%s", dfo_ctx_error(m.ctx));
            ck_assert(dfo_flow_denoiser_nfe(r) < 1);
            ck_assert_msg(dfo_flow_denoiser_draw(r, 0, dfo_batch_of(x, ROWS, D), NULL) == DFO_OK, "%s", dfo_ctx_error(m.ctx));
            ck_assert(dfo_flow_denoiser_nfe(r) >= STEPS);
            for (size_t j = 0; j < ROWS * D; j++) {
                sum += (double)x[j];
                squares += (double)x[j] * (double)x[j];
            }
            ck_assert_msg(fabs(sum / count) < 4.5 * sqrt(want / count), "%s, %s: mean %g", kind->name, schedule[k], sum / count);
            ck_assert_msg(fabs(squares / count - want) < 4.5 * want * sqrt(2 / count) + bias, "%s, %s: variance %g, expected %g", kind->name, schedule[k],
                          squares / count, want);
            dfo_flow_denoiser_free(r);
            done(&m);
        }
}
END_TEST

/* Every schedule and prediction; rows in one call or in two, of a block and of the rest.  */
START_TEST(draws)
{
    for (size_t k = 0; k < 16; k++) {
        struct model m = model_of(schedule[k % 4], prediction[k / 4], 0);
        size_t first = dfo_flow_block(m.flow);
        for (size_t i = k % 2; dfo_denoiser_kind_at(i); i += 2) {
            dfo_denoiser_options o;
            dfo_flow_denoiser *r;
            dfo_real x[N * D], other[N * D];
            dfo_denoiser_defaults(&o);
            o.sampler = dfo_denoiser_kind_at(i)->name;
            o.eta = 0.5;
            o.sde = k < 4;
            o.churn = 10;
            ck_assert_msg(dfo_flow_denoiser_new(m.ctx, m.flow, &o, k / 4 % 2 ? "log-snr" : NULL, 6, &r) == DFO_OK, "%s", dfo_ctx_error(m.ctx));
            ck_assert_msg(dfo_flow_denoiser_draw(r, 0, dfo_batch_of(x, N, D), NULL) == DFO_OK, "%s", dfo_ctx_error(m.ctx));
            ck_assert_int_eq(dfo_flow_denoiser_draw(r, 0, dfo_batch_of(other, first, D), NULL), DFO_OK);
            ck_assert_int_eq(dfo_flow_denoiser_draw(r, first, dfo_batch_of(other + first * D, N - first, D), NULL), DFO_OK);
            ck_assert_msg(!memcmp(x, other, sizeof x), "%s, %s, %s", o.sampler, schedule[k % 4], prediction[k / 4]);
            dfo_flow_denoiser_free(r);
        }
        done(&m);
    }
}
END_TEST

/* A net that finds noise at random takes the states of an SDE out of any range: the message says what to do.  */
START_TEST(parting)
{
    struct model m = model_of("vp", "noise", 0);
    dfo_real x[N * D];
    static int64_t y[2 * N * D];
    ready(&m, &(dfo_flow_rex_options){.steps = 20, .zeta = 1, .exact = 1, .sde = 1, .seed = 5});
    fill(x);
    for (size_t i = 0; i < N * D; i++)
        x[i] *= 1000;
    ck_assert_int_eq(dfo_flow_rex_encode_exact(m.rex, 0, dfo_batch_of(x, N, D), NULL, y, y + N * D), DFO_ENUM);
    ck_assert_msg(strstr(dfo_ctx_error(m.ctx), "two states part") && strstr(dfo_ctx_error(m.ctx), "or the ODE keep them: rex, row") &&
                      strstr(dfo_ctx_error(m.ctx), "leaves the range"), "%s", dfo_ctx_error(m.ctx));
    done(&m);
}
END_TEST

START_TEST(refused)
{
    struct model m = model_of("vp", "noise", 0);
    dfo_flow_denoiser *denoiser;
    dfo_denoiser_options o;
    dfo_denoiser_defaults(&o);
    ck_assert_int_eq(dfo_flow_denoiser_new(m.ctx, m.flow, &o, NULL, 0, &denoiser), DFO_EARG);
    ck_assert_msg(!denoiser && strstr(dfo_ctx_error(m.ctx), "steps, got 0"), "%s", dfo_ctx_error(m.ctx));
    ck_assert_int_eq(dfo_flow_denoiser_new(m.ctx, m.flow, &o, "cubic", 5, &denoiser), DFO_EARG);
    ck_assert_msg(!denoiser && strstr(dfo_ctx_error(m.ctx), "'cubic'"), "%s", dfo_ctx_error(m.ctx));
    static const struct { dfo_flow_rex_options how; const char *says; } bad[] = {
        {{.zeta = 0.9}, "steps, got 0"},
        {{.steps = 5}, "zeta 0"},
        {{.steps = 5, .zeta = 1.5}, "zeta 1.5"},
        {{.steps = 5, .zeta = 0.9, .exact = 1}, "a zeta of 1, got 0.9"},
        {{.steps = 5, .zeta = 1, .start_time = 0.5}, "rows without noise start at 0.001, the data's time, got 0.5"},
        {{.steps = 5, .zeta = 1, .start_time = 5e-4, .start_noise = 1}, "expected a start from 0.001, the data's time, to below 1, got 0.0005"},
        {{.steps = 5, .zeta = 1, .start_time = 1, .start_noise = 1}, "to below 1, got 1"},
        {{.steps = 5, .zeta = 1, .start_time = NAN, .start_noise = 1}, "to below 1, got"},
        {{.steps = 5, .zeta = 1, .method = "kvaerno3"}, "implicit"},
        {{.steps = 5, .zeta = 1, .method = "heun", .sde = 1}, "known: euler-maruyama, shark"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ck_assert_int_eq(dfo_flow_rex_new(m.ctx, m.flow, &bad[i].how, &m.rex), DFO_EARG);
        ck_assert_msg(!m.rex && strstr(dfo_ctx_error(m.ctx), bad[i].says), "%s", dfo_ctx_error(m.ctx));
    }
    dfo_real x[2 * D] = {0}, aux[2 * D] = {0};
    int64_t y[4 * D];
    ready(&m, &(dfo_flow_rex_options){.steps = 5, .zeta = 1});
    ck_assert_int_eq(dfo_flow_rex_encode(m.rex, 0, dfo_batch_of(x, 2, D - 1), NULL, dfo_batch_of(aux, 2, D - 1)), DFO_ESHAPE);
    ck_assert_int_eq(dfo_flow_rex_encode(m.rex, 0, dfo_batch_of(x, 2, D), NULL, dfo_batch_of(aux, 1, D)), DFO_ESHAPE);
    ck_assert_int_eq(dfo_flow_rex_encode_exact(m.rex, 0, dfo_batch_of(x, 2, D), NULL, y, y + 2 * D), DFO_EARG);
    x[D] = NAN;
    ck_assert_int_eq(dfo_flow_rex_encode(m.rex, 0, dfo_batch_of(x, 2, D), NULL, dfo_batch_of(aux, 2, D)), DFO_ENUM);
    ck_assert_msg(strstr(dfo_ctx_error(m.ctx), "row 1") != NULL, "%s", dfo_ctx_error(m.ctx));
    done(&m);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("flows through Rex and samplers " DFO_REAL_NAME);
    TCase *t = tcase_create("rex map");
    tcase_add_test(t, closed_form);
    tcase_add_loop_test(t, there_and_back, 0, 2);
    tcase_add_loop_test(t, to_the_bit, 0, 4);
    tcase_add_test(t, noise_is_the_law);
    tcase_add_test(t, noise_comes_off);
    tcase_add_test(t, parting);
    tcase_add_test(t, draws_normal);
    tcase_add_test(t, draws);
    tcase_add_test(t, refused);
    suite_add_tcase(suite, t);
    return test_run(suite);
}

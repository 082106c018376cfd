/* The exponential of a convolution, zero outside the picture, y = exp(K*) x = sum over n of K*^n x / n!, whose inverse is
 * exp(-K*) and whose log-det is H W times the trace of K's middle tap (Hoogeboom et al. 2020, section 3).
 *
 * With weights w, row o of K is w_o min(1, bound / sum |w_o|): rows of the convolution's matrix have sums of at most r <=
 * bound, so that those of exp(K*) and of its inverse are at most e^r, and what is left out behind term N is at most
 * e^r r^(N+1)/(N+1)! of it; N makes that a quarter of the precision.  By Horner's rule, with s = 1 for exp(K*), -1 for its
 * inverse,
 *
 *     v_N = s x/N,  v_n = s (x + K v_(n+1)) / n,  y = x + K v_1,
 *
 * and back from g = dL/dy:  b_0 = g, b_n = s K^T b_(n-1) / n, dL/dx = sum b_n, dL/dK = sum over n of b_(n-1) v_n^T.  */
#include <math.h>
#include <string.h>

#include "layers.h"
#include "math/kern_impl.h"
#include "nn/conv_impl.h"

struct conv_exp {
    dfoi_conv conv;                    /* its weights are K, in derived data: offset 0 */
    size_t    kernel;                  /* w, in the store: (out, k, k, in) */
    double    bound;
    size_t    most;                    /* terms at the bound */
};

static const struct conv_exp *state(const dfo_bijector *bij)
{
    return bij->state;
}

static size_t wide(const dfo_bijector *bij)
{
    return state(bij)->conv.kernel * state(bij)->conv.kernel * bij->shape.c;
}

static size_t middle(const dfo_bijector *bij, size_t o)
{
    return o * wide(bij) + wide(bij) / 2 / bij->shape.c * bij->shape.c + o;
}

/* N for rows of sum r.  */
static size_t terms(double r)
{
    double left = r * exp(r);
    size_t n = 1;
    while (n < 64 && (left *= r / (double)(n + 1)) > (double)DFO_REAL_EPS / 4)
        n++;
    return n;
}

/* Derived data: K, then the log-det, N, r and the rows' factors.  */
struct place {
    double *logdet, *terms, *sum, *scale;
};

static struct place place_of(const dfo_bijector *bij, const dfo_real *derived)
{
    double *at = (double *)(void *)((dfo_real *)derived + dfo_arena_size(bij->shape.c * wide(bij)));
    return (struct place){at, at + 1, at + 2, at + 3};
}

static size_t derived(const dfo_bijector *bij)
{
    return dfo_arena_size(bij->shape.c * wide(bij)) + dfoi_doubles_size(3 + bij->shape.c);
}

/* The gradient with respect to K, then the sum of the log-det's.  */
static size_t gderived(const dfo_bijector *bij)
{
    return bij->shape.c * wide(bij) + 1;
}

static double row_sum(size_t n, const dfo_real *w)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += fabs((double)w[i]);
    return sum;
}

static dfo_status prepare(const dfo_bijector *bij, dfo_run *run, dfo_real *to)
{
    const struct conv_exp *s = state(bij);
    const dfo_real *w = dfo_run_weights(run, s->kernel);
    struct place p = place_of(bij, to);
    size_t n = wide(bij);
    *p.logdet = *p.sum = 0;
    for (size_t o = 0; o < bij->shape.c; o++) {
        double sum = row_sum(n, w + o * n);
        if (!isfinite(sum))
            return dfo_run_fail(run, DFO_ENUM, (size_t)-1, "conv-exp: the kernel of channel %zu is not finite", o);
        p.scale[o] = sum > s->bound ? s->bound / sum : 1;
        for (size_t i = 0; i < n; i++)
            to[o * n + i] = (dfo_real)(p.scale[o] * (double)w[o * n + i]);
        *p.sum = fmax(*p.sum, p.scale[o] * sum);
        *p.logdet += (double)(bij->shape.h * bij->shape.w) * (double)to[middle(bij, o)];
    }
    size_t count = terms(*p.sum);
    *p.terms = (double)(count < s->most ? count : s->most);
    return DFO_OK;
}

/* From K to w: where a row is scaled, K does not change along it.  */
static dfo_status pullback(const dfo_bijector *bij, dfo_run *run, const dfo_real *from, const dfo_real *gfrom)
{
    const struct conv_exp *s = state(bij);
    const dfo_real *w = dfo_run_weights(run, s->kernel);
    dfo_real *g = dfo_run_grads(run, s->kernel);
    size_t n = wide(bij);
    double glogdet = (double)(bij->shape.h * bij->shape.w) * (double)gfrom[bij->shape.c * n];
    for (size_t o = 0; g && o < bij->shape.c; o++) {
        double scale = place_of(bij, from).scale[o], dot = 0;
        size_t centre = middle(bij, o);
        for (size_t i = o * n; scale < 1 && i < (o + 1) * n; i++)
            dot += ((double)gfrom[i] + (i == centre ? glogdet : 0)) * (double)w[i];
        double across = scale < 1 ? scale * scale * dot / s->bound : 0;
        for (size_t i = o * n; i < (o + 1) * n; i++)
            g[i] += (dfo_real)(scale * ((double)gfrom[i] + (i == centre ? glogdet : 0)) - across * ((w[i] > 0) - (w[i] < 0)));
    }
    return DFO_OK;
}

/* Bounds, in sums of rows.  */
static dfo_status conditioning(const dfo_bijector *bij, dfo_run *run, dfo_conditioning *out)
{
    double r = *place_of(bij, run->derived).sum;
    *out = (dfo_conditioning){exp(-r), exp(r)};
    return DFO_OK;
}

/* ---- a block of images */

struct work {
    dfo_run        run;                /* whose weights are K, and gradients those of K */
    dfoi_conv_room room;
    size_t         size;               /* of a map */
    size_t         count;              /* N */
    dfo_real      *x, *b, *sum;        /* maps */
    dfo_real      *v;                  /* v_1 .. v_N; without gradients two maps are used in turn */
    size_t         places;
};

static size_t block(const dfo_bijector *bij, size_t rows)
{
    size_t most = dfoi_conv_block(bij->shape.h, bij->shape.w);
    return rows < most ? rows : most;
}

static size_t map_size(const dfo_bijector *bij, size_t images)
{
    return dfoi_panels(images, bij->shape.h, bij->shape.w) * bij->shape.c * DFO_PANEL;
}

static size_t scratch(const dfo_bijector *bij, size_t rows)
{
    const struct conv_exp *s = state(bij);
    size_t n = block(bij, rows), size = map_size(bij, n);
    return dfo_arena_size(dfoi_conv_columns(&s->conv, n)) + dfo_arena_size(dfoi_conv_scratch(&s->conv)) +
           3 * dfo_arena_size(size) + dfo_arena_size(s->most * size);
}

static void take(const dfo_bijector *bij, dfo_run *run, size_t rows, int gradients, struct work *w)
{
    const struct conv_exp *s = state(bij);
    size_t n = block(bij, rows);
    w->size = map_size(bij, n);
    w->count = (size_t)*place_of(bij, run->derived).terms;
    w->places = gradients ? w->count : 1;
    w->room.columns = dfo_arena_take(run, dfoi_conv_columns(&s->conv, n));
    w->room.scratch = dfo_arena_take(run, dfoi_conv_scratch(&s->conv));
    w->x = dfo_arena_take(run, w->size);
    w->b = dfo_arena_take(run, w->size);
    w->sum = dfo_arena_take(run, w->size);
    w->v = dfo_arena_take(run, w->places * w->size);
    w->run = *run;
    w->run.weights = run->derived;
    w->run.grads = run->grads ? run->gderived : NULL;
}

static dfo_real *v_at(const struct work *w, size_t n)
{
    return w->v + (n - 1) % w->places * w->size;
}

static void scale(size_t n, double by, const dfo_real *x, dfo_real *y)
{
    dfo_real factor = (dfo_real)by;
    for (size_t i = 0; i < n; i++)
        y[i] = factor * x[i];
}

/* exp(sign K*) of the map x, to `to`, by way of v.  */
static void exponential(const dfo_bijector *bij, const struct work *w, size_t images, int sign, const dfo_real *x, dfo_real *to)
{
    size_t c = bij->shape.c, n = map_size(bij, images);
    const dfo_real *u = x;
    for (size_t i = w->count; i > 0; i--) {
        scale(n, (double)sign / (double)i, u, v_at(w, i));
        dfoi_conv_forward(&state(bij)->conv, &w->run, images, dfoi_map_of(v_at(w, i), c), DFOI_ACT_NONE,
                          dfoi_map_of((dfo_real *)x, c), &w->room, dfoi_map_of(to, c));
        u = to;
    }
}

/* From g at b to the gradient at sum; v holds what `exponential` of the input left there.  */
static void adjoint(const dfo_bijector *bij, const struct work *w, size_t images, int sign)
{
    size_t c = bij->shape.c, n = map_size(bij, images);
    const dfoi_map none = {NULL, 0};
    memcpy(w->sum, w->b, n * sizeof *w->b);
    for (size_t i = 1; i <= w->count; i++) {
        dfoi_map b = dfoi_map_of(w->b, c);
        dfoi_conv_backward(&state(bij)->conv, &w->run, images, b, dfoi_map_of(v_at(w, i), c), 0, none, none, &w->room,
                           dfoi_map_of(w->x, c));
        scale(n, (double)sign / (double)i, w->x, w->b);
        dfoi_add(n, w->b, w->sum);
    }
}

static void load(const dfo_bijector *bij, dfoi_images images, dfo_batch rows, dfo_real *map)
{
    dfo_shape s = bij->shape;
    dfoi_map_from_rows(images, s.c, s.h, s.w, rows.x, rows.ld, 0, dfoi_map_of(map, s.c));
}

static void store(const dfo_bijector *bij, dfoi_images images, dfo_real *map, dfo_batch rows)
{
    dfo_shape s = bij->shape;
    dfoi_map_to_rows(images, s.c, s.h, s.w, dfoi_map_of(map, s.c), 0, 0, rows.x, rows.ld);
}

static void apply(const dfo_bijector *bij, dfo_run *run, dfo_batch x, int sign, double *logdet)
{
    struct work w;
    take(bij, run, x.n, 0, &w);
    for (size_t first = 0, n; first < x.n; first += n) {
        n = block(bij, x.n - first);
        load(bij, (dfoi_images){first, n}, x, w.x);
        exponential(bij, &w, n, sign, w.x, w.sum);
        store(bij, (dfoi_images){first, n}, w.sum, x);
    }
    for (size_t i = 0; logdet && i < x.n; i++)
        logdet[i] += sign * *place_of(bij, run->derived).logdet;
}

/* Back through exp(sign K*), whose output y is.  */
static void pull(const dfo_bijector *bij, dfo_run *run, dfo_batch y, dfo_batch gy, int sign, const double *glogdet)
{
    struct work w;
    take(bij, run, y.n, 1, &w);
    for (size_t first = 0, n; first < y.n; first += n) {
        n = block(bij, y.n - first);
        dfoi_images images = {first, n};
        load(bij, images, y, w.sum);
        exponential(bij, &w, n, -sign, w.sum, w.x);
        store(bij, images, w.x, y);
        exponential(bij, &w, n, sign, w.x, w.sum);
        load(bij, images, gy, w.b);
        adjoint(bij, &w, n, sign);
        store(bij, images, w.sum, gy);
    }
    for (size_t i = 0; run->grads && i < y.n; i++)
        run->gderived[bij->shape.c * wide(bij)] += (dfo_real)(sign * glogdet[i]);
}

static dfo_status forward(const dfo_bijector *bij, dfo_run *run, dfo_batch x, const dfo_cond *cond, double *logdet)
{
    (void)cond;
    apply(bij, run, x, 1, logdet);
    return DFO_OK;
}

static dfo_status inverse(const dfo_bijector *bij, dfo_run *run, dfo_batch z, const dfo_cond *cond, double *logdet)
{
    (void)cond;
    apply(bij, run, z, -1, logdet);
    return DFO_OK;
}

static dfo_status backward(const dfo_bijector *bij, dfo_run *run, dfo_batch z, dfo_batch gz, const dfo_cond *cond,
                           dfo_cond *gcond, const double *glogdet)
{
    (void)cond;
    (void)gcond;
    pull(bij, run, z, gz, 1, glogdet);
    return DFO_OK;
}

static dfo_status inverse_backward(const dfo_bijector *bij, dfo_run *run, dfo_batch x, dfo_batch gx, const dfo_cond *cond,
                                   dfo_cond *gcond, const double *glogdet)
{
    (void)cond;
    (void)gcond;
    pull(bij, run, x, gx, -1, glogdet);
    return DFO_OK;
}

static dfo_status describe(const dfo_bijector *bij, json_t *to)
{
    DFO_TRY(dfoi_json_set(bij->ctx, to, "kernel", json_integer((json_int_t)state(bij)->conv.kernel)));
    return dfoi_json_set(bij->ctx, to, "bound", json_real(state(bij)->bound));
}

dfo_status dfoi_conv_exp_create(dfo_build *build, json_t *config, dfo_bijector *bij)
{
    static const char *const keys[] = {"type", "kernel", "bound", NULL};
    dfo_ctx *ctx = build->ctx;
    struct conv_exp *s;
    DFO_TRY(dfoi_json_keys(ctx, config, keys));
    DFO_TRY(dfoi_alloc(ctx, 1, sizeof *s, &s));
    bij->state = s;
    s->conv = (dfoi_conv){.in = build->shape.c, .out = build->shape.c, .stride = 1, .in_h = build->shape.h,
                          .in_w = build->shape.w};
    DFO_TRY(dfoi_json_size(ctx, config, "kernel", 3, 1, DFOI_CONV_KERNEL, &s->conv.kernel));
    DFO_TRY(dfoi_json_real(ctx, config, "bound", 2, 1e-3, 8, &s->bound));
    if (s->conv.kernel % 2 == 0)
        return dfoi_fail(ctx, DFO_EARG, "kernel: expected an odd number, got %zu", s->conv.kernel);
    s->most = terms(s->bound);
    DFO_TRY(dfoi_conv_new(build, "kernel", NULL, 0, &s->conv));
    s->kernel = s->conv.w;
    s->conv.w = 0;
    dfo_build_normal(build, s->kernel, bij->shape.c * wide(bij), 0.1 / sqrt((double)wide(bij)));
    return DFO_OK;
}

const struct dfo_bijector_ops dfoi_conv_exp_ops = {
    .type = "conv-exp",
    .caps = DFO_CLOSED_INVERSE,
    .scratch = scratch,
    .derived = derived,
    .gderived = gderived,
    .prepare = prepare,
    .forward = forward,
    .inverse = inverse,
    .backward = backward,
    .inverse_backward = inverse_backward,
    .pullback = pullback,
    .conditioning = conditioning,
    .describe = describe,
};

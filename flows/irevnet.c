/* The block of i-RevNet (Jacobsen et al. 2018, "i-RevNet: deep invertible networks"): with the halves x1, x2 of an
 * image's channels
 *     z1 = S x2,   z2 = S x1 + F(x2);      back:  x2 = S^-1 z1,   x1 = S^-1 (z2 - F(x2)).
 * S is the identity, or space to depth by the stride s within each half: channel (i s + j) C + c, pixel (y, x) of S x
 * is channel c, pixel (s y + i, s x + j) of x.  F is a bottleneck, by default three 3x3 convolutions
 *     (norm, relu) conv of stride s -> norm, relu, conv -> norm, relu, conv
 * of C s^2 / bottleneck hidden channels (kernel 1: 1x1); the first norm and relu are left out with "leading": false.
 * The log-det is 0.
 * Zero-padding of channels, which the paper's injective form has, leaves no density: it is refused.  */
#include <string.h>

#include "layers.h"
#include <diffeo/net.h>

#define PIECE ((size_t)64)

struct irevnet {
    size_t    half;                    /* features of a half */
    size_t    c, h, w, stride;         /* of a half before S */
    int       zero_init;
    dfo_net  *net;
};

/* Rows go through in pieces, so that activations of a large batch need no more memory than a piece's; all at once if
 * the net takes statistics of them.  */
static size_t piece_of(const struct irevnet *b, size_t rows)
{
    return rows < PIECE || dfo_net_statistics(b->net) ? rows : PIECE;
}

static size_t scratch(const dfo_bijector *bij, size_t rows)
{
    const struct irevnet *b = bij->state;
    size_t n = piece_of(b, rows);
    return dfo_net_scratch(b->net, n) + dfo_arena_size(dfo_net_acts(b->net, n)) + 2 * dfo_arena_size(n * b->half) +
           2 * dfo_arena_size(b->half);
}

static size_t acts_size(const struct irevnet *b, size_t rows)
{
    return dfo_arena_size(dfo_net_acts(b->net, rows));
}

/* What a piece keeps in memory mode store: the net's activations, F(x2).  */
static size_t kept_size(const struct irevnet *b, size_t rows)
{
    return rows ? acts_size(b, rows) + dfo_arena_size(rows * b->half) : 0;
}

static size_t saved(const dfo_bijector *bij, size_t rows, const dfo_run *how)
{
    const struct irevnet *b = bij->state;
    size_t n = piece_of(b, rows);
    return n && how->memory == DFO_MEMORY_STORE ? rows / n * kept_size(b, n) + kept_size(b, rows % n) : 0;
}

/* Statistics of batch normalisation, which shards add up.  */
static size_t gderived(const dfo_bijector *bij)
{
    const struct irevnet *b = bij->state;
    return dfo_net_statistics(b->net);
}

static dfo_status update(const dfo_bijector *bij, dfo_run *run)
{
    const struct irevnet *b = bij->state;
    return dfo_net_update(b->net, run);
}

/* S of one half.  */
static void squeeze(const struct irevnet *b, const dfo_real *from, dfo_real *to)
{
    size_t s = b->stride, h = b->h / s, w = b->w / s;
    for (size_t ij = 0; ij < s * s; ij++)
        for (size_t c = 0; c < b->c; c++)
            for (size_t y = 0; y < h; y++) {
                const dfo_real *row = from + (c * b->h + s * y + ij / s) * b->w + ij % s;
                for (size_t x = 0; x < w; x++)
                    *to++ = row[s * x];
            }
}

static void unsqueeze(const struct irevnet *b, const dfo_real *from, dfo_real *to)
{
    size_t s = b->stride, h = b->h / s, w = b->w / s;
    for (size_t ij = 0; ij < s * s; ij++)
        for (size_t c = 0; c < b->c; c++)
            for (size_t y = 0; y < h; y++) {
                dfo_real *row = to + (c * b->h + s * y + ij / s) * b->w + ij % s;
                for (size_t x = 0; x < w; x++)
                    row[s * x] = *from++;
            }
}

/* The net's input: the second half, then the condition.  */
static dfo_cond inputs(const struct irevnet *b, dfo_batch x, const dfo_cond *cond)
{
    dfo_cond in = {.n = 1};
    in.part[0].rows = dfo_batch_columns(x, b->half, b->half);
    in.part[0].shape = (dfo_shape){b->c, b->h, b->w};
    for (size_t p = 0; p < cond->n; p++)
        in.part[in.n++] = cond->part[p];
    return in;
}

static dfo_block block(dfo_real *x, size_t n, size_t d)
{
    return (dfo_block){.x = x, .n = n, .d = d, .ld = d, .layout = DFO_ROWS};
}

/* z of x, given f (n, half) = F(x2).  */
static void join(const struct irevnet *b, dfo_run *run, dfo_batch x, const dfo_real *f)
{
    dfo_real *x1 = dfo_arena_take(run, b->half), *x2 = dfo_arena_take(run, b->half);
    for (size_t i = 0; i < x.n; i++) {
        dfo_real *row = dfo_row(x, i);
        memcpy(x1, row, b->half * sizeof *x1);
        memcpy(x2, row + b->half, b->half * sizeof *x2);
        squeeze(b, x2, row);
        squeeze(b, x1, row + b->half);
        for (size_t k = 0; k < b->half; k++)
            row[b->half + k] += f[i * b->half + k];
    }
}

/* x2 in place of z2, which goes to kept (n, half); z1 stays.  */
static void split(const struct irevnet *b, dfo_batch z, dfo_real *kept)
{
    for (size_t i = 0; i < z.n; i++) {
        dfo_real *row = dfo_row(z, i);
        memcpy(kept + i * b->half, row + b->half, b->half * sizeof *kept);
        unsqueeze(b, row, row + b->half);
    }
}

/* x1 in place of z1, from z2 and f (n, half); z2 is overwritten.  */
static void subtract(const struct irevnet *b, dfo_batch z, dfo_real *z2, const dfo_real *f)
{
    for (size_t i = 0; i < z.n; i++) {
        dfo_real *rest = z2 + i * b->half;
        for (size_t k = 0; k < b->half; k++)
            rest[k] -= f[i * b->half + k];
        unsqueeze(b, rest, dfo_row(z, i));
    }
}

/* A pass over a piece: gx.x, gcond, kept are NULL where they are not wanted.  */
typedef dfo_status (*pass)(const struct irevnet *b, dfo_run *run, dfo_batch x, dfo_batch gx, const dfo_cond *cond,
                           const dfo_cond *gcond, dfo_real *kept);

static dfo_status in_pieces(const dfo_bijector *bij, dfo_run *run, dfo_batch x, dfo_batch gx, const dfo_cond *cond,
                            const dfo_cond *gcond, int inverse, pass one)
{
    const struct irevnet *b = bij->state;
    dfo_real *kept = run->memory == DFO_MEMORY_STORE && !inverse ? run->saved : NULL;
    uint64_t row = run->key.row;
    dfo_status status = DFO_OK;
    for (size_t first = 0, n; first < x.n && status == DFO_OK; first += n) {
        size_t mark = run->arena_used;
        n = piece_of(b, x.n - first);
        dfo_cond sub = dfo_cond_rows(cond, first, n), gsub = dfo_cond_rows(gcond, first, n);
        run->key.row = row + first;
        status = one(b, run, dfo_batch_rows(x, first, n), dfo_batch_rows(gx, first, n), &sub, gcond ? &gsub : NULL, kept);
        kept = kept ? kept + kept_size(b, n) : NULL;
        run->arena_used = mark;
    }
    run->key.row = row;
    return status;
}

static dfo_status piece_forward(const struct irevnet *b, dfo_run *run, dfo_batch x, dfo_batch gx, const dfo_cond *cond,
                                const dfo_cond *gcond, dfo_real *kept)
{
    dfo_real *f = kept ? kept + acts_size(b, x.n) : dfo_arena_take(run, x.n * b->half);
    dfo_cond in = inputs(b, x, cond);
    (void)gx;
    (void)gcond;
    DFO_TRY(dfo_net_forward(b->net, run, &in, block(f, x.n, b->half), kept));
    join(b, run, x, f);
    return DFO_OK;
}

static dfo_status piece_inverse(const struct irevnet *b, dfo_run *run, dfo_batch z, dfo_batch gz, const dfo_cond *cond,
                                const dfo_cond *gcond, dfo_real *kept)
{
    dfo_real *f = dfo_arena_take(run, z.n * b->half), *z2 = dfo_arena_take(run, z.n * b->half);
    dfo_cond in = inputs(b, z, cond);
    (void)gz;
    (void)gcond;
    (void)kept;
    split(b, z, z2);
    DFO_TRY(dfo_net_forward(b->net, run, &in, block(f, z.n, b->half), NULL));
    subtract(b, z, z2, f);
    return DFO_OK;
}

/* Where the net adds its inputs' gradients: the second half of gx, and the condition's.  */
static dfo_cond input_grads(const struct irevnet *b, dfo_batch gx, const dfo_cond *cond, const dfo_cond *gcond)
{
    dfo_cond g = {.n = 1};
    g.part[0].rows = dfo_batch_columns(gx, b->half, b->half);
    g.part[0].shape = (dfo_shape){b->c, b->h, b->w};
    for (size_t p = 0; p < cond->n; p++) {
        if (gcond && p < gcond->n)
            g.part[g.n] = gcond->part[p];
        g.n++;
    }
    return g;
}

static dfo_status piece_backward(const struct irevnet *b, dfo_run *run, dfo_batch z, dfo_batch gz, const dfo_cond *cond,
                                 const dfo_cond *gcond, dfo_real *kept)
{
    size_t n = z.n, half = b->half;
    dfo_real *acts = kept ? kept : dfo_arena_take(run, dfo_net_acts(b->net, n));
    dfo_real *f = kept ? kept + acts_size(b, n) : dfo_arena_take(run, n * half);
    dfo_real *other = dfo_arena_take(run, n * half), *first = dfo_arena_take(run, half);
    dfo_cond in = inputs(b, z, cond), gin = input_grads(b, gz, cond, gcond);
    split(b, z, other);
    if (!kept)
        DFO_TRY(dfo_net_forward(b->net, run, &in, block(f, n, half), acts));
    subtract(b, z, other, f);
    for (size_t i = 0; i < n; i++) {           /* other: the gradient of F(x2) */
        dfo_real *row = dfo_row(gz, i);
        memcpy(first, row, half * sizeof *first);
        memcpy(other + i * half, row + half, half * sizeof *other);
        unsqueeze(b, other + i * half, row);
        unsqueeze(b, first, row + half);
    }
    return dfo_net_backward(b->net, run, &in, block(other, n, half), &gin, acts);
}

/* With v = S g1: the gradient of F(x2) is -v; gz1 = S (g2 + vjp), gz2 = v.  */
static dfo_status piece_inverse_backward(const struct irevnet *b, dfo_run *run, dfo_batch x, dfo_batch gx,
                                         const dfo_cond *cond, const dfo_cond *gcond, dfo_real *kept)
{
    size_t n = x.n, half = b->half;
    dfo_real *acts = dfo_arena_take(run, dfo_net_acts(b->net, n)), *f = dfo_arena_take(run, n * half);
    dfo_real *gf = dfo_arena_take(run, n * half);
    dfo_cond in = inputs(b, x, cond), gin = input_grads(b, gx, cond, gcond);
    (void)kept;
    DFO_TRY(dfo_net_forward(b->net, run, &in, block(f, n, half), acts));
    for (size_t i = 0; i < n; i++) {
        squeeze(b, dfo_row(gx, i), gf + i * half);
        for (size_t k = 0; k < half; k++)
            gf[i * half + k] = -gf[i * half + k];
    }
    DFO_TRY(dfo_net_backward(b->net, run, &in, block(gf, n, half), &gin, acts));
    for (size_t i = 0; i < n; i++) {
        dfo_real *row = dfo_row(gx, i), *v = gf + i * half;
        squeeze(b, row, v);
        squeeze(b, row + half, row);
        memcpy(row + half, v, half * sizeof *v);
    }
    join(b, run, x, f);
    return DFO_OK;
}

static dfo_status forward(const dfo_bijector *bij, dfo_run *run, dfo_batch x, const dfo_cond *cond, double *logdet)
{
    (void)logdet;
    return in_pieces(bij, run, x, (dfo_batch){0}, cond, NULL, 0, piece_forward);
}

static dfo_status inverse(const dfo_bijector *bij, dfo_run *run, dfo_batch z, const dfo_cond *cond, double *logdet)
{
    (void)logdet;
    return in_pieces(bij, run, z, (dfo_batch){0}, cond, NULL, 1, piece_inverse);
}

static dfo_status backward(const dfo_bijector *bij, dfo_run *run, dfo_batch z, dfo_batch gz, const dfo_cond *cond,
                           dfo_cond *gcond, const double *glogdet)
{
    (void)glogdet;
    return in_pieces(bij, run, z, gz, cond, gcond, 0, piece_backward);
}

static dfo_status inverse_backward(const dfo_bijector *bij, dfo_run *run, dfo_batch x, dfo_batch gx,
                                   const dfo_cond *cond, dfo_cond *gcond, const double *glogdet)
{
    (void)glogdet;
    return in_pieces(bij, run, x, gx, cond, gcond, 1, piece_inverse_backward);
}

static dfo_status describe(const dfo_bijector *bij, json_t *to)
{
    const struct irevnet *b = bij->state;
    DFO_TRY(dfoi_json_set(bij->ctx, to, "stride", json_integer((json_int_t)b->stride)));
    DFO_TRY(dfoi_json_set(bij->ctx, to, "zero_init", json_boolean(b->zero_init)));
    json_t *net = json_object();
    DFO_TRY(dfoi_json_set(bij->ctx, to, "net", net));
    return dfo_net_describe(b->net, net);
}

static void irevnet_free(dfo_bijector *bij)
{
    struct irevnet *b = bij->state;
    if (!b)
        return;
    dfo_net_free(b->net);
    dfoi_free(bij->ctx, b);
}

static dfo_status set_shape(dfo_ctx *ctx, const json_t *config, dfo_bijector *bij, struct irevnet *b)
{
    size_t channels;
    DFO_TRY(dfoi_json_size(ctx, config, "stride", 1, 1, 64, &b->stride));
    if (bij->shape.c % 2)
        return dfoi_fail(ctx, DFO_ESHAPE, "an even number of channels is needed, got %zu", bij->shape.c);
    if (bij->shape.h % b->stride || bij->shape.w % b->stride)
        return dfoi_fail(ctx, DFO_ESHAPE, "images of %zux%zu cannot be divided by a stride of %zu", bij->shape.h,
                         bij->shape.w, b->stride);
    b->c = bij->shape.c / 2;
    b->h = bij->shape.h;
    b->w = bij->shape.w;
    b->half = bij->d / 2;
    bij->out = (dfo_shape){bij->shape.c * b->stride * b->stride, b->h / b->stride, b->w / b->stride};
    DFO_TRY(dfoi_json_size(ctx, config, "channels", bij->out.c / 2, 1, SIZE_MAX / 2, &channels));
    if (channels != bij->out.c / 2)
        return dfoi_fail(ctx, DFO_EARG, "channels: %zu in a half instead of %zu would need zeros for padding: such a map "
                         "is injective, not bijective, and has no density; leave channels out", channels,
                         bij->out.c / 2);
    return DFO_OK;
}

/* The bottleneck that the settings describe.  */
static dfo_status bottleneck(dfo_ctx *ctx, const json_t *config, const struct irevnet *b, size_t out, json_t **net)
{
    const char *activation, *norm;
    size_t ratio, hidden, kernel;
    int leading;
    DFO_TRY(dfoi_json_size(ctx, config, "bottleneck", 4, 1, 1024, &ratio));
    DFO_TRY(dfoi_json_size(ctx, config, "hidden", out > ratio ? out / ratio : 1, 1, 65536, &hidden));
    DFO_TRY(dfoi_json_size(ctx, config, "kernel", 3, 1, 15, &kernel));
    DFO_TRY(dfoi_json_bool(ctx, config, "leading", 1, &leading));
    DFO_TRY(dfoi_json_string(ctx, config, "activation", "relu", &activation));
    DFO_TRY(dfoi_json_string(ctx, config, "norm", "none", &norm));
    json_int_t k = (json_int_t)kernel, m = (json_int_t)hidden;
    *net = json_pack("{s:s, s:[{s:I, s:I, s:I, s:s, s:s}, {s:I, s:I, s:s, s:s}, {s:I, s:s, s:s}]}", "type", "conv", "layers",
                     "channels", m, "kernel", k, "stride", (json_int_t)b->stride, "activation",
                     leading ? activation : "none", "norm", leading ? norm : "none", "channels", m, "kernel", k,
                     "activation", activation, "norm", norm, "kernel", k, "activation", activation, "norm", norm);
    return *net ? DFO_OK : dfoi_fail(ctx, DFO_EMEM, "out of memory: net");
}

dfo_status dfoi_irevnet_create(dfo_build *build, json_t *config, dfo_bijector *bij)
{
    static const char *const keys[] = {"type", "stride", "channels", "bottleneck", "hidden", "kernel", "leading",
                                       "activation", "norm", "zero_init", NULL};
    static const char *const with_net[] = {"type", "stride", "channels", "net", "zero_init", NULL};
    dfo_ctx *ctx = build->ctx;
    struct irevnet *b;
    json_t *given = json_object_get(config, "net"), *own = NULL;
    DFO_TRY(dfoi_alloc(ctx, 1, sizeof *b, &b));
    bij->state = b;
    DFO_TRY(dfoi_json_keys(ctx, config, given ? with_net : keys));
    DFO_TRY(dfoi_json_bool(ctx, config, "zero_init", 1, &b->zero_init));
    DFO_TRY(set_shape(ctx, config, bij, b));
    if (!given)
        DFO_TRY(bottleneck(ctx, config, b, bij->out.c / 2, &own));
    dfo_shape in[DFO_COND_PARTS] = {{b->c, b->h, b->w}}, out = bij->out;
    size_t parts = 1;
    for (size_t p = 0; p < build->conds && parts < DFO_COND_PARTS; p++)
        in[parts++] = build->cond[p];
    out.c /= 2;
    char path[256];
    dfo_build inner;
    dfo_status status = build->conds < DFO_COND_PARTS ? DFO_OK : dfoi_fail(ctx, DFO_EARG, "more than %d conditions",
                                                                           DFO_COND_PARTS - 1);
    if (status == DFO_OK)
        status = dfo_build_child(build, "net", path, sizeof path, &inner);
    if (status == DFO_OK)
        status = dfo_net_new(&inner, given ? given : own, parts, in, out, b->zero_init, &b->net);
    json_decref(own);
    if (status == DFO_OK && b->net->ops->layout != DFO_ROWS)
        return dfoi_fail(ctx, DFO_EARG, "net: expected one of images (conv), got %s", b->net->ops->type);
    return status;
}

const struct dfo_bijector_ops dfoi_irevnet_ops = {
    .type = "irevnet",
    .caps = DFO_CLOSED_INVERSE | DFO_VOLUME_PRESERVING,
    .scratch = scratch,
    .saved = saved,
    .gderived = gderived,
    .update = update,
    .forward = forward,
    .inverse = inverse,
    .backward = backward,
    .inverse_backward = inverse_backward,
    .describe = describe,
    .free = irevnet_free,
};

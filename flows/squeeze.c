/* Space to depth: blocks of b x b pixels become channels, (c, h, w) -> (b b c, h/b, w/b).  Pixel (i, j) of the
 * blocks of channel k goes to channel
 *
 *     k b b + i b + j      order "channel-slow" (Glow; PyTorch's pixel_unshuffle)
 *     (i b + j) c + k      order "offset-slow"  (i-RevNet)
 *
 * squeeze moves the pixels; haar (b = 2) puts the orthonormal Haar wavelet transform of the block p q / r s in
 * their place: mean (p+q+r+s)/2, then the differences along the width (p-q+r-s)/2, the height (p+q-r-s)/2 and
 * both (p-q-r+s)/2, with the band in the part of the offset (its orders: "channel-slow", "band-slow").  Both
 * are orthogonal: log-det 0, and gradients go the way of the rows.  The four-point transform is its own
 * inverse.  Dinh et al. 2017, section 3.6; Ardizzone et al. 2019, section 3.  */
#include <string.h>

#include "layers.h"

struct squeeze {
    size_t block;
    int    channel_slow, haar;
};

static size_t scratch(const dfo_bijector *bij, size_t rows)
{
    (void)rows;
    return dfo_arena_size(bij->d);
}

/* Moves the pixels of one row; back: from blocks to places.  */
static void move(const dfo_bijector *bij, int back, const dfo_real *from, dfo_real *to)
{
    const struct squeeze *s = bij->state;
    size_t b = s->block, h = bij->out.h, w = bij->out.w, width = bij->shape.w;
    for (size_t k = 0; k < bij->shape.c; k++)
        for (size_t offset = 0; offset < b * b; offset++) {
            size_t channel = s->channel_slow ? k * b * b + offset : offset * bij->shape.c + k;
            size_t corner = (k * bij->shape.h + offset / b) * width + offset % b;
            for (size_t y = 0; y < h; y++) {
                size_t place = corner + y * b * width, block = (channel * h + y) * w;
                for (size_t x = 0; x < w; x++)
                    if (back)
                        to[place + x * b] = from[block + x];
                    else
                        to[block + x] = from[place + x * b];
            }
        }
}

/* The wavelet transform across the four channels of each of a row's channels, in place.  */
static void bands(const dfo_bijector *bij, dfo_real *row)
{
    const struct squeeze *s = bij->state;
    size_t plane = bij->out.h * bij->out.w, step = (s->channel_slow ? 1 : bij->shape.c) * plane;
    for (size_t k = 0; k < bij->shape.c; k++) {
        dfo_real *p = row + (s->channel_slow ? 4 * k : k) * plane, *q = p + step, *r = q + step, *t = r + step;
        for (size_t i = 0; i < plane; i++) {
            dfo_real sum = p[i] + q[i], difference = p[i] - q[i], below = r[i] + t[i], below_d = r[i] - t[i];
            p[i] = (dfo_real)0.5 * (sum + below);
            q[i] = (dfo_real)0.5 * (difference + below_d);
            r[i] = (dfo_real)0.5 * (sum - below);
            t[i] = (dfo_real)0.5 * (difference - below_d);
        }
    }
}

static void to_depth(const dfo_bijector *bij, dfo_batch x, dfo_real *copy)
{
    const struct squeeze *s = bij->state;
    for (size_t i = 0; i < x.n; i++) {
        memcpy(copy, dfo_row(x, i), bij->d * sizeof *copy);
        move(bij, 0, copy, dfo_row(x, i));
        if (s->haar)
            bands(bij, dfo_row(x, i));
    }
}

static void to_space(const dfo_bijector *bij, dfo_batch z, dfo_real *copy)
{
    const struct squeeze *s = bij->state;
    for (size_t i = 0; i < z.n; i++) {
        memcpy(copy, dfo_row(z, i), bij->d * sizeof *copy);
        if (s->haar)
            bands(bij, copy);
        move(bij, 1, copy, dfo_row(z, i));
    }
}

static dfo_status forward(const dfo_bijector *bij, dfo_run *run, dfo_batch x, const dfo_cond *cond,
                          double *logdet)
{
    (void)cond;
    (void)logdet;
    to_depth(bij, x, dfo_arena_take(run, bij->d));
    return DFO_OK;
}

static dfo_status inverse(const dfo_bijector *bij, dfo_run *run, dfo_batch z, const dfo_cond *cond,
                          double *logdet)
{
    (void)cond;
    (void)logdet;
    to_space(bij, z, dfo_arena_take(run, bij->d));
    return DFO_OK;
}

static dfo_status backward(const dfo_bijector *bij, dfo_run *run, dfo_batch z, dfo_batch gz,
                           const dfo_cond *cond, dfo_cond *gcond, const double *glogdet)
{
    dfo_real *copy = dfo_arena_take(run, bij->d);
    (void)cond;
    (void)gcond;
    (void)glogdet;
    to_space(bij, z, copy);
    to_space(bij, gz, copy);
    return DFO_OK;
}

static dfo_status inverse_backward(const dfo_bijector *bij, dfo_run *run, dfo_batch x, dfo_batch gx,
                                   const dfo_cond *cond, dfo_cond *gcond, const double *glogdet)
{
    dfo_real *copy = dfo_arena_take(run, bij->d);
    (void)cond;
    (void)gcond;
    (void)glogdet;
    to_depth(bij, x, copy);
    to_depth(bij, gx, copy);
    return DFO_OK;
}

static const char *other_order(const struct squeeze *s)
{
    return s->haar ? "band-slow" : "offset-slow";
}

static dfo_status describe(const dfo_bijector *bij, json_t *to)
{
    const struct squeeze *s = bij->state;
    if (!s->haar)
        DFO_TRY(dfoi_json_set(bij->ctx, to, "block", json_integer((json_int_t)s->block)));
    return dfoi_json_set(bij->ctx, to, "order", json_string(s->channel_slow ? "channel-slow" : other_order(s)));
}

dfo_status dfoi_squeeze_create(dfo_build *build, json_t *config, dfo_bijector *bij)
{
    static const char *const keys[] = {"type", "order", "block", NULL}, *const haar_keys[] = {"type", "order", NULL};
    dfo_ctx *ctx = build->ctx;
    struct squeeze *s;
    int other;
    DFO_TRY(dfoi_alloc(ctx, 1, sizeof *s, &s));
    bij->state = s;
    s->haar = bij->ops == &dfoi_haar_ops;
    DFO_TRY(dfoi_json_keys(ctx, config, s->haar ? haar_keys : keys));
    DFO_TRY(dfoi_json_size(ctx, config, "block", 2, 2, 1024, &s->block));
    DFO_TRY(dfoi_json_either(ctx, config, "order", "channel-slow", other_order(s), &other));
    s->channel_slow = !other;
    if (bij->shape.h % s->block || bij->shape.w % s->block)
        return dfoi_fail(ctx, DFO_ESHAPE, "block: %zux%zu pixels cannot be cut into blocks of %zux%zu", bij->shape.h,
                         bij->shape.w, s->block, s->block);
    bij->out = (dfo_shape){bij->shape.c * s->block * s->block, bij->shape.h / s->block, bij->shape.w / s->block};
    return DFO_OK;
}

#define SQUEEZE(name, its_type)                                 \
    const struct dfo_bijector_ops name = {                      \
        .type = its_type,                                       \
        .caps = DFO_CLOSED_INVERSE | DFO_VOLUME_PRESERVING,     \
        .scratch = scratch,                                     \
        .forward = forward,                                     \
        .inverse = inverse,                                     \
        .backward = backward,                                   \
        .inverse_backward = inverse_backward,                   \
        .describe = describe,                                   \
    }

SQUEEZE(dfoi_squeeze_ops, "squeeze");
SQUEEZE(dfoi_haar_ops, "haar");

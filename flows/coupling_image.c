/* Couplings of images with convolution nets (Dinh et al. 2017; Kingma and Dhariwal 2018).  With the mask
 * "channels" the net sees the channels that pass and gives parameters of the others, params channels for each,
 * which lie in a row as the transforms want them: by parameters, then pixels.  With "checkerboard" it sees the
 * whole image, zero at the pixels that are transformed, and only what it gives there is used: these pixels are
 * put side by side first.  A few images at a time go through, so that memory does not grow with the rows of a
 * call.  */
#include <string.h>

#include "coupling_impl.h"

static size_t plane(const dfo_bijector *bij)
{
    return bij->shape.h * bij->shape.w;
}

/* Images that go through together: about so many pixels.  */
#define PIXELS 2048

/* Rows that the net sees together: all, if it takes statistics of them.  */
static size_t group(const dfo_bijector *bij, size_t rows)
{
    const dfoi_coupling *c = bij->state;
    size_t most = plane(bij) < PIXELS ? PIXELS / plane(bij) : 1;
    return rows < most || dfo_net_statistics(c->net) ? rows : most;
}

/* What the net gives for one row.  */
static size_t outputs(const dfo_bijector *bij)
{
    const dfoi_coupling *c = bij->state;
    return c->params * c->mask.channels_b * plane(bij);
}

/* The image that the net sees in place of channels of the row; 0: it sees these, or nothing.  */
static size_t pass_size(const dfo_bijector *bij)
{
    const dfoi_coupling *c = bij->state;
    return c->mask.board ? bij->d : 0;
}

/* Chosen pixels of the transformed channels.  */
static size_t chosen(const dfoi_coupling *c)
{
    return c->mask.board ? c->mask.channels_b * c->mask.pixels : 0;
}

size_t dfoi_coupling_image_scratch(const dfo_bijector *bij, size_t rows)
{
    const dfoi_coupling *c = bij->state;
    rows = group(bij, rows);
    return 2 * dfo_arena_size(rows * outputs(bij)) + 2 * dfo_arena_size(rows * pass_size(bij)) +
           2 * dfo_arena_size(chosen(c)) + 2 * dfo_arena_size(c->params * chosen(c)) +
           2 * dfo_arena_size(c->mask.pixels) + dfo_arena_size(dfo_net_acts(c->net, rows)) +
           dfo_net_scratch(c->net, rows);
}

/* What a group of n rows keeps: the net's activations, its outputs.  */
static size_t kept_size(const dfo_bijector *bij, size_t n)
{
    const dfoi_coupling *c = bij->state;
    return dfo_arena_size(dfo_net_acts(c->net, n)) + dfo_arena_size(n * outputs(bij));
}

size_t dfoi_coupling_image_saved(const dfo_bijector *bij, size_t rows)
{
    size_t n = group(bij, rows);
    return n ? rows / n * kept_size(bij, n) + (rows % n ? kept_size(bij, rows % n) : 0) : 0;
}

struct work {
    dfo_real *par, *gpar;              /* (n, outputs) */
    dfo_real *pass, *gpass;            /* (n, d) with a checkerboard */
    dfo_real *x, *gx;                  /* (channels_b, pixels) with a checkerboard */
    dfo_real *some, *gsome;            /* (params channels_b, pixels) with a checkerboard */
    dfo_real *ld, *gld;                /* (pixels) */
    dfo_real *acts;
};

static struct work take(const dfo_bijector *bij, dfo_run *run, size_t rows)
{
    const dfoi_coupling *c = bij->state;
    struct work w;
    w.par = dfo_arena_take(run, rows * outputs(bij));
    w.gpar = dfo_arena_take(run, rows * outputs(bij));
    w.pass = dfo_arena_take(run, rows * pass_size(bij));
    w.gpass = dfo_arena_take(run, rows * pass_size(bij));
    w.x = dfo_arena_take(run, chosen(c));
    w.gx = dfo_arena_take(run, chosen(c));
    w.some = dfo_arena_take(run, c->params * chosen(c));
    w.gsome = dfo_arena_take(run, c->params * chosen(c));
    w.ld = dfo_arena_take(run, c->mask.pixels);
    w.gld = dfo_arena_take(run, c->mask.pixels);
    w.acts = dfo_arena_take(run, dfo_net_acts(c->net, rows));
    return w;
}

/* Of row y of a checkerboard the first column that is transformed; the others follow at distances of two.  */
static size_t begin(const dfoi_mask *m, size_t y)
{
    return (y + (size_t)m->swapped) % 2;
}

/* The transformed pixels of each of these channels side by side, and back to their places.  */
static void gather(const dfoi_mask *m, size_t channels, dfo_shape shape, const dfo_real *from, dfo_real *to)
{
    for (size_t row = 0; row < channels * shape.h; row++, from += shape.w)
        for (size_t x = begin(m, row % shape.h); x < shape.w; x += 2)
            *to++ = from[x];
}

static void scatter(const dfoi_mask *m, size_t channels, dfo_shape shape, const dfo_real *from, dfo_real *to)
{
    for (size_t row = 0; row < channels * shape.h; row++, to += shape.w)
        for (size_t x = begin(m, row % shape.h); x < shape.w; x += 2)
            to[x] = *from++;
}

static void blank(const dfoi_mask *m, dfo_shape shape, dfo_real *to)
{
    for (size_t row = 0; row < shape.c * shape.h; row++, to += shape.w)
        for (size_t x = begin(m, row % shape.h); x < shape.w; x += 2)
            to[x] = 0;
}

/* The net's inputs: what passes (if anything), then the condition.  */
static dfo_cond inputs(const dfo_bijector *bij, dfo_batch x, const dfo_cond *cond, dfo_real *pass)
{
    const dfoi_coupling *c = bij->state;
    const dfoi_mask *m = &c->mask;
    dfo_cond in = {0};
    if (m->board) {
        in.part[in.n].rows = dfo_batch_of(pass, x.n, bij->d);
        in.part[in.n++].shape = bij->shape;
        for (size_t i = 0; i < x.n; i++) {
            memcpy(pass + i * bij->d, dfo_row(x, i), bij->d * sizeof *pass);
            blank(m, bij->shape, pass + i * bij->d);
        }
    } else if (m->na) {
        in.part[in.n].rows = dfo_batch_columns(x, m->first_a, m->na);
        in.part[in.n++].shape = (dfo_shape){m->na / plane(bij), bij->shape.h, bij->shape.w};
    }
    dfoi_coupling_add_conds(cond, bij->conds, &in);
    return in;
}

/* Where their gradients are added.  */
static dfo_cond input_grads(const dfo_bijector *bij, dfo_batch gx, const dfo_cond *gcond, dfo_real *gpass)
{
    const dfoi_coupling *c = bij->state;
    const dfoi_mask *m = &c->mask;
    dfo_cond g = {0};
    if (m->board) {
        memset(gpass, 0, gx.n * bij->d * sizeof *gpass);
        g.part[g.n].rows = dfo_batch_of(gpass, gx.n, bij->d);
        g.part[g.n++].shape = bij->shape;
    } else if (m->na) {
        g.part[g.n].rows = dfo_batch_columns(gx, m->first_a, m->na);
        g.part[g.n++].shape = (dfo_shape){m->na / plane(bij), bij->shape.h, bij->shape.w};
    }
    dfoi_coupling_add_conds(gcond, bij->conds, &g);
    return g;
}

static dfo_block block(dfo_real *x, size_t n, size_t d)
{
    dfo_block b = {x, n, d, d, DFO_ROWS};
    return b;
}

/* One group of rows; kept: where the net's activations and outputs go, or NULL.  */
static dfo_status map(const dfo_bijector *bij, dfo_run *run, const struct work *w, dfo_batch x, const dfo_cond *cond,
                      double *logdet, int inverse, dfo_real *kept)
{
    const dfoi_coupling *c = bij->state;
    const dfoi_mask *m = &c->mask;
    dfo_real *par = kept ? kept + dfo_arena_size(dfo_net_acts(c->net, x.n)) : w->par;
    dfo_cond in = inputs(bij, x, cond, w->pass);
    DFO_TRY(dfo_net_forward(c->net, run, &in, block(par, x.n, outputs(bij)), kept));
    for (size_t i = 0; i < x.n; i++) {
        dfo_real *b = dfo_row(x, i) + m->first_b * plane(bij), *p = par + i * outputs(bij);
        memset(w->ld, 0, m->pixels * sizeof *w->ld);
        if (m->board) {
            gather(m, m->channels_b, bij->shape, b, w->x);
            gather(m, c->params * m->channels_b, bij->shape, p, w->some);
            dfoi_coupling_transform(c, inverse, m->channels_b, m->pixels, w->some, w->x, w->ld);
            scatter(m, m->channels_b, bij->shape, w->x, b);
        } else {
            dfoi_coupling_transform(c, inverse, m->channels_b, m->pixels, p, b, w->ld);
        }
        if (logdet)
            logdet[i] += dfoi_sum(m->pixels, w->ld);
    }
    return DFO_OK;
}

/* Where memory mode store keeps what the net made, or NULL.  */
static dfo_real *kept_by_forward(const dfo_bijector *bij, const dfo_run *run, size_t rows, int inverse)
{
    return run->saved && run->memory == DFO_MEMORY_STORE && !inverse ? run->saved + dfoi_input_size(bij, rows) : NULL;
}

dfo_status dfoi_coupling_image_map(const dfo_bijector *bij, dfo_run *run, dfo_batch x, const dfo_cond *cond,
                                   double *logdet, int inverse)
{
    struct work w = take(bij, run, group(bij, x.n));
    dfo_key key = run->key;
    dfo_real *kept = kept_by_forward(bij, run, x.n, inverse);
    dfo_status status = DFO_OK;
    for (size_t first = 0, n; first < x.n && status == DFO_OK; first += n) {
        n = group(bij, x.n - first);
        dfo_cond some = dfo_cond_rows(cond, first, n);
        run->key.row = key.row + first;
        status = map(bij, run, &w, dfo_batch_rows(x, first, n), &some, logdet ? logdet + first : NULL, inverse, kept);
        kept = kept ? kept + kept_size(bij, n) : NULL;
    }
    run->key = key;
    return status;
}

/* Row i back: what was transformed and its gradient in place, that of the net's outputs into gp.  */
static void row_back(const dfo_bijector *bij, const struct work *w, const dfo_real *p, dfo_real *gp, dfo_real *b,
                     dfo_real *gb, int inverse)
{
    const dfoi_coupling *c = bij->state;
    const dfoi_mask *m = &c->mask;
    if (!m->board) {
        dfoi_coupling_transform_back(c, inverse, m->channels_b, m->pixels, p, b, gb, w->gld, gp);
        return;
    }
    gather(m, m->channels_b, bij->shape, b, w->x);
    gather(m, m->channels_b, bij->shape, gb, w->gx);
    gather(m, c->params * m->channels_b, bij->shape, p, w->some);
    dfoi_coupling_transform_back(c, inverse, m->channels_b, m->pixels, w->some, w->x, w->gx, w->gld, w->gsome);
    scatter(m, m->channels_b, bij->shape, w->x, b);
    scatter(m, m->channels_b, bij->shape, w->gx, gb);
    memset(gp, 0, outputs(bij) * sizeof *gp);
    scatter(m, c->params * m->channels_b, bij->shape, w->gsome, gp);
}

/* One group of rows; kept: what forward kept of it, or NULL.  */
static dfo_status map_back(const dfo_bijector *bij, dfo_run *run, const struct work *w, dfo_batch x, dfo_batch gx,
                           const dfo_cond *cond, const dfo_cond *gcond, const double *glogdet, int inverse,
                           dfo_real *kept)
{
    const dfoi_coupling *c = bij->state;
    const dfoi_mask *m = &c->mask;
    dfo_real *acts = kept ? kept : w->acts;
    dfo_real *par = kept ? kept + dfo_arena_size(dfo_net_acts(c->net, x.n)) : w->par;
    dfo_cond in = inputs(bij, x, cond, w->pass), gin = input_grads(bij, gx, gcond, w->gpass);
    if (!kept)
        DFO_TRY(dfo_net_forward(c->net, run, &in, block(par, x.n, outputs(bij)), acts));
    for (size_t i = 0; i < x.n; i++) {
        size_t at = m->first_b * plane(bij);
        for (size_t p = 0; p < m->pixels; p++)
            w->gld[p] = (dfo_real)glogdet[i];
        row_back(bij, w, par + i * outputs(bij), w->gpar + i * outputs(bij), dfo_row(x, i) + at,
                 dfo_row(gx, i) + at, inverse);
    }
    DFO_TRY(dfo_net_backward(c->net, run, &in, block(w->gpar, x.n, outputs(bij)), &gin, acts));
    for (size_t i = 0; m->board && i < x.n; i++) {
        blank(m, bij->shape, w->gpass + i * bij->d);
        dfoi_add(bij->d, w->gpass + i * bij->d, dfo_row(gx, i));
    }
    return DFO_OK;
}

dfo_status dfoi_coupling_image_back(const dfo_bijector *bij, dfo_run *run, dfo_batch x, dfo_batch gx,
                                    const dfo_cond *cond, const dfo_cond *gcond, const double *glogdet, int inverse)
{
    struct work w = take(bij, run, group(bij, x.n));
    dfo_key key = run->key;
    dfo_real *kept = kept_by_forward(bij, run, x.n, inverse);
    dfo_status status = DFO_OK;
    for (size_t first = 0, n; first < x.n && status == DFO_OK; first += n) {
        n = group(bij, x.n - first);
        dfo_cond some = dfo_cond_rows(cond, first, n), gsome = dfo_cond_rows(gcond, first, n);
        run->key.row = key.row + first;
        status = map_back(bij, run, &w, dfo_batch_rows(x, first, n), dfo_batch_rows(gx, first, n), &some, &gsome,
                          glogdet + first, inverse, kept);
        kept = kept ? kept + kept_size(bij, n) : NULL;
    }
    run->key = key;
    return status;
}

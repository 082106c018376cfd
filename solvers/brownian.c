/* A virtual Brownian tree with space-time Levy areas: the path on [t0, t1] is that on [0, 1], stretched.  Node k halves its
 * interval into those of nodes 2k and 2k + 1, by two normals a column that are functions of (seed, row, column, k); intervals of
 * length tol are split where they are asked for.  An increment is put together from the pieces of the tree between its ends,
 * large ones first, so that its error is a rounding of its own size and not of the whole path's.
 * Foster, Lyons and Oberhauser 2020, "An optimal polynomial approximation of Brownian motion"; Jelincic, Foster and Kidger 2024,
 * "Single-seed generation of Brownian paths and integrals for adaptive and high order SDE solvers".
 *
 * Compiled once, for double: noise is the same for float and double states.  */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <diffeo/rng.h>
#include "base/ctx_impl.h"
#include "brownian_impl.h"

#define COLUMNS 16                         /* at a time: their draws are one batch of the generator's */
#define DEEPEST 50

/* ---- laws */

void dfoi_brownian_halve(size_t n, double length, dfoi_increments of, const double *x, dfoi_increments left, dfoi_increments right)
{
    double by = sqrt(length) / 4, by2 = sqrt(length / 12), slope = 1.5 / length;
    for (size_t j = 0; j < n; j++) {
        double w = of.w[j], b = of.b[j], z = by * x[2 * j], z2 = by2 * x[2 * j + 1];
        left.w[j] = w / 2 + slope * b + z;
        right.w[j] = w / 2 - slope * b - z;
        left.b[j] = b / 8 - length * z / 4 + length * z2 / 4;
        right.b[j] = b / 8 - length * z / 4 - length * z2 / 4;
    }
}

void dfoi_brownian_split(size_t n, double p, double q, dfoi_increments of, const double *x, dfoi_increments left, dfoi_increments right)
{
    double length = p + q, p3 = p * p * p, q3 = q * q * q, d = sqrt(p3 + q3), size = sqrt(p * q) / (2 * length * d);
    double a = size * p3, b = size * q3, c = sqrt(3 * p3 * q3) / (6 * d), l3 = length * length * length;
    for (size_t j = 0; j < n; j++) {
        left.w[j] = p / length * of.w[j] + 6 * p * q / l3 * of.b[j] + 2 * (a + b) / length * x[2 * j];
        left.b[j] = p3 / l3 * of.b[j] - a * x[2 * j] + c * x[2 * j + 1];
    }
    dfoi_brownian_rest(n, p, q, of, left, right);
}

void dfoi_brownian_join(size_t n, double p, double q, dfoi_increments left, dfoi_increments right, dfoi_increments to)
{
    for (size_t j = 0; j < n; j++) {
        double w = left.w[j], v = right.w[j];
        to.w[j] = w + v;
        to.b[j] = left.b[j] + right.b[j] + (q * w - p * v) / 2;
    }
}

void dfoi_brownian_rest(size_t n, double p, double q, dfoi_increments both, dfoi_increments left, dfoi_increments to)
{
    for (size_t j = 0; j < n; j++) {
        double w = left.w[j], v = both.w[j] - w;
        to.b[j] = both.b[j] - left.b[j] - (q * w - p * v) / 2;
        to.w[j] = v;
    }
}

/* ---- the tree of [0, 1] */

/* The increments over both halves of node `id`; used: when last (of those kept).  */
struct halves {
    uint64_t id, used;
    double   w[2][COLUMNS], b[2][COLUMNS];
};

struct node {
    uint64_t id;
    unsigned level;
    double   from, length;
    dfoi_increments of;
};

/* One look at n columns of a row, the chunk-th lot of them.  kept: two nodes' halves of every level and the root, or NULL.  */
struct walk {
    const dfo_brownian *path;
    uint64_t row, chunk;
    size_t   n;
    unsigned depth;
    struct halves *kept;
    uint64_t *clock;
};

static unsigned depth_of(const dfo_brownian *b)
{
    int exponent;
    frexp(b->tol / (b->t1 - b->t0), &exponent);
    return exponent > 0 ? 0 : exponent < 1 - DEEPEST ? DEEPEST : (unsigned)(1 - exponent);
}

/* x (n,2) of a node; those of number 0 belong to the whole path.  */
static void draw(const struct walk *k, uint64_t id, double *x)
{
    uint64_t stream = k->chunk << 24 | id >> 32;
    dfo_key key = {.seed = k->path->seed + stream * UINT64_C(0x9E3779B97F4A7C15), .row = k->row, .purpose = DFO_FOR_BROWNIAN,
                   .step = (uint32_t)id};
    dfo_draw_real_normal(key, 2 * k->n, x);
}

static struct node root_of(const struct walk *k, struct halves *own)
{
    struct halves *to = k->kept ? k->kept + 2 * k->depth : own;
    double x[2 * COLUMNS];
    if (!k->kept || !to->id) {
        draw(k, 0, x);
        for (size_t j = 0; j < k->n; j++) {
            to->w[0][j] = x[2 * j];
            to->b[0][j] = x[2 * j + 1] / sqrt(12);
        }
        to->id = 1;
    }
    return (struct node){.id = 1, .length = 1, .of = {to->w[0], to->b[0]}};
}

/* Of two that are kept of a level the one that was used last stays.  */
static struct halves *place_for(const struct walk *k, const struct node *node)
{
    struct halves *two = k->kept + 2 * node->level;
    struct halves *to = two[0].id == node->id || (two[1].id != node->id && two[0].used < two[1].used) ? &two[0] : &two[1];
    to->used = ++*k->clock;
    return to;
}

static struct halves *halves_of(const struct walk *k, const struct node *node, struct halves *own)
{
    struct halves *to = k->kept ? place_for(k, node) : own;
    double x[2 * COLUMNS];
    if (k->kept && to->id == node->id)
        return to;
    to->id = node->id;
    draw(k, node->id, x);
    dfoi_brownian_halve(k->n, node->length, node->of, x, (dfoi_increments){to->w[0], to->b[0]}, (dfoi_increments){to->w[1], to->b[1]});
    return to;
}

static struct node child(const struct node *node, struct halves *h, int right)
{
    double half = node->length / 2;
    return (struct node){.id = 2 * node->id + (uint64_t)right, .level = node->level + 1, .from = right ? node->from + half : node->from,
                         .length = half, .of = {h->w[right], h->b[right]}};
}

/* A node at the bottom, split at r inside.  */
static void split_at(const struct walk *k, const struct node *leaf, double r, dfoi_increments left, dfoi_increments right)
{
    double x[2 * COLUMNS];
    draw(k, leaf->id, x);
    dfoi_brownian_split(k->n, r - leaf->from, leaf->from + leaf->length - r, leaf->of, x, left, right);
}

/* A piece of that length goes before (last) or behind what is there, of length *done.  */
static void add(const struct walk *k, double length, dfoi_increments piece, int last, double *done, dfoi_increments to)
{
    if (last)
        dfoi_brownian_join(k->n, length, *done, piece, to, to);
    else
        dfoi_brownian_join(k->n, *done, length, to, piece, to);
    *done += length;
}

/* From the node's beginning to r, or (last) from r to its end.  */
static void part(const struct walk *k, struct node node, double r, int last, dfoi_increments to)
{
    struct halves own[2];
    double done = 0;
    memset(to.w, 0, k->n * sizeof *to.w);
    memset(to.b, 0, k->n * sizeof *to.b);
    while (last ? r > node.from : r < node.from + node.length) {
        double middle = node.from + node.length / 2;
        int right = last ? r >= middle : r > middle;
        struct halves *h = &own[node.level % 2];
        if (node.level == k->depth) {
            split_at(k, &node, r, (dfoi_increments){h->w[0], h->b[0]}, (dfoi_increments){h->w[1], h->b[1]});
            add(k, last ? node.from + node.length - r : r - node.from, (dfoi_increments){h->w[last], h->b[last]}, last, &done, to);
            return;
        }
        h = halves_of(k, &node, h);
        if (right != last)
            add(k, node.length / 2, (dfoi_increments){h->w[last], h->b[last]}, last, &done, to);
        node = child(&node, h, right);
    }
    add(k, node.length, node.of, last, &done, to);
}

/* From r0 to r1 inside a node at the bottom, both split with the same normals.  */
static void inside(const struct walk *k, const struct node *leaf, double r0, double r1, dfoi_increments to)
{
    struct halves a, b;
    dfoi_increments before = {a.w[0], a.b[0]}, both = leaf->of;
    double end = leaf->from + leaf->length;
    if (r1 < end) {
        both = (dfoi_increments){b.w[0], b.b[0]};
        split_at(k, leaf, r1, both, (dfoi_increments){b.w[1], b.b[1]});
    }
    if (r0 > leaf->from) {
        split_at(k, leaf, r0, before, (dfoi_increments){a.w[1], a.b[1]});
        dfoi_brownian_rest(k->n, r0 - leaf->from, r1 - r0, both, before, to);
    } else {
        memcpy(to.w, both.w, k->n * sizeof *to.w);
        memcpy(to.b, both.b, k->n * sizeof *to.b);
    }
}

/* The smallest node that holds both ends, then what is to the left and to the right of its middle.  */
static void between(const struct walk *k, double r0, double r1, dfoi_increments to)
{
    struct halves own[2], top;
    struct node node = root_of(k, &top);
    for (;;) {
        double middle = node.from + node.length / 2;
        if (node.level == k->depth || (r0 <= node.from && r1 >= node.from + node.length)) {
            inside(k, &node, r0, r1, to);
            return;
        }
        struct halves *h = halves_of(k, &node, &own[node.level % 2]);
        if (r0 < middle && middle < r1) {
            struct halves other;
            dfoi_increments second = {other.w[0], other.b[0]};
            part(k, child(&node, h, 0), r0, 1, to);
            part(k, child(&node, h, 1), r1, 0, second);
            dfoi_brownian_join(k->n, middle - r0, r1 - middle, to, second, to);
            return;
        }
        node = child(&node, h, r0 >= middle);
    }
}

/* ---- in the caller's time */

static double unit_time(const dfo_brownian *b, double t)
{
    double r = (t - b->t0) / (b->t1 - b->t0);
    return !(r > 0) ? 0 : r < 1 ? r : 1;
}

/* Of the columns from k's chunk on, d in all; every chunk has its own nodes kept.  */
static void increment(struct walk *k, size_t d, double s, double t, double *w, double *h)
{
    double r0 = unit_time(k->path, fmin(s, t)), r1 = unit_time(k->path, fmax(s, t)), size = sqrt(k->path->t1 - k->path->t0);
    double x[2][COLUMNS], sign = s > t ? -size : size;
    struct halves *kept = k->kept;
    for (size_t at = 0; at < d; at += COLUMNS) {
        k->chunk = at / COLUMNS;
        k->n = d - at < COLUMNS ? d - at : COLUMNS;
        k->kept = kept ? kept + k->chunk * (2 * k->depth + 1) : NULL;
        memset(x, 0, sizeof x);
        if (r0 < r1)
            between(k, r0, r1, (dfoi_increments){x[0], x[1]});
        for (size_t j = 0; j < k->n; j++)
            w[at + j] = sign * x[0][j];
        for (size_t j = 0; h && j < k->n; j++)
            h[at + j] = r0 < r1 ? size * x[1][j] / (r1 - r0) : 0;
    }
}

int dfoi_brownian_wrong(const dfo_brownian *b, char *text, size_t size)
{
    double span = b->t1 - b->t0, least = ldexp(span, -DEEPEST);
    if (!(isfinite(b->t0) && isfinite(span) && span > 0))
        snprintf(text, size, "Brownian path from %g to %g: expected finite times, the second above the first", b->t0, b->t1);
    else if (!(b->tol < span && b->tol >= least))
        snprintf(text, size, "Brownian path: tol %g: expected a number from %g on, below t1 - t0 = %g", b->tol, least, span);
    else
        return 0;
    return 1;
}

dfo_status dfo_brownian_check(dfo_ctx *ctx, const dfo_brownian *b)
{
    char text[200];
    return dfoi_brownian_wrong(b, text, sizeof text) ? dfoi_fail(ctx, DFO_EARG, "%s", text) : DFO_OK;
}

void dfo_brownian_increment(const dfo_brownian *b, uint64_t row, size_t d, double s, double t, double *w, double *h)
{
    struct walk k = {.path = b, .row = row, .depth = depth_of(b)};
    increment(&k, d, s, t, w, h);
}

struct dfo_brownian_interval {
    dfo_ctx *ctx;
    dfo_brownian path;
    uint64_t row, clock;
    size_t   d;
    struct halves *kept;
};

dfo_status dfo_brownian_interval_new(dfo_ctx *ctx, const dfo_brownian *b, uint64_t row, size_t d, dfo_brownian_interval **out)
{
    dfo_status status;
    size_t nodes;
    *out = NULL;
    DFO_TRY(dfo_brownian_check(ctx, b));
    DFO_TRY(dfoi_mul(ctx, d / COLUMNS + 1, 2 * depth_of(b) + 1, "a Brownian interval", &nodes));
    DFO_TRY(dfoi_alloc(ctx, 1, sizeof **out, out));
    **out = (struct dfo_brownian_interval){.ctx = ctx, .path = *b, .row = row, .d = d};
    DFO_GO(dfoi_alloc(ctx, nodes, sizeof *(*out)->kept, &(*out)->kept));
    return DFO_OK;
fail:
    dfo_brownian_interval_free(*out);
    *out = NULL;
    return status;
}

void dfo_brownian_interval_free(dfo_brownian_interval *interval)
{
    if (!interval)
        return;
    dfoi_free(interval->ctx, interval->kept);
    dfoi_free(interval->ctx, interval);
}

void dfo_brownian_interval_increment(dfo_brownian_interval *interval, double s, double t, double *w, double *h)
{
    struct walk k = {.path = &interval->path, .row = interval->row, .depth = depth_of(&interval->path), .kept = interval->kept,
                     .clock = &interval->clock};
    increment(&k, interval->d, s, t, w, h);
}

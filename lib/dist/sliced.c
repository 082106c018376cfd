/* Sliced Wasserstein distance.  On a line W2^2 = int_0^1 (F^-1(u) - G^-1(u))^2 du, and with n and m values both
 * quantile functions are steps: one pass over the sorted values, in units of 1/(n m), is exact.  Sorted once a
 * direction; leaving a group out skips its values.  */
#include <math.h>
#include <stdlib.h>

#include <diffeo/rng.h>
#include "base/ctx_impl.h"
#include "base/par_impl.h"
#include "dist/distance_impl.h"

enum { ALL, WITHOUT, SAME = WITHOUT + DFOI_GROUPS, FIGURES };   /* W2^2 of a direction: of all rows, of all but a group */

/* A projected row.  */
struct value {
    double   x;
    unsigned group;                /* one bit */
};

struct slices {
    const dfo_samples *a, *b;
    uint64_t seed;
    size_t   room;                 /* values a worker */
    struct value *value;           /* (workers, room) */
    double  *direction;            /* (workers, d) */
    double  *squared;              /* (directions, FIGURES) */
};

static int rising(const void *p, const void *q)
{
    const struct value *x = p, *y = q;
    return (x->x > y->x) - (x->x < y->x);
}

/* Uniform on the sphere: d normals (Box and Muller) over their norm.  */
static void draw_direction(uint64_t seed, size_t index, size_t d, double *v)
{
    dfo_key key = {.seed = seed, .row = index, .purpose = DFO_FOR_CHECK};
    double norm = 0;
    for (size_t j = 0; j < d; j++) {
        double u[2];
        dfo_draw_uniform(key, 2 * j, 2, u);
        v[j] = d == 1 ? 1 : sqrt(-2 * log(u[0])) * cos(2 * M_PI * u[1]);
        norm += v[j] * v[j];
    }
    for (size_t j = 0; j < d; j++)
        v[j] /= sqrt(norm);
}

static void project(const dfo_samples *s, const double *v, struct value *to)
{
    for (size_t i = 0; i < s->n; i++) {
        double sum = 0;
        for (size_t j = 0; j < s->d; j++)
            sum += s->x[i * s->d + j] * v[j];
        to[i] = (struct value){sum, 1u << i % DFOI_GROUPS};
    }
    qsort(to, s->n, sizeof *to, rising);
}

/* Rows among the first n whose group is in the set.  */
static size_t members(size_t n, unsigned set)
{
    size_t count = 0;
    for (size_t g = 0; g < DFOI_GROUPS; g++)
        if (set >> g & 1)
            count += n / DFOI_GROUPS + (g < n % DFOI_GROUPS);
    return count;
}

static const struct value *next(const struct value *v, unsigned set)
{
    while (!(v->group & set))
        v++;
    return v;
}

/* W2^2 between the values of these groups.  n, m: how many rows were projected.  */
static double between(const struct value *a, size_t n, unsigned of_a, const struct value *b, size_t m, unsigned of_b)
{
    uint64_t na = members(n, of_a), nb = members(m, of_b), left_a = nb, left_b = na, step;
    double sum = 0;
    a = next(a, of_a);
    b = next(b, of_b);
    for (uint64_t left = na * nb; left; left -= step) {    /* of the whole, of a's value and of b's, in 1/(na nb) */
        if (!left_a) {
            a = next(a + 1, of_a);
            left_a = nb;
        }
        if (!left_b) {
            b = next(b + 1, of_b);
            left_b = na;
        }
        step = left_a < left_b ? left_a : left_b;
        sum += (double)step * (a->x - b->x) * (a->x - b->x);
        left_a -= step;
        left_b -= step;
    }
    return sum / ((double)na * (double)nb);
}

static void slice(void *data, size_t index, int worker)
{
    const struct slices *s = data;
    const unsigned all = (1u << DFOI_GROUPS) - 1, odd = 0x2aa, even = 0x155;
    struct value *a = s->value + (size_t)worker * s->room, *b = a + s->a->n;
    double *v = s->direction + (size_t)worker * s->a->d, *to = s->squared + index * FIGURES;
    draw_direction(s->seed, index, s->a->d, v);
    project(s->a, v, a);
    project(s->b, v, b);
    to[ALL] = between(a, s->a->n, all, b, s->b->n, all);
    for (int g = 0; g < DFOI_GROUPS; g++)
        to[WITHOUT + g] = between(a, s->a->n, all & ~(1u << g), b, s->b->n, all & ~(1u << g));
    to[SAME] = between(b, s->b->n, odd, b, s->b->n, even);
}

static double mean_of(const double *squared, size_t directions, int figure)
{
    double sum = 0;
    for (size_t l = 0; l < directions; l++)
        sum += squared[l * FIGURES + (size_t)figure];
    return sum / (double)directions;
}

/* Of sqrt(mean over directions): how far the draw of directions moves it.  */
static double direction_error(const double *squared, size_t directions, int figure, double mean)
{
    double sum = 0;
    for (size_t l = 0; l < directions; l++) {
        double gap = squared[l * FIGURES + (size_t)figure] - mean;
        sum += gap * gap;
    }
    if (directions < 2 || !(mean > 0))
        return 0;
    return sqrt(sum / ((double)directions * (double)(directions - 1))) / (2 * sqrt(mean));
}

static void summarise(const double *squared, size_t directions, dfo_estimate *distance, dfo_estimate *same)
{
    double without[DFOI_GROUPS], mean = mean_of(squared, directions, ALL);
    for (int g = 0; g < DFOI_GROUPS; g++)
        without[g] = sqrt(mean_of(squared, directions, WITHOUT + g));
    *distance = (dfo_estimate){sqrt(mean), hypot(dfoi_jackknife(without), direction_error(squared, directions, ALL, mean))};
    if (same) {
        double halves = mean_of(squared, directions, SAME);
        *same = (dfo_estimate){sqrt(halves), direction_error(squared, directions, SAME, halves)};
    }
}

dfo_status dfo_sliced_wasserstein(dfo_ctx *ctx, const dfo_samples *a, const dfo_samples *b, size_t directions,
                                  uint64_t seed, dfo_estimate *distance, dfo_estimate *same)
{
    dfo_status status;
    struct slices s = {.a = a, .b = b, .seed = seed, .room = a->n + b->n};
    size_t workers = (size_t)dfo_ctx_threads(ctx);
    DFO_TRY(dfoi_samples_check(ctx, a, b));
    if (!directions)
        return dfoi_fail(ctx, DFO_EARG, "distance: expected one direction or more");
    if (a->d == 1)
        directions = 1;
    workers = workers < directions ? workers : directions;
    DFO_GO(dfoi_alloc(ctx, workers, s.room * sizeof *s.value, &s.value));
    DFO_GO(dfoi_alloc(ctx, workers, a->d * sizeof *s.direction, &s.direction));
    DFO_GO(dfoi_alloc(ctx, directions, FIGURES * sizeof *s.squared, &s.squared));
    dfoi_par_for((int)workers, directions, slice, &s);
    summarise(s.squared, directions, distance, same);
    status = DFO_OK;
fail:
    dfoi_free(ctx, s.squared);
    dfoi_free(ctx, s.direction);
    dfoi_free(ctx, s.value);
    return status;
}

/* Are latents normal?  The first rows are kept, at most 1 Mi numbers, and tested as <diffeo/normality.h> does, where the model's base is a
 * standard normal.  */
#include <stdlib.h>
#include <string.h>

#include "normal.h"

#define MOST ((size_t)1 << 20)
#define LEVEL 0.01

static int standard(const dfo_flow *flow)
{
    const dfo_dist *base = dfo_flow_base(flow);
    json_t *is = json_object();
    int yes = is && dfo_dist_describe(base, is) == DFO_OK && !strcmp(base->ops->type, "normal") && !base->count && !json_object_get(is, "mean") &&
              !json_object_get(is, "log_std");
    json_decref(is);
    return yes;
}

int normal_begin(struct normal *o, const dfo_model *model, uint64_t rows)
{
    const dfo_flow *flow = dfo_model_flow(model);
    size_t d = dfo_model_features(model);
    if (!flow || !d || !standard(flow))
        return 0;
    size_t most = MOST / d ? MOST / d : 1;
    o->d = d;
    o->keep = rows < most ? (size_t)rows : most;
    o->z = o->keep ? malloc(o->keep * d * sizeof *o->z) : NULL;
    return o->keep && !o->z;
}

void normal_add(struct normal *o, dfo_batch z)
{
    for (size_t i = 0; i < z.n && o->n < o->keep; i++, o->n++)
        for (size_t k = 0; k < o->d; k++)
            o->z[o->n * o->d + k] = (double)dfo_row(z, i)[k];
}

void normal_json(const struct normal *o, const dfo_normality *t, json_t *to)
{
    json_object_set_new(to, "normality_rows", json_integer((json_int_t)o->n));
    json_object_set_new(to, "latents_mean", json_real(t->mean));
    json_object_set_new(to, "latents_variance", json_real(t->variance));
    json_object_set_new(to, "column_distance", json_real(t->distance));
    json_object_set_new(to, "column_p", json_real(t->column_p));
    json_object_set_new(to, "norm_distance", json_real(t->norm_distance));
    json_object_set_new(to, "norm_p", json_real(t->norm_p));
    json_object_set_new(to, "normality_p", json_real(t->p));
}

void normal_words(const struct normal *o, const dfo_normality *t, FILE *to)
{
    fprintf(to, "Latents of %zu rows: mean %.3g, variance %.4g; Kolmogorov-Smirnov distances to the normal law at most %.3g (column %zu, p = %.2g for "
                "all), %.3g of the norms (p = %.2g): %snormal at %g %%\n",
            o->n, t->mean, t->variance, t->distance, t->column + 1, t->column_p, t->norm_distance, t->norm_p, t->p < LEVEL ? "not " : "", 100 * LEVEL);
}

/* A model in double beside a command in float.  */
#include <stdlib.h>
#include <string.h>

#include "exact.h"

struct exact {
    dfo_model      *model;
    dfo_model_plan *plan;
    dfo_latents    *latents;
    size_t          d, context;
    double         *cond;              /* (block, context) */
};

int exact_open(const struct common *c, const char *model, const char *latents, struct exact **out)
{
    struct exact *e = *out = calloc(1, sizeof *e);
    if (!e)
        return usage_error(c, "out of memory"), EXIT_FAILED;
    if (open_model(c, model, &e->model) || dfo_model_plan_new(c->ctx, e->model, 0, &e->plan) ||
        (latents && dfo_latents_open(c->ctx, latents, &e->latents)))
        return failed(c);
    e->d = dfo_model_features(e->model);
    e->context = dfo_model_context(e->model);
    e->cond = calloc(dfo_model_block(e->model), (e->context + 1) * sizeof *e->cond);
    return e->cond ? 0 : (usage_error(c, "out of memory"), EXIT_FAILED);
}

void exact_close(struct exact *e)
{
    if (!e)
        return;
    free(e->cond);
    dfo_latents_free(e->latents);
    dfo_model_plan_free(e->plan);
    dfo_model_free(e->model);
    free(e);
}

static dfo_cond condition(const struct exact *e, size_t n)
{
    dfo_cond c = {.n = e->context > 0};
    c.part[0].rows = dfo_batch_of(e->cond, n, e->context);
    c.part[0].shape = dfo_shape_vector(e->context);
    return c;
}

dfo_status exact_round_trip(struct exact *e, uint64_t first, size_t n, const double *rows, double *z, double *x)
{
    size_t d = e->d, width = d + e->context;
    for (size_t i = 0; i < n; i++) {
        memcpy(z + i * d, rows + i * width, d * sizeof *z);
        memcpy(e->cond + i * e->context, rows + i * width + d, e->context * sizeof *e->cond);
    }
    dfo_cond cond = condition(e, n);
    dfo_status status = dfo_model_encode(e->plan, first, dfo_batch_of(z, n, d), &cond, NULL);
    memcpy(x, z, n * d * sizeof *x);
    return status ? status : dfo_model_decode(e->plan, first, dfo_batch_of(x, n, d), &cond, NULL);
}

dfo_status exact_decode(struct exact *e, uint64_t first, size_t n, const double *context, double *x)
{
    memcpy(e->cond, context, n * e->context * sizeof *e->cond);
    dfo_cond cond = condition(e, n);
    dfo_status status = dfo_latents_read(e->latents, first, dfo_batch_of(x, n, e->d));
    return status ? status : dfo_model_decode(e->plan, first, dfo_batch_of(x, n, e->d), &cond, NULL);
}

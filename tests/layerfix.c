/* See layerfix.h.  */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ctx_impl.h"
#include "base/real_impl.h"
#include "layerfix.h"

static dfo_build build_for(layerfix *f, dfo_shape shape, size_t cond)
{
    dfo_build build = {.ctx = f->ctx, .store = f->store, .seed = 7, .path = "b", .shape = shape};
    if (cond) {
        build.conds = 1;
        build.cond[0] = dfo_shape_vector(cond);
    }
    return build;
}

layerfix layerfix_new(json_t *config, dfo_shape shape, size_t cond, size_t rows)
{
    layerfix f = {.rows = rows};
    ck_assert_ptr_nonnull(config);
    ck_assert_int_eq(dfo_ctx_new(&f.ctx), DFO_OK);
    ck_assert_int_eq(dfo_store_new(f.ctx, &f.store), DFO_OK);
    dfo_build build = build_for(&f, shape, cond);
    dfo_status status = dfo_bijector_new(&build, config, &f.bij);
    ck_assert_msg(status == DFO_OK, "%s", dfo_ctx_error(f.ctx));
    json_decref(config);
    dfo_run how = {.memory = DFO_MEMORY_INVERT};
    dfo_need need = {.rows = rows,
                     .scratch = dfo_bijector_scratch(f.bij, rows),
                     .saved = dfo_bijector_saved(f.bij, rows, &how),
                     .derived = dfo_bijector_derived(f.bij),
                     .gderived = dfo_bijector_gderived(f.bij)};
    ck_assert_int_eq(testrun_new(f.ctx, f.store, &need, &f.t), DFO_OK);
    return f;
}

void layerfix_free(layerfix *f)
{
    testrun_free(f->t);
    dfo_bijector_free(f->bij);
    dfo_store_free(f->store);
    dfo_ctx_free(f->ctx);
}

dfo_status layerfix_try(const char *config, dfo_shape shape, char *text, size_t size)
{
    layerfix f = {0};
    json_t *json = json_loads(config, 0, NULL);
    ck_assert_ptr_nonnull(json);
    ck_assert_int_eq(dfo_ctx_new(&f.ctx), DFO_OK);
    ck_assert_int_eq(dfo_store_new(f.ctx, &f.store), DFO_OK);
    dfo_build build = build_for(&f, shape, 0);
    dfo_status status = dfo_bijector_new(&build, json, &f.bij);
    snprintf(text, size, "%s", dfo_ctx_error(f.ctx));
    json_decref(json);
    layerfix_free(&f);
    return status;
}

dfo_real *layerfix_array(layerfix *f, const char *name, size_t *count)
{
    char full[128];
    snprintf(full, sizeof full, "b.%s", name);
    const dfo_entry *e = dfo_store_find(f->store, full);
    ck_assert_msg(e != NULL, "no array is called %s", full);
    *count = e->count;
    return (e->buffer ? dfo_store_buffers(f->store) : dfo_store_weights(f->store)) + e->offset;
}

const dfo_real *layerfix_grad(layerfix *f, const char *name)
{
    char full[128];
    snprintf(full, sizeof full, "b.%s", name);
    const dfo_entry *e = dfo_store_find(f->store, full);
    ck_assert_msg(e && !e->buffer, "no weights are called %s", full);
    return f->t->run.grads + e->offset;
}

dfo_status layerfix_prepare(layerfix *f)
{
    testrun_reset(f->t);
    return dfo_bijector_prepare(f->bij, &f->t->run, f->t->run.derived);
}

static dfo_real *reals(size_t n, const double *from)
{
    dfo_real *to = calloc(n + 1, sizeof *to);
    ck_assert_ptr_nonnull(to);
    for (size_t i = 0; from && i < n; i++)
        to[i] = (dfo_real)from[i];
    return to;
}

static void doubles(size_t n, dfo_real *from, double *to)
{
    for (size_t i = 0; to && i < n; i++)
        to[i] = (double)from[i];
    free(from);
}

static dfo_cond condition(const layerfix *f, size_t n, dfo_real *rows)
{
    dfo_cond c = {.n = f->bij->conds};
    c.part[0].rows = dfo_batch_of(rows, n, f->bij->cond_d);
    c.part[0].shape = dfo_shape_vector(f->bij->cond_d);
    return c;
}

static dfo_status pass(layerfix *f, int inverse, size_t n, const double *in, const double *cond,
                       double *out, double *logdet)
{
    dfo_real *x = reals(n * f->bij->d, in), *rows = reals(n * f->bij->cond_d, cond);
    dfo_cond c = condition(f, n, rows);
    dfo_batch batch = dfo_batch_of(x, n, f->bij->d);
    memset(logdet, 0, n * sizeof *logdet);
    ck_assert_uint_le(n, f->rows);
    testrun_reset(f->t);
    dfo_status status = inverse ? dfo_bijector_inverse(f->bij, &f->t->run, batch, &c, logdet)
                                : dfo_bijector_forward(f->bij, &f->t->run, batch, &c, logdet);
    testrun_check(f->t, f->bij->ops->type);
    free(rows);
    doubles(n * f->bij->d, x, out);
    return status;
}

dfo_status layerfix_forward(layerfix *f, size_t n, const double *x, const double *cond, double *z,
                            double *logdet)
{
    return pass(f, 0, n, x, cond, z, logdet);
}

dfo_status layerfix_inverse(layerfix *f, size_t n, const double *z, const double *cond, double *x,
                            double *logdet)
{
    return pass(f, 1, n, z, cond, x, logdet);
}

static dfo_status there_and_back(layerfix *f, int inverse, dfo_batch x, dfo_batch g,
                                 const dfo_cond *cond, dfo_cond *gcond, const double *seed_logdet)
{
    dfo_run *run = &f->t->run;
    testrun_reset(f->t);
    if (inverse) {
        DFO_TRY(dfo_bijector_inverse(f->bij, run, x, cond, NULL));
        DFO_TRY(dfo_bijector_inverse_backward(f->bij, run, x, g, cond, gcond, seed_logdet));
    } else {
        DFO_TRY(dfo_bijector_forward(f->bij, run, x, cond, NULL));
        DFO_TRY(dfo_bijector_backward(f->bij, run, x, g, cond, gcond, seed_logdet));
    }
    return dfo_bijector_pullback(f->bij, run, run->derived, run->gderived);
}

dfo_status layerfix_grads(layerfix *f, int inverse, size_t n, const double *x, const double *cond,
                          const double *seed, const double *seed_logdet, double *gx, double *gcond,
                          double *back)
{
    size_t d = f->bij->d, cd = f->bij->cond_d;
    dfo_real *rows = reals(n * d, x), *grows = reals(n * d, seed), *crows = reals(n * cd, cond);
    dfo_real *gcrows = reals(n * cd, NULL);
    dfo_cond c = condition(f, n, crows), gc = condition(f, n, gcrows);
    ck_assert_uint_le(n, f->rows);
    dfo_status status = there_and_back(f, inverse, dfo_batch_of(rows, n, d),
                                       dfo_batch_of(grows, n, d), &c, &gc, seed_logdet);
    testrun_check(f->t, f->bij->ops->type);
    free(crows);
    doubles(n * d, rows, back);
    doubles(n * d, grows, gx);
    doubles(n * cd, gcrows, gcond);
    return status;
}

void layerfix_slopes(size_t count, double *x, dfo_real *w, double h, double (*value)(void *data), void *data, double *slopes)
{
    for (size_t j = 0; j <= count; j++) {
        double at[2], found[2], was = j < count ? x[j] : (double)*w;
        for (int side = 0; side < 2; side++) {
            at[side] = (double)(dfo_real)(was + (side ? -h : h));
            if (j < count)
                x[j] = at[side];
            else
                *w = (dfo_real)at[side];
            found[side] = value(data);
        }
        if (j < count)
            x[j] = was;
        else
            *w = (dfo_real)was;
        slopes[j] = (found[0] - found[1]) / (at[0] - at[1]);
    }
}

double layerfix_logdets(void *rows)
{
    const layerfix_rows *r = rows;
    double *z = malloc(r->n * r->f->bij->d * sizeof *z), *logdet = malloc(r->n * sizeof *logdet), sum = 0;
    ck_assert(z && logdet);
    ck_assert_int_eq(layerfix_forward(r->f, r->n, r->x, NULL, z, logdet), DFO_OK);
    for (size_t i = 0; i < r->n; i++)
        sum += logdet[i];
    free(z);
    free(logdet);
    return sum;
}

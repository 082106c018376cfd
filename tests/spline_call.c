/* One call of the spline kernels (spline_call.h).  */
#include <stdlib.h>

#include "spline_call.h"

enum { EDGE = 2 };
static const dfo_real canary = (dfo_real)12345;

dfo_real *new_reals(size_t n)
{
    dfo_real *p = malloc((n + 2 * EDGE) * sizeof *p);
    ck_assert_ptr_nonnull(p);
    for (size_t i = 0; i < n + 2 * EDGE; i++)
        p[i] = canary;
    return p + EDGE;
}

void put_reals(dfo_real *p, size_t n)
{
    for (size_t i = 0; i < EDGE; i++)
        ck_assert_msg(p[n + i] == canary && *(p - 1 - i) == canary, "wrote outside an array of %zu",
                      n);
    free(p - EDGE);
}

struct call call_new(scalar_spline scalar, size_t nb, size_t m)
{
    struct call c = {.scalar = scalar, .nb = nb, .m = m};
    c.how = (dfoi_spline){.bins = scalar.bins,
                          .circular = scalar.circular,
                          .bound = (dfo_real)scalar.bound,
                          .min_width = (dfo_real)scalar.min_width,
                          .min_height = (dfo_real)scalar.min_height,
                          .min_derivative = (dfo_real)scalar.min_derivative,
                          .scale = (dfo_real)scalar.scale};
    c.scalar.bound = (double)c.how.bound;
    c.scalar.min_width = (double)c.how.min_width;
    c.scalar.min_height = (double)c.how.min_height;
    c.scalar.min_derivative = (double)c.how.min_derivative;
    c.scalar.scale = (double)c.how.scale;
    c.params = dfoi_spline_params(&c.how);
    c.par = new_reals(nb * m * c.params);
    c.gpar = new_reals(nb * m * c.params);
    c.x = new_reals(nb * m);
    c.g = new_reals(nb * m);
    c.ld = new_reals(m);
    c.raw = malloc(nb * m * c.params * sizeof *c.raw);
    ck_assert_ptr_nonnull(c.raw);
    return c;
}

void call_free(struct call *c)
{
    put_reals(c->par, c->nb * c->m * c->params);
    put_reals(c->gpar, c->nb * c->m * c->params);
    put_reals(c->x, c->nb * c->m);
    put_reals(c->g, c->nb * c->m);
    put_reals(c->ld, c->m);
    free(c->raw);
}

size_t par_at(const struct call *c, size_t f, size_t i, size_t p)
{
    return (f * c->params + p) * c->m + i;
}

void set_par(struct call *c, size_t f, size_t i, size_t p, double value)
{
    c->par[par_at(c, f, i, p)] = (dfo_real)value;
    c->raw[(f * c->m + i) * c->params + p] = (double)(dfo_real)value;
}

const double *raw_of(const struct call *c, size_t v)
{
    return c->raw + v * c->params;
}

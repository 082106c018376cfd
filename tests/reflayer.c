/* See reflayer.h.  */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "reflayer.h"
#include "util.h"

double reflayer_tolerance(ref_case c, const char *key)
{
    return IS_DOUBLE ? ref_tolerance(c, key) : !strcmp(key, "grad") ? 1e-3 : 1e-4;
}

void reflayer_compare(ref_case c, const char *what, size_t n, const double *got, const double *want,
                    double allowed)
{
    double worst = ref_worst(n, got, want);
    ck_assert_msg(worst <= allowed, "%s: %s: off by %.3g, allowed %.3g", c.name, what, worst,
                  allowed);
}

/* Everything but the weights' gradients, which stand in the run afterwards.  */
void reflayer_check(layerfix *f, ref_case c)
{
    ref_array x = ref_need(c, "x"), z = ref_need(c, "z"), logdet = ref_need(c, "logdet"),
              cond = ref_get(c, "context");
    ref_array gx = ref_get(c, "grad.x"), gcond = ref_get(c, "grad.context");
    size_t n = x.shape[0];
    double *rows = malloc(x.n * sizeof *rows), *ld = malloc(n * sizeof *ld),
           *grows = malloc(x.n * sizeof *grows);
    double *gc = malloc((cond.n + 1) * sizeof *gc);
    dfo_status status = layerfix_prepare(f);
    ck_assert_msg(status == DFO_OK, "%s: %s", c.name, f->t->run.text);
    ck_assert_int_eq(layerfix_forward(f, n, x.data, cond.data, rows, ld), DFO_OK);
    reflayer_compare(c, "z", x.n, rows, z.data, reflayer_tolerance(c, "z"));
    reflayer_compare(c, "logdet", n, ld, logdet.data, reflayer_tolerance(c, "logdet"));
    if (ref_number(c, "settings.invertible", 1) > 0) {
        ck_assert_int_eq(layerfix_inverse(f, n, z.data, cond.data, rows, ld), DFO_OK);
        reflayer_compare(c, "inverse", x.n, rows, x.data, reflayer_tolerance(c, "inverse"));
        for (size_t i = 0; i < n; i++)
            ld[i] = -ld[i];
        reflayer_compare(c, "logdet of the inverse", n, ld, logdet.data,
                fmax(reflayer_tolerance(c, "logdet"), reflayer_tolerance(c, "inverse")));
    }
    if (gx.data) {
        ref_array seed = ref_need(c, "grad.seed_z"), seed_logdet = ref_need(c, "grad.seed_logdet");
        ck_assert_int_eq(layerfix_grads(f, 0, n, x.data, cond.data, seed.data, seed_logdet.data,
                                        grows, gc, rows),
                         DFO_OK);
        reflayer_compare(c, "gradient of x", x.n, grows, gx.data, reflayer_tolerance(c, "grad"));
        if (gcond.data)
            reflayer_compare(c, "gradient of the context", gcond.n, gc, gcond.data, reflayer_tolerance(c, "grad"));
        reflayer_compare(c, "rebuilt x", x.n, rows, x.data, reflayer_tolerance(c, "inverse"));
    }
    free(rows);
    free(ld);
    free(grows);
    free(gc);
}

dfo_shape reflayer_shape(ref_case c)
{
    ref_array x = ref_need(c, "x");
    return x.dims == 4 ? (dfo_shape){x.shape[1], x.shape[2], x.shape[3]}
                       : dfo_shape_vector(x.shape[1]);
}

size_t reflayer_rows(ref_case c)
{
    return ref_need(c, "x").shape[0];
}

/* Calls one(case) for each case of a file that this precision can meet; counts them.  */
void reflayer_each(const char *name, size_t at_least, int (*one)(ref_case c))
{
    ref_file *file = ref_open(name);
    size_t done = 0;
    for (size_t i = 0; i < ref_cases(file); i++) {
        ref_case c = ref_at(file, i);
        if (IS_DOUBLE || !ref_double_only(c))
            done += (size_t)one(c);
    }
    ref_close(file);
    ck_assert_msg(done >= at_least, "%s: only %zu cases", name, done);
}

void reflayer_set(layerfix *f, const char *name, ref_array from)
{
    size_t n;
    dfo_real *to = layerfix_array(f, name, &n);
    ck_assert_uint_eq(n, from.n);
    for (size_t i = 0; i < n; i++)
        to[i] = (dfo_real)from.data[i];
}

ref_array reflayer_param(ref_case c, const char *name)
{
    char path[64];
    snprintf(path, sizeof path, "params.%s", name);
    return ref_need(c, path);
}

ref_array reflayer_grad(ref_case c, const char *name)
{
    char path[64];
    snprintf(path, sizeof path, "grad.%s", name);
    return ref_get(c, path);
}

void reflayer_compare_grad(layerfix *f, ref_case c, const char *name, const char *file)
{
    ref_array want = reflayer_grad(c, file);
    const dfo_real *g = layerfix_grad(f, name);
    double *got = malloc(want.n * sizeof *got);
    for (size_t i = 0; i < want.n; i++)
        got[i] = (double)g[i];
    reflayer_compare(c, file, want.n, got, want.data, reflayer_tolerance(c, "grad"));
    free(got);
}

/* Where number `at` of the layer's kernel stands in the file.  */
static size_t tap(ref_array file, size_t at)
{
    size_t in = file.shape[1], taps = file.shape[2] * file.shape[3], i = at % in, ij = at / in % taps, o = at / in / taps;
    return (o * in + i) * taps + ij;
}

void reflayer_set_kernel(layerfix *f, ref_case c)
{
    ref_array k = ref_need(c, "params.K");
    size_t n;
    dfo_real *to = layerfix_array(f, "kernel", &n);
    ck_assert_uint_eq(n, k.n);
    for (size_t i = 0; i < n; i++)
        to[i] = (dfo_real)k.data[tap(k, i)];
}

void reflayer_compare_kernel(layerfix *f, ref_case c)
{
    ref_array want = reflayer_grad(c, "K");
    const dfo_real *g = layerfix_grad(f, "kernel");
    for (size_t i = 0; i < want.n; i++) {
        double got = (double)g[i];
        reflayer_compare(c, "K", 1, &got, &want.data[tap(want, i)], reflayer_tolerance(c, "grad"));
    }
}

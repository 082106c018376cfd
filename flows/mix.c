/* z = W x + b on rows or on the channels of pixels, 64 columns at a time, by the nets' products:
 * one in forward (bias fused), two and the weights' gradient in backward:
 *   x = W^-1 z - W^-1 b,  gx = W^T gz,  gW += gz x^T,  gb += sum gz;
 * the other direction, x = W^-1 (z - b):  gz = W^-T gx,  gW -= gz x^T,  gb -= sum gz.
 * The log-det is h w log|det W| for each row.  */
#include <math.h>
#include <string.h>

#include "channels_impl.h"
#include "math/kern_impl.h"
#include "mix_impl.h"

/* Derived data: W and W^-1, rounded (until finish both places hold W in double); W^-1 in double; the log-det; the
 * shift.  gderived: the gradient with respect to W, then the sum of glogdet.  */
struct place {
    size_t v;                          /* (c, c) W^-1, behind W; until finish both places hold W in double */
    size_t inverse;                    /* doubles (c, c) */
    size_t logdet;                     /* double: h w log|det W| */
    size_t shift;                      /* (c) -W^-1 b */
    size_t end;
};

static struct place places(const dfo_bijector *bij)
{
    const struct dfoi_mix *m = bij->state;
    size_t square = dfoi_doubles_size(m->c * m->c);
    struct place p;
    p.v = m->c * m->c;
    p.inverse = dfo_arena_size(2 * m->c * m->c);
    p.logdet = p.inverse + square;
    p.shift = p.logdet + dfoi_doubles_size(1);
    p.end = p.shift + dfo_arena_size(m->c);
    return p;
}

static double *doubles(dfo_real *derived, size_t at)
{
    return (double *)(void *)(derived + at);
}

size_t dfoi_mix_derived(const dfo_bijector *bij)
{
    return places(bij).end;
}

size_t dfoi_mix_gderived(const dfo_bijector *bij)
{
    const struct dfoi_mix *m = bij->state;
    return dfo_arena_size(m->c * m->c + 1);
}

double *dfoi_mix_matrix(const dfo_bijector *bij, dfo_real *derived)
{
    (void)bij;
    return doubles(derived, 0);
}

double *dfoi_mix_inverse_matrix(const dfo_bijector *bij, dfo_real *derived)
{
    return doubles(derived, places(bij).inverse);
}

size_t dfoi_mix_scratch(const dfo_bijector *bij, size_t rows)
{
    const struct dfoi_mix *m = bij->state;
    (void)rows;
    return 4 * m->c * DFO_PANEL + dfo_arena_size(dfoi_gemm_grad_scratch(m->c, 1)) +
           dfo_arena_size(dfoi_gemm_back_scratch(m->c));
}

/* `to` may be where `from` is: what is written never reaches what is still to be read.  */
static void round_off(size_t n, const void *from, dfo_real *to)
{
    for (size_t i = 0; i < n; i++) {
        double x;
        memcpy(&x, (const char *)from + i * sizeof x, sizeof x);
        to[i] = (dfo_real)x;
    }
}

dfo_status dfoi_mix_finish(const dfo_bijector *bij, dfo_run *run, dfo_real *derived, double logdet)
{
    const struct dfoi_mix *m = bij->state;
    struct place p = places(bij);
    const double *inverse = doubles(derived, p.inverse);
    double size = logdet;
    round_off(m->c * m->c, derived, derived);
    round_off(m->c * m->c, inverse, derived + p.v);
    for (size_t i = 0; i < m->c; i++) {
        double shift = 0;
        for (size_t j = 0; j < m->c; j++) {
            size += fabs(inverse[i * m->c + j]) * 0;       /* NaN if any is infinite or NaN */
            if (m->bias)
                shift -= inverse[i * m->c + j] * (double)dfo_run_weights(run, m->bias_at)[j];
        }
        derived[p.shift + i] = (dfo_real)shift;
    }
    *doubles(derived, p.logdet) = (double)dfoi_plane(bij) * logdet;
    if (!isfinite(size))
        return dfo_run_fail(run, DFO_ENUM, (size_t)-1, "%s: the matrix is singular",
                            bij->ops->type);
    return DFO_OK;
}

static size_t columns_at(size_t all, size_t first)
{
    return all - first < DFO_PANEL ? all - first : DFO_PANEL;
}

static void apply(const dfo_bijector *bij, dfo_run *run, dfo_batch x, const dfo_real *w,
                  const dfo_real *shift)
{
    size_t c = bij->shape.c, all = x.n * dfoi_plane(bij);
    dfo_real *in = dfo_arena_take(run, c * DFO_PANEL), *out = dfo_arena_take(run, c * DFO_PANEL);
    for (size_t first = 0; first < all; first += DFO_PANEL) {
        size_t n = columns_at(all, first);
        dfoi_columns_to_panel(bij, x, first, n, 0, in);
        dfoi_gemm(c, c, w, c, in, shift, DFOI_ACT_NONE, NULL, out);
        dfoi_columns_from_panel(bij, out, first, n, x);
    }
}

static void add_logdet(const dfo_bijector *bij, dfo_run *run, size_t n, double sign, double *logdet)
{
    double each = sign * *doubles(run->derived, places(bij).logdet);
    for (size_t i = 0; logdet && i < n; i++)
        logdet[i] += each;
}

dfo_status dfoi_mix_forward(const dfo_bijector *bij, dfo_run *run, dfo_batch x,
                            const dfo_cond *cond, double *logdet)
{
    const struct dfoi_mix *m = bij->state;
    (void)cond;
    apply(bij, run, x, run->derived,
          m->bias ? dfo_run_weights(run, m->bias_at) : NULL);
    add_logdet(bij, run, x.n, 1, logdet);
    return DFO_OK;
}

dfo_status dfoi_mix_inverse(const dfo_bijector *bij, dfo_run *run, dfo_batch z,
                            const dfo_cond *cond, double *logdet)
{
    const struct dfoi_mix *m = bij->state;
    struct place p = places(bij);
    (void)cond;
    apply(bij, run, z, run->derived + p.v, m->bias ? run->derived + p.shift : NULL);
    add_logdet(bij, run, z.n, -1, logdet);
    return DFO_OK;
}

/* Where the gradient of W and the sum of glogdet go; nowhere if weights' gradients are not wanted.
 * */
static dfo_real *matrix_grad(dfo_run *run)
{
    return run->grads ? run->gderived : NULL;
}

static void add_glogdet(const dfo_bijector *bij, dfo_run *run, size_t n, double sign,
                        const double *glogdet)
{
    const struct dfoi_mix *m = bij->state;
    double sum = 0;
    if (!matrix_grad(run))
        return;
    for (size_t i = 0; i < n; i++)
        sum += glogdet[i];
    matrix_grad(run)[m->c * m->c] += (dfo_real)(sign * sum * (double)dfoi_plane(bij));
}

/* Both directions: y (output, then input), gy.  `back` maps values back to the input, the
 * transpose of `pull` maps gradients.  */
static void map_back(const dfo_bijector *bij, dfo_run *run, dfo_batch y, dfo_batch gy,
                     const dfo_real *back, const dfo_real *shift, const dfo_real *pull, int inverse)
{
    const struct dfoi_mix *m = bij->state;
    size_t c = m->c, all = y.n * dfoi_plane(bij), panel = c * DFO_PANEL;
    dfo_real *out = dfo_arena_take(run, panel), *gout = dfo_arena_take(run, panel);
    dfo_real *in = dfo_arena_take(run, panel), *gin = dfo_arena_take(run, panel);
    dfo_real *scratch = dfo_arena_take(run, dfoi_gemm_grad_scratch(c, 1));
    dfo_real *copy = dfo_arena_take(run, dfoi_gemm_back_scratch(c));
    dfo_real *gw = matrix_grad(run), *gb = gw && m->bias ? dfo_run_grads(run, m->bias_at) : NULL;
    for (size_t first = 0; first < all; first += DFO_PANEL) {
        size_t n = columns_at(all, first);
        dfoi_columns_to_panel(bij, y, first, n, 0, out);
        dfoi_columns_to_panel(bij, gy, first, n, 1, gout);
        dfoi_gemm(c, c, back, c, out, shift, DFOI_ACT_NONE, NULL, in);
        dfoi_gemm_back(c, c, pull, c, gout, NULL, NULL, gin, copy);
        dfoi_columns_from_panel(bij, in, first, n, y);
        dfoi_columns_from_panel(bij, gin, first, n, gy);
        if (!gw)
            continue;
        if (inverse) {                 /* out is x here, gin is gz */
            dfoi_scale(panel, -1, gin);
            dfoi_gemm_grad(c, c, gin, out, gw, c, gb, scratch);
        } else {
            dfoi_gemm_grad(c, c, gout, in, gw, c, gb, scratch);
        }
    }
}

dfo_status dfoi_mix_backward(const dfo_bijector *bij, dfo_run *run, dfo_batch z, dfo_batch gz,
                             const dfo_cond *cond, dfo_cond *gcond, const double *glogdet)
{
    const struct dfoi_mix *m = bij->state;
    struct place p = places(bij);
    const dfo_real *d = run->derived;
    (void)cond;
    (void)gcond;
    map_back(bij, run, z, gz, d + p.v, m->bias ? d + p.shift : NULL, d, 0);
    add_glogdet(bij, run, z.n, 1, glogdet);
    return DFO_OK;
}

dfo_status dfoi_mix_inverse_backward(const dfo_bijector *bij, dfo_run *run, dfo_batch x,
                                     dfo_batch gx, const dfo_cond *cond, dfo_cond *gcond,
                                     const double *glogdet)
{
    const struct dfoi_mix *m = bij->state;
    struct place p = places(bij);
    const dfo_real *d = run->derived;
    (void)cond;
    (void)gcond;
    map_back(bij, run, x, gx, d, m->bias ? dfo_run_weights(run, m->bias_at) : NULL, d + p.v, 1);
    add_glogdet(bij, run, x.n, -1, glogdet);
    return DFO_OK;
}

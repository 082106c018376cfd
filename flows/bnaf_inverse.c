/* The way back of bnaf.c, column after column.  With the columns before it known, what a unit sees but for its own column's
 * block is a number, and x_i is the root of a function of one variable that its diagonal blocks make:
 *
 *   a x + (1 - a) f_i(x) = z_i,  |f_i - c| <= S: the last layer's number, and the sum of its own block, as |tanh| < 1,
 *
 * so that x lies in (z_i - (1 - a) (c +- S)) / a.  64 rows at a time: Newton's method inside the bracket.  Together the
 * columns cost a pass through the net, and the diagonal blocks once for each step.
 *
 * Gradients take J^T u = q, J = dz/dx: an upper triangle, so columns from the last to the first.  What those behind column i
 * send back to it through the net is known when u_i is asked for, and u_i itself goes back through its diagonal blocks alone:
 *   u_i = (q_i - s_i) / (dz_i/dx_i),  and together they cost a pass back, and the diagonal blocks once more.  */
#include <string.h>

#include "bnaf_impl.h"
#include "math/lanes_impl.h"

#define LOOP _Pragma("GCC ivdep") for (size_t i = 0; i < DFO_PANEL; i++)
enum { ITERATIONS = 300 };

typedef dfo_real lanes[DFO_PANEL];

/* Column j of a panel: the numbers that its blocks of units see, and where its function is evaluated.  */
struct column {
    const dfo_bijector *bij;
    const dfo_run *run;
    struct dfoi_bnaf_panel *panel;
    size_t j;
    dfo_real a, rest;                  /* of the gate: a and 1 - a */
    dfo_real *fixed[DFOI_BNAF_LAYERS]; /* (width, 64); of the last layer (1, 64) */
    dfo_real *rise[2];                 /* (width, 64): slopes of units */
    lanes value, slope;                /* of a x + (1 - a) f */
    lanes size;                        /* of its terms */
};

/* What the columns before j, and the condition, give to rows of block j in layer l.  */
static void fix(struct column *c, size_t l)
{
    const struct dfoi_bnaf *s = c->bij->state;
    struct dfoi_bnaf_place at = dfoi_bnaf_place(c->bij, l);
    size_t first = c->j * at.out, seen = at.lead + c->j * at.in;
    const dfo_real *b = dfo_run_weights(c->run, s->bias[l]) + first, *x = l ? c->panel->act[l - 1] : c->panel->in;
    if (seen) {
        dfoi_gemm(at.out, seen, c->run->derived + at.e + first * at.columns, at.columns, x, b, DFOI_ACT_NONE, NULL, c->fixed[l]);
        return;
    }
    for (size_t r = 0; r < at.out; r++)
        LOOP c->fixed[l][r * DFO_PANEL + i] = b[r];
}

/* value and slope at x; leaves the column's units in the panel.  */
static void evaluate(struct column *c, const dfo_real *x)
{
    const struct dfoi_bnaf *s = c->bij->state;
    const dfo_real *units = x;
    dfo_real *rise = NULL;
    for (size_t l = 0; l < s->layers; l++) {
        struct dfoi_bnaf_place at = dfoi_bnaf_place(c->bij, l);
        int last = l + 1 == s->layers;
        const dfo_real *e = c->run->derived + at.e + c->j * at.out * at.columns + at.lead + c->j * at.in;
        dfo_real *to = last ? c->value : c->panel->act[l] + c->j * s->width * DFO_PANEL;
        dfo_real *slope = last ? c->slope : c->rise[l % 2];
        for (size_t r = 0; r < at.out; r++) {
            dfo_real *y = to + r * DFO_PANEL, *dy = slope + r * DFO_PANEL;
            memcpy(y, c->fixed[l] + r * DFO_PANEL, sizeof(lanes));
            LOOP dy[i] = rise ? 0 : e[r * at.columns];
            for (size_t k = 0; k < at.in; k++) {
                dfo_real w = e[r * at.columns + k];
                LOOP y[i] += w * units[k * DFO_PANEL + i];
                for (size_t i = 0; rise && i < DFO_PANEL; i++)
                    dy[i] += w * rise[k * DFO_PANEL + i];
            }
        }
        if (!last) {
            dfoi_vtanh(at.out * DFO_PANEL, to, to);
            for (size_t k = 0; k < at.out * DFO_PANEL; k++)
                slope[k] *= 1 - to[k] * to[k];
        }
        units = to;
        rise = slope;
    }
    LOOP {
        c->value[i] = c->a * x[i] + c->rest * c->value[i];
        c->slope[i] = c->a + c->rest * c->slope[i];
    }
}

/* Ends of the bracket, a little apart for rounding; size is what value's rounding is measured by, but for a x.  */
static void bracket(struct column *c, const dfo_real *z, dfo_real *low, dfo_real *high)
{
    const struct dfoi_bnaf *s = c->bij->state;
    struct dfoi_bnaf_place at = dfoi_bnaf_place(c->bij, s->layers - 1);
    const dfo_real *e = c->run->derived + at.e + c->j * at.columns + c->j * at.in, *fixed = c->fixed[s->layers - 1];
    dfo_real sum = 0;
    for (size_t k = 0; k < at.in; k++)
        sum += e[k];
    LOOP {
        dfo_real middle = (z[i] - c->rest * fixed[i]) / c->a, reach = c->rest * sum / c->a;
        dfo_real size = (fixed[i] < 0 ? -fixed[i] : fixed[i]) + sum, all = (z[i] < 0 ? -z[i] : z[i]) + c->rest * size;
        reach += 8 * DFO_REAL_EPS * all / c->a;
        c->size[i] = c->rest * size;
        low[i] = middle - reach;
        high[i] = middle + reach;
    }
}

/* To the last digit.  */
static void root(struct column *c, const dfo_real *z, dfo_real *x)
{
    lanes low, high, last, open;
    bracket(c, z, low, high);
    LOOP {
        x[i] = (dfo_real)0.5 * (low[i] + high[i]);
        last[i] = high[i] - low[i];
        open[i] = 1;
    }
    for (size_t n = 0; n < ITERATIONS && dfoi_any_open(open, DFO_PANEL); n++) {
        evaluate(c, x);
        LOOP x[i] = dfoi_newton(&low[i], &high[i], &last[i], &open[i], x[i], c->value[i] - z[i], c->slope[i],
                                c->size[i] + c->a * (x[i] < 0 ? -x[i] : x[i]));
    }
    evaluate(c, x);
}

void dfoi_bnaf_solve(const dfo_bijector *bij, dfo_run *run, struct dfoi_bnaf_panel *p)
{
    const struct dfoi_bnaf *s = bij->state;
    struct column c = {.bij = bij, .run = run, .panel = p};
    dfo_real *at = p->some;
    dfo_real back = -*dfo_run_weights(run, s->gate);
    dfoi_vsigmoid(1, dfo_run_weights(run, s->gate), &c.a);
    dfoi_vsigmoid(1, &back, &c.rest);
    for (size_t l = 0; l < s->layers; l++, at += s->width * DFO_PANEL)
        c.fixed[l] = at;
    for (size_t k = 0; k < 2; k++, at += s->width * DFO_PANEL)
        c.rise[k] = at;
    for (c.j = 0; c.j < bij->d; c.j++) {
        for (size_t l = 0; l < s->layers; l++)
            fix(&c, l);
        root(&c, p->z + c.j * DFO_PANEL, p->in + (bij->cond_d + c.j) * DFO_PANEL);
    }
}

/* ---- and of gradients */

/* Gradients of pre-activations of layer l, or behind the last of f.  */
static dfo_real *block_of(const struct dfoi_bnaf *s, const struct dfoi_bnaf_transposed *t, size_t l, size_t j)
{
    return l + 1 == s->layers ? t->out + j * DFO_PANEL : t->pre[l] + j * s->width * DFO_PANEL;
}

/* What `count` blocks of layer l, from column j's, whose gradients stand in `from`, send to the layer in front's units of column j, or
 * to x_j.  */
static void send_back(const dfo_bijector *bij, const dfo_run *run, const struct dfoi_bnaf_panel *p, size_t l, size_t j, size_t count,
                      const dfo_real *from, dfo_real *to, dfo_real *gemm)
{
    const struct dfoi_bnaf *s = bij->state;
    struct dfoi_bnaf_place at = dfoi_bnaf_place(bij, l);
    const dfo_real *e = run->derived + at.e + j * at.out * at.columns + at.lead + j * at.in;
    const dfo_real *units = l ? p->act[l - 1] + j * s->width * DFO_PANEL : NULL;
    dfoi_gemm_back(count * at.out, at.in, e, at.columns, from, NULL, NULL, to, gemm);
    for (size_t k = 0; units && k < s->width * DFO_PANEL; k++)
        to[k] *= 1 - units[k] * units[k];
}

void dfoi_bnaf_solve_transposed(const dfo_bijector *bij, dfo_run *run, const struct dfoi_bnaf_panel *p,
                                const struct dfoi_bnaf_transposed *t, dfo_real *gemm)
{
    const struct dfoi_bnaf *s = bij->state;
    dfo_real a, rest, back = -*dfo_run_weights(run, s->gate);
    dfo_real *sent = p->some, *slope = sent + DFO_PANEL;       /* (64) */
    dfoi_vsigmoid(1, dfo_run_weights(run, s->gate), &a);
    dfoi_vsigmoid(1, &back, &rest);
    for (size_t j = bij->d; j-- > 0;) {
        dfo_real *u = t->u + j * DFO_PANEL, *out = t->out + j * DFO_PANEL;
        memset(out, 0, DFO_PANEL * sizeof *out);
        for (size_t l = s->layers; l-- > 0;)
            send_back(bij, run, p, l, j, bij->d - j, block_of(s, t, l, j), l ? block_of(s, t, l - 1, j) : sent, gemm);
        dfoi_vexp(DFO_PANEL, p->lf + j * DFO_PANEL, slope);
        LOOP {
            u[i] = (u[i] - sent[i]) / (a + rest * slope[i]);
            out[i] = rest * u[i];
        }
        const dfo_real *from = out;
        for (size_t l = s->layers - 1; l > 0; l--) {
            dfo_real *own = p->some + (2 + l % 2 * s->width) * DFO_PANEL;
            send_back(bij, run, p, l, j, 1, from, own, gemm);
            dfoi_add(s->width * DFO_PANEL, own, block_of(s, t, l - 1, j));
            from = own;
        }
    }
}

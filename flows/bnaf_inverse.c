/* The way back of bnaf.c, column after column.  With the columns before it known, what a unit sees but for its own column's
 * block is a number, and x_i is the root of a function of one variable that its diagonal blocks make:
 *
 *   a x + (1 - a) f_i(x) = z_i,  |f_i - c| <= S: the last layer's number, and the sum of its own block, as |tanh| < 1,
 *
 * so that x lies in (z_i - (1 - a) (c +- S)) / a.  64 rows at a time: Newton's method inside the bracket.  Together the
 * columns cost a pass through the net, and the diagonal blocks once for each step.  */
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

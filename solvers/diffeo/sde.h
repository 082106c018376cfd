/* Stochastic differential equations dX = f(t, X) dt + G(t, X) dW: steps along the paths of <diffeo/brownian.h>, equal ones or
 * chosen by an estimate of their errors, either way in time; reversible Heun, which goes back over its own steps.  */
#ifndef DIFFEO_SDE_H
#define DIFFEO_SDE_H

#include <diffeo/real.h>
#include <diffeo/brownian.h>
#include <diffeo/ctx.h>
#include <diffeo/field.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum dfo_calculus { DFO_ITO, DFO_STRATONOVICH } dfo_calculus;

/* additive: G knows t alone.  diagonal: entry i knows t and x[i] alone.  general: any matrix.  */
typedef enum dfo_noise_kind { DFO_NOISE_ADDITIVE, DFO_NOISE_DIAGONAL, DFO_NOISE_GENERAL } dfo_noise_kind;

typedef struct dfo_noise dfo_noise;

struct dfo_noise_ops {
    const char *type;
    size_t     (*scratch)(const dfo_noise *, size_t rows);     /* arena, the largest of what follows; NULL: none */
    /* g = G(t[i], x[i]) of n rows: (n,d,m), or (n,d) where m is 0, the diagonal.  x is only read.  */
    dfo_status (*eval)(const dfo_noise *, dfo_run *, const double *t, dfo_batch x, dfo_real *g);
    /* dg (n,d) = d g_i/d x_i, of diagonal noise: for Milstein's methods and the other calculus.  May be absent.  */
    dfo_status (*slope)(const dfo_noise *, dfo_run *, const double *t, dfo_batch x, dfo_real *dg);
    /* c (n,d) = sum over k of (dG_k/dx) G_k, G_k the columns of general noise: for the other calculus.  May be absent.  */
    dfo_status (*correction)(const dfo_noise *, dfo_run *, const double *t, dfo_batch x, dfo_real *c);
    /* Adds to gx (n,d) the gradient of sum gg . g with respect to x, to run->grads (unless NULL) that of weights.  gg may be
     * overwritten.  Absent: no gradients, but through additive noise, which then has no weights.  */
    dfo_status (*vjp)(const dfo_noise *, dfo_run *, const double *t, dfo_batch x, dfo_real *gg, dfo_batch gx);
};

/* Noise for one solve: m Brownian columns a row; m = 0: d of them, one an entry (diagonal noise always, additive noise may).
 * Nobody frees it.  */
struct dfo_noise {
    const struct dfo_noise_ops *ops;
    const void    *state;
    dfo_noise_kind kind;
    dfo_calculus   calculus;           /* the drift that goes with it is meant in; nothing to additive noise */
    size_t         d, m;
};

/* c (n,d) = 1/2 sum over k of (dG_k/dx) G_k: Ito's drift minus Stratonovich's for the same process.  DFO_EUNSUP where the noise
 * does not say it.  Arena: dfo_noise_correction_scratch.  */
dfo_status dfo_noise_correction(const dfo_noise *noise, dfo_run *run, const double *t, dfo_batch x, dfo_real *c);
size_t dfo_noise_correction_scratch(const dfo_noise *noise, size_t rows);

typedef struct dfo_sde dfo_sde;

typedef struct dfo_sde_options {
    const char *method;        /* a name of dfo_sde_method */
    size_t steps;              /* so many equal steps; 0: chosen by the error's estimate, every row its own */
    double rtol, atol;         /* errors of a step are scaled by atol + rtol max(|before|, |after|) */
    double p, i, d;            /* the controller's exponents, divided by the order of the error's estimate (0.1, 0.3, 0) */
    double first;              /* the first step's length; 0: a hundredth of the way */
    size_t most;               /* steps, those that were tried again counted, before it gives up */
} dfo_sde_options;

typedef struct dfo_sde_report {
    uint64_t drifts, noises;       /* evaluations over all rows of a call at a time */
    uint64_t accepted, rejected;   /* steps: of the slowest row */
} dfo_sde_report;

/* spark, steps 0, rtol 1e-3, atol 1e-3, PI control, at most 100,000 steps.  */
void dfo_sde_defaults(dfo_sde_options *options);

/* The i-th method's name ("heun") and a line about it; NULL past the end.  */
const char *dfo_sde_method(size_t i);
const char *dfo_sde_method_text(size_t i);
/* Its strong order for noise of that kind; 0: it does not take it, or the name is not known.  */
double dfo_sde_method_order(const char *name, dfo_noise_kind kind);
/* The calculus in which it takes the drift: solves convert the drift of noise that says the other one.  DFO_ITO for names that
 * are not known.  */
dfo_calculus dfo_sde_method_calculus(const char *name);
/* 1: it estimates its errors; 0: it takes equal steps only, or is not known.  */
int dfo_sde_method_adaptive(const char *name);

/* Checks the options (copied).  DFO_EARG names the one that is wrong.  */
dfo_status dfo_sde_new(dfo_ctx *ctx, const dfo_sde_options *options, dfo_sde **out);
void dfo_sde_free(dfo_sde *sde);

/* Arena that dfo_sde_solve takes for `rows` rows.  */
size_t dfo_sde_scratch(const dfo_sde *sde, const dfo_field *field, const dfo_noise *noise, size_t rows);

/* From t0 to t1, either way, in place: row i sees the path of row key.row + i of b, going back the very increments of going
 * forward.  A drift in Ito's sense is meant in the direction of going: back in time it is that of the reversed clock, as samplers
 * of diffusion models have it, and not the way back along the forward path, which a drift in Stratonovich's sense is.  The
 * field's quadratures are not looked at.  report: added to, or NULL.  DFO_EARG: noise that the method does not take,
 * times outside the path, steps below its tol.  DFO_EUNSUP: the noise does not tell what the method or the other calculus
 * wants.  DFO_ENUM, naming time and row, where something is not finite, a chosen step becomes smaller than the path's tol, or
 * there were too many.  The arena mark is put back.  Kloeden and Platen 1992, 10; Roessler 2010; Foster 2023;
 * Foster, dos Reis and Strange 2024.  */
dfo_status dfo_sde_solve(const dfo_sde *sde, const dfo_field *field, const dfo_noise *noise, dfo_run *run, const dfo_brownian *b,
                         double t0, double t1, dfo_batch x, dfo_sde_report *report);

/* For use without a plan: allocates what it needs.  x (n,d) at times[0] goes to out (count, n, d), the states at times[0] ..
 * times[count-1], which rise or fall; equal steps are so many from each to the next.  Row i sees row i of the path.  */
dfo_status dfo_sde_integrate(dfo_ctx *ctx, const dfo_sde *sde, const dfo_field *field, const dfo_noise *noise, const dfo_brownian *b,
                             dfo_batch x, size_t count, const double *times, dfo_real *out, dfo_sde_report *report);

/* Reversible Heun (Kidger et al. 2021), for drifts in Stratonovich's sense: beside the rows y a second state s, y at the start;
 *
 *     s1 = 2 y0 - s0 + f(t0, s0) h + G(t0, s0) W,   y1 = y0 + (f(t0, s0) + f(t1, s1)) h/2 + (G(t0, s0) + G(t1, s1)) W/2
 *
 * in equal steps, one evaluation each; strong order 1 for additive noise, 0.5 else.  Everything stays the caller's.  */
typedef struct dfo_sde_reversible {
    const dfo_field    *field;
    const dfo_noise    *noise;
    const dfo_brownian *path;              /* row i of a call sees row key.row + i */
    double t0, t1;                         /* either way */
    size_t steps;
} dfo_sde_reversible;

/* Arena that any of the calls below takes for `rows` rows.  It does not depend on the steps.  */
size_t dfo_sde_reversible_scratch(const dfo_sde_reversible *how, size_t rows);

/* From t0 to t1, in place.  DFO_EARG as dfo_sde_solve; DFO_EUNSUP: Ito's drift.  DFO_ENUM, naming time and row, where something is
 * not finite.  */
dfo_status dfo_sde_reversible_forward(const dfo_sde_reversible *how, dfo_run *run, dfo_batch y, dfo_batch s);

/* Back: from what forward left to what it began with, to rounding.  */
dfo_status dfo_sde_reversible_inverse(const dfo_sde_reversible *how, dfo_run *run, dfo_batch y, dfo_batch s);

/* The same, with gradients: gy, gs (n,d) with respect to the end become those with respect to the start (of rows that start
 * with s = y their sum); weights' gradients go to run->grads.  DFO_EUNSUP where drift or noise have none.  */
dfo_status dfo_sde_reversible_backward(const dfo_sde_reversible *how, dfo_run *run, dfo_batch y, dfo_batch s, dfo_batch gy, dfo_batch gs);

#ifdef __cplusplus
}
#endif
#endif

/* Initial value problems: Runge-Kutta methods in fixed or chosen steps, and exact gradients of what they did (DFO_EUNSUP: kvaerno3,
 * which is implicit and for stiff fields), gradients by the continuous adjoint.  */
#ifndef DIFFEO_ODE_H
#define DIFFEO_ODE_H

#include <diffeo/real.h>
#include <diffeo/ctx.h>
#include <diffeo/field.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dfo_ode dfo_ode;

typedef struct dfo_ode_options {
    const char *method;        /* a name of dfo_ode_method */
    size_t steps;              /* so many equal steps; 0: chosen by the error's estimate */
    double rtol, atol;         /* errors of a step are scaled by atol + rtol max(|before|, |after|) */
    double p, i, d;            /* the controller's exponents, divided by the method's order (0, 1, 0) */
    size_t most;               /* steps, those that were tried again counted, before it gives up */
    int    together;           /* 1: all rows of a call take the same steps, by the RMS of all their errors */
    int    quadratures;        /* 1: the quadratures' errors count too */
} dfo_ode_options;

typedef struct dfo_ode_report {
    uint64_t evaluations;      /* of the field, over all rows of a call at a time */
    uint64_t accepted, rejected;   /* steps; of rows that go alone: of the slowest row */
} dfo_ode_report;

/* dopri5, steps 0, rtol 1e-5, atol 1e-5, at most 1000 steps, rows alone.  */
void dfo_ode_defaults(dfo_ode_options *options);

/* The i-th method's name ("dopri5") and a line about it; NULL past the end.  */
const char *dfo_ode_method(size_t i);
const char *dfo_ode_method_text(size_t i);
/* Its order; that of its embedded method (of dop853 what its two amount to, 7), 0: it has none and takes equal steps only; stages
 * of a step.  0 for names that are not known.  */
size_t dfo_ode_method_order(const char *name);
size_t dfo_ode_method_embedded(const char *name);
size_t dfo_ode_method_stages(const char *name);
/* The order of its solution inside a step; 0: it has none, and steps end where states are wanted.  */
size_t dfo_ode_method_dense(const char *name);

/* Checks the options (copied).  DFO_EARG names the one that is wrong.  */
dfo_status dfo_ode_new(dfo_ctx *ctx, const dfo_ode_options *options, dfo_ode **out);
void dfo_ode_free(dfo_ode *ode);
const dfo_ode_options *dfo_ode_options_of(const dfo_ode *ode);

/* The states of accepted steps, kept for dfo_ode_backward: t[0] .. t[n] and x (n+1, rows, d) or NULL, room for `most` steps.  Rows
 * go together.  kept (room, dfo_ode_kept()): what the field records of the first `room` steps, which then are not taken again, if
 * the way back wants rates where the solve did (rates, set by it); NULL: nothing.  The gradient has the same bits either way.  */
typedef struct dfo_ode_trace {
    size_t    most, n;
    double   *t;
    dfo_real *x;
    size_t    room;
    int       rates;
    dfo_real *kept;
} dfo_ode_trace;

/* Numbers of one step that a trace can keep of `rows` rows; 0: the field does not record.  */
size_t dfo_ode_kept(const dfo_ode *ode, const dfo_field *field, size_t rows);

/* Arena that dfo_ode_solve takes for `rows` rows, and dfo_ode_backward.  */
size_t dfo_ode_scratch(const dfo_ode *ode, const dfo_field *field, size_t rows);
size_t dfo_ode_backward_scratch(const dfo_ode *ode, const dfo_field *field, size_t rows);

/* From t0 to t1, either way, in place; the quadratures are added to q (n,nq) (NULL: not wanted).  trace: NULL, or where
 * accepted steps are kept.  report: added to, or NULL.  DFO_ENUM, naming time and row (absolute: key.row is the first's),
 * where the field is not finite, the step becomes too small for t to move, or there were too many; what x holds then is
 * not said.  The arena mark is put back.  Steps: Hairer, Norsett and Wanner 1993, II.4.  */
dfo_status dfo_ode_solve(const dfo_ode *ode, const dfo_field *field, dfo_run *run, double t0, double t1, dfo_batch x, double *q,
                         dfo_ode_trace *trace, dfo_ode_report *report);

/* The gradient of the steps in the trace, taken as they are: gx (n,d) with respect to the end becomes that with respect to
 * the start, gq (n,nq) belongs to the quadratures (NULL: zeros); weights' gradients go to run->grads.  */
dfo_status dfo_ode_backward(const dfo_ode *ode, const dfo_field *field, dfo_run *run, const dfo_ode_trace *trace, dfo_batch gx,
                            const double *gq, dfo_ode_report *report);

/* The same where the trace has no states (its x is NULL), from x (n,d), the state at t[0]: a few are kept, about log2 of
 * trace->most, and the others come from steps taken again.  Griewank and Walther 2000 (revolve).  Its arena.  */
dfo_status dfo_ode_checkpoint_backward(const dfo_ode *ode, const dfo_field *field, dfo_run *run, const dfo_ode_trace *trace, dfo_batch x,
                                       dfo_batch gx, const double *gq, dfo_ode_report *report);
size_t dfo_ode_checkpoint_scratch(const dfo_ode *ode, const dfo_field *field, size_t rows, size_t most);

/* Without a trace, by the continuous adjoint: x (n,d) at t1 and gx (n,d), gq (n,nq) (NULL: zeros) as above are solved back to t0
 * together, rows too, with the method and in steps of the options, whose tolerances x and the gradient, scaled to 1, are held to.
 * Then x is what was found at t0, and gx the gradient there; weights' gradients, which have no part in the errors of steps, are
 * added to run->grads at accepted ones.  Memory does not grow with steps, nor is the gradient exactly that of the forward solve:
 * both have the solver's errors.  kvaerno3 too.  DFO_ENUM as dfo_ode_solve; what x, gx and run->grads hold then is not said.  Chen
 * et al. 2018, eqs. (4), (5); Kidger, Chen and Lyons 2021 (the seminorm).  Its arena.  */
dfo_status dfo_ode_adjoint(const dfo_ode *ode, const dfo_field *field, dfo_run *run, double t0, double t1, dfo_batch x, dfo_batch gx,
                           const double *gq, dfo_ode_report *report);
size_t dfo_ode_adjoint_scratch(const dfo_ode *ode, const dfo_field *field, size_t rows);

/* For use without a plan: allocates what it needs.  x (n,d) at t0 = times[0] goes to out (count, n, d), the states at
 * times[0] .. times[count-1], which rise or fall: from inside the steps (dense output) where they are chosen and the method has
 * it, else a step ends at each.  q (n,nq) gets the quadratures over all of it (NULL: not wanted).  */
dfo_status dfo_ode_integrate(dfo_ctx *ctx, const dfo_ode *ode, const dfo_field *field, dfo_batch x, size_t count,
                             const double *times, dfo_real *out, double *q, dfo_ode_report *report);

#ifdef __cplusplus
}
#endif
#endif

/* Continuous flows: what the layer (cnf.c), its field (cnf_field.c), probes (cnf_probe.c), learned end (cnf_end.c) and
 * guidance (cnf_guide.c) share, and what flows ask of the layer.  Private to flows.  */
#ifndef DFOI_CNF_IMPL_H
#define DFOI_CNF_IMPL_H

#include <diffeo/flow.h>
#include <diffeo/net.h>
#include <diffeo/ode.h>
#include <diffeo/reversible.h>
#include "base/real_impl.h"
#include "diffusion_impl.h"
#include "layer_impl.h"

/* Integrals along the way, over the features of a row: of |f|^2, of the squared Frobenius norm of df/dz, or its estimate
 * |e^T df/dz|^2 (Finlay et al. 2020), of |d^K z/dt^K|^2, K = "order" (Kelly et al. 2020).  Quadratures behind the trace.  */
typedef enum dfoi_cnf_cost { DFOI_CNF_KINETIC, DFOI_CNF_JACOBIAN, DFOI_CNF_ACCELERATION, DFOI_CNF_COSTS } dfoi_cnf_cost;

struct dfoi_cnf {
    dfo_net *net;
    dfo_ode *together, *alone;
    dfo_reversible *reversible;            /* or NULL: states of all steps are kept */
    double   end, coupling;                /* the end at first, if it is learned */
    int      learn_end;
    size_t   root;                         /* of the end, a weight */
    size_t   probes;                       /* 0: exact */
    int      normal, sketch;               /* of normal numbers, not signs; hutch++ */
    int      always;                       /* evaluation estimates too */
    size_t   most;                         /* steps that backward goes back through at most */
    int      checkpoint;                   /* of which it keeps few states */
    int      adjoint;                      /* or none but the last */
    int      zero_init, always_together;   /* evaluation too takes the same steps for the rows of a block */
    uint64_t stream;
    size_t   order;                        /* of the acceleration's derivative: 2, or higher */
    double   cost[DFOI_CNF_COSTS];         /* weights of what training adds to the loss */
    dfoi_diffusion diffusion;              /* what the net's output stands for; off: for the field itself */
    size_t   cond_d;                       /* features of the condition */
    double   guidance;                     /* 1: the net as it is (cnf_guide.c) */
};

/* A solve of some rows.  */
struct dfoi_cnf_solve {
    const dfo_bijector *bij;
    const dfo_real *probe;                 /* (K, n, d); NULL: the trace is exact */
    int             shared;                /* rows are at the same time */
    int             back;                  /* on the way back: evaluations are not counted */
    int             wanted[DFOI_CNF_COSTS];
    int             each;                  /* every probe's estimate is a quadrature of its own */
    size_t          n;
    dfo_real       *gtime;                 /* (n) where gradients add the time's, or NULL */
    const double   *guidance;              /* NULL: the layer's own */
};

/* Its field: the net, with the trace as the first quadrature, and behind it the costs if any is wanted, or each probe's estimate.  */
dfo_field dfoi_cnf_field(const struct dfoi_cnf_solve *f, const dfo_cond *cond, dfo_cond *gcond);
extern const struct dfo_field_ops dfoi_cnf_field_ops;
const struct dfo_field_ops *dfoi_cnf_own_ops(const struct dfoi_cnf *c);     /* the net's own; guided, if it has a condition */
extern const struct dfo_field_ops dfoi_cnf_end_ops;     /* over times from 0 to 1, the end learned */
extern const struct dfo_field_ops dfoi_cnf_diffusion_ops;      /* over the way from noise to data */

/* The layer's `saved`, see there; rows packed at `at`, or (back) from there; the state of the last step, which = 1: the second one; the steps,
 * and to *numbers how many there are and whether they had rates.  cnf_saved.c.  */
size_t dfoi_cnf_saved(const dfo_bijector *bij, size_t rows, const dfo_run *how);
void dfoi_cnf_pack(dfo_batch x, dfo_real *at, int back);
dfo_real *dfoi_cnf_last_states(const dfo_run *run, size_t n, size_t d, size_t which);
dfo_ode_trace dfoi_cnf_steps(const dfo_bijector *bij, const dfo_run *run, size_t n, double **numbers);

/* The end as it is now, and what its gradient adds to the weight's, if it is one.  */
double dfoi_cnf_factor(const struct dfoi_cnf *c, const dfo_run *run);
void dfoi_cnf_add_end(const struct dfoi_cnf *c, dfo_run *run, double gend);

/* loss[i] = mean square of f(x_i, end t_i) end - u_i, with weights' gradients of sum by[i] loss[i] if run->grads; of diffusion, of
 * what the net says at place t_i less u_i.  */
dfo_status dfoi_cnf_regress(const dfo_bijector *bij, dfo_run *run, const double *t, dfo_batch x, const dfo_cond *cond, dfo_batch u,
                            const double *by, double *loss);
size_t dfoi_cnf_regress_scratch(const dfo_bijector *bij, size_t rows);

/* A solve's probes (K,n,d), the solve starting at x and time `from`, and what drawing them takes of the arena.  cnf_probe.c.  */
dfo_status dfoi_cnf_probe(const dfo_bijector *bij, dfo_run *run, double from, dfo_batch x, const dfo_cond *cond, dfo_real *probe);
size_t dfoi_cnf_probe_scratch(const dfo_bijector *bij, size_t rows);

/* Adds to variance (n) that of the rows' estimates; q (n,1+K): the log-det and what each probe says of it.  */
void dfoi_cnf_variance(const dfo_bijector *bij, const double *q, size_t n, double *variance);

/* e (n,d) becomes (df/dz) e at x and the solver's time t.  */
dfo_status dfoi_cnf_push(const dfo_bijector *bij, dfo_run *run, double t, dfo_batch x, const dfo_cond *cond, dfo_real *e);
size_t dfoi_cnf_push_scratch(const dfo_bijector *bij, size_t rows);

/* What the net says of rows y at its times t (n), of `of` layer and guidance alone, and arena for it.  */
dfo_status dfoi_cnf_net(const struct dfoi_cnf_solve *of, dfo_run *run, const double *t, dfo_batch y, const dfo_cond *cond, dfo_batch out);
size_t dfoi_cnf_net_scratch(const dfo_bijector *bij, size_t rows);
dfo_layout dfoi_cnf_net_layout(const dfo_bijector *bij);

/* See dfo_flow_set_solver, dfo_flow_solver, dfo_flow_probes.  */
dfo_status dfoi_cnf_set_solver(dfo_ctx *ctx, dfo_bijector *bij, const dfo_solver_options *o);
dfo_solver_options dfoi_cnf_solver(const dfo_bijector *bij);
size_t dfoi_cnf_probes(const dfo_bijector *bij);

/* What the net's output stands for; NULL: for the field.  */
const dfoi_diffusion *dfoi_cnf_diffusion(const dfo_bijector *bij);

/* Of a flow that ends in such a layer, diffusion_map.c: the predictor of x_0 at x, for rows of one time, a field, with `of` its state; the layers before
 * it, or their inverse, whose log-dets are added to logdet (n) unless that is NULL; an error's words, with the layer in front; rows times
 * a number.  */
dfo_field dfoi_diffusion_predictor(const struct dfoi_cnf_solve *of, size_t d, const dfo_cond *cond);
dfo_status dfoi_diffusion_others(const dfo_flow *flow, dfo_run *run, dfo_batch x, const dfo_cond *cond, int back, double *logdet);
dfo_status dfoi_diffusion_named(const dfo_flow *flow, dfo_run *run);
void dfoi_diffusion_scale(dfo_batch x, double by);

/* The time that data are at for the solver: 1 if the end is learned.  */
double dfoi_cnf_end(const dfo_bijector *bij);

#endif

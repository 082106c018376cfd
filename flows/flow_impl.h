/* The flow's inside.  Private to flows.  */
#ifndef DFOI_FLOW_IMPL_H
#define DFOI_FLOW_IMPL_H

#include "base/real_impl.h"
#include <diffeo/flow.h>

/* How the field of a continuous flow is fitted, or off.  straight: (1-t) x0 + t x1 + sigma e.  narrowing: t x1 + (1 - (1-sigma)
 * t) x0.  trigonometric: cos(pi t/2) x0 + sin(pi t/2) x1 + sigma e.  bridge: (1-t) x0 + t x1 + sigma sqrt(t (1-t)) e.  */
typedef enum dfoi_path { DFOI_PATH_STRAIGHT, DFOI_PATH_NARROWING, DFOI_PATH_TRIGONOMETRIC, DFOI_PATH_BRIDGE, DFOI_PATHS } dfoi_path;

typedef struct dfoi_matching {
    int       on;
    dfoi_path path;
    double    sigma;
    int       transport, given;               /* noise and data of a shard are paired at the least total distance */
    int       denoising;                      /* in place of all this: the net of a diffusion layer learns what is noise */
    double    label_dropout;                  /* the part of training's rows whose condition is left out, as zeros: guidance wants it */
    size_t    windows, teacher_steps;         /* parts of the way, each straight, that a teacher's field is distilled to; 0: none */
} dfoi_matching;

/* Is the condition standardised, and the places of its means and standard deviations, flow_condition.c.  */
struct dfoi_condition {
    int    on;
    size_t mean, std;                         /* (cond_d) each, buffers */
};

struct dfo_flow {
    dfo_ctx      *ctx;
    dfo_store    *store;
    dfo_bijector *bij;
    dfo_dist     *base;
    size_t        d, cond_d;
    dfoi_matching matching;
    struct dfoi_condition condition;
};

/* What a worker needs for `rows` rows; derived holds the bijector's, then the base's.  */
dfo_need dfoi_flow_need(const dfo_flow *flow, size_t rows, const dfo_run *how, int gradients);
dfo_status dfoi_flow_prepare(const dfo_flow *flow, dfo_run *run, dfo_real *derived);

/* The bijector's maps; DFO_ENUM, naming layer and row, if what comes out is not finite.  */
dfo_status dfoi_flow_forward(const dfo_flow *flow, dfo_run *run, dfo_batch x, const dfo_cond *cond, double *logdet);
dfo_status dfoi_flow_inverse(const dfo_flow *flow, dfo_run *run, dfo_batch z, const dfo_cond *cond, double *logdet);

/* Adds the base's log-density of latent rows to logp (n).  */
dfo_status dfoi_flow_base_log_prob(const dfo_flow *flow, dfo_run *run, dfo_batch z, const dfo_cond *cond, double *logp);

/* log p of the rows, in place (x becomes z); logp (n) is written.  */
dfo_status dfoi_flow_log_prob(const dfo_flow *flow, dfo_run *run, dfo_batch x, const dfo_cond *cond, double *logp);

/* The same, then gradients of sum_i weight_i log p_i: of weights into run->grads (with begin and done), of
 * rows into gx, of the condition into gcond (may be NULL).  x holds the input rows again.  */
dfo_status dfoi_flow_log_prob_grad(const dfo_flow *flow, dfo_run *run, dfo_batch x, const dfo_cond *cond,
                                   const double *weight, double *logp, dfo_batch gx, dfo_cond *gcond);

/* The logarithm of the mean of p over so many draws of what the layers draw, and if run->variance is wanted the variance of its
 * error added there; x holds the last draw's latents.  flow_draws.c.  */
dfo_status dfoi_flow_log_prob_draws(const dfo_flow *flow, dfo_run *run, dfo_batch x, const dfo_cond *cond, size_t draws, double *logp);
size_t dfoi_flow_draws_scratch(size_t rows);

/* Of so many draws of what is missing in rows (n), which each row takes, by their densities: chosen (n).  logp (n): as above.  The
 * rows stay.  Scratch: that, and a copy of the rows.  */
dfo_status dfoi_flow_choose(const dfo_flow *flow, dfo_run *run, dfo_batch x, const dfo_cond *cond, size_t draws, uint32_t *chosen, double *logp);

/* Do some rows lack what the flow integrates out?  */
int dfoi_flow_lacks(const dfo_flow *flow, dfo_batch x);

/* The bijector's backward; gradients of weights are bracketed by begin and done.  */
dfo_status dfoi_flow_backward(const dfo_flow *flow, dfo_run *run, dfo_batch z, dfo_batch gz, const dfo_cond *cond,
                              dfo_cond *gcond, const double *glogdet);
dfo_status dfoi_flow_inverse_backward(const dfo_flow *flow, dfo_run *run, dfo_batch x, dfo_batch gx, const double *glogdet);

/* DFO_ESHAPE unless rows and condition are the flow's.  Prepares derived data of weights that have changed.  */
dfo_status dfoi_flow_fits(const dfo_flow *flow, dfo_ctx *ctx, dfo_batch x, const dfo_cond *cond);
dfo_status dfoi_flow_ready(const dfo_flow *flow, dfo_plan *plan, dfo_key key);

/* The rows of `from` in packed scratch of `rows` rows, the last of them repeated; and back to where they were (to.x may be NULL).  */
dfo_batch dfoi_flow_fill(dfo_run *run, dfo_batch from, size_t rows);
/* The same of rows first .. first + n - 1 of all parts of a condition, as the flow's inside sees it.  */
dfo_cond dfoi_flow_fill_cond(const dfo_flow *flow, dfo_run *run, const dfo_cond *cond, size_t first, size_t n, size_t rows);
void dfoi_flow_put_back(dfo_batch from, dfo_batch to);

/* The setting "condition" and its buffers; their values (cond_d each), DFO_ENUM unless they are finite: nothing was changed then.  */
dfo_status dfoi_flow_condition_new(dfo_build *build, const struct json_t *config, dfo_flow *flow);
dfo_status dfoi_flow_condition_set(dfo_flow *flow, const double *mean, const double *std);
/* DFO_ENUM unless the buffers are such as rows can be divided by.  */
dfo_status dfoi_flow_condition_check(const dfo_flow *flow, dfo_run *run);
/* A condition as the flow's inside sees it: a copy, in that much scratch; in place.  Gradients of it become gradients of what was
 * given, in place (gcond NULL: nothing is done).  Nothing of this where it is not standardised.  */
dfo_cond dfoi_flow_condition(const dfo_flow *flow, dfo_run *run, const dfo_cond *cond);
size_t dfoi_flow_condition_scratch(const dfo_flow *flow, size_t rows);
void dfoi_flow_condition_apply(const dfo_flow *flow, const dfo_run *run, const dfo_cond *cond);
void dfoi_flow_condition_back(const dfo_flow *flow, const dfo_run *run, const dfo_cond *gcond);

/* Rows of which something is known, NaN elsewhere, given.c: DFO_ESHAPE unless given is like x, DFO_EUNSUP unless the first `count` layers act
 * on entries one by one; a copy as dfoi_flow_fill makes it, zeros for NaN, to go through these; NaN again in y; what is known, to x.  */
dfo_status dfoi_given_check(const dfo_flow *flow, dfo_ctx *ctx, size_t count, dfo_batch x, dfo_batch given);
dfo_batch dfoi_given_take(dfo_run *run, dfo_batch given, size_t rows);
void dfoi_given_mark(dfo_batch given, dfo_batch y);
void dfoi_given_put(dfo_batch given, dfo_batch x);

/* The bijector's data init; x holds the latent rows afterwards.  */
dfo_status dfoi_flow_init(dfo_flow *flow, dfo_run *run, dfo_batch x, const dfo_cond *cond);

#endif

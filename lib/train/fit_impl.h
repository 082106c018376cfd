/* The trainer's inside, shared by fit.c, mean_loss.c, optim.c and ckpt.c.  Private.  */
#ifndef DFOI_FIT_IMPL_H
#define DFOI_FIT_IMPL_H

#include "base/real_impl.h"
#include "train/plan_impl.h"
#include <diffeo/fit.h>

/* Everything that a checkpoint must hold.  */
typedef struct dfoi_fit_state {
    size_t    size, buffers;           /* reals of the weights' and the buffers' block */
    dfo_real *m, *v;                   /* (size) moments; v NULL for SGD */
    dfo_real *ema;                     /* (size) or NULL */
    dfo_real *best, *best_buffers;     /* or NULL where nothing is validated */
    uint64_t  step, best_step, skipped, validations, since_best, bad;
    double    best_loss, last_valid, loss_sum, loss_weight, elapsed, last_train;
} dfoi_fit_state;

dfo_status dfoi_fit_state_new(dfo_ctx *ctx, const dfo_store *store, const dfo_fit_options *options, int validates,
                              dfoi_fit_state *state);
void dfoi_fit_state_free(dfo_ctx *ctx, dfoi_fit_state *state);

/* Learning rate at this step; progress 0..1.  */
double dfoi_fit_rate(const dfo_fit_options *options, uint64_t step, double progress);

/* Euclidean norm of the gradient, the same bits for any number of threads.  */
double dfoi_fit_norm(int threads, size_t n, const dfo_real *g);

/* One step of the optimiser; scale multiplies the gradient first.  w, state and g in step.  */
void dfoi_fit_update(const dfo_fit_options *options, int threads, double lr, double scale, dfo_real *g,
                     dfo_real *w, dfoi_fit_state *state);

/* Rows x (n, d + cond_d), as a source gives them, as rows and condition; and rows first .. first+n-1 of a minibatch.  */
dfo_minibatch dfoi_minibatch_of(dfo_real *x, size_t n, size_t d, size_t cond_d);
dfo_minibatch dfoi_minibatch_rows(const dfo_minibatch *batch, size_t first, size_t n);

/* Mean loss over all rows of a source, whose last cond_d features are the condition, with the plan's weights (it is
 * prepared).  A value that is not finite makes it infinite.  */
dfo_status dfoi_mean_loss(dfo_plan *plan, dfo_loss *loss, const dfo_source *rows, size_t cond_d, uint64_t seed,
                          uint64_t step, double *mean);

dfo_status dfoi_checkpoint_write(dfo_ctx *ctx, const char *path, dfo_store *store, const dfo_fit_options *options,
                                 const dfoi_fit_state *state);
dfo_status dfoi_checkpoint_read(dfo_ctx *ctx, const char *path, dfo_store *store, dfoi_fit_state *state);

#endif

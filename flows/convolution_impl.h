/* What convolutions and woodbury share that map data to latents by M or, with "solve", by M^-1: their state begins with
 * this, and their tables name these functions.  Private to flows.  */
#ifndef DFOI_CONVOLUTION_IMPL_H
#define DFOI_CONVOLUTION_IMPL_H

#include "base/real_impl.h"
#include "layer_impl.h"

struct dfoi_convolution {
    size_t kh, kw;                     /* woodbury has no kernel */
    size_t kernel;                     /* in the store */
    int    solve;                      /* data to latents solves */
    /* x = M x, or M^-1 x; its log-det is added (logdet NULL: not wanted).  */
    dfo_status (*apply)(const dfo_bijector *, dfo_run *, dfo_batch x, int solve, double *logdet);
    /* Back through the same.  kept: the input (n, d) that store kept, or NULL; layers without `saved` get NULL.  */
    dfo_status (*pull)(const dfo_bijector *, dfo_run *, dfo_batch y, dfo_batch gy, int solve, const dfo_real *kept,
                       const double *glogdet);
};

/* "kernel", one number or two, at most most[0] and most[1], 3 or less where it is absent; and "solve".  */
dfo_status dfoi_convolution_read(dfo_ctx *ctx, const json_t *config, const size_t most[2], struct dfoi_convolution *s);
dfo_status dfoi_convolution_describe(const dfo_bijector *bij, json_t *to);

/* Memory mode store keeps the input.  */
size_t dfoi_convolution_saved(const dfo_bijector *bij, size_t rows, const dfo_run *how);

dfo_status dfoi_convolution_forward(const dfo_bijector *bij, dfo_run *run, dfo_batch x, const dfo_cond *cond, double *logdet);
dfo_status dfoi_convolution_inverse(const dfo_bijector *bij, dfo_run *run, dfo_batch z, const dfo_cond *cond, double *logdet);
dfo_status dfoi_convolution_backward(const dfo_bijector *bij, dfo_run *run, dfo_batch z, dfo_batch gz, const dfo_cond *cond,
                                     dfo_cond *gcond, const double *glogdet);
dfo_status dfoi_convolution_inverse_backward(const dfo_bijector *bij, dfo_run *run, dfo_batch x, dfo_batch gx,
                                             const dfo_cond *cond, dfo_cond *gcond, const double *glogdet);

/* From the conditioning of M to the layer's own.  */
void dfoi_convolution_turn(const dfo_bijector *bij, dfo_conditioning *of);

#endif

/* What stands on the features of a classifier: to logits, one a class.  Private to flows.  */
#ifndef DFOI_HEAD_IMPL_H
#define DFOI_HEAD_IMPL_H

#include "base/real_impl.h"
#include "base/json_impl.h"
#include <diffeo/build.h>
#include <diffeo/run.h>

typedef struct dfoi_head {
    dfo_ctx *ctx;
    size_t   classes, c, plane;            /* rows are c channels of plane features */
    int      norm, relu;
    size_t   scale, shift;                 /* (c) where norm is set */
    size_t   weight, bias;                 /* (classes, c), (classes) */
    size_t   first, count;                 /* its weights in the store */
} dfoi_head;

/* From {"classes":10,"norm":true,"activation":"relu"} for rows of build->shape.  */
dfo_status dfoi_head_new(dfo_build *build, const json_t *config, dfoi_head **out);
void dfoi_head_free(dfoi_head *head);
dfo_status dfoi_head_describe(const dfoi_head *head, json_t *to);

/* Sets scale and shift (of the store the head was built into) so that the rows' channels have mean 0 and
 * standard deviation 1.  */
void dfoi_head_init(const dfoi_head *head, dfo_real *weights, dfo_batch z);

/* logits (classes) of the row z; pooled (c) is kept for backward.  weights: the store's block, or a copy.  */
void dfoi_head_forward(const dfoi_head *head, const dfo_real *weights, const dfo_real *z, double *pooled,
                       double *logits);

/* Doubles in which a shard's gradients are summed, zeroed by the caller.  */
size_t dfoi_head_sums(const dfoi_head *head);

/* From glogits (classes) of the row z: gz is written, gradients of weights are added to sums.  pooled is
 * overwritten.  */
void dfoi_head_backward(const dfoi_head *head, const dfo_real *weights, const dfo_real *z, double *pooled,
                        const double *glogits, dfo_real *gz, double *sums);

/* Adds the sums to run->grads; inside begin and done of the head's range.  */
void dfoi_head_grads(const dfoi_head *head, dfo_run *run, const double *sums);

#endif

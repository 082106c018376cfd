/* Something to minimise over a batch: what the trainer knows.  Two stages: draw() over the whole
 * minibatch, grad() per shard.  */
#ifndef DIFFEO_LOSS_H
#define DIFFEO_LOSS_H

#include <diffeo/real.h>
#include <diffeo/run.h>
#include <diffeo/store.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Rows of one step, gathered; a shard is a slice of it.  */
typedef struct dfo_minibatch {
    dfo_batch       x;             /* (n, d); a loss may overwrite it */
    dfo_cond        cond;
    const double   *weight;        /* (n) sample weights or NULL */
    const uint64_t *row;           /* (n) absolute row of the data set, or NULL */
    uint64_t        step;
} dfo_minibatch;

typedef struct dfo_loss dfo_loss;

struct dfo_loss_ops {
    const char *type;
    /* What a shard of `rows` rows needs; train = 0: for eval alone.  */
    dfo_need   (*need)(const dfo_loss *, size_t rows, const dfo_run *how, int train);
    dfo_status (*prepare)(const dfo_loss *, dfo_run *, dfo_real *derived);
    dfo_status (*pullback)(const dfo_loss *, dfo_run *, const dfo_real *derived, const dfo_real *gderived);
    /* Noise, times, pairing, augmentation: deterministic in (seed, step).  May be absent.  */
    dfo_status (*draw)(const dfo_loss *, dfo_run *, dfo_minibatch *batch);
    /* *sum += weighted sum of the rows' losses; gradients of THAT times `scale` are added to
     * run->grads.  x is overwritten.  */
    dfo_status (*grad)(const dfo_loss *, dfo_run *, dfo_minibatch shard, double scale, double *sum);
    /* out[i] = loss of row i (for validation).  x is overwritten.  */
    dfo_status (*eval)(const dfo_loss *, dfo_run *, dfo_minibatch shard, double *out);
    /* The condition number of the worst conditioned of its linear maps, NAN if none is known; the weights are those of
     * run->derived, prepared.  May be absent.  */
    dfo_status (*condition)(const dfo_loss *, dfo_run *, double *out);
    dfo_status (*init)(dfo_loss *, dfo_run *, dfo_minibatch batch);       /* from data, before step 0; may be absent */
    dfo_status (*update)(const dfo_loss *, dfo_run *);                    /* buffers, after an accepted step; may be absent */
    void       (*free)(dfo_loss *);
};

struct dfo_loss {
    const struct dfo_loss_ops *ops;
    dfo_ctx   *ctx;
    dfo_store *store;
    void      *state;
};

/* Frees a loss through its ops; NULL is fine.  */
void dfo_loss_free(dfo_loss *loss);

#ifdef __cplusplus
}
#endif
#endif

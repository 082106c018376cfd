/* Densities: base distributions of flows, targets of samplers.  */
#ifndef DIFFEO_DIST_H
#define DIFFEO_DIST_H

#include <diffeo/real.h>
#include <diffeo/build.h>
#include <diffeo/run.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dfo_dist dfo_dist;

struct dfo_dist_ops {
    const char *type;                                             /* "normal" */
    int         bound;                                            /* log_prob gives an estimate of a bound from below */
    int         whole;                                            /* of whole numbers: nothing between them has a probability */
    size_t     (*scratch)(const dfo_dist *, size_t rows);
    size_t     (*derived)(const dfo_dist *);                      /* once per weight version (nets inside) */
    dfo_status (*prepare)(const dfo_dist *, dfo_run *, dfo_real *derived);
    /* ADDS log p(x_i | cond_i), in nats, to out[i].  Outside the support: -infinity.  */
    dfo_status (*log_prob)(const dfo_dist *, dfo_run *, dfo_batch x, const dfo_cond *cond, double *out);
    /* gx += glogp_i d log p_i/dx (gx.x = NULL: not wanted); weights' gradients added to run->grads.  */
    dfo_status (*log_prob_grad)(const dfo_dist *, dfo_run *, dfo_batch x, const dfo_cond *cond,
                                const double *glogp, dfo_batch gx, dfo_cond *gcond);
    /* Fills x with draws; row i is a function of run->key (row = key.row + i).  temperature scales
     * the spread (1: the density itself).  */
    dfo_status (*sample)(const dfo_dist *, dfo_run *, dfo_batch x, const dfo_cond *cond, double temperature);
    /* Draws where something is known: given (n,d), NaN where nothing is, with noise of that deviation, 0: none (of numbers 0 and 1: the
     * chance that one is wrong, below 1/2).  Absent: dfo_dist_sample_given is DFO_EUNSUP.  */
    dfo_status (*sample_given)(const dfo_dist *, dfo_run *, dfo_batch x, const dfo_cond *cond, double temperature, dfo_batch given, double noise);
    dfo_status (*describe)(const dfo_dist *, struct json_t *);
    void       (*free)(dfo_dist *);
};

struct dfo_dist {
    const struct dfo_dist_ops *ops;
    dfo_ctx   *ctx;
    dfo_store *store;          /* where its parameters live; NULL for a density without weights */
    void      *state;
    size_t     d;
    size_t     conds, cond_d;
    size_t     first, count;
};

/* Makes a density from {"type":"normal", …} (lib/dist/README.md lists the types and their
 * settings) over rows of build->shape.  config stays the caller's.  Weights are added to
 * build->store, which must outlive the density; it may be NULL for one that learns nothing.
 * DFO_EARG naming path, type and key; *out is NULL then.  */
dfo_status dfo_dist_new(dfo_build *build, struct json_t *config, dfo_dist **out);

/* Frees a density; NULL is fine.  */
void dfo_dist_free(dfo_dist *dist);

/* Bits per dimension of `dims` values with log density nats, where a bin of the data is 1/bins wide (bins = 1: the
 * density is of values 0, 1, 2, …; 256: of bytes divided by 256):  -nats / (dims log 2) + log2(bins).  */
double dfo_bits_per_dim(double nats, double dims, double bins);

/* The number of registered types and their names (NULL beyond).  */
size_t dfo_dist_types(void);
const char *dfo_dist_type(size_t i);

/* The dispatchers: as in the table.  Shapes are checked (DFO_ESHAPE, nothing written), the arena
 * mark is put back, an absent ability is DFO_EUNSUP naming the density.  n = 0 rows is fine.  x
 * (n,d); out, glogp (n); cond has the parts that the density was made for and is ignored by one
 * without a condition; gcond may be NULL. Weight gradients are added: dfo_run_grads_begin and
 * _done over first .. +count are the caller's.  */
size_t dfo_dist_scratch(const dfo_dist *dist, size_t rows);
size_t dfo_dist_derived(const dfo_dist *dist);
dfo_status dfo_dist_prepare(const dfo_dist *dist, dfo_run *run, dfo_real *derived);
dfo_status dfo_dist_log_prob(const dfo_dist *dist, dfo_run *run, dfo_batch x, const dfo_cond *cond, double *out);
dfo_status dfo_dist_log_prob_grad(const dfo_dist *dist, dfo_run *run, dfo_batch x, const dfo_cond *cond,
                                  const double *glogp, dfo_batch gx, dfo_cond *gcond);
dfo_status dfo_dist_sample(const dfo_dist *dist, dfo_run *run, dfo_batch x, const dfo_cond *cond,
                           double temperature);
dfo_status dfo_dist_sample_given(const dfo_dist *dist, dfo_run *run, dfo_batch x, const dfo_cond *cond, double temperature, dfo_batch given,
                                 double noise);
dfo_status dfo_dist_describe(const dfo_dist *dist, struct json_t *to);

#ifdef __cplusplus
}
#endif
#endif

/* What layers share when they are built.  Private to flows.  */
#ifndef DFOI_LAYER_IMPL_H
#define DFOI_LAYER_IMPL_H

#include "base/real_impl.h"
#include "base/ctx_impl.h"
#include "base/json_impl.h"
#include <diffeo/bijector.h>

/* A layer's constructor: bij has ctx, store, shape, d, conds, cond_d set, ops and state are its to set.
 * On failure it may leave state half-built: ops->free is called if ops is set.  */
typedef dfo_status (*dfoi_layer_create)(dfo_build *build, json_t *config, dfo_bijector *bij);

/* A bound c at which c tanh(r/c) is r to the last digit for all r whose exponential is finite.  */
#define DFOI_UNBOUNDED ((dfo_real)(1 << 30))

/* One line of the registry.  A type may have several names that differ in configuration only.  */
typedef struct dfoi_layer {
    const struct dfo_bijector_ops *ops;
    dfoi_layer_create create;
} dfoi_layer;

/* The child layer in config[key], built under path "parent.name"; errors are prefixed with it.  */
dfo_status dfoi_layer_child(const dfo_build *parent, json_t *config, const char *name, dfo_bijector **out);

/* A chain of the layers in list that is described by its settings alone: bij's table is one of chain.c's.  */
dfo_status dfoi_chain_named(dfo_build *build, const json_t *settings, json_t *list, dfo_bijector *bij);

/* The layers of a chain (any other bijector is its own single layer), and where the i-th one's slice of the
 * derived data begins.  */
size_t dfoi_chain_count(const dfo_bijector *bij);
const dfo_bijector *dfoi_chain_layer(const dfo_bijector *bij, size_t i, size_t *derived);

/* What a part applies to its slice; NULL for other layers.  */
const dfo_bijector *dfoi_part_layer(const dfo_bijector *bij);

/* describe() into a new object.  */
dfo_status dfoi_layer_json(const dfo_bijector *bij, json_t **out);

/* Takes from a composite's abilities what the child lacks, and adds what the child brings.  */
void dfoi_layer_join(dfo_bijector *composite, const dfo_bijector *child);

/* DFO_EARG if the layer must be the first that data meet, and so the right way round.  */
dfo_status dfoi_layer_behind(dfo_ctx *ctx, const dfo_bijector *layer);

/* What the dispatcher keeps, at the start of saved data, for layers whose backward wants the input; behind it lies what
 * the layer keeps itself.  */
size_t dfoi_input_size(const dfo_bijector *bij, size_t rows);

/* For backward of layers that keep their input: puts it in the output's place, what was kept or what inverse finds.  */
dfo_status dfoi_take_input(const dfo_bijector *bij, dfo_run *run, dfo_batch z, const dfo_cond *cond);

/* Scratch for n doubles (a log-det, say), from the arena; counted with dfoi_doubles_size.  */
double *dfoi_take_doubles(dfo_run *run, size_t n);      /* in dist/param.c */
size_t dfoi_doubles_size(size_t n);

/* The mean and standard deviation of column j over all rows (of channel c over rows and pixels).  */
void dfoi_column_moments(dfo_batch x, size_t first, size_t count, double *mean, double *std);

/* DFO_EARG unless list (n entries, each below c) holds 0 .. c-1 once each; what names the key.  */
dfo_status dfoi_check_permutation(dfo_ctx *ctx, const char *what, size_t c, size_t n, const size_t *list);

/* The key of a layer's draws at build time that are not weights: a function of seed and path.  */
dfo_key dfoi_layer_key(const dfo_build *build);

#endif

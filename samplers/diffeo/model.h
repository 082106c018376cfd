/* A model: what a file holds.  Kind, architecture, weights, provenance.  */
#ifndef DIFFEO_MODEL_H
#define DIFFEO_MODEL_H

#include <diffeo/real.h>
#include <diffeo/check.h>
#include <diffeo/flow.h>
#include <diffeo/loss.h>
#include <diffeo/source.h>
#include <diffeo/target.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dfo_model dfo_model;
typedef struct dfo_model_plan dfo_model_plan;

/* What a kind of model can do.  Every kind has kind, instead, create, describe, plan, plan_free, block and free; any
 * other slot may be empty: an ability that is absent, which the callers below explain in one line.  */
struct dfo_model_ops {
    const char *kind;                                             /* "flow" */
    const char *instead;                                          /* "diffeo classify": what errors point to */
    dfo_status (*create)  (dfo_model *, dfo_build *, struct json_t *architecture);
    dfo_status (*describe)(const dfo_model *, struct json_t *);
    dfo_status (*prepare_data)(dfo_model *, const dfo_source *);
    dfo_status (*loss)    (dfo_model *, dfo_loss **);
    dfo_status (*plan)    (dfo_ctx *, const dfo_model *, int gradients, void **state);
    void       (*plan_free)(void *state);
    dfo_status (*log_prob)(void *plan, uint64_t first_row, dfo_batch x, const dfo_cond *cond, double *out);
    dfo_status (*log_prob_grad)(void *plan, uint64_t first_row, dfo_batch x, const dfo_cond *cond, double *out,
                                dfo_batch gx, dfo_cond *gcond);
    dfo_status (*encode)  (void *plan, uint64_t first_row, dfo_batch x, const dfo_cond *cond, double *logdet);
    dfo_status (*decode)  (void *plan, uint64_t first_row, dfo_batch z, const dfo_cond *cond, double *logdet);
    dfo_status (*sample)  (void *plan, uint64_t seed, uint64_t first_row, dfo_batch x, const dfo_cond *cond,
                           double temperature);
    dfo_status (*check)   (dfo_ctx *, const dfo_model *, uint64_t seed, const dfo_source *rows,
                           uint64_t batch, dfo_check_report *);
    dfo_status (*classify)(void *plan, uint64_t first_row, dfo_batch x, double *logits);
    size_t     (*classes) (const dfo_model *);
    size_t     (*block)   (const dfo_model *);
    void       (*free)    (dfo_model *);
};

/* Makes a model over rows of `shape`, conditioned on `context` features (0: none; of a classifier 1 is the
 * label, which training alone sees: dfo_model_context is 0 then).  config: a preset
 * with its settings ({"flow":"nsf","layers":10,…}), or {"flow":"custom","bijector":{…},"base":{…}}, or the
 * same with "head" as in <diffeo/classifier.h>: a classifier.  Initial weights depend on seed alone.  Errors name
 * the key.  */
dfo_status dfo_model_new(dfo_ctx *ctx, struct json_t *config, dfo_shape shape, size_t context, uint64_t seed,
                         dfo_model **out);

/* Loads a model file (safetensors with the architecture in its metadata), or one in memory (not kept
 * after the call).  Every length, name and shape is checked.  DFO_EFORMAT, DFO_EIO.  */
dfo_status dfo_model_load(dfo_ctx *ctx, const char *path, dfo_model **out);
dfo_status dfo_model_load_memory(dfo_ctx *ctx, const void *bytes, size_t n, const char *name, dfo_model **out);

/* How the model's continuous layers are solved from now on: dfo_flow_set_solver.  DFO_EUNSUP if it has none.  */
dfo_status dfo_model_set_solver(dfo_model *model, const dfo_solver_options *options);
/* How they are solved: dfo_flow_solver.  False if it has none.  */
int dfo_model_solver(const dfo_model *model, dfo_solver_options *options);

/* How far its condition guides it: dfo_flow_set_guidance; 1: not beyond what it was fitted to.  */
dfo_status dfo_model_set_guidance(dfo_model *model, double w);
double dfo_model_guidance(const dfo_model *model);

/* Writes the file beside and renames it: `path` holds the old model or the whole new one.  */
dfo_status dfo_model_save(dfo_model *model, const char *path);
void dfo_model_free(dfo_model *model);

/* Copies the weights of another model of the same architecture: arrays are matched by name and shape.
 * DFO_EARG names the first that does not fit.  */
dfo_status dfo_model_copy_weights(dfo_model *model, dfo_model *from);

/* "flow", "classifier"; constant.  */
const char *dfo_model_kind(const dfo_model *model);
/* What a row is.  */
dfo_shape dfo_model_shape(const dfo_model *model);
/* d of a row.  */
size_t dfo_model_features(const dfo_model *model);
/* Features of the condition, 0: none.  */
size_t dfo_model_context(const dfo_model *model);
/* Classes that a classifier tells apart; 0: it is none.  */
size_t dfo_model_classes(const dfo_model *model);
/* DFO_OK if the model has a density, else DFO_EUNSUP with the line that says so, naming its file.  The same for
 * samples, and for classes.  */
dfo_status dfo_model_wants_density(const dfo_model *model);
dfo_status dfo_model_wants_samples(const dfo_model *model);
dfo_status dfo_model_wants_classes(const dfo_model *model);
/* Rows a worker takes at a time.  */
size_t dfo_model_block(const dfo_model *model);
/* The weights; the model's.  */
dfo_store *dfo_model_store(dfo_model *model);
/* The flow inside, or NULL if it is no flow; the model's.  */
const dfo_flow *dfo_model_flow(const dfo_model *model);
/* The configuration it was made from; borrowed.  */
struct json_t *dfo_model_config(const dfo_model *model);
/* Metadata of the caller's: provenance, training history, column names.  Borrowed; may be changed.  */
struct json_t *dfo_model_notes(dfo_model *model);
/* The whole architecture, into the object `to`.  */
dfo_status dfo_model_describe(const dfo_model *model, struct json_t *to);
/* FNV-1a 64 of architecture and weights (as floats: both precisions agree), as text: latents files carry it.  Solvers that
 * were set do not count.  */
dfo_status dfo_model_hash(dfo_model *model, char out[17]);

/* Statistics that a model takes from all of its training rows before training: the mean and standard
 * deviation of a flow whose first layer is standardise.  Rows' last features may be the condition.  Layers
 * further on start from the first minibatch's data instead (at most 4,096 rows).  */
dfo_status dfo_model_prepare_data(dfo_model *model, const dfo_source *train);

/* What training minimises.  */
dfo_status dfo_model_loss(dfo_model *model, dfo_loss **out);
/* What training to a density minimises: dfo_loss_reverse_new.  DFO_EUNSUP: the model has no density.  */
dfo_status dfo_model_loss_target(dfo_model *model, const dfo_target *target, double alpha, dfo_loss **out);

/* Plans and calls as in <diffeo/flow.h>; first_row is the absolute index of row 0.  */
dfo_status dfo_model_plan_new(dfo_ctx *ctx, const dfo_model *model, int gradients, dfo_model_plan **out);
void dfo_model_plan_free(dfo_model_plan *plan);
/* Mean evaluations of continuous layers' fields in a solve of some rows, since the plan was made; 0: nothing was solved.  */
double dfo_model_plan_nfe(const dfo_model_plan *plan);
dfo_status dfo_model_log_prob(dfo_model_plan *plan, uint64_t first_row, dfo_batch x, const dfo_cond *cond,
                              double *out);
dfo_status dfo_model_log_prob_estimate(dfo_model_plan *plan, uint64_t first_row, dfo_batch x, const dfo_cond *cond,
                                       double *out, double *variance);
dfo_status dfo_model_log_prob_draws(dfo_model_plan *plan, uint64_t first_row, dfo_batch x, const dfo_cond *cond, size_t draws,
                                    double *out, double *variance);
dfo_status dfo_model_log_prob_grad(dfo_model_plan *plan, uint64_t first_row, dfo_batch x, const dfo_cond *cond,
                                   double *out, dfo_batch gx, dfo_cond *gcond);
dfo_status dfo_model_encode(dfo_model_plan *plan, uint64_t first_row, dfo_batch x, const dfo_cond *cond,
                            double *logdet);
dfo_status dfo_model_decode(dfo_model_plan *plan, uint64_t first_row, dfo_batch z, const dfo_cond *cond,
                            double *logdet);
dfo_status dfo_model_sample(dfo_model_plan *plan, uint64_t seed, uint64_t first_row, dfo_batch x,
                            const dfo_cond *cond, double temperature);

/* Writes the classes' logits to logits (n, classes); x holds the features afterwards.  */
dfo_status dfo_model_classify(dfo_model_plan *plan, uint64_t first_row, dfo_batch x, double *logits);

/* As dfo_flow_check.  */
dfo_status dfo_model_check(dfo_ctx *ctx, const dfo_model *model, uint64_t seed, const dfo_source *rows,
                           uint64_t batch, dfo_check_report *report);

#ifdef __cplusplus
}
#endif
#endif

/* Models: made from a configuration, described, and asked.  Files are in model_file.c.  */
#include <string.h>

#include <diffeo/preset.h>
#include "model_file.h"
#include "model_impl.h"

static const struct dfo_model_ops *const kinds[] = {
    &dfoi_flow_model_ops,
    &dfoi_classifier_model_ops,
};

static const struct dfo_model_ops *find(const char *kind)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (!strcmp(kinds[i]->kind, kind))
            return kinds[i];
    return NULL;
}

dfo_status dfoi_model_create(dfo_ctx *ctx, const char *kind, json_t *config, json_t *architecture, dfo_shape shape,
                             size_t context, uint64_t seed, size_t limit, dfo_model **out)
{
    dfo_status status;
    dfo_model *model = NULL;
    *out = NULL;
    const struct dfo_model_ops *ops = find(kind);
    if (!ops)
        return dfoi_fail(ctx, DFO_EFORMAT, "unknown kind of model '%s'", kind);
    DFO_TRY(dfoi_alloc(ctx, 1, sizeof *model, &model));
    model->ops = ops;
    model->ctx = ctx;
    model->shape = shape;
    model->context = context;
    model->config = json_deep_copy(config);
    model->notes = json_object();
    if (!model->config || !model->notes) {
        status = dfoi_fail(ctx, DFO_EMEM, "out of memory: configuration");
        goto fail;
    }
    DFO_GO(dfo_store_new(ctx, &model->store));
    if (limit)
        dfo_store_limit(model->store, limit);
    dfo_build build = {.ctx = ctx, .store = model->store, .seed = seed, .blank = limit > 0, .path = kind,
                       .shape = shape, .conds = context > 0, .cond = {dfo_shape_vector(context)}};
    DFO_GO(ops->create(model, &build, architecture));
    DFO_GO(dfo_store_trim(model->store));
    *out = model;
    return DFO_OK;
fail:
    dfo_model_free(model);
    return status;
}

dfo_status dfo_model_new(dfo_ctx *ctx, json_t *config, dfo_shape shape, size_t context, uint64_t seed,
                         dfo_model **out)
{
    json_t *architecture;
    *out = NULL;
    DFO_TRY(dfo_preset_expand(ctx, config, shape, &architecture));
    const char *kind = "flow";
    if (json_object_get(architecture, "head")) {
        kind = "classifier";
        context = context == 1 ? 0 : context;          /* its labels */
    }
    dfo_status status = dfoi_model_create(ctx, kind, config, architecture, shape, context, seed, 0, out);
    json_decref(architecture);
    return status;
}

void dfo_model_free(dfo_model *model)
{
    if (!model)
        return;
    if (model->state)
        model->ops->free(model);
    dfo_store_free(model->store);
    json_decref(model->config);
    json_decref(model->notes);
    dfoi_free(model->ctx, model->file);
    dfoi_free(model->ctx, model->made);
    dfoi_free(model->ctx, model);
}

const char *dfo_model_kind(const dfo_model *model)
{
    return model->ops->kind;
}

dfo_shape dfo_model_shape(const dfo_model *model)
{
    return model->shape;
}

size_t dfo_model_features(const dfo_model *model)
{
    return dfo_shape_size(model->shape);
}

size_t dfo_model_context(const dfo_model *model)
{
    return model->context;
}

size_t dfo_model_classes(const dfo_model *model)
{
    return model->ops->classes ? model->ops->classes(model) : 0;
}

size_t dfo_model_block(const dfo_model *model)
{
    return model->ops->block(model);
}

dfo_store *dfo_model_store(dfo_model *model)
{
    return model->store;
}

const dfo_flow *dfo_model_flow(const dfo_model *model)
{
    return model->ops == &dfoi_flow_model_ops ? dfoi_flow_model_flow(model) : NULL;
}

dfo_status dfo_model_set_solver(dfo_model *model, const dfo_solver_options *options)
{
    if (model->ops != &dfoi_flow_model_ops)
        return dfoi_fail(model->ctx, DFO_EUNSUP, "a %s has no continuous layer: nothing is solved", model->ops->kind);
    DFO_TRY(dfoi_model_keep_made(model));
    return dfo_flow_set_solver((dfo_flow *)dfoi_flow_model_flow(model), options);
}

dfo_status dfo_model_set_guidance(dfo_model *model, double w)
{
    if (model->ops != &dfoi_flow_model_ops)
        return dfoi_fail(model->ctx, DFO_EUNSUP, "a %s has no field to be guided", model->ops->kind);
    return dfo_flow_set_guidance((dfo_flow *)dfoi_flow_model_flow(model), w);
}

double dfo_model_guidance(const dfo_model *model)
{
    const dfo_flow *flow = dfo_model_flow(model);
    return flow ? dfo_flow_guidance(flow) : 1;
}

int dfo_model_solver(const dfo_model *model, dfo_solver_options *options)
{
    const dfo_flow *flow = dfo_model_flow(model);
    return flow && dfo_flow_solver(flow, options);
}

json_t *dfo_model_config(const dfo_model *model)
{
    return model->config;
}

json_t *dfo_model_notes(dfo_model *model)
{
    return model->notes;
}

dfo_status dfo_model_describe(const dfo_model *model, json_t *to)
{
    return model->ops->describe(model, to);
}

dfo_status dfo_model_prepare_data(dfo_model *model, const dfo_source *train)
{
    return model->ops->prepare_data ? model->ops->prepare_data(model, train) : DFO_OK;
}

dfo_status dfo_model_loss(dfo_model *model, dfo_loss **out)
{
    *out = NULL;
    if (!model->ops->loss)
        return dfoi_fail(model->ctx, DFO_EUNSUP, "a %s cannot be trained", model->ops->kind);
    return model->ops->loss(model, out);
}

dfo_status dfo_model_copy_weights(dfo_model *model, dfo_model *from)
{
    dfo_store *to_store = model->store, *from_store = from->store;
    if (dfo_store_entries(to_store) != dfo_store_entries(from_store))
        return dfoi_fail(model->ctx, DFO_EARG, "the other model has %zu arrays, this one %zu",
                         dfo_store_entries(from_store), dfo_store_entries(to_store));
    for (size_t i = 0; i < dfo_store_entries(to_store); i++) {
        const dfo_entry *to = dfo_store_entry(to_store, i), *e = dfo_store_find(from_store, to->name);
        if (!e || e->ndim != to->ndim || e->buffer != to->buffer ||
            memcmp(e->shape, to->shape, to->ndim * sizeof *to->shape))
            return dfoi_fail(model->ctx, DFO_EARG, "the other model has no '%s' of the same shape", to->name);
    }
    for (size_t i = 0; i < dfo_store_entries(to_store); i++) {
        const dfo_entry *to = dfo_store_entry(to_store, i), *e = dfo_store_find(from_store, to->name);
        dfo_real *target = to->buffer ? dfo_store_buffers(to_store) : dfo_store_weights(to_store);
        dfo_real *source = e->buffer ? dfo_store_buffers(from_store) : dfo_store_weights(from_store);
        memcpy(target + to->offset, source + e->offset, to->count * sizeof(dfo_real));
    }
    dfo_store_touch(to_store);
    return DFO_OK;
}

/* ---- plans */

struct dfo_model_plan {
    dfo_ctx *ctx;
    const dfo_model *model;
    void    *state;
};

dfo_status dfo_model_plan_new(dfo_ctx *ctx, const dfo_model *model, int gradients, dfo_model_plan **out)
{
    dfo_status status;
    dfo_model_plan *plan;
    *out = NULL;
    DFO_TRY(dfoi_alloc(ctx, 1, sizeof *plan, &plan));
    plan->ctx = ctx;
    plan->model = model;
    DFO_GO(model->ops->plan(ctx, model, gradients, &plan->state));
    *out = plan;
    return DFO_OK;
fail:
    dfoi_free(ctx, plan);
    return status;
}

void dfo_model_plan_free(dfo_model_plan *plan)
{
    if (!plan)
        return;
    plan->model->ops->plan_free(plan->state);
    dfoi_free(plan->ctx, plan);
}

double dfo_model_plan_nfe(const dfo_model_plan *plan)
{
    uint64_t evaluations = 0, solves = 0;
    if (plan->model->ops == &dfoi_flow_model_ops)
        dfo_flow_plan_evaluations(plan->state, &evaluations, &solves);
    return solves ? (double)evaluations / (double)solves : 0;
}

static dfo_status absent(dfo_ctx *ctx, const dfo_model *model, const char *what)
{
    return dfoi_fail(ctx, DFO_EUNSUP, "%s is a %s: it has no %s; try '%s'", model->file ? model->file : "the model",
                     model->ops->kind, what, model->ops->instead);
}

dfo_status dfo_model_wants_density(const dfo_model *model)
{
    return model->ops->log_prob ? DFO_OK : absent(model->ctx, model, "density");
}

dfo_status dfo_model_wants_samples(const dfo_model *model)
{
    return model->ops->sample ? DFO_OK : absent(model->ctx, model, "samples");
}

dfo_status dfo_model_wants_classes(const dfo_model *model)
{
    return model->ops->classify ? DFO_OK : absent(model->ctx, model, "classes");
}

dfo_status dfo_model_log_prob(dfo_model_plan *plan, uint64_t first_row, dfo_batch x, const dfo_cond *cond,
                              double *out)
{
    if (!plan->model->ops->log_prob)
        return absent(plan->ctx, plan->model, "density");
    return plan->model->ops->log_prob(plan->state, first_row, x, cond, out);
}

dfo_status dfo_model_log_prob_estimate(dfo_model_plan *plan, uint64_t first_row, dfo_batch x, const dfo_cond *cond, double *out, double *variance)
{
    for (size_t i = 0; i < x.n; i++)
        variance[i] = 0;
    if (plan->model->ops != &dfoi_flow_model_ops)
        return dfo_model_log_prob(plan, first_row, x, cond, out);
    return dfo_flow_log_prob_estimate(plan->state, first_row, x, cond, out, variance);
}

dfo_status dfo_model_log_prob_draws(dfo_model_plan *plan, uint64_t first_row, dfo_batch x, const dfo_cond *cond, size_t draws, double *out,
                                    double *variance)
{
    if (plan->model->ops != &dfoi_flow_model_ops)
        return absent(plan->ctx, plan->model, "density by draws");
    return dfo_flow_log_prob_draws(plan->state, first_row, x, cond, draws, out, variance);
}

dfo_status dfo_model_log_prob_grad(dfo_model_plan *plan, uint64_t first_row, dfo_batch x, const dfo_cond *cond,
                                   double *out, dfo_batch gx, dfo_cond *gcond)
{
    if (!plan->model->ops->log_prob_grad)
        return absent(plan->ctx, plan->model, "gradient of its density");
    return plan->model->ops->log_prob_grad(plan->state, first_row, x, cond, out, gx, gcond);
}

dfo_status dfo_model_encode(dfo_model_plan *plan, uint64_t first_row, dfo_batch x, const dfo_cond *cond,
                            double *logdet)
{
    if (!plan->model->ops->encode)
        return absent(plan->ctx, plan->model, "latents");
    return plan->model->ops->encode(plan->state, first_row, x, cond, logdet);
}

dfo_status dfo_model_decode(dfo_model_plan *plan, uint64_t first_row, dfo_batch z, const dfo_cond *cond,
                            double *logdet)
{
    if (!plan->model->ops->decode)
        return absent(plan->ctx, plan->model, "inverse");
    return plan->model->ops->decode(plan->state, first_row, z, cond, logdet);
}

dfo_status dfo_model_sample(dfo_model_plan *plan, uint64_t seed, uint64_t first_row, dfo_batch x,
                            const dfo_cond *cond, double temperature)
{
    if (!plan->model->ops->sample)
        return absent(plan->ctx, plan->model, "samples");
    return plan->model->ops->sample(plan->state, seed, first_row, x, cond, temperature);
}

dfo_status dfo_model_classify(dfo_model_plan *plan, uint64_t first_row, dfo_batch x, double *logits)
{
    if (!plan->model->ops->classify)
        return absent(plan->ctx, plan->model, "classes");
    return plan->model->ops->classify(plan->state, first_row, x, logits);
}

dfo_status dfo_model_check(dfo_ctx *ctx, const dfo_model *model, uint64_t seed, const dfo_source *rows,
                           uint64_t batch, dfo_check_report *report)
{
    if (!model->ops->check)
        return absent(ctx, model, "check");
    return model->ops->check(ctx, model, seed, rows, batch, report);
}

/* The kind "flow": a bijector over a base density.  */
#include <diffeo/flow.h>
#include <diffeo/variational.h>
#include "model_impl.h"

static dfo_status create(dfo_model *model, dfo_build *build, json_t *architecture)
{
    dfo_flow *flow;
    DFO_TRY(dfo_flow_new(build, architecture, &flow));
    model->state = flow;
    return DFO_OK;
}

const dfo_flow *dfoi_flow_model_flow(const dfo_model *model)
{
    return model->state;
}

static dfo_status describe(const dfo_model *model, json_t *to)
{
    return dfo_flow_describe(model->state, to);
}

static dfo_status prepare_data(dfo_model *model, const dfo_source *train)
{
    return dfo_flow_standardise(model->state, train, 1);
}

static dfo_status loss(dfo_model *model, dfo_loss **out)
{
    return dfo_loss_flow_new(model->state, out);
}

dfo_status dfo_model_loss_target(dfo_model *model, const dfo_target *target, double alpha, dfo_loss **out)
{
    *out = NULL;
    DFO_TRY(dfo_model_wants_density(model));
    return dfo_loss_reverse_new(model->state, target, alpha, out);
}

static dfo_status plan(dfo_ctx *ctx, const dfo_model *model, int gradients, void **state)
{
    dfo_flow_plan *p;
    dfo_status status = dfo_flow_plan_new(ctx, model->state, gradients, &p);
    *state = p;
    return status;
}

static void plan_free(void *state)
{
    dfo_flow_plan_free(state);
}

static dfo_status log_prob(void *state, uint64_t first_row, dfo_batch x, const dfo_cond *cond, double *out)
{
    return dfo_flow_log_prob(state, first_row, x, cond, out);
}

static dfo_status log_prob_grad(void *state, uint64_t first_row, dfo_batch x, const dfo_cond *cond, double *out,
                                dfo_batch gx, dfo_cond *gcond)
{
    return dfo_flow_log_prob_grad(state, first_row, x, cond, out, gx, gcond);
}

static dfo_status encode(void *state, uint64_t first_row, dfo_batch x, const dfo_cond *cond, double *logdet)
{
    return dfo_flow_encode(state, first_row, x, cond, logdet);
}

static dfo_status decode(void *state, uint64_t first_row, dfo_batch z, const dfo_cond *cond, double *logdet)
{
    return dfo_flow_decode(state, first_row, z, cond, logdet);
}

static dfo_status sample(void *state, uint64_t seed, uint64_t first_row, dfo_batch x, const dfo_cond *cond,
                         double temperature)
{
    return dfo_flow_sample(state, seed, first_row, x, cond, temperature);
}

static dfo_status check(dfo_ctx *ctx, const dfo_model *model, uint64_t seed, const dfo_source *rows, uint64_t batch,
                        dfo_check_report *report)
{
    return dfo_flow_check(ctx, model->state, seed, rows, batch, 1, report);
}

static size_t block(const dfo_model *model)
{
    return dfo_flow_block(model->state);
}

static void flow_free(dfo_model *model)
{
    dfo_flow_free(model->state);
}

const struct dfo_model_ops dfoi_flow_model_ops = {
    .kind = "flow",
    .instead = "diffeo loglik",
    .create = create,
    .describe = describe,
    .prepare_data = prepare_data,
    .loss = loss,
    .plan = plan,
    .plan_free = plan_free,
    .log_prob = log_prob,
    .log_prob_grad = log_prob_grad,
    .encode = encode,
    .decode = decode,
    .sample = sample,
    .check = check,
    .block = block,
    .free = flow_free,
};

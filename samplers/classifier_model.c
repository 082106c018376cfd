/* The kind "classifier": invertible features and a head.  It has no density and draws no samples.  */
#include <string.h>

#include <diffeo/classifier.h>
#include "model_impl.h"

static dfo_status create(dfo_model *model, dfo_build *build, json_t *architecture)
{
    dfo_classifier *classifier;
    DFO_TRY(dfo_classifier_new(build, architecture, &classifier));
    model->state = classifier;
    return DFO_OK;
}

static dfo_status describe(const dfo_model *model, json_t *to)
{
    return dfo_classifier_describe(model->state, to);
}

static dfo_status prepare_data(dfo_model *model, const dfo_source *train)
{
    return dfo_flow_standardise(dfo_classifier_body(model->state), train, 0);
}

static dfo_status loss(dfo_model *model, dfo_loss **out)
{
    return dfo_loss_classify_new(model->state, out);
}

static dfo_status plan(dfo_ctx *ctx, const dfo_model *model, int gradients, void **state)
{
    dfo_classifier_plan *p;
    (void)gradients;
    dfo_status status = dfo_classifier_plan_new(ctx, model->state, &p);
    *state = p;
    return status;
}

static void plan_free(void *state)
{
    dfo_classifier_plan_free(state);
}

static dfo_status encode(void *state, uint64_t first_row, dfo_batch x, const dfo_cond *cond, double *logdet)
{
    (void)cond;
    return dfo_classifier_encode(state, first_row, x, logdet);
}

static dfo_status decode(void *state, uint64_t first_row, dfo_batch z, const dfo_cond *cond, double *logdet)
{
    (void)cond;
    return dfo_classifier_decode(state, first_row, z, logdet);
}

static dfo_status classify(void *state, uint64_t first_row, dfo_batch x, double *logits)
{
    return dfo_classifier_logits(state, first_row, x, logits);
}

static size_t classes(const dfo_model *model)
{
    return dfo_classifier_classes(model->state);
}

static dfo_status check(dfo_ctx *ctx, const dfo_model *model, uint64_t seed, const dfo_source *rows, uint64_t batch,
                        dfo_check_report *report)
{
    return dfo_flow_check(ctx, dfo_classifier_body(model->state), seed, rows, batch, 0, report);
}

static size_t block(const dfo_model *model)
{
    return dfo_flow_block(dfo_classifier_body(model->state));
}

static void classifier_free(dfo_model *model)
{
    dfo_classifier_free(model->state);
}

const struct dfo_model_ops dfoi_classifier_model_ops = {
    .kind = "classifier",
    .instead = "diffeo classify",
    .create = create,
    .describe = describe,
    .prepare_data = prepare_data,
    .loss = loss,
    .plan = plan,
    .plan_free = plan_free,
    .encode = encode,
    .decode = decode,
    .classify = classify,
    .classes = classes,
    .check = check,
    .block = block,
    .free = classifier_free,
};

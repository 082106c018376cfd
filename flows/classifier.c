/* A classifier with invertible features.  The body is a bijector, held as a flow so that plans, blocks and checks
 * are the flow's; the head (head.c) reads the features.  All of them are in the row, so decode gives the data back.  */
#include <math.h>

#include "base/ctx_impl.h"
#include "classifier_impl.h"
#include "flow_impl.h"

static dfo_status read_config(dfo_ctx *ctx, const json_t *config, dfo_classifier *c)
{
    static const char *const keys[] = {"bijector", "head", "augment", "levels", NULL};
    static const char *const inner[] = {"shift", "flip", NULL};
    const json_t *augment = json_object_get(config, "augment");
    DFO_TRY(dfoi_json_keys(ctx, config, keys));
    DFO_TRY(dfoi_json_size(ctx, config, "levels", 0, 0, 65536, &c->levels));
    if (augment && !json_is_object(augment))
        return dfoi_fail(ctx, DFO_EARG, "augment: expected an object with shift and flip");
    if (augment)
        DFO_TRY(dfoi_json_keys(ctx, augment, inner));
    DFO_TRY(dfoi_json_size(ctx, augment, "shift", 0, 0, 1024, &c->shift));
    DFO_TRY(dfoi_json_bool(ctx, augment, "flip", 0, &c->flip));
    if ((c->shift || c->flip) && c->shape.h * c->shape.w == 1)
        return dfoi_fail(ctx, DFO_EARG, "augment: rows are not images");
    return DFO_OK;
}

static dfo_status make_body(dfo_build *build, json_t *config, dfo_classifier *c)
{
    json_t *flow = json_pack("{s:O}", "bijector", json_object_get(config, "bijector"));
    if (!flow)
        return dfoi_fail(build->ctx, json_object_get(config, "bijector") ? DFO_EMEM : DFO_EARG,
                         "%s: expected a bijector", build->path);
    dfo_status status = dfo_flow_new(build, flow, &c->body);
    json_decref(flow);
    return status;
}

dfo_status dfo_classifier_new(dfo_build *build, json_t *config, dfo_classifier **out)
{
    dfo_status status;
    dfo_classifier *c;
    dfo_build inner;
    char path[256];
    *out = NULL;
    if (build->conds)
        return dfoi_fail(build->ctx, DFO_EARG, "%s: a classifier takes no context", build->path);
    DFO_TRY(dfoi_alloc(build->ctx, 1, sizeof *c, &c));
    c->ctx = build->ctx;
    c->shape = build->shape;
    DFO_GO(read_config(build->ctx, config, c));
    DFO_GO(make_body(build, config, c));
    DFO_GO(dfo_build_child(build, "head", path, sizeof path, &inner));
    inner.shape = c->body->bij->out;
    DFO_GO(dfoi_head_new(&inner, json_object_get(config, "head"), &c->head));
    *out = c;
    return DFO_OK;
fail:
    dfo_classifier_free(c);
    return status;
}

void dfo_classifier_free(dfo_classifier *c)
{
    if (!c)
        return;
    dfoi_head_free(c->head);
    dfo_flow_free(c->body);
    dfoi_free(c->ctx, c);
}

size_t dfo_classifier_classes(const dfo_classifier *c)
{
    return c->head->classes;
}

dfo_flow *dfo_classifier_body(const dfo_classifier *c)
{
    return c->body;
}

dfo_status dfo_classifier_describe(const dfo_classifier *c, json_t *to)
{
    json_t *head = json_object(), *augment;
    DFO_TRY(dfoi_json_set(c->ctx, to, "head", head));
    DFO_TRY(dfoi_head_describe(c->head, head));
    augment = json_pack("{s:I, s:b}", "shift", (json_int_t)c->shift, "flip", c->flip);
    DFO_TRY(dfoi_json_set(c->ctx, to, "augment", augment));
    DFO_TRY(dfoi_json_set(c->ctx, to, "levels", json_integer((json_int_t)c->levels)));
    DFO_TRY(dfo_flow_describe(c->body, to));
    json_object_del(to, "base");
    return DFO_OK;
}

/* ---- evaluation */

struct dfo_classifier_plan {
    dfo_ctx *ctx;
    const dfo_classifier *classifier;
    dfo_flow_plan *body;
    double  *pooled;                   /* (c) */
};

dfo_status dfo_classifier_plan_new(dfo_ctx *ctx, const dfo_classifier *c, dfo_classifier_plan **out)
{
    dfo_status status;
    dfo_classifier_plan *plan;
    *out = NULL;
    DFO_TRY(dfoi_alloc(ctx, 1, sizeof *plan, &plan));
    plan->ctx = ctx;
    plan->classifier = c;
    DFO_GO(dfoi_alloc(ctx, c->head->c, sizeof *plan->pooled, &plan->pooled));
    DFO_GO(dfo_flow_plan_new(ctx, c->body, 0, &plan->body));
    *out = plan;
    return DFO_OK;
fail:
    dfo_classifier_plan_free(plan);
    return status;
}

void dfo_classifier_plan_free(dfo_classifier_plan *plan)
{
    if (!plan)
        return;
    dfo_flow_plan_free(plan->body);
    dfoi_free(plan->ctx, plan->pooled);
    dfoi_free(plan->ctx, plan);
}

dfo_status dfo_classifier_encode(dfo_classifier_plan *plan, uint64_t first_row, dfo_batch x, double *logdet)
{
    return dfo_flow_encode(plan->body, first_row, x, NULL, logdet);
}

dfo_status dfo_classifier_logits(dfo_classifier_plan *plan, uint64_t first_row, dfo_batch x, double *logits)
{
    const dfoi_head *head = plan->classifier->head;
    DFO_TRY(dfo_flow_encode(plan->body, first_row, x, NULL, NULL));
    for (size_t i = 0; i < x.n; i++)
        dfoi_head_forward(head, dfo_store_weights(plan->classifier->body->store), dfo_row(x, i), plan->pooled,
                          logits + i * head->classes);
    return DFO_OK;
}

dfo_status dfo_classifier_decode(dfo_classifier_plan *plan, uint64_t first_row, dfo_batch z, double *logdet)
{
    dfo_real top = (dfo_real)plan->classifier->levels - 1;
    DFO_TRY(dfo_flow_decode(plan->body, first_row, z, NULL, logdet));
    for (size_t i = 0; plan->classifier->levels && i < z.n; i++)
        for (size_t j = 0; j < z.d; j++) {
            dfo_real v = (dfo_real)nearbyint((double)dfo_row(z, i)[j]);
            dfo_row(z, i)[j] = v > 0 ? (v > top ? top : v) : 0;      /* no -0 */
        }
    return DFO_OK;
}

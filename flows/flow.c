/* The flow: log p(x) = log p_base(f(x)) + log|det df/dx|.  */
#include <math.h>
#include <string.h>

#include "cnf_impl.h"
#include "columns_impl.h"
#include "residual_impl.h"
#include "flow_impl.h"
#include "matching_impl.h"
#include "layer_impl.h"
#include "layers.h"
#include "math/kern_impl.h"

#define BLOCK 128          /* rows a worker takes at a time; fewer images: 64 Ki numbers, yet 4 that share products */
#define BLOCK_IMAGES 4
#define BLOCK_NUMBERS 65536

dfo_status dfo_flow_new(dfo_build *build, json_t *config, dfo_flow **out)
{
    static const char *const keys[] = {"bijector", "base", "matching", "condition", NULL};
    dfo_ctx *ctx = build->ctx;
    dfo_status status;
    dfo_flow *flow = NULL;
    json_t *base = json_object_get(config, "base"), *normal = NULL;
    *out = NULL;
    dfoi_matching matching;
    DFO_TRY(dfoi_json_keys(ctx, config, keys));
    DFO_TRY(dfoi_matching_read(ctx, json_object_get(config, "matching"), &matching));
    DFO_TRY(dfoi_alloc(ctx, 1, sizeof *flow, &flow));
    flow->matching = matching;
    flow->ctx = ctx;
    flow->store = build->store;
    flow->d = dfo_shape_size(build->shape);
    for (size_t p = 0; p < build->conds; p++)
        flow->cond_d += dfo_shape_size(build->cond[p]);
    dfo_build inner;
    char path[256];
    DFO_GO(dfo_build_child(build, "bijector", path, sizeof path, &inner));
    DFO_GO(dfo_bijector_new(&inner, json_object_get(config, "bijector"), &flow->bij));
    DFO_GO(dfo_build_child(build, "base", path, sizeof path, &inner));
    if (!base && !(base = normal = json_pack("{s:s}", "type", "normal"))) {
        status = dfoi_fail(ctx, DFO_EMEM, "out of memory: base");
        goto fail;
    }
    DFO_GO(dfo_dist_new(&inner, base, &flow->base));
    DFO_GO(dfoi_flow_condition_new(build, config, flow));
    size_t at;
    if (matching.on && (!dfoi_matching_layer(flow, &at) || strcmp(flow->base->ops->type, "normal") || flow->base->count)) {
        status = dfoi_fail(ctx, DFO_EARG, "matching: goes with a chain that ends in a cnf layer, over a standard normal base");
        goto fail;
    }
    if (matching.on && !dfoi_matching_alone(flow)) {
        status = dfoi_fail(ctx, DFO_EARG, "matching: fits one cnf layer, the last: others before it (blocks of a preset) would never be fitted");
        goto fail;
    }
    if (matching.on && !dfoi_cnf_diffusion(dfoi_matching_layer(flow, &at)) != !matching.denoising) {
        status = dfoi_fail(ctx, DFO_EARG, "matching: the path diffusion goes with a cnf layer that has \"diffusion\", and no other path does");
        goto fail;
    }
    json_decref(normal);
    *out = flow;
    return DFO_OK;
fail:
    json_decref(normal);
    dfo_flow_free(flow);
    return status;
}

void dfo_flow_free(dfo_flow *flow)
{
    if (!flow)
        return;
    dfo_bijector_free(flow->bij);
    dfo_dist_free(flow->base);
    dfoi_free(flow->ctx, flow);
}

size_t dfo_flow_features(const dfo_flow *flow)
{
    return flow->d;
}

size_t dfo_flow_context(const dfo_flow *flow)
{
    return flow->cond_d;
}

int dfo_flow_standardises_context(const dfo_flow *flow)
{
    return flow->condition.on;
}

const dfo_bijector *dfo_flow_bijector(const dfo_flow *flow)
{
    return flow->bij;
}

const dfo_dist *dfo_flow_base(const dfo_flow *flow)
{
    return flow->base;
}

dfo_store *dfo_flow_store(const dfo_flow *flow)
{
    return flow->store;
}

size_t dfo_flow_block(const dfo_flow *flow)
{
    size_t block = BLOCK;
    int image = flow->bij->shape.h * flow->bij->shape.w > 1;
    while (image && block > BLOCK_IMAGES && block * flow->d > BLOCK_NUMBERS)
        block /= 2;
    return block;
}

size_t dfo_flow_bins(const dfo_flow *flow)
{
    size_t at;
    return dfoi_chain_count(flow->bij) ? dfoi_dequantise_bins(dfoi_chain_layer(flow->bij, 0, &at)) : 0;
}

int dfo_flow_dequantises(const dfo_flow *flow)
{
    size_t at;
    const dfo_bijector *first = dfoi_chain_count(flow->bij) ? dfoi_chain_layer(flow->bij, 0, &at) : NULL;
    const struct dfoi_columns *columns = first ? dfoi_columns_of(first) : NULL;
    return dfo_flow_bins(flow) || (columns && columns->whole);
}

dfo_missing dfo_flow_missing(const dfo_flow *flow)
{
    size_t at;
    const struct dfoi_columns *columns = dfoi_chain_count(flow->bij) ? dfoi_columns_of(dfoi_chain_layer(flow->bij, 0, &at)) : NULL;
    return !columns || columns->missing == DFOI_MISSING_REFUSED ? DFO_MISSING_REFUSED
           : columns->missing == DFOI_MISSING_IMPUTE            ? DFO_MISSING_IMPUTED
                                                                : DFO_MISSING_INTEGRATED;
}

/* Continuous layers in chains and parts, however deep.  */
static dfo_status set_solvers(dfo_ctx *ctx, const dfo_bijector *bij, const dfo_solver_options *options, size_t *found)
{
    size_t at;
    for (size_t i = 0; dfoi_chain_layer(bij, 0, &at) != bij && i < dfoi_chain_count(bij); i++)
        DFO_TRY(set_solvers(ctx, dfoi_chain_layer(bij, i, &at), options, found));
    if (dfoi_part_layer(bij))
        return set_solvers(ctx, dfoi_part_layer(bij), options, found);
    if (strcmp(bij->ops->type, "cnf"))
        return DFO_OK;
    ++*found;
    return dfoi_cnf_set_solver(ctx, (dfo_bijector *)bij, options);
}

/* What the layers found so far agree on.  */
static void common_solver(const dfo_bijector *bij, dfo_solver_options *to, size_t *found)
{
    size_t at;
    for (size_t i = 0; dfoi_chain_layer(bij, 0, &at) != bij && i < dfoi_chain_count(bij); i++)
        common_solver(dfoi_chain_layer(bij, i, &at), to, found);
    if (dfoi_part_layer(bij))
        common_solver(dfoi_part_layer(bij), to, found);
    else if (!strcmp(bij->ops->type, "cnf")) {
        dfo_solver_options o = dfoi_cnf_solver(bij);
        int first = !(*found)++;
        to->method = first || (to->method && !strcmp(to->method, o.method)) ? o.method : NULL;
        to->steps = first || to->steps == o.steps ? o.steps : DFO_AS_IT_IS;
        to->probes = first || to->probes == o.probes ? o.probes : DFO_AS_IT_IS;
        to->rtol = first || to->rtol == o.rtol ? o.rtol : -1;
        to->atol = first || to->atol == o.atol ? o.atol : -1;
    }
}

static size_t most_probes(const dfo_bijector *bij)
{
    size_t at, most = 0;
    if (!strcmp(bij->ops->type, "cnf"))
        most = dfoi_cnf_probes(bij);
    if (!strcmp(bij->ops->type, "residual"))
        most = dfoi_residual_probes(bij);
    for (size_t i = 0; dfoi_chain_layer(bij, 0, &at) != bij && i < dfoi_chain_count(bij); i++) {
        size_t probes = most_probes(dfoi_chain_layer(bij, i, &at));
        most = probes > most ? probes : most;
    }
    return dfoi_part_layer(bij) ? most_probes(dfoi_part_layer(bij)) : most;
}

dfo_status dfo_flow_set_solver(dfo_flow *flow, const dfo_solver_options *options)
{
    size_t found = 0;
    DFO_TRY(set_solvers(flow->ctx, flow->bij, options, &found));
    return found ? DFO_OK : dfoi_fail(flow->ctx, DFO_EUNSUP, "it has no continuous layer: nothing is solved");
}

int dfo_flow_solver(const dfo_flow *flow, dfo_solver_options *options)
{
    size_t found = 0;
    *options = (dfo_solver_options){.steps = DFO_AS_IT_IS, .probes = DFO_AS_IT_IS, .rtol = -1, .atol = -1};
    common_solver(flow->bij, options, &found);
    return found > 0;
}

size_t dfo_flow_probes(const dfo_flow *flow)
{
    return most_probes(flow->bij);
}

dfo_status dfo_flow_describe(const dfo_flow *flow, json_t *to)
{
    json_t *bij, *base = json_object();
    DFO_TRY(dfoi_json_set(flow->ctx, to, "base", base));
    DFO_TRY(dfo_dist_describe(flow->base, base));
    DFO_TRY(dfoi_layer_json(flow->bij, &bij));
    if (flow->matching.on)
        DFO_TRY(dfoi_matching_describe(flow->ctx, &flow->matching, to));
    if (flow->condition.on)
        DFO_TRY(dfoi_json_set(flow->ctx, to, "condition", json_string("standardise")));
    return dfoi_json_set(flow->ctx, to, "bijector", bij);
}

static size_t base_at(const dfo_flow *flow)
{
    return dfo_arena_size(dfo_bijector_derived(flow->bij));
}

dfo_need dfoi_flow_need(const dfo_flow *flow, size_t rows, const dfo_run *how, int gradients)
{
    size_t inner = dfo_bijector_scratch(flow->bij, rows), base = dfo_dist_scratch(flow->base, rows);
    dfo_need need = {.rows = rows};
    need.scratch = (inner > base ? inner : base) + dfoi_doubles_size(rows) + dfo_arena_size(rows * flow->d) +
                   dfo_arena_size(rows * flow->cond_d);
    need.derived = base_at(flow) + dfo_dist_derived(flow->base);
    need.gderived = gradients ? dfo_bijector_gderived(flow->bij) : 0;
    need.saved = gradients ? dfo_bijector_saved(flow->bij, rows, how) : 0;
    need.aux = dfo_bijector_aux(flow->bij);
    /* Ranges in which gradients are summed: a chain's layers, or all of another bijector; the base.  */
    need.range = flow->base->count;
    for (size_t i = 0; gradients && i < dfoi_chain_count(flow->bij); i++) {
        size_t at;
        const dfo_bijector *layer = dfoi_chain_layer(flow->bij, i, &at);
        size_t g = dfo_bijector_gderived(layer);
        need.range = layer->count > need.range ? layer->count : need.range;
        need.grange = g > need.grange ? g : need.grange;
    }
    return need;
}

dfo_status dfoi_flow_prepare(const dfo_flow *flow, dfo_run *run, dfo_real *derived)
{
    DFO_TRY(dfoi_flow_condition_check(flow, run));
    DFO_TRY(dfo_bijector_prepare(flow->bij, run, derived));
    return dfo_dist_prepare(flow->base, run, derived + base_at(flow));
}

/* It reads its own derived data.  Weights of a net may say anything of a row: outside of the support is -inf, but nothing is NaN.  */
dfo_status dfoi_flow_base_log_prob(const dfo_flow *flow, dfo_run *run, dfo_batch z, const dfo_cond *cond, double *logp)
{
    dfo_real *derived = run->derived;
    run->derived = derived ? derived + base_at(flow) : NULL;
    dfo_status status = dfo_dist_log_prob(flow->base, run, z, flow->base->conds ? cond : NULL, logp);
    run->derived = derived;
    for (size_t i = 0; i < z.n && status == DFO_OK; i++)
        if (isnan(logp[i]))
            status = dfo_run_fail(run, DFO_ENUM, i, "%s: row %llu: its log-density is not a number", flow->base->ops->type,
                                  (unsigned long long)(run->key.row + i));
    return status;
}

static int is_chain(const dfo_flow *flow)
{
    return !strcmp(flow->bij->ops->type, "chain");
}

/* A chain looks at what each of its layers makes; any other bijector is looked at here.  */
static dfo_status check_rows(const dfo_flow *flow, dfo_run *run, dfo_batch x, const double *logdet)
{
    if (is_chain(flow))
        return DFO_OK;
    for (size_t i = 0; i < x.n; i++)
        if (!dfoi_all_finite(x.d, dfo_row(x, i)) || (logdet && !isfinite(logdet[i])))
            return dfo_run_fail(run, DFO_ENUM, i, "%s: row %llu: not finite", flow->bij->ops->type,
                                (unsigned long long)(run->key.row + i));
    return DFO_OK;
}

dfo_status dfoi_flow_forward(const dfo_flow *flow, dfo_run *run, dfo_batch x, const dfo_cond *cond, double *logdet)
{
    DFO_TRY(dfo_bijector_forward(flow->bij, run, x, cond, logdet));
    return check_rows(flow, run, x, logdet);
}

dfo_status dfoi_flow_inverse(const dfo_flow *flow, dfo_run *run, dfo_batch z, const dfo_cond *cond, double *logdet)
{
    DFO_TRY(dfo_bijector_inverse(flow->bij, run, z, cond, logdet));
    return check_rows(flow, run, z, logdet);
}

dfo_status dfoi_flow_log_prob(const dfo_flow *flow, dfo_run *run, dfo_batch x, const dfo_cond *cond, double *logp)
{
    memset(logp, 0, x.n * sizeof *logp);
    DFO_TRY(dfoi_flow_forward(flow, run, x, cond, logp));
    return dfoi_flow_base_log_prob(flow, run, x, cond, logp);
}

/* A chain sums its layers' gradients one by one; any other bijector is one range.  */
static dfo_status back(const dfo_flow *flow, dfo_run *run, dfo_batch z, dfo_batch gz, const dfo_cond *cond, dfo_cond *gcond,
                       const double *glogdet, int inverse)
{
    const dfo_bijector *bij = flow->bij;
    dfo_reduction *reduction = run->reduction;
    int chain = is_chain(flow);
    size_t gn = dfo_bijector_gderived(bij);
    if (!chain) {
        dfo_run_grads_begin(run, bij->first, bij->count, 0, gn);
        run->reduction = NULL;
    }
    dfo_status status = inverse ? dfo_bijector_inverse_backward(bij, run, z, gz, cond, gcond, glogdet)
                                : dfo_bijector_backward(bij, run, z, gz, cond, gcond, glogdet);
    run->reduction = reduction;
    if (!chain)
        dfo_run_grads_done(run, bij->first, bij->count, 0, gn);
    return status;
}

dfo_status dfoi_flow_backward(const dfo_flow *flow, dfo_run *run, dfo_batch z, dfo_batch gz, const dfo_cond *cond,
                              dfo_cond *gcond, const double *glogdet)
{
    return back(flow, run, z, gz, cond, gcond, glogdet, 0);
}

dfo_status dfoi_flow_inverse_backward(const dfo_flow *flow, dfo_run *run, dfo_batch x, dfo_batch gx, const double *glogdet)
{
    return back(flow, run, x, gx, NULL, NULL, glogdet, 1);
}

/* A chain's init has mapped the rows, layer by layer.  */
dfo_status dfoi_flow_init(dfo_flow *flow, dfo_run *run, dfo_batch x, const dfo_cond *cond)
{
    DFO_TRY(dfo_bijector_init(flow->bij, run, x, cond));
    if (is_chain(flow))
        return DFO_OK;
    DFO_TRY(dfo_bijector_prepare(flow->bij, run, run->derived));
    return dfoi_flow_forward(flow, run, x, cond, NULL);
}

dfo_status dfoi_flow_log_prob_grad(const dfo_flow *flow, dfo_run *run, dfo_batch x, const dfo_cond *cond,
                                   const double *weight, double *logp, dfo_batch gx, dfo_cond *gcond)
{
    DFO_TRY(dfoi_flow_log_prob(flow, run, x, cond, logp));
    for (size_t i = 0; i < gx.n; i++)
        memset(dfo_row(gx, i), 0, gx.d * sizeof(dfo_real));
    dfo_real *derived = run->derived;
    run->derived = derived ? derived + base_at(flow) : NULL;
    dfo_run_grads_begin(run, flow->base->first, flow->base->count, 0, 0);
    dfo_status status = dfo_dist_log_prob_grad(flow->base, run, x, flow->base->conds ? cond : NULL, weight, gx,
                                               flow->base->conds ? gcond : NULL);
    dfo_run_grads_done(run, flow->base->first, flow->base->count, 0, 0);
    run->derived = derived;
    DFO_TRY(status);
    return dfoi_flow_backward(flow, run, x, gx, cond, gcond, weight);
}

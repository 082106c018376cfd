/* The condition of a flow, z-scored where its configuration says "condition":"standardise": every column less its mean, divided by its
 * standard deviation, both of all training rows (flow_moments.c) and kept as buffers, condition.mean and condition.std.  A column that
 * never changes is only centred.  Layers, nets and the base see conditions so (as guidance's zeros: those are the means); whoever
 * calls a flow gives them, and is given their gradients, in units of their own.  */
#include <math.h>
#include <string.h>

#include "flow_impl.h"
#include "layer_impl.h"
#include "standardise_impl.h"

dfo_status dfoi_flow_condition_new(dfo_build *build, const json_t *config, dfo_flow *flow)
{
    struct dfoi_condition *c = &flow->condition;
    dfo_build inner;
    char path[256];
    DFO_TRY(dfoi_json_either(build->ctx, config, "condition", "raw", "standardise", &c->on));
    if (!c->on)
        return DFO_OK;
    if (!flow->cond_d)
        return dfoi_fail(build->ctx, DFO_EARG, "condition: standardise goes with a flow that has a condition");
    DFO_TRY(dfo_build_child(build, "condition", path, sizeof path, &inner));
    DFO_TRY(dfo_build_buffer(&inner, "mean", 1, &flow->cond_d, &c->mean));
    DFO_TRY(dfo_build_buffer(&inner, "std", 1, &flow->cond_d, &c->std));
    for (size_t j = 0; j < flow->cond_d; j++)
        dfo_store_buffers(build->store)[c->std + j] = 1;
    return DFO_OK;
}

dfo_status dfoi_flow_condition_set(dfo_flow *flow, const double *mean, const double *std)
{
    dfo_real *to = dfo_store_buffers(flow->store);
    DFO_TRY(dfoi_standardise_keep(flow->ctx, "condition", flow->cond_d, mean, std, to + flow->condition.mean, to + flow->condition.std));
    dfo_store_touch(flow->store);
    return DFO_OK;
}

/* A file may hold anything.  */
dfo_status dfoi_flow_condition_check(const dfo_flow *flow, dfo_run *run)
{
    const struct dfoi_condition *c = &flow->condition;
    for (size_t j = 0; c->on && j < flow->cond_d; j++) {
        double mean = (double)dfo_run_buffers(run, c->mean)[j], std = (double)dfo_run_buffers(run, c->std)[j];
        if (!isfinite(mean) || !isfinite(std) || !(std > 0))
            return dfo_run_fail(run, DFO_ENUM, (size_t)-1, "condition: column %zu: expected a mean and a standard deviation above 0, got %g and %g",
                                j, mean, std);
    }
    return DFO_OK;
}

size_t dfoi_flow_condition_scratch(const dfo_flow *flow, size_t rows)
{
    size_t sum = 0;
    for (size_t p = 0; flow->condition.on && p < flow->bij->conds; p++)
        sum += dfo_arena_size(rows * dfo_shape_size(flow->bij->cond[p]));
    return sum;
}

void dfoi_flow_condition_apply(const dfo_flow *flow, const dfo_run *run, const dfo_cond *cond)
{
    if (!flow->condition.on)
        return;
    const dfo_real *mean = dfo_run_buffers(run, flow->condition.mean), *std = dfo_run_buffers(run, flow->condition.std);
    for (size_t p = 0, at = 0; p < cond->n; at += cond->part[p++].rows.d)
        for (size_t i = 0; i < cond->part[p].rows.n; i++) {
            dfo_real *row = dfo_row(cond->part[p].rows, i);
            for (size_t j = 0; j < cond->part[p].rows.d; j++)
                row[j] = (row[j] - mean[at + j]) / std[at + j];
        }
}

dfo_cond dfoi_flow_condition(const dfo_flow *flow, dfo_run *run, const dfo_cond *cond)
{
    dfo_cond own = *cond;
    for (size_t p = 0; flow->condition.on && p < own.n; p++)
        own.part[p].rows = dfoi_flow_fill(run, own.part[p].rows, own.part[p].rows.n);
    dfoi_flow_condition_apply(flow, run, &own);
    return own;
}

void dfoi_flow_condition_back(const dfo_flow *flow, const dfo_run *run, const dfo_cond *gcond)
{
    if (!flow->condition.on || !gcond)
        return;
    const dfo_real *std = dfo_run_buffers(run, flow->condition.std);
    for (size_t p = 0, at = 0; p < gcond->n; at += dfo_shape_size(flow->bij->cond[p++]))
        for (size_t i = 0; gcond->part[p].rows.x && i < gcond->part[p].rows.n; i++)
            for (size_t j = 0; j < gcond->part[p].rows.d; j++)
                dfo_row(gcond->part[p].rows, i)[j] /= std[at + j];
}

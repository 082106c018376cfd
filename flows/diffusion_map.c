/* What ways through a flow that ends in diffusion have in common: the predictor of data that its net makes, and the layers before it.  */
#include <string.h>

#include "cnf_impl.h"
#include "flow_impl.h"
#include "math/kern_impl.h"
#include "matching_impl.h"

int dfo_flow_diffuses(const dfo_flow *flow)
{
    size_t at;
    const dfo_bijector *last = dfoi_matching_layer(flow, &at);
    return last && dfoi_cnf_diffusion(last);
}

static size_t predictor_scratch(const dfo_field *field, size_t rows)
{
    const struct dfoi_cnf_solve *of = field->state;
    return dfo_arena_size(rows * field->d) + dfoi_doubles_size(rows) + dfoi_cnf_net_scratch(of->bij, rows);
}

static dfo_status predict(const dfo_field *field, dfo_run *run, const double *t, dfo_batch x, dfo_batch dx, double *dq)
{
    const struct dfoi_cnf_solve *of = field->state;
    dfo_batch y = dfo_batch_of(dfo_arena_take(run, x.n * x.d), x.n, x.d);
    double *time = dfoi_take_doubles(run, x.n);
    dfoi_diffusion_data p = dfoi_diffusion_data_at(dfoi_cnf_diffusion(of->bij), x.n ? t[0] : 1);
    (void)dq;
    for (size_t i = 0; i < x.n; i++) {     /* all at one time */
        time[i] = p.net_time;
        for (size_t j = 0; j < x.d; j++)
            dfo_row(y, i)[j] = (dfo_real)((double)dfo_row(x, i)[j] / p.n);
    }
    DFO_TRY(dfoi_cnf_net(of, run, time, y, field->cond, dx));
    for (size_t i = 0; i < x.n; i++)
        for (size_t j = 0; j < x.d; j++)
            dfo_row(dx, i)[j] = (dfo_real)(p.of_x * (double)dfo_row(x, i)[j] + p.of_net * (double)dfo_row(dx, i)[j]);
    return DFO_OK;
}

dfo_field dfoi_diffusion_predictor(const struct dfoi_cnf_solve *of, size_t d, const dfo_cond *cond)
{
    static const struct dfo_field_ops ops = {.type = "diffusion", .scratch = predictor_scratch, .eval = predict};
    return (dfo_field){.ops = &ops, .state = of, .d = d, .cond = cond};
}

static dfo_status named(const dfo_flow *flow, dfo_run *run, size_t i)
{
    size_t at;
    return dfo_run_wrap(run, "layer %zu (%s): ", i, dfoi_chain_layer(flow->bij, i, &at)->ops->type);
}

dfo_status dfoi_diffusion_named(const dfo_flow *flow, dfo_run *run)
{
    return named(flow, run, dfoi_chain_count(flow->bij) - 1);
}

static dfo_status all_finite(dfo_run *run, dfo_batch x)
{
    for (size_t i = 0; i < x.n; i++)
        if (!dfoi_all_finite(x.d, dfo_row(x, i)))
            return dfo_run_fail(run, DFO_ENUM, i, "row %llu: not finite", (unsigned long long)(run->key.row + i));
    return DFO_OK;
}

dfo_status dfoi_diffusion_others(const dfo_flow *flow, dfo_run *run, dfo_batch x, const dfo_cond *cond, int back, double *logdet)
{
    size_t count = dfoi_chain_count(flow->bij) - 1, at;
    dfo_real *derived = run->derived;
    double *one = dfoi_take_doubles(run, x.n);
    for (size_t k = 0; k < count; k++) {
        size_t i = back ? count - 1 - k : k;
        const dfo_bijector *layer = dfoi_chain_layer(flow->bij, i, &at);
        memset(one, 0, x.n * sizeof *one);
        run->derived = derived ? derived + at : NULL;
        dfo_status status = back ? dfo_bijector_inverse(layer, run, x, cond, one) : dfo_bijector_forward(layer, run, x, cond, one);
        run->derived = derived;
        if (status != DFO_OK || all_finite(run, x) != DFO_OK)
            return named(flow, run, i);
        for (size_t r = 0; logdet && r < x.n; r++)
            logdet[r] += one[r];
    }
    return DFO_OK;
}

void dfoi_diffusion_scale(dfo_batch x, double by)
{
    for (size_t i = 0; i < x.n; i++)
        for (size_t j = 0; j < x.d; j++)
            dfo_row(x, i)[j] = (dfo_real)((double)dfo_row(x, i)[j] * by);
}

/* Densities of Markov chains of noise that a net runs backwards (Sohl-Dickstein et al. 2015):
 *
 *     {"type":"diffusion-gaussian", "steps":40, "first":null, "last":null, "learned":false, "net":{...}}
 *     {"type":"diffusion-binary", "steps":40, "net":{...}}
 *
 * log p(x) is not known; what stands in its place is a bound from below, in nats,
 *
 *     -KL(q(x_T | x) || p(x_T)) - sum_t KL(q(x_t-1 | x_t, x) || p(x_t-1 | x_t)),
 *
 * the term at t = 1 being -log p(x | x_1), with one draw of x_t a step and row: in evaluation the same for a row at every call, for all steps;
 * in training one step, drawn, stands for all T.  Rates: beta_t = t'th of T from first to last (null: 0.1/T and 20/T, at most 0.999), learned
 * but for the first as sigmoid(schedule); of bits 1/(T - t + 1), which takes away the same part of the bit in every step.  The net sees
 * x_t, the condition and t/T.  Rows' ways are in markov_rows.c, the kinds' formulas in markov_gaussian.c and markov_binary.c.  */
#include <math.h>

#include "base/ctx_impl.h"
#include "base/json_impl.h"
#include "dist/dist_impl.h"
#include "dist/markov_impl.h"

#define MOST_STEPS 100000

static dfo_status describe(const dfo_dist *dist, json_t *to)
{
    const struct dfoi_markov *m = dist->state;
    int gaussian = m->kind == &dfoi_markov_gaussian;
    DFO_TRY(dfoi_dist_describe_head(dist, to, gaussian ? m->learned : -1));
    json_t *net = json_object();
    DFO_TRY(dfoi_json_set(dist->ctx, to, "net", net));
    DFO_TRY(dfoi_json_set(dist->ctx, to, "steps", json_integer((json_int_t)m->steps)));
    if (gaussian) {
        DFO_TRY(dfoi_json_set(dist->ctx, to, "first", json_real(m->first)));
        DFO_TRY(dfoi_json_set(dist->ctx, to, "last", json_real(m->last)));
    }
    return dfo_net_describe(m->net, net);
}

static void free_state(dfo_dist *dist)
{
    struct dfoi_markov *m = dist->state;
    if (m)
        dfo_net_free(m->net);
    dfoi_free(dist->ctx, m);
}

#define OPS(name, discrete)                                                                                           \
    {.type = name, .bound = 1, .whole = discrete, .scratch = dfoi_markov_scratch, .log_prob = dfoi_markov_log_prob, .log_prob_grad = dfoi_markov_log_prob_grad, \
     .sample = dfoi_markov_sample, .sample_given = dfoi_markov_sample_given, .describe = describe, .free = free_state}

static const struct dfo_dist_ops gaussian_ops = OPS("diffusion-gaussian", 0), binary_ops = OPS("diffusion-binary", 1);

/* A rate, or what stands for it where it is null.  */
static dfo_status read_rate(dfo_ctx *ctx, const json_t *config, const char *key, double otherwise, double *out)
{
    *out = otherwise < 0.999 ? otherwise : 0.999;
    if (!json_object_get(config, key) || json_is_null(json_object_get(config, key)))
        return DFO_OK;
    return dfoi_json_real(ctx, config, key, 0, 1e-6, 0.9999, out);
}

static dfo_status read_rates(dfo_build *build, const json_t *config, struct dfoi_markov *m)
{
    dfo_ctx *ctx = build->ctx;
    double steps = (double)m->steps;
    DFO_TRY(read_rate(ctx, config, "first", 0.1 / steps, &m->first));
    DFO_TRY(read_rate(ctx, config, "last", 20 / steps, &m->last));
    DFO_TRY(dfoi_json_bool(ctx, config, "learned", 0, &m->learned));
    m->learned = m->learned && m->steps > 1;
    if (!m->learned)
        return DFO_OK;
    size_t n = m->steps - 1;
    DFO_TRY(dfo_build_weights(build, "schedule", 1, &n, &m->schedule));
    for (size_t t = 2; t <= m->steps && !build->blank; t++) {
        double beta = m->first + (m->last - m->first) * ((double)t - 1) / (steps - 1);
        dfo_store_weights(build->store)[m->schedule + t - 2] = (dfo_real)(log(beta) - log1p(-beta));
    }
    return DFO_OK;
}

static dfo_status make_net(dfo_build *build, json_t *config, dfo_dist *dist, struct dfoi_markov *m)
{
    dfo_ctx *ctx = build->ctx;
    dfo_shape in[DFO_COND_PARTS] = {build->shape}, out = build->shape;
    dfo_build inner;
    char path[256];
    if (!json_is_object(json_object_get(config, "net")))
        return dfoi_fail(ctx, DFO_EARG, "net: expected an object that describes a net of rows and time, such as {\"type\":\"time-mlp\"}");
    if (!build->store)
        return dfoi_fail(ctx, DFO_EARG, "net: a net needs a store");
    if (build->conds + 2 > DFO_COND_PARTS)
        return dfoi_fail(ctx, DFO_EARG, "net: a condition of at most %d parts, got %zu", DFO_COND_PARTS - 2, build->conds);
    dist->conds = build->conds;
    for (size_t p = 0; p < build->conds; p++) {
        in[p + 1] = build->cond[p];
        dist->cond_d += dfo_shape_size(build->cond[p]);
    }
    in[build->conds + 1] = dfo_shape_vector(1);
    DFO_TRY(dfoi_mul(ctx, m->kind->outs, out.c, "net", &out.c));
    DFO_TRY(dfo_build_child(build, "net", path, sizeof path, &inner));
    DFO_TRY(dfo_net_new(&inner, json_object_get(config, "net"), build->conds + 2, in, out, 1, &m->net));
    if (dfo_net_statistics(m->net))
        return dfoi_fail(ctx, DFO_EUNSUP, "net: batch normalisation has no place in a density");
    return DFO_OK;
}

static dfo_status create(dfo_build *build, json_t *config, dfo_dist *dist, const struct dfoi_markov_kind *kind)
{
    static const char *const known[] = {"type", "net", "steps", "learned", "first", "last", NULL}, *const bits[] = {"type", "net", "steps", NULL};
    int gaussian = kind == &dfoi_markov_gaussian;
    struct dfoi_markov *m;
    dist->ops = gaussian ? &gaussian_ops : &binary_ops;
    DFO_TRY(dfoi_alloc(build->ctx, 1, sizeof *m, &m));
    dist->state = m;
    m->kind = kind;
    DFO_TRY(dfoi_json_keys(build->ctx, config, gaussian ? known : bits));
    DFO_TRY(dfoi_json_size(build->ctx, config, "steps", 40, 1, MOST_STEPS, &m->steps));
    if (gaussian)
        DFO_TRY(read_rates(build, config, m));
    return make_net(build, config, dist, m);
}

dfo_status dfoi_dist_diffusion_gaussian(dfo_build *build, json_t *config, dfo_dist *dist)
{
    return create(build, config, dist, &dfoi_markov_gaussian);
}

dfo_status dfoi_dist_diffusion_binary(dfo_build *build, json_t *config, dfo_dist *dist)
{
    return create(build, config, dist, &dfoi_markov_binary);
}

/* Masked net (MADE, Germain et al. 2015; with residual blocks ResMADE, Nash and Durkan 2019): outputs of column j depend
 * on the columns in front of it alone.
 *
 *   {"type":"made", "hidden":[128,128], or "hidden":128 and "layers":2, "activation":"relu", "dropout":0, "last_init":0,
 *    "residual":false, "degrees":null}
 *   with "residual":true: "hidden":128, "blocks":2, "context":"concat" or "gate" in place of layers
 *
 * The last input part holds the columns, in their order; other parts are seen by all.  The outputs are d groups of out/d,
 * one a column.  Degrees: 0 of other parts, j + 1 of column j, j of its outputs; hidden units share 1 .. d - 1 evenly
 * (0 .. d - 1 where there are other parts), or as "degrees" has them, a rising list for each hidden layer (a
 * residual net has one).  A feature sees those of the level below with its degree or less.  Units stand in the order of
 * their degrees, so that what one sees is a run of inputs from the first on: weights are stairs (gemm_impl.h), a mask
 * costs nothing and halves the products.  Weights are an mlp's or a residual-mlp's; what a mask hides begins at
 * zero and stays as it is.  */
#include "base/ctx_impl.h"
#include "base/json_impl.h"
#include "nn/config_impl.h"
#include "nn/made_impl.h"
#include "nn/mlp_impl.h"
#include "nn/net_impl.h"
#include "nn/residual_impl.h"

static const struct dfoi_net_type *inner_type(int residual)
{
    return residual ? &dfoi_net_residual : &dfoi_net_mlp;
}

/* The inner net's configuration, to be given back.  */
static dfo_status split(dfo_ctx *ctx, const json_t *config, int *residual, json_t **inner)
{
    DFO_TRY(dfoi_json_bool(ctx, config, "residual", 0, residual));
    if (*residual && json_object_get(config, "norm"))
        return dfoi_fail(ctx, DFO_EARG, "norm: it would mix units of all degrees");
    *inner = config ? dfoi_json_copy(config) : json_object();
    if (!*inner)
        return dfoi_fail(ctx, DFO_EMEM, "out of memory: settings");
    json_object_del(*inner, "residual");
    json_object_del(*inner, "degrees");
    return DFO_OK;
}

static dfo_status check(dfo_ctx *ctx, const json_t *config)
{
    int residual;
    json_t *inner;
    DFO_TRY(split(ctx, config, &residual, &inner));
    dfo_status status = inner_type(residual)->check(ctx, inner);
    json_decref(inner);
    return status;
}

static size_t hidden_width(const struct dfoi_made *m, size_t level)
{
    if (m->residual)
        return ((const struct dfoi_residual *)m->inner.state)->hidden;
    return ((const struct dfoi_mlp *)m->inner.state)->settings.hidden[level - 1];
}

/* Counts of one hidden level: units in equal shares.  */
static void share(const struct dfoi_made *m, size_t width, size_t *at)
{
    size_t low = m->before ? 0 : 1, high = m->d > low ? m->d - 1 : low, degrees = high - low + 1;
    for (size_t g = 0; g < m->d + 2; g++) {
        size_t below = g <= low ? 0 : g > high ? degrees : g - low;      /* degrees below g */
        at[g] = (below * width + degrees - 1) / degrees;
    }
}

/* The same as the configuration has them.  */
static dfo_status given(dfo_ctx *ctx, const struct dfoi_made *m, const json_t *list, size_t width, size_t *at)
{
    json_int_t last = json_array_size(list) == width ? 0 : -1;
    for (size_t k = 0; k < width && last >= 0; k++) {
        const json_t *number = json_array_get(list, k);
        json_int_t g = json_is_integer(number) ? json_integer_value(number) : -1;
        last = g < last || (size_t)g > m->d ? -1 : g;
        if (last >= 0)
            at[g + 1]++;
    }
    for (size_t g = 1; g < m->d + 2; g++)
        at[g] += at[g - 1];
    if (last < 0)
        return dfoi_fail(ctx, DFO_EARG, "degrees: expected %zu rising numbers of 0 to %zu for each hidden layer", width, m->d);
    return DFO_OK;
}

static dfo_status count_degrees(dfo_ctx *ctx, struct dfoi_made *m)
{
    size_t wide = m->d + 2, last = m->levels - 1;
    DFO_TRY(dfoi_alloc(ctx, m->levels * wide, sizeof *m->at, &m->at));
    if (m->degrees && json_array_size(m->degrees) != m->levels - 2)
        return dfoi_fail(ctx, DFO_EARG, "degrees: expected %zu lists, got %zu", m->levels - 2, json_array_size(m->degrees));
    for (size_t g = 1; g < wide; g++) {
        m->at[g] = m->before + g - 1;
        m->at[last * wide + g] = m->each * (g < m->d ? g : m->d);
    }
    for (size_t l = 1; l < last; l++) {
        if (m->degrees)
            DFO_TRY(given(ctx, m, json_array_get(m->degrees, l - 1), hidden_width(m, l), m->at + l * wide));
        else
            share(m, hidden_width(m, l), m->at + l * wide);
    }
    return DFO_OK;
}

/* Makes stairs of a linear layer between two levels, *reach is used up; hidden weights become zero.  */
static void mask(dfo_build *build, const struct dfoi_made *m, size_t below, size_t level, dfoi_linear *linear, size_t **reach)
{
    for (size_t g = 0; g <= m->d; g++)
        for (size_t r = dfoi_made_at(m, level, g); r < dfoi_made_at(m, level, g + 1); r++) {
            size_t sees = (*reach)[r] = dfoi_made_at(m, below, g + 1);
            dfo_build_constant(build, linear->w + r * linear->in + sees, linear->in - sees, 0);
        }
    linear->reach = *reach;
    *reach += linear->out;
}

static dfo_status mask_mlp(dfo_build *build, struct dfoi_made *m)
{
    struct dfoi_mlp *mlp = m->inner.state;
    size_t total = 0;
    for (size_t l = 0; l <= mlp->layers; l++)
        total += mlp->linear[l].out;
    DFO_TRY(dfoi_alloc(build->ctx, total, sizeof *m->reach, &m->reach));
    size_t *reach = m->reach;
    for (size_t l = 0; l <= mlp->layers; l++)
        mask(build, m, l, l + 1, &mlp->linear[l], &reach);
    return DFO_OK;
}

static dfo_status mask_residual(dfo_build *build, struct dfoi_made *m)
{
    struct dfoi_residual *r = m->inner.state;
    size_t blocks = r->settings.blocks;
    DFO_TRY(dfoi_alloc(build->ctx, (2 * blocks + 1) * r->hidden + m->inner.out, sizeof *m->reach, &m->reach));
    size_t *reach = m->reach;
    mask(build, m, 0, 1, &r->linear[0], &reach);
    for (size_t k = 0; k < blocks; k++)
        for (size_t u = 0; u < 2; u++)
            mask(build, m, 1, 1, &r->linear[r->block[k].linear[u] - r->linear], &reach);
    mask(build, m, 1, 2, &r->linear[r->linears - 1], &reach);
    return DFO_OK;
}

/* A residual net takes the parts from the second on for what may gate its blocks: it is made as if the columns came
 * first.  */
static dfo_status make_inner(dfo_build *build, const json_t *config, int zero_last, const dfo_net *net, struct dfoi_made *m)
{
    m->inner = *net;
    m->inner.ops = inner_type(m->residual)->ops;
    m->inner.state = NULL;
    m->inner.parts = 2;
    m->inner.part[0] = dfo_shape_vector(m->d);
    m->inner.part[1] = dfo_shape_vector(m->before);
    DFO_TRY(inner_type(m->residual)->create(build, config, zero_last, &m->inner));
    m->inner.parts = net->parts;
    for (size_t p = 0; p < net->parts; p++)
        m->inner.part[p] = net->part[p];
    if (m->residual)
        ((struct dfoi_residual *)m->inner.state)->before_context = 0;
    return DFO_OK;
}

static dfo_status create(dfo_build *build, const json_t *config, int zero_last, dfo_net *net)
{
    dfo_ctx *ctx = build->ctx;
    struct dfoi_made *m;
    const json_t *degrees = json_object_get(config, "degrees");
    json_t *inner;
    DFO_TRY(dfoi_alloc(ctx, 1, sizeof *m, &m));
    net->state = m;
    m->d = dfo_shape_size(net->part[net->parts - 1]);
    m->before = net->in - m->d;
    if (!m->d || net->out % m->d)
        return dfoi_fail(ctx, DFO_ESHAPE, "expected a multiple of its %zu columns as outputs, got %zu", m->d, net->out);
    m->each = net->out / m->d;
    DFO_TRY(split(ctx, config, &m->residual, &inner));
    dfo_status status = make_inner(build, inner, zero_last, net, m);
    json_decref(inner);
    if (status != DFO_OK)
        return status;
    if (degrees && !json_is_null(degrees) && !(m->degrees = dfoi_json_copy(degrees)))
        return dfoi_fail(ctx, DFO_EMEM, "out of memory: degrees");
    m->levels = m->residual ? 3 : ((const struct dfoi_mlp *)m->inner.state)->layers + 2;
    DFO_TRY(count_degrees(ctx, m));
    return m->residual ? mask_residual(build, m) : mask_mlp(build, m);
}

static dfo_status describe(const dfo_net *net, json_t *to)
{
    const struct dfoi_made *m = net->state;
    DFO_TRY(m->inner.ops->describe(&m->inner, to));
    json_object_del(to, "norm");
    DFO_TRY(dfoi_json_set(net->ctx, to, "residual", json_boolean(m->residual)));
    return m->degrees ? dfoi_json_set(net->ctx, to, "degrees", dfoi_json_copy(m->degrees)) : DFO_OK;
}

static void release(dfo_net *net)
{
    struct dfoi_made *m = net->state;
    if (!m)
        return;
    if (m->inner.ops)
        m->inner.ops->free(&m->inner);
    json_decref(m->degrees);
    dfoi_free(net->ctx, m->at);
    dfoi_free(net->ctx, m->reach);
    dfoi_free(net->ctx, m);
}

static const dfo_net *inner(const dfo_net *net)
{
    return &((const struct dfoi_made *)net->state)->inner;
}

static size_t scratch(const dfo_net *net, size_t rows)
{
    return inner(net)->ops->scratch(inner(net), rows);
}

static size_t acts(const dfo_net *net, size_t rows)
{
    return inner(net)->ops->acts(inner(net), rows);
}

static dfo_status forward(const dfo_net *net, dfo_run *run, const dfo_cond *in, dfo_block out, dfo_real *keep)
{
    return inner(net)->ops->forward(inner(net), run, in, out, keep);
}

static dfo_status backward(const dfo_net *net, dfo_run *run, const dfo_cond *in, dfo_block gout, dfo_cond *gin,
                           const dfo_real *keep)
{
    return inner(net)->ops->backward(inner(net), run, in, gout, gin, keep);
}

static dfo_status jvp(const dfo_net *net, dfo_run *run, const dfo_cond *in, const dfo_cond *din, dfo_block out,
                      dfo_block dout, dfo_real *keep)
{
    return inner(net)->ops->jvp(inner(net), run, in, din, out, dout, keep);
}

static dfo_status jvp_backward(const dfo_net *net, dfo_run *run, const dfo_cond *in, const dfo_cond *din, dfo_block gout,
                               dfo_block gdout, dfo_cond *gin, dfo_cond *gdin, const dfo_real *keep)
{
    return inner(net)->ops->jvp_backward(inner(net), run, in, din, gout, gdout, gin, gdin, keep);
}

static const struct dfo_net_ops ops = {
    .type = "made",
    .layout = DFO_FEATURES,
    .scratch = scratch,
    .acts = acts,
    .forward = forward,
    .backward = backward,
    .jvp = jvp,
    .jvp_backward = jvp_backward,
    .describe = describe,
    .free = release,
};

const struct dfoi_net_type dfoi_net_made = {&ops, check, create};

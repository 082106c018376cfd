/* Autoregressive layers: each column is transformed by a function whose parameters a masked net makes of the columns in
 * front of it.  Affine, x = mu + e^alpha z (MAF, Papamakarios et al. 2017; IAF, Kingma et al. 2016), a rational-quadratic
 * spline (Durkan et al. 2019), a mixture's distribution function (Ho et al. 2019), a deep sigmoidal map (neural autoregressive
 * flows, Huang et al. 2018), a Bernstein polynomial (Ramasinghe et al. 2021), the integral of a sum of squares (Jaini et al. 2019).
 *
 *   {"type":"autoregressive", "transform":"affine", "spline", "mixture", "deep-sigmoidal", "bernstein" or "sum-of-squares",
 *    "order":"natural", "reverse", "random" or [...], "solve":false, "sweep":"columns" or "jacobi", "net":{"hidden":[128,128],...}, "zero_init":true, "scale":"tanh" or "exp", "scale_max":2}
 *
 * The net is given the data, so that data go to latents in one pass and back column by column (MAF); with "solve" it is given
 * the latents, and it is the other way round (IAF).  alpha = smax tanh(r/smax), or r itself.  Column after
 * column is one sweep through the net that costs about as much as a pass (lib/nn/made_sweep.c), and so are its
 * gradients: both ways are exact and can be trained.  */
#include <string.h>

#include "autoregressive_impl.h"
#include "layers.h"
#include "polynomial_set_impl.h"
#include "sigmoids_set_impl.h"
#include "spline_set_impl.h"

static const char *const kind_name[DFOI_AUTO_KINDS + 1] = {
    [DFOI_AUTO_AFFINE] = "affine",
    [DFOI_AUTO_SPLINE] = "spline",
    [DFOI_AUTO_MIXTURE] = "mixture",
    [DFOI_AUTO_DEEP] = "deep-sigmoidal",
    [DFOI_AUTO_BERNSTEIN] = "bernstein",
    [DFOI_AUTO_SQUARES] = "sum-of-squares",
};

static int sigmoids(const dfoi_autoregressive *a)
{
    return a->kind == DFOI_AUTO_MIXTURE || a->kind == DFOI_AUTO_DEEP;
}

static int polynomial(const dfoi_autoregressive *a)
{
    return a->kind == DFOI_AUTO_BERNSTEIN || a->kind == DFOI_AUTO_SQUARES;
}

void dfoi_autoregressive_transform(const dfoi_autoregressive *a, int to_latents, size_t columns, const dfo_real *par,
                                   dfo_real *x, dfo_real *ld)
{
    if (sigmoids(a)) {
        (to_latents ? DFOI_SIGMOIDS_KERN->forward : DFOI_SIGMOIDS_KERN->inverse)(&a->sigmoids, columns, DFO_PANEL, par, x, ld);
        return;
    }
    if (polynomial(a)) {
        (to_latents ? DFOI_POLYNOMIAL_KERN->forward : DFOI_POLYNOMIAL_KERN->inverse)(&a->polynomial, columns, DFO_PANEL, par, x,
                                                                                      ld);
        return;
    }
    if (a->kind == DFOI_AUTO_SPLINE) {
        (to_latents ? dfoi_spline_forward : dfoi_spline_inverse)(&a->how, columns, DFO_PANEL, par, x, ld);
        return;
    }
    for (size_t j = 0; j < columns; j++)
        (to_latents ? dfoi_affine_inverse : dfoi_affine_forward)(&a->affine, 1, DFO_PANEL, par + 2 * j * DFO_PANEL,
                                                                 x + j * DFO_PANEL, ld);
}

void dfoi_autoregressive_transform_back(const dfoi_autoregressive *a, int to_latents, size_t columns, const dfo_real *par,
                                        dfo_real *x, dfo_real *gx, const dfo_real *gld, dfo_real *gpar)
{
    if (sigmoids(a)) {
        if (to_latents)
            DFOI_SIGMOIDS_KERN->backward(&a->sigmoids, columns, DFO_PANEL, par, x, gx, gld, gpar);
        else
            DFOI_SIGMOIDS_KERN->inverse_backward(&a->sigmoids, columns, DFO_PANEL, par, x, gx, gld, gpar);
        return;
    }
    if (polynomial(a)) {
        if (to_latents)
            DFOI_POLYNOMIAL_KERN->backward(&a->polynomial, columns, DFO_PANEL, par, x, gx, gld, gpar);
        else
            DFOI_POLYNOMIAL_KERN->inverse_backward(&a->polynomial, columns, DFO_PANEL, par, x, gx, gld, gpar);
        return;
    }
    if (a->kind == DFOI_AUTO_SPLINE) {
        (to_latents ? dfoi_spline_backward : dfoi_spline_inverse_backward)(&a->how, columns, DFO_PANEL, par, x, gx, gld, gpar);
        return;
    }
    for (size_t j = 0; j < columns; j++) {
        size_t at = j * DFO_PANEL;
        (to_latents ? dfoi_affine_inverse_backward : dfoi_affine_backward)(&a->affine, 1, DFO_PANEL, par + 2 * at, x + at,
                                                                           gx + at, gld, gpar + 2 * at);
    }
}

static dfo_status forward(const dfo_bijector *bij, dfo_run *run, dfo_batch x, const dfo_cond *cond, double *logdet)
{
    return dfoi_autoregressive_map(bij, run, x, cond, logdet, 1);
}

static dfo_status inverse(const dfo_bijector *bij, dfo_run *run, dfo_batch z, const dfo_cond *cond, double *logdet)
{
    return dfoi_autoregressive_map(bij, run, z, cond, logdet, 0);
}

static dfo_status backward(const dfo_bijector *bij, dfo_run *run, dfo_batch z, dfo_batch gz, const dfo_cond *cond,
                           dfo_cond *gcond, const double *glogdet)
{
    return dfoi_autoregressive_back(bij, run, z, gz, cond, gcond, glogdet, 1);
}

static dfo_status inverse_backward(const dfo_bijector *bij, dfo_run *run, dfo_batch x, dfo_batch gx, const dfo_cond *cond,
                                   dfo_cond *gcond, const double *glogdet)
{
    return dfoi_autoregressive_back(bij, run, x, gx, cond, gcond, glogdet, 0);
}

static dfo_status describe(const dfo_bijector *bij, json_t *to)
{
    const dfoi_autoregressive *a = bij->state;
    dfo_ctx *ctx = bij->ctx;
    json_t *net = json_object();
    DFO_TRY(dfoi_json_set(ctx, to, "net", net));
    DFO_TRY(dfo_net_describe(a->net, net));
    DFO_TRY(dfoi_json_set(ctx, to, "transform", json_string(kind_name[a->kind])));
    DFO_TRY(dfoi_json_set(ctx, to, "order", dfoi_json_copy(a->order_json)));
    DFO_TRY(dfoi_json_set(ctx, to, "solve", json_boolean(a->solve)));
    DFO_TRY(dfoi_json_set(ctx, to, "sweep", json_string(a->jacobi ? "jacobi" : "columns")));
    DFO_TRY(dfoi_json_set(ctx, to, "zero_init", json_boolean(a->zero_init)));
    if (a->kind == DFOI_AUTO_SPLINE)
        return dfoi_spline_describe(ctx, to, &a->how, a->given);
    if (sigmoids(a))
        return dfoi_sigmoids_describe(ctx, to, &a->sigmoids, a->given);
    if (polynomial(a))
        return dfoi_polynomial_describe(ctx, to, &a->polynomial, a->given);
    DFO_TRY(dfoi_json_set(ctx, to, "scale", json_string(a->unbounded ? "exp" : "tanh")));
    return dfoi_json_set(ctx, to, "scale_max", json_real(a->given[0]));
}

static void autoregressive_free(dfo_bijector *bij)
{
    dfoi_autoregressive *a = bij->state;
    if (!a)
        return;
    dfo_net_free(a->net);
    dfoi_free(bij->ctx, a->order);
    json_decref(a->order_json);
    dfoi_free(bij->ctx, a);
}

static dfo_status read_affine(dfo_ctx *ctx, const json_t *config, dfoi_autoregressive *a)
{
    DFO_TRY(dfoi_json_either(ctx, config, "scale", "tanh", "exp", &a->unbounded));
    DFO_TRY(dfoi_json_real(ctx, config, "scale_max", 2, 1e-3, 20, &a->given[0]));
    a->affine.smax = a->unbounded ? DFOI_UNBOUNDED : (dfo_real)a->given[0];
    a->params = 2;
    return DFO_OK;
}

static dfo_status read_spline(dfo_ctx *ctx, const json_t *config, dfoi_autoregressive *a)
{
    DFO_TRY(dfoi_spline_read(ctx, config, &a->how, a->given));
    a->params = dfoi_spline_params(&a->how);
    return a->how.circular ? dfoi_fail(ctx, DFO_EARG, "tails: expected linear, got circular") : DFO_OK;
}

static dfo_status read_sigmoids(dfo_ctx *ctx, const json_t *config, dfoi_autoregressive *a)
{
    DFO_TRY(dfoi_sigmoids_read(ctx, config, a->kind == DFOI_AUTO_DEEP, &a->sigmoids, a->given));
    a->params = dfoi_sigmoids_params(&a->sigmoids);
    return DFO_OK;
}

static dfo_status read_polynomial(dfo_ctx *ctx, const json_t *config, dfoi_autoregressive *a)
{
    DFO_TRY(dfoi_polynomial_read(ctx, config, a->kind == DFOI_AUTO_SQUARES, &a->polynomial, a->given));
    a->params = dfoi_polynomial_params(&a->polynomial);
    return DFO_OK;
}

/* Of an order that is drawn the list is kept: what stands in the file is what was drawn.  */
static dfo_status read_order(dfo_build *build, const json_t *config, dfo_bijector *bij)
{
    dfoi_autoregressive *a = bij->state;
    dfo_key key = dfoi_layer_key(build);
    const json_t *given = json_object_get(config, "order");
    const char *name = "natural";
    size_t n = bij->d;
    DFO_TRY(dfoi_alloc(build->ctx, bij->d, sizeof *a->order, &a->order));
    if (json_is_array(given)) {
        name = "list";
        DFO_TRY(dfoi_json_sizes(build->ctx, config, "order", 0, bij->d - 1, bij->d, a->order, &n));
        DFO_TRY(dfoi_check_permutation(build->ctx, "order", bij->d, n, a->order));
    } else {
        DFO_TRY(dfoi_json_string(build->ctx, config, "order", "natural", &name));
    }
    int random = !strcmp(name, "random"), reverse = !strcmp(name, "reverse");
    a->natural = !strcmp(name, "natural");
    if (!a->natural && !random && !reverse && !json_is_array(given))
        return dfoi_fail(build->ctx, DFO_EARG, "order: expected natural, reverse, random or a list, got %s", name);
    for (size_t j = 0; j < bij->d && !json_is_array(given); j++)
        a->order[j] = random ? (size_t)dfo_permute_index(key, bij->d, j) : reverse ? bij->d - 1 - j : j;
    a->order_json = random || json_is_array(given) ? json_array() : json_string(name);
    for (size_t j = 0; j < bij->d && json_is_array(a->order_json); j++)
        if (json_array_append_new(a->order_json, json_integer((json_int_t)a->order[j])))
            return dfoi_fail(build->ctx, DFO_EMEM, "out of memory: order");
    return a->order_json ? DFO_OK : dfoi_fail(build->ctx, DFO_EMEM, "out of memory: order");
}

/* A masked net over the condition, then the columns in their order.  */
static dfo_status add_net(dfo_build *build, const json_t *config, dfo_bijector *bij)
{
    dfoi_autoregressive *a = bij->state;
    const json_t *given = json_object_get(config, "net");
    dfo_shape in[DFO_COND_PARTS];
    char path[256];
    dfo_build inner;
    if (build->conds + 1 > DFO_COND_PARTS)
        return dfoi_fail(build->ctx, DFO_EARG, "more than %d conditions", DFO_COND_PARTS - 1);
    for (size_t p = 0; p < build->conds; p++)
        in[p] = dfo_shape_vector(dfo_shape_size(build->cond[p]));
    in[build->conds] = dfo_shape_vector(bij->d);
    if (given && !json_is_object(given))
        return dfoi_fail(build->ctx, DFO_EARG, "net: expected an object");
    json_t *net = given ? dfoi_json_copy(given) : json_object();
    if (!net)
        return dfoi_fail(build->ctx, DFO_EMEM, "out of memory: net");
    const char *type;
    dfo_status status = dfoi_json_string(build->ctx, net, "type", "made", &type);
    if (status == DFO_OK && strcmp(type, "made"))
        status = dfoi_fail(build->ctx, DFO_EARG, "net: expected a made net, got %s", type);
    if (status == DFO_OK)
        status = dfoi_json_set(build->ctx, net, "type", json_string("made"));
    if (status == DFO_OK)
        status = dfo_build_child(build, "net", path, sizeof path, &inner);
    if (status == DFO_OK)
        status = dfo_net_new(&inner, net, build->conds + 1, in, dfo_shape_vector(a->params * bij->d), a->zero_init, &a->net);
    json_decref(net);
    return status;
}

#define COMMON_KEYS "type", "transform", "order", "solve", "sweep", "net", "zero_init"

static const struct kind {
    dfo_status (*read)(dfo_ctx *ctx, const json_t *config, dfoi_autoregressive *a);
    const char *keys[15];
} kinds[DFOI_AUTO_KINDS] = {
    [DFOI_AUTO_AFFINE] = {read_affine, {COMMON_KEYS, "scale", "scale_max"}},
    [DFOI_AUTO_SPLINE] = {read_spline, {COMMON_KEYS, "bins", "tail_bound", "tails", "min_width", "min_height", "min_derivative",
                                        "parameter_scale"}},
    [DFOI_AUTO_MIXTURE] = {read_sigmoids, {COMMON_KEYS, "components", "spread", "scale", "scale_max"}},
    [DFOI_AUTO_DEEP] = {read_sigmoids, {COMMON_KEYS, "components", "spread"}},
    [DFOI_AUTO_BERNSTEIN] = {read_polynomial, {COMMON_KEYS, "degree", "tail_bound", "min_derivative"}},
    [DFOI_AUTO_SQUARES] = {read_polynomial, {COMMON_KEYS, "degree", "tail_bound", "min_derivative", "components", "spread"}},
};

static dfo_status read_kind(dfo_ctx *ctx, const json_t *config, dfoi_autoregressive *a)
{
    size_t kind;
    DFO_TRY(dfoi_json_choice(ctx, config, "transform", kind_name, 0, &kind));
    a->kind = (dfoi_autoregressive_kind)kind;
    DFO_TRY(dfoi_json_keys(ctx, config, kinds[a->kind].keys));
    return kinds[a->kind].read(ctx, config, a);
}

dfo_status dfoi_autoregressive_create(dfo_build *build, json_t *config, dfo_bijector *bij)
{
    dfo_ctx *ctx = build->ctx;
    dfoi_autoregressive *a;
    DFO_TRY(dfoi_alloc(ctx, 1, sizeof *a, &a));
    bij->state = a;
    DFO_TRY(read_kind(ctx, config, a));
        DFO_TRY(dfoi_json_bool(ctx, config, "solve", 0, &a->solve));
    DFO_TRY(dfoi_json_either(ctx, config, "sweep", "columns", "jacobi", &a->jacobi));
    a->at_input = sigmoids(a) || polynomial(a);
    bij->caps |= a->at_input || !a->solve ? DFO_KEEPS_INPUT : 0;
    DFO_TRY(dfoi_json_bool(ctx, config, "zero_init", 1, &a->zero_init));
    DFO_TRY(read_order(build, config, bij));
    return add_net(build, config, bij);
}

const struct dfo_bijector_ops dfoi_autoregressive_ops = {
    .type = "autoregressive",
    .caps = DFO_CLOSED_INVERSE,
    .scratch = dfoi_autoregressive_scratch,
    .saved = dfoi_autoregressive_saved,
    .forward = forward,
    .inverse = inverse,
    .backward = backward,
    .inverse_backward = inverse_backward,
    .describe = describe,
    .free = autoregressive_free,
};

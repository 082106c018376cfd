/* Coupling layers: some features pass unchanged and feed a net, whose output transforms the others one
 * by one: additive (NICE, Dinh et al. 2015), affine (Real NVP, Dinh et al. 2017), rational-quadratic
 * spline (Durkan et al. 2019), mixture of logistics (Flow++, Ho et al. 2019), deep sigmoidal (Huang et al. 2018),
 * Bernstein polynomial (Ramasinghe et al. 2021), integral of a sum of squares (Jaini et al. 2019).  */
#include <string.h>

#include "coupling_impl.h"
#include "layers.h"
#include "polynomial_set_impl.h"
#include "sigmoids_set_impl.h"
#include "spline_set_impl.h"

static size_t scratch(const dfo_bijector *bij, size_t rows)
{
    const dfoi_coupling *c = bij->state;
    return c->image ? dfoi_coupling_image_scratch(bij, rows) : dfoi_coupling_rows_scratch(c, rows);
}

static size_t saved(const dfo_bijector *bij, size_t rows, const dfo_run *how)
{
    const dfoi_coupling *c = bij->state;
    if (how->memory != DFO_MEMORY_STORE)
        return 0;
    return c->image ? dfoi_coupling_image_saved(bij, rows) : dfoi_coupling_rows_saved(c, rows);
}

static size_t gderived(const dfo_bijector *bij)
{
    const dfoi_coupling *c = bij->state;
    return dfo_net_statistics(c->net);
}

static dfo_status update(const dfo_bijector *bij, dfo_run *run)
{
    const dfoi_coupling *c = bij->state;
    return dfo_net_update(c->net, run);
}

/* Nets that begin from data are given what they will be given: of the rows what passes, and the condition.  */
static dfo_status init(dfo_bijector *bij, dfo_run *run, dfo_batch x, const dfo_cond *cond)
{
    const dfoi_coupling *c = bij->state;
    if (!dfo_net_fits(c->net))
        return DFO_OK;
    dfo_status status = dfoi_coupling_rows_fit(bij, run, x, cond);
    dfo_store_touch(bij->store);
    return status;
}

void dfoi_coupling_add_conds(const dfo_cond *cond, size_t conds, dfo_cond *in)
{
    for (size_t p = 0; p < conds; p++) {
        if (cond && p < cond->n)
            in->part[in->n] = cond->part[p];
        in->n++;
    }
}

static void add_panel(size_t n, const dfo_real *t, dfo_real sign, dfo_real *x)
{
    for (size_t i = 0; i < n; i++)
        x[i] += sign * t[i];
}

void dfoi_coupling_transform(const dfoi_coupling *c, int inverse, size_t nb, size_t m, const dfo_real *par,
                             dfo_real *x, dfo_real *ld)
{
    switch (c->kind) {
    case DFOI_ADDITIVE:
        add_panel(nb * m, par, inverse ? -1 : 1, x);
        break;
    case DFOI_AFFINE:
        (inverse ? dfoi_affine_inverse : dfoi_affine_forward)(&c->affine, nb, m, par, x, ld);
        break;
    case DFOI_SPLINE:
        (inverse ? dfoi_spline_inverse : dfoi_spline_forward)(&c->spline, nb, m, par, x, ld);
        break;
    case DFOI_MIXTURE:
    case DFOI_DEEP_SIGMOIDAL:
        (inverse ? DFOI_SIGMOIDS_KERN->inverse : DFOI_SIGMOIDS_KERN->forward)(&c->sigmoids, nb, m, par, x, ld);
        break;
    case DFOI_BERNSTEIN:
    case DFOI_SQUARES:
        (inverse ? DFOI_POLYNOMIAL_KERN->inverse : DFOI_POLYNOMIAL_KERN->forward)(&c->polynomial, nb, m, par, x, ld);
        break;
    }
}

void dfoi_coupling_transform_back(const dfoi_coupling *c, int inverse, size_t nb, size_t m, const dfo_real *par,
                                  dfo_real *x, dfo_real *gx, const dfo_real *gld, dfo_real *gpar)
{
    switch (c->kind) {
    case DFOI_ADDITIVE:
        add_panel(nb * m, par, inverse ? 1 : -1, x);
        for (size_t i = 0; i < nb * m; i++)
            gpar[i] = inverse ? -gx[i] : gx[i];
        break;
    case DFOI_AFFINE:
        (inverse ? dfoi_affine_inverse_backward : dfoi_affine_backward)(&c->affine, nb, m, par, x, gx, gld, gpar);
        break;
    case DFOI_SPLINE:
        (inverse ? dfoi_spline_inverse_backward : dfoi_spline_backward)(&c->spline, nb, m, par, x, gx, gld, gpar);
        break;
    case DFOI_MIXTURE:
    case DFOI_DEEP_SIGMOIDAL:
        if (inverse)
            DFOI_SIGMOIDS_KERN->inverse_backward(&c->sigmoids, nb, m, par, x, gx, gld, gpar);
        else
            DFOI_SIGMOIDS_KERN->backward(&c->sigmoids, nb, m, par, x, gx, gld, gpar);
        break;
    case DFOI_BERNSTEIN:
    case DFOI_SQUARES:
        if (inverse)
            DFOI_POLYNOMIAL_KERN->inverse_backward(&c->polynomial, nb, m, par, x, gx, gld, gpar);
        else
            DFOI_POLYNOMIAL_KERN->backward(&c->polynomial, nb, m, par, x, gx, gld, gpar);
        break;
    }
}

static dfo_status map(const dfo_bijector *bij, dfo_run *run, dfo_batch x, const dfo_cond *cond, double *logdet,
                      int inverse)
{
    const dfoi_coupling *c = bij->state;
    return c->image ? dfoi_coupling_image_map(bij, run, x, cond, logdet, inverse)
                    : dfoi_coupling_rows_map(c, run, x, cond, logdet, inverse);
}

static dfo_status map_back(const dfo_bijector *bij, dfo_run *run, dfo_batch x, dfo_batch gx, const dfo_cond *cond,
                           const dfo_cond *gcond, const double *glogdet, int inverse)
{
    const dfoi_coupling *c = bij->state;
    return c->image ? dfoi_coupling_image_back(bij, run, x, gx, cond, gcond, glogdet, inverse)
                    : dfoi_coupling_rows_back(c, run, x, gx, cond, gcond, glogdet, inverse);
}

static dfo_status forward(const dfo_bijector *bij, dfo_run *run, dfo_batch x, const dfo_cond *cond,
                          double *logdet)
{
    return map(bij, run, x, cond, logdet, 0);
}

static dfo_status inverse(const dfo_bijector *bij, dfo_run *run, dfo_batch z, const dfo_cond *cond,
                          double *logdet)
{
    return map(bij, run, z, cond, logdet, 1);
}

static dfo_status backward(const dfo_bijector *bij, dfo_run *run, dfo_batch z, dfo_batch gz,
                           const dfo_cond *cond, dfo_cond *gcond, const double *glogdet)
{
    if (bij->caps & DFO_KEEPS_INPUT)
        DFO_TRY(dfoi_take_input(bij, run, z, cond));
    return map_back(bij, run, z, gz, cond, gcond, glogdet, 0);
}

static dfo_status inverse_backward(const dfo_bijector *bij, dfo_run *run, dfo_batch x, dfo_batch gx,
                                   const dfo_cond *cond, dfo_cond *gcond, const double *glogdet)
{
    return map_back(bij, run, x, gx, cond, gcond, glogdet, 1);
}

static dfo_status describe(const dfo_bijector *bij, json_t *to)
{
    const dfoi_coupling *c = bij->state;
    dfo_ctx *ctx = bij->ctx;
    DFO_TRY(dfoi_json_set(ctx, to, "mask", dfoi_json_copy(c->mask.json)));
    json_t *net = json_object();
    DFO_TRY(dfoi_json_set(ctx, to, "net", net));
    DFO_TRY(dfoi_json_set(ctx, to, "zero_init", json_boolean(c->zero_init)));
    DFO_TRY(dfo_net_describe(c->net, net));
    if (c->kind == DFOI_AFFINE) {
        DFO_TRY(dfoi_json_set(ctx, to, "scale", json_string(c->unbounded ? "exp" : c->affine.kind ? "sigmoid" : "tanh")));
        DFO_TRY(dfoi_json_set(ctx, to, "scale_max", json_real(c->given[0])));
    }
    if (c->kind == DFOI_MIXTURE || c->kind == DFOI_DEEP_SIGMOIDAL)
        return dfoi_sigmoids_describe(ctx, to, &c->sigmoids, c->given);
    if (c->kind == DFOI_BERNSTEIN || c->kind == DFOI_SQUARES)
        return dfoi_polynomial_describe(ctx, to, &c->polynomial, c->given);
    if (c->kind != DFOI_SPLINE)
        return DFO_OK;
    DFO_TRY(dfoi_coupling_features_describe(ctx, to, c));
    return dfoi_spline_describe(ctx, to, &c->spline, c->given);
}

static void coupling_free(dfo_bijector *bij)
{
    dfoi_coupling *c = bij->state;
    if (!c)
        return;
    dfo_net_free(c->net);
    dfoi_mask_free(bij->ctx, &c->mask);
    dfoi_free(bij->ctx, c);
}

static dfo_status set_affine(dfo_ctx *ctx, dfoi_coupling *c, const json_t *config)
{
    enum { TANH, SIGMOID, EXP };
    static const char *const scales[] = {[TANH] = "tanh", [SIGMOID] = "sigmoid", [EXP] = "exp", NULL};
    size_t scale;
    DFO_TRY(dfoi_json_choice(ctx, config, "scale", scales, TANH, &scale));
    DFO_TRY(dfoi_json_real(ctx, config, "scale_max", 2, 1e-3, 20, &c->given[0]));
    c->affine.kind = scale == SIGMOID;
    c->unbounded = scale == EXP;
    c->affine.smax = c->unbounded ? DFOI_UNBOUNDED : (dfo_real)c->given[0];
    return DFO_OK;
}

/* A net for what passes and the condition.  Nets of images are given images, dense ones vectors.  */
static dfo_status add_net(dfo_build *build, json_t *config, dfo_bijector *bij)
{
    dfoi_coupling *c = bij->state;
    dfoi_mask *m = &c->mask;
    size_t parts = 0, plane = bij->shape.h * bij->shape.w;
    dfo_shape in[DFO_COND_PARTS], out = dfo_shape_vector(c->params * m->nb);
    if (m->na && c->image)
        in[parts++] = (dfo_shape){m->board ? bij->shape.c : m->na / plane, bij->shape.h, bij->shape.w};
    else if (m->na)
        in[parts++] = dfo_shape_vector(m->na * c->each);
    if (parts + build->conds > DFO_COND_PARTS)
        return dfoi_fail(build->ctx, DFO_EARG, "more than %d conditions", DFO_COND_PARTS - 1);
    for (size_t p = 0; p < build->conds; p++)
        in[parts++] = c->image ? build->cond[p] : dfo_shape_vector(dfo_shape_size(build->cond[p]));
    if (c->image && parts)
        out = (dfo_shape){c->params * m->channels_b, bij->shape.h, bij->shape.w};
    char path[256];
    dfo_build inner;
    DFO_TRY(dfo_build_child(build, "net", path, sizeof path, &inner));
    DFO_TRY(dfo_net_new(&inner, json_object_get(config, "net"), parts, in, out, c->zero_init, &c->net));
    if (dfo_net_fits(c->net))
        bij->caps |= DFO_DATA_INIT;
    c->image = c->net->ops->layout == DFO_ROWS;        /* without inputs it is a constant, of vectors */
    if (c->image)
        return DFO_OK;
    DFO_TRY(dfoi_mask_list(build->ctx, bij->shape, m));
    if (c->features != DFOI_VALUES)
        m->run_a = 0;                                  /* it reads harmonics */
    return DFO_OK;
}

/* A net of images wants a mask with a meaning for them.  */
static dfo_status set_image(dfo_ctx *ctx, const json_t *config, dfoi_coupling *c)
{
    const char *type;
    json_t *net = json_object_get(config, "net");
    if (!json_is_object(net))
        return DFO_OK;
    DFO_TRY(dfoi_json_string(ctx, net, "type", "mlp", &type));
    c->image = dfo_net_type_layout(type) == DFO_ROWS;
    if (c->image && !c->mask.image)
        return dfoi_fail(ctx, DFO_EARG, "mask: a %s net wants channels, checkerboard (-swapped) or none", type);
    if (c->image && c->spline.circular)
        return dfoi_fail(ctx, DFO_EARG, "tails: circular ones want a dense net, got %s", type);
    if (c->image && c->features != DFOI_VALUES)
        return dfoi_fail(ctx, DFO_EARG, "input: harmonics want a dense net, got %s", type);
    return DFO_OK;
}

#define COMMON_KEYS "type", "mask", "net", "zero_init"

static const struct kind {
    const struct dfo_bijector_ops *ops;
    const char *keys[16];
} kinds[] = {
    [DFOI_ADDITIVE] = {&dfoi_additive_coupling_ops, {COMMON_KEYS}},
    [DFOI_AFFINE] = {&dfoi_affine_coupling_ops, {COMMON_KEYS, "scale", "scale_max"}},
    [DFOI_SPLINE] = {&dfoi_spline_coupling_ops,
                     {COMMON_KEYS, "bins", "tail_bound", "tails", "min_width", "min_height", "min_derivative", "parameter_scale", "input",
                      "harmonics", "fade"}},
    [DFOI_MIXTURE] = {&dfoi_mixture_coupling_ops, {COMMON_KEYS, "components", "spread", "scale", "scale_max"}},
    [DFOI_DEEP_SIGMOIDAL] = {&dfoi_deep_sigmoidal_coupling_ops, {COMMON_KEYS, "components", "spread"}},
    [DFOI_BERNSTEIN] = {&dfoi_bernstein_coupling_ops, {COMMON_KEYS, "degree", "tail_bound", "min_derivative"}},
    [DFOI_SQUARES] = {&dfoi_squares_coupling_ops,
                      {COMMON_KEYS, "degree", "tail_bound", "min_derivative", "components", "spread"}},
};

dfo_status dfoi_coupling_create(dfo_build *build, json_t *config, dfo_bijector *bij)
{
    dfo_ctx *ctx = build->ctx;
    dfoi_coupling *c;
    DFO_TRY(dfoi_alloc(ctx, 1, sizeof *c, &c));
    bij->state = c;
    while (kinds[c->kind].ops != bij->ops)
        c->kind++;
    DFO_TRY(dfoi_json_keys(ctx, config, kinds[c->kind].keys));
    DFO_TRY(dfoi_json_bool(ctx, config, "zero_init", 1, &c->zero_init));
    DFO_TRY(dfoi_mask_new(ctx, config, bij->shape, &c->mask));
    c->each = c->params = 1;
    c->kept = bij->caps & DFO_KEEPS_INPUT ? bij->d : 0;
    if (c->kind == DFOI_AFFINE) {
        DFO_TRY(set_affine(ctx, c, config));
        c->params = 2;
    } else if (c->kind == DFOI_SPLINE) {
        DFO_TRY(dfoi_spline_read(ctx, config, &c->spline, c->given));
        DFO_TRY(dfoi_coupling_features_read(ctx, config, c));
        DFO_TRY(dfoi_coupling_fade_read(ctx, config, c));
        c->params = dfoi_spline_params(&c->spline);
    } else if (c->kind == DFOI_BERNSTEIN || c->kind == DFOI_SQUARES) {
        DFO_TRY(dfoi_polynomial_read(ctx, config, c->kind == DFOI_SQUARES, &c->polynomial, c->given));
        c->params = dfoi_polynomial_params(&c->polynomial);
    } else if (c->kind != DFOI_ADDITIVE) {
        DFO_TRY(dfoi_sigmoids_read(ctx, config, c->kind == DFOI_DEEP_SIGMOIDAL, &c->sigmoids, c->given));
        c->params = dfoi_sigmoids_params(&c->sigmoids);
    }
    DFO_TRY(set_image(ctx, config, c));
    return add_net(build, config, bij);
}

#define COUPLING(name, its_type, its_caps)           \
    const struct dfo_bijector_ops name = {           \
        .type = its_type,                            \
        .caps = its_caps,                            \
        .scratch = scratch,                          \
        .saved = saved,                              \
        .gderived = gderived,                        \
        .forward = forward,                          \
        .inverse = inverse,                          \
        .backward = backward,                        \
        .inverse_backward = inverse_backward,        \
        .init = init,                                \
        .update = update,                            \
        .describe = describe,                        \
        .free = coupling_free,                       \
    }

COUPLING(dfoi_additive_coupling_ops, "additive-coupling", DFO_CLOSED_INVERSE | DFO_VOLUME_PRESERVING);
COUPLING(dfoi_affine_coupling_ops, "affine-coupling", DFO_CLOSED_INVERSE);
COUPLING(dfoi_spline_coupling_ops, "spline-coupling", DFO_CLOSED_INVERSE);
COUPLING(dfoi_mixture_coupling_ops, "mixture-coupling", DFO_CLOSED_INVERSE | DFO_KEEPS_INPUT);
COUPLING(dfoi_deep_sigmoidal_coupling_ops, "deep-sigmoidal-coupling", DFO_CLOSED_INVERSE | DFO_KEEPS_INPUT);
COUPLING(dfoi_bernstein_coupling_ops, "bernstein-coupling", DFO_CLOSED_INVERSE | DFO_KEEPS_INPUT);
COUPLING(dfoi_squares_coupling_ops, "sum-of-squares-coupling", DFO_CLOSED_INVERSE | DFO_KEEPS_INPUT);

/* Coupling layers: some features pass unchanged and feed a net, whose output transforms the others one
 * by one: additive (NICE, Dinh et al. 2015), affine (Real NVP, Dinh et al. 2017), rational-quadratic
 * spline (Durkan et al. 2019).  Rows are worked on in blocks of 64, feature-major: the net's output is
 * parameter-major already, so the transforms are unit-stride over rows.  With no feature to pass (a row of
 * one column) and no condition the net is a learned constant: the elementwise form.
 * What passes unchanged and the condition are the net's inputs; its weights' gradients come from the same
 * activations, recomputed in backward unless the memory mode keeps them.  */
#include <math.h>
#include <string.h>

#include <diffeo/net.h>
#include "layers.h"
#include "math/kern_impl.h"
#include "spline_set_impl.h"

enum kind { ADDITIVE, AFFINE, SPLINE };

struct coupling {
    enum kind   kind;
    dfo_net    *net;
    size_t      na, nb;                /* features that pass, and that are transformed */
    size_t     *a, *b;                 /* (na), (nb) their columns */
    int         run_a;                 /* columns a are consecutive: the net reads the row itself */
    size_t      each;                  /* what the net is given for one of them: itself, or cosine and sine */
    size_t      params;                /* outputs of the net */
    dfoi_affine affine;
    dfoi_spline spline;
    json_t     *mask;
    int         zero_init;
    double      given[5];              /* the configuration's numbers: what float makes of them may be out of range */
};

/* Activations that backward needs, and parameters, for a block of n rows.  */
static size_t block_acts(const struct coupling *c, size_t n)
{
    return dfo_arena_size(dfo_net_acts(c->net, n));
}

static size_t block_params(const struct coupling *c, size_t n)
{
    return c->params * DFO_PANEL * dfoi_panels_of(n);
}

/* The net's inputs of a block, where it does not read the rows themselves.  */
static size_t pass_size(const struct coupling *c)
{
    return c->na * c->each * DFO_NET_ROWS;
}

static size_t block_rows(size_t rows, size_t first)
{
    return rows - first < DFO_NET_ROWS ? rows - first : DFO_NET_ROWS;
}

static size_t scratch(const dfo_bijector *bij, size_t rows)
{
    const struct coupling *c = bij->state;
    size_t most = block_rows(rows, 0);
    return 2 * block_params(c, most) + 2 * c->nb * DFO_PANEL + 2 * dfo_arena_size(pass_size(c)) + 2 * DFO_PANEL +
           block_acts(c, most) + dfo_net_scratch(c->net, most);
}

static size_t saved(const dfo_bijector *bij, size_t rows, const dfo_run *how)
{
    const struct coupling *c = bij->state;
    size_t size = 0;
    for (size_t first = 0, n; how->memory == DFO_MEMORY_STORE && first < rows; first += n) {
        n = block_rows(rows, first);
        size += block_acts(c, n) + block_params(c, n);
    }
    return size;
}

static size_t derived(const dfo_bijector *bij)
{
    const struct coupling *c = bij->state;
    return dfo_net_derived(c->net);
}

static dfo_status prepare(const dfo_bijector *bij, dfo_run *run, dfo_real *to)
{
    const struct coupling *c = bij->state;
    return dfo_net_prepare(c->net, run, to);
}

/* Memory of one block of rows: the net's, and one panel's of the transform.  */
struct work {
    dfo_real *x, *gx;                  /* (nb, 64) */
    dfo_real *par, *gpar;              /* panels of (params, 64) */
    dfo_real *pass, *gpass;            /* (rows, na * each) where the net does not read the rows themselves */
    dfo_real *ld;                      /* (64) */
    dfo_real *gld;                     /* (64) */
    dfo_real *acts;
};

static struct work take(const struct coupling *c, dfo_run *run, size_t rows)
{
    size_t most = block_rows(rows, 0);
    struct work w;
    w.x = dfo_arena_take(run, c->nb * DFO_PANEL);
    w.gx = dfo_arena_take(run, c->nb * DFO_PANEL);
    w.par = dfo_arena_take(run, block_params(c, most));
    w.gpar = dfo_arena_take(run, block_params(c, most));
    w.pass = dfo_arena_take(run, pass_size(c));
    w.gpass = dfo_arena_take(run, pass_size(c));
    w.ld = dfo_arena_take(run, DFO_PANEL);
    w.gld = dfo_arena_take(run, DFO_PANEL);
    w.acts = dfo_arena_take(run, block_acts(c, most));
    return w;
}

/* Columns a side by side; of columns on a circle (period 2B) the cosines, then the sines: the net's output
 * must not jump where -B meets B.  */
static dfo_batch gather(const struct coupling *c, dfo_batch x, dfo_real *pass)
{
    dfo_batch to = dfo_batch_of(pass, x.n, c->na * c->each);
    for (size_t i = 0; i < x.n; i++) {
        dfo_real *row = dfo_row(to, i), *sines = row + c->na;
        for (size_t j = 0; j < c->na; j++)
            row[j] = dfo_row(x, i)[c->a[j]];
        if (c->each == 1)
            continue;
        for (size_t j = 0; j < c->na; j++) {
            double turns = (double)row[j] / (2 * (double)c->spline.bound);
            sines[j] = (dfo_real)(turns - floor(turns));
        }
        dfoi_vsincos2pi(c->na, sines, sines, row);
    }
    return to;
}

/* Gradients of what gather made, added to those of the rows.  */
static void scatter_add(const struct coupling *c, const dfo_real *pass, const dfo_real *gpass, dfo_batch gx)
{
    dfo_real turn = (dfo_real)(3.14159265358979323846 / (double)c->spline.bound);
    for (size_t i = 0; i < gx.n; i++) {
        const dfo_real *v = pass + i * c->na * c->each, *g = gpass + i * c->na * c->each;
        dfo_real *to = dfo_row(gx, i);
        for (size_t j = 0; j < c->na; j++)
            to[c->a[j]] += c->each == 1 ? g[j] : turn * (v[j] * g[c->na + j] - v[c->na + j] * g[j]);
    }
}

/* The net's inputs: what passes (if anything), then the condition.  */
static dfo_cond inputs(const struct coupling *c, dfo_batch x, const dfo_cond *cond, dfo_real *pass)
{
    dfo_cond in = {0};
    if (c->na) {
        in.n = 1;
        in.part[0].shape = dfo_shape_vector(c->na * c->each);
        if (c->run_a)
            in.part[0].rows = dfo_batch_columns(x, c->a[0], c->na);
        else
            in.part[0].rows = gather(c, x, pass);
    }
    for (size_t p = 0; cond && p < cond->n; p++)
        in.part[in.n++] = cond->part[p];
    return in;
}

static dfo_block block(dfo_real *x, size_t n, size_t d)
{
    dfo_block b = {x, n, d, DFO_PANEL, DFO_FEATURES};
    return b;
}

static void add_panel(size_t n, const dfo_real *t, dfo_real sign, dfo_real *x)
{
    for (size_t i = 0; i < n; i++)
        x[i] += sign * t[i];
}

/* x -> z (or z -> x) over a panel; ld has its log-dets added.  */
static void transform(const struct coupling *c, int inverse, const dfo_real *par, dfo_real *x, dfo_real *ld)
{
    switch (c->kind) {
    case ADDITIVE:
        add_panel(c->nb * DFO_PANEL, par, inverse ? -1 : 1, x);
        break;
    case AFFINE:
        (inverse ? dfoi_affine_inverse : dfoi_affine_forward)(&c->affine, c->nb, DFO_PANEL, par, x, ld);
        break;
    case SPLINE:
        (inverse ? dfoi_spline_inverse : dfoi_spline_forward)(&c->spline, c->nb, DFO_PANEL, par, x, ld);
        break;
    }
}

static void transform_back(const struct coupling *c, int inverse, const struct work *w, const dfo_real *par,
                           dfo_real *gpar)
{
    size_t n = c->nb * DFO_PANEL;
    switch (c->kind) {
    case ADDITIVE:
        add_panel(n, par, inverse ? 1 : -1, w->x);
        for (size_t i = 0; i < n; i++)
            gpar[i] = inverse ? -w->gx[i] : w->gx[i];
        break;
    case AFFINE:
        (inverse ? dfoi_affine_inverse_backward : dfoi_affine_backward)(&c->affine, c->nb, DFO_PANEL, par, w->x,
                                                                        w->gx, w->gld, gpar);
        break;
    case SPLINE:
        (inverse ? dfoi_spline_inverse_backward : dfoi_spline_backward)(&c->spline, c->nb, DFO_PANEL, par, w->x,
                                                                        w->gx, w->gld, gpar);
        break;
    }
}

/* The net on the block that begins at row `first`: what it draws is a function of the absolute row.  */
static dfo_status net_forward(const struct coupling *c, dfo_run *run, size_t first, const dfo_cond *in, dfo_block out,
                              dfo_real *acts)
{
    run->key.row += first;
    dfo_status status = dfo_net_forward(c->net, run, in, out, acts);
    run->key.row -= first;
    return status;
}

static dfo_status net_backward(const struct coupling *c, dfo_run *run, size_t first, const dfo_cond *in,
                               dfo_block gout, dfo_cond *gin, const dfo_real *acts)
{
    run->key.row += first;
    dfo_status status = dfo_net_backward(c->net, run, in, gout, gin, acts);
    run->key.row -= first;
    return status;
}

/* The panel of rows that begins at `first`.  */
static dfo_batch panel_rows(dfo_batch x, size_t first)
{
    return dfo_batch_rows(x, first, x.n - first < DFO_PANEL ? x.n - first : DFO_PANEL);
}

static void map_panel(const struct coupling *c, const struct work *w, const dfo_real *par, dfo_batch rows,
                      double *logdet, int inverse)
{
    dfoi_to_panel(rows.n, c->nb, rows.x, rows.ld, c->b, 0, w->x);
    memset(w->ld, 0, DFO_PANEL * sizeof *w->ld);
    transform(c, inverse, par, w->x, w->ld);
    dfoi_from_panel(rows.n, c->nb, w->x, c->b, rows.x, rows.ld);
    for (size_t i = 0; logdet && i < rows.n; i++)
        logdet[i] += (double)w->ld[i];
}

static dfo_status map(const dfo_bijector *bij, dfo_run *run, dfo_batch x, const dfo_cond *cond, double *logdet,
                      int inverse)
{
    const struct coupling *c = bij->state;
    struct work w = take(c, run, x.n);
    int keep = run->saved && run->memory == DFO_MEMORY_STORE && !inverse;
    dfo_real *saved_at = run->saved;
    for (size_t first = 0, n; first < x.n; first += n) {
        n = block_rows(x.n, first);
        dfo_batch rows = dfo_batch_rows(x, first, n);
        dfo_cond sub = dfo_cond_rows(cond, first, n), in = inputs(c, rows, &sub, w.pass);
        dfo_real *par = keep ? saved_at + block_acts(c, n) : w.par;
        DFO_TRY(net_forward(c, run, first, &in, block(par, n, c->params), keep ? saved_at : NULL));
        for (size_t i = 0; i < n; i += DFO_PANEL)
            map_panel(c, &w, par + i * c->params, panel_rows(rows, i), logdet ? logdet + first + i : NULL, inverse);
        if (keep)
            saved_at = par + block_params(c, n);
    }
    return DFO_OK;
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

/* Where the net's input gradients go: into the row's own gradient, and the condition's.  */
static dfo_cond input_grads(const struct coupling *c, dfo_batch gx, const dfo_cond *gcond, size_t conds,
                            dfo_real *gpass)
{
    dfo_cond g = {0};
    if (c->na) {
        g.n = 1;
        g.part[0].shape = dfo_shape_vector(c->na * c->each);
        if (c->run_a) {
            g.part[0].rows = dfo_batch_columns(gx, c->a[0], c->na);
        } else {
            g.part[0].rows = dfo_batch_of(gpass, gx.n, c->na * c->each);
            memset(gpass, 0, gx.n * c->na * c->each * sizeof *gpass);
        }
    }
    for (size_t p = 0; p < conds; p++) {
        if (gcond && p < gcond->n)
            g.part[g.n] = gcond->part[p];
        g.n++;
    }
    return g;
}

static void map_panel_back(const struct coupling *c, const struct work *w, const dfo_real *par, dfo_real *gpar,
                           dfo_batch rows, dfo_batch grows, const double *glogdet, int inverse)
{
    dfoi_to_panel(rows.n, c->nb, rows.x, rows.ld, c->b, 0, w->x);
    dfoi_to_panel(rows.n, c->nb, grows.x, grows.ld, c->b, 1, w->gx);
    for (size_t i = 0; i < DFO_PANEL; i++)
        w->gld[i] = i < rows.n ? (dfo_real)glogdet[i] : 0;
    transform_back(c, inverse, w, par, gpar);
    dfoi_from_panel(rows.n, c->nb, w->x, c->b, rows.x, rows.ld);
    dfoi_from_panel(rows.n, c->nb, w->gx, c->b, grows.x, grows.ld);
}

static dfo_status map_back(const dfo_bijector *bij, dfo_run *run, dfo_batch x, dfo_batch gx, const dfo_cond *cond,
                           const dfo_cond *gcond, const double *glogdet, int inverse)
{
    const struct coupling *c = bij->state;
    struct work w = take(c, run, x.n);
    int kept = run->saved && run->memory == DFO_MEMORY_STORE && !inverse;
    dfo_real *saved_at = run->saved;
    for (size_t first = 0, n; first < x.n; first += n) {
        n = block_rows(x.n, first);
        dfo_batch rows = dfo_batch_rows(x, first, n), grows = dfo_batch_rows(gx, first, n);
        dfo_cond sub = dfo_cond_rows(cond, first, n), gsub = dfo_cond_rows(gcond, first, n);
        dfo_cond in = inputs(c, rows, &sub, w.pass);
        dfo_cond gin = input_grads(c, grows, &gsub, sub.n, w.gpass);
        dfo_real *par = w.par, *acts = w.acts;
        if (kept) {
            acts = saved_at;
            par = saved_at + block_acts(c, n);
            saved_at = par + block_params(c, n);
        } else {
            DFO_TRY(net_forward(c, run, first, &in, block(par, n, c->params), acts));
        }
        for (size_t i = 0; i < n; i += DFO_PANEL)
            map_panel_back(c, &w, par + i * c->params, w.gpar + i * c->params, panel_rows(rows, i),
                           panel_rows(grows, i), glogdet + first + i, inverse);
        DFO_TRY(net_backward(c, run, first, &in, block(w.gpar, n, c->params), &gin, acts));
        if (c->na && !c->run_a)
            scatter_add(c, w.pass, w.gpass, grows);
    }
    return DFO_OK;
}

static dfo_status backward(const dfo_bijector *bij, dfo_run *run, dfo_batch z, dfo_batch gz,
                           const dfo_cond *cond, dfo_cond *gcond, const double *glogdet)
{
    return map_back(bij, run, z, gz, cond, gcond, glogdet, 0);
}

static dfo_status inverse_backward(const dfo_bijector *bij, dfo_run *run, dfo_batch x, dfo_batch gx,
                                   const dfo_cond *cond, dfo_cond *gcond, const double *glogdet)
{
    return map_back(bij, run, x, gx, cond, gcond, glogdet, 1);
}

static dfo_status describe(const dfo_bijector *bij, json_t *to)
{
    const struct coupling *c = bij->state;
    dfo_ctx *ctx = bij->ctx;
    DFO_TRY(dfoi_json_set(ctx, to, "mask", json_deep_copy(c->mask)));
    json_t *net = json_object();
    DFO_TRY(dfoi_json_set(ctx, to, "net", net));
    DFO_TRY(dfoi_json_set(ctx, to, "zero_init", json_boolean(c->zero_init)));
    DFO_TRY(dfo_net_describe(c->net, net));
    if (c->kind == AFFINE) {
        DFO_TRY(dfoi_json_set(ctx, to, "scale", json_string(c->affine.kind ? "sigmoid" : "tanh")));
        DFO_TRY(dfoi_json_set(ctx, to, "scale_max", json_real(c->given[0])));
    }
    return c->kind == SPLINE ? dfoi_spline_describe(ctx, to, &c->spline, c->given) : DFO_OK;
}

static void coupling_free(dfo_bijector *bij)
{
    struct coupling *c = bij->state;
    if (!c)
        return;
    dfo_net_free(c->net);
    dfoi_free(bij->ctx, c->a);
    dfoi_free(bij->ctx, c->b);
    json_decref(c->mask);
    dfoi_free(bij->ctx, c);
}

/* 1: feature j passes unchanged.  "half": the first d/2 do; "alternate": the even ones; "-swapped": the
 * others instead; "none" does; or an array of 0 and 1.  */
static int passes(const json_t *mask, size_t d, size_t j)
{
    if (json_is_array(mask))
        return (int)json_integer_value(json_array_get(mask, j));
    const char *name = json_string_value(mask);
    int swapped = strstr(name, "-swapped") != NULL;
    if (!strcmp(name, "none"))
        return 0;
    int first = strncmp(name, "half", 4) == 0 ? j < d / 2 : j % 2 == 0;
    return d == 1 ? 0 : first != swapped;
}

static dfo_status check_mask(dfo_ctx *ctx, const json_t *mask, size_t d)
{
    static const char *const known[] = {"half", "half-swapped", "alternate", "alternate-swapped", "none"};
    const char *name = json_string_value(mask);
    for (size_t i = 0; name && i < sizeof known / sizeof *known; i++)
        if (!strcmp(name, known[i]))
            return DFO_OK;
    if (name || !json_is_array(mask))
        return dfoi_fail(ctx, DFO_EARG, "mask: expected half, half-swapped, alternate, alternate-swapped, none or an "
                         "array of 0 and 1%s%s", name ? ", got " : "", name ? name : "");
    if (json_array_size(mask) != d)
        return dfoi_fail(ctx, DFO_EARG, "mask: expected %zu entries, got %zu", d, json_array_size(mask));
    for (size_t j = 0; j < d; j++) {
        const json_t *v = json_array_get(mask, j);
        if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) > 1)
            return dfoi_fail(ctx, DFO_EARG, "mask: entry %zu is not 0 or 1", j);
    }
    return DFO_OK;
}

static dfo_status set_mask(dfo_ctx *ctx, struct coupling *c, json_t *config, size_t d)
{
    json_t *mask = json_object_get(config, "mask");
    c->mask = mask ? json_deep_copy(mask) : json_string("half");
    if (!c->mask)
        return dfoi_fail(ctx, DFO_EMEM, "out of memory: mask");
    DFO_TRY(check_mask(ctx, c->mask, d));
    DFO_TRY(dfoi_alloc(ctx, d, sizeof *c->a, &c->a));
    DFO_TRY(dfoi_alloc(ctx, d, sizeof *c->b, &c->b));
    for (size_t j = 0; j < d; j++)
        if (passes(c->mask, d, j))
            c->a[c->na++] = j;
        else
            c->b[c->nb++] = j;
    if (!c->nb)
        return dfoi_fail(ctx, DFO_EARG, "mask: nothing left to transform");
    c->each = 1;
    c->run_a = !c->na || c->a[c->na - 1] - c->a[0] == c->na - 1;
    return DFO_OK;
}

static dfo_status set_affine(dfo_ctx *ctx, struct coupling *c, const json_t *config)
{
    const char *scale;
    DFO_TRY(dfoi_json_string(ctx, config, "scale", "tanh", &scale));
    DFO_TRY(dfoi_json_real(ctx, config, "scale_max", 2, 1e-3, 20, &c->given[0]));
    if (strcmp(scale, "tanh") && strcmp(scale, "sigmoid"))
        return dfoi_fail(ctx, DFO_EARG, "scale: expected tanh or sigmoid, got %s", scale);
    c->affine.kind = !strcmp(scale, "sigmoid");
    c->affine.smax = (dfo_real)c->given[0];
    return DFO_OK;
}

dfo_status dfoi_coupling_create(dfo_build *build, json_t *config, dfo_bijector *bij)
{
    static const char *const additive[] = {"type", "mask", "net", "zero_init", NULL};
    static const char *const affine[] = {"type", "mask", "net", "zero_init", "scale", "scale_max", NULL};
    static const char *const spline[] = {"type", "mask", "net", "zero_init", "bins", "tail_bound", "tails",
                                         "min_width", "min_height", "min_derivative", "parameter_scale", NULL};
    dfo_ctx *ctx = build->ctx;
    struct coupling *c;
    DFO_TRY(dfoi_alloc(ctx, 1, sizeof *c, &c));
    bij->state = c;
    c->kind = bij->ops == &dfoi_additive_coupling_ops ? ADDITIVE : bij->ops == &dfoi_affine_coupling_ops ? AFFINE
                                                                                                       : SPLINE;
    DFO_TRY(dfoi_json_keys(ctx, config, c->kind == ADDITIVE ? additive : c->kind == AFFINE ? affine : spline));
    DFO_TRY(dfoi_json_bool(ctx, config, "zero_init", 1, &c->zero_init));
    DFO_TRY(set_mask(ctx, c, config, bij->d));
    if (c->kind == AFFINE)
        DFO_TRY(set_affine(ctx, c, config));
    if (c->kind == SPLINE)
        DFO_TRY(dfoi_spline_read(ctx, config, &c->spline, c->given));
    if (c->spline.circular && c->na) {
        c->each = 2;
        c->run_a = 0;
    }
    c->params = c->nb * (c->kind == ADDITIVE ? 1 : c->kind == AFFINE ? 2 : dfoi_spline_params(&c->spline));

    dfo_shape in[DFO_COND_PARTS];
    size_t parts = 0;
    if (c->na)
        in[parts++] = dfo_shape_vector(c->na * c->each);
    if (parts + build->conds > DFO_COND_PARTS)
        return dfoi_fail(ctx, DFO_EARG, "more than %d conditions", DFO_COND_PARTS - 1);
    for (size_t p = 0; p < build->conds; p++)
        in[parts++] = dfo_shape_vector(dfo_shape_size(build->cond[p]));
    char path[256];
    dfo_build inner;
    DFO_TRY(dfo_build_child(build, "net", path, sizeof path, &inner));
    json_t *net = json_object_get(config, "net"), *none = net ? NULL : json_pack("{s:s}", "type", "mlp");
    if (!net && !none)
        return dfoi_fail(ctx, DFO_EMEM, "out of memory: net");
    dfo_status status = dfo_net_new(&inner, net ? net : none, parts, in, dfo_shape_vector(c->params), c->zero_init,
                                    &c->net);
    json_decref(none);
    return status;
}

#define COUPLING(name, its_type, its_caps)           \
    const struct dfo_bijector_ops name = {           \
        .type = its_type,                            \
        .caps = its_caps,                            \
        .scratch = scratch,                          \
        .saved = saved,                              \
        .derived = derived,                          \
        .prepare = prepare,                          \
        .forward = forward,                          \
        .inverse = inverse,                          \
        .backward = backward,                        \
        .inverse_backward = inverse_backward,        \
        .describe = describe,                        \
        .free = coupling_free,                       \
    }

COUPLING(dfoi_additive_coupling_ops, "additive-coupling", DFO_CLOSED_INVERSE | DFO_VOLUME_PRESERVING);
COUPLING(dfoi_affine_coupling_ops, "affine-coupling", DFO_CLOSED_INVERSE);
COUPLING(dfoi_spline_coupling_ops, "spline-coupling", DFO_CLOSED_INVERSE);

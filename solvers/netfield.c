/* A dense net as a field, and its product with a path's derivative: f_a = sum over channels c of net_ac X'_c, whose gradient
 * with respect to net_ac is g_a X'_c.  Rows go through the net some at a time, in panels of 64: value (row l, feature j) at
 * [64 j + l].  */
#include <string.h>

#include "base/ctx_impl.h"
#include "math/gemm_impl.h"
#include "nn/rows_impl.h"
#include <diffeo/netfield.h>

static const struct dfo_netfield *state(const dfo_field *field)
{
    return field->state;
}

static size_t channels(const struct dfo_netfield *f)
{
    return f->path ? f->path->channels : 1;
}

static size_t chunk(size_t rows)
{
    return rows < DFO_NET_ROWS ? rows : DFO_NET_ROWS;
}

static size_t panels(size_t n, size_t d)
{
    return dfoi_panels_of(n) * DFO_PANEL * d;
}

static size_t scratch(const dfo_field *field, size_t rows)
{
    const struct dfo_netfield *f = state(field);
    size_t n = chunk(rows), c = channels(f);
    return dfo_arena_size(n) + dfo_arena_size(panels(n, f->net->out)) + dfo_arena_size(c) + dfo_arena_size(panels(n, c)) +
           dfo_arena_size(panels(n, field->d)) + dfo_arena_size(dfo_net_acts(f->net, n)) + dfo_net_scratch(f->net, n);
}

/* What some of the rows need.  */
struct call {
    dfo_cond  in, gin;
    dfo_block out;
    dfo_real *slope;           /* panels of the path's derivative; NULL: no path */
    dfo_real *dx;              /* panels of the field's values or of their gradient */
    dfo_real *acts;
    size_t    first, n, d;
};

static dfo_status check(const dfo_field *field, dfo_run *run, dfo_batch x)
{
    const struct dfo_netfield *f = state(field);
    if (f->net->ops->layout != DFO_FEATURES)
        return dfo_run_fail(run, DFO_EUNSUP, (size_t)-1, "net field: expected a dense net, got %s", f->net->ops->type);
    if (f->net->out != x.d * channels(f))
        return dfo_run_fail(run, DFO_ESHAPE, (size_t)-1, "net field: expected a net of %zu x %zu outputs, got %zu", x.d,
                            channels(f), f->net->out);
    if (f->path && (f->rows.n != x.n || f->rows.d != dfo_path_size(f->path) || f->piece + 1 >= f->path->points))
        return dfo_run_fail(run, DFO_ESHAPE, (size_t)-1, "net field: expected a path's coefficients of %zu rows of %zu and one of its "
                            "%zu pieces, got %zu of %zu and piece %zu", x.n, dfo_path_size(f->path), f->path->points - 1, f->rows.n,
                            f->rows.d, f->piece);
    if (!run->weights && !f->weights)
        return dfo_run_fail(run, DFO_EARG, (size_t)-1, "net field: neither the run nor the field has weights");
    return DFO_OK;
}

/* The path's derivative at the rows' times; zeros behind the last row, where gradients must be.  */
static void slopes(const struct dfo_netfield *f, const struct call *c, const double *t, dfo_real *one)
{
    size_t width = channels(f);
    memset(c->slope, 0, panels(c->n, width) * sizeof *c->slope);
    for (size_t i = 0; i < c->n; i++) {
        dfo_real *to = c->slope + i / DFO_PANEL * DFO_PANEL * width + i % DFO_PANEL;
        dfo_path_slope(f->path, dfo_row(f->rows, c->first + i), f->piece, t[c->first + i], one);
        for (size_t k = 0; k < width; k++)
            to[k * DFO_PANEL] = one[k];
    }
}

static struct call call_of(const dfo_field *field, dfo_run *run, const double *t, dfo_batch x, size_t first)
{
    const struct dfo_netfield *f = state(field);
    struct call c = {.first = first, .n = chunk(x.n - first), .d = x.d};
    dfo_real *time = dfo_arena_take(run, c.n), *one = dfo_arena_take(run, channels(f));
    c.out = (dfo_block){dfo_arena_take(run, panels(c.n, f->net->out)), c.n, f->net->out, DFO_PANEL, DFO_FEATURES};
    c.dx = f->path ? dfo_arena_take(run, panels(c.n, c.d)) : c.out.x;
    c.slope = f->path ? dfo_arena_take(run, panels(c.n, channels(f))) : NULL;
    c.acts = dfo_arena_take(run, dfo_net_acts(f->net, c.n));
    if (f->path)
        slopes(f, &c, t, one);
    c.in = (dfo_cond){.n = 1, .part = {{dfo_batch_rows(x, first, c.n), dfo_shape_vector(c.d)}}};
    dfo_cond cond = dfo_cond_rows(field->cond, first, c.n);
    for (size_t p = 0; p < cond.n && c.in.n < DFO_COND_PARTS; p++)
        c.in.part[c.in.n++] = cond.part[p];
    for (size_t i = 0; i < c.n; i++)
        time[i] = (dfo_real)t[first + i];
    if (f->timed && c.in.n < DFO_COND_PARTS) {
        c.in.part[c.in.n].rows = dfo_batch_of(time, c.n, 1);
        c.in.part[c.in.n++].shape = dfo_shape_vector(1);
    }
    c.gin.n = c.in.n;
    return c;
}

/* dx = out X'.  */
static void contract(const struct call *c, size_t width)
{
    for (size_t p = 0; p < dfoi_panels_of(c->n); p++) {
        const dfo_real *out = c->out.x + p * DFO_PANEL * c->out.d, *slope = c->slope + p * DFO_PANEL * width;
        dfo_real *dx = c->dx + p * DFO_PANEL * c->d;
        for (size_t a = 0; a < c->d; a++, dx += DFO_PANEL) {
            memset(dx, 0, DFO_PANEL * sizeof *dx);
            for (size_t k = 0; k < width; k++, out += DFO_PANEL)
                for (size_t l = 0; l < DFO_PANEL; l++)
                    dx[l] += out[l] * slope[k * DFO_PANEL + l];
        }
    }
}

/* The gradient of out from that of dx.  */
static void spread(const struct call *c, size_t width)
{
    for (size_t p = 0; p < dfoi_panels_of(c->n); p++) {
        dfo_real *out = c->out.x + p * DFO_PANEL * c->out.d;
        const dfo_real *slope = c->slope + p * DFO_PANEL * width, *dx = c->dx + p * DFO_PANEL * c->d;
        for (size_t a = 0; a < c->d; a++, dx += DFO_PANEL)
            for (size_t k = 0; k < width; k++, out += DFO_PANEL)
                for (size_t l = 0; l < DFO_PANEL; l++)
                    out[l] = dx[l] * slope[k * DFO_PANEL + l];
    }
}

static dfo_block values(const struct call *c)
{
    return (dfo_block){c->dx, c->n, c->d, DFO_PANEL, DFO_FEATURES};
}

static dfo_status eval_chunk(const struct dfo_netfield *f, dfo_run *run, const struct call *c, dfo_batch dx)
{
    DFO_TRY(dfo_net_forward(f->net, run, &c->in, c->out, NULL));
    if (f->path)
        contract(c, channels(f));
    dfoi_block_to_rows(values(c), dfo_batch_rows(dx, c->first, c->n));
    return DFO_OK;
}

static dfo_status vjp_chunk(const dfo_field *field, dfo_run *run, struct call *c, dfo_batch gdx, dfo_batch gx)
{
    const struct dfo_netfield *f = state(field);
    dfo_cond gcond = dfo_cond_rows(field->gcond, c->first, c->n);
    c->gin.part[0].rows = dfo_batch_rows(gx, c->first, c->n);
    for (size_t p = 0; p < gcond.n && p + 1 < DFO_COND_PARTS; p++)
        c->gin.part[p + 1] = gcond.part[p];
    DFO_TRY(dfo_net_forward(f->net, run, &c->in, c->out, c->acts));
    dfoi_block_from_rows(dfo_batch_rows(gdx, c->first, c->n), values(c));
    if (f->path)
        spread(c, channels(f));
    return dfo_net_backward(f->net, run, &c->in, c->out, &c->gin, c->acts);
}

/* All chunks of rows: values to dx, or with gdx gradients to gx.  */
static dfo_status pass(const dfo_field *field, dfo_run *run, const double *t, dfo_batch x, dfo_batch dx, dfo_batch gdx,
                       dfo_batch gx)
{
    const struct dfo_netfield *f = state(field);
    const dfo_real *given = run->weights;
    size_t mark = run->arena_used;
    dfo_status status = check(field, run, x);
    if (!given)
        run->weights = f->weights;
    for (size_t first = 0; first < x.n && status == DFO_OK; first += chunk(x.n - first)) {
        struct call c = call_of(field, run, t, x, first);
        status = gdx.x ? vjp_chunk(field, run, &c, gdx, gx) : eval_chunk(f, run, &c, dx);
        run->arena_used = mark;
    }
    run->weights = given;
    return status;
}

static dfo_status eval(const dfo_field *field, dfo_run *run, const double *t, dfo_batch x, dfo_batch dx, double *dq)
{
    (void)dq;
    return pass(field, run, t, x, dx, (dfo_batch){0}, (dfo_batch){0});
}

static dfo_status vjp(const dfo_field *field, dfo_run *run, const double *t, dfo_batch x, dfo_batch gdx, const double *gdq,
                      dfo_batch gx)
{
    (void)gdq;
    return pass(field, run, t, x, (dfo_batch){0}, gdx, gx);
}

static const struct dfo_field_ops ops = {.type = "net", .scratch = scratch, .eval = eval, .vjp = vjp};

dfo_field dfo_netfield_of(const dfo_netfield *of, const dfo_cond *cond, dfo_cond *gcond)
{
    return (dfo_field){.ops = &ops, .state = of, .d = of->net->out / channels(of), .cond = cond, .gcond = gcond};
}

/* Embeddings of time, vectors and a class, see embed_impl.h: settings, weights, four passes.
 *
 * The products f_k t are taken in double and their whole parts away, so that a large t costs no digits of the sines.  With
 * tangents: dp = [w cos dt, -w sin dt, dv], w = 2 pi f, de = act' du; backwards the second derivatives of both join in.  */
#include <math.h>
#include <string.h>

#include "base/ctx_impl.h"
#include "base/json_impl.h"
#include "math/kern_impl.h"
#include "nn/config_impl.h"
#include "nn/embed_impl.h"
#include "nn/unit_kern_impl.h"

#define DECADES 4            /* from the highest frequency to the lowest */
#define PI 3.14159265358979323846

dfo_status dfoi_embed_read(dfo_ctx *ctx, const json_t *config, size_t width, dfoi_embed_settings *s)
{
    DFO_TRY(dfoi_json_size(ctx, config, "frequencies", 32, 1, DFOI_EMBED_FREQUENCIES, &s->frequencies));
    DFO_TRY(dfoi_json_real(ctx, config, "most", 16, 1e-6, 1e6, &s->most));
    DFO_TRY(dfoi_json_size(ctx, config, "embedding", width, 0, DFOI_NET_WIDEST, &s->width));
    DFO_TRY(dfoi_json_size(ctx, config, "classes", 0, 0, DFOI_NET_WIDEST, &s->classes));
    if (s->classes && !s->width)
        return dfoi_fail(ctx, DFO_EARG, "classes: goes with an embedding of at least one feature, got embedding 0");
    return DFO_OK;
}

dfo_status dfoi_embed_describe(const dfoi_embed *e, dfo_ctx *ctx, json_t *to)
{
    const dfoi_embed_settings *s = &e->settings;
    DFO_TRY(dfoi_json_set(ctx, to, "frequencies", json_integer((json_int_t)s->frequencies)));
    DFO_TRY(dfoi_json_set(ctx, to, "most", json_real(s->most)));
    DFO_TRY(dfoi_json_set(ctx, to, "embedding", json_integer((json_int_t)s->width)));
    return dfoi_json_set(ctx, to, "classes", json_integer((json_int_t)s->classes));
}

/* The last part is the time, the one in front of it the class.  */
static dfo_status find_parts(dfo_ctx *ctx, const dfo_net *net, dfoi_embed *e)
{
    size_t wanted = e->settings.classes ? 3 : 2;
    if (net->parts < wanted)
        return dfoi_fail(ctx, DFO_ESHAPE, "expected %zu input parts or more (x, ..., %stime), got %zu", wanted,
                         e->settings.classes ? "class, " : "", net->parts);
    e->time = net->parts - 1;
    e->label = e->settings.classes ? net->parts - 2 : e->time;
    for (size_t p = e->label; p < net->parts; p++) {
        size_t d = dfo_shape_size(net->part[p]);
        if (d != 1)
            return dfoi_fail(ctx, DFO_ESHAPE, "input part %zu is the %s: expected one number a row, got %zu", p,
                             p == e->time ? "time" : "class", d);
        e->vector[p] = 0;
    }
    return DFO_OK;
}

static dfo_status add_dense(dfo_build *build, dfoi_embed *e)
{
    const size_t shape[2] = {e->settings.classes + 1, e->width};
    if (!e->settings.width)
        return DFO_OK;
    DFO_TRY(dfoi_linear_new(build, "embed.w", "embed.b", e->in, e->width, -1, &e->dense));
    if (!e->settings.classes)
        return DFO_OK;
    DFO_TRY(dfo_build_weights(build, "embed.classes", 2, shape, &e->table));
    dfo_build_normal(build, e->table, shape[0] * shape[1], 1);
    return DFO_OK;
}

dfo_status dfoi_embed_new(dfo_build *build, const dfo_net *net, const dfoi_embed_settings *settings, const int *vector,
                          size_t out, dfoi_embed *e)
{
    *e = (dfoi_embed){.settings = *settings};
    for (size_t p = 0; p < net->parts; p++)
        e->vector[p] = vector[p];
    DFO_TRY(find_parts(build->ctx, net, e));
    e->in = 2 * settings->frequencies;
    for (size_t p = 0; p < net->parts; p++)
        e->in += e->vector[p] ? dfo_shape_size(net->part[p]) : 0;
    e->width = settings->width ? settings->width : e->in;
    size_t last = settings->frequencies - 1;
    for (size_t k = 0; k <= last; k++)
        e->frequency[k] = settings->most * pow(10, last ? -DECADES * (double)k / (double)last : 0);
    DFO_TRY(add_dense(build, e));
    return dfoi_linear_new(build, "project.w", "project.b", e->width, out, -1, &e->project);
}

/* What is kept of a panel: p, u = W p + b + T, e; the same with tangents behind.  */
struct kept {
    dfo_real *p, *u, *e;
};

static struct kept kept(const dfoi_embed *e, const dfo_real *keep, int tangent)
{
    struct kept k = {.p = (dfo_real *)keep + (tangent ? dfoi_embed_keep(e) : 0)};
    k.u = k.p + e->in * DFO_PANEL;
    k.e = e->settings.width ? k.u + e->width * DFO_PANEL : k.p;
    return k;
}

size_t dfoi_embed_keep(const dfoi_embed *e)
{
    return (e->in + (e->settings.width ? 2 * e->width : 0)) * DFO_PANEL;
}

/* Gradients of e and of its tangent, act's derivatives, gradients of p and of its tangent; that of products.  */
struct room {
    dfo_real *g, *gd, *d1, *d2, *p, *pd, *products;
};

static struct room room_of(const dfoi_embed *e, dfo_real *scratch)
{
    size_t wide = e->width * DFO_PANEL, in = e->in * DFO_PANEL;
    struct room r = {.g = scratch};
    r.gd = r.g + wide;
    r.d1 = r.gd + wide;
    r.d2 = r.d1 + wide;
    r.p = r.d2 + wide;
    r.pd = r.p + in;
    r.products = r.pd + in;
    return r;
}

size_t dfoi_embed_scratch(const dfoi_embed *e)
{
    size_t dense = e->settings.width ? dfoi_linear_scratch(&e->dense, 1) : 0, project = dfoi_linear_scratch(&e->project, 1);
    return (4 * e->width + 2 * e->in) * DFO_PANEL + (dense > project ? dense : project);
}

/* Rows of one part to a panel; zeros where there are none (absent tangents).  */
static void part_to_panel(const dfo_net *net, const dfo_cond *in, size_t part, size_t first, size_t n, dfo_real *panel)
{
    size_t d = dfo_shape_size(net->part[part]);
    dfo_batch rows = dfo_batch_rows(in->part[part].rows, first, n);
    if (d && rows.x)
        dfoi_to_panel(n, d, rows.x, rows.ld, NULL, 0, panel);
    else
        memset(panel, 0, d * DFO_PANEL * sizeof *panel);
}

static void vectors_to_panel(const dfoi_embed *e, const dfo_net *net, const dfo_cond *in, size_t first, size_t n,
                             dfo_real *panel)
{
    for (size_t p = 0; p < net->parts; p++)
        if (e->vector[p]) {
            part_to_panel(net, in, p, first, n, panel);
            panel += dfo_shape_size(net->part[p]) * DFO_PANEL;
        }
}

int dfoi_embed_alike(const dfoi_embed *e, const dfo_net *net, const dfo_cond *in, size_t first, size_t n)
{
    for (size_t p = 0; p < net->parts; p++) {
        dfo_batch rows = in->part[p].rows;
        if ((!e->vector[p] && p != e->time && !(e->settings.classes && p == e->label)) || !rows.x)
            continue;
        for (size_t i = first + 1; i < first + n; i++)
            for (size_t j = 0; j < rows.d; j++)
                if (!(dfo_row(rows, i)[j] == dfo_row(rows, first)[j]))
                    return 0;
    }
    return 1;
}

/* sin and cos of 2 pi f t, rows K and K of a panel, computed once of rows alike.  */
static void sines(const dfoi_embed *e, const dfo_real *t, int alike, dfo_real *panel)
{
    size_t count = e->settings.frequencies;
    for (size_t k = 0; k < count; k++) {
        dfo_real turn[DFO_PANEL], *s = panel + k * DFO_PANEL, *c = panel + (count + k) * DFO_PANEL;
        size_t n = alike ? 1 : DFO_PANEL;
        for (size_t i = 0; i < n; i++) {
            double x = e->frequency[k] * (double)t[i];
            turn[i] = (dfo_real)(x - floor(x));
            turn[i] = turn[i] >= 1 ? 0 : turn[i];
        }
        dfoi_vsincos2pi(n, turn, s, c);
        for (size_t i = n; i < DFO_PANEL; i++) {
            s[i] = s[0];
            c[i] = c[0];
        }
    }
}

static dfo_status check_labels(const dfoi_embed *e, const dfo_net *net, dfo_run *run, const dfo_cond *in, size_t first,
                               size_t n)
{
    dfo_batch rows = in->part[e->label].rows;
    for (size_t i = first; e->settings.classes && i < first + n; i++) {
        double label = (double)dfo_row(rows, i)[0];
        if (!(label >= 0 && label <= (double)e->settings.classes) || label != floor(label))
            return dfo_run_fail(run, DFO_EARG, i, "%s net: expected a class from 0 to %zu (none), got %.9g", net->ops->type,
                                e->settings.classes, label);
    }
    return DFO_OK;
}

/* Row i's entry of the table, of its weights or their gradients.  */
static size_t entry_of(const dfoi_embed *e, const dfo_cond *in, size_t i)
{
    return e->table + (size_t)dfo_row(in->part[e->label].rows, i)[0] * e->width;
}

static void add_labels(const dfoi_embed *e, const dfo_run *run, const dfo_cond *in, size_t first, size_t n, dfo_real *u)
{
    for (size_t i = 0; e->settings.classes && i < n; i++) {
        const dfo_real *entry = dfo_run_weights(run, entry_of(e, in, first + i));
        for (size_t j = 0; j < e->width; j++)
            u[j * DFO_PANEL + i] += entry[j];
    }
}

static void add_label_grads(const dfoi_embed *e, const dfo_run *run, const dfo_cond *in, size_t first, size_t n,
                            const dfo_real *gu)
{
    for (size_t i = 0; e->settings.classes && run->grads && i < n; i++) {
        dfo_real *entry = dfo_run_grads(run, entry_of(e, in, first + i));
        for (size_t j = 0; j < e->width; j++)
            entry[j] += gu[j * DFO_PANEL + i];
    }
}

static void product(const dfoi_linear *linear, const dfo_run *run, int alike, const dfo_real *x, dfo_real *y)
{
    if (alike)
        dfoi_gemm_alike(linear->out, linear->in, dfo_run_weights(run, linear->w), linear->in, x, dfo_run_weights(run, linear->b), y);
    else
        dfoi_linear_forward_one(linear, run, x, DFOI_ACT_NONE, NULL, y);
}

dfo_status dfoi_embed_forward(const dfoi_embed *e, const dfo_net *net, dfo_run *run, const dfo_cond *in, size_t first,
                              size_t n, dfo_real *keep, dfo_real *q)
{
    struct kept k = kept(e, keep, 0);
    dfo_real t[DFO_PANEL];
    int alike = dfoi_embed_alike(e, net, in, first, n);
    DFO_TRY(check_labels(e, net, run, in, first, n));
    part_to_panel(net, in, e->time, first, n, t);
    sines(e, t, alike, k.p);
    vectors_to_panel(e, net, in, first, n, k.p + 2 * e->settings.frequencies * DFO_PANEL);
    if (e->settings.width) {
        product(&e->dense, run, alike, k.p, k.u);
        add_labels(e, run, in, first, n, k.u);
        dfoi_vact(DFOI_ACT_SILU, e->width * DFO_PANEL, k.u, k.e);
    }
    product(&e->project, run, alike, k.e, q);
    return DFO_OK;
}

void dfoi_embed_tangent(const dfoi_embed *e, const dfo_net *net, const dfo_run *run, const dfo_cond *din, size_t first,
                        size_t n, dfo_real *keep, dfo_real *dq)
{
    struct kept k = kept(e, keep, 0), d = kept(e, keep, 1);
    size_t count = e->settings.frequencies, half = count * DFO_PANEL, size = e->width * DFO_PANEL;
    dfo_real dt[DFO_PANEL];
    part_to_panel(net, din, e->time, first, n, dt);
    for (size_t j = 0; j < half; j++) {
        dfo_real turn = (dfo_real)(2 * PI * e->frequency[j / DFO_PANEL]) * dt[j % DFO_PANEL];
        d.p[j] = turn * k.p[half + j];
        d.p[half + j] = -turn * k.p[j];
    }
    vectors_to_panel(e, net, din, first, n, d.p + 2 * half);
    if (e->settings.width) {
        dfoi_linear_tangent(&e->dense, run, d.p, NULL, NULL, d.u);
        memcpy(d.e, d.u, size * sizeof *d.e);
        dfoi_vdact(DFOI_ACT_SILU, size, k.u, k.e, d.e);
    }
    dfoi_linear_tangent(&e->project, run, d.e, NULL, NULL, dq);
}

static int wanted(const dfoi_embed *e, const dfo_net *net, const dfo_cond *to)
{
    for (size_t p = 0; to && p < net->parts; p++)
        if (to->part[p].rows.x && (p == e->time || e->vector[p]) && dfo_shape_size(net->part[p]))
            return 1;
    return 0;
}

/* Adds to t's gradient in gt: sum over k of w (cos gs - sin gc).  */
static void add_turns(const dfoi_embed *e, const dfo_real *p, const dfo_real *g, double *gt)
{
    size_t half = e->settings.frequencies * DFO_PANEL;
    for (size_t j = 0; j < half; j++)
        gt[j % DFO_PANEL] += 2 * PI * e->frequency[j / DFO_PANEL] *
                             ((double)p[half + j] * (double)g[j] - (double)p[j] * (double)g[half + j]);
}

/* The same of the tangent's gradient gd: -sum of w^2 dt (sin gs + cos gc).  */
static void add_bends(const dfoi_embed *e, const dfo_real *p, const dfo_real *gd, const dfo_real *dt, double *gt)
{
    size_t half = e->settings.frequencies * DFO_PANEL;
    for (size_t j = 0; j < half; j++) {
        double w = 2 * PI * e->frequency[j / DFO_PANEL];
        gt[j % DFO_PANEL] -= w * w * (double)dt[j % DFO_PANEL] *
                             ((double)p[j] * (double)gd[j] + (double)p[half + j] * (double)gd[half + j]);
    }
}

/* Gradients of time and vectors to the parts that want them.  */
static void give(const dfoi_embed *e, const dfo_net *net, size_t first, size_t n, const double *gt, const dfo_real *gp,
                 dfo_cond *to)
{
    gp += 2 * e->settings.frequencies * DFO_PANEL;
    for (size_t p = 0; p < net->parts; p++) {
        dfo_batch rows = dfo_batch_rows(to->part[p].rows, first, n);
        size_t d = dfo_shape_size(net->part[p]);
        for (size_t i = 0; p == e->time && rows.x && i < n; i++)
            dfo_row(rows, i)[0] += (dfo_real)gt[i];
        if (e->vector[p] && d && rows.x)
            dfoi_from_panel_add(n, d, gp, NULL, rows.x, rows.ld);
        gp += e->vector[p] ? d * DFO_PANEL : 0;
    }
}

/* From the gradient of u (or of e = p) that of p, where it lies; adds the dense layer's.  */
static const dfo_real *through_dense(const dfoi_embed *e, const dfo_run *run, const dfo_real *g, const dfo_real *p, int bias,
                                     int want, dfo_real *gp, dfo_real *products)
{
    if (!e->settings.width)
        return g;
    dfoi_linear_grads_one(&e->dense, run, g, p, bias, products);
    if (want)
        dfoi_linear_backward_one(&e->dense, run, g, NULL, NULL, gp, products);
    return gp;
}

void dfoi_embed_backward(const dfoi_embed *e, const dfo_net *net, const dfo_run *run, const dfo_cond *in, size_t first,
                         size_t n, const dfo_real *keep, const dfo_real *gq, dfo_real *scratch, dfo_cond *gin)
{
    struct kept k = kept(e, keep, 0);
    struct room r = room_of(e, scratch);
    double gt[DFO_PANEL] = {0};
    int want = wanted(e, net, gin);
    dfoi_linear_grads_one(&e->project, run, gq, k.e, 1, r.products);
    if (!want && !e->settings.width)
        return;
    dfoi_linear_backward_one(&e->project, run, gq, NULL, NULL, r.g, r.products);
    if (e->settings.width) {
        dfoi_vdact(DFOI_ACT_SILU, e->width * DFO_PANEL, k.u, k.e, r.g);
        add_label_grads(e, run, in, first, n, r.g);
    }
    const dfo_real *gp = through_dense(e, run, r.g, k.p, 1, want, r.p, r.products);
    if (!want)
        return;
    add_turns(e, k.p, gp, gt);
    give(e, net, first, n, gt, gp, gin);
}

void dfoi_embed_tangent_backward(const dfoi_embed *e, const dfo_net *net, const dfo_run *run, const dfo_cond *in,
                                 const dfo_cond *din, size_t first, size_t n, const dfo_real *keep, const dfo_real *gq,
                                 const dfo_real *gdq, dfo_real *scratch, dfo_cond *gin, dfo_cond *gdin)
{
    struct kept k = kept(e, keep, 0), d = kept(e, keep, 1);
    struct room r = room_of(e, scratch);
    double gt[DFO_PANEL] = {0}, gdt[DFO_PANEL] = {0};
    dfo_real dt[DFO_PANEL];
    int want = wanted(e, net, gin) || wanted(e, net, gdin);
    dfoi_linear_grads_one(&e->project, run, gq, k.e, 1, r.products);
    dfoi_linear_grads_one(&e->project, run, gdq, d.e, 0, r.products);
    dfoi_linear_backward_one(&e->project, run, gq, NULL, NULL, r.g, r.products);
    dfoi_linear_backward_one(&e->project, run, gdq, NULL, NULL, r.gd, r.products);
    if (e->settings.width) {
        dfoi_vact_derivatives(DFOI_ACT_SILU, e->width * DFO_PANEL, k.u, r.d1, r.d2);
        DFOI_UNIT_KERN->reverse(e->width * DFO_PANEL, r.d1, r.d2, d.u, r.g, r.gd);
        add_label_grads(e, run, in, first, n, r.g);
    }
    const dfo_real *gp = through_dense(e, run, r.g, k.p, 1, want, r.p, r.products);
    const dfo_real *gpd = through_dense(e, run, r.gd, d.p, 0, want, r.pd, r.products);
    part_to_panel(net, din, e->time, first, n, dt);
    if (wanted(e, net, gin)) {
        add_turns(e, k.p, gp, gt);
        add_bends(e, k.p, gpd, dt, gt);
        give(e, net, first, n, gt, gp, gin);
    }
    if (wanted(e, net, gdin)) {
        add_turns(e, k.p, gpd, gdt);
        give(e, net, first, n, gdt, gpd, gdin);
    }
}

/* Nets from their configuration, and the dispatcher: checks shapes, puts the arena mark back and
 * explains what a net cannot do.  */
#include <stdio.h>
#include <string.h>

#include "base/ctx_impl.h"
#include "base/json_impl.h"
#include "math/gemm_impl.h"
#include "nn/net_impl.h"

static const struct dfoi_net_type *find(const char *name)
{
    for (size_t i = 0; i < dfoi_net_type_count(); i++)
        if (!strcmp(dfoi_net_type_at(i)->ops->type, name))
            return dfoi_net_type_at(i);
    return NULL;
}

static dfo_status unknown(dfo_ctx *ctx, const char *name)
{
    char list[256] = "";
    for (size_t i = 0; i < dfoi_net_type_count(); i++) {
        size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, "%s%s", i ? ", " : "",
                 dfoi_net_type_at(i)->ops->type);
    }
    return dfoi_fail(ctx, DFO_EARG, "type: no net is called '%s'; known: %s", name, list);
}

static dfo_status measure(dfo_net *net, dfo_ctx *ctx, size_t parts, const dfo_shape *in,
                          dfo_shape out)
{
    if (parts > DFO_COND_PARTS)
        return dfoi_fail(ctx, DFO_ESHAPE, "net: at most %d input parts, got %zu", DFO_COND_PARTS,
                         parts);
    net->parts = parts;
    for (size_t p = 0; p < parts; p++) {
        net->part[p] = in[p];
        net->in += dfo_shape_size(in[p]);
    }
    net->shape = out;
    net->out = dfo_shape_size(out);
    if (!net->out)
        return dfoi_fail(ctx, DFO_ESHAPE, "net: it must have at least one output");
    return DFO_OK;
}

static dfo_status create(dfo_build *build, const json_t *config, size_t parts, const dfo_shape *in,
                         dfo_shape out, int zero_last, dfo_net *net)
{
    dfo_ctx *ctx = build->ctx;
    const char *name;
    DFO_TRY(measure(net, ctx, parts, in, out));
    DFO_TRY(dfoi_json_string(ctx, config, "type", "mlp", &name));
    const struct dfoi_net_type *type = find(name);
    if (!type)
        return unknown(ctx, name);
    dfo_status status = type->check(ctx, config);
    if (status == DFO_OK && !net->in && type != &dfoi_net_constant) {
        type =
            &dfoi_net_constant; /* nothing to depend on: the settings are checked, then dropped */
        config = NULL;
    }
    net->ops = type->ops;
    net->first = dfo_store_weights_size(build->store);
    if (status == DFO_OK)
        status = type->create(build, config, zero_last, net);
    if (status != DFO_OK)
        return dfoi_wrap(ctx, "%s net: ", name);
    net->count = dfo_store_weights_size(build->store) - net->first;
    return DFO_OK;
}

dfo_status dfo_net_new(dfo_build *build, json_t *config, size_t parts, const dfo_shape *in,
                       dfo_shape out, int zero_last, dfo_net **net)
{
    *net = NULL;
    if (config && !json_is_object(config))
        return dfoi_fail(build->ctx, DFO_EARG, "net: expected an object");
    dfo_net *made;
    DFO_TRY(dfoi_alloc(build->ctx, 1, sizeof *made, &made));
    made->ctx = build->ctx;
    dfo_status status = create(build, config, parts, in, out, zero_last, made);
    if (status != DFO_OK) {
        dfo_net_free(made);
        return status;
    }
    *net = made;
    return DFO_OK;
}

void dfo_net_free(dfo_net *net)
{
    if (!net)
        return;
    if (net->ops)
        net->ops->free(net);
    dfoi_free(net->ctx, net);
}

size_t dfo_net_scratch(const dfo_net *net, size_t rows)
{
    return net->ops->scratch(net, rows);
}

size_t dfo_net_acts(const dfo_net *net, size_t rows)
{
    return net->ops->acts(net, rows);
}

size_t dfo_net_statistics(const dfo_net *net)
{
    return net->ops->statistics ? net->ops->statistics(net) : 0;
}

dfo_status dfo_net_update(const dfo_net *net, dfo_run *run)
{
    return net->ops->update ? net->ops->update(net, run) : DFO_OK;
}

int dfo_net_fits(const dfo_net *net)
{
    return net->ops->fit != NULL;
}

dfo_status dfo_net_describe(const dfo_net *net, json_t *to)
{
    DFO_TRY(dfoi_json_set(net->ctx, to, "type", json_string(net->ops->type)));
    return net->ops->describe(net, to);
}

static dfo_status absent(const dfo_net *net, dfo_run *run, const char *what)
{
    return dfo_run_fail(run, DFO_EUNSUP, (size_t)-1, "%s net: it has no %s", net->ops->type, what);
}

/* Parts as the net was made for, n rows each.  */
static dfo_status check_parts(const dfo_net *net, dfo_run *run, const dfo_cond *in, size_t n,
                              const char *what)
{
    size_t parts = in ? in->n : 0;
    if (parts != net->parts)
        return dfo_run_fail(run, DFO_ESHAPE, (size_t)-1,
                            "%s net: expected %zu input parts, got %zu%s", net->ops->type,
                            net->parts, parts, what);
    for (size_t p = 0; p < parts; p++) {
        const dfo_batch *rows = &in->part[p].rows;
        size_t d = dfo_shape_size(net->part[p]);
        if (!d || (!rows->x && *what)) /* absent tangents and gradients are allowed */
            continue;
        if (rows->n != n || rows->d != d || !rows->x)
            return dfo_run_fail(
                run, DFO_ESHAPE, (size_t)-1,
                "%s net: input part %zu: expected %zu rows of %zu, got %zu of %zu%s",
                net->ops->type, p, n, d, rows->n, rows->d, what);
    }
    return DFO_OK;
}

static dfo_status check_block(const dfo_net *net, dfo_run *run, dfo_block block)
{
    int panel = net->ops->layout == DFO_FEATURES;
    if (block.layout != net->ops->layout)
        return dfo_run_fail(run, DFO_ESHAPE, (size_t)-1, "%s net: its output is %s", net->ops->type,
                            panel ? "feature-major" : "row-major");
    if (block.d != net->out ||
        (panel ? block.n > DFO_NET_ROWS || block.ld != DFO_PANEL : block.ld < block.d))
        return dfo_run_fail(
            run, DFO_ESHAPE, (size_t)-1,
            "%s net: expected %zu outputs, got a block of %zu rows, %zu features, stride %zu",
            net->ops->type, net->out, block.n, block.d, block.ld);
    return DFO_OK;
}

static dfo_status check_acts(const dfo_net *net, dfo_run *run, const dfo_real *acts, size_t n)
{
    if (!acts && dfo_net_acts(net, n))
        return dfo_run_fail(run, DFO_EARG, (size_t)-1, "%s net: backward needs the activations",
                            net->ops->type);
    return DFO_OK;
}

/* Gives the arena back after a pass.  */
static dfo_status done(dfo_run *run, size_t mark, dfo_status status)
{
    run->arena_used = mark;
    return status;
}

dfo_status dfo_net_forward(const dfo_net *net, dfo_run *run, const dfo_cond *in, dfo_block out,
                           dfo_real *acts)
{
    size_t mark = run->arena_used;
    if (!net->ops->forward)
        return absent(net, run, "forward pass");
    DFO_TRY(check_block(net, run, out));
    DFO_TRY(check_parts(net, run, in, out.n, ""));
    return out.n ? done(run, mark, net->ops->forward(net, run, in, out, acts)) : DFO_OK;
}

dfo_status dfo_net_fit(const dfo_net *net, dfo_run *run, const dfo_cond *in, dfo_real *weights)
{
    size_t rows = in && in->n ? in->part[0].rows.n : 0;
    if (!dfo_net_fits(net))
        return DFO_OK;
    DFO_TRY(check_parts(net, run, in, rows, " (first rows)"));
    if (!rows)
        return dfo_run_fail(run, DFO_ESHAPE, (size_t)-1, "%s net: no rows to begin from", net->ops->type);
    dfo_status status = net->ops->fit(net, in, weights);
    return status == DFO_OK ? DFO_OK : dfo_run_fail(run, status, (size_t)-1, "%s net: %s", net->ops->type, dfo_ctx_error(net->ctx));
}

size_t dfo_net_trace_size(const dfo_net *net)
{
    return net->ops->trace_size ? net->ops->trace_size(net) : 0;
}

dfo_status dfo_net_trace_begin(const dfo_net *net, dfo_run *run, dfo_real t, dfo_real *kept)
{
    size_t mark = run->arena_used;
    if (!dfo_net_trace_size(net))
        return absent(net, run, "trace in closed form");
    return done(run, mark, net->ops->trace_begin(net, run, t, kept));
}

dfo_status dfo_net_trace(const dfo_net *net, dfo_run *run, const dfo_cond *in, const dfo_real *kept, dfo_block out, double *trace)
{
    size_t mark = run->arena_used;
    if (!dfo_net_trace_size(net))
        return absent(net, run, "trace in closed form");
    DFO_TRY(check_block(net, run, out));
    DFO_TRY(check_parts(net, run, in, out.n, ""));
    return out.n ? done(run, mark, net->ops->trace(net, run, in, kept, out, trace)) : DFO_OK;
}

dfo_status dfo_net_backward(const dfo_net *net, dfo_run *run, const dfo_cond *in, dfo_block gout,
                            dfo_cond *gin, const dfo_real *acts)
{
    size_t mark = run->arena_used;
    if (!net->ops->backward)
        return absent(net, run, "backward pass");
    DFO_TRY(check_block(net, run, gout));
    DFO_TRY(check_parts(net, run, in, gout.n, ""));
    DFO_TRY(check_acts(net, run, acts, gout.n));
    if (gin)
        DFO_TRY(check_parts(net, run, gin, gout.n, " (gradient)"));
    return gout.n ? done(run, mark, net->ops->backward(net, run, in, gout, gin, acts)) : DFO_OK;
}

/* Rows of a pass that the table's passes with tangents get at once, and what belongs to those from
 * `first` on.  */
static size_t some(const dfo_net *net, size_t n, size_t first)
{
    size_t left = n - first;
    return net->ops->layout == DFO_FEATURES && left > DFO_PANEL ? DFO_PANEL : left;
}

static dfo_block block_from(dfo_block block, size_t first, size_t n)
{
    block.x += first * block.d;
    block.n = n;
    return block;
}

dfo_status dfo_net_jvp(const dfo_net *net, dfo_run *run, const dfo_cond *in, const dfo_cond *din,
                       dfo_block out, dfo_block dout, dfo_real *acts)
{
    size_t mark = run->arena_used, row = run->key.row;
    if (!net->ops->jvp)
        return absent(net, run, "forward-mode derivative");
    DFO_TRY(check_block(net, run, out));
    DFO_TRY(check_block(net, run, dout));
    DFO_TRY(check_parts(net, run, in, out.n, ""));
    DFO_TRY(check_parts(net, run, din, out.n, " (tangent)"));
    dfo_status status = DFO_OK;
    for (size_t first = 0, n; first < out.n && status == DFO_OK; first += n) {
        n = some(net, out.n, first);
        dfo_cond x = dfo_cond_rows(in, first, n), dx = dfo_cond_rows(din, first, n);
        run->key.row = row + first;
        status = done(run, mark, net->ops->jvp(net, run, &x, &dx, block_from(out, first, n),
                                               block_from(dout, first, n), acts));
        if (acts)
            acts += 2 * dfo_net_acts(net, n);
    }
    run->key.row = row;
    return status;
}

dfo_status dfo_net_jvp_backward(const dfo_net *net, dfo_run *run, const dfo_cond *in,
                                const dfo_cond *din, dfo_block gout, dfo_block gdout, dfo_cond *gin,
                                dfo_cond *gdin, const dfo_real *acts)
{
    size_t mark = run->arena_used, row = run->key.row;
    if (!net->ops->jvp_backward)
        return absent(net, run, "reverse-over-forward derivative");
    DFO_TRY(check_block(net, run, gout));
    DFO_TRY(check_block(net, run, gdout));
    DFO_TRY(check_parts(net, run, in, gout.n, ""));
    DFO_TRY(check_parts(net, run, din, gout.n, " (tangent)"));
    DFO_TRY(check_acts(net, run, acts, gout.n));
    if (gin)
        DFO_TRY(check_parts(net, run, gin, gout.n, " (gradient)"));
    if (gdin)
        DFO_TRY(check_parts(net, run, gdin, gout.n, " (gradient)"));
    dfo_status status = DFO_OK;
    for (size_t first = 0, n; first < gout.n && status == DFO_OK; first += n) {
        n = some(net, gout.n, first);
        dfo_cond x = dfo_cond_rows(in, first, n), dx = dfo_cond_rows(din, first, n);
        dfo_cond gx = dfo_cond_rows(gin, first, n), gdx = dfo_cond_rows(gdin, first, n);
        run->key.row = row + first;
        status = done(run, mark, net->ops->jvp_backward(net, run, &x, &dx, block_from(gout, first, n),
                                                        block_from(gdout, first, n), gin ? &gx : NULL,
                                                        gdin ? &gdx : NULL, acts));
        if (acts)
            acts += 2 * dfo_net_acts(net, n);
    }
    run->key.row = row;
    return status;
}

/* ---- derivatives along the path */

size_t dfo_net_path_kept(const dfo_net *net, size_t rows, size_t order)
{
    int fits = net->parts > 1 && net->ops->path && dfo_shape_size(net->part[0]) == net->out &&
               dfo_shape_size(net->part[net->parts - 1]) == 1 && order >= 1 && order <= DFO_NET_ORDER;
    return fits ? net->ops->path_kept(net, rows, order) : 0;
}

size_t dfo_net_path_scratch(const dfo_net *net, size_t order)
{
    return net->ops->path ? net->ops->path_scratch(net, order) : 0;
}

static dfo_status check_path(const dfo_net *net, dfo_run *run, const dfo_cond *in, size_t order, dfo_block out)
{
    if (!dfo_net_path_kept(net, 1, order))
        return absent(net, run, "derivative along the path");
    DFO_TRY(check_block(net, run, out));
    return check_parts(net, run, in, out.n, "");
}

dfo_status dfo_net_path(const dfo_net *net, dfo_run *run, const dfo_cond *in, size_t order, dfo_block out, dfo_real *kept)
{
    size_t mark = run->arena_used;
    DFO_TRY(check_path(net, run, in, order, out));
    DFO_TRY(check_acts(net, run, kept, out.n));
    return out.n ? done(run, mark, net->ops->path(net, run, in, order, out, kept)) : DFO_OK;
}

dfo_status dfo_net_path_backward(const dfo_net *net, dfo_run *run, const dfo_cond *in, size_t order, dfo_block gout, dfo_cond *gin,
                                 const dfo_real *kept)
{
    size_t mark = run->arena_used;
    DFO_TRY(check_path(net, run, in, order, gout));
    DFO_TRY(check_acts(net, run, kept, gout.n));
    if (gin)
        DFO_TRY(check_parts(net, run, gin, gout.n, " (gradient)"));
    return gout.n ? done(run, mark, net->ops->path_backward(net, run, in, order, gout, gin, kept)) : DFO_OK;
}

/* Sweeps of a masked net: where column j of the inputs is only known when the outputs of columns 0 .. j are, each
 * step computes the units whose degree it completes, so that a whole sweep costs about one pass (D passes are
 * what a net without order would need); and back, where the gradient of column j is only complete when all columns
 * behind it are.  Hidden levels of an mlp; those of a residual net are in made_residual.c.  */
#include <string.h>

#include "base/ctx_impl.h"
#include "nn/made_impl.h"
#include "nn/mlp_impl.h"

static const struct dfoi_made *state(const dfo_net *net)
{
    return net->state;
}

/* Of each unit: h and mask (where it drops features), and the gradient.  */
static size_t room(const struct dfoi_made *m)
{
    size_t features = 0;
    if (m->residual)
        return dfoi_made_residual_room(m);
    for (size_t l = 1; l + 1 < m->levels; l++)
        features += 3 * dfoi_made_at(m, l, m->d + 1);
    return features;
}

static size_t scratch_grad(const struct dfoi_made *m)
{
    size_t most = 0;
    for (size_t l = 0; l + 1 < m->levels; l++) {
        const dfoi_linear linear = {.in = dfoi_made_at(m, l, m->d + 1), .out = dfoi_made_at(m, l + 1, m->d + 1)};
        size_t scratch = dfoi_linear_scratch(&linear, DFOI_PANELS);
        most = scratch > most ? scratch : most;
    }
    const dfoi_linear square = {.in = dfoi_made_at(m, 1, m->d + 1), .out = dfoi_made_at(m, 1, m->d + 1)};
    size_t scratch = dfoi_linear_scratch(&square, DFOI_PANELS);
    return scratch > most ? scratch : most;
}

static size_t size_of(const struct dfoi_made *m, size_t rows)
{
    return dfoi_panels_of(rows) * (2 * m->inner.in + room(m)) * DFO_PANEL + scratch_grad(m);
}

size_t dfoi_made_sweep_scratch(const dfo_net *net, size_t rows)
{
    return dfo_arena_size(size_of(state(net), rows));
}

static dfo_status take(const struct dfoi_made *m, dfo_run *run, size_t n, struct dfoi_made_sweep *s)
{
    dfo_real *at = dfo_arena_take(run, size_of(m, n));
    if (!at)
        return dfo_run_fail(run, DFO_EMEM, (size_t)-1, "made net: the arena is too small");
    s->n = n;
    s->panels = dfoi_panels_of(n);
    for (size_t p = 0; p < s->panels; p++) {
        s->x[p] = at;
        s->gx[p] = at + m->inner.in * DFO_PANEL;
        s->own[p] = at + 2 * m->inner.in * DFO_PANEL;
        at += (2 * m->inner.in + room(m)) * DFO_PANEL;
    }
    s->scratch = at;
    return DFO_OK;
}

/* A unit's memory, its panel of gradients and what it keeps.  */
struct place {
    dfoi_unit_room room;
    dfo_real *g, *keep;
};

static struct place place(const struct dfoi_made *m, const struct dfoi_made_sweep *s, size_t p, size_t l)
{
    const struct dfoi_mlp *mlp = m->inner.state;
    dfo_real *own = s->own[p];
    for (size_t k = 0; k < l; k++)
        own += 3 * mlp->unit[k].width * DFO_PANEL;
    size_t size = mlp->unit[l].width * DFO_PANEL;
    return (struct place){{.h = own, .mask = own + size, .first = p * DFO_PANEL},
                          own + 2 * size,
                          s->acts + p * mlp->keep + mlp->at[l]};
}

static void draw_masks(const struct dfoi_made *m, const dfo_run *run, const struct dfoi_made_sweep *s)
{
    const struct dfoi_mlp *mlp = m->inner.state;
    for (size_t l = 0; l < mlp->layers; l++)
        for (size_t p = 0; p < s->panels && dfoi_unit_dropping(&mlp->unit[l], run); p++) {
            struct place at = place(m, s, p, l);
            dfoi_unit_mask(&mlp->unit[l], run, &at.room);
        }
}

/* 1 where units have degree d, which no column computes.  */
static int unseen(const struct dfoi_made *m)
{
    for (size_t l = 1; l + 1 < m->levels; l++)
        if (dfoi_made_at(m, l, m->d) < dfoi_made_at(m, l, m->d + 1))
            return 1;
    return 0;
}

dfo_status dfoi_made_begin(const dfo_net *net, dfo_run *run, const dfo_cond *in, size_t n, dfo_real *acts,
                           struct dfoi_made_sweep *s)
{
    const struct dfoi_made *m = state(net);
    dfo_cond parts = *in;
    parts.part[net->parts - 1].rows.x = NULL;
    DFO_TRY(take(m, run, n, s));
    s->acts = acts;
    if (unseen(m))
        memset(acts, 0, dfo_net_acts(net, n) * sizeof *acts);
    for (size_t p = 0; p < s->panels; p++)
        dfoi_parts_to_panel(net, &parts, n, p, s->x[p]);
    if (m->residual)
        dfoi_made_residual_begin(m, run, s);
    else
        draw_masks(m, run, s);
    return DFO_OK;
}

void dfoi_made_column(const dfo_net *net, const dfo_run *run, const struct dfoi_made_sweep *s, size_t j,
                      dfo_real *const *out)
{
    const struct dfoi_made *m = state(net);
    const struct dfoi_mlp *mlp = m->inner.state;
    const dfo_real *h[DFOI_PANELS];
    if (m->residual) {
        dfoi_made_residual_column(m, run, s, j, out);
        return;
    }
    for (size_t p = 0; p < s->panels; p++)
        h[p] = s->x[p];
    for (size_t l = 0; l < mlp->layers; l++) {
        const dfoi_unit *unit = &mlp->unit[l];
        size_t first = dfoi_made_at(m, l + 1, j), count = dfoi_made_at(m, l + 1, j + 1) - first;
        int fused = dfoi_unit_fused(unit);
        struct place at[DFOI_PANELS];
        dfo_real *y[DFOI_PANELS];
        for (size_t p = 0; p < s->panels; p++) {
            at[p] = place(m, s, p, l);
            y[p] = dfoi_unit_target(unit, &at[p].room, at[p].keep) + first * DFO_PANEL;
        }
        dfoi_linear_forward_part(&mlp->linear[l], run, first, count, s->panels, h, fused ? unit->act : DFOI_ACT_NONE, NULL, y);
        for (size_t p = 0; p < s->panels; p++)
            h[p] = dfoi_unit_forward_part(unit, run, y[p], fused, &at[p].room, at[p].keep, first, count);
    }
    dfoi_linear_forward_part(&mlp->linear[mlp->layers], run, j * m->each, m->each, s->panels, h, DFOI_ACT_NONE, NULL, out);
}

/* What nothing sees has no gradient.  */
static void clear_unseen(const struct dfoi_made *m, const struct dfoi_made_sweep *s)
{
    const struct dfoi_mlp *mlp = m->inner.state;
    for (size_t l = 0; l < mlp->layers; l++)
        for (size_t p = 0; p < s->panels; p++) {
            size_t first = dfoi_made_at(m, l + 1, m->d), all = mlp->unit[l].width;
            memset(place(m, s, p, l).g + first * DFO_PANEL, 0, (all - first) * DFO_PANEL * sizeof *s->scratch);
        }
}

dfo_status dfoi_made_back_begin(const dfo_net *net, dfo_run *run, const dfo_cond *in, size_t n, const dfo_real *acts,
                                dfo_real *const *gout, struct dfoi_made_sweep *s)
{
    const struct dfoi_made *m = state(net);
    DFO_TRY(take(m, run, n, s));
    s->acts = (dfo_real *)acts;
    for (size_t p = 0; p < s->panels; p++) {
        dfoi_parts_to_panel(net, in, n, p, s->x[p]);
        memset(s->gx[p] + dfoi_made_column_at(m, m->d - 1), 0, DFO_PANEL * sizeof *s->gx[p]);
        s->gout[p] = gout[p];
    }
    if (m->residual) {
        dfoi_made_residual_back_begin(m, run, s);
        return DFO_OK;
    }
    draw_masks(m, run, s);
    clear_unseen(m, s);
    return DFO_OK;
}

void dfoi_made_back_column(const dfo_net *net, const dfo_run *run, const struct dfoi_made_sweep *s, size_t j)
{
    const struct dfoi_made *m = state(net);
    const struct dfoi_mlp *mlp = m->inner.state;
    const dfo_real *g[DFOI_PANELS];
    dfo_real *to[DFOI_PANELS];
    if (m->residual) {
        dfoi_made_residual_back_column(m, run, s, j);
        return;
    }
    for (size_t p = 0; p < s->panels; p++)
        g[p] = s->gout[p];
    for (size_t l = mlp->layers; l > 0; l--) {
        size_t first = dfoi_made_at(m, l, j), count = dfoi_made_at(m, l, j + 1) - first;
        struct place at[DFOI_PANELS];
        for (size_t p = 0; p < s->panels; p++) {
            at[p] = place(m, s, p, l - 1);
            to[p] = at[p].g + first * DFO_PANEL;
        }
        dfoi_linear_backward_part(&mlp->linear[l], run, first, count, dfoi_made_at(m, l + 1, j), s->panels, g, to, s->scratch);
        for (size_t p = 0; p < s->panels; p++) {
            dfoi_unit_backward_part(&mlp->unit[l - 1], run, &at[p].room, at[p].keep, to[p], first, count);
            g[p] = at[p].g;
        }
    }
    size_t first = dfoi_made_at(m, 0, j), count = dfoi_made_at(m, 0, j + 1) - first;
    for (size_t p = 0; p < s->panels; p++)
        to[p] = s->gx[p] + first * DFO_PANEL;
    dfoi_linear_backward_part(&mlp->linear[0], run, first, count, dfoi_made_at(m, 1, j), s->panels, g, to, s->scratch);
}

static void weight_grads(const struct dfoi_made *m, const dfo_run *run, const struct dfoi_made_sweep *s)
{
    const struct dfoi_mlp *mlp = m->inner.state;
    const dfo_real *g[DFOI_PANELS], *h[DFOI_PANELS];
    for (size_t l = 0; l <= mlp->layers && run->grads; l++) {
        for (size_t p = 0; p < s->panels; p++) {
            h[p] = s->x[p];
            g[p] = l < mlp->layers ? place(m, s, p, l).g : s->gout[p];
            if (l) {
                struct place at = place(m, s, p, l - 1);
                h[p] = dfoi_unit_output(&mlp->unit[l - 1], run, &at.room, at.keep);
            }
        }
        dfoi_linear_grads(&mlp->linear[l], run, s->panels, g, h, 1, s->scratch);
    }
}

void dfoi_made_back_end(const dfo_net *net, dfo_run *run, const struct dfoi_made_sweep *s, dfo_cond *gin)
{
    const struct dfoi_made *m = state(net);
    if (m->residual)
        dfoi_made_residual_back_end(m, run, s);
    else
        weight_grads(m, run, s);
    if (!gin)
        return;
    dfo_cond parts = *gin;
    parts.part[net->parts - 1].rows.x = NULL;
    for (size_t p = 0; p < s->panels; p++)
        dfoi_parts_add(net, s->gx[p], s->n, p, &parts);
}

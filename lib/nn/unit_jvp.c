/* Units with tangents, and the reverse of that pass.  With y = act(a):
 *
 *   dy = act'(a) da;   g_a = act'(a) g_y + act''(a) da g_dy,   g_da = act'(a) g_dy.
 *
 * Piecewise linear activations have act'' = 0 and act' from the sign of y: y and dy are kept.  For
 * all others a and da are kept, the rest is computed again.  */
#include <string.h>

#include "math/kern_impl.h"
#include "nn/unit_impl.h"
#include "nn/unit_kern_impl.h"

static int piecewise(const dfoi_unit *unit)
{
    return unit->act == DFOI_ACT_NONE || unit->act == DFOI_ACT_RELU ||
           unit->act == DFOI_ACT_LEAKY_RELU;
}

static size_t panel(const dfoi_unit *unit)
{
    return unit->width * DFO_PANEL;
}

/* In what is kept: [norm: 2 panels, 2 vectors], then a, da or y, dy.  */
static dfoi_pair kept(const dfoi_unit *unit, const dfo_real *keep)
{
    dfo_real *at = (dfo_real *)keep + (unit->norm ? 2 * panel(unit) + 2 * DFO_PANEL : 0);
    dfoi_pair p = {at, at + panel(unit)};
    return p;
}

dfoi_pair dfoi_unit_jvp_target(const dfoi_unit *unit, const dfoi_unit_room *room, dfo_real *keep)
{
    if (keep)
        return kept(unit, keep);
    dfoi_pair p = {dfoi_act_from_output(unit->act) ? room->h : room->d1, room->dh};
    return p;
}

static void copy(const dfoi_unit *unit, const dfo_real *x, dfo_real *to)
{
    if (x != to)
        memcpy(to, x, panel(unit) * sizeof *x);
}

/* Both times the mask, if there is one.  */
static dfoi_pair dropped(const dfoi_unit *unit, const dfo_run *run, dfoi_pair y,
                         const dfoi_unit_room *room)
{
    if (!dfoi_unit_dropping(unit, run))
        return y;
    dfoi_unit_mask(unit, run, room);
    DFOI_UNIT_KERN->multiply(panel(unit), y.x, room->mask, room->h);
    DFOI_UNIT_KERN->multiply(panel(unit), y.dx, room->mask, room->dh);
    return (dfoi_pair){room->h, room->dh};
}

dfoi_pair dfoi_unit_jvp(const dfoi_unit *unit, const dfo_run *run, dfoi_pair x, int done,
                        const dfoi_unit_room *room, dfo_real *keep)
{
    dfoi_pair y = {room->h, room->dh};
    if (unit->norm) {
        dfoi_pair a = dfoi_unit_jvp_target(unit, room, keep);
        dfoi_norm_jvp(unit, run, x, a, keep);
        x = a;
    }
    if (piecewise(unit)) {
        if (keep)
            y = kept(unit, keep);
    } else if (keep) {
        dfoi_pair a = kept(unit, keep);
        copy(unit, x.x, a.x);
        copy(unit, x.dx, a.dx);
    }
    if (!done)
        dfoi_vact(unit->act, panel(unit), x.x, y.x);
    copy(unit, x.dx, y.dx);
    if (!done || unit->act != DFOI_ACT_RELU)
        dfoi_vdact(unit->act, panel(unit), dfoi_act_from_output(unit->act) ? NULL : x.x, y.x, y.dx);
    return dropped(unit, run, y, room);
}

dfoi_pair dfoi_unit_jvp_output(const dfoi_unit *unit, const dfo_run *run,
                               const dfoi_unit_room *room, const dfo_real *keep)
{
    dfoi_pair y = {room->h, room->dh}, a = kept(unit, keep);
    if (piecewise(unit))
        return dropped(unit, run, a, room);
    dfoi_vact(unit->act, panel(unit), a.x, y.x);
    copy(unit, a.dx, y.dx);
    dfoi_vdact(unit->act, panel(unit), a.x, y.x, y.dx);
    return dropped(unit, run, y, room);
}

void dfoi_unit_jvp_backward(const dfoi_unit *unit, const dfo_run *run, const dfoi_unit_room *room,
                            int gated, const dfo_real *keep, dfo_real *g, dfo_real *gd)
{
    dfoi_pair a = kept(unit, keep);
    size_t size = panel(unit);
    if (dfoi_unit_dropping(unit, run)) {
        DFOI_UNIT_KERN->multiply(size, g, room->mask, g);
        DFOI_UNIT_KERN->multiply(size, gd, room->mask, gd);
    }
    if (!piecewise(unit)) {
        dfoi_vact_derivatives(unit->act, size, a.x, room->d1, room->d2);
        DFOI_UNIT_KERN->reverse(size, room->d1, room->d2, a.dx, g, gd);
    } else if (!gated) {
        dfoi_vdact(unit->act, size, NULL, a.x, g);
        dfoi_vdact(unit->act, size, NULL, a.x, gd);
    }
    if (unit->norm)
        dfoi_norm_jvp_backward(unit, run, keep, g, gd);
}

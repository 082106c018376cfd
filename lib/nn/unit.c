/* A unit between two linear layers, h = dropout(act(norm(x))): forward and backward.
 *
 * Dropout (inverted, Srivastava et al. 2014): h = y m / (1 - p), m ~ Bernoulli(1 - p), in training
 * only.  The mask is never kept: it is a function of (seed, step, absolute row, unit, feature),
 * drawn again in backward.  p is a multiple of 2^-16, so that one Philox block serves eight
 * features.  */
#include <string.h>

#include "math/kern_impl.h"
#include "nn/unit_impl.h"
#include "nn/unit_kern_impl.h"

unsigned dfoi_unit_drop(double p)
{
    return (unsigned)(p * 65536.0 + 0.5);
}

uint32_t dfoi_unit_stream(size_t offset)
{
    return (uint32_t)(offset / 8); /* one block of draws for eight features */
}

int dfoi_unit_dropping(const dfoi_unit *unit, const dfo_run *run)
{
    return unit->drop && run->mode == DFO_TRAIN;
}

int dfoi_unit_fused(const dfoi_unit *unit)
{
    return !unit->norm && (unit->act == DFOI_ACT_NONE || unit->act == DFOI_ACT_RELU ||
                           unit->act == DFOI_ACT_LEAKY_RELU);
}

/* Where things lie in what forward keeps: [normalised x, 1/std (64)] [a] y.  */
struct kept {
    dfo_real *normal, *inverse_std, *a, *y;
};

static size_t panel(const dfoi_unit *unit)
{
    return unit->width * DFO_PANEL;
}

static struct kept kept(const dfoi_unit *unit, const dfo_real *keep)
{
    struct kept k = {0};
    dfo_real *at = (dfo_real *)keep;
    if (unit->norm) {
        k.normal = at;
        k.inverse_std = at + panel(unit);
        at += panel(unit) + DFO_PANEL;
    }
    if (!dfoi_act_from_output(unit->act)) {
        k.a = at;
        at += panel(unit);
    }
    k.y = at;
    return k;
}

size_t dfoi_unit_keep(const dfoi_unit *unit)
{
    size_t panels = 1 + (size_t)!dfoi_act_from_output(unit->act);
    return panels * panel(unit) + (unit->norm ? panel(unit) + DFO_PANEL : 0);
}

dfo_real *dfoi_unit_target(const dfoi_unit *unit, const dfoi_unit_room *room, dfo_real *keep)
{
    if (!keep)
        return room->h;
    struct kept k = kept(unit, keep);
    return k.a ? k.a : k.y;
}

void dfoi_unit_mask(const dfoi_unit *unit, const dfo_run *run, const dfoi_unit_room *room)
{
    dfo_key key = run->key;
    key.purpose = DFO_FOR_DROPOUT;
    key.row += room->first;
    DFOI_UNIT_KERN->draw(key, unit->stream, unit->drop, unit->width, room->mask);
}

const dfo_real *dfoi_unit_forward(const dfoi_unit *unit, const dfo_run *run, const dfo_real *x,
                                  int done, const dfoi_unit_room *room, dfo_real *keep)
{
    struct kept k = {0};
    if (keep)
        k = kept(unit, keep);
    dfo_real *y = keep ? k.y : room->h;
    if (unit->norm) {
        dfo_real *a = dfoi_unit_target(unit, room, keep);
        dfoi_norm_forward(unit, run, x, a, k.normal, k.inverse_std);
        x = a;
    } else if (k.a && x != k.a) {
        memcpy(k.a, x, panel(unit) * sizeof *x);
    }
    if (!done)
        dfoi_vact(unit->act, panel(unit), x, y);
    if (!dfoi_unit_dropping(unit, run))
        return y;
    dfoi_unit_mask(unit, run, room);
    DFOI_UNIT_KERN->multiply(panel(unit), y, room->mask, room->h);
    return room->h;
}

#define NEAR 1024 /* of the first cache, for a sum that is read at once */

const dfo_real *dfoi_unit_forward_sum(const dfoi_unit *unit, const dfo_run *run, const dfo_real *x, const dfo_real *add,
                                      const dfoi_unit_room *room, dfo_real *keep)
{
    dfo_real *a = dfoi_unit_target(unit, room, keep), *y = keep ? kept(unit, keep).y : room->h;
    for (size_t at = 0; at < panel(unit); at += NEAR) {
        size_t n = panel(unit) - at < NEAR ? panel(unit) - at : NEAR;
        dfoi_add_to(n, x + at, add + at, a + at);
        dfoi_vact(unit->act, n, a + at, y + at);
    }
    return dfoi_unit_forward(unit, run, a, 1, room, keep);
}

const dfo_real *dfoi_unit_forward_part(const dfoi_unit *unit, const dfo_run *run, const dfo_real *x, int done,
                                       const dfoi_unit_room *room, dfo_real *keep, size_t first, size_t count)
{
    struct kept k = kept(unit, keep);
    size_t at = first * DFO_PANEL, size = count * DFO_PANEL;
    if (k.a && x != k.a + at)
        memcpy(k.a + at, x, size * sizeof *x);
    if (!done)
        dfoi_vact(unit->act, size, x, k.y + at);
    if (!dfoi_unit_dropping(unit, run))
        return k.y;
    DFOI_UNIT_KERN->multiply(size, k.y + at, room->mask + at, room->h + at);
    return room->h;
}

const dfo_real *dfoi_unit_output(const dfoi_unit *unit, const dfo_run *run,
                                 const dfoi_unit_room *room, const dfo_real *keep)
{
    struct kept k = kept(unit, keep);
    if (!dfoi_unit_dropping(unit, run))
        return k.y;
    dfoi_unit_mask(unit, run, room);
    DFOI_UNIT_KERN->multiply(panel(unit), k.y, room->mask, room->h);
    return room->h;
}

const dfo_real *dfoi_unit_gate(const dfoi_unit *unit, const dfo_run *run, const dfo_real *keep,
                               int tangents)
{
    if (unit->act != DFOI_ACT_RELU || dfoi_unit_dropping(unit, run))
        return NULL;
    if (tangents)
        return dfoi_unit_jvp_target(unit, NULL, (dfo_real *)keep).x;
    return kept(unit, keep).y;
}

void dfoi_unit_backward(const dfoi_unit *unit, const dfo_run *run, const dfoi_unit_room *room,
                        int gated, const dfo_real *keep, dfo_real *g)
{
    struct kept k = kept(unit, keep);
    if (dfoi_unit_dropping(unit, run))
        DFOI_UNIT_KERN->multiply(panel(unit), g, room->mask, g);
    if (!gated)
        dfoi_vdact(unit->act, panel(unit), k.a, k.y, g);
    if (unit->norm)
        dfoi_norm_backward(unit, run, k.normal, k.inverse_std, g);
}

void dfoi_unit_backward_part(const dfoi_unit *unit, const dfo_run *run, const dfoi_unit_room *room,
                             const dfo_real *keep, dfo_real *g, size_t first, size_t count)
{
    struct kept k = kept(unit, keep);
    size_t at = first * DFO_PANEL, size = count * DFO_PANEL;
    if (dfoi_unit_dropping(unit, run))
        DFOI_UNIT_KERN->multiply(size, g, room->mask + at, g);
    dfoi_vdact(unit->act, size, k.a ? k.a + at : NULL, k.y + at, g);
}

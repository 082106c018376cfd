/* Units over maps: batch normalisation of the whole map, then panel by panel what unit.c and
 * unit_jvp.c do, with pixels for rows.  */
#include <stdio.h>
#include <string.h>

#include "base/ctx_impl.h"
#include "base/json_impl.h"
#include "nn/conv_impl.h"

static const char *const norm_name[] = {"none", "layer", "batch", NULL};

const char *dfoi_conv_norm_name(dfoi_conv_norm norm)
{
    return norm_name[norm];
}

dfo_status dfoi_conv_read_norm(dfo_ctx *ctx, const json_t *config, dfoi_conv_norm fallback,
                               dfoi_conv_norm *norm)
{
    size_t which;
    DFO_TRY(dfoi_json_choice(ctx, config, "norm", norm_name, fallback, &which));
    *norm = (dfoi_conv_norm)which;
    return DFO_OK;
}

dfo_status dfoi_conv_unit_new(dfo_build *build, const char *prefix, size_t number, size_t width,
                              dfoi_conv_norm norm, dfoi_act act, double dropout, size_t w,
                              size_t *statistics, dfoi_conv_unit *unit)
{
    static const char *const part[] = {"scale", "shift", "mean", "var"};
    size_t *const offset[] = {&unit->unit.scale, &unit->unit.shift, &unit->mean, &unit->var};
    *unit = (dfoi_conv_unit){.unit = {.width = width,
                                      .act = act,
                                      .norm = norm == DFOI_NORM_LAYER,
                                      .drop = dfoi_unit_drop(dropout),
                                      .stream = dfoi_unit_stream(w)},
                             .batch = norm == DFOI_NORM_BATCH};
    for (size_t i = 0; i < (unit->batch ? 4 : unit->unit.norm ? 2 : 0); i++) {
        char name[64];
        snprintf(name, sizeof name, "%s%s%zu", prefix, part[i], number);
        DFO_TRY(i < 2 ? dfo_build_weights(build, name, 1, &width, offset[i])
                      : dfo_build_buffer(build, name, 1, &width, offset[i]));
    }
    if (norm != DFOI_NORM_NONE)
        dfo_build_constant(build, unit->unit.scale, width, 1);
    if (!unit->batch)
        return DFO_OK;
    for (size_t c = 0; c < width && !build->blank; c++)
        dfo_store_buffers(build->store)[unit->var + c] = 1;
    unit->statistics = *statistics;
    *statistics += dfoi_batch_statistics(width);
    return DFO_OK;
}

size_t dfoi_conv_unit_keep(const dfoi_conv_unit *unit, size_t panels)
{
    return (unit->batch ? dfoi_batch_keep(unit, panels) : 0) + panels * dfoi_unit_keep(&unit->unit);
}

int dfoi_conv_unit_fused(const dfoi_conv_unit *unit)
{
    return !unit->batch && dfoi_unit_fused(&unit->unit);
}

/* What the panels' units keep, behind what the normalisation does.  */
static dfo_real *behind(const dfoi_conv_unit *unit, dfoi_area area, const dfo_real *keep,
                        int tangents)
{
    size_t front = keep && unit->batch ? dfoi_batch_keep(unit, area.panels) : 0;
    return (dfo_real *)keep + (tangents ? 2 * front : front);
}

/* The room's part of one panel.  Draws of a pixel are those of row (absolute row) * plane + pixel.
 */
static dfoi_unit_room room_of(const dfoi_conv_unit *unit, const dfo_run *run, dfoi_area area,
                              const dfoi_unit_room *room, size_t panel)
{
    size_t at = panel * unit->unit.width * DFO_PANEL;
    uint64_t row = (run->key.row + area.first) * area.plane + panel * DFO_PANEL;
    return (dfoi_unit_room){.h = room->h ? room->h + at : NULL,
                            .dh = room->dh ? room->dh + at : NULL,
                            .mask = room->mask ? room->mask + at : NULL,
                            .d1 = room->d1 ? room->d1 + at : NULL,
                            .d2 = room->d2 ? room->d2 + at : NULL,
                            .first = (size_t)(row - run->key.row)};
}

/* The map whose first panel is x: one of the room, or one in what is kept.  */
static dfoi_map map_of(const dfoi_conv_unit *unit, const dfo_real *x, const dfo_real *in_room,
                       size_t keep)
{
    return (dfoi_map){(dfo_real *)x, x == in_room ? unit->unit.width * DFO_PANEL : keep};
}

dfoi_map dfoi_conv_unit_target(const dfoi_conv_unit *unit, dfoi_area area,
                               const dfoi_unit_room *room, dfo_real *keep)
{
    const dfoi_unit *u = &unit->unit;
    return map_of(unit, dfoi_unit_target(u, room, behind(unit, area, keep, 0)), room->h,
                  dfoi_unit_keep(u));
}

dfoi_map dfoi_conv_unit_forward(const dfoi_conv_unit *unit, const dfo_run *run, dfoi_area area,
                                dfoi_map x, int done, const dfoi_unit_room *room, dfo_real *keep)
{
    size_t size = dfoi_unit_keep(&unit->unit);
    const dfo_real *first = NULL;
    if (unit->batch) {
        dfoi_map y = dfoi_conv_unit_target(unit, area, room, keep);
        dfoi_batch_forward(unit, run, area, x, y, keep);
        x = y;
    }
    keep = behind(unit, area, keep, 0);
    for (size_t p = 0; p < area.panels; p++) {
        dfoi_unit_room r = room_of(unit, run, area, room, p);
        const dfo_real *y = dfoi_unit_forward(&unit->unit, run, dfoi_map_panel(x, p), done, &r,
                                              keep ? keep + p * size : NULL);
        first = p ? first : y;
    }
    return map_of(unit, first, room->h, size);
}

dfoi_map dfoi_conv_unit_output(const dfoi_conv_unit *unit, const dfo_run *run, dfoi_area area,
                               const dfoi_unit_room *room, const dfo_real *keep)
{
    size_t size = dfoi_unit_keep(&unit->unit);
    const dfo_real *first = NULL;
    keep = behind(unit, area, keep, 0);
    for (size_t p = 0; p < area.panels; p++) {
        dfoi_unit_room r = room_of(unit, run, area, room, p);
        const dfo_real *y = dfoi_unit_output(&unit->unit, run, &r, keep + p * size);
        first = p ? first : y;
    }
    return map_of(unit, first, room->h, size);
}

dfoi_map dfoi_conv_unit_gate(const dfoi_conv_unit *unit, const dfo_run *run, dfoi_area area,
                             const dfo_real *keep, int tangents)
{
    size_t size = dfoi_unit_keep(&unit->unit);
    const dfo_real *gate =
        dfoi_unit_gate(&unit->unit, run, behind(unit, area, keep, tangents), tangents);
    return (dfoi_map){(dfo_real *)gate, tangents ? 2 * size : size};
}

void dfoi_conv_unit_backward(const dfoi_conv_unit *unit, const dfo_run *run, dfoi_area area,
                             const dfoi_unit_room *room, int gated, const dfo_real *keep,
                             dfoi_map g)
{
    size_t size = dfoi_unit_keep(&unit->unit);
    const dfo_real *rest = behind(unit, area, keep, 0);
    for (size_t p = 0; p < area.panels; p++) {
        dfoi_unit_room r = room_of(unit, run, area, room, p);
        dfoi_unit_backward(&unit->unit, run, &r, gated, rest + p * size, dfoi_map_panel(g, p));
    }
    if (unit->batch)
        dfoi_batch_backward(unit, run, area, keep, g);
}

static dfoi_map_pair pair_of(const dfoi_conv_unit *unit, dfoi_pair p, const dfoi_unit_room *room)
{
    size_t keep = 2 * dfoi_unit_keep(&unit->unit);
    const dfo_real *x = p.x == room->d1 ? room->d1 : room->h;
    return (dfoi_map_pair){map_of(unit, p.x, x, keep), map_of(unit, p.dx, room->dh, keep)};
}

static dfoi_pair panel_of(dfoi_map_pair m, size_t p)
{
    return (dfoi_pair){dfoi_map_panel(m.x, p), dfoi_map_panel(m.dx, p)};
}

dfoi_map_pair dfoi_conv_unit_jvp_target(const dfoi_conv_unit *unit, dfoi_area area,
                                        const dfoi_unit_room *room, dfo_real *keep)
{
    return pair_of(unit, dfoi_unit_jvp_target(&unit->unit, room, behind(unit, area, keep, 1)),
                   room);
}

dfoi_map_pair dfoi_conv_unit_jvp(const dfoi_conv_unit *unit, const dfo_run *run, dfoi_area area,
                                 dfoi_map_pair x, int done, const dfoi_unit_room *room,
                                 dfo_real *keep)
{
    size_t size = 2 * dfoi_unit_keep(&unit->unit);
    dfoi_pair first = {NULL, NULL};
    if (unit->batch) {
        dfoi_map_pair y = dfoi_conv_unit_jvp_target(unit, area, room, keep);
        dfoi_batch_jvp(unit, run, area, x, y, keep);
        x = y;
    }
    keep = behind(unit, area, keep, 1);
    for (size_t p = 0; p < area.panels; p++) {
        dfoi_unit_room r = room_of(unit, run, area, room, p);
        dfoi_pair y = dfoi_unit_jvp(&unit->unit, run, panel_of(x, p), done, &r,
                                    keep ? keep + p * size : NULL);
        first = p ? first : y;
    }
    return pair_of(unit, first, room);
}

dfoi_map_pair dfoi_conv_unit_jvp_output(const dfoi_conv_unit *unit, const dfo_run *run,
                                        dfoi_area area, const dfoi_unit_room *room,
                                        const dfo_real *keep)
{
    size_t size = 2 * dfoi_unit_keep(&unit->unit);
    dfoi_pair first = {NULL, NULL};
    keep = behind(unit, area, keep, 1);
    for (size_t p = 0; p < area.panels; p++) {
        dfoi_unit_room r = room_of(unit, run, area, room, p);
        dfoi_pair y = dfoi_unit_jvp_output(&unit->unit, run, &r, keep + p * size);
        first = p ? first : y;
    }
    return pair_of(unit, first, room);
}

void dfoi_conv_unit_jvp_backward(const dfoi_conv_unit *unit, const dfo_run *run, dfoi_area area,
                                 const dfoi_unit_room *room, int gated, const dfo_real *keep,
                                 dfoi_map_pair g)
{
    size_t size = 2 * dfoi_unit_keep(&unit->unit);
    const dfo_real *rest = behind(unit, area, keep, 1);
    for (size_t p = 0; p < area.panels; p++) {
        dfoi_unit_room r = room_of(unit, run, area, room, p);
        dfoi_unit_jvp_backward(&unit->unit, run, &r, gated, rest + p * size, dfoi_map_panel(g.x, p),
                               dfoi_map_panel(g.dx, p));
    }
    if (unit->batch)
        dfoi_batch_jvp_backward(unit, run, area, keep, g);
}

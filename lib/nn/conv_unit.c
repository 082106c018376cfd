/* Units over maps: panel by panel what unit.c and unit_jvp.c do, with pixels for rows.  */
#include "nn/conv_impl.h"

/* The room's part of one panel.  */
static dfoi_unit_room room_of(const dfoi_unit *unit, const dfoi_unit_room *room, size_t panel)
{
    size_t at = panel * unit->width * DFO_PANEL;
    return (dfoi_unit_room){.h = room->h ? room->h + at : NULL,
                            .dh = room->dh ? room->dh + at : NULL,
                            .mask = room->mask ? room->mask + at : NULL,
                            .d1 = room->d1 ? room->d1 + at : NULL,
                            .d2 = room->d2 ? room->d2 + at : NULL};
}

/* The map whose first panel is x: one of the room, or one in what is kept.  */
static dfoi_map map_of(const dfoi_unit *unit, const dfo_real *x, const dfo_real *in_room, size_t keep)
{
    return (dfoi_map){(dfo_real *)x, x == in_room ? unit->width * DFO_PANEL : keep};
}

/* Draws of a pixel are those of row (absolute row) * plane + pixel.  */
static uint64_t pixel_row(uint64_t row, dfoi_area area, size_t panel)
{
    return (row + area.first) * area.plane + panel * DFO_PANEL;
}

dfoi_map dfoi_map_unit_target(const dfoi_unit *unit, const dfoi_unit_room *room, dfo_real *keep)
{
    return map_of(unit, dfoi_unit_target(unit, room, keep), room->h, dfoi_unit_keep(unit));
}

dfoi_map dfoi_map_unit_forward(const dfoi_unit *unit, dfo_run *run, dfoi_area area, dfoi_map x,
                               int done, const dfoi_unit_room *room, dfo_real *keep)
{
    uint64_t row = run->key.row;
    size_t size = dfoi_unit_keep(unit);
    const dfo_real *first = NULL;
    for (size_t p = 0; p < area.panels; p++) {
        dfoi_unit_room r = room_of(unit, room, p);
        run->key.row = pixel_row(row, area, p);
        const dfo_real *y = dfoi_unit_forward(unit, run, dfoi_map_panel(x, p), done, &r,
                                              keep ? keep + p * size : NULL);
        first = p ? first : y;
    }
    run->key.row = row;
    return map_of(unit, first, room->h, size);
}

dfoi_map dfoi_map_unit_output(const dfoi_unit *unit, dfo_run *run, dfoi_area area,
                              const dfoi_unit_room *room, const dfo_real *keep)
{
    uint64_t row = run->key.row;
    size_t size = dfoi_unit_keep(unit);
    const dfo_real *first = NULL;
    for (size_t p = 0; p < area.panels; p++) {
        dfoi_unit_room r = room_of(unit, room, p);
        run->key.row = pixel_row(row, area, p);
        const dfo_real *y = dfoi_unit_output(unit, run, &r, keep + p * size);
        first = p ? first : y;
    }
    run->key.row = row;
    return map_of(unit, first, room->h, size);
}

dfoi_map dfoi_map_unit_gate(const dfoi_unit *unit, const dfo_run *run, const dfo_real *keep,
                            int tangents)
{
    size_t size = dfoi_unit_keep(unit);
    return (dfoi_map){(dfo_real *)dfoi_unit_gate(unit, run, keep, tangents),
                      tangents ? 2 * size : size};
}

void dfoi_map_unit_backward(const dfoi_unit *unit, dfo_run *run, dfoi_area area,
                            const dfoi_unit_room *room, int gated, const dfo_real *keep, dfoi_map g)
{
    size_t size = dfoi_unit_keep(unit);
    for (size_t p = 0; p < area.panels; p++) {
        dfoi_unit_room r = room_of(unit, room, p);
        dfoi_unit_backward(unit, run, &r, gated, keep + p * size, dfoi_map_panel(g, p));
    }
}

static dfoi_map_pair pair_of(const dfoi_unit *unit, dfoi_pair p, const dfoi_unit_room *room)
{
    size_t keep = 2 * dfoi_unit_keep(unit);
    const dfo_real *x = p.x == room->d1 ? room->d1 : room->h;
    return (dfoi_map_pair){map_of(unit, p.x, x, keep), map_of(unit, p.dx, room->dh, keep)};
}

static dfoi_pair panel_of(dfoi_map_pair m, size_t p)
{
    return (dfoi_pair){dfoi_map_panel(m.x, p), dfoi_map_panel(m.dx, p)};
}

dfoi_map_pair dfoi_map_unit_jvp_target(const dfoi_unit *unit, const dfoi_unit_room *room,
                                       dfo_real *keep)
{
    return pair_of(unit, dfoi_unit_jvp_target(unit, room, keep), room);
}

dfoi_map_pair dfoi_map_unit_jvp(const dfoi_unit *unit, dfo_run *run, dfoi_area area,
                                dfoi_map_pair x, int done, const dfoi_unit_room *room,
                                dfo_real *keep)
{
    uint64_t row = run->key.row;
    size_t size = 2 * dfoi_unit_keep(unit);
    dfoi_pair first = {NULL, NULL};
    for (size_t p = 0; p < area.panels; p++) {
        dfoi_unit_room r = room_of(unit, room, p);
        run->key.row = pixel_row(row, area, p);
        dfoi_pair y =
            dfoi_unit_jvp(unit, run, panel_of(x, p), done, &r, keep ? keep + p * size : NULL);
        first = p ? first : y;
    }
    run->key.row = row;
    return pair_of(unit, first, room);
}

dfoi_map_pair dfoi_map_unit_jvp_output(const dfoi_unit *unit, dfo_run *run, dfoi_area area,
                                       const dfoi_unit_room *room, const dfo_real *keep)
{
    uint64_t row = run->key.row;
    size_t size = 2 * dfoi_unit_keep(unit);
    dfoi_pair first = {NULL, NULL};
    for (size_t p = 0; p < area.panels; p++) {
        dfoi_unit_room r = room_of(unit, room, p);
        run->key.row = pixel_row(row, area, p);
        dfoi_pair y = dfoi_unit_jvp_output(unit, run, &r, keep + p * size);
        first = p ? first : y;
    }
    run->key.row = row;
    return pair_of(unit, first, room);
}

void dfoi_map_unit_jvp_backward(const dfoi_unit *unit, dfo_run *run, dfoi_area area,
                                const dfoi_unit_room *room, int gated, const dfo_real *keep,
                                dfoi_map_pair g)
{
    size_t size = 2 * dfoi_unit_keep(unit);
    for (size_t p = 0; p < area.panels; p++) {
        dfoi_unit_room r = room_of(unit, room, p);
        dfoi_unit_jvp_backward(unit, run, &r, gated, keep + p * size, dfoi_map_panel(g.x, p),
                               dfoi_map_panel(g.dx, p));
    }
}

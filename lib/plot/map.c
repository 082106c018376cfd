/* A function of two variables in colour: pixels, contour lines, points over it, a colour bar.  */
#include <math.h>

#include "base/ctx_impl.h"
#include "plot/canvas_impl.h"
#include "plot/colour_impl.h"

#define DECADES 5 /* of a log scale whose lower end is not given */

static dfo_status range_check(dfo_ctx *ctx, const char *what, double low, double high)
{
    if (!(low < high) || !isfinite(low) || !isfinite(high) || !isfinite(high - low))
        return dfoi_fail(ctx, DFO_EARG,
                         "density map: %s must be a finite, rising range, got %g to %g", what, low,
                         high);
    return DFO_OK;
}

/* The range of the colours.  */
static dfo_status colour_range(dfo_ctx *ctx, const dfo_plot_map *map, struct dfoi_range *r)
{
    double low = 0, high = 0;
    r->log = map->scale == DFO_PLOT_LOG;
    if (map->low < map->high || map->low > map->high || isnan(map->low + map->high)) {
        DFO_TRY(range_check(ctx, "low and high", map->low, map->high));
        if (r->log && !(map->low > 0))
            return dfoi_fail(ctx, DFO_EARG, "density map: a log scale begins above 0, got low = %g",
                             map->low);
        r->low = map->low;
        r->high = map->high;
        return DFO_OK;
    }
    if (!dfoi_range_of(map->nx * map->ny, map->value, 1, r->log, &low, &high))
        return dfoi_fail(ctx, DFO_EARG, "density map: no value is %s",
                         r->log ? "positive and finite" : "finite");
    if (r->log)
        low = fmax(low, high * pow(10, -DECADES));
    else if (low >= 0)
        low = 0; /* a density begins at 0 */
    if (!(low < high))
        dfoi_range_pad(&low, &high, r->log, 0);
    r->low = low;
    r->high = high;
    return DFO_OK;
}

static double colour_place(const struct dfoi_range *r, double v)
{
    if (!r->log)
        return (v - r->low) / (r->high - r->low);
    return isnan(v) ? v : v <= r->low ? 0 : log(v / r->low) / log(r->high / r->low);
}

static dfo_status paint_values(struct dfoi_canvas *c, const struct dfoi_frame *f,
                               const dfo_plot_map *map, const struct dfoi_range *r)
{
    uint32_t *rgb;
    size_t nx = map->nx, ny = map->ny;
    DFO_TRY(dfoi_alloc(c->ctx, nx * ny, sizeof *rgb, &rgb));
    for (size_t j = 0; j < ny; j++)
        for (size_t i = 0; i < nx; i++)
            rgb[(ny - 1 - j) * nx + i] = dfoi_viridis(colour_place(r, map->value[j * nx + i]));
    dfo_status status = dfoi_paint(c, nx, ny, rgb, f->x, f->y, f->w, f->h, nx >= 32 && ny >= 32);
    dfoi_free(c->ctx, rgb);
    return status;
}

/* White with a dark edge: seen on violet and on yellow.  */
static dfo_status draw_contours(struct dfoi_canvas *c, const struct dfoi_frame *f,
                                const dfo_plot_map *map)
{
    for (size_t k = 0; k < map->contours; k++) {
        double level;
        DFO_TRY(dfoi_mass_level(c->ctx, map->nx * map->ny, map->value, map->masses[k], &level));
        dfoi_contour(c, f, map->nx, map->ny, map->value, level);
    }
    cairo_set_line_cap(c->cr, CAIRO_LINE_CAP_ROUND);
    cairo_set_line_width(c->cr, 2.6 * c->unit);
    dfoi_colour(c, 0x000000, 0.35);
    cairo_stroke_preserve(c->cr);
    cairo_set_line_width(c->cr, 1.2 * c->unit);
    dfoi_colour(c, 0xffffff, 0.95);
    cairo_stroke(c->cr);
    return DFO_OK;
}

static void draw_points(struct dfoi_canvas *c, const struct dfoi_frame *f, const dfo_plot_map *map)
{
    size_t n = map->points.n;
    double few = n < 400 ? 1 : sqrt(400.0 / (double)n), r = c->unit * fmax(0.9, 2.6 * few);
    double alpha = map->alpha > 0 ? fmin(map->alpha, 1) : fmax(0.25, few);
    if (n <= 3000) {
        dfoi_colour(c, 0x000000, 0.6 * alpha);
        dfoi_dots(c, f, &map->points, 0, 1, r + 0.8 * c->unit);
    }
    dfoi_colour(c, 0xffffff, alpha);
    dfoi_dots(c, f, &map->points, 0, 1, r);
}

/* The bar is a frame of its own, with its ticks on the right.  */
static void place_bar(struct dfoi_canvas *c, const struct dfoi_range *r, struct dfoi_frame *bar,
                      double *room, const char *label)
{
    double font = c->font, widest = 0;
    dfoi_axis_set(&bar->ay, r->low, r->high, r->log, 6);
    for (size_t i = 0; i < bar->ay.n; i++)
        widest = fmax(widest, dfoi_text_width(c, 0.87 * font, bar->ay.text[i]));
    bar->w = 1.2 * font;
    *room = bar->w + widest + (label ? 3.4 : 1.4) * font;
}

static dfo_status draw_bar(struct dfoi_canvas *c, const struct dfoi_frame *f,
                           struct dfoi_frame *bar, const char *label)
{
    double font = c->font;
    uint32_t rgb[256];
    bar->x = f->x + f->w + 1.2 * font;
    bar->y = f->y;
    bar->h = f->h;
    for (size_t i = 0; i < 256; i++)
        rgb[i] = dfoi_viridis((double)(255 - i) / 255);
    DFO_TRY(dfoi_paint(c, 1, 256, rgb, bar->x, bar->y, bar->w, bar->h, 1));
    dfoi_frame_box(c, bar);
    double right = bar->x + bar->w;
    for (int minor = 0; minor < 2; minor++) {
        size_t n = minor ? bar->ay.minors : bar->ay.n;
        for (size_t i = 0; i < n; i++) {
            double y = floor(dfoi_frame_py(bar, minor ? bar->ay.minor[i] : bar->ay.tick[i])) + 0.5;
            cairo_move_to(c->cr, right, y);
            cairo_line_to(c->cr, right + (minor ? 0.18 : 0.33) * font, y);
        }
    }
    cairo_stroke(c->cr);
    for (size_t i = 0; i < bar->ay.n; i++)
        dfoi_text(c, right + 0.55 * font, dfoi_frame_py(bar, bar->ay.tick[i]), 0, 0.5, 0.87 * font,
                  0, 0, bar->ay.text[i]);
    if (label)
        dfoi_text(c, c->width - 0.8 * font, bar->y + 0.5 * bar->h, 0.5, 1, font, 1, bar->h, label);
    return DFO_OK;
}

static dfo_status check(dfo_ctx *ctx, const dfo_plot_map *map)
{
    size_t cells;
    DFO_TRY(range_check(ctx, "x_low and x_high", map->x_low, map->x_high));
    DFO_TRY(range_check(ctx, "y_low and y_high", map->y_low, map->y_high));
    DFO_TRY(dfoi_mul(ctx, map->nx, map->ny, "density map", &cells));
    if (!cells || !map->value)
        return dfoi_fail(ctx, DFO_EARG, "density map: no values to draw (%zu x %zu)", map->nx,
                         map->ny);
    if (map->points.n && (map->points.d != 2 || map->points.ld < 2 || !map->points.x))
        return dfoi_fail(ctx, DFO_EARG, "density map: points over it have 2 columns, got %zu",
                         map->points.d);
    for (size_t k = 0; k < map->contours; k++)
        if (!(map->masses[k] > 0 && map->masses[k] < 1))
            return dfoi_fail(ctx, DFO_EARG,
                             "density map: a contour encloses a share between 0 and 1, got %g",
                             map->masses[k]);
    return DFO_OK;
}

static dfo_status draw(struct dfoi_canvas *c, const dfo_plot_map *map,
                       const struct dfoi_range *colours)
{
    struct dfoi_frame f = {0}, bar = {0};
    struct dfoi_range x = {map->x_low, map->x_high, 0}, y = {map->y_low, map->y_high, 0};
    double room;
    place_bar(c, colours, &bar, &room, map->bar_label);
    dfoi_frame_place(c, &map->look, x, y, room, &f);
    DFO_TRY(paint_values(c, &f, map, colours));
    dfoi_frame_clip(c, &f);
    dfo_status status = map->contours ? draw_contours(c, &f, map) : DFO_OK;
    if (map->points.n)
        draw_points(c, &f, map);
    cairo_restore(c->cr);
    dfoi_frame_axes(c, &f, &map->look);
    DFO_TRY(status);
    return draw_bar(c, &f, &bar, map->bar_label);
}

dfo_status dfo_plot_map_png(dfo_ctx *ctx, const dfo_plot_map *map, const char *path)
{
    struct dfoi_canvas c;
    struct dfoi_range colours;
    DFO_TRY(check(ctx, map));
    DFO_TRY(colour_range(ctx, map, &colours));
    DFO_TRY(dfoi_canvas_new(ctx, &map->look, 900, 720, &c));
    dfo_status status = draw(&c, map, &colours);
    if (status == DFO_OK)
        status = dfoi_canvas_save(&c, path);
    dfoi_canvas_free(&c);
    return status;
}

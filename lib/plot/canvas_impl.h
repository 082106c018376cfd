/* A picture being drawn: cairo's surface, text, a frame with axes, a legend.  Private; the only
 * place (with canvas.c) that knows how a picture is begun and saved.  Drawing cannot fail halfway:
 * cairo keeps its first error, and dfoi_canvas_save reports it.  */
#ifndef DFOI_PLOT_CANVAS_IMPL_H
#define DFOI_PLOT_CANVAS_IMPL_H

#include <cairo.h>
#include <stdint.h>
#include <diffeo/plot.h>
#include "plot/axis_impl.h"

struct dfoi_canvas {
    dfo_ctx *ctx;
    cairo_surface_t *surface;
    cairo_t *cr;
    double width, height;
    double unit; /* a line's width: 1 in a picture of 800 x 600 */
    double font; /* size of the texts in pixels */
};

/* Begins a white picture; sizes of 0 become the given defaults.  */
dfo_status dfoi_canvas_new(dfo_ctx *ctx, const dfo_plot_look *look, size_t width, size_t height,
                           struct dfoi_canvas *c);
dfo_status dfoi_canvas_save(struct dfoi_canvas *c, const char *path);
void dfoi_canvas_free(struct dfoi_canvas *c);

void dfoi_colour(struct dfoi_canvas *c, uint32_t rgb, double alpha);

/* Text with the point (x, y) at its left (h = 0), middle (0.5) or right (1) and its top (v = 0) …
 * bottom (1), turned to read upwards if `up`.  Invalid UTF-8 is shown as '?'; longer than `room`
 * (0: any) it is cut.  */
void dfoi_text(struct dfoi_canvas *c, double x, double y, double h, double v, double size, int up,
               double room, const char *text);
double dfoi_text_width(struct dfoi_canvas *c, double size, const char *text);

/* The rectangle that data are drawn in.  */
struct dfoi_frame {
    double x, y, w, h; /* pixels; y is the top */
    struct dfoi_axis ax, ay;
};

struct dfoi_range {
    double low, high;
    int log;
};

/* Chooses frame and ticks so that texts fit, with `right` pixels kept free on the right.  */
void dfoi_frame_place(struct dfoi_canvas *c, const dfo_plot_look *look, struct dfoi_range x,
                      struct dfoi_range y, double right, struct dfoi_frame *f);
/* Ticks of an x axis as many as have room for their texts.  */
void dfoi_frame_x_ticks(struct dfoi_canvas *c, struct dfoi_range x, double w, double size,
                        struct dfoi_axis *axis);

double dfoi_frame_px(const struct dfoi_frame *f, double x);
double dfoi_frame_py(const struct dfoi_frame *f, double y);
void dfoi_frame_grid(struct dfoi_canvas *c, const struct dfoi_frame *f);
/* Box, ticks, their texts and the labels.  */
void dfoi_frame_axes(struct dfoi_canvas *c, const struct dfoi_frame *f, const dfo_plot_look *look);
void dfoi_frame_box(struct dfoi_canvas *c, const struct dfoi_frame *f);
void dfoi_frame_clip(struct dfoi_canvas *c, const struct dfoi_frame *f); /* until cairo_restore */

/* Paints rgb (h, w), row 0 at the top, over a rectangle.  smooth: colours run into each other.  */
dfo_status dfoi_paint(struct dfoi_canvas *c, size_t w, size_t h, const uint32_t *rgb, double x,
                      double y, double pw, double ph, int smooth);

/* Lines where value (ny, nx; middles of cells that span the frame's axes, value[j*nx+i]) passes
 * `level`, added to cairo's path.  */
void dfoi_contour(struct dfoi_canvas *c, const struct dfoi_frame *f, size_t nx, size_t ny,
                  const double *value, double level);
/* The level above which the given share of the sum of the finite, positive values lies.  */
dfo_status dfoi_mass_level(dfo_ctx *ctx, size_t n, const double *value, double share,
                           double *level);

/* Dots of radius r at the points' columns i, j.  */
void dfoi_dots(struct dfoi_canvas *c, const struct dfoi_frame *f, const dfo_plot_points *p,
               size_t i, size_t j, double r);

struct dfoi_entry {
    const char *name;
    uint32_t colour;
    dfo_plot_style style;
    int filled; /* a small box instead of a line */
};

/* A legend with its right (corner & 1) or left edge at x, top or (corner & 2) bottom at y.  */
void dfoi_legend(struct dfoi_canvas *c, size_t n, const struct dfoi_entry *entry, double x,
                 double y, int corner);
/* Width and height of it.  */
void dfoi_legend_size(struct dfoi_canvas *c, size_t n, const struct dfoi_entry *entry, double *w,
                      double *h);

#endif

/* Pictures as PNG files: density maps, corner plots, curves, histograms, grids of images.
 *
 * All take plain doubles, which stay the caller's, and write `path` beside itself first, then
 * rename it, so that an old file survives a failure.  Texts are UTF-8; NULL means none.  Errors:
 * DFO_EARG naming what is wrong, DFO_EMEM, DFO_EIO with the file's name; without cairo (configure
 * --without-cairo) all but dfo_plot_images are DFO_EUNSUP.  */
#ifndef DIFFEO_PLOT_H
#define DIFFEO_PLOT_H

#include <stddef.h>
#include <diffeo/ctx.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum dfo_plot_scale { DFO_PLOT_LINEAR, DFO_PLOT_LOG } dfo_plot_scale;

/* What every picture has.  */
typedef struct dfo_plot_look {
    size_t width, height;            /* pixels, 100 .. 10000; 0: as suits the picture */
    const char *title, *x_label, *y_label;
} dfo_plot_look;

/* n points of d columns, ld >= d doubles from one to the next.  Points that are not finite are
 * left out.  */
typedef struct dfo_plot_points {
    const char   *name;              /* for the legend */
    const double *x;                 /* (n, d) */
    size_t        n, d, ld;
} dfo_plot_points;

/* 1 if this library can draw, 0 if it was built without cairo.  */
int dfo_plot_available(void);

/* A function of two variables in colour, usually a density, with a colour bar.  */
typedef struct dfo_plot_map {
    dfo_plot_look look;
    double x_low, x_high, y_low, y_high;       /* what the picture spans */
    size_t nx, ny;
    const double *value;                       /* (ny, nx): value[j*nx + i] at the middle of cell
                                                * i, j; y rises with j */
    dfo_plot_scale scale;                      /* of the colours */
    double low, high;                          /* range of the colours; low == high: from the
                                                * values (log: at most five decades) */
    const char *bar_label;
    const double *masses;                      /* contours enclose these shares of the sum */
    size_t contours;                           /* how many of them; 0: none */
    dfo_plot_points points;                    /* over it, d = 2; n = 0: none */
    double alpha;                              /* of the points, 0 .. 1; 0: as suits their number */
} dfo_plot_map;

/* DFO_EARG if a range is empty or not finite, no value is finite, or (log) none is positive.  */
dfo_status dfo_plot_map_png(dfo_ctx *ctx, const dfo_plot_map *map, const char *path);

#define DFO_PLOT_MAX_COLUMNS 16

/* d columns against each other: histograms on the diagonal, pairs below.  A second set is drawn
 * over the first as lines: outlines, and contours around 50 and 90 % of its points.  */
typedef struct dfo_plot_corner {
    dfo_plot_look look;                        /* axis labels are not used */
    const char *const *labels;                 /* (d) names of the columns; NULL: x1, x2, … */
    dfo_plot_points data, other;               /* 1 <= d <= DFO_PLOT_MAX_COLUMNS; other.n = 0: none */
} dfo_plot_corner;

/* DFO_EARG if a set has no rows, a column of it no finite value, or the sets differ in d.  A
 * constant column is drawn with some width around its value.  */
dfo_status dfo_plot_corner_png(dfo_ctx *ctx, const dfo_plot_corner *corner, const char *path);

typedef enum dfo_plot_style { DFO_PLOT_LINE, DFO_PLOT_DASHED, DFO_PLOT_DOTS } dfo_plot_style;

/* A curve: y (n) over x (n); x = NULL: over 0, 1, 2, …  A value that is not finite (or, on a log
 * scale, not positive) interrupts it.  */
typedef struct dfo_plot_series {
    const char     *name;                      /* for the legend; NULL: not in it */
    const double   *x, *y;
    size_t          n;
    dfo_plot_style  style;
} dfo_plot_series;

typedef struct dfo_plot_curves {
    dfo_plot_look look;
    dfo_plot_scale x_scale, y_scale;
    double y_low, y_high;                      /* y_low == y_high: from the values, a few far ones left outside */
    const dfo_plot_series *series;
    size_t n;                                  /* of them, at least 1 */
} dfo_plot_curves;

/* DFO_EARG if there is no series, or nothing in them that can be drawn.  */
dfo_status dfo_plot_curves_png(dfo_ctx *ctx, const dfo_plot_curves *curves, const char *path);

/* A histogram of one column, as a density, with curves over it.  */
typedef struct dfo_plot_histogram {
    dfo_plot_look look;
    dfo_plot_points data;                      /* d = 1; n = 0: curves alone */
    size_t bins;                               /* 0: from the number of values */
    double x_low, x_high;                      /* x_low == x_high: from the values */
    const dfo_plot_series *curves;
    size_t n;                                  /* of curves */
} dfo_plot_histogram;

/* DFO_EARG if there are neither values nor curves, or none is finite.  */
dfo_status dfo_plot_histogram_png(dfo_ctx *ctx, const dfo_plot_histogram *histogram, const char *path);

/* n gray (c = 1) or RGB (c = 3) images of 8 bits, laid out row after row.  */
typedef struct dfo_plot_images {
    const unsigned char *pixel;                /* (n, c, h, w): channel by channel, as everywhere here */
    size_t n, c, h, w;
    size_t columns;                            /* 0: about as many as rows */
    size_t gap;                                /* pixels between images */
    size_t zoom;                               /* each pixel as zoom x zoom; 0: 1 */
} dfo_plot_images;

/* Works without cairo too.  DFO_EARG if there is nothing to draw, c is neither 1 nor 3, or the
 * picture would be wider or higher than 65,535 pixels.  */
dfo_status dfo_plot_images_png(dfo_ctx *ctx, const dfo_plot_images *images, const char *path);

#ifdef __cplusplus
}
#endif
#endif

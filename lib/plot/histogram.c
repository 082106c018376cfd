/* A histogram of one column, scaled to a density, with curves over it.  */
#include <math.h>

#include "base/ctx_impl.h"
#include "plot/canvas_impl.h"
#include "plot/colour_impl.h"
#include "plot/series_impl.h"

#define MOST_BINS 2000
#define MOST_ENTRIES 8

struct bars {
    size_t bins, used; /* used: finite values, in or outside */
    double *height;    /* (bins) */
};

static dfo_status x_range(dfo_ctx *ctx, const dfo_plot_histogram *p, struct dfoi_range *x)
{
    const dfo_plot_points *d = &p->data;
    int any = d->n && dfoi_range_of(d->n, d->x, d->ld, 0, &x->low, &x->high);
    if (d->n && !any)
        return dfoi_fail(ctx, DFO_EARG, "histogram: no value is finite");
    if (any)
        dfoi_range_pad(&x->low, &x->high, 0, 0.02);
    else
        for (size_t k = 0; k < p->n; k++)
            dfoi_series_x_range(&p->curves[k], 0, &x->low, &x->high, &any);
    if (!any)
        return dfoi_fail(ctx, DFO_EARG, "histogram: there is nothing to draw");
    if (p->x_low < p->x_high) {
        x->low = p->x_low;
        x->high = p->x_high;
    }
    if (!(x->low < x->high))
        dfoi_range_pad(&x->low, &x->high, 0, 0.05);
    if (!isfinite(x->high - x->low))
        return dfoi_fail(ctx, DFO_EARG, "histogram: the range %g to %g cannot be drawn", x->low,
                         x->high);
    return DFO_OK;
}

static dfo_status count(dfo_ctx *ctx, const dfo_plot_histogram *p, const struct dfoi_range *x,
                        struct bars *b)
{
    const dfo_plot_points *d = &p->data;
    b->bins = p->bins ? p->bins : (size_t)fmin(120, fmax(8, 2 * cbrt((double)d->n)));
    DFO_TRY(dfoi_alloc(ctx, b->bins, sizeof *b->height, &b->height));
    for (size_t i = 0; i < d->n; i++) {
        double v = d->x[i * d->ld], t = (v - x->low) / (x->high - x->low) * (double)b->bins;
        b->used += isfinite(v) != 0;
        if (t >= 0 && t <= (double)b->bins)
            b->height[t < (double)b->bins ? (size_t)t : b->bins - 1]++;
    }
    for (size_t i = 0; i < b->bins; i++)
        b->height[i] *= (double)b->bins / ((x->high - x->low) * (double)b->used);
    return DFO_OK;
}

static double highest(const dfo_plot_histogram *p, const struct bars *b, const struct dfoi_range *x)
{
    double most = 0;
    for (size_t i = 0; i < b->bins; i++)
        most = fmax(most, b->height[i]);
    double limit =
        most > 0 ? 3 * most : INFINITY; /* a spike of a curve does not flatten the bars */
    for (size_t k = 0; k < p->n; k++)
        for (size_t i = 0; i < p->curves[k].n; i++) {
            double at = dfoi_series_x(&p->curves[k], i), y = p->curves[k].y[i];
            if (isfinite(y) && at >= x->low && at <= x->high)
                most = fmax(most, fmin(y, limit));
        }
    return most > 0 ? most : 1;
}

static void draw_bars(struct dfoi_canvas *c, const struct dfoi_frame *f, const struct bars *b,
                      uint32_t colour)
{
    double foot = dfoi_frame_py(f, 0), w = f->w / (double)b->bins;
    dfoi_frame_clip(c, f);
    cairo_move_to(c->cr, f->x, foot);
    for (size_t i = 0; i < b->bins; i++) {
        double y = dfoi_frame_py(f, b->height[i]);
        cairo_line_to(c->cr, f->x + (double)i * w, y);
        cairo_line_to(c->cr, f->x + (double)(i + 1) * w, y);
    }
    cairo_line_to(c->cr, f->x + f->w, foot);
    cairo_close_path(c->cr);
    dfoi_colour(c, colour, 0.35);
    cairo_fill_preserve(c->cr);
    dfoi_colour(c, colour, 0.8);
    cairo_set_line_width(c->cr, c->unit);
    cairo_stroke(c->cr);
    cairo_restore(c->cr);
}

static dfo_status draw(struct dfoi_canvas *c, const dfo_plot_histogram *p, const struct bars *b,
                       struct dfoi_range x)
{
    struct dfoi_frame f = {0};
    struct dfoi_range y = {0, 1.08 * highest(p, b, &x), 0};
    struct dfoi_entry entry[MOST_ENTRIES];
    size_t entries = 0;
    dfoi_frame_place(c, &p->look, x, y, 0, &f);
    dfoi_frame_grid(c, &f);
    if (b->bins) {
        draw_bars(c, &f, b, dfoi_series_colour(0));
        if (p->data.name)
            entry[entries++] =
                (struct dfoi_entry){p->data.name, dfoi_series_colour(0), DFO_PLOT_LINE, 1};
    }
    for (size_t k = 0; k < p->n; k++) {
        dfoi_series_draw(c, &f, &p->curves[k], dfoi_series_colour(k + 1));
        if (p->curves[k].name && entries < MOST_ENTRIES)
            entry[entries++] = (struct dfoi_entry){p->curves[k].name, dfoi_series_colour(k + 1),
                                                   p->curves[k].style, 0};
    }
    dfoi_frame_axes(c, &f, &p->look);
    return entries ? dfoi_series_legend(c, &f, p->curves, p->n, entries, entry) : DFO_OK;
}

dfo_status dfo_plot_histogram_png(dfo_ctx *ctx, const dfo_plot_histogram *histogram,
                                  const char *path)
{
    const dfo_plot_histogram *p = histogram;
    struct dfoi_canvas c = {0};
    struct dfoi_range x = {0};
    struct bars b = {0};
    dfo_status status;
    if (p->data.n && (p->data.d != 1 || !p->data.x || !p->data.ld))
        return dfoi_fail(ctx, DFO_EARG, "histogram: expected 1 column, got %zu", p->data.d);
    if (p->bins > MOST_BINS)
        return dfoi_fail(ctx, DFO_EARG, "histogram: bins must be at most %d, got %zu", MOST_BINS,
                         p->bins);
    if (p->x_low > p->x_high || isnan(p->x_low + p->x_high))
        return dfoi_fail(ctx, DFO_EARG, "histogram: x_low must be below x_high, got %g and %g",
                         p->x_low, p->x_high);
    DFO_TRY(x_range(ctx, p, &x));
    if (p->data.n)
        DFO_GO(count(ctx, p, &x, &b));
    DFO_GO(dfoi_canvas_new(ctx, &p->look, 900, 600, &c));
    DFO_GO(draw(&c, p, &b, x));
    DFO_GO(dfoi_canvas_save(&c, path));
fail:
    dfoi_canvas_free(&c);
    dfoi_free(ctx, b.height);
    return status;
}

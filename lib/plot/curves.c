/* Curves over a common axis: training curves and the like.  */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/ctx_impl.h"
#include "plot/canvas_impl.h"
#include "plot/colour_impl.h"
#include "plot/series_impl.h"

static int drawable(const struct dfoi_frame *f, double x, double y)
{
    return isfinite(x) && isfinite(y) && (!f->ax.log || x > 0) && (!f->ay.log || y > 0);
}

/* Far outside the frame cairo's fixed-point numbers end.  */
static double near_frame(double p, double low, double size)
{
    return fmin(fmax(p, low - 20 * size), low + 21 * size);
}

/* Points of one pixel column are drawn as first, lowest, highest, last, so that a million of them
 * cost no more than the picture has columns.  */
static void draw_line(struct dfoi_canvas *c, const struct dfoi_frame *f, const dfo_plot_series *s)
{
    int pen = 0;
    double column = NAN, low = 0, high = 0, last = 0, at = 0;
    for (size_t i = 0; i < s->n; i++) {
        double x = dfoi_series_x(s, i), y = s->y[i];
        if (!drawable(f, x, y)) {
            pen = 0;
            column = NAN;
            continue;
        }
        double px = near_frame(dfoi_frame_px(f, x), f->x, f->w),
               py = near_frame(dfoi_frame_py(f, y), f->y, f->h);
        if (pen && floor(px) == column && s->n > 4 * (size_t)f->w) {
            low = fmin(low, py);
            high = fmax(high, py);
            last = py;
            at = px;
            continue;
        }
        if (pen && low < high) {
            cairo_line_to(c->cr, at, low);
            cairo_line_to(c->cr, at, high);
            cairo_line_to(c->cr, at, last);
        }
        (pen ? cairo_line_to : cairo_move_to)(c->cr, px, py);
        if (!pen)
            cairo_line_to(c->cr, px, py); /* a lone point is a dot */
        pen = 1;
        column = floor(px);
        low = high = last = py;
        at = px;
    }
    if (pen && low < high) {
        cairo_line_to(c->cr, at, low);
        cairo_line_to(c->cr, at, high);
        cairo_line_to(c->cr, at, last);
    }
}

void dfoi_series_draw(struct dfoi_canvas *c, const struct dfoi_frame *f, const dfo_plot_series *s,
                      uint32_t colour)
{
    const double dash[] = {5 * c->unit, 3.5 * c->unit};
    int dense = s->n > (size_t)f->w &&
                s->style == DFO_PLOT_LINE; /* a noisy band: thin, so that others show through */
    dfoi_frame_clip(c, f);
    dfoi_colour(c, colour, dense ? 0.6 : 1);
    if (s->style == DFO_PLOT_DOTS) {
        for (size_t i = 0; i < s->n; i++) {
            double x = dfoi_series_x(s, i), y = s->y[i];
            if (!drawable(f, x, y))
                continue;
            cairo_arc(c->cr, near_frame(dfoi_frame_px(f, x), f->x, f->w),
                      near_frame(dfoi_frame_py(f, y), f->y, f->h), 2.6 * c->unit, 0, 2 * M_PI);
            cairo_fill(c->cr);
        }
    } else {
        if (s->style == DFO_PLOT_DASHED)
            cairo_set_dash(c->cr, dash, 2, 0);
        cairo_set_line_cap(c->cr,
                           s->style == DFO_PLOT_LINE ? CAIRO_LINE_CAP_ROUND : CAIRO_LINE_CAP_BUTT);
        cairo_set_line_width(c->cr, (dense ? 1 : 1.8) * c->unit);
        draw_line(c, f, s);
        cairo_stroke(c->cr);
    }
    cairo_restore(c->cr);
}

void dfoi_series_x_range(const dfo_plot_series *s, int log, double *low, double *high, int *any)
{
    for (size_t i = 0; i < s->n; i++) {
        double x = dfoi_series_x(s, i);
        if (!isfinite(x) || !isfinite(s->y[i]) || (log && x <= 0))
            continue;
        *low = *any ? fmin(*low, x) : x;
        *high = *any ? fmax(*high, x) : x;
        *any = 1;
    }
}

dfo_status dfoi_series_legend(struct dfoi_canvas *c, const struct dfoi_frame *f,
                              const dfo_plot_series *s, size_t n, size_t entries,
                              const struct dfoi_entry *entry)
{
    double w, h, inset = 0.7 * c->font;
    size_t hits[4] = {0}, best = 1;
    dfoi_legend_size(c, entries, entry, &w, &h);
    for (size_t k = 0; k < n; k++) {
        size_t every = 1 + s[k].n / 5000;
        for (size_t i = 0; i < s[k].n; i += every) {
            double x = dfoi_series_x(&s[k], i), y = s[k].y[i];
            if (!drawable(f, x, y))
                continue;
            double px = dfoi_frame_px(f, x) - f->x, py = dfoi_frame_py(f, y) - f->y;
            int right = px > f->w - w - 2 * inset, left = px < w + 2 * inset;
            int foot = py > f->h - h - 2 * inset, top = py < h + 2 * inset;
            hits[0] += (size_t)(left && top);
            hits[1] += (size_t)(right && top);
            hits[2] += (size_t)(left && foot);
            hits[3] += (size_t)(right && foot);
        }
    }
    for (size_t k = 0; k < 4; k++)
        best = hits[k] < hits[best] ? k : best;
    dfoi_legend(c, entries, entry, best & 1 ? f->x + f->w - inset : f->x + inset,
                best & 2 ? f->y + f->h - inset : f->y + inset, (int)best);
    return DFO_OK;
}

static int rising(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

#define SAMPLE 4000

/* The range of y: of all values, but where a few of them lie far from the bulk (the first steps of
 * a training) they are left outside.  */
static int value_range(const dfo_plot_curves *p, double *memory, struct dfoi_range *r)
{
    int any = 0;
    size_t n = 0;
    for (size_t k = 0; k < p->n; k++) {
        const dfo_plot_series *s = &p->series[k];
        size_t every = 1 + s->n * p->n / SAMPLE;
        for (size_t i = 0; i < s->n; i++) {
            double y = s->y[i];
            if (!isfinite(y) || !isfinite(dfoi_series_x(s, i)) || (r->log && y <= 0))
                continue;
            r->low = any ? fmin(r->low, y) : y;
            r->high = any ? fmax(r->high, y) : y;
            any = 1;
            if (i % every == 0 && n < SAMPLE)
                memory[n++] = y;
        }
    }
    if (n < 40 || r->log)
        return any;
    qsort(memory, n, sizeof *memory, rising);
    double q1 = memory[n / 100], q99 = memory[n - 1 - n / 100], bulk = q99 - q1;
    if (r->high - q99 > bulk && bulk > 0)
        r->high = q99 + 0.1 * bulk;
    if (q1 - r->low > bulk && bulk > 0)
        r->low = q1 - 0.1 * bulk;
    return any;
}

static dfo_status ranges(dfo_ctx *ctx, const dfo_plot_curves *p, struct dfoi_range *x,
                         struct dfoi_range *y)
{
    int any = 0;
    double *memory;
    x->log = p->x_scale == DFO_PLOT_LOG;
    y->log = p->y_scale == DFO_PLOT_LOG;
    for (size_t k = 0; k < p->n; k++)
        dfoi_series_x_range(&p->series[k], x->log, &x->low, &x->high, &any);
    DFO_TRY(dfoi_alloc(ctx, SAMPLE, sizeof *memory, &memory));
    any = any && value_range(p, memory, y);
    dfoi_free(ctx, memory);
    if (!any)
        return dfoi_fail(ctx, DFO_EARG, "curves: nothing to draw: no point is finite%s",
                         x->log || y->log ? " and positive" : "");
    dfoi_range_pad(&x->low, &x->high, x->log, x->low < x->high ? 0.01 : 0.05);
    dfoi_range_pad(&y->low, &y->high, y->log, 0.05);
    if (p->y_low < p->y_high) {
        y->low = p->y_low;
        y->high = p->y_high;
    }
    if (!isfinite(x->high - x->low) || !isfinite(y->high - y->low) || (y->log && !(y->low > 0)))
        return dfoi_fail(ctx, DFO_EARG, "curves: the range %g to %g by %g to %g cannot be drawn",
                         x->low, x->high, y->low, y->high);
    return DFO_OK;
}

#define MOST_ENTRIES 16

static dfo_status draw(struct dfoi_canvas *c, const dfo_plot_curves *p, struct dfoi_range x,
                       struct dfoi_range y)
{
    struct dfoi_frame f = {0};
    struct dfoi_entry entry[MOST_ENTRIES];
    size_t entries = 0;
    dfoi_frame_place(c, &p->look, x, y, 0, &f);
    dfoi_frame_grid(c, &f);
    for (size_t k = 0; k < p->n; k++) {
        uint32_t colour = dfoi_series_colour(k);
        dfoi_series_draw(c, &f, &p->series[k], colour);
        if (p->series[k].name && entries < MOST_ENTRIES)
            entry[entries++] =
                (struct dfoi_entry){p->series[k].name, colour, p->series[k].style, 0};
    }
    dfoi_frame_axes(c, &f, &p->look);
    return entries ? dfoi_series_legend(c, &f, p->series, p->n, entries, entry) : DFO_OK;
}

dfo_status dfo_plot_curves_png(dfo_ctx *ctx, const dfo_plot_curves *curves, const char *path)
{
    struct dfoi_canvas c;
    struct dfoi_range x = {0}, y = {0};
    if (!curves->n || !curves->series)
        return dfoi_fail(ctx, DFO_EARG, "curves: there are none");
    if (curves->y_low > curves->y_high || isnan(curves->y_low + curves->y_high))
        return dfoi_fail(ctx, DFO_EARG, "curves: y_low must be below y_high, got %g and %g",
                         curves->y_low, curves->y_high);
    DFO_TRY(ranges(ctx, curves, &x, &y));
    DFO_TRY(dfoi_canvas_new(ctx, &curves->look, 900, 600, &c));
    dfo_status status = draw(&c, curves, x, y);
    if (status == DFO_OK)
        status = dfoi_canvas_save(&c, path);
    dfoi_canvas_free(&c);
    return status;
}

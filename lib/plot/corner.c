/* A corner plot: every column's histogram on the diagonal, every pair of columns below it.  The
 * first set is shaded, the second drawn over it as lines.  */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/ctx_impl.h"
#include "plot/canvas_impl.h"
#include "plot/colour_impl.h"

#define SAMPLE 20000 /* rows that the ranges are taken from */
#define MOST_BINS 64
#define FEW 400 /* so many points are drawn one by one */

struct corner {
    const dfo_plot_corner *p;
    struct dfoi_range range[DFO_PLOT_MAX_COLUMNS];
    double *memory;         /* (SAMPLE) quantiles; (2, MOST_BINS^2) histograms */
    double x, y, cell, gap; /* pixels: corner of panel (0, 0), side of a panel */
    double text;            /* size of tick texts */
};

static int rising(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Widens *low .. *high by the bulk of a set's column; 0 if no value is finite.  */
static int column_range(const dfo_plot_points *s, size_t j, double *memory, int any, double *low,
                        double *high)
{
    size_t every = 1 + (s->n - 1) / SAMPLE, n = 0;
    for (size_t i = 0; i < s->n; i += every)
        if (isfinite(s->x[i * s->ld + j]))
            memory[n++] = s->x[i * s->ld + j];
    if (!n)
        return dfoi_range_of(s->n, s->x + j, s->ld, 0, low, high);
    qsort(memory, n, sizeof *memory, rising);
    double a = memory[0], b = memory[n - 1], q5 = memory[n / 20], q95 = memory[n - 1 - n / 20];
    if (q5 < q95) { /* far values are left outside */
        a = fmax(a, q5 - 1.5 * (q95 - q5));
        b = fmin(b, q95 + 1.5 * (q95 - q5));
    }
    *low = any ? fmin(*low, a) : a;
    *high = any ? fmax(*high, b) : b;
    return 1;
}

static dfo_status set_range(dfo_ctx *ctx, struct corner *k, size_t j)
{
    struct dfoi_range *r = &k->range[j];
    if (!column_range(&k->p->data, j, k->memory, 0, &r->low, &r->high) ||
        (k->p->other.n && !column_range(&k->p->other, j, k->memory, 1, &r->low, &r->high)))
        return dfoi_fail(ctx, DFO_EARG, "corner plot: column %zu has no finite value", j + 1);
    dfoi_range_pad(&r->low, &r->high, 0, 0.06);
    if (!isfinite(r->high - r->low))
        return dfoi_fail(ctx, DFO_EARG, "corner plot: column %zu is too wide to draw", j + 1);
    return DFO_OK;
}

/* Bins of a histogram in `dims` dimensions of n points.  */
static size_t bins_for(size_t n, int dims)
{
    double b = dims == 1 ? 2 * cbrt((double)n) : 1.3 * pow((double)n, 0.33);
    return (size_t)fmin(MOST_BINS, fmax(10, b));
}

static struct dfoi_frame panel(const struct corner *k, size_t row, size_t column)
{
    struct dfoi_frame f = {.w = k->cell, .h = k->cell};
    f.x = k->x + (double)column * (k->cell + k->gap);
    f.y = k->y + (double)row * (k->cell + k->gap);
    return f;
}

/* Heights (bins) of a set's column as a density.  */
static void count_column(const struct corner *k, const dfo_plot_points *s, size_t j, size_t bins,
                         double *out)
{
    double low = k->range[j].low, width = k->range[j].high - low;
    size_t used = 0;
    for (size_t b = 0; b < bins; b++)
        out[b] = 0;
    for (size_t i = 0; i < s->n; i++) {
        double v = s->x[i * s->ld + j], t = (v - low) / width * (double)bins;
        used += isfinite(v) != 0;
        if (t >= 0 && t < (double)bins)
            out[(size_t)t]++;
    }
    for (size_t b = 0; b < bins; b++)
        out[b] /= (double)(used ? used : 1) * width / (double)bins;
}

static void steps(struct dfoi_canvas *c, const struct dfoi_frame *f, size_t bins,
                  const double *height, double scale)
{
    double w = f->w / (double)bins, foot = f->y + f->h;
    cairo_move_to(c->cr, f->x, foot);
    for (size_t b = 0; b < bins; b++) {
        double y = foot - scale * height[b];
        cairo_line_to(c->cr, f->x + (double)b * w, y);
        cairo_line_to(c->cr, f->x + (double)(b + 1) * w, y);
    }
    cairo_line_to(c->cr, f->x + f->w, foot);
}

static void draw_diagonal(struct dfoi_canvas *c, const struct corner *k, size_t j)
{
    struct dfoi_frame f = panel(k, j, j);
    double *first = k->memory, *second = first + MOST_BINS, most = 0;
    size_t bins = bins_for(k->p->data.n, 1), bins2 = bins_for(k->p->other.n, 1);
    count_column(k, &k->p->data, j, bins, first);
    for (size_t b = 0; b < bins; b++)
        most = fmax(most, first[b]);
    if (k->p->other.n) {
        count_column(k, &k->p->other, j, bins2, second);
        for (size_t b = 0; b < bins2; b++)
            most = fmax(most, second[b]);
    }
    double scale = most > 0 ? 0.92 * f.h / most : 0;
    dfoi_frame_clip(c, &f);
    steps(c, &f, bins, first, scale);
    dfoi_colour(c, dfoi_series_colour(0), 0.35);
    cairo_fill_preserve(c->cr);
    dfoi_colour(c, dfoi_series_colour(0), 0.9);
    cairo_set_line_width(c->cr, c->unit);
    cairo_stroke(c->cr);
    if (k->p->other.n) {
        steps(c, &f, bins2, second, scale);
        dfoi_colour(c, dfoi_series_colour(1), 1);
        cairo_set_line_width(c->cr, 1.5 * c->unit);
        cairo_stroke(c->cr);
    }
    cairo_restore(c->cr);
}

/* value (bins, bins): rows are column `row` of the set.  */
static void count_pair(const struct corner *k, const dfo_plot_points *s, size_t row, size_t column,
                       size_t bins, double *value)
{
    const struct dfoi_range *rx = &k->range[column], *ry = &k->range[row];
    double nx = (double)bins / (rx->high - rx->low), ny = (double)bins / (ry->high - ry->low);
    for (size_t b = 0; b < bins * bins; b++)
        value[b] = 0;
    for (size_t i = 0; i < s->n; i++) {
        double x = (s->x[i * s->ld + column] - rx->low) * nx,
               y = (s->x[i * s->ld + row] - ry->low) * ny;
        if (x >= 0 && y >= 0 && x < (double)bins && y < (double)bins)
            value[(size_t)y * bins + (size_t)x]++;
    }
}

/* One pass of the weights 1 2 1 along rows, then along columns.  */
static void smooth(size_t bins, double *value, double *work)
{
    for (int pass = 0; pass < 2; pass++) {
        size_t along = pass ? bins : 1, across = pass ? 1 : bins;
        for (size_t i = 0; i < bins; i++)
            for (size_t j = 0; j < bins; j++) {
                const double *v = value + i * across + j * along;
                double before = j ? v[0 - along] : 0, after = j + 1 < bins ? v[along] : 0;
                work[i * across + j * along] = 0.25 * (before + after) + 0.5 * v[0];
            }
        double *keep = value;
        value = work;
        work = keep;
    }
}

static dfo_status shade_pair(struct dfoi_canvas *c, const struct corner *k,
                             const struct dfoi_frame *f, size_t row, size_t column)
{
    size_t bins = bins_for(k->p->data.n, 2);
    double *value = k->memory, most = 0;
    uint32_t rgb[MOST_BINS * MOST_BINS];
    count_pair(k, &k->p->data, row, column, bins, value);
    for (size_t b = 0; b < bins * bins; b++)
        most = fmax(most, value[b]);
    for (size_t j = 0; j < bins; j++)
        for (size_t i = 0; i < bins; i++)
            rgb[(bins - 1 - j) * bins + i] =
                dfoi_tint(most > 0 ? sqrt(value[j * bins + i] / most) : 0, dfoi_series_colour(0));
    return dfoi_paint(c, bins, bins, rgb, f->x, f->y, f->w, f->h, 0);
}

/* Contours around 50 and 90 % of the second set.  */
static dfo_status outline_pair(struct dfoi_canvas *c, const struct corner *k,
                               const struct dfoi_frame *f, size_t row, size_t column)
{
    static const double share[] = {0.9, 0.5};
    size_t bins = bins_for(k->p->other.n, 2);
    double *value = k->memory, *work = value + MOST_BINS * MOST_BINS, level;
    bins = bins < 40 ? bins : 40;
    count_pair(k, &k->p->other, row, column, bins, value);
    smooth(bins, value, work);
    smooth(bins, value, work);
    for (int s = 0; s < 2; s++) {
        DFO_TRY(dfoi_mass_level(c->ctx, bins * bins, value, share[s], &level));
        dfoi_contour(c, f, bins, bins, value, level);
    }
    cairo_set_line_cap(c->cr, CAIRO_LINE_CAP_ROUND);
    cairo_set_line_width(c->cr, 1.5 * c->unit);
    dfoi_colour(c, dfoi_series_colour(1), 1);
    cairo_stroke(c->cr);
    return DFO_OK;
}

static void dot_pair(struct dfoi_canvas *c, const struct corner *k, struct dfoi_frame *f,
                     const dfo_plot_points *s, size_t row, size_t column, uint32_t colour)
{
    f->ax = (struct dfoi_axis){.low = k->range[column].low, .high = k->range[column].high};
    f->ay = (struct dfoi_axis){.low = k->range[row].low, .high = k->range[row].high};
    dfoi_colour(c, colour, 0.7);
    dfoi_dots(c, f, s, column, row, fmax(1, 1.5 * c->unit));
}

static dfo_status draw_pair(struct dfoi_canvas *c, const struct corner *k, size_t row,
                            size_t column)
{
    struct dfoi_frame f = panel(k, row, column);
    dfo_status status = DFO_OK;
    dfoi_frame_clip(c, &f);
    if (k->p->data.n <= FEW)
        dot_pair(c, k, &f, &k->p->data, row, column, dfoi_series_colour(0));
    else
        status = shade_pair(c, k, &f, row, column);
    if (k->p->other.n && k->p->other.n <= FEW)
        dot_pair(c, k, &f, &k->p->other, row, column, dfoi_series_colour(1));
    else if (k->p->other.n && status == DFO_OK)
        status = outline_pair(c, k, &f, row, column);
    cairo_restore(c->cr);
    return status;
}

static const char *label_of(const struct corner *k, size_t j, char text[32])
{
    if (k->p->labels && k->p->labels[j])
        return k->p->labels[j];
    snprintf(text, 32, "x%zu", j + 1);
    return text;
}

/* Ticks, texts and labels on the outer sides, boxes everywhere.  */
static void draw_axes(struct dfoi_canvas *c, const struct corner *k)
{
    size_t d = k->p->data.d;
    char text[32];
    double length = 0.3 * k->text;
    for (size_t row = 0; row < d; row++)
        for (size_t column = 0; column <= row; column++) {
            struct dfoi_frame f = panel(k, row, column);
            dfoi_frame_box(c, &f);
            if (row + 1 == d) {
                dfoi_frame_x_ticks(c, k->range[column], 0.98 * f.w, k->text, &f.ax);
                for (size_t i = 0; i < f.ax.n; i++) {
                    double x = dfoi_frame_px(&f, f.ax.tick[i]);
                    cairo_move_to(c->cr, floor(x) + 0.5, f.y + f.h);
                    cairo_line_to(c->cr, floor(x) + 0.5, f.y + f.h + length);
                    double half = 0.5 * dfoi_text_width(c, k->text, f.ax.text[i]),
                           edge = 0.3 * k->gap;
                    if (x - half >= f.x - edge &&
                        x + half <= f.x + f.w + edge) /* else into the next panel's */
                        dfoi_text(c, x, f.y + f.h + 0.6 * k->text, 0.5, 0, k->text, 0, 0,
                                  f.ax.text[i]);
                }
                dfoi_text(c, f.x + 0.5 * f.w, f.y + f.h + 2.1 * k->text, 0.5, 0, c->font, 0, f.w,
                          label_of(k, column, text));
            }
            if (column == 0 && row > 0) {
                dfoi_axis_set(&f.ay, k->range[row].low, k->range[row].high, 0,
                              (size_t)fmax(2, f.h / (3 * k->text)));
                for (size_t i = 0; i < f.ay.n; i++) {
                    double y = dfoi_frame_py(&f, f.ay.tick[i]);
                    cairo_move_to(c->cr, f.x, floor(y) + 0.5);
                    cairo_line_to(c->cr, f.x - length, floor(y) + 0.5);
                    if (y - 0.5 * k->text >= f.y - k->gap &&
                        y + 0.5 * k->text <= f.y + f.h + k->gap)
                        dfoi_text(c, f.x - 0.5 * k->text, y, 1, 0.5, k->text, 0, 0, f.ay.text[i]);
                }
                dfoi_text(c, 0.5 * c->font, f.y + 0.5 * f.h, 0.5, 0, c->font, 1, f.h,
                          label_of(k, row, text));
            }
            cairo_stroke(c->cr);
        }
}

static size_t finite_rows(const dfo_plot_points *s)
{
    size_t n = 0;
    for (size_t i = 0; i < s->n; i++) {
        double sum = 0;
        for (size_t j = 0; j < s->d; j++)
            sum += 0 * s->x[i * s->ld + j];
        n += isnan(sum) ? 0 : 1;
    }
    return n;
}

static void entry_text(const dfo_plot_points *s, const char *otherwise, char *text, size_t size)
{
    size_t left_out = s->n - finite_rows(s);
    const char *name = s->name ? s->name : otherwise;
    if (left_out)
        snprintf(text, size, "%s (%zu rows, %zu not finite)", name, s->n, left_out);
    else
        snprintf(text, size, "%s (%zu rows)", name, s->n);
}

/* Panels as large as texts leave room for.  */
static void place(struct dfoi_canvas *c, struct corner *k)
{
    size_t d = k->p->data.d;
    double widest = 0, font = c->font;
    k->text = 0.8 * font;
    for (size_t row = 1; row < d; row++) {
        struct dfoi_axis a;
        dfoi_axis_set(&a, k->range[row].low, k->range[row].high, 0, 4);
        for (size_t i = 0; i < a.n; i++)
            widest = fmax(widest, dfoi_text_width(c, k->text, a.text[i]));
    }
    k->gap = 0.5 * font;
    k->y = k->p->look.title ? 2.8 * font : 0.9 * font;
    k->x = d > 1 ? widest + 2.6 * font : 1.2 * font;
    double gaps = k->gap * (double)(d - 1);
    double w = (c->width - k->x - 0.9 * font - gaps) / (double)d;
    double h = (c->height - k->y - 3.3 * font - gaps) / (double)d;
    k->cell = floor(fmax(8, fmin(w, h)));
}

static dfo_status draw(struct dfoi_canvas *c, struct corner *k)
{
    const dfo_plot_corner *p = k->p;
    size_t d = p->data.d, entries = p->other.n ? 2 : 1;
    char text[2][200];
    struct dfoi_entry entry[2] = {{text[0], dfoi_series_colour(0), DFO_PLOT_LINE, 1},
                                  {text[1], dfoi_series_colour(1), DFO_PLOT_LINE, 0}};
    place(c, k);
    for (size_t row = 0; row < d; row++) {
        draw_diagonal(c, k, row);
        for (size_t column = 0; column < row; column++)
            DFO_TRY(draw_pair(c, k, row, column));
    }
    draw_axes(c, k);
    if (p->look.title)
        dfoi_text(c, 0.5 * c->width, 0.9 * c->font, 0.5, 0, 1.12 * c->font, 0,
                  c->width - 2 * c->font, p->look.title);
    entry_text(&p->data, "data", text[0], sizeof text[0]);
    entry_text(&p->other, "other", text[1], sizeof text[1]);
    struct dfoi_frame last = panel(k, 0, d - 1);
    if (d > 1) /* above the diagonal there is room */
        dfoi_legend(c, entries, entry, last.x + last.w, k->y, 1);
    else if (entries > 1)
        dfoi_legend(c, entries, entry, last.x + last.w - 0.6 * c->font, last.y + 0.6 * c->font, 1);
    return DFO_OK;
}

static dfo_status check(dfo_ctx *ctx, const dfo_plot_corner *p)
{
    const dfo_plot_points *sets[2] = {&p->data, &p->other};
    if (!p->data.n)
        return dfoi_fail(ctx, DFO_EARG, "corner plot: no rows to draw");
    if (!p->data.d || p->data.d > DFO_PLOT_MAX_COLUMNS)
        return dfoi_fail(ctx, DFO_EARG, "corner plot: from 1 to %d columns can be drawn, got %zu",
                         DFO_PLOT_MAX_COLUMNS, p->data.d);
    for (int s = 0; s < 2; s++) {
        if (sets[s]->n && sets[s]->d != p->data.d)
            return dfoi_fail(ctx, DFO_EARG, "corner plot: sets of %zu and of %zu columns",
                             p->data.d, sets[s]->d);
        if (sets[s]->n && (!sets[s]->x || sets[s]->ld < sets[s]->d))
            return dfoi_fail(ctx, DFO_EARG, "corner plot: rows of %zu columns lie %zu apart",
                             sets[s]->d, sets[s]->ld);
    }
    return DFO_OK;
}

dfo_status dfo_plot_corner_png(dfo_ctx *ctx, const dfo_plot_corner *corner, const char *path)
{
    struct dfoi_canvas c = {0};
    struct corner k = {.p = corner};
    dfo_status status;
    DFO_TRY(check(ctx, corner));
    DFO_GO(dfoi_alloc(ctx, SAMPLE, sizeof *k.memory, &k.memory));
    for (size_t j = 0; j < corner->data.d; j++)
        DFO_GO(set_range(ctx, &k, j));
    size_t side = 200 + (corner->data.d < 6 ? 200 : 150) * corner->data.d;
    DFO_GO(dfoi_canvas_new(ctx, &corner->look, side, side, &c));
    c.unit = fmax(0.7, fmin(c.width, c.height) /
                           (double)side); /* many panels do not need larger texts */
    c.font = fmax(11, 15 * c.unit);
    DFO_GO(draw(&c, &k));
    DFO_GO(dfoi_canvas_save(&c, path));
fail:
    dfoi_canvas_free(&c);
    dfoi_free(ctx, k.memory);
    return status;
}

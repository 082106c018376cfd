/* The frame of a picture: where data are drawn, axes with ticks and texts around it, legend.  */
#include <math.h>

#include "plot/canvas_impl.h"

#define INK 0x222222
#define SMALL 0.87 /* tick texts, of the font's size */

void dfoi_frame_x_ticks(struct dfoi_canvas *c, struct dfoi_range x, double w, double size,
                        struct dfoi_axis *axis)
{
    for (size_t target = (size_t)fmax(2, fmin(9, w / (4 * size)));; target--) {
        double widest = 0;
        dfoi_axis_set(axis, x.low, x.high, x.log, target);
        for (size_t i = 0; i < axis->n; i++)
            widest = fmax(widest, dfoi_text_width(c, size, axis->text[i]));
        if (target <= 1 || (double)axis->n * (widest + 0.9 * size) <= w)
            return;
    }
}

static double widest_text(struct dfoi_canvas *c, const struct dfoi_axis *axis, double size)
{
    double widest = 0;
    for (size_t i = 0; i < axis->n; i++)
        widest = fmax(widest, dfoi_text_width(c, size, axis->text[i]));
    return widest;
}

void dfoi_frame_place(struct dfoi_canvas *c, const dfo_plot_look *look, struct dfoi_range x,
                      struct dfoi_range y, double right, struct dfoi_frame *f)
{
    double font = c->font, small = SMALL * font;
    f->y = look->title ? 2.6 * font : 1.2 * font;
    double bottom = c->height - (look->x_label ? 3.7 : 2.0) * font;
    f->h = fmax(8, bottom - f->y);
    dfoi_axis_set(&f->ay, y.low, y.high, y.log, (size_t)fmax(2, fmin(9, f->h / (3.2 * small))));
    f->x = widest_text(c, &f->ay, small) + (look->y_label ? 3.3 : 1.7) * font;
    f->w = fmax(8, c->width - f->x - right - 1.5 * font);
    dfoi_frame_x_ticks(c, x, f->w, small, &f->ax);
}

double dfoi_frame_px(const struct dfoi_frame *f, double x)
{
    return f->x + f->w * dfoi_axis_place(&f->ax, x);
}

double dfoi_frame_py(const struct dfoi_frame *f, double y)
{
    return f->y + f->h * (1 - dfoi_axis_place(&f->ay, y));
}

/* The middle of a pixel, so that thin lines are crisp.  */
static double crisp(double p)
{
    return floor(p) + 0.5;
}

void dfoi_frame_grid(struct dfoi_canvas *c, const struct dfoi_frame *f)
{
    dfoi_colour(c, 0xe3e3e3, 1);
    cairo_set_line_width(c->cr, c->unit);
    for (size_t i = 0; i < f->ax.n; i++) {
        double x = crisp(dfoi_frame_px(f, f->ax.tick[i]));
        cairo_move_to(c->cr, x, f->y);
        cairo_line_to(c->cr, x, f->y + f->h);
    }
    for (size_t i = 0; i < f->ay.n; i++) {
        double y = crisp(dfoi_frame_py(f, f->ay.tick[i]));
        cairo_move_to(c->cr, f->x, y);
        cairo_line_to(c->cr, f->x + f->w, y);
    }
    cairo_stroke(c->cr);
}

void dfoi_frame_box(struct dfoi_canvas *c, const struct dfoi_frame *f)
{
    dfoi_colour(c, INK, 1);
    cairo_set_line_width(c->cr, fmax(1, c->unit));
    cairo_rectangle(c->cr, crisp(f->x), crisp(f->y), floor(f->w), floor(f->h));
    cairo_stroke(c->cr);
}

void dfoi_frame_clip(struct dfoi_canvas *c, const struct dfoi_frame *f)
{
    cairo_save(c->cr);
    cairo_rectangle(c->cr, f->x, f->y, f->w, f->h);
    cairo_clip(c->cr);
}

static void tick_marks(struct dfoi_canvas *c, const struct dfoi_frame *f)
{
    double length = 0.35 * c->font, foot = f->y + f->h;
    for (int minor = 0; minor < 2; minor++, length *= 0.55) {
        size_t nx = minor ? f->ax.minors : f->ax.n, ny = minor ? f->ay.minors : f->ay.n;
        for (size_t i = 0; i < nx; i++) {
            double x = crisp(dfoi_frame_px(f, minor ? f->ax.minor[i] : f->ax.tick[i]));
            cairo_move_to(c->cr, x, foot);
            cairo_line_to(c->cr, x, foot + length);
        }
        for (size_t i = 0; i < ny; i++) {
            double y = crisp(dfoi_frame_py(f, minor ? f->ay.minor[i] : f->ay.tick[i]));
            cairo_move_to(c->cr, f->x, y);
            cairo_line_to(c->cr, f->x - length, y);
        }
    }
    cairo_stroke(c->cr);
}

void dfoi_frame_axes(struct dfoi_canvas *c, const struct dfoi_frame *f, const dfo_plot_look *look)
{
    double font = c->font, small = SMALL * font, foot = f->y + f->h;
    dfoi_frame_box(c, f);
    tick_marks(c, f);
    for (size_t i = 0; i < f->ax.n; i++)
        dfoi_text(c, dfoi_frame_px(f, f->ax.tick[i]), foot + 0.65 * font, 0.5, 0, small, 0, 0,
                  f->ax.text[i]);
    for (size_t i = 0; i < f->ay.n; i++)
        dfoi_text(c, f->x - 0.6 * font, dfoi_frame_py(f, f->ay.tick[i]), 1, 0.5, small, 0, 0,
                  f->ay.text[i]);
    if (look->x_label)
        dfoi_text(c, f->x + 0.5 * f->w, c->height - 0.75 * font, 0.5, 1, font, 0, f->w,
                  look->x_label);
    if (look->y_label)
        dfoi_text(c, 0.6 * font, f->y + 0.5 * f->h, 0.5, 0, font, 1, f->h, look->y_label);
    double middle = f->x + 0.5 * f->w;
    if (look->title)
        dfoi_text(c, middle, 0.85 * font, 0.5, 0, 1.12 * font, 0,
                  2 * fmin(middle, c->width - middle) - font, look->title);
}

void dfoi_legend_size(struct dfoi_canvas *c, size_t n, const struct dfoi_entry *entry, double *w,
                      double *h)
{
    double font = SMALL * c->font;
    *w = 0;
    for (size_t i = 0; i < n; i++)
        *w = fmax(*w, dfoi_text_width(c, font, entry[i].name));
    *w += 3.8 * font;
    *h = (1.45 * (double)n + 0.5) * font;
}

static void legend_mark(struct dfoi_canvas *c, const struct dfoi_entry *e, double x, double y,
                        double font)
{
    const double dash[] = {5 * c->unit, 3.5 * c->unit};
    cairo_set_line_width(c->cr, 2 * c->unit);
    dfoi_colour(c, e->colour, 1);
    if (e->filled) {
        cairo_rectangle(c->cr, x + 0.4 * font, y - 0.4 * font, 1.2 * font, 0.8 * font);
        dfoi_colour(c, e->colour, 0.55);
        cairo_fill(c->cr);
        return;
    }
    if (e->style == DFO_PLOT_DOTS) {
        cairo_arc(c->cr, x + font, y, 0.22 * font, 0, 2 * M_PI);
        cairo_fill(c->cr);
        return;
    }
    if (e->style == DFO_PLOT_DASHED)
        cairo_set_dash(c->cr, dash, 2, 0);
    cairo_move_to(c->cr, x, y);
    cairo_line_to(c->cr, x + 2 * font, y);
    cairo_stroke(c->cr);
    cairo_set_dash(c->cr, NULL, 0, 0);
}

void dfoi_legend(struct dfoi_canvas *c, size_t n, const struct dfoi_entry *entry, double x,
                 double y, int corner)
{
    double w, h, font = SMALL * c->font;
    if (!n)
        return;
    dfoi_legend_size(c, n, entry, &w, &h);
    x -= corner & 1 ? w : 0;
    y -= corner & 2 ? h : 0;
    cairo_rectangle(c->cr, crisp(x), crisp(y), floor(w), floor(h));
    dfoi_colour(c, 0xffffff, 0.85);
    cairo_fill_preserve(c->cr);
    dfoi_colour(c, 0xbbbbbb, 1);
    cairo_set_line_width(c->cr, c->unit);
    cairo_stroke(c->cr);
    for (size_t i = 0; i < n; i++) {
        double middle = y + (1.45 * (double)i + 0.98) * font;
        legend_mark(c, &entry[i], x + 0.6 * font, middle, font);
        dfoi_colour(c, INK, 1);
        dfoi_text(c, x + 3.1 * font, middle, 0, 0.5, font, 0, 0, entry[i].name);
    }
}

/* What is drawn inside a frame: pixel blocks, contour lines, dots.  */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/ctx_impl.h"
#include "plot/canvas_impl.h"

#define MOST_DOTS 20000

dfo_status dfoi_paint(struct dfoi_canvas *c, size_t w, size_t h, const uint32_t *rgb, double x,
                      double y, double pw, double ph, int smooth)
{
    if (w > 16384 || h > 16384)
        return dfoi_fail(c->ctx, DFO_EARG, "picture: at most 16384 cells a side, got %zu x %zu", w,
                         h);
    cairo_surface_t *image = cairo_image_surface_create(CAIRO_FORMAT_RGB24, (int)w, (int)h);
    unsigned char *to = cairo_image_surface_get_data(image);
    if (cairo_surface_status(image) != CAIRO_STATUS_SUCCESS || !to) {
        cairo_surface_destroy(image);
        return dfoi_fail(c->ctx, DFO_EMEM, "out of memory: picture");
    }
    size_t stride = (size_t)cairo_image_surface_get_stride(image);
    cairo_surface_flush(image);
    for (size_t i = 0; i < h; i++)
        memcpy(to + i * stride, rgb + i * w, w * sizeof *rgb);
    cairo_surface_mark_dirty(image);
    cairo_save(c->cr);
    cairo_rectangle(c->cr, x, y, pw, ph);
    cairo_clip(c->cr);
    cairo_translate(c->cr, x, y);
    cairo_scale(c->cr, pw / (double)w, ph / (double)h);
    cairo_set_source_surface(c->cr, image, 0, 0);
    cairo_pattern_set_extend(cairo_get_source(c->cr), CAIRO_EXTEND_PAD);
    cairo_pattern_set_filter(cairo_get_source(c->cr),
                             smooth ? CAIRO_FILTER_BILINEAR : CAIRO_FILTER_NEAREST);
    cairo_paint(c->cr);
    cairo_restore(c->cr);
    cairo_surface_destroy(image);
    return DFO_OK;
}

/* Marching squares: in the square between four middles, the sides that the level crosses are joined
 * in pairs. Corners run around: (0,0), (1,0), (1,1), (0,1); side s is from corner s to the next.  A
 * saddle is joined by the value in its middle.  */
static void square(struct dfoi_canvas *c, double x, double y, double dx, double dy,
                   const double v[4], double level)
{
    static const double cx[4] = {0, 1, 1, 0}, cy[4] = {0, 0, 1, 1};
    double px[4], py[4];
    int n = 0;
    for (int s = 0; s < 4; s++) {
        int e = (s + 1) % 4;
        if ((v[s] >= level) == (v[e] >= level))
            continue;
        double t = (level - v[s]) / (v[e] - v[s]);
        px[n] = x + dx * (cx[s] + t * (cx[e] - cx[s]));
        py[n] = y + dy * (cy[s] + t * (cy[e] - cy[s]));
        n++;
    }
    int first = 0;
    if (n == 4 && (v[0] >= level) != (0.25 * (v[0] + v[1] + v[2] + v[3]) >= level))
        first = 1; /* the middle belongs to corners 1 and 3: cut off 0 and 2 */
    for (int k = 0; k + 1 < n; k += 2) {
        int a = (first + k) % n, b = (first + k + 1) % n;
        cairo_move_to(c->cr, px[a], py[a]);
        cairo_line_to(c->cr, px[b], py[b]);
    }
}

void dfoi_contour(struct dfoi_canvas *c, const struct dfoi_frame *f, size_t nx, size_t ny,
                  const double *value, double level)
{
    double dx = f->w / (double)nx, dy = f->h / (double)ny;
    for (size_t j = 0; j + 1 < ny; j++)
        for (size_t i = 0; i + 1 < nx; i++) {
            const double *low = value + j * nx + i, *high = low + nx;
            const double v[4] = {low[0], low[1], high[1], high[0]};
            if (isfinite(v[0] + v[1] + v[2] + v[3]))
                square(c, f->x + ((double)i + 0.5) * dx, f->y + f->h - ((double)j + 0.5) * dy, dx,
                       -dy, v, level);
        }
}

static int falling(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x < y) - (x > y);
}

dfo_status dfoi_mass_level(dfo_ctx *ctx, size_t n, const double *value, double share, double *level)
{
    double *sorted, total = 0, sum = 0;
    size_t m = 0;
    *level = NAN;
    DFO_TRY(dfoi_alloc(ctx, n, sizeof *sorted, &sorted));
    for (size_t i = 0; i < n; i++)
        if (isfinite(value[i]) && value[i] > 0) {
            sorted[m++] = value[i];
            total += value[i];
        }
    qsort(sorted, m, sizeof *sorted, falling);
    for (size_t i = 0; i < m; i++) {
        sum += sorted[i];
        *level = sorted[i];
        if (sum >= share * total)
            break;
    }
    dfoi_free(ctx, sorted);
    return DFO_OK;
}

void dfoi_dots(struct dfoi_canvas *c, const struct dfoi_frame *f, const dfo_plot_points *p,
               size_t i, size_t j, double r)
{
    size_t every = 1 + (p->n - 1) / MOST_DOTS;
    for (size_t row = 0; row < p->n; row += every) {
        double x = p->x[row * p->ld + i], y = p->x[row * p->ld + j];
        if (!isfinite(x) || !isfinite(y) || x < f->ax.low || x > f->ax.high || y < f->ay.low ||
            y > f->ay.high)
            continue;
        cairo_new_sub_path(c->cr);
        cairo_arc(c->cr, dfoi_frame_px(f, x), dfoi_frame_py(f, y), r, 0, 2 * M_PI);
        cairo_fill(c->cr);
    }
}

/* A picture on cairo's image surface: begun, written to, saved through our own files.  */
#include <math.h>
#include <string.h>

#include "base/ctx_impl.h"
#include "base/file_impl.h"
#include "plot/canvas_impl.h"

#define TEXT_BYTES 256
#define LEAST_SIZE 100
#define LARGEST_SIZE 10000

static dfo_status cairo_failed(dfo_ctx *ctx, cairo_status_t status)
{
    if (status == CAIRO_STATUS_NO_MEMORY)
        return dfoi_fail(ctx, DFO_EMEM, "out of memory: picture");
    return dfoi_fail(ctx, DFO_EUNSUP, "picture: %s", cairo_status_to_string(status));
}

static dfo_status size_of(dfo_ctx *ctx, const char *what, size_t asked, size_t otherwise,
                          size_t *out)
{
    *out = asked ? asked : otherwise;
    if (*out < LEAST_SIZE || *out > LARGEST_SIZE)
        return dfoi_fail(ctx, DFO_EARG, "%s of the picture must be from %d to %d, got %zu", what,
                         LEAST_SIZE, LARGEST_SIZE, *out);
    return DFO_OK;
}

dfo_status dfoi_canvas_new(dfo_ctx *ctx, const dfo_plot_look *look, size_t width, size_t height,
                           struct dfoi_canvas *c)
{
    memset(c, 0, sizeof *c);
    DFO_TRY(size_of(ctx, "width", look->width, width, &width));
    DFO_TRY(size_of(ctx, "height", look->height, height, &height));
    c->ctx = ctx;
    c->width = (double)width;
    c->height = (double)height;
    c->unit = fmax(0.7, fmin(c->width / 800, c->height / 600));
    c->font = fmax(11, 15 * c->unit);
    c->surface = cairo_image_surface_create(CAIRO_FORMAT_RGB24, (int)width, (int)height);
    c->cr = cairo_create(c->surface);
    if (cairo_status(c->cr) != CAIRO_STATUS_SUCCESS) {
        dfo_status status = cairo_failed(ctx, cairo_status(c->cr));
        dfoi_canvas_free(c);
        return status;
    }
    dfoi_colour(c, 0xffffff, 1);
    cairo_paint(c->cr);
    cairo_select_font_face(c->cr, "sans-serif", CAIRO_FONT_SLANT_NORMAL, CAIRO_FONT_WEIGHT_NORMAL);
    cairo_set_line_join(c->cr, CAIRO_LINE_JOIN_ROUND);
    return DFO_OK;
}

void dfoi_canvas_free(struct dfoi_canvas *c)
{
    if (c->cr)
        cairo_destroy(c->cr);
    if (c->surface)
        cairo_surface_destroy(c->surface);
    c->cr = NULL;
    c->surface = NULL;
}

struct stream {
    dfo_file *file;
    dfo_status status;
};

static cairo_status_t write_stream(void *data, const unsigned char *bytes, unsigned n)
{
    struct stream *s = data;
    s->status = dfoi_file_write(s->file, bytes, n);
    return s->status == DFO_OK ? CAIRO_STATUS_SUCCESS : CAIRO_STATUS_WRITE_ERROR;
}

dfo_status dfoi_canvas_save(struct dfoi_canvas *c, const char *path)
{
    struct stream s = {0};
    dfo_status status = DFO_OK;
    cairo_status_t drawn = cairo_status(c->cr);
    if (drawn != CAIRO_STATUS_SUCCESS)
        return cairo_failed(c->ctx, drawn);
    DFO_GO(dfoi_file_create(c->ctx, path, &s.file));
    drawn = cairo_surface_write_to_png_stream(c->surface, write_stream, &s);
    DFO_GO(s.status); /* the file's own message */
    if (drawn != CAIRO_STATUS_SUCCESS)
        DFO_GO(cairo_failed(c->ctx, drawn));
    DFO_GO(dfoi_file_commit(s.file));
fail:
    dfoi_file_free(s.file);
    return status;
}

void dfoi_colour(struct dfoi_canvas *c, uint32_t rgb, double alpha)
{
    cairo_set_source_rgba(c->cr, (rgb >> 16 & 255) / 255.0, (rgb >> 8 & 255) / 255.0,
                          (rgb & 255) / 255.0, alpha);
}

/* The length of the UTF-8 character at s, 0 if it is none.  */
static size_t character(const unsigned char *s)
{
    size_t n = s[0] < 0x80                   ? 1
               : s[0] >= 0xc2 && s[0] < 0xe0 ? 2
               : (s[0] & 0xf0) == 0xe0       ? 3
               : (s[0] & 0xf8) == 0xf0       ? 4
                                             : 0;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    if ((n == 3 && ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f))) ||
        (n == 4 && ((s[0] == 0xf0 && s[1] < 0x90) || s[0] > 0xf4 || (s[0] == 0xf4 && s[1] > 0x8f))))
        return 0; /* too long for its value, or no character */
    return n;
}

/* A copy that cairo accepts: what is no UTF-8 or a control character becomes '?'.  */
static void clean(const char *text, char out[TEXT_BYTES])
{
    const unsigned char *s = (const unsigned char *)text;
    size_t used = 0;
    while (*s) {
        size_t n = character(s);
        if (used + (n ? n : 1) >= TEXT_BYTES)
            break;
        if (!n || s[0] < 0x20) {
            out[used++] = '?';
            s++;
            continue;
        }
        memcpy(out + used, s, n);
        used += n;
        s += n;
    }
    out[used] = 0;
}

static double advance(struct dfoi_canvas *c, const char *text)
{
    cairo_text_extents_t e;
    cairo_text_extents(c->cr, text, &e);
    return e.x_advance;
}

double dfoi_text_width(struct dfoi_canvas *c, double size, const char *text)
{
    char own[TEXT_BYTES];
    clean(text, own);
    cairo_set_font_size(c->cr, size);
    return advance(c, own);
}

/* Drops characters from the end until the text, with dots behind it, has room.  */
static void cut(struct dfoi_canvas *c, double room, char text[TEXT_BYTES])
{
    size_t n = strlen(text);
    if (room == 0 || advance(c, text) <= room)
        return;
    if (n > TEXT_BYTES - 4)
        n = TEXT_BYTES - 4;
    while (n) {
        do
            n--;
        while (n && ((unsigned char)text[n] & 0xc0) == 0x80);
        memcpy(text + n, "\xe2\x80\xa6", 4);
        if (advance(c, text) <= room)
            return;
    }
}

void dfoi_text(struct dfoi_canvas *c, double x, double y, double h, double v, double size, int up,
               double room, const char *text)
{
    char own[TEXT_BYTES];
    cairo_font_extents_t f;
    clean(text, own);
    cairo_save(c->cr);
    cairo_set_font_size(c->cr, size);
    cut(c, room, own);
    cairo_font_extents(c->cr, &f);
    cairo_translate(c->cr, x, y);
    if (up)
        cairo_rotate(c->cr, -M_PI / 2);
    /* capitals are about 0.73 of the size high: v measures from their top to the line they stand on
     */
    cairo_move_to(c->cr, -h * advance(c, own),
                  0.73 * size * (1 - v) - 0.25 * f.descent * (v > 0.9));
    cairo_show_text(c->cr, own);
    cairo_restore(c->cr);
}

int dfo_plot_available(void)
{
    return 1;
}

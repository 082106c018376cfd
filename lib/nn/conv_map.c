/* Rows of images to maps and back: runs of pixels of one image, channel by channel.  */
#include <string.h>

#include "math/kern_impl.h"
#include "nn/conv_impl.h"

/* Columns j .. j+n-1 of a panel, pixels at .. of one image; n = 0 behind the last image.  */
struct piece {
    size_t j, n, image, at;
};

static int next(dfoi_images images, size_t plane, size_t panel, struct piece *p)
{
    p->j += p->n;
    if (p->j == DFO_PANEL)
        return 0;
    size_t q = panel * DFO_PANEL + p->j, left = DFO_PANEL - p->j;
    p->image = q / plane;
    p->at = q % plane;
    p->n = plane - p->at < left ? plane - p->at : left;
    return p->image < images.n;
}

void dfoi_map_from_rows(dfoi_images images, size_t c, size_t h, size_t w, const dfo_real *rows,
                        size_t ld, size_t first, dfoi_map map)
{
    size_t plane = h * w, panels = dfoi_panels(images.n, h, w);
    for (size_t p = 0; p < panels; p++) {
        dfo_real *to = dfoi_map_panel(map, p) + first * DFO_PANEL;
        struct piece piece = {0};
        if (!rows || p + 1 == panels)
            memset(to, 0, c * DFO_PANEL * sizeof *to);
        while (rows && next(images, plane, p, &piece)) {
            const dfo_real *from = rows + (images.first + piece.image) * ld + piece.at;
            for (size_t k = 0; k < c; k++)
                memcpy(to + k * DFO_PANEL + piece.j, from + k * plane, piece.n * sizeof *to);
        }
    }
}

void dfoi_map_to_rows(dfoi_images images, size_t c, size_t h, size_t w, dfoi_map map, size_t first,
                      int adding, dfo_real *rows, size_t ld)
{
    size_t plane = h * w, panels = dfoi_panels(images.n, h, w);
    for (size_t p = 0; p < panels; p++) {
        const dfo_real *from = dfoi_map_panel(map, p) + first * DFO_PANEL;
        struct piece piece = {0};
        while (next(images, plane, p, &piece)) {
            dfo_real *to = rows + (images.first + piece.image) * ld + piece.at;
            for (size_t k = 0; k < c; k++) {
                const dfo_real *x = from + k * DFO_PANEL + piece.j;
                if (adding)
                    dfoi_add(piece.n, x, to + k * plane);
                else
                    memcpy(to + k * plane, x, piece.n * sizeof *to);
            }
        }
    }
}

/* Pixels of image i, channel by channel, are added one by one, in eight sums in turn: the order
 * does not depend on where the image lies.  */
enum { SUMS = 8 };

void dfoi_map_add_images(size_t n, size_t first, size_t count, size_t plane, size_t channels,
                         const dfo_real *values, dfoi_map map)
{
    for (size_t p = first * plane / DFO_PANEL; p * DFO_PANEL < (first + count) * plane; p++) {
        struct piece piece = {0};
        while (next((dfoi_images){0, n}, plane, p, &piece)) {
            dfo_real *to = dfoi_map_panel(map, p) + piece.j;
            if (piece.image < first || piece.image >= first + count)
                continue;
            for (size_t c = 0; c < channels; c++) {
                dfo_real v = values[c * DFO_PANEL + piece.image - first];
                for (size_t j = 0; j < piece.n; j++)
                    to[c * DFO_PANEL + j] += v;
            }
        }
    }
}

void dfoi_map_sum_images(size_t first, size_t count, size_t plane, size_t channels, dfoi_map map,
                         dfo_real *sums)
{
    memset(sums, 0, channels * DFO_PANEL * sizeof *sums);
    for (size_t i = 0; i < count; i++)
        for (size_t c = 0; c < channels; c++) {
            double sum[SUMS] = {0}, total = 0;
            size_t q = (first + i) * plane;
            for (size_t at = 0; at < plane; at++, q++)
                sum[at % SUMS] +=
                    (double)dfoi_map_panel(map, q / DFO_PANEL)[c * DFO_PANEL + q % DFO_PANEL];
            for (size_t s = 0; s < SUMS; s++)
                total += sum[s];
            sums[c * DFO_PANEL + i] = (dfo_real)total;
        }
}

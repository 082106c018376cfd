/* Vectors and images to panels of 64 columns and back (see channels_impl.h).  A row of a vector is
 * one column; a row of an image is h w of them, and a panel may reach over several images.  */
#include <string.h>

#include "channels_impl.h"

/* The piece of a panel that lies in one image.  */
struct piece {
    size_t row, pixel, n;              /* n pixels of that row */
    size_t at;                         /* where they stand in the panel */
};

static int next_piece(size_t plane, size_t first, size_t n, struct piece *p)
{
    p->at += p->n;
    if (p->at >= n)
        return 0;
    p->row = (first + p->at) / plane;
    p->pixel = (first + p->at) % plane;
    size_t left = plane - p->pixel;
    p->n = left < n - p->at ? left : n - p->at;
    return 1;
}

void dfoi_columns_to_panel(const dfo_bijector *bij, dfo_batch x, size_t first, size_t n,
                           int zero_tail, dfo_real *panel)
{
    size_t c = bij->shape.c, plane = dfoi_plane(bij);
    if (plane == 1) {
        dfoi_to_panel(n, c, dfo_row(x, first), x.ld, NULL, zero_tail, panel);
        return;
    }
    struct piece p = {0};
    while (next_piece(plane, first, n, &p))
        for (size_t j = 0; j < c; j++)
            memcpy(panel + j * DFO_PANEL + p.at, dfo_row(x, p.row) + j * plane + p.pixel,
                   p.n * sizeof *panel);
    for (size_t j = 0; j < c && n < DFO_PANEL; j++) {
        dfo_real *row = panel + j * DFO_PANEL, fill = zero_tail ? 0 : row[n - 1];
        for (size_t i = n; i < DFO_PANEL; i++)
            row[i] = fill;
    }
}

void dfoi_columns_from_panel(const dfo_bijector *bij, const dfo_real *panel, size_t first, size_t n,
                             dfo_batch x)
{
    size_t c = bij->shape.c, plane = dfoi_plane(bij);
    if (plane == 1) {
        dfoi_from_panel(n, c, panel, NULL, dfo_row(x, first), x.ld);
        return;
    }
    struct piece p = {0};
    while (next_piece(plane, first, n, &p))
        for (size_t j = 0; j < c; j++)
            memcpy(dfo_row(x, p.row) + j * plane + p.pixel, panel + j * DFO_PANEL + p.at,
                   p.n * sizeof *panel);
}

void dfoi_columns_add(const dfo_bijector *bij, const dfo_real *value, size_t first, size_t n,
                      double *logdet)
{
    size_t plane = dfoi_plane(bij);
    for (size_t i = 0; logdet && i < n; i++)
        logdet[(first + i) / plane] += (double)value[i];
}

void dfoi_columns_glogdet(const dfo_bijector *bij, const double *glogdet, size_t first, size_t n,
                          dfo_real *value)
{
    size_t plane = dfoi_plane(bij);
    for (size_t i = 0; i < DFO_PANEL; i++)
        value[i] = i < n ? (dfo_real)glogdet[(first + i) / plane] : 0;
}

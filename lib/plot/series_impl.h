/* Curves in a frame, for pictures that have some.  Private.  */
#ifndef DFOI_PLOT_SERIES_IMPL_H
#define DFOI_PLOT_SERIES_IMPL_H

#include "plot/canvas_impl.h"

/* Draws the k-th of the series' colours.  */
void dfoi_series_draw(struct dfoi_canvas *c, const struct dfoi_frame *f, const dfo_plot_series *s,
                      uint32_t colour);

/* The x at point i.  */
static inline double dfoi_series_x(const dfo_plot_series *s, size_t i)
{
    return s->x ? s->x[i] : (double)i;
}

/* Widens the range of x by the series' finite points; *any tells whether there was one before.  */
void dfoi_series_x_range(const dfo_plot_series *s, int log, double *low, double *high, int *any);

/* Puts a legend into the corner where the fewest points of the series lie.  */
dfo_status dfoi_series_legend(struct dfoi_canvas *c, const struct dfoi_frame *f,
                              const dfo_plot_series *s, size_t n, size_t entries,
                              const struct dfoi_entry *entry);

#endif

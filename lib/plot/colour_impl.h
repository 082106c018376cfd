/* Colours.  Private.  */
#ifndef DFOI_PLOT_COLOUR_IMPL_H
#define DFOI_PLOT_COLOUR_IMPL_H

#include <stddef.h>
#include <stdint.h>

/* 0x00RRGGBB at t in 0..1 (clamped; NaN is gray): viridis, dark violet to yellow.  */
uint32_t dfoi_viridis(double t);

/* White to a colour.  */
uint32_t dfoi_tint(double t, uint32_t full);

/* The i-th of seven colours that colour-blind people tell apart (Okabe and Ito 2008), repeating. */
uint32_t dfoi_series_colour(size_t i);

#endif

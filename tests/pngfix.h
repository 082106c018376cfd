/* PNG files of every kind, written by libpng itself, for the tests of our reader.  */
#ifndef DIFFEO_TESTS_PNGFIX_H
#define DIFFEO_TESTS_PNGFIX_H

#include <png.h>
#include <stdio.h>
#include <stdlib.h>

#include "util.h"

typedef struct png_kind {
    size_t w, h;
    int bits, type, interlaced, transparent;
} png_kind;

/* The packed rows as they are in the file (16 bits: big-endian).  libpng aborts where it is misused.  */
static inline void png_make(const char *path, const png_kind *k, const unsigned char *rows, size_t stride)
{
    FILE *f = fopen(path, "wb");
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png_create_info_struct(png);
    ck_assert(f && png && info);
    png_init_io(png, f);
    png_set_IHDR(png, info, (png_uint_32)k->w, (png_uint_32)k->h, k->bits, k->type,
                 k->interlaced ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_color colour[4] = {{1, 2, 3}, {40, 50, 60}, {255, 0, 128}, {7, 77, 177}};
    if (k->type == PNG_COLOR_TYPE_PALETTE)
        png_set_PLTE(png, info, colour, 4);
    unsigned char alpha[1] = {9};
    png_color_16 gray = {.gray = 1};
    if (k->transparent && k->type == PNG_COLOR_TYPE_PALETTE)
        png_set_tRNS(png, info, alpha, 1, NULL);
    else if (k->transparent)
        png_set_tRNS(png, info, NULL, 0, &gray);
    png_write_info(png, info);
    int passes = png_set_interlace_handling(png);
    for (int p = 0; p < passes; p++)
        for (size_t y = 0; y < k->h; y++)
            png_write_row(png, (png_bytep)(uintptr_t)(rows + y * stride));
    png_write_end(png, NULL);
    png_destroy_write_struct(&png, &info);
    ck_assert_int_eq(fclose(f), 0);
}

/* A picture of random values; rows in memory of its own, freed by free.  */
static inline unsigned char *png_random(const char *path, const png_kind *k, test_rng *rng, size_t *stride)
{
    size_t channels = k->type == PNG_COLOR_TYPE_RGB          ? 3
                      : k->type == PNG_COLOR_TYPE_RGB_ALPHA  ? 4
                      : k->type == PNG_COLOR_TYPE_GRAY_ALPHA ? 2
                                                             : 1;
    *stride = (k->w * channels * (size_t)k->bits + 7) / 8;
    unsigned char *rows = malloc(*stride * k->h);
    ck_assert_ptr_nonnull(rows);
    for (size_t i = 0; i < *stride * k->h; i++)
        rows[i] = (unsigned char)(test_rng_next(rng) >> 40);
    if (k->type == PNG_COLOR_TYPE_PALETTE)
        for (size_t i = 0; i < *stride * k->h; i++)
            rows[i] &= k->bits == 8 ? 3 : 0xff;              /* four colours */
    png_make(path, k, rows, *stride);
    return rows;
}

#endif

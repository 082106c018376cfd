/* Convolutions over maps (conv_kern_impl.h): panels of 64 pixels of a block of images.  Private. */
#ifndef DFOI_CONV_IMPL_H
#define DFOI_CONV_IMPL_H

#include <jansson.h>
#include <diffeo/net.h>
#include "base/real_impl.h"
#include "math/gemm_impl.h"
#include "nn/conv_kern_impl.h"
#include "nn/unit_impl.h"

#define DFOI_CONV_KERNEL 15              /* widest kernel */
#define DFOI_CONV_SIDE ((size_t)1 << 20) /* longest side of an image */
#define DFOI_CONV_VALUES ((size_t)1 << 36) /* most values of an image: channels, taps, pixels */
#define DFOI_CONV_COLUMNS 256 /* pixels of a block, about: its maps stay in the second cache */

/* One convolution, zero padding; see conv_layer.c.  */
typedef struct dfoi_conv {
    size_t in, out; /* channels */
    size_t kernel, stride, pad;
    int transposed;
    int bias;
    int scatter; /* 1: the product first, then its taps are summed */
    int winograd; /* 1: see conv_winograd.c */
    size_t in_h, in_w, out_h, out_w;
    size_t w, b; /* offsets in the store: (out, kernel, kernel, in), (out) */
    size_t m, k; /* the product's matrix, as the weights lie */
} dfoi_conv;

/* Images of a call that go through a net together.  */
typedef struct dfoi_images {
    size_t first, n;
} dfoi_images;

/* What convolutions need to work: columns of taps, scratch of products and sums.  */
typedef struct dfoi_conv_room {
    dfo_real *columns, *scratch;
} dfoi_conv_room;

/* Panels of n images of h w pixels.  */
static inline size_t dfoi_panels(size_t n, size_t h, size_t w)
{
    return (n * h * w + DFO_PANEL - 1) / DFO_PANEL;
}

/* How many images a block has: about DFOI_CONV_COLUMNS pixels (at the finest resolution), and
 * little of its panels empty.  */
size_t dfoi_conv_block(size_t h, size_t w);

/* Completes a convolution whose channels, kernel, stride, sides (in_h, in_w) and switches are set:
 * output's sides, pad, form; adds its weights w_name and b_name to the store, drawn as PyTorch
 * does, or from [-bound, bound] if bound >= 0.  DFO_ESHAPE, DFO_EMEM.  */
dfo_status dfoi_conv_new(dfo_build *build, const char *w_name, const char *b_name, double bound,
                         dfoi_conv *conv);

/* Reals of a room's `columns` and `scratch` for n images.  */
size_t dfoi_conv_columns(const dfoi_conv *conv, size_t n);
size_t dfoi_conv_scratch(const dfoi_conv *conv);

/* y = act(W * x + b) [+ residual], n images; act: none, relu or leaky relu.  bias = 0: without b
 * (tangents), and then * (mask > 0) [+ residual] as dfoi_gemm_back.  residual.x, mask.x: or NULL.
 */
void dfoi_conv_forward(const dfoi_conv *conv, const dfo_run *run, size_t n, dfoi_map x,
                       dfoi_act act, dfoi_map residual, const dfoi_conv_room *room, dfoi_map y);
void dfoi_conv_tangent(const dfoi_conv *conv, const dfo_run *run, size_t n, dfoi_map dx,
                       dfoi_map mask, dfoi_map add, const dfoi_conv_room *room, dfoi_map dy);

/* gx = (W^T gy) [* (mask > 0)] [+ add], unless gx.x is NULL; adds gradients of the weights, and of
 * the bias where `bias` is set, to run->grads, unless that is NULL.  gx = add is fine.  */
void dfoi_conv_backward(const dfoi_conv *conv, const dfo_run *run, size_t n, dfoi_map gy,
                        dfoi_map x, int bias, dfoi_map mask, dfoi_map add,
                        const dfoi_conv_room *room, dfoi_map gx);

/* The same by Winograd's minimal filtering, for convolutions that fit: reals of the room's `columns`, y = act(W * x + b) [* (mask > 0)] [+ add] (b NULL:
 * none; act as above), and gradients without that of the bias.  gx may be add.  */
int dfoi_winograd_fits(const dfoi_conv *conv);
size_t dfoi_winograd_columns(const dfoi_conv *conv, size_t n);
void dfoi_winograd_forward(const dfoi_conv *conv, const dfo_run *run, size_t n, dfoi_map x,
                           const dfo_real *b, dfoi_act act, dfoi_map mask, dfoi_map add,
                           const dfoi_conv_room *room, dfoi_map y);
void dfoi_winograd_backward(const dfoi_conv *conv, const dfo_run *run, size_t n, dfoi_map gy,
                            dfoi_map x, dfoi_map mask, dfoi_map add, const dfoi_conv_room *room,
                            dfoi_map gx);

/* Panels of a map one after the other.  */
static inline dfoi_map dfoi_map_of(dfo_real *x, size_t channels)
{
    dfoi_map map = {x, channels * DFO_PANEL};
    return map;
}

static inline dfo_real *dfoi_map_panel(dfoi_map map, size_t panel)
{
    return map.x ? map.x + panel * map.stride : NULL;
}

/* Images of `rows` (c planes of h w pixels each) to channels first .. first+c-1 of a map, and their
 * sum back to them; the map's last columns become zeros.  rows.x = NULL: zeros.  */
void dfoi_map_from_rows(dfoi_images images, size_t c, size_t h, size_t w, const dfo_real *rows,
                        size_t ld, size_t first, dfoi_map map);
void dfoi_map_to_rows(dfoi_images images, size_t c, size_t h, size_t w, dfoi_map map, size_t first,
                      int adding, dfo_real *rows, size_t ld);

/* Values of images, (channels, 64), to the pixels of images first .. first+count-1 (count <= 64) of
 * a map of n: added; and the sums over each image's pixels.  */
void dfoi_map_add_images(size_t n, size_t first, size_t count, size_t plane, size_t channels,
                         const dfo_real *values, dfoi_map map);
void dfoi_map_sum_images(size_t first, size_t count, size_t plane, size_t channels, dfoi_map map,
                         dfo_real *sums);

typedef struct dfoi_map_pair {
    dfoi_map x, dx;
} dfoi_map_pair;

/* The pixels of a block of images.  */
typedef struct dfoi_area {
    size_t panels;
    size_t images, plane; /* images of `plane` pixels */
    size_t first;         /* image of the call */
} dfoi_area;

/* A unit (unit_impl.h) over a map: norm, activation, dropout.  Normalisation is over the channels
 * of a pixel, unit.norm, or over the pixels of a channel, batch.  */
typedef struct dfoi_conv_unit {
    dfoi_unit unit;
    int batch;
    size_t mean, var;  /* running statistics: offsets of buffers, (width) each */
    size_t statistics; /* offset of a step's statistics in those of the net */
} dfoi_conv_unit;

/* Names of normalisations in configurations.  */
typedef enum dfoi_conv_norm { DFOI_NORM_NONE, DFOI_NORM_LAYER, DFOI_NORM_BATCH } dfoi_conv_norm;
dfo_status dfoi_conv_read_norm(dfo_ctx *ctx, const json_t *config, dfoi_conv_norm fallback,
                               dfoi_conv_norm *norm);
const char *dfoi_conv_norm_name(dfoi_conv_norm norm);

/* Makes a unit in front of a convolution whose weights begin at offset w of the store; its own are
 * called prefix + scale, shift, mean, var + number.  *statistics grows.  */
dfo_status dfoi_conv_unit_new(dfo_build *build, const char *prefix, size_t number, size_t width,
                              dfoi_conv_norm norm, dfoi_act act, double dropout, size_t w,
                              size_t *statistics, dfoi_conv_unit *unit);

/* As dfoi_unit_..., with maps for panels; a room's members are maps of `width` channels.  keep
 * holds dfoi_conv_unit_keep() reals (with tangents twice that).  Draws of dropout belong to the row
 * and the pixel, whatever the block.  */
size_t dfoi_conv_unit_keep(const dfoi_conv_unit *unit, size_t panels);
int dfoi_conv_unit_fused(const dfoi_conv_unit *unit);
dfoi_map dfoi_conv_unit_target(const dfoi_conv_unit *unit, dfoi_area area,
                               const dfoi_unit_room *room, dfo_real *keep);
dfoi_map dfoi_conv_unit_forward(const dfoi_conv_unit *unit, const dfo_run *run, dfoi_area area,
                                dfoi_map x, int done, const dfoi_unit_room *room, dfo_real *keep);
dfoi_map dfoi_conv_unit_output(const dfoi_conv_unit *unit, const dfo_run *run, dfoi_area area,
                               const dfoi_unit_room *room, const dfo_real *keep);
dfoi_map dfoi_conv_unit_gate(const dfoi_conv_unit *unit, const dfo_run *run, dfoi_area area,
                             const dfo_real *keep, int tangents);
void dfoi_conv_unit_backward(const dfoi_conv_unit *unit, const dfo_run *run, dfoi_area area,
                             const dfoi_unit_room *room, int gated, const dfo_real *keep,
                             dfoi_map g);

dfoi_map_pair dfoi_conv_unit_jvp_target(const dfoi_conv_unit *unit, dfoi_area area,
                                        const dfoi_unit_room *room, dfo_real *keep);
dfoi_map_pair dfoi_conv_unit_jvp(const dfoi_conv_unit *unit, const dfo_run *run, dfoi_area area,
                                 dfoi_map_pair x, int done, const dfoi_unit_room *room,
                                 dfo_real *keep);
dfoi_map_pair dfoi_conv_unit_jvp_output(const dfoi_conv_unit *unit, const dfo_run *run,
                                        dfoi_area area, const dfoi_unit_room *room,
                                        const dfo_real *keep);
void dfoi_conv_unit_jvp_backward(const dfoi_conv_unit *unit, const dfo_run *run, dfoi_area area,
                                 const dfoi_unit_room *room, int gated, const dfo_real *keep,
                                 dfoi_map_pair g);

/* Batch normalisation, see batch_norm.c.  keep: NULL, or dfoi_batch_keep() reals (with tangents
 * twice that); y may be x.  Backward adds the call's statistics to run->gderived, if there is one.
 */
size_t dfoi_batch_keep(const dfoi_conv_unit *unit, size_t panels);
void dfoi_batch_forward(const dfoi_conv_unit *unit, const dfo_run *run, dfoi_area area, dfoi_map x,
                        dfoi_map y, dfo_real *keep);
void dfoi_batch_backward(const dfoi_conv_unit *unit, const dfo_run *run, dfoi_area area,
                         const dfo_real *keep, dfoi_map g);
void dfoi_batch_jvp(const dfoi_conv_unit *unit, const dfo_run *run, dfoi_area area, dfoi_map_pair x,
                    dfoi_map_pair y, dfo_real *keep);
void dfoi_batch_jvp_backward(const dfoi_conv_unit *unit, const dfo_run *run, dfoi_area area,
                             const dfo_real *keep, dfoi_map_pair g);
/* Reals of a step's statistics; and what becomes of them: run->gderived to run->new_buffers, for
 * units with batch.  */
size_t dfoi_batch_statistics(size_t width);
void dfoi_batch_update(const dfoi_conv_unit *unit, const dfo_run *run);

#endif

/* Kernels of 3x3 convolutions by Winograd's minimal filtering F(2x2, 3x3), compiled per instruction set (math/isa_impl.h),
 * same bits at every level.  Called as DFOI_WINOGRAD_KERN->split(...).  Private.
 *
 * An image of even sides is tiles of 2x2 results; tile t = (i h/2 + ty) w/2 + tx of image i.  Each needs the 4x4 pixels around
 * it.  With d those, g the kernel and
 *
 *   B^T = ( 1  0 -1  0 )    G = (  1    0   0  )    A^T = ( 1  1  1  0 )
 *         ( 0  1  1  0 )        ( 1/2  1/2 1/2 )          ( 0  1 -1 -1 )
 *         ( 0 -1  1  0 )        ( 1/2 -1/2 1/2 )
 *         ( 0  1  0 -1 )        (  0    0   1  )
 *
 * the results are A^T [(G g G^T) o (B^T d B)] A: 16 products in place of 36 (Lavin and Gray 2016, section 4.1).  Place k = 4 i + j of the
 * 4x4 numbers of all channels and 64 tiles is a panel (channels, 64); the places of panels and of weights are a little apart.  */
#ifndef DFOI_WINOGRAD_KERN_IMPL_H
#define DFOI_WINOGRAD_KERN_IMPL_H

#include "base/real_impl.h"
#include "math/gemm_impl.h"
#include "math/isa_impl.h"
#include "nn/conv_kern_impl.h"

#define DFOI_PLACES 16 /* of a tile */

/* From one place to the next, of a panel and of weights: not by powers of two, or all 16 would fall into one set of the first cache.  */
static inline size_t dfoi_place_step(size_t channels)
{
    return (channels + 1) * DFO_PANEL;
}

static inline size_t dfoi_weight_step(size_t out, size_t in)
{
    return out * in + DFO_PANEL;
}

/* Images that are cut into tiles: even sides.  */
typedef struct dfoi_tiling {
    size_t images, h, w;
} dfoi_tiling;

static inline size_t dfoi_tiles(dfoi_tiling g)
{
    return g.images * (g.h / 2) * (g.w / 2);
}

/* Four planes a channel: the pixels of odd and even rows and columns by their tile, pixel (2 ty + a, 2 tx + b) of
 * channel c at planes[(4 c + 2 a + b) length + before + t].  Zeros around them, more than the shifts to a neighbour and the
 * last panel's empty columns need.  */
static inline size_t dfoi_plane_before(dfoi_tiling g)
{
    return (g.w / 2 + 1 + DFO_PANEL - 1) / DFO_PANEL * DFO_PANEL;
}

static inline size_t dfoi_plane_length(dfoi_tiling g)
{
    return 2 * dfoi_plane_before(g) + (dfoi_tiles(g) + DFO_PANEL - 1) / DFO_PANEL * DFO_PANEL;
}

/* What becomes of a result: act (none, relu, leaky relu), then 0 where mask <= 0, then add.  Maps without x: nothing.  */
typedef struct dfoi_finish {
    dfoi_map mask, add;
    dfoi_act act;
} dfoi_finish;

struct dfoi_winograd_kernels {
    /* A map of the channels to planes.  */
    void (*split)(dfoi_tiling tiling, size_t channels, dfoi_map from, dfo_real *planes);
    /* B^T d B of one panel of tiles: to (16, channels, 64).  */
    void (*input)(dfoi_tiling tiling, size_t channels, size_t panel, const dfo_real *planes, dfo_real *to);
    /* A y A^T of one panel of tiles, the adjoint of `output`: to (16, channels, 64).  */
    void (*output_adjoint)(dfoi_tiling tiling, size_t channels, size_t panel, const dfo_real *planes, dfo_real *to);
    /* A^T m A + b of one panel of tiles, m (16, channels, 64), b (channels) or NULL, to channels first ... of a map, finished.  */
    void (*output)(dfoi_tiling tiling, size_t first, size_t channels, size_t panel, const dfo_real *m, const dfo_real *b,
                   const dfoi_finish *finish, dfoi_map to);
    /* G w G^T: w (out, 3, 3, in) to u (16, out, in); and the adjoint, added: gw += G^T gu G.  */
    void (*weights)(size_t out, size_t in, const dfo_real *w, dfo_real *u);
    void (*weights_adjoint)(size_t out, size_t in, const dfo_real *gu, dfo_real *gw);
};

extern const struct dfoi_winograd_kernels dfoi_winograd_kernels_generic;
extern const struct dfoi_winograd_kernels dfoi_winograd_kernels_avx2;
extern const struct dfoi_winograd_kernels dfoi_winograd_kernels_avx512;

#define DFOI_WINOGRAD_KERN DFOI_PICK(dfoi_winograd_kernels)

#endif

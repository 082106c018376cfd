/* What the files of the couplings share: coupling.c makes them and holds the transforms, coupling_mask.c says
 * which features pass, coupling_rows.c runs dense nets on panels of 64 rows, coupling_image.c convolution nets
 * on images.  Private to flows.  */
#ifndef DFOI_COUPLING_IMPL_H
#define DFOI_COUPLING_IMPL_H

#include "base/real_impl.h"
#include <diffeo/net.h>
#include "layer_impl.h"
#include "math/kern_impl.h"
#include "math/polynomials_impl.h"
#include "math/sigmoids_impl.h"

typedef enum dfoi_coupling_kind {
    DFOI_ADDITIVE, DFOI_AFFINE, DFOI_SPLINE, DFOI_MIXTURE, DFOI_DEEP_SIGMOIDAL, DFOI_BERNSTEIN, DFOI_SQUARES
} dfoi_coupling_kind;

/* What dense nets are told of a feature x that passes: x; cos and sin(k pi x/B), k = 1 .. harmonics, of an angle in [-B, B];
 * Chebyshev's T_k(x/B) = cos(k acos(x/B)), of a number in [-B, B], beyond which they stay what they are at the bounds.  */
typedef enum dfoi_features { DFOI_VALUES, DFOI_CIRCLE, DFOI_INTERVAL } dfoi_features;

/* Which features pass unchanged: json is the configuration's, a and b their columns, and those of the others.  */
typedef struct dfoi_mask {
    json_t *json;
    int     swapped;
    size_t  na, nb;
    size_t *a, *b;                     /* dense nets: (na), (nb) ascending */
    int     run_a;                     /* dense nets: columns a are consecutive, the net reads the row itself */
    int     image;                     /* it has a meaning for images: channels, pixels, nothing passes */
    size_t  first_a;                   /* image: the column where the channels that pass begin */
    size_t  first_b, channels_b;       /* image: the channels that are transformed, at some of their pixels */
    size_t  pixels;                    /* image: how many of each channel's pixels that is */
    int     board;                     /* image: those with even y + x, with swapped odd; 0: all */
} dfoi_mask;

typedef struct dfoi_coupling {
    dfoi_coupling_kind kind;
    dfo_net    *net;
    dfoi_mask   mask;
    int         image;                 /* the net works on images */
    size_t      kept;                  /* reals of a row that the dispatcher keeps in front of what the net keeps */
    dfoi_features features;            /* what a dense net is given for a feature */
    size_t      harmonics;             /* so many of it */
    size_t      each;                  /* numbers */
    int         fade;                  /* the spline becomes the identity at both ends of what passes */
    size_t      params;                /* outputs of the net for one value */
    dfoi_affine affine;
    int         unbounded;             /* affine: without a bound */
    dfoi_spline spline;
    dfoi_sigmoids sigmoids;
    dfoi_polynomial polynomial;
    int         zero_init;
    double      given[5];              /* the configuration's numbers: what float makes of them may be out of range */
} dfoi_coupling;

/* Reads "mask" for rows of this shape.  What it made before a failure is freed by dfoi_mask_free.  */
dfo_status dfoi_mask_new(dfo_ctx *ctx, const json_t *config, dfo_shape shape, dfoi_mask *mask);
void dfoi_mask_free(dfo_ctx *ctx, dfoi_mask *mask);
/* Makes a, b and run_a, for a dense net over rows of this shape.  */
dfo_status dfoi_mask_list(dfo_ctx *ctx, dfo_shape shape, dfoi_mask *mask);

/* Reads "input" and "harmonics", where the spline is known.  */
dfo_status dfoi_coupling_features_read(dfo_ctx *ctx, const json_t *config, dfoi_coupling *c);
dfo_status dfoi_coupling_features_describe(dfo_ctx *ctx, json_t *to, const dfoi_coupling *c);
/* What the net is told of the columns that pass, in pass (n, na * each); gradients of it added to those of the rows x.  */
dfo_batch dfoi_coupling_features(const dfoi_coupling *c, dfo_batch x, dfo_real *pass);
void dfoi_coupling_features_back(const dfoi_coupling *c, dfo_batch x, const dfo_real *pass, const dfo_real *gpass, dfo_batch gx);

/* Where a feature x is between the bounds -B and B: x/B in [-1, 1]; NaN stays.  */
double dfoi_coupling_place(const dfoi_coupling *c, dfo_real x);

/* Reads "fade", where the features are known.  */
dfo_status dfoi_coupling_fade_read(dfo_ctx *ctx, const json_t *config, dfoi_coupling *c);
/* Of a panel of at most 64 rows: what the transform is given, par itself or made in `to`; gpar, of that, becomes the gradient of par, and
 * grows has added what it makes of the feature that passes.  */
const dfo_real *dfoi_coupling_fade(const dfoi_coupling *c, dfo_batch rows, const dfo_real *par, dfo_real *to);
void dfoi_coupling_fade_back(const dfoi_coupling *c, dfo_batch rows, const dfo_real *par, dfo_real *gpar, dfo_batch grows);

/* x -> z (or z -> x) of nb features with m values each, parameters by features (params, m); ld (m) has the
 * log-dets added.  */
void dfoi_coupling_transform(const dfoi_coupling *c, int inverse, size_t nb, size_t m, const dfo_real *par,
                             dfo_real *x, dfo_real *ld);
/* Back: x and gx in place, gpar written, from gld (m).  Transforms that keep their input are given it, and leave it.  */
void dfoi_coupling_transform_back(const dfoi_coupling *c, int inverse, size_t nb, size_t m, const dfo_real *par,
                                  dfo_real *x, dfo_real *gx, const dfo_real *gld, dfo_real *gpar);

/* The condition behind the net's own first input; and its gradients (of `conds` parts).  */
void dfoi_coupling_add_conds(const dfo_cond *cond, size_t conds, dfo_cond *in);

/* Both ways of running the net: as the layer's.  */
size_t dfoi_coupling_rows_scratch(const dfoi_coupling *c, size_t rows);
size_t dfoi_coupling_rows_saved(const dfoi_coupling *c, size_t rows);
dfo_status dfoi_coupling_rows_map(const dfoi_coupling *c, dfo_run *run, dfo_batch x, const dfo_cond *cond,
                                  double *logdet, int inverse);
dfo_status dfoi_coupling_rows_back(const dfoi_coupling *c, dfo_run *run, dfo_batch x, dfo_batch gx,
                                   const dfo_cond *cond, const dfo_cond *gcond, const double *glogdet, int inverse);
dfo_status dfoi_coupling_rows_fit(dfo_bijector *bij, dfo_run *run, dfo_batch x, const dfo_cond *cond);
size_t dfoi_coupling_image_scratch(const dfo_bijector *bij, size_t rows);
size_t dfoi_coupling_image_saved(const dfo_bijector *bij, size_t rows);
dfo_status dfoi_coupling_image_map(const dfo_bijector *bij, dfo_run *run, dfo_batch x, const dfo_cond *cond,
                                   double *logdet, int inverse);
dfo_status dfoi_coupling_image_back(const dfo_bijector *bij, dfo_run *run, dfo_batch x, dfo_batch gx,
                                    const dfo_cond *cond, const dfo_cond *gcond, const double *glogdet, int inverse);

#endif

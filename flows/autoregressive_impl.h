/* What the files of the autoregressive layer share: autoregressive.c makes it, autoregressive_rows.c runs its net and the
 * sweeps on panels of 64 rows.  Private to flows.  */
#ifndef DFOI_AUTOREGRESSIVE_IMPL_H
#define DFOI_AUTOREGRESSIVE_IMPL_H

#include "base/real_impl.h"
#include <diffeo/net.h>
#include "layer_impl.h"
#include "math/kern_impl.h"
#include "math/polynomials_impl.h"
#include "math/sigmoids_impl.h"

typedef enum dfoi_autoregressive_kind {
    DFOI_AUTO_AFFINE, DFOI_AUTO_SPLINE, DFOI_AUTO_MIXTURE, DFOI_AUTO_DEEP, DFOI_AUTO_BERNSTEIN, DFOI_AUTO_SQUARES, DFOI_AUTO_KINDS
} dfoi_autoregressive_kind;

typedef struct dfoi_autoregressive {
    dfoi_autoregressive_kind kind;
    dfo_net    *net;                   /* masked */
    size_t     *order;                 /* (d): the column that stands at each place */
    json_t     *order_json;            /* the configuration's */
    int         natural;               /* columns stand as they are */
    int         solve;                 /* the net is given the latents, not the data */
    int         jacobi;                /* a sweep takes all columns at a time, until none changes */
    int         unbounded;             /* affine */
    int         at_input;              /* the transforms' way back from latents wants x */
    int         zero_init;
    size_t      params;                /* outputs of the net for one value */
    dfoi_affine affine;
    dfoi_spline how;
    dfoi_sigmoids sigmoids;
    dfoi_polynomial polynomial;
    double      given[5];              /* the configuration's numbers: what float makes of them may be out of range */
} dfoi_autoregressive;

/* Columns of the rows and their parameters (params, 64) each, to latents or to data; ld (64) has the log-dets added.  */
void dfoi_autoregressive_transform(const dfoi_autoregressive *a, int to_latents, size_t columns, const dfo_real *par,
                                   dfo_real *x, dfo_real *ld);
/* Back: x and gx in place, gpar written, from gld (64).  Transforms that keep their input are given it for the way from
 * latents, and leave it.  */
void dfoi_autoregressive_transform_back(const dfoi_autoregressive *a, int to_latents, size_t columns, const dfo_real *par,
                                        dfo_real *x, dfo_real *gx, const dfo_real *gld, dfo_real *gpar);

size_t dfoi_autoregressive_scratch(const dfo_bijector *bij, size_t rows);
size_t dfoi_autoregressive_saved(const dfo_bijector *bij, size_t rows, const dfo_run *how);
/* Rows to latents or to data, and back.  */
dfo_status dfoi_autoregressive_map(const dfo_bijector *bij, dfo_run *run, dfo_batch x, const dfo_cond *cond, double *logdet,
                                   int to_latents);
dfo_status dfoi_autoregressive_back(const dfo_bijector *bij, dfo_run *run, dfo_batch x, dfo_batch gx, const dfo_cond *cond,
                                    const dfo_cond *gcond, const double *glogdet, int to_latents);

#endif

/* Verifying a flow: how exact its inverse, log-determinants and gradients are on given rows.  */
#ifndef DIFFEO_CHECK_H
#define DIFFEO_CHECK_H

#include <diffeo/real.h>
#include <diffeo/flow.h>

#ifdef __cplusplus
extern "C" {
#endif

/* One layer's worst figures over the rows.  kappa = 1 + |dx/dz|_F |z| of the row with the worst ratio; the
 * bound of a row is 64 eps kappa, over = |x' - x| / bound.  Log-dets alike: logdet_kappa = d + |L| + |dL/dz| |z|, with
 * L the log-det of decoding.  The kappas are NAN, and nothing is over, where the layer cannot differentiate its
 * inverse, or does so by a solver (cnf).  */
typedef struct dfo_check_layer {
    const char *type;              /* constant text */
    double error, kappa, over, logdet_sum, logdet_kappa, logdet_over;
    dfo_conditioning conditioning; /* of a layer with invertible convolutions: NAN of others */
} dfo_check_layer;

/* What was found.  Quantities that were not measured are NAN.  */
typedef struct dfo_check_report {
    uint64_t rows;
    double roundtrip_max_abs;      /* max |decode(encode(x)) - x|, in data units */
    double roundtrip_p999_abs;     /* the same of all but the worst thousandth of the rows */
    double roundtrip_max_rel;      /* the largest of |x' - x| / (1 + |x|) */
    double roundtrip_over_bound;   /* worst layer and row: error / (64 eps kappa) */
    double kappa;                  /* of that row and layer */
    double logdet_sum_max_abs;     /* |logdet(encode) + logdet(decode)| */
    double logdet_sum_p999_abs;    /* the same of all but the worst thousandth of the rows */
    double logdet_over_bound;      /* worst layer and row: that sum / (64 eps logdet_kappa) */
    double logdet_jacobian_max_abs;/* against LU of a numerical Jacobian: d <= 12, and densities by volumes of coordinates */
    double gradient_max_rel;       /* d log p/dx along a random direction against central differences; like the two
                                    * beside it not measured where a layer draws: data are whole numbers then */
    double normalisation;          /* integral of exp(log p): d <= 2, no condition, densities by volumes of coordinates */
    int    finite;                 /* 1: every row gave finite latents and log-dets */
    size_t worst_layer;            /* index into layers */
    size_t layers;
    dfo_check_layer *layer;        /* (layers) owned by the report */
} dfo_check_report;

/* Checks the flow on all rows of a source (at least one), whose last features are the condition of a conditional
 * flow.  batch: rows taken at a time (0: the usual number; see dfo_chunk_rows): figures do not depend on it.  16
 * bytes a row are kept besides.  density = 0: the base means nothing (a classifier's): no gradients of log p, no
 * normalisation.  Layers are checked one by one if the flow's bijector is a chain.  Rows whose maps
 * are not finite make finite = 0 and leave the other figures of the whole at NAN.  DFO_ESHAPE, DFO_EMEM, DFO_ELIMIT,
 * and what reading says.  report->layer is freed with dfo_check_free, after errors too.  */
dfo_status dfo_flow_check(dfo_ctx *ctx, const dfo_flow *flow, uint64_t seed, const dfo_source *rows, uint64_t batch,
                          int density, dfo_check_report *report);
/* Frees what a report owns.  */
void dfo_check_free(dfo_ctx *ctx, dfo_check_report *report);

#ifdef __cplusplus
}
#endif
#endif

/* How good predicted class probabilities are: accuracy, proper scores, calibration errors.  */
#ifndef DIFFEO_CALIBRATION_H
#define DIFFEO_CALIBRATION_H

#include <stddef.h>
#include <stdint.h>
#include <diffeo/ctx.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Predictions of k classes for n rows.  Probabilities are softmax(logits / temperature).  */
typedef struct dfo_predictions {
    size_t n, k;
    const double   *logits;        /* (n, k) */
    const uint32_t *label;         /* (n) below k */
    double temperature;            /* above 0; 1: as they are */
} dfo_predictions;

/* One bin of a reliability table: rows by the probability of the predicted class.  */
typedef struct dfo_reliability {
    double low, high;              /* the bin takes confidences in (low, high]; of equal-mass bins the extremes met */
    size_t rows;
    double confidence, accuracy;   /* their means over the bin's rows; NAN in an empty bin */
} dfo_reliability;

typedef struct dfo_calibration {
    double accuracy;               /* part of the rows whose most probable class is the label */
    double nll;                    /* mean of -log p(label), nats */
    double brier;                  /* mean of sum_k (p_k - [k = label])^2 */
    double ece;                    /* sum_b n_b/n |accuracy_b - confidence_b|, bins of equal width */
    double ece_mass;               /* the same over bins of equal numbers of rows */
    double ece_classwise;          /* mean over classes of the same for p_k and [k = label], equal width */
    double mce;                    /* the largest |accuracy_b - confidence_b|, equal width */
} dfo_calibration;

/* Measures predictions over `bins` bins.  table (bins entries, equal width) and mass (bins entries, equal
 * numbers of rows) may be NULL.  Ties go to the lower class.  DFO_EARG: no rows, no bins, a label that is no
 * class, a temperature that is not positive, a logit that is NaN (names the row).  DFO_EMEM.  */
dfo_status dfo_calibration_measure(dfo_ctx *ctx, const dfo_predictions *p, size_t bins, dfo_calibration *out,
                                   dfo_reliability *table, dfo_reliability *mass);

/* Temperature scaling (Guo et al. 2017): writes to *temperature the one that minimises the negative
 * log-likelihood of these predictions (their own is not looked at), between 1/1000 and 1000.  Errors as above.  */
dfo_status dfo_calibration_temperature(dfo_ctx *ctx, const dfo_predictions *p, double *temperature);

/* probability (n, k) = softmax(logits / temperature); the two may be the same memory.  */
void dfo_calibration_softmax(const dfo_predictions *p, double *probability);

#ifdef __cplusplus
}
#endif
#endif

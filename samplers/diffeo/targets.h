/* Densities by name: what chains and fits are tried on, their answers known, and two posteriors of statistics.  */
#ifndef DIFFEO_TARGETS_H
#define DIFFEO_TARGETS_H

#include <diffeo/real.h>
#include <diffeo/ctx.h>
#include <diffeo/target.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dfo_named_target {
    dfo_target target;             /* several threads may ask it at once */
    double     log_normaliser;     /* log of the integral of what target says the log of; NAN: not known */
    char     **columns;            /* (target.d) names, or NULL: it has none */
    dfo_ctx   *ctx;                /* whose memory it is */
} dfo_named_target;

/* Opens a density by its name and numbers:
 *     normal[:D[:RHO]]           N(0, 1) in D columns (2), a stationary chain of correlation RHO (0) from one to the next
 *     banana                     x1 ~ N(0, 1), x2 ~ N((x1^2 - 1)/2, 1)
 *     funnel[:D]                 x1 ~ N(0, 9), the other of D columns (10) N(0, e^x1) (Neal 2003)
 *     ring                       exp(-(r - 2)^2 / 0.08), r the distance from 0
 *     gaussians8, two-moons      toy:gaussians8 and toy:two-moons, of which draws can be had; the latter after Rezende and Mohamed 2015
 *     eight-schools              Rubin 1981, of mu, log tau and eta_j, where school j has the effect mu + tau eta_j; mu ~ N(0, 25),
 *                                tau half Cauchy of scale 5 (Gelman 2006), eta_j ~ N(0, 1)
 *     logistic:SPEC[:DEVIATION]  logistic regression on rows (as for dfo_source_open) whose last column is 0 or 1: an intercept and a weight for
 *                                each other column, all ~ N(0, DEVIATION^2) (1)
 * The posteriors are likelihood times prior, in full: their normalising constants are the evidence.  DFO_EARG for a wrong name, which
 * tells the known ones, or number; what reading the rows returns; DFO_EFORMAT: a row's last column is neither 0 nor 1, named.  */
dfo_status dfo_named_target_open(dfo_ctx *ctx, const char *spec, dfo_named_target **out);
void dfo_named_target_free(dfo_named_target *target);

/* How target i is written, "normal[:D[:RHO]]"; NULL behind the last.  */
const char *dfo_named_target_syntax(size_t i);

#ifdef __cplusplus
}
#endif
#endif

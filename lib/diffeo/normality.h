/* Are rows draws of a standard normal law?  What latents of a flow over one should be.  */
#ifndef DIFFEO_NORMALITY_H
#define DIFFEO_NORMALITY_H

#include <stddef.h>
#include <diffeo/ctx.h>
#include <diffeo/distance.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dfo_normality {
    double mean, variance;         /* of all n d numbers; variance about 0 */
    double distance;               /* the largest Kolmogorov-Smirnov distance of a column to N(0,1) */
    size_t column;                 /* whose it is */
    double column_p;               /* its p-value times d (Bonferroni), at most 1 */
    double norm_distance, norm_p;  /* the distance of the rows' |z|^2 to the chi-square law of d degrees of freedom */
    double p;                      /* twice the smaller of the two p-values, at most 1: of the whole */
} dfo_normality;

/* Tests rows z.  Of a true standard normal p is below a in at most a part a of all cases.  The more rows, the smaller the
 * difference that it finds: the distances say how large it is.  Columns are looked at one by one, and dependence between them by the
 * norms alone.  p-values by Stephens (1970), good from some 5 rows on.  DFO_EARG: no numbers, or one that is not finite (names the
 * row); DFO_EMEM.  */
dfo_status dfo_normality_test(dfo_ctx *ctx, const dfo_samples *z, dfo_normality *out);

#ifdef __cplusplus
}
#endif
#endif

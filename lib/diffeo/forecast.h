/* How well draws of a conditional density fit the rows that came: ranks, PIT, coverage of highest-density regions, CRPS and
 * energy score.  Each row has draws of its own, given its own condition.  */
#ifndef DIFFEO_FORECAST_H
#define DIFFEO_FORECAST_H

#include <stddef.h>
#include <stdint.h>
#include <diffeo/ctx.h>
#include <diffeo/distance.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What is known of forecasts, row by row.  */
typedef struct dfo_forecast dfo_forecast;

typedef struct dfo_forecast_options {
    size_t   rows, d;              /* of the data */
    size_t   draws;                /* for each row: L, at least 2 */
    size_t   bins;                 /* of rank histograms: 2 to L + 1 */
    uint64_t seed;
} dfo_forecast_options;

/* Of a column; of place d: of the rows as a whole.
 *
 * Ranks: r = how many of a row's L draws lie below its value (place d: how many have a higher density), equal ones counted by lot:
 * uniform on 0 .. L if the row came from the density that was drawn from, whatever that is (Talts et al. 2018, "Validating
 * Bayesian inference algorithms with simulation-based calibration"; of densities Hyndman 1996, "Computing and graphing highest
 * density regions").  Its PIT is (r + u)/(L + 1), u uniform: uniform on (0,1) then, exactly.  At place d that is the mass
 * of the smallest highest-density region around the row.  */
typedef struct dfo_forecast_result {
    dfo_estimate score;            /* mean CRPS of the column; place d: mean energy score.  The lower the better */
    double chi_square, chi_square_p;       /* of the ranks' histogram, and the part of calibrated forecasts that have more */
    double ks, ks_p;               /* Kolmogorov's distance of the PIT from the uniform law, likewise */
} dfo_forecast_result;

/* Room for 16 (d + 1) bytes a row.  DFO_EARG: no rows or columns, fewer than 2 draws, bins out of range; DFO_EMEM, DFO_ELIMIT.  */
dfo_status dfo_forecast_new(dfo_ctx *ctx, const dfo_forecast_options *options, dfo_forecast **out);
void dfo_forecast_free(dfo_forecast *forecast);

/* Takes rows first .. first+n-1, y (n,d), with their draws (n,L,d).  logp (n) and draw_logp (n,L): log densities of both, up to a
 * constant of the row; both NULL: none, and place d has the energy score alone.
 * Scores are fair, that is without bias whatever L (Ferro 2014, "Fair scores for ensemble forecasts"):
 *     CRPS   = mean_l |x_l - y| - sum_{l<m} |x_l - x_m| / (L (L-1)),   energy score: the same with Euclidean norms
 * (Gneiting and Raftery 2007, eqs. 21, 22).  Results depend on seed and rows alone.  DFO_EARG: rows that are not there, or one
 * logp without the other; DFO_ENUM names a row with a value or density that is not a number.  A row given twice: the last counts.  */
dfo_status dfo_forecast_add(dfo_forecast *forecast, uint64_t first, size_t n, const double *y, const double *draws, const double *logp,
                            const double *draw_logp);

/* What came out at place j, 0 .. d, over all rows.  ranks: NULL, or (bins): how many rows have a rank in each.  The tests are NAN at
 * place d without densities.  DFO_EARG: no such place, or rows that were not added; DFO_EMEM.  */
dfo_status dfo_forecast_measure(const dfo_forecast *forecast, size_t j, dfo_forecast_result *out, uint64_t *ranks);

/* The part of the rows that lie in the density's highest-density region of mass `level` (place d), or in the middle `level` of a
 * column (PIT within level/2 of 1/2); error: what calibrated forecasts have, sqrt(level (1 - level) / rows).  */
dfo_status dfo_forecast_coverage(const dfo_forecast *forecast, size_t j, double level, dfo_estimate *out);

/* PIT of row i at place j; NAN where it is not known.  i < rows, j <= d.  */
double dfo_forecast_pit(const dfo_forecast *forecast, size_t i, size_t j);
/* Its CRPS; at place d its energy score.  */
double dfo_forecast_score(const dfo_forecast *forecast, size_t i, size_t j);

#ifdef __cplusplus
}
#endif
#endif

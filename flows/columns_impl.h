/* What columns.c, the layer, and columns_missing.c, which draws what is missing, share.  Private to flows.  */
#ifndef DFOI_COLUMNS_IMPL_H
#define DFOI_COLUMNS_IMPL_H

#include "base/real_impl.h"
#include "bounds_impl.h"
#include "layer_impl.h"
#include <diffeo/source.h>

#define DFOI_MISSING_MOST 256          /* columns: every row that lacks some costs their cube */

typedef enum dfoi_kind { DFOI_REAL, DFOI_POSITIVE, DFOI_INTERVAL, DFOI_INTEGER, DFOI_CATEGORICAL, DFOI_PERIODIC, DFOI_KINDS } dfoi_kind;

typedef enum dfoi_missing { DFOI_MISSING_REFUSED, DFOI_MISSING_MARGINALISE, DFOI_MISSING_IMPUTE, DFOI_MISSINGS } dfoi_missing;

struct dfoi_column {
    dfoi_kind  kind;
    dfoi_bound bound;                  /* of what goes to the line: whole numbers with what was added to them */
    double     start;                  /* of a period, where values come back from; the bounds are its cut */
};

struct dfoi_columns {
    struct dfoi_column *column;        /* (d) */
    int                 whole;         /* some are whole numbers */
    dfoi_missing        missing;
    size_t              mean, covariance;  /* (d), (d, d): buffers, of what goes on; where rows may lack entries */
    uint64_t            stream;        /* a function of the layer's place: no other's draws are its own */
};

static inline int dfoi_column_whole(const struct dfoi_column *c)
{
    return c->kind == DFOI_INTEGER || c->kind == DFOI_CATEGORICAL;
}

/* The layer's state, NULL for layers of other types.  */
const struct dfoi_columns *dfoi_columns_of(const dfo_bijector *bij);

/* The key of row i's draws: what is added to whole numbers, what fills rows.  Imputed, a row is filled once, whatever run->draw.  */
enum dfoi_draws { DFOI_ADDS, DFOI_FILLS };
dfo_key dfoi_columns_key(const dfo_bijector *bij, const dfo_run *run, size_t i, enum dfoi_draws kind);

/* A row's entries on the line, NaN where they are missing; *logdet gets what it adds.  DFO_ENUM.  */
dfo_status dfoi_columns_row(const dfo_bijector *bij, dfo_run *run, size_t i, dfo_real *row, double *logdet);

/* Missing entries of row (d) on the line get draws of the normal density, given the others; *logdet less the log-density of
 * the draws, unless they are imputed.  Scratch: dfoi_missing_scratch(bij).  DFO_ENUM.  */
dfo_status dfoi_missing_fill(const dfo_bijector *bij, dfo_run *run, size_t i, dfo_real *row, double *logdet);
size_t dfoi_missing_scratch(const dfo_bijector *bij);

/* Columns in the order known, missing; how many are known.  The Cholesky factor l (d, d) of the covariance in that order; 0: it
 * has none.  w (known) of what is known of the row.  */
size_t dfoi_missing_order(size_t d, const dfo_real *row, size_t *order);
int dfoi_missing_factor(size_t d, const size_t *order, const dfo_real *covariance, dfo_real *l);
void dfoi_missing_known(size_t d, size_t known, const size_t *order, const dfo_real *mean, const dfo_real *l, const dfo_real *row, double *w);

/* Mean and covariance of the training rows on the line, for a columns layer that takes missing values; constant columns of
 * densities are DFO_EARG, rows that are not as the layer has them DFO_ENUM.  */
dfo_status dfoi_columns_fit(dfo_bijector *bij, const dfo_source *train, int density);

#endif

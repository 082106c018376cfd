/* The masked net's state (made.c), and its sweeps: column after column, where each depends on those in front of it
 * (made_sweep.c, made_residual.c).  Private.  */
#ifndef DFOI_MADE_IMPL_H
#define DFOI_MADE_IMPL_H

#include <jansson.h>
#include <diffeo/net.h>
#include "base/real_impl.h"
#include "nn/dense_impl.h"
#include "nn/unit_impl.h"

struct dfoi_made {
    dfo_net inner;           /* an mlp or a residual-mlp whose linear layers are stairs */
    int     residual;
    json_t *degrees;         /* the configuration's, or NULL */
    size_t  d, before;       /* columns; features of the parts in front of them */
    size_t  each;            /* outputs of a column */
    size_t  levels;          /* of features: inputs, hidden ones (of a residual net once), outputs */
    size_t *at;              /* (levels, d + 2): how many features of a level have a lower degree */
    size_t *reach;           /* of all linear layers */
};

/* Where features of that degree begin in a level.  */
static inline size_t dfoi_made_at(const struct dfoi_made *m, size_t level, size_t degree)
{
    return m->at[level * (m->d + 2) + degree];
}

/* A sweep over at most DFO_NET_ROWS rows.  */
struct dfoi_made_sweep {
    size_t    n, panels;
    dfo_real *acts;                        /* what forward keeps, which a sweep keeps too */
    dfo_real *x[DFOI_PANELS];              /* (in, 64): other parts, then the columns */
    dfo_real *gx[DFOI_PANELS];             /* (in, 64) */
    const dfo_real *gout[DFOI_PANELS];     /* (out, 64) */
    dfo_real *own[DFOI_PANELS];            /* what the hidden levels need */
    dfo_real *scratch;
};

/* The arena that begin and back_begin take.  */
size_t dfoi_made_sweep_scratch(const dfo_net *net, size_t rows);

/* Outputs column by column: begin with the parts in front (the last one's rows are not read), then for j = 0, 1, ...
 * write the outputs of column j to out (each,64), for which x has columns 0 .. j - 1: column k stands at
 * dfoi_made_column_at(net, k).  At the end acts holds what forward would have kept.  */
dfo_status dfoi_made_begin(const dfo_net *net, dfo_run *run, const dfo_cond *in, size_t n, dfo_real *acts,
                           struct dfoi_made_sweep *s);
void dfoi_made_column(const dfo_net *net, const dfo_run *run, const struct dfoi_made_sweep *s, size_t j,
                      dfo_real *const *out);

/* The reals in front of column k in a sweep's x and gx.  */
static inline size_t dfoi_made_column_at(const struct dfoi_made *m, size_t k)
{
    return (m->before + k) * DFO_PANEL;
}

/* Gradients column by column: begin with all inputs and what forward kept, then for j = d - 1, ..., 0 write the gradient of
 * column j's outputs to gout and let back_column take it down: afterwards gx has that of column j - 1 (of the last one
 * it is zero from the beginning).  end adds gradients of weights, and of the parts in front to gin (may be NULL).  */
dfo_status dfoi_made_back_begin(const dfo_net *net, dfo_run *run, const dfo_cond *in, size_t n, const dfo_real *acts,
                                dfo_real *const *gout, struct dfoi_made_sweep *s);
void dfoi_made_back_column(const dfo_net *net, const dfo_run *run, const struct dfoi_made_sweep *s, size_t j);
void dfoi_made_back_end(const dfo_net *net, dfo_run *run, const struct dfoi_made_sweep *s, dfo_cond *gin);

/* The same for the hidden levels of a residual net.  room: features of `own`.  */
size_t dfoi_made_residual_room(const struct dfoi_made *m);
void dfoi_made_residual_begin(const struct dfoi_made *m, const dfo_run *run, const struct dfoi_made_sweep *s);
void dfoi_made_residual_column(const struct dfoi_made *m, const dfo_run *run, const struct dfoi_made_sweep *s, size_t j,
                               dfo_real *const *out);
void dfoi_made_residual_back_begin(const struct dfoi_made *m, const dfo_run *run, const struct dfoi_made_sweep *s);
void dfoi_made_residual_back_column(const struct dfoi_made *m, const dfo_run *run, const struct dfoi_made_sweep *s,
                                    size_t j);
void dfoi_made_residual_back_end(const struct dfoi_made *m, const dfo_run *run, const struct dfoi_made_sweep *s);

#endif

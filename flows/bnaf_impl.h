/* What bnaf.c, which maps rows, bnaf_inverse.c, which finds them again, and bnaf_weights.c, which makes the matrices from the
 * weights and takes their gradients back, share.  Private to flows.  */
#ifndef DFOI_BNAF_IMPL_H
#define DFOI_BNAF_IMPL_H

#include "base/real_impl.h"
#include "layers.h"
#include "math/kern_impl.h"

enum { DFOI_BNAF_LAYERS = 9 };

struct dfoi_bnaf {
    size_t width, layers;              /* units a column; layers of the net, the last one without units */
    size_t weight[DFOI_BNAF_LAYERS];   /* (rows, columns) */
    size_t scale[DFOI_BNAF_LAYERS];    /* (rows) */
    size_t bias[DFOI_BNAF_LAYERS];     /* (rows) */
    size_t gate;                       /* (1) */
    size_t *reach[DFOI_BNAF_LAYERS];   /* (rows): columns of the matrix that are not zero */
};

/* One layer's matrix: blocks of `out` rows and `in` columns, behind `lead` columns of the condition.  e (rows, columns), what
 * multiplies, and logd (rows, in), the logs of a row's own block, stand at these places of derived data.  */
struct dfoi_bnaf_place {
    size_t in, out, lead, rows, columns, e, logd, end;
};
struct dfoi_bnaf_place dfoi_bnaf_place(const dfo_bijector *bij, size_t layer);

dfo_status dfoi_bnaf_prepare(const dfo_bijector *bij, dfo_run *run, dfo_real *to);
dfo_status dfoi_bnaf_pullback(const dfo_bijector *bij, dfo_run *run, const dfo_real *from, const dfo_real *gfrom);

/* A panel of 64 rows, feature after feature.  */
struct dfoi_bnaf_panel {
    size_t n, first;                   /* rows, the first one's place */
    dfo_real *in;                      /* condition, then columns */
    dfo_real *act[DFOI_BNAF_LAYERS];   /* (d width, 64): tanh */
    dfo_real *slope[DFOI_BNAF_LAYERS]; /* (d width, 64): logs of their slopes in a row's own column */
    dfo_real *f, *lf;                  /* (d, 64): the net's outputs and the logs of their slopes */
    dfo_real *z;                       /* (d, 64) */
    dfo_real *some;                    /* (width (layers + 2) + 2, 64) */
};

/* f, lf and what lies between, of in.  */
void dfoi_bnaf_net(const dfo_bijector *bij, dfo_run *run, struct dfoi_bnaf_panel *p);
/* The columns of in, one after the other, of z.  */
void dfoi_bnaf_solve(const dfo_bijector *bij, dfo_run *run, struct dfoi_bnaf_panel *p);

/* Gradients on the way back through a panel's map: of its columns, of the net's outputs, of pre-activations.  */
struct dfoi_bnaf_transposed {
    dfo_real *u, *out;                 /* (d, 64) */
    dfo_real *pre[DFOI_BNAF_LAYERS];   /* (d width, 64) */
};
/* t.u = J^-T t.u, J = dz/dx of a panel that dfoi_bnaf_net has been through.  gemm: dfoi_gemm_back_scratch of the most rows.  */
void dfoi_bnaf_solve_transposed(const dfo_bijector *bij, dfo_run *run, const struct dfoi_bnaf_panel *p,
                                const struct dfoi_bnaf_transposed *t, dfo_real *gemm);

#endif

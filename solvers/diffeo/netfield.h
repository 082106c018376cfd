/* Fields made of nets: neural ODEs, and neural CDEs, which a path drives.  */
#ifndef DIFFEO_NETFIELD_H
#define DIFFEO_NETFIELD_H

#include <diffeo/real.h>
#include <diffeo/field.h>
#include <diffeo/net.h>
#include <diffeo/path.h>

#ifdef __cplusplus
extern "C" {
#endif

/* dx/dt = net(x, condition, t), or with a path X of c channels dx/dt = net(x, condition, t) dX/dt, a net of d c outputs: d rows of
 * c (Kidger et al. 2020, eq. 4 and 6).  Dense nets (DFO_FEATURES), and none with dropout or running statistics, which have
 * another value at every call.  */
typedef struct dfo_netfield {
    const dfo_net  *net;       /* input parts: the row (d), the parts of the condition, the time (1) where it is timed */
    int             timed;
    const dfo_real *weights;   /* used where the run has none (dfo_ode_integrate), such as dfo_store_weights; or NULL */
    const dfo_path *path;      /* or NULL */
    dfo_batch       rows;      /* with a path: coefficients of the rows that are solved (dfo_path_fit), as many as these */
    size_t          piece;     /* with a path: the piece in which a solve begins and ends; derivatives may jump at its points */
} dfo_netfield;

/* The field.  `of`, cond and gcond (both may be NULL) must outlive it; the path's coefficients get no gradient.  Where net, path
 * and rows do not fit, solves fail with DFO_ESHAPE; images' nets are DFO_EUNSUP.  */
dfo_field dfo_netfield_of(const dfo_netfield *of, const dfo_cond *cond, dfo_cond *gcond);

#ifdef __cplusplus
}
#endif
#endif

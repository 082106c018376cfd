/* A density that is known up to a constant: what Markov chains draw from and flows are fitted to.  */
#ifndef DIFFEO_TARGET_H
#define DIFFEO_TARGET_H

#include <stddef.h>
#include <diffeo/ctx.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dfo_target dfo_target;
struct dfo_target {
    size_t d;
    /* Writes log p(x_i) + constant of n rows x (n,d) to out (n), -infinity outside of its support, and its gradient to
     * gradient (n,d), or not if that is NULL; outside of the support the gradient may be anything.  Several threads may call it at once.  Anything but DFO_OK ends what asked.  */
    dfo_status (*log_prob)(const dfo_target *target, size_t n, const double *x, double *out, double *gradient);
    void *data;                    /* the caller's */
};

#ifdef __cplusplus
}
#endif
#endif

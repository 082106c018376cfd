/* Activations of jets.  With h = tanh u, q = 1 - h^2; or s = sigmoid u, q = s - s^2:
 *
 *   h' = q u',   s' = q u',   softplus(u)' = s u',   silu(u) = u s,
 *
 * and of y' = q u' order k is y_k = sum over j of (j/k) u_j q_(k-j).  */
#include <string.h>

#include "math/kern_impl.h"
#include "nn/jet_impl.h"

int dfoi_jet_known(dfoi_act act)
{
    return act == DFOI_ACT_TANH || act == DFOI_ACT_SIGMOID || act == DFOI_ACT_SILU || act == DFOI_ACT_SOFTPLUS;
}

void dfoi_jet_add(size_t n, dfo_real by, const dfo_real *a, const dfo_real *b, dfo_real *y)
{
    for (size_t i = 0; i < n; i++)
        y[i] += by * a[i] * b[i];
}

/* y_k of y' = q u', k > 0.  */
static void integrate(size_t n, size_t k, dfo_real *const *u, dfo_real *const *q, dfo_real *y)
{
    memset(y, 0, n * sizeof *y);
    for (size_t j = 1; j <= k; j++)
        dfoi_jet_add(n, (dfo_real)j / (dfo_real)k, u[j], q[k - j], y);
}

static void integrate_backward(size_t n, size_t k, dfo_real *const *u, dfo_real *const *q, const dfo_real *gy, dfo_real *const *gu,
                               dfo_real *const *gq)
{
    for (size_t j = 1; j <= k; j++) {
        dfo_real by = (dfo_real)j / (dfo_real)k;
        dfoi_jet_add(n, by, gy, q[k - j], gu[j]);
        dfoi_jet_add(n, by, gy, u[j], gq[k - j]);
    }
}

/* y_k = sum a_i b_(k-i).  */
static void multiply(size_t n, size_t k, dfo_real by, dfo_real *const *a, dfo_real *const *b, dfo_real *y)
{
    for (size_t i = 0; i <= k; i++)
        dfoi_jet_add(n, by, a[i], b[k - i], y);
}

static void tanh_order(size_t n, size_t k, const dfoi_jet *x)
{
    if (k)
        integrate(n, k, x->u, x->q, x->h[k]);
    else
        dfoi_vact(DFOI_ACT_TANH, n, x->u[0], x->h[0]);
    for (size_t i = 0; i < n; i++)
        x->q[k][i] = k == 0;
    multiply(n, k, -1, x->h, x->h, x->q[k]);
}

void dfoi_jet_act(dfoi_act act, size_t n, size_t k, const dfoi_jet *x)
{
    if (act == DFOI_ACT_TANH) {
        tanh_order(n, k, x);
        return;
    }
    if (k)
        integrate(n, k, x->u, x->q, x->s[k]);
    else
        dfoi_vact(DFOI_ACT_SIGMOID, n, x->u[0], x->s[0]);
    memcpy(x->q[k], x->s[k], n * sizeof **x->s);
    multiply(n, k, -1, x->s, x->s, x->q[k]);
    if (act == DFOI_ACT_SILU) {
        memset(x->h[k], 0, n * sizeof **x->h);
        multiply(n, k, 1, x->u, x->s, x->h[k]);
    } else if (act == DFOI_ACT_SOFTPLUS && k) {
        integrate(n, k, x->u, x->s, x->h[k]);
    } else if (act == DFOI_ACT_SOFTPLUS) {
        dfoi_vact(DFOI_ACT_SOFTPLUS, n, x->u[0], x->h[0]);
    }
}

static void tanh_backward(size_t n, size_t k, const dfoi_jet *x, const dfoi_jet *g)
{
    for (size_t i = 0; i <= k; i++)
        dfoi_jet_add(n, -2, g->q[k], x->h[k - i], g->h[i]);
    if (k)
        integrate_backward(n, k, x->u, x->q, g->h[k], g->u, g->q);
    else
        dfoi_jet_add(n, 1, g->h[0], x->q[0], g->u[0]);
}

void dfoi_jet_act_backward(dfoi_act act, size_t n, size_t k, const dfoi_jet *x, const dfoi_jet *g)
{
    if (act == DFOI_ACT_TANH) {
        tanh_backward(n, k, x, g);
        return;
    }
    if (act == DFOI_ACT_SILU) {
        for (size_t i = 0; i <= k; i++) {
            dfoi_jet_add(n, 1, g->h[k], x->s[k - i], g->u[i]);
            dfoi_jet_add(n, 1, g->h[k], x->u[i], g->s[k - i]);
        }
    } else if (act == DFOI_ACT_SOFTPLUS && k) {
        integrate_backward(n, k, x->u, x->s, g->h[k], g->u, g->s);
    } else if (act == DFOI_ACT_SOFTPLUS) {
        dfoi_jet_add(n, 1, g->h[0], x->s[0], g->u[0]);
    }
    for (size_t i = 0; i < n; i++)
        g->s[k][i] += g->q[k][i];
    for (size_t i = 0; i <= k; i++)
        dfoi_jet_add(n, -2, g->q[k], x->s[k - i], g->s[i]);
    if (k)
        integrate_backward(n, k, x->u, x->q, g->s[k], g->u, g->q);
    else
        dfoi_jet_add(n, 1, g->s[0], x->q[0], g->u[0]);
}

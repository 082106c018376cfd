/* Costs of a continuous flow's field along the way, quadratures behind its trace, and their gradients; see dfoi_cnf_cost.  */
#include <string.h>

#include "cnf_call_impl.h"

/* a . b of row i.  */
static double dot(dfo_batch a, dfo_batch b, size_t i)
{
    double sum = 0;
    for (size_t e = 0; e < a.d; e++)
        sum += (double)dfo_row(a, i)[e] * (double)dfo_row(b, i)[e];
    return sum;
}

/* pulled = J^T e, e the call's direction; `out` holds f behind it.  */
static dfo_status pull(struct dfoi_cnf_call *c, dfo_run *run, dfo_batch f)
{
    dfo_real *grads = run->grads;
    dfo_cond gin = {.n = c->in.n};
    gin.part[0].rows = c->pulled;
    DFO_TRY(dfo_net_forward(c->net, run, &c->in, c->out, c->acts));
    if (f.x)
        dfoi_block_to_rows(c->out, f);
    dfoi_block_from_rows(c->tangent, c->out);
    memset(c->pulled.x, 0, c->n * c->d * sizeof *c->pulled.x);
    run->grads = NULL;
    dfo_status status = dfo_net_backward(c->net, run, &c->in, c->out, &gin, c->acts);
    run->grads = grads;
    return status;
}

/* dout = d^2 z/dt^2: J f + df/dt; or a higher derivative, with what its gradient needs in c->path.  */
static dfo_status accelerate(struct dfoi_cnf_call *c, dfo_run *run, dfo_real *acts)
{
    dfo_cond din = c->din;
    if (c->order > 2)
        return dfo_net_path(c->net, run, &c->in, c->order, c->dout, c->path);
    DFO_TRY(dfo_net_forward(c->net, run, &c->in, c->out, NULL));
    dfoi_block_to_rows(c->out, c->tangent);
    din.part[din.n - 1].rows = dfo_batch_of(c->ones, c->n, 1);
    return dfo_net_jvp(c->net, run, &c->in, &din, c->out, c->dout, acts);
}

dfo_status dfoi_cnf_eval_pulls(const struct dfoi_cnf_solve *f, dfo_run *run, struct dfoi_cnf_call *c, dfo_batch to, double *dq)
{
    double share = f->probe ? 1 / (double)dfoi_cnf_passes(f) : 1;
    for (size_t j = 0; j < dfoi_cnf_passes(f); j++) {
        dfoi_cnf_direct(f, c, j);
        DFO_TRY(pull(c, run, j ? (dfo_batch){0} : to));
        for (size_t i = 0; i < c->n; i++) {
            double *q = dq + (c->first + i) * c->nq;
            q[0] += share * dot(c->tangent, c->pulled, i);
            q[1 + DFOI_CNF_JACOBIAN] += share * dot(c->pulled, c->pulled, i);
        }
    }
    return DFO_OK;
}

dfo_status dfoi_cnf_eval_costs(const struct dfoi_cnf_solve *f, dfo_run *run, struct dfoi_cnf_call *c, dfo_batch to, double *dq)
{
    for (size_t i = 0; i < c->n && f->wanted[DFOI_CNF_KINETIC]; i++)
        dq[(c->first + i) * c->nq + 1 + DFOI_CNF_KINETIC] = dot(to, to, i);
    if (!f->wanted[DFOI_CNF_ACCELERATION])
        return DFO_OK;
    DFO_TRY(accelerate(c, run, NULL));
    dfoi_block_to_rows(c->dout, c->pulled);
    for (size_t i = 0; i < c->n; i++)
        dq[(c->first + i) * c->nq + 1 + DFOI_CNF_ACCELERATION] = dot(c->pulled, c->pulled, i);
    return DFO_OK;
}

/* Of gdq times e^T J e and |J^T e|^2: that of e^T J w with w = gdq[0] e + 2 gdq[Jacobian] J^T e held fast.  */
dfo_status dfoi_cnf_vjp_pulls(const struct dfoi_cnf_solve *f, dfo_run *run, struct dfoi_cnf_call *c, dfo_batch gdx, const double *gdq)
{
    double share = f->probe ? 1 / (double)dfoi_cnf_passes(f) : 1;
    for (size_t j = 0; j < dfoi_cnf_passes(f); j++) {
        dfoi_cnf_direct(f, c, j);
        DFO_TRY(pull(c, run, (dfo_batch){0}));
        for (size_t i = 0; i < c->n; i++) {
            const double *g = gdq + (c->first + i) * c->nq;
            dfo_real *w = dfo_row(c->tangent, i), *v = dfo_row(c->pulled, i);
            for (size_t e = 0; e < c->d; e++) {
                dfo_real direction = w[e];
                w[e] = (dfo_real)(share * (g[0] * (double)w[e] + 2 * g[1 + DFOI_CNF_JACOBIAN] * (double)v[e]));
                v[e] = direction;
            }
        }
        DFO_TRY(dfo_net_jvp(c->net, run, &c->in, &c->din, c->out, c->dout, c->acts));
        dfoi_cnf_seed_field(f, c, j, gdx, gdq);
        dfoi_block_from_rows(c->pulled, c->dout);
        DFO_TRY(dfo_net_jvp_backward(c->net, run, &c->in, &c->din, c->out, c->dout, &c->gin, NULL, c->acts));
    }
    return DFO_OK;
}

/* What f gets as the tangent goes to gdx.  */
dfo_status dfoi_cnf_vjp_acceleration(dfo_run *run, struct dfoi_cnf_call *c, dfo_batch gdx, const double *gdq)
{
    dfo_cond gdin = {.n = c->din.n}, din = c->din;
    dfo_batch g = dfo_batch_rows(gdx, c->first, c->n);
    DFO_TRY(accelerate(c, run, c->acts));
    dfoi_block_to_rows(c->dout, c->pulled);
    for (size_t i = 0; i < c->n; i++)
        for (size_t e = 0; e < c->d; e++)
            dfo_row(c->pulled, i)[e] *= (dfo_real)(2 * gdq[(c->first + i) * c->nq + 1 + DFOI_CNF_ACCELERATION]);
    dfoi_block_from_rows(c->pulled, c->dout);     /* zeros behind the last row */
    if (c->order > 2)
        return dfo_net_path_backward(c->net, run, &c->in, c->order, c->dout, &c->gin, c->path);
    memset(c->out.x, 0, dfoi_block_size(c->out.layout, c->n, c->d) * sizeof *c->out.x);
    memset(c->pulled.x, 0, c->n * c->d * sizeof *c->pulled.x);
    din.part[din.n - 1].rows = dfo_batch_of(c->ones, c->n, 1);
    gdin.part[0].rows = c->pulled;
    DFO_TRY(dfo_net_jvp_backward(c->net, run, &c->in, &din, c->out, c->dout, &c->gin, &gdin, c->acts));
    for (size_t i = 0; i < c->n; i++)
        for (size_t e = 0; e < c->d; e++)
            dfo_row(g, i)[e] += dfo_row(c->pulled, i)[e];
    return DFO_OK;
}

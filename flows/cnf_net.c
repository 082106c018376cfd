/* The net of a continuous flow without a solve: along a direction, alone, and fitted to velocities.  */
#include <string.h>

#include "cnf_call_impl.h"

static const struct dfoi_cnf *state(const dfo_bijector *bij)
{
    return bij->state;
}

/* ---- directions */

size_t dfoi_cnf_push_scratch(const dfo_bijector *bij, size_t rows)
{
    struct dfoi_cnf_solve f = {.bij = bij};
    dfo_field field = dfoi_cnf_field(&f, NULL, NULL);
    return dfoi_cnf_field_scratch(&field, rows) + dfoi_doubles_size(rows);
}

dfo_status dfoi_cnf_push(const dfo_bijector *bij, dfo_run *run, double t, dfo_batch x, const dfo_cond *cond, dfo_real *e)
{
    struct dfoi_cnf_solve f = {.bij = bij, .n = x.n};
    dfo_field field = dfoi_cnf_field(&f, cond, NULL);
    size_t start = run->arena_used, d = bij->d;
    double *time = dfoi_take_doubles(run, x.n);
    size_t mark = run->arena_used;
    for (size_t i = 0; i < x.n; i++)
        time[i] = state(bij)->learn_end ? dfoi_cnf_factor(state(bij), run) * t : t;
    for (size_t first = 0, n; first < x.n; first += n) {
        n = dfoi_cnf_chunk(x.n - first);
        struct dfoi_cnf_call c = dfoi_cnf_call_of(&field, run, time, x, first, n);
        memcpy(c.tangent.x, e + first * d, n * d * sizeof *e);
        DFO_TRY(dfo_net_jvp(c.net, run, &c.in, &c.din, c.out, c.dout, NULL));
        dfoi_block_to_rows(c.dout, dfo_batch_of(e + first * d, n, d));
        run->arena_used = mark;
    }
    run->arena_used = start;
    return DFO_OK;
}

/* ---- the net alone */

size_t dfoi_cnf_net_scratch(const dfo_bijector *bij, size_t rows)
{
    struct dfoi_cnf_solve f = {.bij = bij};
    dfo_field field = dfoi_cnf_field(&f, NULL, NULL);
    return dfoi_cnf_own_ops(state(bij))->scratch(&field, rows);
}

dfo_layout dfoi_cnf_net_layout(const dfo_bijector *bij)
{
    return state(bij)->net->ops->layout;
}

dfo_status dfoi_cnf_net(const struct dfoi_cnf_solve *of, dfo_run *run, const double *t, dfo_batch y, const dfo_cond *cond, dfo_batch out)
{
    struct dfoi_cnf_solve f = {.bij = of->bij, .n = y.n, .guidance = of->guidance};
    dfo_field field = dfoi_cnf_field(&f, cond, NULL);
    return dfoi_cnf_own_ops(state(of->bij))->eval(&field, run, t, y, out, NULL);
}

/* ---- flow matching */

size_t dfoi_cnf_regress_scratch(const dfo_bijector *bij, size_t rows)
{
    struct dfoi_cnf_solve f = {.bij = bij};
    dfo_field field = dfoi_cnf_field(&f, NULL, NULL);
    return dfoi_cnf_field_scratch(&field, rows) + dfoi_doubles_size(rows) + dfo_arena_size(rows);
}

/* The net's output in c->out becomes the gradient of sum by loss with respect to it; gend gets the end's.  */
static void residuals(dfo_real end, struct dfoi_cnf_call *c, dfo_batch u, const double *by, double *loss, double *gend)
{
    dfoi_block_to_rows(c->out, c->tangent);
    for (size_t i = 0; i < c->n; i++) {
        dfo_real *v = dfo_row(c->tangent, i);
        const dfo_real *want = dfo_row(u, c->first + i);
        double sum = 0;
        for (size_t e = 0; e < c->d; e++) {
            dfo_real off = end * v[e] - want[e], g = by ? (dfo_real)(2 * by[c->first + i] / (double)c->d) * off : 0;
            sum += (double)off * (double)off;
            *gend += (double)g * (double)v[e];
            v[e] = g * end;
        }
        loss[c->first + i] = sum / (double)c->d;
    }
    dfoi_block_from_rows(c->tangent, c->out);
}

dfo_status dfoi_cnf_regress(const dfo_bijector *bij, dfo_run *run, const double *t, dfo_batch x, const dfo_cond *cond, dfo_batch u,
                            const double *by, double *loss)
{
    const struct dfoi_cnf *s = state(bij);
    struct dfoi_cnf_solve f = {.bij = bij, .n = x.n};
    dfo_field field = dfoi_cnf_field(&f, cond, NULL);
    double *time = dfoi_take_doubles(run, x.n), end = dfoi_cnf_factor(s, run), gend = 0;
    f.gtime = dfo_arena_take(run, x.n);
    size_t mark = run->arena_used;
    memset(f.gtime, 0, x.n * sizeof *f.gtime);
    for (size_t i = 0; i < x.n; i++)
        time[i] = s->diffusion.on ? dfoi_diffusion_at(&s->diffusion, t[i]).net_time : end * t[i];
    for (size_t first = 0, n; first < x.n; first += n) {
        n = dfoi_cnf_chunk(x.n - first);
        struct dfoi_cnf_call c = dfoi_cnf_call_of(&field, run, time, x, first, n);
        DFO_TRY(dfo_net_forward(s->net, run, &c.in, c.out, c.acts));
        residuals((dfo_real)end, &c, u, by, loss, &gend);
        if (run->grads)
            DFO_TRY(dfo_net_backward(s->net, run, &c.in, c.out, s->learn_end ? &c.gin : NULL, c.acts));
        run->arena_used = mark;
    }
    for (size_t i = 0; i < x.n; i++)
        gend += t[i] * (double)f.gtime[i];
    dfoi_cnf_add_end(s, run, gend);
    return DFO_OK;
}

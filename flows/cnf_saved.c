/* What the forward pass of a continuous flow leaves for the way back, behind its input.  */
#include <string.h>

#include "cnf_impl.h"

static const struct dfoi_cnf *state(const dfo_bijector *bij)
{
    return bij->state;
}

/* Activations are kept of so many first steps and numbers, at most; steps behind them are taken again on the way back.  */
#define KEPT_STEPS 16
#define KEPT_NUMBERS ((size_t)24 << 20)

/* Numbers of a step's activations, 0: none are kept; steps that are kept if there is room.  */
static size_t kept_of_step(const dfo_bijector *bij, size_t rows)
{
    const struct dfoi_cnf *c = state(bij);
    struct dfoi_cnf_solve f = {.bij = bij, .n = rows};
    dfo_field field = dfoi_cnf_field(&f, NULL, NULL);
    int apart = c->cost[DFOI_CNF_JACOBIAN] > 0 || c->cost[DFOI_CNF_ACCELERATION] > 0;      /* ways back of their own */
    return apart ? 0 : dfo_ode_kept(c->together, &field, rows);
}

static size_t kept_steps(const dfo_bijector *bij)
{
    size_t given = dfo_ode_options_of(state(bij)->together)->steps, steps = given && given < KEPT_STEPS ? given : KEPT_STEPS;
    return steps < state(bij)->most ? steps : state(bij)->most;
}

/* Of so many rows, or fewer: the room is never less than fewer rows take.  */
static size_t kept_size(const dfo_bijector *bij, size_t rows)
{
    size_t size = kept_of_step(bij, rows), steps = kept_steps(bij);
    return size > KEPT_NUMBERS / steps ? KEPT_NUMBERS : steps * size;
}

/* Behind the input: the last state, or those of the reversible scheme, or the number of steps and whether they had rates, their times,
 * states and activations.  */
size_t dfoi_cnf_saved(const dfo_bijector *bij, size_t rows, const dfo_run *how)
{
    const struct dfoi_cnf *c = state(bij);
    (void)how;
    if (c->reversible)
        return 2 * dfo_arena_size(rows * bij->d);
    if (c->adjoint)
        return dfo_arena_size(rows * bij->d);
    if (c->checkpoint)
        return dfoi_doubles_size(c->most + 3);
    return dfoi_doubles_size(c->most + 3) + dfo_arena_size((c->most + 1) * rows * bij->d) + kept_size(bij, rows);
}

void dfoi_cnf_pack(dfo_batch x, dfo_real *at, int back)
{
    for (size_t i = 0; i < x.n; i++)
        memcpy(back ? dfo_row(x, i) : at + i * x.d, back ? at + i * x.d : dfo_row(x, i), x.d * sizeof *at);
}

dfo_real *dfoi_cnf_last_states(const dfo_run *run, size_t n, size_t d, size_t which)
{
    return run->saved + (1 + which) * dfo_arena_size(n * d);
}

dfo_ode_trace dfoi_cnf_steps(const dfo_bijector *bij, const dfo_run *run, size_t n, double **numbers)
{
    size_t most = state(bij)->most;
    dfo_real *at = run->saved + dfo_arena_size(n * bij->d);
    *numbers = (double *)(void *)at;
    dfo_ode_trace trace = {.most = most, .t = *numbers + 2};
    if (state(bij)->checkpoint)
        return trace;
    trace.x = at + dfoi_doubles_size(most + 3);
    size_t size = kept_of_step(bij, n);
    trace.room = size ? kept_size(bij, n) / size : 0;
    if (trace.room)
        trace.kept = trace.x + dfo_arena_size((most + 1) * n * bij->d);
    return trace;
}

/* See rextools.h.  */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "rextools.h"

dfo_rex *made(dfo_ctx *ctx, const dfo_rex_options *o)
{
    dfo_rex *rex;
    OK(dfo_rex_new(ctx, o, &rex));
    return rex;
}

dfo_run run_of(const dfo_rex *rex, const dfo_field *f, size_t rows)
{
    dfo_run run = {.arena_size = dfo_rex_scratch(rex, f, rows)};
    size_t other = dfo_rex_backward_scratch(rex, f, rows);
    run.arena_size = other > run.arena_size ? other : run.arena_size;
    run.arena = aligned_alloc(64, run.arena_size * sizeof *run.arena);
    ck_assert_ptr_nonnull(run.arena);
    memset(run.arena, -1, run.arena_size * sizeof *run.arena);      /* not a number */
    return run;
}

void brownian(const void *data, uint64_t row, size_t d, double s, double t, double *w, double *h)
{
    double low = fmin(s, t), high = fmax(s, t), size = sqrt(high - low);
    uint64_t a, b;
    memcpy(&a, &low, sizeof a);
    memcpy(&b, &high, sizeof b);
    dfo_key key = {.seed = *(const uint64_t *)data ^ (a * 0x9e3779b97f4a7c15u) ^ (b << 1), .row = row, .purpose = DFO_FOR_TEST};
    for (size_t j = 0; j < d; j++) {
        double u[4];
        dfo_draw_uniform(key, 4 * j, 4, u);
        w[j] = (s < t ? size : -size) * sqrt(-2 * log(u[0])) * cos(6.283185307179586 * u[1]);
        h[j] = size / sqrt(12) * sqrt(-2 * log(u[2])) * cos(6.283185307179586 * u[3]);
    }
}

const uint64_t test_path = 7;

dfo_rex_options options_of(dfo_rex_form form, const char *method, double zeta)
{
    dfo_rex_options o;
    dfo_rex_defaults(&o);
    o.form = form;
    o.method = method;
    o.one_state = zeta == 0;
    o.zeta = zeta;
    o.noise = brownian;
    o.noise_data = &test_path;
    return o;
}

int wants_data(dfo_rex_form form)
{
    return form == DFO_REX_ODE_DATA || form == DFO_REX_SDE_DATA;
}

void grid_of(dfo_ctx *ctx, const dfo_noise_schedule *s, const char *kind, double from, double to, size_t steps, double *t)
{
    dfo_time_grid g = {.kind = kind, .from = from, .to = to};
    OK(dfo_noise_schedule_grid(ctx, s, &g, steps, t));
}

void start_rows(dfo_real *x, dfo_real *xh, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = xh[i] = (dfo_real)(1.3 * sin(3.0 * (double)i));
}

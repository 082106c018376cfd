/* What invertible convolutions share: their kernel's size, and which way they are used.  */
#include <string.h>

#include "convolution_impl.h"

static const struct dfoi_convolution *state(const dfo_bijector *bij)
{
    return bij->state;
}

dfo_status dfoi_convolution_read(dfo_ctx *ctx, const json_t *config, const size_t most[2], struct dfoi_convolution *s)
{
    size_t kernel[2] = {most[0] < 3 ? most[0] : 3, most[1] < 3 ? most[1] : 3}, n = 2;
    if (json_object_get(config, "kernel"))
        DFO_TRY(dfoi_json_sizes(ctx, config, "kernel", 1, (size_t)1 << 24, 2, kernel, &n));
    if (n == 0)
        return dfoi_fail(ctx, DFO_EARG, "kernel: expected one or two numbers, got none");
    if (n == 1)
        kernel[1] = kernel[0];
    if (kernel[0] > most[0] || kernel[1] > most[1])
        return dfoi_fail(ctx, DFO_ESHAPE, "kernel: expected at most %zux%zu, got %zux%zu", most[0], most[1], kernel[0],
                         kernel[1]);
    s->kh = kernel[0];
    s->kw = kernel[1];
    return dfoi_json_bool(ctx, config, "solve", 0, &s->solve);
}

dfo_status dfoi_convolution_describe(const dfo_bijector *bij, json_t *to)
{
    const struct dfoi_convolution *s = state(bij);
    DFO_TRY(dfoi_json_set(bij->ctx, to, "kernel", json_pack("[I, I]", (json_int_t)s->kh, (json_int_t)s->kw)));
    return dfoi_json_set(bij->ctx, to, "solve", json_boolean(s->solve));
}

size_t dfoi_convolution_saved(const dfo_bijector *bij, size_t rows, const dfo_run *how)
{
    return how->memory == DFO_MEMORY_STORE ? rows * bij->d : 0;
}

/* The input, where it is to be kept or was.  */
static dfo_real *kept(const dfo_bijector *bij, const dfo_run *run)
{
    return bij->ops->saved && run->memory == DFO_MEMORY_STORE ? run->saved : NULL;
}

dfo_status dfoi_convolution_forward(const dfo_bijector *bij, dfo_run *run, dfo_batch x, const dfo_cond *cond, double *logdet)
{
    dfo_real *to = kept(bij, run);
    (void)cond;
    for (size_t i = 0; to && i < x.n; i++)
        memcpy(to + i * x.d, dfo_row(x, i), x.d * sizeof *to);
    return state(bij)->apply(bij, run, x, state(bij)->solve, logdet);
}

dfo_status dfoi_convolution_inverse(const dfo_bijector *bij, dfo_run *run, dfo_batch z, const dfo_cond *cond, double *logdet)
{
    (void)cond;
    return state(bij)->apply(bij, run, z, !state(bij)->solve, logdet);
}

dfo_status dfoi_convolution_backward(const dfo_bijector *bij, dfo_run *run, dfo_batch z, dfo_batch gz, const dfo_cond *cond,
                                     dfo_cond *gcond, const double *glogdet)
{
    (void)cond;
    (void)gcond;
    return state(bij)->pull(bij, run, z, gz, state(bij)->solve, kept(bij, run), glogdet);
}

dfo_status dfoi_convolution_inverse_backward(const dfo_bijector *bij, dfo_run *run, dfo_batch x, dfo_batch gx,
                                             const dfo_cond *cond, dfo_cond *gcond, const double *glogdet)
{
    (void)cond;
    (void)gcond;
    return state(bij)->pull(bij, run, x, gx, !state(bij)->solve, NULL, glogdet);
}

void dfoi_convolution_turn(const dfo_bijector *bij, dfo_conditioning *of)
{
    if (state(bij)->solve)
        *of = (dfo_conditioning){1 / of->largest, 1 / of->smallest};
}

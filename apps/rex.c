/* encode --sampler rex, and decode of what it made: see rex.h.  The second states of all rows are kept until the file is finished.  */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "rex.h"

enum { SAMPLER = 740, ZETA, BIT_EXACT, SDE, START_NOISE };

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct rex_options *o = state->input;
    switch (key) {
    case ARGP_KEY_INIT: *o = (struct rex_options){.zeta = -1}; return 0;
    case SAMPLER:
        o->sampler = arg;
        if (strcmp(arg, "rex") && (strncmp(arg, "rex:", 4) || !arg[4]))
            argp_error(state, "--sampler: expected rex or rex:METHOD, got '%s'", arg);
        return 0;
    case ZETA:
        o->zeta = to_double(state, "--zeta", arg, 0, 1);
        if (!(o->zeta > 0))
            argp_error(state, "--zeta: expected a number above 0, 1 at most, got '%s'", arg);
        return 0;
    case BIT_EXACT: o->exact = 1; return 0;
    case SDE: o->sde = 1; return 0;
    case START_NOISE:
        o->start_noise = 1;
        o->start_time = arg ? to_double(state, "--start-noise", arg, 0, 1e6) : 0;
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option options[] = {
    {"sampler", SAMPLER, "rex[:METHOD]", 0, "Of diffusion models: Rex in --solver-steps steps (METHOD: midpoint, of --sde shark)", 9},
    {"zeta", ZETA, "X", 0, "Rex: the states' coupling, above 0, 1 at most (default 0.999)", 9},
    {"bit-exact", BIT_EXACT, NULL, 0, "Rex: on whole numbers, which undo themselves", 9},
    {"sde", SDE, NULL, 0, "Rex: along the reverse SDE, by shark or euler-maruyama", 9},
    {"start-noise", START_NOISE, "TIME", OPTION_ARG_OPTIONAL,
     "Rex: rows with the noise of the time they start at, which decoding takes off (TIME: the first)", 9},
    {0},
};

const struct argp rex_argp = {options, parse, NULL, NULL, NULL, NULL, NULL};

int rex_options_fit(struct common *c, const struct rex_options *o, const char *output, int lossy)
{
    const dfo_solver_options *s = &c->solver;
    size_t n = strlen(output);
    if (!o->sampler && (o->zeta >= 0 || o->exact || o->sde || o->start_noise))
        return usage_error(c, "--zeta, --bit-exact, --sde and --start-noise go with --sampler rex");
    if (!o->sampler)
        return 0;
    if (s->steps == DFO_AS_IT_IS || !s->steps)
        return usage_error(c, "--sampler rex wants --solver-steps N, 1 at least");
    if (s->method || s->rtol >= 0 || s->atol >= 0 || s->probes != DFO_AS_IT_IS)
        return usage_error(c, "--solver, --rtol, --atol and --trace do not go with --sampler rex");
    if (o->exact && o->zeta >= 0)
        return usage_error(c, "--bit-exact and --zeta exclude each other: whole numbers go with a zeta of 1");
    if (!lossy && (n <= 12 || strcmp(output + n - 12, ".safetensors")))
        return usage_error(c, "%s: latents alone do not give the rows back, second states belong to them: --sampler rex wants .safetensors "
                           "(--lossy writes the latents)", output);
    c->solves = 0;                         /* the steps are Rex's: the model stays as it is solved */
    return 0;
}

struct rex {
    dfo_flow_rex      *flow;
    const dfo_latents *latents;        /* decoding: where states come from */
    dfo_latents_rex    kept;           /* encoding: how, and all rows' states */
    struct verify     *verify;         /* encoding: what is found by decoding again, or NULL */
    size_t             d;
    dfo_real          *aux;            /* (rows, d) encoding, (chunk, d) decoding */
    int64_t           *y, *yh;
    dfo_real          *rows, *back, *second;   /* (chunk, d) to verify */
};

static int make(const struct common *c, const char *path, dfo_model *model, const dfo_flow_rex_options *how, uint64_t rows, struct rex **out)
{
    const dfo_flow *flow = dfo_model_flow(model);
    struct rex *r = *out = calloc(1, sizeof *r);
    if (!flow || !dfo_flow_diffuses(flow))
        return usage_error(c, "%s has no diffusion layer: --sampler rex wants one", path), EXIT_FAILED;
    if (r && dfo_flow_rex_new(c->ctx, flow, how, &r->flow))
        return failed(c);
    size_t d = dfo_model_features(model), bytes = how->exact ? sizeof *r->y : sizeof *r->aux;
    if (!r || rows > SIZE_MAX / bytes / (d ? d : 1))
        return usage_error(c, "out of memory"), EXIT_FAILED;
    size_t all = (size_t)rows * d + 1;
    r->d = d;
    r->kept.how = *dfo_flow_rex_options_of(r->flow);
    r->aux = how->exact ? NULL : malloc(all * sizeof *r->aux);
    r->y = how->exact ? malloc(all * sizeof *r->y) : NULL;
    r->yh = how->exact ? malloc(all * sizeof *r->yh) : NULL;
    if (how->exact ? !r->y || !r->yh : !r->aux)
        return usage_error(c, "out of memory: second states"), EXIT_FAILED;
    return 0;
}

int rex_encoder(const struct common *c, const struct rex_options *o, struct verify *v, int verifying, struct rex **out)
{
    dfo_flow_rex_options how = {.method = o->sampler[3] ? o->sampler + 4 : o->sde ? "shark" : NULL, .steps = c->solver.steps, .sde = o->sde, .exact = o->exact,
                                .zeta = o->exact ? 1 : o->zeta >= 0 ? o->zeta : 0.999, .start_noise = o->start_noise, .start_time = o->start_time,
                                .seed = c->seed};
    int status = make(c, v->path, v->model, &how, v->input->info.rows, out);
    if (status || !verifying)
        return status;
    struct rex *r = *out;
    size_t all = v->chunk * r->d;
    r->verify = v;
    r->rows = malloc(all * sizeof *r->rows);
    r->back = malloc(all * sizeof *r->back);
    r->second = malloc(all * sizeof *r->second);
    return r->rows && r->back && r->second ? 0 : (usage_error(c, "out of memory"), EXIT_FAILED);
}

int rex_decoder(const struct common *c, const char *path, dfo_model *model, const dfo_latents *latents, size_t chunk, struct rex **out)
{
    int status = make(c, path, model, dfo_latents_how(latents), chunk, out);
    if (!status)
        (*out)->latents = latents;
    return status;
}

void rex_free(struct rex *r)
{
    if (!r)
        return;
    dfo_flow_rex_free(r->flow);
    free(r->aux);
    free(r->y);
    free(r->yh);
    free(r->rows);
    free(r->back);
    free(r->second);
    free(r);
}

static void copy(dfo_batch from, dfo_batch to)
{
    for (size_t i = 0; i < to.n; i++)
        memcpy(dfo_row(to, i), dfo_row(from, i), to.d * sizeof *to.x);
}

/* As verify.c measures them; nothing is repaired.  */
static void measure(struct verify *v, uint64_t first, dfo_batch x, dfo_batch back)
{
    int discrete = v->input->rows.discrete;
    for (size_t i = 0; i < x.n; i++) {
        int bad = 0;
        for (size_t j = 0; j < x.d; j++) {
            double value = (double)dfo_row(x, i)[j], e = fabs((double)dfo_row(back, i)[j] - value);
            int off = !(discrete ? e < 0.5 : e <= v->tolerance * (1 + fabs(value)));
            v->worst = fmax(v->worst, e);
            v->pixels_wrong += discrete && off;
            bad |= off;
        }
        if (bad && !v->over++)
            v->first_over = first + i;
    }
    v->worst_before = v->worst;
    v->failed = v->over;
}

static dfo_status verify_rows_of(struct rex *r, uint64_t first, dfo_batch x, dfo_batch z, const dfo_cond *cond)
{
    size_t at = (size_t)first * r->d;
    dfo_batch back = dfo_batch_of(r->back, x.n, r->d), second = dfo_batch_of(r->second, x.n, r->d);
    copy(z, back);
    if (!r->kept.how.exact)
        copy(dfo_batch_of(r->aux + at, x.n, r->d), second);
    dfo_status status = r->kept.how.exact ? dfo_flow_rex_decode_exact(r->flow, first, back, cond, r->y + at, r->yh + at)
                                          : dfo_flow_rex_decode(r->flow, first, back, cond, second);
    if (!status)
        measure(r->verify, first, x, back);
    return status;
}

dfo_status rex_encode(struct rex *r, uint64_t first, dfo_batch x, const dfo_cond *cond)
{
    size_t at = (size_t)first * r->d;
    dfo_batch rows = dfo_batch_of(r->rows, x.n, r->d);
    if (r->verify)
        copy(x, rows);
    dfo_status status = r->kept.how.exact ? dfo_flow_rex_encode_exact(r->flow, first, x, cond, r->y + at, r->yh + at)
                                          : dfo_flow_rex_encode(r->flow, first, x, cond, dfo_batch_of(r->aux + at, x.n, r->d));
    return status || !r->verify ? status : verify_rows_of(r, first, rows, x, cond);
}

dfo_status rex_decode(struct rex *r, uint64_t first, dfo_batch z, const dfo_cond *cond)
{
    dfo_batch aux = dfo_batch_of(r->aux, z.n, r->d);
    dfo_status status = r->kept.how.exact ? dfo_latents_read_whole(r->latents, first, z.n, r->y, r->yh)
                                          : dfo_latents_read_aux(r->latents, first, aux);
    if (status)
        return status;
    return r->kept.how.exact ? dfo_flow_rex_decode_exact(r->flow, first, z, cond, r->y, r->yh)
                             : dfo_flow_rex_decode(r->flow, first, z, cond, aux);
}

dfo_latents_rex rex_latents(const struct rex *r)
{
    dfo_latents_rex kept = r->kept;
    kept.aux = r->aux;
    kept.y = r->y;
    kept.yh = r->yh;
    return kept;
}

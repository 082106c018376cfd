/* sample --sampler, see sampler.h.  */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sampler.h"

enum { SAMPLER = 760, GRID, ETA, SNR, CORRECTIONS, CHURN, CHURN_MIN, CHURN_MAX, CHURN_NOISE, SDE };

/* A number above 0.  */
static double above(struct argp_state *state, const char *option, const char *arg, double high)
{
    double number = to_double(state, option, arg, 0, high);
    if (!(number > 0))
        argp_error(state, "%s: expected a number above 0, got '%s'", option, arg);
    return number;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct sampler_options *o = state->input;
    dfo_denoiser_options *how = &o->how;
    switch (key) {
    case ARGP_KEY_INIT:
        *o = (struct sampler_options){.grid = NULL};
        dfo_denoiser_defaults(how);
        return 0;
    case SAMPLER: how->sampler = arg; return 0;
    case GRID: o->grid = arg; return 0;
    case ETA: how->eta = to_double(state, "--eta", arg, 0, 1); o->given |= DFO_TAKES_ETA; return 0;
    case SNR: how->snr = above(state, "--snr", arg, 0.69); o->given |= DFO_TAKES_SNR; return 0;
    case CORRECTIONS: how->corrections = (size_t)to_u64(state, "--corrections", arg, 1); o->given |= DFO_TAKES_CORRECTIONS; return 0;
    case CHURN: how->churn = to_double(state, "--churn", arg, 0, 1e6); o->given |= DFO_TAKES_CHURN; return 0;
    case CHURN_MIN: how->churn_min = to_double(state, "--churn-min", arg, 0, 1e9); o->given |= DFO_TAKES_CHURN; return 0;
    case CHURN_MAX: how->churn_max = to_double(state, "--churn-max", arg, 0, 1e9); o->given |= DFO_TAKES_CHURN; return 0;
    case CHURN_NOISE: how->churn_noise = above(state, "--churn-noise", arg, 100); o->given |= DFO_TAKES_CHURN; return 0;
    case SDE: how->sde = 1; o->given |= DFO_TAKES_METHOD; return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option options[] = {
    {"sampler", SAMPLER, "NAME", 0, "Of diffusion models, in --solver-steps steps: ancestral, ddim, euler-maruyama, predictor-corrector, edm-heun, "
     "langevin, rex[:METHOD]", 9},
    {"grid", GRID, "NAME", 0, "Their levels: uniform, log-snr, edm or ddpm (default: as suits the sampler)", 9},
    {"eta", ETA, "X", 0, "ddim: noise, as a part of ancestral's (default 0)", 9},
    {"snr", SNR, "X", 0, "predictor-corrector, langevin: length of a correction (default 0.16, 0.35)", 9},
    {"corrections", CORRECTIONS, "N", 0, "predictor-corrector, langevin: corrections at a level (default 1, 10)", 9},
    {"churn", CHURN, "X", 0, "edm-heun: fresh noise on the way (default 0)", 9},
    {"churn-min", CHURN_MIN, "X", 0, "edm-heun: at levels sigma/alpha from X on (default 0)", 9},
    {"churn-max", CHURN_MAX, "X", 0, "edm-heun: to X (default: all)", 9},
    {"churn-noise", CHURN_NOISE, "X", 0, "edm-heun: X times as much as the level's (default 1)", 9},
    {"sde", SDE, NULL, 0, "rex: along the reverse SDE, by shark or euler-maruyama", 9},
    {0},
};

const struct argp sampler_argp = {options, parse, NULL, NULL, NULL, NULL, NULL};

/* "--eta goes with --sampler ddim".  */
static int misplaced(const struct common *c, unsigned which)
{
    static const struct { unsigned which; const char *option; } all[] = {
        {DFO_TAKES_ETA, "--eta goes"}, {DFO_TAKES_SNR, "--snr goes"}, {DFO_TAKES_CORRECTIONS, "--corrections goes"},
        {DFO_TAKES_CHURN, "--churn, --churn-min, --churn-max and --churn-noise go"}, {DFO_TAKES_METHOD, "--sde goes"},
        {DFO_TAKES_GIVEN, "--given goes"}};
    char names[128] = "";
    size_t m = 0;
    while (!(which & all[m].which))
        m++;
    for (size_t i = 0; dfo_denoiser_kind_at(i); i++) {
        const dfo_denoiser_kind *kind = dfo_denoiser_kind_at(i);
        size_t used = strlen(names);
        if (kind->takes & all[m].which)
            snprintf(names + used, sizeof names - used, "%s%s", used ? " or " : "", kind->name);
    }
    return usage_error(c, "%s with --sampler %s", all[m].option, names);
}

int sampler_options_fit(struct common *c, const struct sampler_options *o)
{
    const dfo_solver_options *s = &c->solver;
    const dfo_denoiser_kind *kind;
    if (!o->how.sampler && o->given)
        return misplaced(c, o->given);
    if (!o->how.sampler)
        return o->grid ? usage_error(c, "--grid goes with --sampler") : 0;
    if (dfo_denoiser_kind_named(c->ctx, o->how.sampler, &kind))
        return usage_error(c, "--sampler: %s", dfo_ctx_error(c->ctx));
    if (o->given & ~kind->takes)
        return misplaced(c, o->given & ~kind->takes);
    if (!(o->how.churn > 0) && (o->how.churn_min > 0 || o->how.churn_max < HUGE_VAL || o->how.churn_noise < 1 || o->how.churn_noise > 1))
        return usage_error(c, "--churn-min, --churn-max and --churn-noise go with --churn above 0");
    if (s->steps == DFO_AS_IT_IS || !s->steps)
        return usage_error(c, "--sampler %s wants --solver-steps N, 1 at least", o->how.sampler);
    if (s->method || s->rtol >= 0 || s->atol >= 0 || s->probes != DFO_AS_IT_IS)
        return usage_error(c, "--solver, --rtol, --atol and --trace do not go with --sampler");
    c->solves = 0;                         /* the steps are the sampler's: the model stays as it is solved */
    return 0;
}

int sampler_new(const struct common *c, const struct sampler_options *o, const char *path, dfo_model *model, dfo_flow_denoiser **out)
{
    const dfo_flow *flow = dfo_model_flow(model);
    dfo_denoiser_options how = o->how;
    how.seed = c->seed;
    if (!flow || !dfo_flow_diffuses(flow))
        return usage_error(c, "%s is not a diffusion model: --sampler wants one", path), EXIT_FAILED;
    return dfo_flow_denoiser_new(c->ctx, flow, &how, o->grid, c->solver.steps, out) ? failed(c) : 0;
}

/* --solver and what goes with it: how continuous flows are solved, at training kept in the model, later in its place; --guidance.  */
#include <stdlib.h>
#include <string.h>

#include "cmd.h"

enum { SOLVER = 720, SOLVER_STEPS, RTOL, ATOL, TRACE, GUIDANCE };

static void trace(struct argp_state *state, dfo_solver_options *o, const char *arg)
{
    if (!strcmp(arg, "exact"))
        o->probes = 0;
    else if (!strncmp(arg, "hutchinson:", 11))
        o->probes = (size_t)to_u64(state, "--trace hutchinson", arg + 11, 1);
    else
        argp_error(state, "--trace: expected exact or hutchinson:K, got '%s'", arg);
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct common *c = state->input;
    dfo_solver_options *o = &c->solver;
    if (key == ARGP_KEY_INIT)
        *o = (dfo_solver_options){.steps = DFO_AS_IT_IS, .rtol = -1, .atol = -1, .probes = DFO_AS_IT_IS};
    switch (key) {
    case ARGP_KEY_INIT: return 0;
    case SOLVER: o->method = arg; break;
    case SOLVER_STEPS: o->steps = (size_t)to_u64(state, "--solver-steps", arg, 0); break;
    case RTOL: o->rtol = to_double(state, "--rtol", arg, 0, 1); break;
    case ATOL: o->atol = to_double(state, "--atol", arg, 0, 1e6); break;
    case TRACE: trace(state, o, arg); break;
    case GUIDANCE:
        c->guidance = to_double(state, "--guidance", arg, -1e6, 1e6);
        c->guides = 1;
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
    c->solves = 1;
    return 0;
}

static const struct argp_option options[] = {
    {"solver", SOLVER, "NAME", 0, "Of continuous flows: dopri5, tsit5, rk4, ...", 8},
    {"solver-steps", SOLVER_STEPS, "N", 0, "Equal steps, 0: chosen by the tolerances", 8},
    {"rtol", RTOL, "X", 0, "Relative tolerance of a step", 8},
    {"atol", ATOL, "X", 0, "Absolute tolerance of a step", 8},
    {"trace", TRACE, "exact|hutchinson:K", 0, "The log-density's trace, or its estimate by K probes", 8},
    {"guidance", GUIDANCE, "W", 0, "Of models trained with label_dropout: 0 without the class, 1 with it, more: beyond it", 8},
    {0},
};

const struct argp solver_argp = {options, parse, NULL, NULL, NULL, NULL, NULL};

int open_model(const struct common *c, const char *path, dfo_model **out)
{
    if (dfo_model_load(c->ctx, path, out))
        return failed(c);
    if (c->solves && dfo_model_set_solver(*out, &c->solver))
        return file_failed(c, "%s", path);
    return c->guides && dfo_model_set_guidance(*out, c->guidance) ? file_failed(c, "%s", path) : 0;
}

/* KEY=VALUE of everything that was given.  */
int solver_settings(const struct common *c, char text[SOLVER_SETTINGS][64])
{
    const dfo_solver_options *o = &c->solver;
    int n = 0;
    if (!c->solves)
        return 0;
    if (o->method)
        snprintf(text[n++], 64, "solver=\"%.40s\"", o->method);
    if (o->steps != DFO_AS_IT_IS)
        snprintf(text[n++], 64, "solver_steps=%zu", o->steps);
    if (o->rtol >= 0)
        snprintf(text[n++], 64, "rtol=%.17g", o->rtol);
    if (o->atol >= 0)
        snprintf(text[n++], 64, "atol=%.17g", o->atol);
    if (o->probes != DFO_AS_IT_IS)
        snprintf(text[n++], 64, "probes=%zu", o->probes);
    return n;
}

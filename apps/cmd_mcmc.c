/* diffeo mcmc: draws of a density by Markov chains, in its own columns or in the latents of a flow (NeuTra).  */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "target.h"

#define TEXT_COLUMNS 16                /* that the report in words tells one by one */
#define WELL_MIXED 1.01                /* R-hat above it: Vehtari et al. 2021, section 4 */

struct options {
    struct common common;
    const char *model, *target, *output, *format;
    dfo_mcmc_kind kind;
    uint64_t chains, warmup, draws, leapfrog;      /* 0: as the library has it; but warmup, which UINT64_MAX is of */
    double   step, acceptance;
    int      no_mass;
};

enum { TARGET = 256, METHOD, CHAINS, WARMUP, LEAPFROG, STEP, ACCEPTANCE, NO_MASS };

static const char *const methods[] = {"rwm", "mala", "hmc"};

static const struct argp_option options_list[] = {
    {"target", TARGET, "NAME", 0, "The density: normal[:D[:RHO]], banana, funnel[:D], ring, gaussians8, two-moons, eight-schools, "
     "logistic:SPEC[:DEVIATION]", 1},
    {"method", METHOD, "rwm|mala|hmc", 0, "Random walk, Langevin's steps, Hamiltonian Monte Carlo (default)", 2},
    {"chains", CHAINS, "N", 0, "Chains (default 4)", 2},
    {"warmup", WARMUP, "N", 0, "Iterations of each that are thrown away, and learn step and scales (default 1000)", 2},
    {NULL, 'n', "N", 0, "Draws of each chain (default 1000)", 2},
    {"leapfrog", LEAPFROG, "N", 0, "hmc: mean number of leapfrog steps (default 16)", 2},
    {"step", STEP, "X", 0, "The first step; with --warmup 0 the step (default: found)", 2},
    {"acceptance", ACCEPTANCE, "P", 0, "That warm-up aims at (default 0.8, 0.574, 0.234 of hmc, mala, rwm)", 2},
    {"no-mass", NO_MASS, NULL, 0, "All columns are of one scale: warm-up learns none", 2},
    {"output", 'o', "FILE", 0, "The draws, chain after chain (.npy, .csv, '-')", 3},
    {"format", 'F', "csv|npy", 0, "Format of '-'", 3},
    {0},
};

static dfo_mcmc_kind method_of(struct argp_state *state, const char *arg)
{
    for (int i = 0; i < 3; i++)
        if (!strcmp(arg, methods[i]))
            return (dfo_mcmc_kind)i;
    argp_error(state, "--method: unknown value '%s'; expected rwm, mala, hmc", arg);
    return DFO_HMC;
}

/* Between low and high, not at them.  */
static double inside(struct argp_state *state, const char *option, const char *arg, double low, double high)
{
    double x = to_double(state, option, arg, low, high);
    if (!(x > low && x < high))
        argp_error(state, "%s: expected a number between %g and %g, got '%s'", option, low, high, arg);
    return x;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;
    switch (key) {
    case ARGP_KEY_INIT: state->child_inputs[0] = &o->common; return 0;
    case TARGET: o->target = arg; return 0;
    case METHOD: o->kind = method_of(state, arg); return 0;
    case CHAINS: o->chains = to_u64(state, "--chains", arg, 1); return 0;
    case WARMUP: o->warmup = to_u64(state, "--warmup", arg, 0); return 0;
    case 'n': o->draws = to_u64(state, "-n", arg, 4); return 0;
    case LEAPFROG: o->leapfrog = to_u64(state, "--leapfrog", arg, 1); return 0;
    case STEP: o->step = inside(state, "--step", arg, 0, 1e300); return 0;
    case ACCEPTANCE: o->acceptance = inside(state, "--acceptance", arg, 0, 1); return 0;
    case NO_MASS: o->no_mass = 1; return 0;
    case 'o': o->output = arg; return 0;
    case 'F': o->format = arg; return 0;
    case ARGP_KEY_NO_ARGS: return 0;               /* chains want no model */
    default: return model_argument(key, arg, state, &o->model);
    }
}

struct job {
    struct options *o;
    dfo_named_target *target;
    dfo_model        *model;
    dfo_neutra       *neutra;          /* with a model */
    dfo_mcmc_options  how;
    dfo_mcmc_report   report;
    dfo_mcmc_summary *summary;         /* (d) */
    json_t   *names;
    dfo_sink *sink;
    size_t    d, rows;
    double   *start, *x;               /* (chains, d), (rows, d) */
    dfo_real *row;                     /* (d) */
};

static void choose(struct job *j)
{
    const struct options *o = j->o;
    dfo_mcmc_defaults(o->kind, &j->how);
    j->how.seed = o->common.seed;
    j->how.step = o->step;
    j->how.mass = !o->no_mass;
    if (o->chains)
        j->how.chains = (size_t)o->chains;
    if (o->warmup != UINT64_MAX)
        j->how.warmup = (size_t)o->warmup;
    if (o->draws)
        j->how.draws = (size_t)o->draws;
    if (o->leapfrog)
        j->how.leapfrog = (size_t)o->leapfrog;
    if (o->acceptance > 0)
        j->how.acceptance = o->acceptance;
}

static int set_up(struct job *j)
{
    const struct options *o = j->o;
    const struct common *c = &o->common;
    int status = target_open(c, o->target, &j->target);
    if (status)
        return status;
    if (o->model) {
        if (dfo_model_load(c->ctx, o->model, &j->model) || dfo_model_wants_density(j->model))
            return failed(c);
        if (dfo_neutra_new(c->ctx, dfo_model_flow(j->model), &j->target->target, &j->neutra))
            return file_failed(c, "%s and target %s", o->model, o->target);
    }
    choose(j);
    j->d = j->target->target.d;
    size_t bytes;
    if (__builtin_mul_overflow(j->how.chains, j->how.draws, &j->rows) || __builtin_mul_overflow(j->rows, j->d * sizeof *j->x, &bytes) ||
        (c->memory && bytes > c->memory))
        return usage_error(c, "%zu chains of %zu draws of %zu bytes, held at once, are too many%s", j->how.chains, j->how.draws,
                           j->d * sizeof *j->x, c->memory ? " for --memory" : ""), EXIT_FAILED;
    j->start = malloc(j->how.chains * j->d * sizeof *j->start);
    j->x = malloc(bytes);
    j->row = malloc(j->d * sizeof *j->row);
    j->summary = malloc(j->d * sizeof *j->summary);
    j->names = target_names(j->target, j->model);
    if (!j->start || !j->x || !j->row || !j->summary || !j->names)
        return usage_error(c, "out of memory: %zu draws", j->rows), EXIT_FAILED;
    return o->output ? target_sink(c, o->output, o->format, j->rows, j->names, NULL, &j->sink) : 0;
}

/* Chains begin uniformly between -2 and 2 in every column or latent, as Stan's do.  */
static int run(struct job *j)
{
    const struct common *c = &j->o->common;
    const dfo_target *target = j->neutra ? dfo_neutra_target(j->neutra) : &j->target->target;
    for (size_t i = 0; i < j->how.chains; i++) {
        dfo_draw_uniform((dfo_key){.seed = c->seed, .row = i, .purpose = DFO_FOR_SAMPLER}, 0, j->d, j->start + i * j->d);
        for (size_t k = 0; k < j->d; k++)
            j->start[i * j->d + k] = 4 * j->start[i * j->d + k] - 2;
    }
    if (dfo_mcmc_run(c->ctx, target, &j->how, j->start, j->x, NULL, &j->report))
        return failed(c);
    if (j->neutra && dfo_neutra_rows(j->neutra, j->rows, j->x, j->x))
        return failed(c);
    if (dfo_mcmc_summarise(c->ctx, j->how.chains, j->how.draws, j->d, j->x, j->summary))
        return failed(c);
    for (size_t i = 0; j->sink && i < j->rows; i++) {
        for (size_t k = 0; k < j->d; k++)
            j->row[k] = (dfo_real)j->x[i * j->d + k];
        if (dfo_sink_write(j->sink, dfo_batch_of(j->row, 1, j->d)))
            return failed(c);
    }
    return 0;
}

/* The columns of the largest R-hat (NAN is worse than any) and of the least ESS.  */
static void worst(const struct job *j, size_t *rhat, size_t *ess)
{
    *rhat = *ess = 0;
    for (size_t k = 1; k < j->d; k++) {
        if (!isnan(j->summary[*rhat].rhat) && !(j->summary[k].rhat <= j->summary[*rhat].rhat))
            *rhat = k;
        if (j->summary[k].ess < j->summary[*ess].ess)
            *ess = k;
    }
}

static void print_text(const struct job *j)
{
    const struct common *c = &j->o->common;
    FILE *to = text_out(c);
    size_t rhat, ess;
    worst(j, &rhat, &ess);
    fprintf(to, "%s%s: %zu chains of %zu draws, step %.3g, acceptance %.3f, %llu divergences\n", methods[j->o->kind], j->neutra ? " in latents" : "",
            j->how.chains, j->how.draws, j->report.step, j->report.acceptance, (unsigned long long)j->report.divergences);
    fprintf(to, "%-14s %11s %10s %9s %9s %9s %9s %8s\n", "", "mean", "deviation", "error", "ESS", "ESS bulk", "ESS tail", "R-hat");
    for (size_t k = 0; k < j->d && k < TEXT_COLUMNS; k++) {
        const dfo_mcmc_summary *s = &j->summary[k];
        fprintf(to, "%-14.14s %11.5g %10.4g %9.2g %9.0f %9.0f %9.0f %8.4f\n", json_string_value(json_array_get(j->names, k)), s->mean, s->deviation,
                s->error, s->ess, s->ess_bulk, s->ess_tail, s->rhat);
    }
    if (j->d > TEXT_COLUMNS)
        fprintf(to, "(%zu columns more: --json tells them)\n", j->d - TEXT_COLUMNS);
    fprintf(to, "largest R-hat %.4f (%s), least ESS %.0f (%s)\n", j->summary[rhat].rhat, json_string_value(json_array_get(j->names, rhat)),
            j->summary[ess].ess, json_string_value(json_array_get(j->names, ess)));
    if (!(j->summary[rhat].rhat <= WELL_MIXED))
        fprintf(to, "R-hat above %g: the chains are not mixed, means and errors are not to be trusted\n", WELL_MIXED);
    if (j->report.divergences && j->o->kind != DFO_METROPOLIS)
        fputs("divergences: there are places that the chains do not get into; a larger --acceptance may help, or a fitted MODEL\n", to);
}

static json_t *summary_json(const struct job *j, size_t k)
{
    const dfo_mcmc_summary *s = &j->summary[k];
    return json_pack("{s:O, s:f, s:f, s:o, s:o, s:o, s:o, s:o}", "name", json_array_get(j->names, k), "mean", s->mean, "deviation", s->deviation, "error",
                     real_or_null(s->error), "ess", real_or_null(s->ess), "ess_bulk", real_or_null(s->ess_bulk), "ess_tail",
                     real_or_null(s->ess_tail), "rhat", real_or_null(s->rhat));
}

static int report(const struct job *j, double seconds)
{
    const struct options *o = j->o;
    const struct common *c = &o->common;
    const dfo_mcmc_report *r = &j->report;
    size_t rhat, ess;
    if (!c->json) {
        print_text(j);
        return 0;
    }
    worst(j, &rhat, &ess);
    json_t *columns = json_array();
    for (size_t k = 0; k < j->d; k++)
        json_array_append_new(columns, summary_json(j, k));
    return print_json(c, json_pack("{s:s, s:s, s:b, s:I, s:I, s:I, s:I, s:f, s:f, s:I, s:I, s:o, s:o, s:o, s:f, s:I}", "target", o->target, "method",
                                   methods[o->kind], "latents", j->neutra != NULL, "dims", (json_int_t)j->d, "chains", (json_int_t)j->how.chains,
                                   "warmup", (json_int_t)j->how.warmup, "draws", (json_int_t)j->how.draws, "step", r->step, "acceptance",
                                   r->acceptance, "divergences", (json_int_t)r->divergences, "evaluations", (json_int_t)r->evaluations,
                                   "rhat", real_or_null(j->summary[rhat].rhat), "ess", real_or_null(j->summary[ess].ess), "columns", columns,
                                   "seconds", seconds, "peak_bytes", (json_int_t)dfo_ctx_peak_bytes(c->ctx)));
}

int CMD(cmd_mcmc)(int argc, char **argv)
{
    static const struct argp_child children[] = {{&common_argp, 0, NULL, 0}, {0}};
    static const struct argp argp = {options_list, parse, "[MODEL]",
                                     "Draws from a density by Markov chains, in the latents of MODEL if it is given.", children, NULL, NULL};
    struct options o = {.common = {.command = "mcmc", .argc = argc, .argv = argv}, .kind = DFO_HMC, .warmup = UINT64_MAX};
    struct job j = {.o = &o};
    if (argp_parse(&argp, argc, argv, 0, NULL, &o))
        return EXIT_USAGE;
    if (!o.target)
        return usage_error(&o.common, "--target is missing");
    if (o.leapfrog && o.kind != DFO_HMC)
        return usage_error(&o.common, "--leapfrog goes with --method hmc");
    if (o.format && !o.output)
        return usage_error(&o.common, "--format goes with -o");
    o.common.output = o.output;
    int status = common_start(&o.common);
    if (!status)
        status = set_up(&j);
    double started = seconds_now();
    if (!status)
        status = run(&j);
    if (!status)
        status = report(&j, seconds_now() - started);
    if (!status && j.sink && dfo_sink_finish(j.sink))        /* last: rows are there if all else is */
        status = failed(&o.common);
    dfo_sink_free(j.sink);
    dfo_neutra_free(j.neutra);
    dfo_model_free(j.model);
    dfo_named_target_free(j.target);
    json_decref(j.names);
    free(j.start);
    free(j.x);
    free(j.row);
    free(j.summary);
    return common_end(&o.common, status);
}

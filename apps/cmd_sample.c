/* diffeo sample: draws from a model.  Row i depends on model, seed and i alone.  */
#include <stdlib.h>
#include <string.h>

#include "given.h"
#include "sampler.h"
#include "target.h"

struct options {
    struct common common;
    struct input  context;             /* rows of context */
    struct sampler_options sampler;
    struct given  given;
    const char *model, *output, *format, *target;
    uint64_t n, batch;
    double   temperature;              /* below 0: not given */
    int      resample;
};

enum { TEMPERATURE = 256, CONTEXT, CLASS, TARGET, RESAMPLE };

static const struct argp_option options_list[] = {
    {NULL, 'n', "N", 0, "Number of rows (with --context or --given: for each of its rows)", 2},
    {"output", 'o', "FILE", 0, "Where they go (.npy, .csv, '-'; images: a grid .png, a folder/ of .png)", 2},
    {"temperature", TEMPERATURE, "T", 0, "Spread of the base density (default 1)", 2},
    {"context", CONTEXT, "SPEC", 0, "Rows to condition on; output is context-major", 2},
    {"class", CLASS, "K", 0, "Class to draw from, counted from 0 (models trained with --labels)", 2},
    {"target", TARGET, "NAME", 0, "Weigh the rows as draws of this density (normal, banana, ...: diffeo-mcmc(1)): their log weights are a last column", 2},
    {"resample", RESAMPLE, NULL, 0, "Of --target: rows come as often as they weigh, without that column", 2},
    {"format", 'F', "csv|npy|png", 0, "Format of '-'", 2},
    {0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &o->common;
        state->child_inputs[1] = &o->batch;
        state->child_inputs[2] = &o->common;
        state->child_inputs[3] = &o->sampler;
        state->child_inputs[4] = &o->given;
        return 0;
    case 'n': o->n = to_u64(state, "-n", arg, 1); return 0;
    case 'o': o->output = arg; return 0;
    case 'F': o->format = arg; return 0;
    case TEMPERATURE: o->temperature = to_double(state, "--temperature", arg, 0, 1e6); return 0;
    case CONTEXT: o->context.context = arg; return 0;
    case TARGET: o->target = arg; return 0;
    case RESAMPLE: o->resample = 1; return 0;
    case CLASS: o->context.class = (size_t)to_u64(state, "--class", arg, 0) + 1; return 0;
    default: return model_argument(key, arg, state, &o->model);
    }
}

struct job {
    struct options *o;
    dfo_model      *model;
    dfo_model_plan *plan;              /* or, with --sampler, the other */
    dfo_flow_denoiser *sampler;
    dfo_flow_plan  *given;             /* or, with --given and no sampler, this one */
    dfo_sink       *sink;
    dfo_real       *x, *cond, *y;      /* y: what is given */
    size_t          chunk;
};

/* What draws: the model, a sampler of its net, or its chain where something is given.  */
static int open_way(struct job *j)
{
    struct options *o = j->o;
    struct common *c = &o->common;
    const dfo_flow *flow = dfo_model_flow(j->model);
    int diffuses = flow && dfo_flow_diffuses(flow);
    o->sampler.how.given_noise = o->given.noise;
    o->sampler.how.given_whole = o->given.whole;
    if (o->sampler.how.sampler)
        return sampler_new(c, &o->sampler, o->model, j->model, &j->sampler);
    if (!o->given.data)
        return dfo_model_plan_new(c->ctx, j->model, 0, &j->plan) ? failed(c) : 0;
    if (diffuses)
        return usage_error(c, "%s: --given wants --sampler NAME", o->model);
    if (!flow || !dfo_flow_base(flow)->ops->sample_given)
        return usage_error(c, "%s is no diffusion model: --given wants one", o->model), EXIT_FAILED;
    return dfo_flow_plan_new(c->ctx, flow, 0, &j->given) ? failed(c) : 0;
}

static int set_up(struct job *j, uint64_t *rows)
{
    struct options *o = j->o;
    struct common *c = &o->common;
    *rows = o->n;
    if (o->given.data && o->sampler.how.sampler)
        o->sampler.given |= DFO_TAKES_GIVEN;
    int status = sampler_options_fit(c, &o->sampler);
    if (status || (status = open_model(c, o->model, &j->model)))
        return status;
    if (dfo_model_wants_samples(j->model))
        return failed(c);
    if (o->given.data && (status = given_open(c, &o->given, j->model)))
        return status;
    size_t before = dfo_ctx_bytes(c->ctx);
    if ((status = open_way(j)))
        return status;
    dfo_chunk k = {.asked = o->batch, .block = dfo_model_block(j->model), .taken = dfo_ctx_bytes(c->ctx) - before};
    size_t d = dfo_model_features(j->model), context = dfo_model_context(j->model);
    status = labels_for(c, &o->context, o->model, j->model);
    if (!status && o->context.class && o->context.context)
        return usage_error(c, "--context and --class exclude each other");
    if (status || (status = context_open(c, &o->context, 1)))
        return status;
    if (context && !o->context.source && o->context.classes)
        return usage_error(c, "%s draws from classes: --class K is missing (0 to %zu)", o->model, context - 1);
    if (context && !o->context.source)
        return usage_error(c, "%s is conditional: --context SPEC is missing (%zu columns)", o->model, context);
    if (o->context.context_d != context)
        return usage_error(c, "%s: expected %zu context columns, got %zu", o->context.context, context,
                           o->context.context_d), EXIT_FAILED;
    uint64_t contexts = o->context.source ? o->context.info.rows : 1, each = o->given.data ? o->given.rows : contexts;
    if (contexts != 1 && contexts != each)
        return usage_error(c, "%s has %llu rows, %s %llu: expected as many", o->context.context, (unsigned long long)contexts, o->given.data,
                           (unsigned long long)each), EXIT_FAILED;
    if (__builtin_mul_overflow(*rows, each, rows))
        return usage_error(c, "-n times the rows of %s is too much", o->given.data ? "--given" : "context"), EXIT_FAILED;
    k.rows = *rows;
    k.row_bytes = ((o->given.data ? 2 : 1) * d + context) * sizeof(dfo_real);
    if (dfo_chunk_rows(c->ctx, &k, &j->chunk))
        return failed(c);
    j->x = malloc(j->chunk * d * sizeof *j->x);
    j->cond = malloc(j->chunk * (context + 1) * sizeof *j->cond);
    j->y = o->given.data ? malloc(j->chunk * d * sizeof *j->y) : NULL;
    if (!j->x || !j->cond || (o->given.data && !j->y))
        return usage_error(c, "out of memory"), EXIT_FAILED;
    return open_rows_out(c, j->model, o->output, o->format, *rows, 0, &j->sink);
}

/* Row i of the output has context row i / n, or the only one.  Those of a chunk, never more than its rows, are read at once to the end of
 * the place, and spread from its start: as each has a row or more left to fill, none is overwritten before it is done.  */
static dfo_status fill_context(struct job *j, uint64_t first, size_t n, dfo_cond *cond)
{
    struct options *o = j->o;
    size_t width = dfo_model_context(j->model);
    memset(cond, 0, sizeof *cond);
    if (!width)
        return DFO_OK;
    cond->n = 1;
    cond->part[0].rows = dfo_batch_of(j->cond, n, width);
    cond->part[0].shape = dfo_shape_vector(width);
    uint64_t each = o->context.info.rows == 1 ? UINT64_MAX : o->n, from = first / each;
    size_t m = (size_t)((first + n - 1) / each - from + 1);
    dfo_real *read = j->cond + (n - m) * width;
    dfo_status status = dfo_source_read(o->context.source, o->common.ctx, from, dfo_batch_of(read, m, width), NULL);
    for (size_t i = 0; i < n && status == DFO_OK; i++)
        memmove(j->cond + i * width, read + ((first + i) / each - from) * width, width * sizeof *j->cond);
    return status;
}

static dfo_status draw(struct job *j, uint64_t first, dfo_batch x, const dfo_cond *cond)
{
    const struct options *o = j->o;
    double temperature = o->temperature >= 0 ? o->temperature : 1;
    dfo_batch y = dfo_batch_of(j->y, x.n, x.d);
    dfo_status status = o->given.data ? given_read(&o->common, &o->given, first, o->n, y) : DFO_OK;
    if (status)
        return status;
    if (j->given)
        return dfo_flow_sample_given(j->given, o->common.seed, first, x, cond, temperature, y, o->given.noise);
    if (j->sampler)
        return o->given.data ? dfo_flow_denoiser_draw_given(j->sampler, first, x, cond, y) : dfo_flow_denoiser_draw(j->sampler, first, x, cond);
    return dfo_model_sample(j->plan, o->common.seed, first, x, cond, temperature);
}

static int all_rows(struct job *j, uint64_t rows)
{
    struct options *o = j->o;
    struct common *c = &o->common;
    size_t d = dfo_model_features(j->model);
    for (uint64_t first = 0; first < rows; first += j->chunk) {
        size_t n = rows - first < j->chunk ? (size_t)(rows - first) : j->chunk;
        dfo_batch x = dfo_batch_of(j->x, n, d);
        dfo_cond cond;
        if (fill_context(j, first, n, &cond) || draw(j, first, x, &cond) || dfo_sink_write(j->sink, without_frame(j->model, x)))
            return failed(c);
    }
    return dfo_sink_finish(j->sink) ? failed(c) : 0;
}

static json_t *report(const struct job *j, uint64_t rows, double seconds)
{
    double nfe = j->sampler ? dfo_flow_denoiser_nfe(j->sampler) : j->plan ? dfo_model_plan_nfe(j->plan) : 0;
    json_t *out = json_pack("{s:I, s:I, s:f, s:f, s:I}", "rows", (json_int_t)rows, "dims", (json_int_t)dfo_model_features(j->model), "seconds",
                            seconds, "rows_per_second", (double)rows / seconds, "peak_bytes", (json_int_t)dfo_ctx_peak_bytes(j->o->common.ctx));
    if (out && nfe > 0)
        json_object_set_new(out, "nfe", json_real(nfe));
    return out;
}

/* What draws otherwise has no weight.  */
static int weighted(const struct options *o)
{
    const struct common *c = &o->common;
    const char *beside = o->temperature >= 0 ? "--temperature" : o->context.context ? "--context" : o->context.class ? "--class"
                         : o->given.data ? "--given" : o->sampler.how.sampler ? "--sampler" : o->batch ? "--batch" : NULL;
    if (beside)
        return usage_error(c, "--target and %s exclude each other", beside);
    return draw_weighted(c, &(struct weighted){o->model, o->target, o->output, o->format, o->n, o->resample});
}

int CMD(cmd_sample)(int argc, char **argv)
{
    static const struct argp_child children[] = {{&common_argp, 0, NULL, 0}, {&batch_argp, 0, NULL, 0},
                                                 {&solver_argp, 0, NULL, 0}, {&sampler_argp, 0, NULL, 0}, {&given_argp, 0, NULL, 0}, {0}};
    static const struct argp argp = {options_list, parse, "MODEL", "Draws rows from a model.", children, NULL, NULL};
    struct options o = {.common = {.command = "sample", .argc = argc, .argv = argv}, .temperature = -1};
    struct job j = {.o = &o};
    uint64_t rows = 0;
    if (argp_parse(&argp, argc, argv, 0, NULL, &o))
        return EXIT_USAGE;
    if (!o.n || !o.output)
        return usage_error(&o.common, "%s is missing", o.n ? "-o FILE" : "-n N");
    if (o.sampler.how.sampler && o.temperature >= 0)
        return usage_error(&o.common, "--temperature and --sampler exclude each other");
    if (o.resample && !o.target)
        return usage_error(&o.common, "--resample goes with --target");
    o.common.output = o.output;
    int status = common_start(&o.common);
    if (o.target)
        return common_end(&o.common, status ? status : weighted(&o));
    if (!status)
        status = set_up(&j, &rows);
    double started = seconds_now();
    if (!status)
        status = all_rows(&j, rows);
    double seconds = seconds_now() - started;
    if (!status && o.common.json)
        status = print_json(&o.common, report(&j, rows, seconds));
    else if (!status && !o.common.quiet)
        fprintf(stderr, "%llu rows, %.0f rows/s\n", (unsigned long long)rows, (double)rows / seconds);
    dfo_sink_free(j.sink);
    dfo_flow_denoiser_free(j.sampler);
    dfo_flow_plan_free(j.given);
    given_close(&o.given);
    dfo_model_plan_free(j.plan);
    dfo_model_free(j.model);
    input_close(&o.context);
    free(j.x);
    free(j.cond);
    free(j.y);
    return common_end(&o.common, status);
}

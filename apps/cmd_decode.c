/* diffeo decode: latents back to rows.  Latents of another model are refused (--force).  Continuous flows are solved as the file
 * says they were, and guided so, where no option says otherwise.  */
#include <stdlib.h>
#include <string.h>

#include "rex.h"

struct options {
    struct common common;
    struct input  input;               /* latents in other formats, and context */
    const char *model, *output;
    uint64_t batch;
    int force;
};

enum { FORCE = 256 };

static const struct argp_option options_list[] = {
    {"output", 'o', "FILE", 0, "Where the rows go (.npy, .csv, '-'; images: a grid .png, a folder/ of .png)", 2},
    {"force", FORCE, NULL, 0, "Decode latents of another model", 2},
    {0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &o->common;
        state->child_inputs[1] = &o->input;
        state->child_inputs[2] = &o->batch;
        state->child_inputs[3] = &o->common;
        return 0;
    case 'o': o->output = arg; return 0;
    case FORCE: o->force = 1; return 0;
    default: return model_argument(key, arg, state, &o->model);
    }
}

struct job {
    struct options *o;
    dfo_model      *model;
    dfo_model_plan *plan;
    dfo_latents    *latents;
    dfo_sink       *sink;
    dfo_real       *x, *context;
    size_t          chunk, next;       /* the next row that is held in double */
    struct exact   *doubles;
    struct rex     *rex;               /* for latents that it made */
    double         *block;             /* (block, d + context) */
    uint64_t        rows;
};

static int check_latents(struct job *j)
{
    struct options *o = j->o;
    struct common *c = &o->common;
    char hash[17];
    if (dfo_model_hash(j->model, hash))
        return failed(c);
    if (dfo_latents_features(j->latents) != dfo_model_features(j->model))
        return usage_error(c, "%s: expected %zu features, got %zu", o->input.data, dfo_model_features(j->model),
                           dfo_latents_features(j->latents)), EXIT_FAILED;
    if (strcmp(hash, dfo_latents_model(j->latents)) && !o->force)
        return usage_error(c, "%s: latents of another model (%s; %s is %s); --force decodes them all the same",
                           o->input.data, dfo_latents_model(j->latents), o->model, hash), EXIT_FAILED;
    const dfo_flow_rex_options *how = dfo_latents_how(j->latents);
    if (how && how->exact && strcmp(dfo_latents_precision(j->latents), DFO_REAL_NAME))
        return usage_error(c, "%s: whole numbers of the precision %s: --precision %s decodes them", o->input.data,
                           dfo_latents_precision(j->latents), dfo_latents_precision(j->latents)), EXIT_FAILED;
    j->rows = dfo_latents_rows(j->latents);
    return 0;
}

/* A model without continuous layers (--force) has nothing to solve.  */
static int solve_alike(struct job *j)
{
    struct common *c = &j->o->common;
    double guidance = dfo_latents_guidance(j->latents);
    if (dfo_latents_how(j->latents) && c->solves)
        return usage_error(c, "%s: of --sampler rex, which goes back as it came: --solver, --solver-steps, --rtol, --atol and --trace do not "
                           "go with it", j->o->input.data);
    if (!c->guides && (guidance < 1 || guidance > 1)) {
        c->guides = 1;                 /* of the rows in double too: exact.c */
        c->guidance = guidance;
        if (dfo_model_set_guidance(j->model, guidance))
            return file_failed(c, "%s", j->o->input.data);
    }
    dfo_solver_options file, own, *o = &c->solver;
    if (!dfo_latents_solver(j->latents, &file) || !dfo_model_solver(j->model, &own))
        return 0;
    o->method = o->method ? o->method : file.method;
    o->steps = o->steps != DFO_AS_IT_IS ? o->steps : file.steps;
    o->rtol = o->rtol >= 0 ? o->rtol : file.rtol;
    o->atol = o->atol >= 0 ? o->atol : file.atol;
    c->solves = 1;
    return dfo_model_set_solver(j->model, o) ? file_failed(c, "%s", j->o->input.data) : 0;
}

/* Context of decoding comes from a file of its own; the latents are --data.  */
static int open_rows(struct job *j)
{
    struct options *o = j->o;
    struct common *c = &o->common;
    int status;
    if (!o->input.data)
        return usage_error(c, "--data LATENTS is missing");
    if (dfo_latents_open(c->ctx, o->input.data, &j->latents))
        return failed(c);
    if (!j->latents) {
        status = input_open(c, &o->input);
        if (!status && o->input.rows.discrete && dfo_shape_size(o->input.rows.shape) != dfo_model_features(j->model))
            status = (usage_error(c, "%s: expected %zu features, got %zu", o->input.data, dfo_model_features(j->model),
                                  dfo_shape_size(o->input.rows.shape)), EXIT_FAILED);
        if (!status)
            status = input_fits(c, &o->input, j->model);
        j->rows = o->input.info.rows;
        return status;
    }
    if ((status = check_latents(j)) || (status = solve_alike(j)) || (status = context_open(c, &o->input, j->rows)))
        return status;
    if (o->input.context_d != dfo_model_context(j->model))
        return usage_error(c, "expected %zu context columns (%s), got %zu", dfo_model_context(j->model),
                           o->input.classes ? "--labels or --class" : "--context", o->input.context_d), EXIT_FAILED;
    if (o->input.source && o->input.info.rows != j->rows)
        return usage_error(c, "%s: expected %llu rows, got %llu", dfo_source_name(o->input.source),
                           (unsigned long long)j->rows,
                           (unsigned long long)o->input.info.rows), EXIT_FAILED;
    return status;
}

static int set_up(struct job *j)
{
    struct options *o = j->o;
    struct common *c = &o->common;
    int opened = open_model(c, o->model, &j->model);
    if (opened)
        return opened;
    int status = labels_for(c, &o->input, o->model, j->model);
    if (status || (status = open_rows(j)))
        return status;
    size_t width = dfo_model_features(j->model) + o->input.context_d, before = dfo_ctx_bytes(c->ctx);
    if (dfo_model_plan_new(c->ctx, j->model, 0, &j->plan))
        return failed(c);
    dfo_chunk k = {.asked = o->batch, .rows = j->rows, .block = dfo_model_block(j->model),
                   .row_bytes = (width + o->input.context_d) * sizeof(dfo_real),
                   .taken = dfo_ctx_bytes(c->ctx) - before};
    if (dfo_chunk_rows(c->ctx, &k, &j->chunk))
        return failed(c);
    j->x = malloc(j->chunk * width * sizeof *j->x);
    j->context = malloc(j->chunk * (o->input.context_d + 1) * sizeof *j->context);
    if (!j->x || !j->context)
        return usage_error(c, "out of memory"), EXIT_FAILED;
    if (j->latents && dfo_latents_how(j->latents) &&
        (status = rex_decoder(c, o->model, j->model, j->latents, j->chunk, &j->rex)))
        return status;
    return open_rows_out(c, j->model, o->output, o->input.format, j->rows, 0, &j->sink);
}

static dfo_status read_latents(struct job *j, uint64_t first, size_t n, dfo_batch *z, dfo_cond *cond)
{
    struct options *o = j->o;
    size_t d = dfo_model_features(j->model);
    if (!j->latents) {
        *z = split_chunk(&o->input, j->x, n, d, cond);
        return read_chunk(&o->common, &o->input, first, n, j->x);
    }
    memset(cond, 0, sizeof *cond);
    *z = dfo_batch_of(j->x, n, d);
    dfo_status status = dfo_latents_read(j->latents, first, *z);
    if (!o->input.context_d || status)
        return status;
    cond->n = 1;
    cond->part[0].rows = dfo_batch_of(j->context, n, o->input.context_d);
    cond->part[0].shape = dfo_shape_vector(o->input.context_d);
    return dfo_source_read(o->input.source, o->common.ctx, first, cond->part[0].rows, NULL);
}

/* Rows held in double are decoded in double, by whole blocks.  */
static int exact_rows(struct job *j, uint64_t first, dfo_batch x)
{
    struct common *c = &j->o->common;
    size_t size = dfo_model_block(j->model), d = x.d, context = j->o->input.context_d;
    size_t all = j->latents && sizeof(dfo_real) < sizeof(double) ? dfo_latents_exacts(j->latents) : 0;
    if (all && !j->doubles) {
        int status = exact_open(c, j->o->model, j->o->input.data, &j->doubles);
        if (status)
            return status;
        if (!(j->block = malloc(size * (d + context) * sizeof *j->block)))
            return usage_error(c, "out of memory"), EXIT_FAILED;
    }
    while (j->next < all && dfo_latents_exact_row(j->latents, j->next) - first < x.n) {
        size_t at = (size_t)(dfo_latents_exact_row(j->latents, j->next) - first) / size * size;
        size_t n = x.n - at < size ? x.n - at : size;
        double *cond = j->block + n * d;
        for (size_t k = 0; k < n * context; k++)
            cond[k] = (double)j->context[at * context + k];
        if (exact_decode(j->doubles, first + at, n, cond, j->block))
            return file_failed(c, "%s", j->o->input.data);
        for (; j->next < all && dfo_latents_exact_row(j->latents, j->next) - first < at + n; j->next++) {
            size_t i = (size_t)(dfo_latents_exact_row(j->latents, j->next) - first);
            for (size_t k = 0; k < d; k++)
                dfo_row(x, i)[k] = (dfo_real)j->block[(i - at) * d + k];
        }
    }
    return 0;
}

static int all_rows(struct job *j)
{
    struct common *c = &j->o->common;
    for (uint64_t first = 0; first < j->rows; first += j->chunk) {
        size_t n = j->rows - first < j->chunk ? (size_t)(j->rows - first) : j->chunk;
        dfo_batch z;
        dfo_cond cond;
        if (read_latents(j, first, n, &z, &cond) ||
            (j->rex ? rex_decode(j->rex, first, z, &cond) : dfo_model_decode(j->plan, first, z, &cond, NULL)))
            return file_failed(c, "%s", j->o->input.data);
        int status = exact_rows(j, first, z);
        if (status)
            return status;
        if (dfo_sink_write(j->sink, without_frame(j->model, z)))
            return failed(c);
    }
    return dfo_sink_finish(j->sink) ? failed(c) : 0;
}

int CMD(cmd_decode)(int argc, char **argv)
{
    static const struct argp_child children[] = {{&common_argp, 0, NULL, 0}, {&input_argp, 0, NULL, 0},
                                                 {&batch_argp, 0, NULL, 0}, {&solver_argp, 0, NULL, 0}, {0}};
    static const struct argp argp = {options_list, parse, "MODEL", "Maps latents back to rows.", children, NULL, NULL};
    struct options o = {.common = {.command = "decode", .argc = argc, .argv = argv}};
    struct job j = {.o = &o};
    if (argp_parse(&argp, argc, argv, 0, NULL, &o))
        return EXIT_USAGE;
    if (!o.output)
        return usage_error(&o.common, "-o FILE is missing");
    o.common.output = o.output;
    int status = common_start(&o.common);
    if (!status)
        status = set_up(&j);
    if (!status)
        status = all_rows(&j);
    if (!status && o.common.json)
        status = print_json(&o.common, json_pack("{s:I, s:I}", "rows", (json_int_t)j.rows, "dims",
                                                 (json_int_t)dfo_model_features(j.model)));
    else if (!status && !o.common.quiet)
        fprintf(stderr, "%llu rows\n", (unsigned long long)j.rows);
    dfo_sink_free(j.sink);
    dfo_model_plan_free(j.plan);
    dfo_model_free(j.model);
    rex_free(j.rex);
    dfo_latents_free(j.latents);
    input_close(&o.input);
    free(j.x);
    free(j.context);
    free(j.block);
    exact_close(j.doubles);
    return common_end(&o.common, status);
}

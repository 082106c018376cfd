/* diffeo edit: rows of one class made into rows of another, by a diffusion model and Rex, which finds its way back: where a mask keeps
 * them they stay as they are.  */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "mask.h"

struct options {
    struct common common;
    struct input  input;               /* its class is the source's */
    const char *model, *output, *mask, *sampler;
    uint64_t batch;
    size_t   from, to;                 /* and one more; 0: not given */
    size_t   steps;
    double   strength, zeta, guidance;
    int      before;
};

enum { FROM_CLASS = 256, TO_CLASS, MASK, STRENGTH, SAMPLER, STEPS, ZETA, GUIDANCE, BEFORE };

static const struct argp_option options_list[] = {
    {"output", 'o', "FILE", 0, "Where they go (.npy, .csv, '-'; images: a grid .png, a folder/ of .png)", 2},
    {"from-class", FROM_CLASS, "A", 0, "The rows' class, counted from 0 (or --labels: one for each row)", 2},
    {"to-class", TO_CLASS, "B", 0, "The class that they become rows of", 2},
    {"mask", MASK, "FILE", 0, "Picture or row of the rows' size: 0 where they stay as they are", 2},
    {"strength", STRENGTH, "T", 0, "How far to noise, above 0, 1 at most (default 0.5)", 2},
    {"before", BEFORE, NULL, 0, "Write every row as it was before it, too", 2},
    {"sampler", SAMPLER, "rex[:METHOD]", 0, "Rex and its method (default rex:midpoint)", 9},
    {"solver-steps", STEPS, "N", 0, "Its steps, each way (default 50)", 9},
    {"zeta", ZETA, "X", 0, "Its states' coupling, above 0, 1 at most (default 0.999)", 9},
    {"guidance", GUIDANCE, "W", 0, "Of models trained with label_dropout: 1 (default) the class, more: beyond it", 9},
    {0},
};

/* Above 0, 1 at most.  */
static double part(struct argp_state *state, const char *option, const char *arg)
{
    double number = to_double(state, option, arg, 0, 1);
    if (!(number > 0))
        argp_error(state, "%s: expected a number above 0, 1 at most, got '%s'", option, arg);
    return number;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &o->common;
        state->child_inputs[1] = &o->input;
        state->child_inputs[2] = &o->batch;
        return 0;
    case 'o': o->output = arg; return 0;
    case FROM_CLASS: o->from = (size_t)to_u64(state, "--from-class", arg, 0) + 1; return 0;
    case TO_CLASS: o->to = (size_t)to_u64(state, "--to-class", arg, 0) + 1; return 0;
    case MASK: o->mask = arg; return 0;
    case STRENGTH: o->strength = part(state, "--strength", arg); return 0;
    case BEFORE: o->before = 1; return 0;
    case SAMPLER:
        o->sampler = arg;
        if (strcmp(arg, "rex") && (strncmp(arg, "rex:", 4) || !arg[4]))
            argp_error(state, "--sampler: expected rex or rex:METHOD, got '%s'", arg);
        return 0;
    case STEPS: o->steps = (size_t)to_u64(state, "--solver-steps", arg, 1); return 0;
    case ZETA: o->zeta = part(state, "--zeta", arg); return 0;
    case GUIDANCE: o->guidance = to_double(state, "--guidance", arg, -1e6, 1e6); return 0;
    default: return model_argument(key, arg, state, &o->model);
    }
}

struct job {
    struct options *o;
    dfo_model      *model;
    dfo_flow_editor *editor;
    dfo_sink       *sink;
    unsigned char  *keep;              /* (d) */
    dfo_real       *x;                 /* (chunk, d + classes) the rows, then their edits */
    dfo_real       *was, *to;          /* (chunk, d), (chunk, classes) */
    dfo_real       *both;              /* (2 chunk, d) what was before each */
    double         *off;               /* (chunk) */
    size_t          d, chunk;
    uint64_t        changed, outside;  /* values that are others; of them kept ones */
    double          worst;             /* distance of kept entries before they were put back */
};

/* Classes that the model knows, and rows of one of them.  */
static int open_rows(struct job *j)
{
    struct options *o = j->o;
    struct common *c = &o->common;
    struct input *in = &o->input;
    if (in->context || in->context_columns)
        return usage_error(c, "edit goes from class to class: --context and --context-columns are not for it");
    in->class = in->class ? in->class : o->from;
    int status = open_model(c, o->model, &j->model);
    if (status)
        return status;
    const dfo_flow *flow = dfo_model_flow(j->model);
    if (!flow || !dfo_flow_diffuses(flow))
        return usage_error(c, "%s: edit wants a diffusion model that goes there and back (vp, subvp, ve, edm, ddpm)", o->model), EXIT_FAILED;
    if ((status = labels_for(c, in, o->model, j->model)))
        return status;
    if (!in->classes || in->classes != dfo_model_context(j->model))
        return usage_error(c, "%s was not trained with --labels: it knows no classes", o->model), EXIT_FAILED;
    const struct { const char *option; size_t class; } both[] = {{"--from-class", o->from}, {"--to-class", o->to}};
    for (int i = 0; i < 2; i++)
        if (both[i].class > in->classes)
            return usage_error(c, "%s: expected 0 to %zu, got %zu", both[i].option, in->classes - 1, both[i].class - 1);
    status = input_open(c, in);
    return status ? status : input_fits(c, in, j->model);
}

static int open_editor(struct job *j)
{
    struct options *o = j->o;
    struct common *c = &o->common;
    dfo_flow_edit_options how = {.method = o->sampler && o->sampler[3] ? o->sampler + 4 : NULL, .steps = o->steps, .zeta = o->zeta,
                                 .strength = o->strength, .guidance = o->guidance};
    int status = o->mask ? read_mask(c, o->mask, j->model, &j->keep) : 0;
    if (status)
        return status;
    return dfo_flow_editor_new(c->ctx, dfo_model_flow(j->model), &how, j->keep, &j->editor) ? file_failed(c, "%s", o->model) : 0;
}

/* Pairs stay side by side in a grid.  */
static size_t grid_of(const struct options *o, uint64_t rows)
{
    size_t columns = (size_t)ceil(sqrt((double)rows / 2));
    return o->before ? 2 * (columns ? columns : 1) : 0;
}

static int set_up(struct job *j)
{
    struct options *o = j->o;
    struct common *c = &o->common;
    int status = open_rows(j);
    if (status)
        return status;
    size_t before = dfo_ctx_bytes(c->ctx);
    if ((status = open_editor(j)))
        return status;
    uint64_t rows = o->input.info.rows;
    size_t d = j->d = dfo_model_features(j->model), classes = o->input.context_d;
    dfo_chunk k = {.asked = o->batch, .rows = rows, .block = dfo_model_block(j->model), .taken = dfo_ctx_bytes(c->ctx) - before,
                   .row_bytes = (4 * d + 2 * classes) * sizeof(dfo_real) + sizeof(double)};
    if (dfo_chunk_rows(c->ctx, &k, &j->chunk))
        return failed(c);
    j->x = malloc(j->chunk * (d + classes) * sizeof *j->x);
    j->was = malloc(j->chunk * d * sizeof *j->was);
    j->both = malloc(2 * j->chunk * d * sizeof *j->both);
    j->to = calloc(j->chunk * classes, sizeof *j->to);
    j->off = malloc(j->chunk * sizeof *j->off);
    if (!j->x || !j->was || !j->both || !j->to || !j->off)
        return usage_error(c, "out of memory"), EXIT_FAILED;
    for (size_t i = 0; i < j->chunk; i++)
        j->to[i * classes + o->to - 1] = 1;
    rows = o->before ? 2 * rows : rows;
    return open_rows_out(c, j->model, o->output, o->input.format, rows, grid_of(o, rows), &j->sink);
}

static void count(struct job *j, size_t n, dfo_batch x)
{
    for (size_t i = 0; i < n; i++) {
        const dfo_real *now = dfo_row(x, i), *was = j->was + i * j->d;
        for (size_t k = 0; k < j->d; k++) {
            int other = memcmp(now + k, was + k, sizeof *now) != 0;
            j->changed += (uint64_t)other;
            j->outside += (uint64_t)(other && j->keep && j->keep[k]);
        }
        j->worst = fmax(j->worst, j->off[i]);
    }
}

static dfo_status write_rows(struct job *j, size_t n, dfo_batch x)
{
    size_t row = j->d * sizeof *j->both;
    if (!j->o->before)
        return dfo_sink_write(j->sink, x);
    for (size_t i = 0; i < n; i++) {
        memcpy(j->both + 2 * i * j->d, j->was + i * j->d, row);
        memcpy(j->both + (2 * i + 1) * j->d, dfo_row(x, i), row);
    }
    return dfo_sink_write(j->sink, dfo_batch_of(j->both, 2 * n, j->d));
}

static int all_rows(struct job *j)
{
    struct options *o = j->o;
    struct common *c = &o->common;
    uint64_t rows = o->input.info.rows;
    size_t classes = o->input.context_d;
    for (uint64_t first = 0; first < rows; first += j->chunk) {
        size_t n = rows - first < j->chunk ? (size_t)(rows - first) : j->chunk;
        dfo_cond from, to = {.n = 1};
        dfo_batch x = split_chunk(&o->input, j->x, n, j->d, &from);
        to.part[0].rows = dfo_batch_of(j->to, n, classes);
        to.part[0].shape = dfo_shape_vector(classes);
        if (read_chunk(c, &o->input, first, n, j->x))
            return failed(c);
        for (size_t i = 0; i < n; i++)
            memcpy(j->was + i * j->d, dfo_row(x, i), j->d * sizeof *j->was);
        if (dfo_flow_edit(j->editor, first, x, &from, &to, j->off))
            return file_failed(c, "%s", o->input.data);
        count(j, n, x);
        if (write_rows(j, n, x))
            return failed(c);
    }
    return dfo_sink_finish(j->sink) ? failed(c) : 0;
}

static int report(const struct job *j, double seconds)
{
    const struct options *o = j->o;
    double rows = (double)o->input.info.rows, values = rows * (double)j->d;
    dfo_noise_point turn = dfo_flow_editor_turn(j->editor);
    if (o->common.json) {
        json_t *out = json_pack("{s:I, s:I, s:s, s:I, s:f, s:f, s:f, s:f, s:I, s:f}", "rows", (json_int_t)o->input.info.rows, "dims", (json_int_t)j->d,
                                "method", dfo_flow_editor_options(j->editor)->method, "solver_steps", (json_int_t)o->steps, "strength", o->strength,
                                "time", turn.t, "alpha", turn.alpha, "sigma", turn.sigma, "values_changed", (json_int_t)j->changed, "seconds", seconds);
        if (out && j->keep) {
            json_object_set_new(out, "values_changed_outside", json_integer((json_int_t)j->outside));
            json_object_set_new(out, "kept_max_error", json_real(j->worst));
        }
        return print_json(&o->common, out);
    }
    FILE *to = text_out(&o->common);
    fprintf(to, "%.0f rows to class %zu and %s, by way of alpha %.3g, sigma %.3g: %llu of %.0f values are others\n", rows, o->to - 1, o->output,
            turn.alpha, turn.sigma, (unsigned long long)j->changed, values);
    if (j->keep)
        fprintf(to, "outside the mask %llu; they came back to %.3g and were put back\n", (unsigned long long)j->outside, j->worst);
    return 0;
}

static int fit(const struct options *o)
{
    const struct common *c = &o->common;
    if (!o->output)
        return usage_error(c, "-o FILE is missing");
    if (!o->to)
        return usage_error(c, "--to-class B is missing");
    if (o->from && (o->input.class || o->input.labels))
        return usage_error(c, "--from-class and %s exclude each other", o->input.labels ? "--labels" : "--class");
    if (!o->from && !o->input.class && !o->input.labels)
        return usage_error(c, "--from-class A is missing (or --labels SPEC)");
    return 0;
}

int CMD(cmd_edit)(int argc, char **argv)
{
    static const struct argp_child children[] = {{&common_argp, 0, NULL, 0}, {&input_argp, 0, NULL, 0}, {&batch_argp, 0, NULL, 0}, {0}};
    static const struct argp argp = {options_list, parse, "MODEL", "Makes rows of one class into rows of another.", children, NULL, NULL};
    struct options o = {.common = {.command = "edit", .argc = argc, .argv = argv}, .steps = 50, .strength = 0.5, .zeta = 0.999, .guidance = 1};
    struct job j = {.o = &o};
    if (argp_parse(&argp, argc, argv, 0, NULL, &o))
        return EXIT_USAGE;
    int status = fit(&o);
    if (status)
        return status;
    o.common.output = o.output;
    status = common_start(&o.common);
    double started = seconds_now();
    if (!status)
        status = set_up(&j);
    if (!status)
        status = all_rows(&j);
    if (!status)
        status = report(&j, seconds_now() - started);
    dfo_sink_free(j.sink);
    dfo_flow_editor_free(j.editor);
    dfo_model_free(j.model);
    input_close(&o.input);
    free(j.keep);
    free(j.x);
    free(j.was);
    free(j.both);
    free(j.to);
    free(j.off);
    return common_end(&o.common, status);
}

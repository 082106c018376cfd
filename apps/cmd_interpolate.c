/* diffeo interpolate: pictures (or any rows) between those of the data, along a line or a great circle of latents.
 * The circle keeps a latent's length between those of the two ends: z = (sin((1-t) a) z0 + sin(t a) z1) / sin a with
 * a the angle between them; ends are the data's latents themselves.  */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cmd.h"

struct options {
    struct common common;
    struct input  input;
    const char *model, *output;
    size_t      n;
    uint64_t    batch;
    int         circle;
};

enum { ROUTE = 256 };

static const struct argp_option options_list[] = {
    {NULL, 'n', "N", 0, "Rows from each row of the data to the next, both ends included (default 8)", 2},
    {"output", 'o', "FILE", 0,
     "Where they go (images: a grid .png with a line for each pair, a folder/ of .png; .npy, .csv, '-')", 2},
    {"route", ROUTE, "line|circle", 0, "Between latents: a straight line (default) or a great circle", 2},
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
    case 'n': o->n = to_u64(state, "-n", arg, 2); return 0;
    case 'o': o->output = arg; return 0;
    case ROUTE:
        o->circle = !strcmp(arg, "circle");
        if (!o->circle && strcmp(arg, "line"))
            argp_error(state, "--route: expected line or circle, got '%s'", arg);
        return 0;
    case ARGP_KEY_ARG:
        if (o->model)
            argp_error(state, "unexpected argument '%s'", arg);
        o->model = arg;
        return 0;
    case ARGP_KEY_NO_ARGS: argp_error(state, "MODEL is missing"); return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

struct job {
    struct options *o;
    dfo_model      *model;
    dfo_model_plan *plan;
    dfo_sink       *sink;
    dfo_real       *rows;              /* (all, d + context) encoded */
    dfo_real       *x;                 /* (chunk, d + context) */
    size_t          all, d, width, chunk;
};

static int set_up(struct job *j)
{
    struct options *o = j->o;
    struct common *c = &o->common;
    uint64_t rows;
    int opened = open_model(c, o->model, &j->model);
    if (opened)
        return opened;
    int status = labels_for(c, &o->input, o->model, j->model);
    if (status || (status = input_open(c, &o->input)) || (status = input_fits(c, &o->input, j->model)))
        return status;
    j->all = (size_t)o->input.info.rows;
    j->d = dfo_model_features(j->model);
    j->width = j->d + o->input.context_d;
    if (j->all < 2)
        return usage_error(c, "%s: expected at least two rows to go between, got %zu", o->input.data, j->all),
               EXIT_FAILED;
    if (__builtin_mul_overflow((uint64_t)j->all - 1, (uint64_t)o->n, &rows) ||
        j->all > SIZE_MAX / j->width / sizeof *j->rows)
        return usage_error(c, "%s: %zu rows are too many", o->input.data, j->all), EXIT_FAILED;
    size_t before = dfo_ctx_bytes(c->ctx);
    if (dfo_model_plan_new(c->ctx, j->model, 0, &j->plan))
        return failed(c);
    dfo_chunk k = {.asked = o->batch, .rows = rows, .block = dfo_model_block(j->model),
                   .row_bytes = j->width * sizeof *j->x, .taken = dfo_ctx_bytes(c->ctx) - before};
    if (dfo_chunk_rows(c->ctx, &k, &j->chunk))
        return failed(c);
    j->rows = malloc(j->all * j->width * sizeof *j->rows);
    j->x = malloc(j->chunk * j->width * sizeof *j->x);
    if (!j->rows || !j->x)
        return usage_error(c, "out of memory: %zu rows", j->all), EXIT_FAILED;
    return open_rows_out(c, j->model, o->output, o->input.format, rows, o->n, &j->sink);
}

static int encode(struct job *j)
{
    struct common *c = &j->o->common;
    for (size_t first = 0; first < j->all; first += j->chunk) {
        size_t n = j->all - first < j->chunk ? j->all - first : j->chunk;
        dfo_real *rows = j->rows + first * j->width;
        dfo_cond cond;
        dfo_batch x = split_chunk(&j->o->input, rows, n, j->d, &cond);
        if (read_chunk(c, &j->o->input, first, n, rows))
            return failed(c);
        if (dfo_model_encode(j->plan, first, x, &cond, NULL))
            return file_failed(c, "%s", j->o->input.data);
    }
    return 0;
}

/* The weights of both ends.  */
static void weigh(const struct job *j, const dfo_real *a, const dfo_real *b, double t, double w[2])
{
    double aa = 0, bb = 0, ab = 0;
    w[0] = 1 - t;
    w[1] = t;
    for (size_t k = 0; j->o->circle && k < j->d; k++) {
        aa += (double)a[k] * (double)a[k];
        bb += (double)b[k] * (double)b[k];
        ab += (double)a[k] * (double)b[k];
    }
    double cosine = aa > 0 && bb > 0 ? ab / sqrt(aa * bb) : 1;
    if (!j->o->circle || fabs(cosine) > 1 - 1e-9)          /* the same or opposite: no circle is singled out */
        return;
    double angle = acos(cosine);
    w[0] = sin((1 - t) * angle) / sin(angle);
    w[1] = sin(t * angle) / sin(angle);
}

/* Row i of the output: latents on the way, their condition on a straight line.  */
static void place(const struct job *j, uint64_t i, dfo_real *to)
{
    size_t pair = (size_t)(i / j->o->n), step = (size_t)(i % j->o->n);
    const dfo_real *a = j->rows + pair * j->width, *b = a + j->width;
    double t = (double)step / (double)(j->o->n - 1), w[2];
    weigh(j, a, b, t, w);
    for (size_t k = 0; k < j->width; k++) {
        double wa = k < j->d ? w[0] : 1 - t, wb = k < j->d ? w[1] : t;
        to[k] = step == 0 ? a[k] : step == j->o->n - 1 ? b[k] : (dfo_real)(wa * (double)a[k] + wb * (double)b[k]);
    }
}

static int decode(struct job *j)
{
    struct common *c = &j->o->common;
    uint64_t rows = ((uint64_t)j->all - 1) * j->o->n;
    for (uint64_t first = 0; first < rows; first += j->chunk) {
        size_t n = rows - first < j->chunk ? (size_t)(rows - first) : j->chunk;
        dfo_cond cond;
        for (size_t i = 0; i < n; i++)
            place(j, first + i, j->x + i * j->width);
        dfo_batch x = split_chunk(&j->o->input, j->x, n, j->d, &cond);
        if (dfo_model_decode(j->plan, first, x, &cond, NULL) || dfo_sink_write(j->sink, without_frame(j->model, x)))
            return failed(c);
    }
    if (dfo_sink_finish(j->sink))
        return failed(c);
    if (c->json)
        return print_json(c, json_pack("{s:I, s:I, s:s}", "rows", (json_int_t)rows, "dims", (json_int_t)j->d, "output",
                                       j->o->output));
    if (!c->quiet)
        fprintf(stderr, "%llu rows\n", (unsigned long long)rows);
    return 0;
}

int CMD(cmd_interpolate)(int argc, char **argv)
{
    static const struct argp_child children[] = {{&common_argp, 0, NULL, 0}, {&input_argp, 0, NULL, 0},
                                                 {&batch_argp, 0, NULL, 0}, {&solver_argp, 0, NULL, 0}, {0}};
    static const struct argp argp = {options_list, parse, "MODEL",
                                     "Rows between those of the data: latents in between, decoded.", children, NULL,
                                     NULL};
    struct options o = {.common = {.command = "interpolate", .argc = argc, .argv = argv}, .n = 8};
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
        status = encode(&j);
    if (!status)
        status = decode(&j);
    dfo_sink_free(j.sink);
    dfo_model_plan_free(j.plan);
    dfo_model_free(j.model);
    input_close(&o.input);
    free(j.rows);
    free(j.x);
    return common_end(&o.common, status);
}

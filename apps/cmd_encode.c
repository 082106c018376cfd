/* diffeo encode: rows to latents.  --verify decodes them again and prints the worst error.  */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cmd.h"

struct options {
    struct common common;
    struct input  input;
    const char *model, *output;
    uint64_t batch;
    int verify;
};

enum { VERIFY = 256 };

static const struct argp_option options_list[] = {
    {"output", 'o', "LATENTS", 0, "Where they go: .safetensors (the full form), .npy or .csv", 2},
    {"verify", VERIFY, NULL, 0, "Decode again and print the largest error", 2},
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
        return 0;
    case 'o': o->output = arg; return 0;
    case VERIFY: o->verify = 1; return 0;
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
    dfo_latents_writer *latents;
    dfo_sink       *sink;
    dfo_real       *rows, *x;
    size_t          chunk;
    double         *logp, total, worst;
    uint64_t        wrong;             /* pixels that come back as others */
    int             density;           /* the model has one */
};

static int set_up(struct job *j)
{
    struct options *o = j->o;
    struct common *c = &o->common;
    if (dfo_model_load(c->ctx, o->model, &j->model))
        return failed(c);
    int status = labels_for(c, &o->input, o->model, j->model);
    if (status || (status = input_open(c, &o->input)))
        return status;
    if ((status = input_fits(c, &o->input, j->model)))
        return status;
    j->density = dfo_model_wants_density(j->model) == DFO_OK;
    size_t d = dfo_model_features(j->model), n = strlen(o->output), width = d + o->input.context_d;
    int full = n > 12 && !strcmp(o->output + n - 12, ".safetensors");
    size_t before = dfo_ctx_bytes(c->ctx);
    if (dfo_model_plan_new(c->ctx, j->model, 0, &j->plan))
        return failed(c);
    dfo_chunk k = {.asked = o->batch, .rows = o->input.info.rows, .block = dfo_model_block(j->model),
                   .row_bytes = 2 * width * sizeof(dfo_real) + sizeof(double),
                   .taken = dfo_ctx_bytes(c->ctx) - before};
    if (dfo_chunk_rows(c->ctx, &k, &j->chunk))
        return failed(c);
    if (full ? dfo_latents_create(j->model, o->output, o->input.info.rows, c->seed, &j->latents)
             : dfo_sink_open(c->ctx, o->output, o->input.format, o->input.info.rows, d, NULL, &j->sink))
        return failed(c);
    j->rows = malloc(j->chunk * width * sizeof *j->rows);
    j->x = malloc(j->chunk * width * sizeof *j->x);
    j->logp = malloc(j->chunk * sizeof *j->logp);
    if (!j->rows || !j->x || !j->logp)
        return usage_error(c, "out of memory"), EXIT_FAILED;
    return 0;
}

static dfo_status one_chunk(struct job *j, uint64_t first, size_t n)
{
    struct options *o = j->o;
    size_t d = dfo_model_features(j->model), width = d + o->input.context_d;
    dfo_cond cond;
    memcpy(j->x, j->rows, n * width * sizeof *j->x);
    dfo_batch x = split_chunk(&o->input, j->x, n, d, &cond);
    dfo_status status = j->density ? dfo_model_log_prob(j->plan, first, x, &cond, j->logp)
                                   : dfo_model_encode(j->plan, first, x, &cond, NULL);
    for (size_t i = 0; i < n && !status && j->density; i++)              /* x holds the latents */
        j->total += j->logp[i];
    if (!status)
        status = j->latents ? dfo_latents_write(j->latents, x) : dfo_sink_write(j->sink, x);
    if (status || !o->verify)
        return status;
    status = dfo_model_decode(j->plan, first, x, &cond, NULL);
    for (size_t i = 0; i < n && !status; i++)
        for (size_t k = 0; k < d; k++) {
            double e = fabs((double)dfo_row(x, i)[k] - (double)j->rows[i * width + k]);
            if (!(e <= j->worst))
                j->worst = e;
            if (!(e < 0.5))
                j->wrong++;
        }
    return status;
}

static int all_rows(struct job *j)
{
    struct options *o = j->o;
    struct common *c = &o->common;
    uint64_t rows = o->input.info.rows;
    for (uint64_t first = 0; first < rows; first += j->chunk) {
        size_t n = rows - first < j->chunk ? (size_t)(rows - first) : j->chunk;
        if (read_chunk(c, &o->input, first, n, j->rows))
            return failed(c);
        if (one_chunk(j, first, n))
            return file_failed(c, "%s", o->input.data);
    }
    return (j->latents ? dfo_latents_finish(j->latents) : dfo_sink_finish(j->sink)) ? failed(c) : 0;
}

static int report(struct job *j)
{
    struct options *o = j->o;
    double rows = (double)o->input.info.rows;
    size_t d = dfo_model_features(j->model);
    if (o->common.json)
        return print_json(&o->common,
                          json_pack("{s:I, s:I, s:o, s:o, s:o}", "rows", (json_int_t)rows, "dims", (json_int_t)d,
                                    "mean_nats", j->density ? json_real(rows > 0 ? j->total / rows : 0.0) : json_null(),
                                    "max_roundtrip_error", o->verify ? json_real(j->worst) : json_null(),
                                    "pixels_wrong", o->verify && o->input.rows.discrete
                                                        ? json_integer((json_int_t)j->wrong) : json_null()));
    printf("%.0f rows to %s", rows, o->output);
    if (j->density)
        printf(", mean log-likelihood %.6g nats", rows > 0 ? j->total / rows : 0.0);
    if (o->verify)
        printf(", largest error decoded again %.3g", j->worst);
    if (o->verify && o->input.rows.discrete)
        printf(", %llu pixels wrong", (unsigned long long)j->wrong);
    putchar('\n');
    return 0;
}

int CMD(cmd_encode)(int argc, char **argv)
{
    static const struct argp_child children[] = {{&common_argp, 0, NULL, 0}, {&input_argp, 0, NULL, 0},
                                                 {&batch_argp, 0, NULL, 0}, {0}};
    static const struct argp argp = {options_list, parse, "MODEL", "Maps rows to latents.", children, NULL, NULL};
    struct options o = {.common = {.command = "encode", .argc = argc, .argv = argv}};
    struct job j = {.o = &o};
    if (argp_parse(&argp, argc, argv, 0, NULL, &o))
        return EXIT_USAGE;
    if (!o.output)
        return usage_error(&o.common, "-o LATENTS is missing");
    int status = common_start(&o.common);
    if (!status)
        status = set_up(&j);
    if (!status)
        status = all_rows(&j);
    if (!status)
        status = report(&j);
    dfo_latents_writer_free(j.latents);
    dfo_sink_free(j.sink);
    dfo_model_plan_free(j.plan);
    dfo_model_free(j.model);
    input_close(&o.input);
    free(j.rows);
    free(j.x);
    free(j.logp);
    return common_end(&o.common, status);
}

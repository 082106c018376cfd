/* diffeo encode: rows to latents.  --verify, and images without being asked, decodes them again first and repairs
 * those that do not come back (verify.c).  --sampler rex: another way there, with one back (rex.c).  */
#include <stdlib.h>
#include <string.h>

#include "normal.h"
#include "rex.h"

struct options {
    struct common common;
    struct input  input;
    struct rex_options rex;
    const char *model, *output;
    uint64_t batch;
    int verify, lossy;
    double tolerance;
};

enum { VERIFY = 256, TOLERANCE, LOSSY };

static const struct argp_option options_list[] = {
    {"output", 'o', "LATENTS", 0, "Where they go: .safetensors (the full form), .npy or .csv", 2},
    {"verify", VERIFY, NULL, 0, "Decode again, repair rows over the tolerance, print the largest error (images: always)", 2},
    {"tolerance", TOLERANCE, "X", 0, "Largest error, as a part of 1 + |x|, that needs no repair (default 1e-4)", 2},
    {"lossy", LOSSY, NULL, 0, "Write .npy or .csv though rows stay over the tolerance", 2},
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
        state->child_inputs[4] = &o->rex;
        return 0;
    case 'o': o->output = arg; return 0;
    case VERIFY: o->verify = 1; return 0;
    case TOLERANCE: o->tolerance = to_double(state, "--tolerance", arg, 0, 1); return 0;
    case LOSSY: o->lossy = 1; return 0;
    default: return model_argument(key, arg, state, &o->model);
    }
}

struct job {
    struct options *o;
    dfo_model      *model;
    dfo_model_plan *plan;
    dfo_latents_writer *latents;
    dfo_sink       *sink;
    dfo_real       *x;
    size_t          chunk;
    double         *logp, total;
    int             full;              /* .safetensors */
    struct verify   verify;
    struct rex     *rex;
    int             density;           /* the model has one */
    struct normal   normal;
};

static int open_all(struct job *j)
{
    struct options *o = j->o;
    struct common *c = &o->common;
    int opened = open_model(c, o->model, &j->model);
    if (opened)
        return opened;
    int status = labels_for(c, &o->input, o->model, j->model);
    if (status || (status = input_open(c, &o->input)))
        return status;
    if ((status = input_fits(c, &o->input, j->model)))
        return status;
    j->density = !o->rex.sampler && dfo_model_wants_density(j->model) == DFO_OK;
    size_t n = strlen(o->output);
    j->full = n > 12 && !strcmp(o->output + n - 12, ".safetensors");
    o->verify |= o->input.rows.discrete;
    size_t before = dfo_ctx_bytes(c->ctx);
    if (dfo_model_plan_new(c->ctx, j->model, 0, &j->plan))
        return failed(c);
    dfo_chunk k = {.asked = o->batch, .rows = o->input.info.rows, .block = dfo_model_block(j->model),
                   .row_bytes = dfo_shape_size(o->input.info.shape) * sizeof(dfo_real) + sizeof(double) +
                                (o->verify ? verify_row_bytes(&o->input) : 0),
                   .taken = dfo_ctx_bytes(c->ctx) - before};
    return dfo_chunk_rows(c->ctx, &k, &j->chunk) ? failed(c) : 0;
}

/* Latents that do not give the data back are no latents: --lossy for who wants them.  */
static int verify(struct job *j)
{
    struct options *o = j->o;
    struct verify *v = &j->verify;
    *v = (struct verify){.common = &o->common, .input = &o->input, .path = o->model, .model = j->model,
                         .plan = j->plan, .chunk = j->chunk, .tolerance = o->tolerance, .exact = j->full};
    if (o->rex.sampler)
        return rex_encoder(&o->common, &o->rex, v, o->verify, &j->rex);
    int status = o->verify ? verify_rows(v) : 0;
    if (status || !v->over || j->full || o->lossy)
        return status;
    return usage_error(&o->common, "%s: %llu of %llu rows (the first is row %llu) do not come back within the tolerance; "
                       ".safetensors holds such rows in double, --lossy writes them all the same", o->output,
                       (unsigned long long)v->over, (unsigned long long)o->input.info.rows,
                       (unsigned long long)v->first_over), EXIT_FAILED;
}

static int open_output(struct job *j)
{
    struct options *o = j->o;
    struct common *c = &o->common;
    const struct repairs *r = &j->verify.repairs;
    size_t d = dfo_model_features(j->model);
    dfo_latents_exact exact = {r->n, r->row, r->z};
    j->x = malloc(j->chunk * (d + o->input.context_d) * sizeof *j->x);
    j->logp = malloc(j->chunk * sizeof *j->logp);
    if (!j->x || !j->logp || normal_begin(&j->normal, j->model, o->input.info.rows))
        return usage_error(c, "out of memory"), EXIT_FAILED;
    if (j->full && j->rex) {
        dfo_latents_rex states = rex_latents(j->rex);
        return dfo_latents_create_rex(j->model, o->output, o->input.info.rows, &states, &j->latents) ? failed(c) : 0;
    }
    return (j->full ? dfo_latents_create(j->model, o->output, o->input.info.rows, c->seed, &exact, &j->latents)
                    : dfo_sink_open(c->ctx, o->output, o->input.format, o->input.info.rows, d, NULL, &j->sink))
               ? failed(c) : 0;
}

/* A file of latents alone takes the repaired rows' in place of the model's.  */
static void put_repairs(struct job *j, uint64_t first, dfo_batch z, size_t *next)
{
    const struct repairs *r = &j->verify.repairs;
    for (; !j->full && *next < r->n && r->row[*next] - first < z.n; ++*next)
        for (size_t k = 0; k < z.d; k++)
            dfo_row(z, (size_t)(r->row[*next] - first))[k] = (dfo_real)r->z[*next * z.d + k];
}

static int write_rows(struct job *j)
{
    struct options *o = j->o;
    struct common *c = &o->common;
    uint64_t rows = o->input.info.rows;
    size_t next = 0;
    for (uint64_t first = 0; first < rows; first += j->chunk) {
        size_t n = rows - first < j->chunk ? (size_t)(rows - first) : j->chunk;
        dfo_cond cond;
        dfo_batch x = split_chunk(&o->input, j->x, n, dfo_model_features(j->model), &cond);
        if (read_chunk(c, &o->input, first, n, j->x))
            return failed(c);
        dfo_status status = j->rex ? rex_encode(j->rex, first, x, &cond)
                            : j->density ? dfo_model_log_prob(j->plan, first, x, &cond, j->logp)
                                         : dfo_model_encode(j->plan, first, x, &cond, NULL);
        if (status)                                                   /* x holds the latents */
            return file_failed(c, "%s", o->input.data);
        for (size_t i = 0; i < n && j->density; i++)
            j->total += j->logp[i];
        put_repairs(j, first, x, &next);
        normal_add(&j->normal, x);
        if (j->latents ? dfo_latents_write(j->latents, x) : dfo_sink_write(j->sink, x))
            return failed(c);
    }
    return (j->latents ? dfo_latents_finish(j->latents) : dfo_sink_finish(j->sink)) ? failed(c) : 0;
}

static int report(struct job *j)
{
    struct options *o = j->o;
    const struct verify *v = &j->verify;
    double rows = (double)o->input.info.rows;
    dfo_normality normal;
    if (j->normal.n && dfo_normality_test(o->common.ctx, &(dfo_samples){j->normal.n, j->normal.d, j->normal.z}, &normal))
        return failed(&o->common);
    if (o->common.json) {
        json_t *out = json_pack("{s:I, s:I, s:o, s:o}", "rows", (json_int_t)rows, "dims",
                                (json_int_t)dfo_model_features(j->model), "mean_nats",
                                j->density ? json_real(rows > 0 ? j->total / rows : 0.0) : json_null(),
                                "max_roundtrip_error", o->verify ? json_real(v->worst) : json_null());
        if (out && o->verify) {
            json_object_set_new(out, "max_roundtrip_error_before", json_real(v->worst_before));
            json_object_set_new(out, "rows_repaired", json_integer((json_int_t)(v->failed - v->over)));
            json_object_set_new(out, "rows_over_tolerance", json_integer((json_int_t)v->over));
        }
        if (out && o->input.rows.discrete)
            json_object_set_new(out, "pixels_wrong", json_integer((json_int_t)v->pixels_wrong));
        if (out && j->normal.n)
            normal_json(&j->normal, &normal, out);
        return print_json(&o->common, out);
    }
    FILE *to = text_out(&o->common);
    fprintf(to, "%.0f rows to %s", rows, o->output);
    if (j->density)
        fprintf(to, ", mean log-likelihood %.6g nats", rows > 0 ? j->total / rows : 0.0);
    if (o->verify)
        fprintf(to, ", largest error decoded again %.3g", v->worst);
    if (v->failed > v->over)
        fprintf(to, " (%.3g before %llu rows were repaired)", v->worst_before, (unsigned long long)(v->failed - v->over));
    if (v->over)
        fprintf(to, ", %llu rows over the tolerance", (unsigned long long)v->over);
    if (o->input.rows.discrete)
        fprintf(to, ", %llu pixels wrong", (unsigned long long)v->pixels_wrong);
    putc('\n', to);
    if (j->normal.n)
        normal_words(&j->normal, &normal, to);
    return 0;
}

int CMD(cmd_encode)(int argc, char **argv)
{
    static const struct argp_child children[] = {{&common_argp, 0, NULL, 0}, {&input_argp, 0, NULL, 0},
                                                 {&batch_argp, 0, NULL, 0}, {&solver_argp, 0, NULL, 0}, {&rex_argp, 0, NULL, 0}, {0}};
    static const struct argp argp = {options_list, parse, "MODEL", "Maps rows to latents.", children, NULL, NULL};
    struct options o = {.common = {.command = "encode", .argc = argc, .argv = argv}, .tolerance = 1e-4};
    struct job j = {.o = &o};
    if (argp_parse(&argp, argc, argv, 0, NULL, &o))
        return EXIT_USAGE;
    if (!o.output)
        return usage_error(&o.common, "-o LATENTS is missing");
    o.common.output = o.output;
    int status = rex_options_fit(&o.common, &o.rex, o.output, o.lossy);
    if (status)
        return status;
    status = common_start(&o.common);
    if (!status)
        status = open_all(&j);
    if (!status)
        status = verify(&j);
    if (!status)
        status = open_output(&j);
    if (!status)
        status = write_rows(&j);
    if (!status)
        status = report(&j);
    verify_free(&j.verify);
    rex_free(j.rex);
    dfo_latents_writer_free(j.latents);
    dfo_sink_free(j.sink);
    dfo_model_plan_free(j.plan);
    dfo_model_free(j.model);
    input_close(&o.input);
    free(j.x);
    free(j.logp);
    free(j.normal.z);
    return common_end(&o.common, status);
}

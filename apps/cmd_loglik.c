/* diffeo loglik: log-likelihood of rows under one model, or the paired difference of two.  */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cmd.h"

struct options {
    struct common common;
    struct input  input;
    const char *model[2], *output, *gradient;
    uint64_t batch, draws;                 /* draws: of the variational bound, 0: it is not asked for */
    uint64_t noises;                       /* draws of what dequantises, or is missing; 0: one, on its grid */
};

enum { GRADIENT = 256, BOUND, DRAWS };
#define USUAL_DRAWS 64

static const struct argp_option options_list[] = {
    {"output", 'o', "FILE", 0, "One number a row, in nats (.npy or .csv)", 2},
    {"gradient-out", GRADIENT, "FILE", 0, "d log p / dx of every row (.npy or .csv)", 2},
    {"bound", BOUND, "DRAWS", OPTION_ARG_OPTIONAL,
     "Of diffusion models: not the probability flow's density but the variational bound, by DRAWS evaluations of the net a row (even; default 64)", 2},
    {"draws", DRAWS, "K", 0, "Of whole numbers and missing values: log of the mean density of K draws of what is added to them, or missing (default: of one)", 2},
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
    case GRADIENT: o->gradient = arg; return 0;
    case BOUND: o->draws = arg ? to_u64(state, "--bound", arg, 2) : USUAL_DRAWS; return 0;
    case DRAWS: o->noises = to_u64(state, "--draws", arg, 1); return 0;
    case ARGP_KEY_ARG:
        if (state->arg_num >= 2)
            argp_error(state, "unexpected argument '%s'", arg);
        o->model[state->arg_num] = arg;
        return 0;
    case ARGP_KEY_NO_ARGS: argp_error(state, "MODEL is missing"); return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

struct job {
    struct options  *o;
    dfo_model       *model[2];
    dfo_model_plan  *plan[2];
    dfo_flow_bound  *bound[2];
    dfo_sink        *sink, *gradient;
    dfo_real        *rows, *copy, *grad;
    double          *out[2];
    size_t           chunk;
    struct moments   logp[2], difference;
    double          *variance, estimate;   /* of estimated log-densities; its sum over rows of the first model */
    int              lacking;              /* rows have missing values */
};

static int plan_of(struct job *j, int i)
{
    struct options *o = j->o;
    struct common *c = &o->common;
    const dfo_flow *flow = dfo_model_flow(j->model[i]);
    if (o->noises && !(flow && (dfo_flow_dequantises(flow) || dfo_flow_missing(flow) == DFO_MISSING_INTEGRATED)))
        return usage_error(c, "--draws: %s draws nothing: it was not trained on whole numbers (--type, images), nor with --missing marginalise", o->model[i]), EXIT_FAILED;
    if (!o->draws)
        return dfo_model_plan_new(c->ctx, j->model[i], o->gradient != NULL && !i, &j->plan[i]) ? failed(c) : 0;
    if (flow && dfo_flow_base(flow)->ops->bound)
        return usage_error(c, "--bound: what %s has is a bound without it", o->model[i]), EXIT_FAILED;
    if (!flow || !dfo_flow_diffuses(flow))
        return usage_error(c, "--bound: %s is no diffusion model", o->model[i]), EXIT_FAILED;
    return dfo_flow_bound_new(c->ctx, flow, (size_t)o->draws, c->seed, &j->bound[i]) ? failed(c) : 0;
}

static int set_up(struct job *j)
{
    struct options *o = j->o;
    struct common *c = &o->common;
    int status;
    for (int i = 0; i < 2 && o->model[i]; i++) {
        if ((status = open_model(c, o->model[i], &j->model[i])))
            return status;
        if (dfo_model_wants_density(j->model[i]))
            return failed(c);
    }
    if ((status = labels_for(c, &o->input, o->model[0], j->model[0])) || (status = input_open(c, &o->input)))
        return status;
    dfo_chunk k = {.asked = o->batch, .rows = o->input.info.rows};
    for (int i = 0; i < 2 && o->model[i]; i++) {
        if ((status = input_fits(c, &o->input, j->model[i])))
            return status;
        size_t before = dfo_ctx_bytes(c->ctx), block = dfo_model_block(j->model[i]);
        if ((status = plan_of(j, i)))
            return status;
        k.taken += dfo_ctx_bytes(c->ctx) - before;
        k.block = block > k.block ? block : k.block;       /* powers of two */
        k.row_bytes += sizeof(double);
    }
    size_t width = dfo_shape_size(o->input.info.shape), d = width - o->input.context_d;
    if (!o->input.info.rows)
        return usage_error(c, "%s: no rows", o->input.data), EXIT_FAILED;
    if (o->output && dfo_sink_open_doubles(c->ctx, o->output, NULL, o->input.info.rows, "log_prob", &j->sink))
        return failed(c);
    if (o->gradient && dfo_sink_open(c->ctx, o->gradient, NULL, o->input.info.rows,
                                     dfo_shape_size(model_picture(j->model[0])), NULL, &j->gradient))
        return failed(c);
    k.row_bytes += sizeof(double) + (2 * width + (o->gradient ? d : 0)) * sizeof(dfo_real);
    if (dfo_chunk_rows(c->ctx, &k, &j->chunk))
        return failed(c);
    j->rows = malloc(j->chunk * width * sizeof *j->rows);
    j->copy = malloc(j->chunk * width * sizeof *j->copy);
    j->grad = malloc(o->gradient ? j->chunk * d * sizeof *j->grad : 1);
    for (int i = 0; i < 2; i++)
        j->out[i] = malloc(j->chunk * sizeof(double));
    j->variance = malloc(j->chunk * sizeof(double));
    if (!j->rows || !j->copy || !j->grad || !j->out[0] || !j->out[1] || !j->variance)
        return usage_error(c, "out of memory"), EXIT_FAILED;
    return 0;
}

static int score(struct job *j, uint64_t first, size_t n, int which)
{
    struct options *o = j->o;
    struct common *c = &o->common;
    size_t width = dfo_shape_size(o->input.info.shape), d = width - o->input.context_d;
    dfo_cond cond;
    memcpy(j->copy, j->rows, n * width * sizeof *j->copy);
    dfo_batch x = split_chunk(&o->input, j->copy, n, d, &cond);
    dfo_status status;
    if (o->gradient && !which) {
        dfo_batch g = dfo_batch_of(j->grad, n, d);
        status = dfo_model_log_prob_grad(j->plan[0], first, x, &cond, j->out[0], g, NULL);
        if (status == DFO_OK)
            status = dfo_sink_write(j->gradient, without_frame(j->model[0], g));
    } else {
        status = o->draws    ? dfo_flow_bound_log_prob(j->bound[which], first, x, &cond, j->out[which], j->variance)
                 : o->noises ? dfo_model_log_prob_draws(j->plan[which], first, x, &cond, (size_t)o->noises, j->out[which], j->variance)
                             : dfo_model_log_prob_estimate(j->plan[which], first, x, &cond, j->out[which], j->variance);
        for (size_t i = 0; i < n && !which && status == DFO_OK; i++)
            j->estimate += j->variance[i];
    }
    if (status)
        return file_failed(c, "%s", o->input.data);
    for (size_t i = 0; i < n; i++) {
        if (isnan(j->out[which][i]))
            return usage_error(c, "%s: row %llu: log-likelihood is not a number", o->input.data,
                               (unsigned long long)(first + i)), EXIT_NUMERICAL;
        moments_add(&j->logp[which], j->out[which][i]);
    }
    return 0;
}

static int all_rows(struct job *j)
{
    struct options *o = j->o;
    struct common *c = &o->common;
    uint64_t rows = o->input.info.rows;
    int status = 0;
    for (uint64_t first = 0; first < rows && !status; first += j->chunk) {
        size_t n = rows - first < j->chunk ? (size_t)(rows - first) : j->chunk;
        if (read_chunk(c, &o->input, first, n, j->rows))
            return failed(c);
        for (size_t i = 0; o->input.missing && !j->lacking && i < n * dfo_shape_size(o->input.info.shape); i++)
            j->lacking = isnan(j->rows[i]);
        status = score(j, first, n, 0);
        if (!status && j->model[1])
            status = score(j, first, n, 1);
        for (size_t i = 0; i < n && !status && j->model[1]; i++)
            moments_add(&j->difference, j->out[0][i] - j->out[1][i]);
        if (!status && j->sink && dfo_sink_write_doubles(j->sink, j->out[0], n))
            return failed(c);
    }
    if (!status && ((j->sink && dfo_sink_finish(j->sink)) || (j->gradient && dfo_sink_finish(j->gradient))))
        return failed(c);
    return status;
}

static int report(struct job *j, double seconds)
{
    struct options *o = j->o;
    double rows = (double)o->input.info.rows, d = (double)dfo_shape_size(model_picture(j->model[0]));
    const dfo_flow *flow = dfo_model_flow(j->model[0]);
    int bound = flow && (o->draws || dfo_flow_dequantises(flow) || j->lacking || dfo_flow_base(flow)->ops->bound);
    int imputed = j->lacking && dfo_flow_missing(flow) == DFO_MISSING_IMPUTED;
    size_t probes = flow && !o->draws ? dfo_flow_probes(flow) : 0;
    double error = o->draws || o->noises > 1 || (probes > 1 && !o->gradient) ? sqrt(j->estimate) / rows : NAN;    /* of the estimate, as far as it is known */
    if (o->common.json) {
        json_t *out = json_pack("{s:I, s:I, s:o, s:o, s:s, s:f, s:f, s:I}", "rows", (json_int_t)rows, "dims",
                                (json_int_t)d, "mean_nats", real_or_null(j->logp[0].mean), "stderr_nats",
                                real_or_null(moments_stderr(&j->logp[0])), "estimate", imputed ? "imputed" : bound ? "bound" : probes ? "hutchinson" : "exact", "seconds", seconds,
                                "rows_per_second", rows / seconds, "peak_bytes",
                                (json_int_t)dfo_ctx_peak_bytes(o->common.ctx));
        if (out && (probes || o->draws || o->noises))
            json_object_set_new(out, "estimate_stderr", real_or_null(error));
        if (out && o->input.rows.discrete)
            json_object_set_new(out, "bits_per_dim", json_real(dfo_bits_per_dim(j->logp[0].mean, d, 1)));
        if (out && j->plan[0] && dfo_model_plan_nfe(j->plan[0]) > 0)
            json_object_set_new(out, "nfe", json_real(dfo_model_plan_nfe(j->plan[0])));
        if (out && o->input.info.has_entropy)
            json_object_set_new(out, "entropy_nats", json_real(o->input.info.entropy));
        if (out && j->model[1]) {
            json_object_set_new(out, "other_mean_nats", real_or_null(j->logp[1].mean));
            json_object_set_new(out, "difference_nats", real_or_null(j->difference.mean));
            json_object_set_new(out, "difference_stderr", real_or_null(moments_stderr(&j->difference)));
        }
        return print_json(&o->common, out);
    }
    FILE *to = text_out(&o->common);
    fprintf(to, "%.0f rows, %.0f dimensions: %.6g +- %.2g nats", rows, d, j->logp[0].mean, moments_stderr(&j->logp[0]));
    if (o->input.rows.discrete)
        fprintf(to, " (%.4f bits per dimension%s)", dfo_bits_per_dim(j->logp[0].mean, d, 1), bound ? ", an upper bound" : "");
    fprintf(to, ", %.0f rows/s\n", rows / seconds);
    if (o->draws)
        fprintf(to, "The variational bound by %llu draws a row: +- %.2g of that is its error\n", (unsigned long long)o->draws, error);
    else if (o->noises > 1)
        fprintf(to, "Of %llu draws a row: +- %.2g of that is their error\n", (unsigned long long)o->noises, error);
    else if (probes && isfinite(error))
        fprintf(to, "The trace is an estimate by %zu probes: +- %.2g of that is its error\n", probes, error);
    else if (probes)
        fprintf(to, "The trace is an estimate by %zu probe%s%s\n", probes, probes > 1 ? "s" : "",
                probes > 1 ? "; without --gradient-out its error is told" : "; --trace hutchinson:2 or more tells its error");
    if (o->input.info.has_entropy)
        fprintf(to, "%s: its own density gives %.6g nats\n", o->input.data, -o->input.info.entropy);
    if (j->model[1])
        fprintf(to, "%s: %.6g nats; difference %.6g +- %.2g (paired)\n", o->model[1], j->logp[1].mean, j->difference.mean,
               moments_stderr(&j->difference));
    return 0;
}

int CMD(cmd_loglik)(int argc, char **argv)
{
    static const struct argp_child children[] = {{&common_argp, 0, NULL, 0}, {&input_argp, 0, NULL, 0},
                                                 {&batch_argp, 0, NULL, 0}, {&solver_argp, 0, NULL, 0}, {0}};
    static const struct argp argp = {options_list, parse, "MODEL [MODEL]",
                                     "Log-likelihood of rows, in nats and in data units.", children, NULL, NULL};
    struct options o = {.common = {.command = "loglik", .argc = argc, .argv = argv}};
    struct job j = {.o = &o};
    if (argp_parse(&argp, argc, argv, 0, NULL, &o))
        return EXIT_USAGE;
    if (o.draws % 2)
        return usage_error(&o.common, "--bound: expected an even number of draws, got %llu", (unsigned long long)o.draws);
    if (o.draws && o.common.solves)
        return usage_error(&o.common, "--bound: the bound solves nothing: --solver, --solver-steps, --rtol, --atol and --trace do not go with it");
    if (o.noises && (o.draws || o.gradient))
        return usage_error(&o.common, "--draws does not go with %s", o.draws ? "--bound" : "--gradient-out");
    if (o.draws && o.gradient)
        return usage_error(&o.common, "--bound: the bound has no gradient for --gradient-out");
    o.common.output = o.gradient && !strcmp(o.gradient, "-") ? o.gradient : o.output;
    int status = common_start(&o.common);
    if (!status)
        status = set_up(&j);
    double started = seconds_now();
    if (!status)
        status = all_rows(&j);
    if (!status)
        status = report(&j, seconds_now() - started);
    dfo_sink_free(j.sink);
    dfo_sink_free(j.gradient);
    for (int i = 0; i < 2; i++) {
        dfo_model_plan_free(j.plan[i]);
        dfo_flow_bound_free(j.bound[i]);
        dfo_model_free(j.model[i]);
        free(j.out[i]);
    }
    free(j.rows);
    free(j.copy);
    free(j.variance);
    free(j.grad);
    input_close(&o.input);
    return common_end(&o.common, status);
}

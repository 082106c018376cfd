/* diffeo calibrate: do rows that a model has not seen fall where it says?  Every row is held against draws given its context.  */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cmd.h"

#define LEVELS 32
#define TEXT_COLUMNS 16                /* that the report in words tells one by one */
#define CURVE 99                       /* levels of the picture */

struct options {
    struct common common;
    struct input  input;
    const char *model, *output, *plot;
    uint64_t draws, bins, batch;       /* bins 0: as suits the draws */
    double   level[LEVELS];
    size_t   levels;
};

enum { DRAWS = 256, BINS, LEVEL, PLOT };

static const struct argp_option options_list[] = {
    {"draws", DRAWS, "N", 0, "Draws for each row (default 99)", 2},
    {"bins", BINS, "N", 0, "Bins of the rank histograms (default 20, less for few rows or ranks)", 2},
    {"levels", LEVEL, "LIST", 0, "Masses of the regions whose coverage is told (default 0.5,0.8,0.9,0.95)", 2},
    {"output", 'o', "FILE", 0, "PIT of every row's columns, mass of its region, scores (.npy or .csv)", 2},
    {"plot", PLOT, "FILE.png", 0, "Coverage over the mass of regions and intervals", 2},
    {0},
};

static void levels_of(struct argp_state *state, struct options *o, const char *list)
{
    o->levels = 0;
    for (const char *at = list;; at++) {
        char *end;
        double level = strtod(at, &end);
        if (end == at || (*end && *end != ',') || !(level > 0 && level < 1) || o->levels == LEVELS)
            argp_error(state, "--levels: expected up to %d numbers between 0 and 1, got '%s'", LEVELS, list);
        o->level[o->levels++] = level;
        if (!*end)
            return;
        at = end;
    }
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &o->common;
        state->child_inputs[1] = &o->input;
        state->child_inputs[2] = &o->batch;
        state->child_inputs[3] = &o->common;
        levels_of(state, o, "0.5,0.8,0.9,0.95");
        return 0;
    case DRAWS: o->draws = to_u64(state, "--draws", arg, 2); return 0;
    case BINS: o->bins = to_u64(state, "--bins", arg, 2); return 0;
    case LEVEL: levels_of(state, o, arg); return 0;
    case 'o': o->output = arg; return 0;
    case PLOT: o->plot = arg; return 0;
    default: return model_argument(key, arg, state, &o->model);
    }
}

struct job {
    struct options *o;
    dfo_model      *model;
    dfo_model_plan *plan;
    dfo_forecast   *forecast;
    size_t    d, context, draws, chunk;
    dfo_real *rows;                    /* (chunk, d + context) */
    dfo_real *x, *cond;                /* (chunk L, d), (chunk L, context) */
    double   *y, *draw;                /* (chunk, d), (chunk L, d) */
    double   *logp, *draw_logp;        /* (chunk), (chunk L) */
    struct moments nats;
    dfo_sink *sink;
};

/* A column's name, or a number from 1.  */
static const char *name_of(const struct job *j, size_t k, char text[32])
{
    json_t *names = json_object_get(dfo_model_notes(j->model), "columns");
    const char *name = json_array_size(names) == j->d ? json_string_value(json_array_get(names, k)) : NULL;
    snprintf(text, 32, "x%zu", k + 1);
    return name ? name : text;
}

/* PIT of every column and the mass of the row's region, then the scores.  */
static int open_rows(struct job *j)
{
    const struct common *c = &j->o->common;
    size_t d = j->d, width = 2 * (d + 1);
    char (*text)[80] = calloc(width, sizeof *text), own[32];
    const char **names = calloc(width, sizeof *names);
    int status = text && names ? 0 : (usage_error(c, "out of memory"), EXIT_FAILED);
    for (size_t k = 0; k <= d && !status; k++) {
        snprintf(text[k], sizeof *text, k < d ? "pit_%s" : "region", k < d ? name_of(j, k, own) : "");
        snprintf(text[d + 1 + k], sizeof *text, k < d ? "crps_%s" : "energy", k < d ? name_of(j, k, own) : "");
        names[k] = text[k];
        names[d + 1 + k] = text[d + 1 + k];
    }
    if (!status && dfo_sink_open(c->ctx, j->o->output, NULL, j->o->input.info.rows, width, names, &j->sink))
        status = failed(c);
    free(names);
    free(text);
    return status;
}

static int write_rows(struct job *j)
{
    const struct common *c = &j->o->common;
    size_t d = j->d, width = 2 * (d + 1);
    dfo_real *row = calloc(width, sizeof *row);
    dfo_status bad = DFO_OK;
    if (!row)
        return usage_error(c, "out of memory"), EXIT_FAILED;
    for (size_t i = 0; i < j->o->input.info.rows && !bad; i++) {
        for (size_t k = 0; k <= d; k++) {
            row[k] = (dfo_real)dfo_forecast_pit(j->forecast, i, k);
            row[d + 1 + k] = (dfo_real)dfo_forecast_score(j->forecast, i, k);
        }
        bad = dfo_sink_write(j->sink, dfo_batch_of(row, 1, width));
    }
    free(row);
    return bad ? failed(c) : 0;
}

static int set_up(struct job *j)
{
    struct options *o = j->o;
    struct common *c = &o->common;
    int status = open_model(c, o->model, &j->model);
    if (status)
        return status;
    if (dfo_model_wants_density(j->model) || dfo_model_wants_samples(j->model))
        return failed(c);
    if ((status = labels_for(c, &o->input, o->model, j->model)) || (status = input_open(c, &o->input)) ||
        (status = input_fits(c, &o->input, j->model)))
        return status;
    if (!o->input.info.rows)
        return usage_error(c, "%s: no rows", o->input.data), EXIT_FAILED;
    j->d = dfo_model_features(j->model);
    j->context = o->input.context_d;
    j->draws = (size_t)o->draws;
    size_t before = dfo_ctx_bytes(c->ctx), per = (j->d + j->context) * sizeof(dfo_real) + (j->d + 1) * sizeof(double), row;
    dfo_forecast_options f = {(size_t)o->input.info.rows, j->d, j->draws, (size_t)o->bins, c->seed};
    if (!f.bins)                       /* some rows to expect in each, and no more than there are ranks */
        f.bins = o->input.info.rows < 100 ? (size_t)o->input.info.rows / 5 : 20;
    f.bins = f.bins < 2 ? 2 : f.bins > j->draws + 1 && !o->bins ? j->draws + 1 : f.bins;
    o->bins = f.bins;
    if (o->draws > SIZE_MAX / per - 1 || __builtin_mul_overflow(per, j->draws + 1, &row))
        return usage_error(c, "--draws: %llu are too many", (unsigned long long)o->draws), EXIT_FAILED;
    if (dfo_forecast_new(c->ctx, &f, &j->forecast) || dfo_model_plan_new(c->ctx, j->model, 0, &j->plan))
        return failed(c);
    dfo_chunk k = {.asked = o->batch, .rows = f.rows, .block = dfo_model_block(j->model), .row_bytes = row,
                   .taken = dfo_ctx_bytes(c->ctx) - before};
    if (dfo_chunk_rows(c->ctx, &k, &j->chunk))
        return failed(c);
    size_t all = j->chunk * j->draws;
    j->rows = malloc(j->chunk * (j->d + j->context) * sizeof *j->rows);
    j->x = malloc(all * j->d * sizeof *j->x);
    j->cond = malloc((all * j->context + 1) * sizeof *j->cond);
    j->y = malloc(j->chunk * j->d * sizeof *j->y);
    j->draw = malloc(all * j->d * sizeof *j->draw);
    j->logp = malloc(j->chunk * sizeof *j->logp);
    j->draw_logp = malloc(all * sizeof *j->draw_logp);
    if (!j->rows || !j->x || !j->cond || !j->y || !j->draw || !j->logp || !j->draw_logp)
        return usage_error(c, "out of memory"), EXIT_FAILED;
    return o->output ? open_rows(j) : 0;
}

/* Draws of row i stand at i L .. i L + L-1, as their context does.  */
static void spread_context(struct job *j, size_t n, dfo_cond *cond)
{
    memset(cond, 0, sizeof *cond);
    if (!j->context)
        return;
    for (size_t i = 0; i < n * j->draws; i++)
        memcpy(j->cond + i * j->context, j->rows + i / j->draws * (j->d + j->context) + j->d, j->context * sizeof *j->cond);
    cond->n = 1;
    cond->part[0].rows = dfo_batch_of(j->cond, n * j->draws, j->context);
    cond->part[0].shape = dfo_shape_vector(j->context);
}

static void widen(dfo_batch x, double *to)
{
    for (size_t i = 0; i < x.n; i++)
        for (size_t k = 0; k < x.d; k++)
            to[i * x.d + k] = (double)dfo_row(x, i)[k];
}

static int chunk(struct job *j, uint64_t first, size_t n)
{
    struct options *o = j->o;
    struct common *c = &o->common;
    dfo_cond own, spread;
    if (read_chunk(c, &o->input, first, n, j->rows))
        return failed(c);
    dfo_batch y = split_chunk(&o->input, j->rows, n, j->d, &own), x = dfo_batch_of(j->x, n * j->draws, j->d);
    spread_context(j, n, &spread);
    widen(y, j->y);
    if (dfo_model_log_prob(j->plan, first, y, &own, j->logp))
        return file_failed(c, "%s", o->input.data);
    if (dfo_model_sample(j->plan, c->seed, first * j->draws, x, &spread, 1))
        return failed(c);
    widen(x, j->draw);
    if (dfo_model_log_prob(j->plan, first * j->draws, x, &spread, j->draw_logp) ||
        dfo_forecast_add(j->forecast, first, n, j->y, j->draw, j->logp, j->draw_logp))
        return failed(c);
    for (size_t i = 0; i < n; i++)
        moments_add(&j->nats, j->logp[i]);
    return 0;
}

/* Coverage of regions and of the first columns' middle intervals over their mass.  */
static int draw_coverage(struct job *j)
{
    const struct common *c = &j->o->common;
    size_t shown = j->d < TEXT_COLUMNS ? j->d : TEXT_COLUMNS, n = shown + 2;
    double *value = calloc(n * CURVE, sizeof *value);
    dfo_plot_series *series = calloc(n, sizeof *series);
    char (*text)[32] = calloc(n, sizeof *text);
    int status = value && series && text ? 0 : (usage_error(c, "out of memory"), EXIT_FAILED);
    for (size_t s = 0; s < n && !status; s++) {
        double *at = value + s * CURVE;
        for (size_t i = 0; i < CURVE && !status; i++) {
            dfo_estimate e = {.value = (double)(i + 1) / (CURVE + 1)};
            if (s && dfo_forecast_coverage(j->forecast, s == 1 ? j->d : s - 2, e.value, &e))
                status = failed(c);
            at[i] = e.value;
        }
        series[s] = (dfo_plot_series){!s ? "as said" : s == 1 ? "regions" : name_of(j, s - 2, text[s]), value, at, CURVE,
                                      s ? DFO_PLOT_LINE : DFO_PLOT_DASHED};
    }
    dfo_plot_curves curves = {.look = {.x_label = "mass", .y_label = "rows inside"}, .y_low = 0, .y_high = 1, .series = series, .n = n};
    if (!status && dfo_plot_curves_png(c->ctx, &curves, j->o->plot))
        status = failed(c);
    free(text);
    free(series);
    free(value);
    return status;
}

/* Tests, ranks and coverage at place k; r and ranks are what was measured there.  */
static json_t *place(struct job *j, size_t k, const dfo_forecast_result *r, const uint64_t *ranks)
{
    char text[32];
    json_t *out = json_pack("{s:f, s:o, s:f, s:f, s:f, s:f}", k < j->d ? "crps" : "energy_score", r->score.value,
                            k < j->d ? "crps_stderr" : "energy_score_stderr", real_or_null(r->score.error), "chi_square", r->chi_square,
                            "chi_square_p", r->chi_square_p, "ks", r->ks, "ks_p", r->ks_p);
    json_t *counts = json_array(), *coverage = json_array();
    if (k < j->d)
        json_object_set_new(out, "name", json_string(name_of(j, k, text)));
    for (size_t b = 0; b < j->o->bins; b++)
        json_array_append_new(counts, json_integer((json_int_t)ranks[b]));
    for (size_t i = 0; i < j->o->levels; i++) {
        dfo_estimate e;
        if (dfo_forecast_coverage(j->forecast, k, j->o->level[i], &e) == DFO_OK)
            json_array_append_new(coverage, json_pack("{s:f, s:f, s:f}", "level", j->o->level[i], "covered", e.value, "stderr", e.error));
    }
    json_object_set_new(out, "ranks", counts);
    json_object_set_new(out, "coverage", coverage);
    return out;
}

static void print_place(struct job *j, size_t k, const dfo_forecast_result *r)
{
    FILE *to = text_out(&j->o->common);
    char text[32];
    fprintf(to, "%-12.12s %10.4g %8.2g %9.4g %9.4g ", k < j->d ? name_of(j, k, text) : "rows", r->score.value, r->score.error,
            r->chi_square_p, r->ks_p);
    for (size_t i = 0; i < j->o->levels; i++) {
        dfo_estimate e;
        if (dfo_forecast_coverage(j->forecast, k, j->o->level[i], &e) == DFO_OK)
            fprintf(to, " %7.4f", e.value);
    }
    fputc('\n', to);
}

static void print_head(struct job *j, double nats, double error)
{
    const struct options *o = j->o;
    FILE *to = text_out(&o->common);
    fprintf(to, "%llu rows, %zu columns, %zu draws each: %.6g +- %.2g nats\n", (unsigned long long)o->input.info.rows, j->d, j->draws, nats,
            error);
    fprintf(to, "%-12s %10s %8s %9s %9s  covered, of\n%-12s %10s %8s %9s %9s ", "", "score", "+-", "ranks p", "PIT p", "", "", "", "", "");
    for (size_t i = 0; i < o->levels; i++)
        fprintf(to, " %7.4g", o->level[i]);
    fputc('\n', to);
}

static int report(struct job *j, double seconds)
{
    const struct options *o = j->o;
    const struct common *c = &o->common;
    double n = (double)o->input.info.rows, nats = j->nats.mean, error = moments_stderr(&j->nats), least = 1, crps = 0;
    uint64_t *ranks = calloc((size_t)o->bins, sizeof *ranks);
    json_t *columns = json_array(), *region = NULL;
    int status = ranks && columns ? 0 : (usage_error(c, "out of memory"), EXIT_FAILED);
    if (!status && !c->json)
        print_head(j, nats, error);
    for (size_t k = 0; k <= j->d && !status; k++) {
        dfo_forecast_result r;
        if (dfo_forecast_measure(j->forecast, k, &r, ranks)) {
            status = failed(c);
            break;
        }
        least = fmin(least, fmin(r.chi_square_p, r.ks_p));
        crps += k < j->d ? r.score.value / (double)j->d : 0;
        if (!c->json && (k < TEXT_COLUMNS || k == j->d))
            print_place(j, k, &r);
        if (c->json && k < j->d)
            json_array_append_new(columns, place(j, k, &r, ranks));
        else if (c->json)
            region = place(j, k, &r, ranks);
    }
    double p = fmin(1, least * 2 * (double)(j->d + 1));        /* Bonferroni's */
    if (!status && !c->json && j->d > TEXT_COLUMNS)
        fprintf(text_out(c), "(%zu columns more: --json tells them)\n", j->d - TEXT_COLUMNS);
    if (!status && !c->json)
        fprintf(text_out(c), "mean CRPS %.4g; p of all tests together at most %.4g%s\n", crps, p,
                p < 0.01 ? ": rows do not fall where the model says" : "");
    if (!status && c->json)
        status = print_json(c, json_pack("{s:I, s:I, s:I, s:I, s:o, s:o, s:f, s:f, s:O, s:O, s:f, s:f, s:I}", "rows",
                                         (json_int_t)o->input.info.rows, "dims", (json_int_t)j->d, "draws", (json_int_t)j->draws, "bins",
                                         (json_int_t)o->bins, "mean_nats", real_or_null(nats), "stderr_nats", real_or_null(error), "crps", crps,
                                         "p", p, "region", region, "columns", columns, "seconds", seconds, "rows_per_second", n / seconds,
                                         "peak_bytes", (json_int_t)dfo_ctx_peak_bytes(c->ctx)));
    json_decref(region);
    json_decref(columns);
    free(ranks);
    return status;
}

int CMD(cmd_calibrate)(int argc, char **argv)
{
    static const struct argp_child children[] = {{&common_argp, 0, NULL, 0}, {&input_argp, 0, NULL, 0},
                                                 {&batch_argp, 0, NULL, 0}, {&solver_argp, 0, NULL, 0}, {0}};
    static const struct argp argp = {options_list, parse, "MODEL",
                                     "Whether rows fall where a model says: ranks, PIT, coverage, CRPS, energy score.", children, NULL, NULL};
    struct options o = {.common = {.command = "calibrate", .argc = argc, .argv = argv}, .draws = 99};
    struct job j = {.o = &o};
    if (argp_parse(&argp, argc, argv, 0, NULL, &o))
        return EXIT_USAGE;
    o.common.output = o.output;
    int status = common_start(&o.common);
    double started = seconds_now();
    if (!status)
        status = set_up(&j);
    uint64_t rows = o.input.info.rows;
    for (uint64_t first = 0; !status && first < rows; first += j.chunk)
        status = chunk(&j, first, rows - first < j.chunk ? (size_t)(rows - first) : j.chunk);
    if (!status && o.output)
        status = write_rows(&j);
    if (!status && o.plot)
        status = draw_coverage(&j);
    if (!status)
        status = report(&j, seconds_now() - started);
    if (!status && j.sink && dfo_sink_finish(j.sink))        /* last: rows are there if all else is */
        status = failed(&o.common);
    dfo_sink_free(j.sink);
    dfo_forecast_free(j.forecast);
    dfo_model_plan_free(j.plan);
    dfo_model_free(j.model);
    input_close(&o.input);
    free(j.rows);
    free(j.x);
    free(j.cond);
    free(j.y);
    free(j.draw);
    free(j.logp);
    free(j.draw_logp);
    return common_end(&o.common, status);
}

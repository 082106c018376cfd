/* diffeo plot: a model's density with data over it, corner plots, histograms, images, training curves.  */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <diffeo/plot.h>
#include "plot_images.h"
#include "plot_sphere.h"

#define MOST_ARGS 8
#define MOST_POINTS 20000              /* rows that are drawn */
#define DRAWS 20000                    /* samples of a model beside data */
#define SIDE 400                       /* cells of a density map to a side */

struct options {
    struct common common;
    struct input  input;
    const char *arg[MOST_ARGS], *output, *title;
    int         args;
    size_t      width, height;
    int         log_scale;
};

enum { TITLE = 256, WIDTH, HEIGHT, LOG };

static const struct argp_option options_list[] = {
    {"output", 'o', "OUT.png", 0, "The picture", 2},
    {"title", TITLE, "TEXT", 0, "Title of the picture", 2},
    {"width", WIDTH, "PIXELS", 0, "Width (default: as suits the picture)", 2},
    {"height", HEIGHT, "PIXELS", 0, "Height", 2},
    {"log-scale", LOG, NULL, 0, "Colours of a density on a logarithmic scale", 2},
    {0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &o->common;
        state->child_inputs[1] = &o->input;
        return 0;
    case 'o': o->output = arg; return 0;
    case TITLE: o->title = arg; return 0;
    case WIDTH: o->width = to_u64(state, "--width", arg, 100); return 0;
    case HEIGHT: o->height = to_u64(state, "--height", arg, 100); return 0;
    case LOG: o->log_scale = 1; return 0;
    case ARGP_KEY_ARG:
        if (o->args == MOST_ARGS)
            argp_error(state, "at most %d arguments", MOST_ARGS);
        o->arg[o->args++] = arg;
        return 0;
    case ARGP_KEY_NO_ARGS: argp_error(state, "MODEL, DATA or LOG.jsonl is missing"); return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

static int ends(const char *text, const char *with)
{
    size_t n = strlen(text), m = strlen(with);
    return n >= m && !strcmp(text + n - m, with);
}

/* ---- rows as doubles */

struct rows {
    double *x;                         /* (n, d) */
    size_t  n, d;
    const char *name;
    char    names[DFO_PLOT_MAX_COLUMNS][64];
    int     named;
};

static double *as_doubles(const dfo_real *x, size_t n)
{
    double *out = malloc((n ? n : 1) * sizeof *out);
    for (size_t i = 0; out && i < n; i++)
        out[i] = (double)x[i];
    return out;
}

/* The first MOST_POINTS rows of an open data set.  */
static int take_rows(struct options *o, const struct input *in, struct rows *r)
{
    struct common *c = &o->common;
    int status = 0;
    r->d = dfo_shape_size(in->info.shape);
    r->n = in->info.rows < MOST_POINTS ? (size_t)in->info.rows : MOST_POINTS;
    r->name = in->data;
    dfo_real *x = malloc((r->n * r->d + 1) * sizeof *x);
    if (!x)
        status = (usage_error(c, "out of memory"), EXIT_FAILED);
    else if (read_chunk(c, in, 0, r->n, x))
        status = failed(c);
    else if (!(r->x = as_doubles(x, r->n * r->d)))
        status = (usage_error(c, "out of memory"), EXIT_FAILED);
    free(x);
    r->named = 1;
    for (size_t j = 0; j < r->d && j < DFO_PLOT_MAX_COLUMNS; j++) {
        const char *name = dfo_source_column(in->source, j);
        r->named &= name != NULL;
        snprintf(r->names[j], sizeof r->names[j], "%s", name ? name : "");
    }
    return status;
}

static int load_rows(struct options *o, const char *spec, struct rows *r)
{
    struct input in = o->input;
    in.data = spec;
    int status = input_open(&o->common, &in);
    if (!status)
        status = take_rows(o, &in, r);
    input_close(&in);
    return status;
}

static int draw_rows(struct options *o, const dfo_model *model, dfo_model_plan *plan, struct rows *r)
{
    struct common *c = &o->common;
    r->d = dfo_model_features(model);
    r->n = DRAWS;
    r->name = "samples";
    dfo_real *x = malloc(r->n * r->d * sizeof *x);
    if (!x)
        return usage_error(c, "out of memory"), EXIT_FAILED;
    int status = dfo_model_sample(plan, c->seed, 0, dfo_batch_of(x, r->n, r->d), NULL, 1) ? failed(c) : 0;
    if (!status && !(r->x = as_doubles(x, r->n * r->d)))
        status = (usage_error(c, "out of memory"), EXIT_FAILED);
    free(x);
    return status;
}

static dfo_plot_points points_of(const struct rows *r)
{
    dfo_plot_points p = {r->name, r->x, r->x ? r->n : 0, r->d, r->d};
    return p;
}

static dfo_plot_look look_of(const struct options *o, const struct rows *labels)
{
    dfo_plot_look look = {.width = o->width, .height = o->height, .title = o->title};
    if (labels && labels->named && labels->d <= 2) {
        look.x_label = labels->names[0];
        look.y_label = labels->d > 1 ? labels->names[1] : "density";
    } else if (labels) {
        look.x_label = labels->d > 1 ? "x1" : "x";
        look.y_label = labels->d > 1 ? "x2" : "density";
    }
    return look;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The middle 99 % of column j, and a fifth of that to each side.  */
static int span(const struct rows *r, size_t j, double *low, double *high)
{
    double *sorted = malloc((r->n ? r->n : 1) * sizeof *sorted);
    if (!sorted)
        return EXIT_FAILED;
    for (size_t i = 0; i < r->n; i++)
        sorted[i] = r->x[i * r->d + j];
    qsort(sorted, r->n, sizeof *sorted, ascending);
    *low = sorted[r->n / 200];
    *high = sorted[r->n - 1 - r->n / 200];
    double margin = 0.2 * (*high - *low);
    *low -= margin > 0 ? margin : 0.5;
    *high += margin > 0 ? margin : 0.5;
    free(sorted);
    return 0;
}

/* No further than the bounds of the model's column (train --type), beyond which there is no density to be had.  */
static void within(dfo_model *model, size_t j, double *low, double *high)
{
    const json_t *column = json_array_get(json_object_get(dfo_model_config(model), "columns"), j), *a = json_object_get(column, "low"),
                 *b = json_object_get(column, "high");
    const char *kind = json_string_value(json_object_get(column, "kind"));
    if (kind && !strcmp(kind, "positive"))
        *low = fmax(*low, 0);
    if (json_is_number(a))
        *low = fmax(*low, json_number_value(a));
    if (json_is_number(b))
        *high = fmin(*high, json_number_value(b));
}

/* ---- pictures */

/* Densities at the middles of a grid's cells; rows that the model cannot score count as 0.  */
static double *grid_density(struct options *o, dfo_model_plan *plan, size_t d, const double *low, const double *high)
{
    size_t side = d == 1 ? 2000 : SIDE, n = d == 1 ? side : side * side;
    dfo_real *x = malloc(n * d * sizeof *x);
    double *out = calloc(n, sizeof *out);
    for (size_t i = 0; x && out && i < n; i++) {
        x[i * d] = (dfo_real)(low[0] + (high[0] - low[0]) * ((double)(i % side) + 0.5) / (double)side);
        if (d == 2)
            x[i * d + 1] = (dfo_real)(low[1] + (high[1] - low[1]) * ((double)(i / side) + 0.5) / (double)side);
    }
    for (size_t i = 0; x && out && i < n; i += side) {
        if (dfo_model_log_prob(plan, 0, dfo_batch_of(x + i * d, side, d), NULL, out + i)) {
            dfo_ctx_clear(o->common.ctx);
            memset(out + i, 0, side * sizeof *out);
        } else {
            for (size_t k = i; k < i + side; k++)
                out[k] = exp(out[k]);
        }
    }
    free(x);
    return out;
}

static int density_map(struct options *o, dfo_model *model, dfo_model_plan *plan, const struct rows *r, int is_data)
{
    static const double masses[] = {0.5, 0.9};
    double low[2], high[2];
    if (span(r, 0, &low[0], &high[0]) || span(r, 1, &low[1], &high[1]))
        return usage_error(&o->common, "out of memory"), EXIT_FAILED;
    within(model, 0, &low[0], &high[0]);
    within(model, 1, &low[1], &high[1]);
    double *value = grid_density(o, plan, 2, low, high);
    if (!value)
        return usage_error(&o->common, "out of memory"), EXIT_FAILED;
    dfo_plot_map map = {
        .look = look_of(o, r), .x_low = low[0], .x_high = high[0], .y_low = low[1], .y_high = high[1], .nx = SIDE,
        .ny = SIDE, .value = value, .scale = o->log_scale ? DFO_PLOT_LOG : DFO_PLOT_LINEAR, .bar_label = "density",
        .masses = masses, .contours = 2,
    };
    if (is_data)
        map.points = points_of(r);
    dfo_status status = dfo_plot_map_png(o->common.ctx, &map, o->output);
    free(value);
    return status ? failed(&o->common) : 0;
}

static int sphere_map(struct options *o, dfo_model_plan *plan, double half_turn, const struct rows *data)
{
    dfo_plot_map map = {.look = look_of(o, NULL), .scale = o->log_scale ? DFO_PLOT_LOG : DFO_PLOT_LINEAR, .points.name = data->name};
    return plot_sphere(&o->common, plan, half_turn, &map, data->x ? data->n : 0, data->x, o->output);
}

static int density_curve(struct options *o, dfo_model *model, dfo_model_plan *plan, const struct rows *r)
{
    double low, high, x[2000];
    if (span(r, 0, &low, &high))
        return usage_error(&o->common, "out of memory"), EXIT_FAILED;
    within(model, 0, &low, &high);
    double *value = grid_density(o, plan, 1, &low, &high);
    if (!value)
        return usage_error(&o->common, "out of memory"), EXIT_FAILED;
    for (size_t i = 0; i < 2000; i++)
        x[i] = low + (high - low) * ((double)i + 0.5) / 2000;
    dfo_plot_series curve = {.name = "model", .x = x, .y = value, .n = 2000};
    dfo_plot_histogram h = {.look = look_of(o, r), .data = points_of(r), .x_low = low, .x_high = high,
                            .curves = &curve, .n = 1};
    dfo_status status = dfo_plot_histogram_png(o->common.ctx, &h, o->output);
    free(value);
    return status ? failed(&o->common) : 0;
}

static int corner(struct options *o, const struct rows *data, const struct rows *other)
{
    const char *labels[DFO_PLOT_MAX_COLUMNS];
    dfo_plot_corner p = {.look = look_of(o, NULL), .data = points_of(data)};
    if (data->d > DFO_PLOT_MAX_COLUMNS)
        return usage_error(&o->common, "%s: %zu columns; a corner plot shows at most %d: choose some with --columns",
                           data->name, data->d, DFO_PLOT_MAX_COLUMNS), EXIT_FAILED;
    if (other)
        p.other = points_of(other);
    for (size_t j = 0; j < data->d; j++)
        labels[j] = data->names[j];
    if (data->named)
        p.labels = labels;
    return dfo_plot_corner_png(o->common.ctx, &p, o->output) ? failed(&o->common) : 0;
}

static int plot_model(struct options *o, const char *path, const char *data)
{
    struct common *c = &o->common;
    dfo_model *model;
    dfo_model_plan *plan = NULL;
    struct rows r = {0}, draws = {0};
    if (dfo_model_load(c->ctx, path, &model))
        return failed(c);
    size_t d = dfo_model_features(model);
    int status = 0, pictures = model_levels(model) && dfo_model_shape(model).h * dfo_model_shape(model).w > 1 &&
                               (!dfo_model_context(model) ||
                                json_object_get(dfo_model_notes(model), "classes"));
    if (dfo_model_wants_density(model))
        status = failed(c);
    else if (pictures && data)
        status = (usage_error(c, "%s is a model of images: its pictures are of draws, without data", path),
                  EXIT_FAILED);
    else if (dfo_model_context(model) && !pictures)
        status = (usage_error(c, "%s is conditional: draw rows with 'diffeo sample --context' and plot those", path),
                  EXIT_FAILED);
    else if (dfo_model_plan_new(c->ctx, model, 0, &plan))
        status = failed(c);
    if (!status && pictures) {
        status = plot_image_model(c, model, plan, o->output);
        dfo_model_plan_free(plan);
        dfo_model_free(model);
        return status;
    }
    const dfo_flow *flow = dfo_model_flow(model);
    int whole = flow && dfo_flow_dequantises(flow);        /* columns of whole numbers have no density in between */
    if (!status && data)
        status = words_of(c, model, &o->input.words);
    if (!status && data)
        status = load_rows(o, data, &r);
    if (!status && data && r.d != d)
        status = (usage_error(c, "%s: expected %zu columns, got %zu", data, d, r.d), EXIT_FAILED);
    double half_turn = plot_sphere_units(model);
    if (!status && (!data || d > 2 || whole) && !half_turn)
        status = draw_rows(o, model, plan, &draws);
    const struct rows *shown = data ? &r : &draws;
    if (!status && half_turn)
        status = sphere_map(o, plan, half_turn, &r);
    else if (!status && d == 1 && !whole)
        status = density_curve(o, model, plan, shown);
    else if (!status && d == 2 && !whole)
        status = density_map(o, model, plan, shown, data != NULL);
    else if (!status)
        status = corner(o, shown, data ? &draws : NULL);
    free(r.x);
    free(draws.x);
    dfo_model_plan_free(plan);
    dfo_model_free(model);
    return status;
}

static int plot_tables(struct options *o, const struct input *first)
{
    struct rows r[2] = {{0}, {0}};
    int status = take_rows(o, first, &r[0]);
    if (!status && o->args > 1)
        status = load_rows(o, o->arg[1], &r[1]);
    if (!status && o->args > 1 && r[0].d != r[1].d)
        status = (usage_error(&o->common, "%s has %zu columns, %s %zu", r[0].name, r[0].d, r[1].name, r[1].d),
                  EXIT_FAILED);
    if (!status)
        status = corner(o, &r[0], o->args > 1 ? &r[1] : NULL);
    free(r[0].x);
    free(r[1].x);
    return status;
}

static int plot_data(struct options *o)
{
    struct input in = o->input;
    in.data = o->arg[0];
    int status = input_open(&o->common, &in);
    if (!status && !in.rows.discrete)
        status = plot_tables(o, &in);
    else if (!status && o->args > 1)
        status = (usage_error(&o->common, "%s holds images: one data set at a time", o->arg[0]), EXIT_FAILED);
    else if (!status)
        status = plot_image_data(&o->common, &in, o->output);
    input_close(&in);
    return status;
}

/* ---- training curves */

struct log {
    double *x, *train, *valid;
    size_t  n;
    char    name[2][300];
};

static void log_free(struct log *l)
{
    free(l->x);
    free(l->train);
    free(l->valid);
}

static double value_of(const json_t *line, const char *key)
{
    const json_t *v = json_object_get(line, key);
    return json_is_number(v) ? json_number_value(v) : NAN;
}

static int load_log(struct options *o, const char *path, struct log *l)
{
    char *text = NULL;
    size_t room = 0, at = 0;
    FILE *f = fopen(path, "r");
    int status = 0;
    if (!f)
        return usage_error(&o->common, "%s: %s", path, strerror(errno)), EXIT_FAILED;
    while (!status && getline(&text, &room, f) >= 0) {
        at++;
        json_t *line = json_loads(text, 0, NULL);
        double *x = realloc(l->x, (l->n + 1) * sizeof *x);
        l->x = x ? x : l->x;
        double *train = realloc(l->train, (l->n + 1) * sizeof *train);
        l->train = train ? train : l->train;
        double *valid = realloc(l->valid, (l->n + 1) * sizeof *valid);
        l->valid = valid ? valid : l->valid;
        if (!x || !train || !valid) {
            status = (usage_error(&o->common, "out of memory"), EXIT_FAILED);
        } else if (!json_is_object(line) || !json_is_number(json_object_get(line, "step"))) {
            status = (usage_error(&o->common, "%s: line %zu: expected an object with 'step'", path, at), EXIT_FAILED);
        } else {
            l->x[l->n] = value_of(line, "step");
            l->train[l->n] = value_of(line, "train_nats");
            l->valid[l->n++] = value_of(line, "valid_nats");
        }
        json_decref(line);
    }
    free(text);
    fclose(f);
    if (!status && !l->n)
        status = (usage_error(&o->common, "%s: no lines", path), EXIT_FAILED);
    snprintf(l->name[0], sizeof l->name[0], "train%s%s", o->args > 1 ? ", " : "", o->args > 1 ? path : "");
    snprintf(l->name[1], sizeof l->name[1], "validation%s%s", o->args > 1 ? ", " : "", o->args > 1 ? path : "");
    return status;
}

static int plot_logs(struct options *o)
{
    struct log log[MOST_ARGS] = {0};
    dfo_plot_series series[2 * MOST_ARGS];
    dfo_plot_curves curves = {.look = look_of(o, NULL), .series = series};
    int status = 0;
    for (int i = 0; i < o->args && !status; i++) {
        status = load_log(o, o->arg[i], &log[i]);
        series[curves.n++] = (dfo_plot_series){log[i].name[0], log[i].x, log[i].train, log[i].n, DFO_PLOT_DASHED};
        int any = 0;
        for (size_t k = 0; k < log[i].n; k++)
            any |= isfinite(log[i].valid[k]);
        if (any)
            series[curves.n++] = (dfo_plot_series){log[i].name[1], log[i].x, log[i].valid, log[i].n, DFO_PLOT_LINE};
    }
    curves.look.x_label = "step";
    curves.look.y_label = "log-likelihood (nats)";
    if (!status && dfo_plot_curves_png(o->common.ctx, &curves, o->output))
        status = failed(&o->common);
    for (int i = 0; i < o->args; i++)
        log_free(&log[i]);
    return status;
}

static int choose(struct options *o)
{
    if (ends(o->arg[0], ".jsonl"))
        return plot_logs(o);
    if (ends(o->arg[0], ".safetensors")) {
        if (o->args > 2)
            return usage_error(&o->common, "a model and at most one data set, got %d arguments", o->args);
        return plot_model(o, o->arg[0], o->args > 1 ? o->arg[1] : o->input.data);
    }
    if (o->args > 2)
        return usage_error(&o->common, "at most two data sets, got %d arguments", o->args);
    return plot_data(o);
}

int CMD(cmd_plot)(int argc, char **argv)
{
    static const struct argp_child children[] = {{&common_argp, 0, NULL, 0}, {&input_argp, 0, NULL, 0}, {0}};
    static const struct argp argp = {options_list, parse, "MODEL [DATA] | DATA [DATA] | LOG.jsonl...",
                                     "Draws a density with data over it, a corner plot, a grid of images, or training curves.", children,
                                     NULL, NULL};
    struct options o = {.common = {.command = "plot", .argc = argc, .argv = argv}};
    if (argp_parse(&argp, argc, argv, 0, NULL, &o))
        return EXIT_USAGE;
    if (!o.output)
        return usage_error(&o.common, "-o OUT.png is missing");
    int status = common_start(&o.common);
    if (!status)
        status = choose(&o);
    if (!status && o.common.json)
        status = print_json(&o.common, json_pack("{s:s}", "output", o.output));
    return common_end(&o.common, status);
}

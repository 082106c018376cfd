/* diffeo classify: class probabilities of rows; with labels, accuracy and calibration, before and after temperature
 * scaling.  */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cmd.h"

#define ROWS 1024                      /* a chunk: a multiple of every block */

struct options {
    struct common common;
    struct input  input;
    const char *model, *output, *valid, *valid_labels;
    double valid_fraction;
    size_t bins;
    int    scaling, reliability;
};

enum { BINS = 256, SCALING, VALID, VALID_LABELS, VALID_FRACTION, RELIABILITY };

static const struct argp_option options_list[] = {
    {"output", 'o', "FILE", 0, "Probabilities, one row for each of the data (.npy or .csv)", 2},
    {"bins", BINS, "N", 0, "Bins of the calibration errors (default 15)", 2},
    {"reliability", RELIABILITY, NULL, 0, "Print the reliability table too", 2},
    {"temperature-scaling", SCALING, NULL, 0, "Fit a temperature to validation rows and use it", 3},
    {"valid", VALID, "SPEC", 0, "Validation rows", 3},
    {"valid-labels", VALID_LABELS, "SPEC", 0, "Their labels", 3},
    {"valid-fraction", VALID_FRACTION, "F", 0, "Or this part of the data, which is then not scored", 3},
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
    case BINS: o->bins = to_u64(state, "--bins", arg, 1); return 0;
    case RELIABILITY: o->reliability = 1; return 0;
    case SCALING: o->scaling = 1; return 0;
    case VALID: o->valid = arg; return 0;
    case VALID_LABELS: o->valid_labels = arg; return 0;
    case VALID_FRACTION: o->valid_fraction = to_double(state, "--valid-fraction", arg, 1e-6, 0.9); return 0;
    case ARGP_KEY_ARG:
        if (o->model)
            argp_error(state, "unexpected argument '%s'", arg);
        o->model = arg;
        return 0;
    case ARGP_KEY_NO_ARGS: argp_error(state, "MODEL is missing"); return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

/* Rows with what the model says of them.  */
struct set {
    const dfo_source *source;
    const char *name;                  /* for messages */
    size_t    n;
    double   *logits;                  /* (n, classes) */
    uint32_t *label;                   /* (n), or NULL: there are none */
};

struct job {
    struct options *o;
    dfo_model      *model;
    dfo_model_plan *plan;
    struct input    valid;
    dfo_source     *split[2];
    struct set      data, held_out;
    size_t          classes, d;
    dfo_real       *rows;              /* (ROWS, d + 1) */
    double          temperature;
};

static int read_labels(struct job *j, struct set *s, size_t first, dfo_batch labels)
{
    for (size_t i = 0; i < labels.n; i++) {
        double v = (double)dfo_row(labels, i)[0];
        if (!(v >= 0 && v < (double)j->classes) || v != floor(v))
            return usage_error(&j->o->common, "%s: row %zu: label %g, expected an integer from 0 to %zu", s->name,
                               first + i, v, j->classes - 1), EXIT_FAILED;
        s->label[first + i] = (uint32_t)v;
    }
    return 0;
}

static int classify(struct job *j, struct set *s, size_t labels)
{
    struct common *c = &j->o->common;
    s->logits = calloc(s->n ? s->n : 1, j->classes * sizeof *s->logits);
    s->label = labels ? calloc(s->n ? s->n : 1, sizeof *s->label) : NULL;
    if (!s->logits || (labels && !s->label))
        return usage_error(c, "out of memory: %zu rows", s->n), EXIT_FAILED;
    for (size_t first = 0; first < s->n; first += ROWS) {
        size_t n = s->n - first < ROWS ? s->n - first : ROWS;
        dfo_batch all = dfo_batch_of(j->rows, n, j->d + labels);
        if (dfo_source_read(s->source, c->ctx, first, all, NULL))
            return failed(c);
        int status = labels ? read_labels(j, s, first, dfo_batch_columns(all, j->d, 1)) : 0;
        if (status)
            return status;
        if (dfo_model_classify(j->plan, first, dfo_batch_columns(all, 0, j->d), s->logits + first * j->classes))
            return file_failed(c, "%s", s->name);
    }
    return 0;
}

static int fits(struct job *j, const struct input *in)
{
    size_t d = dfo_shape_size(in->info.shape) - in->context_d;
    if (d != j->d)
        return usage_error(&j->o->common, "%s: expected %zu columns, got %zu", in->data, j->d, d), EXIT_FAILED;
    if (in->context_d > 1)
        return usage_error(&j->o->common, "%s: expected one column of labels, got %zu", in->data, in->context_d),
               EXIT_FAILED;
    return 0;
}

static int open_sets(struct job *j)
{
    struct options *o = j->o;
    struct common *c = &o->common;
    o->input.label_column = 1;
    int status = input_open(c, &o->input);
    if (status || (status = fits(j, &o->input)))
        return status;
    j->data = (struct set){.source = o->input.source, .name = o->input.data, .n = (size_t)o->input.info.rows};
    if (o->valid_fraction > 0) {
        dfo_source_info info[2];
        for (int i = 0; i < 2; i++) {
            if (dfo_source_split(c->ctx, o->input.source, o->valid_fraction, c->seed, i, &j->split[i]))
                return failed(c);
            dfo_source_describe(j->split[i], &info[i]);
        }
        j->data = (struct set){.source = j->split[1], .name = o->input.data, .n = (size_t)info[1].rows};
        j->held_out = (struct set){.source = j->split[0], .name = o->input.data, .n = (size_t)info[0].rows};
    } else if (o->valid) {
        j->valid = o->input;
        j->valid.data = o->valid;
        j->valid.labels = o->valid_labels;
        j->valid.source = j->valid.parts[0] = j->valid.parts[1] = j->valid.label = NULL;
        if ((status = input_open(c, &j->valid)) || (status = fits(j, &j->valid)))
            return status;
        j->held_out = (struct set){.source = j->valid.source, .name = o->valid, .n = (size_t)j->valid.info.rows};
    }
    if (!j->data.n)
        return usage_error(c, "%s: no rows", o->input.data), EXIT_FAILED;
    if (o->scaling && (!j->held_out.n || !o->input.context_d))
        return usage_error(c, "--temperature-scaling: no validation rows with labels"), EXIT_FAILED;
    return 0;
}

static dfo_predictions predictions(const struct job *j, const struct set *s, double temperature)
{
    return (dfo_predictions){.n = s->n, .k = j->classes, .logits = s->logits, .label = s->label,
                             .temperature = temperature};
}

static int run(struct job *j)
{
    struct options *o = j->o;
    struct common *c = &o->common;
    if (dfo_model_load(c->ctx, o->model, &j->model) || dfo_model_wants_classes(j->model))
        return failed(c);
    j->classes = dfo_model_classes(j->model);
    j->d = dfo_model_features(j->model);
    int status = open_sets(j);
    if (status)
        return status;
    if (!(j->rows = malloc(ROWS * (j->d + 1) * sizeof *j->rows)))
        return usage_error(c, "out of memory"), EXIT_FAILED;
    if (dfo_model_plan_new(c->ctx, j->model, 0, &j->plan))
        return failed(c);
    if ((status = classify(j, &j->data, o->input.context_d)))
        return status;
    if (!o->scaling)
        return 0;
    if ((status = classify(j, &j->held_out, 1)))
        return status;
    dfo_predictions p = predictions(j, &j->held_out, 1);
    return dfo_calibration_temperature(c->ctx, &p, &j->temperature) ? failed(c) : 0;
}

/* Probabilities, in chunks that are overwritten by the next.  */
static int write_probabilities(struct job *j)
{
    struct common *c = &j->o->common;
    dfo_sink *sink;
    double *p = malloc(ROWS * j->classes * sizeof *p);
    dfo_real *row = malloc(ROWS * j->classes * sizeof *row);
    int status = p && row ? 0 : (usage_error(c, "out of memory"), EXIT_FAILED);
    if (!status && dfo_sink_open(c->ctx, j->o->output, NULL, j->data.n, j->classes, NULL, &sink)) {
        status = failed(c);
    } else if (!status) {
        for (size_t first = 0; first < j->data.n && !status; first += ROWS) {
            dfo_predictions part = predictions(j, &j->data, j->temperature);
            part.n = j->data.n - first < ROWS ? j->data.n - first : ROWS;
            part.logits += first * j->classes;
            dfo_calibration_softmax(&part, p);
            for (size_t i = 0; i < part.n * j->classes; i++)
                row[i] = (dfo_real)p[i];
            if (dfo_sink_write(sink, dfo_batch_of(row, part.n, j->classes)))
                status = failed(c);
        }
        if (!status && dfo_sink_finish(sink))
            status = failed(c);
        dfo_sink_free(sink);
    }
    free(row);
    free(p);
    return status;
}

/* ---- the report */

struct score {
    dfo_calibration figures;
    dfo_reliability *table;            /* (bins) */
};

static json_t *number(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

static json_t *figures_json(const dfo_calibration *f)
{
    return json_pack("{s:f, s:f, s:f, s:f, s:f, s:f, s:f}", "accuracy", f->accuracy, "nll", f->nll, "brier", f->brier,
                     "ece", f->ece, "ece_mass", f->ece_mass, "ece_classwise", f->ece_classwise, "mce", f->mce);
}

static int add_table(json_t *to, const dfo_reliability *table, size_t bins)
{
    json_t *list = json_array();
    for (size_t i = 0; i < bins; i++)
        if (json_array_append_new(list, json_pack("{s:f, s:f, s:I, s:o, s:o}", "low", table[i].low, "high",
                                                  table[i].high, "rows", (json_int_t)table[i].rows, "confidence",
                                                  number(table[i].confidence), "accuracy", number(table[i].accuracy))))
            break;
    return json_object_set_new(to, "reliability", list);
}

static int report_json(struct job *j, const struct score *plain, const struct score *scaled, double seconds)
{
    struct options *o = j->o;
    json_t *out = plain->table ? figures_json(&plain->figures) : json_object();
    int bad = 0;
    bad |= json_object_set_new(out, "rows", json_integer((json_int_t)j->data.n));
    bad |= json_object_set_new(out, "classes", json_integer((json_int_t)j->classes));
    bad |= json_object_set_new(out, "seconds", json_real(seconds));
    bad |= json_object_set_new(out, "rows_per_second", json_real((double)j->data.n / seconds));
    bad |= json_object_set_new(out, "peak_bytes", json_integer((json_int_t)dfo_ctx_peak_bytes(o->common.ctx)));
    if (plain->table) {
        bad |= json_object_set_new(out, "bins", json_integer((json_int_t)o->bins));
        bad |= add_table(out, plain->table, o->bins);
    }
    if (o->scaling) {
        json_t *after = figures_json(&scaled->figures);
        bad |= add_table(after, scaled->table, o->bins);
        bad |= json_object_set_new(after, "temperature", json_real(j->temperature));
        bad |= json_object_set_new(after, "valid_rows", json_integer((json_int_t)j->held_out.n));
        bad |= json_object_set_new(out, "scaled", after);
    }
    if (bad) {
        json_decref(out);
        return usage_error(&o->common, "out of memory: report"), EXIT_FAILED;
    }
    return print_json(&o->common, out);
}

static void print_score(const struct job *j, const struct score *s)
{
    const dfo_calibration *f = &s->figures;
    FILE *to = text_out(&j->o->common);
    fprintf(to, "accuracy %.2f %%, negative log-likelihood %.4f nats, Brier %.4f, ECE %.4f (equal mass %.4f, by class %.4f), "
           "MCE %.4f\n", 100 * f->accuracy, f->nll, f->brier, f->ece, f->ece_mass, f->ece_classwise, f->mce);
    if (!j->o->reliability)
        return;
    fprintf(to, "%13s %9s %10s %9s\n", "confidence in", "rows", "confidence", "accuracy");
    for (size_t i = 0; i < j->o->bins; i++) {
        const dfo_reliability *b = &s->table[i];
        fprintf(to, "%6.3f %6.3f %9zu", b->low, b->high, b->rows);
        if (b->rows)
            fprintf(to, " %10.4f %9.4f", b->confidence, b->accuracy);
        putc('\n', to);
    }
}

static int measure(struct job *j, double temperature, struct score *s)
{
    struct common *c = &j->o->common;
    dfo_predictions p = predictions(j, &j->data, temperature);
    if (!(s->table = calloc(j->o->bins, sizeof *s->table)))
        return usage_error(c, "out of memory: %zu bins", j->o->bins), EXIT_FAILED;
    return dfo_calibration_measure(c->ctx, &p, j->o->bins, &s->figures, s->table, NULL) ? failed(c) : 0;
}

static int report(struct job *j, double seconds)
{
    struct options *o = j->o;
    struct score plain = {0}, scaled = {0};
    FILE *to = text_out(&o->common);
    int status = j->data.label ? measure(j, 1, &plain) : 0;
    if (!status && o->scaling)
        status = measure(j, j->temperature, &scaled);
    if (!status && o->common.json) {
        status = report_json(j, &plain, &scaled, seconds);
    } else if (!status) {
        fprintf(to, "%zu rows, %zu classes, %.0f rows/s\n", j->data.n, j->classes, (double)j->data.n / seconds);
        if (plain.table)
            print_score(j, &plain);
        if (o->scaling) {
            fprintf(to, "temperature %.4f (fitted to %zu rows):\n", j->temperature, j->held_out.n);
            print_score(j, &scaled);
        }
    }
    free(plain.table);
    free(scaled.table);
    return status;
}

static int check_options(const struct options *o)
{
    if (o->input.class)
        return usage_error(&o->common, "--class: a classifier is given no class");
    if (o->valid && !o->valid_labels)
        return usage_error(&o->common, "--valid-labels is missing: the labels of %s", o->valid);
    if (o->valid && o->valid_fraction > 0)
        return usage_error(&o->common, "--valid and --valid-fraction exclude each other");
    if (o->scaling != (o->valid || o->valid_fraction > 0))
        return usage_error(&o->common, "--temperature-scaling goes with --valid and --valid-labels, or "
                           "--valid-fraction");
    return 0;
}

int CMD(cmd_classify)(int argc, char **argv)
{
    static const struct argp_child children[] = {{&common_argp, 0, NULL, 0}, {&input_argp, 0, NULL, 0}, {0}};
    static const struct argp argp = {options_list, parse, "MODEL",
                                     "Class probabilities of rows; with labels, how good they are.", children, NULL,
                                     NULL};
    struct options o = {.common = {.command = "classify", .argc = argc, .argv = argv}, .bins = 15};
    struct job j = {.o = &o, .temperature = 1};
    if (argp_parse(&argp, argc, argv, 0, NULL, &o))
        return EXIT_USAGE;
    o.common.output = o.output;
    int status = check_options(&o);
    if (status || (status = common_start(&o.common)))
        return status;
    double started = seconds_now();
    status = run(&j);
    double seconds = seconds_now() - started;
    if (!status && o.output)
        status = write_probabilities(&j);
    if (!status)
        status = report(&j, seconds);
    dfo_model_plan_free(j.plan);
    dfo_model_free(j.model);
    for (int i = 0; i < 2; i++)
        dfo_source_free(j.split[i]);
    input_close(&j.valid);
    input_close(&o.input);
    free(j.rows);
    free(j.data.logits);
    free(j.data.label);
    free(j.held_out.logits);
    free(j.held_out.label);
    return common_end(&o.common, status);
}

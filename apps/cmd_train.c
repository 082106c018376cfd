/* diffeo train: fits a model to rows and writes it to one file.  */
#define _GNU_SOURCE
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "columns.h"
#include "fit_options.h"
#include "target.h"
#include "train_config.h"

struct options {
    struct common common;
    struct input  input;
    struct train_config config;
    struct columns columns;
    struct train_target target;        /* in place of input */
    const char *valid, *pairs, *valid_labels, *output, *log, *init, *teacher;
    double      valid_fraction;
    char       *checkpoint;
    int         no_checkpoint;
    dfo_fit_options fit;
    FILE       *log_file;
    int         tty, bar;              /* progress bar is on the screen */
    double      last_bar;
    json_t     *history;
    dfo_shape   picture;               /* what a row is without its frame */
    size_t      pairs_d;               /* numbers of noise behind every row */
    int         matching;              /* the loss is flow matching's */
    double      pixels;                /* features of images, shown in bits per dimension; 0: no density of images */
};

#define TARGET_STEPS 2000                  /* unless it is said how long */

enum { VALID = 256, VALID_FRACTION, LOG, CHECKPOINT, INIT, FLOW, SET, VALID_LABELS, PAIRS, TEACHER, GRADIENT };

static const struct argp_option options_list[] = {
    {"flow", FLOW, "NAME|FILE.json", 0, "Preset (nice, realnvp, nsf, glow, irevnet, ...) or a configuration", 2},
    {"set", SET, "KEY=VALUE", 0, "Override a setting of the configuration (repeatable)", 2},
    {"output", 'o', "MODEL", 0, "Where the model goes (.safetensors)", 2},
    {"init", INIT, "MODEL", 0, "Start from the weights of this model", 2},
    {"valid", VALID, "SPEC", 0, "Validation rows", 3},
    {"valid-labels", VALID_LABELS, "SPEC", 0, "Class labels of the validation rows", 3},
    {"valid-fraction", VALID_FRACTION, "F", 0, "Or this part of the data (default 0.1)", 3},
    {"teacher", TEACHER, "MODEL", 0, "Of perflow: the fitted flow that is made straight; its weights are the start", 8},
    {"pairs", PAIRS, "SPEC", 0, "Of rectified flow: the noise of every row, such as another flow's latents", 8},
    {"gradient", GRADIENT, "stored|checkpoint|adjoint|reversible", 0, "Of continuous flows: states kept, some kept, or in memory that does not grow", 8},
    {"log", LOG, "FILE.jsonl", 0, "One JSON line per validation", 7},
    {"checkpoint", CHECKPOINT, "FILE", 0, "Checkpoint (default MODEL.ckpt; 'none': no checkpoints)", 7},
    {0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    static const char *const gradients[] = {"gradient=stored", "gradient=checkpoint", "gradient=adjoint", "gradient=reversible", "stored", "checkpoint",
                                            "adjoint", "reversible", NULL};
    struct options *o = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &o->common;
        state->child_inputs[1] = &o->input;
        state->child_inputs[2] = &o->common;
        state->child_inputs[3] = &o->columns;
        state->child_inputs[4] = &o->fit;
        state->child_inputs[5] = &o->target;
        return 0;
    case FLOW: o->config.flow = arg; return 0;
    case SET:
        if (o->config.sets == MAX_SETS)
            argp_error(state, "--set: at most %d", MAX_SETS);
        o->config.set[o->config.sets++] = arg;
        return 0;
    case PAIRS: o->pairs = arg; return 0;
    case TEACHER: o->teacher = arg; return 0;
    case GRADIENT:
        if (o->config.sets < MAX_SETS)
            o->config.set[o->config.sets++] = gradients[to_choice(state, "--gradient", arg, gradients + 4)];
        return 0;
    case 'o': o->output = arg; return 0;
    case INIT: o->init = arg; return 0;
    case VALID: o->valid = arg; return 0;
    case VALID_LABELS: o->valid_labels = arg; return 0;
    case VALID_FRACTION: o->valid_fraction = to_double(state, "--valid-fraction", arg, 0, 0.9); return 0;
    case LOG: o->log = arg; return 0;
    case CHECKPOINT:
        o->no_checkpoint = !strcmp(arg, "none");
        o->checkpoint = arg;
        return 0;
    case ARGP_KEY_ARG: argp_error(state, "unexpected argument '%s'", arg); return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

/* ---- progress */

static void clear_bar(struct options *o)
{
    if (o->bar)
        fputs("\r\033[K", stderr);
    o->bar = 0;
}

/* A log-likelihood as people read it: nats, of images bits per dimension; or the loss of flow matching, which is none.  */
static double shown(const struct options *o, double nats)
{
    if (o->matching)
        return -nats;
    return o->pixels > 0 ? dfo_bits_per_dim(nats, o->pixels, 1) : nats;
}

static const char *unit(const struct options *o)
{
    return o->target.name ? "nats (bound of log Z)" : o->matching ? "matching loss" : o->pixels > 0 ? "bits/dim" : "nats";
}

static void show_bar(struct options *o, const dfo_fit_event *e)
{
    double left = e->progress > 0 ? e->seconds * (1 - e->progress) / e->progress : 0;
    int filled = (int)(24 * e->progress);
    if (seconds_now() - o->last_bar < 0.2)
        return;
    o->last_bar = seconds_now();
    fprintf(stderr, "\r\033[K[%.*s%.*s] %3.0f%%  step %llu  train %.4f %s  %.0f rows/s  %.0f s left", filled,
            "########################", 24 - filled, "........................", 100 * e->progress,
            (unsigned long long)e->step, shown(o, -e->train_loss), unit(o), e->rows_per_second, left);
    o->bar = 1;
}

static json_t *number(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

/* Nats, null for a loss that is no log-likelihood.  */
static json_t *nats(const struct options *o, double x)
{
    return number(o->matching ? NAN : x);
}

/* What stands beside nats: bits per dimension of images, or the loss.  */
static void add_shown(const struct options *o, json_t *to, double train, double valid)
{
    if (o->pixels <= 0 && !o->matching)
        return;
    json_object_set_new(to, o->matching ? "train_loss" : "train_bits_per_dim", number(shown(o, train)));
    json_object_set_new(to, o->matching ? "valid_loss" : "valid_bits_per_dim", number(shown(o, valid)));
}

static void write_log(struct options *o, const dfo_fit_event *e)
{
    json_t *line = json_pack("{s:I, s:f, s:o, s:o, s:f, s:f, s:f, s:f, s:I}", "step", (json_int_t)e->step, "epoch",
                             e->epoch, "train_nats", nats(o, -e->train_loss), "valid_nats", nats(o, -e->valid_loss),
                             "lr", e->lr, "seconds", e->seconds, "rows_per_second", e->rows_per_second, "drift",
                             e->drift, "skipped", (json_int_t)e->skipped);
    if (line && !isnan(e->condition))
        json_object_set_new(line, "condition", number(e->condition));
    if (line && e->nfe > 0)
        json_object_set_new(line, "nfe", number(e->nfe));
    if (line)
        add_shown(o, line, -e->train_loss, -e->valid_loss);
    if (line && o->history)
        json_array_append_new(o->history, json_pack("[I, o, o]", (json_int_t)e->step, nats(o, -e->train_loss),
                                                    nats(o, -e->valid_loss)));
    if (line && o->log_file) {
        json_dumpf(line, o->log_file, JSON_COMPACT | JSON_REAL_PRECISION(8));
        fputc('\n', o->log_file);
        fflush(o->log_file);
    }
    json_decref(line);
}

static void on_event(void *data, const dfo_fit_event *e)
{
    struct options *o = data;
    if (e->kind == DFO_FIT_VALID)
        write_log(o, e);
    if (o->common.quiet)
        return;
    if (e->kind == DFO_FIT_SKIPPED) {
        clear_bar(o);
        fprintf(stderr, "step %llu skipped: %s\n", (unsigned long long)e->step, e->text);
    }
    if (e->kind == DFO_FIT_STEP && o->tty)
        show_bar(o, e);
    if (e->kind == DFO_FIT_VALID) {
        clear_bar(o);
        fprintf(stderr, "step %llu", (unsigned long long)e->step);
        if (!o->target.name)
            fprintf(stderr, "  epoch %.1f", e->epoch);
        fprintf(stderr, "  train %.4f %s", shown(o, -e->train_loss), unit(o));
        if (isfinite(e->valid_loss))
            fprintf(stderr, "  valid %.4f  best %.4f", shown(o, -e->valid_loss), shown(o, -e->best_loss));
        fprintf(stderr, "  %.0f rows/s  %.0f s", e->rows_per_second, e->seconds);
        if (e->drift > 1e-2)
            fprintf(stderr, "  drift %.1e: more anchors would help", e->drift);
        if (!isnan(e->condition))
            fprintf(stderr, "  condition %.3g", e->condition);
        fputc('\n', stderr);
    }
}

/* ---- the job */

struct job {
    struct options *o;
    struct input    valid;
    dfo_source     *train_split, *valid_split, *pairs, *paired;
    const dfo_source *train, *held_out;
    dfo_model      *model, *from, *teacher;    /* from: --init's */
    dfo_loss       *loss;
    json_t         *config;
    char           *extra, *checkpoint;
};

/* The noise that goes with every row, behind it.  */
static int join_pairs(struct job *j)
{
    struct options *o = j->o;
    struct common *c = &o->common;
    dfo_source_info info;
    if (o->valid)
        return usage_error(c, "--pairs goes with --valid-fraction, not with --valid");
    if (dfo_source_open(c->ctx, o->pairs, NULL, &j->pairs))
        return failed(c);
    dfo_source_describe(j->pairs, &info);
    o->pairs_d = dfo_shape_size(info.shape);
    if (o->pairs_d != dfo_shape_size(o->input.rows.shape))
        return usage_error(c, "--pairs %s: expected rows of %zu numbers, got %zu", o->pairs, dfo_shape_size(o->input.rows.shape), o->pairs_d);
    if (dfo_source_join(c->ctx, o->input.source, j->pairs, &j->paired))
        return failed(c);
    j->train = j->paired;
    json_t *matching = json_object_get(j->config, "matching");     /* of a file; presets have the setting itself */
    if (!o->fit.resume)
        json_object_set_new(json_is_object(matching) ? matching : j->config, "pairing", json_string("given"));
    return 0;
}

/* A density in place of data: rows that only count.  */
static int open_target(struct job *j)
{
    struct options *o = j->o;
    const struct input *in = &o->input;
    const struct { const char *option; int given; } no_place[] = {
        {"--data", in->data != NULL}, {"--columns", in->columns != NULL}, {"--context-columns", in->context_columns != NULL},
        {"--context", in->context != NULL}, {"--weights-column", in->weights_column != NULL}, {"--images", in->images != NULL},
        {"--labels", in->labels != NULL}, {"--class", in->class != 0}, {"--valid", o->valid != NULL}, {"--valid-labels", o->valid_labels != NULL}, {"--pairs", o->pairs != NULL},
        {"--teacher", o->teacher != NULL}, {"--type", o->columns.types != 0}, {"--missing", o->columns.missing != NULL},
        {"--epochs", o->fit.epochs > 0}};
    for (size_t i = 0; i < sizeof no_place / sizeof *no_place; i++)
        if (no_place[i].given)
            return usage_error(&o->common, "%s has no place beside --target: its rows are the flow's own draws", no_place[i].option);
    int status = train_target_open(&o->common, &o->target, &o->input, o->fit.batch);
    j->train = o->input.source;
    j->held_out = o->target.valid;
    o->picture = o->input.rows.shape;
    return status;
}

static int open_data(struct job *j)
{
    struct options *o = j->o;
    struct common *c = &o->common;
    if (o->input.class)
        return usage_error(c, "--class is for trained models; training takes --labels");
    if (c->guides)
        return usage_error(c, "--guidance is for trained models; training takes --labels and --set label_dropout=P");
    if (o->valid_labels && (!o->valid || !o->input.labels))
        return usage_error(c, "--valid-labels goes with --valid and --labels");
    if (o->valid && o->input.labels && !o->valid_labels)
        return usage_error(c, "--valid-labels is missing: the labels of %s", o->valid);
    /* a classifier's labels are one column */
    dfo_shape frame;
    o->input.label_column = json_object_get(j->config, "classes") || json_object_get(j->config, "head");
    int status = columns_words(c, &o->columns, j->config, &o->input);
    if (status || (status = input_open(c, &o->input)))
        return status;
    if (o->input.rows.discrete && !o->input.label_column)
        o->pixels = (double)dfo_shape_size(o->input.rows.shape);
    o->picture = frame = o->input.rows.shape;
    if (dfo_preset_frame(c->ctx, j->config, o->picture, &frame))
        return failed(c);
    if (!o->input.rows.discrete && dfo_shape_size(frame) > dfo_shape_size(o->picture))
        return usage_error(c, "%s: pad=true frames images of whole numbers", o->input.data);
    if ((status = input_frame(c, &o->input, frame)))
        return status;
    j->train = o->input.source;
    if (o->pairs && (status = join_pairs(j)))
        return status;
    if (o->valid) {
        j->valid = o->input;
        j->valid.data = o->valid;
        j->valid.source = j->valid.parts[0] = j->valid.parts[1] = j->valid.label = j->valid.framed = NULL;
        j->valid.labels = o->input.labels ? o->valid_labels : NULL;
        status = input_open(c, &j->valid);
        j->valid.words = NULL;             /* the data's */
        if (status)
            return status;
        if (dfo_shape_size(frame) > dfo_shape_size(o->picture) &&
            !memcmp(&j->valid.rows.shape, &o->picture, sizeof o->picture) && (status = input_frame(c, &j->valid, frame)))
            return status;
        j->held_out = j->valid.source;
    } else if (o->valid_fraction > 0 && o->input.info.rows >= 20) {
        dfo_source *all = j->paired ? j->paired : o->input.source;
        if (dfo_source_split(c->ctx, all, o->valid_fraction, c->seed, 1, &j->train_split) ||
            dfo_source_split(c->ctx, all, o->valid_fraction, c->seed, 0, &j->valid_split))
            return failed(c);
        j->train = j->train_split;
        j->held_out = j->valid_split;
    }
    return status;
}

/* Its rows must be at the place where the teacher has them: whatever stands before the field starts as the teacher's.  */
static int take_teacher(struct job *j)
{
    struct options *o = j->o;
    struct common *c = &o->common;
    if (!dfo_model_flow(j->teacher))
        return usage_error(c, "--teacher %s: expected a flow", o->teacher);
    if (!o->init && !o->fit.resume && dfo_model_copy_weights(j->model, j->teacher))
        return file_failed(c, "--teacher %s", o->teacher);
    if (dfo_loss_flow_teach(j->loss, dfo_model_flow(j->teacher)))
        return file_failed(c, "--teacher %s", o->teacher);
    return 0;
}

static int make_model(struct job *j)
{
    struct options *o = j->o;
    struct common *c = &o->common;
    if ((o->init && dfo_model_load(c->ctx, o->init, &j->from)) || (o->teacher && dfo_model_load(c->ctx, o->teacher, &j->teacher)))
        return failed(c);
    int status = train_config_fill(c, &o->input, j->from ? j->from : j->teacher, j->config);
    if (status || (status = columns_configure(c, &o->columns, &o->input, o->valid ? &j->valid : NULL, j->config)))
        return status;
    if (dfo_model_new(c->ctx, j->config, o->input.rows.shape, o->input.context_d, c->seed, &j->model))
        return failed(c);
    if (!o->fit.resume && dfo_model_prepare_data(j->model, j->train))
        return failed(c);
    if (j->from && dfo_model_copy_weights(j->model, j->from))
        return file_failed(c, "--init %s", o->init);
    dfo_model_free(j->from);
    j->from = NULL;
    if (o->target.name ? dfo_model_loss_target(j->model, &o->target.target->target, o->target.alpha, &j->loss) : dfo_model_loss(j->model, &j->loss))
        return failed(c);
    if (o->teacher && (status = take_teacher(j)))
        return status;
    if (!o->teacher && dfo_flow_wants_teacher(dfo_model_flow(j->model)))
        return usage_error(c, "it is distilled from a fitted flow: name that by --teacher");
    o->matching = !strcmp(j->loss->ops->type, "matching");
    return 0;
}

/* How the model was made.  What differs between two runs that give the same bits (where it was written,
 * whether it was resumed, how long it took) is left out unless a time limit made it matter.  */
static int add_notes(struct job *j, const dfo_fit_report *r)
{
    struct options *o = j->o;
    char hash[17];
    json_t *notes = dfo_model_notes(j->model);
    size_t d = dfo_model_features(j->model);
    dfo_source_hash(o->input.source, hash);
    int bad = o->target.name ? train_target_note(&o->target, notes) : o->input.rows.discrete ? 0 : columns_note(&o->input, notes);
    if (o->input.rows.discrete)
        bad |= json_object_set_new(notes, "levels", json_integer((json_int_t)o->input.rows.levels));
    if (dfo_shape_size(o->picture) < d)
        bad |= json_object_set_new(notes, "picture", json_pack("[I, I]", (json_int_t)o->picture.h, (json_int_t)o->picture.w));
    if (o->input.classes)
        bad |= json_object_set_new(notes, "classes", json_integer((json_int_t)o->input.classes));
    json_t *training = json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:f, s:s}", "data", o->target.name ? "" : o->input.data, "data_hash", hash,
                                 "rows", (json_int_t)o->input.info.rows, "seed", (json_int_t)o->common.seed, "batch",
                                 (json_int_t)o->fit.batch, "steps", (json_int_t)r->steps, "lr", o->fit.lr, "init",
                                 o->init ? o->init : "");
    json_t *results = json_pack("{s:o, s:o, s:I, s:I}", "train_nats", nats(o, -r->train_loss), "valid_nats",
                                nats(o, -r->valid_loss), "best_step", (json_int_t)r->best_step, "skipped",
                                (json_int_t)r->skipped);
    if (training && o->target.name) {
        json_object_set_new(training, "target", json_string(o->target.name));
        json_object_set_new(training, "alpha", json_real(o->target.alpha));
        json_object_del(training, "data");
        json_object_del(training, "data_hash");
        json_object_del(training, "rows");
    }
    if (training && o->fit.time_limit > 0)
        json_object_set_new(training, "seconds", json_real(r->seconds));
    if (bad || json_object_set_new(notes, "training", training) || json_object_set_new(notes, "results", results))
        bad = 1;
    if (bad)
        return usage_error(&o->common, "out of memory: notes"), EXIT_FAILED;
    return 0;
}

static int report(struct job *j, const dfo_fit_report *r)
{
    struct options *o = j->o;
    struct common *c = &o->common;
    if (c->json) {
        json_t *out = json_pack("{s:s, s:I, s:f, s:o, s:o, s:I, s:f, s:f, s:I, s:I, s:f, s:I, s:b}", "model",
                                       o->output, "steps", (json_int_t)r->steps, "epochs", r->epochs, "train_nats",
                                       nats(o, -r->train_loss), "valid_nats", nats(o, -r->valid_loss), "best_step",
                                       (json_int_t)r->best_step, "seconds", r->seconds, "rows_per_second",
                                       r->rows_per_second, "peak_bytes", (json_int_t)dfo_ctx_peak_bytes(c->ctx),
                                       "parameters",
                                       (json_int_t)dfo_store_parameters(dfo_model_store(j->model)), "drift", r->drift,
                                       "skipped", (json_int_t)r->skipped, "stopped_early", r->stopped_early);
        if (out)
            add_shown(o, out, -r->train_loss, -r->valid_loss);
        return print_json(c, out);
    }
    printf("%s: %llu steps, ", o->output, (unsigned long long)r->steps);
    if (!o->target.name)
        printf("%.1f epochs, ", r->epochs);
    printf("%.1f s; ", r->seconds);
    if (isfinite(r->valid_loss))
        printf("validation %.4f %s (step %llu), ", shown(o, -r->valid_loss), unit(o),
               (unsigned long long)r->best_step);
    printf("train %.4f %s\n", shown(o, -r->train_loss), unit(o));
    return 0;
}

static int fit(struct job *j)
{
    struct options *o = j->o;
    struct common *c = &o->common;
    dfo_fit_report r;
    int status;
    dfo_status done = dfo_fit(j->loss, j->train, j->held_out, o->input.context_d + o->pairs_d, &o->fit, &r);
    clear_bar(o);
    if (done == DFO_EINTR) {
        fprintf(stderr, "diffeo train: %s; go on with --resume %s\n", dfo_ctx_error(c->ctx),
                o->fit.checkpoint ? o->fit.checkpoint : "(no checkpoint was asked for)");
        return EXIT_INTERRUPTED;
    }
    status = done ? failed(c) : 0;
    if (done && done != DFO_ENUM)
        return status;
    if (done == DFO_ENUM && !r.steps)
        return status;
    int notes = add_notes(j, &r);
    if (notes)
        return notes;
    if (dfo_model_save(j->model, o->output))
        return failed(c);
    if (done == DFO_ENUM) {
        fprintf(stderr, "diffeo train: the last good weights are in %s\n", o->output);
        return status;
    }
    if (o->fit.checkpoint && !o->fit.checkpoint_every)
        unlink(o->fit.checkpoint);
    return report(j, &r);
}

static int run(struct job *j)
{
    struct options *o = j->o;
    struct common *c = &o->common;
    int status = train_config_read(c, &o->config, o->fit.resume, &j->config);
    if (!status && o->fit.resume)
        status = train_target_resumes(c, &o->target, o->fit.resume);
    if (status || (status = o->target.name ? open_target(j) : open_data(j)) || (status = make_model(j)))
        return status;
    if (o->log && !(o->log_file = fopen(o->log, o->fit.resume ? "a" : "w")))
        return usage_error(c, "%s: %s", o->log, strerror(errno)), EXIT_FAILED;
    if (asprintf(&j->checkpoint, "%s.ckpt", o->output) < 0)
        return usage_error(c, "out of memory"), EXIT_FAILED;
    o->fit.checkpoint = o->no_checkpoint ? NULL : o->checkpoint ? o->checkpoint : j->checkpoint;
    if ((status = train_target_extra(c, &o->target, j->config, &j->extra)))
        return status;
    o->fit.extra = j->extra;
    o->fit.seed = c->seed;
    o->fit.started = o->init || o->teacher;
    o->fit.threads = c->threads;
    o->fit.images = o->input.rows.shape.h * o->input.rows.shape.w > 1;
    o->fit.event = on_event;
    o->fit.event_data = o;
    o->fit.stop = stop_on_signals(1);
    status = fit(j);
    stop_on_signals(0);
    return status;
}

int CMD(cmd_train)(int argc, char **argv)
{
    static const struct argp_child children[] = {{&common_argp, 0, NULL, 0}, {&input_argp, 0, NULL, 0},
                                                 {&solver_argp, 0, NULL, 0}, {&columns_argp, 0, NULL, 0}, {&fit_argp, 0, NULL, 0},
                                                 {&train_target_argp, 0, NULL, 0}, {0}};
    static const struct argp argp = {options_list, parse, NULL,
                                     "Fits a model to rows of numbers, or a flow to a density, and writes it to one file.", children, NULL, NULL};
    struct options o = {.common = {.command = "train", .argc = argc, .argv = argv}, .valid_fraction = 0.1,
                        .tty = isatty(2)};
    struct job j = {.o = &o};
    dfo_fit_defaults(&o.fit);
    if (argp_parse(&argp, argc, argv, 0, NULL, &o))
        return EXIT_USAGE;
    if (!o.input.data && !o.target.name)
        return usage_error(&o.common, "--data is missing (or --target NAME)");
    if (o.target.has_alpha && !o.target.name)
        return usage_error(&o.common, "--alpha goes with --target");
    if (!o.output)
        return usage_error(&o.common, "-o MODEL is missing");
    if (!o.config.flow && !o.fit.resume)
        return usage_error(&o.common, "--flow is missing: nsf, flow-matching, vp, glow, irevnet, another preset of diffeo-train(1) or a .json file");
    if (!o.fit.steps && !(o.fit.epochs > 0) && !(o.fit.time_limit > 0)) {
        o.fit.steps = o.target.name ? TARGET_STEPS : 0;
        o.fit.epochs = o.target.name ? 0 : 100;
    }
    int status = common_start(&o.common);
    if (!status)
        status = run(&j);
    if (o.log_file && (ferror(o.log_file) | fclose(o.log_file)) && !status)
        status = (usage_error(&o.common, "%s: cannot write", o.log), EXIT_FAILED);
    dfo_loss_free(j.loss);
    dfo_model_free(j.model);
    dfo_model_free(j.from);
    dfo_model_free(j.teacher);
    dfo_source_free(j.train_split);
    dfo_source_free(j.valid_split);
    dfo_source_free(j.paired);
    dfo_source_free(j.pairs);
    train_target_close(&o.target);
    input_close(&j.valid);
    input_close(&o.input);
    json_decref(j.config);
    free(j.extra);
    free(j.checkpoint);
    return common_end(&o.common, status);
}

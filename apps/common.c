/* Options, errors and input that the commands share.  */
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cmd.h"

static error_t parse_common(int key, char *arg, struct argp_state *state)
{
    struct common *c = state->input;
    switch (key) {
    case 'J': c->json = 1; return 0;
    case 'q': c->quiet = 1; return 0;
    case 'S':
        c->seed = to_u64(state, "--seed", arg, 0);
        if (c->seed > INT64_MAX)   /* files keep it as a whole number with a sign */
            argp_error(state, "--seed: expected an integer of at most %lld, got '%s'", (long long)INT64_MAX, arg);
        return 0;
    case 'T': c->threads = (int)to_u64(state, "--threads", arg, 1); return 0;
    case 'M': {
        char *end;
        double n = strtod(arg, &end);
        double unit = *end == 'K' ? 1024.0 : *end == 'M' ? 1048576.0 : *end == 'G' ? 1073741824.0 : 1;
        if (end == arg || (unit > 1 ? end[1] : end[0]) || !(n > 0) || n * unit > 1e18)
            argp_error(state, "--memory: expected bytes (suffix K, M, G), got '%s'", arg);
        c->memory = (size_t)(n * unit);
        return 0;
    }
    case 'P': c->precision = arg; return 0;
    case ARGP_KEY_END:             /* main() has seen it, but for letters behind others */
        if (c->precision && strcmp(c->precision, DFO_REAL_NAME))
            argp_error(state, "-P: expected an option of its own, -P float or -P double, got '%s'", c->precision);
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option common_options[] = {
    {"json", 'J', NULL, 0, "Print one JSON object instead of text", 10},
    {"seed", 'S', "N", 0, "Seed of everything random (default 0)", 10},
    {"threads", 'T', "N", 0, "Threads (default: all cores)", 10},
    {"memory", 'M', "BYTES", 0, "Most working memory (suffix K, M, G)", 10},
    {"precision", 'P', "float|double", 0, "Arithmetic (default float)", 10},
    {"quiet", 'q', NULL, 0, "No progress on stderr", 10},
    {0},
};

const struct argp common_argp = {common_options, parse_common, NULL, NULL, NULL, NULL, NULL};

static void print_log(void *data, dfo_log_level level, const char *text)
{
    const struct common *c = data;
    if (level >= DFO_LOG_WARNING && !c->quiet)
        fprintf(stderr, "diffeo %s: warning: %s\n", c->command, text);
}

FILE *text_out(const struct common *c)
{
    return c->output && !strcmp(c->output, "-") ? stderr : stdout;
}

static volatile int stop;

static void on_signal(int signal_number)
{
    (void)signal_number;
    stop = 1;
}

const volatile int *stop_on_signals(int on)
{
    struct sigaction act = {.sa_handler = on ? on_signal : SIG_DFL, .sa_flags = (int)SA_RESETHAND};
    sigaction(SIGINT, &act, NULL);
    sigaction(SIGTERM, &act, NULL);
    return &stop;
}

int common_start(struct common *c)
{
    if (c->json && text_out(c) == stderr)
        return usage_error(c, "'-o -' and --json both want standard output");
    if (dfo_ctx_new(&c->ctx) != DFO_OK) {
        fprintf(stderr, "diffeo %s: out of memory\n", c->command);
        return EXIT_FAILED;
    }
    dfo_ctx_set_threads(c->ctx, c->threads);
    dfo_ctx_set_memory_limit(c->ctx, c->memory);
    dfo_ctx_set_log(c->ctx, print_log, c);
    if (c->output && strcmp(c->output, "-"))               /* it ends by itself, and leaves nothing beside its file */
        dfo_ctx_set_stop(c->ctx, stop_on_signals(1));
    return 0;
}

int common_end(struct common *c, int status)
{
    dfo_ctx_free(c->ctx);
    if (fflush(stdout) || ferror(stdout)) {
        if (!status)
            fprintf(stderr, "diffeo %s: standard output: %s\n", c->command, strerror(errno));
        return status ? status : EXIT_FAILED;
    }
    return status;
}

int usage_error(const struct common *c, const char *format, ...)
{
    va_list args;
    fprintf(stderr, "diffeo %s: ", c->command);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    return EXIT_USAGE;
}

static int exit_status(dfo_status status)
{
    return status == DFO_ENUM ? EXIT_NUMERICAL : status == DFO_EINTR ? EXIT_INTERRUPTED : EXIT_FAILED;
}

int failed(const struct common *c)
{
    fprintf(stderr, "diffeo %s: %s\n", c->command, dfo_ctx_error(c->ctx));
    return exit_status(dfo_ctx_status(c->ctx));
}

int file_failed(const struct common *c, const char *format, ...)
{
    va_list args;
    fprintf(stderr, "diffeo %s: ", c->command);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, ": %s\n", dfo_ctx_error(c->ctx));
    return exit_status(dfo_ctx_status(c->ctx));
}

int print_json(const struct common *c, json_t *object)
{
    int bad = !object || json_dumpf(object, stdout, JSON_REAL_PRECISION(10)) || fputc('\n', stdout) == EOF;
    json_decref(object);
    if (bad)
        fprintf(stderr, "diffeo %s: standard output: cannot write\n", c->command);
    return bad ? EXIT_FAILED : 0;
}

double to_double(struct argp_state *state, const char *option, const char *text, double low, double high)
{
    char *end;
    double x = strtod(text, &end);
    if (end == text || *end || !(x >= low && x <= high))
        argp_error(state, "%s: expected a number from %g to %g, got '%s'", option, low, high, text);
    return x;
}

uint64_t to_u64(struct argp_state *state, const char *option, const char *text, uint64_t low)
{
    char *end;
    errno = 0;
    unsigned long long n = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end || errno || n < low)
        argp_error(state, "%s: expected an integer of at least %llu, got '%s'", option, (unsigned long long)low,
                   text);
    return n;
}

double seconds_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void moments_add(struct moments *m, double x)
{
    double d = x - m->mean;
    m->n += 1;
    m->mean += d / m->n;
    m->m2 += d * (x - m->mean);
}

double moments_stderr(const struct moments *m)
{
    return m->n > 1 ? sqrt(m->m2 / (m->n - 1) / m->n) : NAN;
}

json_t *real_or_null(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

/* ---- input */

enum { LABELS_COLUMN = 700, CLASS };

static error_t parse_input(int key, char *arg, struct argp_state *state)
{
    struct input *in = state->input;
    switch (key) {
    case 'D': in->data = arg; return 0;
    case 'C': in->columns = arg; return 0;
    case 'X': in->context_columns = arg; return 0;
    case 'Y': in->context = arg; return 0;
    case 'W': in->weights_column = arg; return 0;
    case 'F': in->format = arg; return 0;
    case 'I': in->images = arg; return 0;
    case 'L': in->labels = arg; return 0;
    case LABELS_COLUMN: in->labels_column = arg; return 0;
    case CLASS: in->class = (size_t)to_u64(state, "--class", arg, 0) + 1; return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option input_options[] = {
    {"data", 'D', "SPEC", 0,
     "Rows: FILE.csv[.gz], FILE.npy, images (IDX, CIFAR-10, PNG, a folder of PNG), toy:NAME[:N[:SEED]], '-'; "
     "'#A:B' takes rows A to B-1", 1},
    {"columns", 'C', "LIST", 0, "Columns to use: 1,3-7,name (counted from 1)", 1},
    {"context-columns", 'X', "LIST", 0, "Columns that the density is conditioned on", 1},
    {"context", 'Y', "SPEC", 0, "Rows that the density is conditioned on, one for each of the data", 1},
    {"weights-column", 'W', "NAME", 0, "Column of sample weights", 1},
    {"format", 'F', "csv|npy|idx|cifar10|png", 0, "Format of '-'", 1},
    {"images", 'I', "HxW[xC]", 0, "Rows are images of this size", 1},
    {"labels", 'L', "SPEC", 0, "Class labels to condition on, one for each row (IDX, CIFAR-10, .npy, .csv)", 1},
    {"labels-column", LABELS_COLUMN, "NAME", 0, "Their column, where there are several", 1},
    {"class", CLASS, "K", 0, "Condition all rows on this class, counted from 0", 1},
    {0},
};

const struct argp input_argp = {input_options, parse_input, NULL, NULL, NULL, NULL, NULL};

static int open_one(const struct common *c, const struct input *in, const char *spec, const char *columns,
                    const char *weights, int data, dfo_source **out)
{
    dfo_source_options o = {.format = in->format, .columns = columns, .weights_column = weights,
                            .images = in->images, .allow_nan = data && in->missing, .words = data ? in->words : NULL};
    return dfo_source_open(c->ctx, spec, &o, out) == DFO_OK ? 0 : failed(c);
}

/* The data's rows, and what they are conditioned on, side by side.  */
static int open_parts(const struct common *c, struct input *in)
{
    const char *columns = in->columns;
    char rest[4096];
    int status = 0;
    if (in->context || in->context_columns)
        status = open_one(c, in, in->context ? in->context : in->data, in->context_columns, NULL, 0, &in->parts[1]);
    if (status)
        return status;
    if (!columns && in->context_columns) {
        snprintf(rest, sizeof rest, "!%s", in->context_columns);     /* all the others */
        columns = rest;
    }
    if ((status = open_one(c, in, in->data, columns, in->weights_column, 1, &in->parts[0])))
        return status;
    dfo_source_info info;
    dfo_source_describe(in->parts[0], &info);
    if ((in->labels || in->class) && (status = labels_open(c, in, info.rows)))
        return status;
    dfo_source_describe(in->parts[1], &info);
    in->context_d = dfo_shape_size(info.shape);
    return dfo_source_join(c->ctx, in->parts[0], in->parts[1], &in->source) ? failed(c) : 0;
}

int input_open(const struct common *c, struct input *in)
{
    int status;
    if (!in->data)
        return usage_error(c, "--data is missing");
    if (in->context && in->context_columns)
        return usage_error(c, "--context and --context-columns exclude each other");
    if ((in->labels || in->class) && (in->context || in->context_columns))
        return usage_error(c, "%s and a context exclude each other", in->class ? "--class" : "--labels");
    if (in->context || in->context_columns || in->labels || in->class)
        status = open_parts(c, in);
    else
        status = open_one(c, in, in->data, in->columns, in->weights_column, 1, &in->source);
    if (status)
        return status;
    dfo_source_describe(in->source, &in->info);
    dfo_source_describe(in->parts[0] ? in->parts[0] : in->source, &in->rows);
    return 0;
}

int context_open(const struct common *c, struct input *in, uint64_t rows)
{
    int status = 0;
    if (in->labels || in->class) {
        status = labels_open(c, in, rows);
        in->source = in->parts[1];
        in->parts[1] = NULL;
    } else if (in->context) {
        status = open_one(c, in, in->context, in->columns, NULL, 0, &in->source);
    }
    if (status || !in->source)
        return status;
    dfo_source_describe(in->source, &in->info);
    in->context_d = dfo_shape_size(in->info.shape);
    return 0;
}

void input_close(struct input *in)
{
    dfo_source_free(in->source);
    dfo_source_free(in->framed);
    dfo_source_free(in->parts[0]);
    dfo_source_free(in->parts[1]);
    dfo_source_free(in->label);
    dfo_words_free(in->words);
}

/* Images have the model's size; rows that are not called images need only be as long.  */
static int same_size(const struct common *c, const struct input *in, dfo_shape want)
{
    dfo_shape got = in->rows.shape;
    int pictures = got.h * got.w > 1 || want.h * want.w > 1;
    if (dfo_shape_size(got) == dfo_shape_size(want) &&
        (got.h * got.w == 1 || (got.h == want.h && got.w == want.w && got.c == want.c)))
        return 0;
    if (pictures)
        fprintf(stderr, "diffeo %s: %s: expected images of %zux%zux%zu (height, width, channels), got %zux%zux%zu\n",
                c->command, in->data, want.h, want.w, want.c, got.h, got.w, got.c);
    else
        fprintf(stderr, "diffeo %s: %s: expected %zu columns, got %zu\n", c->command, in->data,
                dfo_shape_size(want), dfo_shape_size(got));
    return EXIT_FAILED;
}

int input_frame(const struct common *c, struct input *in, dfo_shape frame)
{
    dfo_shape picture = in->rows.shape;
    dfo_source *source;
    if (picture.c == frame.c && picture.h == frame.h && picture.w == frame.w)
        return 0;
    if (dfo_source_frame(c->ctx, in->source, picture, frame, &source))
        return failed(c);
    in->framed = in->source;
    in->source = source;
    dfo_source_describe(source, &in->info);
    in->rows.shape = frame;
    return 0;
}

int input_fits(const struct common *c, struct input *in, dfo_model *model)
{
    uint32_t levels = model_levels(model);
    dfo_shape picture = model_picture(model), frame = dfo_model_shape(model), got = in->rows.shape;
    if (in->rows.discrete && got.h == picture.h && got.w == picture.w && got.c == picture.c) {
        int status = input_frame(c, in, frame);
        if (status)
            return status;
    }
    if (levels && in->rows.discrete && in->rows.levels > levels) {
        fprintf(stderr, "diffeo %s: %s: expected images of %u levels, got %u\n", c->command, in->data, levels,
                in->rows.levels);
        return EXIT_FAILED;
    }
    if (in->context_d == dfo_model_context(model))
        return same_size(c, in, in->rows.discrete && !in->framed ? picture : frame);
    fprintf(stderr, "diffeo %s: %s: expected %zu context columns (%s), got %zu\n", c->command, in->data,
            dfo_model_context(model), in->classes ? "--labels or --class" : "--context or --context-columns",
            in->context_d);
    return EXIT_FAILED;
}

dfo_batch split_chunk(const struct input *in, dfo_real *x, size_t n, size_t d, dfo_cond *cond)
{
    dfo_batch all = dfo_batch_of(x, n, d + in->context_d);
    memset(cond, 0, sizeof *cond);
    if (in->context_d) {
        cond->n = 1;
        cond->part[0].rows = dfo_batch_columns(all, d, in->context_d);
        cond->part[0].shape = dfo_shape_vector(in->context_d);
    }
    return dfo_batch_columns(all, 0, d);
}

dfo_status read_chunk(const struct common *c, const struct input *in, uint64_t first, size_t n, dfo_real *x)
{
    return dfo_source_read(in->source, c->ctx, first, dfo_batch_of(x, n, dfo_shape_size(in->info.shape)), NULL);
}

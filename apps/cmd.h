/* What the commands of the program share.  cmd_*.c and common.c are compiled twice, for --precision.  */
#ifndef DIFFEO_APPS_CMD_H
#define DIFFEO_APPS_CMD_H

#include <argp.h>
#include <jansson.h>
#include <stdint.h>
#include <stdio.h>
#include <diffeo/diffeo.h>

#ifdef DFO_DOUBLE
#define CMD(name) name##_double
#else
#define CMD(name) name##_float
#endif

enum { EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_NUMERICAL = 3, EXIT_INTERRUPTED = 130 };

/* Options of every command.  */
struct common {
    const char *command;           /* "train" */
    dfo_ctx    *ctx;
    int         json, quiet, threads;
    uint64_t    seed;
    size_t      memory;
    const char *precision;         /* the last that was given, or NULL */
    int         solves;            /* solver options were given */
    dfo_solver_options solver;
    int         guides;            /* --guidance was given */
    double      guidance;
    const char *output;            /* where rows go, set before common_start; NULL: nowhere */
    int         argc;
    char      **argv;
};

#define common_argp CMD(common_argp)
extern const struct argp common_argp;      /* a child parser; its input is struct common */

#define common_start CMD(common_start)
#define stop_on_signals CMD(stop_on_signals)
#define common_end CMD(common_end)
#define text_out CMD(text_out)
#define usage_error CMD(usage_error)
#define failed CMD(failed)
#define file_failed CMD(file_failed)
#define print_json CMD(print_json)
#define to_double CMD(to_double)
#define to_u64 CMD(to_u64)
#define seconds_now CMD(seconds_now)

/* Makes the context; after parsing.  Exit status, 0: go on.  */
int common_start(struct common *c);
/* on: the next SIGINT or SIGTERM makes this number 1, a second one ends the program; else both end it.  */
const volatile int *stop_on_signals(int on);
/* Where the report in words goes: standard output, unless rows go there.  */
FILE *text_out(const struct common *c);
int common_end(struct common *c, int status);

/* Prints "diffeo COMMAND: text" to stderr and returns EXIT_USAGE.  */
int usage_error(const struct common *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Prints the context's error and returns the exit status that belongs to it.  */
int failed(const struct common *c);
int file_failed(const struct common *c, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Prints an object in one line and releases it.  A write that fails is reported: exit status.  */
int print_json(const struct common *c, json_t *object);

/* Option values; a bad one ends in argp_error (exit 2).  */
double to_double(struct argp_state *state, const char *option, const char *text, double low, double high);
uint64_t to_u64(struct argp_state *state, const char *option, const char *text, uint64_t low);

double seconds_now(void);

/* Mean and standard error by Welford's recurrence.  */
struct moments {
    double n, mean, m2;
};
#define moments_add CMD(moments_add)
#define moments_stderr CMD(moments_stderr)
#define real_or_null CMD(real_or_null)
void moments_add(struct moments *m, double x);
double moments_stderr(const struct moments *m);
/* JSON has no infinities: null.  */
json_t *real_or_null(double x);

/* Options that say where rows come from.  */
struct input {
    const char *data, *columns, *context_columns, *context, *weights_column, *format, *images;
    const char *labels, *labels_column;
    size_t      class;             /* --class and one more; 0: none */
    size_t      classes;           /* the model's; 0: as the labels say */
    dfo_words  *words;             /* columns that may hold words, or NULL */
    int         missing;           /* rows may hold NaN for what is not known */
    int         label_column;      /* 1: labels stay one column, as a classifier wants them */
    dfo_source *source;            /* rows, then context features */
    dfo_source *parts[2];          /* what source joins */
    dfo_source *label;             /* what parts[1] makes one-hot */
    dfo_source *framed;            /* what source sets into frames */
    size_t      context_d;
    dfo_source_info info;
    dfo_source_info rows;          /* of the rows without their context, in their frames */
};

#define input_argp CMD(input_argp)
#define input_open CMD(input_open)
#define input_close CMD(input_close)
#define input_frame CMD(input_frame)
#define input_fits CMD(input_fits)
#define context_open CMD(context_open)
extern const struct argp input_argp;       /* a child parser; its input is struct input */

/* Opens in->data with the input's options.  Exit status.  */
int input_open(const struct common *c, struct input *in);
/* Opens only what --context, --labels or --class give for `rows` rows, as in->source.  */
int context_open(const struct common *c, struct input *in, uint64_t rows);
void input_close(struct input *in);
/* Sets pictures into frames of this shape (nothing is done if it is theirs).  Exit status.  */
int input_frame(const struct common *c, struct input *in, dfo_shape frame);
/* The rows, in the model's frame if it has one, fit the model?  Exit status.  */
int input_fits(const struct common *c, struct input *in, dfo_model *model);

#define solver_argp CMD(solver_argp)
#define open_model CMD(open_model)
#define solver_settings CMD(solver_settings)
extern const struct argp solver_argp;      /* a child parser; its input is struct common */
/* Loads a model, to be solved as the options say.  Exit status.  */
int open_model(const struct common *c, const char *path, dfo_model **out);
/* The options as KEY=VALUE of a configuration; how many.  */
#define SOLVER_SETTINGS 5
int solver_settings(const struct common *c, char text[SOLVER_SETTINGS][64]);

#define words_of CMD(words_of)
#define labels_for CMD(labels_for)
#define labels_open CMD(labels_open)
#define model_levels CMD(model_levels)
#define model_picture CMD(model_picture)
#define without_frame CMD(without_frame)
/* The words of the model's columns; NULL where it has none.  Exit status.  */
int words_of(const struct common *c, dfo_model *model, dfo_words **out);
/* Takes the number of classes from the model, its words, and whether rows may lack something; labels for one without classes are an error.  Exit status.  */
int labels_for(const struct common *c, struct input *in, const char *path, dfo_model *model);
/* Opens the condition of `rows` rows that --labels or --class give, as in->parts[1].  Exit status.  */
int labels_open(const struct common *c, struct input *in, uint64_t rows);

/* 256 or 65536 for a model that was trained on images of so many levels, else 0.  */
uint32_t model_levels(dfo_model *model);

/* What a row is without its frame; and rows without it, in place, their first columns.  */
dfo_shape model_picture(dfo_model *model);
dfo_batch without_frame(dfo_model *model, dfo_batch x);

#define count_wrong_pixels CMD(count_wrong_pixels)
/* Encodes and decodes all rows of in->source, images, and counts the pixels that come back as others.  Exit status.  */
int count_wrong_pixels(const struct common *c, const struct input *in, const dfo_model *model, uint64_t batch,
                       uint64_t *wrong);
#define batch_argp CMD(batch_argp)
extern const struct argp batch_argp;       /* a child parser; its input is uint64_t: --batch, 0 if not given */

#define model_argument CMD(model_argument)
#define open_rows_out CMD(open_rows_out)
/* The rest of a parser whose command takes one argument, the model.  */
error_t model_argument(int key, char *arg, struct argp_state *state, const char **model);
/* Opens an output of rows like the model's: images as pictures (.png, a grid of so many columns, 0: as suits;
 * folder/) or an array (.npy), others as a table with the names of its columns.  Exit status.  */
int open_rows_out(const struct common *c, dfo_model *model, const char *path, const char *format, uint64_t rows,
                  size_t grid, dfo_sink **out);

#define split_chunk CMD(split_chunk)
/* x (n, d + context_d) as rows and condition.  */
dfo_batch split_chunk(const struct input *in, dfo_real *x, size_t n, size_t d, dfo_cond *cond);

#define read_chunk CMD(read_chunk)
dfo_status read_chunk(const struct common *c, const struct input *in, uint64_t first, size_t n, dfo_real *x);

#define COMMANDS(X) X(train) X(loglik) X(sample) X(encode) X(decode) X(edit) X(classify) X(check) X(info) X(plot) X(interpolate) X(distance) X(calibrate) X(mcmc) X(filter)

#define X(name) int cmd_##name##_float(int argc, char **argv); int cmd_##name##_double(int argc, char **argv);
COMMANDS(X)
#undef X

#endif

/* diffeo filter: pictures convolved with a kernel, or that undone.  In double unless asked otherwise.  */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cmd.h"

struct options {
    struct common common;
    struct input  input, compare;
    const char   *kernel, *output;
    dfo_boundary  boundary;
    int           inverse;
    double        tikhonov;
};

/* What is found on the way.  */
struct job {
    struct options   *o;
    dfo_shape         shape;           /* of a picture */
    uint32_t          levels;          /* of the output, 0: real values */
    dfo_filter       *filter;
    dfo_filter_report kernel;
    size_t            kh, kw;
    dfo_sink         *sink;
    dfo_real         *x, *other;       /* one picture each */
    uint64_t          outside, differ; /* values beyond the levels; values of other pixels */
    double            squares, worst;  /* of the differences */
};

enum { KERNEL = 256, INVERSE, BOUNDARY, TIKHONOV, COMPARE };

static const struct argp_option options_list[] = {
    {"kernel", KERNEL, "FILE", 0, "The kernel's rows, as CSV or NPY", 1},
    {"output", 'o', "FILE", 0, "Where the pictures go: .png, folder/, or .npy for real values", 1},
    {"inverse", INVERSE, NULL, 0, "Undo the filter", 2},
    {"boundary", BOUNDARY, "KIND", 0, "periodic (default), symmetric or causal", 2},
    {"tikhonov", TIKHONOV, "X", 0, "Damp the inverse: the noise's variance over the picture's", 2},
    {"compare", COMPARE, "SPEC", 0, "Count the pixels that differ from these pictures", 2},
    {0},
};

static dfo_boundary boundary_of(struct argp_state *state, const char *word)
{
    static const char *const known[] = {"periodic", "symmetric", "causal"};
    for (int i = 0; i < 3; i++)
        if (!strcmp(word, known[i]))
            return (dfo_boundary)i;
    argp_error(state, "--boundary: expected periodic, symmetric or causal, got '%s'", word);
    return DFO_PERIODIC;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &o->common;
        state->child_inputs[1] = &o->input;
        return 0;
    case KERNEL: o->kernel = arg; return 0;
    case 'o': o->output = arg; return 0;
    case INVERSE: o->inverse = 1; return 0;
    case BOUNDARY: o->boundary = boundary_of(state, arg); return 0;
    case TIKHONOV: o->tikhonov = to_double(state, "--tikhonov", arg, 1e-300, 1e300); return 0;
    case COMPARE: o->compare.data = arg; return 0;
    case ARGP_KEY_ARG:
        if (o->input.data)
            argp_error(state, "unexpected argument '%s'", arg);
        o->input.data = arg;
        return 0;
    case ARGP_KEY_END:
        if (!o->input.data)
            argp_error(state, "expected pictures");
        if (!o->kernel)
            argp_error(state, "--kernel is missing");
        if (!o->output)
            argp_error(state, "-o FILE is missing");
        if (o->tikhonov > 0 && !o->inverse)
            argp_error(state, "--tikhonov goes with --inverse");
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

/* The kernel's entries; freed by the caller.  */
static int read_kernel(struct job *j, double **kernel)
{
    const struct common *c = &j->o->common;
    dfo_source *source;
    dfo_source_info info;
    if (dfo_source_open(c->ctx, j->o->kernel, NULL, &source))
        return failed(c);
    dfo_source_describe(source, &info);
    int status = 0;
    if (!info.rows || info.rows > j->shape.h || dfo_shape_size(info.shape) > j->shape.w)
        status = (usage_error(c, "%s: expected a kernel of 1x1 to %zux%zu, the picture's size, got %llux%zu", j->o->kernel,
                              j->shape.h, j->shape.w, (unsigned long long)info.rows, dfo_shape_size(info.shape)), EXIT_FAILED);
    j->kh = (size_t)info.rows;
    j->kw = dfo_shape_size(info.shape);
    dfo_real *x = status ? NULL : malloc(j->kh * j->kw * sizeof *x);
    *kernel = status ? NULL : malloc(j->kh * j->kw * sizeof **kernel);
    if (!status && (!x || !*kernel))
        status = (usage_error(c, "out of memory"), EXIT_FAILED);
    if (!status && dfo_source_read(source, c->ctx, 0, dfo_batch_of(x, j->kh, j->kw), NULL))
        status = failed(c);
    for (size_t i = 0; !status && i < j->kh * j->kw; i++)
        (*kernel)[i] = (double)x[i];
    free(x);
    dfo_source_free(source);
    return status;
}

static int open_filter(struct job *j)
{
    const struct common *c = &j->o->common;
    double *kernel = NULL;
    int status = read_kernel(j, &kernel);
    if (!status && dfo_filter_new(c->ctx, j->o->boundary, j->shape.h, j->shape.w, j->kh, j->kw, kernel, &j->filter))
        status = file_failed(c, "%s", j->o->kernel);
    free(kernel);
    if (!status)
        dfo_filter_report_of(j->filter, &j->kernel);
    return status;
}

static int open_pictures(struct job *j)
{
    struct options *o = j->o;
    const struct common *c = &o->common;
    int status = input_open(c, &o->input);
    if (status)
        return status;
    j->shape = o->input.info.shape;
    if (j->shape.h * j->shape.w == 1)
        return usage_error(c, "%s: expected pictures, got rows of %zu columns; --images=HxW says that they are",
                           o->input.data, dfo_shape_size(j->shape)), EXIT_FAILED;
    if (o->compare.data && (status = input_open(c, &o->compare)))
        return status;
    dfo_shape s = o->compare.info.shape;
    if (o->compare.data && (o->compare.info.rows != o->input.info.rows || s.c != j->shape.c || s.h != j->shape.h ||
                            s.w != j->shape.w))
        return usage_error(c, "%s has other pictures than %s: %llu of %zux%zux%zu, expected %llu of %zux%zux%zu",
                           o->compare.data, o->input.data, (unsigned long long)o->compare.info.rows, s.h, s.w, s.c,
                           (unsigned long long)o->input.info.rows, j->shape.h, j->shape.w, j->shape.c), EXIT_FAILED;
    size_t d = dfo_shape_size(j->shape);
    j->x = malloc(d * sizeof *j->x);
    j->other = malloc(d * sizeof *j->other);
    if (!j->x || !j->other)
        return usage_error(c, "out of memory"), EXIT_FAILED;
    return 0;
}

/* Arrays hold real values; pictures whole ones, of as many levels as came in.  */
static int open_output(struct job *j)
{
    struct options *o = j->o;
    size_t n = strlen(o->output);
    int array = n > 4 && !strcmp(o->output + n - 4, ".npy");
    j->levels = array ? 0 : o->input.info.discrete ? o->input.info.levels : 256;
    return dfo_sink_open_images(o->common.ctx, o->output, NULL, o->input.info.rows, j->shape, j->levels, 0, &j->sink)
               ? failed(&o->common) : 0;
}

/* The differences of pictures, both as whole numbers within the levels of what they are compared with.  */
static void compare(struct job *j)
{
    double most = j->o->compare.info.discrete ? j->o->compare.info.levels - 1 : 255;
    for (size_t k = 0; k < dfo_shape_size(j->shape); k++) {
        double value = (double)j->x[k], other = (double)j->other[k], off = fabs(value - other);
        j->squares += off * off;
        j->worst = fmax(j->worst, off);
        j->differ += fmin(fmax(floor(value + 0.5), 0), most) != floor(other + 0.5);
    }
}

static int filter_picture(struct job *j, uint64_t i)
{
    struct options *o = j->o;
    const struct common *c = &o->common;
    size_t plane = j->shape.h * j->shape.w, d = dfo_shape_size(j->shape);
    if (read_chunk(c, &o->input, i, 1, j->x) || (o->compare.data && read_chunk(c, &o->compare, i, 1, j->other)))
        return failed(c);
    for (size_t k = 0; k < j->shape.c; k++)
        if (!o->inverse)
            dfo_filter_apply(j->filter, j->x + k * plane);
        else if (dfo_filter_invert(j->filter, j->x + k * plane, o->tikhonov))
            return file_failed(c, "%s", o->kernel);
    for (size_t k = 0; k < d; k++) {
        if (!isfinite((double)j->x[k]))
            return usage_error(c, "%s: picture %llu: the result is not finite", o->input.data, (unsigned long long)i),
                   EXIT_NUMERICAL;
        j->outside += j->levels && ((double)j->x[k] < -0.5 || (double)j->x[k] >= j->levels - 0.5);
    }
    if (o->compare.data)
        compare(j);
    return dfo_sink_write(j->sink, dfo_batch_of(j->x, 1, d)) ? failed(c) : 0;
}

static int report(const struct job *j, double seconds)
{
    const struct options *o = j->o;
    double values = (double)o->input.info.rows * (double)dfo_shape_size(j->shape);
    double rms = sqrt(j->squares / values), top = o->compare.info.discrete ? o->compare.info.levels - 1 : 255;
    if (o->common.json) {
        json_t *out = json_pack("{s:I, s:f, s:f, s:o, s:[I, I], s:I, s:f}", "rows", (json_int_t)o->input.info.rows, "smallest",
                                j->kernel.smallest, "largest", j->kernel.largest, "condition",
                                isfinite(j->kernel.condition) ? json_real(j->kernel.condition) : json_null(), "frequency",
                                (json_int_t)j->kernel.frequency[0], (json_int_t)j->kernel.frequency[1], "values_outside",
                                (json_int_t)j->outside, "seconds", seconds);
        if (out && o->compare.data) {
            json_object_set_new(out, "pixels_wrong", json_integer((json_int_t)j->differ));
            json_object_set_new(out, "max_difference", json_real(j->worst));
            json_object_set_new(out, "rms_difference", json_real(rms));
        }
        return print_json(&o->common, out);
    }
    FILE *to = text_out(&o->common);
    fprintf(to, "%llu pictures of %zux%zu to %s, kernel %zux%zu, condition number %.4g\n",
            (unsigned long long)o->input.info.rows, j->shape.h, j->shape.w, o->output, j->kh, j->kw, j->kernel.condition);
    if (o->boundary == DFO_CAUSAL)
        fprintf(to, "norm %.4g, of the inverse %.4g\n", j->kernel.largest, 1 / j->kernel.smallest);
    else
        fprintf(to, "gains from %.4g (at frequency %zu, %zu) to %.4g\n", j->kernel.smallest, j->kernel.frequency[0],
                j->kernel.frequency[1], j->kernel.largest);
    if (j->outside)
        fprintf(to, "%llu values were outside 0 to %u\n", (unsigned long long)j->outside, j->levels - 1);
    if (o->compare.data)
        fprintf(to, "%llu of %.0f values differ from %s; largest difference %.3g, root mean square %.3g (PSNR %.2f dB)\n",
                (unsigned long long)j->differ, values, o->compare.data, j->worst, rms, 20 * log10(top / rms));
    return 0;
}

int CMD(cmd_filter)(int argc, char **argv)
{
    static const struct argp_child children[] = {{&common_argp, 0, NULL, 0}, {&input_argp, 0, NULL, 0}, {0}};
    static const struct argp argp = {options_list, parse, "PICTURES",
                                     "Convolves pictures with a kernel, or undoes that exactly.", children, NULL, NULL};
    struct options o = {.common = {.command = "filter", .argc = argc, .argv = argv}};
    struct job j = {.o = &o};
    if (argp_parse(&argp, argc, argv, 0, NULL, &o))
        return EXIT_USAGE;
    o.common.output = o.output;
    int status = common_start(&o.common);
    double started = seconds_now();
    if (!status)
        status = open_pictures(&j);
    if (!status)
        status = open_filter(&j);
    if (!status)
        status = open_output(&j);
    for (uint64_t i = 0; !status && i < o.input.info.rows; i++)
        status = filter_picture(&j, i);
    if (!status && dfo_sink_finish(j.sink))
        status = failed(&o.common);
    if (!status)
        status = report(&j, seconds_now() - started);
    dfo_sink_free(j.sink);
    dfo_filter_free(j.filter);
    free(j.x);
    free(j.other);
    input_close(&o.compare);
    input_close(&o.input);
    return common_end(&o.common, status);
}

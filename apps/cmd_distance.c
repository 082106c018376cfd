/* diffeo distance: how far the rows of two files are apart.  */
#include <stdlib.h>
#include <string.h>

#include "cmd.h"

enum { SLICED = 1, ENERGY = 2, MMD = 4, C2ST = 8, EVERY = 15 };

static const char *const measure_names[] = {"sliced", "energy", "mmd", "c2st"};

struct options {
    struct common common;
    struct input  input;
    const char *spec[2];
    uint64_t rows;
    size_t   directions;
    double   bandwidth;
    unsigned measures;
};

enum { ROWS = 256, DIRECTIONS, BANDWIDTH, MEASURES };

static const struct argp_option options_list[] = {
    {"measures", MEASURES, "LIST", 0, "Of sliced, energy, mmd, c2st (default: all)", 2},
    {"rows", ROWS, "N", 0, "Use the first N rows of each at most (default 10000)", 2},
    {"directions", DIRECTIONS, "N", 0, "Directions of the sliced Wasserstein distance (default 500)", 2},
    {"bandwidth", BANDWIDTH, "X", 0, "Width of mmd's Gaussian kernel (default: the median distance)", 2},
    {0},
};

static unsigned measures_of(struct argp_state *state, const char *list)
{
    unsigned set = 0;
    while (*list) {
        size_t n = strcspn(list, ","), k = 0;
        while (k < 4 && (strlen(measure_names[k]) != n || strncmp(measure_names[k], list, n)))
            k++;
        if (k == 4)
            argp_error(state, "--measures: expected some of sliced,energy,mmd,c2st, got '%.*s'", (int)n, list);
        set |= 1u << k;
        list += n + (list[n] == ',');
    }
    if (!set)
        argp_error(state, "--measures: expected some of sliced,energy,mmd,c2st");
    return set;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &o->common;
        state->child_inputs[1] = &o->input;
        return 0;
    case MEASURES: o->measures = measures_of(state, arg); return 0;
    case ROWS: o->rows = to_u64(state, "--rows", arg, DFO_DISTANCE_ROWS); return 0;
    case DIRECTIONS: o->directions = (size_t)to_u64(state, "--directions", arg, 1); return 0;
    case BANDWIDTH: o->bandwidth = to_double(state, "--bandwidth", arg, 1e-300, 1e300); return 0;
    case ARGP_KEY_ARG:
        if (state->arg_num >= 2)
            argp_error(state, "unexpected argument '%s'", arg);
        o->spec[state->arg_num] = arg;
        return 0;
    case ARGP_KEY_END:
        if (!o->spec[1])
            argp_error(state, "expected two data sets");
        if (o->input.data)
            argp_error(state, "the data sets are arguments: without --data");
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

/* The first rows of a data set, as doubles in memory of the caller's.  */
static int load(const struct options *o, const char *spec, double **memory, dfo_samples *to)
{
    const struct common *c = &o->common;
    struct input in = o->input;
    dfo_real *x = NULL;
    in.data = spec;
    int status = input_open(c, &in);
    if (!status) {
        to->d = dfo_shape_size(in.info.shape);
        to->n = in.info.rows < o->rows ? (size_t)in.info.rows : (size_t)o->rows;
        x = calloc(to->n * to->d + 1, sizeof *x);
        *memory = calloc(to->n * to->d + 1, sizeof **memory);
        if (!x || !*memory)
            status = (usage_error(c, "out of memory"), EXIT_FAILED);
        else if (read_chunk(c, &in, 0, to->n, x))
            status = failed(c);
        for (size_t i = 0; !status && i < to->n * to->d; i++)
            (*memory)[i] = (double)x[i];
        to->x = *memory;
    }
    free(x);
    input_close(&in);
    return status;
}

struct results {
    dfo_estimate sliced, same, energy, mmd, c2st;
    double bandwidth;
};

static int measure(const struct options *o, const dfo_samples s[2], struct results *r)
{
    const struct common *c = &o->common;
    r->bandwidth = o->bandwidth;
    if ((o->measures & SLICED) &&
        dfo_sliced_wasserstein(c->ctx, &s[0], &s[1], o->directions, c->seed, &r->sliced, &r->same))
        return failed(c);
    if ((o->measures & (ENERGY | MMD)) && dfo_pair_distances(c->ctx, &s[0], &s[1], &r->bandwidth, &r->energy, &r->mmd))
        return failed(c);
    if ((o->measures & C2ST) && dfo_c2st(c->ctx, &s[0], &s[1], c->seed, &r->c2st))
        return failed(c);
    return 0;
}

static void put(json_t *out, const char *name, dfo_estimate e)
{
    char key[64];
    snprintf(key, sizeof key, "%s_stderr", name);
    json_object_set_new(out, name, json_real(e.value));
    json_object_set_new(out, key, json_real(e.error));
}

static int report(const struct options *o, const dfo_samples s[2], const struct results *r, double seconds)
{
    if (o->common.json) {
        json_t *out = json_pack("{s:I, s:I, s:I, s:f}", "rows", (json_int_t)s[0].n, "other_rows", (json_int_t)s[1].n, "dims",
                                (json_int_t)s[0].d, "seconds", seconds);
        if (out && o->measures & SLICED) {
            put(out, "sliced_wasserstein", r->sliced);
            put(out, "sliced_wasserstein_same", r->same);
        }
        if (out && o->measures & ENERGY)
            put(out, "energy_distance", r->energy);
        if (out && o->measures & MMD) {
            put(out, "mmd_squared", r->mmd);
            json_object_set_new(out, "bandwidth", json_real(r->bandwidth));
        }
        if (out && o->measures & C2ST)
            put(out, "c2st", r->c2st);
        return print_json(&o->common, out);
    }
    printf("%zu and %zu rows of %zu columns\n", s[0].n, s[1].n, s[0].d);
    if (o->measures & SLICED)
        printf("sliced Wasserstein  %.6g +- %.2g   (between halves of %s: %.6g +- %.2g)\n", r->sliced.value, r->sliced.error,
               o->spec[1], r->same.value, r->same.error);
    if (o->measures & ENERGY)
        printf("energy distance     %.6g +- %.2g\n", r->energy.value, r->energy.error);
    if (o->measures & MMD)
        printf("squared MMD         %.6g +- %.2g   (bandwidth %.4g)\n", r->mmd.value, r->mmd.error, r->bandwidth);
    if (o->measures & C2ST)
        printf("C2ST                %.4f +- %.2g   (0.5: a classifier cannot tell them apart)\n", r->c2st.value,
               r->c2st.error);
    return 0;
}

int CMD(cmd_distance)(int argc, char **argv)
{
    static const struct argp_child children[] = {{&common_argp, 0, NULL, 0}, {&input_argp, 0, NULL, 0}, {0}};
    static const struct argp argp = {options_list, parse, "A B", "How far the rows of two data sets are apart.", children,
                                     NULL, NULL};
    struct options o = {.common = {.command = "distance", .argc = argc, .argv = argv}, .rows = 10000, .directions = 500,
                        .measures = EVERY};
    double *memory[2] = {NULL, NULL};
    dfo_samples s[2];
    struct results r;
    if (argp_parse(&argp, argc, argv, 0, NULL, &o))
        return EXIT_USAGE;
    int status = common_start(&o.common);
    double started = seconds_now();
    for (int i = 0; i < 2 && !status; i++)
        status = load(&o, o.spec[i], &memory[i], &s[i]);
    if (!status && s[0].d != s[1].d)
        status = (usage_error(&o.common, "%s has %zu columns, %s has %zu", o.spec[0], s[0].d, o.spec[1], s[1].d), EXIT_FAILED);
    for (int i = 0; i < 2 && !status; i++)
        if (s[i].n < DFO_DISTANCE_ROWS)
            status = (usage_error(&o.common, "%s: expected %d rows or more, got %zu", o.spec[i], DFO_DISTANCE_ROWS, s[i].n),
                      EXIT_FAILED);
    if (!status)
        status = measure(&o, s, &r);
    if (!status)
        status = report(&o, s, &r, seconds_now() - started);
    free(memory[0]);
    free(memory[1]);
    return common_end(&o.common, status);
}

/* sample --given, see given.h.  */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "given.h"

enum { GIVEN = 780, MASK, NOISE };

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct given *g = state->input;
    switch (key) {
    case ARGP_KEY_INIT: *g = (struct given){.data = NULL}; return 0;
    case GIVEN: g->data = arg; return 0;
    case MASK: g->mask = arg; return 0;
    case NOISE: g->noise = to_double(state, "--given-noise", arg, 0, 1e9); return 0;
    case ARGP_KEY_END:
        if (!g->data && (g->mask || g->noise > 0))
            argp_error(state, "%s goes with --given", g->mask ? "--mask" : "--given-noise");
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option options[] = {
    {"given", GIVEN, "SPEC", 0, "Of diffusion models: rows of which something is known, NaN for what is not; -n draws for each", 5},
    {"mask", MASK, "FILE", 0, "Picture or row of the rows' size: 0 where they are known", 5},
    {"given-noise", NOISE, "S", 0, "Deviation of the noise in what is known, as the model sees rows (default 0)", 5},
    {0},
};

const struct argp given_argp = {options, parse, NULL, NULL, NULL, NULL, NULL};

/* Does any row lack something?  Is what they have a number?  */
static int look(const struct common *c, struct given *g, size_t d)
{
    dfo_real *row = malloc(d * sizeof *row);
    if (!row)
        return usage_error(c, "out of memory"), EXIT_FAILED;
    g->whole = 1;
    int status = 0;
    for (uint64_t i = 0; i < g->rows && !status; i++) {
        status = given_read(c, g, i, 1, dfo_batch_of(row, 1, d)) ? failed(c) : 0;
        for (size_t j = 0; j < d && !status; j++) {
            g->whole &= !isnan(row[j]);
            if (isinf(row[j]))
                status = (usage_error(c, "%s: row %llu, column %zu: expected a finite number, or NaN, got %g", g->data, (unsigned long long)i, j + 1,
                                      (double)row[j]), EXIT_FAILED);
        }
    }
    free(row);
    if (!status && g->whole && !(g->noise > 0))
        return usage_error(c, "%s: nothing is missing: --mask or NaN says what is to be drawn, --given-noise how noisy it is", g->data);
    return status;
}

int given_open(const struct common *c, struct given *g, dfo_model *model)
{
    dfo_source_options how = {.allow_nan = 1};
    dfo_source_info info;
    if (dfo_source_open(c->ctx, g->data, &how, &g->source))
        return failed(c);
    dfo_source_describe(g->source, &info);
    dfo_shape want = dfo_model_shape(model), got = info.shape;
    g->rows = info.rows;
    if (got.h * got.w > 1 && (got.h != want.h || got.w != want.w || got.c != want.c))
        return usage_error(c, "%s: expected images of %zux%zux%zu (height, width, channels), got %zux%zux%zu", g->data, want.h, want.w, want.c, got.h,
                           got.w, got.c), EXIT_FAILED;
    if (dfo_shape_size(got) != dfo_shape_size(want))
        return usage_error(c, "%s: expected %zu columns, got %zu", g->data, dfo_shape_size(want), dfo_shape_size(got)), EXIT_FAILED;
    if (!g->rows)
        return usage_error(c, "%s: expected rows, got none", g->data), EXIT_FAILED;
    int status = g->mask ? read_mask(c, g->mask, model, &g->known) : 0;
    return status ? status : look(c, g, dfo_shape_size(want));
}

void given_close(struct given *g)
{
    dfo_source_free(g->source);
    free(g->known);
}

dfo_status given_read(const struct common *c, const struct given *g, uint64_t first, uint64_t each, dfo_batch y)
{
    for (size_t i = 0; i < y.n; i++) {
        dfo_real *row = dfo_row(y, i);
        if (i && (first + i) / each == (first + i - 1) / each) {
            memcpy(row, dfo_row(y, i - 1), y.d * sizeof *row);
            continue;
        }
        dfo_status status = dfo_source_read(g->source, c->ctx, (first + i) / each, dfo_batch_of(row, 1, y.d), NULL);
        if (status)
            return status;
        for (size_t j = 0; g->known && j < y.d; j++)
            if (!g->known[j])
                row[j] = (dfo_real)NAN;
    }
    return DFO_OK;
}

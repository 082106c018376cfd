/* toy:NAME[:N[:SEED]] as a source: N rows (default 10,000), computed whenever they are read, the same
 * in both precisions but for rounding.  gaussianD has D correlated columns (gaussian: 2).  */
#include <math.h>
#include <string.h>

#include "base/parse_impl.h"
#include "data/source_impl.h"
#include "data/toy_impl.h"

#define ROWS 10000
#define WIDEST ((size_t)4096)              /* columns of gaussianD */

struct toy {
    const dfoi_toy *kind;
    uint64_t        seed;
    dfoi_node      *node;                  /* (nodes) */
    size_t          nodes;
    size_t          d;
};

size_t dfo_toys(void)
{
    return DFOI_TOYS;
}

const char *dfo_toy(size_t i)
{
    return i < DFOI_TOYS ? dfoi_toy_list[i].name : NULL;
}

const dfoi_toy *dfoi_toy_named(const char *name, size_t n, size_t *d)
{
    for (size_t k = 0; k < DFOI_TOYS; k++) {
        const dfoi_toy *toy = &dfoi_toy_list[k];
        size_t m = strlen(toy->name), columns = 0;
        if (n < m || memcmp(name, toy->name, m))
            continue;
        *d = toy->d ? toy->d : 2;
        if (n == m)
            return toy;
        for (size_t i = m; i < n && columns <= WIDEST; i++)
            columns = name[i] >= '0' && name[i] <= '9' ? columns * 10 + (size_t)(name[i] - '0') : WIDEST + 1;
        *d = columns;
        if (!toy->d && columns >= 1 && columns <= WIDEST)
            return toy;
    }
    return NULL;
}

static dfo_status fetch(const dfo_source *source, dfo_ctx *ctx, const uint64_t *rows, uint64_t first, dfo_batch x,
                        double *weight)
{
    const struct toy *toy = source->state;
    double row[WIDEST];
    (void)ctx;
    for (size_t i = 0; i < x.n; i++) {
        uint64_t at = rows ? rows[i] : first + i;
        toy->kind->draw(toy->kind, (dfo_key){.seed = toy->seed, .row = at, .purpose = DFO_FOR_TOY}, toy->d, row);
        for (size_t j = 0; j < x.d; j++)
            dfo_row(x, i)[j] = (dfo_real)row[j];
        if (weight)
            weight[i] = 1;
    }
    return DFO_OK;
}

/* log sum_k w_k N(x; node k, sigma^2 I).  */
static double log_prob_nodes(const struct toy *toy, const double *x)
{
    double s = toy->kind->sigma, least = HUGE_VAL, sum = 0;
    for (size_t k = 0; k < toy->nodes; k++) {
        double a = (x[0] - toy->node[k].x) / s, b = (x[1] - toy->node[k].y) / s;
        least = fmin(least, a * a + b * b);
    }
    for (size_t k = 0; k < toy->nodes; k++) {
        double a = (x[0] - toy->node[k].x) / s, b = (x[1] - toy->node[k].y) / s, t = a * a + b * b - least;
        if (t < 160)
            sum += toy->node[k].weight * exp(-0.5 * t);
    }
    return log(sum) - 0.5 * least - log(2 * 3.14159265358979323846 * s * s);
}

static dfo_status log_prob(const dfo_source *source, dfo_ctx *ctx, dfo_batch x, double *out)
{
    const struct toy *toy = source->state;
    double row[WIDEST];
    (void)ctx;
    for (size_t i = 0; i < x.n; i++) {
        for (size_t j = 0; j < x.d; j++)
            row[j] = (double)dfo_row(x, i)[j];
        out[i] = toy->nodes ? log_prob_nodes(toy, row) : toy->kind->log_prob(toy->kind, x.d, row);
    }
    return DFO_OK;
}

/* The name says everything.  */
static uint64_t hash(const dfo_source *source)
{
    return dfoi_hash(DFOI_HASH_START, source->name, strlen(source->name));
}

static void release(dfo_source *source)
{
    struct toy *toy = source->state;
    dfoi_free(source->ctx, toy->node);
    dfoi_free(source->ctx, toy);
}

static dfo_status unknown(dfo_ctx *ctx, const char *name, size_t n)
{
    char list[256];
    size_t used = 0;
    for (size_t k = 0; k < DFOI_TOYS; k++) {
        size_t m = strlen(dfoi_toy_list[k].name);
        if (used + m + 2 > sizeof list)
            break;
        if (used)
            list[used++] = ' ';
        memcpy(list + used, dfoi_toy_list[k].name, m);
        used += m;
    }
    return dfoi_fail(ctx, DFO_EARG, "toy:%.*s: no such toy; known: %.*s (gaussianD: 1 to %zu columns)",
                     (int)(n < 60 ? n : 60), name, (int)used, list, WIDEST);
}

/* A whole number between two colons.  */
static dfo_status number(dfo_ctx *ctx, const char *text, size_t n, const char *what, uint64_t *out)
{
    char copy[24];
    if (n >= sizeof copy)
        return dfoi_fail(ctx, DFO_EARG, "%s: expected a whole number, got '%.40s'", what, text);
    memcpy(copy, text, n);
    copy[n] = 0;
    return dfoi_parse_u64(ctx, copy, what, out);
}

static dfo_status open(dfo_source *source, const char *path, dfo_file *file, const dfo_source_options *options)
{
    static const struct dfoi_source_ops ops = {
        .fetch = fetch,
        .log_prob = log_prob,
        .hash = hash,
        .free = release,
    };
    dfo_ctx *ctx = source->ctx;
    struct toy *toy;
    uint64_t rows = ROWS;
    (void)file;
    if (options->columns || options->weights_column || options->images)
        return dfoi_fail(ctx, DFO_EARG, "toy:%s: a toy has no columns to choose, weights or images", path);
    DFO_TRY(dfoi_alloc(ctx, 1, sizeof *toy, &toy));
    source->ops = &ops;
    source->state = toy;
    size_t n = strcspn(path, ":");
    toy->kind = dfoi_toy_named(path, n, &toy->d);
    if (!toy->kind)
        return unknown(ctx, path, n);
    if (path[n]) {
        const char *at = path + n + 1;
        size_t m = strcspn(at, ":");
        DFO_TRY(number(ctx, at, m, "toy: number of rows", &rows));
        if (at[m])
            DFO_TRY(number(ctx, at + m + 1, strlen(at + m + 1), "toy: seed", &toy->seed));
    }
    if (rows < 1 || rows >= UINT64_C(1) << 48)
        return dfoi_fail(ctx, DFO_EARG, "toy:%s: the number of rows must be from 1 to 2^48 - 1, got %llu", path,
                         (unsigned long long)rows);
    if (toy->kind->nodes) {
        toy->nodes = toy->kind->nodes(toy->kind, 0, NULL);
        DFO_TRY(dfoi_alloc(ctx, toy->nodes, sizeof *toy->node, &toy->node));
        toy->kind->nodes(toy->kind, toy->nodes, toy->node);
    }
    source->d = toy->d;
    source->info.rows = rows;
    source->info.has_entropy = 1;
    source->info.entropy = dfoi_toy_entropy(toy->kind, toy->d);
    return dfoi_source_shape(source, NULL);
}

const dfoi_reader dfoi_reader_toy = {
    .name = "toy",
    .prefix = "toy:",
    .open = open,
};

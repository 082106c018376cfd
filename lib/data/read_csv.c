/* Sources of text tables: held in memory as doubles, in both precisions, and converted on read.  */
#include <string.h>

#include "data/source_impl.h"
#include "data/table_impl.h"

static dfo_status fetch(const dfo_source *source, dfo_ctx *ctx, const uint64_t *rows, uint64_t first, dfo_batch x,
                        double *weight)
{
    const dfoi_table *t = source->state;
    for (size_t i = 0; i < x.n; i++) {
        size_t at = (size_t)(rows ? rows[i] : first + i);
        const double *from = t->value + at * t->d;
        dfo_real *to = dfo_row(x, i);
        if (rows && i + DFOI_AHEAD < x.n)
            dfoi_prefetch(t->value + (size_t)rows[i + DFOI_AHEAD] * t->d, t->d * sizeof *t->value);
        for (size_t j = 0; j < x.d; j++)
            to[j] = (dfo_real)from[j];
        DFO_TRY(dfoi_source_check(source, ctx, to, at, NULL));
        if (weight)
            weight[i] = t->weight ? t->weight[at] : 1;
    }
    return DFO_OK;
}

static const char *column(const dfo_source *source, size_t j)
{
    const dfoi_table *t = source->state;
    return t->name ? t->name[j] : NULL;
}

static uint64_t hash(const dfo_source *source)
{
    return ((const dfoi_table *)source->state)->hash;
}

static void release(dfo_source *source)
{
    dfoi_table_free(source->ctx, source->state);
    dfoi_free(source->ctx, source->state);
}

/* Images in text are discrete if all their values are whole and fit in 8 or 16 bits.  */
static void find_levels(dfo_source *source)
{
    const dfoi_table *t = source->state;
    double most = 0;
    for (size_t i = 0; i < t->rows * t->d; i++) {
        double v = t->value[i];
        if (!(v >= 0 && v <= 65535 && v == (double)(uint32_t)v))
            return;
        most = v > most ? v : most;
    }
    source->info.discrete = 1;
    source->info.levels = most < 256 ? 256 : 65536;
}

static dfo_status open(dfo_source *source, const char *path, dfo_file *file, const dfo_source_options *options)
{
    static const struct dfoi_source_ops ops = {
        .fetch = fetch,
        .column = column,
        .hash = hash,
        .free = release,
    };
    dfoi_table *t;
    (void)path;
    DFO_TRY(dfoi_alloc(source->ctx, 1, sizeof *t, &t));
    source->ops = &ops;
    source->state = t;
    DFO_TRY(dfoi_csv_read(source->ctx, file, options->columns, options->weights_column, options->allow_nan, options->words, t));
    source->info.rows = t->rows;
    source->info.weighted = t->weight != NULL;
    source->d = t->d;
    DFO_TRY(dfoi_source_shape(source, options->images));
    if (options->images)
        find_levels(source);
    dfoi_file_free(file);
    return DFO_OK;
}

const dfoi_reader dfoi_reader_csv = {
    .name = "csv",
    .suffixes = (const char *const[]){".csv", ".tsv", ".txt", ".dat", NULL},
    .open = open,
};

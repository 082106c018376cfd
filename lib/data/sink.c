/* Sinks: rows to CSV or NPY (version 1.0, C order, little-endian as the machine), and the front of sinks of
 * images (sink_images.c).  */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/real_impl.h"
#include <diffeo/source.h>
#include "base/ctx_impl.h"
#include "base/file_impl.h"
#include "base/parse_impl.h"
#include "data/sink_impl.h"
#include "data/table_impl.h"
#include "data/words_impl.h"

struct dfo_sink {
    dfo_ctx   *ctx;
    dfo_file  *file;
    int        npy;
    int        doubles;           /* one column of doubles, whatever dfo_real is */
    uint64_t   rows, written;
    size_t     d;
    dfoi_image_sink *images;      /* rows are images: all but the counting is theirs; else NULL */
    char      *name;              /* of images */
    dfo_words *words;             /* columns of codes that are words in text, or NULL */
};

static dfo_status npy_head(dfo_sink *sink)
{
    char shape[64];
    snprintf(shape, sizeof shape, sink->doubles ? "(%llu,)" : "(%llu, %zu)", (unsigned long long)sink->rows, sink->d);
    return dfoi_npy_write_head(sink->file, 'f', sink->doubles ? 8 : sizeof(dfo_real), shape);
}

/* A name, in quotes where it needs them.  */
static dfo_status csv_name(dfo_sink *sink, const char *name)
{
    if (!name[strcspn(name, ",;\"\r\n\t")] && name[0] != ' ')
        return dfoi_file_write(sink->file, name, strlen(name));
    DFO_TRY(dfoi_file_write(sink->file, "\"", 1));
    for (const char *c = name; *c; c++)
        DFO_TRY(dfoi_file_write(sink->file, *c == '"' ? "\"\"" : c, *c == '"' ? 2 : 1));
    return dfoi_file_write(sink->file, "\"", 1);
}

static dfo_status csv_head(dfo_sink *sink, const char *const *columns)
{
    for (size_t j = 0; columns && j < sink->d; j++) {
        DFO_TRY(csv_name(sink, columns[j] ? columns[j] : ""));
        DFO_TRY(dfoi_file_write(sink->file, j + 1 < sink->d ? "," : "\n", 1));
    }
    return DFO_OK;
}

static int ends(const char *path, const char *suffix)
{
    size_t n = strlen(path), m = strlen(suffix);
    return n >= m && !strcasecmp(path + n - m, suffix);
}

static dfo_status choose(dfo_ctx *ctx, const char *path, const char *format, int *npy)
{
    *npy = format ? !strcmp(format, "npy") : ends(path, ".npy");
    if (format && !*npy && strcmp(format, "csv"))
        return dfoi_fail(ctx, DFO_EARG, "%s: format '%.40s' cannot be written; known: csv, npy", path, format);
    if (!format && !*npy && !ends(path, ".csv") && strcmp(path, "-") &&
        (strncmp(path, "/dev/", 5) || !strncmp(path, "/dev/shm/", 9)))
        return dfoi_fail(ctx, DFO_EARG, "%s: expected the name of an output to end in .npy or .csv", path);
    return DFO_OK;
}

static dfo_status open_sink(dfo_ctx *ctx, const char *path, const char *format, uint64_t rows, size_t d, int doubles,
                            const char *const *columns, dfo_sink **out)
{
    dfo_sink *sink;
    dfo_status status;
    int npy;
    *out = NULL;
    DFO_TRY(choose(ctx, path, format, &npy));
    if (!d)
        return dfoi_fail(ctx, DFO_ESHAPE, "%s: expected at least one column", path);
    DFO_TRY(dfoi_alloc(ctx, 1, sizeof *sink, &sink));
    *sink = (dfo_sink){.ctx = ctx, .npy = npy, .doubles = doubles, .rows = rows, .d = d};
    DFO_GO(dfoi_file_create(ctx, path, &sink->file));
    DFO_GO(npy ? npy_head(sink) : csv_head(sink, columns));
    *out = sink;
    return DFO_OK;
fail:
    dfo_sink_free(sink);
    return status;
}

dfo_status dfo_sink_open(dfo_ctx *ctx, const char *path, const char *format, uint64_t rows, size_t d,
                         const char *const *columns, dfo_sink **out)
{
    return open_sink(ctx, path, format, rows, d, 0, columns, out);
}

dfo_status dfo_sink_open_doubles(dfo_ctx *ctx, const char *path, const char *format, uint64_t rows, const char *column,
                                 dfo_sink **out)
{
    return open_sink(ctx, path, format, rows, 1, 1, column ? &column : NULL, out);
}

dfo_status dfo_sink_open_images(dfo_ctx *ctx, const char *path, const char *format, uint64_t rows, dfo_shape shape,
                                uint32_t levels, size_t columns, dfo_sink **out)
{
    dfo_sink *sink;
    dfo_status status;
    *out = NULL;
    DFO_TRY(dfoi_alloc(ctx, 1, sizeof *sink, &sink));
    *sink = (dfo_sink){.ctx = ctx, .rows = rows, .d = dfo_shape_size(shape)};
    DFO_GO(dfoi_strdup(ctx, path, &sink->name));
    DFO_GO(dfoi_images_open(ctx, path, format, rows, shape, levels, columns, &sink->images));
    *out = sink;
    return DFO_OK;
fail:
    dfo_sink_free(sink);
    return status;
}

static const char *name_of(const dfo_sink *sink)
{
    return sink->images ? sink->name : dfoi_file_name(sink->file);
}

/* Counts rows that come; more than promised would make the header a lie.  */
static dfo_status count(dfo_sink *sink, size_t n)
{
    DFO_TRY(dfoi_stopped(sink->ctx));
    if (n > sink->rows - sink->written)
        return dfoi_fail(sink->ctx, DFO_EARG, "%s: expected %llu rows in all, got more", name_of(sink),
                         (unsigned long long)sink->rows);
    sink->written += n;
    return DFO_OK;
}

void dfo_sink_words(dfo_sink *sink, dfo_words *words)
{
    dfo_words_free(sink->words);
    sink->words = words;
}

/* The word of column j for a code, or NULL.  */
static const char *word_of(const dfo_sink *sink, size_t j, double code)
{
    size_t at = dfoi_words_find(sink->words, NULL, j);
    return at != DFOI_NO_WORDS && code >= 0 && code < 65536 ? dfoi_words_at(sink->words, at, (size_t)code) : NULL;
}

dfo_status dfo_sink_write(dfo_sink *sink, dfo_batch x)
{
    char text[DFOI_NUMBER_TEXT + 1];
    if (sink->doubles || x.d != sink->d)
        return dfoi_fail(sink->ctx, DFO_ESHAPE, "%s: expected rows of %zu %s, got %zu", name_of(sink),
                         sink->d, sink->doubles ? "doubles" : "columns", x.d);
    DFO_TRY(count(sink, x.n));
    if (sink->images)
        return dfoi_images_write(sink->images, x);
    for (size_t i = 0; i < x.n; i++) {
        const dfo_real *row = dfo_row(x, i);
        if (sink->npy) {
            DFO_TRY(dfoi_file_write(sink->file, row, x.d * sizeof *row));
            continue;
        }
        for (size_t j = 0; j < x.d; j++) {
            const char *word = sink->words ? word_of(sink, j, (double)row[j]) : NULL;
            if (word) {
                DFO_TRY(csv_name(sink, word));
                DFO_TRY(dfoi_file_write(sink->file, j + 1 < x.d ? "," : "\n", 1));
                continue;
            }
            size_t n = sizeof(dfo_real) == sizeof(float) ? dfoi_format_float((float)row[j], text)
                                                         : dfoi_format_double((double)row[j], text);
            text[n++] = j + 1 < x.d ? ',' : '\n';
            DFO_TRY(dfoi_file_write(sink->file, text, n));
        }
    }
    return DFO_OK;
}

dfo_status dfo_sink_write_doubles(dfo_sink *sink, const double *x, size_t n)
{
    char text[DFOI_NUMBER_TEXT + 1];
    if (!sink->doubles)
        return dfoi_fail(sink->ctx, DFO_ESHAPE, "%s: expected rows of %zu columns, got doubles",
                         name_of(sink), sink->d);
    DFO_TRY(count(sink, n));
    if (sink->npy)
        return dfoi_file_write(sink->file, x, n * sizeof *x);
    for (size_t i = 0; i < n; i++) {
        size_t m = dfoi_format_double(x[i], text);
        text[m++] = '\n';
        DFO_TRY(dfoi_file_write(sink->file, text, m));
    }
    return DFO_OK;
}

dfo_status dfo_sink_finish(dfo_sink *sink)
{
    if (sink->written != sink->rows)
        return dfoi_fail(sink->ctx, DFO_EARG, "%s: expected %llu rows, got %llu", name_of(sink),
                         (unsigned long long)sink->rows, (unsigned long long)sink->written);
    return sink->images ? dfoi_images_finish(sink->images) : dfoi_file_commit(sink->file);
}

void dfo_sink_free(dfo_sink *sink)
{
    if (!sink)
        return;
    dfoi_images_free(sink->images);
    dfoi_file_free(sink->file);
    dfoi_free(sink->ctx, sink->name);
    dfo_words_free(sink->words);
    dfoi_free(sink->ctx, sink);
}

/* Sources: finding the reader of a data set, and the checks in front of every read.  */
#include <ctype.h>
#include <math.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/folder_impl.h"
#include "base/parse_impl.h"
#include "data/source_impl.h"
#include "data/table_impl.h"

#define HEAD ((size_t)512)              /* bytes of a file that are looked at */
#define CHUNK 512                       /* rows whose numbers are translated at a time */
#define WHOLE_HASH ((size_t)64 << 20)   /* bytes; more are hashed in part */
#define PART ((size_t)1 << 20)

dfo_status dfoi_source_new(dfo_ctx *ctx, const char *name, dfo_source **out)
{
    dfo_source *source;
    *out = NULL;
    DFO_TRY(dfoi_alloc(ctx, 1, sizeof *source, &source));
    source->ctx = ctx;
    source->root = source;
    dfo_status status = dfoi_strdup(ctx, name, &source->name);
    if (status != DFO_OK) {
        dfo_source_free(source);
        return status;
    }
    *out = source;
    return DFO_OK;
}

void dfo_source_free(dfo_source *source)
{
    if (!source)
        return;
    if (source->state)
        source->ops->free(source);
    dfoi_free(source->ctx, source->own_index);
    dfoi_free(source->ctx, source->name);
    dfoi_free(source->ctx, source);
}

dfo_status dfoi_source_shape(dfo_source *source, const char *images)
{
    size_t h, w, c;
    source->info.shape = dfo_shape_vector(source->d);
    if (!images)
        return DFO_OK;
    DFO_TRY(dfoi_parse_images(source->ctx, images, &h, &w, &c));
    if (h * w * c != source->d)
        return dfoi_fail(source->ctx, DFO_EARG, "%s: images of %zux%zux%zu are rows of %zu values, found %zu",
                         source->name, h, w, c, h * w * c, source->d);
    source->info.shape = (dfo_shape){c, h, w};
    return DFO_OK;
}

dfo_status dfoi_source_check(const dfo_source *source, dfo_ctx *ctx, const dfo_real *row, uint64_t at,
                             const size_t *column)
{
    int bad = 0;
    for (size_t j = 0; j < source->d; j++)
        bad |= !(fabs((double)row[j]) <= (double)DFO_REAL_MAX);
    if (!bad || source->allow_nan)
        return DFO_OK;
    size_t j = 0;
    while (isfinite(row[j]))
        j++;
    const char *name = dfo_source_column(source, j);
    return dfoi_fail(ctx, DFO_EFORMAT, "%s: row %llu, column %zu%s%.60s%s: expected a finite number, found %g%s",
                     source->name, (unsigned long long)at, (column ? column[j] : j) + 1, name ? " (" : "",
                     name ? name : "", name ? ")" : "", (double)row[j],
                     isinf(row[j]) && sizeof(dfo_real) == sizeof(float) ? " (float; double reaches further)" : "");
}

uint64_t dfoi_source_hash_bytes(const void *bytes, size_t n)
{
    if (n <= WHOLE_HASH)
        return dfoi_hash(DFOI_HASH_START, bytes, n);
    uint64_t size = n, h = dfoi_hash(DFOI_HASH_START, &size, sizeof size);
    h = dfoi_hash(h, bytes, PART);
    return dfoi_hash(h, (const char *)bytes + n - PART, PART);
}

int dfoi_source_is_large(size_t bytes)
{
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    return pages > 0 && page > 0 && bytes > (size_t)pages / 2 * (size_t)page;
}

/* ---- opening ---- */

/* "A:B" with either number left out: 1 if the text is that.  */
static int rows_of(const char *text, uint64_t *first, uint64_t *end)
{
    size_t a = strspn(text, "0123456789");
    size_t b = text[a] == ':' ? strspn(text + a + 1, "0123456789") : 0;
    if (text[a] != ':' || text[a + 1 + b] || a > 19 || b > 19)
        return 0;
    *first = 0;
    *end = b ? 0 : UINT64_MAX;
    for (size_t i = 0; i < a; i++)
        *first = *first * 10 + (uint64_t)(text[i] - '0');
    for (size_t i = 0; i < b; i++)
        *end = *end * 10 + (uint64_t)(text[a + 1 + i] - '0');
    return 1;
}

/* Does a file's name, without .gz, end so?  */
static int ends(const char *path, const char *suffix)
{
    size_t n = strlen(path), m = strlen(suffix);
    if (n >= 3 && !strcasecmp(path + n - 3, ".gz"))
        n -= 3;
    return n >= m && !strncasecmp(path + n - m, suffix, m);
}

static const dfoi_reader *by_suffix(const char *path)
{
    for (const dfoi_reader *const *r = dfoi_readers; *r; r++)
        for (const char *const *s = (*r)->suffixes; s && *s; s++)
            if (ends(path, *s))
                return *r;
    return NULL;
}

static const dfoi_reader *by_content(const unsigned char *head, size_t n, int least)
{
    for (const dfoi_reader *const *r = dfoi_readers; *r; r++)
        if ((*r)->sniff && (*r)->sniff(head, n) >= least)
            return *r;
    return NULL;
}

static dfo_status by_format(dfo_ctx *ctx, const char *format, const dfoi_reader **out)
{
    char list[128];
    size_t used = 0;
    for (const dfoi_reader *const *r = dfoi_readers; *r; r++) {
        if ((*r)->prefix)
            continue;
        if (!strcmp((*r)->name, format)) {
            *out = *r;
            return DFO_OK;
        }
        size_t n = strlen((*r)->name);
        if (used + n + 3 < sizeof list) {
            memcpy(list + used, used ? ", " : "", used ? 2 : 0);
            used += used ? 2 : 0;
            memcpy(list + used, (*r)->name, n + 1);
            used += n;
        }
    }
    return dfoi_fail(ctx, DFO_EARG, "format '%.40s' is unknown; known: %s", format, list);
}

/* Format by the option, else by content, else by name; other text is taken for a table.  */
static dfo_status choose(dfo_ctx *ctx, const char *path, dfo_file *file, const char *format, const dfoi_reader **out)
{
    const void *head;
    size_t n;
    DFO_TRY(dfoi_file_peek(file, HEAD, &head, &n));
    if (!n)
        return dfoi_fail(ctx, DFO_EFORMAT, "%s: expected rows of numbers, the file is empty", dfoi_file_name(file));
    if (format)
        return by_format(ctx, format, out);
    *out = by_content(head, n, 2);
    if (!*out)
        *out = by_suffix(path);
    if (!*out)
        *out = by_content(head, n, 1);
    if (*out)
        return DFO_OK;
    for (size_t i = 0; i < n; i++)
        if (((const unsigned char *)head)[i] < 32 && !isspace(((const unsigned char *)head)[i]))
            return dfoi_fail(ctx, DFO_EFORMAT, "%s: expected a table of text, NPY, IDX or PNG, found other bytes",
                             dfoi_file_name(file));
    return by_format(ctx, "csv", out);
}

static dfo_status open_path(dfo_ctx *ctx, const char *path, const dfo_source_options *options, dfo_source **out)
{
    const dfoi_reader *reader = NULL;
    dfo_file *file = NULL;
    dfo_source *source = NULL;
    dfo_status status;
    int folder = dfoi_is_folder(path);
    for (const dfoi_reader *const *r = dfoi_readers; *r && !reader; r++)
        if (folder ? (*r)->folders : (*r)->prefix && !strncmp(path, (*r)->prefix, strlen((*r)->prefix)))
            reader = *r;
    const char *rest = path;
    if (reader && !folder) {
        rest += strlen(reader->prefix);
    } else if (!folder) {
        DFO_TRY(dfoi_file_open(ctx, path, &file));
        DFO_GO(choose(ctx, path, file, options->format, &reader));
    }
    DFO_GO(dfoi_source_new(ctx, file ? dfoi_file_name(file) : path, &source));
    source->allow_nan = options->allow_nan;
    DFO_GO(reader->open(source, rest, file, options));
    *out = source;
    return DFO_OK;
fail:
    dfo_source_free(source);
    dfoi_file_free(file);
    return status;
}

dfo_status dfo_source_open(dfo_ctx *ctx, const char *spec, const dfo_source_options *options, dfo_source **out)
{
    static const dfo_source_options none = {0};
    uint64_t first = 0, end = UINT64_MAX;
    char *path;
    dfo_source *source = NULL;
    *out = NULL;
    DFO_TRY(dfoi_strdup(ctx, spec, &path));
    char *mark = strrchr(path, '#');
    if (mark && rows_of(mark + 1, &first, &end))
        *mark = 0;
    else
        mark = NULL;
    dfo_status status = open_path(ctx, path, options ? options : &none, &source);
    dfoi_free(ctx, path);
    if (status != DFO_OK)
        return status;
    if (mark && end == UINT64_MAX)
        end = source->info.rows;
    if (mark && (first >= end || end > source->info.rows)) {
        unsigned long long a = first, b = end, last = source->info.rows - 1;
        status = first < end ? dfoi_fail(ctx, DFO_EARG, "%s: rows %llu to %llu wanted (#%llu:%llu), it has rows 0 to %llu",
                                         source->name, a, b - 1, a, b, last)
                             : dfoi_fail(ctx, DFO_EARG, "%s: no rows in #%llu:%llu, it has rows 0 to %llu", source->name,
                                         a, b, last);
        dfo_source_free(source);
        return status;
    }
    if (mark) {
        source->offset = first;
        source->info.rows = end - first;
    }
    *out = source;
    return DFO_OK;
}

/* ---- asking ---- */

void dfo_source_describe(const dfo_source *source, dfo_source_info *info)
{
    *info = source->info;
}

const char *dfo_source_name(const dfo_source *source)
{
    return source->name;
}

const char *dfo_source_column(const dfo_source *source, size_t j)
{
    const dfo_source *root = source->root;
    return j < source->d && root->ops->column ? root->ops->column(root, j) : NULL;
}

dfo_status dfo_source_true_log_prob(const dfo_source *source, dfo_ctx *ctx, dfo_batch x, double *out)
{
    const dfo_source *root = source->root;
    if (!root->ops->log_prob)
        return dfoi_fail(ctx, DFO_EUNSUP, "%s: its true density is not known", source->name);
    if (x.d != source->d)
        return dfoi_fail(ctx, DFO_ESHAPE, "%s: expected %zu columns, got %zu", source->name, source->d, x.d);
    return root->ops->log_prob(root, ctx, x, out);
}

/* ---- reading ---- */

static dfo_status check_read(const dfo_source *source, dfo_ctx *ctx, dfo_batch x)
{
    if (x.d != source->d)
        return dfoi_fail(ctx, DFO_ESHAPE, "%s: expected room for %zu columns, got %zu", source->name, source->d, x.d);
    return DFO_OK;
}

static dfo_status no_row(const dfo_source *source, dfo_ctx *ctx, uint64_t row)
{
    return dfoi_fail(ctx, DFO_EARG, "%s: row %llu wanted, it has %llu rows", source->name, (unsigned long long)row,
                     (unsigned long long)source->info.rows);
}

/* Translates row numbers of the view (rows[i], or first + i) in chunks.  */
static dfo_status translate(const dfo_source *source, dfo_ctx *ctx, const uint64_t *rows, uint64_t first, dfo_batch x,
                            double *weight)
{
    uint64_t at[CHUNK];
    for (size_t i = 0; i < x.n; i += CHUNK) {
        size_t n = x.n - i < CHUNK ? x.n - i : CHUNK;
        for (size_t k = 0; k < n; k++) {
            uint64_t row = rows ? rows[i + k] : first + i + k;
            at[k] = source->index ? source->index[row] : source->offset + row;
        }
        DFO_TRY(source->root->ops->fetch(source->root, ctx, at, 0, dfo_batch_rows(x, i, n), weight ? weight + i : NULL));
    }
    return DFO_OK;
}

dfo_status dfo_source_read(const dfo_source *source, dfo_ctx *ctx, uint64_t first, dfo_batch x, double *weight)
{
    DFO_TRY(check_read(source, ctx, x));
    if (x.n > source->info.rows || first > source->info.rows - x.n)
        return no_row(source, ctx, first + x.n - 1);
    if (source->index)
        return translate(source, ctx, NULL, first, x, weight);
    return source->root->ops->fetch(source->root, ctx, NULL, source->offset + first, x, weight);
}

dfo_status dfo_source_gather(const dfo_source *source, dfo_ctx *ctx, const uint64_t *rows, dfo_batch x,
                             double *weight)
{
    DFO_TRY(check_read(source, ctx, x));
    for (size_t i = 0; i < x.n; i++)
        if (rows[i] >= source->info.rows)
            return no_row(source, ctx, rows[i]);
    if (source->index || source->offset)
        return translate(source, ctx, rows, 0, x, weight);
    return source->root->ops->fetch(source->root, ctx, rows, 0, x, weight);
}

/* Which columns of a file are wanted: "1,3-7,name", or all but those: "!1,3-7,name".  */
#include <string.h>

#include "base/ctx_impl.h"
#include "data/table_impl.h"

/* All of text[0..n-1] as a number of a column from 1; 0 if it is none.  */
static size_t number(const char *text, size_t n)
{
    size_t value = 0;
    for (size_t i = 0; i < n; i++) {
        if (text[i] < '0' || text[i] > '9' || value > SIZE_MAX / 20)
            return 0;
        value = value * 10 + (size_t)(text[i] - '0');
    }
    return value;
}

/* A number or a range "3-7"; 0 if it is neither.  */
static int range(const char *text, size_t n, size_t *first, size_t *last)
{
    const char *dash = memchr(text, '-', n);
    *first = number(text, dash ? (size_t)(dash - text) : n);
    *last = dash ? number(dash + 1, n - (size_t)(dash + 1 - text)) : *first;
    return *first && *last;
}

/* The column (from 0) of that name.  */
static dfo_status named(dfo_ctx *ctx, const char *file, const char *text, size_t n, size_t count, char *const *names,
                        size_t *column)
{
    for (size_t j = 0; names && j < count; j++)
        if (strlen(names[j]) == n && !memcmp(names[j], text, n)) {
            *column = j;
            return DFO_OK;
        }
    return dfoi_fail(ctx, DFO_EARG, "%s: no column named '%.*s'%s", file, (int)(n < 100 ? n : 100), text,
                     names ? "" : ": the file has no header");
}

static dfo_status check(dfo_ctx *ctx, const char *file, size_t column, size_t count)
{
    if (column < 1 || column > count)
        return dfoi_fail(ctx, DFO_EARG, "%s: column %zu wanted, the file has columns 1 to %zu", file, column, count);
    return DFO_OK;
}

static dfo_status add(dfo_ctx *ctx, const char *file, dfoi_pick *pick, char *taken, size_t column)
{
    if (taken[column])
        return dfoi_fail(ctx, DFO_EARG, "%s: column %zu is listed twice", file, column + 1);
    taken[column] = 1;
    pick->column[pick->n++] = column;
    return DFO_OK;
}

static dfo_status list(dfo_ctx *ctx, const char *file, const char *columns, size_t count, char *const *names,
                       dfoi_pick *pick, char *taken)
{
    for (const char *at = columns;; at++) {
        size_t n = strcspn(at, ","), first, last;
        if (range(at, n, &first, &last)) {
            DFO_TRY(check(ctx, file, first, count));
            DFO_TRY(check(ctx, file, last, count));
            if (last < first)
                return dfoi_fail(ctx, DFO_EARG, "%s: columns %zu-%zu: expected the smaller number first", file, first,
                                 last);
            for (size_t j = first; j <= last; j++)
                DFO_TRY(add(ctx, file, pick, taken, j - 1));
        } else {
            DFO_TRY(named(ctx, file, at, n, count, names, &first));
            DFO_TRY(add(ctx, file, pick, taken, first));
        }
        at += n;
        if (!*at)
            return DFO_OK;
    }
}

dfo_status dfoi_pick_columns(dfo_ctx *ctx, const char *file, const char *columns, const char *weights, size_t count,
                             char *const *names, dfoi_pick *pick)
{
    char *taken = NULL;
    dfo_status status;
    *pick = (dfoi_pick){.weights = DFOI_NO_COLUMN};
    DFO_GO(dfoi_alloc(ctx, count, sizeof *pick->column, &pick->column));
    DFO_GO(dfoi_alloc(ctx, count, 1, &taken));
    if (weights) {
        size_t n = strlen(weights), j = number(weights, n);
        if (j) {
            DFO_GO(check(ctx, file, j, count));
            j--;
        } else {
            DFO_GO(named(ctx, file, weights, n, count, names, &j));
        }
        pick->weights = j;
    }
    int others = !columns || columns[0] == '!';
    if (columns)
        DFO_GO(list(ctx, file, columns + others, count, names, pick, taken));
    if (others) {
        pick->n = 0;
        for (size_t j = 0; j < count; j++)
            if (j != pick->weights && !taken[j])
                pick->column[pick->n++] = j;
    }
    if (pick->weights != DFOI_NO_COLUMN && taken[pick->weights] && !others) {
        status = dfoi_fail(ctx, DFO_EARG, "%s: column %zu cannot be data and weights at once", file,
                           pick->weights + 1);
        goto fail;
    }
    if (!pick->n) {
        status = dfoi_fail(ctx, DFO_EARG, "%s: no column is left for the data", file);
        goto fail;
    }
    dfoi_free(ctx, taken);
    return DFO_OK;
fail:
    dfoi_free(ctx, taken);
    dfoi_pick_free(ctx, pick);
    return status;
}

void dfoi_pick_free(dfo_ctx *ctx, dfoi_pick *pick)
{
    dfoi_free(ctx, pick->column);
    *pick = (dfoi_pick){.weights = DFOI_NO_COLUMN};
}

dfo_status dfoi_parse_images(dfo_ctx *ctx, const char *text, size_t *h, size_t *w, size_t *c)
{
    const char *first = strchr(text, 'x'), *second = first ? strchr(first + 1, 'x') : NULL;
    size_t n = strlen(text), area, all;
    *h = first ? number(text, (size_t)(first - text)) : 0;
    *w = first ? number(first + 1, second ? (size_t)(second - first - 1) : n - (size_t)(first + 1 - text)) : 0;
    *c = second ? number(second + 1, n - (size_t)(second + 1 - text)) : 1;
    if (!*h || !*w || !*c || __builtin_mul_overflow(*h, *w, &area) || __builtin_mul_overflow(area, *c, &all))
        return dfoi_fail(ctx, DFO_EARG, "images: expected HxW or HxWxC such as 28x28 or 32x32x3, got '%.100s'", text);
    return DFO_OK;
}

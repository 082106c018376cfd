/* Tables of text, by libcsv (RFC 4180 with its strict quotes), gzip through the file layer.
 *   - The separator is found in the first line: semicolon, else tab, else comma, else blanks (any run of
 *     spaces and tabs); a line with none of them is one column.  Quoted text does not count.
 *   - The first row is a header if none of its fields is a number; then its fields are the names.
 *   - Where NaN is allowed an empty field is one.
 *   - Columns may hold words (options->words): what is no number is one, a column has either.
 *   - Blank lines are skipped; CR, LF and CRLF end a line, the last may lack it; a UTF-8 mark at the
 *     start is skipped; spaces around fields and quotes around numbers are fine.
 *   - Rows are counted from 0, as in SPEC#A:B, lines and columns from 1.  */
#include <csv.h>
#include <ctype.h>
#include <math.h>
#include <string.h>

#include "base/ctx_impl.h"
#include "base/parse_impl.h"
#include "data/table_impl.h"
#include "data/words_impl.h"

#define CHUNK ((size_t)1 << 16)
#define LONGEST_FIELD ((size_t)1 << 20)      /* bytes; longer ones are a quote that was not closed */
#define SKIPPED SIZE_MAX                     /* slots of columns that are not wanted, and of weights */
#define WEIGHT (SIZE_MAX - 1)

struct text {
    char  *bytes;
    size_t n, room;
};

struct reader {
    dfo_ctx    *ctx;
    const char *name, *columns, *weights;
    int         allow_nan;
    dfo_words  *words;
    size_t     *word_column;     /* (d) place among the words' columns, or DFOI_NO_WORDS */
    dfo_status  status;          /* the first failure; later fields are ignored */
    dfoi_table *table;
    size_t      room;            /* rows */
    size_t      line, row_line;  /* present line; where the present row began */
    int         last;            /* the character that ended the last line */
    int         started;         /* the first row is complete */
    size_t      fields;          /* in the present row */
    struct text first;           /* the fields of the first row, each 0-terminated */
    char      **field;           /* (columns) pointers into it */
    size_t      count;           /* columns of the file */
    size_t     *slot;            /* (count) place in the row, or SKIPPED or WEIGHT */
    dfoi_pick   pick;
};

static void fail_field(struct reader *r, size_t column, const char *expected, const char *text, size_t n)
{
    int shown = n < 40 ? (int)n : 40;
    const char *name = r->table->name && r->slot[column] < WEIGHT ? r->table->name[r->slot[column]] : NULL;
    r->status = dfoi_fail(r->ctx, DFO_EFORMAT, "%s: row %zu (line %zu), column %zu%s%.60s%s: expected %s, got '%.*s%s'",
                          r->name, r->table->rows, r->row_line, column + 1, name ? " (" : "", name ? name : "",
                          name ? ")" : "", expected, shown, text ? text : "", n > 40 ? "..." : "");
}

/* A word of a column that may hold some: its code, or an error.  1: it was a word's place.  */
static int store_word(struct reader *r, size_t column, size_t slot, const char *text, size_t n, int number, double *code)
{
    size_t at = slot < WEIGHT ? r->word_column[slot] : DFOI_NO_WORDS;
    const char *expected;
    if (at == DFOI_NO_WORDS || (number && dfoi_words_number(r->words, at)))
        return 0;
    dfo_status status = dfoi_words_code(r->words, at, text, n, code, &expected);
    if (status == DFO_EFORMAT)
        fail_field(r, column, expected, text, n);
    else
        r->status = status;
    return 1;
}

/* One field of a data row: into its slot.  */
static void store(struct reader *r, size_t column, const char *text, size_t n)
{
    dfoi_table *t = r->table;
    size_t slot = r->slot[column];
    double x = 0;
    if (slot == SKIPPED)
        return;
    int blank = !n && r->allow_nan && slot != WEIGHT, number = blank || dfoi_number(text, n, &x);
    x = blank ? NAN : x;
    if (!(number && isnan(x)) && store_word(r, column, slot, text, n, number, &x)) {
        if (r->status == DFO_OK)
            t->value[t->rows * t->d + slot] = x;
        return;
    }
    if (!number)
        fail_field(r, column, "a number", text, n);
    else if (slot == WEIGHT && !(x >= 0 && x < HUGE_VAL))
        fail_field(r, column, "a weight of 0 or more", text, n);
    else if (!r->allow_nan && !isfinite(x))
        fail_field(r, column, "a finite number", text, n);
    else if (slot == WEIGHT)
        t->weight[t->rows] = x;
    else
        t->value[t->rows * t->d + slot] = x;
}

static dfo_status grow(struct reader *r)
{
    dfoi_table *t = r->table;
    size_t room = r->room ? 2 * r->room : 256, have, want;
    DFO_TRY(dfoi_mul(r->ctx, t->rows, t->d, "rows of text", &have));
    DFO_TRY(dfoi_mul(r->ctx, room, t->d, "rows of text", &want));
    DFO_TRY(dfoi_grow(r->ctx, have, want, sizeof *t->value, &t->value));
    if (r->pick.weights != DFOI_NO_COLUMN)
        DFO_TRY(dfoi_grow(r->ctx, t->rows, room, sizeof *t->weight, &t->weight));
    r->room = room;
    return DFO_OK;
}

/* A field of the first row is kept as text until the row is complete.  */
static dfo_status keep(struct reader *r, const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)text[i] < 32 && !isspace((unsigned char)text[i]))
            return dfoi_fail(r->ctx, DFO_EFORMAT, "%s: line %zu: expected text, found a byte of value %d", r->name,
                             r->line, text[i]);
    if (r->first.n + n + 1 > r->first.room) {
        size_t room = 2 * (r->first.n + n + 1);
        DFO_TRY(dfoi_grow(r->ctx, r->first.n, room, 1, &r->first.bytes));
        r->first.room = room;
    }
    if (n)
        memcpy(r->first.bytes + r->first.n, text, n);
    r->first.bytes[r->first.n + n] = 0;
    r->first.n += n + 1;
    return DFO_OK;
}

static dfo_status names_of_slots(struct reader *r)
{
    dfoi_table *t = r->table;
    DFO_TRY(dfoi_alloc(r->ctx, t->d, sizeof *t->name, &t->name));
    for (size_t j = 0; j < t->d; j++)
        DFO_TRY(dfoi_strdup(r->ctx, r->field[r->pick.column[j]], &t->name[j]));
    return DFO_OK;
}

/* The first row is complete: header or data, and which columns are wanted.  */
static dfo_status begin(struct reader *r)
{
    int header = 1;
    double x;
    r->count = r->fields;
    DFO_TRY(dfoi_alloc(r->ctx, r->count, sizeof *r->field, &r->field));
    DFO_TRY(dfoi_alloc(r->ctx, r->count, sizeof *r->slot, &r->slot));
    char *at = r->first.bytes;
    for (size_t j = 0; j < r->count; j++, at += strlen(at) + 1) {
        r->field[j] = at;
        if (dfoi_number(at, strlen(at), &x))
            header = 0;
    }
    DFO_TRY(dfoi_pick_columns(r->ctx, r->name, r->columns, r->weights, r->count, header ? r->field : NULL, &r->pick));
    for (size_t j = 0; j < r->count; j++)
        r->slot[j] = j == r->pick.weights ? WEIGHT : SKIPPED;
    for (size_t j = 0; j < r->pick.n; j++)
        r->slot[r->pick.column[j]] = j;
    r->table->d = r->pick.n;
    r->started = 1;
    DFO_TRY(grow(r));
    if (header)
        DFO_TRY(names_of_slots(r));
    DFO_TRY(dfoi_alloc(r->ctx, r->table->d, sizeof *r->word_column, &r->word_column));
    for (size_t j = 0; j < r->table->d; j++)
        r->word_column[j] = dfoi_words_find(r->words, header ? r->table->name[j] : NULL, j);
    if (header)
        return DFO_OK;
    for (size_t j = 0; j < r->count && r->status == DFO_OK; j++)
        store(r, j, r->field[j], strlen(r->field[j]));
    r->table->rows += r->status == DFO_OK;
    return r->status;
}

static void on_field(void *text, size_t n, void *data)
{
    struct reader *r = data;
    if (r->status != DFO_OK)
        return;
    if (!r->fields)
        r->row_line = r->line;
    if (!r->started) {
        r->status = keep(r, text, n);
    } else if (r->fields < r->count) {
        store(r, r->fields, text, n);
    }
    r->fields++;
    for (const char *at = text; n && (at = memchr(at, '\n', n - (size_t)(at - (char *)text))); at++)
        r->line++;                                         /* a line break inside quotes */
}

static void on_row(int c, void *data)
{
    struct reader *r = data;
    dfoi_table *t = r->table;
    if (r->status != DFO_OK)
        return;
    if (r->fields && !r->started) {
        r->status = begin(r);
    } else if (r->fields && r->fields != r->count) {
        r->status = dfoi_fail(r->ctx, DFO_EFORMAT, "%s: row %zu (line %zu): expected %zu columns, found %zu", r->name,
                              t->rows, r->row_line, r->count, r->fields);
    } else if (r->fields) {
        t->rows++;
    }
    if (r->status == DFO_OK && r->started && t->rows == r->room)
        r->status = grow(r);
    r->fields = 0;
    if (!(c == '\n' && r->last == '\r'))
        r->line++;
    r->last = c;
}

/* The separator of a line of n bytes; ' ' stands for runs of blanks.  */
static char separator(const char *line, size_t n)
{
    int quoted = 0, seen[3] = {0};
    size_t start = 0;
    while (start < n && strchr("\r\n \t", line[start]) && line[start])     /* blank lines, indentation */
        start++;
    for (size_t i = start; i < n && (quoted || (line[i] != '\n' && line[i] != '\r')); i++) {
        quoted ^= line[i] == '"';
        if (quoted)
            continue;
        seen[0] |= line[i] == ';';
        seen[1] |= line[i] == '\t';
        seen[2] |= line[i] == ',';
    }
    return seen[0] ? ';' : seen[1] ? '\t' : seen[2] ? ',' : ' ';
}

/* Runs of blanks outside quotes become one, those at the ends of a line none: then libcsv can split at
 * single ones.  State goes from chunk to chunk.  */
struct squeeze {
    int  quoted, waiting, inside;    /* in quotes; blanks seen; something stands in the line already */
};

static size_t squeeze(struct squeeze *s, const char *from, size_t n, char *to)
{
    size_t m = 0;
    for (size_t i = 0; i < n; i++) {
        char c = from[i];
        if (!s->quoted && (c == ' ' || c == '\t')) {
            s->waiting = s->inside;
            continue;
        }
        int ends = !s->quoted && (c == '\n' || c == '\r');
        if (s->waiting && !ends)
            to[m++] = ' ';
        s->waiting = 0;
        s->inside = !ends;
        s->quoted ^= c == '"';
        to[m++] = c;
    }
    return m;
}

static dfo_status parse_failed(struct reader *r, struct csv_parser *p)
{
    int error = csv_error(p);
    if (r->status != DFO_OK)
        return r->status;
    if (error == CSV_ENOMEM || error == CSV_ETOOBIG)
        return dfoi_fail(r->ctx, DFO_EMEM, "%s: line %zu: out of memory", r->name, r->line);
    return dfoi_fail(r->ctx, DFO_EFORMAT, "%s: line %zu: quotation marks out of place, expected \"...\" around a "
                     "whole field", r->name, r->line);
}

static dfo_status feed(struct reader *r, struct csv_parser *p, dfo_file *file, char *chunk)
{
    const void *head;
    size_t got;
    struct squeeze state = {0};
    DFO_TRY(dfoi_file_peek(file, 3, &head, &got));
    if (got == 3 && !memcmp(head, "\xef\xbb\xbf", 3)) {
        DFO_TRY(dfoi_file_read(file, chunk, 3, &got));
        r->table->hash = dfoi_hash(r->table->hash, chunk, 3);
    }
    DFO_TRY(dfoi_file_peek(file, 4096, &head, &got));
    char delimiter = separator(head, got);
    csv_set_delim(p, (unsigned char)delimiter);
    do {
        DFO_TRY(dfoi_file_read(file, chunk, CHUNK, &got));
        r->table->hash = dfoi_hash(r->table->hash, chunk, got);
        const char *text = chunk;
        size_t n = got;
        if (delimiter == ' ') {
            n = squeeze(&state, chunk, got, chunk + CHUNK);
            text = chunk + CHUNK;
        }
        if (csv_parse(p, text, n, on_field, on_row, r) != n)
            return parse_failed(r, p);
        DFO_TRY(r->status);
        if (p->entry_pos > LONGEST_FIELD)
            return dfoi_fail(r->ctx, DFO_EFORMAT, "%s: line %zu: a field of more than %zu bytes: is a quotation mark "
                             "not closed?", r->name, r->line, LONGEST_FIELD);
    } while (got == CHUNK);
    if (csv_fini(p, on_field, on_row, r))
        return parse_failed(r, p);
    return r->status;
}

dfo_status dfoi_csv_read(dfo_ctx *ctx, dfo_file *file, const char *columns, const char *weights, int allow_nan,
                         dfo_words *words, dfoi_table *out)
{
    struct reader r = {.ctx = ctx, .name = dfoi_file_name(file), .columns = columns, .weights = weights,
                       .allow_nan = allow_nan, .words = words, .table = out, .line = 1, .pick.weights = DFOI_NO_COLUMN};
    struct csv_parser p;
    char *chunk = NULL;
    dfo_status status;
    *out = (dfoi_table){.hash = DFOI_HASH_START};
    csv_init(&p, CSV_STRICT | CSV_STRICT_FINI | CSV_REPALL_NL);
    DFO_GO(dfoi_alloc(ctx, 2 * CHUNK + DFOI_ALIGN, 1, &chunk));       /* squeezing may add one blank */
    DFO_GO(feed(&r, &p, file, chunk));
    if (!out->rows)
        status = dfoi_fail(ctx, DFO_EFORMAT, r.started ? "%s: expected rows of numbers, found only a header"
                                                       : "%s: expected rows of numbers, found none", r.name);
fail:
    csv_free(&p);
    dfoi_free(ctx, chunk);
    dfoi_free(ctx, r.first.bytes);
    dfoi_free(ctx, r.field);
    dfoi_free(ctx, r.slot);
    dfoi_free(ctx, r.word_column);
    dfoi_pick_free(ctx, &r.pick);
    if (status != DFO_OK)
        dfoi_table_free(ctx, out);
    return status;
}

void dfoi_table_free(dfo_ctx *ctx, dfoi_table *table)
{
    for (size_t j = 0; table->name && j < table->d; j++)
        dfoi_free(ctx, table->name[j]);
    dfoi_free(ctx, table->name);
    dfoi_free(ctx, table->weight);
    dfoi_free(ctx, table->value);
    *table = (dfoi_table){0};
}

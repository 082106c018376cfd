/* Words of columns, see <diffeo/words.h>.  A column holds words or numbers: what comes first decides.  */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ctx_impl.h"
#include "data/words_impl.h"

#define MOST_WORDS 1000
#define LONGEST 200

struct column {
    char  *name;
    char **word;                       /* (room) */
    size_t count, room;
    int    numbers;                    /* some stood there */
    char   text[120];                  /* what to say of a word that is none of them */
};

struct dfo_words {
    dfo_ctx       *ctx;
    struct column *column;             /* (room) */
    size_t         n, room;
    int            closed;
};

dfo_status dfo_words_new(dfo_ctx *ctx, dfo_words **out)
{
    DFO_TRY(dfoi_alloc(ctx, 1, sizeof **out, out));
    (*out)->ctx = ctx;
    return DFO_OK;
}

void dfo_words_free(dfo_words *words)
{
    if (!words)
        return;
    for (size_t i = 0; i < words->n; i++) {
        struct column *c = &words->column[i];
        for (size_t k = 0; k < c->count; k++)
            dfoi_free(words->ctx, c->word[k]);
        dfoi_free(words->ctx, c->word);
        dfoi_free(words->ctx, c->name);
    }
    dfoi_free(words->ctx, words->column);
    dfoi_free(words->ctx, words);
}

static struct column *named(const dfo_words *words, const char *name)
{
    for (size_t i = 0; i < words->n; i++)
        if (!strcmp(words->column[i].name, name))
            return &words->column[i];
    return NULL;
}

static dfo_status add_column(dfo_words *words, const char *name, struct column **out)
{
    if (words->n == words->room) {
        DFO_TRY(dfoi_grow(words->ctx, words->room, 2 * words->room + 4, sizeof *words->column, &words->column));
        words->room = 2 * words->room + 4;
    }
    *out = &words->column[words->n];
    DFO_TRY(dfoi_strdup(words->ctx, name, &(*out)->name));
    words->n++;
    return DFO_OK;
}

static size_t find_word(const struct column *c, const char *word, size_t n)
{
    size_t k = 0;
    while (k < c->count && (strncmp(c->word[k], word, n) || c->word[k][n]))
        k++;
    return k;
}

static dfo_status add_word(dfo_words *words, struct column *c, const char *word, size_t n)
{
    dfo_ctx *ctx = words->ctx;
    char *copy;
    if (c->count == MOST_WORDS)
        return dfoi_fail(ctx, DFO_EARG, "column %s: more than %d different words", c->name, MOST_WORDS);
    if (!n || n > LONGEST)
        return dfoi_fail(ctx, DFO_EARG, "column %s: expected words of 1 to %d bytes, got %zu", c->name, LONGEST, n);
    if (c->count == c->room) {
        DFO_TRY(dfoi_grow(ctx, c->room, 2 * c->room + 8, sizeof *c->word, &c->word));
        c->room = 2 * c->room + 8;
    }
    DFO_TRY(dfoi_alloc(ctx, n + 1, 1, &copy));
    memcpy(copy, word, n);
    c->word[c->count++] = copy;
    return DFO_OK;
}

dfo_status dfo_words_add(dfo_words *words, const char *column, const char *word)
{
    struct column *c = named(words, column);
    if (!c)
        DFO_TRY(add_column(words, column, &c));
    if (!word)
        return DFO_OK;
    if (find_word(c, word, strlen(word)) < c->count)
        return dfoi_fail(words->ctx, DFO_EARG, "column %s: the word '%.40s' is there twice", column, word);
    return add_word(words, c, word, strlen(word));
}

void dfo_words_close(dfo_words *words)
{
    words->closed = 1;
}

size_t dfo_words_count(const dfo_words *words, const char *column)
{
    const struct column *c = named(words, column);
    return c ? c->count : 0;
}

const char *dfo_words_word(const dfo_words *words, const char *column, size_t k)
{
    const struct column *c = named(words, column);
    return c && k < c->count ? c->word[k] : NULL;
}

size_t dfoi_words_find(const dfo_words *words, const char *name, size_t j)
{
    char number[24];
    snprintf(number, sizeof number, "%zu", j + 1);
    for (size_t i = 0; words && i < words->n; i++)
        if ((name && !strcmp(words->column[i].name, name)) || !strcmp(words->column[i].name, number))
            return i;
    return DFOI_NO_WORDS;
}

/* "one of red, green, ..."  */
static const char *known(struct column *c)
{
    size_t used = (size_t)snprintf(c->text, sizeof c->text, "one of ");
    for (size_t k = 0; k < c->count; k++) {
        size_t n = strlen(c->word[k]);
        if (used + n + 6 > sizeof c->text) {
            snprintf(c->text + used, sizeof c->text - used, "...");
            break;
        }
        used += (size_t)snprintf(c->text + used, sizeof c->text - used, "%s%s", c->word[k], k + 1 < c->count ? ", " : "");
    }
    return c->text;
}

dfo_status dfoi_words_code(dfo_words *words, size_t at, const char *word, size_t n, double *code, const char **expected)
{
    struct column *c = &words->column[at];
    size_t k = find_word(c, word, n);
    *expected = c->numbers || !n || (words->closed && !c->count) ? "a number" : known(c);
    if (c->numbers || !n || memchr(word, 0, n) || (k == c->count && words->closed))
        return DFO_EFORMAT;
    if (k == c->count)
        DFO_TRY(add_word(words, c, word, n));
    *code = (double)k;
    return DFO_OK;
}

int dfoi_words_number(dfo_words *words, size_t at)
{
    struct column *c = &words->column[at];
    if (c->count)
        return 0;
    c->numbers = 1;
    return 1;
}

const char *dfoi_words_at(const dfo_words *words, size_t at, size_t k)
{
    return k < words->column[at].count ? words->column[at].word[k] : NULL;
}

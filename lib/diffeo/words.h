/* Words in columns of text: categories, as codes 0, 1, 2, ...  */
#ifndef DIFFEO_WORDS_H
#define DIFFEO_WORDS_H

#include <stddef.h>
#include <diffeo/ctx.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The words of some columns of a table; a column is named as a file's header has it, or by its number, from 1, among those that are used.
 * Reading a table (dfo_source_options) gives a word that is new the next code; once closed, it is an error.  Columns that hold numbers
 * alone keep these.  */
typedef struct dfo_words dfo_words;

/* No columns yet.  */
dfo_status dfo_words_new(dfo_ctx *ctx, dfo_words **out);
/* NULL is fine.  */
void dfo_words_free(dfo_words *words);

/* The column may hold words (again: nothing is done); word, if not NULL, gets the next code.  DFO_EARG: it has that word, or no more can be
 * taken (1,000 words, of 200 bytes).  */
dfo_status dfo_words_add(dfo_words *words, const char *column, const char *word);
void dfo_words_close(dfo_words *words);

/* How many words the column has; word k, or NULL.  */
size_t dfo_words_count(const dfo_words *words, const char *column);
const char *dfo_words_word(const dfo_words *words, const char *column, size_t k);

#ifdef __cplusplus
}
#endif
#endif

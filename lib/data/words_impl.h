/* Words by the place of their column, for readers and sinks.  Private.  */
#ifndef DFOI_WORDS_IMPL_H
#define DFOI_WORDS_IMPL_H

#include <diffeo/words.h>

#define DFOI_NO_WORDS ((size_t)-1)

/* Where column j (from 0; its name, or NULL) is among the words' columns, or DFOI_NO_WORDS; words may be NULL.  */
size_t dfoi_words_find(const dfo_words *words, const char *name, size_t j);

/* The code of a word of n bytes: new words are added, unless closed.  DFO_EFORMAT: it is none of the column's words, and the context has
 * no text yet; *expected is what to say.  */
dfo_status dfoi_words_code(dfo_words *words, size_t at, const char *word, size_t n, double *code, const char **expected);

/* A number stands in the column.  0: it holds words.  */
int dfoi_words_number(dfo_words *words, size_t at);

const char *dfoi_words_at(const dfo_words *words, size_t at, size_t k);

#endif

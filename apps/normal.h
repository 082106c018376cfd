/* Latents that should be normal, kept to be tested (encode).  */
#ifndef DIFFEO_APPS_NORMAL_H
#define DIFFEO_APPS_NORMAL_H

#include "cmd.h"

struct normal {
    double *z;                     /* (keep, d), freed by who has it; the first n are filled */
    size_t  keep, n, d;
};

#define normal_begin CMD(normal_begin)
#define normal_add CMD(normal_add)
#define normal_json CMD(normal_json)
#define normal_words CMD(normal_words)
/* Keeps nothing if the model's latents are not meant to be standard normal.  Nonzero: no memory.  */
int normal_begin(struct normal *o, const dfo_model *model, uint64_t rows);
void normal_add(struct normal *o, dfo_batch z);
/* What the test says of them, into an object and as a line.  */
void normal_json(const struct normal *o, const dfo_normality *t, json_t *to);
void normal_words(const struct normal *o, const dfo_normality *t, FILE *to);

#endif

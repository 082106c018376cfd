/* The classifier's inside.  Private to flows.  */
#ifndef DFOI_CLASSIFIER_IMPL_H
#define DFOI_CLASSIFIER_IMPL_H

#include "base/real_impl.h"
#include <diffeo/classifier.h>
#include "head_impl.h"

struct dfo_classifier {
    dfo_ctx   *ctx;
    dfo_flow  *body;
    dfoi_head *head;
    dfo_shape  shape;                  /* of a row */
    size_t     shift, levels;
    int        flip;
};

/* Moves and mirrors images, each by itself: row i's draw is a function of key and i.  room: one row.  */
void dfoi_augment(dfo_shape shape, size_t shift, int flip, dfo_key key, dfo_batch x, dfo_real *room);

#endif

/* Blocks of nets' outputs, and rows.  Private.  */
#ifndef DFOI_ROWS_IMPL_H
#define DFOI_ROWS_IMPL_H

#include <diffeo/net.h>
#include "base/real_impl.h"

/* Reals of a block of n rows, and such a block from the arena.  */
size_t dfoi_block_size(dfo_layout layout, size_t n, size_t d);
dfo_block dfoi_block_take(dfo_run *run, dfo_layout layout, size_t n, size_t d);

/* A block's values to rows; rows to a block, with zeros behind the last.  */
void dfoi_block_to_rows(dfo_block b, dfo_batch to);
void dfoi_block_from_rows(dfo_batch from, dfo_block b);

#endif

/* Rows come a chunk at a time.  A chunk is a multiple of the model's block, so that rows fall into the same blocks,
 * and get the same bits, however many are taken at once.  */
#include <stdint.h>

#include "base/ctx_impl.h"
#include "train/plan_impl.h"

#define USUAL_ROWS 8192
#define USUAL_BYTES ((size_t)64 << 20)

dfo_status dfo_chunk_rows(dfo_ctx *ctx, const dfo_chunk *what, size_t *rows)
{
    size_t row = what->row_bytes ? what->row_bytes : 1, limit = dfoi_memory_limit(ctx), bytes;
    uint64_t n = what->asked, fits = USUAL_BYTES / row;
    if (!n)
        n = fits < USUAL_ROWS ? fits : USUAL_ROWS;
    n = n < what->rows ? n : what->rows;
    n = n ? (n - 1) / what->block + 1 : 1;                         /* blocks, from here on */
    DFO_TRY(dfoi_mul(ctx, what->block, row, "rows of a block", &bytes));
    if (n > SIZE_MAX / bytes)
        return dfoi_fail(ctx, DFO_EMEM, "out of memory: %llu rows at a time", (unsigned long long)what->asked);
    if (limit) {
        uint64_t room = limit > what->taken ? (limit - what->taken) / bytes : 0;
        if (!room)
            return dfoi_fail(ctx, DFO_ELIMIT, "working memory: %zu bytes needed, --memory allows %zu",
                             what->taken + bytes, limit);
        n = n < room ? n : room;
    }
    *rows = (size_t)n * what->block;
    return DFO_OK;
}

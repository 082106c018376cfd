/* Readers of images from outside: what is accepted can be read, row by row, and holds what it says.  */
#ifndef DIFFEO_TESTS_FUZZ_READER_H
#define DIFFEO_TESTS_FUZZ_READER_H

#include "base/file_impl.h"
#include "data/source_impl.h"
#include "fuzz/fuzz.h"

#define MOST_VALUES ((size_t)1 << 22)

static inline void fuzz_read(const dfo_source *source, dfo_ctx *ctx)
{
    size_t rows = (size_t)source->info.rows, d = source->d;
    dfo_real *x = malloc(d * sizeof *x);
    FUZZ_ASSERT(rows > 0 && d > 0 && d == dfo_shape_size(source->info.shape) && x);
    for (size_t i = 0; i < rows && i * d < MOST_VALUES; i++) {
        uint64_t at = rows - 1 - i;                          /* the last row first */
        FUZZ_ASSERT(dfo_source_gather(source, ctx, &at, dfo_batch_of(x, 1, d), NULL) == DFO_OK);
        for (size_t j = 0; source->info.discrete && j < d; j++)
            FUZZ_ASSERT(x[j] >= 0 && x[j] < (dfo_real)source->info.levels);
    }
    free(x);
}

static inline void fuzz_reader(const dfoi_reader *reader, const uint8_t *bytes, size_t n, int labels)
{
    dfo_ctx *ctx = fuzz_ctx();
    dfo_source_options options = {.labels = labels};
    dfo_ctx_set_memory_limit(ctx, (size_t)4 << 20);          /* larger pictures take longer, no other way */
    dfo_source *source = NULL;
    dfo_file *file = NULL;
    dfo_status status = n ? dfoi_file_memory(ctx, bytes, n, "fuzz", &file) : DFO_OK;
    if (n && status == DFO_OK)
        status = dfoi_source_new(ctx, "fuzz", &source);
    if (n && status == DFO_OK) {
        status = reader->open(source, "fuzz", file, &options);
        if (status == DFO_OK)
            fuzz_read(source, ctx);
        else
            dfoi_file_free(file);
    }
    dfo_source_free(source);
    fuzz_end(ctx, status);
}

#endif

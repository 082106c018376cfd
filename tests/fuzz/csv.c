/* Text tables from outside: whatever the bytes, reading ends in a status with a text, and what was read
 * is finite and rectangular.  The first byte chooses the options.  */
#include <math.h>
#include <string.h>

#include "base/ctx_impl.h"
#include "data/table_impl.h"
#include "fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    dfo_ctx *ctx = fuzz_ctx();
    dfo_file *file = NULL;
    dfoi_table table = {0};
    unsigned how = n ? bytes[0] : 0;
    const char *columns = how % 8 == 1 ? "1" : how % 8 == 2 ? "2,1" : how % 8 == 3 ? "a" : NULL;
    const char *weights = how % 8 == 4 ? "1" : how % 8 == 5 ? "w" : NULL;
    dfo_status status = dfoi_file_memory(ctx, bytes + (n > 0), n - (n > 0), "fuzz", &file);
    if (status == DFO_OK)
        status = dfoi_csv_read(ctx, file, columns, weights, 0, NULL, &table);
    if (status == DFO_OK) {
        FUZZ_ASSERT(table.rows > 0 && table.d > 0);
        for (size_t i = 0; i < table.rows * table.d; i++)
            FUZZ_ASSERT(isfinite(table.value[i]));
        for (size_t i = 0; table.weight && i < table.rows; i++)
            FUZZ_ASSERT(table.weight[i] >= 0 && isfinite(table.weight[i]));
        for (size_t j = 0; table.name && j < table.d; j++)
            FUZZ_ASSERT(strlen(table.name[j]) <= n);
    } else {
        FUZZ_ASSERT(!strchr(dfo_ctx_error(ctx), '\n'));
    }
    dfoi_table_free(ctx, &table);
    dfoi_file_free(file);
    fuzz_end(ctx, status);
    return 0;
}

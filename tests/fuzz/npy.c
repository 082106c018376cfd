/* NPY headers from outside: an accepted header describes exactly the bytes that are there.  */
#include <string.h>

#include "base/ctx_impl.h"
#include "data/table_impl.h"
#include "fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    dfo_ctx *ctx = fuzz_ctx();
    dfoi_npy npy;
    dfo_status status = dfoi_npy_header(ctx, "fuzz", bytes, n, &npy);
    if (status == DFO_OK) {
        size_t rows = (size_t)npy.shape[0];
        FUZZ_ASSERT(npy.ndim >= 1 && npy.ndim <= 4 && rows > 0 && npy.elements > 0);
        FUZZ_ASSERT(npy.start + rows * npy.elements * npy.size == n);
        FUZZ_ASSERT(npy.size == 1 || npy.size == 2 || npy.size == 4 || npy.size == 8);
        volatile uint8_t last = bytes[n - 1];
        (void)last;
    }
    fuzz_end(ctx, status);
    return 0;
}

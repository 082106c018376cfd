/* Safetensors from outside: tensors of an accepted file lie inside it, side by side, and convert.  */
#include <string.h>

#include "base/ctx_impl.h"
#include "data/safetensors_impl.h"
#include "fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    dfo_ctx *ctx = fuzz_ctx();
    dfoi_tensors *t = NULL;
    dfo_status status = dfoi_tensors_memory(ctx, bytes, n, "fuzz", &t);
    if (status == DFO_OK) {
        size_t all = 0;
        char hash[17];
        for (size_t i = 0; i < dfoi_tensors_count(t); i++) {
            const dfoi_tensor *one = dfoi_tensors_at(t, i);
            const uint8_t *at = one->data;
            size_t size = dfoi_dtype_size(one->type);
            FUZZ_ASSERT(dfoi_tensors_find(t, one->name) == one);
            FUZZ_ASSERT(at >= bytes && (size_t)(at - bytes) <= n && one->count <= (n - (size_t)(at - bytes)) / size);
            for (size_t j = 0; j < one->count; j++) {
                double x;
                float f;
                dfoi_tensor_doubles(one, j, 1, &x);
                dfoi_tensor_floats(one, j, 1, &f);
            }
            all += one->count * size;
        }
        FUZZ_ASSERT(all <= n);
        (void)dfoi_tensors_metadata(t, "diffeo");
        dfoi_tensors_hash(t, hash);
    }
    dfoi_tensors_free(t);
    fuzz_end(ctx, status);
    return 0;
}

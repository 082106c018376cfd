/* IDX files from outside.  */
#include "fuzz/reader.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    fuzz_reader(&dfoi_reader_idx, bytes, n, 0);
    fuzz_reader(&dfoi_reader_idx, bytes, n, 1);
    return 0;
}

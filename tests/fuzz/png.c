/* PNG pictures from outside.  */
#include "fuzz/reader.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    fuzz_reader(&dfoi_reader_png, bytes, n, 0);
    return 0;
}

/* Numbers and byte counts from text: the result is one number exactly where strtod (in the C locale)
 * reads the whole text too, and the same bits.  */
#include <ctype.h>
#include <math.h>
#include <string.h>

#include "base/ctx_impl.h"
#include "base/parse_impl.h"
#include "fuzz/fuzz.h"

/* Plain decimal: what both readers must agree on (not hexadecimal, which strtod takes too).  */
static int plain(const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!isdigit((unsigned char)text[i]) && !strchr("+-.eE", text[i]))
            return 0;
    return n > 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    if (n > 4096)
        return 0;
    char *text = malloc(n + 1);
    FUZZ_ASSERT(text != NULL);
    memcpy(text, bytes, n);
    text[n] = 0;
    dfo_ctx *ctx = fuzz_ctx();

    double a = 0;
    int got = dfoi_number((const char *)bytes, n, &a);
    if (strlen(text) == n && plain(text, n)) {
        char *end;
        double b = strtod(text, &end);
        int whole = end == text + n;
        FUZZ_ASSERT(got == whole);
        FUZZ_ASSERT(!whole || memcmp(&a, &b, sizeof a) == 0);
    }
    double x = 0;
    uint64_t u = 0;
    dfo_status status = dfoi_parse_double(ctx, text, "x", &x);
    FUZZ_ASSERT(status == DFO_OK || status == DFO_EARG);
    if (dfoi_parse_u64(ctx, text, "u", &u) == DFO_OK)
        FUZZ_ASSERT(dfoi_parse_bytes(ctx, text, "b", &u) == DFO_OK);
    dfo_ctx_clear(ctx);
    fuzz_end(ctx, DFO_OK);
    free(text);
    return 0;
}

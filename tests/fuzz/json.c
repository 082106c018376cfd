/* Configurations from outside: parsing never crashes or leaks, a failure has a text, and what was
 * parsed prints as something that parses again.  */
#include <string.h>

#include "base/ctx_impl.h"
#include "base/json_impl.h"
#include "fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    dfo_ctx *ctx = fuzz_ctx();
    json_t *value = NULL, *again = NULL;
    char *text = NULL;
    dfo_status status = dfoi_json_parse(ctx, (const char *)bytes, n, "fuzz", &value);
    if (status == DFO_OK) {
        static const char *const known[] = {"a", "b", NULL};
        size_t size[4], count;
        double real[3];
        const char *word;
        int yes;
        (void)dfoi_json_keys(ctx, value, known);
        (void)dfoi_json_size(ctx, value, "a", 1, 1, 100, &size[0]);
        (void)dfoi_json_sizes(ctx, value, "a", 1, 100, 4, size, &count);
        (void)dfoi_json_real(ctx, value, "a", 0, -1, 1, &real[0]);
        (void)dfoi_json_reals(ctx, value, "a", 3, 0, real);
        (void)dfoi_json_string(ctx, value, "a", NULL, &word);
        (void)dfoi_json_bool(ctx, value, "a", 0, &yes);
        FUZZ_ASSERT(dfoi_json_dump(ctx, value, JSON_COMPACT, &text) == DFO_OK);
        FUZZ_ASSERT(dfoi_json_parse(ctx, text, strlen(text), "again", &again) == DFO_OK);
    }
    json_decref(value);
    json_decref(again);
    dfoi_free(ctx, text);
    fuzz_end(ctx, status);
    return 0;
}

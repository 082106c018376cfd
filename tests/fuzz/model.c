/* Model files, then scoring and encoding with what came out: a file that loads is used without harm.  */
#include <math.h>
#include <string.h>

#include <diffeo/model.h>
#include "fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    dfo_ctx *ctx = fuzz_ctx();
    dfo_ctx_set_memory_limit(ctx, FUZZ_MEMORY);
    dfo_model *model = NULL;
    dfo_model_plan *plan = NULL;
    dfo_status status = dfo_model_load_memory(ctx, bytes, n, "fuzz", &model);
    if (status == DFO_OK) {
        enum { ROWS = 3, MOST = 256 };
        size_t d = dfo_model_features(model), c = dfo_model_context(model);
        FUZZ_ASSERT(d > 0);
        if (d <= MOST && c <= MOST && dfo_model_plan_new(ctx, model, 0, &plan) == DFO_OK) {
            dfo_real x[ROWS * MOST], context[ROWS * MOST];
            double out[ROWS];
            for (size_t i = 0; i < ROWS * MOST; i++)
                context[i] = x[i] = (dfo_real)i / 100;
            dfo_cond cond = {.n = 1, .part = {{dfo_batch_of(context, ROWS, c), dfo_shape_vector(c)}}};
            const dfo_cond *given = c ? &cond : NULL;
            if (dfo_model_log_prob(plan, 0, dfo_batch_of(x, ROWS, d), given, out) == DFO_OK)
                FUZZ_ASSERT(!isnan(out[0]));
            (void)dfo_model_decode(plan, 0, dfo_batch_of(x, ROWS, d), given, out);
            (void)dfo_model_sample(plan, 1, 0, dfo_batch_of(x, ROWS, d), given, 1.0);
        }
        dfo_ctx_clear(ctx);
    }
    dfo_model_plan_free(plan);
    dfo_model_free(model);
    fuzz_end(ctx, status);
    return 0;
}

/* Flows under conditions; see contextfix.h.  */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "contextfix.h"
#include "oom.h"

#define NET "\"net\":{\"type\":\"mlp\",\"hidden\":[6],\"activation\":\"tanh\"}"
#define CNF "\"type\":\"cnf\",\"solver\":\"rk4\",\"steps\":3,\"probes\":0,\"zero_init\":false"
const char *const context_configs[CONFIGS] = {
    "\"bijector\":{\"type\":\"chain\",\"layers\":[{\"type\":\"standardise\"},{\"type\":\"affine-coupling\"," NET "},"
    "{\"type\":\"spline-coupling\",\"mask\":\"half-swapped\"," NET "}]},\"base\":{\"type\":\"conditional-normal\"," NET "}",
    "\"bijector\":{\"type\":\"affine\"," NET "}",
    "\"bijector\":{\"type\":\"chain\",\"layers\":[{\"type\":\"affine\"," NET "},{\"type\":\"actnorm\"}]},\"base\":{\"type\":\"logistic\"}",
    "\"matching\":{\"label_dropout\":0.3},\"bijector\":{\"type\":\"chain\",\"layers\":[{\"type\":\"affine\"," NET "},{\"type\":\"actnorm\"},"
    "{" CNF ",\"net\":{\"type\":\"concatsquash\",\"hidden\":6}}]}",
    "\"matching\":{\"label_dropout\":0.3,\"windows\":2,\"teacher_steps\":2},\"bijector\":{\"type\":\"chain\",\"layers\":["
    "{" CNF ",\"net\":{\"type\":\"concatsquash\",\"hidden\":6}}]}",
    "\"matching\":{\"path\":\"diffusion\",\"label_dropout\":0.3},\"bijector\":{\"type\":\"chain\",\"layers\":[{\"type\":\"affine\"},"
    "{" CNF ",\"net\":{\"type\":\"time-mlp\",\"hidden\":6,\"layers\":1},\"diffusion\":{\"schedule\":\"vp\"}}]}",
};

dfo_status context_flow(dfo_ctx *ctx, dfo_store *store, const char *text, const char *condition, size_t parts, dfo_flow **out)
{
    char all[2048];
    snprintf(all, sizeof all, "{%s%s}", text, condition);
    json_t *config = json_loads(all, 0, NULL);
    dfo_build build = {.ctx = ctx, .store = store, .seed = 5, .path = "flow", .shape = dfo_shape_vector(D), .conds = parts,
                       .cond = {dfo_shape_vector(parts > 1 ? 2 : C), dfo_shape_vector(C - 2)}};
    dfo_status status = dfo_flow_new(&build, config, out);
    json_decref(config);
    return status;
}

void good(const struct side *s, dfo_status status)
{
    ck_assert_msg(status == DFO_OK, "%s", dfo_ctx_error(s->ctx));
}

struct side *side_new(const char *text, int standardises, size_t parts)
{
    struct side *s = calloc(1, sizeof *s);
    test_rng rng = test_rng_new(test_seed());
    ck_assert(s && oom_ctx(&s->ctx) == DFO_OK && dfo_store_new(s->ctx, &s->store) == DFO_OK);
    good(s, context_flow(s->ctx, s->store, text, standardises ? ",\"condition\":\"standardise\"" : "", parts, &s->flow));
    ck_assert_int_eq(dfo_flow_standardises_context(s->flow), standardises);
    for (size_t e = 0; e < dfo_store_entries(s->store); e++) {
        const dfo_entry *entry = dfo_store_entry(s->store, e);
        for (size_t k = 0; !entry->buffer && k < entry->count; k++)
            dfo_store_weights(s->store)[entry->offset + k] += (dfo_real)(0.3 * test_rng_normal(&rng));
    }
    dfo_store_touch(s->store);
    return s;
}

void side_free(struct side *s)
{
    dfo_flow_plan_free(s->plan);
    dfo_flow_free(s->flow);
    dfo_store_free(s->store);
    ck_assert_uint_eq(dfo_ctx_bytes(s->ctx), 0);
    dfo_ctx_free(s->ctx);
    free(s);
}

static dfo_real *statistic(const struct side *s, const char *name)
{
    const dfo_entry *e = dfo_store_find(s->store, name);
    ck_assert(e && e->buffer && e->count == C);
    return dfo_store_buffers(s->store) + e->offset;
}

dfo_real *means(const struct side *s)
{
    return statistic(s, "flow.condition.mean");
}

dfo_real *stds(const struct side *s)
{
    return statistic(s, "flow.condition.std");
}

void take_rows(struct side *s, size_t n)
{
    static const double mean[] = {0, 3e3, -20, 7.5, 1e-3}, std[] = {1, 1e3, 1e-2, 0, 1e-4};
    test_rng rng = test_rng_new(test_seed() + 1);
    dfo_source *source;
    for (size_t i = 0; i < N; i++)
        for (size_t j = 0; j < D + C; j++) {
            double e = test_rng_normal(&rng);
            s->rows[i * (D + C) + j] = (dfo_real)(j < D ? e : mean[j - D] + std[j - D] * e);
        }
    good(s, dfo_source_rows(s->ctx, dfo_batch_of(s->rows, n, D + C), &source));
    good(s, dfo_flow_standardise(s->flow, source, 1));
    dfo_source_free(source);
    good(s, dfo_flow_plan_new(s->ctx, s->flow, 1, &s->plan));
}

dfo_cond condition_in(const struct side *s, dfo_real *rows)
{
    dfo_batch all = dfo_batch_of(rows, N, D + C);
    dfo_cond cond = {.n = dfo_flow_bijector(s->flow)->conds};
    size_t first = cond.n > 1 ? 2 : C;
    cond.part[0].rows = dfo_batch_columns(all, D, first);
    cond.part[0].shape = dfo_shape_vector(first);
    cond.part[1].rows = dfo_batch_columns(all, D + first, C - first);
    cond.part[1].shape = dfo_shape_vector(C - first);
    return cond;
}

dfo_batch copied(const struct side *s, dfo_real *to)
{
    for (size_t i = 0; i < N; i++)
        memcpy(to + i * D, s->rows + i * (D + C), D * sizeof *to);
    return dfo_batch_of(to, N, D);
}

/* Random configurations of every type of density, for tests.  */
#include <math.h>
#include <string.h>

#include "distconf.h"

/* What a type's parameters are called, and how many variants it has:
 *   0 default, 1 given, 2 learned from given values, 3 learned from the default.  */
static const struct entry {
    const char *type, *loc, *log_scale;
    int first, last; /* variants */
} entries[] = {
    {"normal", "mean", "log_std", 0, 3},
    {"normal-full", "mean", NULL, 0, 3},
    {"box", NULL, NULL, 0, 1},
    {"logistic", "loc", "log_scale", 0, 3},
    {"laplace", "loc", "log_scale", 0, 3},
    {"student-t", "loc", "log_scale", 0, 3},
    {"student-t-multivariate", "loc", "log_scale", 0, 3},
    {"mixture-normal", "mean", "log_std", 1, 3},
    {"mixture-logistic", "loc", "log_scale", 1, 3},
    {"discretised-logistic-mixture", "loc", "log_scale", 1, 3},
    {"conditional-normal", NULL, NULL, 0, 1},
    {"conditional-mixture", NULL, NULL, 0, 1},
    {"resampled", NULL, NULL, 0, 3},
    {"diffusion-gaussian", NULL, NULL, 0, 1},
    {"diffusion-binary", NULL, NULL, 0, 0},
};

static const struct entry *entry_of(const char *type)
{
    for (size_t i = 0; i < sizeof entries / sizeof *entries; i++)
        if (!strcmp(entries[i].type, type))
            return &entries[i];
    ck_abort_msg("%s: tests/distconf.c has no configuration for this density", type);
    return NULL;
}

int distconf_variants(const char *type)
{
    const struct entry *e = entry_of(type);
    return e->last - e->first + 1;
}

static json_t *reals(size_t n, double low, double high, test_rng *rng)
{
    json_t *array = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(array, json_real(test_rng_real(rng, low, high)));
    return array;
}

static json_t *rows(size_t k, size_t n, double low, double high, test_rng *rng)
{
    json_t *array = json_array();
    for (size_t i = 0; i < k; i++)
        json_array_append_new(array, reals(n, low, high, rng));
    return array;
}

static json_t *cholesky(size_t d, test_rng *rng)
{
    json_t *array = rows(d, d, -1, 1, rng);
    for (size_t i = 0; i < d; i++) {
        json_array_set_new(json_array_get(array, i), i, json_real(test_rng_real(rng, 0.5, 1.5)));
        for (size_t j = i + 1; j < d; j++)
            json_array_set_new(json_array_get(array, i), j, json_real(0));
    }
    return array;
}

static void give_parameters(json_t *json, const struct entry *e, size_t d, test_rng *rng)
{
    int mixture = strstr(e->type, "mixture") != NULL;
    size_t k = mixture ? test_rng_between(rng, 1, 4) : 1;
    if (mixture) {
        json_object_set_new(json, "components", json_integer((json_int_t)k));
        json_object_set_new(json, "logits", reals(k, -1, 1, rng));
    }
    if (e->loc)
        json_object_set_new(json, e->loc, mixture ? rows(k, d, -2, 2, rng) : reals(d, -2, 2, rng));
    if (e->log_scale)
        json_object_set_new(json, e->log_scale,
                            mixture ? rows(k, d, -0.7, 0.7, rng) : reals(d, -0.7, 0.7, rng));
    if (!strcmp(e->type, "normal-full"))
        json_object_set_new(json, "cholesky", cholesky(d, rng));
    if (!strcmp(e->type, "student-t"))
        json_object_set_new(json, "df", reals(d, 2, 9, rng));
    if (!strcmp(e->type, "student-t-multivariate"))
        json_object_set_new(json, "df", json_real(test_rng_real(rng, 2, 9)));
    if (!strcmp(e->type, "box")) {
        json_object_set_new(json, "low", reals(d, -2, -0.5, rng));
        json_object_set_new(json, "high", reals(d, -0.2, 2, rng));
    }
}

void distconf_make(struct distconf *conf, const char *type, size_t d, int variant, test_rng *rng)
{
    const struct entry *e = entry_of(type);
    memset(conf, 0, sizeof *conf);
    conf->d = d;
    conf->json = json_object();
    json_object_set_new(conf->json, "type", json_string(type));
    variant += e->first;
    if (!strncmp(type, "conditional-", 12)) {
        conf->parts = test_rng_between(rng, 1, 2);
        for (size_t p = 0; p < conf->parts; p++)
            conf->cond_d[p] = test_rng_between(rng, 1, 3);
        json_object_set_new(
            conf->json, "net",
            json_pack("{sss[ii]ss}", "type", "mlp", "hidden", 5, 7, "activation", "tanh"));
        json_object_set_new(conf->json, "max_log_std", json_real(test_rng_real(rng, 1, 3)));
        if (!strcmp(type, "conditional-mixture"))
            json_object_set_new(conf->json, "components", json_integer((json_int_t)test_rng_between(rng, 1, 4)));
        return;
    }
    if (!strcmp(type, "resampled")) {
        json_object_set_new(conf->json, "net", json_pack("{sss[i]ss}", "type", "mlp", "hidden", 6, "activation", "tanh"));
        json_object_set_new(conf->json, "draws", json_integer(300));
        json_object_set_new(conf->json, "train_draws", json_integer(300));
        json_object_set_new(conf->json, "tries", json_integer((json_int_t)test_rng_between(rng, 1, 30)));
        json_t *proposal = variant == 1 ? json_pack("{sssfsf}", "type", "normal", "mean", 0.3, "log_std", 0.2)
                           : variant == 2 ? json_pack("{sssisf}", "type", "student-t-multivariate", "df", 5, "loc", -0.5)
                           : variant == 3 ? json_pack("{sssiso}", "type", "mixture-normal", "components", 3, "mean", rows(3, d, -2, 2, rng))
                                          : NULL;
        if (proposal)
            json_object_set_new(conf->json, "proposal", proposal);
        return;
    }
    if (!strncmp(type, "diffusion-", 10)) {
        conf->parts = test_rng_between(rng, 0, 2);
        for (size_t p = 0; p < conf->parts; p++)
            conf->cond_d[p] = test_rng_between(rng, 1, 3);
        json_object_set_new(conf->json, "net", json_pack("{sssisisisi}", "type", "time-mlp", "hidden", 5, "layers", 1, "embedding", 6,
                                                         "frequencies", 2));
        json_object_set_new(conf->json, "steps", json_integer((json_int_t)test_rng_between(rng, 1, 5)));
        if (!strcmp(type, "diffusion-gaussian")) {        /* a slow first step multiplies all that is rounded */
            json_object_set_new(conf->json, "first", json_real(test_rng_real(rng, 0.1, 0.3)));
            json_object_set_new(conf->json, "last", json_real(test_rng_real(rng, 0.5, 0.9)));
        }
        if (variant)
            json_object_set_new(conf->json, "learned", json_true());
        return;
    }
    if (variant == 1 || variant == 2)
        give_parameters(conf->json, e, d, rng);
    if (variant >= 2)
        json_object_set_new(conf->json, "learned", json_true());
    if (variant >= 2 && !strncmp(type, "student-t", 9)) {
        json_object_set_new(conf->json, "learned_df", json_true());
        json_object_set_new(conf->json, "df_floor", json_real(1.5));
    }
}

void distconf_free(struct distconf *conf)
{
    json_decref(conf->json);
}

void distconf_shake(const struct distconf *conf, dfo_real *weights, size_t n, test_rng *rng)
{
    int chain = !strncmp(json_string_value(json_object_get(conf->json, "type")), "diffusion-", 10);
    double by = chain ? 0.1 : conf->parts || json_object_get(conf->json, "net") ? 0.5 : 0.2;
    for (size_t i = 0; i < n; i++)
        weights[i] += (dfo_real)(by * test_rng_normal(rng));
}

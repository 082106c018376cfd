/* What the densities share: parameters that are given or learned, scratch in double, draws.
 * Private.  */
#ifndef DFOI_DIST_IMPL_H
#define DFOI_DIST_IMPL_H

#include <jansson.h>
#include "base/real_impl.h"
#include <diffeo/dist.h>

#define DFOI_LOG_2PI 1.8378770664093454836

/* One kind of density.  create fills dist->ops and dist->state (and conds, cond_d if it wants a
 * condition); when it fails, dfo_dist_new calls ops->free on what is there.  */
struct dfoi_dist_kind {
    const char *type;
    dfo_status (*create)(dfo_build *build, json_t *config, dfo_dist *dist);
};

/* The registry.  */
extern const struct dfoi_dist_kind dfoi_dist_kinds[];
extern const size_t dfoi_dist_kinds_count;

dfo_status dfoi_dist_normal(dfo_build *build, json_t *config, dfo_dist *dist);
dfo_status dfoi_dist_normal_full(dfo_build *build, json_t *config, dfo_dist *dist);
dfo_status dfoi_dist_box(dfo_build *build, json_t *config, dfo_dist *dist);
dfo_status dfoi_dist_logistic(dfo_build *build, json_t *config, dfo_dist *dist);
dfo_status dfoi_dist_laplace(dfo_build *build, json_t *config, dfo_dist *dist);
dfo_status dfoi_dist_student(dfo_build *build, json_t *config, dfo_dist *dist);
dfo_status dfoi_dist_student_multivariate(dfo_build *build, json_t *config, dfo_dist *dist);
dfo_status dfoi_dist_mixture_normal(dfo_build *build, json_t *config, dfo_dist *dist);
dfo_status dfoi_dist_mixture_logistic(dfo_build *build, json_t *config, dfo_dist *dist);
dfo_status dfoi_dist_discretised(dfo_build *build, json_t *config, dfo_dist *dist);
dfo_status dfoi_dist_conditional_normal(dfo_build *build, json_t *config, dfo_dist *dist);
dfo_status dfoi_dist_conditional_mixture(dfo_build *build, json_t *config, dfo_dist *dist);
dfo_status dfoi_dist_resampled(dfo_build *build, json_t *config, dfo_dist *dist);
dfo_status dfoi_dist_diffusion_gaussian(dfo_build *build, json_t *config, dfo_dist *dist);
dfo_status dfoi_dist_diffusion_binary(dfo_build *build, json_t *config, dfo_dist *dist);

/* A parameter of a density: an array of rows x cols reals (rows = 0: a vector of cols) that is
 * given in the configuration or has a default, and if learned starts from there and lives in the
 * store.  */
struct dfoi_param {
    const char *name; /* key in the configuration, name of the weights; a constant */
    size_t rows, cols, count;
    double *value; /* (count) given, default or first values */
    int given;     /* 0: default, 1: one number, 2: an array */
    int learned;
    size_t offset; /* of the weights */
};

/* Reads the member `name` of config: a number for all entries, an array of cols numbers, or (rows >
 * 0) an array of rows of them; every entry from low to high.  Absent: `fallback` everywhere; if
 * that is NaN the parameter is required.  Learned ones are added to the store.  The parameter is
 * freed by dfoi_param_free also when this failed.  */
dfo_status dfoi_param_new(dfo_build *build, const json_t *config, const char *name, size_t rows,
                          size_t cols, double fallback, double low, double high, int learned,
                          struct dfoi_param *out);
void dfoi_param_free(dfo_ctx *ctx, struct dfoi_param *param);

/* Adds the weights of a parameter that will be learned, with param->value as first values.  */
dfo_status dfoi_param_learn(dfo_build *build, struct dfoi_param *param);

/* Copies the present values to out (count).  */
void dfoi_param_get(const struct dfoi_param *param, const dfo_run *run, double *out);

/* Adds g (count) to the parameter's gradient; nothing if it is not learned or none are wanted.  */
void dfoi_param_add_grad(const struct dfoi_param *param, dfo_run *run, const double *g);

/* Sets the member `name` of `to` as it was given; nothing if it was not.  */
dfo_status dfoi_param_describe(dfo_ctx *ctx, const struct dfoi_param *param, json_t *to);

/* Sets "type" and, unless learned < 0, "learned".  */
dfo_status dfoi_dist_describe_head(const dfo_dist *dist, json_t *to, int learned);

/* Scratch for n doubles in the arena of dfo_real; NULL with the run's error set if it is used up.
 * dfoi_doubles_size(n) is what it takes.  */
double *dfoi_take_doubles(dfo_run *run, size_t n);
dfo_real *dfoi_take_reals(dfo_run *run, size_t n);

static inline size_t dfoi_doubles_size(size_t n)
{
    return dfo_arena_size(n * (sizeof(double) / sizeof(dfo_real)));
}

/* The key of row i's draws.  */
static inline dfo_key dfoi_base_key(const dfo_run *run, size_t i)
{
    dfo_key key = run->key;
    key.purpose = DFO_FOR_BASE;
    key.row += i;
    return key;
}

/* Uniform draws of a row that share nothing with its first 2^31 blocks, from which the
 * dfo_draw_real functions of the same key draw.  */
#define DFOI_DRAWS_APART ((size_t)1 << 32)

/* A mixture's component for a row: the first whose cumulated weight passes such a draw of its key.  */
size_t dfoi_draw_component(size_t k, const double *log_weight, dfo_key key);

#endif

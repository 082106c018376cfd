/* Mixtures of K densities with independent columns, normal, logistic or discretised logistic:
 *
 *     log p(x) = log sum_k w_k f_k(x),   w = softmax(logits),
 *     log f_k(x) = sum_j log f((x_j - loc_kj) / e^{log_scale_kj}) - log_scale_kj
 *     r_k = w_k f_k / p:   d/dlogit_k = r_k - w_k,   d/dtheta_k = r_k d log f_k/dtheta_k
 *
 * Discretised, a column's factor is the logistic distribution's probability of [x - 1/2, x + 1/2],
 *
 *     S(b) - S(a) = S(b) S(-a) (1 - e^{-(b - a)}),   S(t) = 1/(1 + e^-t), a, b = (x -+ 1/2 - loc)/scale:
 *
 * of whole numbers x their probability, and for all x the density with uniform noise of one unit added
 * (Salimans et al. 2017, PixelCNN++).  With bounds the whole numbers low and high take the tails too, and
 * draws are whole numbers.
 *
 * All in double, by log-sum-exp.  Parameters are kept by columns, (d, K), so that the inner loops
 * run over the components.  Learned, the locations start apart, as standard normal draws.  */
#include <math.h>

#include "base/ctx_impl.h"
#include "base/json_impl.h"
#include "dist/dist_impl.h"
#include "dist/special_impl.h"

#define MAX_COMPONENTS 65536

enum family { NORMAL, LOGISTIC, DISCRETISED };

struct mixture {
    enum family family;
    int learned;
    int bounded;
    double low, high;      /* of whole numbers; infinite where there is no bound */
    size_t k;
    struct dfoi_param logits, loc, log_scale;
};

struct values {
    double *log_weight;    /* (K) */
    double *constant;      /* (K) sum of -log_scale and the standard density's constant */
    double *loc, *inverse; /* (d, K) */
    double *term;          /* (K) log w_k f_k of the present row */
};

static void transpose(size_t rows, size_t cols, const double *from, double *to)
{
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < cols; j++)
            to[j * rows + i] = from[i * cols + j];
}

static dfo_status take_values(const dfo_dist *dist, dfo_run *run, struct values *v)
{
    const struct mixture *s = dist->state;
    size_t d = dist->d, k = s->k;
    v->log_weight = dfoi_take_doubles(run, 3 * k);
    v->loc = dfoi_take_doubles(run, 3 * d * k);
    if (!v->log_weight || !v->loc)
        return run->status;
    v->constant = v->log_weight + k;
    v->term = v->constant + k;
    v->inverse = v->loc + d * k;
    double *plain = v->inverse + d * k; /* (K, d) */
    dfoi_param_get(&s->loc, run, plain);
    transpose(k, d, plain, v->loc);
    dfoi_param_get(&s->log_scale, run, plain);
    transpose(k, d, plain, v->inverse);
    dfoi_param_get(&s->logits, run, v->log_weight);
    double total = dfoi_log_sum_exp(k, v->log_weight);
    for (size_t c = 0; c < k; c++) {
        v->log_weight[c] -= total;
        v->constant[c] = s->family == NORMAL ? -0.5 * DFOI_LOG_2PI * (double)d : 0;
        for (size_t j = 0; j < d && s->family != DISCRETISED; j++)
            v->constant[c] -= v->inverse[j * k + c];
    }
    for (size_t j = 0; j < d * k; j++)
        v->inverse[j] = exp(-v->inverse[j]);
    return DFO_OK;
}

/* Where a bin lies: its ends, in scales from loc, and whether it takes a tail.  */
struct bin {
    double a, b;
    int lowest, highest, outside;
};

static struct bin bin_of(const struct mixture *s, double x, double loc, double inverse)
{
    struct bin bin = {.a = (x - 0.5 - loc) * inverse, .b = (x + 0.5 - loc) * inverse};
    bin.lowest = x < s->low + 0.5;
    bin.highest = x > s->high - 0.5;
    bin.outside = x < s->low - 0.5 || x > s->high + 0.5;
    return bin;
}

static double log_bin(const struct mixture *s, double x, double loc, double inverse)
{
    struct bin bin = bin_of(s, x, loc, inverse);
    double width = inverse > 0.69 ? log1p(-exp(-inverse)) : log(-expm1(-inverse));
    if (bin.outside)
        return -INFINITY;
    if (bin.lowest || bin.highest)
        width = 0;
    return (bin.highest ? 0 : dfoi_log_sigmoid(bin.b)) + (bin.lowest ? 0 : dfoi_log_sigmoid(-bin.a)) + width;
}

/* d log_bin/dloc, which is -d/dx, and d/dlog scale.  */
static double bin_slope(const struct mixture *s, double x, double loc, double inverse, double *scale)
{
    struct bin bin = bin_of(s, x, loc, inverse);
    double above = bin.highest ? 0 : dfoi_sigmoid(-bin.b), below = bin.lowest ? 0 : dfoi_sigmoid(bin.a);
    *scale = (bin.lowest ? 0 : bin.a * below) - (bin.highest ? 0 : bin.b * above);
    if (!bin.lowest && !bin.highest)
        *scale -= inverse / expm1(inverse);
    return inverse * (below - above);
}

/* Fills term and gives log p.  */
static double row_log_prob(const struct mixture *s, const struct values *v, size_t d,
                           const dfo_real *x)
{
    size_t k = s->k;
    for (size_t c = 0; c < k; c++)
        v->term[c] = 0;
    for (size_t j = 0; j < d; j++) {
        const double *loc = v->loc + j * k, *inverse = v->inverse + j * k;
        double xj = (double)x[j];
        if (s->family == DISCRETISED)
            for (size_t c = 0; c < k; c++)
                v->term[c] += log_bin(s, xj, loc[c], inverse[c]);
        else if (s->family == LOGISTIC)
            for (size_t c = 0; c < k; c++) {
                double a = fabs((xj - loc[c]) * inverse[c]);
                v->term[c] -= a + 2 * log1p(exp(-a));
            }
        else
            for (size_t c = 0; c < k; c++) {
                double z = (xj - loc[c]) * inverse[c];
                v->term[c] -= 0.5 * z * z;
            }
    }
    for (size_t c = 0; c < k; c++)
        v->term[c] += v->log_weight[c] + v->constant[c];
    return dfoi_log_sum_exp(k, v->term);
}

static size_t scratch(const dfo_dist *dist, size_t rows)
{
    const struct mixture *s = dist->state;
    size_t k = s->k, dk = dist->d * k;
    (void)rows;
    return dfoi_doubles_size(3 * k) + dfoi_doubles_size(3 * dk) + dfoi_doubles_size(k + 3 * dk) +
           dfoi_doubles_size(2 * dist->d);
}

static dfo_status log_prob(const dfo_dist *dist, dfo_run *run, dfo_batch x, const dfo_cond *cond,
                           double *out)
{
    const struct mixture *s = dist->state;
    struct values v;
    (void)cond;
    DFO_TRY(take_values(dist, run, &v));
    for (size_t i = 0; i < x.n; i++)
        out[i] += row_log_prob(s, &v, x.d, dfo_row(x, i));
    return DFO_OK;
}

/* Gradients of one row: v->term holds g r_k.  Adds to gx (or NULL) and, by columns, to gloc,
 * gscale.  */
static void row_grad(const struct mixture *s, const struct values *v, size_t d, const dfo_real *x,
                     dfo_real *gx, double *gloc, double *gscale)
{
    size_t k = s->k;
    const double *weight = v->term;
    for (size_t j = 0; j < d; j++) {
        double xj = (double)x[j], sum = 0;
        for (size_t c = 0; c < k; c++) {
            size_t at = j * k + c;
            double z = (xj - v->loc[at]) * v->inverse[at], scale;
            double slope = s->family == LOGISTIC ? tanh(0.5 * z) : z;
            double pull = slope * v->inverse[at]; /* - d/dx */
            if (s->family == DISCRETISED)
                pull = bin_slope(s, xj, v->loc[at], v->inverse[at], &scale);
            else
                scale = slope * z - 1;
            sum += weight[c] * pull;
            gloc[at] += weight[c] * pull;
            gscale[at] += weight[c] * scale;
        }
        if (gx)
            gx[j] -= (dfo_real)sum;
    }
}

static dfo_status log_prob_grad(const dfo_dist *dist, dfo_run *run, dfo_batch x,
                                const dfo_cond *cond, const double *glogp, dfo_batch gx,
                                dfo_cond *gcond)
{
    const struct mixture *s = dist->state;
    size_t d = x.d, k = s->k;
    struct values v;
    (void)cond;
    (void)gcond;
    DFO_TRY(take_values(dist, run, &v));
    double *glogit = dfoi_take_doubles(run, k + 3 * d * k);
    if (!glogit)
        return run->status;
    double *gloc = glogit + k, *gscale = gloc + d * k, *plain = gscale + d * k;
    for (size_t j = 0; j < k + 2 * d * k; j++)
        glogit[j] = 0;
    for (size_t i = 0; i < x.n; i++) {
        double logp = row_log_prob(s, &v, d, dfo_row(x, i));
        for (size_t c = 0; c < k; c++) {
            double r = exp(v.term[c] - logp);
            glogit[c] += glogp[i] * (r - exp(v.log_weight[c]));
            v.term[c] = glogp[i] * r;
        }
        row_grad(s, &v, d, dfo_row(x, i), gx.x ? dfo_row(gx, i) : NULL, gloc, gscale);
    }
    dfoi_param_add_grad(&s->logits, run, glogit);
    transpose(d, k, gloc, plain);
    dfoi_param_add_grad(&s->loc, run, plain);
    transpose(d, k, gscale, plain);
    dfoi_param_add_grad(&s->log_scale, run, plain);
    return DFO_OK;
}

size_t dfoi_draw_component(size_t k, const double *log_weight, dfo_key key)
{
    double u, sum = 0;
    dfo_draw_uniform(key, DFOI_DRAWS_APART, 1, &u);
    for (size_t c = 0; c + 1 < k; c++) {
        sum += exp(log_weight[c]);
        if (u < sum)
            return c;
    }
    return k - 1;
}

static dfo_status sample(const dfo_dist *dist, dfo_run *run, dfo_batch x, const dfo_cond *cond,
                         double temperature)
{
    const struct mixture *s = dist->state;
    size_t k = s->k;
    struct values v;
    (void)cond;
    DFO_TRY(take_values(dist, run, &v));
    double *u = dfoi_take_doubles(run, 2 * x.d), *noise = u + x.d;
    if (!u)
        return run->status;
    for (size_t i = 0; i < x.n; i++) {
        dfo_real *row = dfo_row(x, i);
        dfo_key key = dfoi_base_key(run, i);
        size_t c = dfoi_draw_component(k, v.log_weight, key);
        for (size_t j = 0; j < x.d; j++)
            noise[j] = 0;
        if (s->family != NORMAL) {
            dfo_draw_uniform(key, 0, x.d, u);
            for (size_t j = 0; j < x.d; j++)
                u[j] = log(u[j]) - log1p(-u[j]);
            if (s->family == DISCRETISED && !s->bounded) {
                dfo_draw_uniform(key, x.d, x.d, noise);
                for (size_t j = 0; j < x.d; j++)
                    noise[j] -= 0.5;
            }
        } else {
            dfo_draw_real_normal(key, x.d, row);
            for (size_t j = 0; j < x.d; j++)
                u[j] = (double)row[j];
        }
        for (size_t j = 0; j < x.d; j++) {
            double value =
                v.loc[j * k + c] + temperature * (u[j] / v.inverse[j * k + c] + noise[j]);
            if (s->bounded)
                value = fmin(fmax(floor(value + 0.5), s->low), s->high);
            row[j] = (dfo_real)value;
        }
    }
    return DFO_OK;
}

static dfo_status describe(const dfo_dist *dist, json_t *to)
{
    const struct mixture *s = dist->state;
    DFO_TRY(dfoi_dist_describe_head(dist, to, s->learned));
    DFO_TRY(dfoi_json_set(dist->ctx, to, "components", json_integer((json_int_t)s->k)));
    if (isfinite(s->low))
        DFO_TRY(dfoi_json_set(dist->ctx, to, "low", json_real(s->low)));
    if (isfinite(s->high))
        DFO_TRY(dfoi_json_set(dist->ctx, to, "high", json_real(s->high)));
    DFO_TRY(dfoi_param_describe(dist->ctx, &s->logits, to));
    DFO_TRY(dfoi_param_describe(dist->ctx, &s->loc, to));
    return dfoi_param_describe(dist->ctx, &s->log_scale, to);
}

static void free_state(dfo_dist *dist)
{
    struct mixture *s = dist->state;
    if (s) {
        dfoi_param_free(dist->ctx, &s->logits);
        dfoi_param_free(dist->ctx, &s->loc);
        dfoi_param_free(dist->ctx, &s->log_scale);
    }
    dfoi_free(dist->ctx, s);
}

static const struct dfo_dist_ops normal_ops = {
    .type = "mixture-normal",
    .scratch = scratch,
    .log_prob = log_prob,
    .log_prob_grad = log_prob_grad,
    .sample = sample,
    .describe = describe,
    .free = free_state,
};

static const struct dfo_dist_ops logistic_ops = {
    .type = "mixture-logistic",
    .scratch = scratch,
    .log_prob = log_prob,
    .log_prob_grad = log_prob_grad,
    .sample = sample,
    .describe = describe,
    .free = free_state,
};

static const struct dfo_dist_ops discretised_ops = {
    .type = "discretised-logistic-mixture",
    .scratch = scratch,
    .log_prob = log_prob,
    .log_prob_grad = log_prob_grad,
    .sample = sample,
    .describe = describe,
    .free = free_state,
};

/* Bounds are whole numbers, low below high.  */
static dfo_status read_bounds(dfo_ctx *ctx, const json_t *config, struct mixture *s)
{
    s->low = -INFINITY;
    s->high = INFINITY;
    if (json_object_get(config, "low"))
        DFO_TRY(dfoi_json_real(ctx, config, "low", 0, -1e6, 1e6, &s->low));
    if (json_object_get(config, "high"))
        DFO_TRY(dfoi_json_real(ctx, config, "high", 0, -1e6, 1e6, &s->high));
    s->bounded = isfinite(s->low) || isfinite(s->high);
    if ((isfinite(s->low) && s->low != floor(s->low)) || (isfinite(s->high) && s->high != floor(s->high)))
        return dfoi_fail(ctx, DFO_EARG, "low and high: expected whole numbers, got %g and %g", s->low, s->high);
    if (!(s->low < s->high))
        return dfoi_fail(ctx, DFO_EARG, "high: must be above low, got %g and %g", s->high, s->low);
    return DFO_OK;
}

static dfo_status create(dfo_build *build, json_t *config, dfo_dist *dist, enum family family)
{
    const char *loc = family == NORMAL ? "mean" : "loc",
               *log_scale = family == NORMAL ? "log_std" : "log_scale";
    const char *const known[] = {"type", "learned", "components", "logits", loc, log_scale,
                                 family == DISCRETISED ? "low" : NULL, "high", NULL};
    dfo_ctx *ctx = build->ctx;
    struct mixture *s;
    size_t size;
    dist->ops = family == NORMAL     ? &normal_ops
                : family == LOGISTIC ? &logistic_ops
                                     : &discretised_ops;
    DFO_TRY(dfoi_alloc(ctx, 1, sizeof *s, &s));
    dist->state = s;
    s->family = family;
    DFO_TRY(dfoi_json_keys(ctx, config, known));
    DFO_TRY(read_bounds(ctx, config, s));
    DFO_TRY(dfoi_json_bool(ctx, config, "learned", 0, &s->learned));
    DFO_TRY(dfoi_json_size(ctx, config, "components", 8, 1, MAX_COMPONENTS, &s->k));
    DFO_TRY(dfoi_mul(ctx, s->k, dist->d, "components", &size));
    DFO_TRY(dfoi_mul(ctx, size, 16 * sizeof(double), "components", &size));
    DFO_TRY(dfoi_param_new(build, config, "logits", 0, s->k, 0, -1e3, 1e3, s->learned, &s->logits));
    DFO_TRY(dfoi_param_new(build, config, loc, s->k, dist->d, s->learned ? 0 : NAN, -DFO_REAL_MAX,
                           DFO_REAL_MAX, s->learned, &s->loc));
    if (s->learned && !s->loc.given)
        dfo_build_normal(build, s->loc.offset, s->loc.count, 1);
    return dfoi_param_new(build, config, log_scale, s->k, dist->d, 0, -80, 80, s->learned,
                          &s->log_scale);
}

dfo_status dfoi_dist_mixture_normal(dfo_build *build, json_t *config, dfo_dist *dist)
{
    return create(build, config, dist, NORMAL);
}

dfo_status dfoi_dist_mixture_logistic(dfo_build *build, json_t *config, dfo_dist *dist)
{
    return create(build, config, dist, LOGISTIC);
}

dfo_status dfoi_dist_discretised(dfo_build *build, json_t *config, dfo_dist *dist)
{
    return create(build, config, dist, DISCRETISED);
}

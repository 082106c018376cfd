/* The head of a classifier: logits = W mean_p a(s z + t) + b, the mean over the pixels p of a channel, a = relu or
 * nothing, s and t one number a channel (norm; i-RevNet's last batch normalisation as it is at evaluation, begun
 * from data).  i-RevNet: Jacobsen et al. 2018, "i-RevNet: deep invertible networks".  Sums run in double.  */
#include <math.h>
#include <string.h>

#include "base/ctx_impl.h"
#include "head_impl.h"

static dfo_status read_config(dfo_ctx *ctx, const json_t *config, dfoi_head *head)
{
    static const char *const keys[] = {"classes", "norm", "activation", NULL};
    int none;
    if (!json_is_object(config))
        return dfoi_fail(ctx, DFO_EARG, "head: expected an object with classes, norm, activation");
    DFO_TRY(dfoi_json_keys(ctx, config, keys));
    if (!json_is_integer(json_object_get(config, "classes")))
        return dfoi_fail(ctx, DFO_EARG, "classes: expected their number");
    DFO_TRY(dfoi_json_size(ctx, config, "classes", 0, 2, 65536, &head->classes));
    DFO_TRY(dfoi_json_bool(ctx, config, "norm", 1, &head->norm));
    DFO_TRY(dfoi_json_either(ctx, config, "activation", "relu", "none", &none));
    head->relu = !none;
    return DFO_OK;
}

static dfo_status add_weights(dfo_build *build, dfoi_head *head)
{
    const size_t matrix[2] = {head->classes, head->c};
    if (head->norm) {
        DFO_TRY(dfo_build_weights(build, "scale", 1, &head->c, &head->scale));
        DFO_TRY(dfo_build_weights(build, "shift", 1, &head->c, &head->shift));
        dfo_build_constant(build, head->scale, head->c, 1);
    }
    DFO_TRY(dfo_build_weights(build, "weight", 2, matrix, &head->weight));
    DFO_TRY(dfo_build_weights(build, "bias", 1, &head->classes, &head->bias));
    dfo_build_uniform(build, head->weight, head->classes * head->c, 1 / sqrt((double)head->c));
    return DFO_OK;
}

dfo_status dfoi_head_new(dfo_build *build, const json_t *config, dfoi_head **out)
{
    dfo_status status;
    dfoi_head *head;
    *out = NULL;
    DFO_TRY(dfoi_alloc(build->ctx, 1, sizeof *head, &head));
    head->ctx = build->ctx;
    head->c = build->shape.c;
    head->plane = build->shape.h * build->shape.w;
    head->first = dfo_store_weights_size(build->store);
    DFO_GO(read_config(build->ctx, config, head));
    DFO_GO(add_weights(build, head));
    head->count = dfo_store_weights_size(build->store) - head->first;
    *out = head;
    return DFO_OK;
fail:
    dfoi_wrap(build->ctx, "%s: ", build->path);
    dfoi_head_free(head);
    return status;
}

void dfoi_head_free(dfoi_head *head)
{
    if (head)
        dfoi_free(head->ctx, head);
}

dfo_status dfoi_head_describe(const dfoi_head *head, json_t *to)
{
    DFO_TRY(dfoi_json_set(head->ctx, to, "classes", json_integer((json_int_t)head->classes)));
    DFO_TRY(dfoi_json_set(head->ctx, to, "norm", json_boolean(head->norm)));
    return dfoi_json_set(head->ctx, to, "activation", json_string(head->relu ? "relu" : "none"));
}

void dfoi_head_init(const dfoi_head *head, dfo_real *weights, dfo_batch z)
{
    double n = (double)z.n * (double)head->plane;
    for (size_t c = 0; head->norm && c < head->c; c++) {
        double sum = 0, squares = 0;
        for (size_t i = 0; i < z.n; i++)
            for (size_t p = 0; p < head->plane; p++)
                sum += (double)dfo_row(z, i)[c * head->plane + p];
        for (size_t i = 0; i < z.n; i++)
            for (size_t p = 0; p < head->plane; p++) {
                double e = (double)dfo_row(z, i)[c * head->plane + p] - sum / n;
                squares += e * e;
            }
        double std = sqrt(squares / n), scale = std > 1e-6 ? 1 / std : 1;
        weights[head->scale + c] = (dfo_real)scale;
        weights[head->shift + c] = (dfo_real)(-scale * sum / n);
    }
}

void dfoi_head_forward(const dfoi_head *head, const dfo_real *weights, const dfo_real *z, double *pooled,
                       double *logits)
{
    for (size_t c = 0; c < head->c; c++) {
        double s = head->norm ? (double)weights[head->scale + c] : 1, sum = 0;
        double t = head->norm ? (double)weights[head->shift + c] : 0;
        const dfo_real *x = z + c * head->plane;
        for (size_t p = 0; p < head->plane; p++) {
            double a = s * (double)x[p] + t;
            sum += head->relu && a < 0 ? 0 : a;
        }
        pooled[c] = sum / (double)head->plane;
    }
    for (size_t k = 0; k < head->classes; k++) {
        const dfo_real *w = weights + head->weight + k * head->c;
        double sum = (double)weights[head->bias + k];
        for (size_t c = 0; c < head->c; c++)
            sum += (double)w[c] * pooled[c];
        logits[k] = sum;
    }
}

/* sums: weight (classes, c), bias (classes), scale (c), shift (c).  */
size_t dfoi_head_sums(const dfoi_head *head)
{
    return head->classes * (head->c + 1) + 2 * head->c;
}

void dfoi_head_backward(const dfoi_head *head, const dfo_real *weights, const dfo_real *z, double *pooled,
                        const double *glogits, dfo_real *gz, double *sums)
{
    double *gbias = sums + head->classes * head->c, *gscale = gbias + head->classes, *gshift = gscale + head->c;
    for (size_t k = 0; k < head->classes; k++) {
        for (size_t c = 0; c < head->c; c++)
            sums[k * head->c + c] += glogits[k] * pooled[c];
        gbias[k] += glogits[k];
    }
    memset(pooled, 0, head->c * sizeof *pooled);           /* now their gradients */
    for (size_t k = 0; k < head->classes; k++)
        for (size_t c = 0; c < head->c; c++)
            pooled[c] += glogits[k] * (double)weights[head->weight + k * head->c + c];
    for (size_t c = 0; c < head->c; c++) {
        double s = head->norm ? (double)weights[head->scale + c] : 1, g = pooled[c] / (double)head->plane;
        double t = head->norm ? (double)weights[head->shift + c] : 0, with_x = 0, alone = 0;
        const dfo_real *x = z + c * head->plane;
        for (size_t p = 0; p < head->plane; p++) {
            double open = head->relu && !(s * (double)x[p] + t > 0) ? 0 : g;
            with_x += open * (double)x[p];
            alone += open;
            gz[c * head->plane + p] = (dfo_real)(open * s);
        }
        gscale[c] += with_x;
        gshift[c] += alone;
    }
}

static void add(size_t n, const double *from, dfo_real *to)
{
    for (size_t i = 0; i < n; i++)
        to[i] += (dfo_real)from[i];
}

void dfoi_head_grads(const dfoi_head *head, dfo_run *run, const double *sums)
{
    const double *gbias = sums + head->classes * head->c, *gscale = gbias + head->classes;
    if (!run->grads)
        return;
    add(head->classes * head->c, sums, run->grads + head->weight);
    add(head->classes, gbias, run->grads + head->bias);
    if (head->norm) {
        add(head->c, gscale, run->grads + head->scale);
        add(head->c, gscale + head->c, run->grads + head->shift);
    }
}

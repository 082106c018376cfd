/* Paths of flow matching (Lipman et al. 2023; Liu et al. 2023; Albergo and Vanden-Eijnden 2023; Tong et al. 2024).  */
#include <math.h>
#include <string.h>

#include "layer_impl.h"
#include "matching_impl.h"

static const char *const path_name[] = {"straight", "narrowing", "trigonometric", "bridge", [DFOI_PATHS] = "diffusion", NULL};
enum { INDEPENDENT, TRANSPORT, GIVEN };
static const char *const pairing_name[] = {[INDEPENDENT] = "independent", [TRANSPORT] = "transport", [GIVEN] = "given", NULL};

dfo_status dfoi_matching_read(dfo_ctx *ctx, const json_t *config, dfoi_matching *m)
{
    static const char *const keys[] = {"path", "sigma", "pairing", "windows", "teacher_steps", "label_dropout", NULL};
    static const char *const denoising[] = {"path", "label_dropout", NULL};
    size_t path, pairing;
    *m = (dfoi_matching){.on = config != NULL};
    if (!config)
        return DFO_OK;
    DFO_TRY(dfoi_json_choice(ctx, config, "path", path_name, 0, &path));
    m->denoising = path == DFOI_PATHS;
    DFO_TRY(dfoi_json_keys(ctx, config, m->denoising ? denoising : keys));
    DFO_TRY(dfoi_json_real(ctx, config, "label_dropout", 0, 0, 0.999, &m->label_dropout));
    if (m->denoising)
        return DFO_OK;
    DFO_TRY(dfoi_json_choice(ctx, config, "pairing", pairing_name, INDEPENDENT, &pairing));
    DFO_TRY(dfoi_json_real(ctx, config, "sigma", 0, 0, 100, &m->sigma));
    DFO_TRY(dfoi_json_size(ctx, config, "windows", 0, 0, 1000, &m->windows));
    DFO_TRY(dfoi_json_size(ctx, config, "teacher_steps", 4, 1, 1000, &m->teacher_steps));
    m->path = (dfoi_path)path;
    m->transport = pairing == TRANSPORT;
    m->given = pairing == GIVEN;
    return DFO_OK;
}

dfo_status dfoi_matching_describe(dfo_ctx *ctx, const dfoi_matching *m, json_t *to)
{
    if (m->denoising)
        return dfoi_json_set(ctx, to, "matching", json_pack("{s:s, s:f}", "path", "diffusion", "label_dropout", m->label_dropout));
    return dfoi_json_set(ctx, to, "matching", json_pack("{s:s, s:f, s:s, s:I, s:I, s:f}", "path", path_name[m->path], "sigma", m->sigma, "pairing",
                                                        pairing_name[m->transport ? TRANSPORT : m->given ? GIVEN : INDEPENDENT], "windows",
                                                        (json_int_t)m->windows, "teacher_steps", (json_int_t)m->teacher_steps, "label_dropout",
                                                        m->label_dropout));
}

void dfoi_matching_path(const dfoi_matching *m, double t, size_t d, const dfo_real *x0, const dfo_real *x1, const dfo_real *e,
                        dfo_real *x, dfo_real *u)
{
    double a = 1 - t, b = t, da = -1, db = 1, s = m->sigma, ds = 0;        /* of x0, x1, e, and their rates */
    if (m->path == DFOI_PATH_NARROWING) {
        a = 1 - (1 - m->sigma) * t;
        da = m->sigma - 1;
        s = 0;
    } else if (m->path == DFOI_PATH_TRIGONOMETRIC) {
        a = cos(M_PI / 2 * t);
        b = sin(M_PI / 2 * t);
        da = -M_PI / 2 * b;
        db = M_PI / 2 * a;
    } else if (m->path == DFOI_PATH_BRIDGE) {
        s = m->sigma * sqrt(t * (1 - t));
        ds = m->sigma * (1 - 2 * t) / (2 * sqrt(t * (1 - t)));
    }
    for (size_t j = 0; j < d; j++) {
        double from = (double)x0[j], to = (double)x1[j], noise = (double)e[j];
        x[j] = (dfo_real)(a * from + b * to + s * noise);
        u[j] = (dfo_real)(da * from + db * to + ds * noise);
    }
}

void dfoi_matching_window(double start, double end, double t, size_t d, const dfo_real *from, const dfo_real *to, dfo_real *x, dfo_real *u)
{
    double at = (t - start) / (end - start);
    for (size_t j = 0; j < d; j++) {
        double step = (double)to[j] - (double)from[j];
        u[j] = (dfo_real)(step / (end - start));
        x[j] = (dfo_real)((double)from[j] + at * step);
    }
}

const dfo_bijector *dfoi_matching_layer(const dfo_flow *flow, size_t *derived)
{
    size_t n = dfoi_chain_count(flow->bij);
    const dfo_bijector *last = n ? dfoi_chain_layer(flow->bij, n - 1, derived) : NULL;
    return last && !strcmp(last->ops->type, "cnf") ? last : NULL;
}

int dfoi_matching_alone(const dfo_flow *flow)
{
    size_t n = dfoi_chain_count(flow->bij), derived;
    for (size_t i = 0; i + 1 < n; i++)
        if (!strcmp(dfoi_chain_layer(flow->bij, i, &derived)->ops->type, "cnf"))
            return 0;
    return 1;
}

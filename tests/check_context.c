/* Conditions that a flow standardises: a flow that is given them as they are against one that is given them z-scored, bit by bit, in all that
 * a flow does.  Whose statistics these are: check_context_config.c.  */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <diffeo/check.h>
#include <diffeo/fit.h>
#include <diffeo/variational.h>
#include "contextfix.h"

/* a standardises its condition, b is given what a makes of it.  */
static void pair_new(const char *text, size_t parts, struct side **a, struct side **b)
{
    *a = side_new(text, 1, parts);
    *b = side_new(text, 0, parts);
    take_rows(*a, N);
    take_rows(*b, N);
    const dfo_real *mean = means(*a), *std = stds(*a);
    for (size_t i = 0; i < N; i++)
        for (size_t j = 0; j < C; j++) {
            dfo_real *c = &(*b)->rows[i * (D + C) + D + j];
            *c = (*c - mean[j]) / std[j];
        }
}

/* What a flow makes of its rows: in places of its own.  */
struct made {
    dfo_real x[5][N * D], gx[2][N * D], gcond[N * (D + C)];
    double   out[6][N];
    int64_t  whole[2][N * D];
    dfo_status exact;
};

static void ask(struct side *s, struct made *m, int closed)
{
    dfo_cond cond = condition_in(s, s->rows), gcond = condition_in(s, m->gcond);
    double slope[N];
    dfo_batch draws = dfo_batch_of(m->x[2], N, D);
    for (size_t i = 0; i < N; i++)
        slope[i] = cos((double)i);
    good(s, dfo_flow_log_prob(s->plan, 0, copied(s, m->x[0]), &cond, m->out[0]));
    good(s, dfo_flow_log_prob_grad(s->plan, 0, copied(s, m->x[1]), &cond, m->out[1], dfo_batch_of(m->gx[0], N, D), &gcond));
    good(s, dfo_flow_sample(s->plan, 7, 0, draws, &cond, 1));
    good(s, dfo_flow_encode(s->plan, 0, copied(s, m->x[3]), &cond, m->out[2]));
    good(s, dfo_flow_decode(s->plan, 0, copied(s, m->x[4]), &cond, m->out[3]));
    good(s, dfo_flow_log_prob_draws(s->plan, 0, copied(s, m->x[1]), &cond, 2, m->out[4], m->out[5]));
    if (!closed)
        return;
    copied(s, m->gx[1]);
    good(s, dfo_flow_decode_backward(s->plan, 0, draws, dfo_batch_of(m->gx[1], N, D), &cond, slope));
}

/* NaN: not measured.  */
static int same(double a, double b)
{
    return isnan(a) ? isnan(b) : a >= b && a <= b;
}

static void same_report(struct side *a, struct side *b)
{
    struct side *side[] = {a, b};
    dfo_check_report r[2];
    for (int i = 0; i < 2; i++) {
        dfo_source *source;
        good(side[i], dfo_source_rows(side[i]->ctx, dfo_batch_of(side[i]->rows, N, D + C), &source));
        good(side[i], dfo_flow_check(side[i]->ctx, side[i]->flow, 3, source, 0, 1, &r[i]));
        dfo_source_free(source);
        ck_assert(r[i].finite);
    }
    ck_assert(same(r[0].roundtrip_max_abs, r[1].roundtrip_max_abs) && same(r[0].logdet_sum_max_abs, r[1].logdet_sum_max_abs));
    ck_assert(same(r[0].logdet_jacobian_max_abs, r[1].logdet_jacobian_max_abs) && same(r[0].gradient_max_rel, r[1].gradient_max_rel));
    ck_assert(r[0].layers == r[1].layers);
    for (size_t k = 0; k < r[0].layers; k++)
        ck_assert_msg(r[0].layer[k].error == r[1].layer[k].error && r[0].layer[k].logdet_sum == r[1].layer[k].logdet_sum, "layer %zu: %s", k,
                      r[0].layer[k].type);
    for (int i = 0; i < 2; i++)
        dfo_check_free(side[i]->ctx, &r[i]);
}

START_TEST(as_z_scored)
{
    for (size_t parts = 1; parts <= (_i < CLOSED ? 2 : 1); parts++) {
        struct side *a, *b;
        struct made *m = calloc(2, sizeof *m);
        ck_assert_ptr_nonnull(m);
        pair_new(context_configs[_i], parts, &a, &b);
        ask(a, m, _i < CLOSED);
        ask(b, m + 1, _i < CLOSED);
        const dfo_real *std = stds(a);
        double size = 0;
        for (size_t i = 0; i < N; i++)
            for (size_t j = 0; j < C; j++) {
                dfo_real *g = &m[1].gcond[i * (D + C) + D + j];
                size = fmax(size, fabs((double)*g));
                *g /= std[j];              /* of what a was given */
            }
        ck_assert_msg(size > 1e-2, "the condition counts for nothing: %g", size);
        ck_assert_int_eq(memcmp(m[0].x, m[1].x, sizeof m->x), 0);
        ck_assert_int_eq(memcmp(m[0].gx, m[1].gx, sizeof m->gx), 0);
        ck_assert_int_eq(memcmp(m[0].gcond, m[1].gcond, sizeof m->gcond), 0);
        ck_assert_int_eq(memcmp(m[0].out, m[1].out, sizeof m->out), 0);
        same_report(a, b);
        side_free(a);
        side_free(b);
        free(m);
    }
}
END_TEST

/* Rex, the samplers, the bound and edits of a flow that diffuses.  */
static void ask_diffusion(struct side *s, struct made *m)
{
    dfo_cond cond = condition_in(s, s->rows);
    dfo_real given[N * D];
    dfo_flow_rex *rex;
    dfo_denoiser_options ancestral;
    dfo_flow_denoiser *denoiser;
    dfo_flow_editor *editor;
    dfo_flow_bound *bound;
    dfo_cond to = condition_in(s, m->gcond);
    for (size_t i = 0; i < N; i++)         /* the condition of the row behind */
        memcpy(m->gcond + i * (D + C), s->rows + (i + 1) % N * (D + C), (D + C) * sizeof *m->gcond);
    copied(s, given);
    for (size_t i = 0; i < N * D; i += 3)
        given[i] = (dfo_real)NAN;
    good(s, dfo_flow_rex_new(s->ctx, s->flow, &(dfo_flow_rex_options){.steps = 4, .zeta = 0.999}, &rex));
    good(s, dfo_flow_rex_encode(rex, 0, copied(s, m->x[0]), &cond, dfo_batch_of(m->gx[0], N, D)));
    good(s, dfo_flow_rex_decode(rex, 0, dfo_batch_of(m->x[0], N, D), &cond, dfo_batch_of(m->gx[0], N, D)));
    dfo_flow_rex_free(rex);
    good(s, dfo_flow_rex_new(s->ctx, s->flow, &(dfo_flow_rex_options){.steps = 4, .zeta = 1, .exact = 1}, &rex));
    m->exact = dfo_flow_rex_encode_exact(rex, 0, copied(s, m->x[1]), &cond, m->whole[0], m->whole[1]);
    if (m->exact == DFO_OK)                /* some weights lead out of its range */
        good(s, dfo_flow_rex_decode_exact(rex, 0, dfo_batch_of(m->x[1], N, D), &cond, m->whole[0], m->whole[1]));
    dfo_ctx_clear(s->ctx);
    dfo_flow_rex_free(rex);
    dfo_denoiser_defaults(&ancestral);
    good(s, dfo_flow_denoiser_new(s->ctx, s->flow, &ancestral, NULL, 4, &denoiser));
    good(s, dfo_flow_denoiser_draw(denoiser, 0, dfo_batch_of(m->x[2], N, D), &cond));
    good(s, dfo_flow_denoiser_draw_given(denoiser, 0, dfo_batch_of(m->x[3], N, D), &cond, dfo_batch_of(given, N, D)));
    dfo_flow_denoiser_free(denoiser);
    good(s, dfo_flow_editor_new(s->ctx, s->flow, &(dfo_flow_edit_options){NULL, 4, 0.999, 0.7, 2}, NULL, &editor));
    good(s, dfo_flow_edit(editor, 0, copied(s, m->x[4]), &cond, &to, m->out[0]));
    dfo_flow_editor_free(editor);
    good(s, dfo_flow_bound_new(s->ctx, s->flow, 4, 3, &bound));
    good(s, dfo_flow_bound_log_prob(bound, 0, copied(s, given), &cond, m->out[1], m->out[2]));
    dfo_flow_bound_free(bound);
}

START_TEST(diffusion_as_z_scored)
{
    struct side *a, *b;
    struct made *m = calloc(2, sizeof *m);
    ck_assert_ptr_nonnull(m);
    pair_new(context_configs[DIFFUSION], 1, &a, &b);
    ask_diffusion(a, m);
    ask_diffusion(b, m + 1);
    ck_assert(m[0].exact == m[1].exact && (m[0].exact == DFO_OK || m[0].exact == DFO_ENUM));
    if (m[0].exact == DFO_OK) {
        ck_assert_int_eq(memcmp(m[0].x[1], m[1].x[1], sizeof m->x[1]), 0);
        ck_assert_int_eq(memcmp(m[0].whole, m[1].whole, sizeof m->whole), 0);
    }
    for (int k = 0; k < 5; k++)
        ck_assert(k == 1 || !memcmp(m[0].x[k], m[1].x[k], sizeof m->x[k]));
    ck_assert_int_eq(memcmp(m[0].gx, m[1].gx, sizeof m->gx), 0);
    ck_assert_int_eq(memcmp(m[0].out, m[1].out, sizeof m->out), 0);
    side_free(a);
    side_free(b);
    free(m);
}
END_TEST

/* A few steps of training, from layers that begin with data to the validation's mean.  A teacher is a flow like the one it teaches, of other
 * weights.  */
static double trained(struct side *s, const char *text, int standardises)
{
    dfo_fit_options o;
    dfo_fit_report report;
    dfo_source *source;
    dfo_loss *loss;
    struct side *teacher = NULL;
    dfo_fit_defaults(&o);
    o.steps = 6;
    o.batch = 100;
    o.lr = 1e-2;
    o.threads = 2;
    good(s, dfo_source_rows(s->ctx, dfo_batch_of(s->rows, N, D + C), &source));
    good(s, dfo_loss_flow_new(s->flow, &loss));
    if (dfo_flow_wants_teacher(s->flow)) {
        teacher = side_new(text, standardises, 1);
        for (size_t k = 0; k < dfo_store_weights_size(teacher->store); k++)
            dfo_store_weights(teacher->store)[k] *= (dfo_real)0.5;
        take_rows(teacher, N / 2);
        if (standardises) {                /* what the other side's teacher is given is z-scored by this one's statistics */
            memcpy(means(teacher), means(s), C * sizeof(dfo_real));
            memcpy(stds(teacher), stds(s), C * sizeof(dfo_real));
        }
        good(s, dfo_loss_flow_teach(loss, teacher->flow));
    }
    good(s, dfo_fit(loss, source, source, C, &o, &report));
    ck_assert_uint_eq(report.skipped, 0);
    dfo_loss_free(loss);
    dfo_source_free(source);
    if (teacher)
        side_free(teacher);
    return report.valid_loss;
}

START_TEST(trains_as_z_scored)
{
    struct side *a, *b;
    pair_new(context_configs[_i], 1, &a, &b);
    double one = trained(a, context_configs[_i], 1), other = trained(b, context_configs[_i], 0);
    ck_assert_msg(isfinite(one) && one == other, "%.17g and %.17g", one, other);
    ck_assert_int_eq(memcmp(dfo_store_weights(a->store), dfo_store_weights(b->store), dfo_store_weights_size(a->store) * sizeof(dfo_real)), 0);
    side_free(a);
    side_free(b);
}
END_TEST

/* Whoever learns from a flow that sees another condition: a teacher without statistics of its own is given conditions as they are.  */
START_TEST(teachers_own)
{
    struct side *s[2], *teacher[2];
    dfo_loss *loss;
    dfo_fit_options o;
    dfo_fit_report report[2];
    dfo_fit_defaults(&o);
    o.steps = 2;
    for (int k = 0; k < 2; k++) {
        dfo_source *source;
        s[k] = side_new(context_configs[WINDOWS], 1, 1);
        take_rows(s[k], N);
        teacher[k] = side_new(context_configs[WINDOWS], k, 1);
        take_rows(teacher[k], N);
        if (k)                             /* the same as none */
            for (size_t j = 0; j < C; j++) {
                means(teacher[k])[j] = 0;
                stds(teacher[k])[j] = 1;
            }
        good(s[k], dfo_loss_flow_new(s[k]->flow, &loss));
        good(s[k], dfo_loss_flow_teach(loss, teacher[k]->flow));
        good(s[k], dfo_source_rows(s[k]->ctx, dfo_batch_of(s[k]->rows, N, D + C), &source));
        good(s[k], dfo_fit(loss, source, source, C, &o, &report[k]));
        dfo_source_free(source);
        dfo_loss_free(loss);
    }
    ck_assert_msg(report[0].valid_loss == report[1].valid_loss, "%.17g and %.17g", report[0].valid_loss, report[1].valid_loss);
    for (int k = 0; k < 2; k++) {
        side_free(s[k]);
        side_free(teacher[k]);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("standardised conditions " DFO_REAL_NAME);
    TCase *t = tcase_create("context");
    tcase_add_loop_test(t, as_z_scored, 0, CONFIGS);
    tcase_add_test(t, diffusion_as_z_scored);
    tcase_add_loop_test(t, trains_as_z_scored, 0, CONFIGS);
    tcase_add_test(t, teachers_own);
    suite_add_tcase(suite, t);
    return test_run(suite);
}

/* Rows of one condition made into rows of another: as there by one and back by the other, to the source itself where they agree or a mask keeps
 * entries, guided as two predictors are mixed, whatever the blocks; what is refused.  */
#include <jansson.h>
#include <math.h>
#include <string.h>

#include "oom.h"
#include "util.h"
#include <diffeo/flow.h>

enum { N = 150, D = 3, C = 2 };            /* more than a block of rows */

struct model {
    dfo_ctx   *ctx;
    dfo_store *store;
    dfo_flow  *flow;
};

static const char *const schedule[] = {"vp", "subvp", "ve", "edm"};

static struct model model_of(const char *of, const char *predicts, double label_dropout, size_t conds)
{
    struct model m = {0};
    ck_assert(dfo_ctx_new(&m.ctx) == DFO_OK && dfo_store_new(m.ctx, &m.store) == DFO_OK);
    dfo_build build = {.ctx = m.ctx, .store = m.store, .seed = test_seed(), .path = "f", .shape = dfo_shape_vector(D), .conds = conds};
    build.cond[0] = dfo_shape_vector(C);
    json_t *config = json_pack("{s:{s:s, s:f}, s:{s:s, s:[{s:s}, {s:s, s:b, s:{s:s, s:i, s:i}, s:{s:s, s:s}}]}}", "matching", "path", "diffusion",
                               "label_dropout", conds ? label_dropout : 0.0, "bijector", "type", "chain", "layers", "type", "affine", "type", "cnf",
                               "zero_init", 0, "net", "type", "time-mlp", "hidden", 8, "layers", 1, "diffusion", "schedule", of, "prediction",
                               predicts);
    ck_assert_msg(dfo_flow_new(&build, config, &m.flow) == DFO_OK, "%s", dfo_ctx_error(m.ctx));
    json_decref(config);
    return m;
}

static void done(struct model *m)
{
    dfo_flow_free(m->flow);
    dfo_store_free(m->store);
    dfo_ctx_free(m->ctx);
}

static dfo_flow_editor *editor_of(const struct model *m, const dfo_flow_edit_options *how, const unsigned char *keep)
{
    dfo_flow_editor *e;
    ck_assert_msg(dfo_flow_editor_new(m->ctx, m->flow, how, keep, &e) == DFO_OK, "%s", dfo_ctx_error(m->ctx));
    return e;
}

static void fill(dfo_real *x)
{
    for (size_t i = 0; i < N * D; i++)
        x[i] = (dfo_real)(1.5 * cos(3.0 * (double)i));
}

/* N rows of a class; C: of none.  */
static dfo_cond of_class(dfo_real *rows, size_t class)
{
    dfo_cond cond = {.n = 1};
    for (size_t i = 0; i < N * C; i++)
        rows[i] = i % C == class;
    cond.part[0].rows = dfo_batch_of(rows, N, C);
    cond.part[0].shape = dfo_shape_vector(C);
    return cond;
}

static void edit(const struct model *m, dfo_flow_editor *e, dfo_real *x, size_t from, size_t to, double *off)
{
    dfo_real a[N * C], b[N * C];
    dfo_cond source = of_class(a, from), target = of_class(b, to);
    ck_assert_msg(dfo_flow_edit(e, 0, dfo_batch_of(x, N, D), &source, &target, off) == DFO_OK, "%s", dfo_ctx_error(m->ctx));
}

static double distance(const dfo_real *a, const dfo_real *b)
{
    double most = 0;
    for (size_t i = 0; i < N * D; i++)
        most = fmax(most, fabs((double)a[i] - (double)b[i]));
    return most;
}

/* All the way, without a mask: what dfo_flow_rex_encode and _decode do one after the other.  */
START_TEST(there_and_back)
{
    for (size_t k = 0; k < 4; k++) {
        struct model m = model_of(schedule[k], "edm", 0, 1);
        dfo_real x[N * D], y[N * D], was[N * D], aux[N * D], a[N * C], b[N * C];
        dfo_cond source = of_class(a, 0), target = of_class(b, 1);
        dfo_flow_rex_options how = {.steps = 12, .zeta = 0.999, .method = "heun"};
        dfo_flow_rex *rex;
        dfo_flow_editor *e = editor_of(&m, &(dfo_flow_edit_options){"heun", 12, 0.999, 1, 1}, NULL);
        ck_assert_int_eq(dfo_flow_rex_new(m.ctx, m.flow, &how, &rex), DFO_OK);
        fill(x);
        memcpy(y, x, sizeof x);
        memcpy(was, x, sizeof x);
        ck_assert_int_eq(dfo_flow_rex_encode(rex, 0, dfo_batch_of(y, N, D), &source, dfo_batch_of(aux, N, D)), DFO_OK);
        ck_assert_int_eq(dfo_flow_rex_decode(rex, 0, dfo_batch_of(y, N, D), &target, dfo_batch_of(aux, N, D)), DFO_OK);
        edit(&m, e, x, 0, 1, NULL);
        ck_assert_msg(distance(x, y) < (IS_DOUBLE ? 1e-11 : 1e-4), "%s: off by %g", schedule[k], distance(x, y));
        ck_assert_msg(distance(x, was) > 1e-3, "%s: moved by %g", schedule[k], distance(x, was));
        dfo_flow_rex_free(rex);
        dfo_flow_editor_free(e);
        done(&m);
    }
}
END_TEST

/* From a class to the same one: the rows themselves, whatever the strength.  */
START_TEST(nothing_to_do)
{
    static const double strength[] = {0.1, 0.6, 1};
    for (size_t k = 0; k < 4; k++)
        for (size_t i = 0; i < 3; i++) {
            struct model m = model_of(schedule[k], "velocity", 0, 1);
            dfo_real x[N * D], was[N * D];
            dfo_flow_editor *e = editor_of(&m, &(dfo_flow_edit_options){NULL, 15, 0.999, strength[i], 1}, NULL);
            dfo_noise_point turn = dfo_flow_editor_turn(e);
            ck_assert_str_eq(dfo_flow_editor_options(e)->method, "midpoint");
            ck_assert(turn.sigma > 0 && (k == 3 || k == 2 || (turn.t > strength[i] - 1e-9 && turn.t < strength[i] + 1e-3)));
            fill(x);
            memcpy(was, x, sizeof x);
            edit(&m, e, x, 1, 1, NULL);
            ck_assert_msg(distance(x, was) < (IS_DOUBLE ? 1e-12 : 1e-4), "%s, %g: off by %g", schedule[k], strength[i], distance(x, was));
            dfo_flow_editor_free(e);
            done(&m);
        }
}
END_TEST

/* What is kept stays to the bit, having come back nearly so; the rest moves, and not as it does alone.  */
START_TEST(masked)
{
    const unsigned char keep[D] = {1, 0, 1};
    for (size_t k = 0; k < 4; k++) {
        struct model m = model_of(schedule[k], "edm", 0, 1);
        dfo_flow_edit_options how = {NULL, 20, 0.999, 0.8, 1};
        dfo_real x[N * D], was[N * D], alone[N * D];
        double off[N], moved = 0;
        dfo_flow_editor *e = editor_of(&m, &how, keep), *free_one = editor_of(&m, &how, NULL);
        fill(x);
        memcpy(was, x, sizeof x);
        memcpy(alone, x, sizeof x);
        edit(&m, e, x, 0, 1, off);
        edit(&m, free_one, alone, 0, 1, NULL);
        for (size_t i = 0; i < N; i++) {
            ck_assert(off[i] >= 0 && off[i] < (IS_DOUBLE ? 1e-12 : 1e-4));
            for (size_t j = 0; j < D; j++)
                ck_assert(!keep[j] || !memcmp(x + i * D + j, was + i * D + j, sizeof *x));
            moved = fmax(moved, fabs((double)(x[i * D + 1] - was[i * D + 1])));
        }
        ck_assert_msg(moved > 1e-3 && distance(x, alone) > 1e-6, "%s: moved by %g", schedule[k], moved);
        dfo_flow_editor_free(e);
        dfo_flow_editor_free(free_one);
        done(&m);
    }
}
END_TEST

/* A weight of 0 is the way back without a class; of 2 it is neither.  */
START_TEST(guided)
{
    for (size_t k = 0; k < 4; k++) {
        struct model m = model_of(schedule[k], "edm", 0.1, 1);
        dfo_flow_edit_options how = {NULL, 10, 0.999, 0.7, 0};
        dfo_real x[3][N * D];
        for (size_t i = 0; i < 3; i++) {
            how.guidance = i == 1 ? 1 : (double)i;
            dfo_flow_editor *e = editor_of(&m, &how, NULL);
            fill(x[i]);
            edit(&m, e, x[i], 0, i == 1 ? C : 1, NULL);
            dfo_flow_editor_free(e);
        }
        ck_assert_msg(distance(x[0], x[1]) < (IS_DOUBLE ? 1e-12 : 1e-4), "%s: off by %g", schedule[k], distance(x[0], x[1]));
        ck_assert_msg(distance(x[2], x[1]) > 1e-3, "%s: %g", schedule[k], distance(x[2], x[1]));
        done(&m);
    }
}
END_TEST

/* Rows in one call or in two, of a block and of the rest.  */
START_TEST(blocks)
{
    const unsigned char keep[D] = {0, 1, 0};
    struct model m = model_of("vp", "noise", 0.1, 1);
    size_t first = dfo_flow_block(m.flow);
    dfo_real x[N * D], y[N * D], a[N * C], b[N * C];
    dfo_cond source = of_class(a, 0), target = of_class(b, 1);
    dfo_cond s[2] = {dfo_cond_rows(&source, 0, first), dfo_cond_rows(&source, first, N - first)};
    dfo_cond t[2] = {dfo_cond_rows(&target, 0, first), dfo_cond_rows(&target, first, N - first)};
    dfo_flow_editor *e = editor_of(&m, &(dfo_flow_edit_options){"rk4", 5, 0.9, 0.5, 1.5}, keep);
    ck_assert(first < N);
    fill(x);
    fill(y);
    ck_assert_int_eq(dfo_flow_edit(e, 0, dfo_batch_of(x, N, D), &source, &target, NULL), DFO_OK);
    ck_assert_int_eq(dfo_flow_edit(e, 0, dfo_batch_of(y, first, D), &s[0], &t[0], NULL), DFO_OK);
    ck_assert_int_eq(dfo_flow_edit(e, first, dfo_batch_of(y + first * D, N - first, D), &s[1], &t[1], NULL), DFO_OK);
    ck_assert(!memcmp(x, y, sizeof x));
    dfo_flow_editor_free(e);
    done(&m);
}
END_TEST

START_TEST(refused)
{
    static const struct { dfo_flow_edit_options how; dfo_status status; const char *says; } bad[] = {
        {{NULL, 0, 0.9, 0.5, 1}, DFO_EARG, "steps, got 0"},
        {{NULL, 5, 0, 0.5, 1}, DFO_EARG, "zeta 0"},
        {{NULL, 5, 0.9, 0, 1}, DFO_EARG, "strength 0: expected a number above 0, 1 at most"},
        {{NULL, 5, 0.9, 1.01, 1}, DFO_EARG, "strength 1.01"},
        {{NULL, 5, 0.9, NAN, 1}, DFO_EARG, "strength nan"},
        {{NULL, 5, 0.9, 0.5, NAN}, DFO_EARG, "guidance"},
        {{NULL, 5, 0.9, 0.5, 2}, DFO_EUNSUP, "not trained with label_dropout"},
        {{"kvaerno3", 5, 0.9, 0.5, 1}, DFO_EARG, "implicit"},
    };
    struct model m = model_of("vp", "noise", 0, 1), plain = model_of("vp", "noise", 0, 0), dropped = model_of("vp", "noise", 0.1, 1);
    dfo_flow_edit_options good = {NULL, 5, 0.9, 0.5, 1};
    dfo_flow_editor *e;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ck_assert_int_eq(dfo_flow_editor_new(m.ctx, m.flow, &bad[i].how, NULL, &e), bad[i].status);
        ck_assert_msg(!e && strstr(dfo_ctx_error(m.ctx), bad[i].says), "%s", dfo_ctx_error(m.ctx));
    }
    ck_assert_int_eq(dfo_flow_editor_new(plain.ctx, plain.flow, &good, NULL, &e), DFO_EUNSUP);
    ck_assert_msg(!e && strstr(dfo_ctx_error(plain.ctx), "no condition"), "%s", dfo_ctx_error(plain.ctx));
    dfo_real x[N * D], again[N * D], a[N * C], b[N * C];
    dfo_cond cond = of_class(a, 0), other = of_class(b, 1), few = dfo_cond_rows(&cond, 0, 2);
    for (int own = 0; own < 2; own++) {                   /* an editor has its own guidance */
        if (own)
            ck_assert_int_eq(dfo_flow_set_guidance(dropped.flow, 2), DFO_OK);
        e = editor_of(&dropped, &good, NULL);
        fill(own ? again : x);
        ck_assert_int_eq(dfo_flow_edit(e, 0, dfo_batch_of(own ? again : x, N, D), &cond, &other, NULL), DFO_OK);
        dfo_flow_editor_free(e);
    }
    ck_assert(!memcmp(x, again, sizeof x));
    e = editor_of(&m, &good, NULL);
    fill(x);
    ck_assert_int_eq(dfo_flow_edit(e, 0, dfo_batch_of(x, N, D), &cond, &few, NULL), DFO_ESHAPE);
    ck_assert_int_eq(dfo_flow_edit(e, 0, dfo_batch_of(x, N, D), NULL, &cond, NULL), DFO_ESHAPE);
    x[D] = (dfo_real)NAN;
    ck_assert_int_eq(dfo_flow_edit(e, 0, dfo_batch_of(x, N, D), &cond, &cond, NULL), DFO_ENUM);
    ck_assert_msg(strstr(dfo_ctx_error(m.ctx), "row 1") != NULL, "%s", dfo_ctx_error(m.ctx));
    dfo_flow_editor_free(e);
    dfo_flow_editor_free(NULL);
    done(&m);
    done(&plain);
    done(&dropped);
}
END_TEST

static dfo_status work(dfo_ctx *of, void *data)
{
    const struct model *m = data;
    const unsigned char keep[D] = {0, 1, 0};
    dfo_real x[2 * D] = {0}, a[N * C], b[N * C];
    dfo_cond source = of_class(a, 0), target = of_class(b, 1);
    source = dfo_cond_rows(&source, 0, 2);
    target = dfo_cond_rows(&target, 0, 2);
    dfo_flow_editor *e;
    dfo_status status = dfo_flow_editor_new(of, m->flow, &(dfo_flow_edit_options){NULL, 2, 0.9, 0.5, 2}, keep, &e);
    if (status == DFO_OK)
        status = dfo_flow_edit(e, 0, dfo_batch_of(x, 2, D), &source, &target, NULL);
    dfo_flow_editor_free(e);
    return status;
}

START_TEST(memory)
{
    struct model m = model_of("vp", "data", 0.1, 1);
    ck_assert_uint_ge(oom_check("an editor", OOM_ALL, work, &m), 4);
    done(&m);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("rows edited " DFO_REAL_NAME);
    TCase *t = tcase_create("edit");
    tcase_add_test(t, there_and_back);
    tcase_add_test(t, nothing_to_do);
    tcase_add_test(t, masked);
    tcase_add_test(t, guided);
    tcase_add_test(t, blocks);
    tcase_add_test(t, refused);
    tcase_add_test(t, memory);
    suite_add_tcase(suite, t);
    return test_run(suite);
}

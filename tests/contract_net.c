/* The contract of a net, for every registered type and random configurations: its passes against
 * each other and against central differences, rows alone and together, what may be written, no
 * memory asked for.  */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/ctx_impl.h"
#include "base/json_impl.h"
#include "math/kern_impl.h"
#include "netcase.h"
#include "oom.h"

#define OK(c, call)                                                                                \
    ck_assert_msg((call) == DFO_OK, "%s: %s: %s", netcase_text(c), #call, (c)->t->run.text)
#define CANARY ((dfo_real)777.25)

typedef void (*law)(netcase *);

/* Runs a law over random cases of every type and of every activation.  */
static void over_cases(law check, size_t times)
{
    test_rng rng = test_rng_new(test_seed());
    for (size_t type = 0; type < dfo_net_types(); type++)
        for (size_t k = 0; k < test_times(times); k++) {
            netcase c;
            const char *act = k < DFOI_ACT_COUNT ? dfoi_act_name((dfoi_act)k) : NULL;
            netcase_new(&c, test_rng_next(&rng) >> 16, dfo_net_type(type), act);
            check(&c);
            testrun_check(c.t, netcase_text(&c));
            netcase_free(&c);
        }
}

static void free_block(netcase *c, dfo_block block)
{
    dfoi_free(c->ctx, block.x);
}

static dfo_block copy_block(netcase *c, dfo_block from)
{
    dfo_block block = netcase_block(c, 0);
    netcase_copy_block(c, block, from);
    return block;
}

static void assert_same(const netcase *c, const char *what, dfo_block x, dfo_block y)
{
    for (size_t j = 0; j < x.d; j++)
        for (size_t i = 0; i < x.n; i++)
            ck_assert_msg(!memcmp(netcase_at(x, i, j), netcase_at(y, i, j), sizeof *x.x),
                          "%s: %s: row %zu, feature %zu differs", netcase_text(c), what, i, j);
}

static void assert_same_rows(const netcase *c, const char *what, const dfo_cond *x,
                             const dfo_cond *y)
{
    for (size_t p = 0; p < c->parts; p++)
        for (size_t i = 0; i < c->n; i++)
            ck_assert_msg(!memcmp(dfo_row(x->part[p].rows, i), dfo_row(y->part[p].rows, i),
                                  x->part[p].rows.d * sizeof(dfo_real)),
                          "%s: %s: part %zu, row %zu differs", netcase_text(c), what, p, i);
}

/* |got - want| within tolerance times size.  */
static void assert_near(const netcase *c, const char *what, double got, double want, double size,
                        double tolerance)
{
    ck_assert_msg(fabs(got - want) <= tolerance * (1e-3 + size),
                  "%s: %s: %.15g and %.15g, apart by %.3g of size %.3g (allowed %.3g)",
                  netcase_text(c), what, got, want, fabs(got - want), size, tolerance);
}

/* <gout, J din> = <J^T gout, din>, to rounding.  */
static void adjoint(netcase *c)
{
    double size = 0, tolerance = 200 * DFO_REAL_EPS;
    dfo_block out = netcase_block(c, 0), dout = netcase_block(c, 0), gout = netcase_block(c, 11);
    dfo_cond gin = netcase_cond(c, 0, 2);
    OK(c, dfo_net_jvp(c->net, &c->t->run, &c->in, &c->din, out, dout, NULL));
    double forward = netcase_dot_block(gout, dout, &size);
    OK(c, dfo_net_forward(c->net, &c->t->run, &c->in, out, c->acts));
    OK(c, dfo_net_backward(c->net, &c->t->run, &c->in, gout, &gin, c->acts));
    double backward = netcase_dot_cond(c, &gin, &c->din, &size);
    assert_near(c, "<g, J v> and <J' g, v>", forward, backward, size, tolerance);
    netcase_cond_free(c, &gin);
    free_block(c, out);
    free_block(c, dout);
    free_block(c, gout);
}

START_TEST(vjp_is_the_adjoint_of_jvp)
{
    over_cases(adjoint, 60);
}
END_TEST

/* forward, with and without acts, and jvp give the same values; all passes the same bits twice;
 * NULL where results are not wanted changes no other result.  */
static void repeat(netcase *c)
{
    dfo_run *run = &c->t->run;
    dfo_block out = netcase_block(c, 0), again = netcase_block(c, 0), dout = netcase_block(c, 0);
    dfo_block dagain = netcase_block(c, 0), gout = netcase_block(c, 12), g = copy_block(c, gout);
    dfo_block gdout = netcase_block(c, 13), gd = copy_block(c, gdout);
    dfo_cond gin = netcase_cond(c, 0, 1), gin2 = netcase_cond(c, 0, 0);
    dfo_cond gdin = netcase_cond(c, 0, 1), gdin2 = netcase_cond(c, 0, 0);
    size_t weights = c->t->weights;
    dfo_real *grads;
    OK(c, dfoi_alloc(c->ctx, weights, sizeof *grads, &grads));
    OK(c, dfo_net_forward(c->net, run, &c->in, out, NULL));
    OK(c, dfo_net_forward(c->net, run, &c->in, again, NULL));
    assert_same(c, "forward twice", out, again);
    OK(c, dfo_net_jvp(c->net, run, &c->in, &c->din, again, dout, NULL));
    for (size_t j = 0; j < out.d; j++)
        for (size_t i = 0; i < c->n; i++) {
            double a = (double)*netcase_at(out, i, j), b = (double)*netcase_at(again, i, j);
            assert_near(c, "out of jvp", b, a, fabs(a), 100 * DFO_REAL_EPS);
        }
    OK(c, dfo_net_jvp(c->net, run, &c->in, &c->din, again, dagain, c->acts));
    assert_same(c, "jvp with acts", dout, dagain);

    OK(c, dfo_net_jvp_backward(c->net, run, &c->in, &c->din, g, gd, &gin, &gdin, c->acts));
    memcpy(grads, run->grads, weights * sizeof *grads);
    netcase_copy_block(c, g, gout);
    netcase_copy_block(c, gd, gdout);
    testrun_reset(c->t);
    OK(c, dfo_net_jvp_backward(c->net, run, &c->in, &c->din, g, gd, NULL, &gdin2, c->acts));
    assert_same_rows(c, "jvp_backward, tangent's gradient alone", &gdin, &gdin2);
    ck_assert_msg(!memcmp(grads, run->grads, weights * sizeof *grads), "%s: jvp_backward's weights",
                  netcase_text(c));

    testrun_reset(c->t);
    netcase_cond_free(c, &gin);
    gin = netcase_cond(c, 0, 1);
    OK(c, dfo_net_forward(c->net, run, &c->in, again, c->acts));
    assert_same(c, "forward with acts", out, again);
    netcase_copy_block(c, g, gout);
    OK(c, dfo_net_backward(c->net, run, &c->in, g, &gin, c->acts));
    memcpy(grads, run->grads, weights * sizeof *grads);
    testrun_reset(c->t);
    netcase_copy_block(c, g, gout);
    OK(c, dfo_net_backward(c->net, run, &c->in, g, NULL, c->acts));
    ck_assert_msg(!memcmp(grads, run->grads, weights * sizeof *grads), "%s: backward without gin",
                  netcase_text(c));
    run->grads = NULL;
    netcase_copy_block(c, g, gout);
    OK(c, dfo_net_backward(c->net, run, &c->in, g, &gin2, c->acts));
    assert_same_rows(c, "backward without weight gradients", &gin, &gin2);
    run->grads = c->t->block[4];

    dfoi_free(c->ctx, grads);
    netcase_cond_free(c, &gin);
    netcase_cond_free(c, &gin2);
    netcase_cond_free(c, &gdin);
    netcase_cond_free(c, &gdin2);
    free_block(c, out);
    free_block(c, again);
    free_block(c, dout);
    free_block(c, dagain);
    free_block(c, gout);
    free_block(c, gdout);
    free_block(c, g);
    free_block(c, gd);
}

START_TEST(passes_agree_and_repeat)
{
    over_cases(repeat, 40);
}
END_TEST

/* A row alone gives the bits that it gives among others, values and input gradients; the sum of the
 * rows' weight gradients is the batch's.  Gradients are added, and nothing is written beside them.
 * Nets with statistics of their rows: in evaluation.  */
static void rows_alone(netcase *c)
{
    dfo_run *run = &c->t->run;
    if (dfo_net_statistics(c->net))
        run->mode = DFO_EVALUATE;
    dfo_key key = run->key;
    dfo_block out = netcase_block(c, 0), one = netcase_block(c, 0), gout = netcase_block(c, 14),
              g = netcase_block(c, 0);
    dfo_cond gin = netcase_cond(c, 0, 3), alone = netcase_cond(c, 0, 0);
    size_t weights = c->t->weights;
    dfo_real *grads;
    OK(c, dfoi_alloc(c->ctx, weights, sizeof *grads, &grads));
    for (size_t p = 0; p < c->parts; p++)
        for (size_t i = 0; i < c->n * gin.part[p].rows.ld; i++)
            gin.part[p].rows.x[i] = CANARY;
    OK(c, dfo_net_forward(c->net, run, &c->in, out, c->acts));
    netcase_copy_block(c, g, gout);
    OK(c, dfo_net_backward(c->net, run, &c->in, g, &gin, c->acts));
    memcpy(grads, run->grads, weights * sizeof *grads);
    testrun_reset(c->t);
    one.n = g.n = 1;
    for (size_t i = 0; i < c->n; i++) {
        dfo_cond in = dfo_cond_rows(&c->in, i, 1), to = dfo_cond_rows(&alone, i, 1);
        run->key.row = key.row + i;
        for (size_t j = 0; j < g.d; j++) {
            if (g.layout == DFO_FEATURES)
                memset(g.x + j * 64, 0, 64 * sizeof *g.x);
            *netcase_at(g, 0, j) = *netcase_at(gout, i, j);
        }
        OK(c, dfo_net_forward(c->net, run, &in, one, c->acts));
        for (size_t j = 0; j < g.d; j++)
            ck_assert_msg(*netcase_at(one, 0, j) == *netcase_at(out, i, j),
                          "%s: row %zu alone: feature %zu is %.9g, was %.9g", netcase_text(c), i, j,
                          (double)*netcase_at(one, 0, j), (double)*netcase_at(out, i, j));
        OK(c, dfo_net_backward(c->net, run, &in, g, &to, c->acts));
    }
    run->key = key;
    for (size_t p = 0; p < c->parts; p++) {
        dfo_batch all = gin.part[p].rows, a = alone.part[p].rows;
        for (size_t i = 0; i < c->n; i++)
            for (size_t j = 0; j < all.ld; j++) {
                dfo_real want = j < all.d ? CANARY + dfo_row(a, i)[j] : CANARY;
                ck_assert_msg(dfo_row(all, i)[j] == want,
                              "%s: gradient of part %zu, row %zu, column %zu: %.9g, alone %.9g",
                              netcase_text(c), p, i, j, (double)dfo_row(all, i)[j], (double)want);
            }
    }
    double norm = sqrt(dfoi_sum_squares(weights, grads) / (double)(weights + 1));
    for (size_t i = 0; i < weights; i++)
        assert_near(c, "sum of rows' weight gradients", (double)run->grads[i], (double)grads[i],
                    norm * 8 + fabs((double)grads[i]), 300 * DFO_REAL_EPS);
    dfoi_free(c->ctx, grads);
    netcase_cond_free(c, &gin);
    netcase_cond_free(c, &alone);
    free_block(c, out);
    free_block(c, one);
    free_block(c, gout);
    free_block(c, g);
}

START_TEST(rows_do_not_know_each_other)
{
    over_cases(rows_alone, 25);
}
END_TEST

/* Rows on both sides: the passes' bits, in an arena of the size that is asked for.  */
static void in_rows(netcase *c)
{
    dfo_run *run = &c->t->run;
    dfo_real *own = run->arena, *memory, *grads;
    size_t size = run->arena_size, n = c->n, d = c->net->out, weights = c->t->weights;
    dfo_block out = netcase_block(c, 0), gout = netcase_block(c, 15), from = netcase_block(c, 0);
    dfo_cond gin = netcase_cond(c, 0, 1), gin2 = netcase_cond(c, 0, 0);
    OK(c, dfoi_alloc(c->ctx, n * d, sizeof *memory, &memory));
    OK(c, dfoi_alloc(c->ctx, weights, sizeof *grads, &grads));
    dfo_batch rows = dfo_batch_of(memory, n, d);
    OK(c, dfo_net_forward(c->net, run, &c->in, out, c->acts));
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < d; j++)
            dfo_row(rows, i)[j] = *netcase_at(gout, i, j);
    OK(c, dfo_net_backward(c->net, run, &c->in, gout, &gin, c->acts));
    memcpy(grads, run->grads, weights * sizeof *grads);
    testrun_reset(c->t);
    run->arena_size = dfo_net_rows_scratch(c->net, n);
    OK(c, dfoi_alloc(c->ctx, run->arena_size, sizeof *run->arena, &run->arena));
    OK(c, dfo_net_rows_backward(c->net, run, &c->in, rows, &gin2));
    OK(c, dfo_net_rows_forward(c->net, run, &c->in, rows));
    assert_same_rows(c, "rows' gradient", &gin, &gin2);
    ck_assert_msg(!memcmp(grads, run->grads, weights * sizeof *grads), "%s: rows' weights", netcase_text(c));
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < d; j++)
            *netcase_at(from, i, j) = dfo_row(rows, i)[j];
    assert_same(c, "rows", out, from);
    dfoi_free(c->ctx, run->arena);
    run->arena = own;
    run->arena_size = size;
    dfoi_free(c->ctx, grads);
    dfoi_free(c->ctx, memory);
    netcase_cond_free(c, &gin);
    netcase_cond_free(c, &gin2);
    free_block(c, out);
    free_block(c, gout);
    free_block(c, from);
}

START_TEST(rows_on_both_sides)
{
    over_cases(in_rows, 10);
}
END_TEST

/* Packing by several threads packs the same.  */
static void prepared(netcase *c)
{
    dfo_run *run = &c->t->run;
    size_t size = c->t->size[2];
    dfo_real *once;
    OK(c, dfoi_alloc(c->ctx, size, sizeof *once, &once));
    memcpy(once, run->derived, size * sizeof *once);
    run->threads = 3;
    ck_assert_msg(!memcmp(once, run->derived, size * sizeof *once), "%s: prepare with 3 threads",
                  netcase_text(c));
    dfoi_free(c->ctx, once);
}

START_TEST(threads_prepare_the_same)
{
    over_cases(prepared, 10);
}
END_TEST

/* What is written with n rows: no row beyond in gin (another block follows at once), parts that are
 * not wanted (x = NULL) are left, tangents that are absent are zero.  */
static void absent_parts(netcase *c)
{
    dfo_run *run = &c->t->run;
    size_t skip = test_seed() % c->parts;
    dfo_block out = netcase_block(c, 0), dout = netcase_block(c, 0), dzero = netcase_block(c, 0);
    dfo_block gout = netcase_block(c, 15), g = copy_block(c, gout);
    dfo_cond gin = netcase_cond(c, 0, 0), some = netcase_cond(c, 0, 0), din = c->din;
    OK(c, dfo_net_forward(c->net, run, &c->in, out, c->acts));
    OK(c, dfo_net_backward(c->net, run, &c->in, g, &gin, c->acts));
    dfo_real *kept = some.part[skip].rows.x;
    some.part[skip].rows.x = NULL;
    netcase_copy_block(c, g, gout);
    OK(c, dfo_net_backward(c->net, run, &c->in, g, &some, c->acts));
    some.part[skip].rows.x = kept;
    for (size_t p = 0; p < c->parts; p++)
        for (size_t i = 0; i < c->n * gin.part[p].rows.d; i++)
            ck_assert(some.part[p].rows.x[i] == (p == skip ? 0 : gin.part[p].rows.x[i]));
    for (size_t i = 0; i < c->n; i++)
        memset(dfo_row(c->din.part[skip].rows, i), 0, c->din.part[skip].rows.d * sizeof(dfo_real));
    OK(c, dfo_net_jvp(c->net, run, &c->in, &c->din, out, dzero, NULL));
    din.part[skip].rows.x = NULL;
    OK(c, dfo_net_jvp(c->net, run, &c->in, &din, out, dout, NULL));
    assert_same(c, "an absent tangent", dzero, dout);
    netcase_cond_free(c, &gin);
    netcase_cond_free(c, &some);
    free_block(c, out);
    free_block(c, dout);
    free_block(c, dzero);
    free_block(c, gout);
    free_block(c, g);
}

START_TEST(parts_may_be_absent)
{
    over_cases(absent_parts, 20);
}
END_TEST

/* No memory is asked for in any pass.  */
static void quiet(netcase *c)
{
    dfo_run *run = &c->t->run;
    dfo_block out = netcase_block(c, 0), dout = netcase_block(c, 0), g = netcase_block(c, 16),
              gd = netcase_block(c, 17);
    dfo_cond gin = netcase_cond(c, 0, 0);
    oom_count_begin();
    dfo_status b = dfo_net_forward(c->net, run, &c->in, out, c->acts);
    dfo_status d = dfo_net_backward(c->net, run, &c->in, g, &gin, c->acts);
    dfo_status e = dfo_net_jvp(c->net, run, &c->in, &c->din, out, dout, c->acts);
    dfo_status f = dfo_net_jvp_backward(c->net, run, &c->in, &c->din, g, gd, &gin, &gin, c->acts);
    size_t count = oom_count_end();
    ck_assert_msg(!count && !b && !d && !e && !f, "%s: %zu allocations", netcase_text(c),
                  count);
    netcase_cond_free(c, &gin);
    free_block(c, out);
    free_block(c, dout);
    free_block(c, g);
    free_block(c, gd);
}

START_TEST(passes_ask_for_no_memory)
{
    over_cases(quiet, 10);
}
END_TEST

#ifdef DFO_DOUBLE
/* Moves inputs, tangents and weights along fixed random directions: x = x0 + h dx.  */
struct line {
    dfo_cond in, din, to,
        dto; /* to, dto: directions of in and din; weights' is drawn from the key */
    dfo_real *weights, *wdir;
    size_t n;
};

static void move_cond(const netcase *c, const dfo_cond *from, const dfo_cond *along, double h,
                      dfo_cond *x)
{
    for (size_t p = 0; p < c->parts; p++)
        for (size_t i = 0; i < c->n; i++)
            for (size_t j = 0; j < x->part[p].rows.d; j++)
                dfo_row(x->part[p].rows, i)[j] =
                    dfo_row(from->part[p].rows, i)[j] + h * dfo_row(along->part[p].rows, i)[j];
}

static void move_weights(netcase *c, const struct line *line, double h)
{
    dfo_real *w = dfo_store_weights(c->store);
    for (size_t i = 0; i < line->n; i++)
        w[i] = line->weights[i] + h * line->wdir[i];
}

static void line_new(netcase *c, struct line *line)
{
    dfo_key key = {.seed = c->seed, .row = 999, .purpose = DFO_FOR_TEST};
    line->n = c->t->weights;
    line->in = netcase_cond(c, 0, 0);
    line->din = netcase_cond(c, 0, 0);
    line->to = netcase_cond(c, c->seed + 5, 0);
    line->dto = netcase_cond(c, c->seed + 6, 0);
    move_cond(c, &c->in, &line->to, 0, &line->in);
    move_cond(c, &c->din, &line->dto, 0, &line->din);
    OK(c, dfoi_alloc(c->ctx, line->n, sizeof(dfo_real), &line->weights));
    OK(c, dfoi_alloc(c->ctx, line->n, sizeof(dfo_real), &line->wdir));
    memcpy(line->weights, dfo_store_weights(c->store), line->n * sizeof(dfo_real));
    dfo_draw_real_normal(key, line->n, line->wdir);
    for (size_t i = 0; i < line->n; i++)
        line->wdir[i] /= sqrt((double)line->n);
}

static void line_free(netcase *c, struct line *line)
{
    netcase_cond_free(c, &line->in);
    netcase_cond_free(c, &line->din);
    netcase_cond_free(c, &line->to);
    netcase_cond_free(c, &line->dto);
    dfoi_free(c->ctx, line->weights);
    dfoi_free(c->ctx, line->wdir);
}

enum moving { INPUT = 1, TANGENT = 2, WEIGHTS = 4 };

static void move(netcase *c, struct line *line, int what, double h)
{
    if (what & INPUT)
        move_cond(c, &line->in, &line->to, h, &c->in);
    if (what & TANGENT)
        move_cond(c, &line->din, &line->dto, h, &c->din);
    if (what & WEIGHTS)
        move_weights(c, line, h);
}

/* f = <gout, out> + <gdout, dout> (gdout.x may be NULL) along the line.  */
static double value(netcase *c, dfo_block gout, dfo_block gdout, double *size)
{
    dfo_block out = netcase_block(c, 0), dout = netcase_block(c, 0);
    double f;
    if (gdout.x) {
        OK(c, dfo_net_jvp(c->net, &c->t->run, &c->in, &c->din, out, dout, NULL));
        f = netcase_dot_block(gout, out, size) + netcase_dot_block(gdout, dout, size);
    } else {
        OK(c, dfo_net_forward(c->net, &c->t->run, &c->in, out, NULL));
        f = netcase_dot_block(gout, out, size);
    }
    free_block(c, out);
    free_block(c, dout);
    return f;
}

/* Compares a slope with differences of several widths, central ones and those of either side, the best of which counts: a kink of
 * relu, or of elu's slope, may lie inside them.  */
static void check_slope(netcase *c, struct line *line, int what, dfo_block gout, dfo_block gdout,
                        double slope, const char *name)
{
    double best = HUGE_VAL, size = 0;
    for (double h = 1e-5; h > 5e-8; h /= 10) {
        double unused = 0, f[5];
        for (int k = -2; k <= 2; k++) {
            move(c, line, what, k * h);
            f[k + 2] = value(c, gout, gdout, k == 1 ? &size : &unused);
        }
        double central = (f[3] - f[1]) / (2 * h), above = (4 * f[3] - 3 * f[2] - f[4]) / (2 * h), below = (3 * f[2] + f[0] - 4 * f[1]) / (2 * h);
        best = fmin(best, fmin(fabs(central - slope), fmin(fabs(above - slope), fabs(below - slope))));
    }
    move(c, line, what, 0);
    size = size / 3 + fabs(slope);
    ck_assert_msg(best <= 1e-7 * (1 + size),
                  "%s: %s: slope %.12g, central differences are off by %.3g of size %.3g",
                  netcase_text(c), name, slope, best, size);
}

static double weights_slope(const netcase *c, const struct line *line)
{
    return dfoi_dot(line->n, c->t->run.grads, line->wdir);
}

static void differences(netcase *c)
{
    dfo_run *run = &c->t->run;
    struct line line;
    double unused = 0;
    const dfo_block none = {0};
    c->n = c->n > 8 ? 8 : c->n;
    for (size_t p = 0; p < c->parts; p++)
        c->in.part[p].rows.n = c->din.part[p].rows.n = c->n;
    line_new(c, &line);
    dfo_block gout = netcase_block(c, 21), gdout = netcase_block(c, 22), g = copy_block(c, gout),
              gd = copy_block(c, gdout);
    dfo_block out = netcase_block(c, 0), dout = netcase_block(c, 0);
    dfo_cond gin = netcase_cond(c, 0, 0), gdin = netcase_cond(c, 0, 0);

    OK(c, dfo_net_forward(c->net, run, &c->in, out, c->acts));
    OK(c, dfo_net_backward(c->net, run, &c->in, g, &gin, c->acts));
    double in_slope = netcase_dot_cond(c, &gin, &line.to, &unused),
           w_slope = weights_slope(c, &line);
    check_slope(c, &line, INPUT, gout, none, in_slope, "input gradient");
    check_slope(c, &line, WEIGHTS, gout, none, w_slope, "weight gradient");

    OK(c, dfo_net_jvp(c->net, run, &c->in, &line.to, out, dout, NULL));
    check_slope(c, &line, INPUT, gout, none, netcase_dot_block(gout, dout, &unused), "jvp");

    testrun_reset(c->t);
    netcase_cond_free(c, &gin);
    gin = netcase_cond(c, 0, 0);
    netcase_copy_block(c, g, gout);
    OK(c, dfo_net_jvp(c->net, run, &c->in, &c->din, out, dout, c->acts));
    OK(c, dfo_net_jvp_backward(c->net, run, &c->in, &c->din, g, gd, &gin, &gdin, c->acts));
    in_slope = netcase_dot_cond(c, &gin, &line.to, &unused);
    w_slope = weights_slope(c, &line);
    double tangent_slope = netcase_dot_cond(c, &gdin, &line.dto, &unused);
    check_slope(c, &line, INPUT, gout, gdout, in_slope, "jvp_backward, input");
    check_slope(c, &line, TANGENT, gout, gdout, tangent_slope, "jvp_backward, tangent");
    check_slope(c, &line, WEIGHTS, gout, gdout, w_slope, "jvp_backward, weights");
    check_slope(c, &line, INPUT | TANGENT | WEIGHTS, gout, gdout,
                in_slope + tangent_slope + w_slope, "jvp_backward");

    netcase_cond_free(c, &gin);
    netcase_cond_free(c, &gdin);
    free_block(c, gout);
    free_block(c, gdout);
    free_block(c, g);
    free_block(c, gd);
    free_block(c, out);
    free_block(c, dout);
    line_free(c, &line);
}

START_TEST(gradients_are_central_differences)
{
    over_cases(differences, 40);
}
END_TEST
#endif

int main(void)
{
    Suite *suite = suite_create("nets");
    TCase *laws = tcase_create("laws");
    tcase_set_timeout(laws, 120);
    tcase_add_test(laws, vjp_is_the_adjoint_of_jvp);
    tcase_add_test(laws, passes_agree_and_repeat);
    tcase_add_test(laws, rows_do_not_know_each_other);
    tcase_add_test(laws, rows_on_both_sides);
    tcase_add_test(laws, threads_prepare_the_same);
    tcase_add_test(laws, parts_may_be_absent);
    tcase_add_test(laws, passes_ask_for_no_memory);
#ifdef DFO_DOUBLE
    tcase_add_test(laws, gradients_are_central_differences);
#endif
    suite_add_tcase(suite, laws);
    return test_run(suite);
}

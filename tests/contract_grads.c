/* The contract of a layer, gradients, of L = sum c z + sum g logdet with random c and g.  Double: against
 * central differences and the Taylor remainder; float: against the double build.  Both: what is not wanted
 * may be left out, gradients are added, inputs come back.  */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "contract.h"
#ifndef DFO_DOUBLE
#include "contract_twin.h"
#endif

/* One layer, its input and seeds, and the gradients that its backward pass gave.  */
struct problem {
    struct layer  l;
    testrun      *t;
    int           back;
    size_t        n;
    dfo_batch     x, z, c, gx;
    dfo_cond      cond, gcond;
    double       *g, *logdet;
    dfo_real     *gw;
    size_t        weights;
};

static const dfo_cond *given(const struct problem *p)
{
    return cond_or_null(&p->cond);
}

static void problem_new(struct problem *p, const struct row *row, int back, enum spread spread, size_t n,
                        test_rng *rng)
{
    static const dfo_memory_mode modes[] = {DFO_MEMORY_INVERT, DFO_MEMORY_ANCHORS, DFO_MEMORY_STORE};
    struct setting set = random_setting(rng, row, 6);
    memset(p, 0, sizeof *p);
    set.smooth = 1;
    layer_new(&p->l, row, &set, rng);
    p->l.calm = 1;
    layer_spread(&p->l, spread, rng);
    p->back = back;
    p->n = n;
    p->weights = dfo_store_weights_size(p->l.store);
    p->t = run_new(&p->l, n, modes[test_rng_between(rng, 0, 2)]);
#ifdef DFO_DOUBLE
    if ((p->l.bij->caps & DFO_STOCHASTIC || row->flags & TRAINED) && test_rng_between(rng, 0, 1))
        p->t->run.mode = DFO_TRAIN;                /* draws are continuous functions of the weights */
#endif
    p->cond = cond_new(&set, n, rng);
    p->x = (back ? latents_new : data_new)(&p->l, p->t, n, test_rng_between(rng, 0, 2), given(p), rng);
    p->c = rows_new(n, p->x.d, 1);
    rows_draw(p->c, rng, 1);
    p->g = doubles_new(n);
    p->logdet = doubles_new(n);
    for (size_t i = 0; i < n; i++)
        p->g[i] = test_rng_normal(rng);
}

static void problem_free(struct problem *p)
{
    testrun_free(p->t);
    layer_free(&p->l);
    memory_free_all();
}

static void solve(struct problem *p)
{
    memset(p->logdet, 0, p->n * sizeof *p->logdet);
    testrun_reset(p->t);
    p->z = rows_copy(p->x);
    (p->back ? inverse : forward)(&p->l, p->t, p->z, given(p), p->logdet);
    dfo_batch again = rows_copy(p->z);
    p->gx = rows_copy(p->c);
    p->gcond = cond_zero(&p->cond);
    backward(&p->l, p->t, p->back, again, p->gx, given(p), &p->gcond, p->g);
    rows_guard(&p->l, again, "backward: rows");
    rows_guard(&p->l, p->gx, "backward: gradients");
    for (size_t k = 0; k < p->gcond.n; k++)
        rows_guard(&p->l, p->gcond.part[k].rows, "backward: gradients of the context");
    p->gw = memory_new(p->weights * sizeof(dfo_real));
    if (p->weights)
        memcpy(p->gw, p->t->run.grads, p->weights * sizeof(dfo_real));
    same_place(&p->l, p->back, p->x, p->z, again, given(p));
}

#ifdef DFO_DOUBLE
/* A direction in (x, condition, weights), and what the gradient says of it.  */
struct direction {
    dfo_batch x;
    dfo_cond  cond;
    double   *w;
    double    slope, scale;        /* sum and sum of magnitudes of gradient times direction */
};

static void along(struct direction *v, double gradient, double direction)
{
    v->slope += gradient * direction;
    v->scale += fabs(gradient * direction);
}

static struct direction direction_new(const struct problem *p)
{
    struct direction v = {.x = rows_new(p->n, p->x.d, 0), .cond = cond_zero(&p->cond), .w = doubles_new(p->weights)};
    return v;
}

/* Random numbers in block `which`: the input, a part of the condition, an array of weights.  `one`: in a
 * single place.  0 if there is no such block.  */
static int point(struct problem *p, struct direction *v, size_t which, int one, test_rng *rng)
{
    dfo_batch to = v->x, g = p->gx;
    if (which == 0 && p->l.bij->caps & DFO_STOCHASTIC)       /* whole numbers */
        return 1;
    if (which > p->cond.n) {
        size_t e = which - 1 - p->cond.n;
        if (e >= dfo_store_entries(p->l.store))
            return 0;
        const dfo_entry *entry = dfo_store_entry(p->l.store, e);
        size_t only = entry->count ? test_rng_between(rng, 0, entry->count - 1) : 0;
        for (size_t k = 0; !entry->buffer && k < entry->count; k++)
            if (!one || k == only) {
                v->w[entry->offset + k] = one ? 1 : test_rng_normal(rng);
                along(v, p->gw[entry->offset + k], v->w[entry->offset + k]);
            }
        return 1;
    }
    if (which) {
        to = v->cond.part[which - 1].rows;
        g = p->gcond.part[which - 1].rows;
    }
    size_t only = test_rng_between(rng, 0, to.n * to.d - 1);
    for (size_t k = 0; k < to.n * to.d; k++)
        if (!one || k == only) {
            dfo_row(to, k / to.d)[k % to.d] = one ? 1 : test_rng_normal(rng);
            along(v, dfo_row(g, k / to.d)[k % to.d], dfo_row(to, k / to.d)[k % to.d]);
        }
    return 1;
}

/* L at h times the direction from here.  */
static double loss_at(struct problem *p, const struct direction *v, double h)
{
    double *w = dfo_store_weights(p->l.store), *old = doubles_new(p->weights), *logdet = doubles_new(p->n), sum = 0;
    if (p->weights)
        memcpy(old, w, p->weights * sizeof *w);
    for (size_t k = 0; k < p->weights; k++)
        w[k] += h * v->w[k];
    dfo_batch z = rows_copy(p->x);
    dfo_cond cond = cond_zero(&p->cond);
    for (size_t k = 0; k < z.n * z.d; k++)
        dfo_row(z, k / z.d)[k % z.d] += h * dfo_row(v->x, k / z.d)[k % z.d];
    for (size_t q = 0; q < cond.n; q++)
        for (size_t i = 0; i < p->n; i++)
            for (size_t j = 0; j < cond.part[q].rows.d; j++)
                dfo_row(cond.part[q].rows, i)[j] = dfo_row(p->cond.part[q].rows, i)[j] +
                                                   h * dfo_row(v->cond.part[q].rows, i)[j];
    run_prepare(&p->l, p->t);
    (p->back ? inverse : forward)(&p->l, p->t, z, cond_or_null(&cond), logdet);
    for (size_t i = 0; i < p->n; i++) {
        sum += p->g[i] * logdet[i];
        for (size_t j = 0; j < z.d; j++)
            sum += dfo_row(p->c, i)[j] * dfo_row(z, i)[j];
    }
    if (p->weights)
        memcpy(w, old, p->weights * sizeof *w);
    run_prepare(&p->l, p->t);
    return sum;
}

/* The best of six steps (the small ones for maps that are all but singular), and of both their sides where that is not
 * good: a step across a knot of a spline does not count.  */
static void check_direction(struct problem *p, const struct direction *v, double scale, const char *what)
{
    static const double steps[] = {1e-4, 1.3e-5, 1.7e-6, 2.1e-7, 2.7e-8, 3.4e-9};
    double error = 1;
    scale += 1 + v->scale;
    for (size_t k = 0; k < 6 && error > 1e-8; k++) {
        double h = steps[k], above = loss_at(p, v, h), below = loss_at(p, v, -h);
        error = fmin(error, fabs((above - below) / (2 * h) - v->slope) / scale);
        if (k < 3 || error <= 2e-6)
            continue;
        double here = loss_at(p, v, 0), up = (above - here) / h, down = (here - below) / h;
        error = fmin(error, fmin(fabs(up - v->slope), fabs(down - v->slope)) / scale);
    }
    ck_assert_msg(error <= 2e-6, "%s: %s: %s: gradient says %.10g, error %g", where(&p->l),
                  p->back ? "inverse_backward" : "backward", what, v->slope, error);
    note(&p->l, what, error, v->scale, error / 2e-6);
}

/* Sum of the magnitudes of L's terms: its rounding.  */
static double magnitude(const struct problem *p)
{
    double sum = 0;
    for (size_t i = 0; i < p->n; i++) {
        sum += fabs(p->g[i] * p->logdet[i]);
        for (size_t j = 0; j < p->z.d; j++)
            sum += fabs(dfo_row(p->c, i)[j] * dfo_row(p->z, i)[j]);
    }
    return sum;
}

static const char *block_name(const struct problem *p, size_t which)
{
    if (which == 0)
        return "input";
    return which <= p->cond.n ? "condition" : dfo_store_entry(p->l.store, which - 1 - p->cond.n)->name;
}

START_TEST(differences)
{
    const struct row *row = &contract_rows[_i];
    test_rng rng = contract_stream(_i, 11);
    for (size_t k = 0; k < test_times(18); k++) {
        struct problem p;
        size_t n = k == 0 ? 66 : test_rng_between(&rng, 1, 3);
        if (k % 2 && !dfo_bijector_ops_named(row->type)->inverse_backward)
            continue;
        /* A gradient by reversal, by the adjoint's own steps or at an x that was found from z is as exact as the maps.  */
        int narrow = row->flags & (COMPOSITE | NUMERICAL) || (k % 2 && row->flags & FLAT);
        enum spread spread = (enum spread)(k / 2 % (narrow ? WIDE : SPREADS));
        problem_new(&p, row, (int)(k % 2), spread, n, &rng);
        solve(&p);
        double scale = spread == WIDE ? magnitude(&p) : 0;
        for (size_t which = 0;; which++) {
            struct direction all = direction_new(&p), one = direction_new(&p);
            if (!point(&p, &all, which, 0, &rng))
                break;
            check_direction(&p, &all, scale, block_name(&p, which));
            point(&p, &one, which, 1, &rng);
            check_direction(&p, &one, scale, block_name(&p, which));
        }
        problem_free(&p);
    }
}
END_TEST

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The median of log2 of R(h)/R(h/2), R = |L(h) - L(0) - h slope|: 2 where L is twice differentiable; where
 * R is rounding alone, L is linear and the gradient exact.  */
static double taylor(struct problem *p, const struct direction *v)
{
    double zero = loss_at(p, v, 0), slope[12], last = 0;
    size_t n = 0;
    for (int k = 6; k < 18; k++) {
        double h = ldexp(1, -k), r = fabs(loss_at(p, v, h) - zero - h * v->slope);
        if (r < 1e-12 * (1 + fabs(zero) + v->scale))
            break;
        if (k > 6)
            slope[n++] = log2(last / r);
        last = r;
    }
    if (n < 3)
        return 2;
    qsort(slope, n, sizeof *slope, by_size);
    return slope[n / 2];
}

/* Knots of splines and weights that change sign under a bound spoil a slope now and then; a wrong gradient spoils all.  */
START_TEST(taylor_slope)
{
    const struct row *row = &contract_rows[_i];
    test_rng rng = contract_stream(_i, 12);
    for (size_t k = 0; k < test_times(6); k++) {
        struct problem p;
        if (k % 2 && !dfo_bijector_ops_named(row->type)->inverse_backward)
            continue;
        problem_new(&p, row, (int)(k % 2), MODERATE, 1, &rng);
        if (p.l.bij->caps & DFO_STOCHASTIC)        /* in evaluation draws jump from one point of a grid to the next */
            p.t->run.mode = DFO_TRAIN;
        solve(&p);
        double best = 0, slope = 0;
        for (int try = 0; try < 20 && fabs(best - 2) > 0.2; try++) {
            struct direction v = direction_new(&p);
            for (size_t which = 0; point(&p, &v, which, 0, &rng); which++)
                ;
            double shrink = p.l.flags & (BOUNDED_X | BOUNDED_Z | SPHERE) ? 0.05 : 1;
            for (size_t j = 0; j < v.x.d; j++)
                v.x.x[j] *= shrink;
            for (size_t j = 0; j < p.weights; j++)
                v.w[j] *= shrink;
            for (size_t q = 0; q < v.cond.n; q++)
                for (size_t i = 0; i < p.n; i++)
                    for (size_t j = 0; j < v.cond.part[q].rows.d; j++)
                        dfo_row(v.cond.part[q].rows, i)[j] *= shrink;
            v.slope *= shrink;
            slope = taylor(&p, &v);
            if (fabs(slope - 2) < fabs(best - 2))
                best = slope;
        }
        ck_assert_msg(fabs(best - 2) <= 0.2, "%s: %s: Taylor remainder falls as h^%.2f", where(&p.l),
                      p.back ? "inverse_backward" : "backward", best);
        problem_free(&p);
    }
}
END_TEST
#else
static double *widen_rows(dfo_batch x)
{
    double *y = doubles_new(x.n * x.d);
    for (size_t i = 0; i < x.n; i++)
        for (size_t j = 0; j < x.d; j++)
            y[i * x.d + j] = (double)dfo_row(x, i)[j];
    return y;
}

/* Arrays one after the other; of the store, or of a block of its layout.  */
static double *pack(const struct problem *p, const dfo_real *weights, const dfo_real *buffers)
{
    double *all = doubles_new(p->weights + dfo_store_buffers_size(p->l.store)), *to = all;
    for (int buffer = 0; buffer < (buffers ? 2 : 1); buffer++)
        for (size_t e = 0; e < dfo_store_entries(p->l.store); e++) {
            const dfo_entry *entry = dfo_store_entry(p->l.store, e);
            for (size_t k = 0; entry->buffer == buffer && k < entry->count; k++)
                *to++ = (double)(buffer ? buffers : weights)[entry->offset + k];
        }
    return all;
}

static double far(size_t n, const double *a, const double *b)
{
    double worst = 0, size = 1;
    for (size_t i = 0; i < n; i++) {
        worst = fmax(worst, fabs(a[i] - b[i]));
        size = fmax(size, fabs(b[i]));
    }
    return worst / size;
}

/* Largest relative differences from the double build: of values, and of gradients.  */
static void compare(struct problem *p, double *values, double *gradients)
{
    size_t n = p->n, d = p->x.d;
    const struct setting *s = &p->l.set;
    struct twin t = {.config = p->l.config, .seed = p->l.seed, .shape = {s->shape.c, s->shape.h, s->shape.w},
                     .conds = p->cond.n, .back = p->back, .n = n, .d = d};
    t.weights = pack(p, dfo_store_weights(p->l.store), dfo_store_buffers(p->l.store));
    t.x = widen_rows(p->x);
    t.g = widen_rows(p->c);
    t.glogdet = p->g;
    t.z = doubles_new(n * d);
    t.logdet = doubles_new(n);
    t.gx = doubles_new(n * d);
    t.gweights = doubles_new(p->weights);
    for (size_t q = 0; q < p->cond.n; q++) {
        dfo_shape shape = p->cond.part[q].shape;
        memcpy(t.cond_shape[q], (size_t[]){shape.c, shape.h, shape.w}, sizeof t.cond_shape[q]);
        t.cond[q] = widen_rows(p->cond.part[q].rows);
        t.gcond[q] = doubles_new(n * p->cond.part[q].rows.d);
    }
    twin_run(&t);
    *values = fmax(far(n * d, widen_rows(p->z), t.z), far(n, p->logdet, t.logdet));
    *gradients = fmax(far(n * d, widen_rows(p->gx), t.gx), far(p->weights, pack(p, p->gw, NULL), t.gweights));
    for (size_t q = 0; q < p->cond.n; q++)
        *gradients = fmax(*gradients, far(n * p->cond.part[q].rows.d, widen_rows(p->gcond.part[q].rows), t.gcond[q]));
}

/* A row at a knot of a spline may fall on either side of it: other rows decide then.  */
START_TEST(double_build)
{
    const struct row *row = &contract_rows[_i];
    test_rng rng = contract_stream(_i, 13);
    for (size_t k = 0; k < test_times(24); k++) {
        struct problem p;
        if (k % 2 && !dfo_bijector_ops_named(row->type)->inverse_backward)
            continue;
        problem_new(&p, row, (int)(k % 2), (enum spread)(k / 2 % WIDE), test_rng_between(&rng, 1, 90), &rng);
        double values = 1, gradients = 1;
        for (int try = 0; try < 3 && !(values <= 1e-4 && gradients <= 1e-3); try++) {
            if (try)
                p.x = (p.back ? latents_new : data_new)(&p.l, p.t, p.n, 0, given(&p), &rng);
            solve(&p);
            compare(&p, &values, &gradients);
        }
        ck_assert_msg(values <= 1e-4 && gradients <= 1e-3, "%s: %s: %zu rows: values differ by %g, gradients by %g",
                      where(&p.l), p.back ? "inverse_backward" : "backward", p.n, values, gradients);
        note(&p.l, "values, double build", values, 1, values / 1e-4);
        note(&p.l, "gradients, double build", gradients, 1, gradients / 1e-3);
        problem_free(&p);
    }
}
END_TEST
#endif

/* The same bits whatever else is wanted; gradients are added to what is there.  */
START_TEST(wanted)
{
    const struct row *row = &contract_rows[_i];
    test_rng rng = contract_stream(_i, 14);
    for (size_t k = 0; k < test_times(12); k++) {
        struct problem p;
        if (k % 2 && !dfo_bijector_ops_named(row->type)->inverse_backward)
            continue;
        problem_new(&p, row, (int)(k % 2), MODERATE, test_rng_between(&rng, 1, 100), &rng);
        solve(&p);
        dfo_real *grads = p.t->run.grads;
        for (int less = 0; less < 3; less++) {
            dfo_cond none = p.gcond, *gcond = less == 0 ? &p.gcond : less == 1 ? &none : NULL;
            for (size_t q = 0; q < none.n; q++)
                none.part[q].rows.x = NULL;
            testrun_reset(p.t);
            dfo_batch z = rows_copy(p.x), gx = rows_copy(p.c);
            (p.back ? inverse : forward)(&p.l, p.t, z, given(&p), NULL);
            same_rows(&p.l, z, p.z, "output again");
            p.t->run.grads = less == 0 ? NULL : grads;
            dfo_cond was = cond_zero(&p.cond);
            for (size_t q = 0; q < was.n; q++)
                rows_set(was.part[q].rows, p.gcond.part[q].rows);
            backward(&p.l, p.t, p.back, z, gx, given(&p), gcond, p.g);
            same_rows(&p.l, gx, p.gx, less == 0 ? "no weight gradients" : "no gradients of the context");
            p.t->run.grads = grads;
            for (size_t j = 0; less && j < p.weights; j++)
                ck_assert_msg(grads[j] == p.gw[j], "%s: weight gradient %zu: %.17g and %.17g", where(&p.l), j,
                              (double)grads[j], (double)p.gw[j]);
            for (size_t q = 0; less == 0 && q < was.n; q++)
                for (size_t i = 0; i < p.n; i++)
                    for (size_t j = 0; j < was.part[q].rows.d; j++) {
                        dfo_real once = dfo_row(was.part[q].rows, i)[j], twice = dfo_row(p.gcond.part[q].rows, i)[j];
                        ck_assert_msg(fabs((double)(twice - 2 * once)) <= 100 * DFO_REAL_EPS * (1 + fabs((double)once)),
                                      "%s: gradient of the context: %.17g, added again %.17g", where(&p.l), (double)once,
                                      (double)twice);
                    }
        }
        /* grads holds one gradient now; backward adds another.  */
        dfo_batch z = rows_copy(p.x), gx = rows_copy(p.c);
        double size = norm(p.weights, p.gw), error = 0;
        memset(p.t->run.gderived, 0, p.t->need.gderived * sizeof(dfo_real));
        (p.back ? inverse : forward)(&p.l, p.t, z, given(&p), NULL);
        backward(&p.l, p.t, p.back, z, gx, given(&p), NULL, p.g);
        for (size_t j = 0; j < p.weights; j++)
            error = fmax(error, fabs((double)(grads[j] - 2 * p.gw[j])));
        ck_assert_msg(error <= 1000 * DFO_REAL_EPS * (1 + size), "%s: weight gradients are not added: error %g at %g",
                      where(&p.l), error, size);
        problem_free(&p);
    }
}
END_TEST

void contract_grads(Suite *suite)
{
    TCase *tcase = tcase_create("gradients");
    int n = (int)contract_rows_count;
    tcase_set_timeout(tcase, 60);
#ifdef DFO_DOUBLE
    tcase_add_loop_test(tcase, differences, 0, n);
    tcase_add_loop_test(tcase, taylor_slope, 0, n);
#else
    tcase_add_loop_test(tcase, double_build, 0, n);
#endif
    tcase_add_loop_test(tcase, wanted, 0, n);
    suite_add_tcase(suite, tcase);
}

/* The contract of a layer, maps: both round trips, log-dets against each other and against Jacobians,
 * row strides, row counts, neighbours, optional results, rows that are not numbers.  */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "contract.h"

#define MOST 9               /* features of a random layer */

/* Both round trips of one layer.  At wide weights the error that a layer may make at row i of x is
 * 64 eps (kappa + ||x||), kappa = 1 + ||dx/dz|| ||z||: what rounding of z and of x becomes.  That of the
 * log-det: the same roundings times the log-det's gradient.  Elsewhere the error is TIGHT, or, at the odd
 * row that is badly conditioned even so, as at wide weights.  */
struct trip {
    struct layer *l;
    int           back;            /* 1: latents first */
    size_t        n;
    dfo_batch     start, middle, end;
    const dfo_cond *cond;
    double       *there, *again;   /* (n) log-dets */
    double        error, kappa, ratio;      /* the worst */
};

/* On a circle, and of longitudes: the turn of `end` that is next to start.  */
static void unwind(const struct layer *l, int back, dfo_batch start, dfo_batch end)
{
    dfo_real period = (dfo_real)(back ? 2 * l->bound : l->period);
    for (size_t k = 0; l->flags & (CIRCLE | SPHERE) && k < start.n * start.d; k++) {
        if (l->flags & SPHERE && k % 2 == 0)
            continue;
        dfo_real *e = dfo_row(end, k / end.d) + k % end.d, s = dfo_row(start, k / start.d)[k % start.d];
        if (*e - s > period / 2)
            *e -= period;
        else if (*e - s < -period / 2)
            *e += period;
    }
}

static double way_back(const struct trip *t, size_t i)
{
    size_t d = t->l->bij->d;
    double *j = doubles_new(d * d), *inverse_j = doubles_new(d * d), sum = 0;
    if (t->back || t->l->bij->ops->inverse_backward) {
        jacobian(t->l, !t->back, t->start, t->cond, i, j);
    } else {                                       /* no gradient of its inverse: invert the map's */
        jacobian(t->l, 0, t->middle, t->cond, i, inverse_j);
        log_det(d, inverse_j, j);
    }
    for (size_t k = 0; k < d * d; k++)
        sum += j[k] * j[k];
    return sqrt(sum);
}

static void check_wide(struct trip *t, size_t i)
{
    double layers = (double)t->l->layers, sum = fabs(t->there[i] + t->again[i]);
    double from = norm(t->start.d, dfo_row(t->start, i)), to = norm(t->start.d, dfo_row(t->middle, i));
    double back = way_back(t, i), kappa = 1 + back * to, error = distance(t->end, t->start, i);
    if (t->l->row->flags & SUMS)
        kappa += to + back * from;
    double ratio = error / (DFO_REAL_EPS * (kappa + from)), slope = 1 + fabs(t->there[i]) + (double)t->start.d;
    ck_assert_msg(ratio <= 64 * layers, "%s: %s first: row %zu of %zu: error %g, condition %g, ratio %g", where(t->l),
                  t->back ? "latents" : "data", i, t->n, error, kappa, ratio);
    if (t->l->bij->ops->inverse_backward)
        slope += from * log_det_slope(t->l, t->back, t->middle, t->cond, i) +
                 to * log_det_slope(t->l, !t->back, t->start, t->cond, i);
    else                                           /* that of the map alone: at the x that came back, or at x twice */
        slope += (t->back ? to : kappa + from) * log_det_slope(t->l, 0, t->back ? t->start : t->middle, t->cond, i);
    ck_assert_msg(sum <= 64 * layers * DFO_REAL_EPS * slope, "%s: row %zu of %zu: log-dets %.17g and %.17g, ratio %g",
                  where(t->l), i, t->n, t->there[i], t->again[i], sum / (DFO_REAL_EPS * slope));
    if (ratio > t->ratio) {
        t->error = error;
        t->kappa = kappa;
        t->ratio = ratio;
    }
}

static void check_tight(struct trip *t, size_t i)
{
    double size = norm(t->start.d, dfo_row(t->start, i)), error = distance(t->end, t->start, i) / (1 + size);
    double sum = fabs(t->there[i] + t->again[i]) / (1 + fabs(t->there[i]) + size);
    double bound = TIGHT * (double)t->l->layers;
    if (error > bound || sum > bound)
        check_wide(t, i);
    else if (error > t->error)
        t->error = error;
}

void same_place(struct layer *l, int back, dfo_batch start, dfo_batch middle, dfo_batch end, const dfo_cond *cond)
{
    struct trip t = {.l = l, .back = back, .n = start.n, .start = start, .middle = middle, .end = end, .cond = cond};
    unwind(l, back, start, end);
    t.there = doubles_new(t.n);
    t.again = doubles_new(t.n);
    for (size_t i = 0; i < t.n; i++)
        check_tight(&t, i);
}

static void round_trip(struct layer *l, int back, size_t n, enum spread spread, test_rng *rng)
{
    struct trip trip = {.l = l, .back = back, .n = n};
    testrun *t = run_new(l, n, DFO_MEMORY_INVERT);
    dfo_cond cond = cond_new(&l->set, n, rng);
    trip.cond = cond_or_null(&cond);
    trip.start = (back ? latents_new : data_new)(l, t, n, test_rng_between(rng, 0, 3), trip.cond, rng);
    trip.end = rows_copy(trip.start);
    trip.there = doubles_new(n);
    trip.again = doubles_new(n);
    (back ? inverse : forward)(l, t, trip.end, trip.cond, trip.there);
    trip.middle = rows_copy(trip.end);
    (back ? forward : inverse)(l, t, trip.end, trip.cond, trip.again);
    rows_guard(l, trip.end, "round trip");
    unwind(l, back, trip.start, trip.end);
    for (size_t i = 0; i < n; i++)
        ck_assert_msg(isfinite(distance(trip.end, trip.start, i)) && isfinite(trip.there[i] + trip.again[i]),
                      "%s: row %zu of %zu is not finite", where(l), i, n);
    for (size_t i = 0; i < n; i++)
        (spread == WIDE ? check_wide : check_tight)(&trip, i);
    note(l, back ? "latents, data, latents" : "data, latents, data", trip.error, trip.kappa, trip.ratio);
    if (l->bij->caps & DFO_VOLUME_PRESERVING)
        for (size_t i = 0; i < n; i++)
            ck_assert_msg(trip.there[i] == 0, "%s: row %zu: log-det %g of a volume-preserving layer", where(l), i,
                          trip.there[i]);
    testrun_free(t);
}

START_TEST(round_trips)
{
    const struct row *row = &contract_rows[_i];
    test_rng rng = contract_stream(_i, 1);
    for (size_t k = 0; k < test_times(24); k++) {
        enum spread spread = (enum spread)(k % SPREADS);
        if (spread == WIDE && row->flags & (COMPOSITE | NUMERICAL | FLAT))      /* the error is not told by the ends alone */
            continue;
        struct setting set = random_setting(&rng, row, MOST);
        struct layer l;
        layer_new(&l, row, &set, &rng);
        layer_spread(&l, spread, &rng);
        size_t n = spread == WIDE ? test_rng_between(&rng, 1, 12) : test_rng_between(&rng, 1, 150);
        round_trip(&l, 0, n, spread, &rng);
        round_trip(&l, 1, n, spread, &rng);
        layer_free(&l);
        memory_free_all();
    }
}
END_TEST

#ifdef DFO_DOUBLE
/* log|det| of the Jacobian of forward at row i, by central differences with step h.  */
static double numeric(struct layer *l, dfo_batch x, const dfo_cond *cond, size_t i, double h)
{
    size_t d = x.d;
    testrun *t = run_new(l, 2 * d, DFO_MEMORY_INVERT);
    dfo_batch rows = rows_new(2 * d, d, 0);
    dfo_cond c = {0};
    double *j = doubles_new(d * d);
    if (cond)
        c.n = cond->n;
    for (size_t p = 0; p < c.n; p++) {
        c.part[p].shape = cond->part[p].shape;
        c.part[p].rows = rows_new(2 * d, cond->part[p].rows.d, 0);
        for (size_t k = 0; k < 2 * d; k++)
            memcpy(dfo_row(c.part[p].rows, k), dfo_row(cond->part[p].rows, i), c.part[p].rows.d * sizeof(dfo_real));
    }
    for (size_t k = 0; k < 2 * d; k++) {
        memcpy(dfo_row(rows, k), dfo_row(x, i), d * sizeof(dfo_real));
        dfo_row(rows, k)[k / 2] += k % 2 ? -h : h;
    }
    forward(l, t, rows, cond_or_null(&c), NULL);
    for (size_t out = 0; out < d; out++)
        for (size_t in = 0; in < d; in++)
            j[out * d + in] = (dfo_row(rows, 2 * in)[out] - dfo_row(rows, 2 * in + 1)[out]) / (2 * h);
    testrun_free(t);
    return log_det(d, j, NULL);
}

/* Not of layers that draw: their data are whole numbers (check_dequantise.c sums their probabilities).
 * Twice, so that one step across a knot of a spline does not count.  */
START_TEST(log_dets)
{
    const struct row *row = &contract_rows[_i];
    test_rng rng = contract_stream(_i, 2);
    int draws = dfo_bijector_ops_named(row->type)->caps & DFO_STOCHASTIC;
    for (size_t k = 0; !draws && k < test_times(16); k++) {
        struct setting set = random_setting(&rng, row, 12);
        struct layer l;
        set.smooth = 1;
        layer_new(&l, row, &set, &rng);
        layer_spread(&l, (enum spread)(k % WIDE), &rng);
        size_t n = test_rng_between(&rng, 1, 4), d = l.bij->d;
        testrun *t = run_new(&l, n, DFO_MEMORY_INVERT);
        dfo_cond cond = cond_new(&set, n, &rng);
        dfo_batch x = data_new(&l, t, n, 0, cond_or_null(&cond), &rng), z = rows_copy(x);
        double *logdet = doubles_new(n), *j = doubles_new(d * d), *back = doubles_new(d * d), worst = 0;
        for (size_t i = 0; i < n; i++)
            logdet[i] = 1;                         /* it adds */
        forward(&l, t, z, cond_or_null(&cond), logdet);
        for (size_t i = 0; i < n; i++) {
            jacobian(&l, 0, z, cond_or_null(&cond), i, j);
            double want = logdet[i] - 1 + log_area(&l, x, i), size = norm(d * d, j), own = log_det(d, j, back), error = 1;
            double kappa = size * norm(d * d, back);            /* what a rounding of the matrix does to its log-det */
            ck_assert_msg(fabs(own - want) <= 1e-9 * (1 + fabs(want)) + 1e-14 * kappa,
                          "%s: row %zu: log-det %.17g, of its gradients %.17g, condition %g", where(&l), i, want, own, kappa);
            for (double h = 2e-6; h > 1e-9; h /= 4)
                error = fmin(error, fabs(numeric(&l, x, cond_or_null(&cond), i, h) - want) / (1 + fabs(want)));
            double allowed = 1e-6 + 1e-10 * kappa;              /* differences have ten digits at best */
            ck_assert_msg(error <= allowed, "%s: row %zu: log-det %.17g, relative error %g, condition %g", where(&l), i, want, error, kappa);
            worst = fmax(worst, error / allowed);
        }
        note(&l, "log-det, differences", worst, 1, worst);
        testrun_free(t);
        layer_free(&l);
        memory_free_all();
    }
}
END_TEST
#endif

/* Strides, missing log-dets, other rows beside it: the same bits.  No rows: nothing happens.  */
START_TEST(bits)
{
    static const size_t counts[] = {1, 2, 63, 64, 65, 127, 130, 200};
    const struct row *row = &contract_rows[_i];
    test_rng rng = contract_stream(_i, 3);
    for (size_t k = 0; k < test_times(10); k++) {
        struct setting set = random_setting(&rng, row, MOST);
        struct layer l;
        layer_new(&l, row, &set, &rng);
        layer_spread(&l, (enum spread)(k % WIDE), &rng);
        size_t n = counts[test_rng_between(&rng, 0, 7)], d = l.bij->d, kept = test_rng_between(&rng, 0, n - 1);
        testrun *t = run_new(&l, n, DFO_MEMORY_INVERT);
        dfo_cond cond = cond_new(&set, n, &rng);
        const dfo_cond *c = cond_or_null(&cond);
        for (int back = 0; back < 2; back++) {
            dfo_batch start = (back ? latents_new : data_new)(&l, t, n, 0, c, &rng), a = rows_copy(start);
            double *logdet = doubles_new(n), *other = doubles_new(n);
            (back ? inverse : forward)(&l, t, a, c, logdet);

            dfo_batch b = rows_new(n, d, test_rng_between(&rng, 1, 5));
            rows_set(b, start);
            testrun_reset(t);
            (back ? inverse : forward)(&l, t, b, c, NULL);
            same_rows(&l, a, b, "row stride, no log-det");
            rows_guard(&l, b, back ? "inverse" : "forward");

            b = (back ? latents_new : data_new)(&l, t, n, 0, c, &rng);
            memcpy(dfo_row(b, kept), dfo_row(start, kept), d * sizeof(dfo_real));
            testrun_reset(t);
            (back ? inverse : forward)(&l, t, b, c, other);
            same_rows(&l, dfo_batch_rows(a, kept, 1), dfo_batch_rows(b, kept, 1), "other neighbours");
            same_doubles(&l, 1, logdet + kept, other + kept, "log-det with other neighbours");

            dfo_cond none = dfo_cond_rows(c, 0, 0);
            (back ? inverse : forward)(&l, t, dfo_batch_of(NULL, 0, d), cond_or_null(&none), NULL);
            backward(&l, t, back && l.bij->ops->inverse_backward, dfo_batch_of(NULL, 0, d), dfo_batch_of(NULL, 0, d),
                     cond_or_null(&none), NULL, NULL);
        }
        testrun_free(t);
        layer_free(&l);
        memory_free_all();
    }
}
END_TEST

/* Rows that are not numbers: an error, or a result that shows it; other rows as if they were alone.  */
START_TEST(not_finite)
{
    static const double bad[] = {NAN, INFINITY, -INFINITY};
    const struct row *row = &contract_rows[_i];
    test_rng rng = contract_stream(_i, 4);
    for (size_t k = 0; k < test_times(12); k++) {
        struct setting set = random_setting(&rng, row, MOST);
        struct layer l;
        layer_new(&l, row, &set, &rng);
        layer_spread(&l, MODERATE, &rng);
        size_t n = test_rng_between(&rng, 2, 70), d = l.bij->d, which = test_rng_between(&rng, 0, n - 1);
        size_t column = test_rng_between(&rng, 0, d - 1);
        testrun *t = run_new(&l, n, DFO_MEMORY_INVERT);
        dfo_cond cond = cond_new(&set, n, &rng);
        const dfo_cond *c = cond_or_null(&cond);
        for (int back = 0; back < 2; back++) {
            dfo_batch x = (back ? latents_new : data_new)(&l, t, n, 0, c, &rng), clean = rows_copy(x);
            double *logdet = doubles_new(n), value = bad[test_rng_between(&rng, 0, 2)];
            (back ? inverse : forward)(&l, t, clean, c, NULL);
            dfo_row(x, which)[column] = (dfo_real)value;
            dfo_status status = (back ? dfo_bijector_inverse : dfo_bijector_forward)(l.bij, &t->run, x, c, logdet);
            if (status == DFO_OK) {
                int shows = !isfinite(logdet[which]);
                for (size_t j = 0; j < d; j++)
                    shows |= !isfinite(dfo_row(x, which)[j]);
                ck_assert_msg(shows, "%s: %s of %g in row %zu, column %zu: looks fine", where(&l),
                              back ? "inverse" : "forward", value, which, column);
                for (size_t i = 0; i < n; i++)
                    if (i != which)
                        same_rows(&l, dfo_batch_rows(clean, i, 1), dfo_batch_rows(x, i, 1), "beside a bad row");
            } else {
                char text[40];
                snprintf(text, sizeof text, "row %zu", which);
                ck_assert_msg(status == DFO_ENUM && strstr(t->run.text, text), "%s: %s: status %d, text '%s'", where(&l),
                              text, (int)status, t->run.text);
                ck_assert_msg(strcmp(row->type, "chain") || strstr(t->run.text, "layer "), "%s: text '%s'", where(&l),
                              t->run.text);
            }
            testrun_reset(t);
        }
        testrun_free(t);
        layer_free(&l);
        memory_free_all();
    }
}
END_TEST

/* Wrong shapes are refused before anything is written.  */
START_TEST(shapes)
{
    const struct row *row = &contract_rows[_i];
    test_rng rng = contract_stream(_i, 5);
    struct setting set = random_setting(&rng, row, MOST);
    struct layer l;
    set.conds = 2;
    set.cond[0] = dfo_shape_vector(2);
    set.cond[1] = dfo_shape_vector(3);
    layer_new(&l, row, &set, &rng);
    testrun *t = run_new(&l, 3, DFO_MEMORY_INVERT);
    dfo_cond good = cond_new(&set, 3, &rng), cond;
    size_t d = l.bij->d;
    for (int fault = 0; fault < 6; fault++) {
        dfo_batch x = rows_new(3, d + (fault == 0), 0), before;
        rows_draw(x, &rng, 1);
        before = rows_copy(x);
        cond = good;
        if (fault == 1) {                          /* as many features, in other parts */
            cond.part[0].rows = rows_new(3, 3, 0);
            cond.part[1].rows = rows_new(3, 2, 0);
        } else if (fault == 2) {
            cond.n = 1;
            cond.part[0].rows = rows_new(3, 5, 0);
        } else if (fault == 3) {
            cond.part[1].rows.n = 2;
        } else if (fault == 4) {
            cond.n = 0;
        } else if (fault == 5) {
            cond.part[1].rows.ld = 1;
        }
        for (int pass = 0; pass < 4; pass++) {
            double logdet[3] = {1, 2, 3};
            dfo_batch g = rows_copy(x);
            dfo_status status = pass == 0   ? dfo_bijector_forward(l.bij, &t->run, x, &cond, logdet)
                                : pass == 1 ? dfo_bijector_inverse(l.bij, &t->run, x, &cond, logdet)
                                : pass == 2 ? dfo_bijector_backward(l.bij, &t->run, x, g, &cond, NULL, logdet)
                                            : dfo_bijector_inverse_backward(l.bij, &t->run, x, g, &cond, NULL, logdet);
            ck_assert_msg(status == DFO_ESHAPE || (pass == 3 && status == DFO_EUNSUP), "%s: fault %d, pass %d: status %d",
                          where(&l), fault, pass, (int)status);
            ck_assert_msg(strstr(t->run.text, row->type) != NULL, "%s: text '%s'", where(&l), t->run.text);
            same_rows(&l, x, before, "refused");
            ck_assert(logdet[0] == 1 && logdet[1] == 2 && logdet[2] == 3);
            testrun_reset(t);
        }
    }
    testrun_free(t);
    layer_free(&l);
    memory_free_all();
}
END_TEST

void contract_maps(Suite *suite)
{
    TCase *tcase = tcase_create("maps");
    int n = (int)contract_rows_count;
    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, round_trips, 0, n);
#ifdef DFO_DOUBLE
    tcase_add_loop_test(tcase, log_dets, 0, n);
#endif
    tcase_add_loop_test(tcase, bits, 0, n);
    tcase_add_loop_test(tcase, not_finite, 0, n);
    tcase_add_loop_test(tcase, shapes, 0, n);
    suite_add_tcase(suite, tcase);
}

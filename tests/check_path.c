/* Paths through observations: closed forms, GSL's natural spline, continuity, causality, gaps, lengths, no memory.  */
#include <gsl/gsl_spline.h>
#include <math.h>
#include <string.h>

#include <diffeo/path.h>
#include "oom.h"
#include "util.h"

#define POINTS 9
#define CHANNELS 3
#define ROWS 4
#define SIZE (4 * (POINTS - 1) * CHANNELS)

static const double uneven[POINTS] = {-1, -0.6, 0.1, 0.3, 1.2, 1.9, 2, 3.1, 3.5}, even[POINTS] = {0, 1, 2, 3, 4, 5, 6, 7, 8};
static const dfo_path path = {POINTS, CHANNELS, uneven}, grid = {POINTS, CHANNELS, even};
static dfo_ctx *ctx;
static dfo_real x[ROWS][POINTS][CHANNELS], rows[ROWS][SIZE];

static void setup(void)
{
    test_rng rng = test_rng_new(test_seed());
    ck_assert_int_eq(dfo_ctx_new(&ctx), DFO_OK);
    for (size_t i = 0; i < ROWS; i++)
        for (size_t p = 0; p < POINTS; p++)
            for (size_t c = 0; c < CHANNELS; c++)
                x[i][p][c] = (dfo_real)test_rng_real(&rng, -2, 2);
}

static void teardown(void)
{
    dfo_ctx_free(ctx);
}

#define OK(call) ck_assert_msg((call) == DFO_OK, "%s", dfo_ctx_error(ctx))

static void near(const char *what, double got, double want)
{
    ck_assert_msg(fabs(got - want) <= (IS_DOUBLE ? 1e-12 : 2e-5) * (1 + fabs(want)), "%s: %.17g, expected %.17g", what, got, want);
}

static void fit(const dfo_path *p, dfo_path_kind kind, dfo_path_gaps gaps, const size_t *lengths)
{
    memset(rows, -1, sizeof rows);                     /* not a number */
    OK(dfo_path_fit(ctx, p, kind, gaps, dfo_batch_of(x[0][0], ROWS, POINTS * CHANNELS), lengths, dfo_batch_of(rows[0], ROWS, SIZE)));
}

static double value(const dfo_path *p, const dfo_real *row, size_t piece, double t, size_t c)
{
    dfo_real v[CHANNELS];
    dfo_path_value(p, row, piece, t, v);
    return (double)v[c];
}

static double slope(const dfo_path *p, const dfo_real *row, size_t piece, double t, size_t c)
{
    dfo_real v[CHANNELS];
    dfo_path_slope(p, row, piece, t, v);
    return (double)v[c];
}

static double second(const dfo_real *row, size_t piece, double t, size_t c)
{
    const dfo_real *at = row + piece * 4 * CHANNELS + c;
    return 2 * (double)at[2 * CHANNELS] + 6 * (double)at[3 * CHANNELS] * (t - uneven[piece]);
}

static size_t kinks;

/* Between pieces q - 1 and q: values, and as many derivatives as the kind promises.  */
static void joint(dfo_path_kind kind, const dfo_real *row, size_t q, size_t c)
{
    double t = uneven[q], before = slope(&path, row, q - 1, t, c), behind = slope(&path, row, q, t, c);
    near("value", value(&path, row, q - 1, t, c), value(&path, row, q, t, c));
    if (kind != DFO_PATH_LINEAR)
        near("derivative", before, behind);
    if (kind == DFO_PATH_SPLINE)
        near("second derivative", second(row, q - 1, t, c) / 100, second(row, q, t, c) / 100);
    if (kind == DFO_PATH_LINEAR)
        kinks += fabs(before - behind) > 1e-3;
    if (kind == DFO_PATH_HERMITE)
        kinks += fabs(second(row, q - 1, t, c) - second(row, q, t, c)) > 1e-3;
}

/* The very numbers at the points from the right, to rounding from the left; derivatives as promised and no better.  */
START_TEST(points_and_joints)
{
    dfo_path_kind kind = (dfo_path_kind)_i;
    kinks = 0;
    fit(&path, kind, DFO_PATH_THROUGH, NULL);
    for (size_t i = 0; i < ROWS; i++)
        for (size_t c = 0; c < CHANNELS; c++) {
            for (size_t q = 0; q + 1 < POINTS; q++)
                ck_assert(value(&path, rows[i], q, uneven[q], c) == (double)x[i][q][c]);
            near("last", value(&path, rows[i], POINTS - 2, uneven[POINTS - 1], c), (double)x[i][POINTS - 1][c]);
            for (size_t q = 1; q + 1 < POINTS; q++)
                joint(kind, rows[i], q, c);
            if (kind == DFO_PATH_HERMITE)
                near("backward difference", slope(&path, rows[i], 3, uneven[3], c),
                     ((double)x[i][3][c] - (double)x[i][2][c]) / (uneven[3] - uneven[2]));
            if (kind == DFO_PATH_SPLINE) {
                near("free end", second(rows[i], 0, uneven[0], c), 0);
                near("free end", second(rows[i], POINTS - 2, uneven[POINTS - 1], c) / 100, 0);
            }
        }
    ck_assert(kind == DFO_PATH_SPLINE || kinks > ROWS * CHANNELS);
}
END_TEST

/* Slopes are the derivatives of values: of cubics, exactly so by this difference.  */
START_TEST(slopes)
{
    double h = IS_DOUBLE ? 1e-3 : 0.05;
    fit(&path, (dfo_path_kind)_i, DFO_PATH_THROUGH, NULL);
    for (size_t q = 0; q + 1 < POINTS; q++)
        for (size_t c = 0; c < CHANNELS; c++) {
            double t = uneven[q] + 0.4 * (uneven[q + 1] - uneven[q]), v[4];
            for (size_t k = 0; k < 4; k++)
                v[k] = value(&path, rows[1], q, t + h * ((double)k < 2 ? (double)k - 2 : (double)k - 1), c);
            double want = (v[0] - 8 * v[1] + 8 * v[2] - v[3]) / (12 * h);
            ck_assert(fabs(slope(&path, rows[1], q, t, c) - want) < (IS_DOUBLE ? 1e-10 : 1e-3) * (1 + fabs(want)));
        }
}
END_TEST

START_TEST(lines_are_exact)
{
    for (size_t p = 0; p < POINTS; p++)
        for (size_t c = 0; c < CHANNELS; c++)
            x[0][p][c] = (dfo_real)(0.5 - (double)c * uneven[p]);
    fit(&path, (dfo_path_kind)_i, DFO_PATH_THROUGH, NULL);
    for (size_t c = 0; c < CHANNELS; c++)
        for (double t = -1; t < 3.5; t += 0.07) {
            size_t q = dfo_path_piece(&path, t);
            near("line", value(&path, rows[0], q, t, c), 0.5 - (double)c * t);
            near("its slope", slope(&path, rows[0], q, t, c), -(double)c);
        }
}
END_TEST

/* x = t^2 on an even grid: backward differences are half a step late, m = 2 t - 1, which moves the curve by
 * -u (2 u - 1) (u - 1) from the parabola, u = t - t_q; from the line that its first piece is, and linear paths are, the parabola
 * is -u (1 - u) away.  */
START_TEST(parabola)
{
    for (size_t p = 0; p < POINTS; p++)
        for (size_t c = 0; c < CHANNELS; c++)
            x[0][p][c] = (dfo_real)(even[p] * even[p]);
    for (int kind = DFO_PATH_LINEAR; kind <= DFO_PATH_HERMITE; kind++) {
        fit(&grid, (dfo_path_kind)kind, DFO_PATH_THROUGH, NULL);
        for (double t = 0; t < 8; t += 0.13) {
            size_t q = dfo_path_piece(&grid, t);
            double u = t - even[q], off = q && kind == DFO_PATH_HERMITE ? -u * (2 * u - 1) * (u - 1) : u * (1 - u);
            near("parabola", value(&grid, rows[0], q, t, 1), t * t + off);
        }
    }
}
END_TEST

/* Through 0, 1, 0 at 0, 1, 2 goes 1.5 t - 0.5 t^3 and its mirror image; elsewhere GSL knows.  */
START_TEST(natural_spline)
{
    const double times[3] = {0, 1, 2};
    const dfo_path three = {3, 1, times};
    dfo_real hat[3] = {0, 1, 0}, row[8];
    OK(dfo_path_fit(ctx, &three, DFO_PATH_SPLINE, DFO_PATH_THROUGH, dfo_batch_of(hat, 1, 3), NULL, dfo_batch_of(row, 1, 8)));
    const double want[8] = {0, 1.5, 0, -0.5, 1, 0, -1.5, 0.5};
    for (size_t j = 0; j < 8; j++)
        near("coefficient", (double)row[j], want[j]);

    gsl_spline *spline = gsl_spline_alloc(gsl_interp_cspline, POINTS);
    fit(&path, DFO_PATH_SPLINE, DFO_PATH_THROUGH, NULL);
    for (size_t i = 0; i < ROWS; i++) {
        double y[POINTS];
        for (size_t p = 0; p < POINTS; p++)
            y[p] = (double)x[i][p][2];
        gsl_spline_init(spline, uneven, y, POINTS);
        for (double t = -1; t < 3.5; t += 0.07) {
            size_t q = dfo_path_piece(&path, t);
            near("spline", value(&path, rows[i], q, t, 2), gsl_spline_eval(spline, t, NULL));
            near("its slope", slope(&path, rows[i], q, t, 2) / 100, gsl_spline_eval_deriv(spline, t, NULL) / 100);
        }
    }
    gsl_spline_free(spline);
}
END_TEST

/* Later observations leave the pieces before them the same bits, and a spline's not.  */
START_TEST(causality)
{
    static dfo_real before[ROWS][SIZE];
    size_t piece = 4 * CHANNELS, from = 5;             /* points from here on change: pieces 0 .. from-2 lie before them */
    for (int kind = DFO_PATH_LINEAR; kind <= DFO_PATH_SPLINE; kind++) {
        dfo_path_gaps gaps = _i ? DFO_PATH_CARRY : DFO_PATH_THROUGH;
        if (_i)
            x[2][3][1] = x[2][4][1] = (dfo_real)NAN;
        fit(&path, (dfo_path_kind)kind, gaps, NULL);
        memcpy(before, rows, sizeof rows);
        for (size_t i = 0; i < ROWS; i++)
            for (size_t p = from; p < POINTS; p++)
                for (size_t c = 0; c < CHANNELS; c++)
                    x[i][p][c] += (dfo_real)(1 + (double)(p * c));
        fit(&path, (dfo_path_kind)kind, gaps, NULL);
        for (size_t i = 0; i < ROWS; i++) {
            ck_assert(!memcmp(before[i], rows[i], (from - 1) * piece * sizeof **rows) == (kind != DFO_PATH_SPLINE));
            ck_assert(memcmp(before[i] + (from - 1) * piece, rows[i] + (from - 1) * piece, piece * sizeof **rows));
        }
    }
}
END_TEST

/* Points 2, 3 and 6 of channel 1 missing: through the gap goes the curve of the others alone; carried, that of the data filled
 * by hand, to the last bit.  */
START_TEST(gaps)
{
    static const size_t there[] = {0, 1, 4, 5, 7, 8};
    dfo_path_kind kind = (dfo_path_kind)_i;
    double times[6];
    dfo_real others[6], row[20], filled[SIZE];
    const dfo_path less = {6, 1, times};
    for (size_t j = 0; j < 6; j++) {
        times[j] = uneven[there[j]];
        others[j] = x[1][there[j]][1];
    }
    OK(dfo_path_fit(ctx, &less, kind, DFO_PATH_THROUGH, dfo_batch_of(others, 1, 6), NULL, dfo_batch_of(row, 1, 20)));
    x[1][2][1] = x[1][3][1] = x[1][6][1] = (dfo_real)NAN;
    fit(&path, kind, DFO_PATH_THROUGH, NULL);
    for (double t = -1; t < 3.5; t += 0.07) {
        dfo_real v, s;
        dfo_path_value(&less, row, dfo_path_piece(&less, t), t, &v);
        dfo_path_slope(&less, row, dfo_path_piece(&less, t), t, &s);
        near("through", value(&path, rows[1], dfo_path_piece(&path, t), t, 1), (double)v);
        near("its slope", slope(&path, rows[1], dfo_path_piece(&path, t), t, 1) / 100, (double)s / 100);
    }
    fit(&path, kind, DFO_PATH_CARRY, NULL);
    memcpy(filled, rows[1], sizeof filled);
    x[1][2][1] = x[1][3][1] = x[1][1][1];
    x[1][6][1] = x[1][5][1];
    fit(&path, kind, DFO_PATH_THROUGH, NULL);
    ck_assert(!memcmp(filled, rows[1], sizeof filled));
}
END_TEST

/* Before the first observation and behind the last, and where there is none.  */
START_TEST(gaps_at_ends)
{
    dfo_path_kind kind = (dfo_path_kind)(_i / 2);
    for (size_t p = 0; p < POINTS; p++) {
        x[0][p][2] = (dfo_real)NAN;
        if (p < 2 || p > 5)
            x[0][p][0] = (dfo_real)NAN;
    }
    fit(&path, kind, _i % 2 ? DFO_PATH_CARRY : DFO_PATH_THROUGH, NULL);
    for (size_t q = 0; q < 2; q++)
        ck_assert(value(&path, rows[0], q, uneven[q], 0) == (double)x[0][2][0]);
    ck_assert(value(&path, rows[0], 7, uneven[7], 0) == (double)x[0][5][0]);
    for (size_t q = 0; q + 1 < POINTS; q++)
        ck_assert(value(&path, rows[0], q, uneven[q] + 0.05, 2) == 0 && slope(&path, rows[0], q, uneven[q], 2) == 0);
}
END_TEST

/* A row that ends early is the path through its points, and stands still from there on, whatever is written behind it.  */
START_TEST(ends_early)
{
    static dfo_real one[SIZE];
    const size_t length[ROWS] = {POINTS, 4, 1, 2};
    const dfo_path cut = {4, CHANNELS, uneven};
    size_t size = dfo_path_size(&cut);
    dfo_batch from = dfo_batch_of(x[1][0], 1, 4 * CHANNELS), to = dfo_batch_of(one, 1, size);
    OK(dfo_path_fit(ctx, &cut, (dfo_path_kind)_i, DFO_PATH_THROUGH, from, NULL, to));
    x[1][4][0] = (dfo_real)NAN;
    x[1][7][0] = (dfo_real)INFINITY;
    fit(&path, (dfo_path_kind)_i, DFO_PATH_THROUGH, length);
    ck_assert(!memcmp(one, rows[1], size * sizeof *one));
    for (size_t i = 1; i < ROWS; i++)
        for (size_t q = length[i] - 1; q + 1 < POINTS; q++)
            for (size_t c = 0; c < CHANNELS; c++) {
                ck_assert(value(&path, rows[i], q, uneven[q + 1], c) == (double)x[i][length[i] - 1][c]);
                ck_assert(slope(&path, rows[i], q, uneven[q], c) == 0 && slope(&path, rows[i], q, uneven[q + 1], c) == 0);
            }
}
END_TEST

START_TEST(pieces)
{
    static const double t[] = {-9, -1, -0.7, -0.6, 0, 1.9, 1.95, 2, 3.4, 3.5, 99};
    static const size_t want[] = {0, 0, 0, 1, 1, 5, 5, 6, 7, 7, 7};
    for (size_t j = 0; j < sizeof t / sizeof *t; j++)
        ck_assert_uint_eq(dfo_path_piece(&path, t[j]), want[j]);
}
END_TEST

static void refuse(dfo_status status, const dfo_path *p, size_t d, const size_t *lengths, const char *text)
{
    dfo_batch from = dfo_batch_of(x[0][0], ROWS, d), to = dfo_batch_of(rows[0], ROWS, dfo_path_size(p));
    dfo_status got = dfo_path_fit(ctx, p, DFO_PATH_HERMITE, DFO_PATH_CARRY, from, lengths, to);
    ck_assert_msg(got == status && strstr(dfo_ctx_error(ctx), text), "%s, expected '%s'", dfo_ctx_error(ctx), text);
}

START_TEST(refused)
{
    static const double twice[3] = {0, 1, 1}, none[2] = {(double)NAN, 1};
    const size_t zero[ROWS] = {1, 1, 0, 1}, many[ROWS] = {9, 9, 9, 10};
    refuse(DFO_EARG, &(dfo_path){1, 3, even}, 3, NULL, "got 1 and 3");
    refuse(DFO_EARG, &(dfo_path){2, 0, even}, 0, NULL, "got 2 and 0");
    refuse(DFO_EARG, &(dfo_path){3, 1, twice}, 3, NULL, "number 2, 1, does not go on from 1");
    refuse(DFO_EARG, &(dfo_path){2, 1, none}, 2, NULL, "number 0, nan");
    refuse(DFO_ESHAPE, &path, POINTS, NULL, "got 4 of 9");
    refuse(DFO_EARG, &path, POINTS * CHANNELS, zero, "row 2 has a length of 0");
    refuse(DFO_EARG, &path, POINTS * CHANNELS, many, "row 3 has a length of 10");
    x[3][7][2] = (dfo_real)-INFINITY;
    refuse(DFO_ENUM, &path, POINTS * CHANNELS, NULL, "row 3, point 7, channel 2: -inf");
    x[3][7][2] = IS_DOUBLE ? (dfo_real)1.7e308 : (dfo_real)3.4e38f;
    refuse(DFO_ENUM, &path, POINTS * CHANNELS, NULL, "row 3: a coefficient");
}
END_TEST

static dfo_status work(dfo_ctx *in, void *data)
{
    (void)data;
    dfo_batch from = dfo_batch_of(x[0][0], ROWS, POINTS * CHANNELS);
    return dfo_path_fit(in, &path, DFO_PATH_SPLINE, DFO_PATH_CARRY, from, NULL, dfo_batch_of(rows[0], ROWS, SIZE));
}

START_TEST(without_memory)
{
    ck_assert_uint_eq(oom_check("fitting paths", OOM_ALL, work, NULL), 2);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("paths " DFO_REAL_NAME);
    TCase *t = tcase_create("path");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_loop_test(t, points_and_joints, 0, 3);
    tcase_add_loop_test(t, slopes, 0, 3);
    tcase_add_loop_test(t, lines_are_exact, 0, 3);
    tcase_add_test(t, parabola);
    tcase_add_test(t, natural_spline);
    tcase_add_loop_test(t, causality, 0, 2);
    tcase_add_loop_test(t, gaps, 0, 3);
    tcase_add_loop_test(t, gaps_at_ends, 0, 6);
    tcase_add_loop_test(t, ends_early, 0, 3);
    tcase_add_test(t, pieces);
    tcase_add_test(t, refused);
    tcase_add_test(t, without_memory);
    suite_add_tcase(suite, t);
    return test_run(suite);
}

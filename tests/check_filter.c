/* Filters against their definition as a dense matrix: product, solve, Tikhonov's solve, singular values.  */
#include <gsl/gsl_blas.h>
#include <gsl/gsl_linalg.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <diffeo/diffeo.h>
#include "oom.h"
#include "util.h"

struct sizes {
    dfo_boundary boundary;
    size_t h, w, kh, kw;
};

static const struct sizes all[] = {
    {DFO_PERIODIC, 6, 7, 3, 3},  {DFO_PERIODIC, 5, 8, 5, 1},  {DFO_PERIODIC, 3, 5, 3, 5}, {DFO_PERIODIC, 1, 9, 1, 3},
    {DFO_PERIODIC, 4, 4, 1, 1},  {DFO_SYMMETRIC, 6, 7, 3, 5}, {DFO_SYMMETRIC, 5, 5, 5, 5}, {DFO_SYMMETRIC, 8, 1, 3, 1},
    {DFO_CAUSAL, 6, 7, 3, 2},    {DFO_CAUSAL, 5, 4, 5, 4},    {DFO_CAUSAL, 3, 9, 1, 2},
};
#define SIZES (int)(sizeof all / sizeof *all)

static dfo_ctx *ctx;

/* Entries that leave the map well conditioned, or far from it.  */
static void random_kernel(test_rng *rng, const struct sizes *s, double spread, double *k)
{
    size_t centre = s->boundary == DFO_CAUSAL ? 0 : s->kh / 2 * s->kw + s->kw / 2;
    for (size_t i = 0; i < s->kh; i++)
        for (size_t j = 0; j < s->kw; j++) {
            size_t mi = s->kh - 1 - i, mj = s->kw - 1 - j;
            double *at = k + i * s->kw + j;
            *at = spread * test_rng_real(rng, -1, 1);
            if (s->boundary == DFO_SYMMETRIC && (mi < i || mj < j))
                *at = k[(mi < i ? mi : i) * s->kw + (mj < j ? mj : j)];
        }
    k[centre] = 1;
}

/* Where a coordinate outside 0 .. n-1 lies: n: nowhere.  */
static size_t inside(dfo_boundary b, long at, size_t n)
{
    long size = (long)n;
    if (b == DFO_PERIODIC)
        return (size_t)((at % size + size) % size);
    if (b == DFO_SYMMETRIC)
        return (size_t)(at < 0 ? -1 - at : at >= size ? 2 * size - 1 - at : at);
    return at < 0 || at >= size ? n : (size_t)at;
}

static gsl_matrix *dense(const struct sizes *s, const double *k)
{
    size_t n = s->h * s->w;
    long ci = s->boundary == DFO_CAUSAL ? 0 : (long)s->kh / 2, cj = s->boundary == DFO_CAUSAL ? 0 : (long)s->kw / 2;
    gsl_matrix *m = gsl_matrix_calloc(n, n);
    for (size_t p = 0; p < n; p++)
        for (size_t t = 0; t < s->kh * s->kw; t++) {
            size_t y = inside(s->boundary, (long)(p / s->w) - (long)(t / s->kw) + ci, s->h);
            size_t x = inside(s->boundary, (long)(p % s->w) - (long)(t % s->kw) + cj, s->w);
            if (y < s->h && x < s->w)
                *gsl_matrix_ptr(m, p, y * s->w + x) += k[t];
        }
    return m;
}

/* to = M^-1 from, or with t > 0 (M^T M + t)^-1 M^T from.  */
static void solve(const gsl_matrix *m, double t, const gsl_vector *from, gsl_vector *to)
{
    size_t n = m->size1;
    gsl_matrix *a = gsl_matrix_alloc(n, n);
    gsl_vector *b = gsl_vector_alloc(n);
    gsl_permutation *p = gsl_permutation_alloc(n);
    int sign;
    gsl_matrix_memcpy(a, m);
    gsl_vector_memcpy(b, from);
    if (t > 0) {
        gsl_blas_dgemm(CblasTrans, CblasNoTrans, 1, m, m, 0, a);
        for (size_t i = 0; i < n; i++)
            *gsl_matrix_ptr(a, i, i) += t;
        gsl_blas_dgemv(CblasTrans, 1, m, from, 0, b);
    }
    gsl_linalg_LU_decomp(a, p, &sign);
    gsl_linalg_LU_solve(a, p, b, to);
    gsl_matrix_free(a);
    gsl_vector_free(b);
    gsl_permutation_free(p);
}

static void close_to(const char *what, size_t n, const dfo_real *got, const gsl_vector *want, double condition)
{
    double tol = sizeof(dfo_real) == sizeof(double) ? 1e-12 : 1e-5;
    for (size_t i = 0; i < n; i++) {
        double e = gsl_vector_get(want, i);
        ck_assert_msg(fabs((double)got[i] - e) <= tol * condition * (1 + fabs(e)), "seed %llu: %s: case %d: pixel %zu: %.17g, expected %.17g",
                      (unsigned long long)test_seed(), what, (int)n, i, (double)got[i], e);
    }
}

/* Smallest and largest singular values.  */
static void singular(const gsl_matrix *m, double *low, double *high)
{
    size_t n = m->size1;
    gsl_matrix *u = gsl_matrix_alloc(n, n), *v = gsl_matrix_alloc(n, n);
    gsl_vector *s = gsl_vector_alloc(n);
    gsl_matrix_memcpy(u, m);
    gsl_linalg_SV_decomp_jacobi(u, v, s);
    *high = gsl_vector_get(s, 0);
    *low = gsl_vector_get(s, n - 1);
    gsl_matrix_free(u);
    gsl_matrix_free(v);
    gsl_vector_free(s);
}

/* Largest sums of absolute values of a row, of the matrix and of its inverse.  */
static void row_sums(const gsl_matrix *m, double *low, double *high)
{
    size_t n = m->size1;
    double most = 0, inverse = 0;
    gsl_vector *unit = gsl_vector_calloc(n), *column = gsl_vector_alloc(n), *sums = gsl_vector_calloc(n);
    for (size_t j = 0; j < n; j++) {
        double sum = 0;
        gsl_vector_set_basis(unit, j);
        solve(m, 0, unit, column);
        for (size_t i = 0; i < n; i++) {
            *gsl_vector_ptr(sums, i) += fabs(gsl_vector_get(column, i));
            sum += fabs(gsl_matrix_get(m, j, i));
        }
        most = fmax(most, sum);
    }
    inverse = gsl_vector_max(sums);
    *high = most;
    *low = 1 / inverse;
    gsl_vector_free(unit);
    gsl_vector_free(column);
    gsl_vector_free(sums);
}

START_TEST(definition)
{
    const struct sizes *s = &all[_i];
    size_t n = s->h * s->w;
    test_rng rng = test_rng_new(test_seed());
    for (size_t t = 0; t < test_times(10); t++) {
        double k[25], low, high;
        dfo_real x[64];
        dfo_filter *f;
        dfo_filter_report r;
        gsl_vector *from = gsl_vector_alloc(n), *to = gsl_vector_alloc(n);
        random_kernel(&rng, s, 0.9 / (double)(s->kh * s->kw), k);
        ck_assert_msg(dfo_filter_new(ctx, s->boundary, s->h, s->w, s->kh, s->kw, k, &f) == DFO_OK, "%s", dfo_ctx_error(ctx));
        gsl_matrix *m = dense(s, k);
        for (size_t i = 0; i < n; i++) {
            x[i] = (dfo_real)test_rng_normal(&rng);
            gsl_vector_set(from, i, (double)x[i]);
        }
        dfo_filter_apply(f, x);
        gsl_blas_dgemv(CblasNoTrans, 1, m, from, 0, to);
        close_to("product", n, x, to, 1);
        for (size_t i = 0; i < n; i++)
            x[i] = (dfo_real)gsl_vector_get(from, i);
        ck_assert_msg(dfo_filter_invert(f, x, 0) == DFO_OK, "%s", dfo_ctx_error(ctx));
        solve(m, 0, from, to);
        close_to("solve", n, x, to, 1);
        for (size_t i = 0; i < n; i++)
            x[i] = (dfo_real)gsl_vector_get(from, i);
        if (s->boundary != DFO_CAUSAL) {
            ck_assert_int_eq(dfo_filter_invert(f, x, 0.3), DFO_OK);
            solve(m, 0.3, from, to);
            close_to("Tikhonov", n, x, to, 1);
            singular(m, &low, &high);
        } else {
            ck_assert_int_eq(dfo_filter_invert(f, x, 0.3), DFO_EUNSUP);
            row_sums(m, &low, &high);
        }
        dfo_filter_report_of(f, &r);
        ck_assert_msg(fabs(r.smallest - low) <= 1e-5 * high && fabs(r.largest - high) <= 1e-5 * high &&
                          fabs(r.condition - r.largest / r.smallest) <= 1e-12 * r.condition,
                      "seed %llu: %g to %g, expected %g to %g", (unsigned long long)test_seed(), r.smallest, r.largest, low, high);
        dfo_filter_free(f);
        gsl_matrix_free(m);
        gsl_vector_free(from);
        gsl_vector_free(to);
    }
}
END_TEST

/* Kernels without inverse, and the frequency that says so.  */
START_TEST(singular_kernels)
{
    static const double box[9] = {1, 1, 1, 1, 1, 1, 1, 1, 1}, first[4] = {0, 1, 1, 1}, steep[2] = {1e-6, 1};
    dfo_real x[81];
    dfo_filter *f;
    dfo_filter_report r;
    for (size_t i = 0; i < 81; i++)
        x[i] = (dfo_real)i;
    for (int b = 0; b < 2; b++) {
        ck_assert_int_eq(dfo_filter_new(ctx, b ? DFO_SYMMETRIC : DFO_PERIODIC, 9, 9, 3, 3, box, &f), DFO_OK);
        ck_assert_int_eq(dfo_filter_invert(f, x, 0), DFO_ENUM);
        ck_assert_ptr_nonnull(strstr(dfo_ctx_error(ctx), "has no inverse: at frequency "));
        dfo_filter_report_of(f, &r);
        ck_assert(r.smallest < 1e-5 && r.largest > 8.999 && r.largest < 9.001);
        ck_assert(r.frequency[0] == (b ? 6 : 3) || r.frequency[1] == (b ? 6 : 3));
        for (size_t i = 0; i < 81; i++)
            ck_assert(x[i] == (dfo_real)i);
        ck_assert_int_eq(dfo_filter_invert(f, x, 1e-3), DFO_OK);
        for (size_t i = 0; i < 81; i++)
            x[i] = (dfo_real)i;
        dfo_filter_free(f);
    }
    for (int k = 0; k < 2; k++) {
        ck_assert_int_eq(dfo_filter_new(ctx, DFO_CAUSAL, 9, 9, k ? 1 : 2, 2, k ? steep : first, &f), DFO_OK);
        ck_assert_int_eq(dfo_filter_invert(f, x, 0), DFO_ENUM);
        ck_assert_ptr_nonnull(strstr(dfo_ctx_error(ctx), k ? "its first entry is 1e-06" : "its first entry is 0"));
        dfo_filter_report_of(f, &r);
        ck_assert(k ? r.condition > 1e40 : isinf(r.condition));
        dfo_filter_free(f);
    }
}
END_TEST

START_TEST(refused)
{
    double k[25] = {0};
    dfo_filter *f;
    k[0] = 1;
    ck_assert_int_eq(dfo_filter_new(ctx, DFO_PERIODIC, 9, 9, 2, 3, k, &f), DFO_EARG);
    ck_assert_ptr_nonnull(strstr(dfo_ctx_error(ctx), "odd sides"));
    ck_assert_int_eq(dfo_filter_new(ctx, DFO_PERIODIC, 9, 4, 3, 5, k, &f), DFO_ESHAPE);
    ck_assert_ptr_nonnull(strstr(dfo_ctx_error(ctx), "3x5 is larger than the picture, 9x4"));
    ck_assert_int_eq(dfo_filter_new(ctx, DFO_SYMMETRIC, 9, 9, 3, 3, k, &f), DFO_EARG);
    ck_assert_ptr_nonnull(strstr(dfo_ctx_error(ctx), "mirror image: entry 0, 0 is 1 off"));
    ck_assert_int_eq(dfo_filter_new(ctx, DFO_PERIODIC, 0, 9, 3, 3, k, &f), DFO_ESHAPE);
    k[5] = NAN;
    ck_assert_int_eq(dfo_filter_new(ctx, DFO_CAUSAL, 9, 9, 3, 3, k, &f), DFO_EARG);
    ck_assert_ptr_nonnull(strstr(dfo_ctx_error(ctx), "entry 1, 2 of the kernel is not finite"));
    ck_assert_ptr_null(f);
    dfo_filter_free(NULL);
}
END_TEST

static dfo_status make(dfo_ctx *own, void *data)
{
    const struct sizes *s = data;
    double k[25];
    dfo_filter *f;
    test_rng rng = test_rng_new(1);
    random_kernel(&rng, s, 0.1, k);
    dfo_status status = dfo_filter_new(own, s->boundary, s->h, s->w, s->kh, s->kw, k, &f);
    dfo_filter_free(f);
    return status;
}

START_TEST(memory)
{
    struct sizes s = all[_i];
    oom_check("filter", OOM_OURS, make, &s);
}
END_TEST

static void begin(void)
{
    ck_assert_int_eq(dfo_ctx_new(&ctx), DFO_OK);
}

static void end(void)
{
    ck_assert_uint_eq(dfo_ctx_bytes(ctx), 0);
    dfo_ctx_free(ctx);
}

int main(void)
{
    Suite *suite = suite_create("filter " DFO_REAL_NAME);
    TCase *t = tcase_create("filter");
    tcase_add_checked_fixture(t, begin, end);
    tcase_add_loop_test(t, definition, 0, SIZES);
    tcase_add_test(t, singular_kernels);
    tcase_add_test(t, refused);
    tcase_add_loop_test(t, memory, 0, SIZES);
    suite_add_tcase(suite, t);
    return test_run(suite);
}

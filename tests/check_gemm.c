/* The packed products against sums in long double and against OpenBLAS, for random odd sizes, at every
 * instruction set of this processor; what surrounds them (bias, relu, residual, mask); canaries around
 * results; panels to rows and back.  */
#include <cblas.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "math/kern_table.h"
#include "util.h"

#ifdef DFO_DOUBLE
#define GEMM cblas_dgemm
#else
#define GEMM cblas_sgemm
#endif
/* Not ck_assert_msg, which writes to a pipe each time: these run over every element.  */
#define REQUIRE(condition, ...)                  \
    do {                                         \
        if (!(condition))                        \
            ck_abort_msg(__VA_ARGS__);           \
    } while (0)
#define CANARY ((dfo_real)-12345)
#define GUARD 64

static const char *const level_name[] = {"generic", "avx2", "avx512"};

/* n reals between two guards of canaries, 64-byte aligned.  */
static dfo_real *guarded(size_t n)
{
    size_t bytes = ((n + 2 * GUARD) * sizeof(dfo_real) + 63) / 64 * 64;
    dfo_real *p = aligned_alloc(64, bytes);
    if (!p)
        ck_abort_msg("no memory");
    for (size_t i = 0; i < n + 2 * GUARD; i++)
        p[i] = CANARY;
    return p + GUARD;
}

static void check_guards(const dfo_real *p, size_t n, const char *what)
{
    for (size_t i = 0; i < GUARD; i++)
        REQUIRE(p[-1 - (ptrdiff_t)i] == CANARY && p[n + i] == CANARY, "%s: wrote outside", what);
}

static void release(dfo_real *p)
{
    free(p - GUARD);
}

static void copy(size_t n, const dfo_real *from, dfo_real *to)
{
    for (size_t i = 0; i < n; i++)
        to[i] = from[i];
}

static dfo_real *randoms(test_rng *rng, size_t n)
{
    dfo_real *p = guarded(n);
    for (size_t i = 0; i < n; i++)
        p[i] = (dfo_real)test_rng_normal(rng);
    return p;
}

/* sum of |terms| scales the error that rounding may leave.  */
static void near_enough(dfo_real got, long double want, long double size, size_t terms, const char *what,
                        size_t m, size_t k, int level)
{
    long double bound = (long double)DFO_REAL_EPS * (4 + sqrtl((long double)terms)) * size;
    REQUIRE(fabsl((long double)got - want) <= bound, "%s (%zu, %zu) %s: got %.17g, want %.17Lg", what, m, k,
                  level_name[level], (double)got, want);
}

static size_t odd_size(test_rng *rng)
{
    static const size_t special[] = {0, 1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 43, 64, 65, 128};
    return test_rng_between(rng, 0, 1) ? special[test_rng_between(rng, 0, 15)] : test_rng_between(rng, 0, 70);
}

/* A number of panels, each somewhere of its own; what is in panel p of `d` features at `at`.  */
struct panels {
    size_t n, d;
    dfo_real *at[DFOI_PANELS];
    const dfo_real *read[DFOI_PANELS];
};

static struct panels panels_of(test_rng *rng, size_t n, size_t d)
{
    struct panels p = {.n = n, .d = d};
    for (size_t i = 0; i < n; i++)
        p.read[i] = p.at[i] = randoms(rng, d * DFO_PANEL);
    return p;
}

static struct panels panels_like(const struct panels *from)
{
    struct panels p = *from;
    for (size_t i = 0; i < p.n; i++) {
        p.read[i] = p.at[i] = guarded(p.d * DFO_PANEL);
        copy(p.d * DFO_PANEL, from->at[i], p.at[i]);
    }
    return p;
}

static void panels_free(struct panels *p, const char *what)
{
    for (size_t i = 0; i < p->n; i++) {
        check_guards(p->at[i], p->d * DFO_PANEL, what);
        release(p->at[i]);
    }
}

/* Stairs for m rows of k inputs, or none (NULL): steps of all heights and widths; to be freed.  */
static size_t *stairs(test_rng *rng, size_t m, size_t k)
{
    size_t *reach = malloc((m + 1) * sizeof *reach), most = k / (m + 1) + 1, wide = test_rng_between(rng, 0, 3);
    if (!reach)
        ck_abort_msg("no memory");
    size_t at = test_rng_between(rng, 0, most);
    for (size_t i = 0; i < m; i++) {
        at += !wide || test_rng_between(rng, 0, wide) ? 0 : test_rng_between(rng, 0, (wide + 1) * most);
        reach[i] = at < k ? at : k;
    }
    if (test_rng_between(rng, 0, 1))
        return reach;
    free(reach);
    return NULL;
}

static size_t seen(const size_t *reach, size_t i, size_t k)
{
    return reach ? reach[i] : k;
}

/* gemm_stairs, or gemm_tangent_stairs: what is between the sum and the output differs.  */
static void one_product(test_rng *rng, const struct dfoi_gemm_kernels *gemm, int level)
{
    static const dfoi_act acts[] = {DFOI_ACT_NONE, DFOI_ACT_RELU, DFOI_ACT_LEAKY_RELU};
    size_t m = odd_size(rng), k = odd_size(rng), ldw = k + test_rng_between(rng, 0, 3), n = m * DFO_PANEL;
    size_t count = test_rng_between(rng, 1, DFOI_PANELS);
    dfoi_act act = acts[test_rng_between(rng, 0, 2)];
    int tangent = (int)test_rng_between(rng, 0, 1), with_bias = (int)test_rng_between(rng, 0, 1);
    int masked = (int)test_rng_between(rng, 0, 1), adding = (int)test_rng_between(rng, 0, 2);   /* 2: y itself */
    dfo_real *w = randoms(rng, m * ldw), *b = randoms(rng, m);
    struct panels x = panels_of(rng, count, k), r = panels_of(rng, count, m), mask = panels_of(rng, count, m),
                  y = panels_like(&r);
    const dfo_real *const *add = adding == 2 ? y.read : adding ? r.read : NULL;
    size_t *reach = stairs(rng, m, k);
    if (tangent)
        gemm->gemm_tangent_stairs(m, k, w, ldw, reach, count, x.read, masked ? mask.read : NULL, add, y.at);
    else
        gemm->gemm_stairs(m, k, w, ldw, reach, count, x.read, with_bias ? b : NULL, act, add, y.at);
    for (size_t at = 0; at < count * n; at++) {
        size_t p = at / n, e = at % n, i = e / DFO_PANEL, l = e % DFO_PANEL;
        long double sum = with_bias && !tangent ? b[i] : 0, size = fabsl(sum);
        for (size_t j = 0; j < seen(reach, i, k); j++) {
            long double term = (long double)w[i * ldw + j] * x.at[p][j * DFO_PANEL + l];
            sum += term;
            size += fabsl(term);
        }
        if (tangent && masked && !(mask.at[p][e] > 0))
            sum = 0;
        if (!tangent && sum < 0 && act != DFOI_ACT_NONE)
            sum *= act == DFOI_ACT_RELU ? 0.0L : 0.01L;
        if (adding)
            sum += r.at[p][e];
        size += fabsl(sum);
        near_enough(y.at[p][e], sum, size, k, tangent ? "gemm_tangent" : "gemm", m, k, level);
    }
    panels_free(&x, "x"), panels_free(&r, "r"), panels_free(&mask, "mask"), panels_free(&y, "gemm");
    release(w), release(b), free(reach);
}

static void one_back(test_rng *rng, const struct dfoi_gemm_kernels *gemm, int level)
{
    size_t m = odd_size(rng), k = odd_size(rng), ldw = k + test_rng_between(rng, 0, 3), n = k * DFO_PANEL;
    size_t count = test_rng_between(rng, 1, DFOI_PANELS), scratch_size = dfoi_gemm_back_scratch(m);
    int masked = (int)test_rng_between(rng, 0, 1), adding = (int)test_rng_between(rng, 0, 2);  /* 2: add is gx */
    dfo_real *w = randoms(rng, m * ldw), *scratch = guarded(scratch_size);
    struct panels gy = panels_of(rng, count, m), mask = panels_of(rng, count, k), add = panels_of(rng, count, k),
                  gx = panels_like(&add);
    size_t *reach = stairs(rng, m, k);
    if (n)
        mask.at[0][0] = 0, mask.at[0][n - 1] = -(dfo_real)0;
    gemm->gemm_back_stairs(m, k, w, ldw, reach, count, gy.read, masked ? mask.read : NULL,
                           adding == 2 ? gx.read : adding ? add.read : NULL, gx.at, scratch);
    for (size_t at = 0; at < count * n; at++) {
        size_t p = at / n, e = at % n, j = e / DFO_PANEL, l = e % DFO_PANEL;
        long double sum = 0, size = 0;
        for (size_t i = 0; i < m; i++) {
            if (j >= seen(reach, i, k))
                continue;
            long double term = (long double)w[i * ldw + j] * gy.at[p][i * DFO_PANEL + l];
            sum += term;
            size += fabsl(term);
        }
        if (masked && !(mask.at[p][e] > 0))
            sum = 0;
        if (adding)
            sum += add.at[p][e];
        size += fabsl(sum);
        near_enough(gx.at[p][e], sum, size, m, "gemm_back", m, k, level);
    }
    check_guards(scratch, scratch_size, "gemm_back's scratch");
    panels_free(&gy, "gy"), panels_free(&mask, "mask"), panels_free(&add, "add"), panels_free(&gx, "gemm_back");
    release(w), release(scratch), free(reach);
}

static void one_grad(test_rng *rng, const struct dfoi_gemm_kernels *gemm, int level)
{
    size_t m = odd_size(rng), k = odd_size(rng), ldgw = k + test_rng_between(rng, 0, 5);
    size_t count = test_rng_between(rng, 1, DFOI_PANELS), rows = count * DFO_PANEL;
    size_t scratch_size = dfoi_gemm_grad_scratch(k, count);
    dfo_real *scratch = guarded(scratch_size), *gw = randoms(rng, m * ldgw), *gb = randoms(rng, m),
             *gw0 = guarded(m * ldgw), *gb0 = guarded(m);
    struct panels gy = panels_of(rng, count, m), x = panels_of(rng, count, k);
    int bias = (int)test_rng_between(rng, 0, 1);
    size_t *reach = stairs(rng, m, k);
    copy(m * ldgw, gw, gw0);
    copy(m, gb, gb0);
    gemm->gemm_grad_stairs(m, k, reach, count, gy.read, x.read, gw, ldgw, bias ? gb : NULL, scratch);
    for (size_t i = 0; i < m; i++) {
        long double row = gb0[i], row_size = fabsl(row);
        for (size_t l = 0; l < rows; l++) {
            dfo_real g = gy.at[l / DFO_PANEL][i * DFO_PANEL + l % DFO_PANEL];
            row += g;
            row_size += fabsl((long double)g);
        }
        if (bias)
            near_enough(gb[i], row, row_size, rows, "gemm_grad gb", m, k, level);
        for (size_t j = 0; j < ldgw; j++) {
            long double sum = gw0[i * ldgw + j], size = fabsl(sum);
            for (size_t l = 0; j < seen(reach, i, k) && l < rows; l++) {
                size_t p = l / DFO_PANEL, c = l % DFO_PANEL;
                long double term = (long double)gy.at[p][i * DFO_PANEL + c] * x.at[p][j * DFO_PANEL + c];
                sum += term;
                size += fabsl(term);
            }
            if (j < seen(reach, i, k))
                near_enough(gw[i * ldgw + j], sum, size, rows, "gemm_grad gw", m, k, level);
            else
                REQUIRE(gw[i * ldgw + j] == gw0[i * ldgw + j], "gemm_grad (%zu, %zu) wrote behind column %zu", m,
                              k, k);
        }
    }
    check_guards(gw, m * ldgw, "gemm_grad gw");
    check_guards(gb, m, "gemm_grad gb");
    check_guards(scratch, scratch_size, "gemm_grad scratch");
    panels_free(&gy, "gy"), panels_free(&x, "x");
    release(scratch), release(gw), release(gb), release(gw0), release(gb0), free(reach);
}

START_TEST(products)
{
    test_rng rng = test_rng_new(test_seed());
    for (size_t i = test_times(60); i--;)
        for (int level = 0; level <= (int)dfoi_cpu_level(); level++) {
            const struct dfoi_gemm_kernels *gemm = DFOI_AT_LEVEL(dfoi_gemm_kernels, level);
            one_product(&rng, gemm, level);
            one_back(&rng, gemm, level);
            one_grad(&rng, gemm, level);
        }
}
END_TEST

/* The public functions against another's matrix product.  */
START_TEST(against_blas)
{
    test_rng rng = test_rng_new(test_seed());
    for (size_t t = test_times(10); t--;) {
        size_t m = test_rng_between(&rng, 1, 300), k = test_rng_between(&rng, 1, 300), n = m * DFO_PANEL;
        dfo_real *w = randoms(&rng, m * k), *x = randoms(&rng, k * DFO_PANEL), *y = guarded(n), *want = guarded(n),
                 *gw = guarded(m * k), *gw_want = guarded(m * k),
                 *scratch = guarded(dfoi_gemm_grad_scratch(k, 1));
        dfoi_gemm(m, k, w, k, x, NULL, DFOI_ACT_NONE, NULL, y);
        GEMM(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)m, DFO_PANEL, (int)k, 1, w, (int)k, x, DFO_PANEL, 0, want,
             DFO_PANEL);
        for (size_t i = 0; i < n; i++) {
            double size = 0;
            for (size_t j = 0; j < k; j++)
                size += fabs((double)w[i / DFO_PANEL * k + j] * (double)x[j * DFO_PANEL + i % DFO_PANEL]);
            REQUIRE(fabs((double)(y[i] - want[i])) <= 16 * DFO_REAL_EPS * size,
                    "(%zu, %zu) at %zu: %.17g, BLAS %.17g", m, k, i, (double)y[i], (double)want[i]);
        }
        copy(m * k, w, gw);
        copy(m * k, w, gw_want);
        dfoi_gemm_grad(m, k, y, x, gw, k, NULL, scratch);
        GEMM(CblasRowMajor, CblasNoTrans, CblasTrans, (int)m, (int)k, DFO_PANEL, 1, y, DFO_PANEL, x, DFO_PANEL, 1,
             gw_want, (int)k);
        for (size_t i = 0; i < m * k; i++) {
            double size = fabs((double)w[i]);                 /* both sums are 64 terms and a start */
            for (size_t l = 0; l < DFO_PANEL; l++)
                size += fabs((double)y[i / k * DFO_PANEL + l] * (double)x[i % k * DFO_PANEL + l]);
            REQUIRE(fabs((double)(gw[i] - gw_want[i])) <= 8 * DFO_REAL_EPS * size,
                    "grad (%zu, %zu) at %zu: %.17g, BLAS %.17g", m, k, i, (double)gw[i], (double)gw_want[i]);
        }
        release(w), release(x), release(y), release(want), release(gw), release(gw_want);
        release(scratch);
    }
}
END_TEST

/* A panel column's bits do not depend on the columns beside it, nor an output's on the others.  */
START_TEST(columns_stand_alone)
{
    test_rng rng = test_rng_new(test_seed());
    for (int level = 0; level <= (int)dfoi_cpu_level(); level++) {
        const struct dfoi_gemm_kernels *gemm = DFOI_AT_LEVEL(dfoi_gemm_kernels, level);
        size_t m = test_rng_between(&rng, 2, 40), k = test_rng_between(&rng, 1, 90);
        dfo_real *w = randoms(&rng, m * k), *x = randoms(&rng, k * DFO_PANEL), *y = guarded(m * DFO_PANEL),
                 *y2 = guarded(m * DFO_PANEL);
        gemm->gemm_stairs(m, k, w, k, NULL, 1, (const dfo_real *const[]){x}, NULL, DFOI_ACT_NONE, NULL, &y);
        size_t to = test_rng_between(&rng, 0, DFO_PANEL - 1);
        for (size_t j = 0; j < k; j++)                        /* column 0 also at `to` */
            x[j * DFO_PANEL + to] = x[j * DFO_PANEL];
        gemm->gemm_stairs(m - 1, k, w + k, k, NULL, 1, (const dfo_real *const[]){x}, NULL, DFOI_ACT_NONE, NULL, &y2);   /* output 1 first */
        for (size_t i = 0; i + 1 < m; i++)
            REQUIRE(y2[i * DFO_PANEL + to] == y[(i + 1) * DFO_PANEL], "%s (%zu, %zu): output %zu column %zu",
                          level_name[level], m, k, i, to);
        for (size_t j = 0; j < k * DFO_PANEL; j++)
            x[j] = x[j / DFO_PANEL * DFO_PANEL];
        gemm->gemm_stairs(m, k, w, k, NULL, 1, (const dfo_real *const[]){x}, w, DFOI_ACT_NONE, NULL, &y);
        gemm->gemm_alike(m, k, w, k, x, w, y2);
        for (size_t i = 0; i < m * DFO_PANEL; i++)
            REQUIRE(y2[i] == y[i], "%s (%zu, %zu): output %zu column %zu of rows alike", level_name[level], m, k, i / DFO_PANEL, i % DFO_PANEL);
        release(w), release(x), release(y), release(y2);
    }
}
END_TEST

START_TEST(nan_goes_through)
{
    for (int level = 0; level <= (int)dfoi_cpu_level(); level++) {
        const struct dfoi_gemm_kernels *gemm = DFOI_AT_LEVEL(dfoi_gemm_kernels, level);
        dfo_real *w = guarded(8), *x = guarded(DFO_PANEL), *y = guarded(DFO_PANEL);
        memset(w, 0, 8 * sizeof *w);
        for (size_t l = 0; l < DFO_PANEL; l++)
            x[l] = (dfo_real)NAN;
        gemm->gemm_stairs(1, 1, w, 1, NULL, 1, (const dfo_real *const[]){x}, NULL, DFOI_ACT_RELU, NULL, &y);
        ck_assert(isnan(y[0]) && isnan(y[DFO_PANEL - 1]));
        gemm->gemm_stairs(1, 1, w, 1, NULL, 1, (const dfo_real *const[]){x}, NULL, DFOI_ACT_LEAKY_RELU, NULL, &y);
        ck_assert(isnan(y[0]) && isnan(y[DFO_PANEL - 1]));
        release(w), release(x), release(y);
    }
}
END_TEST

/* Rows to a panel and back, with and without an index of runs and jumps.  */
START_TEST(panels)
{
    test_rng rng = test_rng_new(test_seed());
    for (size_t t = test_times(100); t--;)
        for (int level = 0; level <= (int)dfoi_cpu_level(); level++) {
            const struct dfoi_panel_kernels *panel = DFOI_AT_LEVEL(dfoi_panel_kernels, level);
            size_t n = test_rng_between(&rng, 0, 3) ? test_rng_between(&rng, 0, DFO_PANEL) : DFO_PANEL;
            size_t width = test_rng_between(&rng, 1, 90), ldx = width + test_rng_between(&rng, 0, 5), d = 0;
            size_t index[90];
            int indexed = (int)test_rng_between(&rng, 0, 1), zero = (int)test_rng_between(&rng, 0, 1);
            for (size_t j = 0; j < width; j++)                /* pieces of the row, in rising order */
                if (!indexed || (j / 20 + j % (1 + j / 20)) % 2 == 0)
                    index[d++] = j;
            if (indexed && d > 1 && test_rng_between(&rng, 0, 1)) {
                size_t first = index[0];
                index[0] = index[d - 1];
                index[d - 1] = first;
            }
            dfo_real *x = randoms(&rng, n * ldx), *p = guarded(d * DFO_PANEL), *back = randoms(&rng, n * ldx),
                     *before = guarded(n * ldx);
            copy(n * ldx, back, before);
            panel->to_panel(n, d, x, ldx, indexed ? index : NULL, zero, p);
            for (size_t j = 0; j < d; j++)
                for (size_t i = 0; i < DFO_PANEL; i++) {
                    size_t row = i < n ? i : n - 1;
                    dfo_real want = n == 0 || (i >= n && zero) ? 0 : x[row * ldx + index[j]];
                    REQUIRE(p[j * DFO_PANEL + i] == want, "%s: n %zu d %zu: feature %zu row %zu",
                                  level_name[level], n, d, j, i);
                }
            check_guards(p, d * DFO_PANEL, "to_panel");
            panel->from_panel_add(n, d, p, indexed ? index : NULL, back, ldx);
            for (size_t i = 0; i < n; i++)
                for (size_t j = 0; j < d; j++)
                    before[i * ldx + index[j]] += x[i * ldx + index[j]];
            ck_assert(!memcmp(before, back, n * ldx * sizeof *back));
            panel->from_panel(n, d, p, indexed ? index : NULL, back, ldx);
            for (size_t i = 0; i < n; i++)
                for (size_t j = 0; j < d; j++)
                    before[i * ldx + index[j]] = x[i * ldx + index[j]];
            ck_assert(!memcmp(before, back, n * ldx * sizeof *back));
            check_guards(back, n * ldx, "from_panel");
            release(x), release(p), release(back), release(before);
        }
}
END_TEST

/* Columns of rows spread with a step of either sign, and collected.  */
START_TEST(spread_rows)
{
    test_rng rng = test_rng_new(test_seed());
    for (size_t t = test_times(100); t--;)
        for (int level = 0; level <= (int)dfoi_cpu_level(); level++) {
            const struct dfoi_panel_kernels *panel = DFOI_AT_LEVEL(dfoi_panel_kernels, level);
            size_t n = test_rng_between(&rng, 0, 20), w = test_rng_between(&rng, 0, 20), ldx = w + test_rng_between(&rng, 0, 5);
            size_t pitch = n + test_rng_between(&rng, 0, 3), size = w * pitch + 1;
            ptrdiff_t step = (ptrdiff_t)pitch;
            int backward = w && test_rng_between(&rng, 0, 1);
            dfo_real *x = randoms(&rng, n * ldx + 1), *to = guarded(size), *back = randoms(&rng, n * ldx + 1),
                     *before = guarded(n * ldx + 1);
            dfo_real *first = to + (backward ? (w - 1) * pitch : 0);
            copy(n * ldx + 1, back, before);
            for (size_t i = 0; i < size; i++)
                to[i] = -7;
            panel->spread(n, w, x, ldx, first, backward ? -step : step);
            for (size_t j = 0; j < w; j++)
                for (size_t i = 0; i < pitch; i++)
                    REQUIRE(to[(backward ? w - 1 - j : j) * pitch + i] == (i < n ? x[i * ldx + j] : -7),
                            "%s: n %zu w %zu: column %zu row %zu", level_name[level], n, w, j, i);
            check_guards(to, size, "spread");
            panel->collect(n, w, first, backward ? -step : step, back, ldx);
            for (size_t i = 0; i < n; i++)
                copy(w, x + i * ldx, before + i * ldx);
            ck_assert(!memcmp(before, back, (n * ldx + 1) * sizeof *back));
            check_guards(before, n * ldx + 1, "collect");
            release(x), release(to), release(back), release(before);
        }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("gemm");
    TCase *tcase = tcase_create("gemm");
    tcase_set_timeout(tcase, 120);
    suite_add_tcase(suite, tcase);
    tcase_add_test(tcase, products);
    tcase_add_test(tcase, against_blas);
    tcase_add_test(tcase, columns_stand_alone);
    tcase_add_test(tcase, nan_goes_through);
    tcase_add_test(tcase, panels);
    tcase_add_test(tcase, spread_rows);
    return test_run(suite);
}

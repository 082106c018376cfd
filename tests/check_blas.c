/* Whose CBLAS is it?  OpenBLAS's for us and for GSL: libgsl brings libgslcblas along, whose plain loops
 * must never be the ones that are found.  */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dlfcn.h>
#include <gsl/gsl_blas.h>
#include <string.h>

#include <diffeo/ctx.h>
#include "util.h"

START_TEST(cblas_is_openblas)
{
    static const char *const name[] = {"cblas_sgemm", "cblas_dgemm", "cblas_dgemv", "cblas_ddot"};
    void *symbol = dlsym(RTLD_DEFAULT, name[_i]);
    Dl_info info;
    ck_assert_msg(symbol && dladdr(symbol, &info) && info.dli_fname, "%s is not found", name[_i]);
    ck_assert_msg(strstr(info.dli_fname, "openblas") != NULL, "%s comes from %s", name[_i], info.dli_fname);
}
END_TEST

START_TEST(gsl_computes)
{
    double a[] = {1, 2, 3, 4}, b[] = {5, 6, 7, 8}, c[4] = {0};
    gsl_matrix_view va = gsl_matrix_view_array(a, 2, 2), vb = gsl_matrix_view_array(b, 2, 2),
                    vc = gsl_matrix_view_array(c, 2, 2);
    gsl_blas_dgemm(CblasNoTrans, CblasNoTrans, 1.0, &va.matrix, &vb.matrix, 0.0, &vc.matrix);
    ck_assert(c[0] == 19 && c[1] == 22 && c[2] == 43 && c[3] == 50);
}
END_TEST

/* tests/env.sh has seen to it that OpenBLAS does not fall back.  */
START_TEST(no_fallback)
{
    int fallback = -1;
    const char *core = dfo_blas_core(&fallback);
    ck_assert_msg(fallback == 0, "OpenBLAS took its %s kernels", core);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("blas");
    TCase *tests = tcase_create("blas");
    tcase_add_loop_test(tests, cblas_is_openblas, 0, 4);
    tcase_add_test(tests, gsl_computes);
    tcase_add_test(tests, no_fallback);
    suite_add_tcase(suite, tests);
    return test_run(suite);
}

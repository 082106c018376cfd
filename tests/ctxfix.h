/* A context for every test of a program: give setup and teardown to tcase_add_checked_fixture.  Included once a program.  */
#ifndef DIFFEO_TESTS_CTXFIX_H
#define DIFFEO_TESTS_CTXFIX_H

#include <check.h>
#include <diffeo/ctx.h>

static dfo_ctx *ctx;

static void setup(void)
{
    ck_assert_int_eq(dfo_ctx_new(&ctx), DFO_OK);
}

static void teardown(void)
{
    dfo_ctx_free(ctx);
}

/* A call that must go well: OK says the context's error, RUN that of a run called `run`.  */
#define OK(call) ck_assert_msg((call) == DFO_OK, "%s", dfo_ctx_error(ctx))
#define RUN(call) ck_assert_msg((call) == DFO_OK, "%s", run.text)

#endif

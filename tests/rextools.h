/* What the tests of Rex share.  Compile rextools.c into the test program.  */
#ifndef DIFFEO_TESTS_REXTOOLS_H
#define DIFFEO_TESTS_REXTOOLS_H

#include <diffeo/real.h>
#include <diffeo/rex.h>
#include "mixfield.h"
#include "util.h"

#define OK(call) ck_assert_msg((call) == DFO_OK, "%s", dfo_ctx_error(ctx))
#define RUN(call) ck_assert_msg((call) == DFO_OK, "%s", run.text)

/* A solver; a run whose arena, filled with NaN, is enough for all of its calls and is freed by free.  */
dfo_rex *made(dfo_ctx *ctx, const dfo_rex_options *o);
dfo_run run_of(const dfo_rex *rex, const dfo_field *f, size_t rows);

/* A path that is right where intervals do not overlap: its increments are functions of row and interval.  data: its seed.  */
void brownian(const void *data, uint64_t row, size_t d, double s, double t, double *w, double *h);
extern const uint64_t test_path;

/* vp with that path; zeta 0: Princeps.  */
dfo_rex_options options_of(dfo_rex_form form, const char *method, double zeta);
int wants_data(dfo_rex_form form);

void grid_of(dfo_ctx *ctx, const dfo_noise_schedule *s, const char *kind, double from, double to, size_t steps, double *t);

/* n numbers that look like no pattern, twice.  */
void start_rows(dfo_real *x, dfo_real *xh, size_t n);

#endif

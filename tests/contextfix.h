/* What the tests of standardised conditions share: flows of several kinds, and what they are given.  */
#ifndef DIFFEO_TESTS_CONTEXTFIX_H
#define DIFFEO_TESTS_CONTEXTFIX_H

#include <diffeo/flow.h>
#include "util.h"

enum { N = 300, D = 2, C = 5 };            /* more than two blocks of rows, the last one short; columns of the condition */

/* The first three have a closed inverse with a gradient, the others end in cnf; the last two want a teacher, and diffuse.  */
enum { CLOSED = 3, WINDOWS = 4, DIFFUSION = 5, CONFIGS = 6 };
extern const char *const context_configs[CONFIGS];      /* without braces */

/* A flow and its rows, each with its condition behind it.  */
struct side {
    dfo_ctx       *ctx;
    dfo_store     *store;
    dfo_flow      *flow;
    dfo_flow_plan *plan;
    dfo_real       rows[N * (D + C)];
};

void good(const struct side *s, dfo_status status);

/* The flow of such a configuration and `condition`, more of its text; of a condition of so many parts, up to two.  */
dfo_status context_flow(dfo_ctx *ctx, dfo_store *store, const char *text, const char *condition, size_t parts, dfo_flow **out);

/* Weights depend on the seed and the configuration alone, and are far from those that make nets say nothing.  */
struct side *side_new(const char *text, int standardises, size_t parts);
void side_free(struct side *s);

/* Draws the rows, behind them columns of other sizes, one of them constant; the first n are learned from.  Makes the plan.  */
void take_rows(struct side *s, size_t n);
/* (C), in the store.  */
dfo_real *means(const struct side *s);
dfo_real *stds(const struct side *s);
/* The condition in rows (N, D + C), such as the side's.  */
dfo_cond condition_in(const struct side *s, dfo_real *rows);
/* The rows alone, copied to (N, D).  */
dfo_batch copied(const struct side *s, dfo_real *to);

#endif

/* The kinds of densities that have names.  Private; targets.c lists them.  */
#ifndef DFOI_TARGETS_IMPL_H
#define DFOI_TARGETS_IMPL_H

#include "base/real_impl.h"
#include <diffeo/targets.h>
#include "base/ctx_impl.h"

#define DFOI_LOG_2PI 1.83787706640934548356

/* Each fills t, zeroed but for ctx; text is what follows NAME:, or NULL.  On failure t is closed by the caller: target.data, one block,
 * and columns are freed.  */
dfo_status dfoi_target_normal(dfo_named_target *t, const char *text);
dfo_status dfoi_target_banana(dfo_named_target *t, const char *text);
dfo_status dfoi_target_funnel(dfo_named_target *t, const char *text);
dfo_status dfoi_target_ring(dfo_named_target *t, const char *text);
dfo_status dfoi_target_gaussians(dfo_named_target *t, const char *text);
dfo_status dfoi_target_moons(dfo_named_target *t, const char *text);
dfo_status dfoi_target_schools(dfo_named_target *t, const char *text);
dfo_status dfoi_target_logistic(dfo_named_target *t, const char *text);

/* Copies a column's name; the first call makes the list of target.d.  */
dfo_status dfoi_target_column(dfo_named_target *t, size_t j, const char *name);

#endif

/* train's options of the fit itself: how long, how fast, by which rule.  */
#ifndef DIFFEO_APPS_FIT_OPTIONS_H
#define DIFFEO_APPS_FIT_OPTIONS_H

#include "cmd.h"

#define fit_argp CMD(fit_argp)
#define to_choice CMD(to_choice)
extern const struct argp fit_argp;         /* a child parser; its input is dfo_fit_options */

/* The place of arg among names, which NULL ends; another ends in argp_error.  */
int to_choice(struct argp_state *state, const char *option, const char *arg, const char *const *names);

#endif

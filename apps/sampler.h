/* --sampler of sample: rows of diffusion models by another way than their solver's.  */
#ifndef DIFFEO_APPS_SAMPLER_H
#define DIFFEO_APPS_SAMPLER_H

#include "cmd.h"

struct sampler_options {
    dfo_denoiser_options how;              /* how.sampler NULL: as the model is solved */
    const char *grid;
    unsigned    given;                     /* of dfo_denoiser_takes: options that were given */
};

#define sampler_argp CMD(sampler_argp)
#define sampler_options_fit CMD(sampler_options_fit)
#define sampler_new CMD(sampler_new)
extern const struct argp sampler_argp;     /* a child parser; its input is struct sampler_options */

/* Do they go together, and with the solver's options?  Takes --solver-steps from the solver's.  After common_start.  Exit status.  */
int sampler_options_fit(struct common *c, const struct sampler_options *o);

/* For the model, read from path.  Exit status.  */
int sampler_new(const struct common *c, const struct sampler_options *o, const char *path, dfo_model *model, dfo_flow_denoiser **out);

#endif

/* --sampler rex: latents of diffusion models by Rex, reversible to rounding or to the bit.  */
#ifndef DIFFEO_APPS_REX_H
#define DIFFEO_APPS_REX_H

#include "verify.h"

struct rex_options {
    const char *sampler;               /* NULL: as the model is solved */
    double      zeta;                  /* below 0: not given */
    int         exact, sde, start_noise;
    double      start_time;            /* 0: the model's first */
};

#define rex_argp CMD(rex_argp)
#define rex_options_fit CMD(rex_options_fit)
#define rex_encoder CMD(rex_encoder)
#define rex_decoder CMD(rex_decoder)
#define rex_encode CMD(rex_encode)
#define rex_decode CMD(rex_decode)
#define rex_latents CMD(rex_latents)
#define rex_free CMD(rex_free)
extern const struct argp rex_argp;         /* a child parser; its input is struct rex_options */

/* Do they go together, with the solver's options and the output?  Takes --solver-steps from the solver's.  Exit status.  */
int rex_options_fit(struct common *c, const struct rex_options *o, const char *output, int lossy);

struct rex;
/* For all rows to be encoded, at most v->chunk at a time; verifying: they are decoded again, and what is found is added to v.  *out may be half
 * made on failure.  Exit status.  */
int rex_encoder(const struct common *c, const struct rex_options *o, struct verify *v, int verifying, struct rex **out);
/* For latents that Rex made, at most `chunk` rows at a time.  */
int rex_decoder(const struct common *c, const char *path, dfo_model *model, const dfo_latents *latents, size_t chunk, struct rex **out);
void rex_free(struct rex *r);

dfo_status rex_encode(struct rex *r, uint64_t first, dfo_batch x, const dfo_cond *cond);
dfo_status rex_decode(struct rex *r, uint64_t first, dfo_batch z, const dfo_cond *cond);
/* What the latents' file wants: states of all rows that were encoded.  */
dfo_latents_rex rex_latents(const struct rex *r);

#endif

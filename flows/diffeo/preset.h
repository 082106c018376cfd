/* Presets: known architectures by name, with settings.  */
#ifndef DIFFEO_PRESET_H
#define DIFFEO_PRESET_H

#include <diffeo/real.h>
#include <diffeo/ctx.h>
#include <diffeo/batch.h>

#ifdef __cplusplus
extern "C" {
#endif

struct json_t;

/* How many presets there are; the i-th's name ("nsf"), and one line about it.  NULL past the end.  */
size_t dfo_presets(void);
/* Its name.  */
const char *dfo_preset(size_t i);
/* One line about it.  */
const char *dfo_preset_text(size_t i);

/* A preset's settings with their defaults; *out is a new reference.  DFO_EARG lists the known names.  */
dfo_status dfo_preset_config(dfo_ctx *ctx, const char *name, struct json_t **out);

/* The flow that a configuration describes, for rows of this shape: {"bijector":{…},"base":{…}}, a new
 * reference.  A preset's settings that it leaves out are those of dfo_preset_config.
 * With "columns", and maybe "missing", a layer of these settings (diffeo-layers(5)) stands in front of a preset's own.  Unknown keys and values out of range are DFO_EARG naming the key.  */
dfo_status dfo_preset_expand(dfo_ctx *ctx, struct json_t *config, dfo_shape shape, struct json_t **out);

/* The frame into which pictures are set for this configuration: with "pad": true, the smallest whose sides can be
 * halved "levels" times (0: three times); else, and for flows without that key, the picture itself.  The frame's
 * pixels are 0 and dequantised as all others: fresh noise on one bin, counted in every log-det, so that the log density of
 * a framed picture is a lower bound of the picture's own, and is divided by the picture's number of pixels alone.
 * DFO_ESHAPE if rows are no pictures.  */
dfo_status dfo_preset_frame(dfo_ctx *ctx, const struct json_t *config, dfo_shape picture, dfo_shape *frame);

#ifdef __cplusplus
}
#endif
#endif

/* Masks of pictures or rows: which of their entries stay.  */
#ifndef DIFFEO_APPS_MASK_H
#define DIFFEO_APPS_MASK_H

#include "cmd.h"

#define read_mask CMD(read_mask)
/* Of a row of the model: keep (d), the caller's to free, is 1 where the mask is 0.  The mask is a picture of the model's size, of one channel or
 * as many, or a row of numbers.  Exit status.  */
int read_mask(const struct common *c, const char *path, dfo_model *model, unsigned char **keep);

#endif

/* Grids of images for diffeo plot.  */
#ifndef DIFFEO_APPS_PLOT_IMAGES_H
#define DIFFEO_APPS_PLOT_IMAGES_H

#include "cmd.h"

#define plot_image_data CMD(plot_image_data)
#define plot_image_model CMD(plot_image_model)
/* The first 100 images of a data set that was opened.  Exit status.  */
int plot_image_data(const struct common *c, const struct input *in, const char *path);
/* Draws from a model of images: 100, or ten of each of its first ten classes.  Exit status.  */
int plot_image_model(const struct common *c, dfo_model *model, dfo_model_plan *plan, const char *path);

#endif

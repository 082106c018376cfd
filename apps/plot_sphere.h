/* Maps of the earth for diffeo plot.  */
#ifndef DIFFEO_APPS_PLOT_SPHERE_H
#define DIFFEO_APPS_PLOT_SPHERE_H

#include <diffeo/plot.h>
#include "cmd.h"

#define plot_sphere_units CMD(plot_sphere_units)
#define plot_sphere CMD(plot_sphere)
/* How many units of longitude are half a turn, if rows of the model are places on a sphere; else 0.  */
double plot_sphere_units(const dfo_model *model);
/* The density of such a model for every longitude (across) and latitude, with rows (n, 2), latitude first, over it.  Exit status.  */
int plot_sphere(const struct common *c, dfo_model_plan *plan, double half_turn, dfo_plot_map *map, size_t n, const double *rows,
                const char *path);

#endif

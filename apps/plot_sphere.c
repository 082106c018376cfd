/* Maps of the earth for diffeo plot: the density of places, a unit of area each, longitudes across and latitudes up.  */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "plot_sphere.h"

#define ACROSS 720                     /* cells */
#define UP 360

double plot_sphere_units(const dfo_model *model)
{
    const dfo_flow *flow = dfo_model_flow(model);
    json_t *all = flow && dfo_model_features(model) == 2 ? json_object() : NULL;
    double half = 0;
    if (all && dfo_bijector_describe(dfo_flow_bijector(flow), all) == DFO_OK) {
        const json_t *first = json_array_get(json_object_get(all, "layers"), 0);
        const char *type = json_string_value(json_object_get(first, "type"));
        const char *units = json_string_value(json_object_get(first, "units"));
        if (type && units && !strcmp(type, "sphere"))
            half = strcmp(units, "radians") ? 180 : acos(-1);
    }
    json_decref(all);
    return half;
}

/* Densities at the middles of the cells.  */
static int densities(const struct common *c, dfo_model_plan *plan, double half, double *out)
{
    dfo_real *x = malloc(2 * ACROSS * UP * sizeof *x);
    if (!x)
        return usage_error(c, "out of memory"), EXIT_FAILED;
    for (size_t i = 0; i < ACROSS * UP; i++) {
        x[2 * i] = (dfo_real)(half * (((double)(i / ACROSS) + 0.5) / UP - 0.5));
        x[2 * i + 1] = (dfo_real)(2 * half * (((double)(i % ACROSS) + 0.5) / ACROSS - 0.5));
    }
    int status = dfo_model_log_prob(plan, 0, dfo_batch_of(x, ACROSS * UP, 2), NULL, out) ? failed(c) : 0;
    for (size_t i = 0; !status && i < ACROSS * UP; i++)
        out[i] = exp(out[i]);
    free(x);
    return status;
}

int plot_sphere(const struct common *c, dfo_model_plan *plan, double half, dfo_plot_map *map, size_t n, const double *rows,
                const char *path)
{
    double *value = malloc(ACROSS * UP * sizeof *value), *points = malloc((2 * n + 1) * sizeof *points);
    int status = 0;
    if (!value || !points)
        status = (usage_error(c, "out of memory"), EXIT_FAILED);
    else
        status = densities(c, plan, half, value);
    for (size_t i = 0; !status && i < n; i++) {
        points[2 * i] = remainder(rows[2 * i + 1], 2 * half);
        points[2 * i + 1] = rows[2 * i];
    }
    map->x_low = -half;
    map->x_high = half;
    map->y_low = -half / 2;
    map->y_high = half / 2;
    map->nx = ACROSS;
    map->ny = UP;
    map->value = value;
    map->bar_label = "density a steradian";
    map->look.x_label = "longitude";
    map->look.y_label = "latitude";
    map->look.width = map->look.width ? map->look.width : 1100;
    map->look.height = map->look.height ? map->look.height : 560;
    map->points.x = n ? points : NULL;
    map->points.n = n;
    map->points.d = map->points.ld = 2;
    if (!status && dfo_plot_map_png(c->ctx, map, path))
        status = failed(c);
    free(value);
    free(points);
    return status;
}

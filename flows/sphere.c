/* Latitude and longitude to the cylinder that has the sphere's areas (Archimedes, Lambert):
 *   z = sin(latitude) in [-1, 1],  v = longitude / 180 degrees in [-1, 1),  dz dv = cos(latitude) dlatitude dv,
 * so that pi dz dv is the area on the unit sphere.  Its log-det is that of area to (z, v), -log pi, and not that of
 * degrees or radians to (z, v): densities of a flow that begins with it are per steradian, and finite at the poles.
 * A flow over the uniform density of [-1, 1]^2 that changes nothing has -log 4 pi everywhere.
 * Longitudes are taken modulo a turn, and come back in [-180, 180); a pole has any.  A latitude beyond 90 degrees is
 * an error that names the row.  Rows of floats closer than 0.02 degrees to a pole become the pole: z moves there by the
 * square of the distance.  */
#include <math.h>
#include <string.h>

#include "layers.h"
#include "sphere_impl.h"

#define PI 3.14159265358979323846

struct sphere {
    double unit, half;                 /* radians of a unit, and units of half a turn */
};

double dfoi_half_turns(double v)
{
    return v - 2 * floor((v + 1) / 2);
}

double dfoi_axis_distance(double z)
{
    return sqrt((1 - z) * (1 + z));
}

double dfoi_off_axis(double distance)
{
    return fmax(distance, sqrt((double)DFO_REAL_EPS));
}

dfo_status dfoi_sphere_shape(const dfo_build *build)
{
    size_t d = dfo_shape_size(build->shape);
    return d == 2 ? DFO_OK : dfoi_fail(build->ctx, DFO_ESHAPE, "expected 2 features, a point of the sphere, got %zu", d);
}

dfo_status dfoi_sphere_check(const dfo_bijector *bij, dfo_run *run, dfo_batch x)
{
    for (size_t i = 0; i < x.n; i++) {
        double z = (double)dfo_row(x, i)[0], v = (double)dfo_row(x, i)[1];
        if (!(fabs(z) <= 1 && isfinite(v)))
            return dfo_run_fail(run, DFO_ENUM, i, "%s: row %llu: height %.9g and %.9g half turns are no point of the sphere; "
                                "heights are from -1 to 1", bij->ops->type, (unsigned long long)(run->key.row + i), z, v);
    }
    return DFO_OK;
}

/* Latitudes end where reals do: at the quarter turn as it is rounded.  */
static dfo_real last_latitude(const struct sphere *s)
{
    return (dfo_real)(s->half / 2);
}

static dfo_status outside(const struct sphere *s, dfo_run *run, size_t i, const dfo_real *row)
{
    return dfo_run_fail(run, DFO_ENUM, i, "sphere: row %llu: latitude %.9g and longitude %.9g are no place on earth; latitudes are "
                        "from -%.9g to %.9g", (unsigned long long)(run->key.row + i), (double)row[0], (double)row[1],
                        s->half / 2, s->half / 2);
}

static void to_cylinder(const struct sphere *s, dfo_real *row)
{
    row[0] = (dfo_real)sin((double)row[0] * s->unit);
    row[1] = (dfo_real)dfoi_half_turns((double)row[1] / s->half);
}

static void from_cylinder(const struct sphere *s, dfo_real *row)
{
    double z = (double)row[0];
    row[0] = (dfo_real)(atan2(z, dfoi_axis_distance(z)) / s->unit);
    row[1] = (dfo_real)(dfoi_half_turns((double)row[1]) * s->half);
}

static dfo_status forward(const dfo_bijector *bij, dfo_run *run, dfo_batch x, const dfo_cond *cond, double *logdet)
{
    const struct sphere *s = bij->state;
    dfo_real most = last_latitude(s);
    (void)cond;
    for (size_t i = 0; i < x.n; i++) {
        dfo_real *row = dfo_row(x, i);
        if (!(row[0] >= -most && row[0] <= most && isfinite(row[1])))
            return outside(s, run, i, row);
        to_cylinder(s, row);
        if (logdet)
            logdet[i] -= log(PI);
    }
    return DFO_OK;
}

static dfo_status inverse(const dfo_bijector *bij, dfo_run *run, dfo_batch z, const dfo_cond *cond, double *logdet)
{
    (void)cond;
    DFO_TRY(dfoi_sphere_check(bij, run, z));
    for (size_t i = 0; i < z.n; i++) {
        from_cylinder(bij->state, dfo_row(z, i));
        if (logdet)
            logdet[i] += log(PI);
    }
    return DFO_OK;
}

/* dz / dlatitude = cos(latitude), the distance from the axis; log-dets are constants.  */
static dfo_status backward(const dfo_bijector *bij, dfo_run *run, dfo_batch z, dfo_batch gz, const dfo_cond *cond,
                           dfo_cond *gcond, const double *glogdet)
{
    const struct sphere *s = bij->state;
    (void)run;
    (void)cond;
    (void)gcond;
    (void)glogdet;
    for (size_t i = 0; i < z.n; i++) {
        dfo_real *row = dfo_row(z, i), *g = dfo_row(gz, i);
        g[0] = (dfo_real)((double)g[0] * dfoi_axis_distance((double)row[0]) * s->unit);
        g[1] = (dfo_real)((double)g[1] / s->half);
        from_cylinder(s, row);
    }
    return DFO_OK;
}

static dfo_status inverse_backward(const dfo_bijector *bij, dfo_run *run, dfo_batch x, dfo_batch gx, const dfo_cond *cond,
                                   dfo_cond *gcond, const double *glogdet)
{
    const struct sphere *s = bij->state;
    (void)run;
    (void)cond;
    (void)gcond;
    (void)glogdet;
    for (size_t i = 0; i < x.n; i++) {
        dfo_real *row = dfo_row(x, i), *g = dfo_row(gx, i);
        double distance = dfoi_off_axis(cos((double)row[0] * s->unit));
        g[0] = (dfo_real)((double)g[0] / (distance * s->unit));
        g[1] = (dfo_real)((double)g[1] * s->half);
        to_cylinder(s, row);
    }
    return DFO_OK;
}

static dfo_status describe(const dfo_bijector *bij, json_t *to)
{
    const struct sphere *s = bij->state;
    return dfoi_json_set(bij->ctx, to, "units", json_string(s->unit == 1 ? "radians" : "degrees"));
}

dfo_status dfoi_sphere_create(dfo_build *build, json_t *config, dfo_bijector *bij)
{
    static const char *const keys[] = {"type", "units", NULL};
    struct sphere *s;
    int radians;
    DFO_TRY(dfoi_json_keys(build->ctx, config, keys));
    DFO_TRY(dfoi_sphere_shape(build));
    DFO_TRY(dfoi_json_either(build->ctx, config, "units", "degrees", "radians", &radians));
    DFO_TRY(dfoi_alloc(build->ctx, 1, sizeof *s, &s));
    bij->state = s;
    *s = radians ? (struct sphere){1, PI} : (struct sphere){PI / 180, 180};
    return DFO_OK;
}

const struct dfo_bijector_ops dfoi_sphere_ops = {
    .type = "sphere",
    .caps = DFO_CLOSED_INVERSE | DFO_OWN_MEASURE,
    .forward = forward,
    .inverse = inverse,
    .backward = backward,
    .inverse_backward = inverse_backward,
    .describe = describe,
};

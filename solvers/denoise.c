/* Samplers of diffusion models, see <diffeo/denoise.h>.  A step is x = a x + b x_0 of the prediction, and noise; with e = (x - alpha
 * x_0)/sigma a step of any of them is of this form.  */
#include <math.h>
#include <string.h>

#include "base/ctx_impl.h"
#include "base/real_impl.h"
#include "dist/dist_impl.h"
#include "math/kern_impl.h"
#include <diffeo/brownian.h>
#include <diffeo/denoise.h>
#include <diffeo/rex.h>

struct method;

struct dfo_denoiser {
    dfo_ctx *ctx;
    dfo_denoiser_options options;
    const struct method *method;
    size_t   steps;
    double  *t;                            /* (steps) */
    dfo_brownian path;                     /* rex with sde: its noise */
    dfo_rex *rex;                          /* or NULL */
};

/* A call's memory.  */
struct work {
    const dfo_denoiser *of;
    const dfo_field *field;
    dfo_run  *run;
    size_t    n, d;
    uint32_t  draws;                       /* that rows have taken */
    double   *t;                           /* (n) */
    dfo_real *x0, *kept;                   /* (n,d) */
    dfo_real *z;                           /* noise of some rows at a time */
    dfo_batch given;                       /* (n,d), or nothing */
};

struct method {
    dfo_denoiser_kind kind;
    /* At level p, which may become another one; NULL: nothing.  */
    dfo_status (*level)(struct work *k, dfo_noise_point *p, dfo_batch x);
    /* From level p to the next; NULL: rex goes all the way.  */
    dfo_status (*step)(struct work *k, dfo_noise_point p, dfo_noise_point q, dfo_batch x);
};

/* ---- what steps are made of */

static dfo_status predict(struct work *k, dfo_noise_point p, dfo_batch x)
{
    size_t mark = k->run->arena_used;
    for (size_t i = 0; i < k->n; i++)
        k->t[i] = p.t;
    dfo_status status = k->field->ops->eval(k->field, k->run, k->t, x, dfo_batch_of(k->x0, k->n, k->d), NULL);
    k->run->arena_used = mark;
    return status;
}

/* x = a x + b x_0.  */
static void mix(const struct work *k, dfo_batch x, double a, double b)
{
    for (size_t i = 0; i < k->n; i++) {
        dfo_real *row = dfo_row(x, i);
        const dfo_real *x0 = k->x0 + i * k->d;
        for (size_t j = 0; j < k->d; j++)
            row[j] = (dfo_real)(a * (double)row[j] + b * (double)x0[j]);
    }
}

/* Rows whose noise is drawn at a time, of d numbers each.  */
static size_t noise_rows(size_t d)
{
    return d < 128 ? 128 / (d ? d : 1) : 1;
}

/* Row i's noise of a draw, in z; asked for row by row.  */
static const dfo_real *noise_of(const struct work *k, uint32_t draw, size_t i)
{
    size_t rows = noise_rows(k->d), at = i % rows;
    dfo_key key = {.seed = k->of->options.seed, .row = k->run->key.row + i, .purpose = DFO_FOR_SAMPLER, .step = draw};
    if (!at)
        dfo_draw_real_normals(key, k->n - i < rows ? k->n - i : rows, k->d, k->z, k->d);
    return k->z + at * k->d;
}

/* x += by z.  */
static void add_noise(struct work *k, dfo_batch x, double by)
{
    uint32_t draw = k->draws++;
    for (size_t i = 0; i < k->n && by != 0; i++) {
        dfo_real *row = dfo_row(x, i);
        const dfo_real *z = noise_of(k, draw, i);
        for (size_t j = 0; j < k->d; j++)
            row[j] = (dfo_real)((double)row[j] + by * (double)z[j]);
    }
}

/* Known entries of level p, from their law given what is known; with less noise than that has they go their own way.  */
static void add_known(struct work *k, dfo_noise_point p, dfo_batch x)
{
    double s = p.alpha * k->of->options.given_noise, by = sqrt(fmax(0, (p.sigma - s) * (p.sigma + s)));
    if (!k->given.x)
        return;
    uint32_t draw = k->draws++;
    for (size_t i = 0; i < k->n && p.sigma * (1 + 1e-6) >= s; i++) {
        dfo_real *row = dfo_row(x, i);
        const dfo_real *y = dfo_row(k->given, i), *z = noise_of(k, draw, i);
        for (size_t j = 0; j < k->d; j++)
            if (!isnan(y[j]))
                row[j] = (dfo_real)(p.alpha * (double)y[j] + by * (double)z[j]);
    }
}

static double log_gamma_of(dfo_noise_point p)
{
    return p.log_alpha - p.log_sigma;
}

/* ---- the samplers */

/* x_1 = alpha_1 x_0 + c (x - alpha x_0), c = sigma_1/sigma sqrt(1 - eta^2 u), and noise.  */
static dfo_status ddim(struct work *k, dfo_noise_point p, dfo_noise_point q, dfo_batch x)
{
    double eta = k->of->options.eta, u = -expm1(2 * (log_gamma_of(p) - log_gamma_of(q))), c = q.sigma / p.sigma * sqrt(1 - eta * eta * u);
    DFO_TRY(predict(k, p, x));
    mix(k, x, c, q.alpha - c * p.alpha);
    add_noise(k, x, eta * q.sigma * sqrt(u));
    return DFO_OK;
}

static dfo_status euler_maruyama(struct work *k, dfo_noise_point p, dfo_noise_point q, dfo_batch x)
{
    double h = q.t - p.t, by = h * p.g2 / (p.sigma * p.sigma);
    DFO_TRY(predict(k, p, x));
    mix(k, x, 1 + h * p.drift + by, -by * p.alpha);
    add_noise(k, x, sqrt(fabs(h * p.g2)));
    return DFO_OK;
}

/* Not where there is less noise than in what is given: its entries are draws of the posterior there, which corrections would forget.  */
static dfo_status correct(struct work *k, dfo_noise_point *p, dfo_batch x)
{
    double snr = k->of->options.snr, by = 2 * snr * snr;
    if (k->given.x && p->sigma * (1 + 1e-6) < p->alpha * k->of->options.given_noise)
        return DFO_OK;
    for (size_t i = 0; i < k->of->options.corrections; i++) {
        DFO_TRY(predict(k, *p, x));
        mix(k, x, 1 - by, by * p->alpha);
        add_noise(k, x, 2 * snr * p->sigma);
        add_known(k, *p, x);
    }
    return DFO_OK;
}

static dfo_status keep_data_scale(struct work *k, dfo_noise_point p, dfo_noise_point q, dfo_batch x)
{
    mix(k, x, q.alpha / p.alpha, 0);
    return DFO_OK;
}

static dfo_status churn(struct work *k, dfo_noise_point *p, dfo_batch x)
{
    const dfo_denoiser_options *o = &k->of->options;
    double most = dfo_noise_schedule_clock(&o->schedule, DFO_CLOCK_CHI, k->of->t[0]), chi = p->sigma / p->alpha, before = p->alpha;
    double more = fmin(chi * (1 + fmin(o->churn / (double)k->of->steps, sqrt(2) - 1)), most), by = sqrt((more - chi) * (more + chi));
    if (!(chi >= o->churn_min && chi <= o->churn_max && more > chi))
        return DFO_OK;
    *p = dfo_noise_schedule_at(&o->schedule, dfo_noise_schedule_time(&o->schedule, DFO_CLOCK_CHI, more));
    memset(k->x0, 0, k->n * k->d * sizeof *k->x0);
    mix(k, x, p->alpha / before, 0);
    add_noise(k, x, p->alpha * by * o->churn_noise);
    add_known(k, *p, x);
    return DFO_OK;
}

/* Heun's step in chi: kept, the mean of x and of Euler's step, becomes it with half of what the other end says.  */
static dfo_status heun(struct work *k, dfo_noise_point p, dfo_noise_point q, dfo_batch x)
{
    double c = q.sigma / p.sigma, half = (q.sigma - q.alpha * p.sigma / p.alpha) / 2;      /* alpha_1 (chi_1 - chi)/2 */
    DFO_TRY(predict(k, p, x));
    for (size_t i = 0; i < k->n; i++)
        for (size_t j = 0; j < k->d; j++) {
            double at = (double)dfo_row(x, i)[j], e = (at - p.alpha * (double)k->x0[i * k->d + j]) / p.sigma;
            k->kept[i * k->d + j] = (dfo_real)(q.alpha / p.alpha * at + half * e);
        }
    mix(k, x, c, q.alpha - c * p.alpha);
    DFO_TRY(predict(k, q, x));
    for (size_t i = 0; i < k->n; i++)
        for (size_t j = 0; j < k->d; j++) {
            double e = ((double)dfo_row(x, i)[j] - q.alpha * (double)k->x0[i * k->d + j]) / q.sigma;
            dfo_row(x, i)[j] = (dfo_real)((double)k->kept[i * k->d + j] + half * e);
        }
    return DFO_OK;
}

static const struct method methods[] = {
    {{"ancestral", "DDPM's own, with the posterior's variances", "uniform", DFO_TAKES_GIVEN, 0, 0}, NULL, ddim},
    {{"ddim", "implicit: without noise, or with eta times ancestral's", "uniform", DFO_TAKES_ETA | DFO_TAKES_GIVEN, 0, 0}, NULL, ddim},
    {{"euler-maruyama", "the reverse SDE", "uniform", DFO_TAKES_GIVEN, 0, 0}, NULL, euler_maruyama},
    {{"predictor-corrector", "Langevin's corrections before steps of the reverse SDE", "uniform",
      DFO_TAKES_SNR | DFO_TAKES_CORRECTIONS | DFO_TAKES_GIVEN, 0.16, 1},
     correct, euler_maruyama},
    {{"edm-heun", "Heun's method with churn", "edm", DFO_TAKES_CHURN | DFO_TAKES_GIVEN, 0, 0}, churn, heun},
    {{"langevin", "annealed, level by level", "log-snr", DFO_TAKES_SNR | DFO_TAKES_CORRECTIONS | DFO_TAKES_GIVEN, 0.35, 10}, correct, keep_data_scale},
    {{"rex", "exponential Runge-Kutta, of the probability flow or the SDE", "log-snr", DFO_TAKES_METHOD, 0, 0}, NULL, NULL},
};
enum { METHODS = sizeof methods / sizeof *methods };

/* ---- the list */

const dfo_denoiser_kind *dfo_denoiser_kind_at(size_t i)
{
    return i < METHODS ? &methods[i].kind : NULL;
}

static dfo_status method_named(dfo_ctx *ctx, const char *name, const struct method **out)
{
    size_t length = strcspn(name, ":");
    char list[160] = "";
    for (size_t i = 0; i < METHODS; i++) {
        const char *known = methods[i].kind.name;
        size_t used = strlen(list);
        *out = &methods[i];
        if (strlen(known) == length && !strncmp(name, known, length) && (!name[length] || (methods[i].kind.takes & DFO_TAKES_METHOD && name[length + 1])))
            return DFO_OK;
        snprintf(list + used, sizeof list - used, "%s%s", i ? ", " : "", known);
    }
    return dfoi_fail(ctx, DFO_EARG, "sampler: none is called '%.40s'; known: %s[:METHOD]", name, list);
}

dfo_status dfo_denoiser_kind_named(dfo_ctx *ctx, const char *name, const dfo_denoiser_kind **out)
{
    const struct method *method;
    DFO_TRY(method_named(ctx, name, &method));
    *out = &method->kind;
    return DFO_OK;
}

/* ---- made and freed */

void dfo_denoiser_defaults(dfo_denoiser_options *o)
{
    *o = (dfo_denoiser_options){.churn_max = HUGE_VAL, .churn_noise = 1};
    (void)dfo_noise_schedule_named(NULL, "vp", &o->schedule);
}

static dfo_status check_options(dfo_ctx *ctx, const dfo_denoiser_options *o)
{
    if (!(o->eta >= 0 && o->eta <= 1))
        return dfoi_fail(ctx, DFO_EARG, "%s: eta %g: expected a number from 0, 1 at most", o->sampler, o->eta);
    if (!(o->snr >= 0 && o->snr < 0.7))
        return dfoi_fail(ctx, DFO_EARG, "%s: snr %g: expected a number above 0, below 0.7", o->sampler, o->snr);
    if (!(o->churn >= 0 && o->churn < HUGE_VAL && o->churn_noise > 0 && o->churn_noise < HUGE_VAL))
        return dfoi_fail(ctx, DFO_EARG, "%s: churn %g, its noise %g: expected a number from 0, and one above 0", o->sampler, o->churn,
                         o->churn_noise);
    if (!(o->given_noise >= 0 && o->given_noise < HUGE_VAL))
        return dfoi_fail(ctx, DFO_EARG, "%s: noise of what is given %g: expected a number from 0", o->sampler, o->given_noise);
    if (!(o->churn_min <= o->churn_max))
        return dfoi_fail(ctx, DFO_EARG, "%s: churn from %g to %g: expected them to rise", o->sampler, o->churn_min, o->churn_max);
    return dfo_noise_schedule_check(ctx, &o->schedule);
}

static dfo_status check_times(dfo_ctx *ctx, const dfo_denoiser_options *o, size_t steps, const double *t)
{
    double before = -HUGE_VAL;
    if (!steps || steps > 1000000)
        return dfoi_fail(ctx, DFO_EARG, "%s: expected from 1 to 1000000 steps, got %zu", o->sampler, steps);
    for (size_t i = 0; i < steps; i++) {
        double now = dfo_noise_schedule_clock(&o->schedule, DFO_CLOCK_LOG_SNR, t[i]);
        if (!isfinite(now))
            return dfoi_fail(ctx, DFO_EARG, "%s: level %zu, t = %.9g: the schedule has no finite clock there", o->sampler, i, t[i]);
        if (!(now > before))
            return dfoi_fail(ctx, DFO_EARG, "%s: level %zu, t = %.9g: expected less noise than at t = %.9g", o->sampler, i, t[i], t[i - 1]);
        before = now;
    }
    return DFO_OK;
}

static void draw(const void *path, uint64_t row, size_t d, double s, double t, double *w, double *h)
{
    dfo_brownian_increment(path, row, d, s, t, w, h);
}

/* The path's last halvings are far below the first steps, some 2^-30 of the clock rho.  */
static dfo_status make_rex(dfo_denoiser *r)
{
    const dfo_denoiser_options *o = &r->options;
    double low = dfo_noise_schedule_clock(&o->schedule, DFO_CLOCK_RHO, r->t[0]);
    double high = dfo_noise_schedule_clock(&o->schedule, DFO_CLOCK_RHO, r->t[r->steps - 1]);
    dfo_rex_options rex;
    dfo_rex_defaults(&rex);
    rex.schedule = o->schedule;
    rex.form = o->sde ? DFO_REX_SDE_DATA : DFO_REX_ODE_DATA;
    rex.method = o->sampler[3] ? o->sampler + 4 : o->sde ? "shark" : NULL;
    rex.one_state = 1;
    rex.noise = draw;
    rex.noise_data = &r->path;
    r->path = (dfo_brownian){.seed = o->seed, .t0 = low, .t1 = high, .tol = ldexp(high - low, -48)};
    if (o->sde && r->steps > 1)
        DFO_TRY(dfo_brownian_check(r->ctx, &r->path));
    return dfo_rex_new(r->ctx, &rex, &r->rex);
}

dfo_status dfo_denoiser_new(dfo_ctx *ctx, const dfo_denoiser_options *options, size_t steps, const double *t, dfo_denoiser **out)
{
    struct dfo_denoiser r = {.ctx = ctx, .options = *options, .steps = steps}, *made;
    dfo_denoiser_options *o = &r.options;
    dfo_status status;
    *out = NULL;
    if (!o->sampler)
        o->sampler = methods[0].kind.name;
    DFO_TRY(method_named(ctx, o->sampler, &r.method));
    DFO_TRY(check_options(ctx, o));
    if (o->given_noise > 0 && (r.method->step == keep_data_scale || (r.method->level == churn && o->churn > 0)))
        return dfoi_fail(ctx, DFO_EARG, "%s: %s below the noise of what is given would forget it", o->sampler,
                         r.method->level == churn ? "churn" : "corrections");
    DFO_TRY(check_times(ctx, o, steps, t));
    o->eta = r.method->kind.takes & DFO_TAKES_ETA ? o->eta : 1;
    o->snr = o->snr > 0 ? o->snr : r.method->kind.snr;
    o->corrections = o->corrections ? o->corrections : r.method->kind.corrections;
    DFO_TRY(dfoi_alloc(ctx, 1, sizeof *made, &made));
    *made = r;
    DFO_GO(dfoi_alloc(ctx, steps, sizeof *made->t, &made->t));
    memcpy(made->t, t, steps * sizeof *t);
    if (!made->method->step)
        DFO_GO(make_rex(made));
    made->options.sampler = made->method->kind.name;       /* the caller's may not live on */
    *out = made;
    return DFO_OK;
fail:
    dfo_denoiser_free(made);
    return status;
}

void dfo_denoiser_free(dfo_denoiser *r)
{
    if (!r)
        return;
    dfo_rex_free(r->rex);
    dfoi_free(r->ctx, r->t);
    dfoi_free(r->ctx, r);
}

/* ---- a call */

size_t dfo_denoiser_scratch(const dfo_denoiser *r, const dfo_field *field, size_t rows)
{
    size_t of_field = field->ops->scratch ? field->ops->scratch(field, rows) : 0, of_rex = r->rex ? dfo_rex_scratch(r->rex, field, rows) : 0;
    return dfoi_doubles_size(rows) + 2 * dfo_arena_size(rows * field->d) + dfo_arena_size(noise_rows(field->d) * field->d) + (of_rex > of_field ? of_rex : of_field);
}

static dfo_status all_finite(const struct work *k, dfo_batch x, double t)
{
    for (size_t i = 0; i < k->n; i++)
        if (!dfoi_all_finite(k->d, dfo_row(x, i)))
            return dfo_run_fail(k->run, DFO_ENUM, i, "%s, row %llu, t = %.9g: not finite", k->of->options.sampler,
                                (unsigned long long)(k->run->key.row + i), t);
    return DFO_OK;
}

/* Along the levels, then to the data.  */
static dfo_status walk(struct work *k, dfo_batch x)
{
    const dfo_denoiser *r = k->of;
    dfo_noise_point p = dfo_noise_schedule_at(&r->options.schedule, r->t[0]);
    add_known(k, p, x);
    if (r->rex && r->steps > 1)
        DFO_TRY(dfo_rex_forward(r->rex, k->field, k->run, r->steps - 1, r->t, x, dfo_batch_of(NULL, k->n, k->d)));
    for (size_t m = r->rex ? r->steps - 1 : 0; m < r->steps; m++) {
        p = dfo_noise_schedule_at(&r->options.schedule, r->t[m]);
        if (r->method->level)
            DFO_TRY(r->method->level(k, &p, x));
        if (m + 1 < r->steps) {
            dfo_noise_point next = dfo_noise_schedule_at(&r->options.schedule, r->t[m + 1]);
            DFO_TRY(r->method->step(k, p, next, x));
            add_known(k, next, x);
        }
        DFO_TRY(all_finite(k, x, p.t));
    }
    DFO_TRY(predict(k, p, x));
    mix(k, x, 0, 1);
    for (size_t i = 0; k->given.x && !(r->options.given_noise > 0) && i < k->n; i++)
        for (size_t j = 0; j < k->d; j++)
            if (!isnan(dfo_row(k->given, i)[j]))
                dfo_row(x, i)[j] = dfo_row(k->given, i)[j];
    return all_finite(k, x, p.t);
}

dfo_status dfo_denoiser_run(const dfo_denoiser *r, const dfo_field *field, dfo_run *run, dfo_batch x)
{
    return dfo_denoiser_run_given(r, field, run, x, (dfo_batch){0});
}

dfo_status dfo_denoiser_run_given(const dfo_denoiser *r, const dfo_field *field, dfo_run *run, dfo_batch x, dfo_batch given)
{
    size_t mark = run->arena_used;
    struct work k = {.of = r, .field = field, .run = run, .n = x.n, .d = field->d, .given = given};
    if (x.d != field->d)
        return dfo_run_fail(run, DFO_ESHAPE, (size_t)-1, "%s: rows of %zu numbers, expected %zu", r->options.sampler, x.d, field->d);
    if (given.x && (given.n != x.n || given.d != x.d))
        return dfo_run_fail(run, DFO_ESHAPE, (size_t)-1, "%s: (%zu, %zu) given for rows (%zu, %zu)", r->options.sampler, given.n, given.d, x.n, x.d);
    if (given.x && r->rex)
        return dfo_run_fail(run, DFO_EUNSUP, (size_t)-1, "rex: it goes all the way at once, and takes nothing that is given");
    k.t = dfoi_take_doubles(run, x.n);
    k.x0 = dfo_arena_take(run, x.n * x.d);
    k.kept = dfo_arena_take(run, x.n * x.d);
    k.z = dfo_arena_take(run, noise_rows(x.d) * x.d);
    dfo_status status = walk(&k, x);
    run->arena_used = mark;
    return status;
}

/* Layers, memory and rows for the contract: see contract.h.  */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "contract.h"

#define GUARD ((dfo_real)-7.125e7)
#define MOST_BLOCKS 4096
#define PI 3.14159265358979323846

static void *block[MOST_BLOCKS];
static size_t blocks;

void *memory_new(size_t bytes)
{
    ck_assert_msg(blocks < MOST_BLOCKS, "more than %d blocks in one test", MOST_BLOCKS);
    void *memory = calloc(bytes + 1, 1);
    ck_assert_msg(memory != NULL, "no memory for the test itself");
    block[blocks++] = memory;
    return memory;
}

void memory_free_all(void)
{
    while (blocks)
        free(block[--blocks]);
}

double *doubles_new(size_t n)
{
    return memory_new(n * sizeof(double));
}

test_rng contract_stream(int i, unsigned what)
{
    test_rng rng = test_rng_new(test_seed());
    rng.state = test_rng_next(&rng) ^ ((uint64_t)i << 32 | what);
    rng.state = test_rng_next(&rng);
    return rng;
}

struct setting random_setting(test_rng *rng, const struct row *row, size_t most)
{
    struct setting s = {0};
    if (row->flags & SPHERE) {
        s.shape = dfo_shape_vector(2);
    } else if (row->flags & EVEN_SIDES) {
        s.shape.h = 2 * test_rng_between(rng, 1, most / 4 < 2 ? 1 : 2);
        s.shape.w = s.shape.h == 2 ? 2 * test_rng_between(rng, 1, most / 4 < 2 ? 1 : 2) : 2;
        s.shape.c = test_rng_between(rng, 1, most / (s.shape.h * s.shape.w));
    } else if (row->flags & TAKES_IMAGES && test_rng_between(rng, 0, 2) == 0) {
        s.shape.h = test_rng_between(rng, 1, 3);
        s.shape.w = test_rng_between(rng, 1, 3);
        size_t channels = most / (s.shape.h * s.shape.w);
        s.shape.c = test_rng_between(rng, 1, channels < 1 ? 1 : channels);
    } else {
        s.shape = dfo_shape_vector(test_rng_between(rng, 1, most));
    }
    if (row->flags & EVEN_CHANNELS)
        s.shape.c += s.shape.c % 2;
    if (row->flags & TAKES_CONDS && test_rng_between(rng, 0, 1))
        s.conds = test_rng_between(rng, 1, 2);
    for (size_t p = 0; p < s.conds; p++)
        s.cond[p] = s.shape.h * s.shape.w > 1 && test_rng_between(rng, 0, 1)
                        ? (dfo_shape){test_rng_between(rng, 1, 2), s.shape.h, s.shape.w}
                        : dfo_shape_vector(test_rng_between(rng, 1, 4));
    return s;
}

static size_t count_layers(const json_t *config)
{
    const json_t *list = json_object_get(config, "layers"), *one = json_object_get(config, "layer");
    size_t n = 0;
    if (json_is_array(list))
        for (size_t i = 0; i < json_array_size(list); i++)
            n += count_layers(json_array_get(list, i));
    else
        n = json_is_object(one) ? count_layers(one) : 1;
    return n;
}

void layer_from(struct layer *l, const struct row *row, const struct setting *set, json_t *config, uint64_t seed)
{
    memset(l, 0, sizeof *l);
    l->row = row;
    l->set = *set;
    l->config = json_incref(config);
    l->layers = count_layers(config);
    l->seed = seed;
    l->flags = row->flags;
    const char *tails = json_string_value(json_object_get(config, "tails"));
    if (tails && !strcmp(tails, "circular")) {
        const json_t *period = json_object_get(config, "period"), *start = json_object_get(config, "start");
        l->flags |= CIRCLE;
        l->bound = json_number_value(json_object_get(config, "tail_bound"));
        l->period = period ? json_number_value(period) : 2 * l->bound;
        l->start = start ? json_number_value(start) : -l->period / 2;
    }
    if (row->flags & SPHERE) {
        const char *units = json_string_value(json_object_get(config, "units"));
        l->bound = 1;
        l->period = !(row->flags & BOUNDED_X) ? 2 : units && !strcmp(units, "radians") ? 2 * PI : 360;
    }
    size_t used = (size_t)snprintf(l->text, sizeof l->text, "%s: seed %llu, shape %zux%zux%zu, %zu conditions, ",
                                   row->type, (unsigned long long)test_seed(), set->shape.c, set->shape.h,
                                   set->shape.w, set->conds);
    used += json_dumpb(config, l->text + used, sizeof l->text - used - 1, JSON_COMPACT);
    l->text[used < sizeof l->text ? used : sizeof l->text - 1] = 0;
    ck_assert_int_eq(dfo_ctx_new(&l->ctx), DFO_OK);
    ck_assert_int_eq(dfo_store_new(l->ctx, &l->store), DFO_OK);
    dfo_build build = {.ctx = l->ctx, .store = l->store, .seed = seed, .path = "test", .shape = set->shape,
                       .conds = set->conds};
    memcpy(build.cond, set->cond, sizeof build.cond);
    dfo_status status = dfo_bijector_new(&build, config, &l->bij);
    ck_assert_msg(status == DFO_OK, "%s: %s", where(l), dfo_ctx_error(l->ctx));
}

void layer_new(struct layer *l, const struct row *row, const struct setting *set, test_rng *rng)
{
    json_t *config = row->make(rng, set, row->type);
    ck_assert_msg(config != NULL, "%s: no configuration", row->type);
    layer_from(l, row, set, config, test_rng_next(rng) >> 32);
    json_decref(config);
}

void layer_free(struct layer *l)
{
    dfo_bijector_free(l->bij);
    dfo_store_free(l->store);
    if (l->ctx)
        ck_assert_msg(dfo_ctx_bytes(l->ctx) == 0, "%s: %zu bytes remain", where(l), dfo_ctx_bytes(l->ctx));
    dfo_ctx_free(l->ctx);
    json_decref(l->config);
    memset(l, 0, sizeof *l);
}

const char *where(const struct layer *l)
{
    return l->text;
}

/* Adds noise: to matrices so that outputs have the raw standard deviation, to vectors that itself; a convolution
 * net's log_scale multiplies its outputs by e^(3 s).  */
void layer_spread(struct layer *l, enum spread spread, test_rng *rng)
{
    static const double raw[] = {[CREATED] = 0, [MODERATE] = 0.2, [WIDE] = 2};
    dfo_real *w = dfo_store_weights(l->store);
    if (spread == CREATED)
        return;
    if (l->bij->caps & DFO_DATA_INIT) {
        size_t n = 20;
        testrun *t = run_new(l, n, DFO_MEMORY_INVERT);
        dfo_cond cond = cond_new(&l->set, n, rng);
        dfo_batch x = data_new(l, t, n, 0, cond_or_null(&cond), rng);
        dfo_status status = dfo_bijector_init(l->bij, &t->run, x, cond_or_null(&cond));
        ck_assert_msg(status == DFO_OK, "%s: init: %s", where(l), t->run.text);
        testrun_free(t);
        w = dfo_store_weights(l->store);
    }
    for (size_t e = 0; e < dfo_store_entries(l->store); e++) {
        const dfo_entry *entry = dfo_store_entry(l->store, e);
        double fan = entry->ndim < 2 ? 1 : (double)(entry->count / entry->shape[0]);
        double std = raw[spread] / sqrt(fan) * (strstr(entry->name, "net.log_scale") ? 0.1 : 1);
        for (size_t i = 0; !entry->buffer && i < entry->count; i++)
            w[entry->offset + i] += (dfo_real)(std * test_rng_normal(rng));
    }
    dfo_store_touch(l->store);
}

testrun *run_new(struct layer *l, size_t rows, dfo_memory_mode memory)
{
    testrun *t;
    dfo_run how = {.memory = memory, .anchors = memory == DFO_MEMORY_ANCHORS ? 2 : 0};
    size_t least = rows ? rows : 1;
    dfo_need need = {.rows = least};
    need.scratch = dfo_bijector_scratch(l->bij, least);
    need.saved = dfo_bijector_saved(l->bij, least, &how);
    need.derived = dfo_bijector_derived(l->bij);
    need.gderived = dfo_bijector_gderived(l->bij);
    need.aux = dfo_bijector_aux(l->bij) * least;
    ck_assert_int_eq(testrun_new(l->ctx, l->store, &need, &t), DFO_OK);
    t->run.memory = memory;
    t->run.anchors = how.anchors;
    run_prepare(l, t);
    return t;
}

void run_prepare(struct layer *l, testrun *t)
{
    t->run.weights = dfo_store_weights(l->store);
    dfo_status status = dfo_bijector_prepare(l->bij, &t->run, t->run.derived);
    ck_assert_msg(status == DFO_OK, "%s: prepare: %s", where(l), t->run.text);
}

dfo_batch rows_new(size_t n, size_t d, size_t pad)
{
    size_t ld = d + pad;
    dfo_batch x = {memory_new(n * ld * sizeof(dfo_real)), n, d, ld};
    for (size_t i = 0; i < n; i++)
        for (size_t j = d; j < ld; j++)
            dfo_row(x, i)[j] = GUARD;
    return x;
}

void rows_guard(const struct layer *l, dfo_batch x, const char *what)
{
    for (size_t i = 0; i < x.n; i++)
        for (size_t j = x.d; j < x.ld; j++)
            ck_assert_msg(dfo_row(x, i)[j] == GUARD, "%s: %s: wrote behind row %zu of %zu", where(l), what, i, x.n);
}

void rows_set(dfo_batch to, dfo_batch from)
{
    for (size_t i = 0; i < to.n; i++)
        memcpy(dfo_row(to, i), dfo_row(from, i), to.d * sizeof(dfo_real));
}

dfo_batch rows_copy(dfo_batch x)
{
    dfo_batch y = rows_new(x.n, x.d, x.ld - x.d);
    rows_set(y, x);
    return y;
}

void rows_draw(dfo_batch x, test_rng *rng, double scale)
{
    for (size_t i = 0; i < x.n; i++)
        for (size_t j = 0; j < x.d; j++)
            dfo_row(x, i)[j] = (dfo_real)(scale * test_rng_normal(rng));
}

dfo_cond cond_new(const struct setting *set, size_t n, test_rng *rng)
{
    dfo_cond c = {.n = set->conds};
    for (size_t p = 0; p < c.n; p++) {
        c.part[p].shape = set->cond[p];
        c.part[p].rows = rows_new(n, dfo_shape_size(set->cond[p]), p % 3);
        rows_draw(c.part[p].rows, rng, 1);
    }
    return c;
}

dfo_cond cond_zero(const dfo_cond *cond)
{
    dfo_cond c = {.n = cond->n};
    for (size_t p = 0; p < c.n; p++) {
        c.part[p].shape = cond->part[p].shape;
        c.part[p].rows = rows_new(cond->part[p].rows.n, cond->part[p].rows.d, 2);
    }
    return c;
}

const dfo_cond *cond_or_null(const dfo_cond *cond)
{
    return cond->n ? cond : NULL;
}

static void rows_between(dfo_batch x, test_rng *rng, double low, double high)
{
    for (size_t i = 0; i < x.n; i++)
        for (size_t j = 0; j < x.d; j++)
            dfo_row(x, i)[j] = (dfo_real)test_rng_real(rng, low, high);
}

dfo_batch data_new(struct layer *l, testrun *t, size_t n, size_t pad, const dfo_cond *cond, test_rng *rng)
{
    dfo_batch x = rows_new(n, l->bij->d, pad);
    rows_draw(x, rng, l->calm && l->flags & (BOUNDED_X | BOUNDED_Z) ? 0.5 : 1.3);
    for (size_t k = 0; l->flags & POSITIVE_X && k < n * x.d; k++)
        dfo_row(x, k / x.d)[k % x.d] = (dfo_real)exp(0.5 * (double)dfo_row(x, k / x.d)[k % x.d]);
    if (l->flags & CIRCLE)
        rows_between(x, rng, l->start, l->start + l->period);
    if (l->flags & SPHERE)
        rows_between(x, rng, l->calm ? -0.9 : -1, l->calm ? 0.9 : 1);
    if (l->flags & BOUNDED_X && !(l->flags & POSITIVE_X))
        inverse(l, t, x, cond, NULL);
    return x;
}

dfo_batch latents_new(struct layer *l, testrun *t, size_t n, size_t pad, const dfo_cond *cond, test_rng *rng)
{
    dfo_batch z;
    if (l->flags & BOUNDED_Z) {
        z = data_new(l, t, n, pad, cond, rng);
        forward(l, t, z, cond, NULL);
        return z;
    }
    z = rows_new(n, l->bij->d, pad);
    rows_draw(z, rng, 1.3);
    if (l->flags & CIRCLE)
        rows_between(z, rng, -l->bound, l->bound);
    if (l->flags & SPHERE)
        rows_between(z, rng, l->calm ? -0.9 : -1, l->calm ? 0.9 : 1);
    return z;
}

double log_area(const struct layer *l, dfo_batch x, size_t i)
{
    double unit = 2 * PI / l->period;
    return l->bij->caps & DFO_OWN_MEASURE ? log(unit * unit * cos(unit * (double)dfo_row(x, i)[0])) : 0;
}

void forward(struct layer *l, testrun *t, dfo_batch x, const dfo_cond *cond, double *logdet)
{
    dfo_status status = dfo_bijector_forward(l->bij, &t->run, x, cond, logdet);
    ck_assert_msg(status == DFO_OK, "%s: forward of %zu rows: %s", where(l), x.n, t->run.text);
    testrun_check(t, where(l));
}

void inverse(struct layer *l, testrun *t, dfo_batch z, const dfo_cond *cond, double *logdet)
{
    dfo_status status = dfo_bijector_inverse(l->bij, &t->run, z, cond, logdet);
    ck_assert_msg(status == DFO_OK, "%s: inverse of %zu rows: %s", where(l), z.n, t->run.text);
    testrun_check(t, where(l));
}

void backward(struct layer *l, testrun *t, int back, dfo_batch z, dfo_batch gz, const dfo_cond *cond,
              dfo_cond *gcond, const double *glogdet)
{
    dfo_status status = (back ? dfo_bijector_inverse_backward : dfo_bijector_backward)(l->bij, &t->run, z, gz, cond,
                                                                                       gcond, glogdet);
    ck_assert_msg(status == DFO_OK, "%s: %s: %s", where(l), back ? "inverse_backward" : "backward", t->run.text);
    if (t->run.grads)
        status = dfo_bijector_pullback(l->bij, &t->run, t->run.derived, t->run.gderived);
    ck_assert_msg(status == DFO_OK, "%s: pullback: %s", where(l), t->run.text);
    testrun_check(t, where(l));
}

void same_rows(const struct layer *l, dfo_batch a, dfo_batch b, const char *what)
{
    for (size_t i = 0; i < a.n; i++)
        for (size_t j = 0; j < a.d; j++) {
            dfo_real u = dfo_row(a, i)[j], v = dfo_row(b, i)[j];
            ck_assert_msg(!memcmp(&u, &v, sizeof u), "%s: %s: row %zu of %zu, column %zu: %.17g and %.17g", where(l),
                          what, i, a.n, j, (double)u, (double)v);
        }
}

void same_doubles(const struct layer *l, size_t n, const double *a, const double *b, const char *what)
{
    for (size_t i = 0; i < n; i++)
        ck_assert_msg(!memcmp(&a[i], &b[i], sizeof *a), "%s: %s: entry %zu of %zu: %.17g and %.17g", where(l), what,
                      i, n, a[i], b[i]);
}

double norm(size_t n, const dfo_real *x)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)x[i] * (double)x[i];
    return sqrt(sum);
}

double distance(dfo_batch a, dfo_batch b, size_t i)
{
    double sum = 0;
    for (size_t j = 0; j < a.d; j++) {
        double e = (double)dfo_row(a, i)[j] - (double)dfo_row(b, i)[j];
        sum += e * e;
    }
    return sqrt(sum);
}

double log_det(size_t d, double *a, double *to)
{
    double sum = 0;
    for (size_t k = 0; to && k < d * d; k++)
        to[k] = k % (d + 1) == 0;
    for (size_t k = 0; k < d; k++) {
        size_t best = k;
        for (size_t i = k + 1; i < d; i++)
            if (fabs(a[i * d + k]) > fabs(a[best * d + k]))
                best = i;
        for (size_t j = 0; j < d; j++) {
            double swap = a[k * d + j];
            a[k * d + j] = a[best * d + j];
            a[best * d + j] = swap;
            swap = to ? to[k * d + j] : 0;
            if (to) {
                to[k * d + j] = to[best * d + j];
                to[best * d + j] = swap;
            }
        }
        double pivot = a[k * d + k];
        sum += log(fabs(pivot));
        for (size_t i = to ? 0 : k + 1; i < d; i++) {
            double f = i == k ? 0 : a[i * d + k] / pivot;
            for (size_t j = k; j < d; j++)
                a[i * d + j] -= f * a[k * d + j];
            for (size_t j = 0; to && j < d; j++)
                to[i * d + j] -= f * to[k * d + j];
        }
    }
    for (size_t k = 0; to && k < d * d; k++)
        to[k] /= a[k / d * (d + 1)];
    return sum;
}

/* Gradients of `copies` seeds at row i: gz and glogdet are given, gz is overwritten.  */
static void seeds(struct layer *l, int back, dfo_batch out, const dfo_cond *cond, size_t i, dfo_batch g,
                  const double *glogdet)
{
    size_t d = out.d;
    testrun *t = run_new(l, g.n, DFO_MEMORY_INVERT);
    dfo_batch z = rows_new(g.n, d, 0);
    dfo_cond c = {0};
    if (cond)
        c.n = cond->n;
    for (size_t p = 0; p < c.n; p++) {
        c.part[p].shape = cond->part[p].shape;
        c.part[p].rows = rows_new(g.n, cond->part[p].rows.d, 0);
        for (size_t k = 0; k < g.n; k++)
            memcpy(dfo_row(c.part[p].rows, k), dfo_row(cond->part[p].rows, i), c.part[p].rows.d * sizeof(dfo_real));
    }
    for (size_t k = 0; k < g.n; k++)
        memcpy(dfo_row(z, k), dfo_row(out, i), d * sizeof(dfo_real));
    t->run.grads = NULL;
    if (!back && dfo_bijector_saved(l->bij, g.n, &t->run)) {     /* forward keeps what backward wants, of a layer inside too */
        inverse(l, t, z, cond_or_null(&c), NULL);
        forward(l, t, z, cond_or_null(&c), NULL);
    }
    backward(l, t, back, z, g, cond_or_null(&c), NULL, glogdet);
    testrun_free(t);
}

void jacobian(struct layer *l, int back, dfo_batch out, const dfo_cond *cond, size_t i, double *j)
{
    size_t d = out.d;
    dfo_batch g = rows_new(d, d, 0);
    for (size_t k = 0; k < d; k++)
        dfo_row(g, k)[k] = 1;
    seeds(l, back, out, cond, i, g, doubles_new(d));
    for (size_t k = 0; k < d * d; k++)
        j[k] = (double)g.x[k];
}

double log_det_slope(struct layer *l, int back, dfo_batch out, const dfo_cond *cond, size_t i)
{
    dfo_batch g = rows_new(1, out.d, 0);
    double one = 1;
    seeds(l, back, out, cond, i, g, &one);
    return norm(out.d, g.x);
}

int verbose(void)
{
    const char *text = getenv("DIFFEO_TEST_VERBOSE");
    return text && *text && strcmp(text, "0");
}

void note(const struct layer *l, const char *what, double error, double kappa, double ratio)
{
    if (verbose())
        printf("%-20s %-24s error %.2e  condition %.2e  ratio %.2f\n", l->row->type, what, error, kappa, ratio);
}

/* Autoregressive layers: masked nets and both directions of the affine flow against reference vectors; the sweep against D
 * passes; what depends on what; settings.  */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "autoregressive_impl.h"
#include "netcase.h"
#include "nn/made_impl.h"
#include "reflayer.h"

/* The file's units in our order: by degree; and the place of its columns.  */
struct units {
    size_t n, degree[16], from[16];        /* ours k is the file's from[k] */
};

static struct units units_of(ref_case c, const char *key)
{
    char path[64];
    struct units u = {0};
    snprintf(path, sizeof path, "settings.%s", key);
    ref_array a = ref_need(c, path);
    ck_assert_uint_le(a.n, 16);
    for (size_t g = 0; g <= 16; g++)
        for (size_t k = 0; k < a.n; k++)
            if ((size_t)a.data[k] == g) {
                u.degree[u.n] = g;
                u.from[u.n++] = k;
            }
    ck_assert_uint_eq(u.n, a.n);
    return u;
}

static json_t *degrees(const struct units *u)
{
    json_t *list = json_array();
    for (size_t k = 0; k < u->n; k++)
        json_array_append_new(list, json_integer((json_int_t)u->degree[k]));
    return list;
}

/* The file's masked net: where its numbers stand in ours.  */
struct masked {
    ref_case c;
    struct units column, h1, h2;           /* column: ours at place k is the file's from[k] */
    size_t context;
};

static struct masked masked_of(ref_case c)
{
    ref_array cond = ref_get(c, "context");
    return (struct masked){c, units_of(c, "order"), units_of(c, "hidden1"), units_of(c, "hidden2"), cond.data ? cond.shape[1] : 0};
}

static json_t *net_config(const struct masked *m)
{
    return json_pack("{s:s, s:[I, I], s:s, s:[o, o]}", "type", "made", "hidden", (json_int_t)m->h1.n, (json_int_t)m->h2.n,
                     "activation", "tanh", "degrees", degrees(&m->h1), degrees(&m->h2));
}

/* Number i of our array `name` (w0, b0, ...): which of the file's arrays has it, and where.  */
static size_t number(const struct masked *m, const char *name, size_t i, const char **file)
{
    size_t d = m->column.n, in = m->context + d;
    switch (name[1]) {
    case '0':
        *file = name[0] == 'b' ? "b1" : i % in < m->context ? "Wc" : "W1";
        if (name[0] == 'b')
            return m->h1.from[i];
        return i % in < m->context ? m->h1.from[i / in] * m->context + i % in
                                   : m->h1.from[i / in] * d + m->column.from[i % in - m->context];
    case '1':
        *file = name[0] == 'b' ? "b2" : "W2";
        return name[0] == 'b' ? m->h2.from[i] : m->h2.from[i / m->h1.n] * m->h1.n + m->h1.from[i % m->h1.n];
    default:                                       /* ours: alpha, mu of a column; the file's: all mu, all alpha */
        *file = name[0] == 'b' ? "b3" : "W3";
        size_t row = name[0] == 'b' ? i : i / m->h2.n;
        row = m->column.from[row / 2] + (row % 2 ? 0 : d);
        return name[0] == 'b' ? row : row * m->h2.n + m->h2.from[i % m->h2.n];
    }
}

static const char *const arrays[] = {"w0", "b0", "w1", "b1", "w2", "b2"};
#define ARRAYS (sizeof arrays / sizeof *arrays)

static void set_array(const struct masked *m, const char *name, size_t n, dfo_real *to)
{
    for (size_t i = 0; i < n; i++) {
        char path[32];
        const char *file;
        size_t at = number(m, name, i, &file);
        snprintf(path, sizeof path, "params.%s", file);
        to[i] = (dfo_real)ref_need(m->c, path).data[at];
    }
}

static void compare_array(const struct masked *m, const char *name, size_t n, const dfo_real *g)
{
    for (size_t i = 0; i < n; i++) {
        const char *file;
        size_t at = number(m, name, i, &file);
        double got = (double)g[i];
        reflayer_compare(m->c, name, 1, &got, reflayer_grad(m->c, file).data + at, reflayer_tolerance(m->c, "grad"));
    }
}

static int flow_case(ref_case c, int solve)
{
    struct masked m = masked_of(c);
    json_t *order = json_array();
    for (size_t k = 0; k < m.column.n; k++)
        json_array_append_new(order, json_integer((json_int_t)m.column.from[k]));
    json_t *config = json_pack("{s:s, s:s, s:o, s:b, s:o}", "type", "autoregressive", "scale", "exp", "order", order, "solve", solve,
                               "net", net_config(&m));
    layerfix f = layerfix_new(config, reflayer_shape(c), m.context, reflayer_rows(c));
    for (size_t a = 0; a < ARRAYS; a++) {
        char name[16];
        size_t n;
        snprintf(name, sizeof name, "net.%s", arrays[a]);
        dfo_real *to = layerfix_array(&f, name, &n);
        set_array(&m, arrays[a], n, to);
    }
    reflayer_check(&f, c);
    for (size_t a = 0; a < ARRAYS; a++) {
        char name[16];
        size_t n;
        snprintf(name, sizeof name, "net.%s", arrays[a]);
        (void)layerfix_array(&f, name, &n);
        compare_array(&m, arrays[a], n, layerfix_grad(&f, name));
    }
    layerfix_free(&f);
    return 1;
}

static int maf_case(ref_case c)
{
    return flow_case(c, 0);
}

static int iaf_case(ref_case c)
{
    return flow_case(c, 1);
}

/* The net alone, with columns in their order.  */
static int made_case(ref_case c)
{
    struct masked m = masked_of(c);
    size_t n = reflayer_rows(c), d = m.column.n, parts = 0;
    ref_array x = ref_need(c, "x"), cond = ref_get(c, "context"), seed = ref_need(c, "grad.seed_z");
    dfo_shape shape[2];
    if (m.context)
        shape[parts++] = dfo_shape_vector(m.context);
    shape[parts++] = dfo_shape_vector(d);
    json_t *config = net_config(&m);
    char *text = json_dumps(config, 0);
    netcase net;
    netcase_of(&net, 1, text, n, parts, shape, dfo_shape_vector(2 * d));
    for (size_t e = 0; e < dfo_store_entries(net.store); e++) {
        const dfo_entry *entry = dfo_store_entry(net.store, e);
        set_array(&m, strchr(entry->name, '.') + 1, entry->count, dfo_store_weights(net.store) + entry->offset);
    }
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < m.context; k++)
            dfo_row(net.in.part[0].rows, i)[k] = (dfo_real)cond.data[i * m.context + k];
        for (size_t k = 0; k < d; k++)
            dfo_row(net.in.part[parts - 1].rows, i)[k] = (dfo_real)x.data[i * d + m.column.from[k]];
    }
    dfo_block out = netcase_block(&net, 0), gout = netcase_block(&net, 0);
    dfo_cond gin = netcase_cond(&net, 0, 0);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < 2 * d; k++)
            *netcase_at(gout, i, k) = (dfo_real)seed.data[i * 2 * d + m.column.from[k / 2] + (k % 2 ? 0 : d)];
    ck_assert_int_eq(dfo_net_forward(net.net, &net.t->run, &net.in, out, net.acts), DFO_OK);
    ck_assert_int_eq(dfo_net_backward(net.net, &net.t->run, &net.in, gout, &gin, net.acts), DFO_OK);
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < 2 * d; k++) {
            double z = (double)*netcase_at(out, i, k);
            reflayer_compare(c, "z", 1, &z, ref_need(c, "z").data + i * 2 * d + m.column.from[k / 2] + (k % 2 ? 0 : d),
                             reflayer_tolerance(c, "z"));
        }
        for (size_t k = 0; k < d; k++) {
            double g = (double)dfo_row(gin.part[parts - 1].rows, i)[k];
            reflayer_compare(c, "gradient of x", 1, &g, reflayer_grad(c, "x").data + i * d + m.column.from[k],
                             reflayer_tolerance(c, "grad"));
        }
        for (size_t k = 0; k < m.context; k++) {
            double g = (double)dfo_row(gin.part[0].rows, i)[k];
            reflayer_compare(c, "gradient of the context", 1, &g, reflayer_grad(c, "context").data + i * m.context + k,
                             reflayer_tolerance(c, "grad"));
        }
    }
    for (size_t e = 0; e < dfo_store_entries(net.store); e++) {
        const dfo_entry *entry = dfo_store_entry(net.store, e);
        compare_array(&m, strchr(entry->name, '.') + 1, entry->count, net.t->run.grads + entry->offset);
    }
    netcase_cond_free(&net, &gin);
    dfoi_free(net.ctx, out.x);
    dfoi_free(net.ctx, gout.x);
    netcase_free(&net);
    free(text);
    json_decref(config);
    return 1;
}

START_TEST(reference)
{
    reflayer_each("made", 5, made_case);
    reflayer_each("maf", 6, maf_case);
    reflayer_each("iaf", 6, iaf_case);
}
END_TEST

/* ---- the sweep */

static const char *const nets[] = {
    "{\"hidden\":[37,50],\"activation\":\"tanh\"}",
    "{\"hidden\":[5],\"activation\":\"gelu\"}",
    "{\"hidden\":[],\"activation\":\"relu\"}",
    "{\"hidden\":[40,9,33],\"activation\":\"leaky-relu\"}",
    "{\"residual\":true,\"hidden\":41,\"activation\":\"relu\"}",
    "{\"residual\":true,\"hidden\":23,\"blocks\":3,\"activation\":\"silu\",\"context\":\"gate\"}",
};

/* A layer with drawn weights, and a condition of three features.  */
static layerfix layer_of(const char *net, const char *transform, int solve, size_t d, size_t rows, test_rng *rng)
{
    json_t *config = json_pack("{s:s, s:s, s:s, s:b, s:o, s:b}", "type", "autoregressive", "transform", transform, "order", "random",
                               "solve", solve, "net", json_loads(net, 0, NULL), "zero_init", 0);
    layerfix f = layerfix_new(config, dfo_shape_vector(d), 3, rows);
    dfo_real *w = dfo_store_weights(f.store);
    for (size_t i = 0; i < dfo_store_weights_size(f.store); i++)
        w[i] += (dfo_real)(0.1 * test_rng_normal(rng));
    return f;
}

/* v to u as one does without an order: D times the whole net, which then has all columns.  */
static void by_passes(layerfix *f, dfo_batch v, const dfo_cond *cond, int to_latents)
{
    const dfoi_autoregressive *a = f->bij->state;
    size_t d = v.d, n = v.n;
    dfo_real *u = calloc(n * d, sizeof *u), *panel = aligned_alloc(64, d * DFO_PANEL * sizeof *panel),
             *par = aligned_alloc(64, a->params * d * DFO_PANEL * sizeof *par), ld[DFO_PANEL];
    dfo_cond in = *cond;
    in.part[in.n++] = (struct dfo_cond_part){dfo_batch_of(u, n, d), dfo_shape_vector(d)};
    for (size_t k = 0; k < d; k++) {
        dfo_block out = {par, n, a->params * d, DFO_PANEL, DFO_FEATURES};
        ck_assert_int_eq(dfo_net_forward(a->net, &f->t->run, &in, out, NULL), DFO_OK);
        dfoi_to_panel(n, d, v.x, v.ld, a->order, 0, panel);
        dfoi_autoregressive_transform(a, to_latents, d, par, panel, ld);
        dfoi_from_panel(n, d, panel, NULL, u, d);
    }
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < d; j++)
            dfo_row(v, i)[a->order[j]] = u[i * d + j];
    free(u), free(panel), free(par);
}

static void draw(test_rng *rng, size_t n, dfo_real *x)
{
    for (size_t i = 0; i < n; i++)
        x[i] = (dfo_real)test_rng_normal(rng);
}

/* The same numbers, to the bit: sums run over the same terms in the same order.  */
START_TEST(sweep_is_d_passes)
{
    test_rng rng = test_rng_new(test_seed());
    for (size_t k = 0; k < 8 * sizeof nets / sizeof *nets; k++) {
        size_t n = test_rng_between(&rng, 1, DFO_PANEL), d = test_rng_between(&rng, 1, 20);
        int solve = (int)(k % 2);
        layerfix f = layer_of(nets[k / 8], k / 2 % 2 ? "spline" : "affine", solve, d, n, &rng);
        ((dfoi_autoregressive *)f.bij->state)->jacobi = k / 4 % 2;
        dfo_real *x = malloc(n * d * sizeof *x), *want = malloc(n * d * sizeof *want), *c = malloc(n * 3 * sizeof *c);
        dfo_cond cond = {1, {{dfo_batch_of(c, n, 3), dfo_shape_vector(3)}}};
        draw(&rng, n * d, x);
        draw(&rng, n * 3, c);
        memcpy(want, x, n * d * sizeof *x);
        by_passes(&f, dfo_batch_of(want, n, d), &cond, solve);
        ck_assert_int_eq((solve ? dfo_bijector_forward : dfo_bijector_inverse)(f.bij, &f.t->run, dfo_batch_of(x, n, d), &cond, NULL),
                         DFO_OK);
        for (size_t i = 0; i < n * d; i++)
            ck_assert_msg(x[i] == want[i], "%s, solve %d, d %zu: row %zu, column %zu: %.17g, by passes %.17g", nets[k / 8], solve, d,
                          i / d, i % d, (double)x[i], (double)want[i]);
        free(x), free(want), free(c);
        layerfix_free(&f);
    }
}
END_TEST

/* A change of one column or of the condition reaches what stands behind it, and nothing else.  */
START_TEST(what_depends_on_what)
{
    test_rng rng = test_rng_new(test_seed());
    for (size_t k = 0; k < sizeof nets / sizeof *nets; k++) {
        size_t d = 6;
        layerfix f = layer_of(nets[k], "affine", 0, d, 1, &rng);
        const dfoi_autoregressive *a = f.bij->state;
        double x[6], c[3] = {0.3, -0.2, 0.5}, z[6], moved[6], ld;
        for (size_t j = 0; j < d; j++)
            x[j] = test_rng_normal(&rng);
        ck_assert_int_eq(layerfix_forward(&f, 1, x, c, z, &ld), DFO_OK);
        for (size_t j = 0; j <= d; j++) {
            double *at = j < d ? &x[a->order[j]] : &c[1], old = *at;
            *at += 1;
            ck_assert_int_eq(layerfix_forward(&f, 1, x, c, moved, &ld), DFO_OK);
            *at = old;
            for (size_t i = 0; i < d; i++)
                if (j < d && i < j)
                    ck_assert_msg(moved[a->order[i]] == z[a->order[i]], "%s: place %zu depends on place %zu", nets[k], i, j);
                else if (k == 0 || k == 5)         /* no unit is dead, and there are units of each degree */
                    ck_assert_msg(moved[a->order[i]] != z[a->order[i]], "%s: place %zu does not depend on %zu", nets[k], i, j);
        }
        layerfix_free(&f);
    }
}
END_TEST

/* Dropout: what the sweep drops is what the pass drops, so that gradients go back through the same net.  */
START_TEST(sweep_drops_the_same)
{
    static const char *const dropping[] = {"{\"hidden\":[30,30],\"dropout\":0.3}",
                                           "{\"residual\":true,\"hidden\":30,\"dropout\":0.3,\"context\":\"gate\"}"};
    test_rng rng = test_rng_new(test_seed());
    for (size_t k = 0; k < 2; k++) {
        size_t n = 100, d = 7;
        layerfix f = layer_of(dropping[k], "affine", 0, d, n, &rng);
        dfo_real *x = malloc(n * d * sizeof *x), *was = malloc(n * d * sizeof *was), *c = malloc(n * 3 * sizeof *c);
        dfo_cond cond = {1, {{dfo_batch_of(c, n, 3), dfo_shape_vector(3)}}};
        f.t->run.mode = DFO_TRAIN;
        draw(&rng, n * d, x);
        draw(&rng, n * 3, c);
        memcpy(was, x, n * d * sizeof *x);
        ck_assert_int_eq(dfo_bijector_forward(f.bij, &f.t->run, dfo_batch_of(x, n, d), &cond, NULL), DFO_OK);
        ck_assert_int_eq(dfo_bijector_inverse(f.bij, &f.t->run, dfo_batch_of(x, n, d), &cond, NULL), DFO_OK);
        for (size_t i = 0; i < n * d; i++)
            ck_assert_double_eq_tol((double)x[i], (double)was[i], 1e4 * DFO_REAL_EPS * (1 + fabs((double)was[i])));
        free(x), free(was), free(c);
        layerfix_free(&f);
    }
}
END_TEST

/* What stands in a masked layer's file where nothing is seen: zeros, in a new layer.  */
START_TEST(settings)
{
    static const struct {
        const char *config, *says;
    } bad[] = {
        {"{\"type\":\"autoregressive\",\"sweep\":\"rows\"}", "sweep: expected columns or jacobi, got rows"},
        {"{\"type\":\"autoregressive\",\"scale\":\"log\"}", "scale: expected tanh or exp, got log"},
        {"{\"type\":\"autoregressive\",\"transform\":\"spline\",\"tails\":\"circular\"}", "tails: expected linear"},
        {"{\"type\":\"autoregressive\",\"net\":{\"hidden\":[3],\"degrees\":[[2,1,3]]}}", "expected 3 rising numbers of 0 to 4"},
        {"{\"type\":\"autoregressive\",\"net\":{\"hidden\":[3],\"degrees\":[[1,2,5]]}}", "expected 3 rising numbers of 0 to 4"},
        {"{\"type\":\"autoregressive\",\"order\":[0,1,2,2]}", "order: 2 is there twice"},
    };
    char text[512];
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
        ck_assert_int_eq(layerfix_try(bad[k].config, dfo_shape_vector(4), text, sizeof text), DFO_EARG);
        ck_assert_msg(strstr(text, bad[k].says) != NULL, "%s: says '%s'", bad[k].config, text);
    }
    layerfix f = layerfix_new(json_pack("{s:s, s:{s:[i, i]}}", "type", "autoregressive", "net", "hidden", 8, 4), dfo_shape_vector(5), 0, 1);
    size_t n, seen = 0, zeros = 0;
    const dfo_real *w = layerfix_array(&f, "net.w0", &n);
    for (size_t r = 0; r < 8; r++)                /* degrees 1 1 2 2 3 3 4 4 */
        for (size_t j = 0; j < 5; j++) {
            seen += j < 1 + r / 2 && w[r * 5 + j] != 0;
            zeros += j >= 1 + r / 2 && w[r * 5 + j] == 0;
        }
    ck_assert_uint_eq(seen, 20);
    ck_assert_uint_eq(zeros, 20);
    layerfix_free(&f);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("autoregressive " DFO_REAL_NAME);
    TCase *t = tcase_create("layers");
    tcase_add_test(t, reference);
    tcase_add_test(t, sweep_is_d_passes);
    tcase_add_test(t, what_depends_on_what);
    tcase_add_test(t, sweep_drops_the_same);
    tcase_add_test(t, settings);
    suite_add_tcase(suite, t);
    return test_run(suite);
}

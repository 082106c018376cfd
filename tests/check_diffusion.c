/* Diffusion layers: the field and what the net learns against the schedules' own paths and against Gaussian data, whose scores are known;
 * refused settings.  */
#include <math.h>
#include <string.h>

#include "cnf_impl.h"
#include "layerfix.h"
#include "util.h"

static const char *const schedule[] = {"vp", "subvp", "ve", "scaled-linear", "cosine", "edm"};
static const char *const prediction[] = {"noise", "data", "velocity", "edm"};

static dfoi_diffusion diffusion_of(const char *of, const char *predicts, const char *weighting)
{
    dfo_ctx *ctx;
    dfoi_diffusion d;
    json_t *config = json_pack("{s:s, s:s, s:s, s:f}", "schedule", of, "prediction", predicts, "weighting", weighting, "first", 0.01);
    ck_assert_int_eq(dfo_ctx_new(&ctx), DFO_OK);
    ck_assert_msg(dfoi_diffusion_read(ctx, config, &d) == DFO_OK, "%s", dfo_ctx_error(ctx));
    json_decref(config);
    dfo_ctx_free(ctx);
    return d;
}

/* y at place s of the path of x_0 and e.  */
static double path(const dfoi_diffusion *d, double s, double x0, double e)
{
    dfoi_diffusion_point p = dfoi_diffusion_at(d, s);
    return (p.at.alpha * x0 + p.at.sigma * e) / p.n;
}

/* With what the net should say the field is the path's rate, for every schedule and prediction.  */
START_TEST(targets)
{
    const dfo_real x0[2] = {(dfo_real)0.7, (dfo_real)-1.3}, e[2] = {(dfo_real)0.4, (dfo_real)1.1};
    for (size_t k = 0; k < 6; k++)
        for (size_t j = 0; j < 4; j++) {
            dfoi_diffusion d = diffusion_of(schedule[k], prediction[j], "simple");
            for (double s = 0.05; s < 1; s += 0.09) {
                dfoi_diffusion_point p = dfoi_diffusion_at(&d, s);
                dfo_real y[2], want[2];
                dfoi_diffusion_target(&d, &p, 2, x0, e, y, want);
                for (int i = 0; i < 2; i++) {
                    double h = 1e-5, from = path(&d, s - h, (double)x0[i], (double)e[i]), to = path(&d, s + h, (double)x0[i], (double)e[i]);
                    double rate = (to - from) / (2 * h), got = p.a * (double)y[i] + p.b * (double)want[i];
                    double size = fabs(p.a * (double)y[i]) + fabs(p.b * (double)want[i]) + 1;
                    ck_assert_msg(fabs((double)y[i] - path(&d, s, (double)x0[i], (double)e[i])) < (IS_DOUBLE ? 1e-14 : 1e-6), "%s at %g", schedule[k], s);
                    ck_assert_msg(fabs(got - rate) < (IS_DOUBLE ? 1e-7 : 1e-5) * size, "%s, %s at %g: %.12g, the path's rate is %.12g", schedule[k],
                                  prediction[j], s, got, rate);
                }
            }
        }
}
END_TEST

/* Data of variance v: the noise in x is sigma x / m^2 with m^2 = alpha^2 v + sigma^2, and the flow takes y's deviation m/n along.  */
START_TEST(gaussian)
{
    const double v = 0.3, h = 1e-5;
    for (size_t k = 0; k < 6; k++) {
        dfoi_diffusion d = diffusion_of(schedule[k], "noise", "simple");
        for (double s = 0.05; s < 1; s += 0.09) {
            dfoi_diffusion_point p = dfoi_diffusion_at(&d, s);
            double log_size[2], m2 = p.at.alpha * p.at.alpha * v + p.at.sigma * p.at.sigma;
            for (int side = 0; side < 2; side++) {
                dfoi_diffusion_point at = dfoi_diffusion_at(&d, side ? s + h : s - h);
                log_size[side] = log(sqrt(at.at.alpha * at.at.alpha * v + at.at.sigma * at.at.sigma) / at.n);
            }
            double rate = (log_size[1] - log_size[0]) / (2 * h), got = p.a + p.b * p.at.sigma * p.n / m2;
            ck_assert_msg(fabs(got - rate) < 1e-7 * (fabs(p.a) + fabs(p.b) + 1), "%s at %g: %.12g, expected %.12g", schedule[k], s, got, rate);
        }
    }
}
END_TEST

/* Weights: of min-snr, and that the likelihood's is the same error of the score whatever the net says.  */
START_TEST(weights)
{
    for (size_t j = 0; j < 4; j++) {
        dfoi_diffusion d = diffusion_of("vp", prediction[j], "likelihood"), other = diffusion_of("vp", "noise", "likelihood");
        dfoi_diffusion low = diffusion_of("vp", prediction[j], "min-snr");
        for (double s = 0.1; s < 1; s += 0.2) {
            dfoi_diffusion_point p = dfoi_diffusion_at(&d, s), q = dfoi_diffusion_at(&other, s);
            /* an error u of this net is one of p.b / q.b u of the noise's */
            double by = p.b / q.b * p.b / q.b, snr = p.at.alpha * p.at.alpha / (p.at.sigma * p.at.sigma);
            ck_assert(fabs(dfoi_diffusion_weight(&d, &p) / (by * q.at.g2 / (2 * q.at.sigma * q.at.sigma) * (1 - d.first)) - 1) < 1e-12);
            ck_assert(fabs(dfoi_diffusion_weight(&low, &p) / (by * fmin(snr, 5) / snr) - 1) < 1e-12);
        }
    }
}
END_TEST

/* The likelihood's loss is one number however times are drawn: of data of variance v the error of what finds the noise is alpha^2 v /
 * (alpha^2 v + sigma^2), whose integral over half the log-SNR l is log(1 + v exp(l)) / 2.  */
START_TEST(likelihood_by_any_times)
{
    enum { N = 20000 };
    const double v = 0.3;
    static const char *const spread[] = {"time", "log-snr"};
    for (size_t k = 0; k < 12; k++) {
        dfoi_diffusion d = diffusion_of(schedule[k / 2], prediction[k % 4], "likelihood");
        double sum = 0, squares = 0;
        d.spread = k % 2 ? DFOI_SPREAD_LOG_SNR : DFOI_SPREAD_TIME;
        for (size_t i = 0; i < N; i++) {
            dfo_key key = {.seed = test_seed(), .row = i, .purpose = DFO_FOR_TIME};
            dfoi_diffusion_point p = dfoi_diffusion_at(&d, dfoi_diffusion_draw(&d, key));
            double a2 = p.at.alpha * p.at.alpha, of_net = dfoi_diffusion_of_net(&d, &p);
            double x = dfoi_diffusion_weight(&d, &p) * a2 * v / (a2 * v + p.at.sigma * p.at.sigma) / (of_net * of_net);
            sum += x / N;
            squares += x * x / N;
        }
        double want = (log1p(v * exp(d.first_snr)) - log1p(v * exp(d.noisy_snr))) / 2, error = sqrt(fmax(0, squares - sum * sum) / N);
        ck_assert_msg(fabs(sum - want) < 5 * error + 1e-9, "%s, times by %s: %g +- %g, expected %g", schedule[k / 2], spread[k % 2], sum, error, want);
    }
}
END_TEST

/* The cosine's noise end, at which rounding may leave less than no data, is where the log-SNR is -14.  */
START_TEST(cosines)
{
    for (int k = 0; k < 1000; k++) {
        dfo_ctx *ctx;
        dfoi_diffusion d;
        json_t *config = json_pack("{s:s, s:f}", "schedule", "cosine", "s", 0.001 * k);
        ck_assert_int_eq(dfo_ctx_new(&ctx), DFO_OK);
        ck_assert_msg(dfoi_diffusion_read(ctx, config, &d) == DFO_OK, "%s", dfo_ctx_error(ctx));
        ck_assert_msg(fabs(d.noisy_snr + 14) < 1e-6 && d.noisy < 1 && d.noisy > 0.99, "s = %g: log-SNR %g at %g", 0.001 * k, d.noisy_snr, d.noisy);
        json_decref(config);
        dfo_ctx_free(ctx);
    }
}
END_TEST

/* Places to train at: uniform in time, so that half of them are noisier than the middle's.  */
START_TEST(places)
{
    enum { N = 4000 };
    dfoi_diffusion d = diffusion_of("vp", "noise", "simple");
    size_t later = 0;
    for (size_t i = 0; i < N; i++) {
        dfo_key key = {.seed = test_seed(), .row = i, .purpose = DFO_FOR_TIME};
        double s = dfoi_diffusion_draw(&d, key), t = dfoi_diffusion_at(&d, s).at.t;
        ck_assert(s >= 0 && s <= 1 && t >= 0.01 - 1e-12 && t <= 1);
        later += t > 0.505;
    }
    ck_assert_msg(fabs((double)later - N / 2) < 5 * sqrt(N) / 2, "%zu of %d", later, N);
}
END_TEST

/* With times, their multiples, the last one too.  */
START_TEST(times)
{
    dfoi_diffusion d = diffusion_of("vp", "noise", "simple");
    d.times = 4;
    size_t found[5] = {0};
    for (size_t i = 0; i < 400; i++) {
        dfo_key key = {.seed = test_seed(), .row = i, .purpose = DFO_FOR_TIME};
        double t = 4 * dfoi_diffusion_at(&d, dfoi_diffusion_draw(&d, key)).at.t;
        ck_assert_msg(fabs(t - rint(t)) < 1e-6 && t > 0.5 && t < 4.5, "a time of %g quarters", t);
        found[(size_t)rint(t)]++;
    }
    for (size_t k = 1; k <= 4; k++)
        ck_assert_msg(found[k] > 50, "%zu quarters: %zu of 400", k, found[k]);
}
END_TEST

/* The layer: there and back, log-dets that cancel, gradients of rows and of a weight against differences, exact and with probes, for every way
 * of gradients.  */
START_TEST(layer)
{
    enum { N = 3, D = 2 };
    static const char *const gradient[] = {"stored", "checkpoint", "reversible"};
    test_rng rng = test_rng_new(test_seed());
    double x[N * D], seed[N * D] = {0}, ones[N] = {1, 1, 1}, gx[N * D], slopes[N * D + 1], z[N * D], back[N * D], ld[N], other[N];
    for (size_t i = 0; i < N * D; i++)
        x[i] = (double)(dfo_real)test_rng_normal(&rng);
    for (int k = 0; k < 12; k++) {
        size_t count;
        layerfix f = layerfix_new(json_pack("{s:s, s:s, s:i, s:b, s:i, s:s, s:{s:s, s:s, s:f}, s:{s:s, s:[i], s:s}}", "type", "cnf", "solver", "pd87",
                                            "steps", 60, "zero_init", 0, "probes", k % 2 * 2, "gradient", gradient[k % 3], "diffusion", "schedule",
                                            schedule[k % 6], "prediction", prediction[k / 3], "first", 0.1, "net", "type", "concatsquash", "hidden",
                                            7, "activation", "tanh"), dfo_shape_vector(D), 0, N);
        f.t->run.saved = NULL;
        ck_assert_int_eq(layerfix_forward(&f, N, x, NULL, z, ld), DFO_OK);
        ck_assert_int_eq(layerfix_inverse(&f, N, z, NULL, back, other), DFO_OK);
        for (size_t i = 0; i < N * D; i++)
            ck_assert_msg(fabs(back[i] - x[i]) < 1e-2, "%s, %s: %g came back as %g", schedule[k % 6], prediction[k / 3], x[i], back[i]);
        for (size_t i = 0; i < N; i++)
            ck_assert(fabs(ld[i] + other[i]) < 1e-2);
        layerfix_free(&f);
        f = layerfix_new(json_pack("{s:s, s:s, s:i, s:b, s:i, s:s, s:{s:s, s:s, s:f}, s:{s:s, s:[i], s:s}}", "type", "cnf", "solver", "rk4", "steps",
                                   4, "zero_init", 0, "probes", k % 2 * 2, "gradient", gradient[k % 3], "diffusion", "schedule", schedule[k % 6],
                                   "prediction", prediction[k / 3], "first", 0.4, "net", "type", "concatsquash", "hidden", 7, "activation", "tanh"),
                         dfo_shape_vector(D), 0, N);
        dfo_real *w = layerfix_array(&f, "net.w1", &count);
        f.t->run.mode = DFO_TRAIN;
        ck_assert_int_eq(layerfix_grads(&f, 0, N, x, NULL, seed, ones, gx, NULL, NULL), DFO_OK);
        double of_weight = (double)layerfix_grad(&f, "net.w1")[3], h = IS_DOUBLE ? 1e-5 : 1e-2, allowed = IS_DOUBLE ? 1e-6 : 2e-2;
        layerfix_slopes(N * D, x, w + 3, h, layerfix_logdets, &(layerfix_rows){&f, N, x}, slopes);
        for (size_t j = 0; j <= N * D; j++) {
            double slope = slopes[j], got = j < N * D ? gx[j] : of_weight;
            ck_assert_msg(fabs(slope - got) < allowed * fmax(1, fabs(slope)), "%s, %s, %s, %zu: %.9g, differences %.9g", schedule[k % 6],
                          prediction[k / 3], gradient[k % 3], j, got, slope);
        }
        layerfix_free(&f);
    }
}
END_TEST

/* Guidance: the log-det over a short step of Euler's is affine in w, that of w = 1 the plain one, that of w = 0 the one without a
 * condition; gradients of rows against differences.  */
START_TEST(guidance)
{
    enum { N = 3, D = 2, C = 2 };
    static const double weight[] = {1, 0, 2.5, 1};
    test_rng rng = test_rng_new(test_seed());
    double x[N * D], cond[N * C], none[N * C] = {0}, seed[N * D] = {0}, ones[N] = {1, 1, 1}, gx[N * D], z[N * D], ld[4][N], sum[2];
    for (size_t i = 0; i < N * D; i++) {
        x[i] = (double)(dfo_real)test_rng_normal(&rng);
        cond[i] = (double)(dfo_real)test_rng_normal(&rng);
    }
    for (int probes = 0; probes < 3; probes += 2) {
        layerfix f = layerfix_new(json_pack("{s:s, s:s, s:i, s:b, s:i, s:{s:s, s:f}, s:{s:s, s:i, s:i}}", "type", "cnf", "solver", "euler", "steps", 1,
                                            "zero_init", 0, "probes", probes, "diffusion", "prediction", "velocity", "first", 0.4, "net", "type",
                                            "time-mlp", "hidden", 9, "layers", 1), dfo_shape_vector(D), C, N);
        struct dfoi_cnf *c = f.bij->state;
        f.t->run.mode = DFO_TRAIN;             /* with probes */
        for (size_t k = 0; k < 4; k++) {
            c->guidance = weight[k];
            ck_assert_int_eq(layerfix_forward(&f, N, x, k == 3 ? none : cond, z, ld[k]), DFO_OK);
        }
        double moved = 0;                      /* of all rows: one may be where guidance changes next to nothing */
        for (size_t i = 0; i < N; i++) {
            double want = 2.5 * ld[0][i] - 1.5 * ld[1][i];
            ck_assert_msg(fabs(ld[1][i] - ld[3][i]) < (IS_DOUBLE ? 1e-13 : 1e-5) && fabs(ld[2][i] - want) < (IS_DOUBLE ? 1e-12 : 1e-4),
                          "%g without, guided by 0 %g; %g, expected %g", ld[3][i], ld[1][i], ld[2][i], want);
            moved = fmax(moved, fabs(ld[2][i] - ld[0][i]));
        }
        ck_assert(moved > 1e-6);
        c->guidance = 2.5;
        ck_assert_int_eq(layerfix_grads(&f, 0, N, x, cond, seed, ones, gx, NULL, NULL), DFO_OK);
        for (size_t j = 0; j < N * D; j++) {
            double at = x[j], h = IS_DOUBLE ? 1e-5 : 1e-2, allowed = IS_DOUBLE ? 1e-6 : 2e-2;
            for (int side = 0; side < 2; side++) {
                x[j] = (double)(dfo_real)(at + (side ? h : -h));
                ck_assert_int_eq(layerfix_forward(&f, N, x, cond, z, ld[0]), DFO_OK);
                sum[side] = ld[0][0] + ld[0][1] + ld[0][2];
            }
            x[j] = at;
            double slope = (sum[1] - sum[0]) / ((double)(dfo_real)(at + h) - (double)(dfo_real)(at - h));
            ck_assert_msg(fabs(slope - gx[j]) < allowed * fmax(1, fabs(slope)), "%zu: %.9g, differences %.9g", j, gx[j], slope);
        }
        layerfix_free(&f);
    }
}
END_TEST

/* Training's places: even over the way, which is one of the log-SNR, if that is asked for; else mostly near noise.  The layer tells it on.  */
START_TEST(spread)
{
    enum { N = 4000 };
    for (size_t k = 0; k < 6; k++) {
        dfoi_diffusion d = diffusion_of(schedule[k], "velocity", "simple");
        ck_assert_int_eq(d.spread, DFOI_SPREAD_TIME);
        d.spread = DFOI_SPREAD_LOG_SNR;
        double mean = 0, square = 0;
        dfo_key key = {.seed = test_seed(), .purpose = DFO_FOR_TIME};
        for (; key.row < N; key.row++) {
            double s = dfoi_diffusion_draw(&d, key);
            ck_assert(s > 0 && s < 1);
            mean += s / N;
            square += s * s / N;
        }
        ck_assert_msg(fabs(mean - 0.5) < 5 * sqrt(1. / 12 / N), "%s: mean place %g", schedule[k], mean);
        ck_assert_msg(fabs(square - 1. / 3) < 5 * sqrt(4. / 45 / N), "%s: mean square %g", schedule[k], square);
    }
    layerfix f = layerfix_new(json_pack("{s:s, s:{s:s, s:i}, s:{s:s}}", "type", "cnf", "net", "type", "time-mlp", "hidden", 4, "diffusion", "spread",
                                        "log-snr"), dfo_shape_vector(2), 0, 1);
    json_t *said = json_object();
    ck_assert_int_eq(dfo_bijector_describe(f.bij, said), DFO_OK);
    ck_assert_str_eq(json_string_value(json_object_get(json_object_get(said, "diffusion"), "spread")), "log-snr");
    json_decref(said);
    layerfix_free(&f);
}
END_TEST

START_TEST(refused)
{
    char text[512];
    static const struct { const char *config, *words; } bad[] = {
        {"{\"type\":\"cnf\",\"diffusion\":{\"schedule\":\"vpp\"}}", "vpp"},
        {"{\"type\":\"cnf\",\"diffusion\":{\"schedule\":\"flow-matching\"}}", "flow-matching"},
        {"{\"type\":\"cnf\",\"diffusion\":{\"prediction\":\"score\"}}", "expected noise, data, velocity or edm, got score"},
        {"{\"type\":\"cnf\",\"diffusion\":{\"weighting\":\"none\"}}", "expected simple, likelihood or min-snr, got none"},
        {"{\"type\":\"cnf\",\"diffusion\":{\"first\":0}}", "first"},
        {"{\"type\":\"cnf\",\"diffusion\":{\"beta_min\":30}}", "beta_max"},
        {"{\"type\":\"cnf\",\"diffusion\":{\"beta\":30}}", "unknown key 'beta'"},
        {"{\"type\":\"cnf\",\"diffusion\":{\"schedule\":\"edm\",\"times\":10}}", "times"},
        {"{\"type\":\"cnf\",\"diffusion\":{\"spread\":\"sigma\"}}", "expected time or log-snr, got sigma"},
        {"{\"type\":\"cnf\",\"diffusion\":{\"spread\":\"log-snr\",\"times\":10}}", "goes with times of 0"},
        {"{\"type\":\"cnf\",\"kinetic\":1,\"diffusion\":{}}", "kinetic"},
        {"{\"type\":\"cnf\",\"end\":2,\"diffusion\":{}}", "ends at 1"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ck_assert_int_ne(layerfix_try(bad[i].config, dfo_shape_vector(2), text, sizeof text), DFO_OK);
        ck_assert_msg(strstr(text, bad[i].words) != NULL, "%s", text);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("diffusion " DFO_REAL_NAME);
    TCase *t = tcase_create("diffusion");
    tcase_set_timeout(t, 60);
    tcase_add_test(t, targets);
    tcase_add_test(t, gaussian);
    tcase_add_test(t, weights);
    tcase_add_test(t, likelihood_by_any_times);
    tcase_add_test(t, cosines);
    tcase_add_test(t, places);
    tcase_add_test(t, times);
    tcase_add_test(t, layer);
    tcase_add_test(t, guidance);
    tcase_add_test(t, spread);
    tcase_add_test(t, refused);
    suite_add_tcase(suite, t);
    return test_run(suite);
}

/* The exact trace of nets with a time, time-mlp's, against a pass with tangents for every feature.  */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/ctx_impl.h"
#include "netcase.h"

#define OK(c, call) ck_assert_msg((call) == DFO_OK, "%s: %s: %s", netcase_text(c), #call, (c)->t->run.text)

/* Of 0 to 4 layers, rows at times of their own, now and then dropped units: the values are forward's, the trace is what passes with
 * tangents find feature by feature.  */
START_TEST(traces_are_passes)
{
    static const char *const act[] = {"silu", "tanh", "relu", "gelu"};
    test_rng rng = test_rng_new(test_seed());
    for (size_t layers = 0; layers < 5; layers++) {
        size_t d = test_rng_between(&rng, 1, test_rng_between(&rng, 0, 3) ? 8 : 70), n = test_rng_between(&rng, 1, DFO_NET_ROWS);
        const dfo_shape shape[] = {dfo_shape_vector(d), {2, 1, 1}, {1, 1, 1}};
        double *trace, *want, *size;
        char text[200];
        netcase c;
        snprintf(text, sizeof text, "{\"type\":\"time-mlp\",\"hidden\":%zu,\"layers\":%zu,\"activation\":\"%s\",\"embedding\":5,\"dropout\":0.3,"
                 "\"inject\":\"%s\"}", test_rng_between(&rng, 1, 150), layers, act[test_rng_between(&rng, 0, 3)],
                 test_rng_between(&rng, 0, 1) ? "first" : "layers");
        netcase_of(&c, test_seed() + layers, text, n, 3, shape, dfo_shape_vector(d));
        dfo_run *run = &c.t->run;
        run->mode = test_rng_between(&rng, 0, 1) ? DFO_TRAIN : DFO_EVALUATE;
        dfo_block out = netcase_block(&c, 0), again = netcase_block(&c, 0), dout = netcase_block(&c, 0);
        dfo_cond din = netcase_cond(&c, 0, 1);
        dfo_real *kept;
        OK(&c, dfoi_alloc(c.ctx, dfo_net_trace_size(c.net), sizeof *kept, &kept));
        OK(&c, dfoi_alloc(c.ctx, n, sizeof *trace, &trace));
        OK(&c, dfoi_alloc(c.ctx, n, sizeof *want, &want));
        OK(&c, dfoi_alloc(c.ctx, n, sizeof *size, &size));
        ck_assert_msg(c.net->ops->trace_alone && dfo_net_trace_size(c.net), "%s", netcase_text(&c));
        OK(&c, dfo_net_trace_begin(c.net, run, 0, kept));
        OK(&c, dfo_net_trace(c.net, run, &c.in, kept, out, trace));
        OK(&c, dfo_net_forward(c.net, run, &c.in, again, NULL));
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j < d; j++)
                ck_assert_msg(memcmp(netcase_at(out, i, j), netcase_at(again, i, j), sizeof *out.x) == 0, "%s: row %zu, feature %zu: other values",
                              netcase_text(&c), i, j);
        for (size_t i = 0; i < n; i++)
            want[i] = size[i] = 0;
        for (size_t j = 0; j < d; j++) {
            for (size_t i = 0; i < n; i++)
                for (size_t e = 0; e < d; e++)
                    dfo_row(din.part[0].rows, i)[e] = e == j;
            OK(&c, dfo_net_jvp(c.net, run, &c.in, &din, again, dout, NULL));
            for (size_t i = 0; i < n; i++) {
                want[i] += (double)*netcase_at(dout, i, j);
                for (size_t e = 0; e < d; e++)
                    size[i] += fabs((double)*netcase_at(dout, i, e));
            }
        }
        for (size_t i = 0; i < n; i++)
            ck_assert_msg(fabs(trace[i] - want[i]) <= 200 * DFO_REAL_EPS * (1 + size[i]), "%s: row %zu: %.12g, by passes %.12g", netcase_text(&c), i,
                          trace[i], want[i]);
        netcase_cond_free(&c, &din);
        void *const memory[] = {out.x, again.x, dout.x, kept, trace, want, size};
        for (size_t k = 0; k < sizeof memory / sizeof *memory; k++)
            dfoi_free(c.ctx, memory[k]);
        netcase_free(&c);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("exact traces of nets with a time " DFO_REAL_NAME);
    TCase *all = tcase_create("trace");
    tcase_set_timeout(all, 60);
    tcase_add_test(all, traces_are_passes);
    suite_add_tcase(suite, all);
    return test_run(suite);
}

/* Latents files: what was written is read again, rows held in double in double; what no such file may hold is
 * refused; refused memory leaves nothing.  */
#include <check.h>
#include <jansson.h>
#include <string.h>
#include <unistd.h>

#include <diffeo/latents.h>
#include "base/ctx_impl.h"
#include "data/safetensors_impl.h"
#include "oom.h"
#include "util.h"

#define ROWS 50
#define D 2

static const uint64_t held[] = {0, 7, 8, 49};
static double         held_z[4 * D];

static dfo_real value(size_t row, size_t k)
{
    return (dfo_real)(1.0 / (double)(3 + row * D + k));
}

static dfo_status make(dfo_ctx *ctx, dfo_model **out)
{
    json_t *config = json_pack("{s:s, s:i, s:i}", "flow", "nice", "layers", 1, "hidden", 4);
    *out = NULL;
    if (!config)
        return dfoi_fail(ctx, DFO_EMEM, "out of memory: configuration");
    dfo_status status = dfo_model_new(ctx, config, dfo_shape_vector(D), 0, 1, out);
    json_decref(config);
    return status;
}

static dfo_status write_file(dfo_model *model, const char *path, const dfo_latents_exact *exact)
{
    dfo_status status;
    dfo_latents_writer *w = NULL;
    dfo_real z[ROWS * D];
    for (size_t i = 0; i < ROWS * D; i++)
        z[i] = value(i / D, i % D);
    DFO_GO(dfo_latents_create(model, path, ROWS, 9, exact, &w));
    DFO_GO(dfo_latents_write(w, dfo_batch_of(z, 20, D)));
    DFO_GO(dfo_latents_write(w, dfo_batch_of(z + 20 * D, ROWS - 20, D)));
    DFO_GO(dfo_latents_finish(w));
fail:
    dfo_latents_writer_free(w);
    return status;
}

static dfo_latents_exact some(size_t n)
{
    for (size_t i = 0; i < 4 * D; i++)
        held_z[i] = 1.0 / (double)(1000 + i);
    return (dfo_latents_exact){n, held, held_z};
}

START_TEST(round_trip)
{
    dfo_ctx *ctx;
    dfo_model *model;
    dfo_latents *l;
    char hash[17];
    const char *path = test_tmp_file("z.safetensors");
    dfo_latents_exact exact = some((size_t)_i);
    ck_assert_int_eq(dfo_ctx_new(&ctx), DFO_OK);
    ck_assert_msg(make(ctx, &model) == DFO_OK, "%s", dfo_ctx_error(ctx));
    ck_assert_int_eq(dfo_model_hash(model, hash), DFO_OK);
    ck_assert_msg(write_file(model, path, _i ? &exact : NULL) == DFO_OK, "%s", dfo_ctx_error(ctx));
    ck_assert_msg(dfo_latents_open(ctx, path, &l) == DFO_OK && l, "%s", dfo_ctx_error(ctx));
    ck_assert_uint_eq(dfo_latents_rows(l), ROWS);
    ck_assert_uint_eq(dfo_latents_features(l), D);
    ck_assert_uint_eq(dfo_latents_seed(l), 9);
    ck_assert_str_eq(dfo_latents_model(l), hash);
    ck_assert_str_eq(dfo_latents_precision(l), sizeof(dfo_real) == 4 ? "float" : "double");
    ck_assert_uint_eq(dfo_latents_exacts(l), (size_t)_i);
    for (size_t i = 0; i < (size_t)_i; i++)
        ck_assert_uint_eq(dfo_latents_exact_row(l, i), held[i]);
    for (size_t first = 0; first < ROWS; first += 3)
        for (size_t n = 1; n <= 11 && first + n <= ROWS; n++) {
            dfo_real z[11 * D];
            ck_assert_int_eq(dfo_latents_read(l, first, dfo_batch_of(z, n, D)), DFO_OK);
            for (size_t i = 0; i < n * D; i++) {
                dfo_real expected = value(first + i / D, i % D);
                for (size_t h = 0; h < (size_t)_i && sizeof(dfo_real) == sizeof(double); h++)
                    if (held[h] == first + i / D)
                        expected = (dfo_real)held_z[h * D + i % D];
                ck_assert_msg(z[i] == expected, "rows %zu+%zu: %g, expected %g", first, n, (double)z[i],
                              (double)expected);
            }
        }
    dfo_real z[2 * D];
    ck_assert_int_eq(dfo_latents_read(l, ROWS - 1, dfo_batch_of(z, 2, D)), DFO_ESHAPE);
    dfo_latents_free(l);
    dfo_model_free(model);
    ck_assert_uint_eq(dfo_ctx_bytes(ctx), 0);
    dfo_ctx_free(ctx);
}
END_TEST

START_TEST(wrong_rows)
{
    static const uint64_t far[] = {3, ROWS}, twice[] = {3, 3}, falling[] = {3, 2};
    const uint64_t *const rows[] = {far, twice, falling};
    dfo_ctx *ctx;
    dfo_model *model;
    const char *path = test_tmp_file("no.safetensors");
    dfo_latents_exact exact = some(2);
    ck_assert_int_eq(dfo_ctx_new(&ctx), DFO_OK);
    ck_assert_int_eq(make(ctx, &model), DFO_OK);
    exact.row = rows[_i];
    ck_assert_int_eq(write_file(model, path, &exact), DFO_EARG);
    ck_assert_ptr_nonnull(strstr(dfo_ctx_error(ctx), "expected rising rows below 50"));
    ck_assert_int_ne(access(path, F_OK), 0);
    dfo_model_free(model);
    ck_assert_uint_eq(dfo_ctx_bytes(ctx), 0);
    dfo_ctx_free(ctx);
}
END_TEST

/* Two continuous layers, solved alike but for a tolerance.  */
static dfo_status make_continuous(dfo_ctx *ctx, dfo_model **out)
{
    json_t *config = json_loads("{\"flow\":\"custom\",\"bijector\":{\"type\":\"chain\",\"layers\":["
                                "{\"type\":\"cnf\",\"net\":{\"type\":\"concatsquash\",\"hidden\":[4]},\"rtol\":1e-4},"
                                "{\"type\":\"cnf\",\"net\":{\"type\":\"concatsquash\",\"hidden\":[4]},\"rtol\":1e-3}]}}", 0, NULL);
    *out = NULL;
    if (!config)
        return dfoi_fail(ctx, DFO_EMEM, "out of memory: configuration");
    dfo_status status = dfo_model_new(ctx, config, dfo_shape_vector(D), 0, 1, out);
    json_decref(config);
    return status;
}

/* What the layers agree on is written, as they are solved; what they do not is left to them.  */
START_TEST(solver)
{
    dfo_ctx *ctx;
    dfo_model *model;
    dfo_latents *l;
    dfo_solver_options o;
    char hash[17];
    const char *path = test_tmp_file("solved.safetensors");
    ck_assert_int_eq(dfo_ctx_new(&ctx), DFO_OK);
    ck_assert_msg(make_continuous(ctx, &model) == DFO_OK, "%s", dfo_ctx_error(ctx));
    ck_assert_int_eq(dfo_model_hash(model, hash), DFO_OK);
    for (int given = 0; given < 3; given++) {
        if (given == 1)
            ck_assert_int_eq(dfo_model_set_solver(model, &(dfo_solver_options){"rk4", 64, DFO_AS_IT_IS, -1, 1e-7}), DFO_OK);
        if (given == 2)
            ck_assert_int_eq(dfo_model_set_solver(model, &(dfo_solver_options){NULL, 0, 3, 0.1, -1}), DFO_EARG);
        if (given == 2)
            ck_assert_int_eq(dfo_model_set_solver(model, &(dfo_solver_options){"tsit5", 0, 3, 0.1, -1}), DFO_OK);
        ck_assert_msg(write_file(model, path, NULL) == DFO_OK, "%s", dfo_ctx_error(ctx));
        ck_assert_msg(dfo_latents_open(ctx, path, &l) == DFO_OK && l, "%s", dfo_ctx_error(ctx));
        ck_assert_str_eq(dfo_latents_model(l), hash);
        ck_assert_int_eq(dfo_latents_solver(l, &o), 1);
        ck_assert_str_eq(o.method, given == 0 ? "dopri5" : given == 1 ? "rk4" : "tsit5");
        ck_assert_uint_eq(o.steps, given == 1 ? 64 : 0);
        ck_assert(o.rtol == (given == 2 ? 0.1 : -1) && o.atol == (given ? 1e-7 : 1e-5));
        ck_assert_uint_eq(o.probes, DFO_AS_IT_IS);
        dfo_latents_free(l);
    }
    dfo_model_free(model);
    ck_assert_msg(make(ctx, &model) == DFO_OK && write_file(model, path, NULL) == DFO_OK, "%s", dfo_ctx_error(ctx));
    ck_assert_msg(dfo_latents_open(ctx, path, &l) == DFO_OK && l, "%s", dfo_ctx_error(ctx));
    ck_assert_int_eq(dfo_latents_solver(l, &o), 0);
    ck_assert(!o.method && o.steps == DFO_AS_IT_IS && o.rtol < 0 && o.atol < 0);
    dfo_latents_free(l);
    dfo_model_free(model);
    ck_assert_uint_eq(dfo_ctx_bytes(ctx), 0);
    dfo_ctx_free(ctx);
}
END_TEST

/* Files that nobody but a stranger writes.  */
static const struct {
    dfoi_dtype  type;
    size_t      ndim, rows[2], ndim_z, z[2];
    uint64_t    row[2];
    const char *says;
} strange[] = {
    {DFOI_U64, 1, {2, 0}, 2, {2, D}, {3, 9}, NULL},
    {DFOI_U64, 1, {2, 0}, 2, {2, D}, {3, 1000}, "1000 at 1"},
    {DFOI_U64, 1, {2, 0}, 2, {2, D}, {3, 3}, "3 at 1"},
    {DFOI_U64, 1, {2, 0}, 2, {2, D}, {UINT64_MAX, 3}, "18446744073709551615 at 0"},
    {DFOI_F64, 1, {2, 0}, 2, {2, D}, {3, 9}, "expected arrays 'exact_rows'"},
    {DFOI_U64, 1, {2, 0}, 2, {1, D}, {3, 9}, "expected arrays 'exact_rows'"},
    {DFOI_U64, 1, {2, 0}, 2, {2, D + 1}, {3, 9}, "expected arrays 'exact_rows'"},
    {DFOI_U64, 1, {2, 0}, 1, {2, 0}, {3, 9}, "expected arrays 'exact_rows'"},
    {DFOI_U64, 2, {2, 1}, 2, {2, D}, {3, 9}, "expected arrays 'exact_rows'"},
    {DFOI_U64, 1, {2, 0}, 0, {0, 0}, {3, 9}, "expected arrays 'exact_rows'"},
};

START_TEST(strange_files)
{
    static const char zeros[1024];
    dfo_ctx *ctx;
    dfoi_tensors_writer *w;
    dfo_latents *l;
    const char *path = test_tmp_file("strange.safetensors");
    size_t shape[2] = {10, D}, z_bytes = sizeof(double);
    ck_assert_int_eq(dfo_ctx_new(&ctx), DFO_OK);
    ck_assert_int_eq(dfoi_tensors_create(ctx, path, &w), DFO_OK);
    ck_assert_int_eq(dfoi_tensors_meta(w, "diffeo_latents",
                                       "{\"format\":1,\"kind\":\"flow\",\"model\":\"x\",\"seed\":1,\"precision\":\"float\"}"), DFO_OK);
    ck_assert_int_eq(dfoi_tensors_declare(w, "z", DFOI_F32, 2, shape), DFO_OK);
    ck_assert_int_eq(dfoi_tensors_declare(w, "exact_rows", strange[_i].type, strange[_i].ndim, strange[_i].rows), DFO_OK);
    for (size_t k = 0; k < strange[_i].ndim_z; k++)
        z_bytes *= strange[_i].z[k];
    if (strange[_i].ndim_z)
        ck_assert_int_eq(dfoi_tensors_declare(w, "exact_z", DFOI_F64, strange[_i].ndim_z, strange[_i].z), DFO_OK);
    ck_assert_int_eq(dfoi_tensors_begin(w), DFO_OK);
    ck_assert_int_eq(dfoi_tensors_write(w, zeros, 10 * D * sizeof(float)), DFO_OK);
    ck_assert_int_eq(dfoi_tensors_write(w, strange[_i].row, sizeof strange[_i].row), DFO_OK);
    if (strange[_i].ndim_z)
        ck_assert_int_eq(dfoi_tensors_write(w, zeros, z_bytes), DFO_OK);
    ck_assert_int_eq(dfoi_tensors_finish(w), DFO_OK);
    dfoi_tensors_writer_free(w);
    dfo_status status = dfo_latents_open(ctx, path, &l);
    if (strange[_i].says) {
        ck_assert_int_eq(status, DFO_EFORMAT);
        ck_assert_ptr_null(l);
        ck_assert_msg(strstr(dfo_ctx_error(ctx), strange[_i].says) != NULL, "%s", dfo_ctx_error(ctx));
    } else {
        ck_assert_msg(status == DFO_OK, "%s", dfo_ctx_error(ctx));
        ck_assert_uint_eq(dfo_latents_exacts(l), 2);
    }
    dfo_latents_free(l);
    ck_assert_uint_eq(dfo_ctx_bytes(ctx), 0);
    dfo_ctx_free(ctx);
}
END_TEST

static const struct {
    const char *solver, *says;
} strange_solvers[] = {
    {"{}", NULL},
    {"{\"steps\":-1}", "steps"},
    {"{\"steps\":1099511627776}", "steps"},
    {"{\"rtol\":2}", "rtol"},
    {"{\"atol\":-1}", "atol"},
    {"{\"method\":4}", "method"},
    {"{\"stages\":4}", "stages"},
    {"7", "expected an object"},
};

START_TEST(strange_solver)
{
    static const char zeros[10 * D * sizeof(float)];
    dfo_ctx *ctx;
    dfoi_tensors_writer *w;
    dfo_latents *l;
    char meta[200];
    const char *path = test_tmp_file("strange.safetensors");
    size_t shape[2] = {10, D};
    snprintf(meta, sizeof meta, "{\"format\":1,\"kind\":\"flow\",\"model\":\"x\",\"seed\":1,\"precision\":\"float\",\"solver\":%s}",
             strange_solvers[_i].solver);
    ck_assert_int_eq(dfo_ctx_new(&ctx), DFO_OK);
    ck_assert_int_eq(dfoi_tensors_create(ctx, path, &w), DFO_OK);
    ck_assert_int_eq(dfoi_tensors_meta(w, "diffeo_latents", meta), DFO_OK);
    ck_assert_int_eq(dfoi_tensors_declare(w, "z", DFOI_F32, 2, shape), DFO_OK);
    ck_assert_int_eq(dfoi_tensors_begin(w), DFO_OK);
    ck_assert_int_eq(dfoi_tensors_write(w, zeros, sizeof zeros), DFO_OK);
    ck_assert_int_eq(dfoi_tensors_finish(w), DFO_OK);
    dfoi_tensors_writer_free(w);
    dfo_status status = dfo_latents_open(ctx, path, &l);
    ck_assert_int_eq(status != DFO_OK, strange_solvers[_i].says != NULL);
    if (status)
        ck_assert_msg(strstr(dfo_ctx_error(ctx), strange_solvers[_i].says) != NULL, "%s", dfo_ctx_error(ctx));
    dfo_latents_free(l);
    ck_assert_uint_eq(dfo_ctx_bytes(ctx), 0);
    dfo_ctx_free(ctx);
}
END_TEST

static dfo_status work(dfo_ctx *ctx, void *data)
{
    dfo_status status;
    dfo_model *model = NULL;
    dfo_latents *l = NULL;
    dfo_latents_exact exact = some(4);
    DFO_GO(make_continuous(ctx, &model));
    DFO_GO(write_file(model, data, &exact));
    DFO_GO(dfo_latents_open(ctx, data, &l));
fail:
    dfo_latents_free(l);
    dfo_model_free(model);
    return status;
}

START_TEST(memory)
{
    const char *path = test_tmp_file("memory.safetensors");
    ck_assert_uint_ge(oom_check("latents are written and read", OOM_ALL, work, (void *)(uintptr_t)path), 20);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("latents");
    TCase *tcase = tcase_create("latents");
    tcase_set_timeout(tcase, 120);
    tcase_add_loop_test(tcase, round_trip, 0, 5);
    tcase_add_loop_test(tcase, wrong_rows, 0, 3);
    tcase_add_loop_test(tcase, strange_files, 0, sizeof strange / sizeof *strange);
    tcase_add_test(tcase, solver);
    tcase_add_loop_test(tcase, strange_solver, 0, sizeof strange_solvers / sizeof *strange_solvers);
    tcase_add_test(tcase, memory);
    suite_add_tcase(suite, tcase);
    return test_run(suite);
}

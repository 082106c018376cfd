/* Safetensors: round trips, everything hostile a header can say, what Python reads, faults.  */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/ctx_impl.h"
#include "data/safetensors_impl.h"
#include "faults.h"
#include "oom.h"
#include "util.h"

static dfo_ctx *ctx;

static void begin(void)
{
    ck_assert_int_eq(dfo_ctx_new(&ctx), DFO_OK);
}

static void end(void)
{
    ck_assert_uint_eq(dfo_ctx_bytes(ctx), 0);
    dfo_ctx_free(ctx);
}

#define OK(call) ck_assert_msg((call) == DFO_OK, "%s", dfo_ctx_error(ctx))
#define SAYS(part) ck_assert_msg(strstr(dfo_ctx_error(ctx), part), "expected '%s' in '%s'", part, dfo_ctx_error(ctx))

/* Random tensors of every type and shape, written in pieces, read back.  */
START_TEST(round_trip)
{
    test_rng rng = test_rng_new(test_seed() + (uint64_t)_i);
    size_t n = test_rng_between(&rng, 0, 20), bytes[20], shape[20][8], ndim[20];
    unsigned char *data[20];
    dfoi_dtype type[20];
    dfoi_tensors_writer *w;
    char name[20][40];
    const char *path = test_tmp_file("r.safetensors");
    (void)unlink(path);                                  /* of the last turn of the loop */
    OK(dfoi_tensors_create(ctx, path, &w));
    OK(dfoi_tensors_meta(w, "diffeo", "{\"layers\": [1, 2], \"text\": \"\xc3\xa9 \\u00e9 \\\"\"}"));
    OK(dfoi_tensors_meta(w, "empty", ""));
    for (size_t i = 0; i < n; i++) {
        type[i] = (dfoi_dtype)test_rng_between(&rng, 0, DFOI_DTYPES - 1);
        bytes[i] = dfoi_dtype_size(type[i]);
        ndim[i] = test_rng_between(&rng, 0, 3);
        for (size_t j = 0; j < ndim[i]; j++)
            bytes[i] *= shape[i][j] = test_rng_between(&rng, 0, 9);
        snprintf(name[i], sizeof name[i], i % 3 ? "flow.%zu.w" : "\xce\xbb \"%zu\"", i);
        OK(dfoi_tensors_declare(w, name[i], type[i], ndim[i], shape[i]));
        data[i] = malloc(bytes[i] + 1);
        ck_assert_ptr_nonnull(data[i]);
        for (size_t j = 0; j < bytes[i]; j++)
            data[i][j] = (unsigned char)test_rng_next(&rng);
    }
    OK(dfoi_tensors_begin(w));
    for (size_t i = 0; i < n; i++)
        for (size_t at = 0; at < bytes[i];) {
            size_t m = test_rng_between(&rng, 1, bytes[i] - at);
            OK(dfoi_tensors_write(w, data[i] + at, m));
            at += m;
        }
    ck_assert(access(path, F_OK) != 0);
    OK(dfoi_tensors_finish(w));
    dfoi_tensors_writer_free(w);

    size_t m;
    char *file = test_read(path, &m), hash[2][17];
    dfoi_tensors *t[2];
    OK(dfoi_tensors_open(ctx, path, &t[0]));
    OK(dfoi_tensors_memory(ctx, file, m, "block", &t[1]));
    for (int k = 0; k < 2; k++) {
        ck_assert_uint_eq(dfoi_tensors_count(t[k]), n);
        ck_assert_str_eq(dfoi_tensors_metadata(t[k], "diffeo"), "{\"layers\": [1, 2], \"text\": \"\xc3\xa9 \\u00e9 \\\"\"}");
        ck_assert_str_eq(dfoi_tensors_metadata(t[k], "empty"), "");
        ck_assert_ptr_null(dfoi_tensors_metadata(t[k], "other"));
        for (size_t i = 0; i < n; i++) {
            const dfoi_tensor *one = dfoi_tensors_find(t[k], name[i]);
            ck_assert_msg(one != NULL, "seed %llu: %s is missing", (unsigned long long)test_seed(), name[i]);
            ck_assert(one->type == type[i] && one->ndim == ndim[i] && !memcmp(one->shape, shape[i], ndim[i] * sizeof(size_t)));
            ck_assert(one->count * dfoi_dtype_size(type[i]) == bytes[i] && !memcmp(one->data, data[i], bytes[i]));
        }
        ck_assert_ptr_null(dfoi_tensors_find(t[k], "none"));
        ck_assert_ptr_null(dfoi_tensors_at(t[k], n));
        dfoi_tensors_hash(t[k], hash[k]);
        dfoi_tensors_free(t[k]);
    }
    ck_assert_str_eq(hash[0], hash[1]);
    for (size_t i = 0; i < n; i++)
        free(data[i]);
    free(file);
}
END_TEST

/* Header text, then `n` bytes of data.  */
static size_t build(char *to, const char *header, size_t n)
{
    uint64_t length = strlen(header);
    memcpy(to, &length, 8);
    memcpy(to + 8, header, length);
    for (size_t i = 0; i < n; i++)
        to[8 + length + i] = (char)i;
    return 8 + (size_t)length + n;
}

START_TEST(conversions)
{
    static const struct { const char *type; size_t size; const char *bytes; double first; } is[] = {
        {"F32", 4, "\0\0\xc0\x3f\0\0\0\0", 1.5}, {"F64", 8, "\0\0\0\0\0\0\x04\xc0", -2.5}, {"U8", 1, "\xff\x01", 255},
        {"I32", 4, "\xff\xff\xff\xff\0\0\0\0", -1}, {"I64", 8, "\xfe\xff\xff\xff\xff\xff\xff\xff", -2},
        {"U64", 8, "\0\0\0\0\0\0\0\x80", 9223372036854775808.0},
    };
    for (size_t k = 0; k < sizeof is / sizeof *is; k++) {
        char file[400], header[200];
        dfoi_tensors *t;
        double x[2] = {0};
        float f[2] = {0};
        /* one byte in front: whatever follows is not aligned */
        snprintf(header, sizeof header, "{\"p\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
                 "\"x\":{\"dtype\":\"%s\",\"shape\":[1],\"data_offsets\":[1,%zu]}}", is[k].type, 1 + is[k].size);
        size_t n = build(file, header, 1 + is[k].size);
        memcpy(file + n - is[k].size, is[k].bytes, is[k].size);
        OK(dfoi_tensors_memory(ctx, file, n, "block", &t));
        dfoi_tensor_doubles(dfoi_tensors_find(t, "x"), 0, 1, x);
        dfoi_tensor_floats(dfoi_tensors_find(t, "x"), 0, 1, f);
        ck_assert_msg(x[0] == is[k].first && f[0] == (float)is[k].first, "%s: %g", is[k].type, x[0]);
        ck_assert_str_eq(dfoi_dtype_name(dfoi_tensors_find(t, "x")->type), is[k].type);
        dfoi_tensors_free(t);
    }
}
END_TEST

#define T(name, type, shape, from, to) \
    "\"" name "\":{\"dtype\":\"" type "\",\"shape\":[" shape "],\"data_offsets\":[" from "," to "]}"

static const struct {
    const char *header;
    size_t      bytes;
    const char *says;
} bad[] = {
    {"{" T("a", "F32", "2,3", "0", "24") "}", 20, "truncated: tensor 'a' ends at byte 24 of the data, found 20"},
    {"{" T("a", "F32", "2,3", "0", "24") "}", 25, "1 bytes behind the last tensor, expected none"},
    {"{}", 3, "3 bytes behind the last tensor"},
    {"{" T("a", "F32", "2,3", "0", "20") "}", 20, "its shape has 6 elements of 4 bytes, data_offsets give 20 bytes"},
    {"{" T("a", "F32", "2", "0", "8") "," T("b", "F32", "1", "4", "8") "}", 8, "tensor 'b': its data overlap another's"},
    {"{" T("a", "F32", "2", "0", "8") "," T("b", "F32", "2", "0", "8") "}", 8, "its data overlap another's"},
    {"{" T("a", "F32", "1", "0", "4") "," T("b", "F32", "1", "8", "12") "}", 12, "tensor 'b': a hole before its data"},
    {"{" T("a", "F32", "1", "4", "8") "}", 8, "tensor 'a': a hole before its data"},
    {"{" T("a", "F32", "4611686018427387904", "0", "0") "}", 0, "tensor 'a': its shape has 4611686018427387904 elements"},
    {"{" T("a", "F32", "4611686018427387904,4", "0", "0") "}", 0, "promises more elements than can be addressed"},
    {"{" T("a", "U8", "4294967296,4294967296", "0", "0") "}", 0, "promises more elements than can be addressed"},
    {"{" T("a", "F32", "99999999999999999999", "0", "4") "}", 4, "line 1"},
    {"{" T("a", "F32", "-1", "0", "4") "}", 4, "expected sizes of 0 or more"},
    {"{" T("a", "F32", "1.0", "0", "4") "}", 4, "expected sizes of 0 or more"},
    {"{" T("a", "F32", "1", "4", "0") "}", 4, "the smaller first"},
    {"{" T("a", "F32", "1", "-4", "0") "}", 4, "expected data_offsets"},
    {"{" T("a", "F32", "1", "0", "9223372036854775807") "}", 4, "truncated: tensor 'a' ends at byte 9223372036854775807"},
    {"{" T("a", "BF16", "2", "0", "4") "}", 4, "tensor 'a': type BF16, expected F32"},
    {"{" T("a", "F32", "1", "0", "4") "," T("a", "F32", "1", "0", "4") "}", 4, "duplicate"},
    {"{" T("a", "F32", "1,1,1,1,1,1,1,1,1", "0", "4") "}", 4, "9 dimensions, expected at most 8"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, "expected dtype, shape and data_offsets"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"offsets\":[0,4]}}", 4, "expected data_offsets"},
    {"{\"a\":{\"dtype\":7,\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "expected dtype, a string"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":1,\"data_offsets\":[0,4]}}", 4, "expected shape, an array"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4,8]}}", 4, "expected data_offsets"},
    {"{\"a\":7}", 0, "expected dtype, shape and data_offsets"},
    {"{\"__metadata__\":7}", 0, "__metadata__: expected an object of strings"},
    {"{\"__metadata__\":{\"a\":7}}", 0, "__metadata__: 'a': expected a string"},
    {"[]", 0, "expected its header to begin with {"},
    {" {}", 0, "expected its header to begin with {"},
    {"", 0, "expected its header to begin with {"},
    {"{", 0, "line 1"},
    {"{} x", 0, "line 1"},
    {"{\"a\\u0000\":7}", 0, "line 1"},
    {"{\"\xff\":7}", 0, "line 1"},
    {"{\"a\":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[", 0, "nested deeper"},
};

START_TEST(hostile)
{
    char file[2000];
    dfoi_tensors *t;
    const char *path = test_tmp_file("h.safetensors");
    size_t n = build(file, bad[_i].header, bad[_i].bytes), before = dfo_ctx_peak_bytes(ctx);
    test_write(path, file, n);
    for (int k = 0; k < 2; k++) {
        dfo_status status = k ? dfoi_tensors_open(ctx, path, &t) : dfoi_tensors_memory(ctx, file, n, "h.safetensors", &t);
        ck_assert_msg(status == DFO_EFORMAT || status == DFO_EUNSUP, "%s: %s", bad[_i].header, dfo_status_text(status));
        SAYS(bad[_i].says);
        SAYS("h.safetensors");
        ck_assert_ptr_null(t);
    }
    ck_assert(dfo_ctx_peak_bytes(ctx) - before < 200000);
}
END_TEST

START_TEST(lengths)
{
    char file[200] = {0};
    dfoi_tensors *t;
    size_t n = build(file, "{" T("a", "U8", "3", "0", "3") "}  ", 3);
    OK(dfoi_tensors_memory(ctx, file, n, "m", &t));
    dfoi_tensors_free(t);
    OK(dfoi_tensors_memory(ctx, "\2\0\0\0\0\0\0\0{}", 10, "m", &t));
    ck_assert_uint_eq(dfoi_tensors_count(t), 0);
    dfoi_tensors_free(t);
    for (size_t k = 0; k < n; k++) {
        ck_assert_int_eq(dfoi_tensors_memory(ctx, file, k, "m", &t), DFO_EFORMAT);
        SAYS("m: ");
    }
    memset(file, 0xff, 8);
    ck_assert_int_eq(dfoi_tensors_memory(ctx, file, n, "m", &t), DFO_EFORMAT);
    SAYS("m: not a safetensors file: its first 8 bytes promise a header of 18446744073709551615 bytes");
    ck_assert_int_eq(dfoi_tensors_open(ctx, test_tmp_file("none"), &t), DFO_EIO);
    ck_assert_int_eq(dfoi_tensors_open(ctx, test_tmp(), &t), DFO_EIO);
    ck_assert_int_eq(dfoi_tensors_open(ctx, "/dev/null", &t), DFO_EFORMAT);
    SAYS("/dev/null: truncated");
}
END_TEST

START_TEST(writer_refuses)
{
    dfoi_tensors_writer *w;
    const char *path = test_tmp_file("w.safetensors");
    size_t shape[9] = {4, 1, 1, 1, 1, 1, 1, 1, 1}, much[2] = {(size_t)1 << 62, 8};
    OK(dfoi_tensors_create(ctx, path, &w));
    ck_assert_int_eq(dfoi_tensors_meta(w, "k", "latin \xe9"), DFO_EARG);
    SAYS("is not UTF-8");
    ck_assert_int_eq(dfoi_tensors_meta(w, "k", "surrogate \xed\xa0\x80"), DFO_EARG);
    ck_assert_int_eq(dfoi_tensors_meta(w, "k", "overlong \xc0\x80"), DFO_EARG);
    OK(dfoi_tensors_meta(w, "k", "fine \xe2\x82\xac \xf0\x9f\x98\x80"));
    OK(dfoi_tensors_declare(w, "a", DFOI_U8, 1, shape));
    ck_assert_int_eq(dfoi_tensors_declare(w, "a", DFOI_U8, 1, shape), DFO_EARG);
    ck_assert_int_eq(dfoi_tensors_declare(w, "b", DFOI_U8, 9, shape), DFO_EARG);
    ck_assert_int_eq(dfoi_tensors_declare(w, "b", DFOI_U8, 2, much), DFO_EMEM);
    ck_assert_int_eq(dfoi_tensors_declare(w, "__metadata__", DFOI_U8, 1, shape), DFO_EARG);
    ck_assert_int_eq(dfoi_tensors_write(w, "1234", 4), DFO_EARG);
    OK(dfoi_tensors_begin(w));
    ck_assert_int_eq(dfoi_tensors_meta(w, "k", "late"), DFO_EARG);
    ck_assert_int_eq(dfoi_tensors_declare(w, "c", DFOI_U8, 1, shape), DFO_EARG);
    ck_assert_int_eq(dfoi_tensors_write(w, "12345", 5), DFO_EARG);
    SAYS("5 bytes for a tensor that lacks 4");
    OK(dfoi_tensors_write(w, "123", 3));
    ck_assert_int_eq(dfoi_tensors_finish(w), DFO_EARG);
    dfoi_tensors_writer_free(w);
    ck_assert(access(path, F_OK) != 0);
    OK(dfoi_tensors_create(ctx, "/dev/full", &w));
    OK(dfoi_tensors_begin(w));
    ck_assert_int_eq(dfoi_tensors_finish(w), DFO_EIO);
    SAYS("/dev/full: cannot write: No space left on device");
    dfoi_tensors_writer_free(w);
}
END_TEST

/* ---- faults ---- */

static dfo_status write_work(dfo_ctx *c, void *data)
{
    dfoi_tensors_writer *w;
    size_t shape[2] = {3, 2};
    float x[6] = {1, 2, 3, 4, 5, 6};
    dfo_status status;
    DFO_TRY(dfoi_tensors_create(c, data, &w));
    DFO_GO(dfoi_tensors_meta(w, "diffeo", "{}"));
    DFO_GO(dfoi_tensors_declare(w, "a", DFOI_F32, 2, shape));
    DFO_GO(dfoi_tensors_declare(w, "b", DFOI_F32, 1, shape));
    DFO_GO(dfoi_tensors_begin(w));
    DFO_GO(dfoi_tensors_write(w, x, sizeof x));
    DFO_GO(dfoi_tensors_write(w, x, 12));
    DFO_GO(dfoi_tensors_finish(w));
fail:
    dfoi_tensors_writer_free(w);
    return status;
}

static dfo_status read_work(dfo_ctx *c, void *data)
{
    dfoi_tensors *t;
    DFO_TRY(dfoi_tensors_open(c, data, &t));
    dfoi_tensors_free(t);
    return DFO_OK;
}

static void reset(void *data)
{
    test_write(data, "old", 3);
}

static int is_whole(void *data, int killed)
{
    size_t n;
    char *got = test_read(data, &n);
    int fine = (n == 3 && !memcmp(got, "old", 3)) || (n == 192 + 36 && got[n - 1] == 0x40);
    (void)killed;
    free(got);
    return fine;
}

START_TEST(each_fault)
{
    char in[600], out[600];
    snprintf(in, sizeof in, "%s", test_tmp_file("in.safetensors"));
    snprintf(out, sizeof out, "%s", test_tmp_file("out.safetensors"));
    OK(write_work(ctx, in));
    faults_check(&(faults){.what = "reading safetensors", .work = read_work, .data = in, .folder = test_tmp()});
    faults_check(&(faults){.what = "writing safetensors", .work = write_work, .data = out, .reset = reset,
                           .whole = is_whole, .folder = test_tmp()});
    oom_check("reading safetensors", OOM_ALL, read_work, in);
    oom_check("writing safetensors", OOM_ALL, write_work, out);
}
END_TEST

/* Python reads the header by itself: 8 bytes, JSON, data.  */
START_TEST(with_python)
{
    char in[600], command[2000];
    snprintf(in, sizeof in, "%s", test_tmp_file("p.safetensors"));
    OK(write_work(ctx, in));
    if (system("python3 -c 'import json, struct' 2>/dev/null")) {
        printf("no python3 here: skipped\n");
        return;
    }
    snprintf(command, sizeof command, "python3 -c 'import json, struct\n"
             "b = open(\"%s\", \"rb\").read()\nn = struct.unpack(\"<Q\", b[:8])[0]\nassert (8 + n) %% 64 == 0\n"
             "h = json.loads(b[8:8 + n])\nassert h[\"__metadata__\"] == {\"diffeo\": \"{}\"}\n"
             "assert h[\"a\"] == {\"dtype\": \"F32\", \"shape\": [3, 2], \"data_offsets\": [0, 24]}\n"
             "assert struct.unpack(\"<6f\", b[8 + n:8 + n + 24]) == (1, 2, 3, 4, 5, 6) and len(b) == 8 + n + 36'", in);
    ck_assert_int_eq(system(command), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("safetensors");
    TCase *tc = tcase_create("safetensors");
    tcase_set_timeout(tc, 120);
    tcase_add_checked_fixture(tc, begin, end);
    tcase_add_loop_test(tc, round_trip, 0, (int)test_times(10));
    tcase_add_test(tc, conversions);
    tcase_add_loop_test(tc, hostile, 0, sizeof bad / sizeof *bad);
    tcase_add_test(tc, lengths);
    tcase_add_test(tc, writer_refuses);
    tcase_add_test(tc, each_fault);
    tcase_add_test(tc, with_python);
    suite_add_tcase(suite, tc);
    return test_run(suite);
}

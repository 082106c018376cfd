/* NPY files: every type, byte order and version; images; hostile headers; what numpy writes; faults.  */
#include <unistd.h>
#include <zlib.h>

#include "datafix.h"
#include "faults.h"
#include "oom.h"

/* A whole file: header text and data; its size.  */
static size_t build(unsigned char *to, int version, const char *dictionary, const void *data, size_t n)
{
    size_t front = version == 1 ? 10 : 12, length = (front + strlen(dictionary) + 64) / 64 * 64 - front;
    memcpy(to, "\x93NUMPY", 6);
    to[6] = (unsigned char)version;
    to[7] = 0;
    for (size_t i = 8; i < front; i++)
        to[i] = (unsigned char)(length >> (8 * (i - 8)));
    memset(to + front, ' ', length);
    memcpy(to + front, dictionary, strlen(dictionary));
    to[front + length - 1] = '\n';
    if (n)
        memcpy(to + front + length, data, n);
    return front + length + n;
}

static dfo_status open_built(int version, const char *dictionary, const void *data, size_t n,
                             const dfo_source_options *options, dfo_source **out)
{
    static unsigned char bytes[1 << 16];
    const char *path = test_tmp_file("t.npy");
    test_write(path, bytes, build(bytes, version, dictionary, data, n));
    return dfo_source_open(ctx, path, options, out);
}

static const struct {
    const char *type;
    double low, high;
} types[] = {
    {"u1", 0, 255}, {"u2", 0, 65535}, {"i4", -1e9, 1e9}, {"i8", -1e15, 1e15}, {"f4", -1e6, 1e6}, {"f8", -1e6, 1e6},
};

/* The value as the type holds it, in either byte order; gives back what it became.  */
static double encode(const char *type, int big, double v, unsigned char *to)
{
    unsigned char b[8];
    size_t n = (size_t)(type[1] - '0');
    double back;
    if (type[0] == 'f' && n == 4) {
        float f = (float)v;
        memcpy(b, &f, n);
        back = (double)f;
    } else if (type[0] == 'f') {
        memcpy(b, &v, n);
        back = v;
    } else {
        int64_t i = (int64_t)v;
        memcpy(b, &i, n);
        back = (double)i;
    }
    for (size_t i = 0; i < n; i++)
        to[i] = b[big ? n - 1 - i : i];
    return back;
}

/* Rows, in random order, with `ld` larger than d; the file in C and in Fortran order.  */
START_TEST(every_type)
{
    const char *type = types[_i % 36 / 6].type;
    int big = _i & 1, version = 1 + _i / 2 % 3, by_column = _i >= 36;
    size_t size = (size_t)(type[1] - '0');
    test_rng rng = test_rng_new(test_seed() + (uint64_t)_i);
    size_t n = test_rng_between(&rng, 1, 60), d = test_rng_between(&rng, 1, 9), ld = d + 3;
    unsigned char data[60 * 9 * 8];
    double want[60 * 9];
    char text[200];
    for (size_t i = 0; i < n * d; i++)
        want[i] = encode(type, big, test_rng_real(&rng, types[_i % 36 / 6].low, types[_i % 36 / 6].high),
                         data + (by_column ? i % d * n + i / d : i) * size);
    snprintf(text, sizeof text, "{'descr': '%s%s', 'fortran_order': %s, 'shape': (%zu, %zu), }",
             size == 1 ? "|" : big ? ">" : "<", type, by_column ? "True" : "False", n, d);
    dfo_source *source;
    OK(open_built(version, text, data, n * d * size, NULL, &source));
    ck_assert_uint_eq(data_rows(source), n);
    dfo_real x[60 * 12];
    uint64_t rows[60];
    double weight[60];
    for (size_t i = 0; i < 60 * 12; i++)
        x[i] = 77;
    for (size_t i = 0; i < n; i++)
        rows[i] = test_rng_between(&rng, 0, n - 1);
    OK(dfo_source_gather(source, ctx, rows, (dfo_batch){x, n, d, ld}, weight));
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < ld; j++)
            ck_assert_msg(x[i * ld + j] == (j < d ? (dfo_real)want[rows[i] * d + j] : 77),
                          "seed %llu: %s%s, (%zu,%zu), row %zu column %zu: got %g", (unsigned long long)test_seed(),
                          big ? ">" : "<", type, n, d, (size_t)rows[i], j, (double)x[i * ld + j]);
    ck_assert(weight[0] == 1);
    dfo_source_info info;
    dfo_source_describe(source, &info);
    ck_assert(!info.discrete && info.shape.c == d && info.shape.h == 1 && info.shape.w == 1);
    dfo_source_free(source);
}
END_TEST

START_TEST(shapes)
{
    unsigned char pixel[24];
    dfo_source *source;
    dfo_source_info info;
    dfo_real x[24];
    for (size_t i = 0; i < sizeof pixel; i++)
        pixel[i] = (unsigned char)(i + 200);
    OK(open_built(1, "{'descr': '|u1', 'fortran_order': False, 'shape': (24,), }", pixel, 24, NULL, &source));
    dfo_source_describe(source, &info);
    ck_assert(info.rows == 24 && info.shape.c == 1 && !info.discrete);
    dfo_source_free(source);
    OK(open_built(1, "{'descr': '|u1', 'fortran_order': False, 'shape': (2, 3, 4), }", pixel, 24, NULL, &source));
    dfo_source_describe(source, &info);
    ck_assert(info.rows == 2 && info.shape.c == 1 && info.shape.h == 3 && info.shape.w == 4 && info.discrete &&
              info.levels == 256);
    OK(dfo_source_read(source, ctx, 1, dfo_batch_of(x, 1, 12), NULL));
    ck_assert(x[0] == 212 && x[11] == 223);
    dfo_source_free(source);
    OK(open_built(2, "{'descr': '<u2', 'fortran_order': False, 'shape': (2, 1, 2, 3), }", pixel, 24, NULL, &source));
    dfo_source_describe(source, &info);
    ck_assert(info.rows == 2 && info.shape.c == 3 && info.shape.h == 1 && info.shape.w == 2 && info.discrete &&
              info.levels == 65536);
    OK(dfo_source_read(source, ctx, 1, dfo_batch_of(x, 1, 6), NULL));
    for (int c = 0; c < 3; c++)
        for (int w = 0; w < 2; w++) {                    /* channel by channel */
            int at = 12 + 2 * (w * 3 + c);
            ck_assert(x[c * 2 + w] == (dfo_real)(pixel[at] + 256 * pixel[at + 1]));
        }
    dfo_source_free(source);
    dfo_source_options options = {.images = "2x2x3"};
    OK(open_built(1, "{'descr': '|u1', 'fortran_order': False, 'shape': (2, 12), }", pixel, 24, &options, &source));
    dfo_source_describe(source, &info);
    ck_assert(info.shape.c == 3 && info.shape.h == 2 && info.shape.w == 2 && info.discrete);
    OK(dfo_source_read(source, ctx, 0, dfo_batch_of(x, 1, 12), NULL));
    ck_assert(x[0] == 200 && x[1] == 203 && x[4] == 201 && x[11] == 211);
    dfo_source_free(source);
    options.images = "2x3x3";
    ck_assert_int_eq(open_built(1, "{'descr': '|u1', 'fortran_order': False, 'shape': (2, 12), }", pixel, 24, &options,
                                &source), DFO_EARG);
    SAYS("images of 2x3x3 are rows of 18 values, found 12");
    options = (dfo_source_options){.columns = "1"};
    ck_assert_int_eq(open_built(1, "{'descr': '|u1', 'fortran_order': False, 'shape': (2, 3, 4), }", pixel, 24,
                                &options, &source), DFO_EARG);
    SAYS("columns cannot be chosen from images");
}
END_TEST

START_TEST(columns)
{
    const float v[] = {1, 2, 3, 4, 5, 6, 7, 8};
    const char *text = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 4), }";
    dfo_source_options options = {.columns = "4,1", .weights_column = "2"};
    dfo_source *source;
    dfo_real x[4];
    double w[2];
    OK(open_built(1, text, v, sizeof v, &options, &source));
    OK(dfo_source_read(source, ctx, 0, dfo_batch_of(x, 2, 2), w));
    ck_assert(x[0] == 4 && x[1] == 1 && x[2] == 8 && x[3] == 5 && w[0] == 2 && w[1] == 6);
    dfo_source_free(source);
    OK(open_built(1, "{'descr': '<f4', 'fortran_order': True, 'shape': (2, 4), }", v, sizeof v, &options, &source));
    OK(dfo_source_read(source, ctx, 0, dfo_batch_of(x, 2, 2), w));
    ck_assert(x[0] == 7 && x[1] == 1 && x[2] == 8 && x[3] == 2 && w[0] == 3 && w[1] == 4);
    dfo_source_free(source);
    options.columns = "5";
    ck_assert_int_eq(open_built(1, text, v, sizeof v, &options, &source), DFO_EARG);
    SAYS("column 5 wanted, the file has columns 1 to 4");
    const float bad[] = {1, 2, 3, 4, 5, -6, 7, NAN};
    options = (dfo_source_options){.weights_column = "2"};
    OK(open_built(1, text, bad, sizeof bad, &options, &source));
    OK(dfo_source_read(source, ctx, 0, dfo_batch_of(x, 1, 3), w));
    dfo_real y[3];
    ck_assert_int_eq(dfo_source_read(source, ctx, 1, dfo_batch_of(y, 1, 3), NULL), DFO_EFORMAT);
    SAYS("t.npy: row 1, column 4: expected a finite number, found nan");
    dfo_source_free(source);
    options.columns = "1";
    OK(open_built(1, text, bad, sizeof bad, &options, &source));
    ck_assert_int_eq(dfo_source_read(source, ctx, 1, dfo_batch_of(y, 1, 1), w), DFO_EFORMAT);
    SAYS("t.npy: row 1, column 2: expected a weight of 0 or more, found -6");
    dfo_source_free(source);
}
END_TEST

#define D(text) "{'descr': '<f4', 'fortran_order': False, 'shape': " text ", }"

static const struct {
    const char *dictionary;
    size_t      bytes;          /* of data */
    const char *says;
} bad[] = {
    {D("(4611686018427387904,)"), 16, "the header promises 4611686018427387904 rows, more than can be addressed"},
    {D("(4611686018427387904, 2)"), 16, "more than can be addressed, but the file has"},
    {D("(2, 4611686018427387904)"), 16, "more than can be addressed"},
    {D("(4294967296, 4294967296)"), 16, "more than can be addressed"},
    {D("(1, 18446744073709551616)"), 16, "more than can be addressed"},
    {D("(99999999999999999999999999999999,)"), 16, "more than can be addressed"},
    {D("(1152921504606846976,)"), 16, "promises 4611686018427387904 bytes of data, found 16"},
    {D("(3, 2)"), 16, "t.npy: truncated: the header promises 24 bytes of data, found 16"},
    {D("(1, 2)"), 16, "t.npy: too long: the header promises 8 bytes of data, found 16"},
    {D("(0, 4)"), 0, "expected rows of numbers, found none (dimension 1 is 0)"},
    {D("(4, 0)"), 0, "expected rows of numbers, found none (dimension 2 is 0)"},
    {D("()"), 4, "an array of 0 dimensions, expected 1 to 4"},
    {D("(1, 1, 1, 2, 2)"), 16, "an array of 5 dimensions, expected 1 to 4"},
    {D("(-1, 2)"), 16, "damaged NPY header"},
    {D("(4 4)"), 16, "damaged NPY header"},
    {D("4"), 16, "damaged NPY header"},
    {"{'descr': '<f2', 'fortran_order': False, 'shape': (8,), }", 16, "elements of type '<f2', expected u1, u2"},
    {"{'descr': '<c8', 'fortran_order': False, 'shape': (2,), }", 16, "elements of type '<c8'"},
    {"{'descr': '|O', 'fortran_order': False, 'shape': (2,), }", 16, "elements of type '|O'"},
    {"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (4,), }", 16, "records of several fields"},
    {"{'descr': '<f4', 'fortran_order': True, 'shape': (2, 2, 1), }", 16, "an array of 3 dimensions in Fortran order, expected C order"},
    {"{'descr': '<f4', 'fortran_order': True, 'shape': (3, 2), }", 16, "truncated: the header promises 24 bytes of data, found 16"},
    {"{'descr': '<f4', 'fortran_order': Maybe, 'shape': (2, 2), }", 16, "damaged NPY header"},
    {"{'descr': '<f4', 'shape': (2, 2), }", 16, "damaged NPY header"},
    {"{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (4,), }", 16, "damaged NPY header"},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (4,), 'more': 1}", 16, "damaged NPY header"},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (4,), } x", 16, "damaged NPY header"},
    {"{'descr': '<f4aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'", 16, "damaged NPY header"},
    {"", 16, "damaged NPY header"},
};

START_TEST(hostile)
{
    dfo_source *source;
    float v[4] = {1, 2, 3, 4};
    size_t before = dfo_ctx_peak_bytes(ctx);
    dfo_status status = open_built(1, bad[_i].dictionary, v, bad[_i].bytes, NULL, &source);
    ck_assert_msg(status == DFO_EFORMAT || status == DFO_EUNSUP, "case %d: %s", _i, dfo_status_text(status));
    SAYS(bad[_i].says);
    SAYS("t.npy: ");
    ck_assert_msg(dfo_ctx_peak_bytes(ctx) - before < 200000, "case %d took %zu bytes", _i,
                  dfo_ctx_peak_bytes(ctx) - before);
}
END_TEST

START_TEST(lenient)
{
    static const char *const fine[] = {
        "{\"shape\": (2, 2), \"fortran_order\": False, \"descr\": \"<f4\"}",
        "{'descr':'<f4','fortran_order':False,'shape':(2,2)}",
        "{'descr': '=f4', 'fortran_order': False, 'shape': (2L, 2L), }",
        "  { 'descr' : 'f4' , 'fortran_order' : False , 'shape' : ( 2 , 2 , ) , } ",
        "{'descr': '<f4', 'fortran_order': True, 'shape': (4, 1), }",
        "{'descr': '<f4', 'fortran_order': True, 'shape': (4,), }",
    };
    float v[4] = {1, 2, 3, 4};
    for (size_t i = 0; i < sizeof fine / sizeof *fine; i++) {
        dfo_source *source;
        ck_assert_msg(open_built(1 + (int)i % 3, fine[i], v, 16, NULL, &source) == DFO_OK, "%s: %s", fine[i],
                      dfo_ctx_error(ctx));
        dfo_source_free(source);
    }
}
END_TEST

START_TEST(cut_short)
{
    unsigned char bytes[4096];
    float v[4] = {1, 2, 3, 4};
    const char *path = test_tmp_file("cut.npy");
    size_t n = build(bytes, 1, D("(2, 2)"), v, 16);
    dfo_source *source;
    for (size_t k = 0; k < n; k++) {
        test_write(path, bytes, k);
        ck_assert_int_eq(dfo_source_open(ctx, path, NULL, &source), DFO_EFORMAT);
        SAYS("cut.npy: ");
    }
    bytes[6] = 4;
    test_write(path, bytes, n);
    ck_assert_int_eq(dfo_source_open(ctx, path, NULL, &source), DFO_EUNSUP);
    SAYS("NPY version 4.0, expected 1, 2 or 3");
    n = build(bytes, 3, D("(2, 2)"), v, 16);
    bytes[11] = 0x7f;
    test_write(path, bytes, n);
    ck_assert_int_eq(dfo_source_open(ctx, path, NULL, &source), DFO_EFORMAT);
    SAYS("truncated: expected a NPY header of");
}
END_TEST

START_TEST(packed)
{
    unsigned char bytes[4096];
    float v[4] = {1, 2, 3, 4};
    size_t n = build(bytes, 1, D("(2, 2)"), v, 16), d;
    const char *path = test_tmp_file("p.npy.gz");
    gzFile z = gzopen(path, "wb");
    gzwrite(z, bytes, (unsigned)n);
    gzclose(z);
    dfo_source *source;
    OK(dfo_source_open(ctx, path, NULL, &source));
    dfo_real *x = data_read(source, &d, NULL);
    ck_assert(d == 2 && x[3] == 4);
    free(x);
    dfo_source_free(source);
}
END_TEST

START_TEST(round_trip)
{
    test_rng rng = test_rng_new(test_seed());
    for (size_t k = 0; k < test_times(20); k++) {
        size_t n = test_rng_between(&rng, 1, 300), d = test_rng_between(&rng, 1, 7), back;
        dfo_real *x = malloc(n * d * sizeof *x);
        double lp[300];
        ck_assert_ptr_nonnull(x);
        for (size_t i = 0; i < n * d; i++)
            x[i] = (dfo_real)test_rng_normal(&rng);
        for (size_t i = 0; i < n; i++)
            lp[i] = test_rng_normal(&rng);
        dfo_sink *sink;
        OK(dfo_sink_open(ctx, test_tmp_file("r.npy"), NULL, n, d, NULL, &sink));
        for (size_t i = 0; i < n; i += 64)
            OK(dfo_sink_write(sink, dfo_batch_rows(dfo_batch_of(x, n, d), i, n - i < 64 ? n - i : 64)));
        OK(dfo_sink_finish(sink));
        dfo_sink_free(sink);
        dfo_source *source;
        OK(dfo_source_open(ctx, test_tmp_file("r.npy"), NULL, &source));
        dfo_real *y = data_read(source, &back, NULL);
        ck_assert(back == d && data_rows(source) == n && !memcmp(x, y, n * d * sizeof *x));
        free(y);
        dfo_source_free(source);
        OK(dfo_sink_open_doubles(ctx, test_tmp_file("l.npy"), NULL, n, "log_prob", &sink));
        OK(dfo_sink_write_doubles(sink, lp, n));
        OK(dfo_sink_finish(sink));
        dfo_sink_free(sink);
        OK(dfo_source_open(ctx, test_tmp_file("l.npy"), NULL, &source));
        y = data_read(source, &back, NULL);
        ck_assert(back == 1 && data_rows(source) == n);
        for (size_t i = 0; i < n; i++)
            ck_assert(y[i] == (dfo_real)lp[i]);
        free(y);
        dfo_source_free(source);
        free(x);
    }
}
END_TEST

/* numpy reads what we write, and we read what numpy writes.  Skipped without python3-numpy.  */
START_TEST(with_numpy)
{
    static const char *const python = "/usr/bin/python3";
    char command[2000];
    snprintf(command, sizeof command, "%s -c 'import numpy' 2>/dev/null", python);
    if (system(command)) {
        printf("no numpy here: skipped\n");
        return;
    }
    snprintf(command, sizeof command,
             "cd '%s' && %s -c 'import numpy as np\n"
             "a = np.arange(24).reshape(6, 4)\n"
             "for t in \"u1 <u2 >u2 <i4 >i4 <i8 >i8 <f4 >f4 <f8 >f8\".split():\n"
             "    np.save(\"n_\" + t.replace(\"<\", \"l\").replace(\">\", \"b\") + \".npy\", a.astype(t))\n"
             "np.save(\"n_f.npy\", np.asfortranarray(a.astype(\"f4\")))\n"
             "np.save(\"i.npy\", np.arange(36, dtype=\"u1\").reshape(1, 3, 4, 3))\n'", test_tmp(), python);
    ck_assert_int_eq(system(command), 0);
    static const char *const name[] = {"u1", "lu2", "bu2", "li4", "bi4", "li8", "bi8", "lf4", "bf4", "lf8", "bf8", "f"};
    dfo_source *source;
    size_t d;
    for (size_t k = 0; k < sizeof name / sizeof *name; k++) {
        char file[40];
        snprintf(file, sizeof file, "n_%s.npy", name[k]);
        OK(dfo_source_open(ctx, test_tmp_file(file), NULL, &source));
        dfo_real *x = data_read(source, &d, NULL);
        ck_assert(d == 4 && data_rows(source) == 6);
        for (size_t i = 0; i < 24; i++)
            ck_assert_msg(x[i] == (dfo_real)i, "%s", file);
        free(x);
        dfo_source_free(source);
    }
    OK(dfo_source_open(ctx, test_tmp_file("i.npy"), NULL, &source));
    dfo_real *x = data_read(source, &d, NULL);
    ck_assert(d == 36 && x[0] == 0 && x[1] == 3 && x[12] == 1);
    free(x);
    dfo_source_free(source);
    dfo_real v[6] = {1, 2, 3, 4, 5, (dfo_real)6.5};
    dfo_sink *sink;
    OK(dfo_sink_open(ctx, test_tmp_file("ours.npy"), NULL, 2, 3, NULL, &sink));
    OK(dfo_sink_write(sink, dfo_batch_of(v, 2, 3)));
    OK(dfo_sink_finish(sink));
    dfo_sink_free(sink);
    snprintf(command, sizeof command, "cd '%s' && %s -c 'import numpy as np\n"
             "a = np.load(\"ours.npy\")\nassert a.shape == (2, 3) and a.dtype.itemsize == %zu and a[1, 2] == 6.5'",
             test_tmp(), python, sizeof(dfo_real));
    ck_assert_int_eq(system(command), 0);
}
END_TEST

static dfo_status read_work(dfo_ctx *c, void *data)
{
    dfo_source *source;
    dfo_real x[4];
    DFO_TRY(dfo_source_open(c, data, NULL, &source));
    dfo_status status = dfo_source_read(source, c, 0, dfo_batch_of(x, 2, 2), NULL);
    dfo_source_free(source);
    return status;
}

static dfo_status write_work(dfo_ctx *c, void *data)
{
    dfo_sink *sink;
    dfo_real x[6] = {1, 2, 3, 4, 5, 6};
    DFO_TRY(dfo_sink_open(c, data, NULL, 2, 3, NULL, &sink));
    dfo_status status = dfo_sink_write(sink, dfo_batch_of(x, 2, 3));
    if (status == DFO_OK)
        status = dfo_sink_finish(sink);
    dfo_sink_free(sink);
    return status;
}

static void reset(void *data)
{
    test_write(data, "old\n", 4);
}

static int is_whole(void *data, int killed)
{
    size_t n;
    char *got = test_read(data, &n);
    int fine = (n == 4 && !memcmp(got, "old\n", 4)) || n == 128 + 6 * sizeof(dfo_real);
    (void)killed;
    free(got);
    return fine;
}

START_TEST(each_fault)
{
    unsigned char bytes[4096];
    float v[4] = {1, 2, 3, 4};
    char in[600], packed_in[600], out[600];
    size_t n = build(bytes, 1, D("(2, 2)"), v, 16);
    snprintf(in, sizeof in, "%s", test_tmp_file("in.npy"));
    snprintf(packed_in, sizeof packed_in, "%s", test_tmp_file("in.npy.gz"));
    snprintf(out, sizeof out, "%s", test_tmp_file("out.npy"));
    test_write(in, bytes, n);
    gzFile z = gzopen(packed_in, "wb");
    gzwrite(z, bytes, (unsigned)n);
    gzclose(z);
    faults_check(&(faults){.what = "reading NPY", .work = read_work, .data = in, .folder = test_tmp()});
    faults_check(&(faults){.what = "unpacking NPY", .work = read_work, .data = packed_in, .folder = test_tmp()});
    faults_check(&(faults){.what = "writing NPY", .work = write_work, .data = out, .reset = reset, .whole = is_whole,
                           .folder = test_tmp()});
    oom_check("reading NPY", OOM_ALL, read_work, in);
    oom_check("unpacking NPY", OOM_ALL, read_work, packed_in);
    oom_check("writing NPY", OOM_ALL, write_work, out);
}
END_TEST

START_TEST(real_data)
{
    static const struct { const char *file; size_t rows, d; } set[] = {
        {"uci_density/power37k_train_6_f32.npy", 30200, 6}, {"uci_density/miniboone_head_43.npy", 1523, 43},
        {"olivetti/faces_400x64x64_u8.npy", 400, 4096}, {"uci_regression/wine_red_test_mask.npy", 20, 1599},
    };
    for (size_t i = 0; i < sizeof set / sizeof *set; i++) {
        const char *path = data_shared(set[i].file);
        dfo_source *source;
        size_t d;
        if (!path)
            continue;
        OK(dfo_source_open(ctx, path, NULL, &source));
        free(data_read(source, &d, NULL));
        ck_assert_uint_eq(d, set[i].d);
        ck_assert_uint_eq(data_rows(source), set[i].rows);
        dfo_source_free(source);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("npy " DFO_REAL_NAME);
    TCase *tc = tcase_create("npy");
    tcase_set_timeout(tc, 120);
    tcase_add_checked_fixture(tc, data_begin, data_end);
    tcase_add_loop_test(tc, every_type, 0, 72);
    tcase_add_test(tc, shapes);
    tcase_add_test(tc, columns);
    tcase_add_loop_test(tc, hostile, 0, sizeof bad / sizeof *bad);
    tcase_add_test(tc, lenient);
    tcase_add_test(tc, cut_short);
    tcase_add_test(tc, packed);
    tcase_add_test(tc, round_trip);
    tcase_add_test(tc, with_numpy);
    tcase_add_test(tc, each_fault);
    tcase_add_test(tc, real_data);
    suite_add_tcase(suite, tc);
    return test_run(suite);
}

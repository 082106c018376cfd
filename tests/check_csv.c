/* Text tables: what is accepted, what is refused and how it is said; round trips; faults.  */
#include <unistd.h>
#include <zlib.h>

#include "datafix.h"
#include "faults.h"
#include "oom.h"


static const struct {
    const char *what, *text, *columns, *weights;
    size_t rows, d;
    double value[10];
    const char *name;        /* of the first column; NULL: no header */
} good[] = {
    {"plain", "1,2\n3,4\n", NULL, NULL, 2, 2, {1, 2, 3, 4}, NULL},
    {"header", "a,b\n1,2\n3,4\n", NULL, NULL, 2, 2, {1, 2, 3, 4}, "a"},
    {"no newline at the end", "1,2\n3,4", NULL, NULL, 2, 2, {1, 2, 3, 4}, NULL},
    {"CRLF", "a,b\r\n1,2\r\n3,4\r\n", NULL, NULL, 2, 2, {1, 2, 3, 4}, "a"},
    {"CR", "1,2\r3,4\r", NULL, NULL, 2, 2, {1, 2, 3, 4}, NULL},
    {"UTF-8 mark", "\xef\xbb\xbf" "a,b\n1,2\n", NULL, NULL, 1, 2, {1, 2}, "a"},
    {"UTF-8 mark, no header", "\xef\xbb\xbf" "1,2\n", NULL, NULL, 1, 2, {1, 2}, NULL},
    {"spaces", " 1 ,  2\n3  , 4 \n", NULL, NULL, 2, 2, {1, 2, 3, 4}, NULL},
    {"quoted numbers", "\"1\",\"2\"\n\"3\",4\n", NULL, NULL, 2, 2, {1, 2, 3, 4}, NULL},
    {"quoted names", "\"x, y\",\"say \"\"b\"\"\"\n1,2\n", NULL, NULL, 1, 2, {1, 2}, "x, y"},
    {"blank lines", "\n\n1,2\n\n  \n3,4\n\n\n", NULL, NULL, 2, 2, {1, 2, 3, 4}, NULL},
    {"semicolons", "a;b\n1;2\n", NULL, NULL, 1, 2, {1, 2}, "a"},
    {"tabs", "a b\tc\n1\t2\n", NULL, NULL, 1, 2, {1, 2}, "a b"},
    {"blanks", "  1   2 3\n4\t5 6   \n\n 7 8 \t 9", NULL, NULL, 3, 3, {1, 2, 3, 4, 5, 6, 7, 8, 9}, NULL},
    {"blanks, header", "u v\n1 2\n", NULL, NULL, 1, 2, {1, 2}, "u"},
    {"one column", "5\n6\n", NULL, NULL, 2, 1, {5, 6}, NULL},
    {"one column, header", "x\n5\n", NULL, NULL, 1, 1, {5}, "x"},
    {"one row", "1,2,3", NULL, NULL, 1, 3, {1, 2, 3}, NULL},
    {"one number", "42", NULL, NULL, 1, 1, {42}, NULL},
    {"exponents", "1e3,-2.5E-1\n+.5,5.\n", NULL, NULL, 2, 2, {1000, -0.25, 0.5, 5}, NULL},
    {"columns", "a,b,c\n1,2,3\n4,5,6\n", "3,1", NULL, 2, 2, {3, 1, 6, 4}, "c"},
    {"columns by name and range", "a,b,c,d\n1,2,3,4\n", "d,1-2", NULL, 1, 3, {4, 1, 2}, "d"},
    {"all columns but some", "a,b,c,d\n1,2,3,4\n", "!2,d", NULL, 1, 2, {1, 3}, "a"},
    {"all but some and the weights", "a,w,c,d\n1,2,3,x\n", "!d", "w", 1, 2, {1, 3}, "a"},
    {"text beside", "2020-01-01,1,5\n2020-01-02,2,6\n", "2-3", NULL, 2, 2, {1, 5, 2, 6}, NULL},
    {"weights", "a,w,b\n1,0.5,2\n3,0,4\n", NULL, "w", 2, 2, {1, 2, 3, 4}, "a"},
    {"weights by number", "1,2,9\n3,4,8\n", NULL, "3", 2, 2, {1, 2, 3, 4}, NULL},
    {"line break in quotes", "\"a\nb\",c\n1,2\n", NULL, NULL, 1, 2, {1, 2}, "a\nb"},
    {"constant column", "1,2\n1,3\n1,4\n", NULL, NULL, 3, 2, {1, 2, 1, 3, 1, 4}, NULL},
};

static dfo_source *open_text(const char *text, const dfo_source_options *options)
{
    dfo_source *source;
    const char *path = test_tmp_file("t.csv");
    test_write(path, text, strlen(text));
    return dfo_source_open(ctx, path, options, &source) == DFO_OK ? source : NULL;
}

START_TEST(accepted)
{
    dfo_source_options options = {.columns = good[_i].columns, .weights_column = good[_i].weights};
    dfo_source *source = open_text(good[_i].text, &options);
    ck_assert_msg(source != NULL, "%s: %s", good[_i].what, dfo_ctx_error(ctx));
    size_t d;
    double *w;
    dfo_real *x = data_read(source, &d, &w);
    ck_assert_msg(d == good[_i].d && data_rows(source) == good[_i].rows, "%s: got (%zu,%zu)", good[_i].what,
                  (size_t)data_rows(source), d);
    for (size_t i = 0; i < good[_i].rows * d; i++)
        ck_assert_msg(x[i] == (dfo_real)good[_i].value[i], "%s: value %zu: expected %g, got %g", good[_i].what, i,
                      good[_i].value[i], (double)x[i]);
    const char *name = dfo_source_column(source, 0);
    ck_assert_msg(good[_i].name ? name && !strcmp(name, good[_i].name) : !name, "%s: name '%s'", good[_i].what,
                  name ? name : "(none)");
    ck_assert_ptr_null(dfo_source_column(source, d));
    dfo_source_info info;
    dfo_source_describe(source, &info);
    ck_assert_int_eq(info.weighted, good[_i].weights != NULL);
    if (!strcmp(good[_i].what, "weights"))
        ck_assert(w[0] == 0.5 && w[1] == 0);
    else if (!good[_i].weights)
        ck_assert(w[0] == 1);
    free(x);
    free(w);
    dfo_source_free(source);
}
END_TEST

static const struct {
    const char *text, *columns, *weights;
    const char *says;
} bad[] = {
    {"", NULL, NULL, "t.csv: expected rows of numbers, the file is empty"},
    {"\n\n", NULL, NULL, "t.csv: expected rows of numbers, found none"},
    {"a,b\n", NULL, NULL, "t.csv: expected rows of numbers, found only a header"},
    {"a,b\n1,2\n3\n", NULL, NULL, "t.csv: row 1 (line 3): expected 2 columns, found 1"},
    {"1,2\n3,4,5\n", NULL, NULL, "t.csv: row 1 (line 2): expected 2 columns, found 3"},
    {"a,b\n1,2\n\n3,abc\n", NULL, NULL, "t.csv: row 1 (line 4), column 2 (b): expected a number, got 'abc'"},
    {"\"a\r\nb\",c\r\n1,2\r\n3,x\r\n", NULL, NULL, "row 1 (line 4), column 2 (c): expected a number, got 'x'"},
    {"1,2\n3,\n", NULL, NULL, "row 1 (line 2), column 2: expected a number, got ''"},
    {"1,2\n3,nan\n", NULL, NULL, "row 1 (line 2), column 2: expected a finite number, got 'nan'"},
    {"1,2\n-inf,3\n", NULL, NULL, "row 1 (line 2), column 1: expected a finite number, got '-inf'"},
    {"1,2\n1e999,3\n", NULL, NULL, "row 1 (line 2), column 1: expected a finite number, got '1e999'"},
    {"1,abc\n2,3\n", NULL, NULL, "row 0 (line 1), column 2: expected a number, got 'abc'"},
    {"1;2,5\n", NULL, NULL, "column 2: expected a number, got '2,5'"},
    {"1,0x10\n", NULL, NULL, "expected a number, got '0x10'"},
    {"1,2\n\"3,4\n5,6\n", NULL, NULL, "quotation marks out of place"},
    {"1,2\n3\"4\",5\n", NULL, NULL, "t.csv: line 2: quotation marks out of place"},
    {"1,2\n3,012345678901234567890123456789012345678901234567890123456789x\n", NULL, NULL,
     "got '0123456789012345678901234567890123456789...'"},
    {"1,2\n3,a\tb\x01\n", NULL, NULL, "got 'a?b?'"},
    {"a,b\n1,2\n", "c", NULL, "t.csv: no column named 'c'"},
    {"1,2\n", "c", NULL, "t.csv: no column named 'c': the file has no header"},
    {"1,2\n", "3", NULL, "t.csv: column 3 wanted, the file has columns 1 to 2"},
    {"1,2\n", "0", NULL, "no column named '0'"},
    {"1,2\n", "1-3", NULL, "column 3 wanted"},
    {"1,2\n", "2-1", NULL, "columns 2-1: expected the smaller number first"},
    {"1,2\n", "1,1", NULL, "column 1 is listed twice"},
    {"1,2\n", "!1-2", NULL, "no column is left for the data"},
    {"1,2\n", "!3", NULL, "column 3 wanted"},
    {"1,2\n", "1,", NULL, "no column named ''"},
    {"a,w\n1,-1\n", NULL, "w", "row 0 (line 2), column 2: expected a weight of 0 or more, got '-1'"},
    {"a,w\n1,nan\n", NULL, "w", "expected a weight of 0 or more, got 'nan'"},
    {"a,w\n1,1\n", "w", "w", "column 2 cannot be data and weights at once"},
    {"w\n1\n", NULL, "w", "no column is left for the data"},
    {"a\n1\n", NULL, "v", "no column named 'v'"},
    {"\x89PNG\x01\x02", NULL, NULL, "t.csv: line 1: expected text, found a byte of value 1"},
};

START_TEST(refused)
{
    dfo_source_options options = {.columns = bad[_i].columns, .weights_column = bad[_i].weights};
    dfo_source *source = open_text(bad[_i].text, &options);
    ck_assert_msg(!source, "case %d was accepted: %s", _i, bad[_i].text);
    ck_assert_msg(strstr(dfo_ctx_error(ctx), bad[_i].says),
                  "case %d: expected '%s' in '%s'", _i, bad[_i].says, dfo_ctx_error(ctx));
    ck_assert_ptr_null(strchr(dfo_ctx_error(ctx), '\n'));
}
END_TEST

START_TEST(not_finite)
{
    dfo_source_options options = {.allow_nan = 1};
    size_t d;
    dfo_source *source = open_text("1,nan\ninf,2\n", &options);
    ck_assert_msg(source != NULL, "%s", dfo_ctx_error(ctx));
    dfo_real *x = data_read(source, &d, NULL);
    ck_assert(isnan(x[1]) && isinf(x[2]));
    free(x);
    dfo_source_free(source);
    source = open_text("1,\n,2\n", &options);
    ck_assert_msg(source != NULL, "%s", dfo_ctx_error(ctx));
    x = data_read(source, &d, NULL);
    ck_assert(x[0] == 1 && isnan(x[1]) && isnan(x[2]) && x[3] == 2);
    free(x);
    dfo_source_free(source);
    source = open_text("1,2\n3,1e200\n", NULL);            /* too large for float alone */
    ck_assert_ptr_nonnull(source);
    dfo_real y[4];
    dfo_status status = dfo_source_read(source, ctx, 0, dfo_batch_of(y, 2, 2), NULL);
    if (sizeof(dfo_real) == sizeof(float)) {
        ck_assert_int_eq(status, DFO_EFORMAT);
        SAYS("row 1, column 2: expected a finite number, found inf (float; double reaches further)");
    } else {
        ck_assert_int_eq(status, DFO_OK);
    }
    dfo_source_free(source);
}
END_TEST

/* ---- words */

static const char colours[] = "a,kind,n\n1,red,3\n2,\"deep, blue\",4\n3,red,5\n";

static dfo_words *words_of(const char *column, const char *word)
{
    dfo_words *words;
    OK(dfo_words_new(ctx, &words));
    OK(dfo_words_add(words, column, NULL));
    if (word)
        OK(dfo_words_add(words, column, word));
    return words;
}

/* In the order in which they come, by name or number; a column of numbers keeps them; back to text.  */
START_TEST(words)
{
    static const char *const names[] = {"kind", "n"};
    const char *path = test_tmp_file("w.csv");
    for (int by_number = 0; by_number < 2; by_number++) {
        const char *column = by_number ? "1" : "kind";
        dfo_words *w = words_of(column, NULL);
        dfo_source_options options = {.words = w, .columns = "kind,n"};
        OK(dfo_words_add(w, "n", NULL));
        dfo_source *source = open_text(colours, &options);
        ck_assert_msg(source != NULL, "%s", dfo_ctx_error(ctx));
        dfo_real x[6];
        OK(dfo_source_read(source, ctx, 0, dfo_batch_of(x, 3, 2), NULL));
        ck_assert(x[0] == 0 && x[1] == 3 && x[2] == 1 && x[3] == 4 && x[4] == 0 && x[5] == 5);
        ck_assert_uint_eq(dfo_words_count(w, column), 2);
        ck_assert_uint_eq(dfo_words_count(w, "n"), 0);
        ck_assert_str_eq(dfo_words_word(w, column, 1), "deep, blue");
        ck_assert_ptr_null(dfo_words_word(w, column, 2));
        dfo_source_free(source);
        dfo_words_free(w);
    }
    dfo_sink *sink;
    dfo_words *w = words_of("1", "red");
    OK(dfo_words_add(w, "1", "deep, blue"));
    dfo_real x[6] = {1, 3, 0, 4, 7, 5};
    OK(dfo_sink_open(ctx, path, NULL, 3, 2, names, &sink));
    dfo_sink_words(sink, w);
    OK(dfo_sink_write(sink, dfo_batch_of(x, 3, 2)));
    OK(dfo_sink_finish(sink));
    dfo_sink_free(sink);
    char text[80] = "";
    FILE *f = fopen(path, "r");
    ck_assert_ptr_nonnull(f);
    text[fread(text, 1, sizeof text - 1, f)] = 0;
    fclose(f);
    ck_assert_str_eq(text, "kind,n\n\"deep, blue\",3\nred,4\n7,5\n");
}
END_TEST

START_TEST(words_refused)
{
    static const struct { const char *text, *word, *says; } wrong[] = {
        {"kind\nred\ngreen\n", "red", "row 1 (line 3), column 1 (kind): expected one of red, got 'green'"},
        {"kind\nred\n3\n", "red", "row 1 (line 3), column 1 (kind): expected one of red, got '3'"},
        {"kind\nred\n\"\"\n", "red", "row 1 (line 3), column 1 (kind): expected a number, got ''"},
        {"kind\n3\nred\n", NULL, "row 1 (line 3), column 1 (kind): expected a number, got 'red'"},
        {"kind\nnan\n", NULL, "expected a finite number, got 'nan'"},
    };
    char many[8000] = "kind\n";
    size_t n = strlen(many);
    for (size_t k = 0; k < sizeof wrong / sizeof *wrong; k++) {
        dfo_words *w = words_of("kind", wrong[k].word);
        dfo_source_options options = {.words = w};
        if (wrong[k].word)
            dfo_words_close(w);
        ck_assert_msg(!open_text(wrong[k].text, &options), "case %zu was accepted", k);
        SAYS(wrong[k].says);
        dfo_words_free(w);
    }
    for (int k = 0; k <= 1000; k++)
        n += (size_t)sprintf(many + n, "w%d\n", k);
    dfo_words *w = words_of("kind", NULL);
    dfo_source_options options = {.words = w};
    ck_assert(!open_text(many, &options));
    SAYS("column kind: more than 1000 different words");
    ck_assert_int_eq(dfo_words_add(w, "other", ""), DFO_EARG);
    OK(dfo_words_add(w, "other", "a"));
    ck_assert_int_eq(dfo_words_add(w, "other", "a"), DFO_EARG);
    dfo_words_free(w);
}
END_TEST

/* Wrong values far in: the chunks of the reader must not matter.  */
START_TEST(large)
{
    size_t rows = 20000, n = 0;
    char *text = malloc(rows * 40);
    ck_assert_ptr_nonnull(text);
    for (size_t i = 0; i < rows; i++)
        n += (size_t)sprintf(text + n, "%zu, %.3f, \"%zu\"\r\n", i, (double)i / 7, i * i);
    test_write(test_tmp_file("big.csv"), text, n);
    dfo_source *source;
    size_t d;
    OK(dfo_source_open(ctx, test_tmp_file("big.csv"), NULL, &source));
    dfo_real *x = data_read(source, &d, NULL);
    ck_assert_uint_eq(data_rows(source), rows);
    for (size_t i = 0; i < rows; i++)
        ck_assert(x[3 * i] == (dfo_real)i && x[3 * i + 2] == (dfo_real)((double)i * (double)i));
    free(x);
    char plain[17], packed[17];
    dfo_source_hash(source, plain);
    dfo_source_free(source);
    gzFile z = gzopen(test_tmp_file("big.csv.gz"), "wb");
    ck_assert_int_eq(gzwrite(z, text, (unsigned)n), (int)n);
    gzclose(z);
    OK(dfo_source_open(ctx, test_tmp_file("big.csv.gz"), NULL, &source));
    ck_assert_uint_eq(data_rows(source), rows);
    dfo_source_hash(source, packed);
    ck_assert_str_eq(plain, packed);
    dfo_source_free(source);
    char *at = strstr(text, "\r\n19000, ");
    at[2] = 'x';
    test_write(test_tmp_file("big.csv"), text, n);
    ck_assert_int_eq(dfo_source_open(ctx, test_tmp_file("big.csv"), NULL, &source), DFO_EFORMAT);
    SAYS("big.csv: row 19000 (line 19001), column 1: expected a number, got 'x9000'");
    free(text);
}
END_TEST

/* A quotation mark that nobody closes must not eat the memory.  */
START_TEST(open_quote)
{
    size_t n = 3 << 20;
    char *text = malloc(n);
    dfo_source *source;
    ck_assert_ptr_nonnull(text);
    memset(text, '7', n);
    memcpy(text, "1,\"", 3);
    test_write(test_tmp_file("q.csv"), text, n);
    ck_assert_int_eq(dfo_source_open(ctx, test_tmp_file("q.csv"), NULL, &source), DFO_EFORMAT);
    SAYS("q.csv: line 1: a field of more than 1048576 bytes");
    free(text);
}
END_TEST

START_TEST(pictures)
{
    dfo_source_options options = {.images = "2x2"};
    dfo_source_info info;
    dfo_source *source = open_text("0,1,2,255\n3,4,5,6\n", &options);
    ck_assert_msg(source != NULL, "%s", dfo_ctx_error(ctx));
    dfo_source_describe(source, &info);
    ck_assert(info.shape.c == 1 && info.shape.h == 2 && info.shape.w == 2 && info.discrete && info.levels == 256);
    dfo_source_free(source);
    source = open_text("0,1,2,255.5\n3,4,5,6\n", &options);
    dfo_source_describe(source, &info);
    ck_assert(!info.discrete);
    dfo_source_free(source);
    ck_assert_ptr_null(open_text("0,1,2\n", &options));
    SAYS("images of 2x2x1 are rows of 4 values, found 3");
    options.images = "2by2";
    ck_assert_ptr_null(open_text("0,1,2\n", &options));
    SAYS("expected HxW or HxWxC");
}
END_TEST

/* Any bits go out and come back, with names that need quotes.  */
START_TEST(round_trip)
{
    test_rng rng = test_rng_new(test_seed());
    static const char *const names[] = {"plain", "with, comma", "with \"quotes\"", " space"};
    for (size_t k = 0; k < test_times(20); k++) {
        size_t n = test_rng_between(&rng, 1, 200), d = test_rng_between(&rng, 1, 4), back;
        dfo_real *x = malloc(n * d * sizeof *x);
        double *lp = malloc(n * sizeof *lp);
        ck_assert(x && lp);
        for (size_t i = 0; i < n * d; i++) {
            do {
                uint64_t b = test_rng_next(&rng);
                memcpy(&x[i], &b, sizeof *x);
            } while (!isfinite(x[i]));
        }
        for (size_t i = 0; i < n; i++)
            lp[i] = test_rng_normal(&rng) * 1e3;
        const char *path = test_tmp_file("r.csv");
        dfo_sink *sink;
        OK(dfo_sink_open(ctx, path, NULL, n, d, k % 2 ? names : NULL, &sink));
        for (size_t i = 0; i < n; i += 50)
            OK(dfo_sink_write(sink, dfo_batch_rows(dfo_batch_of(x, n, d), i, n - i < 50 ? n - i : 50)));
        OK(dfo_sink_finish(sink));
        dfo_sink_free(sink);
        dfo_source *source;
        OK(dfo_source_open(ctx, path, NULL, &source));
        dfo_real *y = data_read(source, &back, NULL);
        ck_assert_uint_eq(back, d);
        ck_assert_uint_eq(data_rows(source), n);
        ck_assert_msg(!memcmp(x, y, n * d * sizeof *x), "seed %llu: (%zu,%zu) came back with other bits",
                      (unsigned long long)test_seed(), n, d);
        for (size_t j = 0; k % 2 && j < d; j++)
            ck_assert_str_eq(dfo_source_column(source, j), names[j]);
        dfo_source_free(source);
        free(y);
        OK(dfo_sink_open_doubles(ctx, path, NULL, n, "log_prob", &sink));
        OK(dfo_sink_write_doubles(sink, lp, n));
        OK(dfo_sink_finish(sink));
        dfo_sink_free(sink);
        OK(dfo_source_open(ctx, path, NULL, &source));
        y = data_read(source, &back, NULL);
        for (size_t i = 0; i < n; i++)
            ck_assert(y[i] == (dfo_real)lp[i]);
        dfo_source_free(source);
        free(y);
        free(x);
        free(lp);
    }
}
END_TEST

/* ---- faults ---- */

static dfo_status read_work(dfo_ctx *c, void *data)
{
    dfo_source *source;
    dfo_source_options options = {.weights_column = "w"};
    dfo_real x[600];
    DFO_TRY(dfo_source_open(c, data, &options, &source));
    dfo_status status = dfo_source_read(source, c, 0, dfo_batch_of(x, 300, 2), NULL);
    dfo_source_free(source);
    return status;
}

static dfo_status words_work(dfo_ctx *c, void *data)
{
    dfo_words *w;
    dfo_source *source = NULL;
    DFO_TRY(dfo_words_new(c, &w));
    dfo_source_options options = {.words = w};
    dfo_status status = dfo_words_add(w, "kind", NULL);
    if (status == DFO_OK)
        status = dfo_source_open(c, data, &options, &source);
    dfo_source_free(source);
    dfo_words_free(w);
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
    int fine = (n == 4 && !memcmp(got, "old\n", 4)) || (n == 12 && !memcmp(got, "1,2,3\n4,5,6\n", 12));
    (void)killed;
    free(got);
    return fine;
}

START_TEST(each_fault)
{
    char in[600], packed[600], out[600], text[8000];
    size_t n = (size_t)sprintf(text, "a,w,\"b\"\n");
    for (int i = 0; i < 300; i++)
        n += (size_t)sprintf(text + n, "%d,1,%d.5\n", i, i);
    snprintf(in, sizeof in, "%s", test_tmp_file("in.csv"));
    snprintf(packed, sizeof packed, "%s", test_tmp_file("in.csv.gz"));
    snprintf(out, sizeof out, "%s", test_tmp_file("out.csv"));
    test_write(in, text, n);
    gzFile z = gzopen(packed, "wb");
    gzwrite(z, text, (unsigned)n);
    gzclose(z);
    faults_check(&(faults){.what = "reading CSV", .work = read_work, .data = in, .folder = test_tmp()});
    faults_check(&(faults){.what = "unpacking CSV", .work = read_work, .data = packed, .folder = test_tmp()});
    faults_check(&(faults){.what = "writing CSV", .work = write_work, .data = out, .reset = reset, .whole = is_whole,
                           .folder = test_tmp()});
    oom_check("reading CSV", OOM_ALL, read_work, in);
    oom_check("unpacking CSV", OOM_ALL, read_work, packed);
    oom_check("writing CSV", OOM_ALL, write_work, out);
    test_write(in, colours, strlen(colours));
    oom_check("reading words", OOM_ALL, words_work, in);
}
END_TEST

START_TEST(sinks_refuse)
{
    dfo_sink *sink;
    dfo_real x[4] = {1, 2, 3, 4};
    double v = 1;
    ck_assert_int_eq(dfo_sink_open(ctx, test_tmp_file("x.txt"), NULL, 1, 1, NULL, &sink), DFO_EARG);
    SAYS("x.txt: expected the name of an output to end in .npy or .csv");
    ck_assert_int_eq(dfo_sink_open(ctx, test_tmp_file("x.csv"), "png", 1, 1, NULL, &sink), DFO_EARG);
    ck_assert_int_eq(dfo_sink_open(ctx, test_tmp_file("x.csv"), NULL, 1, 0, NULL, &sink), DFO_ESHAPE);
    ck_assert_int_eq(dfo_sink_open(ctx, test_tmp(), "csv", 1, 1, NULL, &sink), DFO_EIO);
    for (int k = 0; k < 2; k++) {
        const char *path = test_tmp_file(k ? "x.npy" : "x.csv");
        OK(dfo_sink_open(ctx, path, NULL, 2, 2, NULL, &sink));
        ck_assert_int_eq(dfo_sink_write(sink, dfo_batch_of(x, 1, 1)), DFO_ESHAPE);
        ck_assert_int_eq(dfo_sink_write_doubles(sink, &v, 1), DFO_ESHAPE);
        OK(dfo_sink_write(sink, dfo_batch_of(x, 1, 2)));
        ck_assert_int_eq(dfo_sink_finish(sink), DFO_EARG);
        SAYS("expected 2 rows, got 1");
        ck_assert_int_eq(dfo_sink_write(sink, dfo_batch_of(x, 2, 2)), DFO_EARG);
        SAYS("expected 2 rows in all, got more");
        dfo_sink_free(sink);
        ck_assert_msg(access(path, F_OK) != 0, "%s appeared", path);
        OK(dfo_sink_open(ctx, "/dev/full", k ? "npy" : "csv", 2, 2, NULL, &sink));
        OK(dfo_sink_write(sink, dfo_batch_of(x, 2, 2)));
        ck_assert_int_eq(dfo_sink_finish(sink), DFO_EIO);
        SAYS("/dev/full: cannot write: No space left on device");
        dfo_sink_free(sink);
    }
}
END_TEST

START_TEST(real_data)
{
    static const struct { const char *file; size_t rows, d; } set[] = {
        {"earth/volcano.csv", 827, 2}, {"earth/fire.csv", 12809, 2}, {"digits8x8/digits.csv.gz", 1797, 65},
        {"binary/dna.test.csv.gz", 1186, 180}, {"timeseries/lynx-hare-hudson-bay.csv", 21, 3},
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
    const char *path = data_shared("timeseries/monthly-sunspots.csv");
    dfo_source_options options = {.columns = "Sunspots"};
    dfo_source *source;
    if (!path)
        return;
    OK(dfo_source_open(ctx, path, &options, &source));
    ck_assert_uint_eq(data_rows(source), 2820);
    dfo_source_free(source);
    ck_assert_int_eq(dfo_source_open(ctx, path, NULL, &source), DFO_EFORMAT);
    SAYS("row 0 (line 2), column 1 (Month): expected a number, got '1749-01'");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("csv " DFO_REAL_NAME);
    TCase *tc = tcase_create("csv");
    tcase_set_timeout(tc, 120);
    tcase_add_checked_fixture(tc, data_begin, data_end);
    tcase_add_loop_test(tc, accepted, 0, sizeof good / sizeof *good);
    tcase_add_loop_test(tc, refused, 0, sizeof bad / sizeof *bad);
    tcase_add_test(tc, not_finite);
    tcase_add_test(tc, words);
    tcase_add_test(tc, words_refused);
    tcase_add_test(tc, large);
    tcase_add_test(tc, open_quote);
    tcase_add_test(tc, pictures);
    tcase_add_test(tc, round_trip);
    tcase_add_test(tc, sinks_refuse);
    tcase_add_test(tc, each_fault);
    tcase_add_test(tc, real_data);
    suite_add_tcase(suite, tc);
    return test_run(suite);
}

/* Files: reading (plain, gzip, memory, pipes), what is refused, faults.  Writing: check_write.c.  */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <stdio.h>
#include <string.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>

#include "base/ctx_impl.h"
#include "base/file_impl.h"
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
    dfoi_file_set_fault(NULL);
    ck_assert_uint_eq(dfo_ctx_bytes(ctx), 0);
    dfo_ctx_free(ctx);
}

#define OK(call) ck_assert_msg((call) == DFO_OK, "%s", dfo_ctx_error(ctx))
#define SAYS(part) ck_assert_msg(strstr(dfo_ctx_error(ctx), part), "expected '%s' in '%s'", part, dfo_ctx_error(ctx))

/* n bytes that compress somewhat and show misplaced pieces.  */
static unsigned char *pattern(size_t n)
{
    unsigned char *b = malloc(n + 1);
    ck_assert_ptr_nonnull(b);
    for (size_t i = 0; i < n; i++)
        b[i] = (unsigned char)((i * i >> 7 ^ i) & 63);
    return b;
}

/* One gzip member; *m is its size.  */
static unsigned char *squeeze(const unsigned char *b, size_t n, size_t *m)
{
    z_stream z = {0};
    unsigned char *out = malloc(n + 1000);
    ck_assert_ptr_nonnull(out);
    ck_assert_int_eq(deflateInit2(&z, 6, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_in = (unsigned char *)b;
    z.avail_in = (unsigned)n;
    z.next_out = out;
    z.avail_out = (unsigned)(n + 1000);
    ck_assert_int_eq(deflate(&z, Z_FINISH), Z_STREAM_END);
    *m = n + 1000 - z.avail_out;
    deflateEnd(&z);
    return out;
}

/* Reads the file in pieces of random size, with peeks between, and compares.  */
static void expect(const char *path, const unsigned char *b, size_t n)
{
    test_rng rng = test_rng_new(test_seed());
    unsigned char *got = malloc(n + 1);
    size_t at = 0, k;
    dfo_file *file;
    ck_assert_ptr_nonnull(got);
    OK(dfoi_file_open(ctx, path, &file));
    for (;;) {
        size_t want = test_rng_between(&rng, 1, at % 3 ? 200000 : 100);
        const void *head;
        OK(dfoi_file_peek(file, 16, &head, &k));
        ck_assert_uint_eq(k, n - at < 16 ? n - at : 16);
        ck_assert(!memcmp(head, b + at, k));
        want = want < n + 1 - at ? want : n + 1 - at;
        OK(dfoi_file_read(file, got + at, want, &k));
        at += k;
        if (k < want)
            break;
    }
    ck_assert_msg(at == n && !memcmp(got, b, n), "seed %llu: expected %zu bytes, got %zu or others",
                  (unsigned long long)test_seed(), n, at);
    dfoi_file_free(file);
    free(got);
}

START_TEST(reading)
{
    static const size_t sizes[] = {0, 1, 2, 3, 4095, 65535, 65536, 65537, 300000};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        size_t n = sizes[i], m;
        unsigned char *b = pattern(n), *z = squeeze(b, n, &m);
        test_write(test_tmp_file("plain"), b, n);
        expect(test_tmp_file("plain"), b, n);
        test_write(test_tmp_file("packed.gz"), z, m);
        expect(test_tmp_file("packed.gz"), b, n);
        free(b);
        free(z);
    }
}
END_TEST

START_TEST(gzip_members)
{
    size_t n = 100000, m;
    unsigned char *b = pattern(n), *z = squeeze(b, n / 2, &m), *two = malloc(2 * n), *twice = malloc(n);
    ck_assert(two && twice);
    memcpy(two, z, m);
    memcpy(two + m, z, m);
    memset(two + 2 * m, 0, 70000);                       /* padding, as tape drives leave */
    memcpy(twice, b, n / 2);
    memcpy(twice + n / 2, b, n / 2);
    const char *path = test_tmp_file("two.gz");
    test_write(path, two, 2 * m);
    expect(path, twice, n);
    test_write(path, two, 2 * m + 70000);
    expect(path, twice, n);
    for (int kind = 0; kind < 4; kind++) {               /* broken ones */
        char *got;
        size_t k = 2 * m;
        memcpy(two, z, m);
        if (kind == 0)
            k = m - 5;                                   /* the end is missing */
        if (kind == 1)
            two[m - 6] ^= 1;                             /* check sum */
        if (kind == 2)
            memcpy(two + m, "rubbish", 7);
        if (kind == 3)
            k = 9;
        test_write(path, two, k);
        ck_assert_int_eq(dfoi_file_slurp(ctx, path, SIZE_MAX, &got, &k), DFO_EFORMAT);
        SAYS(kind == 0 || kind == 3 ? "two.gz: truncated: the gzip data end early" : "two.gz: the gzip data are damaged");
        memcpy(two + m, z, m);
    }
    free(b);
    free(z);
    free(two);
    free(twice);
}
END_TEST

START_TEST(seeking)
{
    size_t n = 200000, m, got;
    unsigned char *b = pattern(n), *z = squeeze(b, n, &m), piece[100];
    test_rng rng = test_rng_new(test_seed());
    dfo_file *file[3];
    uint64_t size;
    test_write(test_tmp_file("s"), b, n);
    test_write(test_tmp_file("s.gz"), z, m);
    OK(dfoi_file_open(ctx, test_tmp_file("s"), &file[0]));
    OK(dfoi_file_memory(ctx, b, n, "block", &file[1]));
    OK(dfoi_file_open(ctx, test_tmp_file("s.gz"), &file[2]));
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < 200; i++) {
            size_t at = test_rng_between(&rng, 0, n);
            OK(dfoi_file_seek(file[k], at));
            OK(dfoi_file_read(file[k], piece, sizeof piece, &got));
            ck_assert_uint_eq(got, n - at < sizeof piece ? n - at : sizeof piece);
            ck_assert(!memcmp(piece, b + at, got));
        }
    for (size_t at = 0; at + 20000 < n; at += 20000) {
        OK(dfoi_file_seek(file[2], at));
        OK(dfoi_file_read_all(file[2], piece, sizeof piece, "data"));
        ck_assert(!memcmp(piece, b + at, sizeof piece));
    }
    ck_assert_int_eq(dfoi_file_seek(file[2], 5), DFO_EUNSUP);
    ck_assert_int_eq(dfoi_file_seek(file[2], n + 1), DFO_EFORMAT);
    OK(dfoi_file_size(file[0], &size));
    ck_assert(size == n);
    OK(dfoi_file_size(file[2], &size));
    ck_assert(size == UINT64_MAX);
    OK(dfoi_file_seek(file[0], n - 10));
    ck_assert_int_eq(dfoi_file_read_all(file[0], piece, 20, "rows"), DFO_EFORMAT);
    SAYS("truncated: expected 20 bytes of rows at byte 199990, found 10");
    for (int k = 0; k < 3; k++)
        dfoi_file_free(file[k]);
    free(b);
    free(z);
}
END_TEST

START_TEST(whole)
{
    size_t n = 150000, m, got;
    unsigned char *b = pattern(n), *z = squeeze(b, n, &m);
    const void *bytes;
    int mapped;
    dfo_file *file;
    test_write(test_tmp_file("w"), b, n);
    test_write(test_tmp_file("w.gz"), z, m);
    for (int k = 0; k < 3; k++) {
        OK(k == 2 ? dfoi_file_memory(ctx, b, n, "block", &file) : dfoi_file_open(ctx, test_tmp_file(k ? "w.gz" : "w"), &file));
        OK(dfoi_file_whole(file, n, &bytes, &got, &mapped));
        ck_assert_int_eq(mapped, k == 0);
        ck_assert(got == n && !memcmp(bytes, b, n));
        dfoi_file_free(file);
    }
    OK(dfoi_file_open(ctx, test_tmp_file("w.gz"), &file));
    ck_assert_int_eq(dfoi_file_whole(file, n - 1, &bytes, &got, &mapped), DFO_ELIMIT);
    SAYS("w.gz: longer than");
    dfoi_file_free(file);
    char *text;
    ck_assert_int_eq(dfoi_file_slurp(ctx, test_tmp_file("w"), 1000, &text, &got), DFO_ELIMIT);
    OK(dfoi_file_slurp(ctx, test_tmp_file("w"), n, &text, &got));
    ck_assert(got == n && !text[n] && !memcmp(text, b, n));
    dfoi_free(ctx, text);
    free(b);
    free(z);
}
END_TEST

START_TEST(refusals)
{
    dfo_file *file;
    ck_assert_int_eq(dfoi_file_open(ctx, test_tmp_file("missing"), &file), DFO_EIO);
    SAYS("missing: cannot open: No such file");
    ck_assert_int_eq(dfoi_file_open(ctx, test_tmp(), &file), DFO_EIO);
    SAYS("is a directory");
    ck_assert_int_eq(dfoi_file_create(ctx, test_tmp(), &file), DFO_EIO);
    SAYS("is a directory");
    ck_assert_int_eq(dfoi_file_create(ctx, test_tmp_file("no/where"), &file), DFO_EIO);
    SAYS("where: cannot create: No such file");
    ck_assert_int_eq(dfoi_file_create(ctx, "", &file), DFO_EARG);
    test_write(test_tmp_file("plain"), "x", 1);
    ck_assert_int_eq(dfoi_file_create(ctx, test_tmp_file("plain/y"), &file), DFO_EIO);
    SAYS("Not a directory");
    char name[5000];
    memset(name, 'a', sizeof name);
    name[sizeof name - 1] = 0;
    ck_assert_int_eq(dfoi_file_create(ctx, name, &file), DFO_EIO);
    SAYS("too long");
    for (int i = 0; i < 2; i++) {
        OK(dfoi_file_create(ctx, "/dev/full", &file));
        char block[100000] = "x";
        dfo_status status = dfoi_file_write(file, block, i ? sizeof block : 1);
        ck_assert_int_eq(status, i ? DFO_EIO : DFO_OK);
        ck_assert_int_eq(dfoi_file_commit(file), DFO_EIO);
        SAYS("/dev/full: cannot write: No space left on device");
        ck_assert_int_eq(dfoi_file_write(file, block, 1), DFO_EIO);
        dfoi_file_free(file);
    }
    OK(dfoi_file_create(ctx, "/dev/null", &file));
    OK(dfoi_file_write(file, name, sizeof name));
    OK(dfoi_file_commit(file));
    dfoi_file_free(file);
    struct stat st;
    ck_assert(!stat("/dev/null", &st) && S_ISCHR(st.st_mode));
}
END_TEST

START_TEST(pipes)
{
    const char *path = test_tmp_file("fifo");
    ck_assert_int_eq(mkfifo(path, 0600), 0);
    pid_t child = fork();
    ck_assert(child >= 0);
    if (!child) {
        unsigned char *b = pattern(200000);
        dfo_file *file;
        int bad = dfoi_file_create(ctx, path, &file) || dfoi_file_write(file, b, 200000) || dfoi_file_commit(file);
        _exit(bad);
    }
    unsigned char *b = pattern(200000);
    expect(path, b, 200000);
    free(b);
    int status;
    ck_assert(waitpid(child, &status, 0) == child && status == 0);
}
END_TEST

/* ---- each operation, each allocation ---- */

static dfo_status read_work(dfo_ctx *c, void *data)
{
    char *text;
    size_t n;
    DFO_TRY(dfoi_file_slurp(c, data, SIZE_MAX, &text, &n));
    dfoi_free(c, text);
    return DFO_OK;
}

static dfo_status seek_work(dfo_ctx *c, void *data)
{
    dfo_file *file;
    const void *bytes;
    char piece[10];
    size_t n;
    uint64_t size;
    int mapped;
    dfo_status status;
    DFO_TRY(dfoi_file_open(c, data, &file));
    DFO_GO(dfoi_file_size(file, &size));
    DFO_GO(dfoi_file_seek(file, 90000));
    DFO_GO(dfoi_file_read_all(file, piece, sizeof piece, "data"));
    DFO_GO(dfoi_file_whole(file, SIZE_MAX, &bytes, &n, &mapped));
fail:
    dfoi_file_free(file);
    return status;
}

START_TEST(each_fault)
{
    size_t n = 100000, m;
    unsigned char *b = pattern(n), *z = squeeze(b, n, &m);
    char folder[600], plain[600], packed[600];
    snprintf(folder, sizeof folder, "%s", test_tmp());
    snprintf(plain, sizeof plain, "%s", test_tmp_file("plain"));
    snprintf(packed, sizeof packed, "%s", test_tmp_file("packed.gz"));
    test_write(plain, b, n);
    test_write(packed, z, m);
    free(b);
    free(z);
    faults_check(&(faults){.what = "reading", .work = read_work, .data = plain, .folder = folder});
    faults_check(&(faults){.what = "unpacking", .work = read_work, .data = packed, .folder = folder});
    faults_check(&(faults){.what = "seeking", .work = seek_work, .data = plain, .folder = folder});
    oom_check("reading", OOM_ALL, read_work, plain);
    oom_check("unpacking", OOM_ALL, read_work, packed);
}
END_TEST

/* The caller's own table.  */
struct source {
    int left, closed;
};

static int own_read(void *state, void *to, size_t bytes, size_t *got)
{
    struct source *s = state;
    *got = bytes < (size_t)s->left ? bytes : (size_t)s->left;
    memset(to, 'z', *got);
    s->left -= (int)*got;
    return 0;
}

static int own_close(void *state)
{
    ((struct source *)state)->closed++;
    return 0;
}

START_TEST(wrapping)
{
    static const dfo_file_ops ops = {.read = own_read, .close = own_close};
    struct source s = {1000, 0};
    char got[2000];
    size_t n;
    dfo_file *file;
    OK(dfoi_file_wrap(ctx, &ops, &s, "mine", &file));
    ck_assert_str_eq(dfoi_file_name(file), "mine");
    OK(dfoi_file_read(file, got, sizeof got, &n));
    ck_assert_uint_eq(n, 1000);
    ck_assert(got[999] == 'z');
    dfoi_file_free(file);
    ck_assert_int_eq(s.closed, 1);
}
END_TEST

START_TEST(hashing)
{
    char text[17];                                       /* published values of FNV-1a 64 */
    dfoi_hash_text(dfoi_hash(DFOI_HASH_START, "", 0), text);
    ck_assert_str_eq(text, "cbf29ce484222325");
    dfoi_hash_text(dfoi_hash(DFOI_HASH_START, "foobar", 6), text);
    ck_assert_str_eq(text, "85944171f73967e8");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("file");
    TCase *tc = tcase_create("file");
    tcase_set_timeout(tc, 120);
    tcase_add_checked_fixture(tc, begin, end);
    tcase_add_test(tc, reading);
    tcase_add_test(tc, gzip_members);
    tcase_add_test(tc, seeking);
    tcase_add_test(tc, whole);
    tcase_add_test(tc, refusals);
    tcase_add_test(tc, pipes);
    tcase_add_test(tc, each_fault);
    tcase_add_test(tc, wrapping);
    tcase_add_test(tc, hashing);
    suite_add_tcase(suite, tc);
    return test_run(suite);
}

/* Writing beside and renaming: what is on the disk when, whose file is swept, interruptions, faults.  */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

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

static void content(const char *path, const char *want)
{
    size_t n;
    char *got = test_read(path, &n);
    ck_assert_msg(n == strlen(want) && !memcmp(got, want, n), "%s: expected '%s', found '%.*s'", path, want, (int)n, got);
    free(got);
}

static dfo_status put(dfo_ctx *c, const char *path, const char *text, int commit)
{
    dfo_file *file;
    DFO_TRY(dfoi_file_create(c, path, &file));
    dfo_status status = dfoi_file_write(file, text, strlen(text));
    if (status == DFO_OK && commit)
        status = dfoi_file_commit(file);
    dfoi_file_free(file);
    return status;
}

START_TEST(writing)
{
    const char *path = test_tmp_file("out"), *link = test_tmp_file("link"), *dangling = test_tmp_file("dangling");
    struct stat st;
    mode_t old = umask(027);
    OK(put(ctx, path, "first", 1));
    umask(old);
    content(path, "first");
    ck_assert(!stat(path, &st) && (st.st_mode & 0777) == 0640);
    OK(put(ctx, path, "second", 0));
    content(path, "first");
    OK(put(ctx, path, "third", 1));
    content(path, "third");
    ck_assert_int_eq(symlink("out", link), 0);
    OK(put(ctx, link, "through", 1));
    ck_assert(!lstat(link, &st) && S_ISLNK(st.st_mode));
    content(path, "through");
    ck_assert_int_eq(symlink("later", dangling), 0);
    OK(put(ctx, dangling, "dangled", 1));
    content(test_tmp_file("later"), "dangled");
    ck_assert_int_eq(symlink("loop", test_tmp_file("loop")), 0);
    ck_assert_int_eq(put(ctx, test_tmp_file("loop"), "x", 1), DFO_EIO);
    SAYS("symbolic links");
    char cwd[1000], name[300];
    ck_assert_ptr_nonnull(getcwd(cwd, sizeof cwd));
    ck_assert_int_eq(chdir(test_tmp()), 0);
    OK(put(ctx, "plainname", "here", 1));
    content("plainname", "here");
    memset(name, 'n', 255);
    name[255] = 0;
    OK(put(ctx, name, "longest name", 1));
    content(name, "longest name");
    ck_assert_int_eq(chdir(cwd), 0);
}
END_TEST

/* Plain files below /dev are written like others; names of descriptors are not replaced.  */
START_TEST(below_dev)
{
    char path[100], name[100];
    snprintf(path, sizeof path, "/dev/shm/diffeo-test-%ld", (long)getpid());
    if (access("/dev/shm", W_OK)) {
        printf("no /dev/shm here: skipped\n");
    } else {
        OK(put(ctx, path, "abandoned", 0));
        ck_assert(access(path, F_OK) != 0);
        OK(put(ctx, path, "shared", 1));
        content(path, "shared");
        ck_assert_int_eq(unlink(path), 0);
    }
    int descriptor = open(test_tmp_file("behind"), O_WRONLY | O_CREAT, 0600);
    ck_assert(descriptor >= 0);
    snprintf(name, sizeof name, "/dev/fd/%d", descriptor);
    OK(put(ctx, name, "through", 1));
    content(test_tmp_file("behind"), "through");
    close(descriptor);
    fflush(stdout);
    descriptor = open(test_tmp_file("stdout"), O_WRONLY | O_CREAT | O_APPEND, 0600);
    ck_assert(descriptor >= 0 && dup2(descriptor, 1) == 1);
    OK(put(ctx, "-", "one ", 1));
    OK(put(ctx, "/dev/stdout", "two", 1));
    content(test_tmp_file("stdout"), "one two");
}
END_TEST

static int count_beside(const char *prefix)
{
    char command[700];
    snprintf(command, sizeof command, "exit $(ls -a %s | grep -c '^%s\\.tmp-')", test_tmp(), prefix);
    int status = system(command);
    return WEXITSTATUS(status);
}

static int die_at_rename(const char *operation)
{
    if (!strcmp(operation, "rename"))
        raise(SIGKILL);
    return 0;
}

/* A killed writer's file goes, a living writer's stays, and names that only look alike.  */
START_TEST(sweeping)
{
    const char *path = test_tmp_file("model");
    dfo_file *file;
    OK(put(ctx, path, "old", 1));
    pid_t child = fork();
    ck_assert(child >= 0);
    if (!child) {
        dfoi_file_set_fault(die_at_rename);
        (void)put(ctx, path, "new", 1);
        _exit(0);
    }
    int status;
    ck_assert(waitpid(child, &status, 0) == child && WIFSIGNALED(status));
    content(path, "old");
    ck_assert_int_eq(count_beside("model"), 1);
    test_write(test_tmp_file("model.tmp-12"), "x", 1);
    test_write(test_tmp_file("model.tmp-1-2x"), "x", 1);
    test_write(test_tmp_file("other.tmp-1-2"), "x", 1);
    OK(dfoi_file_create(ctx, path, &file));              /* sweeps, and is alive */
    ck_assert_int_eq(count_beside("model"), 3);
    dfoi_file_sweep(path);
    ck_assert_int_eq(count_beside("model"), 3);
    OK(dfoi_file_commit(file));
    dfoi_file_free(file);
    ck_assert_int_eq(count_beside("model"), 2);
    ck_assert_int_eq(count_beside("other"), 1);
}
END_TEST

/* Two writers of one name at once: each has a file of its own, the last to finish wins.  */
START_TEST(two_writers)
{
    const char *path = test_tmp_file("both");
    dfo_file *a, *b;
    OK(dfoi_file_create(ctx, path, &a));
    OK(dfoi_file_create(ctx, path, &b));
    OK(dfoi_file_write(a, "aaaaaaaa", 8));
    OK(dfoi_file_write(b, "bbb", 3));
    OK(dfoi_file_commit(b));
    content(path, "bbb");
    OK(dfoi_file_commit(a));
    content(path, "aaaaaaaa");
    dfoi_file_free(a);
    dfoi_file_free(b);
    ck_assert_int_eq(count_beside("both"), 0);
}
END_TEST

/* What must be on the disk before the new name is: data, then the name, then the folder.  */
static char order[1000];

static int note(const char *operation)
{
    strncat(order, operation, sizeof order - strlen(order) - 2);
    strcat(order, " ");
    return 0;
}

START_TEST(order_of_writing)
{
    dfoi_file_set_fault(note);
    OK(put(ctx, test_tmp_file("ordered"), "x", 1));
    dfoi_file_set_fault(NULL);
    ck_assert_str_eq(order, "open write sync close rename sync-folder ");
}
END_TEST

/* Every system call is interrupted once, or moves one byte.  */
static int toggle, shorten;

static int interrupt(const char *operation)
{
    int transfer = !strcmp(operation, "read") || !strcmp(operation, "write");
    if (shorten)
        return transfer ? -1 : 0;
    if (!transfer && strcmp(operation, "open") && strcmp(operation, "sync") && strcmp(operation, "sync-folder"))
        return 0;
    return (toggle ^= 1) ? EINTR : 0;
}

START_TEST(interruptions)
{
    char text[3000], *got;
    size_t n;
    memset(text, 'q', sizeof text);
    text[sizeof text - 1] = 0;
    for (shorten = 0; shorten < 2; shorten++) {
        dfoi_file_set_fault(interrupt);
        OK(put(ctx, test_tmp_file("slow"), text, 1));
        OK(dfoi_file_slurp(ctx, test_tmp_file("slow"), SIZE_MAX, &got, &n));
        dfoi_file_set_fault(NULL);
        ck_assert_str_eq(got, text);
        dfoi_free(ctx, got);
    }
}
END_TEST

static int close_fails(const char *operation)
{
    return !strcmp(operation, "close") ? EIO : 0;
}

START_TEST(close_is_heard)
{
    OK(put(ctx, test_tmp_file("c"), "old", 1));
    dfoi_file_set_fault(close_fails);
    ck_assert_int_eq(put(ctx, test_tmp_file("c"), "new", 1), DFO_EIO);
    SAYS("c: cannot close");
    dfoi_file_set_fault(NULL);
    content(test_tmp_file("c"), "old");
    ck_assert_int_eq(count_beside("c"), 0);
}
END_TEST

/* ---- each operation, each allocation ---- */

static dfo_status write_work(dfo_ctx *c, void *data)
{
    char block[1000] = "new";
    dfo_file *file;
    DFO_TRY(dfoi_file_create(c, data, &file));
    dfo_status status = DFO_OK;
    for (int i = 0; i < 100 && status == DFO_OK; i++)
        status = dfoi_file_write(file, block, sizeof block);
    if (status == DFO_OK)
        status = dfoi_file_commit(file);
    dfoi_file_free(file);
    return status;
}

static void write_reset(void *data)
{
    test_write(data, "old", 3);
}

static int write_whole(void *data, int killed)
{
    size_t n;
    char *got = test_read(data, &n);
    (void)killed;
    int fine = (n == 3 && !memcmp(got, "old", 3)) || (n == 100000 && !memcmp(got, "new", 3));
    free(got);
    return fine;
}

START_TEST(each_fault)
{
    char folder[600], out[600];
    snprintf(folder, sizeof folder, "%s", test_tmp());
    snprintf(out, sizeof out, "%s", test_tmp_file("out"));
    faults_check(&(faults){.what = "writing", .work = write_work, .reset = write_reset, .whole = write_whole, .data = out,
                           .folder = folder});
    oom_check("writing", OOM_ALL, write_work, out);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("write");
    TCase *tc = tcase_create("write");
    tcase_set_timeout(tc, 120);
    tcase_add_checked_fixture(tc, begin, end);
    tcase_add_test(tc, writing);
    tcase_add_test(tc, below_dev);
    tcase_add_test(tc, sweeping);
    tcase_add_test(tc, two_writers);
    tcase_add_test(tc, order_of_writing);
    tcase_add_test(tc, interruptions);
    tcase_add_test(tc, close_is_heard);
    tcase_add_test(tc, each_fault);
    suite_add_tcase(suite, tc);
    return test_run(suite);
}

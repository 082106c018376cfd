/* Fails each file operation in turn: see faults.h.  */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file_impl.h"
#include "faults.h"
#include "util.h"

enum { KILL = -2, SHORT = -1 };       /* what happens at the chosen operation, beside an errno */

static size_t counted, chosen;        /* operations so far; the one that fails, from 1 */
static int    how;
static char   name[32];               /* the chosen operation's */

static int hook(const char *operation)
{
    if (++counted != chosen)
        return 0;
    strncpy(name, operation, sizeof name - 1);
    if (how == KILL) {
        raise(SIGKILL);
        _exit(9);
    }
    if (how == SHORT && strcmp(operation, "write"))
        return EIO;
    return how;
}

static size_t files_in(const char *folder)
{
    size_t n = 0;
    DIR *dir = folder ? opendir(folder) : NULL;
    if (!dir)
        return 0;
    while (readdir(dir))
        n++;
    closedir(dir);
    return n;
}

struct result {
    dfo_status status;
    size_t     left;
    char       text[512];
};

static struct result run(const faults *f, size_t which, int fault)
{
    struct result r = {0};
    dfo_ctx *ctx;
    ck_assert_msg(dfo_ctx_new(&ctx) == DFO_OK, "no memory for the test itself");
    dfo_ctx_set_threads(ctx, 1);
    memset(name, 0, sizeof name);
    counted = 0;
    chosen = which;
    how = fault;
    dfoi_file_set_fault(hook);
    r.status = f->work(ctx, f->data);
    dfoi_file_set_fault(NULL);
    r.left = dfo_ctx_bytes(ctx);
    strncpy(r.text, dfo_ctx_error(ctx), sizeof r.text - 1);
    if (!r.left)
        dfo_ctx_free(ctx);
    return r;
}

static void check_succeeds(const faults *f, const char *when)
{
    struct result r = run(f, 0, 0);
    ck_assert_msg(r.status == DFO_OK, "%s: %s: %s: %s", f->what, when, dfo_status_text(r.status), r.text);
    ck_assert_msg(!r.left, "%s: %s: %zu bytes remain", f->what, when, r.left);
    ck_assert_msg(!f->whole || f->whole(f->data, 0), "%s: %s: the files are not whole", f->what, when);
}

static void check_fault(const faults *f, size_t k, size_t all, int fault, const char *word)
{
    if (f->reset)
        f->reset(f->data);
    size_t before = files_in(f->folder);
    struct result r = run(f, k, fault);
    /* a short write is no failure: the rest is written by another call */
    int must = (!strcmp(name, "write") && fault != SHORT) || !strcmp(name, "sync") || !strcmp(name, "rename");
    ck_assert_msg(!r.left, "%s: operation %zu of %zu (%s) %s: %zu bytes remain (text: %s)", f->what, k, all,
                  name, word, r.left, r.text);
    ck_assert_msg(!must || r.status != DFO_OK, "%s: operation %zu of %zu (%s) %s: not noticed", f->what, k, all,
                  name, word);
    ck_assert_msg(r.status == DFO_OK || r.text[0], "%s: operation %zu of %zu (%s) %s: '%s' without a text",
                  f->what, k, all, name, word, dfo_status_text(r.status));
    ck_assert_msg(!f->whole || f->whole(f->data, 0),
                  "%s: operation %zu of %zu (%s) %s: the files are neither old nor new (text: %s)", f->what, k,
                  all, name, word, r.text);
    if (r.status != DFO_OK)
        ck_assert_msg(files_in(f->folder) <= before, "%s: operation %zu of %zu (%s) %s: a file is left beside",
                      f->what, k, all, name, word);
}

static void check_kill(const faults *f, size_t k, size_t all)
{
    if (f->reset)
        f->reset(f->data);
    pid_t child = fork();
    ck_assert_msg(child >= 0, "cannot fork");
    if (!child) {
        (void)run(f, k, KILL);
        _exit(0);                     /* the operation was not reached */
    }
    int status;
    while (waitpid(child, &status, 0) < 0)
        ck_assert_msg(errno == EINTR, "waitpid: %s", strerror(errno));
    ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL,
                  "%s: operation %zu of %zu: the process ended by itself (status %x)", f->what, k, all,
                  (unsigned)status);
    ck_assert_msg(!f->whole || f->whole(f->data, 1), "%s: killed at operation %zu of %zu: neither old nor new",
                  f->what, k, all);
    check_succeeds(f, "run over what a killed one left");
}

size_t faults_check(const faults *f)
{
    if (f->reset)
        f->reset(f->data);
    check_succeeds(f, "first run");
    if (f->reset)
        f->reset(f->data);
    check_succeeds(f, "counting run");
    size_t all = counted, most = test_times(200);
    ck_assert_msg(all > 0, "%s: no file operation", f->what);
    size_t tries = all < most ? all : most;
    for (size_t t = 0; t < tries; t++) {
        size_t k = 1 + (tries == all ? t : (size_t)((double)t * (double)(all - 1) / (double)(tries - 1)));
        check_fault(f, k, all, EIO, "failed (EIO)");
        check_fault(f, k, all, ENOSPC, "failed (ENOSPC)");
        check_fault(f, k, all, SHORT, "came back short");
        check_kill(f, k, all);
    }
    if (f->reset)
        f->reset(f->data);
    check_succeeds(f, "run after all failures");
    return all;
}

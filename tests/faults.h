/* Fails each file operation of a piece of work in turn, and kills the process at each.  */
#ifndef DIFFEO_TESTS_FAULTS_H
#define DIFFEO_TESTS_FAULTS_H

#include <stddef.h>
#include <diffeo/ctx.h>

typedef struct faults {
    const char *what;                                      /* for messages: "saving a model" */
    /* Does the work (through dfo_file), frees everything it made and returns the first failure.  */
    dfo_status (*work)(dfo_ctx *ctx, void *data);
    void       (*reset)(void *data);                       /* puts the old state on disk; may be NULL */
    /* 1 if what is on disk is wholly the old state or wholly the new one; may be NULL.  killed: the
     * process died, so a temporary file may lie beside; else there must be none.  */
    int        (*whole)(void *data, int killed);
    void        *data;
    const char  *folder;                                   /* counted before and after: no file may remain; may be NULL */
} faults;

/* For every file operation of the work (opening, reading, writing, seeking, fsync, renaming, closing;
 * at most DIFFEO_TEST_MULTIPLIER * 200 of them, evenly spread):
 *  - it fails with EIO, with ENOSPC, and (writes) comes back short: the work either fails with a text
 *    or did without it; nothing of the context remains; the disk is whole; no new file in `folder`;
 *  - the process is killed there: the disk is whole, and the work then succeeds over the remains.
 * A failing write, sync or rename must make the work fail (a short write need not: the rest follows).  Fails
 * the running test (libcheck) with the operation's name and number.  Returns the number of operations.  */
size_t faults_check(const faults *f);

#endif

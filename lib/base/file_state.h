/* The file's fields and what the parts of the file layer offer each other: for file*.c alone.  */
#ifndef DFOI_FILE_STATE_H
#define DFOI_FILE_STATE_H

#include "base/ctx_impl.h"
#include "base/file_impl.h"

#define DFOI_FILE_BUFFER ((size_t)1 << 16)      /* bytes */

struct dfo_file {
    dfo_ctx            *ctx;
    char               *name;
    const dfo_file_ops *ops;          /* NULL once closed */
    void               *state;
    struct dfoi_target *target;       /* where a written file goes; NULL: written directly */
    dfo_status          status;       /* a writer's first failure stays */
    int                 writing;
    unsigned char      *buffer;       /* DFOI_FILE_BUFFER */
    size_t              at, have;     /* reading: buffer[at .. have-1] is next; writing: have bytes wait */
    uint64_t            position;     /* reading: of the next byte */
    void               *whole;        /* dfoi_file_whole's copy, where the file could not be mapped */
};

/* 0, or the errno the test hook wants (-1: a short transfer).  */
int dfoi_file_ask(const char *operation);

/* Makes the entry of `path` in its folder last.  An errno; 0 too where folders cannot be synced.  */
int dfoi_file_sync_folder(const char *path);

/* DFO_EIO "name: cannot <what>: <the system's reason>".  */
dfo_status dfoi_file_failed(dfo_ctx *ctx, const char *name, const char *what, int error);

/* A file on disk.  flags as for open(2), mode 0666; the descriptor is closed with the state.
 * keep: the caller's descriptor, left open.  Each returns an errno.  */
extern const dfo_file_ops dfoi_disk_ops;
dfo_status dfoi_disk_open(dfo_ctx *ctx, const char *path, int flags, void **state, int *error);
dfo_status dfoi_disk_keep(dfo_ctx *ctx, int descriptor, void **state);
int dfoi_disk_descriptor(const void *state);

/* Unpacks gzip from another file's state; takes it over, also on failure.  head: its first bytes,
 * already read.  */
extern const dfo_file_ops dfoi_gzip_ops;
dfo_status dfoi_gzip_open(dfo_ctx *ctx, const dfo_file_ops *inner, void *inner_state, const void *head, size_t n,
                          void **state);

/* The final name and the temporary file beside it.  */
struct dfoi_target {
    char *path;          /* symbolic links followed */
    char *temporary;     /* "" once renamed */
    int   lock;          /* holds the lock on it; -1: none */
};
/* Opens the temporary file; *state is the disk's.  */
dfo_status dfoi_target_open(dfo_ctx *ctx, const char *path, struct dfoi_target **out, void **state);
dfo_status dfoi_target_rename(dfo_ctx *ctx, const struct dfoi_target *target);
/* Frees it, and removes the temporary file if `remove`.  */
void dfoi_target_free(dfo_ctx *ctx, struct dfoi_target *target, int remove);

#endif

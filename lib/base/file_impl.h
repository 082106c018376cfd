/* Bytes from outside, through one table, so that tests inject faults.  Private.  */
#ifndef DFOI_FILE_IMPL_H
#define DFOI_FILE_IMPL_H

#include <stdint.h>
#include <stddef.h>
#include <diffeo/ctx.h>

typedef struct dfo_file dfo_file;

/* One table per kind of file (disk, gzip, memory, test doubles).  Each returns 0 or an errno.  */
typedef struct dfo_file_ops {
    int  (*read)(void *state, void *to, size_t bytes, size_t *got);       /* got < bytes: the end */
    int  (*write)(void *state, const void *from, size_t bytes, size_t *put);
    int  (*seek)(void *state, uint64_t offset);
    int  (*size)(void *state, uint64_t *bytes);
    int  (*sync)(void *state);
    int  (*close)(void *state);
} dfo_file_ops;

/* Opens for reading.  gzip is recognised by content (magic 1f 8b) and unpacked on the fly; then
 * seek works forward only and size is unknown (UINT64_MAX).  "-" is standard input.
 * DFO_EIO with the system's reason; a directory is refused with a message.  */
dfo_status dfoi_file_open(dfo_ctx *ctx, const char *path, dfo_file **out);

/* Opens a memory block for reading; not copied.  name is used in messages.  */
dfo_status dfoi_file_memory(dfo_ctx *ctx, const void *bytes, size_t n, const char *name, dfo_file **out);

/* Opens for writing beside `path`; dfoi_file_commit renames it into place after fsync (file, then
 * folder).  dfoi_file_free before commit removes the temporary file: the old one stays whole.
 * "-" is standard output; devices and fifos (/dev/stdout, /dev/null, /dev/full) are written directly.  */
dfo_status dfoi_file_create(dfo_ctx *ctx, const char *path, dfo_file **out);

/* Wraps caller's ops (for tests and callbacks).  */
dfo_status dfoi_file_wrap(dfo_ctx *ctx, const dfo_file_ops *ops, void *state, const char *name, dfo_file **out);

dfo_status dfoi_file_read(dfo_file *file, void *to, size_t bytes, size_t *got);      /* short at the end */
dfo_status dfoi_file_read_all(dfo_file *file, void *to, size_t bytes, const char *what); /* else DFO_EFORMAT "truncated" */
dfo_status dfoi_file_write(dfo_file *file, const void *from, size_t bytes);          /* buffered */
dfo_status dfoi_file_seek(dfo_file *file, uint64_t offset);
dfo_status dfoi_file_size(dfo_file *file, uint64_t *bytes);
dfo_status dfoi_file_commit(dfo_file *file);
void dfoi_file_free(dfo_file *file);                 /* NULL is fine */
const char *dfoi_file_name(const dfo_file *file);

/* The whole file in memory (0-terminated after *n bytes), at most `limit` bytes; freed by dfoi_free.  */
dfo_status dfoi_file_slurp(dfo_ctx *ctx, const char *path, size_t limit, char **out, size_t *n);

/* Removes files that an interrupted writer of `path` left beside it.  */
void dfoi_file_sweep(const char *path);

/* Test hook: when set, every file operation of the process asks it first; a non-zero return is the
 * errno to fail with (or -1 for a short write).  NULL switches it off.  */
typedef int (*dfoi_file_fault)(const char *operation);
void dfoi_file_set_fault(dfoi_file_fault hook);

#endif

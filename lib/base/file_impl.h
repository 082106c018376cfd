/* Bytes from outside, through one table, so that tests inject faults.  Private.  */
#ifndef DFOI_FILE_IMPL_H
#define DFOI_FILE_IMPL_H

#include <stdint.h>
#include <stddef.h>
#include <diffeo/ctx.h>

typedef struct dfo_file dfo_file;

/* One table per kind of file (disk, gzip, memory, test doubles).  Each returns 0 or an errno; an
 * absent slot is an absent ability.  close frees the state.  */
typedef struct dfo_file_ops {
    int  (*read)(void *state, void *to, size_t bytes, size_t *got);       /* got < bytes: the end */
    int  (*write)(void *state, const void *from, size_t bytes, size_t *put);
    int  (*seek)(void *state, uint64_t offset);
    int  (*size)(void *state, uint64_t *bytes);                           /* UINT64_MAX: unknown */
    int  (*sync)(void *state);
    int  (*close)(void *state);
    int  (*map)(void *state, const void **bytes, size_t *n);              /* valid until close */
} dfo_file_ops;

/* Opens for reading.  gzip is recognised by content (magic 1f 8b) and unpacked on the fly; then
 * seek works forward only and size is unknown (UINT64_MAX).  "-" is standard input.
 * DFO_EIO with the system's reason; a directory is refused with a message.  */
dfo_status dfoi_file_open(dfo_ctx *ctx, const char *path, dfo_file **out);

/* Opens a memory block for reading; not copied.  name is used in messages.  */
dfo_status dfoi_file_memory(dfo_ctx *ctx, const void *bytes, size_t n, const char *name, dfo_file **out);

/* Opens for writing beside `path`; dfoi_file_commit renames it into place after fsync (file, then
 * folder).  dfoi_file_free before commit removes the temporary file: the old one stays whole.
 * Symbolic links are followed: the file they lead to is replaced, the link stays.  What dead writers
 * left is swept first.  "-" and /dev/stdout are standard output; other devices and fifos
 * (/dev/null, /dev/full) are written directly.  */
dfo_status dfoi_file_create(dfo_ctx *ctx, const char *path, dfo_file **out);

/* Wraps caller's ops (for tests and callbacks).  */
dfo_status dfoi_file_wrap(dfo_ctx *ctx, const dfo_file_ops *ops, void *state, const char *name, dfo_file **out);

dfo_status dfoi_file_read(dfo_file *file, void *to, size_t bytes, size_t *got);      /* short at the end */
dfo_status dfoi_file_read_all(dfo_file *file, void *to, size_t bytes, const char *what); /* else DFO_EFORMAT "truncated" */
/* The next bytes without taking them: at most 4,096, fewer at the end.  *at is valid until the next call.  */
dfo_status dfoi_file_peek(dfo_file *file, size_t bytes, const void **at, size_t *got);
/* The whole file as one block, owned by the file: mapped if it is a plain file on disk (*mapped = 1),
 * else read (gzip, pipes; at most `limit` bytes, else DFO_ELIMIT).  Nothing may have been read before
 * (peeking is fine).  A file that shrinks while it is mapped ends the process (SIGBUS).  */
dfo_status dfoi_file_whole(dfo_file *file, size_t limit, const void **bytes, size_t *n, int *mapped);
dfo_status dfoi_file_write(dfo_file *file, const void *from, size_t bytes);          /* buffered */
dfo_status dfoi_file_seek(dfo_file *file, uint64_t offset);                          /* reading only */
dfo_status dfoi_file_size(dfo_file *file, uint64_t *bytes);                          /* UINT64_MAX: unknown */
dfo_status dfoi_file_commit(dfo_file *file);
void dfoi_file_free(dfo_file *file);                 /* NULL is fine */
const char *dfoi_file_name(const dfo_file *file);

/* The whole file in memory (0-terminated after *n bytes), at most `limit` bytes; freed by dfoi_free.  */
dfo_status dfoi_file_slurp(dfo_ctx *ctx, const char *path, size_t limit, char **out, size_t *n);

/* Removes files that a killed writer of `path` left beside it: PATH.tmp-PID-N that no living process
 * holds locked.  */
void dfoi_file_sweep(const char *path);

/* FNV-1a 64.  Start with DFOI_HASH_START.  */
#define DFOI_HASH_START UINT64_C(0xcbf29ce484222325)
uint64_t dfoi_hash(uint64_t hash, const void *bytes, size_t n);
/* 16 hexadecimal digits and a 0.  */
void dfoi_hash_text(uint64_t hash, char out[17]);

/* Test hook: when set, every file operation of the process asks it first ("open read write seek size
 * map sync close rename unlink sync-folder"); a non-zero return is the errno to fail with (or -1 for a
 * read or write of a single byte; "unlink" is told, but done all the same).  NULL switches it off.  */
typedef int (*dfoi_file_fault)(const char *operation);
void dfoi_file_set_fault(dfoi_file_fault hook);

#endif

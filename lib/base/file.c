/* Files: the buffer and the messages in front of whatever holds the bytes.  */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file_state.h"

#define PEEK ((size_t)4096)

dfo_status dfoi_file_failed(dfo_ctx *ctx, const char *name, const char *what, int error)
{
    char text[128];
    if (error == ENOMEM)
        return dfoi_fail(ctx, DFO_EMEM, "%s: cannot %s: out of memory", name, what);
    if (error == ENODATA)
        return dfoi_fail(ctx, DFO_EFORMAT, "%s: truncated: the gzip data end early", name);
    if (error == EBADMSG)
        return dfoi_fail(ctx, DFO_EFORMAT, "%s: the gzip data are damaged", name);
    return dfoi_fail(ctx, DFO_EIO, "%.500s: cannot %s: %s", name, what, strerror_r(error, text, sizeof text));
}

static dfo_status make(dfo_ctx *ctx, const char *name, int writing, dfo_file **out)
{
    dfo_file *file;
    dfo_status status;
    *out = NULL;
    DFO_TRY(dfoi_alloc(ctx, 1, sizeof *file, &file));
    file->ctx = ctx;
    file->writing = writing;
    DFO_GO(dfoi_strdup(ctx, name, &file->name));
    DFO_GO(dfoi_alloc(ctx, DFOI_FILE_BUFFER, 1, &file->buffer));
    *out = file;
    return DFO_OK;
fail:
    dfoi_file_free(file);
    return status;
}

dfo_status dfoi_file_wrap(dfo_ctx *ctx, const dfo_file_ops *ops, void *state, const char *name, dfo_file **out)
{
    dfo_status status = make(ctx, name, !ops->read, out);
    if (status != DFO_OK) {
        ops->close(state);
        return status;
    }
    (*out)->ops = ops;
    (*out)->state = state;
    return DFO_OK;
}

dfo_status dfoi_file_open(dfo_ctx *ctx, const char *path, dfo_file **out)
{
    int standard = !strcmp(path, "-"), error = 0;
    const unsigned char *head;
    size_t got;
    dfo_file *file;
    dfo_status status;
    *out = NULL;
    DFO_TRY(make(ctx, standard ? "standard input" : path, 0, &file));
    if (standard)
        status = dfoi_disk_keep(ctx, STDIN_FILENO, &file->state);
    else
        status = dfoi_disk_open(ctx, path, O_RDONLY, &file->state, &error);
    if (error)
        status = dfoi_file_failed(ctx, path, "open", error);
    if (status != DFO_OK)
        goto fail;
    file->ops = &dfoi_disk_ops;
    struct stat st;
    if (!fstat(dfoi_disk_descriptor(file->state), &st) && S_ISDIR(st.st_mode)) {
        status = dfoi_fail(ctx, DFO_EIO, "%s: is a directory, expected a file", path);
        goto fail;
    }
    DFO_GO(dfoi_file_peek(file, 2, (const void **)&head, &got));
    if (got == 2 && head[0] == 0x1f && head[1] == 0x8b) {
        void *state;
        file->ops = NULL;
        DFO_GO(dfoi_gzip_open(ctx, &dfoi_disk_ops, file->state, file->buffer, file->have, &state));
        file->ops = &dfoi_gzip_ops;
        file->state = state;
        file->have = 0;
    }
    *out = file;
    return DFO_OK;
fail:
    dfoi_file_free(file);
    return status;
}

/* A target that is not a plain file is written as it stands.  */
static dfo_status open_direct(dfo_ctx *ctx, const char *path, void **state)
{
    int error = 0;
    if (!strcmp(path, "-") || !strcmp(path, "/dev/stdout"))
        return dfoi_disk_keep(ctx, STDOUT_FILENO, state);
    dfo_status status = dfoi_disk_open(ctx, path, O_WRONLY, state, &error);
    return error ? dfoi_file_failed(ctx, path, "open for writing", error) : status;
}

/* Names of open descriptors: written as they stand, also where a plain file is behind them.  (/dev/shm is
 * a folder like any other.)  */
static int is_descriptor(const char *path)
{
    return !strcmp(path, "-") || !strcmp(path, "/dev/stdout") || !strcmp(path, "/dev/stderr") ||
           !strncmp(path, "/dev/fd/", 8) || !strncmp(path, "/proc/", 6);
}

dfo_status dfoi_file_create(dfo_ctx *ctx, const char *path, dfo_file **out)
{
    struct stat st;
    dfo_file *file;
    dfo_status status;
    int standard = !strcmp(path, "-");
    *out = NULL;
    if (!*path)
        return dfoi_fail(ctx, DFO_EARG, "the name of the output file is empty");
    DFO_TRY(make(ctx, standard ? "standard output" : path, 1, &file));
    int there = !standard && !stat(path, &st);
    if (there && S_ISDIR(st.st_mode)) {
        status = dfoi_fail(ctx, DFO_EIO, "%s: is a directory, expected the name of a file", path);
        goto fail;
    }
    if (is_descriptor(path) || (there && !S_ISREG(st.st_mode)))
        DFO_GO(open_direct(ctx, path, &file->state));
    else
        DFO_GO(dfoi_target_open(ctx, path, &file->target, &file->state));
    file->ops = &dfoi_disk_ops;
    *out = file;
    return DFO_OK;
fail:
    dfoi_file_free(file);
    return status;
}

void dfoi_file_free(dfo_file *file)
{
    if (!file)
        return;
    if (file->ops)
        file->ops->close(file->state);
    dfoi_target_free(file->ctx, file->target, 1);
    dfoi_free(file->ctx, file->whole);
    dfoi_free(file->ctx, file->buffer);
    dfoi_free(file->ctx, file->name);
    dfoi_free(file->ctx, file);
}

const char *dfoi_file_name(const dfo_file *file)
{
    return file->name;
}

dfo_status dfoi_file_read(dfo_file *file, void *to, size_t bytes, size_t *got)
{
    *got = 0;
    while (*got < bytes) {
        size_t want = bytes - *got;
        if (file->at < file->have) {
            size_t n = file->have - file->at < want ? file->have - file->at : want;
            memcpy((char *)to + *got, file->buffer + file->at, n);
            file->at += n;
            *got += n;
            continue;
        }
        size_t n = 0;
        int direct = want >= DFOI_FILE_BUFFER, error;
        if (direct) {
            error = file->ops->read(file->state, (char *)to + *got, want, &n);
        } else {
            error = file->ops->read(file->state, file->buffer, DFOI_FILE_BUFFER, &n);
            file->at = 0;
            file->have = error ? 0 : n;
        }
        if (error)
            return dfoi_file_failed(file->ctx, file->name, "read", error);
        if (direct)
            *got += n;
        if (n == 0 || (direct && n < want))
            break;
    }
    file->position += *got;
    return DFO_OK;
}

dfo_status dfoi_file_read_all(dfo_file *file, void *to, size_t bytes, const char *what)
{
    size_t got;
    uint64_t start = file->position;
    DFO_TRY(dfoi_file_read(file, to, bytes, &got));
    if (got < bytes)
        return dfoi_fail(file->ctx, DFO_EFORMAT, "%s: truncated: expected %zu bytes of %s at byte %llu, found %zu",
                         file->name, bytes, what, (unsigned long long)start, got);
    return DFO_OK;
}

dfo_status dfoi_file_peek(dfo_file *file, size_t bytes, const void **at, size_t *got)
{
    if (bytes > PEEK)
        bytes = PEEK;
    if (file->have - file->at < bytes) {
        size_t n = 0, left = file->have - file->at;
        memmove(file->buffer, file->buffer + file->at, left);
        file->at = 0;
        file->have = left;
        int error = file->ops->read(file->state, file->buffer + left, bytes - left, &n);
        if (error)
            return dfoi_file_failed(file->ctx, file->name, "read", error);
        file->have += n;
    }
    *at = file->buffer + file->at;
    *got = file->have - file->at < bytes ? file->have - file->at : bytes;
    return DFO_OK;
}

/* Reads to the end into memory that grows as bytes come: nothing the file says is believed.  */
static dfo_status read_whole(dfo_file *file, size_t limit, char **out, size_t *n)
{
    size_t room = 0, got;
    dfo_status status;
    *out = NULL;
    *n = 0;
    do {
        if (*n + 1 >= room) {
            size_t more = room ? 2 * room : DFOI_FILE_BUFFER;
            DFO_GO(dfoi_grow(file->ctx, *n, more, 1, out));
            room = more;
        }
        size_t want = room - 1 - *n;
        DFO_GO(dfoi_file_read(file, *out + *n, want, &got));
        *n += got;
        if (*n > limit) {
            status = dfoi_fail(file->ctx, DFO_ELIMIT, "%s: longer than the %zu bytes expected at most", file->name,
                               limit);
            goto fail;
        }
        if (got < want)
            break;
    } while (1);
    (*out)[*n] = 0;
    return DFO_OK;
fail:
    dfoi_free(file->ctx, *out);
    *out = NULL;
    return status;
}

dfo_status dfoi_file_whole(dfo_file *file, size_t limit, const void **bytes, size_t *n, int *mapped)
{
    char *copy;
    *mapped = 0;
    int error = file->ops->map ? file->ops->map(file->state, bytes, n) : ENODEV;
    if (!error) {
        *mapped = file->ops == &dfoi_disk_ops;
        return DFO_OK;
    }
    if (error != ENODEV && error != EACCES && error != EPERM && error != EINVAL)
        return dfoi_file_failed(file->ctx, file->name, "map", error);
    DFO_TRY(read_whole(file, limit, &copy, n));
    file->whole = copy;
    *bytes = copy;
    return DFO_OK;
}

dfo_status dfoi_file_slurp(dfo_ctx *ctx, const char *path, size_t limit, char **out, size_t *n)
{
    dfo_file *file;
    *out = NULL;
    *n = 0;
    DFO_TRY(dfoi_file_open(ctx, path, &file));
    dfo_status status = read_whole(file, limit, out, n);
    dfoi_file_free(file);
    return status;
}

dfo_status dfoi_file_seek(dfo_file *file, uint64_t offset)
{
    if (file->writing)
        return dfoi_fail(file->ctx, DFO_EUNSUP, "%s: cannot seek while writing", file->name);
    uint64_t start = file->position - file->at;              /* of the buffer */
    if (offset >= start && offset <= start + file->have) {
        file->at = (size_t)(offset - start);
        file->position = offset;
        return DFO_OK;
    }
    int error = file->ops->seek ? file->ops->seek(file->state, offset) : ESPIPE;
    if (!error) {
        file->at = file->have = 0;
        file->position = offset;
        return DFO_OK;
    }
    if (error != ESPIPE)
        return dfoi_file_failed(file->ctx, file->name, "seek", error);
    if (offset < file->position)
        return dfoi_fail(file->ctx, DFO_EUNSUP, "%s: can only be read from start to end", file->name);
    while (file->position < offset) {                        /* a pipe, gzip: read and forget */
        unsigned char scrap[4096];
        size_t got, want = offset - file->position < sizeof scrap ? (size_t)(offset - file->position) : sizeof scrap;
        DFO_TRY(dfoi_file_read(file, scrap, want, &got));
        if (got < want)
            return dfoi_fail(file->ctx, DFO_EFORMAT, "%s: truncated: expected at least %llu bytes, found %llu",
                             file->name, (unsigned long long)offset, (unsigned long long)file->position);
    }
    return DFO_OK;
}

dfo_status dfoi_file_size(dfo_file *file, uint64_t *bytes)
{
    *bytes = UINT64_MAX;
    int error = file->ops->size ? file->ops->size(file->state, bytes) : 0;
    return error ? dfoi_file_failed(file->ctx, file->name, "find the size", error) : DFO_OK;
}

static dfo_status put(dfo_file *file, const void *from, size_t bytes)
{
    size_t done = 0;
    int error = file->ops->write(file->state, from, bytes, &done);
    if (!error && done < bytes)
        error = EIO;
    if (error)
        file->status = dfoi_file_failed(file->ctx, file->name, "write", error);
    return file->status;
}

static dfo_status flush(dfo_file *file)
{
    size_t n = file->have;
    file->have = 0;
    return n ? put(file, file->buffer, n) : file->status;
}

dfo_status dfoi_file_write(dfo_file *file, const void *from, size_t bytes)
{
    if (file->status != DFO_OK)
        return file->status;
    if (bytes > DFOI_FILE_BUFFER - file->have)
        DFO_TRY(flush(file));
    if (bytes >= DFOI_FILE_BUFFER)
        return put(file, from, bytes);
    memcpy(file->buffer + file->have, from, bytes);
    file->have += bytes;
    return DFO_OK;
}

dfo_status dfoi_file_commit(dfo_file *file)
{
    DFO_TRY(file->status);
    DFO_TRY(flush(file));
    int error = file->ops->sync ? file->ops->sync(file->state) : 0;
    if (error)
        return file->status = dfoi_file_failed(file->ctx, file->name, "sync", error);
    error = file->ops->close(file->state);
    file->ops = NULL;
    if (error)
        return file->status = dfoi_file_failed(file->ctx, file->name, "close", error);
    if (file->target)
        file->status = dfoi_target_rename(file->ctx, file->target);
    return file->status;
}

uint64_t dfoi_hash(uint64_t hash, const void *bytes, size_t n)
{
    const unsigned char *b = bytes;
    for (size_t i = 0; i < n; i++)
        hash = (hash ^ b[i]) * UINT64_C(0x100000001b3);
    return hash;
}

void dfoi_hash_text(uint64_t hash, char out[17])
{
    for (int i = 0; i < 16; i++)
        out[i] = "0123456789abcdef"[hash >> (60 - 4 * i) & 15];
    out[16] = 0;
}

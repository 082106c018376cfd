/* Files on disk: system calls with EINTR retried, and the hook that tests use to make them fail.  */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file_state.h"

#define MOST ((size_t)1 << 30)        /* bytes in one system call */

struct disk {
    dfo_ctx *ctx;
    int      descriptor;
    int      keep;                    /* not ours to close */
    void    *map;
    size_t   mapped;
};

/* The one variable of the file layer; only tests set it.  */
static _Atomic(dfoi_file_fault) fault_hook;

void dfoi_file_set_fault(dfoi_file_fault hook)
{
    atomic_store(&fault_hook, hook);
}

int dfoi_file_ask(const char *operation)
{
    dfoi_file_fault hook = atomic_load(&fault_hook);
    return hook ? hook(operation) : 0;
}

static dfo_status make(dfo_ctx *ctx, int descriptor, int keep, void **state)
{
    struct disk *disk;
    DFO_TRY(dfoi_alloc(ctx, 1, sizeof *disk, &disk));
    *disk = (struct disk){.ctx = ctx, .descriptor = descriptor, .keep = keep};
    *state = disk;
    return DFO_OK;
}

dfo_status dfoi_disk_open(dfo_ctx *ctx, const char *path, int flags, void **state, int *error)
{
    int descriptor = -1;
    *state = NULL;
    do {
        *error = dfoi_file_ask("open");
        if (*error <= 0) {
            descriptor = open(path, flags | O_CLOEXEC, 0666);
            *error = descriptor < 0 ? errno : 0;
        }
    } while (*error == EINTR);
    if (*error)
        return DFO_EIO;
    dfo_status status = make(ctx, descriptor, 0, state);
    if (status != DFO_OK)
        close(descriptor);
    return status;
}

dfo_status dfoi_disk_keep(dfo_ctx *ctx, int descriptor, void **state)
{
    return make(ctx, descriptor, 1, state);
}

int dfoi_disk_descriptor(const void *state)
{
    return ((const struct disk *)state)->descriptor;
}

static int disk_read(void *state, void *to, size_t bytes, size_t *got)
{
    const struct disk *disk = state;
    *got = 0;
    while (*got < bytes) {
        size_t want = bytes - *got < MOST ? bytes - *got : MOST;
        int error = dfoi_file_ask("read");
        if (error == -1)
            want = 1;
        ssize_t n = error > 0 ? -1 : read(disk->descriptor, (char *)to + *got, want);
        if (n < 0) {
            error = error > 0 ? error : errno;
            if (error == EINTR)
                continue;
            return error;
        }
        if (n == 0)
            break;
        *got += (size_t)n;
    }
    return 0;
}

static int disk_write(void *state, const void *from, size_t bytes, size_t *put)
{
    const struct disk *disk = state;
    *put = 0;
    while (*put < bytes) {
        size_t want = bytes - *put < MOST ? bytes - *put : MOST;
        int error = dfoi_file_ask("write");
        if (error == -1)
            want = 1;
        ssize_t n = error > 0 ? -1 : write(disk->descriptor, (const char *)from + *put, want);
        if (n < 0) {
            error = error > 0 ? error : errno;
            if (error == EINTR)
                continue;
            return error;
        }
        *put += (size_t)n;
    }
    return 0;
}

static int disk_seek(void *state, uint64_t offset)
{
    const struct disk *disk = state;
    int error = dfoi_file_ask("seek");
    if (error > 0)
        return error;
    if (offset > INT64_MAX)
        return EOVERFLOW;
    return lseek(disk->descriptor, (off_t)offset, SEEK_SET) < 0 ? errno : 0;
}

static int disk_size(void *state, uint64_t *bytes)
{
    const struct disk *disk = state;
    struct stat st;
    int error = dfoi_file_ask("size");
    if (error > 0)
        return error;
    if (fstat(disk->descriptor, &st))
        return errno;
    *bytes = S_ISREG(st.st_mode) ? (uint64_t)st.st_size : UINT64_MAX;
    return 0;
}

static int disk_sync(void *state)
{
    const struct disk *disk = state;
    int error;
    do {
        error = dfoi_file_ask("sync");
        if (error <= 0)
            error = fsync(disk->descriptor) ? errno : 0;
    } while (error == EINTR);
    /* pipes and devices cannot be synced, which is no failure */
    return error == EINVAL || error == ENOTSUP || error == EROFS ? 0 : error;
}

static int disk_map(void *state, const void **bytes, size_t *n)
{
    struct disk *disk = state;
    uint64_t size;
    int error = disk_size(state, &size);
    if (!error && (size == UINT64_MAX || size == 0 || size > SIZE_MAX))
        error = ENODEV;
    if (!error)
        error = dfoi_file_ask("map");
    if (error > 0)
        return error;
    void *map = mmap(NULL, (size_t)size, PROT_READ, MAP_PRIVATE, disk->descriptor, 0);
    if (map == MAP_FAILED)
        return errno;
    disk->map = map;
    disk->mapped = (size_t)size;
    *bytes = map;
    *n = (size_t)size;
    return 0;
}

/* Linux has closed the descriptor even where close says EINTR: it is never called twice.  */
static int disk_close(void *state)
{
    struct disk *disk = state;
    int error = 0;
    if (disk->map)
        munmap(disk->map, disk->mapped);
    if (!disk->keep) {
        error = dfoi_file_ask("close");
        if (close(disk->descriptor) && error <= 0)
            error = errno;
    }
    dfoi_free(disk->ctx, disk);
    return error <= 0 || error == EINTR ? 0 : error;
}

const dfo_file_ops dfoi_disk_ops = {
    .read = disk_read,
    .write = disk_write,
    .seek = disk_seek,
    .size = disk_size,
    .sync = disk_sync,
    .close = disk_close,
    .map = disk_map,
};

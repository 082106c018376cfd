/* Writing beside and renaming: a reader sees the complete old file or the complete new one, also
 * after a crash.  The temporary file is PATH.tmp-PID-N in the same folder (O_EXCL), locked while its
 * writer lives, so that dead writers' files are known whatever their process number is now.  */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file_state.h"

#define LINKS 40                 /* as many as the kernel follows */
#define BASE 200                 /* of NAME_MAX = 255 bytes; longer names are cut in the temporary's */
#define MARK ".tmp-"

/* Length of the folder's part of a path, its slash included.  */
static size_t folder_length(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? (size_t)(slash - path) + 1 : 0;
}

/* Follows symbolic links (dangling ones too) into to[PATH_MAX].  Returns an errno.  */
static int follow(const char *path, char *to)
{
    char link[PATH_MAX], joined[PATH_MAX];
    if (strlen(path) >= PATH_MAX)
        return ENAMETOOLONG;
    memcpy(to, path, strlen(path) + 1);
    for (int i = 0; i < LINKS; i++) {
        struct stat st;
        if (lstat(to, &st))
            return errno == ENOENT ? 0 : errno;
        if (!S_ISLNK(st.st_mode))
            return 0;
        ssize_t n = readlink(to, link, sizeof link - 1);
        if (n < 0)
            return errno;
        link[n] = 0;
        size_t front = link[0] == '/' ? 0 : folder_length(to);
        if (front + (size_t)n >= sizeof joined)
            return ENAMETOOLONG;
        memcpy(joined, to, front);
        memcpy(joined + front, link, (size_t)n + 1);
        memcpy(to, joined, front + (size_t)n + 1);
    }
    return ELOOP;
}

/* Opens a fresh temporary file and locks it.  */
static dfo_status open_temporary(dfo_ctx *ctx, const char *name, struct dfoi_target *target, size_t room, void **state)
{
    const char *base = target->path + folder_length(target->path);
    size_t front = (size_t)(base - target->path);
    size_t keep = strlen(base) < BASE ? strlen(base) : BASE;
    int error = EEXIST;
    for (unsigned attempt = 0; attempt < 10000; attempt++) {
        struct stat st;
        snprintf(target->temporary, room, "%.*s" MARK "%ld-%u", (int)(front + keep), target->path, (long)getpid(),
                 attempt);
        dfo_status status = dfoi_disk_open(ctx, target->temporary, O_WRONLY | O_CREAT | O_EXCL, state, &error);
        if (error == EEXIST)
            continue;
        if (error)
            return dfoi_file_failed(ctx, name, "create", error);
        int descriptor = status == DFO_OK ? dfoi_disk_descriptor(*state) : -1;
        if (status != DFO_OK) {
            unlink(target->temporary);
            target->temporary[0] = 0;
            return status;
        }
        /* Where locks do not work (some network file systems) the file lives unlocked.  A sweeper that
         * came between open and flock has removed it: then another one is made.  The duplicate keeps
         * the lock between close and rename.  */
        (void)flock(descriptor, LOCK_EX | LOCK_NB);
        if (fstat(descriptor, &st) || st.st_nlink > 0) {
            target->lock = fcntl(descriptor, F_DUPFD_CLOEXEC, 0);
            return DFO_OK;
        }
        dfoi_disk_ops.close(*state);
    }
    return dfoi_file_failed(ctx, name, "create a temporary file beside it", EEXIST);
}

dfo_status dfoi_target_open(dfo_ctx *ctx, const char *path, struct dfoi_target **out, void **state)
{
    struct dfoi_target *target;
    char to[PATH_MAX];
    dfo_status status;
    *out = NULL;
    *state = NULL;
    int error = follow(path, to);
    if (error)
        return dfoi_file_failed(ctx, path, "create", error);
    DFO_TRY(dfoi_alloc(ctx, 1, sizeof *target, &target));
    target->lock = -1;
    size_t room = strlen(to) + 64;
    DFO_GO(dfoi_strdup(ctx, to, &target->path));
    DFO_GO(dfoi_alloc(ctx, room, 1, &target->temporary));
    dfoi_file_sweep(to);
    DFO_GO(open_temporary(ctx, path, target, room, state));
    *out = target;
    return DFO_OK;
fail:
    dfoi_target_free(ctx, target, 0);
    return status;
}

int dfoi_file_sync_folder(const char *path)
{
    char folder[PATH_MAX];
    size_t n = folder_length(path);
    memcpy(folder, n ? path : "./", n ? n : 2);
    folder[n ? n : 2] = 0;
    int descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (descriptor < 0)
        return errno == EACCES ? 0 : errno;             /* a folder one may write but not list */
    int error;
    do {
        error = dfoi_file_ask("sync-folder");
        if (error <= 0)
            error = fsync(descriptor) ? errno : 0;
    } while (error == EINTR);
    close(descriptor);
    return error == EINVAL || error == ENOTSUP || error == EROFS ? 0 : error;
}

dfo_status dfoi_target_rename(dfo_ctx *ctx, const struct dfoi_target *target)
{
    int error = dfoi_file_ask("rename");
    if (error <= 0)
        error = rename(target->temporary, target->path) ? errno : 0;
    if (error)
        return dfoi_file_failed(ctx, target->path, "put the new file in place", error);
    target->temporary[0] = 0;
    error = dfoi_file_sync_folder(target->path);
    return error ? dfoi_file_failed(ctx, target->path, "sync its folder", error) : DFO_OK;
}

void dfoi_target_free(dfo_ctx *ctx, struct dfoi_target *target, int remove)
{
    if (!target)
        return;
    if (remove && target->temporary && target->temporary[0]) {
        (void)dfoi_file_ask("unlink");
        unlink(target->temporary);
    }
    if (target->lock >= 0)
        close(target->lock);
    dfoi_free(ctx, target->temporary);
    dfoi_free(ctx, target->path);
    dfoi_free(ctx, target);
}

/* "123-4": process and number.  */
static int is_mark(const char *text)
{
    size_t a = strspn(text, "0123456789");
    size_t b = a && text[a] == '-' ? strspn(text + a + 1, "0123456789") : 0;
    return b && !text[a + 1 + b];
}

static void sweep_one(int folder, const char *name)
{
    int descriptor = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (descriptor < 0)
        return;
    if (!flock(descriptor, LOCK_EX | LOCK_NB)) {
        (void)dfoi_file_ask("unlink");
        unlinkat(folder, name, 0);
    }
    close(descriptor);
}

void dfoi_file_sweep(const char *path)
{
    char to[PATH_MAX], folder[PATH_MAX];
    if (follow(path, to))
        return;
    size_t front = folder_length(to);
    const char *base = to + front;
    size_t keep = strlen(base) < BASE ? strlen(base) : BASE;
    memcpy(folder, front ? to : "./", front ? front : 2);
    folder[front ? front : 2] = 0;
    DIR *dir = keep ? opendir(folder) : NULL;
    if (!dir)
        return;
    for (const struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
        const char *name = entry->d_name;
        if (!strncmp(name, base, keep) && !strncmp(name + keep, MARK, strlen(MARK)) &&
            is_mark(name + keep + strlen(MARK)))
            sweep_one(dirfd(dir), name);
    }
    closedir(dir);
}

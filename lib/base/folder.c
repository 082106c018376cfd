/* Folders of files.  One that is written is PATH.tmp-PID-N until it is renamed, locked while its
 * writer lives; rename(2) puts it in the place of an empty folder, or of none.  */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file_state.h"
#include "base/folder_impl.h"

#define MARK ".tmp-"

int dfoi_is_folder(const char *path)
{
    struct stat st;
    return !stat(path, &st) && S_ISDIR(st.st_mode);
}

/* ---- listing ---- */

static int is_wanted(const char *name, const char *suffix)
{
    size_t n = strlen(name), m = strlen(suffix);
    return name[0] != '.' && n > m && !strcasecmp(name + n - m, suffix);
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static dfo_status open_folder(dfo_ctx *ctx, const char *path, DIR **out)
{
    int error = dfoi_file_ask("open");
    *out = error > 0 ? NULL : opendir(path);
    if (!*out)
        return dfoi_file_failed(ctx, path, "open the folder", error > 0 ? error : errno);
    return DFO_OK;
}

dfo_status dfoi_folder_list(dfo_ctx *ctx, const char *path, const char *suffix, dfoi_names *out)
{
    dfo_status status = DFO_OK;
    size_t room = 0;
    DIR *dir;
    *out = (dfoi_names){0};
    DFO_TRY(open_folder(ctx, path, &dir));
    for (;;) {
        int error = dfoi_file_ask("read");
        errno = 0;
        const struct dirent *entry = error > 0 ? NULL : readdir(dir);
        if (!entry) {
            error = error > 0 ? error : errno;
            status = error ? dfoi_file_failed(ctx, path, "read the folder", error) : DFO_OK;
            break;
        }
        if (!is_wanted(entry->d_name, suffix))
            continue;
        if (out->n == room) {
            DFO_GO(dfoi_grow(ctx, out->n, room ? 2 * room : 64, sizeof *out->name, &out->name));
            room = room ? 2 * room : 64;
        }
        DFO_GO(dfoi_strdup(ctx, entry->d_name, &out->name[out->n]));
        out->n++;
    }
    if (out->n)
        qsort(out->name, out->n, sizeof *out->name, by_bytes);
fail:
    closedir(dir);
    return status;
}

void dfoi_names_free(dfo_ctx *ctx, dfoi_names *names)
{
    for (size_t i = 0; i < names->n; i++)
        dfoi_free(ctx, names->name[i]);
    dfoi_free(ctx, names->name);
    *names = (dfoi_names){0};
}

dfo_status dfoi_folder_join(dfo_ctx *ctx, const char *folder, const char *name, char **out)
{
    size_t n = strlen(folder), m = strlen(name);
    int slash = n && folder[n - 1] == '/';
    DFO_TRY(dfoi_alloc(ctx, n + m + 2, 1, out));
    memcpy(*out, folder, n);
    (*out)[n] = '/';
    memcpy(*out + n + !slash, name, m + 1);
    return DFO_OK;
}

/* ---- writing ---- */

struct dfoi_folder {
    dfo_ctx *ctx;
    char *path, *temporary; /* temporary: "" once renamed */
    int lock;
};

/* Removes a folder and the files in it (folders inside, which we never make, stay).  */
static void clear_away(const char *path)
{
    DIR *dir = opendir(path);
    for (const struct dirent *entry = dir ? readdir(dir) : NULL; entry; entry = readdir(dir))
        unlinkat(dirfd(dir), entry->d_name, 0);
    if (dir)
        closedir(dir);
    (void)dfoi_file_ask("unlink");
    rmdir(path);
}

/* Folders PATH.tmp-… that no living process holds.  */
static void sweep(const char *path)
{
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
    size_t front = (size_t)(base - path), n = strlen(base);
    char full[4096];
    if (front + 2 > sizeof full)
        return;
    snprintf(full, sizeof full, "%.*s", front ? (int)front : 2, front ? path : "./");
    DIR *dir = opendir(full);
    for (const struct dirent *entry = dir ? readdir(dir) : NULL; entry; entry = readdir(dir)) {
        const char *mark = entry->d_name + n;
        if (strncmp(entry->d_name, base, n) || strncmp(mark, MARK, strlen(MARK)) ||
            mark[strlen(MARK) + strspn(mark + strlen(MARK), "0123456789-")])
            continue;
        int descriptor =
            openat(dirfd(dir), entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        int length = snprintf(full, sizeof full, "%.*s%s", (int)front, path, entry->d_name);
        if (descriptor >= 0 && length > 0 && (size_t)length < sizeof full &&
            !flock(descriptor, LOCK_EX | LOCK_NB))
            clear_away(full);
        if (descriptor >= 0)
            close(descriptor);
    }
    if (dir)
        closedir(dir);
}

static dfo_status check_place(dfo_ctx *ctx, const char *path)
{
    struct stat st;
    int there = !stat(path, &st), used = 0;
    if (there && !S_ISDIR(st.st_mode))
        return dfoi_fail(ctx, DFO_EIO, "%s: is a file, expected the name of a folder", path);
    DIR *dir = there ? opendir(path) : NULL;
    for (const struct dirent *entry = dir ? readdir(dir) : NULL; entry; entry = readdir(dir))
        used |= strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..");
    if (dir)
        closedir(dir);
    if (used)
        return dfoi_fail(ctx, DFO_EIO, "%s: the folder is not empty", path);
    return DFO_OK;
}

/* Locks the folder just made.  An errno; EEXIST if a sweeper came before the lock and removed it.  */
static int lock(dfoi_folder *folder)
{
    struct stat st;
    folder->lock = open(folder->temporary, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder->lock < 0)
        return errno == ENOENT ? EEXIST : 0;           /* one that may not be listed lives unlocked */
    (void)flock(folder->lock, LOCK_EX | LOCK_NB);
    if (fstat(folder->lock, &st) || st.st_nlink > 0)
        return 0;
    close(folder->lock);
    folder->lock = -1;
    return EEXIST;
}

static dfo_status make(dfo_ctx *ctx, dfoi_folder *folder, size_t room)
{
    int error = EEXIST;
    for (unsigned attempt = 0; attempt < 10000 && error == EEXIST; attempt++) {
        snprintf(folder->temporary, room, "%s" MARK "%ld-%u", folder->path, (long)getpid(),
                 attempt);
        error = dfoi_file_ask("open");
        if (error <= 0)
            error = mkdir(folder->temporary, 0777) ? errno : lock(folder);
    }
    if (!error)
        return DFO_OK;
    folder->temporary[0] = 0;
    return dfoi_file_failed(ctx, folder->path, "create the folder", error);
}

dfo_status dfoi_folder_create(dfo_ctx *ctx, const char *path, dfoi_folder **out)
{
    dfo_status status;
    dfoi_folder *folder;
    *out = NULL;
    DFO_TRY(dfoi_alloc(ctx, 1, sizeof *folder, &folder));
    folder->ctx = ctx;
    folder->lock = -1;
    DFO_GO(dfoi_strdup(ctx, path, &folder->path));
    size_t n = strlen(folder->path), room = n + 64;
    while (n > 1 && folder->path[n - 1] == '/')
        folder->path[--n] = 0;
    DFO_GO(dfoi_alloc(ctx, room, 1, &folder->temporary));
    DFO_GO(check_place(ctx, folder->path));
    sweep(folder->path);
    DFO_GO(make(ctx, folder, room));
    *out = folder;
    return DFO_OK;
fail:
    dfoi_folder_free(folder);
    return status;
}

const char *dfoi_folder_path(const dfoi_folder *folder)
{
    return folder->temporary;
}

dfo_status dfoi_folder_commit(dfoi_folder *folder)
{
    if (folder->lock >= 0)
        (void)fsync(folder->lock);                     /* its files' names; their bytes are on disk */
    int error = dfoi_file_ask("rename");
    if (error <= 0)
        error = rename(folder->temporary, folder->path) ? errno : 0;
    if (error)
        return dfoi_file_failed(folder->ctx, folder->path, "put the new folder in place", error);
    folder->temporary[0] = 0;
    error = dfoi_file_sync_folder(folder->path);
    if (error > 0)
        return dfoi_file_failed(folder->ctx, folder->path, "sync the folder", error);
    return DFO_OK;
}

void dfoi_folder_free(dfoi_folder *folder)
{
    if (!folder)
        return;
    if (folder->temporary && folder->temporary[0])
        clear_away(folder->temporary);
    if (folder->lock >= 0)
        close(folder->lock);
    dfoi_free(folder->ctx, folder->temporary);
    dfoi_free(folder->ctx, folder->path);
    dfoi_free(folder->ctx, folder);
}

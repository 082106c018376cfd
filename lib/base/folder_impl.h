/* Folders of files: listing one, and writing one that appears whole.  Private.  */
#ifndef DFOI_FOLDER_IMPL_H
#define DFOI_FOLDER_IMPL_H

#include <stddef.h>
#include <diffeo/ctx.h>

/* 1 if path is a folder.  */
int dfoi_is_folder(const char *path);

typedef struct dfoi_names {
    char **name;                   /* (n) */
    size_t n;
} dfoi_names;

/* The names in a folder that end in `suffix` (any case; none that begins with a dot), sorted by their
 * bytes.  DFO_EIO.  Free with dfoi_names_free, also after a failure.  */
dfo_status dfoi_folder_list(dfo_ctx *ctx, const char *path, const char *suffix, dfoi_names *out);
void dfoi_names_free(dfo_ctx *ctx, dfoi_names *names);

/* "folder/name"; freed by dfoi_free.  */
dfo_status dfoi_folder_join(dfo_ctx *ctx, const char *folder, const char *name, char **out);

typedef struct dfoi_folder dfoi_folder;

/* A new folder beside `path`, to be filled with files; dfoi_folder_commit renames it into place, and
 * dfoi_folder_free before that removes it with what it holds.  DFO_EIO, also if `path` exists and is no
 * empty folder.  What dead writers left is swept first.  */
dfo_status dfoi_folder_create(dfo_ctx *ctx, const char *path, dfoi_folder **out);
/* Where its files are to be written now.  */
const char *dfoi_folder_path(const dfoi_folder *folder);
dfo_status dfoi_folder_commit(dfoi_folder *folder);
void dfoi_folder_free(dfoi_folder *folder);             /* NULL is fine */

#endif

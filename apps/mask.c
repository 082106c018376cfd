/* --mask of edit and sample, see mask.h.  */
#include <stdlib.h>

#include "mask.h"

/* d numbers of the mask, for all entries or, of a picture, for those of every channel.  */
static int fill(const struct common *c, const dfo_source *mask, size_t d, size_t all, unsigned char *keep)
{
    dfo_real *x = malloc(d * sizeof *x);
    if (!x)
        return usage_error(c, "out of memory"), EXIT_FAILED;
    int status = dfo_source_read(mask, c->ctx, 0, dfo_batch_of(x, 1, d), NULL) ? failed(c) : 0;
    for (size_t k = 0; !status && k < all; k++)
        keep[k] = !(x[k % d] > 0 || x[k % d] < 0);
    free(x);
    return status;
}

int read_mask(const struct common *c, const char *path, dfo_model *model, unsigned char **keep)
{
    dfo_shape want = dfo_model_shape(model);
    dfo_source *mask;
    dfo_source_info info;
    int status = 0;
    if (dfo_source_open(c->ctx, path, NULL, &mask))
        return failed(c);
    dfo_source_describe(mask, &info);
    dfo_shape got = info.shape;
    size_t d = dfo_shape_size(got), all = dfo_shape_size(want), plane = want.h * want.w;
    if (info.rows != 1)
        status = (usage_error(c, "%s: expected one mask, got %llu rows", path, (unsigned long long)info.rows), EXIT_FAILED);
    else if (got.h * got.w > 1 && (got.h != want.h || got.w != want.w || (got.c != 1 && got.c != want.c)))
        status = (usage_error(c, "%s: expected a mask of %zux%zu, the model's, got %zux%zux%zu (height, width, channels)", path, want.h, want.w, got.h,
                              got.w, got.c), EXIT_FAILED);
    else if (got.h * got.w == 1 && d != all && !(plane > 1 && d == plane))
        status = (usage_error(c, "%s: expected a mask of %zu numbers, got %zu", path, all, d), EXIT_FAILED);
    *keep = status ? NULL : malloc(all);
    if (!status && !*keep)
        status = (usage_error(c, "out of memory"), EXIT_FAILED);
    if (!status)
        status = fill(c, mask, d, all, *keep);
    dfo_source_free(mask);
    return status;
}

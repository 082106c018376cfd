/* Pictures in a frame of zeros: a source of them, and rows without their frame.  */
#include <string.h>

#include "data/source_impl.h"

struct frame {
    const dfo_source *of;
    dfo_shape picture, frame;
};

/* Where the picture's row y of channel c begins in the frame: in the middle, what is odd goes below and to the right.  */
static size_t place(dfo_shape p, dfo_shape f, size_t c, size_t y)
{
    return (c * f.h + y + (f.h - p.h) / 2) * f.w + (f.w - p.w) / 2;
}

/* Rows are read into the first columns and moved apart from their ends, which nothing is overwritten by.  */
static void enclose(dfo_shape p, dfo_shape f, size_t rest, dfo_real *row)
{
    size_t from = dfo_shape_size(p), to = dfo_shape_size(f);
    memmove(row + to, row + from, rest * sizeof *row);
    for (size_t c = p.c; c-- > 0;)
        for (size_t y = p.h; y-- > 0;) {
            size_t begin = place(p, f, c, y), end = begin + p.w;
            memmove(row + begin, row + (c * p.h + y) * p.w, p.w * sizeof *row);
            memset(row + end, 0, (to - end) * sizeof *row);
            to = begin;
        }
    memset(row, 0, to * sizeof *row);
}

static dfo_status fetch(const dfo_source *source, dfo_ctx *ctx, const uint64_t *rows, uint64_t first, dfo_batch x,
                        double *weight)
{
    const struct frame *s = source->state;
    dfo_batch in = dfo_batch_columns(x, 0, s->of->d);
    DFO_TRY(rows ? dfo_source_gather(s->of, ctx, rows, in, weight) : dfo_source_read(s->of, ctx, first, in, weight));
    for (size_t i = 0; i < x.n; i++)
        enclose(s->picture, s->frame, s->of->d - dfo_shape_size(s->picture), dfo_row(x, i));
    return DFO_OK;
}

static uint64_t hash(const dfo_source *source)
{
    const struct frame *s = source->state;
    char text[17];
    dfo_source_hash(s->of, text);
    return dfoi_hash(dfoi_hash(DFOI_HASH_START, text, 16), &s->frame, sizeof s->frame);
}

static void release(dfo_source *source)
{
    dfoi_free(source->ctx, source->state);
}

dfo_status dfo_source_frame(dfo_ctx *ctx, const dfo_source *of, dfo_shape picture, dfo_shape frame, dfo_source **out)
{
    static const struct dfoi_source_ops ops = {.fetch = fetch, .hash = hash, .free = release};
    dfo_source *source;
    struct frame *state;
    size_t d = dfo_shape_size(picture);
    *out = NULL;
    if (picture.c != frame.c || picture.h > frame.h || picture.w > frame.w || !d || d > of->d)
        return dfoi_fail(ctx, DFO_ESHAPE, "%s: pictures of %zux%zux%zu (height, width, channels) do not fit a frame of "
                         "%zux%zux%zu", of->name, picture.h, picture.w, picture.c, frame.h, frame.w, frame.c);
    DFO_TRY(dfoi_source_new(ctx, of->name, &source));
    dfo_status status = dfoi_alloc(ctx, 1, sizeof *state, &state);
    if (status != DFO_OK) {
        dfo_source_free(source);
        return status;
    }
    *state = (struct frame){of, picture, frame};
    source->ops = &ops;
    source->state = state;
    source->d = of->d - d + dfo_shape_size(frame);
    source->info = of->info;
    source->info.has_entropy = 0;
    source->info.shape = of->d == d ? frame : dfo_shape_vector(source->d);
    source->allow_nan = 1;                    /* the source has looked */
    source->blockwise = of->blockwise;
    *out = source;
    return DFO_OK;
}

dfo_batch dfo_unframe(dfo_batch x, dfo_shape picture, dfo_shape frame)
{
    for (size_t i = 0; i < x.n; i++)
        for (size_t c = 0; c < picture.c; c++)
            for (size_t y = 0; y < picture.h; y++)
                memmove(dfo_row(x, i) + (c * picture.h + y) * picture.w, dfo_row(x, i) + place(picture, frame, c, y),
                        picture.w * sizeof *x.x);
    return dfo_batch_columns(x, 0, dfo_shape_size(picture));
}

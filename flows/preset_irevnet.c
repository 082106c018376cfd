/* The preset "irevnet": a classifier of images whose features are invertible (Jacobsen et al. 2018).  Space to depth
 * once, then stages of blocks; a stage's first block has the stage's stride.  The first block of all leads with its
 * convolution.  Not in the paper: blocks over all features at one pixel at the end, so that the head knows where in the
 * picture a feature stands.  Defaults: 28x28 or 32x32 pixels on two cores.  */
#include <string.h>

#include "base/ctx_impl.h"
#include "base/json_impl.h"
#include "preset_impl.h"

#define STAGES 8

/* null: from the data.  blocks, hidden: one number for all stages, or one for each; hidden 0: a half's channels over
 * bottleneck.  squeeze: the side of the first space to depth, 1: none.  dense_blocks, dense_hidden: those at the end.  */
const struct dfoi_setting dfoi_irevnet_settings[] = {
    {"classes", "null"}, {"levels", "null"}, {"squeeze", "2"}, {"strides", "[1,2]"}, {"blocks", "[2,3]"},
    {"hidden", "[24,64]"}, {"dense_blocks", "2"}, {"dense_hidden", "128"}, {"bottleneck", "4"}, {"activation", "\"relu\""}, {"norm", "\"none\""},
    {"zero_init", "true"}, {"standardise", "true"}, {"head_norm", "true"}, {"shift", "2"}, {"flip", "true"},
    {NULL, NULL},
};

struct settings {
    size_t squeeze, stages, stride[STAGES], blocks[STAGES], hidden[STAGES], bottleneck, shift, dense_blocks,
              dense_hidden;
    int    zero_init, standardise, head_norm, flip;
    const char *activation, *norm;
};

/* One number a stage; a single one stands for all.  */
static dfo_status per_stage(dfo_ctx *ctx, const json_t *config, const char *key, size_t low, size_t stages, size_t *to)
{
    size_t n;
    DFO_TRY(dfoi_json_sizes(ctx, config, key, low, 65536, STAGES, to, &n));
    if (n != stages && n != 1)
        return dfoi_fail(ctx, DFO_EARG, "%s: expected %zu numbers, one for each of strides, got %zu", key, stages, n);
    for (size_t i = 1; n == 1 && i < stages; i++)
        to[i] = to[0];
    return DFO_OK;
}

static dfo_status read_all(dfo_ctx *ctx, const json_t *config, struct settings *s)
{
    DFO_TRY(dfoi_json_size(ctx, config, "squeeze", 0, 1, 64, &s->squeeze));
    DFO_TRY(dfoi_json_sizes(ctx, config, "strides", 1, 64, STAGES, s->stride, &s->stages));
    DFO_TRY(per_stage(ctx, config, "blocks", 1, s->stages, s->blocks));
    DFO_TRY(per_stage(ctx, config, "hidden", 0, s->stages, s->hidden));
    DFO_TRY(dfoi_json_size(ctx, config, "dense_blocks", 0, 0, 1000, &s->dense_blocks));
    DFO_TRY(dfoi_json_size(ctx, config, "dense_hidden", 0, 1, 65536, &s->dense_hidden));
    DFO_TRY(dfoi_json_size(ctx, config, "bottleneck", 0, 1, 1024, &s->bottleneck));
    DFO_TRY(dfoi_json_size(ctx, config, "shift", 0, 0, 1024, &s->shift));
    DFO_TRY(dfoi_json_bool(ctx, config, "zero_init", 0, &s->zero_init));
    DFO_TRY(dfoi_json_bool(ctx, config, "standardise", 0, &s->standardise));
    DFO_TRY(dfoi_json_bool(ctx, config, "head_norm", 0, &s->head_norm));
    DFO_TRY(dfoi_json_bool(ctx, config, "flip", 0, &s->flip));
    DFO_TRY(dfoi_json_string(ctx, config, "activation", NULL, &s->activation));
    return dfoi_json_string(ctx, config, "norm", NULL, &s->norm);
}

/* hidden 0: by the bottleneck.  */
static dfo_status append_block(dfo_ctx *ctx, json_t *list, const struct settings *s, size_t stride, size_t kernel,
                               size_t hidden, int leading)
{
    json_t *block = json_pack("{s:s, s:I, s:I, s:I, s:b, s:s, s:s, s:b}", "type", "irevnet", "stride", (json_int_t)stride,
                              "kernel", (json_int_t)kernel, "bottleneck", (json_int_t)s->bottleneck, "leading", leading,
                              "activation", s->activation, "norm", s->norm, "zero_init", s->zero_init);
    if (block && hidden && json_object_set_new(block, "hidden", json_integer((json_int_t)hidden))) {
        json_decref(block);
        block = NULL;
    }
    return dfoi_preset_append(ctx, list, block);
}

static dfo_status append_squeeze(dfo_ctx *ctx, json_t *list, size_t side)
{
    if (side == 1)
        return DFO_OK;
    return dfoi_preset_append(ctx, list, json_pack("{s:s, s:I, s:s}", "type", "squeeze", "block", (json_int_t)side, "order",
                                                   "offset-slow"));
}

/* side: of the pictures after the stages, 0 if they are not square.  */
static dfo_status write_layers(dfo_ctx *ctx, const struct settings *s, size_t side, json_t *list)
{
    if (s->standardise)
        DFO_TRY(dfoi_preset_append(ctx, list, json_pack("{s:s}", "type", "standardise")));
    DFO_TRY(append_squeeze(ctx, list, s->squeeze));
    for (size_t stage = 0; stage < s->stages; stage++)
        for (size_t i = 0; i < s->blocks[stage]; i++)
            DFO_TRY(append_block(ctx, list, s, i ? 1 : s->stride[stage], 3, s->hidden[stage], stage || i));
    if (!s->dense_blocks)
        return DFO_OK;
    if (!side || side > 64)
        return dfoi_fail(ctx, DFO_ESHAPE, "dense_blocks: only square images of at most 64 pixels a side after the stages "
                         "can be gathered in one pixel; 0 leaves these blocks out");
    DFO_TRY(append_squeeze(ctx, list, side));
    for (size_t i = 0; i < s->dense_blocks; i++)
        DFO_TRY(append_block(ctx, list, s, 1, 1, s->dense_hidden, 1));
    return DFO_OK;
}

/* Also the side of the pictures after the stages, as write_layers wants it.  */
static dfo_status check_shape(dfo_ctx *ctx, const struct settings *s, dfo_shape shape, size_t *left)
{
    size_t side = s->squeeze;
    if (shape.h * shape.w < 2)
        return dfoi_fail(ctx, DFO_ESHAPE, "irevnet: expected images, got rows of %zu columns (--images HxW says what they "
                         "are)", shape.c);
    for (size_t i = 0; i < s->stages; i++) {
        side *= s->stride[i];
        if (shape.h % side || shape.w % side)
            return dfoi_fail(ctx, DFO_ESHAPE, "irevnet: images of %zux%zu cannot be divided by %zu: squeeze %zu, then "
                             "strides up to stage %zu", shape.h, shape.w, side, s->squeeze, i + 1);
    }
    if (s->squeeze % 2 && shape.c % 2)
        return dfoi_fail(ctx, DFO_ESHAPE, "irevnet: %zu channels have no halves; squeeze must be even", shape.c);
    *left = shape.h == shape.w ? shape.h / side : 0;
    return DFO_OK;
}

dfo_status dfoi_irevnet_write(dfo_ctx *ctx, const json_t *config, dfo_shape shape, json_t *list)
{
    struct settings s = {0};
    size_t side = 0;
    DFO_TRY(read_all(ctx, config, &s));
    DFO_TRY(check_shape(ctx, &s, shape, &side));
    return write_layers(ctx, &s, side, list);
}

static dfo_status add_head(dfo_ctx *ctx, const struct settings *s, const json_t *config, json_t *to)
{
    json_t *classes = json_object_get(config, "classes"), *levels = json_object_get(config, "levels");
    DFO_TRY(dfoi_json_set(ctx, to, "head", json_pack("{s:b, s:s}", "norm", s->head_norm, "activation", "relu")));
    DFO_TRY(dfoi_json_set(ctx, to, "augment", json_pack("{s:I, s:b}", "shift", (json_int_t)s->shift, "flip", s->flip)));
    if (!json_is_null(classes))
        DFO_TRY(dfoi_json_set(ctx, json_object_get(to, "head"), "classes", dfoi_json_copy(classes)));
    if (!json_is_null(levels))
        DFO_TRY(dfoi_json_set(ctx, to, "levels", dfoi_json_copy(levels)));
    return DFO_OK;
}

/* The head, augmentation and levels.  */
dfo_status dfoi_irevnet_complete(dfo_ctx *ctx, const json_t *config, json_t *to)
{
    struct settings s = {0};
    DFO_TRY(read_all(ctx, config, &s));
    return add_head(ctx, &s, config, to);
}

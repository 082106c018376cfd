/* The preset "irevnet": a classifier of images whose features are invertible (Jacobsen et al. 2018).  Space to depth
 * once, then stages of blocks; a stage's first block has the stage's stride.  The first block of all leads with its
 * convolution.  Defaults: 28x28 or 32x32 pixels on two cores.  */
#include "base/ctx_impl.h"
#include "base/json_impl.h"
#include "preset_impl.h"

#define STAGES 8

/* null: from the data.  blocks, hidden: one number for all stages, or one for each; hidden 0: a half's channels over
 * bottleneck.  squeeze: the side of the first space to depth, 1: none.  */
const struct dfoi_setting dfoi_irevnet_settings[] = {
    {"classes", "null"}, {"levels", "null"}, {"squeeze", "2"}, {"strides", "[1,2]"}, {"blocks", "[4,4]"},
    {"hidden", "[32,64]"}, {"bottleneck", "4"}, {"activation", "\"relu\""}, {"norm", "\"none\""},
    {"zero_init", "true"}, {"standardise", "true"}, {"head_norm", "true"}, {"shift", "2"}, {"flip", "true"},
    {NULL, NULL},
};

struct settings {
    size_t squeeze, stages, stride[STAGES], blocks[STAGES], hidden[STAGES], bottleneck, shift;
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

static dfo_status read_settings(dfo_ctx *ctx, const json_t *config, struct settings *s)
{
    DFO_TRY(dfoi_json_size(ctx, config, "squeeze", 2, 1, 64, &s->squeeze));
    DFO_TRY(dfoi_json_sizes(ctx, config, "strides", 1, 64, STAGES, s->stride, &s->stages));
    DFO_TRY(per_stage(ctx, config, "blocks", 1, s->stages, s->blocks));
    DFO_TRY(per_stage(ctx, config, "hidden", 0, s->stages, s->hidden));
    DFO_TRY(dfoi_json_size(ctx, config, "bottleneck", 4, 1, 1024, &s->bottleneck));
    DFO_TRY(dfoi_json_size(ctx, config, "shift", 2, 0, 1024, &s->shift));
    DFO_TRY(dfoi_json_bool(ctx, config, "zero_init", 1, &s->zero_init));
    DFO_TRY(dfoi_json_bool(ctx, config, "standardise", 1, &s->standardise));
    DFO_TRY(dfoi_json_bool(ctx, config, "head_norm", 1, &s->head_norm));
    DFO_TRY(dfoi_json_bool(ctx, config, "flip", 1, &s->flip));
    DFO_TRY(dfoi_json_string(ctx, config, "activation", "relu", &s->activation));
    return dfoi_json_string(ctx, config, "norm", "none", &s->norm);
}

static dfo_status append_block(dfo_ctx *ctx, json_t *list, const struct settings *s, size_t stage, size_t i)
{
    json_t *block = json_pack("{s:s, s:I, s:I, s:b, s:s, s:s, s:b}", "type", "irevnet", "stride",
                              (json_int_t)(i ? 1 : s->stride[stage]), "bottleneck", (json_int_t)s->bottleneck, "leading",
                              stage || i, "activation", s->activation, "norm", s->norm, "zero_init", s->zero_init);
    if (block && s->hidden[stage] &&
        json_object_set_new(block, "hidden", json_integer((json_int_t)s->hidden[stage]))) {
        json_decref(block);
        block = NULL;
    }
    return dfoi_preset_append(ctx, list, block);
}

static dfo_status write_layers(dfo_ctx *ctx, const struct settings *s, json_t *list)
{
    if (s->standardise)
        DFO_TRY(dfoi_preset_append(ctx, list, json_pack("{s:s}", "type", "standardise")));
    if (s->squeeze > 1)
        DFO_TRY(dfoi_preset_append(ctx, list, json_pack("{s:s, s:I, s:s}", "type", "squeeze", "block",
                                                        (json_int_t)s->squeeze, "order", "offset-slow")));
    for (size_t stage = 0; stage < s->stages; stage++)
        for (size_t i = 0; i < s->blocks[stage]; i++)
            DFO_TRY(append_block(ctx, list, s, stage, i));
    return DFO_OK;
}

static dfo_status check_shape(dfo_ctx *ctx, const struct settings *s, dfo_shape shape)
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
    return DFO_OK;
}

dfo_status dfoi_irevnet_write(dfo_ctx *ctx, const json_t *config, dfo_shape shape, json_t *list)
{
    struct settings s = {0};
    DFO_TRY(read_settings(ctx, config, &s));
    DFO_TRY(check_shape(ctx, &s, shape));
    return write_layers(ctx, &s, list);
}

/* The head, augmentation and levels.  */
dfo_status dfoi_irevnet_complete(dfo_ctx *ctx, const json_t *config, json_t *to)
{
    struct settings s = {0};
    json_t *classes = json_object_get(config, "classes"), *levels = json_object_get(config, "levels");
    DFO_TRY(read_settings(ctx, config, &s));
    DFO_TRY(dfoi_json_set(ctx, to, "head", json_pack("{s:b, s:s}", "norm", s.head_norm, "activation", "relu")));
    DFO_TRY(dfoi_json_set(ctx, to, "augment", json_pack("{s:I, s:b}", "shift", (json_int_t)s.shift, "flip", s.flip)));
    if (json_is_integer(classes))
        DFO_TRY(dfoi_json_set(ctx, json_object_get(to, "head"), "classes", json_deep_copy(classes)));
    if (json_is_integer(levels))
        DFO_TRY(dfoi_json_set(ctx, to, "levels", json_deep_copy(levels)));
    return DFO_OK;
}

/* U-net of images that depends on a time (Ronneberger et al. 2015; Ho et al. 2020): structure and weights.
 *
 *   {"type":"unet", "channels":[64,128], or "channels":64 and "levels":2 (then twice as many a level), "blocks":2,
 *    "norm":"group" or "none", "groups":8, "activation":"silu", "embedding":128, "frequencies":32, "most":16, "classes":0,
 *    "attention":false, "last_init":0}
 *
 * A block is h + W1 * act(norm(W0 * act(norm(h)) + b0 + q)) + b1, both 3x3, q of the embedding (embed_impl.h) the same for
 * all pixels; where channels change, h goes through a 1x1 convolution.  With attention, h + W1 * attention(W0 * norm(h))
 * (attend_impl.h), both 1x1, follows the coarsest level's first block.  Level l has channels[l] channels and 2^-l of the
 * image's sides: `blocks` blocks, then a convolution 3x3 of stride 2 down; `blocks` blocks at the coarsest level; a transposed
 * one, 4x4 of stride 2, up, beside what the level had, and `blocks` blocks again; at last a convolution 3x3 of act(norm(h)).
 * With one level it is a residual net.  Parts: images of equal size are channels, the first one is x; vectors go into the
 * embedding; the class, with "classes"; the time.  Weights: embed.*, project.*, op0.w (out, kernel, kernel, in), op0.b,
 * op0.scale, op0.shift, op1.w, ..., in the order of operations.  W1 and b1 start in +-1e-3, all others as PyTorch's; a net
 * made with zero_last starts its last convolution at zero, or in +-last_init.  The passes are in unet_pass.c, unet_jvp.c.  */
#include <stdio.h>
#include <string.h>

#include "base/ctx_impl.h"
#include "base/json_impl.h"
#include "math/kern_impl.h"
#include "nn/config_impl.h"
#include "nn/net_impl.h"
#include "nn/unet_impl.h"

#define SMALL 1e-3 /* blocks start near the identity */

static dfo_status read_norm(dfo_ctx *ctx, const json_t *config, size_t *groups)
{
    int none;
    DFO_TRY(dfoi_json_either(ctx, config, "norm", "group", "none", &none));
    DFO_TRY(dfoi_json_size(ctx, config, "groups", 8, 1, DFOI_NET_WIDEST, groups));
    if (none)
        *groups = 0;
    return DFO_OK;
}

/* "channels": a list of levels, or the first one's, and "levels".  */
static dfo_status read_levels(dfo_ctx *ctx, const json_t *config, dfoi_unet_settings *s)
{
    const json_t *given = json_object_get(config, "channels");
    s->levels = 1;
    s->channels[0] = 64;
    if (given)
        DFO_TRY(dfoi_json_sizes(ctx, config, "channels", 1, DFOI_NET_WIDEST, DFOI_UNET_LEVELS, s->channels, &s->levels));
    if (!json_is_array(given)) {
        DFO_TRY(dfoi_json_size(ctx, config, "levels", 2, 1, DFOI_UNET_LEVELS, &s->levels));
        for (size_t l = 1; l < s->levels; l++)
            s->channels[l] = 2 * s->channels[l - 1];
    } else if (json_object_get(config, "levels")) {
        return dfoi_fail(ctx, DFO_EARG, "levels: goes with a single number channels, not with a list");
    } else if (!s->levels) {
        return dfoi_fail(ctx, DFO_EARG, "channels: expected at least one level");
    }
    for (size_t l = 0; l < s->levels && s->groups; l++)
        if (s->channels[l] % s->groups)
            return dfoi_fail(ctx, DFO_EARG, "groups: %zu do not divide the %zu channels of level %zu", s->groups,
                             s->channels[l], l);
    return DFO_OK;
}

static dfo_status read_settings(dfo_ctx *ctx, const json_t *config, dfoi_unet_settings *s)
{
    static const char *const keys[] = {"type", "channels", "levels", "blocks", "norm", "groups", "activation", "attention",
                                       "last_init", DFOI_EMBED_KEYS, NULL};
    *s = (dfoi_unet_settings){0};
    DFO_TRY(dfoi_json_keys(ctx, config, keys));
    DFO_TRY(read_norm(ctx, config, &s->groups));
    DFO_TRY(read_levels(ctx, config, s));
    DFO_TRY(dfoi_json_size(ctx, config, "blocks", 2, 1, DFOI_UNET_BLOCKS, &s->blocks));
    DFO_TRY(dfoi_config_activation(ctx, config, "silu", &s->act));
    DFO_TRY(dfoi_json_bool(ctx, config, "attention", 0, &s->attention));
    DFO_TRY(dfoi_embed_read(ctx, config, 128, &s->embed));
    return dfoi_json_real(ctx, config, "last_init", 0, 0, 1, &s->last_init);
}

static dfo_status check(dfo_ctx *ctx, const json_t *config)
{
    dfoi_unet_settings s;
    return read_settings(ctx, config, &s);
}

/* Images and vectors among the parts; the time and the class are no images.  */
static dfo_status sort_parts(dfo_ctx *ctx, const dfo_net *net, dfoi_unet *m, int *vector)
{
    const dfo_shape *x = &net->shape;
    size_t own = m->settings.embed.classes ? 2 : 1, step = (size_t)1 << (m->settings.levels - 1);
    if (x->h > DFOI_CONV_SIDE || x->w > DFOI_CONV_SIDE || x->h % step || x->w % step)
        return dfoi_fail(ctx, DFO_ESHAPE, "%zu levels want sides that are multiples of %zu, got %zux%zu pixels",
                         m->settings.levels, step, x->h, x->w);
    m->input = (dfoi_conv_input){.h = x->h, .w = x->w};
    for (size_t p = 0; p < net->parts; p++) {
        const dfo_shape *s = &net->part[p];
        int image = s->h == x->h && s->w == x->w && (!p || (p + own < net->parts && x->h * x->w > 1));
        m->input.vector[p] = !image;
        vector[p] = !image;
        if (image)
            m->input.channels += s->c;
        else if (dfo_shape_size(*s) && (!p || s->h * s->w != 1))
            return dfoi_fail(ctx, DFO_ESHAPE, "input part %zu has %zux%zu pixels, expected %zux%zu%s", p, s->h, s->w, x->h,
                             x->w, p ? " or a vector" : "");
    }
    if (!net->parts || !dfo_shape_size(net->part[0]))
        return dfoi_fail(ctx, DFO_ESHAPE, "expected images in its first input part");
    return DFO_OK;
}

static size_t add_map(dfoi_unet *m, size_t channels, size_t level)
{
    m->map[m->maps] = (dfoi_unet_map){.channels = channels, .level = level, .first = (size_t)-1};
    return m->maps++;
}

/* What distinguishes an operation; the channels it reads and writes.  */
struct plan {
    size_t kernel, stride, in, out;
    int transposed, unit;
    double bound;
};

static void touch(dfoi_unet *m, dfoi_unet_place place)
{
    dfoi_unet_map *map = &m->map[place.map];
    map->first = m->ops < map->first ? m->ops : map->first;
    map->last = m->ops;
}

static dfo_status add_op(dfo_build *build, dfoi_unet *m, struct plan plan, dfoi_unet_place from, dfoi_unet_place to,
                         const dfoi_unet_place *residual, dfoi_unet_op **made)
{
    dfoi_unet_op *op = &m->op[m->ops];
    size_t level = m->map[from.map].level, product;
    char prefix[32], w[40], b[40];
    snprintf(prefix, sizeof prefix, "op%zu.", m->ops);
    snprintf(w, sizeof w, "%sw", prefix);
    snprintf(b, sizeof b, "%sb", prefix);
    *op = (dfoi_unet_op){.from = from, .to = to, .unit = plan.unit, .add = residual != NULL, .act = m->settings.act};
    op->residual = residual ? *residual : from;
    op->conv = (dfoi_conv){.in = plan.in, .out = plan.out, .in_h = m->input.h >> level, .in_w = m->input.w >> level,
                           .kernel = plan.kernel, .stride = plan.stride, .transposed = plan.transposed, .bias = 1};
    DFO_TRY(dfoi_conv_new(build, w, b, plan.bound, &op->conv));
    if (plan.unit && m->settings.groups) {
        DFO_TRY(dfoi_group_new(build, prefix, plan.in, m->settings.groups, &op->norm));
        op->statistics = m->statistics;
        m->statistics += dfoi_group_keep(&op->norm, 1);
    }
    product = dfoi_conv_scratch(&op->conv);
    m->products = product > m->products ? product : m->products;
    touch(m, from);
    touch(m, to);
    touch(m, op->residual);
    m->ops++;
    if (made)
        *made = op;
    return DFO_OK;
}

/* A block from `from`, of `in` channels, to `to`.  */
static dfo_status add_block(dfo_build *build, dfoi_unet *m, size_t level, size_t in, dfoi_unet_place from, dfoi_unet_place to)
{
    size_t out = m->settings.channels[level];
    dfoi_unet_place inside = {add_map(m, out, level), 0}, residual = from;
    dfoi_unet_op *op;
    if (in != out) {
        DFO_TRY(add_op(build, m, (struct plan){1, 1, in, out, 0, 0, -1}, from, to, NULL, NULL));
        residual = to;
    }
    DFO_TRY(add_op(build, m, (struct plan){3, 1, in, out, 0, 1, -1}, from, inside, NULL, &op));
    op->embedded = 1;
    op->embed = m->embedded;
    m->embedded += out;
    return add_op(build, m, (struct plan){3, 1, out, out, 0, 1, SMALL}, inside, to, &residual, NULL);
}

/* Attention of *at, a map of the coarsest level; *at becomes its result.  */
static dfo_status add_attention(dfo_build *build, dfoi_unet *m, dfoi_unet_place *at)
{
    size_t level = m->settings.levels - 1, c = m->settings.channels[level], plane = (m->input.h >> level) * (m->input.w >> level);
    dfoi_unet_place qkv = {add_map(m, 3 * c, level), 0}, mixed = {add_map(m, c, level), 0}, to = {add_map(m, c, level), 0};
    dfoi_unet_op *op;
    if (plane > DFOI_ATTEND_PIXELS)
        return dfoi_fail(build->ctx, DFO_ESHAPE, "attention: at most %d pixels at the coarsest level, got %zu", DFOI_ATTEND_PIXELS,
                         plane);
    DFO_TRY(add_op(build, m, (struct plan){1, 1, c, 3 * c, 0, m->settings.groups > 0, -1}, *at, qkv, NULL, &op));
    op->act = DFOI_ACT_NONE;
    m->op[m->ops] = (dfoi_unet_op){.from = qkv, .to = mixed, .residual = qkv, .attend = 1, .conv = {.in = 3 * c, .out = c}};
    m->products = dfoi_attend_scratch(c, plane) > m->products ? dfoi_attend_scratch(c, plane) : m->products;
    touch(m, qkv);
    touch(m, mixed);
    m->ops++;
    DFO_TRY(add_op(build, m, (struct plan){1, 1, c, c, 0, 0, SMALL}, mixed, to, at, NULL));
    *at = to;
    return DFO_OK;
}

/* `blocks` blocks of a level, the last one to *end; *at, of *channels channels, becomes their result.  */
static dfo_status add_blocks(dfo_build *build, dfoi_unet *m, size_t level, size_t *channels, dfoi_unet_place *at,
                             const dfoi_unet_place *end)
{
    size_t out = m->settings.channels[level];
    for (size_t k = 0; k < m->settings.blocks; k++) {
        dfoi_unet_place to = k + 1 == m->settings.blocks && end ? *end : (dfoi_unet_place){add_map(m, out, level), 0};
        DFO_TRY(add_block(build, m, level, *channels, *at, to));
        *at = to;
        *channels = out;
        if (!k && m->settings.attention && level + 1 == m->settings.levels)
            DFO_TRY(add_attention(build, m, at));
    }
    return DFO_OK;
}

static dfo_status add_ops(dfo_build *build, const dfo_net *net, int zero_last, dfoi_unet *m)
{
    const dfoi_unet_settings *s = &m->settings;
    size_t channels = s->channels[0], beside[DFOI_UNET_LEVELS] = {0};
    dfoi_unet_place at = {add_map(m, m->input.channels, 0), 0}, to = {add_map(m, channels, 0), 0};
    DFO_TRY(add_op(build, m, (struct plan){3, 1, m->input.channels, channels, 0, 0, -1}, at, to, NULL, NULL));
    at = to;
    for (size_t l = 0; l + 1 < s->levels; l++) {
        beside[l] = add_map(m, 2 * s->channels[l], l);
        DFO_TRY(add_blocks(build, m, l, &channels, &at, &(dfoi_unet_place){beside[l], s->channels[l]}));
        to = (dfoi_unet_place){add_map(m, s->channels[l + 1], l + 1), 0};
        DFO_TRY(add_op(build, m, (struct plan){3, 2, channels, s->channels[l + 1], 0, 0, -1}, at, to, NULL, NULL));
        channels = s->channels[l + 1];
        at = to;
    }
    DFO_TRY(add_blocks(build, m, s->levels - 1, &channels, &at, NULL));
    for (size_t l = s->levels - 1; l-- > 0;) {
        to = (dfoi_unet_place){beside[l], 0};
        DFO_TRY(add_op(build, m, (struct plan){4, 2, channels, s->channels[l], 1, 0, -1}, at, to, NULL, NULL));
        at = to;
        channels = 2 * s->channels[l];
        DFO_TRY(add_blocks(build, m, l, &channels, &at, NULL));
    }
    to = (dfoi_unet_place){add_map(m, net->shape.c, 0), 0};
    return add_op(build, m, (struct plan){3, 1, channels, net->shape.c, 0, 1, zero_last ? s->last_init : -1}, at, to, NULL, NULL);
}

/* Finds homes: that of a map is free for others before its first operation and behind its last.  */
static void find_homes(dfoi_unet *m)
{
    for (size_t i = 0; i + 1 < m->maps; i++) {
        dfoi_unet_map *map = &m->map[i];
        size_t h = 0;
        for (; h < m->homes; h++) {
            int meets = m->home[h].level != map->level;
            for (size_t j = 0; j < i; j++)
                meets = meets || (m->map[j].home == h && m->map[j].first <= map->last && map->first <= m->map[j].last);
            if (!meets)
                break;
        }
        if (h == m->homes)
            m->home[m->homes++] = (dfoi_unet_map){.level = map->level};
        map->home = h;
        if (map->channels > m->home[h].channels)
            m->home[h].channels = map->channels;
    }
}

static dfo_status create(dfo_build *build, const json_t *config, int zero_last, dfo_net *net)
{
    dfoi_unet *m;
    int vector[DFO_COND_PARTS] = {0};
    DFO_TRY(dfoi_alloc(build->ctx, 1, sizeof *m, &m));
    net->state = m;
    DFO_TRY(read_settings(build->ctx, config, &m->settings));
    DFO_TRY(sort_parts(build->ctx, net, m, vector));
    DFO_TRY(add_ops(build, net, zero_last, m));
    DFO_TRY(dfoi_embed_new(build, net, &m->settings.embed, vector, m->embedded, &m->embed));
    find_homes(m);
    m->block = dfoi_conv_block(m->input.h, m->input.w);
    return DFO_OK;
}

static dfo_status describe(const dfo_net *net, json_t *to)
{
    const dfoi_unet *m = net->state;
    const dfoi_unet_settings *s = &m->settings;
    DFO_TRY(dfoi_config_set_sizes(net->ctx, to, "channels", s->levels, s->channels));
    DFO_TRY(dfoi_json_set(net->ctx, to, "blocks", json_integer((json_int_t)s->blocks)));
    DFO_TRY(dfoi_json_set(net->ctx, to, "norm", json_string(s->groups ? "group" : "none")));
    DFO_TRY(dfoi_json_set(net->ctx, to, "groups", json_integer((json_int_t)(s->groups ? s->groups : 8))));
    DFO_TRY(dfoi_json_set(net->ctx, to, "activation", json_string(dfoi_act_name(s->act))));
    DFO_TRY(dfoi_json_set(net->ctx, to, "attention", json_boolean(s->attention)));
    DFO_TRY(dfoi_embed_describe(&m->embed, net->ctx, to));
    return dfoi_json_set(net->ctx, to, "last_init", json_real(s->last_init));
}

static void release(dfo_net *net)
{
    dfoi_free(net->ctx, net->state);
}

static const struct dfo_net_ops ops = {
    .type = "unet",
    .layout = DFO_ROWS,
    .scratch = dfoi_unet_scratch,
    .acts = dfoi_unet_acts,
    .forward = dfoi_unet_forward,
    .backward = dfoi_unet_backward,
    .jvp = dfoi_unet_jvp,
    .jvp_backward = dfoi_unet_jvp_backward,
    .describe = describe,
    .free = release,
};

const struct dfoi_net_type dfoi_net_unet = {&ops, check, create};

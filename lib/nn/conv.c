/* A chain of convolutions: structure and weights.
 *
 *   {"type":"conv", "hidden":128 or [128,128], "kernel":[3,1,3] or one number, "activation":"relu",
 *    "dropout":0, "norm":"none", "layer" or "batch", "last_scale":true, "last_init":0}
 *
 * is Glow's (Kingma and Dhariwal 2018) by default: convolution 3x3, relu, 1x1, relu, 3x3.  One by
 * one:
 *
 *   {"type":"conv", "layers":[{"channels":64, "kernel":3, "stride":1, "transposed":false,
 *    "bias":true, "norm":.., "activation":.., "dropout":..}, ..., {"kernel":3}], ...}
 *
 * where norm, activation and dropout stand in front of the layer's convolution: absent ones are the
 * net's own, and none in the first layer.  The last layer has no channels: they are the output's.
 *
 * h_l+1 = W_l * dropout(act(norm(h_l))) + b_l.  A pixel sees zeros outside of its image.  The
 * output's pixel y stands over the input's pixels y stride - pad .. y stride - pad + kernel - 1,
 * pad = (kernel
 * - 1) / 2 rounded down, and has ceil(h / stride) pixels a side; a transposed convolution is the
 * adjoint of that, from h to h stride pixels.  A chain of kernels k_1, k_2, ... of stride 1 sees
 * (k_1
 * - 1) + (k_2 - 1) + ... + 1 pixels a side.  last_scale: the output is multiplied by e^(3 s), s of
 * each channel learned, zero at first.  Weights: w0 (out, kernel, kernel, in), b0 (out), scale0
 * (in), shift0 (in) of the norm in front, ..., log_scale (out), vector.w (out, features); buffers
 * of batch normalisation, batch_norm.c: mean0 (in), var0 (in).  Drawn as PyTorch's; a net made with
 * zero_last starts its last layer at zero, or in +-last_init.  The passes are in conv_pass.c.  */
#include <stdio.h>
#include <string.h>

#include "base/ctx_impl.h"
#include "base/json_impl.h"
#include "math/kern_impl.h"
#include "nn/config_impl.h"
#include "nn/convnet_impl.h"
#include "nn/net_impl.h"

/* norm, activation and dropout of an object; what is absent is as in *s.  */
static dfo_status read_unit(dfo_ctx *ctx, const json_t *config, dfoi_conv_setting *s)
{
    DFO_TRY(dfoi_conv_read_norm(ctx, config, s->norm, &s->norm));
    if (json_object_get(config, "activation"))
        DFO_TRY(dfoi_config_activation(ctx, config, "relu", &s->act));
    return dfoi_json_real(ctx, config, "dropout", s->dropout, 0, DFOI_DROPOUT_MAX, &s->dropout);
}

/* Hidden layers and kernels of the short form.  */
static dfo_status read_short(dfo_ctx *ctx, const json_t *config, const dfoi_conv_setting *unit,
                             dfoi_convnet_settings *s)
{
    size_t hidden[DFOI_CONV_LAYERS] = {128, 128}, kernel[DFOI_CONV_LAYERS], n = 2, kernels = 0;
    if (json_object_get(config, "hidden"))
        DFO_TRY(dfoi_json_sizes(ctx, config, "hidden", 1, DFOI_NET_WIDEST, DFOI_CONV_LAYERS - 1,
                                hidden, &n));
    if (json_is_integer(json_object_get(config, "hidden"))) {
        hidden[1] = hidden[0];
        n = 2;
    }
    if (json_object_get(config, "kernel"))
        DFO_TRY(dfoi_json_sizes(ctx, config, "kernel", 1, DFOI_CONV_KERNEL, DFOI_CONV_LAYERS,
                                kernel, &kernels));
    if (kernels > 1 && kernels != n + 1)
        return dfoi_fail(ctx, DFO_EARG,
                         "kernel: expected %zu numbers, one more than hidden, got %zu", n + 1,
                         kernels);
    s->layers = n + 1;
    for (size_t l = 0; l <= n; l++) {
        s->layer[l] = l ? *unit : (dfoi_conv_setting){.act = DFOI_ACT_NONE};
        s->layer[l].channels = l < n ? hidden[l] : 0;
        s->layer[l].kernel = kernels == 1 ? kernel[0] : kernels ? kernel[l] : l && l < n ? 1 : 3;
        s->layer[l].stride = 1;
        s->layer[l].bias = 1;
    }
    return DFO_OK;
}

static dfo_status read_layer(dfo_ctx *ctx, const json_t *entry, int last, dfoi_conv_setting *s)
{
    static const char *const keys[] = {"channels",   "kernel", "stride",  "transposed", "bias",
                                       "activation", "norm",   "dropout", NULL};
    if (!json_is_object(entry))
        return dfoi_fail(ctx, DFO_EARG, "expected an object");
    DFO_TRY(dfoi_json_keys(ctx, entry, keys));
    if (last && json_object_get(entry, "channels"))
        return dfoi_fail(ctx, DFO_EARG, "channels: the last layer's are those of the output");
    if (!last && !json_object_get(entry, "channels"))
        return dfoi_fail(ctx, DFO_EARG, "channels: missing");
    DFO_TRY(dfoi_json_size(ctx, entry, "channels", 0, 1, DFOI_NET_WIDEST, &s->channels));
    DFO_TRY(dfoi_json_size(ctx, entry, "kernel", 3, 1, DFOI_CONV_KERNEL, &s->kernel));
    DFO_TRY(dfoi_json_size(ctx, entry, "stride", 1, 1, DFOI_CONV_KERNEL, &s->stride));
    DFO_TRY(dfoi_json_bool(ctx, entry, "transposed", 0, &s->transposed));
    DFO_TRY(dfoi_json_bool(ctx, entry, "bias", 1, &s->bias));
    return read_unit(ctx, entry, s);
}

static dfo_status read_list(dfo_ctx *ctx, const json_t *list, const dfoi_conv_setting *unit,
                            dfoi_convnet_settings *s)
{
    size_t n = json_array_size(list);
    if (!json_is_array(list) || !n || n > DFOI_CONV_LAYERS)
        return dfoi_fail(ctx, DFO_EARG, "layers: expected a list of 1 to %d objects",
                         DFOI_CONV_LAYERS);
    s->layers = n;
    s->listed = 1;
    for (size_t l = 0; l < n; l++) {
        s->layer[l] = l ? *unit : (dfoi_conv_setting){.act = DFOI_ACT_NONE};
        if (read_layer(ctx, json_array_get(list, l), l + 1 == n, &s->layer[l]) != DFO_OK)
            return dfoi_wrap(ctx, "layers[%zu]: ", l);
    }
    return DFO_OK;
}

static dfo_status read_settings(dfo_ctx *ctx, const json_t *config, dfoi_convnet_settings *s)
{
    static const char *const keys[] = {"type",    "hidden", "kernel",     "layers",    "activation",
                                       "dropout", "norm",   "last_scale", "last_init", NULL};
    const json_t *list = json_object_get(config, "layers");
    dfoi_conv_setting unit = {.act = DFOI_ACT_RELU};
    *s = (dfoi_convnet_settings){.listed = 0};
    DFO_TRY(dfoi_json_keys(ctx, config, keys));
    if (list && (json_object_get(config, "hidden") || json_object_get(config, "kernel")))
        return dfoi_fail(ctx, DFO_EARG, "layers: goes without hidden and kernel");
    DFO_TRY(read_unit(ctx, config, &unit));
    DFO_TRY(list ? read_list(ctx, list, &unit, s) : read_short(ctx, config, &unit, s));
    DFO_TRY(dfoi_json_bool(ctx, config, "last_scale", !list, &s->last_scale));
    return dfoi_json_real(ctx, config, "last_init", 0, 0, 1, &s->last_init);
}

static dfo_status check(dfo_ctx *ctx, const json_t *config)
{
    dfoi_convnet_settings s;
    return read_settings(ctx, config, &s);
}

static dfo_status add_unit(dfo_build *build, dfoi_convnet *m, size_t l)
{
    const dfoi_conv_setting *s = &m->settings.layer[l];
    size_t width = m->conv[l].in;
    m->plain[l] = !l && (!width || (s->act == DFOI_ACT_NONE && s->norm == DFOI_NORM_NONE &&
                                    !dfoi_unit_drop(s->dropout)));
    return dfoi_conv_unit_new(build, "", l, width, m->plain[l] ? DFOI_NORM_NONE : s->norm, s->act,
                              s->dropout, m->conv[l].w, &m->statistics, &m->unit[l]);
}

static dfo_status add_layer(dfo_build *build, const dfo_net *net, int zero_last, dfoi_convnet *m,
                            size_t l)
{
    const dfoi_conv_setting *s = &m->settings.layer[l];
    const dfoi_conv *before = l ? &m->conv[l - 1] : NULL;
    int last = l + 1 == m->layers;
    char w[16], b[16];
    m->conv[l] = (dfoi_conv){.in = l ? before->out : m->input.channels,
                             .out = last ? net->shape.c : s->channels,
                             .in_h = l ? before->out_h : m->input.h,
                             .in_w = l ? before->out_w : m->input.w,
                             .kernel = s->kernel,
                             .stride = s->stride,
                             .transposed = s->transposed,
                             .bias = s->bias};
    snprintf(w, sizeof w, "w%zu", l);
    snprintf(b, sizeof b, "b%zu", l);
    DFO_TRY(
        dfoi_conv_new(build, w, b, last && zero_last ? m->settings.last_init : -1, &m->conv[l]));
    size_t scratch = dfoi_conv_scratch(&m->conv[l]);
    m->scratch = scratch > m->scratch ? scratch : m->scratch;
    return add_unit(build, m, l);
}

/* 1 if the layers make the output's shape of a single pixel.  */
static int one_pixel(const dfo_net *net, const dfoi_convnet_settings *s)
{
    size_t side = 1;
    for (size_t l = 0; l < s->layers && side <= DFOI_CONV_SIDE; l++)
        side = s->layer[l].transposed ? side * s->layer[l].stride
                                      : (side + s->layer[l].stride - 1) / s->layer[l].stride;
    return net->shape.h == side && net->shape.w == side;
}

static dfo_status create(dfo_build *build, const json_t *config, int zero_last, dfo_net *net)
{
    dfoi_convnet *m;
    DFO_TRY(dfoi_alloc(build->ctx, 1, sizeof *m, &m));
    net->state = m;
    DFO_TRY(read_settings(build->ctx, config, &m->settings));
    DFO_TRY(dfoi_conv_input_of(net, one_pixel(net, &m->settings), &m->input));
    m->layers = m->settings.layers;
    size_t h = m->input.h, w = m->input.w;
    for (size_t l = 0; l < m->layers; l++) {
        DFO_TRY(add_layer(build, net, zero_last, m, l));
        h = m->conv[l].out_h > h ? m->conv[l].out_h : h;
        w = m->conv[l].out_w > w ? m->conv[l].out_w : w;
    }
    const dfoi_conv *last = &m->conv[m->layers - 1];
    if (last->out_h != net->shape.h || last->out_w != net->shape.w)
        return dfoi_fail(build->ctx, DFO_ESHAPE,
                         "its layers make %zux%zu pixels of %zux%zu, expected %zux%zu", last->out_h,
                         last->out_w, m->input.h, m->input.w, net->shape.h, net->shape.w);
    if (m->input.features)
        DFO_TRY(
            dfoi_conv_vector_new(build, "vector.w", m->input.features, m->conv[0].out,
                                 m->layers == 1 && zero_last ? m->settings.last_init : -1, &m->vector));
    if (m->settings.last_scale)
        DFO_TRY(dfo_build_weights(build, "log_scale", 1, &net->shape.c, &m->log_scale));
    m->block = m->statistics ? 0 : dfoi_conv_block(h, w);
    return DFO_OK;
}

static dfo_status describe_unit(dfo_ctx *ctx, const dfoi_conv_setting *s, json_t *to)
{
    DFO_TRY(dfoi_json_set(ctx, to, "activation", json_string(dfoi_act_name(s->act))));
    DFO_TRY(dfoi_json_set(ctx, to, "dropout", json_real(s->dropout)));
    return dfoi_json_set(ctx, to, "norm", json_string(dfoi_conv_norm_name(s->norm)));
}

static dfo_status describe_layer(dfo_ctx *ctx, const dfoi_conv_setting *s, json_t *to)
{
    if (s->channels)
        DFO_TRY(dfoi_json_set(ctx, to, "channels", json_integer((json_int_t)s->channels)));
    DFO_TRY(dfoi_json_set(ctx, to, "kernel", json_integer((json_int_t)s->kernel)));
    DFO_TRY(dfoi_json_set(ctx, to, "stride", json_integer((json_int_t)s->stride)));
    DFO_TRY(dfoi_json_set(ctx, to, "transposed", json_boolean(s->transposed)));
    DFO_TRY(dfoi_json_set(ctx, to, "bias", json_boolean(s->bias)));
    return describe_unit(ctx, s, to);
}

static dfo_status describe_list(dfo_ctx *ctx, const dfoi_convnet_settings *s, json_t *to)
{
    json_t *list = json_array();
    DFO_TRY(dfoi_json_set(ctx, to, "layers", list));
    for (size_t l = 0; l < s->layers; l++) {
        json_t *layer = json_object();
        if (!layer || json_array_append_new(list, layer))
            return dfoi_fail(ctx, DFO_EMEM, "no memory for a description");
        DFO_TRY(describe_layer(ctx, &s->layer[l], layer));
    }
    return DFO_OK;
}

static dfo_status describe(const dfo_net *net, json_t *to)
{
    const dfoi_convnet *m = net->state;
    const dfoi_convnet_settings *s = &m->settings;
    size_t hidden[DFOI_CONV_LAYERS], kernel[DFOI_CONV_LAYERS];
    for (size_t l = 0; l < s->layers; l++) {
        hidden[l] = s->layer[l].channels;
        kernel[l] = s->layer[l].kernel;
    }
    if (s->listed) {
        DFO_TRY(describe_list(net->ctx, s, to));
    } else {
        DFO_TRY(dfoi_config_set_sizes(net->ctx, to, "hidden", s->layers - 1, hidden));
        DFO_TRY(dfoi_config_set_sizes(net->ctx, to, "kernel", s->layers, kernel));
        DFO_TRY(describe_unit(net->ctx, &s->layer[s->layers - 1], to));
    }
    DFO_TRY(dfoi_json_set(net->ctx, to, "last_scale", json_boolean(s->last_scale)));
    return dfoi_json_set(net->ctx, to, "last_init", json_real(s->last_init));
}

static void release(dfo_net *net)
{
    dfoi_free(net->ctx, net->state);
}

static const struct dfo_net_ops ops = {
    .type = "conv",
    .layout = DFO_ROWS,
    .scratch = dfoi_convnet_scratch,
    .acts = dfoi_convnet_acts,
    .forward = dfoi_convnet_forward,
    .backward = dfoi_convnet_backward,
    .jvp = dfoi_convnet_jvp,
    .jvp_backward = dfoi_convnet_jvp_backward,
    .statistics = dfoi_convnet_statistics,
    .update = dfoi_convnet_update,
    .describe = describe,
    .free = release,
};

const struct dfoi_net_type dfoi_net_conv = {&ops, check, create};

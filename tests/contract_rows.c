/* The table of the contract: a row for every type of layer.  A new layer gets a function that makes a
 * random configuration for a setting, its flags, and what its constructor must refuse.  */
#include <math.h>
#include <string.h>

#include "contract_rows.h"

static size_t between(test_rng *rng, size_t low, size_t high)
{
    return test_rng_between(rng, low, high);
}

double contract_real(test_rng *rng, double low, double high)
{
    double x = ceil(test_rng_real(rng, low, high) * 64) / 64;
    return x > high ? floor(high * 64) / 64 : x;
}

/* A small net; activations with continuous derivatives where gradients are compared with differences.  */
static json_t *mlp(test_rng *rng, const struct setting *s)
{
    static const char *const smooth[] = {"tanh", "silu", "softplus", "gelu", "elu"};
    static const char *const any[] = {"relu", "leaky-relu", "tanh", "elu"};
    const char *act = s->smooth ? smooth[between(rng, 0, 3)] : any[between(rng, 0, 3)];
    json_t *hidden = json_array();
    for (size_t n = between(rng, 1, 2); n > 0; n--)
        json_array_append_new(hidden, json_integer((json_int_t)between(rng, 3, 11)));
    return json_pack("{s:s, s:o, s:s}", "type", "mlp", "hidden", hidden, "activation", act);
}

/* One of these, or an expansion in kernels.  */
static json_t *net(test_rng *rng, const struct setting *s)
{
    static const char *const kernel[] = {"squared-exponential", "matern32", "matern52", "matern12"};
    if (between(rng, 0, 3) == 0)
        return json_pack("{s:s, s:i, s:s}", "type", "kernel", "points", (int)between(rng, 1, 9), "kernel", kernel[between(rng, 0, s->smooth ? 2 : 3)]);
    return mlp(rng, s);
}

static json_t *mask(test_rng *rng, size_t d)
{
    static const char *const named[] = {"half", "half-swapped", "alternate", "alternate-swapped"};
    if (between(rng, 0, 2))
        return json_string(named[between(rng, 0, 3)]);
    json_t *list = json_array();
    size_t changed = between(rng, 0, d - 1);
    for (size_t j = 0; j < d; j++)
        json_array_append_new(list, json_integer(j == changed ? 0 : (json_int_t)between(rng, 0, 1)));
    return list;
}

/* A small convolution net.  */
static json_t *image_net(test_rng *rng, const struct setting *s)
{
    json_t *of = mlp(rng, s), *kernel = json_array();
    for (size_t l = json_array_size(json_object_get(of, "hidden")) + 1; l > 0; l--)
        json_array_append_new(kernel, json_integer((json_int_t)between(rng, 1, 3)));
    json_object_set_new(of, "type", json_string("conv"));
    json_object_set_new(of, "last_scale", json_boolean(between(rng, 0, 1)));
    json_object_set_new(of, "kernel", kernel);
    return of;
}

/* Channels or pixels of an image feed a convolution net.  */
static json_t *make_image_coupling(test_rng *rng, const struct setting *s, const char *type)
{
    static const char *const named[] = {"channels", "channels-swapped", "checkerboard", "checkerboard-swapped"};
    return json_pack("{s:s, s:s, s:o, s:b}", "type", type, "mask", named[between(rng, 0, 3)], "net",
                     image_net(rng, s), "zero_init", (int)between(rng, 0, 1));
}

json_t *make_coupling(test_rng *rng, const struct setting *s, const char *type)
{
    if (s->shape.h * s->shape.w > 1 && between(rng, 0, 2))
        return make_image_coupling(rng, s, type);
    return json_pack("{s:s, s:o, s:o, s:b}", "type", type, "mask", mask(rng, dfo_shape_size(s->shape)), "net",
                     net(rng, s), "zero_init", (int)between(rng, 0, 1));
}

static json_t *make_affine_coupling(test_rng *rng, const struct setting *s, const char *type)
{
    json_t *c = make_coupling(rng, s, type);
    if (between(rng, 0, 1))
        json_object_set_new(c, "scale", json_string(between(rng, 0, 2) ? "sigmoid" : "exp"));
    if (between(rng, 0, 1))
        json_object_set_new(c, "scale_max", json_real(contract_real(rng, 0.5, 3)));
    return c;
}

static json_t *make_spline_coupling(test_rng *rng, const struct setting *s, const char *type)
{
    json_t *c = make_coupling(rng, s, type);
    size_t bins = between(rng, 2, 10);
    json_object_set_new(c, "bins", json_integer((json_int_t)bins));
    json_object_set_new(c, "tail_bound", json_real(contract_real(rng, 1, 4)));
    const char *type_of_net = json_string_value(json_object_get(json_object_get(c, "net"), "type"));
    if (s->depth == 0 && strcmp(type_of_net, "conv") && !between(rng, 0, 3)) {   /* a circle that no row leaves */
        json_object_set_new(c, "tails", json_string("circular"));
        json_object_set_new(c, "tail_bound", json_real(9));
    }
    if (strcmp(type_of_net, "conv") && !between(rng, 0, 2)) {
        json_object_set_new(c, "input", json_string(between(rng, 0, 1) ? "circle" : "interval"));
        json_object_set_new(c, "harmonics", json_integer((json_int_t)between(rng, 1, 4)));
    }
    if (between(rng, 0, 3) == 0)                   /* the bounds of what may be asked */
        json_object_set_new(c, "min_width", json_real(bins == 8 ? 0.5 / 8 : 0.03125));
    if (between(rng, 0, 3) == 0)
        json_object_set_new(c, "min_derivative", json_real(0.01));
    return c;
}

/* Types without settings.  */
static json_t *make_plain(test_rng *rng, const struct setting *s, const char *type)
{
    (void)rng;
    (void)s;
    return json_pack("{s:s}", "type", type);
}

/* A learned scale and shift, or a net's.  */
static json_t *make_affine(test_rng *rng, const struct setting *s, const char *type)
{
    json_t *a = make_plain(rng, s, type);
    if (between(rng, 0, 1)) {
        json_object_set_new(a, "net", s->shape.h * s->shape.w > 1 ? image_net(rng, s) : net(rng, s));
        json_object_set_new(a, "zero_init", json_boolean(between(rng, 0, 1)));
        json_object_set_new(a, "scale", json_string(between(rng, 0, 1) ? "tanh" : "sigmoid"));
    }
    return a;
}

static json_t *make_spline(test_rng *rng, const struct setting *s, const char *type)
{
    json_t *p = json_pack("{s:s, s:i, s:f}", "type", type, "bins", (int)between(rng, 2, 9), "tail_bound",
                          contract_real(rng, 1, 4));
    size_t how = between(rng, 0, 3);
    if (how == 0 && s->depth == 0) {
        json_object_set_new(p, "tails", json_string("circular"));
        if (between(rng, 0, 1))
            json_object_set_new(p, "period", json_real(contract_real(rng, 1, 360)));
        if (between(rng, 0, 1))
            json_object_set_new(p, "start", json_real(contract_real(rng, -2, 2)));
    } else if (how == 1) {
        json_object_set_new(p, "box", json_string("learned"));
    }
    return p;
}

static json_t *make_bounds(test_rng *rng, const struct setting *s, const char *type)
{
    json_t *lower = json_array(), *upper = json_array();
    for (size_t j = 0; j < dfo_shape_size(s->shape); j++) {
        double low = contract_real(rng, -2, 2);
        json_array_append_new(lower, between(rng, 0, 2) ? json_real(low) : json_null());
        json_array_append_new(upper, between(rng, 0, 2) ? json_real(low + contract_real(rng, 0.5, 9)) : json_null());
    }
    return json_pack("{s:s, s:o, s:o}", "type", type, "lower", lower, "upper", upper);
}

static json_t *make_logit(test_rng *rng, const struct setting *s, const char *type)
{
    json_t *l = make_plain(rng, s, type);
    if (between(rng, 0, 1))
        json_object_set_new(l, "alpha", json_real(contract_real(rng, 0, 0.1)));
    if (between(rng, 0, 1)) {
        json_object_set_new(l, "low", json_real(contract_real(rng, -3, 0)));
        json_object_set_new(l, "high", json_real(contract_real(rng, 0.5, 256)));
    }
    return l;
}

static json_t *make_rescale(test_rng *rng, const struct setting *s, const char *type)
{
    double high = s->depth ? 1.5 : 256;            /* several of them: differences still have their digits */
    return json_pack("{s:s, s:f, s:f}", "type", type, "low", contract_real(rng, -1, 0), "high", contract_real(rng, 0.5, high));
}

static json_t *make_leaky(test_rng *rng, const struct setting *s, const char *type)
{
    (void)s;
    return json_pack("{s:s, s:f}", "type", type, "slope", contract_real(rng, 0.05, 2));
}

static json_t *make_box_cox(test_rng *rng, const struct setting *s, const char *type)
{
    (void)s;
    return json_pack("{s:s, s:f}", "type", type, "lambda", between(rng, 0, 3) ? contract_real(rng, -1, 2) : 0.0);
}

static json_t *make_householder(test_rng *rng, const struct setting *s, const char *type)
{
    return json_pack("{s:s, s:i}", "type", type, "reflections", (int)between(rng, 1, s->shape.c));
}

static json_t *make_sylvester(test_rng *rng, const struct setting *s, const char *type)
{
    size_t d = dfo_shape_size(s->shape);
    return json_pack("{s:s, s:i, s:i}", "type", type, "rank", (int)between(rng, 1, d), "reflections", (int)between(rng, 1, d + 1));
}

static json_t *make_residual(test_rng *rng, const struct setting *s, const char *type)
{
    static const char *const activation[] = {"lipswish", "tanh", "softplus", "elu"}, *const trace[] = {"exact", "series", "roulette"};
    return json_pack("{s:s, s:i, s:i, s:s, s:f, s:s, s:i, s:i}", "type", type, "hidden", (int)between(rng, 1, 9), "depth",
                     (int)between(rng, 1, 3), "activation", activation[between(rng, 0, s->smooth ? 2 : 3)], "lipschitz",
                     contract_real(rng, 0.25, 0.9), "trace", trace[between(rng, 0, 2)], "terms", (int)between(rng, 1, 9), "probes",
                     (int)between(rng, 1, 3));
}

static json_t *make_dense(test_rng *rng, const struct setting *s, const char *type)
{
    (void)s;
    return json_pack("{s:s, s:b, s:s}", "type", type, "bias", (int)between(rng, 0, 1), "init",
                     between(rng, 0, 1) ? "identity" : "orthogonal");
}

/* A list of 0..c-1 in random order.  */
static json_t *order(test_rng *rng, size_t c)
{
    json_t *list = json_array();
    for (size_t j = 0; j < c; j++)
        json_array_insert_new(list, between(rng, 0, j), json_integer((json_int_t)j));
    return list;
}

static json_t *make_permute(test_rng *rng, const struct setting *s, const char *type)
{
    json_t *p = make_plain(rng, s, type);
    size_t how = between(rng, 0, 3);
    if (how)
        json_object_set_new(p, "order", how == 1 ? json_string("random") : how == 2 ? json_string("reverse")
                                                                                    : order(rng, s->shape.c));
    return p;
}

static json_t *make_linear(test_rng *rng, const struct setting *s, const char *type)
{
    json_t *l = json_pack("{s:s, s:b}", "type", type, "bias", (int)between(rng, 0, 1));
    if (between(rng, 0, 1)) {
        json_object_set_new(l, "init", json_string("orthogonal"));
        return l;
    }
    json_t *sign = json_array();
    for (size_t j = 0; j < s->shape.c; j++)
        json_array_append_new(sign, json_integer(between(rng, 0, 1) ? 1 : -1));
    json_object_set_new(l, "sign", sign);
    json_object_set_new(l, "perm", order(rng, s->shape.c));
    return l;
}

static json_t *make_squeeze(test_rng *rng, const struct setting *s, const char *type)
{
    int haar = !strcmp(type, "haar");
    json_t *q = make_plain(rng, s, type);
    if (between(rng, 0, 1))
        json_object_set_new(q, "order", json_string(haar ? "band-slow" : "offset-slow"));
    return q;
}

static json_t *make_causal(test_rng *rng, const struct setting *s, const char *type)
{
    static const char *const corner[] = {"top-left", "top-right", "bottom-left", "bottom-right"};
    static const char *const diagonal[] = {"unit", "log", "full"};
    size_t way = between(rng, 0, 2);
    json_t *l = json_pack("{s:s, s:[I, I], s:s, s:b, s:s}", "type", type, "kernel", (json_int_t)between(rng, 1, 4),
                          (json_int_t)between(rng, 1, 4), "orientation", corner[between(rng, 0, 3)], "solve",
                          (int)between(rng, 0, 1), "diagonal", diagonal[way]);
    json_t *sign = json_array();
    if (way < 2 && between(rng, 0, 1))
        json_object_set_new(l, "stable", json_true());
    for (size_t j = 0; j < s->shape.c; j++)
        json_array_append_new(sign, json_integer(between(rng, 0, 1) ? 1 : -1));
    if (way == 1)
        json_object_set(l, "sign", sign);
    json_decref(sign);
    return l;
}

/* Two or four of them.  */
static json_t *make_causal_chain(test_rng *rng, const struct setting *s, const char *type)
{
    json_t *l = make_causal(rng, s, type);
    json_object_del(l, "orientation");
    json_object_del(l, "sign");
    return l;
}

/* Kernels up to the image.  */
static json_t *make_transformed(test_rng *rng, const struct setting *s, const char *type)
{
    return json_pack("{s:s, s:[I, I], s:b}", "type", type, "kernel",
                     (json_int_t)between(rng, 1, s->shape.h < 4 ? s->shape.h : 4),
                     (json_int_t)between(rng, 1, s->shape.w < 4 ? s->shape.w : 4), "solve", (int)between(rng, 0, 1));
}

static json_t *make_woodbury(test_rng *rng, const struct setting *s, const char *type)
{
    size_t c = s->shape.c, pixels = s->shape.h * s->shape.w;
    return json_pack("{s:s, s:[I, I], s:b}", "type", type, "rank", (json_int_t)between(rng, 1, c < 3 ? c : 3),
                     (json_int_t)between(rng, 1, pixels < 3 ? pixels : 3), "solve", (int)between(rng, 0, 1));
}

static json_t *make_conv_exp(test_rng *rng, const struct setting *s, const char *type)
{
    static const double bound[] = {0.1, 1, 3};
    (void)s;
    return json_pack("{s:s, s:I, s:f}", "type", type, "kernel", 2 * (json_int_t)between(rng, 0, 2) + 1, "bound",
                     bound[between(rng, 0, 2)]);
}

/* Smooth fields, many steps of high order: exact to rounding as long as weights are moderate.  */
static json_t *make_cnf(test_rng *rng, const struct setting *s, const char *type)
{
    static const char *const gradient[] = {"stored", "adjoint", "checkpoint", "reversible"};
    static const char *const smooth[] = {"tanh", "softplus", "silu"}, *const timed[] = {"concatsquash", "concat", "hyper"};
    int image = s->shape.h * s->shape.w > 1;
    json_t *net = image ? json_pack("{s:s, s:[i], s:s}", "type", "conv", "hidden", 4, "activation", smooth[between(rng, 0, 2)])
                        : json_pack("{s:s, s:[i], s:s}", "type", timed[between(rng, 0, 2)], "hidden", (int)between(rng, 1, 9), "activation",
                                    smooth[between(rng, 0, 2)]);
    return json_pack("{s:s, s:b, s:s, s:s, s:f, s:f, s:f, s:s, s:i, s:f, s:b, s:s, s:f, s:o}", "type", type, "learn_end",
                     (int)between(rng, 0, 1), "probe", between(rng, 0, 1) ? "gaussian" : "rademacher", "trace",
                     between(rng, 0, 1) ? "hutch++" : "hutchinson", "kinetic", 0.01 * (double)between(rng, 0, 1), "jacobian",
                     0.01 * (double)between(rng, 0, 1), "acceleration", 0.01 * (double)between(rng, 0, 1), "solver", "pd87", "steps", 12,
                     "end", 0.125, "zero_init", (int)between(rng, 0, 1), "gradient", gradient[between(rng, 0, 3)], "coupling", 0.99, "net", net);
}

/* Masked nets of both kinds; a scale without a bound would leave the range of numbers.  */
static json_t *make_autoregressive(test_rng *rng, const struct setting *s, const char *type)
{
    static const char *const named[] = {"natural", "reverse", "random"};
    json_t *of = mlp(rng, s);
    json_object_set_new(of, "type", json_string("made"));
    if (between(rng, 0, 1))
        json_object_update_new(of, json_pack("{s:b, s:i, s:i, s:s}", "residual", 1, "hidden", (int)between(rng, 1, 20),
                                             "blocks", (int)between(rng, 0, 2), "context", between(rng, 0, 1) ? "gate" : "concat"));
    json_t *a = json_pack("{s:s, s:o, s:b, s:b, s:s, s:s}", "type", type, "net", of, "zero_init", (int)between(rng, 0, 1), "solve",
                          (int)between(rng, 0, 1), "order", named[between(rng, 0, 2)], "sweep", between(rng, 0, 1) ? "jacobi" : "columns");
    if (between(rng, 0, 1)) {
        json_object_set_new(a, "transform", json_string("spline"));
        json_object_set_new(a, "bins", json_integer((json_int_t)between(rng, 2, 9)));
        json_object_set_new(a, "tail_bound", json_real(contract_real(rng, 1, 4)));
    } else {
        json_object_set_new(a, "scale_max", json_real(contract_real(rng, 0.5, 3)));
    }
    return a;
}

static json_t *make_irevnet(test_rng *rng, const struct setting *s, const char *type)
{
    static const char *const smooth[] = {"tanh", "silu", "softplus", "gelu"};
    int even = s->shape.h % 2 == 0 && s->shape.w % 2 == 0;
    json_t *r = json_pack("{s:s, s:b, s:i, s:b}", "type", type, "zero_init", (int)between(rng, 0, 1), "stride",
                          even && between(rng, 0, 3) ? 2 : 1, "leading", (int)between(rng, 0, 1));
    if (s->smooth || between(rng, 0, 1))
        json_object_set_new(r, "activation", json_string(smooth[between(rng, 0, 3)]));
    if (between(rng, 0, 1))
        json_object_set_new(r, "hidden", json_integer((json_int_t)between(rng, 1, 5)));
    else if (between(rng, 0, 1))
        json_object_set_new(r, "kernel", json_integer((json_int_t)between(rng, 1, 3)));
    else if (between(rng, 0, 1))
        json_object_set_new(r, "bottleneck", json_integer((json_int_t)between(rng, 1, 3)));
    return r;
}

dfo_shape shape_after(const json_t *config, dfo_shape shape)
{
    const char *type = json_string_value(json_object_get(config, "type"));
    const json_t *layers = json_object_get(config, "layers");
    if (!strcmp(type, "squeeze") || !strcmp(type, "haar"))
        return (dfo_shape){4 * shape.c, shape.h / 2, shape.w / 2};
    if (!strcmp(type, "irevnet")) {
        size_t stride = (size_t)json_integer_value(json_object_get(config, "stride"));
        return (dfo_shape){stride * stride * shape.c, shape.h / stride, shape.w / stride};
    }
    for (size_t i = 0; i < json_array_size(layers); i++)
        shape = shape_after(json_array_get(layers, i), shape);
    return shape;
}

/* Are all conditions vectors or pictures of the rows' size?  */
static int conditions_fit(const struct setting *s)
{
    for (size_t p = 0; p < s->conds; p++)
        if (s->cond[p].h * s->cond[p].w > 1 && (s->cond[p].h != s->shape.h || s->cond[p].w != s->shape.w))
            return 0;
    return 1;
}

/* Some layer for inside a composite.  */
static json_t *child(test_rng *rng, const struct setting *s, int exact)
{
    struct setting inner = *s;
    inner.depth++;
    for (;;) {
        const struct row *row = &contract_rows[between(rng, 0, contract_rows_count - 1)];
        unsigned caps = dfo_bijector_ops_named(row->type)->caps;
        if (row->flags & (BOUNDED_X | BOUNDED_Z | STEEP | SPHERE) || (row->flags & COMPOSITE && inner.depth > 2))
            continue;
        if (row->flags & TAKES_CONDS && !conditions_fit(s))
            continue;
        if (row->flags & EVEN_CHANNELS && s->shape.c % 2)
            continue;
        if (row->flags & EVEN_SIDES && (s->shape.h % 2 || s->shape.w % 2))
            continue;
        if (exact && (!(caps & DFO_CLOSED_INVERSE) || caps & DFO_NEEDS_INPUT))
            continue;
        return row->make(rng, &inner, row->type);
    }
}

static json_t *make_chain(test_rng *rng, const struct setting *s, const char *type)
{
    json_t *list = json_array();
    struct setting next = *s;
    for (size_t n = between(rng, s->depth ? 0 : 2, s->depth ? 3 : 5); n > 0; n--) {
        json_t *layer = child(rng, &next, s->depth > 0);
        next.shape = shape_after(layer, next.shape);
        json_array_append_new(list, layer);
    }
    return json_pack("{s:s, s:o}", "type", type, "layers", list);
}

static json_t *make_part(test_rng *rng, const struct setting *s, const char *type)
{
    struct setting inner = *s;
    size_t first = between(rng, 0, s->shape.c - 1), count = between(rng, 1, s->shape.c - first);
    size_t after = s->shape.c - first - count;
    int rest = between(rng, 0, 1) && s->conds + (first > 0) + (after > 0) < DFO_COND_PARTS;
    inner.shape.c = count;
    if (rest) {
        inner.conds = 0;
        if (first)
            inner.cond[inner.conds++] = (dfo_shape){first, s->shape.h, s->shape.w};
        if (after)
            inner.cond[inner.conds++] = (dfo_shape){after, s->shape.h, s->shape.w};
        for (size_t p = 0; p < s->conds; p++)
            inner.cond[inner.conds++] = s->cond[p];
    }
    return json_pack("{s:s, s:i, s:i, s:b, s:o}", "type", type, "first", (int)first, "count", (int)count, "rest",
                     rest, "layer", child(rng, &inner, s->depth > 0));
}

static json_t *make_invert(test_rng *rng, const struct setting *s, const char *type)
{
    for (;;) {
        json_t *layer = child(rng, s, 1);
        if (shape_after(layer, s->shape).c == s->shape.c)
            return json_pack("{s:s, s:o}", "type", type, "layer", layer);
        json_decref(layer);
    }
}

/* Of layers that are not repeated in composites.  */
static json_t *make_invert_steep(test_rng *rng, const struct setting *s, const char *type)
{
    return json_pack("{s:s, s:o}", "type", type, "layer",
                     between(rng, 0, 1) ? make_bnaf(rng, s, "bnaf") : make_residual(rng, s, "residual"));
}

/* Uniform, or with some exact layer over the logits of what is added, given the row.  */
static json_t *make_dequantise(test_rng *rng, const struct setting *s, const char *type)
{
    struct setting inner = *s;
    json_t *q = json_pack("{s:s, s:i}", "type", type, "bins", (int)between(rng, 2, 256));
    if (between(rng, 0, 2) == 0)
        return q;
    inner.conds = 0;
    inner.cond[inner.conds++] = s->shape;
    for (size_t p = 0; p < s->conds; p++)
        inner.cond[inner.conds++] = s->cond[p];
    json_object_set_new(q, "kind", json_string("variational"));
    json_object_set_new(q, "layer", child(rng, &inner, 1));
    return q;
}

#define COUPLING_BAD                                                                                   \
    {"{\"mask\":\"third\"}", "mask"}, {"{\"mask\":[]}", "mask"},                                           \
    {"{\"mask\":\"half\",\"net\":{\"type\":\"conv\"}}", "mask: a conv net"},                                  \
    {"{\"zero_init\":2}", "zero_init"},   \
    {"{\"net\":{\"type\":\"no-net\"}}", "no-net"}

#define AUTOREGRESSIVE_BAD                                                                                                  \
    {"{\"transform\":\"cubic\"}", "transform"}, {"{\"order\":\"backwards\"}", "order"}, {"{\"order\":[]}", "order"},           \
    {"{\"net\":{\"type\":\"mlp\"}}", "a made net"}, {"{\"net\":{\"degrees\":[[1]]}}", "degrees"}, {"{\"solve\":2}", "solve"},  \
    {"{\"net\":{\"residual\":true,\"norm\":\"layer\"}}", "norm"}

const struct row contract_rows[] = {
    {"chain", TAKES_CONDS | TAKES_IMAGES | COMPOSITE, make_chain,
     {{"{\"layers\":{}}", "layers"}, {"{\"layers\":[3]}", "test.0"},
      {"{\"layers\":[{\"type\":\"no-layer\"}]}", "no-layer"},
      {"{\"layers\":[{\"type\":\"actnorm\",\"extra\":1}]}", "test.0 (actnorm): unknown key 'extra'"}}},
    {"part", TAKES_CONDS | TAKES_IMAGES | COMPOSITE, make_part,
     {{"{\"count\":0}", "count"}, {"{\"first\":1000}", "first"}, {"{\"rest\":1}", "rest"}, {"{\"layer\":[]}", "layer"},
      {"{\"layer\":{}}", "test.layer: type"}}},
    {"invert", TAKES_CONDS | TAKES_IMAGES | COMPOSITE, make_invert, {{"{\"layer\":null}", "layer"}}},
    {"invert", TAKES_CONDS | SUMS | STEEP, make_invert_steep, {{"{\"layer\":null}", "layer"}}},
    {"actnorm", TAKES_IMAGES, make_plain, {{NULL, NULL}}},
    {"standardise", TAKES_IMAGES, make_plain, {{NULL, NULL}}},
    {"permute", TAKES_IMAGES, make_permute,
     {{"{\"order\":\"backwards\"}", "order"}, {"{\"order\":[0,0,0,0,0,0,0]}", "order"}, {"{\"order\":[]}", "order"}}},
    {"squeeze", EVEN_SIDES, make_squeeze,
     {{"{\"order\":\"band-slow\"}", "order"}, {"{\"block\":1}", "block"}, {"{\"block\":3}", "3x3"}}},
    {"haar", EVEN_SIDES, make_squeeze, {{"{\"order\":\"offset-slow\"}", "order"}, {"{\"block\":2}", "block"}}},
    {"causal-conv", TAKES_IMAGES, make_causal,
     {{"{\"kernel\":0}", "kernel"}, {"{\"orientation\":\"left\"}", "orientation"}, {"{\"diagonal\":\"none\"}", "diagonal"},
      {"{\"diagonal\":\"full\",\"stable\":true}", "stable"},
      {"{\"sign\":0}", "sign"}, {"{\"diagonal\":\"log\",\"sign\":2}", "sign"}}},
    {"finc", TAKES_IMAGES, make_causal_chain, {{"{\"kernel\":0}", "kernel"}, {"{\"orientation\":\"top-left\"}", "orientation"}}},
    {"emerging", TAKES_IMAGES, make_causal_chain, {{"{\"solve\":2}", "solve"}, {"{\"sign\":0}", "sign"}}},
    {"periodic-conv", TAKES_IMAGES, make_transformed,
     {{"{\"kernel\":0}", "kernel"}, {"{\"kernel\":[4096,1]}", "at most"}, {"{\"solve\":3}", "solve"}}},
    {"symmetric-conv", TAKES_IMAGES, make_transformed,
     {{"{\"kernel\":[]}", "kernel"}, {"{\"kernel\":[1,4096]}", "at most"}, {"{\"solve\":\"yes\"}", "solve"}}},
    {"woodbury", TAKES_IMAGES | SUMS, make_woodbury,
     {{"{\"rank\":0}", "rank"}, {"{\"rank\":[2]}", "two numbers"}, {"{\"rank\":[4096,4096]}", "at most"}, {"{\"solve\":3}", "solve"}}},
    {"conv-exp", TAKES_IMAGES, make_conv_exp,
     {{"{\"kernel\":2}", "odd"}, {"{\"kernel\":17}", "kernel"}, {"{\"bound\":9}", "bound"}}},
    {"dequantise", BOUNDED_X | BOUNDED_Z | TAKES_CONDS | TAKES_IMAGES | COMPOSITE, make_dequantise,
     {{"{\"bins\":1}", "bins"}, {"{\"kind\":\"normal\"}", "kind"}, {"{\"kind\":\"variational\",\"layer\":{}}", "layer"}}},
    {"linear", TAKES_IMAGES, make_linear,
     {{"{\"init\":\"zero\"}", "init"}, {"{\"perm\":[7,7]}", "perm"}, {"{\"sign\":2}", "sign"}}},
    {"bounds", BOUNDED_X | TAKES_IMAGES, make_bounds,
     {{"{\"lower\":[]}", "lower"}, {"{\"upper\":\"no\"}", "upper"}, {"{\"lower\":1,\"upper\":1}", "column 0"}}},
    {"columns", BOUNDED_X, make_columns, {{"{\"columns\":[]}", "columns"}, {"{\"columns\":3}", "columns"}, {"{\"missing\":\"no\"}", "missing"}}},
    {"affine", TAKES_CONDS | TAKES_IMAGES, make_affine,
     {{"{\"net\":{\"type\":\"no-net\"}}", "no-net"}, {"{\"net\":{\"type\":\"mlp\"},\"scale_max\":-1}", "scale_max"}}},
    {"spline", TAKES_IMAGES, make_spline,
     {{"{\"bins\":1}", "bins"}, {"{\"box\":\"open\"}", "box"}, {"{\"tails\":\"none\"}", "tails"},
      {"{\"tails\":\"circular\",\"box\":\"learned\"}", "box"},
      {"{\"tails\":\"circular\",\"box\":\"fixed\",\"period\":0}", "period"}}},
    {"linear-dense", TAKES_IMAGES, make_dense, {{"{\"init\":\"zero\"}", "init"}, {"{\"bias\":3}", "bias"}}},
    {"householder", TAKES_IMAGES, make_householder, {{"{\"reflections\":0}", "reflections"}}},
    {"planar", SUMS, make_plain, {{NULL, NULL}}},
    {"radial", SUMS, make_plain, {{NULL, NULL}}},
    {"sylvester", SUMS, make_sylvester, {{"{\"rank\":0}", "rank"}, {"{\"rank\":99}", "rank"}, {"{\"reflections\":0}", "reflections"}}},
    {"residual", TAKES_CONDS | SUMS | STEEP, make_residual,
     {{"{\"lipschitz\":1}", "lipschitz"}, {"{\"hidden\":0}", "hidden"}, {"{\"depth\":9}", "depth"}, {"{\"activation\":\"relu\"}", "activation"},
      {"{\"trace\":\"hutchinson\"}", "trace"}, {"{\"terms\":0}", "terms"}, {"{\"probes\":0}", "probes"}}},
    {"sigmoid", BOUNDED_Z | TAKES_IMAGES, make_plain, {{NULL, NULL}}},
    {"logit", BOUNDED_X | TAKES_IMAGES, make_logit,
     {{"{\"alpha\":0.5}", "alpha"}, {"{\"low\":2,\"high\":1}", "high"}}},
    {"rescale", TAKES_IMAGES, make_rescale, {{"{\"low\":2,\"high\":1}", "high"}}},
    {"tanh", BOUNDED_Z | TAKES_IMAGES, make_plain, {{NULL, NULL}}},
    {"atanh", BOUNDED_X | TAKES_IMAGES, make_plain, {{NULL, NULL}}},
    {"softplus", BOUNDED_Z | TAKES_IMAGES, make_plain, {{NULL, NULL}}},
    {"softplus-inverse", BOUNDED_X | TAKES_IMAGES, make_plain, {{NULL, NULL}}},
    {"exp", BOUNDED_Z | TAKES_IMAGES, make_plain, {{NULL, NULL}}},
    {"log", BOUNDED_X | TAKES_IMAGES, make_plain, {{NULL, NULL}}},
    {"sinh", STEEP | TAKES_IMAGES, make_plain, {{NULL, NULL}}},
    {"asinh", STEEP | TAKES_IMAGES, make_plain, {{NULL, NULL}}},
    {"leaky-relu", TAKES_IMAGES, make_leaky, {{"{\"slope\":0}", "slope"}}},
    {"box-cox", BOUNDED_X | BOUNDED_Z | POSITIVE_X | TAKES_IMAGES, make_box_cox, {{"{\"lambda\":11}", "lambda"}}},
    {"additive-coupling", TAKES_CONDS | TAKES_IMAGES, make_coupling, {COUPLING_BAD}},
    {"affine-coupling", TAKES_CONDS | TAKES_IMAGES, make_affine_coupling,
     {COUPLING_BAD, {"{\"scale\":\"linear\"}", "scale"}, {"{\"scale_max\":0}", "scale_max"}}},
    {"spline-coupling", TAKES_CONDS | TAKES_IMAGES, make_spline_coupling,
     {COUPLING_BAD, {"{\"bins\":1}", "bins"}, {"{\"bins\":65}", "bins"}, {"{\"tail_bound\":0}", "tail_bound"},
      {"{\"min_width\":0.5}", "min_width"}, {"{\"tails\":\"none\"}", "tails"}, {"{\"input\":\"angle\"}", "input"},
      {"{\"input\":\"value\",\"harmonics\":2}", "harmonics"}, {"{\"harmonics\":0}", "harmonics"}, {"{\"input\":\"value\",\"harmonics\":1,\"fade\":true}", "fade"}}},
    {"autoregressive", TAKES_CONDS | TAKES_IMAGES | SUMS, make_autoregressive, {AUTOREGRESSIVE_BAD}},
    {"autoregressive", TAKES_CONDS | TAKES_IMAGES | SUMS | FLAT, make_neural_autoregressive,
     {{"{\"transform\":\"mixture\",\"components\":0}", "components"}, {"{\"transform\":\"deep-sigmoidal\",\"scale\":\"exp\"}", "scale"}}},
    {"mixture-coupling", TAKES_CONDS | TAKES_IMAGES | FLAT, make_mixture_coupling,
     {COUPLING_BAD, {"{\"components\":0}", "components"}, {"{\"spread\":-1}", "spread"}, {"{\"scale\":\"sigmoid\"}", "scale"}}},
    {"deep-sigmoidal-coupling", TAKES_CONDS | TAKES_IMAGES | FLAT, make_mixture_coupling,
     {COUPLING_BAD, {"{\"components\":0}", "components"}, {"{\"scale\":\"tanh\"}", "scale"}}},
    {"gaussianization", TAKES_IMAGES | FLAT, make_gaussianization, {{"{\"components\":0}", "components"}}},
    {"cnf", TAKES_CONDS | TAKES_IMAGES | STEEP | NUMERICAL, make_cnf,
     {{"{\"solver\":\"rk5\"}", "rk5"}, {"{\"steps\":-1}", "steps"}, {"{\"end\":0}", "end"}, {"{\"probes\":-1}", "probes"}, {"{\"coupling\":2}", "coupling"},
      {"{\"gradient\":\"backsolve\"}", "gradient"}, {"{\"gradient\":\"reversible\",\"steps\":0}", "number of steps"},
      {"{\"net\":{\"type\":\"no-net\"}}", "no-net"}}},
    {"irevnet", TAKES_CONDS | TAKES_IMAGES | EVEN_CHANNELS, make_irevnet,
     {{"{\"stride\":0}", "stride"}, {"{\"stride\":17}", "stride of 17"}, {"{\"channels\":1000}", "no density"},
      {"{\"zero_init\":3}", "zero_init"}, {"{\"activation\":\"step\"}", "activation"},
      {"{\"norm\":\"some\"}", "norm"}, {"{\"bottleneck\":0}", "bottleneck"}, {"{\"kernel\":16}", "kernel"}, {"{\"hidden\":0}", "hidden"},
      {"{\"net\":{\"type\":\"conv\"}}", "unknown key"}}},
    {"batchnorm", TAKES_IMAGES | TRAINED, make_plain, {{"{\"momentum\":0}", "momentum"}, {"{\"epsilon\":0}", "epsilon"}}},
    {"autoregressive", TAKES_CONDS | TAKES_IMAGES | SUMS | FLAT, make_polynomial_autoregressive,
     {{"{\"transform\":\"bernstein\",\"components\":3}", "components"}, {"{\"transform\":\"sum-of-squares\",\"degree\":9}", "degree"}}},
    {"bernstein-coupling", TAKES_CONDS | TAKES_IMAGES | SUMS | FLAT, make_polynomial_coupling,
     {COUPLING_BAD, {"{\"degree\":0}", "degree"}, {"{\"tail_bound\":0}", "tail_bound"}, {"{\"min_derivative\":0}", "min_derivative"}}},
    {"sum-of-squares-coupling", TAKES_CONDS | TAKES_IMAGES | SUMS | FLAT, make_polynomial_coupling,
     {COUPLING_BAD, {"{\"degree\":9}", "degree"}, {"{\"components\":0}", "components"}, {"{\"spread\":-1}", "spread"}}},
    {"sphere", SPHERE | BOUNDED_X, make_sphere, {{"{\"units\":\"miles\"}", "units"}}},
    {"spline-coupling", SPHERE | TAKES_CONDS, make_sphere_coupling, {{"{\"fade\":true,\"input\":\"circle\"}", "fade"}}},
    {"sphere-rotation", SPHERE, make_sphere_rotation, {{"{\"init\":\"north\"}", "init"}}},
    {"bnaf", TAKES_CONDS | SUMS | STEEP, make_bnaf, {{"{\"hidden\":0}", "hidden"}, {"{\"depth\":9}", "depth"}}},
};
const size_t contract_rows_count = sizeof contract_rows / sizeof *contract_rows;

const struct row *contract_row(const char *type)
{
    for (size_t i = 0; i < contract_rows_count; i++)
        if (!strcmp(contract_rows[i].type, type))
            return &contract_rows[i];
    return NULL;
}

/* What goes into a net of images: image parts side by side as channels, vectors as a bias that is
 * the same for all pixels of an image, V v.  */
#include <math.h>
#include <string.h>

#include "base/ctx_impl.h"
#include "nn/convnet_impl.h"

dfo_status dfoi_conv_input_of(const dfo_net *net, int one_pixel, dfoi_conv_input *input)
{
    size_t pixels = 1;
    *input =
        (dfoi_conv_input){.h = one_pixel ? 1 : net->shape.h, .w = one_pixel ? 1 : net->shape.w};
    for (size_t p = 0; p < net->parts && pixels == 1; p++) {
        pixels = net->part[p].h * net->part[p].w;
        if (pixels > 1) {
            input->h = net->part[p].h;
            input->w = net->part[p].w;
        }
    }
    if (input->h > DFOI_CONV_SIDE || input->w > DFOI_CONV_SIDE)
        return dfoi_fail(net->ctx, DFO_ESHAPE, "an image of %zux%zu pixels is too large", input->h,
                         input->w);
    for (size_t p = 0; p < net->parts; p++) {
        const dfo_shape *s = &net->part[p];
        input->vector[p] = s->h == 1 && s->w == 1 && input->h * input->w > 1;
        if (input->vector[p])
            input->features += s->c;
        else if (s->h == input->h && s->w == input->w)
            input->channels += s->c;
        else if (dfo_shape_size(*s))
            return dfoi_fail(net->ctx, DFO_ESHAPE,
                             "input part %zu has %zux%zu pixels, expected %zux%zu or a vector", p,
                             s->h, s->w, input->h, input->w);
    }
    return DFO_OK;
}

dfoi_conv_input dfoi_conv_input_from(const dfo_net *net, const dfoi_conv_input *all, size_t from)
{
    dfoi_conv_input input = *all;
    input.from = from;
    input.channels = input.features = 0;
    for (size_t p = from; p < net->parts; p++)
        if (dfo_shape_size(net->part[p]))
            *(input.vector[p] ? &input.features : &input.channels) += net->part[p].c;
    return input;
}

void dfoi_conv_read(const dfo_net *net, const dfoi_conv_input *input, const dfo_cond *cond,
                    dfoi_images images, dfoi_map map)
{
    size_t first = 0;
    for (size_t p = input->from; p < net->parts; p++) {
        const dfo_batch *rows = &cond->part[p].rows;
        size_t c = net->part[p].c;
        if (input->vector[p] || !dfo_shape_size(net->part[p]))
            continue;
        dfoi_map_from_rows(images, c, input->h, input->w, rows->x, rows->ld, first, map);
        first += c;
    }
}

void dfoi_conv_add(const dfo_net *net, const dfoi_conv_input *input, dfo_cond *cond,
                   dfoi_images images, dfoi_map map)
{
    size_t first = 0;
    for (size_t p = input->from; p < net->parts; p++) {
        const dfo_batch *rows = &cond->part[p].rows;
        size_t c = net->part[p].c;
        if (input->vector[p] || !dfo_shape_size(net->part[p]))
            continue;
        if (rows->x)
            dfoi_map_to_rows(images, c, input->h, input->w, map, first, 1, rows->x, rows->ld);
        first += c;
    }
}

int dfoi_conv_wanted(const dfo_net *net, const dfoi_conv_input *input, const dfo_cond *cond,
                     int vector)
{
    for (size_t p = input->from; cond && p < net->parts; p++)
        if (cond->part[p].rows.x && dfo_shape_size(net->part[p]) && input->vector[p] == vector)
            return 1;
    return 0;
}

dfo_status dfoi_conv_vector_new(dfo_build *build, const char *name, size_t in, size_t out,
                                double bound, dfoi_conv_vector *vector)
{
    const size_t shape[2] = {out, in};
    *vector = (dfoi_conv_vector){.in = in, .out = out};
    DFO_TRY(dfo_build_weights(build, name, 2, shape, &vector->w));
    dfo_build_uniform(build, vector->w, out * in, bound < 0 ? 1 / sqrt((double)in) : bound);
    return DFO_OK;
}

size_t dfoi_conv_vector_scratch(const dfoi_conv_vector *vector)
{
    size_t grads = dfoi_gemm_grad_scratch(vector->in, 1);
    size_t back = dfoi_gemm_back_scratch(vector->out);
    return dfo_arena_size((vector->in + vector->out) * DFO_PANEL + (grads > back ? grads : back));
}

/* Vectors of the rows to a panel of images, with zeros behind.  */
static void read_vectors(const dfo_net *net, const dfoi_conv_input *input, const dfo_cond *in,
                         size_t first, size_t n, dfo_real *panel)
{
    for (size_t p = input->from; p < net->parts; p++) {
        const dfo_batch *rows = &in->part[p].rows;
        size_t d = net->part[p].c;
        if (!input->vector[p])
            continue;
        if (rows->x)
            dfoi_to_panel(n, d, rows->x + first * rows->ld, rows->ld, NULL, 1, panel);
        else
            memset(panel, 0, d * DFO_PANEL * sizeof *panel);
        panel += d * DFO_PANEL;
    }
}

size_t dfoi_conv_vectors_size(const dfoi_conv_input *input, size_t n)
{
    return input->features * dfoi_panels(n, 1, 1) * DFO_PANEL;
}

dfoi_map dfoi_conv_vectors_begin(const dfo_net *net, const dfoi_conv_input *input,
                                 const dfo_cond *cond, size_t n, dfo_real *x)
{
    if (!dfoi_conv_wanted(net, input, cond, 1))
        return (dfoi_map){NULL, 0};
    memset(x, 0, dfoi_conv_vectors_size(input, n) * sizeof *x);
    return dfoi_map_of(x, input->features);
}

void dfoi_conv_vectors_add(const dfo_net *net, const dfoi_conv_input *input, dfo_cond *cond,
                           dfoi_images images, dfoi_map gv)
{
    size_t before = 0;
    for (size_t p = input->from; gv.x && p < net->parts; p++) {
        const dfo_batch *rows = &cond->part[p].rows;
        size_t d = net->part[p].c;
        if (!input->vector[p])
            continue;
        for (size_t i = 0; rows->x && i < images.n; i += DFO_PANEL)
            dfoi_from_panel_add(images.n - i < DFO_PANEL ? images.n - i : DFO_PANEL, d,
                                dfoi_map_panel(gv, i / DFO_PANEL) + before * DFO_PANEL, NULL,
                                rows->x + (images.first + i) * rows->ld, rows->ld);
        before += d;
    }
}

void dfoi_conv_vector_forward(const dfo_net *net, const dfoi_conv_input *input,
                              const dfoi_conv_vector *v, const dfo_run *run, const dfo_cond *in,
                              dfoi_images images, size_t plane, dfo_real *scratch, dfoi_map y)
{
    dfo_real *x = scratch, *bias = x + v->in * DFO_PANEL;
    for (size_t i = 0; i < images.n; i += DFO_PANEL) {
        size_t n = images.n - i < DFO_PANEL ? images.n - i : DFO_PANEL;
        read_vectors(net, input, in, images.first + i, n, x);
        dfoi_gemm(v->out, v->in, dfo_run_weights(run, v->w), v->in, x, NULL, DFOI_ACT_NONE, NULL,
                  bias);
        dfoi_map_add_images(images.n, i, n, plane, v->out, bias, y);
    }
}

void dfoi_conv_vector_backward(const dfo_net *net, const dfoi_conv_input *input,
                               const dfoi_conv_vector *v, const dfo_run *run, const dfo_cond *in,
                               dfoi_images images, size_t plane, dfo_real *scratch, dfoi_map gy,
                               dfoi_map gv)
{
    const dfo_real *w = dfo_run_weights(run, v->w);
    dfo_real *x = scratch, *g = x + v->in * DFO_PANEL, *work = g + v->out * DFO_PANEL;
    for (size_t i = 0; (run->grads || gv.x) && i < images.n; i += DFO_PANEL) {
        size_t n = images.n - i < DFO_PANEL ? images.n - i : DFO_PANEL;
        dfo_real *to = dfoi_map_panel(gv, i / DFO_PANEL);
        dfoi_map_sum_images(i, n, plane, v->out, gy, g);
        if (run->grads) {
            read_vectors(net, input, in, images.first + i, n, x);
            dfoi_gemm_grad(v->out, v->in, g, x, dfo_run_grads(run, v->w), v->in, NULL, work);
        }
        if (to)
            dfoi_gemm_back(v->out, v->in, w, v->in, g, NULL, to, to, work);
    }
}

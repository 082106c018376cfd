/* The chain of convolutions: what conv.c builds and conv_pass.c runs.  Private.  */
#ifndef DFOI_CONVNET_IMPL_H
#define DFOI_CONVNET_IMPL_H

#include <jansson.h>
#include "base/real_impl.h"
#include "nn/conv_impl.h"

#define DFOI_CONV_LAYERS 64

/* The input parts of a net of images: those that are images, as channels, those that are vectors.
 */
typedef struct dfoi_conv_input {
    size_t h, w;                /* of the images */
    size_t from;                /* the first part that counts */
    size_t channels, features;  /* over all image parts; over all vectors */
    int vector[DFO_COND_PARTS]; /* which parts are vectors */
} dfoi_conv_input;

/* How vectors enter: y[o][every pixel] += V v; vectors of one input alone.  */
typedef struct dfoi_conv_vector {
    size_t in, out;
    size_t w; /* (out, in) */
} dfoi_conv_vector;

/* Sorts a net's parts.  Parts of one pixel are vectors beside larger images; where there are none
 * they are images if the net makes the output's shape of one pixel (one_pixel), else vectors of
 * images of the output's size.  DFO_ESHAPE if images differ in size.  */
dfo_status dfoi_conv_input_of(const dfo_net *net, int one_pixel, dfoi_conv_input *input);

/* The same parts from `from` on.  */
dfoi_conv_input dfoi_conv_input_from(const dfo_net *net, const dfoi_conv_input *all, size_t from);

/* Image parts of `cond` to a map, and gradients back to those that are wanted.  */
void dfoi_conv_read(const dfo_net *net, const dfoi_conv_input *input, const dfo_cond *cond,
                    dfoi_images images, dfoi_map map);
void dfoi_conv_add(const dfo_net *net, const dfoi_conv_input *input, dfo_cond *cond,
                   dfoi_images images, dfoi_map map);
/* 1 if the gradient of an image part (vector = 0) or a vector (1) is wanted.  */
int dfoi_conv_wanted(const dfo_net *net, const dfoi_conv_input *input, const dfo_cond *cond,
                     int vector);

/* Gradients of vectors are gathered in panels of 64 images, (features, 64): reals for n images; a
 * map of zeros at x, or none if none is wanted; its sums to the parts that are.  */
size_t dfoi_conv_vectors_size(const dfoi_conv_input *input, size_t n);
dfoi_map dfoi_conv_vectors_begin(const dfo_net *net, const dfoi_conv_input *input,
                                 const dfo_cond *cond, size_t n, dfo_real *x);
void dfoi_conv_vectors_add(const dfo_net *net, const dfoi_conv_input *input, dfo_cond *cond,
                           dfoi_images images, dfoi_map gv);

/* bound: weights are drawn within it; negative: as suits the number of inputs.  */
dfo_status dfoi_conv_vector_new(dfo_build *build, const char *name, size_t in, size_t out,
                                double bound, dfoi_conv_vector *vector);
size_t dfoi_conv_vector_scratch(const dfoi_conv_vector *vector);
/* y += V v, y a map of planes of `plane` pixels; scratch: dfoi_conv_vector_scratch reals.  */
void dfoi_conv_vector_forward(const dfo_net *net, const dfoi_conv_input *input,
                              const dfoi_conv_vector *vector, const dfo_run *run,
                              const dfo_cond *in, dfoi_images images, size_t plane,
                              dfo_real *scratch, dfoi_map y);
/* Adds gradients of V to run->grads, unless that is NULL, and of the vectors to gv, unless gv.x is.
 */
void dfoi_conv_vector_backward(const dfo_net *net, const dfoi_conv_input *input,
                               const dfoi_conv_vector *vector, const dfo_run *run,
                               const dfo_cond *in, dfoi_images images, size_t plane,
                               dfo_real *scratch, dfoi_map gy, dfoi_map gv);

/* Settings of a layer: what stands in front of its convolution, and that.  */
typedef struct dfoi_conv_setting {
    size_t channels, kernel, stride;
    int transposed, bias;
    dfoi_conv_norm norm;
    dfoi_act act;
    double dropout;
} dfoi_conv_setting;

typedef struct dfoi_convnet_settings {
    size_t layers;
    dfoi_conv_setting layer[DFOI_CONV_LAYERS];
    int listed; /* layers were given one by one */
    int last_scale;
    double last_init;
} dfoi_convnet_settings;

typedef struct dfoi_convnet {
    dfoi_convnet_settings settings;
    dfoi_conv_input input;
    dfoi_conv_vector vector;
    size_t block;      /* images that go through together; 0: all of a call */
    size_t statistics; /* reals of a step's statistics */
    size_t layers;
    size_t scratch;              /* the most that a layer needs, in reals */
    size_t log_scale;            /* (out) in the store, with last_scale */
    int plain[DFOI_CONV_LAYERS]; /* nothing stands in front of the first layer */
    dfoi_conv_unit unit[DFOI_CONV_LAYERS];
    dfoi_conv conv[DFOI_CONV_LAYERS];
} dfoi_convnet;

#define DFOI_CONVNET_MAPS 8

/* A call's memory.  */
typedef struct dfoi_convnet_work {
    const dfo_net *net;
    const dfoi_convnet *m;
    dfo_run *run;
    dfoi_conv_room room;
    dfo_real *map[DFOI_CONVNET_MAPS]; /* large enough for any map of a block */
    dfo_real *vector, *gvector[2];    /* scratch of vectors; their gradients */
    dfo_real *scale;                  /* e^(3 s) */
} dfoi_convnet_work;

/* Takes it from the arena.  */
dfo_status dfoi_convnet_take(const dfo_net *net, dfo_run *run, size_t rows,
                             dfoi_convnet_work *work);
/* Images first .. of a call of n rows that go through together.  */
dfoi_images dfoi_convnet_images(const dfoi_convnet *m, size_t first, size_t n);
/* Where layer l's unit keeps things, in what a block of n images keeps; l = layers: the last
 * layer's result.  */
size_t dfoi_convnet_kept_at(const dfoi_convnet *m, size_t n, size_t l);
/* The pixels in front of layer l; those of its result.  */
dfoi_area dfoi_convnet_area(const dfoi_convnet *m, dfoi_images images, size_t l);
size_t dfoi_convnet_plane(const dfoi_convnet *m, size_t l);
/* 1 if layer l's convolution can apply the activation that comes behind it.  */
int dfoi_convnet_fused(const dfoi_convnet *m, size_t l);
/* y = x times e^(3 s), maps of the output; and sums += sum over pixels of x y.  */
void dfoi_convnet_scale(const dfoi_convnet_work *work, size_t n, dfoi_map x, dfoi_map y);
void dfoi_convnet_dots(const dfoi_convnet_work *work, size_t n, dfoi_map x, dfoi_map y,
                       dfo_real *sums);

size_t dfoi_convnet_scratch(const dfo_net *net, size_t rows);
size_t dfoi_convnet_acts(const dfo_net *net, size_t rows);
dfo_status dfoi_convnet_forward(const dfo_net *net, dfo_run *run, const dfo_cond *in, dfo_block out,
                                dfo_real *acts);
dfo_status dfoi_convnet_backward(const dfo_net *net, dfo_run *run, const dfo_cond *in,
                                 dfo_block gout, dfo_cond *gin, const dfo_real *acts);
dfo_status dfoi_convnet_jvp(const dfo_net *net, dfo_run *run, const dfo_cond *in,
                            const dfo_cond *din, dfo_block out, dfo_block dout, dfo_real *acts);
dfo_status dfoi_convnet_jvp_backward(const dfo_net *net, dfo_run *run, const dfo_cond *in,
                                     const dfo_cond *din, dfo_block gout, dfo_block gdout,
                                     dfo_cond *gin, dfo_cond *gdin, const dfo_real *acts);
size_t dfoi_convnet_statistics(const dfo_net *net);
dfo_status dfoi_convnet_update(const dfo_net *net, dfo_run *run);

#endif

/* The residual network of images: what residual_conv.c builds and residual_conv_pass.c and
 * residual_conv_jvp.c run.  Private.  */
#ifndef DFOI_RESIDUAL_CONV_IMPL_H
#define DFOI_RESIDUAL_CONV_IMPL_H

#include "base/real_impl.h"
#include "nn/convnet_impl.h"
#include "nn/unit_kern_impl.h"

#define DFOI_RESIDUAL_CONV_BLOCKS 32

typedef struct dfoi_resconv_settings {
    size_t hidden, blocks, first_kernel;
    dfoi_act act;
    double dropout, last_init;
    dfoi_conv_norm norm;
    int gate; /* context: gate */
} dfoi_resconv_settings;

typedef struct dfoi_resconv_block {
    dfoi_conv_unit unit[2];
    dfoi_conv conv[2];
    dfoi_conv gate;               /* of the context's images, 1x1; gate.out = 0: none */
    dfoi_conv_vector gate_vector; /* of the context's vectors */
} dfoi_resconv_block;

typedef struct dfoi_resconv {
    dfoi_resconv_settings settings;
    dfoi_conv_input input, context; /* all parts; those from the second on, if they gate */
    size_t before_context;          /* image channels in front of the context's */
    size_t before_vectors;          /* vectors' features in front of the context's */
    size_t block;                   /* images that go through together; 0: all of a call */
    size_t statistics, scratch;
    dfoi_conv first, last;
    dfoi_conv_vector vector;
    dfoi_resconv_block blocks[DFOI_RESIDUAL_CONV_BLOCKS];
} dfoi_resconv;

#define DFOI_RESCONV_WIDE 4
#define DFOI_RESCONV_TALL 10

/* A call's memory: maps of all input channels, of the hidden ones and of the output.  */
typedef struct dfoi_resconv_work {
    const dfo_net *net;
    const dfoi_resconv *m;
    dfo_run *run;
    dfoi_conv_room room;
    dfo_real *wide[DFOI_RESCONV_WIDE], *tall[DFOI_RESCONV_TALL], *out[2];
    dfo_real *vector, *gvector[2]; /* scratch of vectors; their gradients */
} dfoi_resconv_work;

dfo_status dfoi_resconv_take(const dfo_net *net, dfo_run *run, size_t rows,
                             dfoi_resconv_work *work);
dfoi_images dfoi_resconv_images(const dfoi_resconv *m, size_t first, size_t n);
dfoi_area dfoi_resconv_area(const dfoi_resconv *m, dfoi_images images);
/* Where block k's unit 0 or 1 keeps things, its gate (2: r, g, with tangents dr, dq behind them,
 * panel by panel) in what a block of images keeps; k = blocks: the stream behind them.  With
 * tangents all is twice as large.  */
size_t dfoi_resconv_kept_at(const dfoi_resconv *m, size_t panels, size_t k, int what);

size_t dfoi_resconv_scratch(const dfo_net *net, size_t rows);
size_t dfoi_resconv_acts(const dfo_net *net, size_t rows);
dfo_status dfoi_resconv_forward(const dfo_net *net, dfo_run *run, const dfo_cond *in, dfo_block out,
                                dfo_real *acts);
dfo_status dfoi_resconv_backward(const dfo_net *net, dfo_run *run, const dfo_cond *in,
                                 dfo_block gout, dfo_cond *gin, const dfo_real *acts);
dfo_status dfoi_resconv_jvp(const dfo_net *net, dfo_run *run, const dfo_cond *in,
                            const dfo_cond *din, dfo_block out, dfo_block dout, dfo_real *acts);
dfo_status dfoi_resconv_jvp_backward(const dfo_net *net, dfo_run *run, const dfo_cond *in,
                                     const dfo_cond *din, dfo_block gout, dfo_block gdout,
                                     dfo_cond *gin, dfo_cond *gdin, const dfo_real *acts);

#endif

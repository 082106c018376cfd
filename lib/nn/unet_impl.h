/* The U-net: a list of operations on maps, which unet.c builds and unet_pass.c, unet_jvp.c run.  Private.  */
#ifndef DFOI_UNET_IMPL_H
#define DFOI_UNET_IMPL_H

#include "base/real_impl.h"
#include "nn/attend_impl.h"
#include "nn/convnet_impl.h"
#include "nn/embed_impl.h"
#include "nn/group_impl.h"

#define DFOI_UNET_LEVELS 6
#define DFOI_UNET_BLOCKS 8
#define DFOI_UNET_OPS 320

typedef struct dfoi_unet_settings {
    size_t levels, channels[DFOI_UNET_LEVELS], blocks, groups;   /* groups 0: no normalisation */
    dfoi_act act;
    int attention;
    double last_init;
    dfoi_embed_settings embed;
} dfoi_unet_settings;

/* A map that operations read and write.  It lives from the first operation that writes it to the last one that reads it, and
 * so does its gradient on the way back; maps of one level whose lives do not meet share a home where nothing is kept.  The
 * output has none.  */
typedef struct dfoi_unet_map {
    size_t channels, level, home;
    size_t first, last;     /* operations */
} dfoi_unet_map;

/* Channels first .. of a map.  */
typedef struct dfoi_unet_place {
    size_t map, first;
} dfoi_unet_place;

/* to = conv(act(norm(from))) [+ residual] [+ q of the embedding]; or attention of from's queries, keys and values.  */
typedef struct dfoi_unet_op {
    dfoi_unet_place from, to, residual;
    int unit, add;          /* act and norm stand in front; a residual is added */
    int attend;             /* attention, to as many channels as conv.out; no convolution */
    int embedded;
    dfoi_act act;
    size_t embed;           /* the first of its features in q */
    size_t statistics;      /* offset of the norm's, times images */
    dfoi_group_norm norm;   /* groups 0: none */
    dfoi_conv conv;
} dfoi_unet_op;

typedef struct dfoi_unet {
    dfoi_unet_settings settings;
    dfoi_conv_input input;
    dfoi_embed embed;
    size_t block;           /* images that go through together */
    size_t ops, maps, homes;
    size_t embedded;        /* features of q */
    size_t statistics;      /* reals of all norms for an image */
    size_t products;        /* scratch of products and of attention */
    dfoi_unet_op op[DFOI_UNET_OPS];
    dfoi_unet_map map[DFOI_UNET_OPS];        /* 0: the input; the last one: the output, which is not kept */
    dfoi_unet_map home[DFOI_UNET_OPS];
} dfoi_unet;

/* Maps in front of a convolution: norm's value, activation's, their tangents, gradients.  */
enum { DFOI_UNET_A, DFOI_UNET_Y, DFOI_UNET_DA, DFOI_UNET_DY, DFOI_UNET_G, DFOI_UNET_GD, DFOI_UNET_WORK };

/* A call's memory.  x, dx: maps of values and tangents of the block of images at hand; g, gd: of gradients.  */
typedef struct dfoi_unet_work {
    const dfo_net *net;
    const dfoi_unet *m;
    dfo_run *run;
    dfoi_conv_room room;
    dfoi_images images;
    dfo_real *x[DFOI_UNET_OPS], *dx[DFOI_UNET_OPS], *g[DFOI_UNET_OPS], *gd[DFOI_UNET_OPS];
    dfo_real *home[2], *out[2], *work[DFOI_UNET_WORK], *derivative[2], *own_statistics, *statistics;
    dfo_real *q, *dq, *own_embed, *embed;    /* of all the call's rows, 64 at a time; q's gradients on the way back */
} dfoi_unet_work;

/* Takes the arena's memory for a call of `rows` rows.  */
dfo_status dfoi_unet_take(const dfo_net *net, dfo_run *run, size_t rows, dfoi_unet_work *work);
/* Sets images to those behind the last ones, and their maps: x and dx in what is kept (acts: of all the call; times: 2 with
 * tangents) or at home, g and gd at home.  0: none are left.  */
int dfoi_unet_next(dfoi_unet_work *work, size_t rows, const dfo_real *acts, size_t times);

dfoi_map dfoi_unet_at(const dfoi_unet *m, dfo_real *const *maps, dfoi_unet_place place);
dfoi_area dfoi_unet_area(const dfoi_unet *m, dfoi_images images, size_t level);
/* q of an operation to its result, or sums of the result's gradient to q's.  */
void dfoi_unet_add_embedding(const dfoi_unet_work *w, const dfoi_unet_op *op, const dfo_real *q, dfoi_map to);
void dfoi_unet_sum_embedding(const dfoi_unet_work *w, const dfoi_unet_op *op, dfoi_map g, dfo_real *gq);
/* Value of what stands in front of a convolution: y = act(a), a = norm(x), or x, or neither; a is returned in *a.  */
dfoi_map dfoi_unet_front(const dfoi_unet_work *w, const dfoi_unet_op *op, dfoi_map *a);
/* Before operation i on the way back: gradients of maps that are read there for the last time begin at zero.  */
void dfoi_unet_begin_gradients(const dfoi_unet_work *w, size_t i, dfo_real *const *maps);
/* to += x, maps of equal channels.  */
void dfoi_unet_add(dfoi_area area, size_t channels, dfoi_map x, dfoi_map to);
/* A panel's reals of the map in front.  */
size_t dfoi_unet_panel(const dfoi_unet_op *op);

size_t dfoi_unet_scratch(const dfo_net *net, size_t rows);
size_t dfoi_unet_acts(const dfo_net *net, size_t rows);
dfo_status dfoi_unet_forward(const dfo_net *net, dfo_run *run, const dfo_cond *in, dfo_block out, dfo_real *acts);
dfo_status dfoi_unet_backward(const dfo_net *net, dfo_run *run, const dfo_cond *in, dfo_block gout, dfo_cond *gin,
                              const dfo_real *acts);
dfo_status dfoi_unet_jvp(const dfo_net *net, dfo_run *run, const dfo_cond *in, const dfo_cond *din, dfo_block out,
                         dfo_block dout, dfo_real *acts);
dfo_status dfoi_unet_jvp_backward(const dfo_net *net, dfo_run *run, const dfo_cond *in, const dfo_cond *din, dfo_block gout,
                                  dfo_block gdout, dfo_cond *gin, dfo_cond *gdin, const dfo_real *acts);

#endif

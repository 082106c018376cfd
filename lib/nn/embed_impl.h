/* Embeddings of what a net of a diffusion model depends on beside its state: the time (or a log-SNR), vectors, a
 * class.  For a panel of rows, with the net's parts x, vectors ..., [class], time:
 *
 *   p = [sin(2 pi f_k t), cos(2 pi f_k t), vectors],  e = silu(W p + b + T[class]),  q = P e + c
 *
 * f_k = most 10^(-4 k / (K - 1)), k < K (Vaswani et al. 2017; Ho et al. 2020 have most = 1000 / (2 pi), for t from 0 to 1).
 * q holds what all the net's layers add, one behind the other.  With "embedding": 0, e = p.  Private.  */
#ifndef DFOI_EMBED_IMPL_H
#define DFOI_EMBED_IMPL_H

#include <jansson.h>
#include <diffeo/net.h>
#include "base/real_impl.h"
#include "nn/dense_impl.h"

#define DFOI_EMBED_FREQUENCIES 1024

/* "frequencies" (K), "most", "embedding" (features of e), "classes" (N: a class is 0 .. N, N for none; 0: no class).  */
typedef struct dfoi_embed_settings {
    size_t frequencies, width, classes;
    double most;
} dfoi_embed_settings;

typedef struct dfoi_embed {
    dfoi_embed_settings settings;
    size_t time, label;              /* which parts are the time and the class */
    int vector[DFO_COND_PARTS];      /* 1: the part is a vector of p */
    size_t in, width;                /* features of p; of e */
    size_t table;                    /* (classes + 1, width) in the store */
    dfoi_linear dense, project;      /* W b; P c */
    double frequency[DFOI_EMBED_FREQUENCIES];
} dfoi_embed;

#define DFOI_EMBED_KEYS "frequencies", "most", "embedding", "classes"

/* The settings of a configuration and back; `width`: e's features if absent.  DFO_EARG.  */
dfo_status dfoi_embed_read(dfo_ctx *ctx, const json_t *config, size_t width, dfoi_embed_settings *settings);
dfo_status dfoi_embed_describe(const dfoi_embed *embed, dfo_ctx *ctx, json_t *to);

/* Finds the time and the class among the net's parts, the last ones; parts marked in vector[] go into p.  Adds weights
 * embed.w, embed.b, embed.classes, project.w, project.b; q has `out` features.  DFO_ESHAPE, DFO_EMEM.  */
dfo_status dfoi_embed_new(dfo_build *build, const dfo_net *net, const dfoi_embed_settings *settings, const int *vector,
                          size_t out, dfoi_embed *embed);

/* Reals kept of a panel (tangents: twice that), and of working memory.  */
size_t dfoi_embed_keep(const dfoi_embed *embed);
size_t dfoi_embed_scratch(const dfoi_embed *embed);

/* Rows of the p-th panel of 64, of n.  */
static inline size_t dfoi_panel_rows(size_t n, size_t p)
{
    size_t left = n - p * DFO_PANEL;
    return left < DFO_PANEL ? left : DFO_PANEL;
}

/* Do rows first .. first+n-1 go into the embedding alike, as those of samplers and of solvers in common steps do?  */
int dfoi_embed_alike(const dfoi_embed *embed, const dfo_net *net, const dfo_cond *in, size_t first, size_t n);

/* q (out, 64) of rows first .. first+n-1 (n <= 64) of `in`; keep is written.  A class that is none: DFO_EARG naming the
 * row.  _tangent: dq, behind forward with the same rows and keep.  */
dfo_status dfoi_embed_forward(const dfoi_embed *embed, const dfo_net *net, dfo_run *run, const dfo_cond *in, size_t first,
                              size_t n, dfo_real *keep, dfo_real *q);
void dfoi_embed_tangent(const dfoi_embed *embed, const dfo_net *net, const dfo_run *run, const dfo_cond *din, size_t first,
                        size_t n, dfo_real *keep, dfo_real *dq);

/* From gq (zeros behind the last row): adds gradients of weights to run->grads, of time and vectors to gin (or NULL);
 * the class has none.  With tangents: gq, gdq, both parts' gradients.  */
void dfoi_embed_backward(const dfoi_embed *embed, const dfo_net *net, const dfo_run *run, const dfo_cond *in, size_t first,
                         size_t n, const dfo_real *keep, const dfo_real *gq, dfo_real *scratch, dfo_cond *gin);
void dfoi_embed_tangent_backward(const dfoi_embed *embed, const dfo_net *net, const dfo_run *run, const dfo_cond *in,
                                 const dfo_cond *din, size_t first, size_t n, const dfo_real *keep, const dfo_real *gq,
                                 const dfo_real *gdq, dfo_real *scratch, dfo_cond *gin, dfo_cond *gdin);

#endif

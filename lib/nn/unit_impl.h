/* Units, h = dropout(act(norm(x))), stand between the linear layers of dense nets.  Panels of 64
 * rows, as in dense_impl.h.  Private.
 *
 * Tangents travel beside values, as pairs (x, dx); the reverse of that pass takes adjoints of both.
 */
#ifndef DFOI_UNIT_IMPL_H
#define DFOI_UNIT_IMPL_H

#include <diffeo/net.h>
#include "base/real_impl.h"
#include "math/gemm_impl.h"

typedef struct dfoi_unit {
    size_t width;
    dfoi_act act;
    unsigned drop;       /* a feature is dropped with probability drop / 65536 */
    uint32_t stream;     /* which draws are its own: differs for all units of a store */
    int norm;            /* layer normalisation with learned scale and shift */
    size_t scale, shift; /* their offsets in the store: (width), (width) */
} dfoi_unit;

/* A value and its tangent.  */
typedef struct dfoi_pair {
    dfo_real *x, *dx;
} dfoi_pair;

/* Working memory of a pass, panels (width, 64).  mask is used in training with dropout; dh, d1 by
 * the passes with tangents, d2 by their reverse.  */
typedef struct dfoi_unit_room {
    dfo_real *h, *dh, *mask, *d1, *d2;
    size_t first; /* the panel's first row, of those of the call */
} dfoi_unit_room;

/* A probability as the unit draws it: drop / 65536.  */
unsigned dfoi_unit_drop(double p);

/* The stream of a unit whose width is that of an array of at least `width` weights at `offset`: no
 * other unit's.  */
uint32_t dfoi_unit_stream(size_t offset);

/* Reals that forward keeps for backward; jvp keeps twice as much.  */
size_t dfoi_unit_keep(const dfoi_unit *unit);

/* 1 if the linear layer in front can apply the activation.  */
int dfoi_unit_fused(const dfoi_unit *unit);

/* Where the linear layer in front should write: into what is kept, or room->h.  */
dfo_real *dfoi_unit_target(const dfoi_unit *unit, const dfoi_unit_room *room, dfo_real *keep);

/* h from x, which is the target or another panel (then it is preserved).  done: the activation was
 * applied already.  h lies in keep or room->h.  keep may be NULL.  */
const dfo_real *dfoi_unit_forward(const dfoi_unit *unit, const dfo_run *run, const dfo_real *x,
                                  int done, const dfoi_unit_room *room, dfo_real *keep);

/* The same of the sum of two panels.  Without a norm.  */
const dfo_real *dfoi_unit_forward_sum(const dfoi_unit *unit, const dfo_run *run, const dfo_real *x, const dfo_real *add,
                                      const dfoi_unit_room *room, dfo_real *keep);

/* h again, from what was kept.  A dropout mask stays in room->mask for backward, which comes next.
 */
const dfo_real *dfoi_unit_output(const dfoi_unit *unit, const dfo_run *run,
                                 const dfoi_unit_room *room, const dfo_real *keep);

/* The same of features first .. first + count - 1 alone, from where x has them (with `done` in the target); x, if it is
 * another panel, begins at them.  Of the whole panel, the mask stands in room->mask where there is one (dfoi_unit_mask).
 * Without a norm.  Gives the whole panel of h.  */
const dfo_real *dfoi_unit_forward_part(const dfoi_unit *unit, const dfo_run *run, const dfo_real *x, int done,
                                       const dfoi_unit_room *room, dfo_real *keep, size_t first, size_t count);

/* The panel whose sign is the activation's derivative (relu), if the linear layer behind can apply
 * it on the way back; else NULL.  For what forward or jvp kept.  */
const dfo_real *dfoi_unit_gate(const dfoi_unit *unit, const dfo_run *run, const dfo_real *keep,
                               int tangents);

/* g = dL/dh becomes dL/dx.  gated: the gate was applied.  Adds gradients of the norm's weights.  */
void dfoi_unit_backward(const dfoi_unit *unit, const dfo_run *run, const dfoi_unit_room *room,
                        int gated, const dfo_real *keep, dfo_real *g);

/* The same of features first .. first + count - 1 alone, where g begins; mask and norm as in forward_part.  */
void dfoi_unit_backward_part(const dfoi_unit *unit, const dfo_run *run, const dfoi_unit_room *room,
                             const dfo_real *keep, dfo_real *g, size_t first, size_t count);

/* The same with tangents; keep holds 2 * dfoi_unit_keep() reals.  In dfoi_unit_jvp done says that
 * both the activation and, for relu, the mask of the tangent were applied.  */
dfoi_pair dfoi_unit_jvp_target(const dfoi_unit *unit, const dfoi_unit_room *room, dfo_real *keep);
dfoi_pair dfoi_unit_jvp(const dfoi_unit *unit, const dfo_run *run, dfoi_pair x, int done,
                        const dfoi_unit_room *room, dfo_real *keep);
dfoi_pair dfoi_unit_jvp_output(const dfoi_unit *unit, const dfo_run *run,
                               const dfoi_unit_room *room, const dfo_real *keep);
void dfoi_unit_jvp_backward(const dfoi_unit *unit, const dfo_run *run, const dfoi_unit_room *room,
                            int gated, const dfo_real *keep, dfo_real *g, dfo_real *gd);

/* Parts of the above.  */
int dfoi_unit_dropping(const dfoi_unit *unit, const dfo_run *run);
void dfoi_unit_mask(const dfoi_unit *unit, const dfo_run *run, const dfoi_unit_room *room);

/* Layer normalisation, see norm.c.  normal (width,64) and inverse_std (64) are kept, NULL: not
 * wanted; y may be x.  */
void dfoi_norm_forward(const dfoi_unit *unit, const dfo_run *run, const dfo_real *x, dfo_real *y,
                       dfo_real *normal, dfo_real *inverse_std);
void dfoi_norm_backward(const dfoi_unit *unit, const dfo_run *run, const dfo_real *normal,
                        const dfo_real *inverse_std, dfo_real *g);
/* keep: normal, its tangent (width,64 each), inverse_std, slope (64 each).  */
void dfoi_norm_jvp(const dfoi_unit *unit, const dfo_run *run, dfoi_pair x, dfoi_pair y,
                   dfo_real *keep);
void dfoi_norm_jvp_backward(const dfoi_unit *unit, const dfo_run *run, const dfo_real *keep,
                            dfo_real *g, dfo_real *gd);

#endif

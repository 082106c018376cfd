/* Invertible maps: the noun that layers plug into.  */
#ifndef DIFFEO_BIJECTOR_H
#define DIFFEO_BIJECTOR_H

#include <diffeo/real.h>
#include <diffeo/build.h>
#include <diffeo/run.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dfo_bijector dfo_bijector;

enum dfo_caps {
    DFO_CLOSED_INVERSE    = 1u << 0,     /* inverse is exact to rounding and has gradients */
    DFO_ITERATIVE_INVERSE = 1u << 1,     /* a solver's: inverse and its gradients have the solver's errors */
    DFO_NEEDS_INPUT       = 1u << 2,     /* backward wants its input: the dispatcher keeps it, packed (n,d), at run->saved */
    DFO_VOLUME_PRESERVING = 1u << 3,
    DFO_DATA_INIT         = 1u << 4,
    DFO_STOCHASTIC        = 1u << 5,
    DFO_ESTIMATED_LOGDET  = 1u << 6,
    DFO_KEEPS_INPUT       = 1u << 7,     /* as NEEDS_INPUT, but where nothing was kept its inverse finds the input again */
    DFO_OWN_MEASURE       = 1u << 8,     /* log-dets take data by a measure that the layer says (areas of a sphere), not by volumes
                                          * of coordinates: it goes first */
    DFO_TAKES_MISSING     = 1u << 9      /* rows of data may hold NaN for what is not known */
};

/* How far a linear layer stretches rows, and how far it shrinks them: its largest and its smallest singular value, or,
 * where the layer says so, the largest sum of absolute values of a row of its matrix, and one over that of its
 * inverse, or bounds of these.  largest/smallest bounds what rounding grows by on the way there and back.  */
typedef struct dfo_conditioning {
    double smallest, largest;
} dfo_conditioning;

struct dfo_bijector_ops {
    const char *type;              /* "affine-coupling": the name in model files */
    unsigned    caps;
    size_t     (*scratch) (const dfo_bijector *, size_t rows);                /* arena, given back after the call */
    size_t     (*saved)   (const dfo_bijector *, size_t rows, const dfo_run *how);  /* kept from forward to backward; how->memory */
    size_t     (*derived) (const dfo_bijector *);                             /* computed once per weight version */
    size_t     (*gderived)(const dfo_bijector *);                             /* leading reals of derived with gradients */
    size_t     (*aux)     (const dfo_bijector *);                             /* extra reals a row that an exact inverse needs */
    dfo_status (*prepare) (const dfo_bijector *, dfo_run *, dfo_real *derived);
    dfo_status (*forward) (const dfo_bijector *, dfo_run *, dfo_batch x, const dfo_cond *cond, double *logdet);
    dfo_status (*inverse) (const dfo_bijector *, dfo_run *, dfo_batch z, const dfo_cond *cond, double *logdet);
    dfo_status (*backward)(const dfo_bijector *, dfo_run *, dfo_batch z, dfo_batch gz,
                           const dfo_cond *cond, dfo_cond *gcond, const double *glogdet);
    dfo_status (*inverse_backward)(const dfo_bijector *, dfo_run *, dfo_batch x, dfo_batch gx,
                           const dfo_cond *cond, dfo_cond *gcond, const double *glogdet);
    dfo_status (*pullback)(const dfo_bijector *, dfo_run *, const dfo_real *derived, const dfo_real *gderived);
    dfo_status (*init)    (dfo_bijector *, dfo_run *, dfo_batch x, const dfo_cond *cond);   /* DATA_INIT: writes the store through bij->store */
    dfo_status (*update)  (const dfo_bijector *, dfo_run *);                                /* buffers, after an accepted step */
    /* Of the weights in run->derived, prepared; takes at most three rows and scratch(1) from the
     * arena.  Absent: not known.  */
    dfo_status (*conditioning)(const dfo_bijector *, dfo_run *, dfo_conditioning *);
    dfo_status (*describe)(const dfo_bijector *, struct json_t *);                          /* absent: nothing beyond the type */
    void       (*free)    (dfo_bijector *);                                                 /* absent: the state is one block */
};

/* forward: data to latent, in place, ADDS log|det dz/dx| per row to logdet (nats; NULL: not wanted).
 * inverse: latent to data, adds its own (the negative).
 * backward: on entry z is the output, gz = dL/dz, glogdet[i] = dL/dlogdet_i; on exit z holds the
 *   INPUT, gz = dL/dinput; gradients of weights are ADDED to run->grads (nothing if NULL), those of
 *   the condition to gcond (NULL, or parts with x = NULL: not wanted).
 * inverse_backward: the same for inverse: on entry x is its output, gx = dL/dx, glogdet belongs to the
 *   log-det that inverse adds; on exit x holds z and gx = dL/dz.
 * Forward keeps what backward needs if run->saved is not NULL: it has saved() reals for these rows.
 * prepare() takes nothing from the arena (it runs for many layers at once); pullback() may.  */
struct dfo_bijector {
    const struct dfo_bijector_ops *ops;
    unsigned   caps;               /* the table's; of a composite: what its layers leave of them */
    dfo_ctx   *ctx;
    dfo_store *store;
    void      *state;
    dfo_shape  shape;              /* of a row of data */
    dfo_shape  out;                /* of a row of latents: as many features; other than shape for squeeze, haar,
                                    * irevnet with a stride, and chains of them */
    size_t     d;                  /* features of a row */
    size_t     conds, cond_d;      /* parts and total features of the condition it was made for */
    dfo_shape  cond[DFO_COND_PARTS];
    size_t     first, count;       /* its weights in the store's block */
};

/* Makes a layer from {"type":"actnorm", …}.  Errors name the layer and the key.  */
dfo_status dfo_bijector_new(dfo_build *build, struct json_t *config, dfo_bijector **out);
void dfo_bijector_free(dfo_bijector *bij);

/* The conditioning of a layer; of a composite that of its worst conditioned layer; NAN where none is known.  */
dfo_status dfo_bijector_conditioning(const dfo_bijector *bij, dfo_run *run, dfo_conditioning *out);

/* The registered types.  */
size_t dfo_bijector_types(void);
const char *dfo_bijector_type(size_t i);
const struct dfo_bijector_ops *dfo_bijector_ops_named(const char *type);

/* The dispatchers: check shapes, measure, put the arena mark back, explain absent abilities.
 * n = 0 rows is fine.  */
size_t dfo_bijector_scratch(const dfo_bijector *bij, size_t rows);
size_t dfo_bijector_saved(const dfo_bijector *bij, size_t rows, const dfo_run *how);
size_t dfo_bijector_derived(const dfo_bijector *bij);
size_t dfo_bijector_gderived(const dfo_bijector *bij);
size_t dfo_bijector_aux(const dfo_bijector *bij);
dfo_status dfo_bijector_prepare(const dfo_bijector *bij, dfo_run *run, dfo_real *derived);
dfo_status dfo_bijector_forward(const dfo_bijector *bij, dfo_run *run, dfo_batch x,
                                const dfo_cond *cond, double *logdet);
dfo_status dfo_bijector_inverse(const dfo_bijector *bij, dfo_run *run, dfo_batch z,
                                const dfo_cond *cond, double *logdet);
dfo_status dfo_bijector_backward(const dfo_bijector *bij, dfo_run *run, dfo_batch z, dfo_batch gz,
                                 const dfo_cond *cond, dfo_cond *gcond, const double *glogdet);
dfo_status dfo_bijector_inverse_backward(const dfo_bijector *bij, dfo_run *run, dfo_batch x,
                                         dfo_batch gx, const dfo_cond *cond, dfo_cond *gcond,
                                         const double *glogdet);
dfo_status dfo_bijector_pullback(const dfo_bijector *bij, dfo_run *run, const dfo_real *derived,
                                 const dfo_real *gderived);
dfo_status dfo_bijector_init(dfo_bijector *bij, dfo_run *run, dfo_batch x, const dfo_cond *cond);
dfo_status dfo_bijector_update(const dfo_bijector *bij, dfo_run *run);
dfo_status dfo_bijector_describe(const dfo_bijector *bij, struct json_t *to);

#ifdef __cplusplus
}
#endif
#endif

/* Nets: smooth parametric functions of one or several inputs, with four passes.  */
#ifndef DIFFEO_NET_H
#define DIFFEO_NET_H

#include <diffeo/real.h>
#include <diffeo/build.h>
#include <diffeo/run.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dfo_net dfo_net;

/* How a block of values lies in memory.  */
typedef enum dfo_layout {
    DFO_FEATURES,      /* panels of 64 rows, for dense nets: value (row i, feature j) = x[(i/64*d + j)*64 + i%64] */
    DFO_ROWS           /* value (row i, feature j) = x[i*ld + j]: images, channel by channel */
} dfo_layout;

/* A net's output, or its gradient or tangent.  Rows behind the last of a panel hold finite rubbish (outputs)
 * or zeros (gradients).  */
typedef struct dfo_block {
    dfo_real  *x;
    size_t     n, d, ld;       /* DFO_FEATURES: n <= DFO_NET_ROWS, ld = 64 */
    dfo_layout layout;
} dfo_block;

/* Rows that a dense net takes at a time at most: weights are read once for all of them.  */
#define DFO_NET_ROWS 128

struct dfo_net_ops {
    const char *type;                                          /* "mlp" */
    dfo_layout  layout;
    size_t     (*scratch)(const dfo_net *, size_t rows);       /* arena, the largest of the four passes */
    size_t     (*acts)   (const dfo_net *, size_t rows);       /* activations that backward needs */
    /* in: parts with the same n rows, row-major.  acts: NULL, or where to
     * keep activations.  */
    dfo_status (*forward) (const dfo_net *, dfo_run *, const dfo_cond *in, dfo_block out, dfo_real *acts);
    /* gout is overwritten; gin's parts with x != NULL get their gradients ADDED; weight gradients are
     * added to run->grads (skipped if NULL).  gin may be NULL.  */
    dfo_status (*backward)(const dfo_net *, dfo_run *, const dfo_cond *in, dfo_block gout,
                           dfo_cond *gin, const dfo_real *acts);
    /* out = f(in), dout = J din (parts of din with x = NULL are zero tangents).  acts as in forward, of
     * size 2*acts().  The table's two passes with tangents get one panel of a dense net at a time.  */
    dfo_status (*jvp)(const dfo_net *, dfo_run *, const dfo_cond *in, const dfo_cond *din,
                      dfo_block out, dfo_block dout, dfo_real *acts);
    /* Reverse over forward: gout, gdout are adjoints of out and dout (overwritten); gradients with
     * respect to in, din (either may be NULL) and the weights are added.  */
    dfo_status (*jvp_backward)(const dfo_net *, dfo_run *, const dfo_cond *in, const dfo_cond *din,
                               dfo_block gout, dfo_block gdout, dfo_cond *gin, dfo_cond *gdin,
                               const dfo_real *acts);
    /* Absent, or for rows that share the time t, their last input: out = f(in), trace[i] = tr of the Jacobian with respect to
     * the first part, in about two forward passes, or in far less than a pass with tangents for every feature takes.  kept, of
     * trace_size reals (0: this net has no such form), holds what begin found for t.  */
    size_t     (*trace_size)(const dfo_net *);
    dfo_status (*trace_begin)(const dfo_net *, dfo_run *, dfo_real t, dfo_real *kept);
    dfo_status (*trace)(const dfo_net *, dfo_run *, const dfo_cond *in, const dfo_real *kept, dfo_block out, double *trace);
    int        trace_alone;                                    /* 1: begin does not read t, rows may be at times of their own */
    /* Absent, or for nets whose first part is as their output and whose last is the time t: out = the derivative of `order` (1: the
     * net itself) at s = 0 of the path x(s), x(0) the first part, x' = f(x, the other parts, t + s); Kelly et al. 2020.
     * kept, of path_kept reals (0: this net has no such form), holds what path_backward needs, which is as backward.  */
    size_t     (*path_kept)(const dfo_net *, size_t rows, size_t order);
    size_t     (*path_scratch)(const dfo_net *, size_t order);              /* arena of path_backward */
    dfo_status (*path)(const dfo_net *, dfo_run *, const dfo_cond *in, size_t order, dfo_block out, dfo_real *kept);
    dfo_status (*path_backward)(const dfo_net *, dfo_run *, const dfo_cond *in, size_t order, dfo_block gout, dfo_cond *gin,
                                const dfo_real *kept);
    /* Absent unless the net keeps running statistics of its rows: reals that the shards' backward passes
     * add to run->gderived (each once a step, where it is not NULL), and what becomes of their sum, found
     * there: run->new_buffers, after an accepted step.  */
    size_t     (*statistics)(const dfo_net *);
    dfo_status (*update)(const dfo_net *, dfo_run *);
    /* Absent unless the net begins from data: sets weights, the store's block, from the first rows, in (parts as in
     * forward, any number of rows, all finite).  */
    dfo_status (*fit)(const dfo_net *, const dfo_cond *in, dfo_real *weights);
    dfo_status (*describe)(const dfo_net *, struct json_t *);
    void       (*free)(dfo_net *);
};

struct dfo_net {
    const struct dfo_net_ops *ops;
    dfo_ctx *ctx;
    void    *state;
    size_t   parts;            /* input parts and their shapes, as given to dfo_net_new */
    dfo_shape part[DFO_COND_PARTS];
    dfo_shape shape;           /* of the output */
    size_t   in;               /* features over all input parts; 0: the output is a learned constant */
    size_t   out;
    size_t   first, count;     /* its weights in the store */
};

/* Makes a net from its configuration: {"type":"mlp","hidden":[128,128],"activation":"relu",...}; without a
 * type, or config == NULL: an mlp.  in: shapes of the input parts (copied).  out: shape of the output.
 * zero_last != 0: the last layer starts at zero (or within the configured last_init).  build->path
 * names the weights.  Without any input feature it is a learned constant, whatever the type; the
 * settings are checked all the same.  Errors name the net and the key: DFO_EARG, DFO_ESHAPE, DFO_EMEM.  */
dfo_status dfo_net_new(dfo_build *build, struct json_t *config, size_t parts, const dfo_shape *in,
                       dfo_shape out, int zero_last, dfo_net **net);
void dfo_net_free(dfo_net *net);

/* The number of registered net types and their names.  */
size_t dfo_net_types(void);
const char *dfo_net_type(size_t i);
/* How the outputs of nets of that type lie; DFO_FEATURES for a name that is not registered.  */
dfo_layout dfo_net_type_layout(const char *type);

/* The four passes and measures: as in the table; an absent pass is DFO_EUNSUP naming the net.  The
 * arena mark is put back.  */
size_t dfo_net_scratch(const dfo_net *net, size_t rows);
size_t dfo_net_acts(const dfo_net *net, size_t rows);
dfo_status dfo_net_forward(const dfo_net *net, dfo_run *run, const dfo_cond *in, dfo_block out,
                           dfo_real *acts);
dfo_status dfo_net_backward(const dfo_net *net, dfo_run *run, const dfo_cond *in, dfo_block gout,
                            dfo_cond *gin, const dfo_real *acts);
dfo_status dfo_net_jvp(const dfo_net *net, dfo_run *run, const dfo_cond *in, const dfo_cond *din,
                       dfo_block out, dfo_block dout, dfo_real *acts);
dfo_status dfo_net_jvp_backward(const dfo_net *net, dfo_run *run, const dfo_cond *in,
                                const dfo_cond *din, dfo_block gout, dfo_block gdout, dfo_cond *gin,
                                dfo_cond *gdin, const dfo_real *acts);
/* Two of the passes with rows on both sides, any number of them: out (n, net->out).  backward takes gout (n, net->out), which is
 * only read, and computes the activations again: DFO_ESHAPE where rows are not of the net's outputs; for the rest as in the
 * table.  Arena of either.  */
size_t dfo_net_rows_scratch(const dfo_net *net, size_t rows);
dfo_status dfo_net_rows_forward(const dfo_net *net, dfo_run *run, const dfo_cond *in, dfo_batch out);
dfo_status dfo_net_rows_backward(const dfo_net *net, dfo_run *run, const dfo_cond *in, dfo_batch gout, dfo_cond *gin);
/* Exact traces in closed form, see the table; 0: there are none.  */
size_t dfo_net_trace_size(const dfo_net *net);
/* As in the table; the arena mark is put back.  */
dfo_status dfo_net_trace_begin(const dfo_net *net, dfo_run *run, dfo_real t, dfo_real *kept);
dfo_status dfo_net_trace(const dfo_net *net, dfo_run *run, const dfo_cond *in, const dfo_real *kept, dfo_block out, double *trace);
#define DFO_NET_ORDER 8
/* Derivatives along the path, of order 1 to DFO_NET_ORDER, see the table: reals kept of so many rows (0: there are none); the arena
 * of backward; the two passes.  The arena mark is put back.  */
size_t dfo_net_path_kept(const dfo_net *net, size_t rows, size_t order);
size_t dfo_net_path_scratch(const dfo_net *net, size_t order);
dfo_status dfo_net_path(const dfo_net *net, dfo_run *run, const dfo_cond *in, size_t order, dfo_block out, dfo_real *kept);
dfo_status dfo_net_path_backward(const dfo_net *net, dfo_run *run, const dfo_cond *in, size_t order, dfo_block gout, dfo_cond *gin,
                                 const dfo_real *kept);
/* A layer with a net counts dfo_net_statistics in its gderived() and calls dfo_net_update in its
 * update(); 0 and nothing for most nets.  */
size_t dfo_net_statistics(const dfo_net *net);
dfo_status dfo_net_update(const dfo_net *net, dfo_run *run);
/* A layer with a net calls dfo_net_fit in its init(), whose weights are its store's; nothing for most nets: does it begin
 * from data?  Errors as of the parts in forward, into run.  */
int dfo_net_fits(const dfo_net *net);
dfo_status dfo_net_fit(const dfo_net *net, dfo_run *run, const dfo_cond *in, dfo_real *weights);
dfo_status dfo_net_describe(const dfo_net *net, struct json_t *to);

#ifdef __cplusplus
}
#endif
#endif

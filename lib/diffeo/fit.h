/* The trainer: minimises a loss over a data set.  It knows losses, not flows.  */
#ifndef DIFFEO_FIT_H
#define DIFFEO_FIT_H

#include <diffeo/real.h>
#include <diffeo/loss.h>
#include <diffeo/source.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum dfo_optimiser { DFO_ADAM, DFO_ADAMW, DFO_SGD, DFO_RMSPROP } dfo_optimiser;
typedef enum dfo_schedule { DFO_CONSTANT, DFO_COSINE, DFO_STEP } dfo_schedule;

/* What happened: one per validation, at the end, and wherever the caller may want to show life.  */
typedef struct dfo_fit_event {
    enum { DFO_FIT_STEP, DFO_FIT_VALID, DFO_FIT_CHECKPOINT, DFO_FIT_SKIPPED } kind;
    uint64_t step, steps;          /* steps: planned, 0 under a time limit alone */
    double   epoch, progress;      /* progress: 0..1 */
    double   train_loss;           /* mean since the last event of kind VALID */
    double   valid_loss;           /* NAN where none was measured */
    double   best_loss;
    double   lr, gradient_norm, seconds, rows_per_second;
    double   drift;                /* largest |rebuilt - anchor| since the last event */
    double   nfe;                  /* evaluations of a continuous flow's field in a solve of the last step; 0: none */
    double   condition;            /* of the worst conditioned invertible convolution at the last validation; NAN: none */
    uint64_t skipped;              /* steps skipped so far because something was not finite */
    const char *text;              /* SKIPPED: why */
} dfo_fit_event;

typedef struct dfo_fit_options {
    uint64_t      steps;           /* 0: no limit of steps */
    double        epochs;          /* 0: none */
    double        time_limit;      /* seconds, 0: none; at least one of the three */
    size_t        batch;
    dfo_optimiser optimiser;
    double        lr, beta1, beta2, epsilon, momentum, weight_decay, clip;
    dfo_schedule  schedule;
    uint64_t      warmup;          /* steps of linear warm-up */
    double        step_factor;     /* DFO_STEP: the rate is multiplied by it ... */
    double        step_every;      /* ... every so much of the progress (0..1) */
    double        ema;             /* decay of the moving average of weights, 0: none */
    double        gradient_noise;  /* eta of g += N(0, eta/(1+t)^0.55), 0: none */
    uint64_t      valid_every;     /* steps; 0: an epoch, at least 100 steps */
    uint64_t      patience;        /* validations without gain before stopping, 0: never */
    int           keep_best;       /* 1: the weights of the best validation, 0: the last */
    dfo_memory_mode memory;
    unsigned      anchors;
    size_t        shards;          /* 0: by batch */
    int           images;          /* 1: rows are images, of which fewer make a shard */
    int           threads;         /* 0: the context's */
    uint64_t      seed;
    unsigned      most_bad;        /* steps in a row that may be skipped before giving up */
    const char   *checkpoint;      /* file, or NULL */
    uint64_t      checkpoint_every;/* steps, 0: every 60 seconds */
    const char   *resume;          /* checkpoint to go on from, or NULL */
    int           started;         /* 1: the weights are fitted ones already: layers that start from data keep theirs */
    const char   *extra;           /* text kept in checkpoints for the caller (how to make the model again) */
    const volatile int *stop;      /* becomes non-zero: write a checkpoint and return DFO_EINTR; or NULL */
    void        (*event)(void *data, const dfo_fit_event *event);
    void         *event_data;
} dfo_fit_options;

typedef struct dfo_fit_report {
    uint64_t steps, best_step, skipped, validations;
    double   epochs, train_loss, valid_loss, seconds, rows_per_second, drift;
    size_t   plan_bytes;           /* working memory of the step */
    int      stopped_early, resumed;
} dfo_fit_report;

/* Sensible values: Adam, 5e-4, cosine, batch 512, clip 5, anchors 4, patience 0, best kept.  */
void dfo_fit_defaults(dfo_fit_options *options);

/* Fits the weights in loss->store to the rows of train; valid may be NULL (then the last weights are
 * kept).  cond_columns: the last so many features of a source row are the condition, not the row.
 * On DFO_EINTR a checkpoint was written and the store holds the best weights so far.  On DFO_ENUM (too many
 * steps not finite) the store holds the last good ones.  With steps or epochs set and no time limit, the
 * result is the same bits for any number of threads and whether or not it was interrupted and resumed.  */
dfo_status dfo_fit(dfo_loss *loss, const dfo_source *train, const dfo_source *valid, size_t cond_columns,
                   const dfo_fit_options *options, dfo_fit_report *report);

/* The text that the caller put into a checkpoint; *out is freed by dfo_text_free.  */
dfo_status dfo_checkpoint_extra(dfo_ctx *ctx, const char *path, char **out);
void dfo_text_free(dfo_ctx *ctx, char *text);

#ifdef __cplusplus
}
#endif
#endif

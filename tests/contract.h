/* The contract of a layer: what contract_*.c share.  contract_rows.c holds the table (one row a type:
 * random configurations, what it takes, what it must refuse), contract_fix.c makes layers, memory and
 * rows, the others check.  */
#ifndef DIFFEO_TESTS_CONTRACT_H
#define DIFFEO_TESTS_CONTRACT_H

#include <jansson.h>
#include <diffeo/real.h>
#include <diffeo/bijector.h>
#include <diffeo/store.h>
#include "testrun.h"
#include "util.h"

enum {
    TAKES_CONDS  = 1,        /* depends on a condition if it is given one */
    TAKES_IMAGES = 2,        /* shapes with h, w > 1 mean something to it */
    BOUNDED_X    = 4,        /* data live in an open set: rows are made by inverse */
    BOUNDED_Z    = 8,        /* latents do: rows are made by forward */
    COMPOSITE    = 16,       /* made of other layers of the table */
    EVEN_CHANNELS = 32,      /* refuses an odd number of channels */
    POSITIVE_X   = 64,       /* data are positive and drawn as such */
    STEEP        = 128,      /* grows too fast to be repeated in composites */
    CIRCLE       = 256,      /* values are angles: set by layer_from from the configuration */
    EVEN_SIDES   = 512,      /* refuses images with an odd number of rows or columns */
    NUMERICAL    = 1024,     /* a solver's: its maps are each other's inverse to rounding where weights are moderate */
    FLAT         = 4096,     /* all but flat here and there: round trips, and gradients at an x that was found from z, are asked for at moderate weights */
    TRAINED      = 8192,     /* another map in training: gradients are asked for there too */
    SPHERE       = 16384,    /* two features, latents height and half turns on the cylinder of a sphere; BOUNDED_X: data made of them, else alike */
    SUMS         = 2048      /* adds to the row what may nearly cancel it: rounding is that of the larger one of a map's two ends */
};

/* What a layer is built for.  */
struct setting {
    dfo_shape shape;
    size_t    conds;
    dfo_shape cond[DFO_COND_PARTS];
    int       smooth;        /* configurations that can be differentiated twice almost everywhere */
    int       depth;         /* composites inside composites */
};

struct row {
    const char *type;
    unsigned    flags;
    json_t   *(*make)(test_rng *rng, const struct setting *s, const char *type);
    /* Members that replace the configuration's, and what the message must name.  */
    struct { const char *json, *key; } bad[14];
};

extern const struct row contract_rows[];
extern const size_t contract_rows_count;
/* The shape of the rows that a layer of this configuration makes of rows of that shape.  */
dfo_shape shape_after(const json_t *config, dfo_shape shape);
const struct row *contract_row(const char *type);

/* A layer with everything it stands on.  */
struct layer {
    const struct row *row;
    struct setting set;
    dfo_ctx      *ctx;
    dfo_store    *store;
    json_t       *config;
    dfo_bijector *bij;
    uint64_t      seed;
    unsigned      flags;     /* the row's, and CIRCLE */
    double        start, period, bound;     /* of a circle (of a sphere: its longitudes): data, and latents in [-bound, bound] */
    int           calm;      /* bounded rows keep away from their bounds */
    size_t        layers;    /* that are not composites */
    char          text[1500];
};

/* How far from their first values weights are: as created; moderate (raw standard deviation 0.2); wide
 * (2, slopes of a thousandth to a thousand).  */
enum spread { CREATED, MODERATE, WIDE, SPREADS };

/* The random numbers of check `what` for row i of the table.  */
test_rng contract_stream(int i, unsigned what);
struct setting random_setting(test_rng *rng, const struct row *row, size_t most);
void layer_new(struct layer *l, const struct row *row, const struct setting *set, test_rng *rng);
/* From a configuration (a new reference is taken).  */
void layer_from(struct layer *l, const struct row *row, const struct setting *set, json_t *config, uint64_t seed);
void layer_free(struct layer *l);
void layer_spread(struct layer *l, enum spread spread, test_rng *rng);
/* Type, seed, shape, configuration: for messages.  */
const char *where(const struct layer *l);

/* A run with just the memory that the layer says it needs; prepared.  */
testrun *run_new(struct layer *l, size_t rows, dfo_memory_mode memory);
void run_prepare(struct layer *l, testrun *t);

/* Rows with `pad` guarded reals between them.  They are given back at the end of the test.  */
dfo_batch rows_new(size_t n, size_t d, size_t pad);
dfo_batch rows_copy(dfo_batch x);
void rows_set(dfo_batch to, dfo_batch from);
void rows_draw(dfo_batch x, test_rng *rng, double scale);
void rows_guard(const struct layer *l, dfo_batch x, const char *what);
double *doubles_new(size_t n);
void *memory_new(size_t bytes);
void memory_free_all(void);

/* A condition for n rows, and one of the same shapes for its gradient (zero).  */
dfo_cond cond_new(const struct setting *set, size_t n, test_rng *rng);
dfo_cond cond_zero(const dfo_cond *cond);
const dfo_cond *cond_or_null(const dfo_cond *cond);

/* Rows that the layer takes as data (latents): drawn, through the layer where it is bounded.  */
dfo_batch data_new(struct layer *l, testrun *t, size_t n, size_t pad, const dfo_cond *cond, test_rng *rng);
dfo_batch latents_new(struct layer *l, testrun *t, size_t n, size_t pad, const dfo_cond *cond, test_rng *rng);

/* The log of the area that data of an OWN_MEASURE layer have for a unit of their coordinates at row i; of others 0.  */
double log_area(const struct layer *l, dfo_batch x, size_t i);

/* The passes, which must succeed.  */
void forward(struct layer *l, testrun *t, dfo_batch x, const dfo_cond *cond, double *logdet);
void inverse(struct layer *l, testrun *t, dfo_batch z, const dfo_cond *cond, double *logdet);
/* back = 0: backward, 1: inverse_backward, and pullback afterwards.  */
void backward(struct layer *l, testrun *t, int back, dfo_batch z, dfo_batch gz, const dfo_cond *cond,
              dfo_cond *gcond, const double *glogdet);

/* Fails the test unless the bits are the same.  */
void same_rows(const struct layer *l, dfo_batch a, dfo_batch b, const char *what);
void same_doubles(const struct layer *l, size_t n, const double *a, const double *b, const char *what);
double norm(size_t n, const dfo_real *x);
/* ||a - b|| of row i. */
double distance(dfo_batch a, dfo_batch b, size_t i);

/* log|det A| by elimination with pivoting; A (d,d) row-major is overwritten.  Where `to` is not NULL it
 * becomes the inverse of A.  */
double log_det(size_t d, double *a, double *to);

/* J (d,d) of row i of a map by its backward pass: row k is the gradient of output k.  back as above; out
 * holds the map's output.  */
void jacobian(struct layer *l, int back, dfo_batch out, const dfo_cond *cond, size_t i, double *j);

/* Norm of the gradient of the log-det of row i with respect to the map's input; out and back as above.  */
double log_det_slope(struct layer *l, int back, dfo_batch out, const dfo_cond *cond, size_t i);

/* Prints under DIFFEO_TEST_VERBOSE.  */
int verbose(void);
void note(const struct layer *l, const char *what, double error, double kappa, double ratio);

#ifdef DFO_DOUBLE
#define TIGHT 1e-11          /* relative, for created and moderate weights */
#else
#define TIGHT 1e-5
#endif

/* end should be start again (made from middle): TIGHT, or as the conditioning of a row allows.  */
void same_place(struct layer *l, int back, dfo_batch start, dfo_batch middle, dfo_batch end, const dfo_cond *cond);

/* Each adds its tests, looped over the table, to the suite.  */
void contract_maps(Suite *suite);
void contract_grads(Suite *suite);
void contract_plans(Suite *suite);
void contract_making(Suite *suite);

#endif

/* Latents files: what encode writes and decode reads.  Safetensors with z (n,d) and the facts that decoding
 * needs as metadata.  A float file may hold some rows in double besides: those that float does not give back well
 * enough; they are to be decoded in double.  */
#ifndef DIFFEO_LATENTS_H
#define DIFFEO_LATENTS_H

#include <stdint.h>
#include <diffeo/real.h>
#include <diffeo/flow.h>
#include <diffeo/model.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dfo_latents_writer dfo_latents_writer;

/* Rows whose latents are held in double.  */
typedef struct dfo_latents_exact {
    size_t n;
    const uint64_t *row;           /* (n) rising */
    const double   *z;             /* (n, d) */
} dfo_latents_exact;

/* Opens a latents file for `rows` rows of this model; nothing appears under `path` before finish.  exact: rows to
 * hold in double besides, or NULL; what it points to is read at finish.  DFO_EARG if they do not rise or there are
 * none such.  */
dfo_status dfo_latents_create(dfo_model *model, const char *path, uint64_t rows, uint64_t seed,
                              const dfo_latents_exact *exact, dfo_latents_writer **out);
/* What Rex made: how, and what decoding wants besides z, all rows of it, or NULL.  */
typedef struct dfo_latents_rex {
    dfo_flow_rex_options how;
    const dfo_real *aux;           /* (rows, d) second states */
    const int64_t  *y, *yh;        /* (rows, d) both states, with how.exact in their place */
} dfo_latents_rex;
/* The same for latents of dfo_flow_rex_encode; rex is copied, what it points to is read at finish.  */
dfo_status dfo_latents_create_rex(dfo_model *model, const char *path, uint64_t rows, const dfo_latents_rex *rex,
                                  dfo_latents_writer **out);

/* The next rows.  */
dfo_status dfo_latents_write(dfo_latents_writer *writer, dfo_batch z);
dfo_status dfo_latents_finish(dfo_latents_writer *writer);
void dfo_latents_writer_free(dfo_latents_writer *writer);      /* NULL is fine; before finish nothing appears */

typedef struct dfo_latents dfo_latents;

/* Opens a latents file.  *out is NULL and the status DFO_OK if the file is no safetensors file at all (its
 * rows may be in another format).  */
dfo_status dfo_latents_open(dfo_ctx *ctx, const char *path, dfo_latents **out);
void dfo_latents_free(dfo_latents *latents);
uint64_t dfo_latents_rows(const dfo_latents *latents);
size_t dfo_latents_features(const dfo_latents *latents);
uint64_t dfo_latents_seed(const dfo_latents *latents);
/* The hash of the model that made them, and "float" or "double".  */
const char *dfo_latents_model(const dfo_latents *latents);
const char *dfo_latents_precision(const dfo_latents *latents);
/* How the model's continuous layers were solved when it made them, method good until the file is freed; false, and all as it is,
 * if the file does not say.  To decode alike set it: dfo_model_set_solver.  */
int dfo_latents_solver(const dfo_latents *latents, dfo_solver_options *options);
/* How far the condition guided the model when it made them, to be set when they are decoded: dfo_model_set_guidance.  */
double dfo_latents_guidance(const dfo_latents *latents);
/* How many rows are held in double, and the i-th of them: its number.  */
size_t dfo_latents_exacts(const dfo_latents *latents);
uint64_t dfo_latents_exact_row(const dfo_latents *latents, size_t i);
/* How Rex made them; NULL: it did not.  */
const dfo_flow_rex_options *dfo_latents_how(const dfo_latents *latents);
/* Of rows first .. first+n-1 the second states that Rex left, aux (n,d), or both states as whole numbers, (n,d) each.  */
dfo_status dfo_latents_read_aux(const dfo_latents *latents, uint64_t first, dfo_batch aux);
dfo_status dfo_latents_read_whole(const dfo_latents *latents, uint64_t first, size_t n, int64_t *y, int64_t *yh);
/* Rows first .. first+n-1; in double, those held in double are read so.  */
dfo_status dfo_latents_read(const dfo_latents *latents, uint64_t first, dfo_batch z);

#ifdef __cplusplus
}
#endif
#endif

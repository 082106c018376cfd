/* Rows x go to latents z and back to x'; rows that come back over the tolerance are repaired.  Float rounds z, and every
 * layer on the way back adds to that, so no other z in float is sure to do better: encoding in double and rounding
 * that is on the average worse, since the errors of both ways no longer cancel.  Hence
 *  - where the file can hold it, z in double, which decode takes through the model in double;
 *  - else the best of: z; z in double, rounded; encode(x + (x - x')).
 * All is done by blocks of the model, so that decode finds what was verified here.  */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "verify.h"

/* How well a row came back.  */
struct quality {
    double   error, score;             /* max |x' - x|; the same in units of the tolerance */
    uint64_t pixels;                   /* other pixels */
};

static size_t features(const struct verify *v)
{
    return dfo_model_features(v->model);
}

static size_t width(const struct verify *v)
{
    return features(v) + v->input->context_d;
}

size_t verify_row_bytes(const struct input *in)
{
    return 3 * dfo_shape_size(in->info.shape) * sizeof(dfo_real);
}

/* Images are discrete: half a step off is another pixel.  */
static struct quality quality_of(const struct verify *v, const dfo_real *x, const dfo_real *back)
{
    struct quality q = {0};
    int discrete = v->input->rows.discrete;
    for (size_t k = 0; k < features(v); k++) {
        double value = (double)x[k], e = fabs((double)back[k] - value);
        q.error = fmax(q.error, e);
        if (e > 0)
            q.score = fmax(q.score, e / (discrete ? 0.5 : v->tolerance * (1 + fabs(value))));
        q.pixels += discrete && !(e < 0.5);
    }
    return q;
}

static int good(const struct verify *v, const struct quality *q)
{
    return v->input->rows.discrete ? !q->pixels : q->score <= 1;
}

static int keep(struct verify *v, uint64_t row, const double *z)
{
    struct repairs *r = &v->repairs;
    size_t d = features(v);
    if (r->n == r->room) {
        size_t room = 2 * r->room + 64;
        uint64_t *rows = realloc(r->row, room * sizeof *rows);
        r->row = rows ? rows : r->row;
        double *all = rows ? realloc(r->z, room * d * sizeof *all) : NULL;
        r->z = all ? all : r->z;
        if (!all)
            return usage_error(v->common, "out of memory: %zu rows to repair", room), EXIT_FAILED;
        r->room = room;
    }
    r->row[r->n] = row;
    memcpy(r->z + r->n++ * d, z, d * sizeof *z);
    return 0;
}

/* Rows of a block, in the chunk's arrays.  */
struct block {
    uint64_t  first;                   /* absolute */
    size_t    n;
    dfo_real *rows, *z, *back;         /* (n, d + context) */
};

static int not_done(const struct verify *v)
{
    return file_failed(v->common, "%s", v->input->data);
}

static int is_float(void)
{
    return sizeof(dfo_real) < sizeof(double);
}

/* exact_z and exact_back of the block.  */
static int round_trip_in_double(struct verify *v, const struct block *b)
{
    int status = v->doubles ? 0 : exact_open(v->common, v->path, NULL, &v->doubles);
    if (status)
        return status;
    for (size_t k = 0; k < b->n * width(v); k++)
        v->in_double[k] = (double)b->rows[k];
    return exact_round_trip(v->doubles, b->first, b->n, v->in_double, v->exact_z, v->exact_back) ? not_done(v) : 0;
}

/* Decodes the latents in other[0]; rows that were bad and are better so take them.  */
static dfo_status try_other(struct verify *v, struct block *b)
{
    size_t d = features(v), wide = width(v);
    dfo_cond cond;
    memcpy(v->other[1], v->other[0], b->n * wide * sizeof *v->other[1]);
    dfo_status status = dfo_model_decode(v->plan, b->first, split_chunk(v->input, v->other[1], b->n, d, &cond), &cond,
                                         NULL);
    for (size_t i = 0; i < b->n && !status; i++) {
        const dfo_real *row = b->rows + i * wide, *back = v->other[1] + i * wide;
        struct quality old = quality_of(v, row, b->back + i * wide), now = quality_of(v, row, back);
        if (good(v, &old) || !(now.score < old.score))
            continue;
        memcpy(b->back + i * wide, back, d * sizeof *back);
        memcpy(b->z + i * wide, v->other[0] + i * wide, d * sizeof *b->z);
    }
    return status;
}

/* Rows outside of what the model can map are no candidates; the row stays as it was.  */
static dfo_status forgive(const struct verify *v, dfo_status status)
{
    if (status == DFO_ENUM)
        dfo_ctx_clear(v->common->ctx);
    return status == DFO_ENUM ? DFO_OK : status;
}

/* Other latents of the model's own precision.  */
static int repair_in_place(struct verify *v, struct block *b)
{
    size_t d = features(v), wide = width(v);
    dfo_cond cond;
    dfo_status status = DFO_OK;
    dfo_real *other = v->other[0];
    memcpy(other, b->rows, b->n * wide * sizeof *other);
    if (is_float()) {
        for (size_t i = 0; i < b->n; i++)
            for (size_t k = 0; k < d; k++)
                other[i * wide + k] = (dfo_real)v->exact_z[i * d + k];
        if ((status = forgive(v, try_other(v, b))))
            return not_done(v);
    }
    for (size_t i = 0; i < b->n; i++)
        for (size_t k = i * wide; k < i * wide + d; k++)
            other[k] = v->bad[i] ? b->rows[k] + (b->rows[k] - b->back[k]) : b->rows[k];
    status = dfo_model_encode(v->plan, b->first, split_chunk(v->input, other, b->n, d, &cond), &cond, NULL);
    if (!status)
        status = try_other(v, b);
    return forgive(v, status) ? not_done(v) : 0;
}

/* At least one row of the block is bad.  */
static int repair(struct verify *v, struct block *b)
{
    size_t d = features(v), wide = width(v);
    int doubles = v->exact && is_float(), status = is_float() ? round_trip_in_double(v, b) : 0;
    if (!status && !doubles)
        status = repair_in_place(v, b);
    for (size_t i = 0; i < b->n && !status; i++) {
        if (!v->bad[i])
            continue;
        for (size_t k = 0; k < d; k++) {
            if (doubles)
                b->back[i * wide + k] = (dfo_real)v->exact_back[i * d + k];
            else
                v->exact_z[i * d + k] = (double)b->z[i * wide + k];
        }
        status = keep(v, b->first + i, v->exact_z + i * d);
    }
    return status;
}

static int one_block(struct verify *v, struct block *b)
{
    size_t wide = width(v), bad = 0;
    for (size_t i = 0; i < b->n; i++) {
        struct quality q = quality_of(v, b->rows + i * wide, b->back + i * wide);
        v->bad[i] = !good(v, &q);
        bad += v->bad[i];
        v->worst_before = fmax(v->worst_before, q.error);
    }
    int status = bad ? repair(v, b) : 0;
    v->failed += bad;
    for (size_t i = 0; i < b->n && !status; i++) {
        struct quality q = quality_of(v, b->rows + i * wide, b->back + i * wide);
        if (!good(v, &q) && !v->over++)
            v->first_over = b->first + i;
        v->worst = fmax(v->worst, q.error);
        v->pixels_wrong += q.pixels;
    }
    return status;
}

static int one_chunk(struct verify *v, uint64_t first, size_t n)
{
    size_t d = features(v), wide = width(v), size = dfo_model_block(v->model);
    dfo_cond cond;
    if (read_chunk(v->common, v->input, first, n, v->rows))
        return failed(v->common);
    memcpy(v->z, v->rows, n * wide * sizeof *v->z);
    dfo_status status = dfo_model_encode(v->plan, first, split_chunk(v->input, v->z, n, d, &cond), &cond, NULL);
    memcpy(v->back, v->z, n * wide * sizeof *v->z);
    if (!status)
        status = dfo_model_decode(v->plan, first, split_chunk(v->input, v->back, n, d, &cond), &cond, NULL);
    if (status)
        return not_done(v);
    int result = 0;
    for (size_t at = 0; at < n && !result; at += size) {
        struct block b = {first + at, n - at < size ? n - at : size, v->rows + at * wide, v->z + at * wide,
                          v->back + at * wide};
        result = one_block(v, &b);
    }
    return result;
}

static int make(struct verify *v)
{
    size_t d = features(v), wide = width(v), size = dfo_model_block(v->model);
    v->rows = malloc(v->chunk * wide * sizeof *v->rows);
    v->z = malloc(v->chunk * wide * sizeof *v->z);
    v->back = malloc(v->chunk * wide * sizeof *v->back);
    v->other[0] = malloc(size * wide * sizeof *v->other[0]);
    v->other[1] = malloc(size * wide * sizeof *v->other[1]);
    v->in_double = malloc(size * wide * sizeof *v->in_double);
    v->exact_z = malloc(size * d * sizeof *v->exact_z);
    v->exact_back = malloc(size * d * sizeof *v->exact_back);
    v->bad = malloc(size);
    if (!v->rows || !v->z || !v->back || !v->other[0] || !v->other[1] || !v->in_double || !v->exact_z ||
        !v->exact_back || !v->bad)
        return usage_error(v->common, "out of memory"), EXIT_FAILED;
    return 0;
}

int verify_rows(struct verify *v)
{
    uint64_t rows = v->input->info.rows;
    int status = make(v);
    for (uint64_t first = 0; first < rows && !status; first += v->chunk)
        status = one_chunk(v, first, rows - first < v->chunk ? (size_t)(rows - first) : v->chunk);
    return status;
}

void verify_free(struct verify *v)
{
    exact_close(v->doubles);
    free(v->repairs.row);
    free(v->repairs.z);
    free(v->rows);
    free(v->z);
    free(v->back);
    free(v->other[0]);
    free(v->other[1]);
    free(v->in_double);
    free(v->exact_z);
    free(v->exact_back);
    free(v->bad);
}

/* Verifying that latents give the rows back, and repairing those that do not.  */
#ifndef DIFFEO_APPS_VERIFY_H
#define DIFFEO_APPS_VERIFY_H

#include "exact.h"

/* Rows with other latents than the float model's.  */
struct repairs {
    size_t    n, room;
    uint64_t *row;                     /* (n) rising */
    double   *z;                       /* (n, d) */
};

struct verify {
    /* set by the caller */
    const struct common *common;
    const struct input *input;
    const char     *path;              /* the model's */
    dfo_model      *model;
    dfo_model_plan *plan;
    size_t          chunk;
    double          tolerance;         /* of |x' - x| / (1 + |x|); images: pixels must be equal */
    int             exact;             /* the file can hold latents in double */
    /* found: after repairs */
    double          worst, worst_before;       /* max |x' - x| */
    uint64_t        failed, over, first_over;  /* rows that were over the tolerance, that still are; the first */
    uint64_t        pixels_wrong;
    struct repairs  repairs;
    /* its own */
    struct exact   *doubles;
    dfo_real       *rows, *z, *back;           /* (chunk, d + context) each */
    dfo_real       *other[2];                  /* (block, d + context) each */
    double         *in_double, *exact_z, *exact_back;      /* (block, d + context), (block, d) twice */
    unsigned char  *bad;                       /* (block) rows over the tolerance */
};

#define verify_rows CMD(verify_rows)
#define verify_free CMD(verify_free)
#define verify_row_bytes CMD(verify_row_bytes)

/* What a row of a chunk takes.  */
size_t verify_row_bytes(const struct input *in);
/* Encodes and decodes all rows, block by block, and repairs those over the tolerance.  Exit status.  */
int verify_rows(struct verify *v);
void verify_free(struct verify *v);

#endif

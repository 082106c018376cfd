/* --given of sample: what is known of rows that are to be drawn.  */
#ifndef DIFFEO_APPS_GIVEN_H
#define DIFFEO_APPS_GIVEN_H

#include "mask.h"

struct given {
    const char *data, *mask;               /* data NULL: nothing is known */
    double      noise;
    dfo_source *source;
    uint64_t    rows;
    int         whole;                     /* nothing is missing in any row */
    unsigned char *known;                  /* (d) by the mask, or NULL */
};

#define given_argp CMD(given_argp)
#define given_open CMD(given_open)
#define given_read CMD(given_read)
#define given_close CMD(given_close)
extern const struct argp given_argp;       /* a child parser; its input is struct given */

/* Opens the rows and the mask, which must fit the model.  Exit status.  */
int given_open(const struct common *c, struct given *g, dfo_model *model);
void given_close(struct given *g);

/* Rows first .. first+n-1 of a draw of `each` for every row that is given, NaN where nothing is known, to y (n,d).  */
dfo_status given_read(const struct common *c, const struct given *g, uint64_t first, uint64_t each, dfo_batch y);

#endif

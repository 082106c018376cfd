/* A layer's passes in the double build, with doubles in and out, for the float program to be compared
 * with.  Mentions no dfo_real: contract_twin.c is compiled with DFO_DOUBLE always.  */
#ifndef DIFFEO_TESTS_CONTRACT_TWIN_H
#define DIFFEO_TESTS_CONTRACT_TWIN_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#define TWIN_PARTS 4

struct twin {
    json_t  *config;
    uint64_t seed;
    size_t   shape[3];             /* channels, height, width */
    size_t   conds, cond_shape[TWIN_PARTS][3];
    int      back;                 /* 1: inverse and its backward pass */
    size_t   n, d;
    const double *weights;         /* the store's arrays one after the other, without padding, then buffers */
    const double *x;               /* (n, d) input of the map */
    const double *cond[TWIN_PARTS];
    const double *g, *glogdet;     /* (n, d), (n) seeds */
    double  *z, *logdet;           /* (n, d), (n) results */
    double  *gx, *gweights;        /* (n, d), as weights without buffers */
    double  *gcond[TWIN_PARTS];
};

/* Fails the test (libcheck) if a call fails.  */
void twin_run(struct twin *t);

#endif

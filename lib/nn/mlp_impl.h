/* The multilayer perceptron's state (mlp.c), which made.c masks.  Private.  */
#ifndef DFOI_MLP_IMPL_H
#define DFOI_MLP_IMPL_H

#include <diffeo/net.h>
#include "base/real_impl.h"
#include "nn/dense_impl.h"
#include "nn/unit_impl.h"

#define DFOI_MLP_LAYERS 64

struct dfoi_mlp_settings {
    size_t layers, hidden[DFOI_MLP_LAYERS];
    dfoi_act act;
    double dropout, last_init;
};

struct dfoi_mlp {
    struct dfoi_mlp_settings settings;
    size_t layers; /* hidden ones */
    size_t keep;   /* reals that forward keeps */
    size_t widest; /* of input and hidden layers */
    size_t scratch_grad;
    dfoi_linear linear[DFOI_MLP_LAYERS + 1];
    dfoi_unit unit[DFOI_MLP_LAYERS];
    size_t at[DFOI_MLP_LAYERS]; /* where a unit keeps things: offset in acts */
};

#endif

/* Optimisers and schedules.  Work is cut into fixed pieces, so sums have the same bits for any number of
 * threads.  Adam: Kingma & Ba 2015; AdamW: Loshchilov & Hutter 2019; gradient noise: Neelakantan et al. 2015.  */
#include <math.h>
#include <string.h>

#include "base/ctx_impl.h"
#include "base/par_impl.h"
#include "math/kern_impl.h"
#include "train/fit_impl.h"

#define PIECE ((size_t)1 << 15)        /* reals a worker takes at a time */
#define MAX_PIECES 4096

dfo_status dfoi_fit_state_new(dfo_ctx *ctx, const dfo_store *store, const dfo_fit_options *options, int validates,
                              dfoi_fit_state *state)
{
    memset(state, 0, sizeof *state);
    state->size = dfo_store_weights_size(store);
    state->buffers = dfo_store_buffers_size(store);
    state->best_loss = INFINITY;
    state->last_valid = NAN;
    state->last_train = NAN;
    DFO_TRY(dfoi_alloc_big(ctx, state->size, sizeof(dfo_real), &state->m));
    if (options->optimiser != DFO_SGD)
        DFO_TRY(dfoi_alloc_big(ctx, state->size, sizeof(dfo_real), &state->v));
    if (options->ema > 0)
        DFO_TRY(dfoi_alloc_big(ctx, state->size, sizeof(dfo_real), &state->ema));
    if (validates && options->keep_best) {
        DFO_TRY(dfoi_alloc_big(ctx, state->size, sizeof(dfo_real), &state->best));
        DFO_TRY(dfoi_alloc(ctx, state->buffers, sizeof(dfo_real), &state->best_buffers));
    }
    return DFO_OK;
}

void dfoi_fit_state_free(dfo_ctx *ctx, dfoi_fit_state *state)
{
    dfoi_free(ctx, state->m);
    dfoi_free(ctx, state->v);
    dfoi_free(ctx, state->ema);
    dfoi_free(ctx, state->best);
    dfoi_free(ctx, state->best_buffers);
    memset(state, 0, sizeof *state);
}

double dfoi_fit_rate(const dfo_fit_options *options, uint64_t step, double progress)
{
    double lr = options->lr;
    if (options->schedule == DFO_COSINE)
        lr *= 0.5 * (1 + cos(M_PI * fmin(1, progress)));
    if (options->schedule == DFO_STEP && options->step_every > 0)
        lr *= pow(options->step_factor, floor(progress / options->step_every));
    if (step < options->warmup)
        lr *= (double)(step + 1) / (double)options->warmup;
    return lr;
}

/* Pieces of at least PIECE reals, at most MAX_PIECES of them.  */
static size_t piece_size(size_t n)
{
    size_t size = (n + MAX_PIECES - 1) / MAX_PIECES;
    return size < PIECE ? PIECE : (size + 15) / 16 * 16;
}

struct norm {
    const dfo_real *g;
    size_t n, size;
    double part[MAX_PIECES];
};

static void norm_piece(void *data, size_t i, int worker)
{
    struct norm *s = data;
    size_t first = i * s->size, n = s->n - first < s->size ? s->n - first : s->size;
    (void)worker;
    s->part[i] = dfoi_sum_squares(n, s->g + first);
}

double dfoi_fit_norm(int threads, size_t n, const dfo_real *g)
{
    struct norm s = {.g = g, .n = n, .size = piece_size(n)};
    size_t pieces = (n + s.size - 1) / s.size;
    double sum = 0;
    dfoi_par_for(threads, pieces, norm_piece, &s);
    for (size_t i = 0; i < pieces; i++)
        sum += s.part[i];
    return sqrt(sum);
}

struct update {
    const dfo_fit_options *options;
    dfoi_adam adam;
    dfo_real *g, *w;
    dfoi_fit_state *state;
    size_t size;
};

/* Gradient noise N(0, eta/(1+t)^0.55), keyed by weight and step (added after clipping).  */
static void add_noise(const struct update *u, size_t first, size_t n)
{
    double std = sqrt(u->options->gradient_noise / pow(1.0 + (double)u->state->step, 0.55)) / u->adam.scale;
    dfo_real draw[64];
    for (size_t at = 0; at < n; at += 64) {
        size_t m = n - at < 64 ? n - at : 64;
        dfo_key key = {.seed = u->options->seed, .purpose = DFO_FOR_GRADIENT_NOISE,
                       .step = (uint32_t)u->state->step, .row = first + at};
        dfo_draw_real_normal(key, m, draw);
        dfoi_axpy(m, (dfo_real)std, draw, u->g + first + at);
    }
}

static void sgd(const struct update *u, size_t first, size_t n)
{
    const dfoi_adam *a = &u->adam;
    dfo_real momentum = (dfo_real)u->options->momentum, lr = (dfo_real)a->lr, scale = (dfo_real)a->scale;
    dfo_real l2 = (dfo_real)a->l2;
    dfo_real *w = u->w + first, *m = u->state->m + first, *g = u->g + first;
    for (size_t i = 0; i < n; i++) {
        m[i] = momentum * m[i] + scale * g[i] + l2 * w[i];
        w[i] -= lr * m[i];
    }
}

static void rmsprop(const struct update *u, size_t first, size_t n)
{
    const dfoi_adam *a = &u->adam;
    dfo_real lr = (dfo_real)a->lr, scale = (dfo_real)a->scale, l2 = (dfo_real)a->l2, eps = (dfo_real)a->eps;
    dfo_real keep = (dfo_real)a->beta2, momentum = (dfo_real)u->options->momentum;
    dfo_real *w = u->w + first, *m = u->state->m + first, *v = u->state->v + first, *g = u->g + first;
    for (size_t i = 0; i < n; i++) {
        dfo_real d = scale * g[i] + l2 * w[i];
        v[i] = keep * v[i] + (1 - keep) * d * d;
        m[i] = momentum * m[i] + d / ((dfo_real)sqrt((double)v[i]) + eps);
        w[i] -= lr * m[i];
    }
}

static void update_piece(void *data, size_t i, int worker)
{
    struct update *u = data;
    dfoi_fit_state *s = u->state;
    size_t first = i * u->size, n = s->size - first < u->size ? s->size - first : u->size;
    dfo_real *ema = s->ema ? s->ema + first : NULL;
    (void)worker;
    if (u->options->gradient_noise > 0)
        add_noise(u, first, n);
    if (u->options->optimiser == DFO_ADAM || u->options->optimiser == DFO_ADAMW) {
        dfoi_adam_step(&u->adam, n, u->g + first, u->w + first, s->m + first, s->v + first, ema);
        return;
    }
    (u->options->optimiser == DFO_SGD ? sgd : rmsprop)(u, first, n);
    for (size_t j = 0; ema && j < n; j++)
        ema[j] += (dfo_real)(1 - u->adam.ema_decay) * (u->w[first + j] - ema[j]);
}

void dfoi_fit_update(const dfo_fit_options *options, int threads, double lr, double scale, dfo_real *g, dfo_real *w,
                     dfoi_fit_state *state)
{
    struct update u = {.options = options, .g = g, .w = w, .state = state, .size = piece_size(state->size)};
    double step = (double)(state->step + 1);
    u.adam = (dfoi_adam){.lr = lr, .beta1 = options->beta1, .beta2 = options->beta2, .eps = options->epsilon,
                         .scale = scale, .step = step};
    if (options->optimiser == DFO_ADAMW)
        u.adam.wd = options->weight_decay;
    else
        u.adam.l2 = options->weight_decay;
    /* The average starts as the plain mean of the first weights, so that it does not remember the start.  */
    u.adam.ema_decay = fmin(options->ema, step / (step + 10));
    dfoi_par_for(threads, (state->size + u.size - 1) / u.size, update_piece, &u);
}

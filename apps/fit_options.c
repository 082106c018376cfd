/* train's options of the fit itself: how long, how fast, by which rule.  */
#include <stdio.h>
#include <string.h>

#include "fit_options.h"

enum { PATIENCE = 800, KEEP, STEPS, EPOCHS, TIME_LIMIT, BATCH, LR, OPTIMISER, SCHEDULE, WARMUP, WEIGHT_DECAY, MOMENTUM, CLIP, EMA,
       GRADIENT_NOISE, CHECKPOINT_EVERY, RESUME, MEMORY_MODE, SHARDS, VALID_EVERY };

int to_choice(struct argp_state *state, const char *option, const char *arg, const char *const *names)
{
    char list[128] = "";
    for (int i = 0; names[i]; i++) {
        size_t used = strlen(list);
        if (!strcmp(names[i], arg))
            return i;
        snprintf(list + used, sizeof list - used, "%s%s", i ? ", " : "", names[i]);
    }
    argp_error(state, "%s: unknown value '%s'; expected %s", option, arg, list);
    return 0;
}

static void memory_mode(struct argp_state *state, dfo_fit_options *fit, const char *arg)
{
    if (!strcmp(arg, "invert"))
        fit->memory = DFO_MEMORY_INVERT;
    else if (!strcmp(arg, "store"))
        fit->memory = DFO_MEMORY_STORE;
    else if (!strncmp(arg, "anchors=", 8)) {
        fit->anchors = (unsigned)to_u64(state, "--memory-mode anchors", arg + 8, 0);
        fit->memory = fit->anchors ? DFO_MEMORY_ANCHORS : DFO_MEMORY_INVERT;
    } else
        argp_error(state, "--memory-mode: expected anchors=N, invert or store, got '%s'", arg);
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    dfo_fit_options *fit = state->input;
    static const char *const optimisers[] = {"adam", "adamw", "sgd", "rmsprop", NULL};
    static const char *const schedules[] = {"constant", "cosine", "step", NULL};
    static const char *const keeps[] = {"last", "best", NULL};
    switch (key) {
    case PATIENCE: fit->patience = to_u64(state, "--patience", arg, 0); return 0;
    case KEEP: fit->keep_best = to_choice(state, "--keep", arg, keeps); return 0;
    case VALID_EVERY: fit->valid_every = to_u64(state, "--valid-every", arg, 1); return 0;
    case STEPS: fit->steps = to_u64(state, "--steps", arg, 1); return 0;
    case EPOCHS: fit->epochs = to_double(state, "--epochs", arg, 1e-9, 1e12); return 0;
    case TIME_LIMIT: fit->time_limit = to_double(state, "--time-limit", arg, 1e-3, 1e9); return 0;
    case BATCH: fit->batch = to_u64(state, "--batch", arg, 1); return 0;
    case LR: fit->lr = to_double(state, "--lr", arg, 1e-300, 1e10); return 0;
    case OPTIMISER: fit->optimiser = (dfo_optimiser)to_choice(state, "--optimiser", arg, optimisers); return 0;
    case SCHEDULE: fit->schedule = (dfo_schedule)to_choice(state, "--schedule", arg, schedules); return 0;
    case WARMUP: fit->warmup = to_u64(state, "--warmup", arg, 0); return 0;
    case WEIGHT_DECAY: fit->weight_decay = to_double(state, "--weight-decay", arg, 0, 1e10); return 0;
    case MOMENTUM: fit->momentum = to_double(state, "--momentum", arg, 0, 1); return 0;
    case CLIP: fit->clip = to_double(state, "--clip", arg, 0, 1e300); return 0;
    case EMA: fit->ema = to_double(state, "--ema", arg, 0, 1); return 0;
    case GRADIENT_NOISE: fit->gradient_noise = to_double(state, "--gradient-noise", arg, 0, 1e10); return 0;
    case MEMORY_MODE: memory_mode(state, fit, arg); return 0;
    case SHARDS: fit->shards = to_u64(state, "--shards", arg, 1); return 0;
    case CHECKPOINT_EVERY: fit->checkpoint_every = to_u64(state, "--checkpoint-every", arg, 1); return 0;
    case RESUME: fit->resume = arg; return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option options[] = {
    {"valid-every", VALID_EVERY, "N", 0, "Steps between validations (default: an epoch, at least 100)", 3},
    {"patience", PATIENCE, "N", 0, "Stop after N validations without gain (default: never)", 3},
    {"keep", KEEP, "best|last", 0, "Which weights to keep (default best)", 3},
    {"steps", STEPS, "N", 0, "Optimiser steps", 4},
    {"epochs", EPOCHS, "N", 0, "Passes over the data", 4},
    {"time-limit", TIME_LIMIT, "SECONDS", 0, "Wall time; the first limit reached ends", 4},
    {"batch", BATCH, "N", 0, "Rows a step (default 512)", 5},
    {"lr", LR, "X", 0, "Learning rate (default 5e-4)", 5},
    {"optimiser", OPTIMISER, "adam|adamw|sgd|rmsprop", 0, "Optimiser (default adam)", 5},
    {"schedule", SCHEDULE, "constant|cosine|step", 0, "Of the learning rate (default cosine)", 5},
    {"warmup", WARMUP, "N", 0, "Steps of linear warm-up (default 0)", 5},
    {"weight-decay", WEIGHT_DECAY, "X", 0, "Weight decay (default 0)", 5},
    {"momentum", MOMENTUM, "X", 0, "Of sgd and rmsprop (default 0.9)", 5},
    {"clip", CLIP, "X", 0, "Largest norm of the gradient (default 5, 0: none)", 5},
    {"ema", EMA, "X", 0, "Decay of the weights' moving average (default 0: none)", 5},
    {"gradient-noise", GRADIENT_NOISE, "ETA", 0, "Adds noise of variance ETA/(1+t)^0.55 (default 0)", 5},
    {"memory-mode", MEMORY_MODE, "anchors=N|invert|store", 0, "How backward finds inputs (default anchors=4)", 6},
    {"shards", SHARDS, "N", 0, "Pieces of a minibatch (default by batch)", 6},
    {"checkpoint-every", CHECKPOINT_EVERY, "N", 0, "Steps between checkpoints (default: 60 seconds)", 7},
    {"resume", RESUME, "FILE", 0, "Go on from a checkpoint", 7},
    {0},
};

const struct argp fit_argp = {options, parse, NULL, NULL, NULL, NULL, NULL};

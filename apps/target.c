/* --target, see target.h.  */
#include <stdlib.h>
#include <string.h>

#include "target.h"

int target_open(const struct common *c, const char *spec, dfo_named_target **out)
{
    if (dfo_named_target_open(c->ctx, spec, out) == DFO_OK)
        return 0;
    int status = failed(c);
    return dfo_ctx_status(c->ctx) == DFO_EARG ? EXIT_USAGE : status;
}

json_t *target_names(const dfo_named_target *target, dfo_model *model)
{
    size_t d = target->target.d;
    json_t *known = model ? json_object_get(dfo_model_notes(model), "columns") : NULL, *names = json_array();
    for (size_t k = 0; names && k < d; k++) {
        const char *name = json_array_size(known) == d ? json_string_value(json_array_get(known, k)) : NULL;
        char text[32];
        snprintf(text, sizeof text, "x%zu", k + 1);
        if (json_array_append_new(names, json_string(target->columns ? target->columns[k] : name ? name : text))) {
            json_decref(names);
            return NULL;
        }
    }
    return names;
}

int target_sink(const struct common *c, const char *path, const char *format, uint64_t rows, const json_t *names, const char *more,
                dfo_sink **out)
{
    size_t d = json_array_size(names);
    const char **text = calloc(d + 1, sizeof *text);
    if (!text)
        return usage_error(c, "out of memory"), EXIT_FAILED;
    for (size_t k = 0; k < d; k++)
        text[k] = json_string_value(json_array_get(names, k));
    text[d] = more;
    int status = dfo_sink_open(c->ctx, path, format, rows, d + (more ? 1 : 0), text, out) ? failed(c) : 0;
    free(text);
    return status;
}

/* ---- train */

enum { TARGET = 840, ALPHA };

#define VALID_ROWS ((size_t)4096)

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct train_target *of = state->input;
    switch (key) {
    case TARGET: of->name = arg; return 0;
    case ALPHA:
        of->alpha = to_double(state, "--alpha", arg, 0, 1);
        of->has_alpha = 1;
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option options[] = {
    {"target", TARGET, "NAME", 0, "Fit this density in place of data, by draws of the flow: normal, banana, funnel, eight-schools, logistic:FILE, ... (diffeo-mcmc(1))", 1},
    {"alpha", ALPHA, "A", 0, "Of --target: 0, reverse Kullback-Leibler divergence (default), to 1; the larger, the better all of it is covered", 1},
    {0},
};

const struct argp train_target_argp = {options, parse, NULL, NULL, NULL, NULL, NULL};

int train_target_open(const struct common *c, struct train_target *of, struct input *in, size_t batch)
{
    int status = target_open(c, of->name, &of->target);
    if (status)
        return status;
    size_t d = of->target->target.d, rows = batch % 2 ? 2 * batch : batch, most = rows > VALID_ROWS ? rows : VALID_ROWS;
    if (!(of->rows = calloc(most, d * sizeof *of->rows)))
        return usage_error(c, "out of memory: a batch of %zu rows", batch), EXIT_FAILED;
    for (size_t i = 0; i < most * d; i++)                  /* an even number, of mean 0 and deviation 1: what standardises by them leaves all as it is */
        of->rows[i] = i / d % 2 ? 1 : -1;
    if (dfo_source_rows(c->ctx, dfo_batch_of(of->rows, rows, d), &in->source) ||
        dfo_source_rows(c->ctx, dfo_batch_of(of->rows, VALID_ROWS, d), &of->valid))
        return failed(c);
    dfo_source_describe(in->source, &in->info);
    in->rows = in->info;
    return 0;
}

/* In words, to hold against another's.  */
static void objective(const struct train_target *of, size_t size, char *text)
{
    if (of->name)
        snprintf(text, size, "--target %s --alpha %.17g", of->name, of->alpha);
    else
        snprintf(text, size, "data");
}

int train_target_extra(const struct common *c, const struct train_target *of, const json_t *config, char **out)
{
    char text[512];
    json_t *with = json_copy((json_t *)config);
    objective(of, sizeof text, text);
    *out = with && !json_object_set_new(with, "objective", json_string(text)) ? json_dumps(with, JSON_COMPACT | JSON_REAL_PRECISION(17)) : NULL;
    json_decref(with);
    return *out ? 0 : (usage_error(c, "out of memory: configuration"), EXIT_FAILED);
}

int train_target_resumes(const struct common *c, const struct train_target *of, const char *checkpoint)
{
    char text[512], *extra;
    if (dfo_checkpoint_extra(c->ctx, checkpoint, &extra))
        return failed(c);
    json_t *was = json_loads(extra, JSON_REJECT_DUPLICATES, NULL);
    dfo_text_free(c->ctx, extra);
    const char *before = json_string_value(json_object_get(was, "objective"));
    objective(of, sizeof text, text);
    int status = !before || !strcmp(before, text) ? 0
                 : (usage_error(c, "--resume %s: what it fitted is %s, not %s; --init starts from a model's weights", checkpoint, before, text), EXIT_FAILED);
    json_decref(was);
    return status;
}

int train_target_note(const struct train_target *of, json_t *notes)
{
    return of->target->columns && json_object_set_new(notes, "columns", target_names(of->target, NULL));
}

void train_target_close(struct train_target *of)
{
    dfo_source_free(of->valid);
    dfo_named_target_free(of->target);
    free(of->rows);
}

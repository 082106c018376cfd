/* sample --target: importance sampling from a fitted flow.  All draws are held at once: weights are known when the last one is.  */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "target.h"

#define LARGE_PART 0.05                /* of the sum in one weight: the estimate is that draw's more than the others' */
#define HEAVY 0.7                      /* tails of weights whose mean nothing can be said of: Vehtari et al. 2024 */

struct job {
    const struct common *c;
    const struct weighted *how;
    dfo_model        *model;
    dfo_named_target *target;
    dfo_neutra       *neutra;
    dfo_sink         *sink;
    size_t    n, d;
    double   *x, *log_weight;          /* (n, d), (n) */
    size_t   *place;                   /* (n): which draw row i is */
    dfo_real *row;                     /* (d + 1) */
};

static int set_up(struct job *j)
{
    const struct common *c = j->c;
    const struct weighted *how = j->how;
    int status = target_open(c, how->target, &j->target);
    if (status || (status = open_model(c, how->model, &j->model)))
        return status;
    if (dfo_model_wants_density(j->model) || dfo_model_wants_samples(j->model))
        return failed(c);
    if (dfo_neutra_new(c->ctx, dfo_model_flow(j->model), &j->target->target, &j->neutra))
        return file_failed(c, "%s and target %s", how->model, how->target);
    size_t bytes, each = (j->d = j->target->target.d) * sizeof *j->x + sizeof *j->log_weight + sizeof *j->place;
    if (__builtin_mul_overflow((size_t)how->n, each, &bytes) || (c->memory && bytes > c->memory))
        return usage_error(c, "-n: %llu rows of %zu bytes, held at once, are too many%s", (unsigned long long)how->n, each,
                           c->memory ? " for --memory" : ""), EXIT_FAILED;
    j->n = (size_t)how->n;
    j->x = malloc(j->n * j->d * sizeof *j->x);
    j->log_weight = malloc(j->n * sizeof *j->log_weight);
    j->place = malloc(j->n * sizeof *j->place);
    j->row = malloc((j->d + 1) * sizeof *j->row);
    if (!j->x || !j->log_weight || !j->place || !j->row)
        return usage_error(c, "out of memory: %zu rows", j->n), EXIT_FAILED;
    json_t *names = target_names(j->target, j->model);
    status = names ? target_sink(c, how->output, how->format, how->n, names, how->resample ? NULL : "log_weight", &j->sink)
                   : (usage_error(c, "out of memory"), EXIT_FAILED);
    json_decref(names);
    return status;
}

static int write_rows(struct job *j)
{
    size_t width = j->d + (j->how->resample ? 0 : 1);
    for (size_t i = 0; i < j->n; i++)
        j->place[i] = i;
    if (j->how->resample && dfo_weights_resample(j->c->ctx, j->n, j->log_weight, j->c->seed, j->n, j->place))
        return failed(j->c);
    for (size_t i = 0; i < j->n; i++) {
        for (size_t k = 0; k < j->d; k++)
            j->row[k] = (dfo_real)j->x[j->place[i] * j->d + k];
        j->row[j->d] = (dfo_real)j->log_weight[i];
        if (dfo_sink_write(j->sink, dfo_batch_of(j->row, 1, width)))
            return failed(j->c);
    }
    return 0;
}

static int report(const struct job *j, const dfo_weight_summary *w, double seconds)
{
    const struct common *c = j->c;
    double n = (double)j->n, known = j->target->log_normaliser;
    if (c->json)
        return print_json(c, json_pack("{s:I, s:I, s:s, s:f, s:o, s:o, s:f, s:f, s:o, s:f, s:f, s:I}", "rows", (json_int_t)j->n, "dims", (json_int_t)j->d,
                                       "target", j->how->target, "log_normaliser", w->log_mean, "log_normaliser_stderr",
                                       real_or_null(w->log_mean_error), "log_normaliser_known", real_or_null(known), "ess", w->ess,
                                       "largest_weight", w->largest, "pareto_k", real_or_null(w->tail), "seconds", seconds, "rows_per_second", n / seconds, "peak_bytes",
                                       (json_int_t)dfo_ctx_peak_bytes(c->ctx)));
    FILE *to = text_out(c);
    fprintf(to, "log Z %.6g", w->log_mean);
    if (isfinite(w->log_mean_error))
        fprintf(to, " +- %.2g", w->log_mean_error);
    if (isfinite(known))
        fprintf(to, " (known: %.6g)", known);
    fprintf(to, "; %zu draws are worth %.1f, the largest weight is %.2g %% of all", j->n, w->ess, 100 * w->largest);
    if (isfinite(w->tail))
        fprintf(to, ", Pareto k %.2f", w->tail);
    fputs((w->largest > LARGE_PART && j->n > 1 / LARGE_PART) || w->tail > HEAVY
              ? ": the flow does not cover the target, and the error is more than it says\n" : "\n", to);
    return 0;
}

int draw_weighted(const struct common *c, const struct weighted *how)
{
    struct job j = {.c = c, .how = how};
    dfo_weight_summary w;
    int status = set_up(&j);
    double started = seconds_now();
    if (!status && (dfo_neutra_draw(j.neutra, c->seed, j.n, j.x, j.log_weight) || dfo_weights_summarise(c->ctx, j.n, j.log_weight, &w)))
        status = failed(c);
    if (!status)
        status = write_rows(&j);
    if (!status)
        status = report(&j, &w, seconds_now() - started);
    if (!status && dfo_sink_finish(j.sink))                 /* last: rows are there if all else is */
        status = failed(c);
    dfo_sink_free(j.sink);
    dfo_neutra_free(j.neutra);
    dfo_named_target_free(j.target);
    dfo_model_free(j.model);
    free(j.x);
    free(j.log_weight);
    free(j.place);
    free(j.row);
    return status;
}

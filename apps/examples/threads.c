/* One loaded model, many threads: each has a context (its errors) and a plan (its memory) of its own.
 *     threads MODEL N        scores N normal rows on each of 4 threads and prints the four means */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <diffeo/diffeo.h>

#define THREADS 4

struct job {
    const dfo_model *model;
    uint64_t seed;
    size_t   rows;
    double   mean;
    int      failed;
};

static dfo_status score(dfo_ctx *ctx, struct job *job)
{
    size_t d = dfo_model_features(job->model);
    dfo_real *x = malloc(job->rows * d * sizeof *x);
    double *logp = malloc(job->rows * sizeof *logp);
    dfo_model_plan *plan = NULL;
    dfo_status status = x && logp ? dfo_model_plan_new(ctx, job->model, 0, &plan) : DFO_EMEM;
    if (status == DFO_OK) {
        dfo_key key = {.seed = job->seed, .purpose = DFO_FOR_TEST};
        dfo_draw_real_normal(key, job->rows * d, x);
        status = dfo_model_log_prob(plan, 0, dfo_batch_of(x, job->rows, d), NULL, logp);
    }
    for (size_t i = 0; i < job->rows && status == DFO_OK; i++)
        job->mean += logp[i] / (double)job->rows;
    dfo_model_plan_free(plan);
    free(x);
    free(logp);
    return status;
}

static void *run(void *data)
{
    struct job *job = data;
    dfo_ctx *ctx;
    if (dfo_ctx_new(&ctx) != DFO_OK) {
        job->failed = 1;
        return NULL;
    }
    dfo_ctx_set_threads(ctx, 1);               /* the threads are ours */
    job->failed = score(ctx, job) != DFO_OK;
    if (job->failed)
        fprintf(stderr, "threads: %s\n", dfo_ctx_error(ctx));
    dfo_ctx_free(ctx);
    return NULL;
}

int main(int argc, char **argv)
{
    struct job job[THREADS];
    pthread_t thread[THREADS];
    dfo_ctx *ctx;
    dfo_model *model;
    int failed = 0;
    if (argc != 3 || dfo_ctx_new(&ctx) != DFO_OK)
        return 2;
    if (dfo_model_load(ctx, argv[1], &model) != DFO_OK) {
        fprintf(stderr, "threads: %s\n", dfo_ctx_error(ctx));
        return 1;
    }
    for (int i = 0; i < THREADS; i++) {
        job[i] = (struct job){.model = model, .seed = (uint64_t)i, .rows = strtoull(argv[2], NULL, 10)};
        if (pthread_create(&thread[i], NULL, run, &job[i]))
            return 1;
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(thread[i], NULL);
        failed |= job[i].failed;
        printf("thread %d: mean log p %.6f nats\n", i, job[i].mean);
    }
    dfo_model_free(model);
    dfo_ctx_free(ctx);
    return failed;
}

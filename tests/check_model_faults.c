/* A model's life with memory refused and files failing: made, trained for a few steps with checkpoints,
 * saved, loaded, scored, drawn from.  Whatever is refused ends in a message and leaves nothing; a file is
 * the whole old or the whole new one, also after a kill.  */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include <diffeo/fit.h>
#include <diffeo/model.h>
#include "base/ctx_impl.h"
#include "base/json_impl.h"
#include "faults.h"
#include "oom.h"
#include "util.h"

#define ROWS 40

struct job {
    const char *config;
    const char *model, *checkpoint;        /* where they go */
    dfo_real    rows[ROWS * 2];
    int         fit;                       /* train, and write checkpoints */
};

static dfo_status train(dfo_model *model, dfo_source *data, const struct job *job)
{
    dfo_status status;
    dfo_loss *loss = NULL;
    dfo_fit_options options;
    dfo_fit_report report;
    dfo_fit_defaults(&options);
    options.steps = 3;
    options.batch = 16;
    options.threads = 1;
    options.checkpoint = job->checkpoint;
    options.checkpoint_every = 2;
    DFO_GO(dfo_model_prepare_data(model, data));
    DFO_GO(dfo_model_loss(model, &loss));
    DFO_GO(dfo_fit(loss, data, NULL, 0, &options, &report));
fail:
    dfo_loss_free(loss);
    return status;
}

static dfo_status make(dfo_ctx *ctx, const struct job *job, dfo_model **out)
{
    json_t *config = NULL;
    *out = NULL;
    DFO_TRY(dfoi_json_parse(ctx, job->config, strlen(job->config), "configuration", &config));
    dfo_status status = dfo_model_new(ctx, config, dfo_shape_vector(2), 0, 7, out);
    json_decref(config);
    return status;
}

static dfo_status use(dfo_ctx *ctx, const dfo_model *model)
{
    dfo_status status;
    dfo_model_plan *plan = NULL;
    dfo_real x[6] = {0.5, -0.25, 1, 2, -1, 0}, gx[6];
    double logp[3];
    DFO_GO(dfo_model_plan_new(ctx, model, 1, &plan));
    DFO_GO(dfo_model_log_prob(plan, 0, dfo_batch_of(x, 3, 2), NULL, logp));
    DFO_GO(dfo_model_decode(plan, 0, dfo_batch_of(x, 3, 2), NULL, NULL));
    DFO_GO(dfo_model_log_prob_grad(plan, 0, dfo_batch_of(x, 3, 2), NULL, logp, dfo_batch_of(gx, 3, 2), NULL));
    DFO_GO(dfo_model_sample(plan, 1, 0, dfo_batch_of(x, 3, 2), NULL, 1.0));
fail:
    dfo_model_plan_free(plan);
    return status;
}

static dfo_status life(dfo_ctx *ctx, void *data)
{
    struct job *job = data;
    dfo_status status;
    dfo_model *model = NULL, *loaded = NULL;
    dfo_source *rows = NULL;
    DFO_GO(make(ctx, job, &model));
    DFO_GO(dfo_source_rows(ctx, dfo_batch_of(job->rows, ROWS, 2), &rows));
    if (job->fit)
        DFO_GO(train(model, rows, job));
    DFO_GO(dfo_model_save(model, job->model));
    DFO_GO(dfo_model_load(ctx, job->model, &loaded));
    DFO_GO(use(ctx, loaded));
fail:
    dfo_source_free(rows);
    dfo_model_free(loaded);
    dfo_model_free(model);
    return status;
}

static const char *const configs[] = {
    "{\"flow\":\"realnvp\",\"layers\":2,\"hidden\":4}",
    "{\"flow\":\"nsf\",\"layers\":1,\"hidden\":4,\"bins\":3}",
    "{\"flow\":\"nice\",\"layers\":2,\"hidden\":4}",
};

static struct job job_of(int config, int fit)
{
    static char model[256], checkpoint[256];
    struct job job = {.config = configs[config], .fit = fit};
    strncpy(model, test_tmp_file("model.safetensors"), sizeof model - 1);
    strncpy(checkpoint, test_tmp_file("model.ckpt"), sizeof checkpoint - 1);
    job.model = model;
    job.checkpoint = checkpoint;
    test_rng rng = test_rng_new(test_seed());
    for (size_t i = 0; i < ROWS * 2; i++)
        job.rows[i] = (dfo_real)test_rng_normal(&rng);
    return job;
}

START_TEST(memory)
{
    struct job job = job_of(_i, 0);
    oom_check(job.config, OOM_ALL, life, &job);
}
END_TEST

START_TEST(memory_of_training)
{
    struct job job = job_of(0, 1);
    oom_check("training", OOM_OURS, life, &job);
}
END_TEST

/* The old model is one of another configuration.  */
static void put_old(void *data)
{
    struct job *job = data, old = *job;
    dfo_ctx *ctx;
    dfo_model *model;
    old.config = configs[2];
    ck_assert(dfo_ctx_new(&ctx) == DFO_OK);
    ck_assert_msg(make(ctx, &old, &model) == DFO_OK && dfo_model_save(model, job->model) == DFO_OK, "%s",
                  dfo_ctx_error(ctx));
    dfo_model_free(model);
    dfo_ctx_free(ctx);
    remove(job->checkpoint);
}

static int is_whole(void *data, int killed)
{
    struct job *job = data;
    dfo_ctx *ctx;
    dfo_model *model = NULL;
    (void)killed;
    ck_assert(dfo_ctx_new(&ctx) == DFO_OK);
    int good = dfo_model_load(ctx, job->model, &model) == DFO_OK && use(ctx, model) == DFO_OK;
    dfo_model_free(model);
    dfo_ctx_free(ctx);
    return good;
}

START_TEST(files)
{
    struct job job = job_of(0, _i);
    faults f = {.what = _i ? "training with checkpoints, saving, loading" : "saving and loading a model",
                .work = life, .reset = put_old, .whole = is_whole, .data = &job,
                .folder = _i ? NULL : test_tmp()};            /* a finished checkpoint may stay */
    faults_check(&f);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("faults of models");
    TCase *tests = tcase_create("models");
    tcase_set_timeout(tests, 300);
    tcase_add_loop_test(tests, memory, 0, 3);
    tcase_add_test(tests, memory_of_training);
    tcase_add_loop_test(tests, files, 0, 2);
    suite_add_tcase(suite, tests);
    return test_run(suite);
}

/* The eight tasks of simulation-based inference of sbibm (Lueckmann et al. 2021, appendix T): priors, simulators, likelihoods.  */
#ifndef SBITASKS_H
#define SBITASKS_H

#include <stddef.h>

#include <diffeo/ctx.h>
#include <diffeo/rng.h>

enum { SBI_D = 10, SBI_M = 20 };   /* the most parameters, and numbers of an observation */

enum sbi_prior { SBI_NORMAL, SBI_UNIFORM, SBI_LOG_NORMAL, SBI_SMOOTH };

struct sbi_task {
    const char *name;
    size_t d, m;                   /* parameters, numbers of an observation */
    enum sbi_prior prior;
    double a[2], b[2];             /* mean and deviation (of the logarithm), or bounds; parameter j has the (j mod 2)'th */
    double shift;                  /* nets are given log(shift + x); 0: x */
    size_t rows;                   /* of a reference posterior that the likelihood is checked on */
    void   (*simulate)(const double *theta, dfo_key key, double *x);
    double (*log_likelihood)(const double *theta, const double *x);    /* up to a constant */
    double (*edge)(const double *theta, const double *x);              /* 0 where the likelihood jumps to 0; NULL: nowhere */
};

extern const struct sbi_task sbi_tasks[];
extern const size_t sbi_count;

/* Once, before anything else; what goes wrong ends the program.  */
void sbi_start(dfo_ctx *ctx);

/* NULL: no such task.  */
const struct sbi_task *sbi_task_named(const char *name);

/* Parameters of the prior, a function of key; its log density up to a constant.  */
void   sbi_draw(const struct sbi_task *task, dfo_key key, double *theta);
double sbi_log_prior(const struct sbi_task *task, const double *theta);

/* A parameter on the whole line (logit between bounds, log), and back.  */
double sbi_free(const struct sbi_task *task, size_t j, double theta);
double sbi_back(const struct sbi_task *task, size_t j, double z);

#endif

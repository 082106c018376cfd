/* The one place with threads: OpenMP, or pthreads made for the call (--without-openmp).  */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#ifdef HAVE_CONFIG_H
#include <config.h>
#endif
#include <sched.h>
#include <stdatomic.h>
#include <unistd.h>

#include "base/par_impl.h"

#ifndef DFOI_OPENMP
#include <pthread.h>
#endif

#define MAX_THREADS 256

struct job {
    dfoi_task     task;
    void         *data;
    size_t        n;
    atomic_size_t next;
};

static void work(struct job *job, int worker)
{
    for (;;) {
        size_t i = atomic_fetch_add(&job->next, 1);
        if (i >= job->n)
            return;
        job->task(job->data, i, worker);
    }
}

#ifdef DFOI_OPENMP
static void spread(struct job *job, int threads)
{
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int w = 0; w < threads; w++)
        work(job, w);
}
#else
struct helper {
    struct job *job;
    int         worker;
    pthread_t   thread;
};

static void *help(void *data)
{
    struct helper *helper = data;
    work(helper->job, helper->worker);
    return NULL;
}

static void spread(struct job *job, int threads)
{
    struct helper helper[MAX_THREADS];
    int made = 1;
    while (made < threads) {
        helper[made].job = job;
        helper[made].worker = made;
        if (pthread_create(&helper[made].thread, NULL, help, &helper[made]))
            break;                              /* the others do its share */
        made++;
    }
    work(job, 0);
    while (--made > 0)
        pthread_join(helper[made].thread, NULL);
}
#endif

void dfoi_par_for(int threads, size_t n, dfoi_task task, void *data)
{
    struct job job = {task, data, n, 0};
    if (threads > MAX_THREADS)
        threads = MAX_THREADS;
    if ((size_t)threads > n)
        threads = (int)n;
    if (threads <= 1)
        work(&job, 0);
    else
        spread(&job, threads);
}

int dfoi_cores(void)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) == 0) {
        int n = CPU_COUNT(&set);
        return n < 1 ? 1 : n > MAX_THREADS ? MAX_THREADS : n;
    }
    return 1;
}

void dfoi_yield(void)
{
    sched_yield();
}

/* The context's fields: for ctx.c and mem.c alone.  */
#ifndef DFOI_CTX_STATE_H
#define DFOI_CTX_STATE_H

#include <stdatomic.h>
#include "base/ctx_impl.h"

struct dfo_ctx {
    dfo_alloc     alloc;
    int           threads;
    size_t        memory_limit;
    const volatile int *stop;
    atomic_size_t bytes, peak;
    dfo_log_fn    log;
    void         *log_data;
    dfo_status    status;
    char          text[DFOI_TEXT];
};

#endif

/* What the files of the kernel net share: kernel.c makes it, kernel_pass.c holds the passes.  Private.  */
#ifndef DFOI_KERNEL_IMPL_H
#define DFOI_KERNEL_IMPL_H

#include <diffeo/net.h>
#include "base/real_impl.h"
#include "nn/kernel_kern_impl.h"

typedef struct dfoi_kernel_net {
    dfoi_kernel_kind kind;
    size_t points;
    double last_init;
    size_t z, log_length, a;           /* offsets: (points, in), (in), (out, points) */
} dfoi_kernel_net;

size_t dfoi_kernel_scratch(const dfo_net *net, size_t rows);
size_t dfoi_kernel_acts(const dfo_net *net, size_t rows);
dfo_status dfoi_kernel_forward(const dfo_net *net, dfo_run *run, const dfo_cond *in, dfo_block out, dfo_real *acts);
dfo_status dfoi_kernel_backward(const dfo_net *net, dfo_run *run, const dfo_cond *in, dfo_block gout, dfo_cond *gin,
                                const dfo_real *acts);
dfo_status dfoi_kernel_jvp(const dfo_net *net, dfo_run *run, const dfo_cond *in, const dfo_cond *din, dfo_block out,
                           dfo_block dout, dfo_real *acts);
dfo_status dfoi_kernel_jvp_backward(const dfo_net *net, dfo_run *run, const dfo_cond *in, const dfo_cond *din,
                                    dfo_block gout, dfo_block gdout, dfo_cond *gin, dfo_cond *gdin, const dfo_real *acts);

#endif

/* The end of a loss.  */
#include <diffeo/loss.h>
#include "base/ctx_impl.h"

void dfo_loss_free(dfo_loss *loss)
{
    if (!loss)
        return;
    if (loss->ops->free)
        loss->ops->free(loss);
    dfoi_free(loss->ctx, loss);
}

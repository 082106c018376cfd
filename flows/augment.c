/* Augmentation of images: a shift by up to k pixels each way (what comes in from outside is 0) and a mirror image
 * for half of the rows.  */
#include <string.h>

#include <diffeo/rng.h>
#include "classifier_impl.h"

/* A whole number from -k to k.  */
static long within(double u, size_t k)
{
    return (long)(u * (double)(2 * k + 1)) - (long)k;
}

static void move(dfo_shape s, long down, long right, int mirror, const dfo_real *from, dfo_real *to)
{
    for (size_t c = 0; c < s.c; c++)
        for (size_t y = 0; y < s.h; y++) {
            long at = (long)y - down;
            for (size_t x = 0; x < s.w; x++) {
                long left = (long)(mirror ? s.w - 1 - x : x) - right;
                int inside = at >= 0 && at < (long)s.h && left >= 0 && left < (long)s.w;
                to[(c * s.h + y) * s.w + x] = inside ? from[(c * s.h + (size_t)at) * s.w + (size_t)left] : 0;
            }
        }
}

void dfoi_augment(dfo_shape shape, size_t shift, int flip, dfo_key key, dfo_batch x, dfo_real *room)
{
    uint64_t first = key.row;
    for (size_t i = 0; i < x.n; i++) {
        double u[3];
        key.row = first + i;
        dfo_draw_uniform(key, 0, 3, u);
        memcpy(room, dfo_row(x, i), x.d * sizeof *room);
        move(shape, within(u[0], shift), within(u[1], shift), flip && u[2] < 0.5, room, dfo_row(x, i));
    }
}

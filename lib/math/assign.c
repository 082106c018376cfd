/* The assignment problem by shortest augmenting paths; rows and columns are counted from 1, column 0 stands for none.  */
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "math/assign_impl.h"

struct work {
    size_t   n;
    const double *cost;
    double  *row, *column;             /* potentials */
    double  *least;                    /* of each column, the shortest way to it */
    int64_t *owner, *from, *done;      /* of each column: its row, the column before it on the way, whether it is reached */
};

/* The next column on the shortest way from those that are reached.  */
static size_t advance(struct work *w, size_t at)
{
    size_t i = (size_t)w->owner[at], best = 0;
    double step = INFINITY;
    for (size_t j = 1; j <= w->n; j++) {
        if (w->done[j])
            continue;
        double reduced = w->cost[(i - 1) * w->n + j - 1] - w->row[i] - w->column[j];
        if (reduced < w->least[j]) {
            w->least[j] = reduced;
            w->from[j] = (int64_t)at;
        }
        if (w->least[j] < step || !best) {
            step = w->least[j];
            best = j;
        }
    }
    for (size_t j = 0; j <= w->n; j++)
        if (w->done[j]) {
            w->row[w->owner[j]] += step;
            w->column[j] -= step;
        } else {
            w->least[j] -= step;
        }
    return best;
}

void dfoi_assign(size_t n, const double *cost, double *room, size_t *to)
{
    size_t m = n + 1;
    struct work w = {n, cost, room, room + m, room + 2 * m, (int64_t *)(void *)(room + 3 * m), (int64_t *)(void *)(room + 4 * m),
                     (int64_t *)(void *)(room + 5 * m)};
    memset(room, 0, dfoi_assign_room(n) * sizeof *room);
    for (size_t i = 1; i <= n; i++) {
        size_t at = 0;
        w.owner[0] = (int64_t)i;
        for (size_t j = 0; j <= n; j++) {
            w.least[j] = INFINITY;
            w.done[j] = 0;
        }
        do {
            w.done[at] = 1;
            at = advance(&w, at);
        } while (w.owner[at]);
        for (size_t before; at; at = before) {
            before = (size_t)w.from[at];
            w.owner[at] = w.owner[before];
        }
    }
    for (size_t j = 1; j <= n; j++)
        to[w.owner[j] - 1] = j - 1;
}

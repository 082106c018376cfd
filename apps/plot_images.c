/* Grids of images for diffeo plot: the first of a data set, or draws from a model, a line for each class.  */
#include <stdlib.h>
#include <string.h>

#include <diffeo/plot.h>
#include "plot_images.h"

#define MOST 100                       /* images in a grid */
#define A_LINE 10                      /* draws of a class */
#define SIDE 64                        /* smaller images are magnified to about this many pixels */

static int draw(const struct common *c, dfo_batch x, dfo_shape shape, uint32_t levels, size_t columns, const char *path)
{
    size_t d = x.d, n = x.n, longest = shape.h > shape.w ? shape.h : shape.w;
    unsigned char *pixel = malloc(n * d);
    if (!pixel)
        return usage_error(c, "out of memory"), EXIT_FAILED;
    double scale = levels == 65536 ? 1.0 / 257 : 1;        /* 65535 becomes 255 */
    for (size_t i = 0; i < n * d; i++) {
        double v = scale * (double)dfo_row(x, i / d)[i % d] + 0.5;
        pixel[i] = (unsigned char)(!(v > 0) ? 0 : v > 255 ? 255 : v);
    }
    dfo_plot_images images = {.pixel = pixel, .n = n, .c = shape.c, .h = shape.h, .w = shape.w, .columns = columns,
                              .gap = 2, .zoom = longest < SIDE ? SIDE / longest : 1};
    dfo_status status = dfo_plot_images_png(c->ctx, &images, path);
    free(pixel);
    return status ? failed(c) : 0;
}

int plot_image_data(const struct common *c, const struct input *in, const char *path)
{
    size_t width = dfo_shape_size(in->info.shape), d = dfo_shape_size(in->rows.shape);
    size_t n = in->info.rows < MOST ? (size_t)in->info.rows : MOST;
    dfo_real *x = malloc(n * width * sizeof *x);
    if (!x)
        return usage_error(c, "out of memory"), EXIT_FAILED;
    int status = read_chunk(c, in, 0, n, x) ? failed(c) : 0;
    if (!status)
        status = draw(c, dfo_batch_columns(dfo_batch_of(x, n, width), 0, d), in->rows.shape, in->rows.levels, 0, path);
    free(x);
    return status;
}

int plot_image_model(const struct common *c, dfo_model *model, dfo_model_plan *plan, const char *path)
{
    size_t d = dfo_model_features(model), classes = dfo_model_context(model);
    size_t n = classes ? A_LINE * (classes < MOST / A_LINE ? classes : MOST / A_LINE) : MOST;
    dfo_real *x = malloc(n * d * sizeof *x), *hot = calloc(n * (classes + 1), sizeof *hot);
    dfo_cond cond = {0};
    int status = 0;
    if (classes && hot) {
        for (size_t i = 0; i < n; i++)
            hot[i * classes + i / A_LINE] = 1;
        cond.n = 1;
        cond.part[0].rows = dfo_batch_of(hot, n, classes);
        cond.part[0].shape = dfo_shape_vector(classes);
    }
    if (!x || !hot)
        status = (usage_error(c, "out of memory"), EXIT_FAILED);
    else if (dfo_model_sample(plan, c->seed, 0, dfo_batch_of(x, n, d), &cond, 1))
        status = failed(c);
    else
        status = draw(c, without_frame(model, dfo_batch_of(x, n, d)), model_picture(model), model_levels(model), classes ? A_LINE : 0, path);
    free(x);
    free(hot);
    return status;
}

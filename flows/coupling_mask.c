/* Which features of a row a coupling lets pass.  By features:
 *
 *     half          the first d/2            alternate      the even ones
 *     none          nothing                  [0,1,…]        those at a 1
 *
 * and for images, the same for all pixels or for all channels:
 *
 *     channels      the first c/2 channels, one more of an odd number
 *     checkerboard  pixels (y, x) with odd y + x
 *
 * "-swapped" behind a name: the others instead.  Where a name leaves nothing to transform, because there is a
 * single feature, channel or pixel, nothing passes.  */
#include <string.h>

#include "coupling_impl.h"

static int is(const json_t *mask, const char *name)
{
    const char *text = json_string_value(mask);
    return text && !strncmp(text, name, strlen(name));
}

/* 1: feature j passes.  */
static int passes(const json_t *mask, dfo_shape shape, size_t j)
{
    size_t plane = shape.h * shape.w, d = shape.c * plane, pixel = j % plane;
    if (json_is_array(mask))
        return (int)json_integer_value(json_array_get(mask, j));
    int swapped = strstr(json_string_value(mask), "-swapped") != NULL;
    if (is(mask, "none"))
        return 0;
    if (is(mask, "channels"))
        return shape.c == 1 ? 0 : (j / plane < (shape.c + 1) / 2) != swapped;
    if (is(mask, "checkerboard"))
        return plane == 1 ? 0 : ((pixel / shape.w + pixel % shape.w) % 2 == 1) != swapped;
    if (d == 1)
        return 0;
    return (is(mask, "half") ? j < d / 2 : j % 2 == 0) != swapped;
}

static dfo_status check_mask(dfo_ctx *ctx, const json_t *mask, size_t d)
{
    static const char *const known[] = {"half", "half-swapped", "alternate", "alternate-swapped", "channels",
                                        "channels-swapped", "checkerboard", "checkerboard-swapped", "none"};
    const char *name = json_string_value(mask);
    for (size_t i = 0; name && i < sizeof known / sizeof *known; i++)
        if (!strcmp(name, known[i]))
            return DFO_OK;
    if (name || !json_is_array(mask))
        return dfoi_fail(ctx, DFO_EARG, "mask: expected half, alternate, channels, checkerboard (-swapped), none or "
                         "an array of 0 and 1%s%s", name ? ", got " : "", name ? name : "");
    if (json_array_size(mask) != d)
        return dfoi_fail(ctx, DFO_EARG, "mask: expected %zu entries, got %zu", d, json_array_size(mask));
    for (size_t j = 0; j < d; j++) {
        const json_t *v = json_array_get(mask, j);
        if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) > 1)
            return dfoi_fail(ctx, DFO_EARG, "mask: entry %zu is not 0 or 1", j);
    }
    return DFO_OK;
}

/* What of an image is transformed: whole channels, or some pixels of every one.  */
static dfo_status set_image(dfo_ctx *ctx, dfo_shape shape, dfoi_mask *m)
{
    size_t plane = shape.h * shape.w;
    m->image = is(m->json, "channels") || is(m->json, "checkerboard") || is(m->json, "none");
    if (!m->image)
        return DFO_OK;
    m->first_b = m->b[0] / plane;
    m->channels_b = m->b[m->nb - 1] / plane + 1 - m->first_b;
    m->pixels = m->nb / m->channels_b;
    if (m->pixels == plane)
        return DFO_OK;
    DFO_TRY(dfoi_alloc(ctx, m->pixels, sizeof *m->pixel, &m->pixel));
    for (size_t k = 0; k < m->pixels; k++)
        m->pixel[k] = m->b[k];
    return DFO_OK;
}

dfo_status dfoi_mask_new(dfo_ctx *ctx, const json_t *config, dfo_shape shape, dfoi_mask *m)
{
    const json_t *given = json_object_get(config, "mask");
    size_t d = dfo_shape_size(shape);
    m->json = given ? json_deep_copy(given) : json_string("half");
    if (!m->json)
        return dfoi_fail(ctx, DFO_EMEM, "out of memory: mask");
    DFO_TRY(check_mask(ctx, m->json, d));
    DFO_TRY(dfoi_alloc(ctx, d, sizeof *m->a, &m->a));
    DFO_TRY(dfoi_alloc(ctx, d, sizeof *m->b, &m->b));
    for (size_t j = 0; j < d; j++)
        if (passes(m->json, shape, j))
            m->a[m->na++] = j;
        else
            m->b[m->nb++] = j;
    if (!m->nb)
        return dfoi_fail(ctx, DFO_EARG, "mask: nothing left to transform");
    m->first_a = m->na ? m->a[0] : 0;
    m->run_a = !m->na || m->a[m->na - 1] - m->a[0] == m->na - 1;
    return set_image(ctx, shape, m);
}

void dfoi_mask_drop_lists(dfo_ctx *ctx, dfoi_mask *m)
{
    dfoi_free(ctx, m->a);
    dfoi_free(ctx, m->b);
    m->a = m->b = NULL;
}

void dfoi_mask_free(dfo_ctx *ctx, dfoi_mask *m)
{
    dfoi_mask_drop_lists(ctx, m);
    dfoi_free(ctx, m->pixel);
    json_decref(m->json);
}

/* Which features of a row a coupling lets pass.  By features:
 *
 *     half          the first d/2            alternate      the even ones
 *     none          nothing                  [0,1,…]        those at a 1
 *
 * and for images, the same for all pixels or for all channels:
 *
 *     channels      the first c/2 channels, one more of an odd number
 *     checkerboard  pixels (y, x) with odd y + x, half of them rounded down
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

/* How many of n features, channels or pixels pass: `first` of them, or with swapped the others; none of one.  */
static size_t passing(size_t n, size_t first, int swapped)
{
    return n < 2 ? 0 : swapped ? n - first : first;
}

/* What passes, by arithmetic: rows may be long, and a net of images needs no more than this.  */
static void count(dfo_shape shape, dfoi_mask *m)
{
    size_t plane = shape.h * shape.w, d = shape.c * plane;
    int swapped = m->swapped;
    m->channels_b = shape.c;
    m->pixels = plane;
    if (is(m->json, "channels")) {
        size_t channels = passing(shape.c, (shape.c + 1) / 2, swapped);
        m->na = channels * plane;
        m->channels_b = shape.c - channels;
        m->first_b = swapped ? 0 : channels;
        m->first_a = channels && swapped ? m->channels_b * plane : 0;
    } else if (is(m->json, "checkerboard")) {
        size_t pixels = passing(plane, plane / 2, swapped);
        m->na = pixels * shape.c;
        m->pixels = plane - pixels;
        m->board = pixels > 0;
    } else if (is(m->json, "half")) {
        m->na = passing(d, d / 2, swapped);
    } else if (is(m->json, "alternate")) {
        m->na = passing(d, (d + 1) / 2, swapped);
    }
    for (size_t j = 0; j < json_array_size(m->json); j++)
        m->na += json_integer_value(json_array_get(m->json, j)) == 1;
    m->nb = d - m->na;
    m->image = is(m->json, "channels") || is(m->json, "checkerboard") || is(m->json, "none");
}

dfo_status dfoi_mask_new(dfo_ctx *ctx, const json_t *config, dfo_shape shape, dfoi_mask *m)
{
    const json_t *given = json_object_get(config, "mask");
    m->json = given ? dfoi_json_copy(given) : json_string("half");
    if (!m->json)
        return dfoi_fail(ctx, DFO_EMEM, "out of memory: mask");
    DFO_TRY(check_mask(ctx, m->json, dfo_shape_size(shape)));
    m->swapped = json_is_string(m->json) && strstr(json_string_value(m->json), "-swapped");
    count(shape, m);
    return m->nb ? DFO_OK : dfoi_fail(ctx, DFO_EARG, "mask: nothing left to transform");
}

/* 1: feature j passes, where anything does.  */
static int passes(const dfoi_mask *m, dfo_shape shape, size_t j)
{
    size_t plane = shape.h * shape.w, pixel = j % plane;
    if (json_is_array(m->json))
        return (int)json_integer_value(json_array_get(m->json, j));
    if (is(m->json, "channels"))
        return (j / plane < (shape.c + 1) / 2) != m->swapped;
    if (is(m->json, "checkerboard"))
        return ((pixel / shape.w + pixel % shape.w) % 2 == 1) != m->swapped;
    return (is(m->json, "half") ? j < shape.c * plane / 2 : j % 2 == 0) != m->swapped;
}

dfo_status dfoi_mask_list(dfo_ctx *ctx, dfo_shape shape, dfoi_mask *m)
{
    size_t a = 0, b = 0, d = m->na + m->nb;
    DFO_TRY(dfoi_alloc(ctx, m->na, sizeof *m->a, &m->a));
    DFO_TRY(dfoi_alloc(ctx, m->nb, sizeof *m->b, &m->b));
    for (size_t j = 0; j < d; j++)
        if (m->na && passes(m, shape, j))
            m->a[a++] = j;
        else
            m->b[b++] = j;
    m->run_a = !a || m->a[a - 1] - m->a[0] == a - 1;
    return DFO_OK;
}

void dfoi_mask_free(dfo_ctx *ctx, dfoi_mask *m)
{
    dfoi_free(ctx, m->a);
    dfoi_free(ctx, m->b);
    json_decref(m->json);
}

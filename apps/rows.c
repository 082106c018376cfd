/* What the commands share that go through rows: --batch, frames of pictures, and where rows like the model's go: images as pictures or
 * arrays of whole numbers, others as tables with the columns' names.  */
#include <stdlib.h>
#include <string.h>

#include "cmd.h"

static error_t parse(int key, char *arg, struct argp_state *state)
{
    uint64_t *asked = state->input;
    if (key != 'B')
        return ARGP_ERR_UNKNOWN;
    *asked = to_u64(state, "--batch", arg, 1);
    return 0;
}

static const struct argp_option options[] = {
    {"batch", 'B', "N", 0, "Rows taken at a time, rounded up to whole blocks of the model (results do not depend on it)", 3},
    {0},
};

const struct argp batch_argp = {options, parse, NULL, NULL, NULL, NULL, NULL};

uint32_t model_levels(dfo_model *model)
{
    json_int_t levels = json_integer_value(json_object_get(dfo_model_notes(model), "levels"));
    return levels == 256 || levels == 65536 ? (uint32_t)levels : 0;
}

dfo_shape model_picture(dfo_model *model)
{
    json_int_t h = 0, w = 0;
    dfo_shape shape = dfo_model_shape(model);
    json_t *note = json_object_get(dfo_model_notes(model), "picture");
    if (note && !json_unpack(note, "[I, I]", &h, &w) && h > 0 && w > 0 && (size_t)h <= shape.h && (size_t)w <= shape.w) {
        shape.h = (size_t)h;
        shape.w = (size_t)w;
    }
    return shape;
}

dfo_batch without_frame(dfo_model *model, dfo_batch x)
{
    dfo_shape frame = dfo_model_shape(model), picture = model_picture(model);
    return dfo_shape_size(picture) == dfo_shape_size(frame) ? x : dfo_unframe(x, picture, frame);
}

static int ends(const char *text, const char *with)
{
    size_t n = strlen(text), m = strlen(with);
    return n >= m && !strcmp(text + n - m, with);
}

/* Text takes images too, as numbers.  */
static int is_text(const char *path, const char *format)
{
    return format ? !strcmp(format, "csv") : ends(path, ".csv") || !strcmp(path, "-") || !strncmp(path, "/dev/", 5);
}

error_t model_argument(int key, char *arg, struct argp_state *state, const char **model)
{
    if (key == ARGP_KEY_NO_ARGS)
        argp_error(state, "MODEL is missing");
    if (key != ARGP_KEY_ARG)
        return key == ARGP_KEY_NO_ARGS ? 0 : ARGP_ERR_UNKNOWN;
    if (*model)
        argp_error(state, "unexpected argument '%s'", arg);
    *model = arg;
    return 0;
}

int open_rows_out(const struct common *c, dfo_model *model, const char *path, const char *format, uint64_t rows,
                  size_t grid, dfo_sink **out)
{
    dfo_shape picture = model_picture(model);
    size_t d = dfo_shape_size(picture);
    uint32_t levels = model_levels(model);
    if (levels && !is_text(path, format))
        return dfo_sink_open_images(c->ctx, path, format, rows, picture, levels, grid, out)
                   ? failed(c) : 0;
    if (ends(path, ".png") || ends(path, "/") || (format && !strcmp(format, "png")))
        return usage_error(c, "%s: pictures are of images of 8 or 16 bits, which this model does not make", path),
               EXIT_FAILED;
    json_t *names = json_object_get(dfo_model_notes(model), "columns");
    const char **columns = calloc(d, sizeof *columns);
    if (!columns)
        return usage_error(c, "out of memory"), EXIT_FAILED;
    int named = json_array_size(names) == d;
    for (size_t i = 0; named && i < d; i++)
        named = (columns[i] = json_string_value(json_array_get(names, i))) != NULL;
    dfo_words *words;
    int bad = words_of(c, model, &words);
    if (!bad && dfo_sink_open(c->ctx, path, format, rows, d, named ? columns : NULL, out))
        bad = failed(c);
    if (!bad)
        dfo_sink_words(*out, words);
    else
        dfo_words_free(words);
    free(columns);
    return bad;
}

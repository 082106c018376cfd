/* What the commands share that go through rows: --batch, and where rows like the model's go.  */
#include <stdlib.h>

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
                  dfo_sink **out)
{
    size_t d = dfo_model_features(model);
    json_t *names = json_object_get(dfo_model_notes(model), "columns");
    const char **columns = calloc(d, sizeof *columns);
    if (!columns)
        return usage_error(c, "out of memory"), EXIT_FAILED;
    int named = json_array_size(names) == d;
    for (size_t i = 0; named && i < d; i++)
        named = (columns[i] = json_string_value(json_array_get(names, i))) != NULL;
    dfo_status status = dfo_sink_open(c->ctx, path, format, rows, d, named ? columns : NULL, out);
    free(columns);
    return status ? failed(c) : 0;
}

/* Where a model's configuration comes from: a preset, a file, a checkpoint, --set, and what these leave to the data.  */
#include <string.h>

#include "train_config.h"

#define USUAL_LABEL_DROPOUT 0.1            /* of diffusion models of classes, as Ho and Salimans (2021) have it */

static int from_file(const struct common *c, const char *path, json_t **out)
{
    json_error_t error;
    *out = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    if (*out && json_is_object(*out))
        return 0;
    if (*out)
        return usage_error(c, "%s: expected an object", path), EXIT_FAILED;
    if (error.line > 0)
        return usage_error(c, "%s: line %d, column %d: %s", path, error.line, error.column, error.text), EXIT_FAILED;
    return usage_error(c, "%s", error.text), EXIT_FAILED;
}

static int from_checkpoint(const struct common *c, const char *path, json_t **out)
{
    char *text;
    if (dfo_checkpoint_extra(c->ctx, path, &text))
        return failed(c);
    *out = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    dfo_text_free(c->ctx, text);
    json_object_del(*out, "objective");            /* no setting: see train_target_extra */
    if (*out && json_is_object(*out))
        return 0;
    return usage_error(c, "%s: the checkpoint holds no configuration", path), EXIT_FAILED;
}

/* What a file does not say of a preset's settings is as the preset has it.  */
static int add_defaults(const struct common *c, json_t *config)
{
    const char *flow = json_string_value(json_object_get(config, "flow"));
    json_t *preset;
    if (!flow || !strcmp(flow, "custom"))
        return 0;
    if (dfo_preset_config(c->ctx, flow, &preset))
        return failed(c);
    int bad = json_object_update_missing(config, preset);
    json_decref(preset);
    return bad ? (usage_error(c, "out of memory: configuration"), EXIT_FAILED) : 0;
}

/* KEY=VALUE; dots go down: net.hidden=64.  The value is JSON, or else a string.  The key must exist.  */
static int apply(const struct common *c, json_t *config, const char *text)
{
    char key[256];
    const char *equals = strchr(text, '=');
    if (!equals || equals == text || (size_t)(equals - text) >= sizeof key)
        return usage_error(c, "--set: expected KEY=VALUE, got '%s'", text);
    memcpy(key, text, (size_t)(equals - text));
    key[equals - text] = 0;
    json_t *object = config;
    char *at = key, *dot;
    while ((dot = strchr(at, '.'))) {
        *dot = 0;
        object = json_object_get(object, at);
        if (!json_is_object(object))
            return usage_error(c, "--set %s: no group '%s' in the configuration", text, at);
        at = dot + 1;
    }
    if (object == config && !json_object_get(object, at)) {
        char known[512] = "";
        size_t used = 0;
        const char *name;
        json_t *value;
        json_object_foreach(config, name, value) {
            size_t length = strlen(name);
            if (used + length + 3 > sizeof known)
                break;
            memcpy(known + used, used ? ", " : "", used ? 2 : 0);
            used += used ? 2 : 0;
            memcpy(known + used, name, length + 1);
            used += length;
        }
        return usage_error(c, "--set: unknown key '%s'; known: %s", at, known);
    }
    json_t *value = json_loads(equals + 1, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL);
    if (!value)
        value = json_string(equals + 1);
    if (json_object_set_new(object, at, value))
        return usage_error(c, "--set %s: the value is not text", text);
    return 0;
}

int train_config_read(const struct common *c, const struct train_config *from, const char *resume, json_t **out)
{
    size_t n = from->flow ? strlen(from->flow) : 0;
    int status = 0;
    *out = NULL;
    if (resume && !from->flow)
        status = from_checkpoint(c, resume, out);
    else if (n > 5 && !strcmp(from->flow + n - 5, ".json"))
        status = (status = from_file(c, from->flow, out)) ? status : add_defaults(c, *out);
    else if (dfo_preset_config(c->ctx, from->flow, out))
        status = failed(c), status = EXIT_USAGE;
    char solver[SOLVER_SETTINGS][64];
    int settings = solver_settings(c, solver);
    for (int i = 0; i < settings && !status; i++)
        status = apply(c, *out, solver[i]);
    for (int i = 0; i < from->sets && !status; i++)
        status = apply(c, *out, from->set[i]);
    return status;
}

/* Classes are 0 and 1 as it is; what a model without the key begins with stays as it was.  */
static int standardises(const struct input *in, const dfo_model *start)
{
    const dfo_flow *flow = start ? dfo_model_flow(start) : NULL;
    return in->context_d && !in->classes && !in->label_column && (!flow || dfo_flow_standardises_context(flow));
}

int train_config_fill(const struct common *c, const struct input *in, const dfo_model *start, json_t *config)
{
    if (json_is_null(json_object_get(config, "classes"))) {
        if (!in->classes)
            return usage_error(c, "a classifier is trained with --labels");
        json_object_set_new(config, "classes", json_integer((json_int_t)in->classes));
    }
    if (json_is_null(json_object_get(config, "levels")))
        json_object_set_new(config, "levels", json_integer(in->rows.discrete ? (json_int_t)in->rows.levels : 0));
    if (json_is_null(json_object_get(config, "label_dropout")))
        json_object_set_new(config, "label_dropout", json_real(in->classes && !in->label_column ? USUAL_LABEL_DROPOUT : 0));
    if (json_is_null(json_object_get(config, "condition")) && in->context_d)
        json_object_set_new(config, "condition", json_string(standardises(in, start) ? "standardise" : "raw"));
    json_t *values = json_object_get(config, "values");        /* of presets for images; 0: the data's */
    if (in->rows.discrete && json_is_integer(values) && !json_integer_value(values))
        json_object_set_new(config, "values", json_integer((json_int_t)in->rows.levels));
    return 0;
}

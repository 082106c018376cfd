/* diffeo info: what a model file or a preset is.  */
#include <string.h>

#include "cmd.h"

struct options {
    struct common common;
    const char *model, *preset;
};

enum { PRESET = 256 };

static const struct argp_option options_list[] = {
    {"preset", PRESET, "NAME", 0, "Print a preset's configuration: that is the schema", 2},
    {0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;
    switch (key) {
    case ARGP_KEY_INIT: state->child_inputs[0] = &o->common; return 0;
    case PRESET: o->preset = arg; return 0;
    case ARGP_KEY_ARG:
        if (o->model)
            argp_error(state, "unexpected argument '%s'", arg);
        o->model = arg;
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

static int show_preset(struct options *o)
{
    json_t *config;
    if (dfo_preset_config(o->common.ctx, o->preset, &config))
        return failed(&o->common);
    if (o->common.json)
        return print_json(&o->common, config);
    json_dumpf(config, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(10));
    putchar('\n');
    json_decref(config);
    return 0;
}

static json_t *summary(struct options *o, dfo_model *model, json_t *architecture, const char *hash)
{
    dfo_shape s = dfo_model_shape(model);
    dfo_store *store = dfo_model_store(model);
    (void)o;
    return json_pack("{s:s, s:[I,I,I], s:I, s:I, s:I, s:s, s:O, s:O, s:O}", "kind", dfo_model_kind(model), "shape",
                     (json_int_t)s.c, (json_int_t)s.h, (json_int_t)s.w, "context",
                     (json_int_t)dfo_model_context(model), "parameters", (json_int_t)dfo_store_parameters(store),
                     "arrays", (json_int_t)dfo_store_entries(store), "hash", hash, "config", dfo_model_config(model),
                     "notes", dfo_model_notes(model), "architecture", architecture);
}

static void print_layers(json_t *bijector, int depth)
{
    size_t i;
    json_t *layer;
    printf("%*s%s", 2 * depth, "", json_string_value(json_object_get(bijector, "type")));
    json_t *mask = json_object_get(bijector, "mask");
    if (json_is_string(mask))
        printf(" (mask %s)", json_string_value(mask));
    json_t *net = json_object_get(bijector, "net");
    if (net)
        printf(": %s", json_string_value(json_object_get(net, "type")));
    putchar('\n');
    json_array_foreach(json_object_get(bijector, "layers"), i, layer)
        print_layers(layer, depth + 1);
    if (json_object_get(bijector, "layer"))
        print_layers(json_object_get(bijector, "layer"), depth + 1);
}

static int standardised(const dfo_model *model)
{
    const dfo_flow *flow = dfo_model_flow(model);
    return flow && dfo_flow_standardises_context(flow);
}

static int show_model(struct options *o)
{
    struct common *c = &o->common;
    dfo_model *model;
    char hash[17];
    json_t *architecture = json_object();
    if (dfo_model_load(c->ctx, o->model, &model)) {
        json_decref(architecture);
        return failed(c);
    }
    int status = 0;
    if (dfo_model_hash(model, hash) || dfo_model_describe(model, architecture)) {
        status = failed(c);
    } else if (c->json) {
        status = print_json(c, summary(o, model, architecture, hash));
    } else {
        dfo_shape s = model_picture(model), frame = dfo_model_shape(model);
        printf("%s: a %s over ", o->model, dfo_model_kind(model));
        if (s.h * s.w > 1)
            printf("images of %zux%zux%zu (height, width, channels)", s.h, s.w, s.c);
        else
            printf("%zu features", dfo_model_features(model));
        if (model_levels(model))
            printf(" of %u levels", model_levels(model));
        if (dfo_shape_size(s) < dfo_shape_size(frame))
            printf(" in frames of %zux%zu", frame.h, frame.w);
        if (dfo_model_classes(model))
            printf(", of %zu classes", dfo_model_classes(model));
        else if (json_object_get(dfo_model_notes(model), "classes"))
            printf(" given %zu classes", dfo_model_context(model));
        else if (dfo_model_context(model))
            printf(" given %zu%s", dfo_model_context(model), standardised(model) ? ", standardised" : "");
        printf(", %zu parameters, hash %s\n", dfo_store_parameters(dfo_model_store(model)), hash);
        printf("configuration: ");
        json_dumpf(dfo_model_config(model), stdout, JSON_REAL_PRECISION(10));
        const char *part = dfo_model_classes(model) ? "head" : "base";
        printf("\n%s: ", part);
        json_dumpf(json_object_get(architecture, part), stdout, JSON_REAL_PRECISION(6));
        putchar('\n');
        print_layers(json_object_get(architecture, "bijector"), 0);
        printf("notes: ");
        json_dumpf(dfo_model_notes(model), stdout, JSON_REAL_PRECISION(8));
        putchar('\n');
    }
    json_decref(architecture);
    dfo_model_free(model);
    return status;
}

int CMD(cmd_info)(int argc, char **argv)
{
    static const struct argp_child children[] = {{&common_argp, 0, NULL, 0}, {0}};
    static const struct argp argp = {options_list, parse, "MODEL", "Describes a model file or a preset.", children,
                                     NULL, NULL};
    struct options o = {.common = {.command = "info", .argc = argc, .argv = argv}};
    if (argp_parse(&argp, argc, argv, 0, NULL, &o))
        return EXIT_USAGE;
    if (!o.model == !o.preset)
        return usage_error(&o.common, "expected a MODEL or --preset NAME");
    int status = common_start(&o.common);
    if (!status)
        status = o.preset ? show_preset(&o) : show_model(&o);
    return common_end(&o.common, status);
}

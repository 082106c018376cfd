/* Class labels on the command line: --labels, --labels-column, --class.  They become a condition of as many
 * features as there are classes, 1 in the label's place.  */
#include "cmd.h"

int words_of(const struct common *c, dfo_model *model, dfo_words **out)
{
    const json_t *note = json_object_get(dfo_model_notes(model), "words");
    dfo_words *words = NULL;
    *out = NULL;
    if (!json_is_array(note))
        return 0;
    if (dfo_words_new(c->ctx, &words))
        return failed(c);
    for (size_t j = 0; j < json_array_size(note); j++) {
        const json_t *list = json_array_get(note, j);
        char column[24];
        snprintf(column, sizeof column, "%zu", j + 1);
        for (size_t k = 0; k < json_array_size(list); k++) {
            const char *word = json_string_value(json_array_get(list, k));
            if (dfo_words_add(words, column, word ? word : "")) {
                dfo_words_free(words);
                return failed(c);
            }
        }
    }
    dfo_words_close(words);
    *out = words;
    return 0;
}

int labels_for(const struct common *c, struct input *in, const char *path, dfo_model *model)
{
    json_int_t classes = json_integer_value(json_object_get(dfo_model_notes(model), "classes"));
    const dfo_flow *flow = dfo_model_flow(model);
    in->classes = classes > 0 ? (size_t)classes : 0;
    in->missing = flow && dfo_flow_missing(flow) != DFO_MISSING_REFUSED;
    if ((in->labels || in->class) && (!in->classes || in->classes != dfo_model_context(model)))
        return usage_error(c, "%s was not trained with --labels: it knows no classes", path), EXIT_FAILED;
    return in->words ? 0 : words_of(c, model, &in->words);
}

/* The condition of the rows of `of` from the labels' file.  */
static int from_file(const struct common *c, struct input *in)
{
    dfo_source_options o = {.columns = in->labels_column};
    size_t classes;
    if (dfo_source_labels(c->ctx, in->labels, &o, &in->label, &classes))
        return failed(c);
    if (in->label_column) {
        in->classes = in->classes ? in->classes : classes;
        in->parts[1] = in->label;
        in->label = NULL;
        return 0;
    }
    if (in->classes && classes > in->classes)
        return usage_error(c, "%s: expected classes from 0 to %zu, found %zu", in->labels, in->classes - 1,
                           classes - 1), EXIT_FAILED;
    in->classes = in->classes ? in->classes : classes;
    return dfo_source_one_hot(c->ctx, in->label, in->classes, &in->parts[1]) ? failed(c) : 0;
}

int labels_open(const struct common *c, struct input *in, uint64_t rows)
{
    if (in->labels && in->class)
        return usage_error(c, "--labels and --class exclude each other");
    if (in->context || in->context_columns)
        return usage_error(c, "%s and a context exclude each other", in->class ? "--class" : "--labels");
    if (in->labels)
        return from_file(c, in);
    if (!in->classes)
        return usage_error(c, "--class goes with a model that was trained with --labels");
    if (in->class > in->classes)
        return usage_error(c, "--class: expected 0 to %zu, got %zu", in->classes - 1, in->class - 1);
    return dfo_source_class(c->ctx, in->class - 1, in->classes, rows, &in->parts[1]) ? failed(c) : 0;
}

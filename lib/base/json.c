/* Configuration objects: members with defaults, ranges and messages that name the key.  */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/ctx_impl.h"
#include "base/json_impl.h"

#define MAX_DEPTH 64

/* Brackets deeper than MAX_DEPTH, outside strings: jansson's own limit is 2048, too deep for our
 * recursion over layers.  */
static int too_deep(const char *text, size_t n)
{
    size_t depth = 0;
    int quoted = 0;
    for (size_t i = 0; i < n; i++) {
        char c = text[i];
        if (quoted) {
            if (c == '\\')
                i++;
            else if (c == '"')
                quoted = 0;
        } else if (c == '"') {
            quoted = 1;
        } else if (c == '{' || c == '[') {
            if (++depth > MAX_DEPTH)
                return 1;
        } else if ((c == '}' || c == ']') && depth) {
            depth--;
        }
    }
    return 0;
}

dfo_status dfoi_json_parse(dfo_ctx *ctx, const char *text, size_t n, const char *name, json_t **out)
{
    json_error_t error;
    *out = NULL;
    if (too_deep(text, n))
        return dfoi_fail(ctx, DFO_EFORMAT, "%s: JSON nested deeper than %d", name, MAX_DEPTH);
    /* jansson 2.14 aborts or crashes when memory ends while it reads: make sure that there is as much as the
     * worst text of this length takes.  */
    void *room;
    DFO_TRY(dfoi_alloc(ctx, n + 64, 80, &room));
    dfoi_free(ctx, room);
    *out = json_loadb(text, n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
    if (!*out && (!error.text[0] || json_error_code(&error) == json_error_out_of_memory))
        return dfoi_fail(ctx, DFO_EMEM, "%s: out of memory", name);     /* jansson says nothing then */
    if (!*out)
        return dfoi_fail(ctx, DFO_EFORMAT, "%s: line %d, column %d: %s", name, error.line, error.column,
                         error.text);
    return DFO_OK;
}

static dfo_status expected(dfo_ctx *ctx, const char *key, const char *what, const json_t *got)
{
    static const char *const type[] = {"an object", "an array", "a string", "an integer", "a number",
                                       "true", "false", "null"};
    return dfoi_fail(ctx, DFO_EARG, "%s: expected %s, got %s", key, what, type[json_typeof(got)]);
}

static dfo_status one_size(dfo_ctx *ctx, const json_t *v, const char *key, size_t low, size_t high, size_t *out)
{
    if (!json_is_integer(v))
        return expected(ctx, key, "an integer", v);
    json_int_t i = json_integer_value(v);
    if (i < 0 || (size_t)i < low)
        return dfoi_fail(ctx, DFO_EARG, "%s must be at least %zu, got %lld", key, low, (long long)i);
    if ((size_t)i > high)
        return dfoi_fail(ctx, DFO_EARG, "%s must be at most %zu, got %lld", key, high, (long long)i);
    *out = (size_t)i;
    return DFO_OK;
}

dfo_status dfoi_json_size(dfo_ctx *ctx, const json_t *object, const char *key, size_t fallback, size_t low,
                          size_t high, size_t *out)
{
    const json_t *v = json_object_get(object, key);
    *out = fallback;
    return v ? one_size(ctx, v, key, low, high, out) : DFO_OK;
}

static dfo_status one_real(dfo_ctx *ctx, const json_t *v, const char *key, double low, double high, double *out)
{
    if (!json_is_number(v))
        return expected(ctx, key, "a number", v);
    double x = json_number_value(v);
    if (!(x >= low && x <= high))
        return dfoi_fail(ctx, DFO_EARG, "%s must be from %g to %g, got %g", key, low, high, x);
    *out = x;
    return DFO_OK;
}

dfo_status dfoi_json_real(dfo_ctx *ctx, const json_t *object, const char *key, double fallback, double low,
                          double high, double *out)
{
    const json_t *v = json_object_get(object, key);
    *out = fallback;
    return v ? one_real(ctx, v, key, low, high, out) : DFO_OK;
}

dfo_status dfoi_json_bool(dfo_ctx *ctx, const json_t *object, const char *key, int fallback, int *out)
{
    const json_t *v = json_object_get(object, key);
    *out = fallback;
    if (v && !json_is_boolean(v))
        return expected(ctx, key, "true or false", v);
    if (v)
        *out = json_is_true(v);
    return DFO_OK;
}

dfo_status dfoi_json_u64(dfo_ctx *ctx, const json_t *object, const char *key, uint64_t fallback, uint64_t *out)
{
    size_t value;
    DFO_TRY(dfoi_json_size(ctx, object, key, (size_t)fallback, 0, SIZE_MAX, &value));
    *out = value;
    return DFO_OK;
}

dfo_status dfoi_json_string(dfo_ctx *ctx, const json_t *object, const char *key, const char *fallback,
                            const char **out)
{
    const json_t *v = json_object_get(object, key);
    *out = fallback;
    if (!v && !fallback)
        return dfoi_fail(ctx, DFO_EARG, "%s is missing", key);
    if (v && !json_is_string(v))
        return expected(ctx, key, "a string", v);
    if (v)
        *out = json_string_value(v);
    return DFO_OK;
}

dfo_status dfoi_json_choice(dfo_ctx *ctx, const json_t *object, const char *key, const char *const *list, size_t fallback, size_t *out)
{
    const char *text;
    char known[256] = "";
    size_t used = 0;
    DFO_TRY(dfoi_json_string(ctx, object, key, list[fallback], &text));
    for (*out = 0; list[*out]; ++*out) {
        if (!strcmp(list[*out], text))
            return DFO_OK;
        if (used < sizeof known)
            used += (size_t)snprintf(known + used, sizeof known - used, "%s%s", !used ? "" : list[*out + 1] ? ", " : " or ", list[*out]);
    }
    return dfoi_fail(ctx, DFO_EARG, "%s: expected %s, got %s", key, known, text);
}

dfo_status dfoi_json_word(dfo_ctx *ctx, const json_t *object, const char *key, const char *const *list, const char **out)
{
    size_t which;
    DFO_TRY(dfoi_json_choice(ctx, object, key, list, 0, &which));
    *out = list[which];
    return DFO_OK;
}

dfo_status dfoi_json_either(dfo_ctx *ctx, const json_t *object, const char *key, const char *no, const char *yes, int *out)
{
    const char *const list[] = {no, yes, NULL};
    size_t which;
    DFO_TRY(dfoi_json_choice(ctx, object, key, list, 0, &which));
    *out = which == 1;
    return DFO_OK;
}

dfo_status dfoi_json_sizes(dfo_ctx *ctx, const json_t *object, const char *key, size_t low, size_t high,
                           size_t capacity, size_t *out, size_t *n)
{
    const json_t *v = json_object_get(object, key);
    *n = 0;
    if (!v)
        return DFO_OK;
    if (!json_is_array(v)) {
        *n = 1;
        return one_size(ctx, v, key, low, high, out);
    }
    if (json_array_size(v) > capacity)
        return dfoi_fail(ctx, DFO_EARG, "%s: at most %zu entries, got %zu", key, capacity, json_array_size(v));
    for (*n = 0; *n < json_array_size(v); (*n)++)
        DFO_TRY(one_size(ctx, json_array_get(v, *n), key, low, high, &out[*n]));
    return DFO_OK;
}

dfo_status dfoi_json_reals(dfo_ctx *ctx, const json_t *object, const char *key, size_t n, double fallback,
                           double *out)
{
    const json_t *v = json_object_get(object, key);
    for (size_t i = 0; i < n; i++)
        out[i] = fallback;
    if (!v)
        return DFO_OK;
    if (!json_is_array(v)) {
        double x = 0;
        DFO_TRY(one_real(ctx, v, key, -HUGE_VAL, HUGE_VAL, &x));
        for (size_t i = 0; i < n; i++)
            out[i] = x;
        return DFO_OK;
    }
    if (json_array_size(v) != n)
        return dfoi_fail(ctx, DFO_EARG, "%s: expected %zu entries, got %zu", key, n, json_array_size(v));
    for (size_t i = 0; i < n; i++)
        DFO_TRY(one_real(ctx, json_array_get(v, i), key, -HUGE_VAL, HUGE_VAL, &out[i]));
    return DFO_OK;
}

dfo_status dfoi_json_keys(dfo_ctx *ctx, const json_t *object, const char *const *known)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)object, key, value) {
        const char *const *k = known;
        while (*k && strcmp(*k, key))
            k++;
        if (*k)
            continue;
        char list[512];
        size_t used = 0;
        list[0] = 0;
        for (k = known; *k; k++) {
            size_t length = strlen(*k);
            if (used + length + 3 > sizeof list)
                break;
            if (used) {
                memcpy(list + used, ", ", 2);
                used += 2;
            }
            memcpy(list + used, *k, length + 1);
            used += length;
        }
        return dfoi_fail(ctx, DFO_EARG, "unknown key '%s'; known: %s", key, list);
    }
    return DFO_OK;
}

dfo_status dfoi_json_set(dfo_ctx *ctx, json_t *object, const char *key, json_t *value)
{
    if (!object)
        json_decref(value);
    if (!object || !value || json_object_set_new(object, key, value))
        return dfoi_fail(ctx, DFO_EMEM, "out of memory: %s", key);
    return DFO_OK;
}

json_t *dfoi_json_copy(const json_t *value)
{
    json_t *copy = json_deep_copy(value);
    if (!copy || json_equal(copy, value))
        return copy;
    json_decref(copy);
    return NULL;
}

dfo_status dfoi_json_dump(dfo_ctx *ctx, const json_t *value, size_t flags, char **out)
{
    *out = NULL;
    size_t n = json_dumpb(value, NULL, 0, flags | JSON_ENCODE_ANY);
    if (!n)
        return dfoi_fail(ctx, DFO_EMEM, "out of memory: JSON text");
    DFO_TRY(dfoi_alloc(ctx, n + 1, 1, out));
    if (json_dumpb(value, *out, n, flags | JSON_ENCODE_ANY) != n) {     /* it allocates each time */
        dfoi_free(ctx, *out);
        *out = NULL;
        return dfoi_fail(ctx, DFO_EMEM, "out of memory: JSON text");
    }
    return DFO_OK;
}

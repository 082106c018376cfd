/* Reads the reference vectors (reference.h).  Arrays become doubles once, when asked for, and are
 * kept in a list until the file is closed.  */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "reference.h"

struct kept {
    struct kept *next;
    double data[];
};

struct ref_file {
    json_t *root;
    json_t *cases;
    struct kept *kept;
    char name[64];
};

ref_file *ref_open(const char *name)
{
    char path[1024];
    json_error_t error;
    ref_file *file = calloc(1, sizeof *file);
    ck_assert_ptr_nonnull(file);
    snprintf(file->name, sizeof file->name, "%s", name);
    snprintf(path, sizeof path, "%s/reference/%s.json", DFOI_TESTS_DIR, name);
    file->root = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    if (!file->root)
        ck_abort_msg("%s: line %d: %s", path, error.line, error.text);
    file->cases = json_object_get(file->root, "cases");
    if (json_array_size(file->cases) == 0)
        ck_abort_msg("%s: no cases", path);
    return file;
}

void ref_close(ref_file *file)
{
    while (file->kept) {
        struct kept *next = file->kept->next;
        free(file->kept);
        file->kept = next;
    }
    json_decref(file->root);
    free(file);
}

size_t ref_cases(const ref_file *file)
{
    return json_array_size(file->cases);
}

ref_case ref_at(ref_file *file, size_t i)
{
    ref_case c = {.file = file, .json = json_array_get(file->cases, i)};
    c.name = json_string_value(json_object_get(c.json, "name"));
    c.settings = json_object_get(c.json, "settings");
    if (!c.name)
        ck_abort_msg("%s: case %zu has no name", file->name, i);
    return c;
}

static json_t *find(json_t *at, const char *path)
{
    while (at && *path) {
        char key[64];
        size_t n = strcspn(path, ".");
        ck_assert_uint_lt(n, sizeof key);
        memcpy(key, path, n);
        key[n] = 0;
        at = json_object_get(at, key);
        path += n + (path[n] == '.');
    }
    return at;
}

ref_array ref_get(ref_case c, const char *path)
{
    ref_array a = {0};
    json_t *array = find(c.json, path);
    json_t *shape = json_object_get(array, "shape"), *data = json_object_get(array, "data");
    if (!data)
        return a;
    a.dims = json_array_size(shape);
    a.n = 1;
    ck_assert_uint_le(a.dims, sizeof a.shape / sizeof *a.shape);
    for (size_t i = 0; i < a.dims; i++) {
        a.shape[i] = (size_t)json_integer_value(json_array_get(shape, i));
        a.n *= a.shape[i];
    }
    if (a.n != json_array_size(data))
        ck_abort_msg("%s: %s: %s: %zu values, shape has %zu", c.file->name, c.name, path,
                     json_array_size(data), a.n);
    struct kept *kept = malloc(sizeof *kept + (a.n + 1) * sizeof(double));
    ck_assert_ptr_nonnull(kept);
    for (size_t i = 0; i < a.n; i++) {
        json_t *value = json_array_get(data, i);
        if (!json_is_number(value))
            ck_abort_msg("%s: %s: %s: value %zu is not a number", c.file->name, c.name, path, i);
        kept->data[i] = json_number_value(value);
    }
    kept->next = c.file->kept;
    c.file->kept = kept;
    a.data = kept->data;
    return a;
}

ref_array ref_need(ref_case c, const char *path)
{
    ref_array a = ref_get(c, path);
    if (!a.data)
        ck_abort_msg("%s: %s: no array %s", c.file->name, c.name, path);
    return a;
}

double ref_number(ref_case c, const char *path, double otherwise)
{
    json_t *value = find(c.json, path);
    if (json_is_boolean(value))
        return json_is_true(value) ? 1 : 0;
    return json_is_number(value) ? json_number_value(value) : otherwise;
}

const char *ref_text(ref_case c, const char *path, const char *otherwise)
{
    const char *text = json_string_value(find(c.json, path));
    return text ? text : otherwise;
}

double ref_tolerance(ref_case c, const char *key)
{
    json_t *own = json_object_get(json_object_get(c.json, "tolerance"), key);
    if (!own)
        own = json_object_get(json_object_get(c.file->root, "tolerance"), key);
    if (!json_is_number(own))
        ck_abort_msg("%s: %s: no tolerance %s", c.file->name, c.name, key);
    return json_number_value(own);
}

int ref_double_only(ref_case c)
{
    static const char *const word[] = {"extreme", "strong", "far", "large", "near_limit"};
    for (size_t i = 0; i < sizeof word / sizeof *word; i++)
        if (strstr(c.name, word[i]))
            return 1;
    return 0;
}

double ref_worst(size_t n, const double *got, const double *want)
{
    double worst = 0;
    for (size_t i = 0; i < n; i++) {
        double error = fabs(got[i] - want[i]) / (1 + fabs(want[i]));
        if (isnan(got[i]) != isnan(want[i]))
            error = INFINITY;
        if (error > worst)
            worst = error;
    }
    return worst;
}

/* jsonget FILE                      fails unless FILE holds exactly one JSON object and nothing else
 * jsonget FILE PATH                 prints the value at PATH ("history.0.loss"), strings without quotes
 * jsonget FILE PATH OP VALUE [TOL]  compares: == != (text or number), < <= > >=, ~ (|a-b| <= TOL), type
 *                                   (object array string integer real number true false null)
 * FILE may be - for standard input.  For shell tests: says what was expected and what came.  */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const json_t *at(const json_t *v, char *path)
{
    for (char *part = strtok(path, "."); v && part; part = strtok(NULL, ".")) {
        if (json_is_array(v))
            v = json_array_get(v, strtoul(part, NULL, 10));
        else
            v = json_object_get(v, part);
    }
    return v;
}

static void print(const json_t *v)
{
    if (json_is_string(v))
        puts(json_string_value(v));
    else {
        json_dumpf(v, stdout, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(17));
        putchar('\n');
    }
}

static const char *type_of(const json_t *v)
{
    static const char *const name[] = {"object", "array", "string", "integer", "real", "true", "false", "null"};
    return name[json_typeof(v)];
}

static int holds(const json_t *v, const char *op, const char *value, double tolerance)
{
    if (!strcmp(op, "type"))
        return !strcmp(type_of(v), value) || (!strcmp(value, "number") && json_is_number(v));
    char *end;
    double b = strtod(value, &end);
    if (json_is_number(v) && *value && !*end) {
        double a = json_number_value(v);
        return !strcmp(op, "==") ? a == b : !strcmp(op, "!=") ? a != b : !strcmp(op, "<") ? a < b :
               !strcmp(op, "<=") ? a <= b : !strcmp(op, ">") ? a > b : !strcmp(op, ">=") ? a >= b :
               !strcmp(op, "~") ? fabs(a - b) <= tolerance : 0;
    }
    const char *text = json_is_string(v) ? json_string_value(v) : type_of(v);
    return !strcmp(op, "==") ? !strcmp(text, value) : !strcmp(op, "!=") ? strcmp(text, value) != 0 : 0;
}

int main(int argc, char **argv)
{
    json_error_t error;
    if (argc != 2 && argc != 3 && argc != 5 && argc != 6) {
        fputs("usage: jsonget FILE [PATH [OP VALUE [TOLERANCE]]]\n", stderr);
        return 2;
    }
    json_t *root = strcmp(argv[1], "-") ? json_load_file(argv[1], JSON_REJECT_DUPLICATES, &error)
                                        : json_loadf(stdin, JSON_REJECT_DUPLICATES, &error);
    if (!root) {
        printf("%s: line %d: not one JSON value: %s\n", argv[1], error.line, error.text);
        return 1;
    }
    int code = 0;
    if (argc == 2) {
        code = !json_is_object(root);
        if (code)
            printf("%s: expected one JSON object, got %s\n", argv[1], type_of(root));
    } else {
        char path[512];
        snprintf(path, sizeof path, "%s", argv[2]);
        const json_t *v = at(root, path);
        if (!v) {
            printf("%s: no %s\n", argv[1], argv[2]);
            code = 1;
        } else if (argc == 3) {
            print(v);
        } else if (!holds(v, argv[3], argv[4], argc == 6 ? strtod(argv[5], NULL) : 0)) {
            printf("%s: %s: expected %s %s%s%s, got ", argv[1], argv[2], argv[3], argv[4],
                   argc == 6 ? " within " : "", argc == 6 ? argv[5] : "");
            print(v);
            code = 1;
        }
    }
    json_decref(root);
    return code;
}

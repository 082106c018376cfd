/* Reference vectors: JSON files under tests/reference, one object a file:
 *   {"what":..., "convention":..., "tolerance":{...}, "cases":[{"name":..., ...}, ...]}
 * Arrays are {"shape":[...], "data":[...]}, row-major doubles; every other object is a group.
 * A file that is missing or malformed fails the running test (ck_abort_msg).  Compiled once: no
 * dfo_real here.  */
#ifndef DFOI_TESTS_REFERENCE_H
#define DFOI_TESTS_REFERENCE_H

#include <jansson.h>
#include <stddef.h>

typedef struct ref_file ref_file;

typedef struct ref_array {
    const double *data;                 /* row-major; NULL where the file has no such array */
    size_t n;                           /* values in all */
    size_t dims;
    size_t shape[8];
} ref_array;

typedef struct ref_case {
    ref_file *file;
    json_t *json;                       /* borrowed */
    const char *name;
    json_t *settings;                   /* borrowed; NULL where the case has none */
} ref_case;

/* Opens tests/reference/NAME.json, e.g. NAME = "spline_rq".  */
ref_file *ref_open(const char *name);
void ref_close(ref_file *file);

size_t ref_cases(const ref_file *file);
ref_case ref_at(ref_file *file, size_t i);

/* The array at a path of keys joined by dots, such as "x", "params.widths" or "grad.seed_z".  Its
 * values live until ref_close.  ref_need fails the test where the array is absent.  */
ref_array ref_get(ref_case c, const char *path);
ref_array ref_need(ref_case c, const char *path);

/* A number, truth value (as 0 or 1) or text at a path such as "settings.bound".  */
double ref_number(ref_case c, const char *path, double otherwise);
const char *ref_text(ref_case c, const char *path, const char *otherwise);

/* The tolerance of that name: the case's own, else the file's; fails the test if neither has it.  */
double ref_tolerance(ref_case c, const char *key);

/* 1 for the cases that float cannot meet: named extreme, strong, far, large or near_limit.  */
int ref_double_only(ref_case c);

/* max |got - want| / (1 + |want|); infinity where one is NaN and the other not.  */
double ref_worst(size_t n, const double *got, const double *want);

#endif

/* Reading a configuration object with defaults and good messages (jansson).  Private.  */
#ifndef DFOI_JSON_IMPL_H
#define DFOI_JSON_IMPL_H

#include <stddef.h>
#include <stdint.h>
#include <jansson.h>
#include <diffeo/ctx.h>

/* Parses text; duplicate keys, depth over 64 and trailing rubbish are errors naming line and column.  */
dfo_status dfoi_json_parse(dfo_ctx *ctx, const char *text, size_t n, const char *name, json_t **out);

/* Reads a member; absent means the default.  Wrong types and ranges are DFO_EARG:
 * "bins must be at least 2, got 1".  */
dfo_status dfoi_json_size(dfo_ctx *ctx, const json_t *object, const char *key, size_t fallback, size_t low,
                          size_t high, size_t *out);
dfo_status dfoi_json_real(dfo_ctx *ctx, const json_t *object, const char *key, double fallback, double low,
                          double high, double *out);
dfo_status dfoi_json_bool(dfo_ctx *ctx, const json_t *object, const char *key, int fallback, int *out);
dfo_status dfoi_json_u64(dfo_ctx *ctx, const json_t *object, const char *key, uint64_t fallback, uint64_t *out);
/* *out is owned by the object.  fallback may be NULL: then the member is required.  */
dfo_status dfoi_json_string(dfo_ctx *ctx, const json_t *object, const char *key, const char *fallback,
                            const char **out);
/* The place of a text in a list, which NULL ends; absent: that of fallback.  "net: expected a, b or c, got d".  _word: the text itself,
 * of the list; absent: its first.  _either: 1 if it is the second of two; absent: 0.  */
dfo_status dfoi_json_choice(dfo_ctx *ctx, const json_t *object, const char *key, const char *const *list, size_t fallback, size_t *out);
dfo_status dfoi_json_word(dfo_ctx *ctx, const json_t *object, const char *key, const char *const *list, const char **out);
dfo_status dfoi_json_either(dfo_ctx *ctx, const json_t *object, const char *key, const char *no, const char *yes, int *out);
/* An array of sizes into out[0..capacity-1]; *n is its length.  A single number is an array of one.  */
dfo_status dfoi_json_sizes(dfo_ctx *ctx, const json_t *object, const char *key, size_t low, size_t high,
                           size_t capacity, size_t *out, size_t *n);
/* An array of exactly n reals; a single number fills all.  Absent: fallback fills all.  */
dfo_status dfoi_json_reals(dfo_ctx *ctx, const json_t *object, const char *key, size_t n, double fallback,
                           double *out);
/* Every key of the object must be in the 0-terminated list: "unknown key 'bin'; known: bins, bound".  */
dfo_status dfoi_json_keys(dfo_ctx *ctx, const json_t *object, const char *const *known);
/* Sets a member, taking the value's reference; DFO_EMEM if anything (value included) is NULL.  */
dfo_status dfoi_json_set(dfo_ctx *ctx, json_t *object, const char *key, json_t *value);
/* A copy of a value; NULL where memory ends (jansson's own leaves out what it has no memory for).  */
json_t *dfoi_json_copy(const json_t *value);
/* Like json_dumps; *out freed by dfoi_free.  */
dfo_status dfoi_json_dump(dfo_ctx *ctx, const json_t *value, size_t flags, char **out);

#endif

/* train --type and --missing, see columns.h.  A type is NAME=KIND, by name or number, several with commas:
 *   real  positive  [A,B]  integer  integer[A,B]  categorical  categorical:K  periodic  periodic:P
 * where A or B may be left out.  */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "columns.h"

enum { TYPE = 820, MISSING };
enum { BINS = 128, CHUNK = 1024 };

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct columns *o = state->input;
    switch (key) {
    case TYPE:
        if (o->types == MAX_TYPES)
            argp_error(state, "--type: at most %d", MAX_TYPES);
        o->type[o->types++] = arg;
        return 0;
    case MISSING:
        if (strcmp(arg, "marginalise") && strcmp(arg, "impute"))
            argp_error(state, "--missing: expected marginalise or impute, got '%s'", arg);
        o->missing = arg;
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option options[] = {
    {"type", TYPE, "NAME=KIND,...", 0,
     "Kinds of columns: real, positive, [A,B], integer, integer[A,B], categorical, categorical:K, periodic, periodic:P (repeatable)", 2},
    {"missing", MISSING, "marginalise|impute", 0, "Rows may hold NaN: what is missing is integrated out, or filled", 2},
    {0},
};

const struct argp columns_argp = {options, parse, NULL, NULL, NULL, NULL, NULL};

enum kind { REAL, POSITIVE, INTERVAL, INTEGER, CATEGORICAL, PERIODIC };

struct column {
    enum kind kind;
    int       given;                   /* by --type */
    double    low, high;               /* ends of an interval or of whole numbers, infinite where there are none */
    double    count, period;           /* categories, 0: as many as the data have */
    double    least, most;             /* values that were met */
    double    bin[BINS];               /* of a period: how many rows lie where */
};

struct job {
    const struct common *c;
    const dfo_source    *rows;
    dfo_words           *words;        /* not NULL: of the types, which columns may hold words is wanted alone */
    size_t               d, width;
    struct column       *column;       /* (d) */
};

/* ---- words */

static int unknown_column(const struct job *j, const char *name)
{
    char known[512] = "";
    size_t used = 0;
    for (size_t i = 0; i < j->d && used < sizeof known; i++) {
        const char *one = dfo_source_column(j->rows, i);
        if (one)
            used += (size_t)snprintf(known + used, sizeof known - used, "%s%s", used ? ", " : "", one);
    }
    return usage_error(j->c, "--type: no column '%s' in %s; known: %s%s1 to %zu", name, dfo_source_name(j->rows), known, used ? ", or " : "", j->d);
}

/* By name, else by number from 1.  */
static struct column *find(const struct job *j, const char *name)
{
    char *end;
    for (size_t i = 0; i < j->d; i++) {
        const char *one = dfo_source_column(j->rows, i);
        if (one && !strcmp(one, name))
            return &j->column[i];
    }
    unsigned long long n = name[0] >= '1' && name[0] <= '9' ? strtoull(name, &end, 10) : 0;
    return n && !*end && n <= j->d ? &j->column[n - 1] : NULL;
}

/* A number up to the character `until`; nothing stands for `none`.  */
static int read_number(const char **text, char until, double none, double *out)
{
    char *end;
    *out = none;
    if (**text != until) {
        *out = strtod(*text, &end);
        if (end == *text || *end != until || isnan(*out))
            return 0;
        *text = end;
    }
    *text += until != 0;
    return 1;
}

static int read_range(const char *text, struct column *c)
{
    const char *close = text + strlen(text) - 1;
    char end = *close;
    if ((*text != '[' && *text != '(') || (end != ']' && end != ')'))
        return 0;
    text++;
    return read_number(&text, ',', -INFINITY, &c->low) && read_number(&text, end, INFINITY, &c->high) && !*text && c->low < c->high;
}

/* KIND, or 0.  */
static int read_kind(const char *text, struct column *c)
{
    double n = 0;
    const char *number = strchr(text, ':');
    c->low = -INFINITY;
    c->high = INFINITY;
    if (!strcmp(text, "real"))
        c->kind = REAL;
    else if (!strcmp(text, "positive"))
        c->kind = POSITIVE, c->low = 0;
    else if (*text == '[' || *text == '(')
        return c->kind = INTERVAL, read_range(text, c);
    else if (!strncmp(text, "integer", 7))
        return c->kind = INTEGER, !text[7] || (read_range(text + 7, c) && (isinf(c->low) || c->low == floor(c->low)) &&
                                               (isinf(c->high) || c->high == floor(c->high)));
    else if (!strncmp(text, "categorical", 11) && (!text[11] || text[11] == ':')) {
        c->kind = CATEGORICAL;
        if (number++ && (!read_number(&number, 0, 0, &n) || !(n >= 2 && n <= 65536) || n != floor(n)))
            return 0;
        c->count = text[11] ? n : 0;
    } else if (!strncmp(text, "periodic", 8) && (!text[8] || text[8] == ':')) {
        c->kind = PERIODIC;
        c->period = 2 * M_PI;
        if (number++ && (!read_number(&number, 0, 0, &c->period) || !(c->period > 0) || isinf(c->period)))
            return 0;
    } else
        return 0;
    return 1;
}

static int read_type(struct job *j, char *text)
{
    char *equals = strrchr(text, '=');
    struct column *to;
    if (!equals || equals == text)
        return usage_error(j->c, "--type: expected NAME=KIND, got '%s'", text);
    *equals = 0;
    if (j->words)
        return !strcmp(equals + 1, "categorical") && dfo_words_add(j->words, text, NULL) ? failed(j->c) : 0;
    if (!(to = find(j, text)))
        return unknown_column(j, text);
    if (to->given)
        return usage_error(j->c, "--type: column '%s' has two kinds", text);
    to->given = 1;
    if (!read_kind(equals + 1, to))
        return usage_error(j->c, "--type %s: unknown kind '%s'; known: real, positive, [A,B], integer, integer[A,B], categorical, categorical:K (2 to "
                           "65536), periodic, periodic:P", text, equals + 1);
    return 0;
}

/* Commas inside of brackets do not part types.  */
static int read_types(struct job *j, const char *text)
{
    char *copy = strdup(text), *at = copy;
    int status = copy ? 0 : usage_error(j->c, "out of memory");
    for (int last = 0; !status && !last;) {
        char *end = at;
        for (int depth = 0; *end && (*end != ',' || depth); end++)
            depth += (*end == '[' || *end == '(') - (*end == ']' || *end == ')');
        last = !*end;
        *end = 0;
        status = read_type(j, at);
        at = end + 1;
    }
    free(copy);
    return status;
}

/* ---- data */

static const char *complaint(const struct column *c, double x)
{
    int whole = x == floor(x) && x >= c->low && x <= c->high;
    if (isinf(x))
        return "a finite number";
    switch (c->kind) {
    case POSITIVE: return x > 0 ? NULL : "a positive number";
    case INTERVAL: return x > c->low && x < c->high ? NULL : "a number inside its bounds (not on them)";
    case INTEGER: return whole ? NULL : isinf(c->low) && isinf(c->high) ? "a whole number" : "a whole number within its bounds";
    case CATEGORICAL: return whole && x >= 0 && x < (c->count > 0 ? c->count : 65536) ? NULL : c->count > 0 ? "a category from 0 to K-1"
                                                                                             : "a category: 0, 1, 2, ...";
    default: return NULL;
    }
}

static int take_row(struct job *j, const dfo_source *from, uint64_t row, const dfo_real *x)
{
    for (size_t i = 0; i < j->d; i++) {
        struct column *c = &j->column[i];
        const char *name = dfo_source_column(from, i), *expected = isnan(x[i]) ? NULL : complaint(c, (double)x[i]);
        if (expected)
            return usage_error(j->c, "%s: row %llu, column %zu%s%s%s: expected %s, got %.9g", dfo_source_name(from), (unsigned long long)row, i + 1,
                               name ? " (" : "", name ? name : "", name ? ")" : "", expected, (double)x[i]), EXIT_FAILED;
        if (isnan(x[i]))
            continue;
        c->least = fmin(c->least, (double)x[i]);
        c->most = fmax(c->most, (double)x[i]);
        if (c->kind == PERIODIC) {
            double turns = (double)x[i] / c->period;
            c->bin[(size_t)(BINS * (turns - floor(turns))) % BINS] += 1;
        }
    }
    return 0;
}

static int take_rows(struct job *j, const dfo_source *from)
{
    dfo_source_info info;
    dfo_source_describe(from, &info);
    if (dfo_shape_size(info.shape) != j->width)
        return 0;                      /* said later, of all models */
    dfo_real *x = malloc(CHUNK * j->width * sizeof *x);
    int status = x ? 0 : (usage_error(j->c, "out of memory"), EXIT_FAILED);
    for (uint64_t first = 0; first < info.rows && !status; first += CHUNK) {
        size_t n = info.rows - first < CHUNK ? (size_t)(info.rows - first) : CHUNK;
        if (dfo_source_read(from, j->c->ctx, first, dfo_batch_of(x, n, j->width), NULL))
            status = failed(j->c);
        for (size_t i = 0; i < n && !status; i++)
            status = take_row(j, from, first + i, x + i * j->width);
    }
    free(x);
    return status;
}

/* Where angles begin, as the data have them: [0, P), [-P/2, P/2), or from the least.  */
static double start_of(const struct column *c)
{
    double half = c->period / 2;
    return c->least >= 0 && c->most <= c->period ? 0 : c->least >= -half && c->most <= half ? -half : c->least;
}

/* Where a period is best cut: the middle of the bin whose neighbourhood has the fewest rows.  */
static double emptiest(const struct column *c)
{
    double least = INFINITY;
    int at = 0;
    for (int b = 0; b < BINS; b++) {
        double sum = 0;
        for (int k = -BINS / 2; k < BINS / 2; k++)
            sum += c->bin[(b + k + BINS) % BINS] * exp(-0.5 * (k / 8.0) * (k / 8.0));
        if (sum < least) {
            least = sum;
            at = b;
        }
    }
    double cut = (at + 0.5) * c->period / BINS - start_of(c);
    return start_of(c) + cut - c->period * floor(cut / c->period);
}

/* ---- the layer's settings */

static json_t *end_json(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

static json_t *column_json(const struct column *c)
{
    double count = c->count > 0 ? c->count : fmax(2, c->most + 1);
    switch (c->kind) {
    case POSITIVE: return json_pack("{s:s}", "kind", "positive");
    case INTERVAL: return json_pack("{s:s, s:o, s:o}", "kind", "interval", "low", end_json(c->low), "high", end_json(c->high));
    case INTEGER: return json_pack("{s:s, s:o, s:o}", "kind", "integer", "low", end_json(c->low), "high", end_json(c->high));
    case CATEGORICAL: return json_pack("{s:s, s:I}", "kind", "categorical", "count", (json_int_t)count);
    case PERIODIC: return json_pack("{s:s, s:f, s:f, s:f}", "kind", "periodic", "start", start_of(c), "period", c->period, "cut", emptiest(c));
    default: return json_pack("{s:s}", "kind", "real");
    }
}

static int write_kinds(const struct job *j, const char *missing, json_t *config)
{
    json_t *list = json_array();
    int bad = !list;
    for (size_t i = 0; i < j->d && !bad; i++)
        bad = json_array_append_new(list, column_json(&j->column[i]));
    bad = json_object_set_new(config, "columns", list) || bad;
    if (missing)
        bad = json_object_set_new(config, "missing", json_string(missing)) || bad;
    return bad ? (usage_error(j->c, "out of memory: kinds of columns"), EXIT_FAILED) : 0;
}

/* Of a configuration that has kinds already, such as a checkpoint's.  */
static int words_again(struct job *j, const json_t *columns)
{
    for (size_t i = 0; i < json_array_size(columns); i++) {
        const char *kind = json_string_value(json_object_get(json_array_get(columns, i), "kind"));
        char number[24];
        snprintf(number, sizeof number, "%zu", i + 1);
        if (kind && !strcmp(kind, "categorical") && dfo_words_add(j->words, number, NULL))
            return failed(j->c);
    }
    return 0;
}

int columns_words(const struct common *c, const struct columns *of, const json_t *config, struct input *in)
{
    struct job j = {.c = c};
    int status = 0;
    in->missing = of->missing || json_object_get(config, "missing");
    if (dfo_words_new(c->ctx, &j.words))
        return failed(c);
    in->words = j.words;
    if (!of->types)
        status = words_again(&j, json_object_get(config, "columns"));
    for (int i = 0; i < of->types && !status; i++)
        status = read_types(&j, of->type[i]);
    return status;
}

static json_t *words_json(const dfo_words *words, const char *column)
{
    json_t *list = dfo_words_count(words, column) ? json_array() : NULL;
    for (size_t k = 0; list && k < dfo_words_count(words, column); k++)
        if (json_array_append_new(list, json_string(dfo_words_word(words, column, k)))) {
            json_decref(list);
            return NULL;
        }
    return list;
}

int columns_note(const struct input *in, json_t *notes)
{
    size_t d = dfo_shape_size(in->rows.shape);
    json_t *columns = json_array(), *words = json_array();
    int bad = !columns || !words, some = 0;
    for (size_t i = 0; i < d && d <= 4096 && !bad; i++) {
        const char *name = dfo_source_column(in->source, i);
        char number[24];
        snprintf(number, sizeof number, "%zu", i + 1);
        json_t *list = in->words && name ? words_json(in->words, name) : NULL;
        list = list || !in->words ? list : words_json(in->words, number);
        some |= list != NULL;
        bad = json_array_append_new(columns, name ? json_string(name) : json_null()) || json_array_append_new(words, list ? list : json_null());
    }
    bad = bad || json_object_set(notes, "columns", columns) || (some && json_object_set(notes, "words", words));
    json_decref(columns);
    json_decref(words);
    return bad;
}

int columns_configure(const struct common *c, const struct columns *of, const struct input *in, const struct input *more, json_t *config)
{
    struct job j = {.c = c, .rows = in->parts[0] ? in->parts[0] : in->source, .d = dfo_shape_size(in->rows.shape),
                    .width = dfo_shape_size(in->info.shape)};
    const char *flow = json_string_value(json_object_get(config, "flow")), *option = of->types ? "--type" : "--missing";
    int status = 0;
    if (!of->types && !of->missing)
        return 0;
    if (in->rows.discrete || in->rows.shape.h * in->rows.shape.w > 1)
        return usage_error(c, "%s is for the columns of a table: %s has images", option, in->data);
    if (!flow || !strcmp(flow, "custom"))
        return usage_error(c, "%s goes with presets; in a configuration of one's own a layer \"columns\" stands first", option);
    if (!(j.column = calloc(j.d, sizeof *j.column)))
        return usage_error(c, "out of memory"), EXIT_FAILED;
    for (size_t i = 0; i < j.d; i++) {
        j.column[i].least = INFINITY;
        j.column[i].most = -INFINITY;
    }
    for (int i = 0; i < of->types && !status; i++)
        status = read_types(&j, of->type[i]);
    if (!status)
        status = take_rows(&j, in->source);
    if (!status && more && more->source)
        status = take_rows(&j, more->source);
    if (!status)
        status = write_kinds(&j, of->missing, config);
    free(j.column);
    return status;
}

/* diffeo check: verifies a model: inverses, log-dets, gradients, normalisation, layer by layer.  */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cmd.h"

#define MAX_LIMITS 16

struct options {
    struct common common;
    struct input  input;
    const char *model;
    uint64_t batch;
    int    limits;
    char  *name[MAX_LIMITS];
    double limit[MAX_LIMITS];
};

enum { TOLERANCE = 256 };

static const struct argp_option options_list[] = {
    {"tolerance", TOLERANCE, "NAME=X", 0, "Exit with 1 if the figure NAME passes X (repeatable)", 2},
    {0},
};

/* The figures by the names they have in the JSON.  */
struct figure {
    const char *name;
    double      value;
};

enum { FIGURES = 12 };

static void list_figures(const dfo_check_report *r, double wrong, struct figure f[FIGURES])
{
    const struct figure all[FIGURES] = {
        {"roundtrip_max_abs", r->roundtrip_max_abs}, {"roundtrip_p999_abs", r->roundtrip_p999_abs},
        {"roundtrip_max_rel", r->roundtrip_max_rel}, {"roundtrip_over_bound", r->roundtrip_over_bound},
        {"kappa", r->kappa}, {"logdet_sum_max_abs", r->logdet_sum_max_abs},
        {"logdet_sum_p999_abs", r->logdet_sum_p999_abs}, {"logdet_over_bound", r->logdet_over_bound},
        {"logdet_jacobian_max_abs", r->logdet_jacobian_max_abs}, {"gradient_max_rel", r->gradient_max_rel},
        {"normalisation", r->normalisation}, {"pixels_wrong", wrong},
    };
    memcpy(f, all, sizeof all);
}

static void add_limit(struct argp_state *state, struct options *o, char *arg)
{
    struct figure f[FIGURES];
    dfo_check_report none = {0};
    char *equals = strchr(arg, '=');
    list_figures(&none, 0, f);
    if (!equals)
        argp_error(state, "--tolerance: expected NAME=X, got '%s'", arg);
    *equals = 0;
    int known = 0;
    for (int i = 0; i < FIGURES; i++)
        known |= !strcmp(f[i].name, arg);
    if (!known)
        argp_error(state, "--tolerance: unknown figure '%s'", arg);
    if (o->limits == MAX_LIMITS)
        argp_error(state, "--tolerance: at most %d", MAX_LIMITS);
    o->name[o->limits] = arg;
    o->limit[o->limits++] = to_double(state, "--tolerance", equals + 1, 0, HUGE_VAL);
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &o->common;
        state->child_inputs[1] = &o->input;
        state->child_inputs[2] = &o->batch;
        state->child_inputs[3] = &o->common;
        return 0;
    case TOLERANCE: add_limit(state, o, arg); return 0;
    default: return model_argument(key, arg, state, &o->model);
    }
}

struct job {
    struct options *o;
    dfo_model      *model;
    dfo_real       *x;
    dfo_check_report report;
    int             pictures;          /* rows are images: pixels are counted */
    double          wrong;             /* NAN: they are not */
};

/* Without data: 1,000 decoded base draws.  */
static int draw_rows(struct job *j)
{
    struct common *c = &j->o->common;
    size_t n = 1000, d = dfo_model_features(j->model);
    dfo_model_plan *plan;
    if (dfo_model_wants_samples(j->model))
        return usage_error(c, "%s is a %s: it is checked with --data", j->o->model, dfo_model_kind(j->model));
    if (dfo_model_context(j->model))
        return usage_error(c, "%s is conditional: it is checked with --data and its context", j->o->model);
    if (!(j->x = malloc(n * d * sizeof *j->x)))
        return usage_error(c, "out of memory"), EXIT_FAILED;
    dfo_batch x = dfo_batch_of(j->x, n, d);
    if (dfo_model_plan_new(c->ctx, j->model, 0, &plan))
        return failed(c);
    dfo_status status = dfo_model_sample(plan, c->seed, 0, x, NULL, 1);
    dfo_model_plan_free(plan);
    for (size_t i = 0; i < n * d && model_levels(j->model); i++)       /* images are whole numbers in range */
        j->x[i] = (dfo_real)fmin(fmax(floor((double)j->x[i] + 0.5), 0), model_levels(j->model) - 1);
    j->pictures = model_levels(j->model) > 0;
    return status || dfo_source_rows(c->ctx, x, &j->o->input.source) ? failed(c) : 0;
}

static int run(struct job *j)
{
    struct options *o = j->o;
    struct common *c = &o->common;
    int status = 0;
    int opened = open_model(c, o->model, &j->model);
    if (opened)
        return opened;
    if (!o->input.data)
        status = draw_rows(j);
    else if (!(status = labels_for(c, &o->input, o->model, j->model)) && !(status = input_open(c, &o->input)))
        status = input_fits(c, &o->input, j->model);
    if (o->input.data)
        j->pictures = o->input.rows.discrete;
    if (!status && dfo_model_check(c->ctx, j->model, c->seed, o->input.source, o->batch, &j->report))
        status = failed(c);
    uint64_t wrong;
    if (!status && j->pictures && !(status = count_wrong_pixels(c, &o->input, j->model, o->batch, &wrong)))
        j->wrong = (double)wrong;
    return status;
}

static json_t *number(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

static int print_report(struct job *j)
{
    const dfo_check_report *r = &j->report;
    struct figure f[FIGURES];
    const char *worst = r->layers ? r->layer[r->worst_layer].type : "";
    list_figures(r, j->wrong, f);
    if (j->o->common.json) {
        json_t *out = json_pack("{s:I, s:b, s:I, s:s}", "rows", (json_int_t)r->rows, "finite", r->finite,
                                "worst_layer", (json_int_t)r->worst_layer, "worst_layer_type", worst);
        json_t *layers = json_array();
        for (int i = 0; i < FIGURES; i++)
            json_object_set_new(out, f[i].name, number(f[i].value));
        for (size_t k = 0; k < r->layers; k++)
            json_array_append_new(layers, json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "type", r->layer[k].type, "error",
                                                    number(r->layer[k].error), "kappa", number(r->layer[k].kappa),
                                                    "over_bound", number(r->layer[k].over), "logdet_sum",
                                                    number(r->layer[k].logdet_sum), "logdet_kappa",
                                                    number(r->layer[k].logdet_kappa), "logdet_over_bound",
                                                    number(r->layer[k].logdet_over), "smallest_gain",
                                                    number(r->layer[k].conditioning.smallest), "largest_gain",
                                                    number(r->layer[k].conditioning.largest)));
        json_object_set_new(out, "layers", layers);
        return print_json(&j->o->common, out);
    }
    printf("%llu rows, %s\n", (unsigned long long)r->rows, r->finite ? "all finite" : "NOT all finite");
    for (int i = 0; i < FIGURES; i++)
        if (isfinite(f[i].value))
            printf("  %-24s %.3g\n", f[i].name, f[i].value);
    printf("  layer  type                 error      kappa      error/bound  log-det sum  its kappa  sum/bound\n");
    for (size_t k = 0; k < r->layers; k++)
        printf("  %5zu  %-18s  %-9.2g  %-9.3g  %-11.2g  %-11.2g  %-9.3g  %-9.2g%s\n", k, r->layer[k].type,
               r->layer[k].error, r->layer[k].kappa, r->layer[k].over, r->layer[k].logdet_sum,
               r->layer[k].logdet_kappa, r->layer[k].logdet_over, k == r->worst_layer ? "  worst" : "");
    for (size_t k = 0; k < r->layers; k++)
        if (!isnan(r->layer[k].conditioning.largest))
            printf("  %5zu  %-18s  gains %.3g to %.3g, condition number %.3g\n", k, r->layer[k].type,
                   r->layer[k].conditioning.smallest, r->layer[k].conditioning.largest,
                   r->layer[k].conditioning.largest / r->layer[k].conditioning.smallest);
    return 0;
}

static int limits(const struct job *j)
{
    const struct options *o = j->o;
    struct figure f[FIGURES];
    int bad = !j->report.finite;
    list_figures(&j->report, j->wrong, f);
    if (bad)
        fprintf(stderr, "diffeo check: rows are not finite\n");
    for (int i = 0; i < o->limits; i++)
        for (int k = 0; k < FIGURES; k++) {
            double value = !strcmp(f[k].name, "normalisation") ? fabs(f[k].value - 1) : f[k].value;
            if (!strcmp(f[k].name, o->name[i]) && !(value <= o->limit[i])) {
                fprintf(stderr, "diffeo check: %s is %.3g, the limit is %.3g\n", f[k].name, value, o->limit[i]);
                bad = 1;
            }
        }
    return bad ? EXIT_FAILED : 0;
}

int CMD(cmd_check)(int argc, char **argv)
{
    static const struct argp_child children[] = {{&common_argp, 0, NULL, 0}, {&input_argp, 0, NULL, 0},
                                                 {&batch_argp, 0, NULL, 0}, {&solver_argp, 0, NULL, 0}, {0}};
    static const struct argp argp = {options_list, parse, "MODEL",
                                     "Verifies a model: inverses, log-determinants, gradients, normalisation.\v"
                                     "Without --data it takes 1,000 draws.  The limit of 'normalisation' is on |integral - 1|.",
                                     children, NULL, NULL};
    struct options o = {.common = {.command = "check", .argc = argc, .argv = argv}};
    struct job j = {.o = &o, .wrong = NAN};
    if (argp_parse(&argp, argc, argv, 0, NULL, &o))
        return EXIT_USAGE;
    int status = common_start(&o.common);
    if (!status)
        status = run(&j);
    if (!status)
        status = print_report(&j);
    if (!status)
        status = limits(&j);
    if (o.common.ctx)
        dfo_check_free(o.common.ctx, &j.report);
    dfo_model_free(j.model);
    input_close(&o.input);
    free(j.x);
    return common_end(&o.common, status);
}

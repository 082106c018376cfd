/* A flow: a bijector over a base density, with its weights.  */
#ifndef DIFFEO_FLOW_H
#define DIFFEO_FLOW_H

#include <stdint.h>
#include <diffeo/real.h>
#include <diffeo/bijector.h>
#include <diffeo/denoise.h>
#include <diffeo/dist.h>
#include <diffeo/loss.h>
#include <diffeo/plan.h>
#include <diffeo/source.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dfo_flow dfo_flow;

/* Makes a flow over rows of build->shape from {"bijector":{…},"base":{…},"condition":"raw"|"standardise"} (base: standard
 * normal if absent; condition: raw).  With standardise the flow takes its condition less the means, divided by the standard deviations
 * that dfo_flow_standardise finds: calls below are given it, and give its gradients, in its own units.  Weights go to build->store.  */
dfo_status dfo_flow_new(dfo_build *build, struct json_t *config, dfo_flow **out);
void dfo_flow_free(dfo_flow *flow);

size_t dfo_flow_features(const dfo_flow *flow);             /* d */
size_t dfo_flow_context(const dfo_flow *flow);              /* features of the condition, 0: none */
int dfo_flow_standardises_context(const dfo_flow *flow);    /* does its configuration say so? */

/* The number of values that its data take, 0 .. bins-1, where its first layer dequantises them; else 0.  Log
 * densities of such a flow are log probabilities of the bins (bounds of them): dfo_bits_per_dim(nats, d, 1).  */
size_t dfo_flow_bins(const dfo_flow *flow);

/* Is it of whole numbers (pixels, or columns), so that its log densities are bounds of log probabilities, each by one draw of what is
 * added to them?  */
int dfo_flow_dequantises(const dfo_flow *flow);

/* Whether rows may hold NaN for what is not known: integrated out, log densities are those of what is known (bounds, each by one
 * draw of the rest); imputed, those of the row that one draw has filled.  */
typedef enum dfo_missing { DFO_MISSING_REFUSED, DFO_MISSING_INTEGRATED, DFO_MISSING_IMPUTED } dfo_missing;
dfo_missing dfo_flow_missing(const dfo_flow *flow);

/* The parts, owned by the flow (the store is the one it was built into).  */
const dfo_bijector *dfo_flow_bijector(const dfo_flow *flow);
const dfo_dist *dfo_flow_base(const dfo_flow *flow);
dfo_store *dfo_flow_store(const dfo_flow *flow);

/* Rows that a worker takes at a time: a power of two that depends on the architecture alone, so that a
 * row's bits do not depend on how rows are batched.  */
size_t dfo_flow_block(const dfo_flow *flow);
dfo_status dfo_flow_describe(const dfo_flow *flow, struct json_t *to);

/* Working memory for the calls below.  ctx: where errors go (one per thread; may differ from the
 * flow's).  gradients != 0: also for dfo_flow_log_prob_grad.  Plans are cheap to use and not
 * shareable between threads; the flow is.  */
typedef struct dfo_flow_plan dfo_flow_plan;
dfo_status dfo_flow_plan_new(dfo_ctx *ctx, const dfo_flow *flow, int gradients, dfo_flow_plan **out);
void dfo_flow_plan_free(dfo_flow_plan *plan);
/* Evaluations of continuous layers' fields since it was made, and the solves that they were for; see dfo_plan_evaluations.  */
void dfo_flow_plan_evaluations(const dfo_flow_plan *plan, uint64_t *evaluations, uint64_t *solves);

/* In all calls: x (n,d), cond with n rows or NULL; first_row is the absolute index of row 0 (keys of random
 * draws; a multiple of dfo_flow_block unless all rows come in one call).  DFO_ESHAPE if shapes differ: then
 * nothing was written.  DFO_ENUM names layer and row.  Plan's memory only.  */

/* Writes log p(x_i), in nats, to out (n): of volumes of the rows' coordinates, or of the measure of a first layer that has one
 * of its own (DFO_OWN_MEASURE: areas of a sphere).  x is overwritten with the latent rows.  */
dfo_status dfo_flow_log_prob(dfo_flow_plan *plan, uint64_t first_row, dfo_batch x, const dfo_cond *cond,
                             double *out);

/* The same, and to variance (n) that of out's error where continuous layers estimate their trace by two or more probes, from
 * how these differ; 0: out is no estimate, or one whose error one probe does not tell.  */
dfo_status dfo_flow_log_prob_estimate(dfo_flow_plan *plan, uint64_t first_row, dfo_batch x, const dfo_cond *cond, double *out, double *variance);

/* The same by `draws` draws, at least 1, of what is added to whole numbers and of what is missing in a row, if it is integrated out: the logarithm of their mean,
 * which rises to log P with the draws, and to variance (n; NULL: not wanted) that of its error, as far as the draws tell it (0: of one).  */
dfo_status dfo_flow_log_prob_draws(dfo_flow_plan *plan, uint64_t first_row, dfo_batch x, const dfo_cond *cond, size_t draws, double *out,
                                   double *variance);

/* As dfo_flow_log_prob, and gx (n,d) = d log p(x_i)/dx_i, gcond likewise (NULL, or parts with x = NULL: not wanted).
 * x holds the rows themselves again, up to rounding.  */
dfo_status dfo_flow_log_prob_grad(dfo_flow_plan *plan, uint64_t first_row, dfo_batch x, const dfo_cond *cond,
                                  double *out, dfo_batch gx, dfo_cond *gcond);

/* Data to latent, in place; logdet (n) = log|det dz/dx|, or NULL.  */
dfo_status dfo_flow_encode(dfo_flow_plan *plan, uint64_t first_row, dfo_batch x, const dfo_cond *cond,
                           double *logdet);

/* Latent to data, in place; logdet (n) = log|det dx/dz|, or NULL.  */
dfo_status dfo_flow_decode(dfo_flow_plan *plan, uint64_t first_row, dfo_batch z, const dfo_cond *cond,
                           double *logdet);

/* Draws: row i is a function of the weights, seed and first_row + i.  */
dfo_status dfo_flow_sample(dfo_flow_plan *plan, uint64_t seed, uint64_t first_row, dfo_batch x,
                           const dfo_cond *cond, double temperature);

/* The same where something is known of the rows: given (n,d), NaN where nothing is, with noise in the units of the base, as dfo_dist_sample_given;
 * DFO_EUNSUP where the base cannot, and where layers do not act on entries one by one.  Without noise known entries end as they were given.  */
dfo_status dfo_flow_sample_given(dfo_flow_plan *plan, uint64_t seed, uint64_t first_row, dfo_batch x, const dfo_cond *cond, double temperature,
                                 dfo_batch given, double noise);

/* Sets the first layer's mean and standard deviation from all rows of a source (their first d features), if
 * it is of type standardise, and those of a condition that is standardised (the features behind these); else nothing is done.  density: a
 * density is fitted, and a column that never changes is DFO_EARG, naming it; else, as in a condition, it is centred.  */
dfo_status dfo_flow_standardise(dfo_flow *flow, const dfo_source *train, int density);

/* A number of steps or probes that stays.  */
#define DFO_AS_IT_IS ((size_t)-1)
typedef struct dfo_solver_options {
    const char *method;
    size_t steps, probes;
    double rtol, atol;
} dfo_solver_options;
/* How the continuous layers of a flow are solved from now on, in place of what its configuration says: method NULL, steps and
 * probes DFO_AS_IT_IS, tolerances below 0 leave that as it is.  steps 0: chosen by the tolerances (<diffeo/ode.h>).  probes 0:
 * the exact trace; K: estimated by K probes in evaluation too.  DFO_EUNSUP if the flow has no such layer, DFO_EARG as
 * dfo_ode_new.  Plans made before keep their memory: make them afterwards.  */
dfo_status dfo_flow_set_solver(dfo_flow *flow, const dfo_solver_options *options);
/* How they are solved, in what they all agree on; where they differ it stays as it is (method NULL, DFO_AS_IT_IS, below 0).
 * method: good until a solver is set.  False if the flow has no such layer; then *options is as dfo_flow_set_solver leaves all.  */
int dfo_flow_solver(const dfo_flow *flow, dfo_solver_options *options);

/* Guidance without a classifier (Ho and Salimans 2021) of a flow with a condition, fitted by matching with "label_dropout": the net of its
 * last layer says N(0) + w (N(condition) - N(0)) from now on, N(0) being of a condition of zeros
 * (of a standardised one: its means).  1: as it was.  Plans made before
 * stay good.  DFO_EUNSUP if it was not so fitted, DFO_EARG: not finite.  */
dfo_status dfo_flow_set_guidance(dfo_flow *flow, double w);
double dfo_flow_guidance(const dfo_flow *flow);

/* Probes that the log-density of rows is estimated by in evaluation; 0: it is exact, or a bound.  */
size_t dfo_flow_probes(const dfo_flow *flow);

/* ---- diffusion there and exactly back, by Rex (<diffeo/rex.h>) */

/* How: an explicit method of dfo_ode_method (NULL: midpoint), with sde euler-maruyama (NULL) or shark; equal steps of the log-SNR;
 * zeta of Rex.  sde: rows go along the reverse SDE, whose noise is a function of seed and absolute row: what comes out is far from
 * normal.  exact: on whole numbers, which wants a zeta of 1.  start_noise: rows are given the noise of start_time first, a function of seed and
 * absolute row, which the way back takes off again: latents of rows that have less than that in them, such as pixels, are too small without.
 * start_time: 0 for the data's, which is all that goes without noise, or a later one.  */
typedef struct dfo_flow_rex_options {
    const char *method;
    size_t      steps;
    double      zeta, start_time;
    int         sde, exact, start_noise;
    uint64_t    seed;
} dfo_flow_rex_options;

/* Does the flow end in a cnf layer with "diffusion"?  */
int dfo_flow_diffuses(const dfo_flow *flow);

/* Working memory and grid of the calls below, as dfo_flow_plan_new.  DFO_EUNSUP unless the flow diffuses; DFO_EARG as dfo_rex_new,
 * for no steps, for exact with another zeta and for a start_time
 * before the data's, not before noise, or without start_noise.  The flow outlives it; the method's name is copied.  */
typedef struct dfo_flow_rex dfo_flow_rex;
dfo_status dfo_flow_rex_new(dfo_ctx *ctx, const dfo_flow *flow, const dfo_flow_rex_options *options, dfo_flow_rex **out);
void dfo_flow_rex_free(dfo_flow_rex *rex);
/* The options, with the method's name and the start's time filled in; and what the way back multiplies rounding by (dfo_rex_growth).  */
const dfo_flow_rex_options *dfo_flow_rex_options_of(const dfo_flow_rex *rex);
double dfo_flow_rex_growth(const dfo_flow_rex *rex);

/* Rows x (n,d) to latents, in place, and the second state aux (n,d); and back from both.  Shapes, first_row and errors as in
 * dfo_flow_encode.  The form is ode-data or sde-data, which lose least towards noise, for sigma grows on that way whatever the schedule.
 * With exact: DFO_EARG.  Blasingame and Liu 2025 (Rex).  */
dfo_status dfo_flow_rex_encode(dfo_flow_rex *rex, uint64_t first_row, dfo_batch x, const dfo_cond *cond, dfo_batch aux);
dfo_status dfo_flow_rex_decode(dfo_flow_rex *rex, uint64_t first_row, dfo_batch z, const dfo_cond *cond, dfo_batch aux);

/* The same for exact: what is kept are the states y, yh (n,d); x gets the latents as numbers.  Back from the states alone, x is
 * written: what the diffusion layer was given, to the bit where it is a multiple of 2^-47 (float: all but the smallest numbers), else
 * to 2^-48, and then the inverse of the layers before it.  DFO_ENUM: numbers of 2^14 and more, and states that leave the range.  */
dfo_status dfo_flow_rex_encode_exact(dfo_flow_rex *rex, uint64_t first_row, dfo_batch x, const dfo_cond *cond, int64_t *y, int64_t *yh);
dfo_status dfo_flow_rex_decode_exact(dfo_flow_rex *rex, uint64_t first_row, dfo_batch x, const dfo_cond *cond, const int64_t *y,
                                     const int64_t *yh);

/* ---- rows of one condition made into rows of another */

/* method, steps and zeta as dfo_flow_rex_options have them, always along the probability flow.  strength: how far to noise before it turns,
 * above 0, 1 (all the way) at most: that part of the schedule's time, of edm of sigma^(1/7).  guidance: of the target (dfo_flow_set_guidance).  */
typedef struct dfo_flow_edit_options {
    const char *method;
    size_t      steps;
    double      zeta, strength, guidance;
} dfo_flow_edit_options;

/* Working memory and grid of the calls below, as dfo_flow_plan_new.  keep (d), copied: not 0 where rows stay as they are; NULL: nowhere.
 * DFO_EUNSUP unless the flow diffuses and has a condition, and for guidance as dfo_flow_set_guidance; DFO_EARG names the option.  */
typedef struct dfo_flow_editor dfo_flow_editor;
dfo_status dfo_flow_editor_new(dfo_ctx *ctx, const dfo_flow *flow, const dfo_flow_edit_options *options, const unsigned char *keep,
                               dfo_flow_editor **out);
void dfo_flow_editor_free(dfo_flow_editor *editor);
/* The options, with the method's name filled in; and the schedule where it turns.  */
const dfo_flow_edit_options *dfo_flow_editor_options(const dfo_flow_editor *editor);
dfo_noise_point dfo_flow_editor_turn(const dfo_flow_editor *editor);

/* Rows x (n,d), in place: by Rex to the turn under the condition `from`, and back under `to`, kept entries along the source's way.  They end
 * as what they were, to the bit; off (n), or NULL: the largest distance that a row's were from that before they were put back.  Shapes,
 * first_row and errors as in dfo_flow_encode.  */
dfo_status dfo_flow_edit(dfo_flow_editor *editor, uint64_t first_row, dfo_batch x, const dfo_cond *from, const dfo_cond *to, double *off);

/* ---- diffusion's samples, by other ways than its probability flow's solver (<diffeo/denoise.h>) */

/* Working memory and levels of the calls below, as dfo_flow_plan_new: steps levels from noise to the data's time, spaced as the grid of
 * that kind has it (NULL: as suits sampler and schedule), the first where log(alpha^2/sigma^2) is -14 if the schedule goes beyond.  options:
 * their schedule is not read, the flow's is.  DFO_EUNSUP unless the flow diffuses; DFO_EARG as dfo_denoiser_new.  */
typedef struct dfo_flow_denoiser dfo_flow_denoiser;
dfo_status dfo_flow_denoiser_new(dfo_ctx *ctx, const dfo_flow *flow, const dfo_denoiser_options *options, const char *grid, size_t steps,
                                 dfo_flow_denoiser **out);
void dfo_flow_denoiser_free(dfo_flow_denoiser *denoiser);

/* Draws, as dfo_flow_sample: row i is a function of the weights, the options and first_row + i.  */
dfo_status dfo_flow_denoiser_draw(dfo_flow_denoiser *denoiser, uint64_t first_row, dfo_batch x, const dfo_cond *cond);

/* The same where something is known of the rows: given (n,d), NaN where nothing is, as dfo_denoiser_run_given, in the rows' own units but for
 * options.given_noise, which is in those of the rows that diffusion sees.  Layers before it act on entries one by one (DFO_EUNSUP).  Without noise
 * known entries end as they were given, to the bit; with it the levels go to that noise and, evenly
 * in log-SNR, on from it, each side's part of them as its part of the log-SNR.  */
dfo_status dfo_flow_denoiser_draw_given(dfo_flow_denoiser *denoiser, uint64_t first_row, dfo_batch x, const dfo_cond *cond, dfo_batch given);

/* Evaluations of the net for a row, 0 before the first draw.  */
double dfo_flow_denoiser_nfe(const dfo_flow_denoiser *denoiser);

/* ---- diffusion's likelihood from below */

/* Working memory of the call below, as dfo_flow_plan_new.  draws: evaluations of the net that the integral over the way is estimated
 * by, for a row, an even number, at least 2 (there are 2 more, where data are); seed: of the noise.  DFO_EUNSUP unless the flow diffuses,
 * DFO_EARG.  */
typedef struct dfo_flow_bound dfo_flow_bound;
dfo_status dfo_flow_bound_new(dfo_ctx *ctx, const dfo_flow *flow, size_t draws, uint64_t seed, dfo_flow_bound **out);
void dfo_flow_bound_free(dfo_flow_bound *bound);

/* Estimates of the variational bound of the rows' log-densities, in nats, to out (n), and of the variance of their errors to
 * variance (n).  Bound of the stochastic model (the reverse SDE, or the chain where training was at `times`), whose density is another
 * than that of the probability flow as far as the net is not exact.  A row's is a function of the weights, seed, draws and first_row +
 * i; its mean over seeds is below log p.  x is left with what the diffusion layer is given.  Shapes, first_row and errors as in
 * dfo_flow_log_prob.  */
dfo_status dfo_flow_bound_log_prob(dfo_flow_bound *bound, uint64_t first_row, dfo_batch x, const dfo_cond *cond, double *out, double *variance);

/* Negative log-likelihood, in nats, of a flow.  The flow must outlive the loss.  */
dfo_status dfo_loss_nll_new(dfo_flow *flow, dfo_loss **out);

/* Has its matching windows, so that its loss wants a teacher?  */
int dfo_flow_wants_teacher(const dfo_flow *flow);
/* Gives that loss its teacher: a flow that ends in a cnf layer, of the same rows and context, whose layers before it are as this
 * flow's; kept, not owned.  Its field takes rows through their windows by teacher_steps steps of rk4.  DFO_EUNSUP for a loss
 * without windows, DFO_ESHAPE.  Yan et al. 2024 (PeRFlow), section 3.  */
dfo_status dfo_loss_flow_teach(dfo_loss *loss, const dfo_flow *teacher);

/* What a flow asks to be fitted by: flow matching, if its configuration has "matching" ({"path":"straight"|"narrowing"|
 * "trigonometric"|"bridge","sigma":0,"pairing":"independent"|"transport"|"given","windows":0,"teacher_steps":4,"label_dropout":0}; it ends in a cnf layer then, over a standard normal
 * base): the mean square of the field less the path's velocity, no log-likelihood (Lipman et al. 2023); else dfo_loss_nll_new.  */
dfo_status dfo_loss_flow_new(dfo_flow *flow, dfo_loss **out);

#ifdef __cplusplus
}
#endif
#endif

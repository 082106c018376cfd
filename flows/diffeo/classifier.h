/* A classifier with invertible features: a bijector, then a head that turns the features into logits.  */
#ifndef DIFFEO_CLASSIFIER_H
#define DIFFEO_CLASSIFIER_H

#include <diffeo/real.h>
#include <diffeo/flow.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dfo_classifier dfo_classifier;

/* Makes a classifier of rows of build->shape from {"bijector":{…},"head":{"classes":10,"norm":true,
 * "activation":"relu"},"augment":{"shift":2,"flip":false},"levels":256}.  shift: pixels that training moves
 * images by, at most; flip: whether it mirrors half of them.  levels: rows are integers 0 .. levels-1, to which
 * decode rounds (0: it does not).  Weights go to build->store.  Errors name the key.  */
dfo_status dfo_classifier_new(dfo_build *build, struct json_t *config, dfo_classifier **out);
void dfo_classifier_free(dfo_classifier *classifier);

/* Classes that it tells apart.  */
size_t dfo_classifier_classes(const dfo_classifier *classifier);
/* The bijector as a flow (over a standard normal base that nothing trains); owned by the classifier.  */
dfo_flow *dfo_classifier_body(const dfo_classifier *classifier);
dfo_status dfo_classifier_describe(const dfo_classifier *classifier, struct json_t *to);

/* Working memory for the calls below, as dfo_flow_plan_new.  */
typedef struct dfo_classifier_plan dfo_classifier_plan;
dfo_status dfo_classifier_plan_new(dfo_ctx *ctx, const dfo_classifier *classifier, dfo_classifier_plan **out);
void dfo_classifier_plan_free(dfo_classifier_plan *plan);

/* logits (n, classes) of the rows; x holds the features afterwards.  As for flows in <diffeo/flow.h>.  */
dfo_status dfo_classifier_logits(dfo_classifier_plan *plan, uint64_t first_row, dfo_batch x, double *logits);
/* Data to features, in place; logdet (n) as in dfo_flow_encode, or NULL.  */
dfo_status dfo_classifier_encode(dfo_classifier_plan *plan, uint64_t first_row, dfo_batch x, double *logdet);
/* Features to data, in place, rounded to the nearest level where there are levels.  */
dfo_status dfo_classifier_decode(dfo_classifier_plan *plan, uint64_t first_row, dfo_batch z, double *logdet);

/* Cross-entropy, in nats a row: -log softmax(logits)[label].  A minibatch's condition is one column, the label,
 * an integer from 0; draw() augments.  The classifier must outlive the loss.  */
dfo_status dfo_loss_classify_new(dfo_classifier *classifier, dfo_loss **out);

#ifdef __cplusplus
}
#endif
#endif

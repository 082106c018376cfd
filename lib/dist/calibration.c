/* Scores of predicted probabilities.  Negative log-likelihood and Brier's score are proper; calibration errors
 * compare confidence with accuracy over bins (Guo et al. 2017, "On calibration of modern neural networks";
 * class by class: Kull et al. 2019).  Everything comes from logits, so that no logarithm of a rounded 0 is taken.
 * The temperature T = 1/b minimises L(b) = mean log sum_k exp(b l_k) - b l_label, which is convex: Newton's steps
 * on L', held inside a bracket.  */
#include <math.h>
#include <stdlib.h>

#include <diffeo/calibration.h>
#include "base/ctx_impl.h"

/* p (k) = softmax(b l); returns log sum_k exp(b l_k).  */
static double softmax(size_t k, const double *l, double b, double *p)
{
    double top = -INFINITY, sum = 0;
    for (size_t c = 0; c < k; c++)
        top = fmax(top, b * l[c]);
    for (size_t c = 0; c < k; c++) {
        p[c] = exp(b * l[c] - top);
        sum += p[c];
    }
    for (size_t c = 0; c < k; c++)
        p[c] /= sum;
    return top + log(sum);
}

static dfo_status check(dfo_ctx *ctx, const dfo_predictions *p)
{
    if (!p->n || !p->k)
        return dfoi_fail(ctx, DFO_EARG, "calibration: no predictions (%zu rows of %zu classes)", p->n, p->k);
    for (size_t i = 0; i < p->n; i++) {
        if (p->label[i] >= p->k)
            return dfoi_fail(ctx, DFO_EARG, "calibration: row %zu: label %u, expected 0 to %zu", i, p->label[i], p->k - 1);
        for (size_t c = 0; c < p->k; c++)
            if (!isfinite(p->logits[i * p->k + c]))
                return dfoi_fail(ctx, DFO_EARG, "calibration: row %zu: logit %zu is not finite", i, c);
    }
    return DFO_OK;
}

void dfo_calibration_softmax(const dfo_predictions *p, double *probability)
{
    for (size_t i = 0; i < p->n; i++)
        softmax(p->k, p->logits + i * p->k, 1 / p->temperature, probability + i * p->k);
}

/* A row's confidence and whether its predicted class was right.  */
struct row {
    double confidence;
    int    right;
};

static int rising(const void *a, const void *b)
{
    const struct row *x = a, *y = b;
    if (x->confidence != y->confidence)
        return x->confidence < y->confidence ? -1 : 1;
    return x->right - y->right;        /* so that the order is the same with any qsort */
}

/* Bin of a probability: (i/bins, (i+1)/bins], 0 in the first.  */
static size_t bin_of(double p, size_t bins)
{
    double at = ceil(p * (double)bins) - 1;
    return at < 1 ? 0 : at >= (double)bins ? bins - 1 : (size_t)at;
}

static void add(dfo_reliability *b, double confidence, int right)
{
    b->rows++;
    b->confidence += confidence;
    b->accuracy += right;
}

/* Sums to means; returns the bins' calibration error, the largest in *worst.  */
static double finish(dfo_reliability *b, size_t bins, size_t n, double *worst)
{
    double error = 0;
    *worst = 0;
    for (size_t i = 0; i < bins; i++) {
        double rows = (double)b[i].rows;
        b[i].confidence = rows > 0 ? b[i].confidence / rows : NAN;
        b[i].accuracy = rows > 0 ? b[i].accuracy / rows : NAN;
        if (!(rows > 0))
            continue;
        double gap = fabs(b[i].accuracy - b[i].confidence);
        error += rows / (double)n * gap;
        *worst = fmax(*worst, gap);
    }
    return error;
}

static void begin(dfo_reliability *b, size_t bins)
{
    for (size_t i = 0; i < bins; i++)
        b[i] = (dfo_reliability){.low = (double)i / (double)bins, .high = (double)(i + 1) / (double)bins};
}

/* Accuracy, likelihood and Brier's score; probability (n, k) and row (n) are filled for the bins.  */
static void proper_scores(const dfo_predictions *p, double *probability, struct row *row, dfo_calibration *out)
{
    size_t right = 0;
    double nll = 0, brier = 0;
    for (size_t i = 0; i < p->n; i++) {
        const double *l = p->logits + i * p->k;
        double *q = probability + i * p->k, b = 1 / p->temperature;
        size_t best = 0, label = p->label[i];
        nll += softmax(p->k, l, b, q) - b * l[label];
        for (size_t c = 0; c < p->k; c++) {
            double e = q[c] - (c == label);
            brier += e * e;
            best = l[c] > l[best] ? c : best;
        }
        row[i] = (struct row){q[best], best == label};
        right += best == label;
    }
    out->accuracy = (double)right / (double)p->n;
    out->nll = nll / (double)p->n;
    out->brier = brier / (double)p->n;
}

static double equal_width(size_t n, const struct row *row, size_t bins, dfo_reliability *table, double *worst)
{
    begin(table, bins);
    for (size_t i = 0; i < n; i++)
        add(&table[bin_of(row[i].confidence, bins)], row[i].confidence, row[i].right);
    return finish(table, bins, n, worst);
}

static double equal_mass(size_t n, struct row *row, size_t bins, dfo_reliability *mass)
{
    double worst;
    qsort(row, n, sizeof *row, rising);
    for (size_t b = 0; b < bins; b++) {
        size_t first = n * b / bins, end = n * (b + 1) / bins;
        mass[b] = (dfo_reliability){.low = NAN, .high = NAN};
        if (end > first) {
            mass[b].low = row[first].confidence;
            mass[b].high = row[end - 1].confidence;
        }
        for (size_t i = first; i < end; i++)
            add(&mass[b], row[i].confidence, row[i].right);
    }
    return finish(mass, bins, n, &worst);
}

static double classwise(const dfo_predictions *p, const double *probability, size_t bins, dfo_reliability *table)
{
    double sum = 0, worst;
    for (size_t c = 0; c < p->k; c++) {
        begin(table, bins);
        for (size_t i = 0; i < p->n; i++) {
            double q = probability[i * p->k + c];
            add(&table[bin_of(q, bins)], q, p->label[i] == c);
        }
        sum += finish(table, bins, p->n, &worst);
    }
    return sum / (double)p->k;
}

dfo_status dfo_calibration_measure(dfo_ctx *ctx, const dfo_predictions *p, size_t bins, dfo_calibration *out,
                                   dfo_reliability *table, dfo_reliability *mass)
{
    dfo_status status;
    double *probability = NULL;
    struct row *row = NULL;
    dfo_reliability *own = NULL;
    if (!bins)
        return dfoi_fail(ctx, DFO_EARG, "calibration: bins must be at least 1");
    if (!(p->temperature > 0) || !isfinite(p->temperature))
        return dfoi_fail(ctx, DFO_EARG, "calibration: the temperature must be positive, got %g", p->temperature);
    DFO_TRY(check(ctx, p));
    DFO_GO(dfoi_alloc(ctx, p->n, p->k * sizeof *probability, &probability));
    DFO_GO(dfoi_alloc(ctx, p->n, sizeof *row, &row));
    DFO_GO(dfoi_alloc(ctx, bins, sizeof *own, &own));
    proper_scores(p, probability, row, out);
    out->ece_classwise = classwise(p, probability, bins, own);
    out->ece = equal_width(p->n, row, bins, table ? table : own, &out->mce);
    out->ece_mass = equal_mass(p->n, row, bins, mass ? mass : own);
fail:
    dfoi_free(ctx, own);
    dfoi_free(ctx, row);
    dfoi_free(ctx, probability);
    return status;
}

/* L'(b) = mean E[l] - l_label, and L''(b) = mean Var[l] under softmax(b l).  */
static double slope(const dfo_predictions *p, double b, double *q, double *curvature)
{
    double first = 0, second = 0;
    for (size_t i = 0; i < p->n; i++) {
        const double *l = p->logits + i * p->k;
        double mean = 0, square = 0;
        softmax(p->k, l, b, q);
        for (size_t c = 0; c < p->k; c++)
            mean += q[c] * l[c];
        for (size_t c = 0; c < p->k; c++)
            square += q[c] * (l[c] - mean) * (l[c] - mean);
        first += mean - l[p->label[i]];
        second += square;
    }
    *curvature = second / (double)p->n;
    return first / (double)p->n;
}

dfo_status dfo_calibration_temperature(dfo_ctx *ctx, const dfo_predictions *p, double *temperature)
{
    double low = 1e-3, high = 1e3, b = 1, curvature, *q;
    DFO_TRY(check(ctx, p));
    DFO_TRY(dfoi_alloc(ctx, p->k, sizeof *q, &q));
    for (int i = 0; i < 200 && high - low > 1e-12 * high; i++) {
        double s = slope(p, b, q, &curvature);
        if (s > 0)
            high = b;
        else
            low = b;
        double next = curvature > 0 ? b - s / curvature : 0;
        if (!(next > low && next < high))
            next = sqrt(low * high);
        if (fabs(next - b) <= 1e-12 * b)
            break;
        b = next;
    }
    dfoi_free(ctx, q);
    *temperature = 1 / b;
    return DFO_OK;
}

/* Axes without the drawing: ticks at 1, 2 or 5 times powers of ten, and short texts for them.  */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "plot/axis_impl.h"

#define MINUS "\xe2\x88\x92"

/* The round step of which about `target` fit into the range.  */
static double round_step(double range, size_t target)
{
    double raw = range / (double)(target ? target : 1), unit = pow(10, floor(log10(raw))),
           f = raw / unit;
    return (f < 1.5 ? 1 : f < 3 ? 2 : f < 7 ? 5 : 10) * unit;
}

/* "1.5e-6" with a real minus sign and without zeros at the mantissa's end.  */
static void exponent_text(double v, int digits, char *text, size_t size)
{
    char plain[24];
    snprintf(plain, sizeof plain, "%.*e", digits, fabs(v));
    char *e = strchr(plain, 'e');
    if (!e || !(fabs(v) > 0)) {
        snprintf(text, size, "0");
        return;
    }
    int exponent = 0, negative = e[1] == '-';
    for (const char *c = e + 2; *c; c++)
        exponent = 10 * exponent + (*c - '0');
    char *end = e;
    while (strchr(plain, '.') && end > plain && (end[-1] == '0' || end[-1] == '.'))
        if (*--end == '.')
            break;
    *end = 0;
    snprintf(text, size, "%s%se%s%d", v < 0 ? MINUS : "", plain, negative ? MINUS : "", exponent);
}

static void linear_ticks(struct dfoi_axis *axis, size_t target)
{
    double step, first, last, most = fmax(fabs(axis->low), fabs(axis->high));
    for (size_t wanted = target;; wanted++) { /* two at least, so that they tell the scale */
        step = round_step(axis->high - axis->low, wanted);
        first = ceil(axis->low / step - 1e-9);
        last = floor(axis->high / step + 1e-9);
        if (last > first || target < 2 || wanted > 2 * target + 4)
            break;
    }
    int exponent = (int)floor(log10(step) + 1e-9), decimals = exponent < 0 ? -exponent : 0;
    int digits = (int)floor(log10(most) + 1e-9) - exponent;
    int plain = most < 5e6 && exponent >= -4;
    for (double k = first; k <= last && axis->n < DFOI_TICKS; k++) {
        double v = k * step;
        char *text = axis->text[axis->n];
        axis->tick[axis->n++] = v;
        if (plain)
            snprintf(text, DFOI_TICK_TEXT, "%s%.*f", k < 0 ? MINUS : "", decimals, fabs(v));
        else
            exponent_text(v, digits < 0 ? 0 : digits > 12 ? 12 : digits, text, DFOI_TICK_TEXT);
    }
}

/* "10" with the exponent raised, or the number itself where it is short.  */
static void power_text(int exponent, int plain, char *text, size_t size)
{
    static const char *const raised[] = {
        "\xe2\x81\xb0", "\xc2\xb9",     "\xc2\xb2",     "\xc2\xb3",     "\xe2\x81\xb4",
        "\xe2\x81\xb5", "\xe2\x81\xb6", "\xe2\x81\xb7", "\xe2\x81\xb8", "\xe2\x81\xb9"};
    int e = exponent < 0 ? -exponent : exponent;
    if (plain)
        snprintf(text, size, "%g", pow(10, exponent));
    else
        snprintf(text, size, "10%s%s%s%s", exponent < 0 ? "\xe2\x81\xbb" : "",
                 e >= 100 ? raised[e / 100 % 10] : "", e >= 10 ? raised[e / 10 % 10] : "",
                 raised[e % 10]);
}

static void log_ticks(struct dfoi_axis *axis, size_t target)
{
    int first = (int)ceil(log10(axis->low) - 1e-9), last = (int)floor(log10(axis->high) + 1e-9);
    if (last - first < 1) { /* less than a whole decade: round numbers within it */
        linear_ticks(axis, target);
        return;
    }
    int every = 1 + (last - first) / (int)(target ? target : 1);
    int plain = first >= -3 && last <= 4;
    for (int e = first; e <= last && axis->n < DFOI_TICKS; e++)
        if ((e - first) % every == 0) {
            axis->tick[axis->n] = pow(10, e);
            power_text(e, plain, axis->text[axis->n++], DFOI_TICK_TEXT);
        }
    for (int e = first - 1; e <= last; e++)
        for (int m = 1; m < 10; m++) {
            double v = m * pow(10, e);
            int wanted =
                every == 1 ? m > 1 : m == 1; /* between decades, or the decades without a text */
            if (wanted && last - first < 12 && v > axis->low && v < axis->high &&
                axis->minors < DFOI_MINORS)
                axis->minor[axis->minors++] = v;
        }
}

void dfoi_axis_set(struct dfoi_axis *axis, double low, double high, int log, size_t target)
{
    memset(axis, 0, sizeof *axis);
    axis->low = low;
    axis->high = high;
    axis->log = log;
    if (target > DFOI_TICKS / 2)
        target = DFOI_TICKS / 2;
    if (log)
        log_ticks(axis, target);
    else
        linear_ticks(axis, target);
}

double dfoi_axis_place(const struct dfoi_axis *axis, double value)
{
    if (axis->log)
        return log(value / axis->low) / log(axis->high / axis->low);
    return (value - axis->low) / (axis->high - axis->low);
}

void dfoi_range_pad(double *low, double *high, int log, double share)
{
    if (log) {
        double by = *low < *high ? pow(*high / *low, share) : 2;
        *low /= by;
        *high *= by;
        return;
    }
    double by = share * (*high - *low), least = 1e-9 * fmax(fabs(*low), fabs(*high));
    if (!(*high - *low > least))
        by = fmax(0.5, 0.05 * fabs(*low));
    *low -= by;
    *high += by;
}

int dfoi_range_of(size_t n, const double *x, size_t stride, int log, double *low, double *high)
{
    int any = 0;
    for (size_t i = 0; i < n; i++) {
        double v = x[i * stride];
        if (!isfinite(v) || (log && v <= 0))
            continue;
        *low = any ? fmin(*low, v) : v;
        *high = any ? fmax(*high, v) : v;
        any = 1;
    }
    return any;
}

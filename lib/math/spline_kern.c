/* Monotonic rational-quadratic splines (Gregory and Delbourgo 1982; Durkan, Bekasov, Murray and
 * Papamakarios 2019), elementwise, DFOI_VBYTES of values at a time.
 *
 *   width_k = 2B (mw + (1 - K mw) softmax(scale * raw)_k), heights alike; slope = md +
 * softplus(raw). Bin [x0, x0+w] -> [y0, y0+h], slopes d0, d1 at its ends, s = h/w, xi = (x-x0)/w,
 * om = 1-xi: N = s xi^2 + d0 xi om     Dn = N + s om^2 + d1 xi om     M = d1 xi^2 + 2 s xi om + d0
 * om^2 y = y0 + h N/Dn = y1 - h (Dn-N)/Dn        dy/dx = s^2 M / Dn^2 Every sum here has positive
 * terms only, so nothing cancels.
 *
 * Inverse: eta = (y-y0)/h, e = 1-eta.  The quadratic's discriminant is a sum of squares,
 *   q = d0 e - d1 eta,  R^2 = q^2 + 4 s^2 eta e,  P = |q| + R,
 *   q >= 0: u = 2 s eta, xi = u/(u+P), om = P/(u+P);   q < 0: u = 2 s e, om = u/(u+P), xi =
 * P/(u+P): it always exists, lies in [0,1], and both xi and om are exact to rounding.
 *
 * Places on the axes are integers in the float build: multiples of 2^-shift with B 2^shift in
 * [2^28, 2^29).  So cumulative sums are exact, a narrow bin's width keeps float's relative
 * precision, both directions see identical knots, and the last one is +B.  In the double build
 * places are plain doubles and shift is 0.
 *
 * A value outside [-B, B] (or NaN) passes unchanged with log-derivative 0; in the circular variant
 * it is first wrapped into [-B, B].  */
#include "math/fun_impl.h"
#include "math/isa_impl.h"
#include "math/spline_impl.h"

/* All of it becomes one function for each pass, so that the number of lanes is a constant there. */
#define INLINE inline __attribute__((always_inline))
#define LANES (DFOI_VBYTES / sizeof(dfo_real))

typedef dfo_real vec __attribute__((vector_size(DFOI_VBYTES)));
#ifdef DFO_DOUBLE
typedef int64_t mask __attribute__((vector_size(DFOI_VBYTES)));
typedef vec place;
#else
typedef int32_t mask __attribute__((vector_size(DFOI_VBYTES)));
typedef uint32_t place __attribute__((vector_size(DFOI_VBYTES))); /* wraps; read as signed */
#endif

/* Lane by lane; each of these loops becomes a few vector instructions.  */
#define EACH_LANE _Pragma("GCC unroll 1") for (size_t l = 0; l < LANES; l++)
#define MAP(name, f)                                                                               \
    static INLINE vec name(vec x)                                                                  \
    {                                                                                              \
        vec y = x;                                                                                 \
        EACH_LANE                                                                                  \
            y[l] = f(x[l]);                                                                        \
        return y;                                                                                  \
    }
MAP(root, dfoi_sqrt)
MAP(magnitude, dfoi_fabs)
MAP(logarithm, dfoi_fun_log)
MAP(log1p_unit, dfoi_fun_log1p_unit)

/* e^x for x <= 0; what is below the smallest normal number becomes just that.  */
static INLINE dfo_real exp_negative(dfo_real x)
{
    const dfo_real low = DFOI_C(-87.0f, -708.0);
    dfo_real t;
    dfo_real p = dfoi_exp_core(x < low ? low : x, &t);
    dfo_real s = dfoi_pow2(t);
    return s + s * p;
}
MAP(exponential, exp_negative)

/* Where `where` is all ones `yes`, where zero `no`.  SSE2 cannot compare 64-bit integers, so that
 * gcc would go through the lanes one by one; it makes AVX2's blends of the bit operations too.  */
#if DFOI_VBYTES < 64
static INLINE vec pick(mask where, vec yes, vec no)
{
    return (vec)((where & (mask)yes) | (~where & (mask)no));
}
#else
static INLINE vec pick(mask where, vec yes, vec no)
{
    vec y = no;
    EACH_LANE
        y[l] = where[l] ? yes[l] : no[l];
    return y;
}
#endif

static INLINE vec larger(vec a, vec b)
{
    vec y = b;
    EACH_LANE
        y[l] = a[l] > b[l] ? a[l] : b[l];
    return y;
}

static INLINE vec broadcast(dfo_real x)
{
    return x - (vec){0};
}

static INLINE vec load(const dfo_real *p, size_t n)
{
    vec v = {0};
    memcpy(&v, p, n * sizeof *p);
    return v;
}

static INLINE void store(dfo_real *p, size_t n, vec v)
{
    memcpy(p, &v, n * sizeof *p);
}

#ifdef DFO_DOUBLE
static INLINE place to_place(vec x)
{
    return x;
}
static INLINE vec from_place(place p)
{
    return p;
}
static INLINE mask reaches(place at, place knot)
{
    return at >= knot;
}
static INLINE place pick_place(mask where, place yes, place no)
{
    return pick(where, yes, no);
}
#else
static INLINE place to_place(vec x)
{
    return (place) __builtin_convertvector(x, mask);
}
static INLINE vec from_place(place p)
{
    return __builtin_convertvector((mask)p, vec);
}
static INLINE mask reaches(place at, place knot)
{
    return (mask)at >= (mask)knot;
}
static INLINE place pick_place(mask where, place yes, place no)
{
    place y = no;
    EACH_LANE
        y[l] = where[l] ? yes[l] : no[l];
    return y;
}
#endif

/* What all values of a call share.  */
struct shape {
    size_t bins, params, m;
    int circular;
    dfo_real bound, scale, min_derivative;
    dfo_real to_grid, from_grid; /* 2^shift, 2^-shift */
    dfo_real share_w, share_h;   /* (1 - K mw), (1 - K mh) */
    dfo_real min_w, min_h;
    dfo_real span; /* 2B on the grid */
};

static struct shape shape_of(const dfoi_spline *how, size_t m)
{
    struct shape s = {.bins = how->bins,
                      .params = 3 * how->bins - (how->circular ? 0 : 1),
                      .m = m,
                      .circular = how->circular,
                      .bound = how->bound,
                      .scale = how->scale,
                      .min_derivative = how->min_derivative,
                      .min_w = how->min_width,
                      .min_h = how->min_height};
    int shift = 0;
#ifndef DFO_DOUBLE
    (void)frexpf(how->bound, &shift); /* bound = f 2^shift, f in [1/2, 1) */
    shift = 29 - shift;
#endif
    s.to_grid = (dfo_real)ldexp(1, shift);
    s.from_grid = (dfo_real)ldexp(1, -shift);
    s.share_w = (dfo_real)1 - (dfo_real)how->bins * how->min_width;
    s.share_h = (dfo_real)1 - (dfo_real)how->bins * how->min_height;
    s.span = (dfo_real)2 * how->bound * s.to_grid;
    return s;
}

/* The exponentials of the softmaxes, kept for the gradient: e^(raw - max) per bin, and 1/sum.  */
struct shares {
    vec w[DFOI_SPLINE_MAX_BINS], h[DFOI_SPLINE_MAX_BINS];
    vec inverse_w, inverse_h;
};

static INLINE vec softmax(const struct shape *s, const dfo_real *raw, size_t n, vec *share)
{
    vec top = load(raw, n), sum = {0};
    for (size_t k = 1; k < s->bins; k++)
        top = larger(load(raw + k * s->m, n), top);
    for (size_t k = 0; k < s->bins; k++) {
        share[k] = exponential((load(raw + k * s->m, n) - top) * s->scale);
        sum += share[k];
    }
    return (dfo_real)1 / sum;
}

/* The bin that a value lies in.  */
struct bin {
    place x0, x1, y0, y1;
    vec w, h; /* x1 - x0, y1 - y0 as reals, on the grid */
    vec index;
    vec s, d0, d1;          /* h/w and the slopes at its ends */
    vec rw;                 /* 1/w */
    vec sigmoid0, sigmoid1; /* d d0/d raw, d d1/d raw */
};

/* md + softplus(raw), and its derivative if wanted.  */
static INLINE vec slope(const struct shape *s, vec raw, vec *sigmoid)
{
    vec e = exponential(-magnitude(raw));
    if (sigmoid)
        *sigmoid = pick(raw >= 0, broadcast(1), e) / ((dfo_real)1 + e);
    return larger(raw, broadcast(0)) + log1p_unit(e) + s->min_derivative;
}

/* Finds the bin of `at`, a place on the y axis where `on_y`, on the x axis otherwise.  */
static INLINE struct bin find(const struct shape *s, const dfo_real *par, size_t n, place at,
                              int on_y, int gradient, struct shares *share)
{
    const size_t bins = s->bins;
    const dfo_real *raw =
        par + 2 * bins * s->m; /* slope at knot k: raw + k m, circular; else raw + (k-1) m */
    const size_t first = s->circular ? 0 : 1;
    share->inverse_w = softmax(s, par, n, share->w);
    share->inverse_h = softmax(s, par + bins * s->m, n, share->h);
    vec unit_w = share->inverse_w * (s->span * s->share_w),
        unit_h = share->inverse_h * (s->span * s->share_h);
    const dfo_real half = DFOI_C(0.5f, 0); /* to_place cuts: round instead */
    vec least_w = broadcast(s->span * s->min_w + half),
        least_h = broadcast(s->span * s->min_h + half);

    place high = to_place(broadcast(s->bound * s->to_grid)), x = -high, y = -high;
    place w = high - x, h = high - y;
    if (bins > 1) {
        w = to_place(share->w[0] * unit_w + least_w);
        h = to_place(share->h[0] * unit_h + least_h);
    }
    struct bin b = {.x0 = x, .y0 = y};
    place bw = w, bh = h;
    vec raw0 = {0}, raw1 = {0}, next = {0};
    if (s->circular)
        raw0 = load(raw, n);
    if (s->circular || bins > 1)
        raw1 = next = load(raw + (bins > 1 ? 1 - first : 0) * s->m, n);
    for (size_t k = 1; k < bins; k++) {
        vec here = next;
        x += w;
        y += h;
        if (k + 1 < bins) {
            w = to_place(share->w[k] * unit_w + least_w);
            h = to_place(share->h[k] * unit_h + least_h);
            next = load(raw + (k + 1 - first) * s->m, n);
        } else {
            w = high - x;
            h = high - y;
            if (s->circular)
                next = load(raw, n);
        }
        mask in = reaches(at, on_y ? y : x);
        b.x0 = pick_place(in, x, b.x0);
        b.y0 = pick_place(in, y, b.y0);
        bw = pick_place(in, w, bw);
        bh = pick_place(in, h, bh);
        raw0 = pick(in, here, raw0);
        raw1 = pick(in, next, raw1);
        b.index = pick(in, broadcast((dfo_real)k), b.index);
    }
    b.x1 = b.x0 + bw;
    b.y1 = b.y0 + bh;
#ifdef DFO_DOUBLE
    b.x1 = pick(b.index == (dfo_real)(bins - 1), high, b.x1); /* to the last bit */
    b.y1 = pick(b.index == (dfo_real)(bins - 1), high, b.y1);
#endif
    b.w = from_place(b.x1 - b.x0);
    b.h = from_place(b.y1 - b.y0);
    b.d0 = slope(s, raw0, gradient ? &b.sigmoid0 : NULL);
    b.d1 = slope(s, raw1, gradient ? &b.sigmoid1 : NULL);
    if (!s->circular) {
        b.d0 = pick(b.index == 0, broadcast(1), b.d0);
        b.d1 = pick(b.index == (dfo_real)(bins - 1), broadcast(1), b.d1);
    }
    b.rw = (dfo_real)1 / b.w;
    /* a NaN among the raw widths or heights, which integers cannot carry, goes on in s */
    b.s = b.h * b.rw + (share->inverse_w + share->inverse_h) * (dfo_real)0;
    return b;
}

/* The spline at a point: xi and 1 - xi, their products, N, Dn - N, 1/Dn, M and dy/dx.  */
struct point {
    vec xi, om, xx, oo, a, n, rest, rdn, m, dydx;
};

static INLINE struct point evaluate(const struct bin *b, vec xi, vec om)
{
    struct point p = {.xi = xi, .om = om, .xx = xi * xi, .oo = om * om, .a = xi * om};
    p.n = b->s * p.xx + b->d0 * p.a;
    p.rest = b->s * p.oo + b->d1 * p.a;
    p.rdn = (dfo_real)1 / (p.n + p.rest);
    p.m = b->d1 * p.xx + (dfo_real)2 * b->s * p.a + b->d0 * p.oo;
    vec t = b->s * p.rdn;
    p.dydx = (t * p.m) * t;
    return p;
}

/* x inside the box (0 where it is not), and where it is.  */
static INLINE mask box(const struct shape *s, vec *x)
{
    if (s->circular) {
        /* rounded to the nearest integer by adding 1.5 * 2^mantissa; beyond that, x is an integer
         */
        vec turns = *x * ((dfo_real)0.5 / s->bound), rounded = (turns + DFOI_MAGIC) - DFOI_MAGIC;
        mask huge = magnitude(turns) >= DFOI_C(4194304.0f, 2251799813685248.0);
        vec wrapped = *x - pick(huge, turns, rounded) * ((dfo_real)2 * s->bound);
        wrapped = pick(wrapped > s->bound, broadcast(s->bound), wrapped);
        wrapped = pick(wrapped < -s->bound, broadcast(-s->bound), wrapped);
        *x = pick(magnitude(*x) <= s->bound, *x, wrapped);
    }
    return magnitude(*x) <= s->bound;
}

/* From the nearer end: first + length*ratio or last - length*rest, where ratio + rest = 1.  So the
 * ends are exact and the result stays in the bin.  NaN where ratio is NaN.  */
static INLINE vec between(const struct shape *s, place first, place last, vec length, vec ratio,
                          vec rest)
{
    mask up = ratio > rest;
    place off = to_place(length * pick(up, rest, ratio));
    return from_place(pick_place(up, last - off, first + off)) * s->from_grid + ratio * (dfo_real)0;
}

/* xi of x, and y.  */
static INLINE struct point at_x(const struct shape *s, const struct bin *b, place x, vec *y)
{
    struct point p = evaluate(b, from_place(x - b->x0) * b->rw, from_place(b->x1 - x) * b->rw);
    *y = between(s, b->y0, b->y1, b->h, p.n * p.rdn, p.rest * p.rdn);
    return p;
}

/* xi of y, and x.  */
static INLINE struct point at_y(const struct shape *s, const struct bin *b, place y, vec *x)
{
    vec rh = (dfo_real)1 / b->h;
    vec eta = from_place(y - b->y0) * rh, rest = from_place(b->y1 - y) * rh;
    vec q = b->d0 * rest - b->d1 * eta, twice = (dfo_real)2 * b->s;
    mask up = q >= 0;
    vec large = magnitude(q) + root(q * q + twice * twice * (eta * rest)) + DFOI_TINY;
    vec small = twice * pick(up, eta, rest);
    vec r = (dfo_real)1 / (small + large);
    small *= r;
    large *= r;
    struct point p = evaluate(b, pick(up, small, large), pick(up, large, small));
    *x = between(s, b->x0, b->x1, b->w, p.xi, p.om);
    return p;
}

/* The part of d logdet/d xi.  */
static INLINE vec log_slope_by_xi(const struct bin *b, const struct point *p, vec rm)
{
    vec skew = p->om - p->xi;
    return (dfo_real)2 * ((b->d1 * p->xi + b->s * skew - b->d0 * p->om) * rm -
                          (b->d0 + b->d1 - (dfo_real)2 * b->s) * skew * p->rdn);
}

/* Writes the gradient of yb*y + lb*log(dy/dx) with respect to the raw parameters.  */
static INLINE void parameters(const struct shape *s, const struct shares *share,
                              const struct bin *b, const struct point *p, vec rm, vec yb, vec lb,
                              size_t n, dfo_real *gpar)
{
    const size_t bins = s->bins, m = s->m;
    vec hr = b->h * s->from_grid * p->rdn * p->rdn * yb; /* yb h / Dn^2 */
    vec by_xi = hr * b->s * p->m + lb * log_slope_by_xi(b, p, rm);
    vec sum = b->d0 + b->d1;
    vec by_log_s = hr * b->s * p->a * (b->d1 * p->xx - b->d0 * p->oo) +
                   lb * (dfo_real)2 * p->a * (sum * p->rdn + b->s * rm);
    vec both = lb * (dfo_real)-2 * p->a * p->rdn;
    vec by_d0 = (hr * p->a * p->rest + lb * p->oo * rm + both) * b->sigmoid0;
    vec by_d1 = (lb * p->xx * rm - hr * p->a * p->n + both) * b->sigmoid1;

    /* widths of earlier bins, of this one; heights alike; through the softmax */
    dfo_real cw = s->span * s->share_w * s->scale, ch = s->span * s->share_h * s->scale;
    vec early_w = -by_xi * b->rw * cw, this_w = -(by_xi * p->xi + by_log_s) * b->rw * cw;
    vec early_h = yb * (s->from_grid * ch);
    vec this_h = early_h * p->n * p->rdn + by_log_s / b->h * ch;
    place low = to_place(broadcast(-s->bound * s->to_grid));
    vec before_w = (from_place(b->x0 - low) / s->span - b->index * s->min_w) / s->share_w;
    vec before_h = (from_place(b->y0 - low) / s->span - b->index * s->min_h) / s->share_h;
    vec mean_w = before_w * early_w + (b->w / s->span - s->min_w) / s->share_w * this_w;
    vec mean_h = before_h * early_h + (b->h / s->span - s->min_h) / s->share_h * this_h;
    early_w = (early_w - mean_w) * share->inverse_w;
    this_w = (this_w - mean_w) * share->inverse_w;
    mean_w = -mean_w * share->inverse_w;
    early_h = (early_h - mean_h) * share->inverse_h;
    this_h = (this_h - mean_h) * share->inverse_h;
    mean_h = -mean_h * share->inverse_h;
    for (size_t k = 0; k < bins; k++) {
        mask early = b->index > (dfo_real)k, this = b->index == (dfo_real)k;
        store(gpar + k * m, n, share->w[k] * pick(early, early_w, pick(this, this_w, mean_w)));
        store(gpar + (bins + k) * m, n,
              share->h[k] * pick(early, early_h, pick(this, this_h, mean_h)));
    }

    dfo_real *g = gpar + 2 * bins * m;
    vec end = b->index + (dfo_real)1, zero = {0}; /* the knot where d1 is taken */
    if (s->circular)
        end = pick(end == (dfo_real)bins, zero, end);
    for (size_t knot = s->circular ? 0 : 1; knot < bins; knot++, g += m)
        store(g, n,
              pick(b->index == (dfo_real)knot, by_d0, zero) +
                  pick(end == (dfo_real)knot, by_d1, zero));
}

static INLINE void forward_some(const struct shape *s, size_t n, const dfo_real *par, dfo_real *x,
                                dfo_real *ld, int on_y)
{
    struct shares share;
    vec from = load(x, n), to;
    mask in = box(s, &from);
    place at = to_place(pick(in, from, broadcast(0)) * s->to_grid);
    struct bin b = find(s, par, n, at, on_y, 0, &share);
    struct point p = on_y ? at_y(s, &b, at, &to) : at_x(s, &b, at, &to);
    vec l = pick(in, logarithm(p.dydx), broadcast(0));
    store(x, n, pick(in, to, from));
    store(ld, n, on_y ? load(ld, n) - l : load(ld, n) + l);
}

/* `from_y`: given z, dL/dz and dL/dlogdet, to x and dL/dx.  Else given x, dL/dx and dL/d(-logdet),
 * to z and dL/dz: the inverse's differential is (dz - f_theta dtheta) / f'.  */
static INLINE void backward_some(const struct shape *s, size_t n, const dfo_real *par, dfo_real *x,
                                 dfo_real *gx, const dfo_real *gld, dfo_real *gpar, int from_y)
{
    struct shares share;
    vec from = load(x, n), to, zero = {0};
    mask in = box(s, &from);
    place at = to_place(pick(in, from, zero) * s->to_grid);
    struct bin b = find(s, par, n, at, from_y, 1, &share);
    struct point p = from_y ? at_y(s, &b, at, &to) : at_x(s, &b, at, &to);
    vec g = load(gx, n), rm = (dfo_real)1 / p.m;
    vec lb = pick(in, load(gld, n), zero), yb = pick(in, g, zero), result;
    vec l = log_slope_by_xi(&b, &p, rm) * b.rw * s->to_grid;
    if (from_y) {
        result = g * p.dydx + lb * l;
    } else {
        lb = -lb;
        result = (g + lb * l) / p.dydx;
        yb = pick(in, -result, zero);
    }
    parameters(s, &share, &b, &p, rm, yb, lb, n, gpar);
    store(x, n, pick(in, to, from));
    store(gx, n, pick(in, result, g));
}

/* Runs over nb features of m values, the last few lanes of a feature apart.  */
#define OVER_ALL(full, rest)                                                                       \
    struct shape s = shape_of(how, m);                                                             \
    for (size_t f = 0; f < nb; f++) {                                                              \
        const size_t at = f * m, p = f * s.params * m;                                             \
        size_t i = 0;                                                                              \
        for (; i + LANES <= m; i += LANES)                                                         \
            full;                                                                                  \
        if (i < m)                                                                                 \
            rest;                                                                                  \
    }

static void forward(const dfoi_spline *how, size_t nb, size_t m, const dfo_real *par, dfo_real *x,
                    dfo_real *ld)
{
    OVER_ALL(forward_some(&s, LANES, par + p + i, x + at + i, ld + i, 0),
             forward_some(&s, m - i, par + p + i, x + at + i, ld + i, 0))
}

static void inverse(const dfoi_spline *how, size_t nb, size_t m, const dfo_real *par, dfo_real *z,
                    dfo_real *ld)
{
    OVER_ALL(forward_some(&s, LANES, par + p + i, z + at + i, ld + i, 1),
             forward_some(&s, m - i, par + p + i, z + at + i, ld + i, 1))
}

static void backward(const dfoi_spline *how, size_t nb, size_t m, const dfo_real *par, dfo_real *z,
                     dfo_real *gz, const dfo_real *gld, dfo_real *gpar)
{
    OVER_ALL(
        backward_some(&s, LANES, par + p + i, z + at + i, gz + at + i, gld + i, gpar + p + i, 1),
        backward_some(&s, m - i, par + p + i, z + at + i, gz + at + i, gld + i, gpar + p + i, 1))
}

static void inverse_backward(const dfoi_spline *how, size_t nb, size_t m, const dfo_real *par,
                             dfo_real *x, dfo_real *gx, const dfo_real *gld, dfo_real *gpar)
{
    OVER_ALL(
        backward_some(&s, LANES, par + p + i, x + at + i, gx + at + i, gld + i, gpar + p + i, 0),
        backward_some(&s, m - i, par + p + i, x + at + i, gx + at + i, gld + i, gpar + p + i, 0))
}

const struct dfoi_spline_kernels DFOI_TABLE(dfoi_spline_kernels) = {
    .forward = forward,
    .inverse = inverse,
    .backward = backward,
    .inverse_backward = inverse_backward,
};

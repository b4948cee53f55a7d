/* Grouped convolution with few channels a group. A vector of filters spans several groups, so its
 * lanes need different channels: the input is copied in an order in which each lane finds its own,
 * a few rows at a time that stay in the first cache, and what is left is a depthwise convolution
 * with `ci` inputs at each tap. In: a zk_conv with at most 16 filters a group, weights of any
 * order. Out: its pixels, with bias and activation.
 */
#ifndef ZK_CONV_GROUPED_H
#define ZK_CONV_GROUPED_H
#include "conv_depthwise.h"

#define SPREAD_FLOATS (4 << 10) /* of the rows that are copied, about */
#define SPREAD_COLS 14          /* least columns of a band */
#define SPREAD_ROWS 32          /* most rows of a band */

/* Where the weight of tap t, input channel c and filter o of a group lies: at cell(t) * tap + c *
 * in
 * + o * out + group * group. */
typedef struct {
    const float *w;
    int64_t tap, in, out, group;
    int64_t columns; /* of the kernel; 0: the taps follow each other */
} zk_weights;

typedef struct {
    const zk_conv *p;
    zk_weights w;
    const float *bias;
    int activation;
    float *packed; /* (vectors, taps, ci, VL), zero beyond the last filter */
    int64_t vectors;
    zk_bands bands;
    char *scratch; /* for each thread: rows of taps, then the copy */
    int64_t own_scratch;
} zk_grouped;

/* Cells [col, col + cols) of the rows of one image, copied for the lanes of one vector of filters.
 * The copy is a ring: row r of the input is row r % rows, (ci, cols, VL). */
typedef struct {
    const zk_conv *p;
    float *copy;
    int64_t rows, col, cols, next; /* next: row to be copied */
    int64_t filter, first;         /* of the vector; channel at which the copied vectors begin */
    int lanes, vectors;            /* vectors of channels that hold all lanes of one; 0: too many */
    int32_t at[VL];                /* where a lane's channel is */
} zk_spread;

static inline int64_t count_vectors(const zk_conv *p) { return zk_ceil(p->groups * p->co, VL); }

/* Where a panel of direct convolution would have few filters: measured on AVX2, it is faster from 8
 * filters a group on, from 16 channels of 4 filters on, and for windows of one cell and 4 x 4. */
static inline int is_spread(const zk_conv *p) {
    int64_t most = count_taps(p) > 1 ? 4 * VL : VL / 2;
    return p->groups > 1 && !p->solid && !is_depthwise(p) && p->co < VL && p->ci * p->co <= most;
}

/* --- the input, lane by lane */

/* Ready for the first row of a band. */
static inline zk_spread spread_of(const zk_conv *p, const zk_band *b, int64_t filter, float *copy) {
    zk_spread s = {.p = p, .copy = copy, .rows = reach(&p->v, 1), .filter = filter};
    int64_t left = first_cell(&p->h, b->col), right = left + reach(&p->h, b->cols);
    s.col = zk_min(zk_max(left, 0), p->h.in);
    s.cols = zk_max(zk_min(right, p->h.in) - s.col, 0);
    s.lanes = (int)zk_min(VL, p->groups * p->co - filter);
    int64_t channel = filter / p->co * p->ci, behind = (filter + s.lanes - 1) / p->co * p->ci + 1;
    s.vectors = (int)zk_ceil(behind - channel, VL);
    /* no vector, for any of the ci channels, may reach beyond a cell */
    s.first = zk_min(channel, p->groups * p->ci - p->ci + 1 - s.vectors * VL);
    if (s.vectors > 2 || s.first < 0) s.vectors = 0, s.first = channel;
    for (int l = 0; l < s.lanes; l++) s.at[l] = (int32_t)((filter + l) / p->co * p->ci - s.first);
    return s;
}

/* A row of cells: lane l of each is x[at[l]]. */
static void spread_scalars(const float *x, int64_t pitch, int64_t cols, const int32_t *at,
                           float *to) {
    for (; cols > 0; cols--, x += pitch, to += VL)
        for (int l = 0; l < VL; l++) to[l] = x[at[l]];
}

/* The same where all lanes are in one or two vectors from x on. */
ZK_INLINE void spread_vectors(const float *x, int64_t pitch, int64_t cols, vi at, float *to,
                              const int vectors) {
    for (; cols > 0; cols--, x += pitch, to += VL) {
        const vf a = vf_load(x);
        vf_store(to, vectors == 1 ? __builtin_shuffle(a, at)
                                  : __builtin_shuffle(a, vf_load(x + VL), at));
    }
}

/* One row of an image. */
static void spread_row(const zk_spread *s, int64_t image, int64_t row) {
    const zk_conv *p = s->p;
    int64_t pitch = p->groups * p->ci, cell = (image * p->v.in + row) * p->h.in + s->col;
    const float *x = p->in + cell * pitch + s->first;
    float *to = s->copy + row % s->rows * p->ci * s->cols * VL;
    for (int64_t c = 0; c < p->ci; c++, x++, to += s->cols * VL)
        if (s->vectors == 1) spread_vectors(x, pitch, s->cols, *(const vi *)s->at, to, 1);
        else if (s->vectors) spread_vectors(x, pitch, s->cols, *(const vi *)s->at, to, 2);
        else spread_scalars(x, pitch, s->cols, s->at, to);
}

/* --- the weights, lane by lane */

static void spread_weights(void *ctx, int64_t vector, int thread) {
    const zk_grouped *k = ctx;
    const zk_conv *p = k->p;
    int64_t filter = vector * VL, at[VL], lanes = zk_min(VL, p->groups * p->co - filter);
    float *to = k->packed + vector * count_taps(p) * p->ci * VL;
    (void)thread;
    memset(to, 0, (size_t)(count_taps(p) * p->ci * VL) * 4);
    for (int64_t l = 0; l < lanes; l++)
        at[l] = (filter + l) / p->co * k->w.group + (filter + l) % p->co * k->w.out;
    for (int64_t t = 0; t < count_taps(p); t++) {
        int64_t row = p->v.index + t / p->h.taps * p->v.dindex;
        int64_t cell = row * k->w.columns + p->h.index + t % p->h.taps * p->h.dindex;
        const float *w = k->w.w + (k->w.columns ? cell : t) * k->w.tap;
        for (int64_t c = 0; c < p->ci; c++, w += k->w.in, to += VL)
            for (int64_t l = 0; l < lanes; l++) to[l] = w[at[l]];
    }
}

/* Raw weights (kh, kw, ci, groups * co), or those of the convolution whose gradient this is
 * (turned), (kh, kw, co, groups * ci). */
static inline zk_weights raw_weights(const zk_conv *p, const float *w, int64_t columns,
                                     int turned) {
    int64_t filters = p->groups * (turned ? p->ci : p->co);
    if (turned) return (zk_weights){w, p->co * filters, 1, filters, p->ci, columns};
    return (zk_weights){w, p->ci * filters, filters, 1, p->co, columns};
}

/* Weights in the order of conv_pack.h. */
static inline zk_weights panel_weights(const zk_conv *p, const float *w) {
    int64_t tap = p->ci * PANEL;
    return (zk_weights){w, tap, PANEL, 1, count_taps(p) * tap, 0};
}

/* --- the convolution */

/* The depthwise convolution that one vector of filters and one band are; `p` becomes its shape. */
static inline zk_depthwise as_depthwise(const zk_spread *s, zk_conv *p) {
    zk_depthwise d = {.p = p, .lanes = s->lanes, .channels = VL, .inputs = p->ci, .pitch = VL};
    p->h.in = s->cols, p->h.shift -= s->col;
    d.over = s->cols * VL, d.down = p->ci * d.over;
    d.w_over = VL, d.w_across = p->ci * VL, d.w_down = p->h.taps * d.w_across;
    d.every = p->h.every * p->groups * p->co;
    return d;
}

/* Rows of taps of one row of pixels, whose cells are copied first. */
static int64_t list_spread(const zk_depthwise *d, zk_spread *s, int64_t image, int64_t row,
                           zk_tap_row *list) {
    const zk_axis *v = &s->p->v;
    int64_t top = first_cell(v, row), v0, v1, n = 0;
    taps_inside(v, top, &v0, &v1);
    s->next = zk_max(s->next, zk_max(top, 0));
    for (; v0 < v1 && s->next <= top + (v1 - 1) * v->dshift; s->next++)
        spread_row(s, image, s->next);
    for (int64_t j = v0; j < v1; j++)
        for (int64_t c = 0; c < d->inputs; c++, n++) {
            list[n].x = s->copy + (top + j * v->dshift) % s->rows * d->down + c * d->over;
            list[n].w = j * d->w_down + c * d->w_over;
        }
    return n;
}

static void grouped_task(void *ctx, int64_t task, int thread) {
    const zk_grouped *k = ctx;
    zk_band b = band_at(k->p, &k->bands, task / k->vectors);
    int64_t vector = task % k->vectors;
    zk_tap_row *list = (zk_tap_row *)(k->scratch + thread * k->own_scratch);
    float *copy = (float *)((char *)list + tap_list_bytes(k->p)), bias[VL] = {0};
    zk_conv p = *k->p;
    zk_spread s = spread_of(k->p, &b, vector * VL, copy);
    zk_depthwise d = as_depthwise(&s, &p);
    p.out += s.filter;
    if (p.residual) p.residual += s.filter;
    if (k->bias) memcpy(bias, k->bias + s.filter, (size_t)s.lanes * 4);
    d.bias = bias, d.activation = k->activation, d.runs = choose_runs(&p.h);
    d.w = k->packed + vector * count_taps(&p) * p.ci * VL;
    for (int64_t row = b.row; row < b.row + b.rows; row++) {
        int64_t n = list_spread(&d, &s, b.image, row, list);
        depthwise_row(&d, &b, b.image, row, list, list + n);
    }
}

static inline zk_bands spread_bands(const zk_conv *p) {
    int64_t cell = zk_max(reach(&p->v, 1), 1) * p->ci * VL * p->h.step;
    int64_t cols = zk_max(SPREAD_FLOATS / cell, SPREAD_COLS);
    zk_bands b = {.images = 1, .nimages = p->images, .nplanes = 1, .rows = 1, .cols = 1};
    b.nrows = zk_ceil(p->v.outs, SPREAD_ROWS), b.ncols = zk_ceil(p->h.outs, cols);
    if (b.nrows) b.rows = zk_ceil(p->v.outs, b.nrows), b.nrows = zk_ceil(p->v.outs, b.rows);
    if (b.ncols) b.cols = zk_ceil(p->h.outs, b.ncols), b.ncols = zk_ceil(p->h.outs, b.cols);
    return b;
}

/* Scratch memory of a thread. */
static inline int64_t spread_bytes(const zk_conv *p, const zk_bands *b) {
    int64_t cells = reach(&p->v, 1) * zk_min(reach(&p->h, b->cols), p->h.in);
    return tap_list_bytes(p) + zk_align(zk_max(cells, 0) * p->ci * VL * 4);
}

static inline int64_t spread_weight_bytes(const zk_conv *p) {
    return zk_align(count_vectors(p) * count_taps(p) * p->ci * VL * 4);
}

static inline int64_t grouped_scratch(const zk_conv *p, int threads) {
    zk_bands b = spread_bands(p);
    return spread_weight_bytes(p) + threads * spread_bytes(p, &b);
}

static inline void run_grouped(const zk_call *c, const zk_conv *p, zk_weights w, const float *bias,
                               int activation) {
    zk_grouped k = {.p = p, .w = w, .bias = bias, .activation = activation};
    k.vectors = count_vectors(p), k.bands = spread_bands(p);
    k.own_scratch = spread_bytes(p, &k.bands);
    k.packed = (float *)c->scratch, k.scratch = c->scratch + spread_weight_bytes(p);
    zk_parallel(c, k.vectors, spread_weights, &k);
    zk_parallel(c, count_bands(&k.bands) * k.vectors, grouped_task, &k);
}
#endif

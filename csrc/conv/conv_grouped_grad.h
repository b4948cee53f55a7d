/* Gradient of a grouped convolution with few channels a group with respect to its weights: that of
 * a depthwise one over the input in the order of conv_grouped.h, one vector of filters at a time.
 * Bands are shared out over a number of pieces that depends on the shapes alone, added in order. */
#ifndef ZK_CONV_GROUPED_GRAD_H
#define ZK_CONV_GROUPED_GRAD_H
#include "conv_depthwise_grad.h"
#include "conv_grouped.h"

typedef struct {
    const zk_conv *p; /* .in: x */
    const float *g;
    float *sums, *dw;                /* (pieces, vectors, taps, ci, VL); (taps, ci, filters) */
    int64_t vectors, pieces, floats; /* floats: of the sums of a vector */
    zk_bands bands;
    char *scratch; /* for each thread: rows of taps, then the copy */
    int64_t own_scratch;
} zk_grouped_grad;

/* The first filter of a vector; the last one may overlap the one before it. */
static inline int64_t filter_at(const zk_conv *p, int64_t vector) {
    return zk_min(vector * VL, p->groups * p->co - VL);
}

/* Adds one band to sum. */
static void grouped_grad_band(const zk_grouped_grad *k, const zk_band *b, int64_t filter, char *own,
                              float *sum) {
    zk_tap_row *list = (zk_tap_row *)own;
    zk_spread s = spread_of(k->p, b, filter, (float *)(own + tap_list_bytes(k->p)));
    zk_conv p = *k->p;
    zk_depthwise d = as_depthwise(&s, &p);
    zk_stretch line = {.sum = sum, .g_pitch = p.groups * p.co, .step = p.h.step * VL};
    line.across = p.h.dshift * VL, line.channels = VL, line.w_across = d.w_across;
    p.h.shift += b->col * p.h.step, p.h.outs = b->cols;
    for (int64_t row = b->row; row < b->row + b->rows; row++) {
        int64_t n = list_spread(&d, &s, b->image, row, list);
        int64_t pixel = (b->image * p.v.outs + row) * k->p->h.outs + b->col;
        line.g = k->g + pixel * line.g_pitch + filter;
        dot_row(&d, &line, list, list + n);
    }
}

/* One piece of the bands for one vector of filters. */
static void grouped_grad_task(void *ctx, int64_t task, int thread) {
    const zk_grouped_grad *k = ctx;
    int64_t piece = task / k->vectors, bands = count_bands(&k->bands);
    int64_t filter = filter_at(k->p, task % k->vectors);
    float *sum = k->sums + task * k->floats;
    memset(sum, 0, (size_t)k->floats * 4);
    for (int64_t i = bands * piece / k->pieces; i < bands * (piece + 1) / k->pieces; i++) {
        zk_band b = band_at(k->p, &k->bands, i);
        grouped_grad_band(k, &b, filter, k->scratch + thread * k->own_scratch, sum);
    }
}

/* dw of one vector of filters: the sum of all pieces. */
static void grouped_grad_sum(void *ctx, int64_t vector, int thread) {
    const zk_grouped_grad *k = ctx;
    int64_t filter = filter_at(k->p, vector), filters = k->p->groups * k->p->co;
    (void)thread;
    for (int64_t i = 0; i < k->floats; i += VL) {
        vf s = {0};
        for (int64_t piece = 0; piece < k->pieces; piece++)
            s += vf_load(k->sums + (piece * k->vectors + vector) * k->floats + i);
        float t[VL], *to = k->dw + i / VL * filters + filter;
        vf_store(t, s);
        for (int64_t l = vector * VL - filter; l < VL; l++) to[l] = t[l];
    }
}

static inline zk_grouped_grad plan_grouped_grad(const zk_conv *p) {
    zk_grouped_grad k = {.p = p, .vectors = count_vectors(p), .bands = spread_bands(p)};
    k.floats = count_taps(p) * p->ci * VL;
    k.pieces = zk_min(count_bands(&k.bands), DW_PIECES);
    k.own_scratch = spread_bytes(p, &k.bands);
    return k;
}

static inline int64_t grouped_grad_scratch(const zk_conv *p, int threads) {
    zk_grouped_grad k = plan_grouped_grad(p);
    return zk_align(k.pieces * k.vectors * k.floats * 4) + threads * k.own_scratch;
}

static inline void run_grouped_grad(const zk_call *c, const zk_conv *p, const float *g, float *dw) {
    zk_grouped_grad k = plan_grouped_grad(p);
    k.g = g, k.dw = dw, k.sums = (float *)c->scratch;
    k.scratch = c->scratch + zk_align(k.pieces * k.vectors * k.floats * 4);
    zk_parallel(c, k.pieces * k.vectors, grouped_grad_task, &k);
    zk_parallel(c, k.vectors, grouped_grad_sum, &k);
}
#endif

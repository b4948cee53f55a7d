/* Gradient of a depthwise convolution with respect to its weights: for each
 * tap, the sum over output pixels of x times g, channel by channel. Rows of
 * output are shared out over a fixed number of pieces that are added in order.
 * Reads the input where it lies. */
#ifndef ZK_CONV_DEPTHWISE_GRAD_H
#define ZK_CONV_DEPTHWISE_GRAD_H
#include "conv.h"

#define DW_PIECES 16
#define DW_VECTORS 4 /* of channels, summed together */

typedef struct {
    const zk_conv *p; /* .in: x */
    const float *g;
    float *sums; /* (pieces, taps, channels) */
    int64_t pieces;
} zk_depthwise_grad;

/* sum(c...) += x g over `cols` pixels that lie `step` floats apart in x */
ZK_INLINE void dot_channels(const float *x, const float *g, int64_t cols, int64_t step,
                            int64_t channels, float *sum, const int vectors) {
    vf s[DW_VECTORS];
    for (int v = 0; v < vectors; v++) s[v] = vf_load(sum + v * VL);
    for (int64_t i = 0; i < cols; i++, x += step, g += channels)
        for (int v = 0; v < vectors; v++) s[v] += vf_load(x + v * VL) * vf_load(g + v * VL);
    for (int v = 0; v < vectors; v++) vf_store(sum + v * VL, s[v]);
}

static void dot_rows(const float *x, const float *g, int64_t cols, int64_t step, int64_t channels,
                     float *sum) {
    int64_t c = 0;
    for (; c + DW_VECTORS * VL <= channels; c += DW_VECTORS * VL)
        dot_channels(x + c, g + c, cols, step, channels, sum + c, DW_VECTORS);
    for (; c + VL <= channels; c += VL)
        dot_channels(x + c, g + c, cols, step, channels, sum + c, 1);
    for (int64_t i = 0; i < cols; i++)
        for (int64_t k = c; k < channels; k++) sum[k] += x[i * step + k] * g[i * channels + k];
}

/* One row of output: adds to sum (taps, channels). */
static void depthwise_grad_row(const zk_depthwise_grad *d, int64_t image, int64_t row, float *sum) {
    const zk_conv *p = d->p;
    const zk_axis *v = &p->v, *h = &p->h;
    int64_t channels = p->groups;
    const float *g = d->g + (image * v->outs + row) * h->outs * channels;
    for (int64_t i = 0; i < v->taps; i++) {
        int64_t y = row * v->step + v->shift + i * v->dshift;
        if (y < 0 || y >= v->in) continue;
        const float *x = p->in + (image * v->in + y) * h->in * channels;
        for (int64_t j = 0; j < h->taps; j++) {
            int64_t at = h->shift + j * h->dshift;
            int64_t from = at < 0 ? zk_ceil(-at, h->step) : 0;
            int64_t to = at < h->in ? zk_min(zk_ceil(h->in - at, h->step), h->outs) : 0;
            if (from < to)
                dot_rows(x + (from * h->step + at) * channels, g + from * channels, to - from,
                         h->step * channels, channels, sum + (i * h->taps + j) * channels);
        }
    }
}

static void depthwise_grad_task(void *ctx, int64_t piece, int thread) {
    const zk_depthwise_grad *d = ctx;
    int64_t rows = d->p->v.outs, all = d->p->images * rows,
            floats = count_taps(d->p) * d->p->groups;
    (void)thread;
    for (int64_t at = all * piece / d->pieces; at < all * (piece + 1) / d->pieces; at++)
        depthwise_grad_row(d, at / rows, at % rows, d->sums + piece * floats);
}

static inline int64_t depthwise_grad_scratch(const zk_conv *p) {
    return DW_PIECES * count_taps(p) * p->groups * 4;
}

static inline void run_depthwise_grad(const zk_call *c, const zk_conv *p, const float *g,
                                      float *dw) {
    zk_depthwise_grad d = {p, g, (float *)c->scratch, DW_PIECES};
    int64_t floats = count_taps(p) * p->groups;
    memset(d.sums, 0, (size_t)(DW_PIECES * floats) * 4);
    zk_parallel(c, DW_PIECES, depthwise_grad_task, &d);
    add_pieces(c, d.sums, DW_PIECES, floats, dw);
}
#endif

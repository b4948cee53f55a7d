/* Gradient of a depthwise convolution with respect to its weights: for each tap, the sum over
 * output pixels of x times g, channel by channel. Rows of output are shared out over a fixed number
 * of pieces that are added in order. Reads the input where it lies. */
#ifndef ZK_CONV_DEPTHWISE_GRAD_H
#define ZK_CONV_DEPTHWISE_GRAD_H
#include "conv.h"
#include "conv_pieces.h"

#define DW_PIECES 16
#define DW_TAPS 4 /* neighbouring taps summed together */

typedef struct {
    const zk_conv *p; /* .in: x */
    const float *g;
    float *sums; /* (pieces, taps, channels) */
} zk_depthwise_grad;

/* A stretch of pixels of one row, and the taps they all meet. */
typedef struct {
    const float *x, *g;                   /* first tap of the first pixel */
    int64_t cols, step, across, channels; /* floats from pixel to pixel in x, and from tap to tap */
    float *sum;                           /* (taps, channels) */
} zk_stretch;

/* `vectors` vectors of channels from c: sum(tap, channels) += x g over the pixels. */
ZK_INLINE void dot_tile(const zk_stretch *k, int64_t c, const int taps, const int vectors) {
    const float *x = k->x + c, *g = k->g + c;
    vf s[DW_TAPS * 2];
#pragma GCC unroll 8
    for (int i = 0; i < taps * vectors; i++)
        s[i] = vf_load(k->sum + i / vectors * k->channels + c + i % vectors * VL);
    for (int64_t n = k->cols; n > 0; n--, x += k->step, g += k->channels)
#pragma GCC unroll 2
        for (int q = 0; q < vectors; q++) {
            vf a = vf_load(g + q * VL);
#pragma GCC unroll 4
            for (int t = 0; t < taps; t++)
                s[t * vectors + q] += vf_load(x + t * k->across + q * VL) * a;
        }
#pragma GCC unroll 8
    for (int i = 0; i < taps * vectors; i++)
        vf_store(k->sum + i / vectors * k->channels + c + i % vectors * VL, s[i]);
}

ZK_INLINE void dot_channels(const zk_stretch *k, const int taps) {
    int64_t c = 0;
    for (; c + 2 * VL <= k->channels; c += 2 * VL) dot_tile(k, c, taps, 2);
    for (; c + VL <= k->channels; c += VL) dot_tile(k, c, taps, 1);
    for (; c < k->channels; c++)
        for (int t = 0; t < taps; t++)
            for (int64_t i = 0; i < k->cols; i++)
                k->sum[t * k->channels + c] +=
                    k->x[i * k->step + t * k->across + c] * k->g[i * k->channels + c];
}

static void dot_taps(const zk_stretch *k, int64_t taps) {
    if (k->cols <= 0) return;
    switch (taps) {
    case 1:
        dot_channels(k, 1);
        break;
    case 2:
        dot_channels(k, 2);
        break;
    case 3:
        dot_channels(k, 3);
        break;
    default:
        dot_channels(k, DW_TAPS);
    }
}

/* Outputs whose tap j lies on the input. */
static inline void outs_inside(const zk_axis *a, int64_t j, int64_t *from, int64_t *to) {
    int64_t at = a->shift + j * a->dshift;
    *from = at < 0 ? zk_min(zk_ceil(-at, a->step), a->outs) : 0;
    *to = at < a->in ? zk_min(zk_ceil(a->in - at, a->step), a->outs) : 0;
    if (*to < *from) *to = *from;
}

/* Taps [j, j + taps) of a row of x and a row of g: first the pixels that meet all of them, then for
 * each tap those before and behind. */
static void dot_row(const zk_axis *h, const zk_stretch *row, int64_t j, int64_t taps) {
    int64_t from = 0, to = h->outs, a, z;
    for (int64_t t = 0; t < taps; t++) {
        outs_inside(h, j + t, &a, &z);
        from = zk_max(from, a), to = zk_min(to, z);
    }
    to = zk_max(from, to);
    const float *x = row->x + (h->shift * row->channels + j * row->across);
    zk_stretch k = *row;
    k.x = x + from * k.step, k.g += from * k.channels, k.cols = to - from;
    k.sum += j * k.channels;
    dot_taps(&k, taps);
    for (int64_t t = 0; t < taps; t++, x += k.across, k.sum += k.channels) {
        outs_inside(h, j + t, &a, &z);
        k.x = x + a * k.step, k.g = row->g + a * k.channels, k.cols = zk_min(from, z) - a;
        dot_taps(&k, 1);
        a = zk_max(a, to);
        k.x = x + a * k.step, k.g = row->g + a * k.channels, k.cols = z - a;
        dot_taps(&k, 1);
    }
}

/* One row of output: adds to sum (taps, channels). */
static void depthwise_grad_row(const zk_depthwise_grad *d, int64_t image, int64_t row, float *sum) {
    const zk_axis *v = &d->p->v, *h = &d->p->h;
    int64_t channels = d->p->groups, v0, v1, top = row * v->step + v->shift;
    zk_stretch k = {.step = h->step * channels, .across = h->dshift * channels};
    k.channels = channels;
    k.g = d->g + (image * v->outs + row) * h->outs * channels;
    taps_inside(v, top, &v0, &v1);
    for (int64_t i = v0; i < v1; i++) {
        k.x = d->p->in + (image * v->in + top + i * v->dshift) * h->in * channels;
        k.sum = sum + i * h->taps * channels;
        for (int64_t j = 0; j < h->taps; j += DW_TAPS)
            dot_row(h, &k, j, zk_min(DW_TAPS, h->taps - j));
    }
}

static void depthwise_grad_task(void *ctx, int64_t piece, int thread) {
    const zk_depthwise_grad *d = ctx;
    int64_t rows = d->p->v.outs, all = d->p->images * rows;
    float *sum = d->sums + piece * count_taps(d->p) * d->p->groups;
    (void)thread;
    for (int64_t at = all * piece / DW_PIECES; at < all * (piece + 1) / DW_PIECES; at++)
        depthwise_grad_row(d, at / rows, at % rows, sum);
}

static inline int64_t depthwise_grad_scratch(const zk_conv *p) {
    return DW_PIECES * count_taps(p) * p->groups * 4;
}

static inline void run_depthwise_grad(const zk_call *c, const zk_conv *p, const float *g,
                                      float *dw) {
    zk_depthwise_grad d = {p, g, (float *)c->scratch};
    int64_t floats = count_taps(p) * p->groups;
    memset(d.sums, 0, (size_t)(DW_PIECES * floats) * 4);
    zk_parallel(c, DW_PIECES, depthwise_grad_task, &d);
    add_pieces(c, d.sums, DW_PIECES, floats, dw);
}
#endif

/* Depthwise convolution, one filter a channel: every output vector is a sum of
 * products of vectors of channels. In: a zk_conv whose `groups` is the number
 * of channels, weights (kh, kw, channels) as they are. Out: its output pixels,
 * with bias and activation. Reads the input where it lies: a pixel near the
 * border takes the taps that meet the input. */
#ifndef ZK_CONV_DEPTHWISE_H
#define ZK_CONV_DEPTHWISE_H
#include "conv.h"
#include "conv_act.h"

#define DW_PIXELS 4 /* output pixels computed together */

typedef struct {
    const zk_conv *p;
    const float *w, *bias; /* bias (channels) or NULL */
    int64_t columns;       /* of the kernel */
    int activation;
    int64_t rows_per_task;
} zk_depthwise;

/* Taps [v0, v1) x [h0, h1) that meet the input. */
typedef struct {
    int64_t v0, v1, h0, h1;
} zk_taps;

/* x: where the first tap of pixel 0 would be, y: pixel 0; step, every: floats
 * from one pixel to the next. Channels [c, c + vectors * VL) of `pixels`
 * pixels. */
ZK_INLINE void depthwise_tile(const zk_depthwise *d, const zk_taps *k, const float *x, float *y,
                              int64_t step, int64_t every, int64_t c, const int pixels,
                              const int vectors) {
    const zk_axis *v = &d->p->v, *h = &d->p->h;
    int64_t channels = d->p->groups, down = v->dshift * h->in * channels;
    vf s[DW_PIXELS * 2];
    for (int i = 0; i < pixels * vectors; i++)
        s[i] = d->bias ? vf_load(d->bias + c + i % vectors * VL) : (vf){0};
    for (int64_t i = k->v0; i < k->v1; i++)
        for (int64_t j = k->h0; j < k->h1; j++) {
            int64_t cell = (v->index + i * v->dindex) * d->columns + h->index + j * h->dindex;
            const float *w = d->w + cell * channels + c;
            const float *from = x + i * down + j * h->dshift * channels + c;
#pragma GCC unroll 8
            for (int q = 0; q < vectors; q++) {
                vf b = vf_load(w + q * VL);
#pragma GCC unroll 8
                for (int r = 0; r < pixels; r++)
                    s[r * vectors + q] += vf_load(from + r * step + q * VL) * b;
            }
        }
    for (int r = 0; r < pixels; r++)
        for (int q = 0; q < vectors; q++)
            vf_store(y + r * every + c + q * VL, conv_activate(s[r * vectors + q], d->activation));
}

/* One channel of one pixel, for inputs with fewer channels than a vector holds.
 */
static inline void depthwise_one(const zk_depthwise *d, const zk_taps *k, const float *x, float *y,
                                 int64_t c) {
    const zk_axis *v = &d->p->v, *h = &d->p->h;
    int64_t channels = d->p->groups, down = v->dshift * h->in * channels;
    float s = d->bias ? d->bias[c] : 0;
    for (int64_t i = k->v0; i < k->v1; i++)
        for (int64_t j = k->h0; j < k->h1; j++) {
            int64_t cell = (v->index + i * v->dindex) * d->columns + h->index + j * h->dindex;
            s += x[i * down + j * h->dshift * channels + c] * d->w[cell * channels + c];
        }
    float t[VL] = {s};
    vf_store(t, conv_activate(vf_load(t), d->activation));
    y[c] = t[0];
}

/* All channels; the last vector may overlap the one before it. */
ZK_INLINE void depthwise_pixels(const zk_depthwise *d, const zk_taps *k, const float *x, float *y,
                                int64_t step, int64_t every, const int pixels) {
    int64_t channels = d->p->groups, c = 0;
    for (; c + 2 * VL <= channels; c += 2 * VL)
        depthwise_tile(d, k, x, y, step, every, c, pixels, 2);
    for (; c + VL <= channels; c += VL) depthwise_tile(d, k, x, y, step, every, c, pixels, 1);
    if (c < channels && channels >= VL)
        depthwise_tile(d, k, x, y, step, every, channels - VL, pixels, 1);
    else
        for (; c < channels; c++)
            for (int r = 0; r < pixels; r++) depthwise_one(d, k, x + r * step, y + r * every, c);
}

static void depthwise_row(const zk_depthwise *d, int64_t image, int64_t row) {
    const zk_conv *p = d->p;
    int64_t channels = p->groups, top = row * p->v.step + p->v.shift;
    int64_t step = p->h.step * channels, every = p->h.every * channels;
    int64_t line = image * p->v.out + p->v.first + row * p->v.every;
    float *y = p->out + (line * p->h.out + p->h.first) * channels;
    const float *x = p->in + (image * p->v.in + top) * p->h.in * channels;
    zk_taps k;
    taps_inside(&p->v, top, &k.v0, &k.v1);
    for (int64_t c = 0, some; c < p->h.outs; c += some) {
        int64_t left = c * p->h.step + p->h.shift;
        int64_t right = left + (DW_PIXELS - 1) * p->h.step + (p->h.taps - 1) * p->h.dshift;
        taps_inside(&p->h, left, &k.h0, &k.h1);
        some = left >= 0 && right < p->h.in && c + DW_PIXELS <= p->h.outs ? DW_PIXELS : 1;
        const float *from = x + left * channels;
        if (some > 1) depthwise_pixels(d, &k, from, y + c * every, step, every, DW_PIXELS);
        else depthwise_pixels(d, &k, from, y + c * every, step, every, 1);
    }
}

static void depthwise_task(void *ctx, int64_t task, int thread) {
    const zk_depthwise *d = ctx;
    int64_t rows = d->p->v.outs, at = task * d->rows_per_task;
    int64_t end = zk_min(at + d->rows_per_task, d->p->images * rows);
    (void)thread;
    for (; at < end; at++) depthwise_row(d, at / rows, at % rows);
}

static inline void run_depthwise(const zk_call *c, const zk_conv *p, const float *w,
                                 int64_t columns, const float *bias, int activation) {
    int64_t work = p->h.outs * p->groups * zk_max(p->v.taps * p->h.taps, 1);
    zk_depthwise d = {p, w, bias, columns, activation, zk_ceil(1 << 16, zk_max(work, 1))};
    zk_parallel(c, zk_ceil(p->images * p->v.outs, d.rows_per_task), depthwise_task, &d);
}
#endif

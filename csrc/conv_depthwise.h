/* Depthwise convolution, one filter a channel: every output vector is a sum of products of vectors
 * of channels. In: a zk_conv whose `groups` is the number of channels, weights (kh, kw, channels)
 * as they are. Out: its output pixels, with bias and activation. Reads the input where it lies: a
 * pixel near the border takes the taps that meet the input. */
#ifndef ZK_CONV_DEPTHWISE_H
#define ZK_CONV_DEPTHWISE_H
#include "conv.h"
#include "conv_act.h"

#define DW_PIXELS 4       /* output pixels computed together */
#define DW_RUN 6          /* the same in the commonest windows */
#define DW_ROW_TAPS 5     /* most columns of these */
#define DW_TASK (1 << 16) /* products of a task, about */

typedef struct zk_depthwise zk_depthwise;
typedef struct zk_pixels zk_pixels;
typedef void (*zk_runs)(const zk_depthwise *, const zk_pixels *);

struct zk_depthwise {
    const zk_conv *p;
    const float *w, *bias; /* weights of the first tap; bias (channels) or NULL */
    int activation;
    int64_t channels, rows_per_task;
    int64_t down, across, w_down, w_across; /* floats from one tap to the next */
    int64_t step, every;                    /* and from one pixel to the next, in and out */
    zk_runs runs;                           /* computes DW_RUN pixels, or NULL */
};

/* Pixels that meet the same taps: first tap of the first pixel, and how many taps. */
struct zk_pixels {
    const float *x, *w;
    float *y;
    const float *residual; /* what is added at y, or NULL */
    int64_t rows, cols;
};

/* Channels [c, c + vectors * VL) of `pixels` pixels. */
ZK_INLINE void depthwise_tile(const zk_depthwise *d, const zk_pixels *k, int64_t c,
                              const int pixels, const int vectors) {
    const float *x = k->x + c, *w = k->w + c;
    const int64_t step = d->step, across = d->across, w_across = d->w_across;
    vf s[DW_PIXELS * 2];
#pragma GCC unroll 8
    for (int i = 0; i < pixels * vectors; i++)
        s[i] = d->bias ? vf_load(d->bias + c + i % vectors * VL) : (vf){0};
    for (int64_t i = k->rows; i > 0; i--, x += d->down, w += d->w_down) {
        const float *a = x, *b = w;
        for (int64_t j = k->cols; j > 0; j--, a += across, b += w_across) {
#pragma GCC unroll 2
            for (int q = 0; q < vectors; q++) {
                vf t = vf_load(b + q * VL);
#pragma GCC unroll 4
                for (int r = 0; r < pixels; r++)
                    s[r * vectors + q] += vf_load(a + r * step + q * VL) * t;
            }
        }
    }
    if (k->residual)
#pragma GCC unroll 8
        for (int i = 0; i < pixels * vectors; i++)
            s[i] += vf_load(k->residual + c + i / vectors * d->every + i % vectors * VL);
    if (d->activation)
#pragma GCC unroll 8
        for (int i = 0; i < pixels * vectors; i++) s[i] = conv_activate(s[i], d->activation);
#pragma GCC unroll 8
    for (int i = 0; i < pixels * vectors; i++)
        vf_store(k->y + c + i / vectors * d->every + i % vectors * VL, s[i]);
}

/* One channel of one pixel, where no vector of channels is left. */
static void depthwise_one(const zk_depthwise *d, const zk_pixels *k, int64_t c, int pixel) {
    const float *x = k->x + pixel * d->step + c, *w = k->w + c;
    float s[VL] = {d->bias ? d->bias[c] : 0};
    for (int64_t i = 0; i < k->rows; i++)
        for (int64_t j = 0; j < k->cols; j++)
            s[0] += x[i * d->down + j * d->across] * w[i * d->w_down + j * d->w_across];
    if (k->residual) s[0] += k->residual[pixel * d->every + c];
    vf_store(s, conv_activate(vf_load(s), d->activation));
    k->y[pixel * d->every + c] = s[0];
}

/* All channels; the last vector may overlap the one before it, unless it would read as residual
 * what that one wrote. */
ZK_INLINE void depthwise_pixels(const zk_depthwise *d, const zk_pixels *k, const int pixels) {
    int64_t channels = d->channels, c = 0;
    for (; c + 2 * VL <= channels; c += 2 * VL) depthwise_tile(d, k, c, pixels, 2);
    for (; c + VL <= channels; c += VL) depthwise_tile(d, k, c, pixels, 1);
    if (c < channels && channels >= VL && !k->residual)
        depthwise_tile(d, k, channels - VL, pixels, 1);
    else
        for (; c < channels; c++)
            for (int r = 0; r < pixels; r++) depthwise_one(d, k, c, r);
}

/* One vector of channels of DW_RUN neighbouring pixels, for windows of `taps` neighbouring columns:
 * an input is loaded once for all the pixels that meet it. */
ZK_INLINE void depthwise_run(const zk_depthwise *d, const zk_pixels *k, int64_t c, const int taps,
                             const int step) {
    const float *x = k->x + c, *w = k->w + c;
    const int64_t next = d->across;
    vf s[DW_RUN];
#pragma GCC unroll 8
    for (int i = 0; i < DW_RUN; i++) s[i] = d->bias ? vf_load(d->bias + c) : (vf){0};
    for (int64_t i = k->rows; i > 0; i--, x += d->down, w += d->w_down) {
        vf t[DW_ROW_TAPS];
#pragma GCC unroll 8
        for (int j = 0; j < taps; j++) t[j] = vf_load(w + j * d->w_across);
#pragma GCC unroll 32
        for (int n = 0; n < (DW_RUN - 1) * step + taps; n++) {
            const vf a = vf_load(x + n * next);
#pragma GCC unroll 8
            for (int j = 0; j < taps; j++)
                if (n >= j && (n - j) % step == 0 && (n - j) / step < DW_RUN)
                    s[(n - j) / step] += a * t[j];
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < DW_RUN; i++) {
        const int64_t at = c + i * d->every;
        if (k->residual) s[i] += vf_load(k->residual + at);
        vf_store(k->y + at, conv_activate(s[i], d->activation));
    }
}

/* All channels of DW_RUN pixels. Its channels are one vector at least. */
ZK_INLINE void depthwise_runs(const zk_depthwise *d, const zk_pixels *k, const int taps,
                              const int step) {
    int64_t channels = d->channels, c = 0;
    for (; c + VL <= channels; c += VL) depthwise_run(d, k, c, taps, step);
    if (c < channels && !k->residual) depthwise_run(d, k, channels - VL, taps, step);
    else
        for (; c < channels; c++)
            for (int r = 0; r < DW_RUN; r++) depthwise_one(d, k, c, r);
}

static void runs_3_1(const zk_depthwise *d, const zk_pixels *k) { depthwise_runs(d, k, 3, 1); }
static void runs_3_2(const zk_depthwise *d, const zk_pixels *k) { depthwise_runs(d, k, 3, 2); }
static void runs_5_1(const zk_depthwise *d, const zk_pixels *k) { depthwise_runs(d, k, 5, 1); }
static void runs_5_2(const zk_depthwise *d, const zk_pixels *k) { depthwise_runs(d, k, 5, 2); }

/* What computes DW_RUN pixels at once for this geometry, or NULL. */
static inline zk_runs choose_runs(const zk_conv *p) {
    const zk_axis *h = &p->h;
    if (h->dshift != 1 || h->step > 2 || p->groups < VL) return NULL;
    if (h->taps == 3) return h->step == 1 ? runs_3_1 : runs_3_2;
    if (h->taps == 5) return h->step == 1 ? runs_5_1 : runs_5_2;
    return NULL;
}

/* Pixels of a row from c on that are computed together: they meet all taps. */
static inline int64_t pixels_at(const zk_depthwise *d, int64_t c, int64_t some) {
    const zk_axis *h = &d->p->h;
    int64_t left = first_cell(h, c), right = left + (some - 1) * h->step;
    return left >= 0 && right + (h->taps - 1) * h->dshift < h->in && c + some <= h->outs;
}

static void depthwise_row(const zk_depthwise *d, int64_t image, int64_t row) {
    const zk_conv *p = d->p;
    const zk_axis *v = &p->v, *h = &p->h;
    int64_t top = first_cell(v, row), v0, v1, h0, h1;
    int64_t line = (image * v->out + v->first + row * v->every) * h->out + h->first;
    taps_inside(v, top, &v0, &v1);
    const float *x = p->in + ((image * v->in + top) * h->in) * d->channels + v0 * d->down;
    zk_pixels k = {.rows = v1 - v0};
    for (int64_t c = 0, some; c < h->outs; c += some) {
        int64_t left = first_cell(h, c), place = line * d->channels + c * d->every;
        some = d->runs && pixels_at(d, c, DW_RUN) ? DW_RUN : DW_PIXELS;
        if (some == DW_PIXELS && !pixels_at(d, c, DW_PIXELS)) some = 1;
        taps_inside(h, left, &h0, &h1);
        k.cols = h1 - h0;
        k.x = x + left * d->channels + h0 * d->across;
        k.w = d->w + v0 * d->w_down + h0 * d->w_across;
        k.y = p->out + place;
        k.residual = p->residual ? p->residual + place : NULL;
        if (some == DW_RUN) d->runs(d, &k);
        else if (some == DW_PIXELS) depthwise_pixels(d, &k, DW_PIXELS);
        else depthwise_pixels(d, &k, 1);
    }
}

static void depthwise_task(void *ctx, int64_t task, int thread) {
    const zk_depthwise *d = ctx;
    int64_t rows = d->p->v.outs, at = task * d->rows_per_task;
    int64_t end = zk_min(at + d->rows_per_task, d->p->images * rows);
    (void)thread;
    for (; at < end; at++) depthwise_row(d, at / rows, at % rows);
}

/* columns: of the kernel */
static inline void run_depthwise(const zk_call *c, const zk_conv *p, const float *w,
                                 int64_t columns, const float *bias, int activation) {
    const zk_axis *v = &p->v, *h = &p->h;
    zk_depthwise d = {.p = p, .bias = bias, .activation = activation, .channels = p->groups};
    d.w = w + (v->index * columns + h->index) * d.channels;
    d.down = v->dshift * h->in * d.channels, d.across = h->dshift * d.channels;
    d.w_down = v->dindex * columns * d.channels, d.w_across = h->dindex * d.channels;
    d.runs = choose_runs(p);
    d.step = h->step * d.channels, d.every = h->every * d.channels;
    int64_t work = h->outs * d.channels * zk_max(count_taps(p), 1);
    d.rows_per_task = zk_ceil(DW_TASK, zk_max(work, 1));
    zk_parallel(c, zk_ceil(p->images * v->outs, d.rows_per_task), depthwise_task, &d);
}
#endif

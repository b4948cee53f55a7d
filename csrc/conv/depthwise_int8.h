/* Depthwise convolution of images of bytes, -127..127 or 0..255: a filter for each channel. In:
 * images with borders, laid out in planes; weights, whole numbers, as floats. Out: float32, bytes,
 * or both. Weights are as large as sums below 2^24 allow, so that floats hold these exactly, in
 * whatever order: no int8 instruction is needed, what is gained is memory. */
#ifndef ZK_DEPTHWISE_INT8_H
#define ZK_DEPTHWISE_INT8_H
#include "conv_act.h"
#include "tap_layout.h"
#include "int8_round.h"

#define DEPTHWISE_PLACES 4       /* computed together */
#define DEPTHWISE_TASK (1 << 18) /* products of a task, about */

typedef struct {
    const tap_layout *l;
    const int64_t *offsets; /* (taps) */
    const float *w;         /* (taps, channels) */
    const float *step, *wstep, *bias;
    float *y;
    int8_t *q;
    float scale;
    int act, positive, unsigned_q; /* x and q are 0..255 */
    int64_t rows;                  /* rows of places of a task */
} depthwise_job;

/* VL bytes as floats. */
ZK_INLINE vf depthwise_wide(const int8_t *x, const int positive) {
#if defined(ZK_ISA_AVX512)
    const __m128i b = _mm_loadu_si128((const __m128i *)x);
    return (vf)_mm512_cvtepi32_ps(positive ? _mm512_cvtepu8_epi32(b) : _mm512_cvtepi8_epi32(b));
#elif defined(ZK_ISA_AVX2)
    const __m128i b = _mm_loadl_epi64((const __m128i *)x);
    return (vf)_mm256_cvtepi32_ps(positive ? _mm256_cvtepu8_epi32(b) : _mm256_cvtepi8_epi32(b));
#else
    const uint8_t *u = (const uint8_t *)x;
    return positive ? (vf){u[0], u[1], u[2], u[3]} : (vf){x[0], x[1], x[2], x[3]};
#endif
}

/* Channels [c, c + VL) of neighbouring places: y = act(sums * step * wstep + bias). */
ZK_INLINE void depthwise_some(const depthwise_job *j, const int8_t *x, float step, int64_t at,
                              int64_t c, const int places, const int positive) {
    const tap_layout *l = j->l;
    vf s[DEPTHWISE_PLACES] = {(vf){0}};
    const float *w = j->w + c;
    for (int64_t tap = 0; tap < l->taps; tap++, w += l->channels) {
        const int8_t *from = x + j->offsets[tap] + c;
        const vf t = vf_load(w);
#pragma GCC unroll 4
        for (int i = 0; i < places; i++) s[i] += depthwise_wide(from + i * l->row, positive) * t;
    }
    const vf slope = vf_set(step) * vf_load(j->wstep + c), bias = vf_load(j->bias + c);
    for (int i = 0; i < places; i++, at += l->channels) {
        float own[VL], *y = j->y ? j->y + at + c : own;
        vf_store(y, conv_activate(s[i] * slope + bias, j->act));
        if (j->q) byte_round(y, VL, j->scale, j->unsigned_q, j->q + at + c);
    }
}

ZK_INLINE float depthwise_number(const int8_t *x, int positive) {
    return positive ? *(const uint8_t *)x : *x;
}

/* One channel of one place, where no vector of channels is left. */
static void depthwise_one_int8(const depthwise_job *j, const int8_t *x, float step, int64_t at,
                               int64_t c) {
    float own[VL] = {0}, s = 0;
    for (int64_t tap = 0; tap < j->l->taps; tap++)
        s +=
            depthwise_number(x + j->offsets[tap] + c, j->positive) * j->w[tap * j->l->channels + c];
    const vf slope = vf_set(step) * vf_set(j->wstep[c]);
    vf_store(own, conv_activate(vf_set(s) * slope + vf_set(j->bias[c]), j->act));
    if (j->y) j->y[at + c] = own[0];
    if (j->q) byte_round(own, 1, j->scale, j->unsigned_q, j->q + at + c);
}

ZK_INLINE void depthwise_places(const depthwise_job *j, const int8_t *x, float step, int64_t at,
                                const int places, const int positive) {
    const int64_t n = j->l->channels;
    int64_t c = 0;
    for (; c + VL <= n; c += VL) depthwise_some(j, x, step, at, c, places, positive);
    if (c < n && n >= VL) depthwise_some(j, x, step, at, n - VL, places, positive);
    else
        for (; c < n; c++)
            for (int i = 0; i < places; i++)
                depthwise_one_int8(j, x + i * j->l->row, step, at + i * n, c);
}

ZK_INLINE void depthwise_rows_of(const depthwise_job *j, int64_t task, const int positive) {
    const tap_layout *l = j->l;
    const int64_t all = l->images * l->out[0], n = l->channels;
    for (int64_t row = task * j->rows; row < zk_min((task + 1) * j->rows, all); row++) {
        const int64_t image = row / l->out[0];
        const int8_t *x = (const int8_t *)l->to + image * tap_image_bytes(l) +
                          row % l->out[0] * l->period * l->row;
        const float step = j->step[image];
        int64_t at = row * l->out[1] * n, left = l->out[1];
        for (; left >= DEPTHWISE_PLACES; left -= DEPTHWISE_PLACES) {
            depthwise_places(j, x, step, at, DEPTHWISE_PLACES, positive);
            x += DEPTHWISE_PLACES * l->row, at += DEPTHWISE_PLACES * n;
        }
        for (; left > 0; left--, x += l->row, at += n)
            depthwise_places(j, x, step, at, 1, positive);
    }
}

static void depthwise_rows(void *ctx, int64_t task, int thread) {
    const depthwise_job *j = ctx;
    (void)thread;
    if (j->positive) depthwise_rows_of(j, task, 1);
    else depthwise_rows_of(j, task, 0);
}

static inline void depthwise_compute(const zk_call *c, depthwise_job *j) {
    const tap_layout *l = j->l;
    const int64_t products = zk_max(1, l->out[1] * l->channels * l->taps);
    j->rows = zk_max(1, DEPTHWISE_TASK / products);
    if (l->channels) zk_parallel(c, zk_ceil(l->images * l->out[0], j->rows), depthwise_rows, j);
}
#endif

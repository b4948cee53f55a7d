/* Depthwise convolution of bfloat16 images, a filter for each channel: depthwise_bf16. Arithmetic
 * is float32's, so that what is gained is memory: neighbours read and write bits. A run of pixels
 * takes each input once for a row of taps; taps that lie beyond the border are left out. */
#include "bf16_result.h"
#include "tap_layout.h"

#define RUN 7          /* pixels computed together: divides the usual sizes of maps */
#define MOST_TAPS 7    /* columns of a window */
#define TASK (1 << 18) /* products of a task, about */
#define KEPT (RUN + 1) /* whole vectors of 32 for each VL */

typedef struct {
    tap_layout l;
    const float *w, *bias; /* (taps, channels), (channels) */
    char *y;
    int act, narrow;
    int64_t rows; /* of a task */
} depthwise;

/* A run: its first input in column `left` of each row, cells that exist, pixels to store. */
typedef struct {
    int64_t image, row, left, count;
    uint32_t present;
    char *y;
} pixels;

/* VL numbers, rounded to bfloat16. */
ZK_INLINE vf load_rounded(const char *x, const int wide) {
    if (!wide) return bf16_load((const uint16_t *)x);
    const vf a = vf_load((const float *)x);
    const vi u = (vi)a, near = (u + 0x7fff + (u >> 16 & 1)) & -0x10000;
    return vf_blend(a == a, (vf)near, a);
}

/* Stores the sums of a run (KEPT, VL) from channel c on. */
ZK_INLINE void put_run(tiles *t, const depthwise *d, const pixels *p, int64_t c, float *sums) {
    const int64_t n = d->l.channels;
    uint16_t bits[KEPT * VL];
    if (d->narrow)
        for (int i = 0; i < KEPT * VL; i += 32)
            tile_narrow_32(t, sums + i, sums + i + 16, bits + i);
    for (int64_t i = 0; i < p->count; i++)
        if (d->narrow) memcpy(p->y + (i * n + c) * 2, bits + i * VL, VL * 2);
        else memcpy(p->y + (i * n + c) * 4, sums + i * VL, VL * 4);
}

/* Channels [c, c + VL) of a run; `whole`: all its inputs exist. */
ZK_INLINE void run_some(tiles *t, const depthwise *d, const pixels *p, int64_t c, const int taps,
                        const int step, const int wide, const int whole) {
    const tap_layout *l = &d->l;
    const int64_t n = l->channels, size = wide ? 4 : 2;
    vf s[RUN];
#pragma GCC unroll 8
    for (int i = 0; i < RUN; i++) s[i] = vf_load(d->bias + c);
    for (int64_t v = 0; v < l->kernel[0]; v++) {
        const int64_t row = p->row * l->stride[0] - l->padding[0] + v * l->dilation[0];
        if (row < 0 || row >= l->in[0]) continue;
        const int64_t cell = (p->image * l->in[0] + row) * l->in[1] + p->left;
        const char *x = l->from + (cell * n + c) * size;
        const float *w = d->w + v * taps * n + c;
        uint32_t here = p->present; /* tested bit by bit below, not before the loop */
        __asm__("" : "+r"(here));
        vf own[MOST_TAPS];
#pragma GCC unroll 8
        for (int j = 0; j < taps; j++) own[j] = vf_load(w + j * n);
#pragma GCC unroll 32
        for (int k = 0; k < (RUN - 1) * step + taps; k++, x += n * size) {
            if (!whole && !(here >> k & 1)) continue;
            const vf a = load_rounded(x, wide);
#pragma GCC unroll 8
            for (int j = 0; j < taps; j++)
                if (k >= j && (k - j) % step == 0 && (k - j) / step < RUN)
                    s[(k - j) / step] = vf_fused(a, own[j], s[(k - j) / step]);
        }
    }
    float sums[KEPT * VL];
#pragma GCC unroll 8
    for (int i = 0; i < RUN; i++) {
        if (d->act == ZK_RELU) s[i] = vf_at_least(s[i], (vf){0});
        else if (d->act == ZK_RELU6) s[i] = vf_at_most(vf_at_least(s[i], (vf){0}), vf_set(6));
        else if (d->act) s[i] = curve(s[i], d->act);
        vf_store(sums + i * VL, s[i]);
    }
    vf_store(sums + RUN * VL, (vf){0});
    put_run(t, d, p, c, sums);
}

/* All channels of a run; the last vector overlaps the one before it. */
ZK_INLINE void run_channels(tiles *t, const depthwise *d, const pixels *p, const int taps,
                            const int step, const int wide, const int whole) {
    const int64_t n = d->l.channels;
    int64_t c = 0;
    for (; c + VL <= n; c += VL) run_some(t, d, p, c, taps, step, wide, whole);
    if (c < n) run_some(t, d, p, n - VL, taps, step, wide, whole);
}

/* A row of pixels. */
ZK_INLINE void run_row(tiles *t, const depthwise *d, int64_t row, const int taps, const int step,
                       const int wide) {
    const tap_layout *l = &d->l;
    const int64_t cells = (RUN - 1) * step + taps;
    pixels p = {.image = row / l->out[0], .row = row % l->out[0]};
    for (int64_t col = 0; col < l->out[1]; col += RUN) {
        p.left = col * step - l->padding[1], p.count = zk_min(RUN, l->out[1] - col);
        p.y = d->y + (row * l->out[1] + col) * l->channels * (d->narrow ? 2 : 4);
        const int64_t first = zk_max(0, zk_min(cells, -p.left));
        const int64_t end = zk_max(first, zk_min(cells, l->in[1] - p.left));
        p.present = (uint32_t)((1ull << end) - (1ull << first));
        if (first == 0 && end == cells) run_channels(t, d, &p, taps, step, wide, 1);
        else run_channels(t, d, &p, taps, step, wide, 0);
    }
}

typedef void (*row_fn)(const depthwise *, int64_t);
#define EACH(X) X(3, 1) X(5, 1) X(7, 1) X(3, 2) X(5, 2) X(7, 2)
#define DEFINE(taps, step)                                             \
    static void row_##taps##_##step(const depthwise *d, int64_t row) { \
        tiles model, *t = tiles_real() ? NULL : &model;                \
        if (d->l.wide) run_row(t, d, row, taps, step, 1);              \
        else run_row(t, d, row, taps, step, 0);                        \
    }
EACH(DEFINE)
#define ENTRY(taps, step) [step - 1][taps / 2 - 1] = row_##taps##_##step,
static const row_fn rows_of[2][3] = {EACH(ENTRY)};

static void run_rows(void *ctx, int64_t task, int thread) {
    const depthwise *d = ctx;
    const row_fn run = rows_of[d->l.stride[1] - 1][d->l.kernel[1] / 2 - 1];
    const int64_t all = d->l.images * d->l.out[0];
    (void)thread;
    for (int64_t row = task * d->rows; row < zk_min(all, (task + 1) * d->rows); row++) run(d, row);
}

/* depthwise_bf16: y = act(conv(x, w) + b), x rounded to bfloat16; 3, 5 or 7 columns of taps side
 * by side, strides of 1 or 2 along them, 16 channels or more.
 * out y(images, .., n) float32 or bits of bfloat16
 * in x(images, .., n) float32 or bits, w(taps, n), b(n) */
static void depthwise_bf16(const zk_call *c) {
    depthwise d = {
        .l = tap_layout_of(c, c->a + c->nout, c->a), .w = c->p[2], .bias = c->p[3], .y = c->p[0]};
    d.l.from = c->p[1], d.narrow = c->a->dtype == ZK_U16;
    d.act = (int)c->attr[ZK_CONV_TAPS_ACTIVATION];
    const int64_t work = d.l.out[1] * d.l.channels * d.l.kernel[0] * d.l.kernel[1];
    d.rows = zk_max(1, TASK / zk_max(1, work));
    zk_parallel(c, zk_ceil(d.l.images * d.l.out[0], d.rows), run_rows, &d);
}

const zk_kernel ZK_TABLE(depthwise_bf16)[] = {{"depthwise_bf16", depthwise_bf16, NULL}, {0}};

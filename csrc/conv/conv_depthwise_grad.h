/* Gradient of a depthwise convolution with respect to its weights: for each tap, the sum over
 * output pixels of x times g, channel by channel. Rows of output are shared out over a fixed number
 * of pieces that are added in order. Reads the input where it lies. */
#ifndef ZK_CONV_DEPTHWISE_GRAD_H
#define ZK_CONV_DEPTHWISE_GRAD_H
#include "conv_depthwise.h"
#include "conv_pieces.h"

#define DW_PIECES 16
#define DW_SUMS 12 /* taps summed together: enough to hide latency, and there are registers */
#define DW_ROWS 4  /* rows of taps that they come from */
#define DW_COLS 5  /* neighbouring taps of a row */

typedef struct {
    zk_depthwise d; /* the convolution x -> g */
    const float *g;
    float *sums; /* (pieces, taps, channels) */
} zk_depthwise_grad;

/* A stretch of pixels of one row, and the taps they all meet. */
typedef struct {
    const float *g;            /* of the first pixel */
    int64_t at, cols, g_pitch; /* floats from a row to the first tap's cell; pixels */
    int64_t step, across;      /* floats from pixel to pixel in x, and from tap to tap */
    int64_t channels, w_across;
    float *sum;
} zk_stretch;

/* `vectors` vectors of channels from c: sum(row, tap, channels) += x g over the pixels. */
ZK_INLINE void dot_tile(const zk_stretch *k, const zk_tap_row *row, int64_t c, const int rows,
                        const int taps, const int vectors) {
    const float *x[DW_ROWS], *g = k->g + c;
    float *sum[DW_ROWS];
    vf s[DW_SUMS];
    const int some = rows * taps;
#pragma GCC unroll 4
    for (int u = 0; u < rows; u++) x[u] = row[u].x + k->at + c, sum[u] = k->sum + row[u].w + c;
#pragma GCC unroll 16
    for (int i = 0; i < some * vectors; i++)
        s[i] = vf_load(sum[i % some / taps] + i % taps * k->w_across + i / some * VL);
    for (int64_t n = 0; n < k->cols; n++, g += k->g_pitch) {
#pragma GCC unroll 2
        for (int q = 0; q < vectors; q++) {
            const vf a = vf_load(g + q * VL);
#pragma GCC unroll 16
            for (int i = 0; i < some; i++)
                s[q * some + i] += vf_load(x[i / taps] + i % taps * k->across + q * VL) * a;
        }
#pragma GCC unroll 4
        for (int u = 0; u < rows; u++) x[u] += k->step;
    }
#pragma GCC unroll 16
    for (int i = 0; i < some * vectors; i++)
        vf_store(sum[i % some / taps] + i % taps * k->w_across + i / some * VL, s[i]);
}

/* One channel of one tap. */
static void dot_one(const zk_stretch *k, const zk_tap_row *row, int64_t c, int64_t tap) {
    const float *x = row->x + k->at + tap * k->across + c, *g = k->g + c;
    float s = 0;
    for (int64_t n = 0; n < k->cols; n++) s += x[n * k->step] * g[n * k->g_pitch];
    k->sum[row->w + tap * k->w_across + c] += s;
}

ZK_INLINE void dot_channels(const zk_stretch *k, const zk_tap_row *row, const int rows,
                            const int taps) {
    int64_t c = 0;
    if (2 * rows * taps <= DW_SUMS)
        for (; c + 2 * VL <= k->channels; c += 2 * VL) dot_tile(k, row, c, rows, taps, 2);
    for (; c + VL <= k->channels; c += VL) dot_tile(k, row, c, rows, taps, 1);
    for (; c < k->channels; c++)
        for (int i = 0; i < rows * taps; i++) dot_one(k, row + i / taps, c, i % taps);
}

/* clang-format off */
#define EACH_DOT(X)                                    \
    X(1, 1) X(2, 1) X(3, 1) X(4, 1) X(1, 2) X(2, 2) X(3, 2) X(4, 2) \
    X(1, 3) X(2, 3) X(3, 3) X(4, 3) X(1, 4) X(2, 4) X(3, 4) X(1, 5) X(2, 5)
/* clang-format on */
#define DEFINE_DOT(rows, taps)                                                    \
    static void dot_##rows##_##taps(const zk_stretch *k, const zk_tap_row *row) { \
        dot_channels(k, row, rows, taps);                                         \
    }
#define DOT_ENTRY(rows, taps) [taps - 1][rows - 1] = dot_##rows##_##taps,
EACH_DOT(DEFINE_DOT)
static void (*const dots[DW_COLS][DW_ROWS])(const zk_stretch *,
                                            const zk_tap_row *) = {EACH_DOT(DOT_ENTRY)};

/* `taps` neighbouring taps of all rows of taps. */
static void dot_taps(const zk_stretch *k, int64_t taps, const zk_tap_row *row,
                     const zk_tap_row *end) {
    const int vectors = k->channels < 2 * VL ? 1 : 2; /* together a cache line */
    int64_t most = zk_min(zk_max(DW_SUMS / vectors / zk_max(taps, 1), 1), DW_ROWS), rows;
    for (; taps && row < end; row += rows) {
        rows = zk_min(end - row, most);
        dots[taps - 1][rows - 1](k, row);
    }
}

/* A row of pixels, the columns of taps in `h`: by stretches of pixels that meet the same ones. */
static void dot_columns(const zk_axis *h, int64_t pitch, const zk_stretch *row,
                        const zk_tap_row *taps, const zk_tap_row *end) {
    int64_t behind = h->in - (h->taps - 1) * h->dshift - h->shift, h0, h1;
    int64_t whole = zk_min(zk_max(zk_ceil(behind, h->step), 0), h->outs); /* up to there */
    zk_stretch k = *row;
    for (int64_t col = 0; col < h->outs; col += k.cols) {
        int64_t left = first_cell(h, col);
        taps_inside(h, left, &h0, &h1);
        k.g = row->g + col * k.g_pitch;
        k.at = left * pitch + h0 * k.across, k.sum = row->sum + h0 * k.w_across;
        k.cols = left >= 0 && col < whole ? whole - col : 1;
        dot_taps(&k, h1 - h0, taps, end);
    }
}

/* A row of pixels, a few columns of taps at a time. */
static void dot_row(const zk_depthwise *d, const zk_stretch *row, const zk_tap_row *taps,
                    const zk_tap_row *end) {
    zk_axis h = d->p->h;
    zk_stretch k = *row;
    for (int64_t left = h.taps; left > 0; left -= h.taps) {
        h.taps = zk_ceil(left, zk_ceil(left, DW_COLS));
        dot_columns(&h, d->pitch, &k, taps, end);
        h.shift += h.taps * h.dshift, k.sum += h.taps * k.w_across;
    }
}

/* One piece of the rows of all images. */
static void depthwise_grad_task(void *ctx, int64_t piece, int thread) {
    const zk_depthwise_grad *k = ctx;
    const zk_depthwise *d = &k->d;
    const zk_conv *p = d->p;
    zk_tap_row *list = (zk_tap_row *)(d->scratch + thread * tap_list_bytes(p));
    int64_t planes = p->z.outs, rows = p->v.outs, all = p->images * planes * rows;
    zk_stretch s = {.g_pitch = d->channels, .step = p->h.step * d->pitch};
    s.across = p->h.dshift * d->pitch, s.channels = d->channels, s.w_across = d->w_across;
    s.sum = k->sums + piece * count_taps(p) * d->channels;
    for (int64_t at = all * piece / DW_PIECES; at < all * (piece + 1) / DW_PIECES; at++) {
        const float *x = p->in + at / rows / planes * p->z.in * d->deep;
        int64_t n = list_taps(d, x, at / rows % planes, at % rows, list);
        s.g = k->g + at * p->h.outs * d->channels;
        dot_row(d, &s, list, list + n);
    }
}

static inline int64_t depthwise_grad_sums(const zk_conv *p) {
    return zk_align(DW_PIECES * count_taps(p) * p->groups * 4);
}

static inline int64_t depthwise_grad_scratch(const zk_conv *p, int threads) {
    return depthwise_grad_sums(p) + depthwise_scratch(p, threads);
}

static inline void run_depthwise_grad(const zk_call *c, const zk_conv *p, const float *g,
                                      float *dw) {
    zk_depthwise_grad k = {.d = in_place(p, p->v.taps, p->h.taps), .g = g};
    int64_t floats = count_taps(p) * p->groups;
    k.sums = (float *)c->scratch, k.d.scratch = c->scratch + depthwise_grad_sums(p);
    memset(k.sums, 0, (size_t)(DW_PIECES * floats) * 4);
    zk_parallel(c, DW_PIECES, depthwise_grad_task, &k);
    add_pieces(c, k.sums, DW_PIECES, floats, dw);
}
#endif

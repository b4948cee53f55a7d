/* The register tile of direct convolution: some output pixels x 16 filters, summed over all taps
 * and channels in one go. In: where each pixel's input is, packed weights. Out: the pixels, with
 * bias and activation. Knows nothing of shapes, bands or threads. */
#ifndef ZK_CONV_TILE_H
#define ZK_CONV_TILE_H
#include "conv_act.h"

/* Keeps the compiler from loading a tile's rows all at once, for which there are no registers. */
#define IN_ORDER __asm__ volatile("" ::: "memory")

/* Pixels of a tile, by its vectors of filters: as the sums fit the vector registers and the pixels'
 * pointers the others. */
#if defined(__aarch64__)
#define TILE_ROWS(vectors) ((vectors) > 2 ? 6 : 8)
#else
#define TILE_ROWS(vectors) ((vectors) > 1 ? 12 / (vectors) : 8)
#endif
#define MOST_ROWS 8
#define MOST_SUMS 24

/* One panel of filters for a list of pixels. */
typedef struct {
    const float *base;     /* input; each pixel's offset is added */
    const int64_t *taps;   /* offsets of the runs of input that a pixel meets */
    int64_t ntaps, run;    /* how many, and floats in each */
    const float *w, *bias; /* run k: (run, 16) from w + k * w_step; bias (16) */
    int64_t w_step;
    float *out;
    int cols, activation; /* filters of this panel */
    int dense;            /* the pixels' filters follow each other in memory, in order */
} zk_panel;

/* The first `cols` of a row's sums. */
static inline void store_cols(float *to, const vf *sums, int vectors, int cols) {
    float t[PANEL], *s = t;
    for (int v = 0; v < vectors; v++)
        vf_store(cols == vectors * VL ? to + v * VL : t + v * VL, sums[v]);
    if (cols == vectors * VL) return;
#define STORE_PART(n) \
    if (cols & n) memcpy(to, s, n * 4), to += n, s += n;
    STORE_PART(8) STORE_PART(4) STORE_PART(2) STORE_PART(1)
#undef STORE_PART
}

/* s(rows, vectors) += the products of all runs */
ZK_INLINE void tile_sum(const zk_panel *t, const int64_t *in, vf *s, const int rows,
                        const int vectors) {
    const float *x[MOST_ROWS];
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++) x[r] = t->base + in[r];
    for (int64_t k = 0; k < t->ntaps; k++) {
        const float *w = t->w + k * t->w_step;
        int64_t end = t->taps[k] + t->run;
#pragma GCC unroll 2
        for (int64_t c = t->taps[k]; c < end; c++, w += PANEL) {
            vf b[PV];
#pragma GCC unroll 4
            for (int v = 0; v < vectors; v++) b[v] = vf_load(w + v * VL);
#pragma GCC unroll 8
            for (int r = 0; r < rows; r++) {
                vf a = vf_set(x[r][c]);
#pragma GCC unroll 4
                for (int v = 0; v < vectors; v++) s[r * vectors + v] += a * b[v];
                IN_ORDER;
            }
        }
    }
}

/* `rows` pixels x `vectors` vectors of filters; pixels from `left` on are not stored. In a dense
 * output whole vectors are stored where that stays among the pixels left: what they spill into the
 * next pixel is overwritten by it. */
ZK_INLINE void tile(const zk_panel *t, const int64_t *in, const int64_t *out, int64_t left,
                    const int rows, const int vectors) {
    int64_t room = left * t->cols - ((rows - 1) * t->cols + vectors * VL);
    int whole = left >= rows && (t->cols == vectors * VL || (t->dense && room >= 0));
    vf s[MOST_SUMS];
#pragma GCC unroll 24
    for (int i = 0; i < rows * vectors; i++) s[i] = vf_load(t->bias + i % vectors * VL);
    tile_sum(t, in, s, rows, vectors);
    if (t->activation)
#pragma GCC unroll 24
        for (int i = 0; i < rows * vectors; i++) s[i] = conv_activate(s[i], t->activation);
    if (whole)
#pragma GCC unroll 24
        for (int i = 0; i < rows * vectors; i++)
            vf_store(t->out + out[i / vectors] + i % vectors * VL, s[i]);
    else
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++)
            if (r < left) store_cols(t->out + out[r], s + r * vectors, vectors, t->cols);
}

/* All pixels. Offsets are read up to MOST_ROWS - 1 past the last of them. */
#define TILE_LOOP(vectors)                                                                         \
    static __attribute__((noinline)) void tiles_of_##vectors(const zk_panel *t, const int64_t *in, \
                                                             const int64_t *out, int64_t pixels) { \
        for (int64_t i = 0; i < pixels; i += TILE_ROWS(vectors))                                   \
            tile(t, in + i, out + i, pixels - i, TILE_ROWS(vectors), vectors);                     \
    }
TILE_LOOP(1)
#if PV > 1
TILE_LOOP(2)
#endif
#if PV > 2
TILE_LOOP(3)
TILE_LOOP(4)
#endif
#undef TILE_LOOP

static void run_tiles(const zk_panel *t, const int64_t *in, const int64_t *out, int64_t pixels) {
    switch ((t->cols + VL - 1) / VL) {
    case 1:
        tiles_of_1(t, in, out, pixels);
        break;
#if PV > 1
    case 2:
        tiles_of_2(t, in, out, pixels);
        break;
#endif
#if PV > 2
    case 3:
        tiles_of_3(t, in, out, pixels);
        break;
    default:
        tiles_of_4(t, in, out, pixels);
#endif
    }
}
#endif

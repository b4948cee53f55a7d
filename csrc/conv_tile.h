/* The register tile of direct convolution: some output pixels x 16 filters, summed over all taps
 * and channels in one go. In: where each pixel's input is, packed weights. Out: the pixels, with
 * bias and activation. Knows nothing of shapes, bands or threads. */
#ifndef ZK_CONV_TILE_H
#define ZK_CONV_TILE_H
#include "conv.h"
#include "conv_act.h"

/* One panel of filters for a list of pixels. */
typedef struct {
    const float *base;     /* input; each pixel's offset is added */
    const int64_t *taps;   /* offsets of the runs of input that a pixel meets */
    int64_t ntaps, run;    /* how many, and floats in each */
    const float *w, *bias; /* run k: (run, 16) from w + k * w_step; bias (16) */
    int64_t w_step;
    float *out;
    const float *residual; /* what is added at out, or NULL */
    int cols, activation;  /* filters of this panel */
    int dense;             /* the pixels' filters follow each other in memory, in order */
} zk_panel;

/* Most pixels of a tile, by its vectors of filters: as many as leave room for the sums in the
 * vector registers, and for the pixels' pointers in the others. */
#if defined(__aarch64__)
#define TILE_ROWS(vectors) ((vectors) > 2 ? 6 : 8)
#else
#define TILE_ROWS(vectors) ((vectors) > 1 ? 12 / (vectors) : 8)
#endif
#define MOST_ROWS 8
#define MOST_SUMS 24

/* A sum plus what lies at `from`, of which `cols` floats exist. Takes no address of a sum: it would
 * then have to leave its register. */
static __attribute__((noinline)) vf add_cols(vf sum, const float *from, int cols) {
    if (cols >= VL) sum += vf_load(from);
    else if (cols > 0) sum += vf_load_n(from, cols);
    return sum;
}

/* The first `cols` of a row's sums. */
static inline void store_cols(float *to, const vf *sums, int vectors, int cols) {
    float t[PANEL], *s = t;
    for (int v = 0; v < vectors; v++) vf_store(t + v * VL, sums[v]);
#define STORE_PART(n) \
    if (cols & n) memcpy(to, s, n * 4), to += n, s += n;
    STORE_PART(8) STORE_PART(4) STORE_PART(2) STORE_PART(1)
#undef STORE_PART
}

/* s(rows, vectors) += x(rows, float c) w(c, vectors) */
ZK_INLINE void tile_step(const float *const *x, int64_t c, const float *w, vf *s, const int rows,
                         const int vectors) {
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

/* s(rows, vectors) += the products of all runs */
ZK_INLINE void tile_sum(const zk_panel *t, const int64_t *in, vf *s, const int rows,
                        const int vectors) {
    const float *x[MOST_ROWS], *w = t->w;
    const int64_t *last = t->taps + t->ntaps;
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++) x[r] = t->base + in[r];
    for (const int64_t *tap = t->taps; tap < last; tap++, w += t->w_step) {
        const float *v = w;
        int64_t end = *tap + t->run;
#pragma GCC unroll 2
        for (int64_t c = *tap; c < end; c++, v += PANEL) tile_step(x, c, v, s, rows, vectors);
    }
}

/* `rows` pixels x `vectors` vectors of filters. In a dense output whole vectors are stored where
 * that stays among the `left` pixels still to do: what they spill into the next pixel is
 * overwritten by it. */
ZK_INLINE void tile(const zk_panel *t, const int64_t *in, const int64_t *out, int64_t left,
                    const int rows, const int vectors) {
    int spill = t->dense && !t->residual && (left - rows + 1) * t->cols >= vectors * VL;
    vf s[MOST_SUMS];
#pragma GCC unroll 24
    for (int i = 0; i < rows * vectors; i++) s[i] = vf_load(t->bias + i % vectors * VL);
    tile_sum(t, in, s, rows, vectors);
    if (t->residual && t->cols == vectors * VL)
#pragma GCC unroll 24
        for (int i = 0; i < rows * vectors; i++)
            s[i] += vf_load(t->residual + out[i / vectors] + i % vectors * VL);
    else if (t->residual)
#pragma GCC unroll 24
        for (int i = 0; i < rows * vectors; i++) {
            int v = i % vectors * VL;
            s[i] = add_cols(s[i], t->residual + out[i / vectors] + v, t->cols - v);
        }
    if (t->activation)
#pragma GCC unroll 24
        for (int i = 0; i < rows * vectors; i++) s[i] = conv_activate(s[i], t->activation);
    if (t->cols == vectors * VL || spill)
#pragma GCC unroll 24
        for (int i = 0; i < rows * vectors; i++)
            vf_store(t->out + out[i / vectors] + i % vectors * VL, s[i]);
    else
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++)
            store_cols(t->out + out[r], s + r * vectors, vectors, t->cols);
}

#define TO_3(X, v) X(v, 1) X(v, 2) X(v, 3)
#define TO_4(X, v) TO_3(X, v) X(v, 4)
#define TO_6(X, v) TO_4(X, v) X(v, 5) X(v, 6)
#define TO_8(X, v) TO_6(X, v) X(v, 7) X(v, 8)
#if PV == 1
#define EACH_TILE(X) TO_8(X, 1)
#elif PV == 2
#define EACH_TILE(X) TO_8(X, 1) TO_6(X, 2)
#elif defined(__aarch64__)
#define EACH_TILE(X) TO_8(X, 1) TO_8(X, 2) TO_6(X, 3) TO_6(X, 4)
#else
#define EACH_TILE(X) TO_8(X, 1) TO_6(X, 2) TO_4(X, 3) TO_3(X, 4)
#endif
#define DEFINE_TILE(vectors, rows)                                                \
    static __attribute__((noinline)) void tile_##vectors##_##rows(                \
        const zk_panel *t, const int64_t *in, const int64_t *out, int64_t left) { \
        tile(t, in, out, left, rows, vectors);                                    \
    }
#define TILE_ENTRY(vectors, rows) [vectors - 1][rows - 1] = tile_##vectors##_##rows,
EACH_TILE(DEFINE_TILE)

typedef void (*zk_tile)(const zk_panel *, const int64_t *in, const int64_t *out, int64_t left);
static const zk_tile tiles[PV][MOST_ROWS] = {EACH_TILE(TILE_ENTRY)};

/* All pixels, in tiles of about equal size. */
static void run_tiles(const zk_panel *t, const int64_t *in, const int64_t *out, int64_t pixels) {
    int vectors = (t->cols + VL - 1) / VL, most = TILE_ROWS(vectors);
    int64_t count = zk_ceil(pixels, most), rows = pixels / zk_max(count, 1);
    int64_t larger = pixels - rows * count; /* so many tiles have one row more */
    for (int64_t i = 0, at = 0; i < count; i++) {
        int64_t some = rows + (i < larger);
        tiles[vectors - 1][some - 1](t, in + at, out + at, pixels - at);
        at += some;
    }
}
#endif

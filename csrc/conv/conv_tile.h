/* The register tile of direct convolution: some output pixels x one or more panels of 16 filters,
 * summed over all taps and channels in one go. In: where each pixel's input is, packed weights.
 * Out: the pixels, with bias and activation. Knows nothing of shapes, bands or threads. */
#ifndef ZK_CONV_TILE_H
#define ZK_CONV_TILE_H
#include "conv.h"
#include "conv_act.h"
#include "conv_fma.h"

/* Neighbouring panels of filters for a list of pixels. */
typedef struct {
    const float *base;       /* input; each pixel's offset is added */
    const int64_t *taps;     /* offsets of the runs of input that a pixel meets */
    int64_t ntaps, run;      /* how many, and floats in each */
    const float *w, *bias;   /* run k: (run, 16) from w + k * w_step; bias (16 * panels) */
    int64_t w_step, w_panel; /* floats from run to run, and from panel to panel */
    float *out;
    const float *residual; /* what is added at out, or NULL */
    const float *next;     /* weights that are read after these, fetched meanwhile; or NULL */
    int cols, activation;  /* filters of these panels */
    int dense;             /* the pixels' filters follow each other in memory, in order */
} zk_panel;

/* Most panels of a tile, and most pixels, by its vectors of filters: as many as leave room for the
 * sums in the vector registers, and for the pixels' pointers in the others. */
#if VL == 16
#define TILE_PANELS 4
#define TILE_ROWS(vectors) ((vectors) > 3 ? 6 : (vectors) == 2 ? 12 : 8)
#define MOST_ROWS 12
#elif defined(__aarch64__)
#define TILE_ROWS(vectors) ((vectors) > 2 ? 6 : 8)
#else
#define TILE_ROWS(vectors) ((vectors) > 1 ? 12 / (vectors) : 8)
#endif
#ifndef TILE_PANELS
#define TILE_PANELS 1
#endif
#ifndef MOST_ROWS
#define MOST_ROWS 8
#endif
#define TILE_VECTORS (TILE_PANELS * PV)
#define MOST_SUMS 24
#define TILE_STEPS 4 /* channels for which the pointers move once */
#define TILE_AHEAD 8 /* channels ahead of which weights come into the first cache */
#define TILE_LONG 64 /* least channels of all taps for which results are fetched */
#define TILE_FETCH 2 /* lines of the next weights fetched in TILE_STEPS channels */

/* A sum plus what lies at `from`, of which `cols` floats exist. Takes no address of a sum: it would
 * then have to leave its register. */
static __attribute__((noinline)) vf add_cols(vf sum, const float *from, int cols) {
    if (cols >= VL) sum += vf_load(from);
    else if (cols > 0) sum += vf_load_first(from, cols, (vf){0});
    return sum;
}

/* The first `cols` of a row's sums. */
static inline void store_cols(float *to, const vf *sums, int vectors, int cols) {
    float t[TILE_VECTORS * VL], *s = t;
    for (int v = 0; v < vectors; v++) vf_store(t + v * VL, sums[v]);
#define STORE_PART(n) \
    if (cols & n) memcpy(to, s, n * 4), to += n, s += n;
#if TILE_PANELS > 1
    STORE_PART(32)
    STORE_PART(16)
#endif
    STORE_PART(8) STORE_PART(4) STORE_PART(2) STORE_PART(1)
#undef STORE_PART
}

/* s(rows, vectors) += x(rows, float c) w(c, vectors) */
ZK_INLINE void tile_step(const float *const *x, int64_t c, const float *w, int64_t w_panel, vf *s,
                         const int rows, const int vectors) {
    vf b[TILE_VECTORS];
#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++) b[v] = vf_load(w + v / PV * w_panel + v % PV * VL);
#pragma GCC unroll 12
    for (int r = 0; r < rows; r++) {
        vf a = vf_set(x[r][c]);
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++)
            if (vectors == 1) s[r] += a * b[0];
            else ADD_PRODUCT(s[r * vectors + v], a, b[v]);
        IN_ORDER;
    }
}

#if VL == 16
/* s(rows, vectors) += TILE_STEPS such products, which fetches the weights behind them. */
ZK_INLINE void tile_steps(const float *const *x, int64_t c, const float *w, int64_t w_panel, vf *s,
                          const int rows, const int vectors) {
#pragma GCC unroll 4
    for (int i = 0; i < TILE_STEPS; i++, w += PANEL) {
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++)
            __builtin_prefetch(w + TILE_AHEAD * PANEL + v * w_panel, 0, 3);
        tile_step(x, c + i, w, w_panel, s, rows, vectors);
    }
}
#endif

/* s(rows, vectors) += the products of all runs */
ZK_INLINE void tile_sum(const zk_panel *t, const int64_t *in, vf *s, const int rows,
                        const int vectors) {
    const float *x[MOST_ROWS], *w = t->w;
    const int64_t *last = t->taps + t->ntaps, w_panel = t->w_panel, w_step = t->w_step;
#pragma GCC unroll 12
    for (int r = 0; r < rows; r++) x[r] = t->base + in[r];
#if VL == 16
    const float *next = t->next;
#endif
    for (const int64_t *tap = t->taps; tap < last; tap++, w += w_step) {
        const float *v = w;
        int64_t c = *tap, end = c + t->run;
#if VL == 16
        for (; vectors > 1 && c + TILE_STEPS <= end; c += TILE_STEPS, v += TILE_STEPS * PANEL) {
            for (int i = 0; i < TILE_FETCH; i++, next += PANEL) __builtin_prefetch(next, 0, 2);
            tile_steps(x, c, v, w_panel, s, rows, vectors);
        }
#endif
#pragma GCC unroll 2
        for (; c < end; c++, v += PANEL) tile_step(x, c, v, w_panel, s, rows, vectors);
    }
}

/* The tile's results will be written, and its residual read: both come into the cache meanwhile. */
ZK_INLINE void fetch_results(const zk_panel *t, const int64_t *out, const int rows,
                             const int vectors) {
#if VL == 16
    if (t->ntaps * t->run < TILE_LONG) return;
#pragma GCC unroll 12
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) __builtin_prefetch(t->out + out[r] + v * VL, 1, 3);
    if (t->residual)
#pragma GCC unroll 12
        for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
            for (int v = 0; v < vectors; v++) __builtin_prefetch(t->residual + out[r] + v * VL);
#else
    (void)t, (void)out, (void)rows, (void)vectors;
#endif
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
    fetch_results(t, out, rows, vectors);
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
#pragma GCC unroll 12
        for (int r = 0; r < rows; r++)
            store_cols(t->out + out[r], s + r * vectors, vectors, t->cols);
}

#define TO_3(X, v) X(v, 1) X(v, 2) X(v, 3)
#define TO_4(X, v) TO_3(X, v) X(v, 4)
#define TO_6(X, v) TO_4(X, v) X(v, 5) X(v, 6)
#define TO_8(X, v) TO_6(X, v) X(v, 7) X(v, 8)
#define TO_12(X, v) TO_8(X, v) X(v, 9) X(v, 10) X(v, 11) X(v, 12)
#if PV == 1
#define EACH_TILE(X) TO_8(X, 1) TO_12(X, 2) TO_8(X, 3) TO_6(X, 4)
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
static const zk_tile tiles[TILE_VECTORS][MOST_ROWS] = {EACH_TILE(TILE_ENTRY)};

/* All pixels, in tiles of about equal size, each of which fetches its share of the next weights. */
static void run_tiles(const zk_panel *panels, const int64_t *in, const int64_t *out,
                      int64_t pixels) {
    zk_panel t = *panels;
    int vectors = (t.cols + VL - 1) / VL, most = TILE_ROWS(vectors);
    int64_t count = zk_ceil(pixels, most), rows = pixels / zk_max(count, 1);
    int64_t larger = pixels - rows * count; /* so many tiles have one row more */
    int64_t share = t.next ? zk_ceil(vectors * VL / PANEL * t.w_panel, zk_max(count, 1)) : 0;
    if (!t.next) t.next = t.w;
    for (int64_t i = 0, at = 0; i < count; i++, t.next += share) {
        int64_t some = rows + (i < larger);
        tiles[vectors - 1][some - 1](&t, in + at, out + at, pixels - at);
        at += some;
    }
}
#endif

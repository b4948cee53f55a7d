/* The matrix micro-kernel: c(rows, 16 * panels) = act(a(rows, k) b(k, 16 * panels) + add), held in
 * registers while k runs. In: a by row and column stride, b in panels of 16 columns. Out: c by row
 * stride. Header-only, so that every kernel file gets it for its own instruction set; it knows
 * nothing of blocking, packing or threads. */
#ifndef ZK_GEMM_H
#define ZK_GEMM_H
#include "vmath.h"

/* Rows of a full tile, and panels side by side in a tile of so many rows: as many accumulators as
 * the registers hold beside one row of b. */
#if defined(ZK_ISA_AVX512)
#define GEMM_ROWS 12
#define GEMM_WIDE(rows) ((rows) == 1 ? 4 : 2)
#elif defined(__x86_64__) && !defined(ZK_ISA_AVX2)
#define GEMM_ROWS 3
#define GEMM_WIDE(rows) ((rows) == 1 ? 2 : 1)
#else
#define GEMM_ROWS 6
#define GEMM_WIDE(rows) ((rows) == 1 ? 4 : (rows) <= 3 ? 2 : 1)
#endif
#define GEMM_WIDEST 4

/* One tile. a(r, t) = a[r * arow + t * acol]; b(t, column) = b[t * bstep + (column / 16) * bpanel +
 * column % 16]; add is a bias (addrow 0), a partial sum (c itself), or NULL. */
typedef struct {
    const float *a, *b, *add;
    float *c;
    int64_t arow, acol, bstep, bpanel, addrow, crow;
    int64_t k;
    int64_t ahead; /* floats from b to what is read after it, which is fetched meanwhile; or 0 */
    int cols;      /* columns of c that exist, at most 16 * panels; b is read in full */
    int act;       /* only ZK_RELU is applied here */
} gemm_tile;

ZK_INLINE const float *gemm_step(const float *p, int64_t bytes) {
    return (const float *)((const char *)p + bytes);
}

/* acc += a b. The rows of a lie in groups of three, so that one pointer and two strides reach each
 * group. Were the stride of a not hidden from gcc, it would compile the loop twice. */
ZK_INLINE void gemm_multiply(const gemm_tile *t, const int rows, const int vecs,
                             vf (*acc)[GEMM_WIDEST * PV]) {
    const float *b = t->b, *a[(GEMM_ROWS + 2) / 3];
    const int64_t row = t->arow, bpanel = t->bpanel, ahead = t->ahead;
    int64_t acol = t->acol * 4, bstep = t->bstep * 4;
    __asm__("" : "+r"(acol));
    for (int g = 0; g < (rows + 2) / 3; g++) a[g] = t->a + 3 * g * row;
    for (int64_t k = t->k; k > 0; k--, b = gemm_step(b, bstep)) {
        vf w[GEMM_WIDEST * PV];
        __builtin_prefetch(b + ahead, 0, 2);
#pragma GCC unroll 16
        for (int v = 0; v < vecs; v++) w[v] = vf_load(b + (v / PV) * bpanel + (v % PV) * VL);
#pragma GCC unroll 16
        for (int r = 0; r < rows; r++) {
            const vf x = vf_set(a[r / 3][(r % 3) * row]);
#pragma GCC unroll 16
            for (int v = 0; v < vecs; v++) acc[r][v] += x * w[v];
        }
#pragma GCC unroll 16
        for (int g = 0; g < (rows + 2) / 3; g++) a[g] = gemm_step(a[g], acol);
    }
}

/* A tile with fewer columns than its panels: its sums, `width` a row, come from memory. */
static __attribute__((noinline, noclone)) void gemm_store_some(const gemm_tile *t, int rows,
                                                               int width, const float *sum) {
    for (int r = 0; r < rows; r++, sum += width) {
        const float *add = t->add + r * t->addrow;
        float *c = t->c + r * t->crow;
        for (int i = 0; i < t->cols; i++) {
            const float y = t->add ? sum[i] + add[i] : sum[i];
            c[i] = t->act == ZK_RELU && y < 0 ? 0 : y;
        }
    }
}

/* All rows and vectors of a tile, unrolled. */
#define GEMM_EACH_VECTOR                                    \
    _Pragma("GCC unroll 16") for (int r = 0; r < rows; r++) \
        _Pragma("GCC unroll 16") for (int v = 0; v < vecs; v++)

ZK_INLINE void gemm_run(const gemm_tile *t, const int rows, const int panels) {
    const int vecs = panels * PV;
    vf acc[GEMM_ROWS][GEMM_WIDEST * PV];
    GEMM_EACH_VECTOR acc[r][v] = (vf){0};
    gemm_multiply(t, rows, vecs, acc);
    if (t->cols < panels * PANEL) {
        float sum[GEMM_ROWS * GEMM_WIDEST * PANEL];
        GEMM_EACH_VECTOR vf_store(sum + (r * vecs + v) * VL, acc[r][v]);
        gemm_store_some(t, rows, panels * PANEL, sum);
        return;
    }
    if (t->add) GEMM_EACH_VECTOR acc[r][v] += vf_load(t->add + r * t->addrow + v * VL);
    if (t->act == ZK_RELU) GEMM_EACH_VECTOR acc[r][v] = vf_at_least(acc[r][v], (vf){0});
    float *c = t->c;
    const int64_t crow = t->crow;
    GEMM_EACH_VECTOR vf_store(c + r * crow + v * VL, acc[r][v]);
}

/* gemm_kernel[rows - 1][0] runs a tile of one panel, [1] one of GEMM_WIDE(rows) panels. */
#define GEMM_TILE(rows)                                                          \
    static void gemm_narrow_##rows(const gemm_tile *t) { gemm_run(t, rows, 1); } \
    static void gemm_wide_##rows(const gemm_tile *t) { gemm_run(t, rows, GEMM_WIDE(rows)); }
#define GEMM_ENTRY(rows) {gemm_narrow_##rows, gemm_wide_##rows},
#if GEMM_ROWS == 12
#define GEMM_EACH(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12)
#elif GEMM_ROWS == 6
#define GEMM_EACH(X) X(1) X(2) X(3) X(4) X(5) X(6)
#else
#define GEMM_EACH(X) X(1) X(2) X(3)
#endif
GEMM_EACH(GEMM_TILE)
static void (*const gemm_kernel[GEMM_ROWS][2])(const gemm_tile *) = {GEMM_EACH(GEMM_ENTRY)};

/* Runs the tile, which stands at the first row, over `count` rows: tiles of equal size or, the
 * first ones, a row larger. astep: floats between tiles of a when a is packed by tiles, else 0. */
static inline void gemm_rows(const gemm_tile *first, int64_t count, int wide, int64_t astep) {
    const int64_t tiles = zk_ceil(count, GEMM_ROWS);
    const int64_t small = tiles ? count / tiles : 0, larger = tiles ? count % tiles : 0;
    gemm_tile t = *first;
    for (int64_t i = 0; i < tiles; i++) {
        const int64_t rows = small + (i < larger);
        gemm_kernel[rows - 1][wide](&t);
        t.a += astep ? astep : rows * t.arow;
        t.c += rows * t.crow;
        t.add += rows * t.addrow;
    }
}
#endif

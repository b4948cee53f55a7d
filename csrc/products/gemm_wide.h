/* The matrix micro-kernel of AVX-512: c(rows, columns) = act(a b + add + residual), held in
 * registers while k runs. Of 32 registers a tile keeps as many sums as it can beside one row of b
 * and one number of a; the widest needs the fewest instructions for a multiply-add:
 *
 *     columns      64   48   32   16
 *     rows up to    6    9   14   14
 *
 * In: a by rows or turned, b by step and panel. Out: c by row stride. Header-only; it knows nothing
 * of blocking, packing or threads. */
#ifndef ZK_GEMM_WIDE_H
#define ZK_GEMM_WIDE_H
#include "vmath.h"

#define WIDE_ROWS 14
#define WIDE_PANELS 4
#define WIDE_AHEAD 8 /* steps that b is fetched ahead, into L1 */
static const int wide_rows[WIDE_PANELS] = {14, 14, 9, 6}; /* by panels - 1 */

/* One tile. b(t, column) = b[t * bstep + (column / 16) * bpanel + column % 16], read in full; add
 * is a bias (addrow 0), a partial sum (c itself), or NULL; residual lies like c, or is NULL. */
typedef struct {
    const float *a, *b, *add, *residual;
    float *c;
    int64_t astep; /* from row to row of a; of a turned one, from step to step */
    int64_t bstep, bpanel, addrow, crow, k;
    const float
        *fetch; /* what the next tile reads: fetched into L1, `fetchstep` floats in 4 steps */
    int64_t fetchstep;
    int last; /* columns of the last panel that exist, 1 to 16 */
    int act;  /* only ZK_RELU is applied here */
} wide_tile;

ZK_INLINE const float *wide_step(const float *p, int64_t bytes) {
    return (const float *)((const char *)p + bytes);
}

/* sum += x w. Left to itself gcc 12 gives the sum x's register, then copies and spills. */
ZK_INLINE void wide_add(vf *sum, vf x, vf w) {
#if defined(__AVX512F__)
    __asm__("vfmadd231ps %2, %1, %0" : "+v"(*sum) : "v"(x), "v"(w));
#else
    *sum += x * w;
#endif
}

/* All rows and panels of a tile, unrolled. */
#define WIDE_EACH                                           \
    _Pragma("GCC unroll 16") for (int r = 0; r < rows; r++) \
        _Pragma("GCC unroll 4") for (int v = 0; v < panels; v++)

/* Where a tile stands in k, in bytes. Rows of a go three to a pointer; a turned a needs one. */
typedef struct {
    const float *a[(WIDE_ROWS + 2) / 3], *b, *ahead;
    int64_t astep, bstep, bpanel, bpanel3;
} wide_place;

/* Hides what moves and what an address is made of from gcc, which would keep an address for each
 * unrolled load, or compile the loop once more for strides of 1, and spill. */
#define WIDE_HIDE(at)                                                                \
    __asm__(""                                                                       \
            : "+r"((at)->b), "+r"((at)->ahead), "+r"((at)->a[0]), "+r"((at)->astep), \
              "+r"((at)->bpanel), "+r"((at)->bpanel3))

ZK_INLINE const float *wide_panel(const wide_place *at, const float *b, const int v) {
    return wide_step(b, v == 3 ? at->bpanel3 : v * at->bpanel);
}

/* acc += a b for one step, `u` after where a stands; b moves on. */
ZK_INLINE void wide_multiply(wide_place *at, const int u, const int rows, const int panels,
                             const int turned, vf (*acc)[WIDE_PANELS]) {
    vf w[WIDE_PANELS];
#pragma GCC unroll 4
    for (int v = 0; v < panels; v++) w[v] = vf_load(wide_panel(at, at->b, v));
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++) {
        const vf x =
            vf_set(turned ? at->a[0][r] : wide_step(at->a[r / 3] + u, (r % 3) * at->astep)[0]);
#pragma GCC unroll 4
        for (int v = 0; v < panels; v++) wide_add(&acc[r][v], x, w[v]);
    }
    at->b = wide_step(at->b, at->bstep);
    if (turned) at->a[0] = wide_step(at->a[0], at->astep);
    WIDE_HIDE(at);
}

/* acc += a b, four steps to a turn. */
ZK_INLINE void wide_sum(const wide_tile *t, const int rows, const int panels, const int turned,
                        vf (*acc)[WIDE_PANELS]) {
    const int pointers = turned ? 1 : (rows + 2) / 3;
    wide_place at = {.b = t->b, .astep = t->astep * 4, .bstep = t->bstep * 4};
    at.bpanel = t->bpanel * 4, at.bpanel3 = at.bpanel * 3;
    at.ahead = wide_step(at.b, WIDE_AHEAD * at.bstep);
    for (int g = 0; g < pointers; g++) at.a[g] = wide_step(t->a, 3 * g * at.astep);
    __asm__("" : "+r"(at.bstep));
    WIDE_HIDE(&at);
    const float *fetch = t->fetch;
    int64_t k = t->k, fetchstep = t->fetchstep * 4;
    __asm__("" : "+r"(fetchstep));
    for (; k >= 4; k -= 4) {
        __builtin_prefetch(fetch, 0, 3);
        fetch = wide_step(fetch, fetchstep);
#pragma GCC unroll 4
        for (int u = 0; u < 4; u++) {
#pragma GCC unroll 4
            for (int v = 0; v < panels; v++) __builtin_prefetch(wide_panel(&at, at.ahead, v), 0, 3);
            at.ahead = wide_step(at.ahead, at.bstep);
            wide_multiply(&at, u, rows, panels, turned, acc);
        }
        for (int g = 0; g < pointers && !turned; g++) at.a[g] += 4;
    }
#pragma GCC unroll 1
    for (; k > 0; k--) {
        wide_multiply(&at, 0, rows, panels, turned, acc);
        for (int g = 0; g < pointers && !turned; g++) at.a[g]++;
    }
}

/* acc += more, a matrix of c's shape. */
ZK_INLINE void wide_more(const float *more, int64_t row, int last, const int rows, const int panels,
                         vf (*acc)[WIDE_PANELS]) {
    WIDE_EACH {
        const float *p = more + r * row + v * PANEL;
        acc[r][v] += v < panels - 1 ? vf_load(p) : vf_load_first(p, last, (vf){0});
        __asm__("" ::: "memory"); /* or all loads come first, and spill */
    }
}

ZK_INLINE void wide_run(const wide_tile *t, const int rows, const int panels, const int turned) {
    vf acc[WIDE_ROWS][WIDE_PANELS];
    float *c = t->c;
    WIDE_EACH acc[r][v] = (vf){0};
    for (int r = 0; r < rows; r++, c += t->crow)
        for (int v = 0; v < panels; v++) __builtin_prefetch(c + v * PANEL, 1, 3);
    wide_sum(t, rows, panels, turned, acc);
    int64_t crow = t->crow;
    const int last = t->last;
    __asm__("" : "+r"(crow)); /* or the addresses above are kept */
    c = t->c;
    if (t->add) wide_more(t->add, t->addrow, last, rows, panels, acc);
    if (t->residual) wide_more(t->residual, crow, last, rows, panels, acc);
    if (t->act == ZK_RELU) WIDE_EACH acc[r][v] = vf_at_least(acc[r][v], (vf){0});
    WIDE_EACH {
        float *p = c + r * crow + v * PANEL;
        if (v < panels - 1) vf_store(p, acc[r][v]);
        else vf_store_first(p, acc[r][v], last);
    }
}

/* wide_kernel[turned][panels - 1][rows - 1] */
#define WIDE_6(X, panels) \
    X(1, panels) X(2, panels) X(3, panels) X(4, panels) X(5, panels) X(6, panels)
#define WIDE_9(X, panels) WIDE_6(X, panels) X(7, panels) X(8, panels) X(9, panels)
#define WIDE_14(X, panels) \
    WIDE_9(X, panels) X(10, panels) X(11, panels) X(12, panels) X(13, panels) X(14, panels)
#define WIDE_DEFINE(rows, panels)                                                            \
    static void wide_##rows##_##panels(const wide_tile *t) { wide_run(t, rows, panels, 0); } \
    static void wide_turned_##rows##_##panels(const wide_tile *t) { wide_run(t, rows, panels, 1); }
#define WIDE_ENTRY(rows, panels) wide_##rows##_##panels,
#define WIDE_TURNED(rows, panels) wide_turned_##rows##_##panels,
WIDE_14(WIDE_DEFINE, 1)
WIDE_14(WIDE_DEFINE, 2)
WIDE_9(WIDE_DEFINE, 3)
WIDE_6(WIDE_DEFINE, 4)
static void (*const wide_kernel[2][WIDE_PANELS][WIDE_ROWS])(const wide_tile *) = {
    {{WIDE_14(WIDE_ENTRY, 1)},
     {WIDE_14(WIDE_ENTRY, 2)},
     {WIDE_9(WIDE_ENTRY, 3)},
     {WIDE_6(WIDE_ENTRY, 4)}},
    {{WIDE_14(WIDE_TURNED, 1)},
     {WIDE_14(WIDE_TURNED, 2)},
     {WIDE_9(WIDE_TURNED, 3)},
     {WIDE_6(WIDE_TURNED, 4)}}};
#endif

/* What a matrix product is: its operands, how it is cut, and what happens to y after the sums.
 * Header-only. In and out: struct gemm; it knows neither tiles nor threads. */
#ifndef ZK_GEMM_PRODUCT_H
#define ZK_GEMM_PRODUCT_H
#include "curve.h"

/* y(m, n) = act(a(m, k) b(k, n) + bias), for each of `batch` matrices. */
typedef struct {
    const zk_call *call;
    const zk_arg *aarg, *barg;
    int64_t m, n, k, batch;
    const float *a, *b, *bias; /* bias: NULL or n floats */
    const float *residual;     /* NULL, or like y: added before act */
    float *y;
    int ta, tb, packed;             /* stored turned: a(k, m), b(n, k); b in panels */
    int64_t arow, acol, brow, bcol; /* strides of a(m, k) and b(k, n) in memory */
    int act, mkl, may_cut_k;
    int column;                   /* y was one column, see turn_single_column */
    int64_t rows, columns, kcuts; /* blocks of one matrix */
    int64_t wide;                 /* panels side by side in a tile; columns are cut between them */
    int in_place;                 /* b is read where it lies */
    float *partial;               /* y(kcuts, m, n) before its sum when kcuts > 1 */
    float *shared;                /* b in panels, or NULL when each task packs what it reads */
    int64_t chunk;                /* blocks of one task */
} gemm;

/* Rows [i0, i1), panels [p0, p1) and steps [k0, k1) of one matrix. */
typedef struct {
    const float *a, *b;
    float *y;
    int64_t i0, i1, p0, p1, k0, k1;
} part;

static int64_t panels(int64_t n) { return zk_ceil(n, PANEL); }

/* Where part `i` of `parts` equal parts of `n` things starts. */
static int64_t cut(int64_t n, int64_t i, int64_t parts) { return n * i / parts; }

/* c(rows, cols) = act(c + residual), what a tile does not do itself. c lies in y. */
static void finish(const gemm *g, float *c, int64_t rows, int64_t cols) {
    const float *residual = g->residual ? g->residual + (c - g->y) : NULL;
    for (int64_t r = 0; r < rows; r++, c += g->n)
        for (int64_t i = 0; i < cols; i += VL) {
            const int some = (int)zk_min(VL, cols - i);
            vf y = some == VL ? vf_load(c + i) : vf_load_first(c + i, some, (vf){0});
            if (residual) {
                const float *from = residual + r * g->n + i;
                y += some == VL ? vf_load(from) : vf_load_first(from, some, (vf){0});
            }
            y = curve(y, g->act);
            if (some == VL) vf_store(c + i, y);
            else vf_store_first(c + i, y, some);
        }
}
#endif

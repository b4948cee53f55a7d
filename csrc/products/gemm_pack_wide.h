/* Panels side by side for the tiles of gemm_wide.h. In: columns of a matrix in memory, as it is or
 * turned. Out: out(steps, panels * 16), zero where there is no column. Header-only; it knows no
 * threads and no blocks. */
#ifndef ZK_GEMM_PACK_WIDE_H
#define ZK_GEMM_PACK_WIDE_H
#include "gemm_pack.h"
#include "vmath.h"

#define PACK_AHEAD 8 /* rows of b that are fetched ahead */

/* out(steps, panels * 16) from rows of b(steps, n); columns that do not exist are zero. */
static void pack_rows_wide(const float *b, int64_t brow, int64_t steps, int64_t cols,
                           int64_t panels, float *out) {
    const int64_t last = cols - (panels - 1) * PANEL;
    for (int64_t t = 0; t < steps; t++, b += brow) {
        for (int64_t v = 0; v < panels - 1; v++, out += PANEL) {
            __builtin_prefetch(b + PACK_AHEAD * brow + v * PANEL, 0, 2);
            vf_store(out, vf_load(b + v * PANEL));
        }
        vf_store(out, vf_load_first(b + (panels - 1) * PANEL, last, (vf){0}));
        out += PANEL;
    }
}

#define PACK_QUARTERS(a, b) __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7)
/* Pairs of numbers, then of pairs, in each quarter of two vectors. */
static const vi pack_low = {0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29};
static const vi pack_high = {2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31};
static const vi pack_first = {0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29};
static const vi pack_second = {2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31};

/* out[j][i] = b[i][j] for 16 rows of b and 4 of out. */
ZK_INLINE void turn_16x4(const float *b, int64_t brow, float *out, int64_t outrow) {
    vf q[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++, b += brow) {
        const v4f q0 = *(const v4f *)b, q1 = *(const v4f *)(b + 4 * brow);
        const v4f q2 = *(const v4f *)(b + 8 * brow), q3 = *(const v4f *)(b + 12 * brow);
        q[i] = VF_JOIN(PACK_QUARTERS(q0, q1), PACK_QUARTERS(q2, q3));
    }
    const vf l01 = __builtin_shuffle(q[0], q[1], pack_low);
    const vf l23 = __builtin_shuffle(q[2], q[3], pack_low);
    const vf h01 = __builtin_shuffle(q[0], q[1], pack_high);
    const vf h23 = __builtin_shuffle(q[2], q[3], pack_high);
    vf_store(out, __builtin_shuffle(l01, l23, pack_first));
    vf_store(out + outrow, __builtin_shuffle(l01, l23, pack_second));
    vf_store(out + 2 * outrow, __builtin_shuffle(h01, h23, pack_first));
    vf_store(out + 3 * outrow, __builtin_shuffle(h01, h23, pack_second));
}

/* The same from rows of b(n, steps). */
static void pack_columns_wide(const float *b, int64_t bcol, int64_t steps, int64_t cols,
                              int64_t panels, float *out) {
    const int64_t row = panels * PANEL;
    for (int64_t v = 0; v < panels; v++, b += PANEL * bcol, cols -= PANEL, out += PANEL) {
        int64_t t = 0;
        for (; cols >= PANEL && t + 4 <= steps; t += 4) turn_16x4(b + t, bcol, out + t * row, row);
        for (; t < steps; t++)
            for (int64_t i = 0; i < PANEL; i++) out[t * row + i] = i < cols ? b[i * bcol + t] : 0;
    }
}
#endif

/* Panels of 16 columns for the matrix micro-kernel. In: a matrix in memory, as it is or turned.
 * Out: panel(steps, 16), zero where there is no column. Header-only; it knows no threads and no
 * blocks. */
#ifndef ZK_GEMM_PACK_H
#define ZK_GEMM_PACK_H
#include "vec.h"

/* A panel out(steps, 16) from up to 16 columns of b(steps, n), the rest zero. Reads 16 floats of
 * every row but the last ones, where that would go past the end of b. */
static void pack_rows(const float *b, int64_t brow, int64_t steps, int64_t cols, float *out) {
    const int64_t whole = cols < PANEL ? zk_max(0, steps - zk_ceil(PANEL, brow)) : steps;
    int32_t exists[PANEL];
    for (int i = 0; i < PANEL; i++) exists[i] = i < cols ? -1 : 0;
    for (int64_t t = 0; t < whole; t++)
        for (int v = 0; v < PANEL; v += VL) {
            const vi mask = *(const vi *)(exists + v);
            vf_store(out + t * PANEL + v, (vf)((vi)vf_load(b + t * brow + v) & mask));
        }
    for (int64_t t = whole; t < steps; t++)
        for (int i = 0; i < PANEL; i++) out[t * PANEL + i] = i < cols ? b[t * brow + i] : 0;
}

typedef float v4f __attribute__((vector_size(16), aligned(4), may_alias));
typedef int32_t v4i __attribute__((vector_size(16)));

/* out[j][i] = b[i][j] for 4 rows of b and 4 of out */
static inline void turn_4x4(const float *b, int64_t brow, float *out, int64_t outrow) {
    const v4i low = {0, 4, 1, 5}, high = {2, 6, 3, 7}, first = {0, 1, 4, 5}, last = {2, 3, 6, 7};
    const v4f r0 = *(const v4f *)b, r1 = *(const v4f *)(b + brow);
    const v4f r2 = *(const v4f *)(b + 2 * brow), r3 = *(const v4f *)(b + 3 * brow);
    const v4f l01 = __builtin_shuffle(r0, r1, low), l23 = __builtin_shuffle(r2, r3, low);
    const v4f h01 = __builtin_shuffle(r0, r1, high), h23 = __builtin_shuffle(r2, r3, high);
    *(v4f *)out = __builtin_shuffle(l01, l23, first);
    *(v4f *)(out + outrow) = __builtin_shuffle(l01, l23, last);
    *(v4f *)(out + 2 * outrow) = __builtin_shuffle(h01, h23, first);
    *(v4f *)(out + 3 * outrow) = __builtin_shuffle(h01, h23, last);
}

/* A panel out(steps, 16) from up to 16 rows of b(n, steps), in squares that use whole cache
 * lines. */
static inline void pack_columns(const float *b, int64_t bcol, int64_t steps, int64_t cols,
                                float *out) {
    const int64_t squares = cols < PANEL ? 0 : steps / 4 * 4;
    for (int64_t t = 0; t < squares; t += 16)
        for (int i = 0; i < PANEL; i += 4)
            for (int64_t u = t; u < zk_min(t + 16, squares); u += 4)
                turn_4x4(b + i * bcol + u, bcol, out + u * PANEL + i, PANEL);
    for (int64_t t = squares; t < steps; t++)
        for (int i = 0; i < PANEL; i++) out[t * PANEL + i] = i < cols ? b[i * bcol + t] : 0;
}

#endif

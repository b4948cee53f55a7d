/* Products of a few rows in tile registers, for kernels that make their operands themselves: rows
 * are rounded to bfloat16, then multiplied by a matrix that was packed so before; sums in float32.
 * In: float32. Out: blocks of 32 columns. A row's sums do not depend on the rows beside it. */
#ifndef ZK_TILE_ROWS_H
#define ZK_TILE_ROWS_H
#include "gemm_bf16_pack.h"

#define TILE_SIDE 32 /* rows of a product, at most, and columns of a block */

/* to(ceil(k / 32), 2, 16, 32): 32 columns of w(k, n), or of the turned w(n, k), from j on. */
static void tile_rows_pack(const grid *w, int turned, int64_t k, int64_t n, int64_t j,
                           uint16_t *to) {
    tiles model, *t = tiles_real() ? NULL : &model;
    for (int64_t s = 0; s < k; s += ZK_TILE_STEP)
        for (int64_t half = 0; half < 2; half++, to += TILE_NUMBERS) {
            if (t) pack_right(t, w, turned, s, k, j + 16 * half, n, to);
            else pack_right(NULL, w, turned, s, k, j + 16 * half, n, to);
        }
}

ZK_INLINE void tile_rows_one(tiles *t, const float *from, int64_t k, uint16_t *to) {
    int64_t s = 0;
    for (; s + ZK_TILE_STEP <= k; s += ZK_TILE_STEP)
        tile_narrow_32(t, from + s, from + s + 16, to + s);
    if (s == k) return;
    float last[ZK_TILE_STEP] = {0};
    memcpy(last, from + s, (size_t)(k - s) * 4);
    tile_narrow_32(t, last, last + 16, to + s);
}

/* to(rows, ceil(k / 32) * 32) = from(rows, k), rounded, zero behind k. */
static void tile_rows_round(const float *from, int64_t row, int64_t rows, int64_t k, uint16_t *to) {
    const int64_t width = zk_ceil(k, ZK_TILE_STEP) * ZK_TILE_STEP;
    tiles model, *t = tiles_real() ? NULL : &model;
    for (int64_t r = 0; r < rows; r++, from += row, to += width) {
        if (t) tile_rows_one(t, from, k, to);
        else tile_rows_one(NULL, from, k, to);
    }
}

/* c (+)= a b: up to 16 rows, or with `both` 32, of a `arow` and of c `crow` bytes apart. */
ZK_INLINE void tile_rows_sum(tiles *t, const char *a, int64_t arow, const char *b, int64_t steps,
                             const int both, char *c, int64_t crow, int adds) {
    char *low = c + 16 * crow;
    tile_zero(t, 0), tile_zero(t, 1), tile_zero(t, 2), tile_zero(t, 3);
    if (adds) tile_load(t, 0, c, crow), tile_load(t, 1, c + 64, crow);
    if (adds && both) tile_load(t, 2, low, crow), tile_load(t, 3, low + 64, crow);
    for (int64_t s = 0; s < steps; s++, a += 64, b += 2048) {
        for (int p = 0; p < 4; p++) __builtin_prefetch(b + 4096 + 512 * p);
        tile_load(t, 6, b, 64);
        tile_load(t, 4, a, arow);
        tile_dp_bf16(t, 0, 4, 6);
        if (both) tile_load(t, 5, a + 16 * arow, arow);
        if (both) tile_dp_bf16(t, 2, 5, 6);
        tile_load(t, 7, b + 1024, 64);
        tile_dp_bf16(t, 1, 4, 7);
        if (both) tile_dp_bf16(t, 3, 5, 7);
    }
    tile_store(t, 0, c, crow), tile_store(t, 1, c + 64, crow);
    if (both) tile_store(t, 2, low, crow), tile_store(t, 3, low + 64, crow);
}

ZK_INLINE void tile_rows_blocks(tiles *t, const uint16_t *a, int64_t rows, const uint16_t *b,
                                int64_t steps, int64_t cols, float *c, int64_t crow, int adds) {
    const int64_t arow = steps * ZK_TILE_STEP * 2;
    for (int64_t j = 0; j < cols; j += TILE_SIDE, b += steps * ZK_TILE_BOTH) {
        const char *x = (const char *)a, *w = (const char *)b;
        char *to = (char *)(c + j);
        if (rows > 16) tile_rows_sum(t, x, arow, w, steps, 1, to, crow * 4, adds);
        else tile_rows_sum(t, x, arow, w, steps, 0, to, crow * 4, adds);
    }
}

/* c(rows, cols) = a(rows, steps * 32) b, or += if `adds`; rows of c lie `crow` floats apart. Both
 * arrays have room for whole tiles of 16 rows, c for whole blocks of 32 columns. The registers are
 * configured already. */
static void tile_rows_product(const uint16_t *a, int64_t rows, const uint16_t *b, int64_t steps,
                              int64_t cols, float *c, int64_t crow, int adds) {
    tiles model;
    const int real = tiles_real();
    if (!real) tile_config(&model, &tile_full);
    for (; rows > 0; rows -= TILE_SIDE) {
        if (real) tile_rows_blocks(NULL, a, rows, b, steps, cols, c, crow, adds);
        else tile_rows_blocks(&model, a, rows, b, steps, cols, c, crow, adds);
        a += steps * ZK_TILE_STEP * TILE_SIDE, c += crow * TILE_SIDE;
    }
}

/* Around the steps of a task. */
ZK_INLINE void tile_rows_begin(void) {
    if (tiles_real()) tile_config(NULL, &tile_full);
}
ZK_INLINE void tile_rows_end(void) {
    if (tiles_real()) tile_release(NULL);
}
#endif

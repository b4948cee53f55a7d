/* How products of bfloat16 are stored: y = act(sums + residual), in float32 or bfloat16. In:
 * squares of 32 x 32 sums, and which rows and columns of y they are. */
#ifndef ZK_BF16_RESULT_H
#define ZK_BF16_RESULT_H
#include "curve.h"
#include "gemm_bf16_pack.h"

#define SIDE 32 /* rows and columns of a block of sums */

typedef uint16_t bf16_some __attribute__((vector_size(VL * 2), aligned(2), may_alias));
typedef uint32_t bf16_wide __attribute__((vector_size(VL * 4), aligned(4), may_alias));

typedef struct {
    char *p;
    grid residual; /* p: NULL, or like y */
    int64_t n;
    int act, narrow; /* y is bfloat16 */
} bf16_result;

static grid grid_of(const zk_arg *arg, const void *p, int64_t row) {
    return (grid){p, row, arg->dtype == ZK_F32};
}

/* Of a call whose only output is y(.., n), and whose fourth input is the residual if it has one. */
static inline bf16_result bf16_result_of(const zk_call *c, int64_t n, int act) {
    bf16_result y = {.p = c->p[0], .n = n, .act = act, .narrow = c->a->dtype == ZK_U16};
    if (c->nin == 4) y.residual = grid_of(c->a + 4, c->p[4], n);
    return y;
}

/* Whether sums are results. */
ZK_INLINE int bf16_plain(const bf16_result *y) { return !y->narrow && !y->act && !y->residual.p; }

/* VL numbers of bfloat16. */
ZK_INLINE vf bf16_load(const uint16_t *p) {
    return (vf)(__builtin_convertvector(*(const bf16_some *)p, bf16_wide) << 16);
}

/* sums(32) = act(sums + residual(32)) */
ZK_INLINE void bf16_finish(const void *residual, int wide, const int act, float *sums) {
#pragma GCC unroll 8
    for (int v = 0; v < SIDE; v += VL) {
        vf s = vf_load(sums + v);
        if (residual && wide) s += vf_load((const float *)residual + v);
        else if (residual) s += bf16_load((const uint16_t *)residual + v);
        if (act == ZK_RELU) s = vf_at_least(s, (vf){0});
        else if (act == ZK_RELU6) s = vf_at_most(vf_at_least(s, (vf){0}), vf_set(6));
        else if (act != ZK_LINEAR) s = curve(s, act);
        vf_store(sums + v, s);
    }
}

/* The same of the last columns, fewer than 32, and stored. */
ZK_INLINE void bf16_put_some(tiles *t, const bf16_result *y, float *sums, int64_t row, int64_t j,
                             int64_t cols, const int act) {
    const int64_t at = row * y->n + j;
    float more[SIDE];
    uint16_t narrow[SIDE];
    if (y->residual.p && y->residual.wide) floats_load(grid_at(&y->residual, row, j), cols, more);
    if (y->residual.p && !y->residual.wide) {
        bits_load(grid_at(&y->residual, row, j), cols, narrow);
        for (int v = 0; v < SIDE; v += VL) vf_store(more + v, bf16_load(narrow + v));
    }
    bf16_finish(y->residual.p ? more : NULL, 1, act, sums);
    tile_narrow_32(t, sums, sums + 16, narrow);
    if (y->narrow) bits_store((uint16_t *)y->p + at, narrow, cols);
    else floats_store((float *)y->p + at, sums, cols);
}

/* The same columns of the row that is stored 32 rows later: a block's rows lie too far apart for
 * the CPU to see them come. */
ZK_INLINE void fetch_ahead(const bf16_result *y, const void *residual, int64_t at) {
    const int64_t later = SIDE * y->n;
    const char *to = y->p + (at + later) * (y->narrow ? 2 : 4);
    __builtin_prefetch(to, 1);
    if (!y->narrow) __builtin_prefetch(to + 64, 1);
    if (residual) __builtin_prefetch((const char *)residual + later * (y->residual.wide ? 4 : 2));
}

/* Rows from i on, or those that `places` names, -1 for none. */
ZK_INLINE void bf16_put_rows(tiles *t, const bf16_result *y, float *sums, const int64_t *places,
                             int64_t i, int64_t rows, int64_t j, int64_t cols, const int act) {
    for (int64_t r = 0; r < rows; r++, sums += SIDE) {
        const int64_t row = places ? places[r] : i + r, at = row * y->n + j;
        if (row < 0) continue;
        if (cols < SIDE) {
            bf16_put_some(t, y, sums, row, j, cols, act);
            continue;
        }
        const void *residual = y->residual.p ? grid_at(&y->residual, row, j) : NULL;
        fetch_ahead(y, residual, at);
        bf16_finish(residual, y->residual.wide, act, sums);
        if (y->narrow) tile_narrow_32(t, sums, sums + 16, (uint16_t *)y->p + at);
        else memcpy(y->p + at * 4, sums, SIDE * 4);
    }
}

ZK_INLINE void bf16_put(tiles *t, const bf16_result *y, float *sums, const int64_t *places,
                        int64_t i, int64_t rows, int64_t j, int64_t cols) {
    if (y->act == ZK_RELU) bf16_put_rows(t, y, sums, places, i, rows, j, cols, ZK_RELU);
    else if (y->act == ZK_RELU6) bf16_put_rows(t, y, sums, places, i, rows, j, cols, ZK_RELU6);
    else if (!y->act) bf16_put_rows(t, y, sums, places, i, rows, j, cols, ZK_LINEAR);
    else bf16_put_rows(t, y, sums, places, i, rows, j, cols, y->act);
}
#endif

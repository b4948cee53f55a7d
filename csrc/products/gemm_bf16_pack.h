/* Matrices in the order of tile registers: tiles of 16 rows by 32 numbers of bfloat16. In: float32
 * (rounded to nearest even) or bfloat16, as it lies or turned. Out: tiles of the left operand,
 * whose rows hold 32 steps of k, or of the right one, whose rows hold pairs of k for 16 columns.
 * The two are each other's transpose in units of pairs. Zero where the matrix ends. */
#ifndef ZK_GEMM_BF16_PACK_H
#define ZK_GEMM_BF16_PACK_H
#include "amx.h"

#define TILE_NUMBERS 512 /* of bfloat16 in a tile */

typedef uint16_t v32u __attribute__((vector_size(64), aligned(2), may_alias));
typedef int32_t v16i __attribute__((vector_size(64), aligned(4), may_alias));

/* A matrix in memory: rows `row` numbers apart, float32 when wide, else bfloat16. */
typedef struct {
    const char *p;
    int64_t row;
    int wide;
} grid;

ZK_INLINE const void *grid_at(const grid *g, int64_t r, int64_t c) {
    return g->p + (r * g->row + c) * (g->wide ? 4 : 2);
}

/* to(32) = the first n numbers of a row and zeros; and to store n of them. */
#if TILE_INSTRUCTIONS
ZK_INLINE __mmask32 first_of_32(int64_t n) { return n < 32 ? (1u << n) - 1 : ~0u; }
ZK_INLINE void bits_load(const uint16_t *from, int64_t n, uint16_t *to) {
    _mm512_storeu_si512(to, _mm512_maskz_loadu_epi16(first_of_32(n), from));
}
ZK_INLINE void bits_store(uint16_t *to, const uint16_t *from, int64_t n) {
    _mm512_mask_storeu_epi16(to, first_of_32(n), _mm512_loadu_si512(from));
}
#else
ZK_INLINE void bits_load(const uint16_t *from, int64_t n, uint16_t *to) {
    memset(to, 0, 64);
    memcpy(to, from, (size_t)n * 2);
}
ZK_INLINE void bits_store(uint16_t *to, const uint16_t *from, int64_t n) {
    memcpy(to, from, (size_t)n * 2);
}
#endif

/* The same of floats. */
ZK_INLINE void floats_load(const float *from, int64_t n, float *to) {
#pragma GCC unroll 8
    for (int v = 0; v < 32; v += VL)
        vf_store(to + v, vf_load_first(from + v, zk_max(0, zk_min(n - v, VL)), (vf){0}));
}
ZK_INLINE void floats_store(float *to, const float *from, int64_t n) {
#pragma GCC unroll 8
    for (int v = 0; v < 32; v += VL)
        vf_store_first(to + v, vf_load(from + v), zk_max(0, zk_min(n - v, VL)));
}

/* to(32) = numbers of a row from (r, c) on, `some` of which exist. */
ZK_INLINE void grid_read(tiles *t, const grid *g, int64_t r, int64_t c, int64_t some,
                         uint16_t *to) {
    const int64_t n = zk_max(0, zk_min(some, 32));
    float wide[32];
    if (!n) memset(to, 0, 64);
    else if (!g->wide) bits_load(grid_at(g, r, c), n, to);
    else {
        floats_load(grid_at(g, r, c), n, wide);
        tile_narrow_32(t, wide, wide + 16, to);
    }
}

/* to(16, 32): up to 16 rows from (r, c) on, each 32 numbers of a row; rows and cols exist. */
ZK_INLINE void tile_of_rows(tiles *t, const grid *g, int64_t r, int64_t rows, int64_t c,
                            int64_t cols, uint16_t *to) {
    if (rows >= 16 && cols >= 32) {
        const int64_t row = g->row * (g->wide ? 4 : 2);
        const char *p = grid_at(g, r, c);
        for (int i = 0; i < 16; i++, p += row, to += 32)
            if (g->wide) tile_narrow_32(t, (const float *)p, (const float *)p + 16, to);
            else *(v32u *)to = *(const v32u *)p;
        return;
    }
    for (int64_t i = 0; i < 16; i++, to += 32) grid_read(t, g, r + i, c, i < rows ? cols : 0, to);
}

/* Two halves of 16 numbers become pairs. */
ZK_INLINE void interleave(uint16_t *p) {
    const v32u order = {0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                        8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    *(v32u *)p = __builtin_shuffle(*(v32u *)p, order);
}

/* to(16, 16, 2): pairs of rows from (r, c) on, of 16 columns; rows (up to 32) and cols exist. */
ZK_INLINE void tile_of_pairs(tiles *t, const grid *g, int64_t r, int64_t rows, int64_t c,
                             int64_t cols, uint16_t *to) {
    const int whole = rows >= 32 && cols >= 16;
    for (int64_t i = 0; i < 32; i += 2, to += 32) {
        if (whole && g->wide) {
            tile_narrow_32(t, grid_at(g, r + i, c), grid_at(g, r + i + 1, c), to);
        } else if (whole) {
            memcpy(to, grid_at(g, r + i, c), 32);
            memcpy(to + 16, grid_at(g, r + i + 1, c), 32);
        } else {
            uint16_t next[32];
            const int64_t some = zk_min(cols, 16);
            grid_read(t, g, r + i, c, i < rows ? some : 0, to);
            grid_read(t, g, r + i + 1, c, i + 1 < rows ? some : 0, next);
            memcpy(to + 16, next, 32);
        }
        interleave(to);
    }
}

/* Turns a tile of 16 x 16 pairs: rows and columns change places one bit of their number at a time.
 */
#if defined(ZK_ISA_AVX512)
#define TURN_LOW(j, s) ((j) & (s) ? 16 + (j) - (s) : (j))
#define TURN_HIGH(j, s) ((j) & (s) ? 16 + (j) : (j) + (s))
#define TURN_ALL(F, s)                                                            \
    {F(0, s), F(1, s), F(2, s),  F(3, s),  F(4, s),  F(5, s),  F(6, s),  F(7, s), \
     F(8, s), F(9, s), F(10, s), F(11, s), F(12, s), F(13, s), F(14, s), F(15, s)}
#define TURN_BY(s)                                                          \
    _Pragma("GCC unroll 16") for (int i = 0; i < 16; i++) if (!(i & (s))) { \
        const v16i a = v[i], b = v[i + (s)];                                \
        v[i] = __builtin_shuffle(a, b, (v16i)TURN_ALL(TURN_LOW, s));        \
        v[i + (s)] = __builtin_shuffle(a, b, (v16i)TURN_ALL(TURN_HIGH, s)); \
    }
ZK_INLINE void turn_tile(uint16_t *tile) {
    v16i *p = (v16i *)tile, v[16];
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++) v[i] = p[i];
    TURN_BY(8)
    TURN_BY(4)
    TURN_BY(2)
    TURN_BY(1)
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++) p[i] = v[i];
}
#else
ZK_INLINE void turn_tile(uint16_t *tile) {
    uint32_t was[16][16], *p = (uint32_t *)(void *)tile;
    memcpy(was, tile, sizeof was);
    for (int i = 0; i < 16; i++)
        for (int j = 0; j < 16; j++) memcpy(p + 16 * j + i, &was[i][j], 4);
}
#endif

/* A tile of the left operand a(m, k), stored as it is or turned, from row r and step k on. */
ZK_INLINE void pack_left(tiles *t, const grid *a, int turned, int64_t r, int64_t m, int64_t k,
                         int64_t steps, uint16_t *to) {
    if (!turned) {
        tile_of_rows(t, a, r, m - r, k, steps - k, to);
        return;
    }
    tile_of_pairs(t, a, k, steps - k, r, m - r, to);
    turn_tile(to);
}

/* A tile of the right operand b(k, n), stored as it is or turned, from step k and column c on. */
ZK_INLINE void pack_right(tiles *t, const grid *b, int turned, int64_t k, int64_t steps, int64_t c,
                          int64_t n, uint16_t *to) {
    if (!turned) {
        tile_of_pairs(t, b, k, steps - k, c, n - c, to);
        return;
    }
    tile_of_rows(t, b, c, n - c, k, steps - k, to);
    turn_tile(to);
}
#endif

/* The int8 micro-kernel: sums(rows, 16) = x(rows, 4 * steps) w(4 * steps, 16), exact in int32. In:
 * rows of x as int8 and as magnitudes, one packed panel of w. Out: int32 sums. It knows nothing of
 * scales, blocks or threads.
 *
 * AVX2 multiplies unsigned by signed bytes and adds pairs of products in 16 bits, saturating. Here
 * x = |x| sign(x): |x| is the unsigned byte and the sign goes over to w. Both stay within 127, a
 * pair within 2 * 127 * 127 = 32258 < 32768, and nothing saturates. Inputs keep all 255 values;
 * when none of a tile is negative the step for signs is left out. */
#ifndef ZK_GEMM_INT8_H
#define ZK_GEMM_INT8_H
#include "vmath.h"

/* One tile. x(r, t) = x[r * row + t], size the same of |x|; w(steps, 16, 4). */
typedef struct {
    const int8_t *x;
    const uint8_t *size;
    const int8_t *w;
    int64_t row, steps;
    int32_t *sums;
} int8_tile;

#if defined(ZK_ISA_AVX512) || defined(ZK_ISA_AVX2)
#include <immintrin.h>
#if defined(ZK_ISA_AVX512)
#define INT8_ROWS 8
#else
#define INT8_ROWS 4
#endif

/* 8 floats * scale as whole numbers, ties to even. */
ZK_INLINE __m256i int8_whole(const float *x, __m256 scale) {
    const __m256 v = _mm256_mul_ps(_mm256_loadu_ps(x), scale);
    return _mm256_cvtps_epi32(_mm256_min_ps(v, _mm256_set1_ps(ZK_INT8_MOST)));
}

/* 32 at once, in bytes; what is too low ends at -127. */
ZK_INLINE __m256i int8_round_32(const float *x, __m256 scale) {
    const __m256i ab = _mm256_packs_epi32(int8_whole(x, scale), int8_whole(x + 8, scale));
    const __m256i cd = _mm256_packs_epi32(int8_whole(x + 16, scale), int8_whole(x + 24, scale));
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    const __m256i q = _mm256_permutevar8x32_epi32(_mm256_packs_epi16(ab, cd), order);
    return _mm256_max_epi8(q, _mm256_set1_epi8(-ZK_INT8_MOST));
}

/* The first inputs of int8_round, in whole vectors; returns how many. */
ZK_INLINE int64_t int8_round_most(const float *x, int64_t k, float scale, int8_t *q, uint8_t *size,
                                  int8_t *all) {
    __m256i any = _mm256_setzero_si256();
    int64_t i = 0;
    for (; i + 32 <= k; i += 32) {
        const __m256i v = int8_round_32(x + i, _mm256_set1_ps(scale));
        any = _mm256_or_si256(any, v);
        _mm256_storeu_si256((__m256i *)(q + i), v);
        _mm256_storeu_si256((__m256i *)(size + i), _mm256_abs_epi8(v));
    }
    *all = _mm256_movemask_epi8(any) ? -1 : 0;
    return i;
}

/* Four bytes in all lanes. */
ZK_INLINE __m256i int8_spread(const void *p) {
    int32_t four;
    memcpy(&four, p, 4);
    return _mm256_set1_epi32(four);
}

ZK_INLINE void int8_run(const int8_tile *t, const int rows, const int negative) {
    const __m256i ones = _mm256_set1_epi16(1);
    __m256i sums[INT8_ROWS][2];
    const int8_t *w = t->w;
    for (int r = 0; r < rows; r++) sums[r][0] = sums[r][1] = _mm256_setzero_si256();
    for (int64_t at = 0; at < 4 * t->steps; at += 4, w += 64) {
        const __m256i *p = (const __m256i *)w;
        if (rows == 1) __builtin_prefetch(w + 2048); /* one row waits for memory alone */
        const __m256i both[2] = {_mm256_loadu_si256(p), _mm256_loadu_si256(p + 1)};
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++) {
            const __m256i size = int8_spread(t->size + r * t->row + at);
#pragma GCC unroll 2
            for (int v = 0; v < 2; v++) {
                __m256i turned = both[v];
                if (negative)
                    turned = _mm256_sign_epi8(turned, int8_spread(t->x + r * t->row + at));
                const __m256i pairs = _mm256_maddubs_epi16(size, turned);
                sums[r][v] = _mm256_add_epi32(sums[r][v], _mm256_madd_epi16(pairs, ones));
            }
        }
    }
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < 2; v++)
            _mm256_storeu_si256((__m256i *)(t->sums + r * PANEL + v * 8), sums[r][v]);
}

#else
#define INT8_ROWS 4

ZK_INLINE int64_t int8_round_most(const float *x, int64_t k, float scale, int8_t *q, uint8_t *size,
                                  int8_t *all) {
    (void)x, (void)k, (void)scale, (void)q, (void)size;
    *all = 0;
    return 0;
}

ZK_INLINE void int8_run(const int8_tile *t, const int rows, const int negative) {
    (void)negative;
    memset(t->sums, 0, sizeof *t->sums * PANEL * (size_t)rows);
    for (int64_t s = 0; s < t->steps; s++)
        for (int r = 0; r < rows; r++) {
            const int8_t *x = t->x + r * t->row + s * ZK_INT8_STEP, *w = t->w + s * 4 * PANEL;
            for (int j = 0; j < PANEL; j++, w += 4)
                t->sums[r * PANEL + j] += x[0] * w[0] + x[1] * w[1] + x[2] * w[2] + x[3] * w[3];
        }
}
#endif

/* q = x * scale to the nearest whole number within -127..127, ties to even; size = |q|. Returns
 * whether any is below 0. Adding 1.5 * 2^23 leaves a whole number in a float's low bits. */
static int int8_round(const float *x, int64_t k, float scale, int8_t *q, uint8_t *size) {
    int8_t all;
    for (int64_t i = int8_round_most(x, k, scale, q, size, &all); i < k; i++) {
        float v = x[i] * scale;
        v = v > ZK_INT8_MOST ? ZK_INT8_MOST : v;
        v = (v < -ZK_INT8_MOST ? -ZK_INT8_MOST : v) + 0x1.8p23f;
        int32_t bits;
        memcpy(&bits, &v, 4);
        q[i] = (int8_t)bits;
        size[i] = (uint8_t)(q[i] < 0 ? -q[i] : q[i]);
        all |= q[i];
    }
    return all < 0;
}

/* int8_kernel[rows - 1][whether any input is negative] */
#define INT8_TILE(rows)                                                         \
    static void int8_plain_##rows(const int8_tile *t) { int8_run(t, rows, 0); } \
    static void int8_signed_##rows(const int8_tile *t) { int8_run(t, rows, 1); }
#define INT8_ENTRY(rows) {int8_plain_##rows, int8_signed_##rows},
#if INT8_ROWS == 8
#define INT8_EACH(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8)
#else
#define INT8_EACH(X) X(1) X(2) X(3) X(4)
#endif
INT8_EACH(INT8_TILE)
static void (*const int8_kernel[INT8_ROWS][2])(const int8_tile *) = {INT8_EACH(INT8_ENTRY)};

#if defined(ZK_ISA_AVX512)
/* With VNNI one instruction does the work of three. It needs more than this file is compiled for,
 * so it is asked for at run time. */
#if defined(ZK_EMULATE_AVX512)
#define INT8_VNNI
#define INT8_HAS_VNNI 1
#else
#define INT8_VNNI __attribute__((target("avx512vnni")))
#define INT8_HAS_VNNI __builtin_cpu_supports("avx512vnni")
#endif
#define INT8_VNNI_TILE(rows)                                           \
    INT8_VNNI static void int8_vnni_plain_##rows(const int8_tile *t) { \
        int8_vnni_run(t, rows, 0);                                     \
    }                                                                  \
    INT8_VNNI static void int8_vnni_signed_##rows(const int8_tile *t) { int8_vnni_run(t, rows, 1); }
#define INT8_VNNI_ENTRY(rows) {int8_vnni_plain_##rows, int8_vnni_signed_##rows},

INT8_VNNI ZK_INLINE void int8_vnni_run(const int8_tile *t, const int rows, const int negative) {
    __m512i sums[INT8_ROWS];
    for (int r = 0; r < rows; r++) sums[r] = _mm512_setzero_si512();
    for (int64_t s = 0; s < t->steps; s++) {
        const __m512i w = _mm512_loadu_si512(t->w + s * 64);
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++) {
            int32_t x, size;
            memcpy(&x, t->x + r * t->row + 4 * s, 4);
            memcpy(&size, t->size + r * t->row + 4 * s, 4);
            const __mmask64 below = negative ? _mm512_movepi8_mask(_mm512_set1_epi32(x)) : 0;
            const __m512i turned = _mm512_mask_sub_epi8(w, below, _mm512_setzero_si512(), w);
            sums[r] = _mm512_dpbusd_epi32(sums[r], _mm512_set1_epi32(size), turned);
        }
    }
    for (int r = 0; r < rows; r++) _mm512_storeu_si512(t->sums + r * PANEL, sums[r]);
}
INT8_EACH(INT8_VNNI_TILE)
static void (*const int8_vnni_kernel[INT8_ROWS][2])(const int8_tile *) = {
    INT8_EACH(INT8_VNNI_ENTRY)};
#endif

ZK_INLINE void int8_multiply(const int8_tile *t, int64_t rows, int negative) {
#if defined(ZK_ISA_AVX512)
    if (INT8_HAS_VNNI) {
        int8_vnni_kernel[rows - 1][negative](t);
        return;
    }
#endif
    int8_kernel[rows - 1][negative](t);
}
#endif

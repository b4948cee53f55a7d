/* The int8 micro-kernel: sums(rows, 16) = x(rows, k) w(k, 16), exact in int32, where k is cut into
 * taps that lie anywhere in x. In: int8 rows that start `row` bytes apart, one packed panel of w.
 * Out: int32 sums. It knows nothing of scales, blocks or threads.
 *
 * AVX2 multiplies unsigned by signed bytes and adds pairs of products in 16 bits, saturating. Here
 * x = |x| sign(x): |x| is the unsigned byte and the sign goes over to w. Both stay within 127, a
 * pair within 2 * 127 * 127 = 32258 < 32768, and nothing saturates. Inputs keep all 255 values;
 * when none of a tile is negative the step for signs is left out. VNNI adds four products in 32
 * bits: it is given x + 128, and 128 times the panel's own sum is taken off. */
#ifndef ZK_GEMM_INT8_H
#define ZK_GEMM_INT8_H
#include "tap_product.h"

#define INT8_FEW 4 /* rows for which tiles don't pay */

/* One tile: w is a panel (taps, groups * 16, 16, 4). */
typedef struct {
    const tap_shape *shape;
    const int8_t *x, *w;
    int64_t steps; /* of 4 inputs in a tap */
    int32_t *sums;
    int64_t pitch; /* sums from a row to the next */
} int8_tile;

/* Four bytes as a number. */
ZK_INLINE int32_t int8_four(const void *p) {
    int32_t four;
    memcpy(&four, p, 4);
    return four;
}

#if defined(ZK_ISA_AVX512)
#include <immintrin.h>
#define INT8_ROWS 8
#elif defined(ZK_ISA_AVX2)
#include <immintrin.h>
#define INT8_ROWS 4
#else
#define INT8_ROWS 4
#endif

#if defined(ZK_ISA_AVX512) || defined(ZK_ISA_AVX2)
/* Whether any of a tile's inputs is below 0. Reads whole vectors where a tap has them. */
static int int8_any_negative(const int8_tile *t, int rows) {
    const tap_shape *s = t->shape;
    const int64_t k = t->steps * ZK_INT8_STEP;
    __m256i any = _mm256_setzero_si256();
    int8_t rest = 0;
    for (int r = 0; r < rows; r++)
        for (int64_t tap = 0; tap < s->taps; tap++) {
            const int8_t *x = t->x + r * s->row + s->offsets[tap];
            int64_t i = 0;
            for (; i + 32 <= k; i += 32)
                any = _mm256_or_si256(any, _mm256_loadu_si256((const __m256i *)(x + i)));
            for (; i < k; i++) rest |= x[i];
        }
    return rest < 0 || _mm256_movemask_epi8(any);
}

ZK_INLINE void int8_run(const int8_tile *t, const int rows, const int negative) {
    const tap_shape *s = t->shape;
    const __m256i ones = _mm256_set1_epi16(1);
    __m256i sums[INT8_ROWS][2];
    for (int r = 0; r < rows; r++) sums[r][0] = sums[r][1] = _mm256_setzero_si256();
    for (int64_t tap = 0; tap < s->taps; tap++) {
        const int8_t *x = t->x + s->offsets[tap], *w = t->w + tap * s->groups * TAP_GROUP;
        for (int64_t left = t->steps; left > 0; left--, x += 4, w += 64) {
            const __m256i *p = (const __m256i *)w;
            if (rows == 1) __builtin_prefetch(w + 2048); /* one row waits for memory alone */
            const __m256i both[2] = {_mm256_loadu_si256(p), _mm256_loadu_si256(p + 1)};
#pragma GCC unroll 8
            for (int r = 0; r < rows; r++) {
                const __m256i four = _mm256_set1_epi32(int8_four(x + r * s->row));
                const __m256i size = negative ? _mm256_abs_epi8(four) : four;
#pragma GCC unroll 2
                for (int v = 0; v < 2; v++) {
                    const __m256i turned = negative ? _mm256_sign_epi8(both[v], four) : both[v];
                    const __m256i pairs = _mm256_maddubs_epi16(size, turned);
                    sums[r][v] = _mm256_add_epi32(sums[r][v], _mm256_madd_epi16(pairs, ones));
                }
            }
        }
    }
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < 2; v++)
            _mm256_storeu_si256((__m256i *)(t->sums + r * t->pitch + v * 8), sums[r][v]);
}

#else
static int int8_any_negative(const int8_tile *t, int rows) {
    (void)t, (void)rows;
    return 1;
}

ZK_INLINE void int8_run(const int8_tile *t, const int rows, const int negative) {
    const tap_shape *s = t->shape;
    (void)negative;
    for (int r = 0; r < rows; r++) memset(t->sums + r * t->pitch, 0, sizeof *t->sums * PANEL);
    for (int64_t tap = 0; tap < s->taps; tap++) {
        const int8_t *w = t->w + tap * s->groups * TAP_GROUP;
        for (int64_t at = 0; at < t->steps * ZK_INT8_STEP; at += ZK_INT8_STEP, w += 4 * PANEL)
            for (int r = 0; r < rows; r++) {
                const int8_t *x = t->x + s->offsets[tap] + r * s->row + at, *v = w;
                int32_t *sums = t->sums + r * t->pitch;
                for (int j = 0; j < PANEL; j++, v += 4)
                    sums[j] += x[0] * v[0] + x[1] * v[1] + x[2] * v[2] + x[3] * v[3];
            }
    }
}
#endif

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
#define INT8_VNNI_TILE(rows) \
    INT8_VNNI static void int8_vnni_##rows(const int8_tile *t) { int8_vnni_run(t, rows); }
#define INT8_VNNI_ENTRY(rows) int8_vnni_##rows,

/* sums + x w, four products in each lane, x without sign. Assembly, for gcc 12 copies sums that an
 * intrinsic adds to. */
INT8_VNNI ZK_INLINE __m512i int8_added(__m512i sums, __m512i x, __m512i w) {
#if defined(ZK_EMULATE_AVX512)
    return _mm512_dpbusd_epi32(sums, x, w);
#else
    __asm__("vpdpbusd %2, %1, %0" : "+v"(sums) : "v"(x), "v"(w));
    return sums;
#endif
}

INT8_VNNI ZK_INLINE void int8_vnni_run(const int8_tile *t, const int rows) {
    const tap_shape *s = t->shape;
    const __m512i high = _mm512_set1_epi8(-128);
    __m512i sums[INT8_ROWS], own = _mm512_setzero_si512();
    for (int r = 0; r < rows; r++) sums[r] = _mm512_setzero_si512();
    for (int64_t tap = 0; tap < s->taps; tap++) {
        const int8_t *x = t->x + s->offsets[tap], *from = t->w + tap * s->groups * TAP_GROUP;
        for (int64_t left = t->steps; left > 0; left--, x += 4, from += 64) {
            const __m512i w = _mm512_loadu_si512(from);
            own = int8_added(own, high, w);
#pragma GCC unroll 8
            for (int r = 0; r < rows; r++) {
                const __m512i four = _mm512_set1_epi32(int8_four(x + r * s->row));
                sums[r] = int8_added(sums[r], _mm512_xor_si512(four, high), w);
            }
        }
    }
    for (int r = 0; r < rows; r++)
        _mm512_storeu_si512(t->sums + r * t->pitch, _mm512_sub_epi32(sums[r], own));
}
INT8_EACH(INT8_VNNI_TILE)
static void (*const int8_vnni_kernel[INT8_ROWS])(const int8_tile *) = {INT8_EACH(INT8_VNNI_ENTRY)};
#endif

/* The sums of any number of rows. */
static void int8_multiply(int8_tile t, int64_t rows) {
    for (int64_t some; rows > 0; rows -= some) {
        some = zk_min(rows, INT8_ROWS);
#if defined(ZK_ISA_AVX512)
        if (INT8_HAS_VNNI) int8_vnni_kernel[some - 1](&t);
        else
#endif
            int8_kernel[some - 1][int8_any_negative(&t, (int)some)](&t);
        t.x += some * t.shape->row, t.sums += some * t.pitch;
    }
}
#endif

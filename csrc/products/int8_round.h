/* Floats as bytes: to the nearest whole number within -127..127, or 0..255 where `positive`, ties
 * to even. In: floats and their scale. Out: bytes. Adding 1.5 * 2^23 leaves a whole number in a
 * float's low bits. */
#ifndef ZK_INT8_ROUND_H
#define ZK_INT8_ROUND_H
#include "vmath.h"

#if defined(ZK_ISA_AVX512) || defined(ZK_ISA_AVX2)
#include <immintrin.h>
/* 8 floats * scale as whole numbers. */
ZK_INLINE __m256i int8_whole(const float *x, __m256 scale, float most) {
    const __m256 v = _mm256_mul_ps(_mm256_loadu_ps(x), scale);
    return _mm256_cvtps_epi32(_mm256_min_ps(v, _mm256_set1_ps(most)));
}
#endif

#if defined(ZK_ISA_AVX512)
#define INT8_AT_ONCE 16
ZK_INLINE void int8_round_some(const float *x, float scale, const int positive, int8_t *q) {
    const __m512 most = _mm512_set1_ps(positive ? ZK_UINT8_MOST : ZK_INT8_MOST);
    const __m512 v = _mm512_mul_ps(_mm512_loadu_ps(x), _mm512_set1_ps(scale));
    const __m512i whole = _mm512_cvtps_epi32(_mm512_min_ps(v, most));
    const __m128i bytes =
        positive ? _mm512_cvtepi32_epi8(_mm512_max_epi32(whole, _mm512_setzero_si512()))
                 : _mm_max_epi8(_mm512_cvtsepi32_epi8(whole), _mm_set1_epi8(-ZK_INT8_MOST));
    _mm_storeu_si128((__m128i *)q, bytes);
}
#elif defined(ZK_ISA_AVX2)
#define INT8_AT_ONCE 16
ZK_INLINE void int8_round_some(const float *x, float scale, const int positive, int8_t *q) {
    const __m256 s = _mm256_set1_ps(scale);
    const float most = positive ? ZK_UINT8_MOST : ZK_INT8_MOST;
    const __m256i both = _mm256_packs_epi32(int8_whole(x, s, most), int8_whole(x + 8, s, most));
    const __m256i order = _mm256_permute4x64_epi64(both, 0xd8);
    const __m128i low = _mm256_castsi256_si128(order), high = _mm256_extracti128_si256(order, 1);
    const __m128i bytes =
        positive ? _mm_packus_epi16(low, high)
                 : _mm_max_epi8(_mm_packs_epi16(low, high), _mm_set1_epi8(-ZK_INT8_MOST));
    _mm_storeu_si128((__m128i *)q, bytes);
}
#else
#define INT8_AT_ONCE 1
ZK_INLINE void int8_round_some(const float *x, float scale, const int positive, int8_t *q) {
    const float most = positive ? ZK_UINT8_MOST : ZK_INT8_MOST, least = positive ? 0 : -most;
    float v = *x * scale;
    v = v > most ? most : v;
    v = (v < least ? least : v) + 0x1.8p23f;
    int32_t bits;
    memcpy(&bits, &v, 4);
    *q = (int8_t)bits;
}
#endif

ZK_INLINE void int8_round_all(const float *x, int64_t k, float scale, const int positive,
                              int8_t *q) {
    int64_t i = 0;
    for (; i + INT8_AT_ONCE <= k; i += INT8_AT_ONCE) int8_round_some(x + i, scale, positive, q + i);
    if (i >= k) return;
    float some[INT8_AT_ONCE] = {0};
    int8_t rounded[INT8_AT_ONCE];
    memcpy(some, x + i, (size_t)(k - i) * sizeof *x);
    int8_round_some(some, scale, positive, rounded);
    memcpy(q + i, rounded, (size_t)(k - i));
}

/* q(k) = x(k) * scale */
ZK_INLINE void int8_round(const float *x, int64_t k, float scale, int8_t *q) {
    int8_round_all(x, k, scale, 0, q);
}

/* The same as bytes of 0..255 where `positive`. */
ZK_INLINE void byte_round(const float *x, int64_t k, float scale, int positive, int8_t *q) {
    if (positive) int8_round_all(x, k, scale, 1, q);
    else int8_round_all(x, k, scale, 0, q);
}

/* The bits of the largest magnitude; those of what is not finite come out on top. */
static inline int32_t int8_largest(const float *x, int64_t k) {
    int32_t top = 0;
    for (int64_t i = 0; i < k; i++) {
        int32_t bits;
        memcpy(&bits, x + i, 4);
        bits &= 0x7fffffff;
        top = bits > top ? bits : top;
    }
    return top;
}

/* The scale for numbers whose largest magnitude has these bits: `fixed` unless that is 0; and 1 /
 * scale in *step, NaN where not all are finite (they are rounded to 0 then). */
static inline float int8_scale(int32_t top, float fixed, float *step) {
    const float epsilon = 1.f / ZK_INT8_PER_EPSILON;
    float most;
    memcpy(&most, &top, 4);
    const int finite = top < 0x7f800000;
    const float scale = fixed > 0 ? fixed : ZK_INT8_MOST / (most + epsilon);
    *step = finite ? 1 / scale : NAN;
    return finite ? scale : 0;
}

/* Bytes from a rounded row to the next: whole cache lines, and not a power of two of them, for 16
 * rows that fall on one place of a cache drive each other out. */
static inline int64_t int8_row_bytes(int64_t k) {
    const int64_t bytes = zk_align(zk_max(k, 1));
    return bytes % 1024 ? bytes : bytes + 64;
}
#endif

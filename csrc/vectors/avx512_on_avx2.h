/* The AVX-512 intrinsics that the kernels use, written out in gcc's vectors, which it splits in two
 * for AVX2: the bits are those of the instructions. vec.h includes this in builds with
 * --emulate=avx512, so that every AVX-512 kernel is tested on any x86-64 CPU with AVX2. An
 * intrinsic that is missing here does not compile there. Speed does not matter. */
#ifndef ZK_AVX512_ON_AVX2_H
#define ZK_AVX512_ON_AVX2_H
#include <immintrin.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

typedef float e_f __attribute__((vector_size(64)));
typedef int32_t e_i __attribute__((vector_size(64)));
typedef uint64_t e_l __attribute__((vector_size(64)));
typedef int8_t e_b __attribute__((vector_size(64)));
#define E static inline __attribute__((always_inline, unused))
#define E_EACH(count) for (int i = 0; i < (count); i++)

/* As the instruction: b when either is NaN, and of two zeros. */
E __m512 e_choose(e_i mask, __m512 a, __m512 b) {
    return (__m512)(((e_i)a & mask) | ((e_i)b & ~mask));
}
E __m512 e_max(__m512 a, __m512 b) { return e_choose((e_f)a > (e_f)b, a, b); }
E __m512 e_min(__m512 a, __m512 b) { return e_choose((e_f)a < (e_f)b, a, b); }
E __m512 e_sqrt(__m512 a) {
    e_f x = (e_f)a;
    E_EACH(16) x[i] = sqrtf(x[i]);
    return (__m512)x;
}

E __m512 e_fused(__m512 a, __m512 b, __m512 c) {
    e_f x = (e_f)c;
    E_EACH(16) x[i] = fmaf(((e_f)a)[i], ((e_f)b)[i], x[i]);
    return (__m512)x;
}
E __m512 e_load_floats(const float *p) {
    __m512 x;
    memcpy(&x, p, 64);
    return x;
}
E __m512 e_set1_float(float x) { return (__m512)((e_f){0} + x); }
E __m512 e_mul(__m512 a, __m512 b) { return (__m512)((e_f)a * (e_f)b); }
/* To the nearest even, as cvtps2dq: what does not fit is INT32_MIN. */
E __m512i e_nearest(__m512 a) {
    e_i x = {0};
    E_EACH(16) x[i] = _mm_cvtss_si32(_mm_set_ss(((e_f)a)[i]));
    return (__m512i)x;
}
E __m512 e_floats(__m512i a) {
    e_f x = {0};
    E_EACH(16) x[i] = (float)((e_i)a)[i];
    return (__m512)x;
}

/* Parts of floats, and tables. Fractions of negative numbers are NaN, as vmath_avx512.h asks. */
E __m512 e_scalef(__m512 a, __m512 b) {
    e_f x = (e_f)a, n = (e_f)b;
    E_EACH(16)
    x[i] = n[i] != n[i] ? n[i] : ldexpf(x[i], (int)floorf(fmaxf(fminf(n[i], 999), -999)));
    return (__m512)x;
}
E __m512 e_getexp(__m512 a) {
    e_f x = (e_f)a;
    E_EACH(16) x[i] = x[i] == 0 ? -INFINITY : logbf(x[i]); /* compared in the mode of floats */
    return (__m512)x;
}
E float e_fraction(float x) {
    int exponent;
    if (x == 0 || x == INFINITY) return copysignf(1, x);
    if (x != x || x < 0) return x != x ? x : -NAN;
    const float half = frexpf(x, &exponent);
    return half < 0.75f ? 2 * half : half;
}
E __m512 e_getmant(__m512 a) {
    e_f x = (e_f)a;
    E_EACH(16) x[i] = e_fraction(x[i]);
    return (__m512)x;
}
E __m512 e_permute(__m512i index, __m512 a) {
    e_f x = {0};
    E_EACH(16) x[i] = ((e_f)a)[((e_i)index)[i] & 15];
    return (__m512)x;
}
E __m512 e_permute2(__m512 a, __m512i index, __m512 b) {
    e_f x = {0};
    E_EACH(16) {
        const int32_t j = ((e_i)index)[i];
        x[i] = j & 16 ? ((e_f)b)[j & 15] : ((e_f)a)[j & 15];
    }
    return (__m512)x;
}

/* Masks and memory. */
E __mmask16 e_less(__m512 a, __m512 b) {
    uint32_t m = 0;
    E_EACH(16) m |= (uint32_t)(((e_f)a)[i] < ((e_f)b)[i]) << i;
    return (__mmask16)m;
}
E __m512 e_mask_add(__m512 rest, __mmask16 m, __m512 a, __m512 b) {
    e_f x = (e_f)rest;
    E_EACH(16) if (m >> i & 1) x[i] = ((e_f)a)[i] + ((e_f)b)[i];
    return (__m512)x;
}
E __mmask16 e_signs(__m512i a) {
    uint32_t m = 0;
    E_EACH(16) m |= (uint32_t)(((e_i)a)[i] < 0) << i;
    return (__mmask16)m;
}
E __mmask64 e_signs_of_bytes(__m512i a) {
    uint64_t m = 0;
    E_EACH(64) m |= (uint64_t)(((e_b)a)[i] < 0) << i;
    return m;
}
E __m512 e_mask_load(__m512 rest, __mmask16 m, const float *p) {
    e_f x = (e_f)rest;
    E_EACH(16) if (m >> i & 1) x[i] = p[i];
    return (__m512)x;
}
E void e_mask_store(float *p, __mmask16 m, __m512 v) {
    E_EACH(16) if (m >> i & 1) p[i] = ((e_f)v)[i];
}
E __m512i e_load(const void *p) {
    __m512i x;
    memcpy(&x, p, 64);
    return x;
}
E void e_store(void *p, __m512i x) { memcpy(p, &x, 64); }

/* Whole numbers. */
E __m512i e_zero(void) { return (__m512i){0}; }
E __m512i e_set1(int32_t x) { return (__m512i)((e_i){0} + x); }
E __m512i e_set1_byte(int8_t x) { return (__m512i)((e_b){0} + x); }
E __m512i e_xor(__m512i a, __m512i b) { return a ^ b; }
E __m512i e_sub(__m512i a, __m512i b) { return (__m512i)((e_i)a - (e_i)b); }
E __m128i e_saturated_bytes(__m512i a) {
    int8_t x[16];
    E_EACH(16) {
        const int32_t v = ((e_i)a)[i];
        x[i] = (int8_t)(v < -128 ? -128 : v > 127 ? 127 : v);
    }
    return _mm_loadu_si128((const __m128i *)x);
}
E __m128i e_low_bytes(__m512i a) {
    int8_t x[16];
    E_EACH(16) x[i] = (int8_t)((e_i)a)[i];
    return _mm_loadu_si128((const __m128i *)x);
}

E __m512i e_wide_positive_bytes(__m128i a) {
    uint8_t b[16];
    e_i x = {0};
    memcpy(b, &a, 16);
    E_EACH(16) x[i] = b[i];
    return (__m512i)x;
}

E __m512i e_wide_bytes(__m128i a) {
    int8_t b[16];
    e_i x = {0};
    memcpy(b, &a, 16);
    E_EACH(16) x[i] = b[i];
    return (__m512i)x;
}
E __m512i e_mul_epu32(__m512i a, __m512i b) {
    return (__m512i)(((e_l)a & 0xffffffff) * ((e_l)b & 0xffffffff));
}
E __m512i e_max_epi32(__m512i a, __m512i b) {
    e_i more = (e_i)a > (e_i)b;
    return (__m512i)(((e_i)a & more) | ((e_i)b & ~more));
}
E __m512i e_ternary_ca(__m512i a, __m512i b, __m512i c) { return (a & b) | (~a & c); }
E __m512i e_mask_subtract_bytes(__m512i rest, __mmask64 m, __m512i a, __m512i b) {
    e_b x = (e_b)rest;
    E_EACH(64) if (m >> i & 1) x[i] = (int8_t)(((e_b)a)[i] - ((e_b)b)[i]);
    return (__m512i)x;
}
E __m512i e_dpbusd(__m512i c, __m512i a, __m512i b) {
    e_i x = (e_i)c;
    E_EACH(64) x[i / 4] += (uint8_t)((e_b)a)[i] * ((e_b)b)[i];
    return (__m512i)x;
}

#undef _mm512_ternarylogic_epi32
#undef _mm512_cmp_ps_mask
#undef _mm512_getmant_ps
#undef _mm512_getexp_ps
#undef _mm512_scalef_ps
#define _mm512_max_ps e_max
#define _mm512_min_ps e_min
#define _mm512_sqrt_ps e_sqrt
#define _mm512_fmadd_ps e_fused
#define _mm512_scalef_ps e_scalef
#define _mm512_getexp_ps e_getexp
#define _mm512_getmant_ps(a, interval, sign) e_getmant(a) /* p75_1p5, nan */
#define _mm512_permutexvar_ps e_permute
#define _mm512_permutex2var_ps e_permute2
#define _mm512_cmp_ps_mask(a, b, how) e_less(a, b) /* LT_OQ */
#define _mm512_mask_add_ps e_mask_add
#define _mm512_max_epi32 e_max_epi32
#define _mm512_movepi32_mask e_signs
#define _mm512_movepi8_mask e_signs_of_bytes
#define _mm512_mask_loadu_ps e_mask_load
#define _mm512_mask_storeu_ps e_mask_store
#define _mm512_loadu_si512 e_load
#define _mm512_storeu_si512 e_store
#define _mm512_setzero_si512 e_zero
#define _mm512_set1_epi32 e_set1
#define _mm512_mul_epu32 e_mul_epu32
#define _mm512_ternarylogic_epi32(a, b, c, table) e_ternary_##table(a, b, c)
#define e_ternary_0xca e_ternary_ca
#define _mm512_mask_sub_epi8 e_mask_subtract_bytes
#define _mm512_dpbusd_epi32 e_dpbusd
#define _mm512_loadu_ps e_load_floats
#define _mm512_set1_ps e_set1_float
#define _mm512_mul_ps e_mul
#define _mm512_cvtps_epi32 e_nearest
#define _mm512_cvtepi32_ps e_floats
#define _mm512_set1_epi8 e_set1_byte
#define _mm512_xor_si512 e_xor
#define _mm512_sub_epi32 e_sub
#define _mm512_cvtsepi32_epi8 e_saturated_bytes
#define _mm512_cvtepi32_epi8 e_low_bytes
#define _mm512_cvtepi8_epi32 e_wide_bytes
#define _mm512_cvtepu8_epi32 e_wide_positive_bytes
#endif

/* Float vectors of the instruction set that this file is compiled for: vf holds VL floats, vi VL
 * int32. Loads and stores need no alignment. a * b + c becomes a fused multiply-add where there is
 * one. Everything is inlined; nothing here may be called across instruction sets. */
#ifndef ZK_VEC_H
#define ZK_VEC_H
#include "kernel.h"
#if defined(__x86_64__)
#include <immintrin.h>
#endif
#if defined(ZK_ISA_AVX512) && defined(ZK_EMULATE_AVX512)
#include "avx512_on_avx2.h"
#endif

#if defined(ZK_ISA_AVX512)
#define VL 16
#elif defined(ZK_ISA_AVX2)
#define VL 8
#else
#define VL 4
#endif
#define PANEL 16 /* ZK_PANEL, for the preprocessor */
_Static_assert(PANEL == ZK_PANEL, "zk.h has the width of a panel");
#define PV (PANEL / VL)

typedef float vf __attribute__((vector_size(VL * 4), aligned(4), may_alias));
typedef int32_t vi __attribute__((vector_size(VL * 4), aligned(4), may_alias));

ZK_INLINE vf vf_load(const float *p) { return *(const vf *)p; }
ZK_INLINE void vf_store(float *p, vf v) { *(vf *)p = v; }
ZK_INLINE vf vf_set(float x) { return x - (vf){0}; }
ZK_INLINE vi vi_set(int32_t x) { return x - (vi){0}; }
ZK_INLINE vf vf_abs(vf a) { return (vf)((vi)a & 0x7fffffff); }

/* a * b + c. Fused where the set can, whatever the compiler makes of the code around it: so results
 * do not depend on which copy of a loop runs. x, but not below (above) the bound; NaN stays NaN.
 * mask ? a : b where mask is all ones or zero. The first n floats of an array (0 <= n <= VL), the
 * other lanes from `rest`; and to store them. */
#if defined(ZK_ISA_AVX512)
ZK_INLINE vf vf_fused(vf a, vf b, vf c) {
    return (vf)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
}
ZK_INLINE vf vf_at_least(vf x, vf low) { return (vf)_mm512_max_ps((__m512)low, (__m512)x); }
ZK_INLINE vf vf_at_most(vf x, vf high) { return (vf)_mm512_min_ps((__m512)high, (__m512)x); }
ZK_INLINE vf vf_blend(vi mask, vf a, vf b) {
    return (vf)_mm512_ternarylogic_epi32((__m512i)mask, (__m512i)a, (__m512i)b, 0xca);
}
#if defined(ZK_EMULATE_AVX512)
ZK_INLINE vf vf_sqrt(vf x) { return (vf)_mm512_sqrt_ps((__m512)x); }
#else
/* The instruction's bits in half its time: an estimate of 1 / sqrt(x), whose own bits do not show
 * (they differ between CPUs), refined twice. Denormals, zeros, infinities, NaN: the instruction. */
ZK_INLINE vf vf_sqrt(vf x) {
    const __m512i from = _mm512_set1_epi32(0x0d800000), count = _mm512_set1_epi32(0x72000000);
    vf y = (vf)_mm512_rsqrt14_ps((__m512)x), s = x * y, h = 0.5f * y;
    vf e = vf_fused(-h, s, vf_set(0.5f));
    h = vf_fused(h, e, h);
    s = vf_fused(s, e, s);
    s = vf_fused(vf_fused(-s, s, x), h, s);
    if (__builtin_expect(_mm512_cmpge_epu32_mask(_mm512_sub_epi32((__m512i)x, from), count), 0))
        s = (vf)_mm512_sqrt_ps((__m512)x);
    return s;
}
#endif
ZK_INLINE int vi_any(vi mask) { return _mm512_movepi32_mask((__m512i)mask) != 0; }
ZK_INLINE vf vf_load_first(const float *p, int64_t n, vf rest) {
    return (vf)_mm512_mask_loadu_ps((__m512)rest, (__mmask16)(0xffffu >> (VL - n)), p);
}
ZK_INLINE void vf_store_first(float *p, vf v, int64_t n) {
    _mm512_mask_storeu_ps(p, (__mmask16)(0xffffu >> (VL - n)), (__m512)v);
}
#elif defined(ZK_ISA_AVX2)
ZK_INLINE vf vf_fused(vf a, vf b, vf c) {
    return (vf)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
}
ZK_INLINE vf vf_at_least(vf x, vf low) { return (vf)_mm256_max_ps((__m256)low, (__m256)x); }
ZK_INLINE vf vf_at_most(vf x, vf high) { return (vf)_mm256_min_ps((__m256)high, (__m256)x); }
ZK_INLINE vf vf_blend(vi mask, vf a, vf b) {
    return (vf)_mm256_blendv_ps((__m256)b, (__m256)a, (__m256)mask);
}
ZK_INLINE vf vf_sqrt(vf x) { return (vf)_mm256_sqrt_ps((__m256)x); }
ZK_INLINE int vi_any(vi mask) { return _mm256_movemask_ps((__m256)mask) != 0; }
ZK_INLINE vi vi_first(int64_t n) { return (vi){0, 1, 2, 3, 4, 5, 6, 7} < (int32_t)n; }
ZK_INLINE vf vf_load_first(const float *p, int64_t n, vf rest) {
    vi mask = vi_first(n);
    return vf_blend(mask, (vf)_mm256_maskload_ps(p, (__m256i)mask), rest);
}
/* In parts: a masked store takes 11 cycles on Zen 3, these 1 to 3. */
ZK_INLINE void vf_store_first(float *p, vf v, int64_t n) {
    __m128 part = _mm256_castps256_ps128((__m256)v);
    if (n >= VL) vf_store(p, v);
    else {
        if (n & 4) {
            _mm_storeu_ps(p, part);
            part = _mm256_extractf128_ps((__m256)v, 1);
            p += 4;
        }
        if (n & 2) {
            _mm_storel_pi((__m64 *)p, part);
            part = _mm_movehl_ps(part, part);
            p += 2;
        }
        if (n & 1) _mm_store_ss(p, part);
    }
}
#else
ZK_INLINE vf vf_fused(vf a, vf b, vf c) { return a * b + c; }
ZK_INLINE vf vf_blend(vi mask, vf a, vf b) { return (vf)(((vi)a & mask) | ((vi)b & ~mask)); }
ZK_INLINE vf vf_at_least(vf x, vf low) { return vf_blend(x < low, low, x); }
ZK_INLINE vf vf_at_most(vf x, vf high) { return vf_blend(x > high, high, x); }
ZK_INLINE vf vf_sqrt(vf x) {
    for (int i = 0; i < VL; i++) x[i] = sqrtf(x[i]);
    return x;
}
ZK_INLINE int vi_any(vi mask) { return (mask[0] | mask[1] | mask[2] | mask[3]) != 0; }
ZK_INLINE vf vf_load_first(const float *p, int64_t n, vf rest) {
    for (int i = 0; i < VL; i++)
        if (i < n) rest[i] = p[i];
    return rest;
}
ZK_INLINE void vf_store_first(float *p, vf v, int64_t n) {
    for (int i = 0; i < VL; i++)
        if (i < n) p[i] = v[i];
}
#endif

/* VF_SWAP: v with lanes i and i ^ w swapped, for a constant w below VL. VF_JOIN: two halves. */
#if VL == 16
#define VF_JOIN(a, b) \
    __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
#define VF_LANES(w)                                                                           \
    (vi) {                                                                                    \
        0 ^ w, 1 ^ w, 2 ^ w, 3 ^ w, 4 ^ w, 5 ^ w, 6 ^ w, 7 ^ w, 8 ^ w, 9 ^ w, 10 ^ w, 11 ^ w, \
            12 ^ w, 13 ^ w, 14 ^ w, 15 ^ w                                                    \
    }
#elif VL == 8
#define VF_JOIN(a, b) __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7)
#define VF_LANES(w) \
    (vi) { 0 ^ w, 1 ^ w, 2 ^ w, 3 ^ w, 4 ^ w, 5 ^ w, 6 ^ w, 7 ^ w }
#else
#define VF_JOIN(a, b) __builtin_shufflevector(a, b, 0, 1, 2, 3)
#define VF_LANES(w) \
    (vi) { 0 ^ w, 1 ^ w, 2 ^ w, 3 ^ w }
#endif
#define VF_SWAP(v, w) __builtin_shuffle(v, VF_LANES(w))

/* The sum of all lanes, in every lane, added in the same order always. */
ZK_INLINE vf vf_total(vf v) {
    if (VL > 8) v += VF_SWAP(v, 8);
    if (VL > 4) v += VF_SWAP(v, 4);
    v += VF_SWAP(v, 2);
    return v + VF_SWAP(v, 1);
}
/* The largest lane, in every lane; a NaN may be missed. */
ZK_INLINE vf vf_top(vf v) {
    if (VL > 8) v = vf_at_least(v, VF_SWAP(v, 8));
    if (VL > 4) v = vf_at_least(v, VF_SWAP(v, 4));
    v = vf_at_least(v, VF_SWAP(v, 2));
    return vf_at_least(v, VF_SWAP(v, 1));
}
#endif

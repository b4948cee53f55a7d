/* exp, log, tanh and erf with the instructions that AVX-512 has for them: tables that permutes look
 * up, exponents and fractions apart. In and out, bounds and special values: as in vmath.h. */
#ifndef ZK_VMATH_AVX512_H
#define ZK_VMATH_AVX512_H
#include "vec.h"
#include "vmath_tables.h"

/* Entry j % 32 of a table for each lane. */
ZK_INLINE vf vf_entry(vi j, const float *table) {
    return (vf)_mm512_permutex2var_ps((__m512)vf_load(table), (__m512i)j,
                                      (__m512)vf_load(table + 16));
}

/* exp(x): below 1.5 ulp, gradual underflow included where the mode has it. t holds x / ln 2 in
 * sixteenths, whose lower four bits are the entry; the instruction that scales rounds k down. */
ZK_INLINE vf vf_exp(vf x) {
    const float magic = 0x1.8p19f;
    x = vf_at_most(vf_at_least(x, vf_set(-104)), vf_set(88.8f));
    vf t = vf_fused(x, vf_set(1.44269504f), vf_set(magic)), k = t - magic;
    vf r = vf_fused(k, vf_set(2.12194440e-4f), vf_fused(-k, vf_set(0.693359375f), x));
    vf e = vf_fused(vf_fused(vf_set(0.16666667f), r, vf_set(0.5f)), r * r, r);
    vf root = (vf)_mm512_permutexvar_ps((__m512i)t, (__m512)vf_load(vf_exp_roots));
    return (vf)_mm512_scalef_ps((__m512)vf_fused(root, e, root), (__m512)k);
}

/* log(x): below 1.5 ulp; -inf at 0, NaN below 0. x = m * 2^k with m in [3/4, 3/2); where m is near
 * 1, c is 1, so that nothing is lost. */
ZK_INLINE vf vf_log(vf x) {
    const __m512 one = (__m512)vf_set(1);
    __m512 m = _mm512_getmant_ps((__m512)x, _MM_MANT_NORM_p75_1p5, _MM_MANT_SIGN_nan);
    __m512 k = _mm512_getexp_ps((__m512)x);
    k = _mm512_mask_add_ps(k, _mm512_cmp_ps_mask(m, one, _CMP_LT_OQ), k, one);
    vi piece = (vi)m >> 18;
    vf r = vf_fused((vf)m, vf_entry(piece, vf_log_inverses), vf_set(-1));
    vf s = vf_fused((vf)k, vf_set(0.69314718f), vf_entry(piece, vf_log_table));
    vf q = vf_fused(vf_set(-0.243741721f), r, vf_set(0.333363175f));
    return vf_fused(vf_fused(q, r, vf_set(-0.500001311f)), r * r, r) + s;
}

/* f(x) of an odd function from its pieces; beyond `most` it is what it is there. */
ZK_INLINE vf vf_of_pieces(vf x, const float (*table)[32], const float most, const int apart) {
    vf a = vf_at_most(vf_abs(x), vf_set(most));
    vi piece = (vi)_mm512_max_epi32((__m512i)((vi)a >> 21), _mm512_set1_epi32(0x1ef));
    vf d = a - vf_entry(piece, table[0]), y = vf_entry(piece, table[6]);
#pragma GCC unroll 4
    for (int i = 5; i > 1; i--) y = vf_fused(y, d, vf_entry(piece, table[i]));
    vf first = vf_entry(piece, table[1]);
    if (apart) first = vf_blend(a < 0.125f, a, first);
    return vf_copysign(vf_fused(y, d, first), x);
}

/* tanh(x): below 3 ulp, and the error function: below 2 ulp. */
ZK_INLINE vf vf_tanh(vf x) { return vf_of_pieces(x, vf_tanh_pieces, 9.02f, 0); }
ZK_INLINE vf vf_erf(vf x) { return vf_of_pieces(x, vf_erf_pieces, 3.95f, 1); }
#endif

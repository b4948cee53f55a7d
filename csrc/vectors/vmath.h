/* Elementary functions over float vectors. In: vf, out: vf; NaN gives NaN, infinities as in C99
 * unless said otherwise. The bounds in ulp hold against the exact value of the float argument,
 * in every instruction set, with or without fused multiply-add; tests/test_vmath.py checks them.
 * Polynomials are minimax fits of our own, their coefficients rounded to float one after
 * another. */
#ifndef ZK_VMATH_H
#define ZK_VMATH_H
#include "vec.h"

/* Whole numbers that may wrap around. */
typedef uint32_t vu __attribute__((vector_size(VL * 4), aligned(4), may_alias));

/* Half a vector in double precision. */
typedef double vd __attribute__((vector_size(VL * 4), aligned(8), may_alias));
typedef uint64_t vul __attribute__((vector_size(VL * 4), aligned(8), may_alias));
typedef int64_t vl __attribute__((vector_size(VL * 4), aligned(8), may_alias));
typedef float vf_half __attribute__((vector_size(VL * 2), aligned(4), may_alias));
typedef int32_t vi_half __attribute__((vector_size(VL * 2), aligned(4), may_alias));

ZK_INLINE vf vf_from_int(vi x) { return __builtin_convertvector(x, vf); }
ZK_INLINE vi vi_from_float(vf x) { return __builtin_convertvector(x, vi); }
ZK_INLINE vf vf_copysign(vf size, vf sign) {
    return (vf)(((vi)size & 0x7fffffff) | ((vi)sign & (int32_t)0x80000000));
}
#if defined(ZK_ISA_AVX512)
#include "vmath_avx512.h" /* exp, log, tanh, erf */
#endif

/* The larger and the smaller of two; NaN when either is NaN. */
ZK_INLINE vf vf_maximum(vf a, vf b) { return vf_blend((a > b) | (a != a), a, b); }
ZK_INLINE vf vf_minimum(vf a, vf b) { return vf_blend((a < b) | (a != a), a, b); }

/* Nearest whole number, ties to even; exact. Above 2^23 every float is whole. */
ZK_INLINE vf vf_round(vf x) {
    vf a = vf_abs(x), r = a + 0x1p23f;
    r = r - 0x1p23f;
    return vf_blend(a < 0x1p23f, vf_copysign(r, x), x);
}
ZK_INLINE vf vf_floor(vf x) {
    vf r = vf_round(x);
    return r - (vf)((r > x) & (vi)vf_set(1));
}
ZK_INLINE vf vf_ceil(vf x) { return -vf_floor(-x); }

/* 2^n for -126 <= n <= 127. */
ZK_INLINE vf vf_exp2i(vi n) { return (vf)((n + 127) << 23); }

/* x = n * ln 2 + r with |r| <= 0.3467: returns r. For |x| < 2^20. */
ZK_INLINE vf vf_reduce_ln2(vf x, vi *n) {
    const float magic = 0x1.8p23f; /* adding it rounds to a whole number in the low bits */
    vf t = x * 1.44269504f + magic;
    *n = (vi)t - (vi)vf_set(magic);
    vf k = t - magic;
    return (x - k * 0.693359375f) + k * 2.12194440e-4f;
}

/* exp(r) - 1 for |r| <= 0.3467. */
ZK_INLINE vf vf_expm1_small(vf r) {
    vf p = 0.0013869854f * r + 0.008366447f;
    p = p * r + 0.041667446f;
    p = p * r + 0.16666545f;
    p = p * r + 0.49999997f;
    return p * (r * r) + r;
}

/* exp(r) for |r| <= 0.3467. */
ZK_INLINE vf vf_exp_small(vf r) {
    vf p = 0.0013869854f * r + 0.008366447f;
    p = p * r + 0.041667446f;
    p = p * r + 0.16666545f;
    p = p * r + 0.49999997f;
    return (p * r + 1.f) * r + 1.f;
}

#if !defined(ZK_ISA_AVX512)
/* exp(x): below 1.5 ulp, gradual underflow included where the mode has it. The scale 2^n comes as
 * two factors, whose exponents the low bits of t hold together. */
ZK_INLINE vf vf_exp(vf x) {
    const float magic = 0x1.8p23f + 254; /* adding it rounds; twice the exponent's bias */
    x = vf_at_most(vf_at_least(x, vf_set(-104)), vf_set(88.8f));
    vf t = x * 1.44269504f + magic, k = t - magic;
    vf r = (x - k * 0.693359375f) + k * 2.12194440e-4f;
    vi half = (vi)t >> 1;
    return vf_exp_small(r) * (vf)(half << 23) * (vf)(((vi)t - half) << 23);
}
#endif

/* exp(x) for x <= 88.37: below 1.5 ulp, less exact below -87.3 and 0 below -87.7. Of `count` <= 4
 * vectors step by step: where each waits for its own results, softmax takes 10 % longer. */
ZK_INLINE void vf_exp_flush_all(vf *x, int count) {
    const float magic = 0x1.8p23f + 127; /* adding it rounds; the exponent's bias */
    vf t[4], k[4], p[4];
#define EACH(...) \
    for (int i = 0; i < count; i++) __VA_ARGS__
    EACH(x[i] = vf_at_least(x[i], vf_set(-88)));
    EACH(t[i] = x[i] * 1.44269504f + magic);
    EACH(k[i] = t[i] - magic);
    EACH(x[i] = x[i] - k[i] * 0.693359375f);
    EACH(x[i] = x[i] + k[i] * 2.12194440e-4f);
    EACH(p[i] = 0.0013869854f * x[i] + 0.008366447f);
    EACH(p[i] = p[i] * x[i] + 0.041667446f);
    EACH(p[i] = p[i] * x[i] + 0.16666545f);
    EACH(p[i] = p[i] * x[i] + 0.49999997f);
    EACH(p[i] = p[i] * x[i] + 1.f);
    EACH(p[i] = p[i] * x[i] + 1.f);
    EACH(x[i] = p[i] * (vf)((vi)t[i] << 23));
#undef EACH
}
ZK_INLINE vf vf_exp_flush(vf x) {
    vf_exp_flush_all(&x, 1);
    return x;
}

/* exp(x) - 1: below 2.5 ulp. */
ZK_INLINE vf vf_expm1(vf x) {
    vi n;
    vf r = vf_reduce_ln2(vf_at_most(vf_at_least(x, vf_set(-18)), vf_set(88.8f)), &n);
    vf half = vf_exp2i(n - 1); /* half the scale, since 2^128 is no float */
    return 2.f * (half * vf_expm1_small(r) + (half - 0.5f));
}

/* log(m * 2^k) for 1 + f = m in [sqrt(1/2), sqrt(2)]. */
ZK_INLINE vf vf_log_parts(vf f, vf k) {
    vf p = -0.076357506f * f + 0.12761861f;
    p = p * f - 0.13159683f;
    p = p * f + 0.14201628f;
    p = p * f - 0.16623408f;
    p = p * f + 0.2000124f;
    p = p * f - 0.2500082f;
    p = p * f + 0.3333333f;
    vf z = f * f;
    vf y = p * (z * f) - k * 2.12194440e-4f;
    return (f - 0.5f * z) + y + k * 0.693359375f;
}

/* Splits x > 0 (no denormal) into m in [sqrt(1/2), sqrt(2)] and k: x = m * 2^k. */
ZK_INLINE vf vf_split(vf x, vi *k) {
    *k = (vi)((vu)x - 0x3f3504f3) >> 23;
    return (vf)((vu)x - ((vu)*k << 23));
}

#if !defined(ZK_ISA_AVX512)
/* log(x): below 1.5 ulp; -inf at 0, NaN below 0. */
ZK_INLINE vf vf_log(vf x) {
    vi k, tiny = x < 0x1p-126f;
    vf m = vf_split(vf_blend(tiny, x * 0x1p23f, x), &k);
    vf y = vf_log_parts(m - 1.f, vf_from_int(k + (tiny & -23)));
    y = vf_blend(x == __builtin_inff(), x, y);
    y = vf_blend(x == 0.f, vf_set(-__builtin_inff()), y);
    return vf_blend((x < 0.f) | (x != x), vf_set(__builtin_nanf("")), y);
}
#endif

/* log(1 + x) for finite x > -1: below 2 ulp. */
ZK_INLINE vf vf_log1p_finite(vf x) {
    vf u = x + 1.f, lost = x - (u - 1.f);
    lost = (vf)((vi)lost & (u < 0x1p24f)); /* beyond, 1 is lost in x itself */
    vi k;
    vf m = vf_split(u, &k);
    return vf_log_parts((m - 1.f) + lost * vf_exp2i(vi_set(0) - k), vf_from_int(k));
}

/* log(1 + x): below 2 ulp; -inf at -1, NaN below. */
ZK_INLINE vf vf_log1p(vf x) {
    vf y = vf_log1p_finite(vf_at_most(x, vf_set(0x1p120f)));
    y = vf_blend(x > 0x1p100f, vf_log(x), y);
    y = vf_blend(x == -1.f, vf_set(-__builtin_inff()), y);
    return vf_blend((x < -1.f) | (x != x), vf_set(__builtin_nanf("")), y);
}

/* The nearest bfloat16, ties to even; NaN stays NaN. */
ZK_INLINE vf vf_bfloat16(vf x) {
    vu bits = (vu)x, odd = bits >> 16 & 1;
    vu rounded = (bits + 0x7fff + odd) & 0xffff0000u, quiet = (bits & 0xffff0000u) | 0x400000u;
    return vf_blend(x != x, (vf)quiet, (vf)rounded);
}

/* log(1 + exp(x)): below 3 ulp. */
ZK_INLINE vf vf_softplus(vf x) {
    vf y = vf_log1p_finite(vf_exp(-vf_abs(x))) + vf_at_least(x, vf_set(0));
    return vf_blend(x != x, x, y);
}

#if !defined(ZK_ISA_AVX512)
/* tanh(x): below 3 ulp. */
ZK_INLINE vf vf_tanh(vf x) {
    vi n;
    vf a = vf_at_most(vf_abs(x), vf_set(9.02f)); /* from here on the result is 1 */
    vf r = vf_reduce_ln2(a + a, &n);
    vf scale = vf_exp2i(n);
    vf t = scale * vf_expm1_small(r) + (scale - 1.f); /* exp(2a) - 1 */
    return vf_copysign(t / (t + 2.f), x);
}
#endif

/* 1 / (1 + exp(-x)): below 3 ulp, but 0 below -88.4. */
ZK_INLINE vf vf_sigmoid(vf x) {
    vf y = 1.f / (vf_exp_flush(vf_at_most(-x, vf_set(88.37f))) + 1.f);
    return (vf)((vi)y & ~(x < -88.37f));
}

#if !defined(ZK_ISA_AVX512)
/* The error function: below 2 ulp. */
ZK_INLINE vf vf_erf(vf x) {
    vf a = vf_at_most(vf_abs(x), vf_set(3.95f)), z = a * a;
    vf q = 7.98824e-05f * z - 0.0008047565f; /* erf(a) / a - 1 for a < 0.95 */
    q = q * z + 0.005192211f;
    q = q * z - 0.026855664f;
    q = q * z + 0.11283625f;
    q = q * z - 0.3761263f;
    q = q * z + 0.12837917f;
    vf p = -0.00019821929f * a + 0.003065483f; /* -log(1 - erf(a)) for 0.9 < a < 3.95 */
    p = p * a - 0.022315178f;
    p = p * a + 0.104113616f;
    p = p * a + 0.6369761f;
    p = p * a + 1.1277972f;
    p = p * a + 0.00016643933f;
    vf y = vf_blend(a < 0.92f, a + a * q, 1.f - vf_exp_flush(-p));
    return vf_copysign(y, x);
}
#endif

/* x times the normal distribution function, that function alone, and the gradient by x. */
ZK_INLINE vf vf_normal_share(vf x) { return 0.5f * vf_erf(x * 0.70710678f) + 0.5f; }
ZK_INLINE vf vf_gelu(vf x) { return x * vf_normal_share(x); }
ZK_INLINE vf vf_gelu_grad(vf x) {
    const vf far = vf_at_most(0.5f * x * x, vf_set(88));
    return x * (vf_exp_flush(-far) * 0.3989422804f) + vf_normal_share(x);
}

/* gelu's tanh form as x * sigmoid(2 u), u = sqrt(2 / pi) (x + 0.044715 x^3), and its gradient. */
ZK_INLINE vf vf_gelu_tanh_share(vf x) {
    return vf_sigmoid(1.5957691216f * (x * (0.044715f * x * x + 1.f)));
}
ZK_INLINE vf vf_gelu_tanh(vf x) { return x * vf_gelu_tanh_share(x); }
ZK_INLINE vf vf_gelu_tanh_grad(vf x) {
    const vf s = vf_gelu_tanh_share(x), z = vf_at_most(x * x, vf_set(1e4f));
    return s + x * (s - s * s) * (1.5957691216f + 0.2140644488f * z);
}

/* x * sigmoid(x) and its gradient. */
ZK_INLINE vf vf_silu(vf x) { return x * vf_sigmoid(x); }
ZK_INLINE vf vf_silu_grad(vf x) {
    const vf s = vf_sigmoid(x);
    return s + x * (s - s * s);
}

/* The lower (0) or upper (1) half of x in double precision; two halves as floats or int32. */
ZK_INLINE vd vd_half(vf x, int upper) {
    union {
        vf whole;
        vf_half half[2];
    } u = {x};
    return __builtin_convertvector(u.half[upper], vd);
}
ZK_INLINE vf vf_join(vd lower, vd upper) {
    vf_half a = __builtin_convertvector(lower, vf_half);
    return VF_JOIN(a, __builtin_convertvector(upper, vf_half));
}
ZK_INLINE vi vi_join(vd lower, vd upper) {
    vi_half a = __builtin_convertvector(lower, vi_half);
    return VF_JOIN(a, __builtin_convertvector(upper, vi_half));
}

/* x = n * pi / 2 + r with |r| <= pi / 4: returns r. For |x| < 2^20. */
ZK_INLINE vd vd_reduce_angle(vd x, vd *n) {
    const double magic = 0x1.8p52; /* adding it rounds to a whole number */
    vd t = x * 0.63661977236758134 + magic;
    *n = t - magic;
    return (x - *n * 1.5707963267341256) - *n * 6.0771005065061922e-11;
}

/* sin(x + turns * pi / 2): below 2 ulp. The angle is reduced in double, beyond 2^20 by libm. */
ZK_INLINE vf vf_sine(vf x, int turns) {
    vd n[2], low = vd_reduce_angle(vd_half(x, 0), n), high = vd_reduce_angle(vd_half(x, 1), n + 1);
    vf r = vf_join(low, high), z = r * r;
    vi quadrant = vi_join(n[0], n[1]) + turns;
    vf s = 2.8373654e-06f * z - 0.00019853504f;
    s = (s * z + 0.00833338f) * z - 0.16666667f;
    s = s * (z * r) + r;
    vf c = 2.4430668e-05f * z - 0.0013887301f;
    c = (c * z + 0.041666646f) * (z * z) + (1.f - 0.5f * z);
    vf y = vf_blend((quadrant & 1) != 0, c, s);
    y = (vf)((vi)y ^ ((quadrant & 2) << 30));
    vi far = vf_abs(x) >= 0x1p20f;
    if (__builtin_expect(vi_any(far), 0))
        for (int i = 0; i < VL; i++)
            if (far[i]) y[i] = turns ? cosf(x[i]) : sinf(x[i]);
    return vf_blend(x != x, x, y);
}
ZK_INLINE vf vf_sin(vf x) { return vf_sine(x, 0); }
ZK_INLINE vf vf_cos(vf x) { return vf_sine(x, 1); }

/* log(a) for normal a > 0, to about 1e-12. Exponents become doubles as low bits of 2^52, since
 * AVX2 cannot convert 64-bit integers. */
ZK_INLINE vd vd_log(vd a) {
    const uint64_t root = 0x3fe6a09e667f3bcd, one = 0x3ff0000000000000; /* sqrt(1/2), 1 */
    vul k = ((vul)a - root + one) >> 52;                                /* exponent + 1023 */
    vd m = (vd)((vul)a - (k << 52) + one);
    vd exponent = (vd)(k | 0x4330000000000000) - (0x1p52 + 1023);
    vd s = (m - 1.0) / (m + 1.0), z = s * s; /* log(m) = 2 atanh(s) */
    vd p = z * (1.0 / 13) + 1.0 / 11;
    p = p * z + 1.0 / 9;
    p = p * z + 1.0 / 7;
    p = p * z + 1.0 / 5;
    p = p * z + 1.0 / 3;
    return (p * z * s + s) * 2.0 + exponent * 0.69314718055994531;
}

/* exp(x) for |x| < 700, to about 1e-9. */
ZK_INLINE vd vd_exp(vd x) {
    const double magic = 0x1.8p52;
    vd t = x * 1.4426950408889634 + magic;
    vd r = x - (t - magic) * 0.69314718055994531;
    vd p = r * (1.0 / 40320) + 1.0 / 5040;
    p = p * r + 1.0 / 720;
    p = p * r + 1.0 / 120;
    p = p * r + 1.0 / 24;
    p = p * r + 1.0 / 6;
    p = p * r + 0.5;
    p = p * r * r + r + 1.0;
    return p * (vd)(((vul)t << 52) + 0x3ff0000000000000);
}

ZK_INLINE vd vd_power(vd a, vd b) {
    vd z = vd_log(a) * b;
    z = (vd)(((vl)z & (z < 200.0)) | ((vl)(200.0 - (vd){0}) & (z >= 200.0)));
    z = (vd)(((vl)z & (z > -200.0)) | ((vl)(-200.0 - (vd){0}) & (z <= -200.0)));
    return vd_exp(z);
}

/* a to the power of b: below 1 ulp; special values as in C99. Computed in double. */
ZK_INLINE vf vf_pow(vf a, vf b) {
    const float inf = __builtin_inff();
    vf size = vf_abs(a);
    vi odd = (vf_floor(b * 0.5f) != b * 0.5f), whole = vf_floor(b) == b;
    odd &= whole & (vf_abs(b) < 0x1p24f);
    vf y = vf_join(vd_power(vd_half(size, 0), vd_half(b, 0)),
                   vd_power(vd_half(size, 1), vd_half(b, 1)));
    vi grows = ((size > 1.f) & (b > 0.f)) | ((size < 1.f) & (b < 0.f));
    vi edge = (size == 0.f) | (size == inf) | (vf_abs(b) == inf);
    y = vf_blend(edge, (vf)((vi)vf_set(inf) & grows), y);
    y = (vf)((vi)y | ((vi)a & odd & (int32_t)0x80000000));
    y = vf_blend((a < 0.f) & (a > -inf) & ~whole, vf_set(__builtin_nanf("")), y);
    y = vf_blend((a != a) | (b != b), a + b, y);
    return vf_blend((b == 0.f) | (a == 1.f) | ((a == -1.f) & (vf_abs(b) == inf)), vf_set(1), y);
}
#endif

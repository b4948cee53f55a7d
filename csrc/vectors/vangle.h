/* Trigonometry beyond sine and cosine, its hyperbolic relatives, 2^x and the inverse of erf. In,
 * out, bounds and special values: as in vmath.h. */
#ifndef ZK_VANGLE_H
#define ZK_VANGLE_H
#include "vmath.h"

#define HALF_PI 1.57079637f
#define HALF_PI_REST -4.37113883e-8f /* pi / 2 less HALF_PI */

/* 2^x: below 1.5 ulp. The scale comes as two factors, as 2^128 and 2^-127 are no floats. */
ZK_INLINE vf vf_exp2(vf x) {
    const float magic = 0x1.8p23f; /* adding it rounds to a whole number in the low bits */
    x = vf_at_most(vf_at_least(x, vf_set(-151)), vf_set(129));
    vf t = x + magic;
    vi n = (vi)t - (vi)vf_set(magic), half = n >> 1;
    vf y = vf_exp_small((x - (t - magic)) * 0.69314718f);
    return y * vf_exp2i(half) * vf_exp2i(n - half);
}

/* tan(x): below 4 ulp. The angle is reduced in double, beyond 2^20 by libm. */
ZK_INLINE vf vf_tan(vf x) {
    vd n[2], low = vd_reduce_angle(vd_half(x, 0), n), high = vd_reduce_angle(vd_half(x, 1), n + 1);
    vf r = vf_join(low, high), z = r * r;
    vf p = 0.009412879f * z + 0.0030732872f;
    p = p * z + 0.024459563f;
    p = p * z + 0.053402837f;
    p = p * z + 0.13338906f;
    p = p * z + 0.33333153f;
    p = p * (z * r) + r;
    vf y = vf_blend((vi_join(n[0], n[1]) & 1) != 0, -1.f / p, p);
    vi far = vf_abs(x) >= 0x1p20f;
    if (__builtin_expect(vi_any(far), 0))
        for (int i = 0; i < VL; i++)
            if (far[i]) y[i] = tanf(x[i]);
    return vf_blend(x != x, x, y);
}

/* The angle whose tangent is a, 0 <= a <= 1. */
ZK_INLINE vf vf_atan_small(vf a) {
    vf z = a * a;
    vf p = -0.0017875411f * z + 0.010887345f;
    p = p * z - 0.031126989f;
    p = p * z + 0.057906542f;
    p = p * z - 0.08400475f;
    p = p * z + 0.10951175f;
    p = p * z - 0.14264052f;
    p = p * z + 0.19998531f;
    p = p * z - 0.333333f;
    return p * (z * a) + a;
}

/* arctan(x): below 3 ulp. */
ZK_INLINE vf vf_atan(vf x) {
    vf a = vf_abs(x);
    vi steep = a > 1.f;
    vf y = vf_atan_small(vf_blend(steep, 1.f / a, a));
    return vf_copysign(vf_blend(steep, (HALF_PI - y) + HALF_PI_REST, y), x);
}

/* The angle of the point (x, y): below 4 ulp. */
ZK_INLINE vf vf_atan2(vf y, vf x) {
    vf a = vf_abs(y), b = vf_abs(x);
    vi steep = a > b, infinite = (a == __builtin_inff()) & (b == __builtin_inff());
    vf large = vf_blend(steep, a, b), q = vf_blend(steep, b, a) / large;
    q = vf_blend(infinite, vf_set(1), vf_blend(large == 0.f, vf_set(0), q));
    vf angle = vf_atan_small(q);
    angle = vf_blend(steep, (HALF_PI - angle) + HALF_PI_REST, angle);
    vf other = (2 * HALF_PI - angle) + 2 * HALF_PI_REST;
    angle = vf_copysign(vf_blend((vi)x < 0, other, angle), y);
    return vf_blend((x != x) | (y != y), x + y, angle);
}

/* arcsin(s) less s, over s^3, for z = s * s <= 1/4. */
ZK_INLINE vf vf_asin_rest(vf z) {
    vf p = 0.04216512f * z + 0.024181498f;
    p = p * z + 0.04546964f;
    p = p * z + 0.07495307f;
    return p * z + 0.16666752f;
}

/* arcsin(x), below 3 ulp, and arccos(x), below 3 ulp; NaN outside of [-1, 1]. From 1/2 on by the
 * half angle. */
ZK_INLINE vf vf_asin(vf x) {
    vf a = vf_abs(x);
    vi far = a > 0.5f;
    vf z = vf_blend(far, 0.5f - 0.5f * a, a * a), s = vf_blend(far, vf_sqrt(z), a);
    vf y = vf_asin_rest(z) * (z * s) + s;
    return vf_copysign(vf_blend(far, (HALF_PI - 2.f * y) + HALF_PI_REST, y), x);
}
ZK_INLINE vf vf_acos(vf x) {
    vf a = vf_abs(x);
    vi far = a > 0.5f;
    vf z = vf_blend(far, 0.5f - 0.5f * a, a * a), s = vf_blend(far, vf_sqrt(z), a);
    vf y = vf_asin_rest(z) * (z * s) + s;
    vf outer = vf_blend(x < 0.f, (2 * HALF_PI - 2.f * y) + 2 * HALF_PI_REST, 2.f * y);
    return vf_blend(far, outer, (HALF_PI - vf_copysign(y, x)) + HALF_PI_REST);
}

/* exp(a) / 2 for a >= 0, infinite only where the result is. */
ZK_INLINE vf vf_half_exp(vf a) {
    vi n;
    vf r = vf_reduce_ln2(vf_at_most(a, vf_set(90)), &n);
    return 2.f * (vf_exp_small(r) * vf_exp2i(n - 2));
}

/* sinh(x) and cosh(x): below 3 ulp. */
ZK_INLINE vf vf_sinh(vf x) {
    vf a = vf_abs(x), z = a * a, e = vf_half_exp(a);
    vf p = 2.7822132e-06f * z + 0.00019842896f;
    p = p * z + 0.0083333105f;
    p = p * z + 0.16666667f;
    return vf_copysign(vf_blend(a < 1.f, p * (z * a) + a, e - 0.25f / e), x);
}
ZK_INLINE vf vf_cosh(vf x) {
    vf e = vf_half_exp(vf_abs(x));
    return e + 0.25f / e;
}

/* log(1 + t), or log(2 x) where x is far; infinity and NaN stay. */
ZK_INLINE vf vf_log_of(vf t, vf x, vi far) {
    vf y = vf_log1p_finite(vf_blend(far, vf_at_most(x, vf_set(0x1.fffffep127f)) * 0.25f, t));
    y += (vf)((vi)vf_set(2.0794415f) & far); /* log(8) */
    return vf_blend(x < __builtin_inff(), y, x);
}

/* arcsinh(x), below 4 ulp, and arccosh(x), below 4 ulp: NaN below 1. */
ZK_INLINE vf vf_asinh(vf x) {
    vf a = vf_abs(x), z = a * a;
    vi far = a > 1e9f;
    vf t = a + z / (1.f + vf_sqrt(z + 1.f));
    return vf_copysign(vf_log_of(t, a, far), x);
}
ZK_INLINE vf vf_acosh(vf x) {
    vi far = x > 1e9f;
    vf d = x - 1.f, t = d + vf_sqrt(d * (d + 2.f));
    vf y = vf_log_of(t, x, far);
    return vf_blend((x < 1.f) | (x != x), vf_set(__builtin_nanf("")), y);
}

/* arctanh(x): below 4 ulp; infinite at -1 and 1, NaN outside. */
ZK_INLINE vf vf_atanh(vf x) {
    vf a = vf_abs(x), y = 0.5f * vf_log1p_finite(vf_at_most((a + a) / (1.f - a), vf_set(0x1p120f)));
    y = vf_blend(a == 1.f, vf_set(__builtin_inff()), y);
    return vf_blend((a > 1.f) | (x != x), vf_set(__builtin_nanf("")), vf_copysign(y, x));
}

/* The inverse of erf: below 4 ulp; infinite at -1 and 1, NaN outside. Over x it is a smooth
 * function of -log(1 - x^2), and farther out of its root (after Giles 2010). */
ZK_INLINE vf vf_erfinv(vf x) {
    vf w = -vf_log((1.f - x) * (1.f + x)), v = w - 2.5f, u = vf_sqrt(w) - 3.f;
    vf p = 2.8112183e-08f * v + 3.43281e-07f;
    p = p * v - 3.5241237e-06f;
    p = p * v - 4.3931536e-06f;
    p = p * v + 0.00021858489f;
    p = p * v - 0.0012537144f;
    p = p * v - 0.004177684f;
    p = p * v + 0.24664073f;
    p = p * v + 1.5014094f;
    vf q = -0.00013166951f * u + 5.9892944e-05f;
    q = q * u + 0.0012540468f;
    q = q * u - 0.0036327797f;
    q = q * u + 0.0057830643f;
    q = q * u - 0.0076329615f;
    q = q * u + 0.009432352f;
    q = q * u + 1.0016747f;
    q = q * u + 2.832977f;
    vf y = vf_blend(w < 5.f, p, q) * x;
    return vf_blend(vf_abs(x) == 1.f, vf_copysign(vf_set(__builtin_inff()), x), y);
}
#undef HALF_PI
#undef HALF_PI_REST
#endif

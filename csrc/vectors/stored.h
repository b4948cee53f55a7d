/* Numbers that lie in memory as float32 or as the upper halves of float32 (bfloat16), read and
 * written a vector at a time. Arithmetic between is float32's in any form. */
#ifndef ZK_STORED_H
#define ZK_STORED_H
#include "vec.h"

/* ROUNDED: float32 memory, whose numbers are rounded to bfloat16 as they are read or written. */
enum { ZK_WIDE, ZK_ROUNDED, ZK_NARROW };

typedef struct {
    char *p; /* NULL: no such array */
    int form;
} stored;

typedef uint16_t stored_bits __attribute__((vector_size(VL * 2), aligned(2), may_alias));
typedef uint32_t stored_lanes __attribute__((vector_size(VL * 4), aligned(4), may_alias));

static inline stored stored_of(const zk_arg *a, const void *p, int rounds) {
    return (stored){(char *)p, a->dtype == ZK_U16 ? ZK_NARROW : rounds ? ZK_ROUNDED : ZK_WIDE};
}

ZK_INLINE vf vf_widened(stored_bits bits) {
    return (vf)(__builtin_convertvector(bits, stored_lanes) << 16);
}

/* The nearest bfloat16 numbers, ties to even; NaN stays NaN. */
ZK_INLINE vf vf_nearest(vf a) {
    const stored_lanes u = (stored_lanes)a, near = u + 0x7fff + (u >> 16 & 1);
    const vf other = (vf)(u | 0x400000);
    return (vf)((vi)vf_blend(a == a, (vf)near, other) & -0x10000);
}

/* m numbers from place i on, at most VL; other lanes are 0. `plain`: the form is known to be wide,
 * so that loops over float32 ask nothing. */
ZK_INLINE vf stored_load(const stored *s, int64_t i, const int64_t m, const int plain) {
    if (!plain && s->form == ZK_NARROW) {
        const uint16_t *from = (const uint16_t *)s->p + i;
        if (m == VL) return vf_widened(*(const stored_bits *)from);
        uint16_t some[VL] = {0};
        for (int64_t j = 0; j < m; j++) some[j] = from[j];
        return vf_widened(*(const stored_bits *)some);
    }
    const float *from = (const float *)s->p + i;
    const vf v = m == VL ? vf_load(from) : vf_load_first(from, m, (vf){0});
    return !plain && s->form == ZK_ROUNDED ? vf_nearest(v) : v;
}

ZK_INLINE void stored_save(const stored *s, int64_t i, vf v, const int64_t m, const int plain) {
    if (!plain && s->form != ZK_WIDE) v = vf_nearest(v);
    if (!plain && s->form == ZK_NARROW) {
        uint16_t *to = (uint16_t *)s->p + i;
        const stored_bits bits = __builtin_convertvector((stored_lanes)v >> 16, stored_bits);
        if (m == VL) *(stored_bits *)to = bits;
        else
            for (int64_t j = 0; j < m; j++) to[j] = bits[j];
        return;
    }
    float *to = (float *)s->p + i;
    if (m == VL) vf_store(to, v);
    else vf_store_first(to, v, m);
}
#endif

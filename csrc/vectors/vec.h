/* Float vectors of the instruction set that this file is compiled for: vf holds VL floats, vi VL
 * int32. Loads and stores need no alignment. a * b + c becomes a fused multiply-add where there is
 * one. Everything is inlined; nothing here may be called across instruction sets. */
#ifndef ZK_VEC_H
#define ZK_VEC_H
#include "kernel.h"

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
ZK_INLINE vf vf_select(vi mask, vf a, vf b) { return (vf)(((vi)a & mask) | ((vi)b & ~mask)); }
ZK_INLINE vf vf_abs(vf a) { return (vf)((vi)a & 0x7fffffff); }

/* The first n floats (n < VL); the rest is zero on load and untouched on store. */
ZK_INLINE vf vf_load_n(const float *p, int n) {
    float t[VL] = {0};
    memcpy(t, p, (size_t)n * 4);
    return vf_load(t);
}
ZK_INLINE void vf_store_n(float *p, vf v, int n) {
    float t[VL];
    vf_store(t, v);
    memcpy(p, t, (size_t)n * 4);
}

/* Sum over the lanes, always in the same order. */
ZK_INLINE float vf_sum(vf v) {
    float t[VL];
    vf_store(t, v);
    for (int w = VL / 2; w; w /= 2)
        for (int i = 0; i < w; i++) t[i] += t[i + w];
    return t[0];
}
#endif

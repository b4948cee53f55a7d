/* Slice kernels of the gradient exchange: dst = kernel(dst, src, number) over n elements, called
 * through zk_slice. Half floats are rounded to nearest even on the way out and widened on the way
 * in; sums are always float32. */
#include "vec.h"

#define PIECE 32768 /* elements of a task */

typedef struct {
    void *dst;
    const void *src;
    float number;
    int64_t n;
    void (*run)(void *dst, const void *src, float number, int64_t from, int64_t to);
} slice_job;

static void slice_task(void *ctx, int64_t task, int thread) {
    const slice_job *j = ctx;
    (void)thread;
    j->run(j->dst, j->src, j->number, task * PIECE, zk_min((task + 1) * PIECE, j->n));
}

/* The bits of a float rounded to the upper 16; a NaN stays one. */
ZK_INLINE uint16_t bf16_of(uint32_t bits) {
    uint32_t rounded = bits + 0x7fff + (bits >> 16 & 1);
    return (uint16_t)(((bits & 0x7fffffff) > 0x7f800000 ? bits | 0x400000 : rounded) >> 16);
}

ZK_INLINE float float_of(uint32_t bits) {
    float f;
    memcpy(&f, &bits, 4);
    return f;
}
ZK_INLINE uint32_t bits_of(float f) {
    uint32_t bits;
    memcpy(&bits, &f, 4);
    return bits;
}

/* Float to half without the hardware. Below the normal halves, adding 0.5 rounds to a multiple of
 * 2^-24, the step of the subnormal ones; elsewhere the exponent is moved and the mantissa rounded.
 */
ZK_INLINE uint16_t soft_half(float f) {
    uint32_t bits = bits_of(f), sign = bits >> 16 & 0x8000, size = bits & 0x7fffffff;
    uint32_t low = bits_of(float_of(size) + 0.5f) - 0x3f000000;
    uint32_t high = (size - 0x38000000 + 0xfff + (size >> 13 & 1)) >> 13;
    uint32_t nan = 0x7e00 | (size >> 13 & 0x3ff);
    uint32_t half = size < 0x38800000 ? low : size < 0x47800000 ? high : 0x7c00;
    return (uint16_t)(sign | (size > 0x7f800000 ? nan : half));
}

/* Half to float: the multiplication moves the exponent and makes subnormal halves normal. */
ZK_INLINE float soft_float(uint16_t h) {
    uint32_t size = (uint32_t)(h & 0x7fff) << 13, sign = (uint32_t)(h & 0x8000) << 16;
    uint32_t bits = bits_of(float_of(size) * 0x1p112f);
    if (size >= 0x0f800000) bits = size | 0x7f800000; /* infinity, NaN */
    if (size > 0x0f800000) bits |= 0x400000;          /* quiet, as the hardware makes it */
    return float_of(bits | sign);
}

/* The hardware's conversions, 8 at a time; they return where they stopped. */
ZK_INLINE int64_t hard_halves(uint16_t *dst, const float *src, int64_t i, int64_t to) {
#if defined(__F16C__)
    for (; i + 8 <= to; i += 8)
        _mm_storeu_si128((__m128i *)(dst + i), _mm256_cvtps_ph(_mm256_loadu_ps(src + i), 0));
#else
    (void)dst, (void)src, (void)to;
#endif
    return i;
}
ZK_INLINE int64_t hard_floats(float *dst, const uint16_t *src, int add, int64_t i, int64_t to) {
#if defined(__F16C__)
    for (; i + 8 <= to; i += 8) {
        __m256 wide = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(src + i)));
        _mm256_storeu_ps(dst + i, add ? _mm256_add_ps(wide, _mm256_loadu_ps(dst + i)) : wide);
    }
#else
    (void)dst, (void)src, (void)add, (void)to;
#endif
    return i;
}

/* dst may be src itself. */
#define EACH _Pragma("GCC ivdep") for (; i < to; i++)

/* Defines the kernel `name` with D *d, const S *s, number, and the loop over i from `from`. */
#define SLICE(name, D, S, ...)                                                                     \
    static void name##_range(void *dst, const void *src, float number, int64_t from, int64_t to) { \
        D *d = dst;                                                                                \
        const S *s = src;                                                                          \
        (void)number;                                                                              \
        int64_t i = from;                                                                          \
        __VA_ARGS__                                                                                \
    }                                                                                              \
    static void name(const zk_call *c) {                                                           \
        slice_job j = {c->p[0], c->p[1], (float)c->attr[0], zk_count(c->a), name##_range};         \
        zk_parallel(c, zk_ceil(j.n, PIECE), slice_task, &j);                                       \
    }

/* slice_add: dst += src.  slice_scale: dst = src * number.  slice_axpy: dst += number * src. */
SLICE(slice_add, float, float, EACH d[i] += s[i];)
SLICE(slice_scale, float, float, EACH d[i] = s[i] * number;)
SLICE(slice_axpy, float, float, EACH d[i] += number * s[i];)

/* slice_to_bf16: dst uint16 = src float.  slice_from_bf16: the reverse.  slice_add_bf16: dst
 * float += src bfloat16. */
SLICE(slice_to_bf16, uint16_t, float, EACH d[i] = bf16_of(bits_of(s[i]));)
SLICE(slice_from_bf16, float, uint16_t, EACH d[i] = float_of((uint32_t)s[i] << 16);)
SLICE(slice_add_bf16, float, uint16_t, EACH d[i] += float_of((uint32_t)s[i] << 16);)

/* The same three for float16. */
SLICE(slice_to_f16, uint16_t, float, i = hard_halves(d, s, i, to); EACH d[i] = soft_half(s[i]);)
SLICE(slice_from_f16, float, uint16_t, i = hard_floats(d, s, 0, i, to);
      EACH d[i] = soft_float(s[i]);)
SLICE(slice_add_f16, float, uint16_t, i = hard_floats(d, s, 1, i, to);
      EACH d[i] += soft_float(s[i]);)

const zk_kernel ZK_TABLE(exchange)[] = {{"slice_add", slice_add, NULL},
                                        {"slice_scale", slice_scale, NULL},
                                        {"slice_axpy", slice_axpy, NULL},
                                        {"slice_to_bf16", slice_to_bf16, NULL},
                                        {"slice_from_bf16", slice_from_bf16, NULL},
                                        {"slice_add_bf16", slice_add_bf16, NULL},
                                        {"slice_to_f16", slice_to_f16, NULL},
                                        {"slice_from_f16", slice_from_f16, NULL},
                                        {"slice_add_f16", slice_add_f16, NULL},
                                        {0}};

/* Philox4x32-10 (Salmon et al. 2011), random numbers from a counter: those of a row depend on the
 * seed, the step, the row and the position within the row, and on nothing else. In: a source and
 * which 64 numbers of which row. Out: those 64 words. Header-only, for the kernels that draw. */
#ifndef ZK_PHILOX_H
#define ZK_PHILOX_H
#include "vec.h"

#define LANES 16 /* blocks made together, in every build */
#define GROUP (4 * LANES)

typedef struct {
    uint32_t w[4][LANES]; /* as numbers of a row, these are elements 0..63 of a group */
} group;

/* Where the numbers of one call come from. */
typedef struct {
    uint64_t key[2][10]; /* of each round */
    int64_t step, row0;
} source;

static source source_of(double number, const void *rng) {
    uint64_t seed = (uint64_t)number;
    source s;
    for (int i = 0; i < 10; i++) {
        s.key[0][i] = (uint32_t)seed + 0x9e3779b9u * (uint32_t)i;
        s.key[1][i] = (uint32_t)(seed >> 32) + 0xbb67ae85u * (uint32_t)i;
    }
    memcpy(&s.step, rng, 8);
    memcpy(&s.row0, (const char *)rng + 8, 8);
    return s;
}

/* A 32-bit word of VL / 2 blocks; the upper halves of the lanes hold anything. */
typedef uint64_t words __attribute__((vector_size(VL * 4)));

/* Products of the lower halves. */
ZK_INLINE words multiply(words a, uint32_t b) {
    words v = a * 0 + b;
#if defined(ZK_ISA_AVX512)
    return (words)_mm512_mul_epu32((__m512i)a, (__m512i)v);
#elif defined(ZK_ISA_AVX2)
    return (words)_mm256_mul_epu32((__m256i)a, (__m256i)v);
#elif defined(__x86_64__)
    return (words)_mm_mul_epu32((__m128i)a, (__m128i)v);
#else
    return (a & 0xffffffff) * v;
#endif
}

ZK_INLINE void round_of(words *w, uint64_t k0, uint64_t k1) {
    words p = multiply(w[0], 0xd2511f53u), q = multiply(w[2], 0xcd9e8d57u);
    w[0] = q >> 32 ^ w[1] ^ k0;
    w[1] = q;
    w[2] = p >> 32 ^ w[3] ^ k1;
    w[3] = p;
}

/* Ten rounds for VL blocks, those of even and of odd number apart. */
ZK_INLINE void rounds(const source *s, words *even, words *odd) {
#pragma GCC unroll 10
    for (int i = 0; i < 10; i++) {
        round_of(even, s->key[0][i], s->key[1][i]);
        round_of(odd, s->key[0][i], s->key[1][i]);
    }
}

/* Group number `index` of a row. */
static void make_group(const source *s, int64_t row, int64_t index, group *g) {
    uint64_t high = (row >> 32 & 0xffff) | (s->step >> 32 & 0xffff) << 16;
    words lane;
    for (int l = 0; l < VL / 2; l++) lane[l] = (uint64_t)(index * LANES + 2 * l);
    for (int l = 0; l < LANES; l += VL) {
        words fixed = lane * 0, even[4], odd[4];
        even[0] = lane + (uint64_t)l;
        even[1] = odd[1] = fixed + (uint64_t)row;
        even[2] = odd[2] = fixed + (uint64_t)s->step;
        even[3] = odd[3] = fixed + high;
        odd[0] = even[0] + 1;
        rounds(s, even, odd);
        for (int k = 0; k < 4; k++) {
            words both = (even[k] & 0xffffffff) | odd[k] << 32;
            memcpy(&g->w[k][l], &both, sizeof both);
        }
    }
}
#endif

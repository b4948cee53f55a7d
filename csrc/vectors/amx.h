/* Tile registers of AMX: 8 of 16 rows by 64 bytes, products of bfloat16 and int8 with sums of 32
 * bits. Every function has two forms: the instruction, and a scalar model that gives the same bits
 * on any machine. A kernel writes its loop once, with `t` passed down, and compiles it for both:
 *     ZK_INLINE void loop(tiles *t, ...) {...}
 *     tiles_run(t) { if (tiles_real()) loop(NULL, ...); else loop(&(tiles){0}, ...); }
 * NULL stands for the registers of the CPU, and the test for it is gone after inlining. */
#ifndef ZK_AMX_H
#define ZK_AMX_H
#include "vec.h"

#define TILE_ROWS 16
#define TILE_BYTES 64
#define TILE_BF16 32 /* of k, in a step */
#define TILE_INT8 64

/* What ldtilecfg reads: rows, and bytes of a row, of each register. */
typedef struct {
    uint8_t palette, start, reserved[14];
    uint16_t bytes[16];
    uint8_t rows[16];
} tile_shapes;

/* The registers, as the model has them. */
typedef struct {
    tile_shapes shapes;
    union {
        uint8_t byte[TILE_ROWS][TILE_BYTES];
        float f[TILE_ROWS][16];
        int32_t i[TILE_ROWS][16];
        uint16_t bf[TILE_ROWS][32];
        int8_t q[TILE_ROWS][64];
    } reg[8];
} tiles;

#if defined(ZK_ISA_AVX512) && !defined(ZK_EMULATE_AMX) && !defined(ZK_EMULATE_AVX512)
#define TILE_INSTRUCTIONS 1
ZK_INLINE int tiles_real(void) { return zk_amx(); }
#else
#define TILE_INSTRUCTIONS 0
ZK_INLINE int tiles_real(void) { return 0; }
#endif

/* All registers full. */
static const tile_shapes tile_full = {
    .palette = 1,
    .bytes = {64, 64, 64, 64, 64, 64, 64, 64},
    .rows = {16, 16, 16, 16, 16, 16, 16, 16},
};

/* Numbers below 2^-126 count as zero and become zero, whatever the CPU's modes are. */
ZK_INLINE float tile_flush(float x) {
    uint32_t u;
    memcpy(&u, &x, 4);
    u &= u & 0x7f800000 ? 0xffffffffu : 0x80000000u;
    memcpy(&x, &u, 4);
    return x;
}
ZK_INLINE float tile_wide(uint16_t x) {
    const uint32_t u = (uint32_t)x << 16;
    float y;
    memcpy(&y, &u, 4);
    return tile_flush(y);
}

/* Pairs of k are summed in two halves, even and odd, with fused additions; their sum is added to c
 * at the end. */
static inline void tile_model_bf16(tiles *t, int c, int a, int b) {
    const int pairs = t->shapes.bytes[a] / 4, columns = t->shapes.bytes[c] / 4;
    for (int r = 0; r < t->shapes.rows[c]; r++) {
        float even[16] = {0}, odd[16] = {0};
        for (int k = 0; k < pairs; k++) {
            const float x = tile_wide(t->reg[a].bf[r][2 * k]);
            const float y = tile_wide(t->reg[a].bf[r][2 * k + 1]);
            for (int j = 0; j < 16; j++) {
                const uint16_t *w = t->reg[b].bf[k] + 2 * j;
                even[j] = tile_flush(fmaf(x, tile_wide(w[0]), even[j]));
                odd[j] = tile_flush(fmaf(y, tile_wide(w[1]), odd[j]));
            }
        }
        float *sum = t->reg[c].f[r];
        for (int j = 0; j < columns; j++)
            sum[j] = tile_flush(tile_flush(sum[j]) + tile_flush(even[j] + odd[j]));
    }
}

/* Whole numbers, wrapping. */
static inline void tile_model_int8(tiles *t, int c, int a, int b) {
    const int quads = t->shapes.bytes[a] / 4, columns = t->shapes.bytes[c] / 4;
    for (int r = 0; r < t->shapes.rows[c]; r++)
        for (int k = 0; k < quads; k++) {
            const int8_t *x = t->reg[a].q[r] + 4 * k, *w = t->reg[b].q[k];
            for (int j = 0; j < columns; j++, w += 4)
                t->reg[c].i[r][j] =
                    (int32_t)((uint32_t)t->reg[c].i[r][j] +
                              (uint32_t)(x[0] * w[0] + x[1] * w[1] + x[2] * w[2] + x[3] * w[3]));
        }
}

static inline void tile_model_load(tiles *t, int tile, const char *from, int64_t row) {
    memset(&t->reg[tile], 0, sizeof t->reg[tile]);
    for (int r = 0; r < t->shapes.rows[tile]; r++)
        memcpy(t->reg[tile].byte[r], from + r * row, t->shapes.bytes[tile]);
}

static inline void tile_model_store(const tiles *t, int tile, char *to, int64_t row) {
    for (int r = 0; r < t->shapes.rows[tile]; r++)
        memcpy(to + r * row, t->reg[tile].byte[r], t->shapes.bytes[tile]);
}

/* The instructions are written as assembly: so a kernel file needs no further target, and gcc knows
 * what memory they touch (gcc 12's intrinsics don't say). */
#if TILE_INSTRUCTIONS
#define TILE_ASM(t, ...)               \
    if (!(t)) {                        \
        __asm__ volatile(__VA_ARGS__); \
        return;                        \
    }
#else
#define TILE_ASM(t, ...)
#endif

/* Sets the shapes of the registers, and all of them to zero. Once a task: it takes 220 cycles with
 * tile_release. */
ZK_INLINE void tile_config(tiles *t, const tile_shapes *shapes) {
    TILE_ASM(t, "ldtilecfg %0" ::"m"(*shapes) : "memory")
    *t = (tiles){.shapes = *shapes};
}
/* At the end of a task: later context switches then leave 8 kB out. */
ZK_INLINE void tile_release(tiles *t) {
    TILE_ASM(t, "tilerelease" :: : "memory")
    *t = (tiles){0};
}
ZK_INLINE void tile_zero(tiles *t, const int tile) {
    TILE_ASM(t, "tilezero %%tmm%c0" ::"i"(tile))
    memset(&t->reg[tile], 0, sizeof t->reg[tile]);
}
/* Rows lie `row` bytes apart. */
ZK_INLINE void tile_load(tiles *t, const int tile, const void *from, int64_t row) {
    TILE_ASM(t, "tileloadd (%1,%2,1), %%tmm%c0" ::"i"(tile), "r"(from), "r"(row) : "memory")
    tile_model_load(t, tile, from, row);
}
ZK_INLINE void tile_store(tiles *t, const int tile, void *to, int64_t row) {
    TILE_ASM(t, "tilestored %%tmm%c0, (%1,%2,1)" ::"i"(tile), "r"(to), "r"(row) : "memory")
    tile_model_store(t, tile, to, row);
}
/* c(rows, n) += a(rows, 2 pairs) b(pairs, n, 2), bfloat16 to float32. */
ZK_INLINE void tile_dp_bf16(tiles *t, const int c, const int a, const int b) {
    TILE_ASM(t, "tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(c), "i"(a), "i"(b))
    tile_model_bf16(t, c, a, b);
}
/* c(rows, n) += a(rows, 4 quads) b(quads, n, 4), both signed, to int32. */
ZK_INLINE void tile_dp_int8(tiles *t, const int c, const int a, const int b) {
    TILE_ASM(t, "tdpbssd %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(c), "i"(a), "i"(b))
    tile_model_int8(t, c, a, b);
}
#undef TILE_ASM

/* The bits of the nearest bfloat16, ties to even; what is below 2^-126 becomes zero, a NaN a quiet
 * one. */
ZK_INLINE uint16_t tile_narrow(float x) {
    uint32_t u;
    memcpy(&u, &x, 4);
    const uint32_t near = (u + 0x7fff + (u >> 16 & 1)) >> 16;
    const uint32_t small = u & 0x7f800000 ? near : u >> 16 & 0x8000;
    return (uint16_t)((u & 0x7fffffff) > 0x7f800000 ? u >> 16 | 0x40 : small);
}

/* to(32) = low(16) and high(16) as bfloat16. */
ZK_INLINE void tile_narrow_32(tiles *t, const float *low, const float *high, uint16_t *to) {
#if TILE_INSTRUCTIONS
    if (!t) {
        vf a = vf_load(low), b = vf_load(high);
        __asm__("vcvtne2ps2bf16 %0, %1, %0" : "+v"(a) : "v"(b));
        memcpy(to, &a, sizeof a); /* bits need not lie where floats may */
        return;
    }
#endif
    (void)t;
    for (int i = 0; i < 16; i++) to[i] = tile_narrow(low[i]), to[i + 16] = tile_narrow(high[i]);
}
#endif

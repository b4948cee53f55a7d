/* The models of csrc/vectors/amx.h beside AMX's own instructions on random tiles: any sizes, any
 * bits (denormals, infinities, NaN). Usage: tile_trials COUNT. Prints what differs; status 2 when
 * this machine has no AMX. */
#define _GNU_SOURCE
#define ZK_ISA avx512
#define ZK_ISA_AVX512 1
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,fma,avx2")
#include "amx.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

int zk_amx(void) { return 1; }

static uint64_t state = 88172645463325252ull;
static uint32_t draw(void) {
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return (uint32_t)(state >> 16);
}

/* Numbers near 1, numbers near the least, any bits. */
static uint16_t number(int kind) {
    if (kind == 2) return (uint16_t)draw();
    const uint32_t exponent = kind ? draw() % 40 : 115 + draw() % 24;
    return (uint16_t)((draw() & 0x807f) | exponent << 7);
}

typedef struct {
    _Alignas(64) uint16_t a[512], b[512];
    _Alignas(64) float c[256];
    _Alignas(64) int32_t s[256];
    tile_shapes shapes;
} trial;

static trial drawn(int kind) {
    trial t = {.shapes = tile_full};
    for (int i = 0; i < 512; i++) t.a[i] = number(kind), t.b[i] = number(kind);
    for (int i = 0; i < 256; i++) {
        const uint32_t bits = (uint32_t)number(kind) << 16 | (draw() & 0xffff);
        memcpy(t.c + i, &bits, 4);
        t.s[i] = (int32_t)draw();
    }
    if (draw() % 3) return t;
    const uint32_t rows = 1 + draw() % 16, pairs = 1 + draw() % 16, n = 1 + draw() % 16;
    t.shapes.rows[0] = t.shapes.rows[1] = t.shapes.rows[3] = (uint8_t)rows;
    t.shapes.rows[2] = (uint8_t)pairs, t.shapes.bytes[1] = (uint16_t)(4 * pairs);
    t.shapes.bytes[0] = t.shapes.bytes[2] = t.shapes.bytes[3] = (uint16_t)(4 * n);
    return t;
}

ZK_INLINE void multiply(tiles *t, trial *x) {
    tile_config(t, &x->shapes);
    tile_load(t, 0, x->c, 64), tile_load(t, 1, x->a, 64), tile_load(t, 2, x->b, 64);
    tile_load(t, 3, x->s, 64);
    tile_dp_bf16(t, 0, 1, 2);
    tile_dp_int8(t, 3, 1, 2);
    tile_store(t, 0, x->c, 64), tile_store(t, 3, x->s, 64);
    tile_release(t);
}

static int differ(const trial *x, const trial *y) {
    for (int i = 0; i < 256; i++) {
        const int nan = isnan(x->c[i]) && isnan(y->c[i]);
        if (!nan && memcmp(x->c + i, y->c + i, 4)) return 1;
    }
    return memcmp(x->s, y->s, sizeof x->s) != 0;
}

static int narrowed_differ(const trial *x) {
    uint16_t hardware[32], model[32];
    tile_narrow_32(NULL, x->c, x->c + 16, hardware);
    tile_narrow_32(&(tiles){0}, x->c, x->c + 16, model);
    return memcmp(hardware, model, sizeof model) != 0;
}

int main(int argc, char **argv) {
    const int count = argc > 1 ? atoi(argv[1]) : 1000;
    static tiles model;
    int products = 0, narrowed = 0;
    if (syscall(SYS_arch_prctl, 0x1023, 18)) return 2;
    for (int i = 0; i < count; i++) {
        trial x = drawn(i % 3), y = x;
        narrowed += narrowed_differ(&x);
        multiply(NULL, &x);
        multiply(&model, &y);
        products += differ(&x, &y);
    }
    if (products || narrowed)
        printf("of %d: %d products, %d narrowed\n", count, products, narrowed);
    return products || narrowed;
}

/* Runs kernels of the base build on fixed inputs and prints their results as numbers, so that the
 * builds of two machines can be compared: tests/compare_kernels.py, make test-aarch64. Linked with
 * the kernel files alone: no threads, no Python. */
#include <stdio.h>
#include <stdlib.h>
#include "kernel.h"
#include "tiles.h"

extern const zk_kernel zk_elementwise_base[], zk_gemm_base[], zk_norm_base[], zk_softmax_base[],
    zk_reduce_base[];
static const zk_kernel *const tables[] = {zk_elementwise_base, zk_gemm_base, zk_norm_base,
                                          zk_softmax_base, zk_reduce_base};
enum { MOST = 8, FLOATS = 4096, SCRATCH = 1 << 24 };
#define NUMBER(name) TILE_##name,
enum { ZK_TILES(NUMBER) };

void zk_parallel(const zk_call *c, int64_t n, zk_task fn, void *ctx) {
    (void)c;
    for (int64_t i = 0; i < n; i++) fn(ctx, i, 0);
}

/* Shapes: outputs first; a 0 ends a shape. */
typedef struct {
    const char *label, *kernel;
    int nout, nin;
    int64_t dims[MOST][3];
    int nattr;
    double attr[16];
} trial;

static uint32_t state = 1;
/* Numbers of both signs and several sizes, the same on every machine. */
static float draw(int positive) {
    state = state * 1664525u + 1013904223u;
    const float u = (float)(state >> 8) / 16777216.f * 4 - 2;
    const float x = u * u * u;
    return positive ? (x < 0 ? -x : x) + 0.01f : x;
}

static const zk_kernel *find(const char *name) {
    for (size_t t = 0; t < sizeof tables / sizeof *tables; t++)
        for (const zk_kernel *k = tables[t]; k->name; k++)
            if (!strcmp(k->name, name)) return k;
    fprintf(stderr, "no kernel %s\n", name);
    exit(1);
}

static void run(const trial *t, int positive) {
    static float memory[MOST][FLOATS];
    static char scratch[SCRATCH] __attribute__((aligned(64)));
    zk_arg args[MOST] = {0};
    void *p[MOST];
    zk_result result = {0};
    state = 1;
    for (int i = 0; i < t->nout + t->nin; i++) {
        for (; args[i].ndim < 3 && t->dims[i][args[i].ndim]; args[i].ndim++)
            args[i].dims[args[i].ndim] = t->dims[i][args[i].ndim];
        p[i] = memory[i];
        for (int64_t j = 0; j < zk_count(args + i); j++) memory[i][j] = draw(positive);
    }
    zk_call c = {.a = args, .attr = t->attr, .nattr = t->nattr, .nout = t->nout, .nin = t->nin};
    c.threads = 1, c.scratch = scratch, c.result = &result;
    const zk_kernel *k = find(t->kernel);
    if (k->scratch && k->scratch(&c) > SCRATCH) exit(2);
    c.p = p;
    k->run(&c);
    for (int o = 0; o < t->nout; o++)
        for (int64_t j = 0; j < zk_count(args + o); j++)
            printf("%s %.9g\n", t->label, memory[o][j]);
}

/* A chain of one operation of `sources` inputs. */
static void run_tile(const char *label, int tile, int sources, int positive) {
    trial t = {.label = label, .kernel = "chain", .nout = 1, .nin = sources};
    t.attr[ZK_CHAIN_ROWS] = 1;
    double *a = t.attr + ZK_CHAIN_HEAD;
    for (int i = 0; i <= sources; i++) t.dims[i][0] = 1003;
    for (int i = 0; i < sources; i++) *a++ = 1, *a++ = 1003;
    a[ZK_CHAIN_TILE] = tile;
    for (int i = 0; i < ZK_CHAIN_SOURCES; i++) a[ZK_CHAIN_SOURCE + i] = i < sources ? 1 + i : 1;
    t.nattr = 16;
    run(&t, positive);
}

static const trial trials[] = {
    {"softmax", "softmax", 1, 1, {{7, 37}, {7, 37}}, 3, {7, 37, 1}},
    {"log_softmax", "log_softmax", 1, 1, {{7, 37}, {7, 37}}, 3, {7, 37, 1}},
    {"cross_entropy", "softmax_cross_entropy", 1, 2, {{9}, {9, 21}, {9, 21}}, 0, {0}},
    {"layer_norm", "layer_norm", 3, 3, {{5, 70}, {5}, {5}, {5, 70}, {70}, {70}}, 1, {1e-3}},
    {"rms_norm", "rms_norm", 2, 2, {{5, 70}, {5}, {5, 70}, {70}}, 1, {1e-3}},
    {"matmul", "matmul", 1, 2, {{13, 35}, {13, 29}, {29, 35}}, 3, {0}},
    {"matmul turned", "matmul", 1, 2, {{13, 35}, {29, 13}, {35, 29}}, 3, {1, 1, 0}},
    {"dense", "dense", 1, 3, {{13, 35}, {13, 29}, {29, 35}, {35}}, 2, {0}},
};

int main(void) {
    for (size_t i = 0; i < sizeof trials / sizeof *trials; i++) run(trials + i, 0);
#define ONE(name, positive) run_tile(#name, TILE_##name, 1, positive);
    ONE(exp, 0)
    ONE(expm1, 0)
    ONE(log, 1) ONE(log1p, 1) ONE(sin, 0) ONE(cos, 0) ONE(erf, 0) ONE(tanh, 0) ONE(sigmoid, 0)
        ONE(softplus, 0) ONE(sqrt, 1) ONE(rsqrt, 1) ONE(reciprocal, 1) ONE(gelu, 0) ONE(silu, 0)
            ONE(floor, 0) ONE(ceil, 0) ONE(round, 0) ONE(sign, 0) ONE(round_bfloat16, 0)
#define TWO(name, positive) run_tile(#name, TILE_##name, 2, positive);
                TWO(add, 0) TWO(multiply, 0) TWO(divide, 1) TWO(maximum, 0) TWO(power, 1)
                    TWO(mod, 0) return 0;
}

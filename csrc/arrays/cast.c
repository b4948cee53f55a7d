/* Casts between dtypes that chains do not know: int64, float64 and the rare whole numbers. Whole
 * numbers wrap around, floats are cut off towards 0, as in numpy. A block goes through int64 or
 * double, neither of which loses anything. */
#include "kernel.h"

#define BLOCK 1024

typedef struct {
    const zk_arg *y, *x;
    void *to;
    const void *from;
    int64_t n;
} cast_job;

typedef union {
    int64_t whole[BLOCK];
    double real[BLOCK];
} block;

#define READ(code, type, field)                                                        \
    case code:                                                                         \
        for (int64_t i = 0; i < n; i++) b->field[i] = ((const type *)j->from)[at + i]; \
        break;

static void read_block(const cast_job *j, block *b, int64_t at, int64_t n) {
    switch (j->x->dtype) {
        READ(ZK_F32, float, real)
        READ(ZK_F64, double, real)
        READ(ZK_I32, int32_t, whole)
        READ(ZK_I64, int64_t, whole)
        READ(ZK_U8, uint8_t, whole)
        READ(ZK_BOOL, uint8_t, whole)
        READ(ZK_I8, int8_t, whole)
        READ(ZK_I16, int16_t, whole)
        READ(ZK_U16, uint16_t, whole)
        READ(ZK_U32, uint32_t, whole)
    }
}

#define WRITE(code, type, value)                         \
    case code:                                           \
        if (real)                                        \
            for (int64_t i = 0; i < n; i++) {            \
                const double v = b->real[i];             \
                ((type *)j->to)[at + i] = (type)(value); \
            }                                            \
        else                                             \
            for (int64_t i = 0; i < n; i++) {            \
                const int64_t v = b->whole[i];           \
                ((type *)j->to)[at + i] = (type)(value); \
            }                                            \
        break;

static void write_block(const cast_job *j, const block *b, int64_t at, int64_t n) {
    const int real = j->x->dtype == ZK_F32 || j->x->dtype == ZK_F64;
    switch (j->y->dtype) {
        WRITE(ZK_F32, float, v)
        WRITE(ZK_F64, double, v)
        WRITE(ZK_I32, int32_t, v)
        WRITE(ZK_I64, int64_t, v)
        WRITE(ZK_U8, uint8_t, (int64_t)v)
        WRITE(ZK_BOOL, uint8_t, v != 0)
        WRITE(ZK_I8, int8_t, (int64_t)v)
        WRITE(ZK_I16, int16_t, (int64_t)v)
        WRITE(ZK_U16, uint16_t, (int64_t)v)
        WRITE(ZK_U32, uint32_t, (int64_t)v)
    }
}

static void cast_task(void *ctx, int64_t task, int thread) {
    const cast_job *j = ctx;
    block b;
    (void)thread;
    for (int64_t at = task * 16 * BLOCK; at < zk_min((task + 1) * 16 * BLOCK, j->n); at += BLOCK) {
        const int64_t n = zk_min(BLOCK, j->n - at);
        read_block(j, &b, at, n);
        write_block(j, &b, at, n);
    }
}

/* cast: y = x in y's dtype.  out y(n)  in x(n); not float16, bfloat16 or uint64 */
static void cast(const zk_call *c) {
    cast_job j = {c->a, c->a + 1, c->p[0], c->p[1], zk_count(c->a)};
    zk_parallel(c, zk_ceil(j.n, 16 * BLOCK), cast_task, &j);
}

const zk_kernel ZK_TABLE(cast)[] = {{"cast", cast, NULL}, {0}};

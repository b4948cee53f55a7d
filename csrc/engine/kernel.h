/* What a kernel file sees: the call, the row of the kernel table, the thread pool, and shape
 * helpers. Kernels allocate nothing and check nothing: a program is checked before it runs. */
#ifndef ZK_KERNEL_H
#define ZK_KERNEL_H
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include "zk.h"

enum {
    ZK_F32,
    ZK_F64,
    ZK_I32,
    ZK_I64,
    ZK_U8,
    ZK_BOOL,
    ZK_I8,
    ZK_I16,
    ZK_U16,
    ZK_U32,
    ZK_U64,
    ZK_BF16,
    ZK_F16
};

/* One running instruction. Arguments: outputs first, then inputs. */
typedef struct {
    void *const *p;     /* nout + nin pointers */
    const zk_arg *a;    /* their shapes */
    const double *attr; /* nattr numbers, in the order the op declares */
    int nattr, nout, nin;
    int threads;       /* thread numbers passed to tasks are below this */
    char *scratch;     /* 64-byte aligned, as many bytes as the scratch function asked for */
    zk_result *result; /* see zk_fail */
} zk_call;

typedef struct {
    const char *name;
    void (*run)(const zk_call *c);
    int64_t (*scratch)(const zk_call *c); /* NULL: none. Pointers in c->p are not set yet. */
} zk_kernel;

/* Runs fn(ctx, task, thread) for every task below n, on at most c->threads threads. */
typedef void (*zk_task)(void *ctx, int64_t task, int thread);
void zk_parallel(const zk_call *c, int64_t n, zk_task fn, void *ctx);

/* Leaves a job to threads of the pool, which take its tasks whenever they would wait for others;
 * all is done once zk_fulfil returns. There is one at a time: 0 when it was not taken, and then
 * zk_fulfil must not be called. fn may run a task twice, in a child that is forked meanwhile. */
int zk_promise(int threads, int64_t n, zk_task fn, void *ctx);
void zk_fulfil(void);

/* Data that only the run can find wrong (an id out of range): the first message wins. */
static inline void zk_fail(const zk_call *c, const char *message) {
    const char *none = NULL;
    __atomic_compare_exchange_n(&c->result->message, &none, message, 0, __ATOMIC_RELAXED,
                                __ATOMIC_RELAXED);
}

/* Whether the instruction set in use has the tile registers of AMX (vectors/amx.h). */
int zk_amx(void);

#define ZK_PASTE_(a, b, c) a##b##_##c
#define ZK_PASTE(a, b, c) ZK_PASTE_(a, b, c)
#define ZK_TABLE(file) ZK_PASTE(zk_, file, ZK_ISA)
#define ZK_INLINE static inline __attribute__((always_inline))

/* Number of elements in dims [from, to) of an argument. */
static inline int64_t zk_span(const zk_arg *a, int from, int to) {
    int64_t n = 1;
    for (int i = from; i < to; i++) n *= a->dims[i];
    return n;
}
static inline int64_t zk_count(const zk_arg *a) { return zk_span(a, 0, a->ndim); }
static inline int64_t zk_min(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t zk_max(int64_t a, int64_t b) { return a > b ? a : b; }
static inline int64_t zk_ceil(int64_t a, int64_t b) { return (a + b - 1) / b; }
static inline int64_t zk_align(int64_t bytes) { return (bytes + 63) & ~(int64_t)63; }
#endif

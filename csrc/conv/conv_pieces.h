/* Adds up partial sums: dw = the sum of all pieces, always in the same order. */
#ifndef ZK_CONV_PIECES_H
#define ZK_CONV_PIECES_H
#include "kernel.h"

#define ADD_FLOATS 4096 /* of a task */

typedef struct {
    const float *sums; /* (pieces, floats) */
    int64_t pieces, floats;
    float *dw; /* (floats) */
} zk_pieces;

static inline void add_task(void *ctx, int64_t task, int thread) {
    const zk_pieces *a = ctx;
    int64_t from = task * ADD_FLOATS, to = zk_min(from + ADD_FLOATS, a->floats);
    (void)thread;
    memcpy(a->dw + from, a->sums + from, (size_t)(to - from) * 4);
    for (int64_t i = 1; i < a->pieces; i++)
        for (int64_t k = from; k < to; k++) a->dw[k] += a->sums[i * a->floats + k];
}

static inline void add_pieces(const zk_call *c, const float *sums, int64_t pieces, int64_t floats,
                              float *dw) {
    zk_pieces a = {sums, pieces, floats, dw};
    zk_parallel(c, zk_ceil(floats, ADD_FLOATS), add_task, &a);
}
#endif

/* What batch and layer normalization share: how rows x channels are cut into tasks, and the sums of
 * tasks. Cuts do not depend on the thread count; sums run in float32 over a block and in double
 * from block to block. */
#ifndef ZK_NORM_H
#define ZK_NORM_H
#include "vec.h"

#define BLOCK 16384      /* floats of a block, about */
#define LEAST 32         /* wide rows of a block, at least */
#define TASK (4 * BLOCK) /* floats of a task, about */
#define TASKS 256        /* at most: each has its own partial sums */
#define NARROW 64        /* with fewer channels, FOLD rows are treated as one wide row */
#define FOLD 16

typedef struct {
    int64_t rows, channels, fold, width; /* a wide row is `fold` rows of `width` floats together */
    int64_t block, per, tasks;           /* rows of a block and of a task */
} cut;

ZK_INLINE cut cut_rows(const zk_arg *x) {
    cut k = {.rows = zk_span(x, 0, x->ndim - 1), .channels = x->dims[x->ndim - 1]};
    if (!k.channels) k.rows = 0;
    k.fold = k.channels < NARROW ? FOLD : 1;
    k.width = k.fold * k.channels;
    k.block = k.fold * zk_max(BLOCK / zk_max(k.width, 1), LEAST);
    k.per = k.block * zk_max(TASK / zk_max(k.block * k.channels, 1), 1);
    k.per = zk_max(k.per, k.block * zk_ceil(zk_ceil(k.rows, k.block), TASKS));
    k.tasks = zk_ceil(k.rows, k.per);
    return k;
}

typedef struct {
    const float *x, *g, *gamma, *beta, *mean, *rstd;
    float *y;      /* the result that looks like x */
    float *sums;   /* 3 * width for each thread */
    double *parts; /* 2 * channels for each task */
    double epsilon;
    float *row_mean, *row_rstd; /* layer_norm's statistics */
    cut k;
} job;

/* Scratch: parts, then sums. */
ZK_INLINE job new_job(const zk_call *c, const zk_arg *x) {
    job j = {.k = cut_rows(x), .parts = (double *)c->scratch};
    j.sums = (float *)(j.parts + 2 * j.k.channels * j.k.tasks);
    return j;
}

static int64_t norm_scratch(const zk_call *c) {
    cut k = cut_rows(c->a);
    return 16 * k.channels * k.tasks + 4 * k.width * 3 * c->threads;
}

ZK_INLINE double join_parts(const cut *k, const double *parts, int64_t at) {
    double sum = 0;
    for (int64_t t = 0; t < k->tasks; t++) sum += parts[2 * k->channels * t + at];
    return sum;
}
#endif

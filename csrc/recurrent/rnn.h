/* What the recurrent kernels share: a whole sequence is run by one task for some rows of the batch,
 * with the recurrent matrix packed once. In: the call. Out: the cut into tasks, the packed matrix
 * and the products of a step. It knows no gate.
 *
 * Rows never meet, and a row's sums do not depend on the rows beside it: so the cut may follow the
 * number of threads and no bit of the result does. */
#ifndef ZK_RNN_H
#define ZK_RNN_H
#include "gemm.h"

#define RNN_ROWS 18        /* rows of a task, at most, when the packed matrix fits the L2 cache */
#define RNN_MANY_ROWS 36   /* and when it does not, so that it is read less often */
#define RNN_RESIDENT 98304 /* floats of a matrix that stays in the L2 cache */

/* The common part of a call. All arrays are row-major with the time inside: (batch, steps, ...). */
typedef struct {
    const zk_call *call;
    int64_t batch, steps, units, gates;
    int64_t padded; /* units, rounded up to whole panels: the row length of scratch memory */
    int64_t pieces;
    int64_t local; /* floats of scratch memory of a thread */
    int reverse;
    const uint8_t *mask; /* (batch, steps), 0 where the state stays; NULL: nowhere */
    const float *u;      /* (units, gates * units) */
    float *packed, *scratch;
} rnn;

/* Sets all but pointers, from the recurrent matrix's shape and an array (batch, steps, ...). */
static rnn rnn_of(const zk_call *c, const zk_arg *sequence, const zk_arg *matrix) {
    rnn s = {.call = c, .batch = sequence->dims[0], .steps = sequence->dims[1]};
    s.units = matrix->dims[0], s.gates = matrix->dims[1] / zk_max(s.units, 1);
    s.padded = zk_ceil(s.units, PANEL) * PANEL;
    s.reverse = c->attr[0] != 0;
    const int64_t floats = s.gates * s.units * s.units;
    const int64_t rows = c->threads * (floats > RNN_RESIDENT ? RNN_MANY_ROWS : RNN_ROWS);
    s.pieces = zk_min(s.batch, c->threads * zk_ceil(s.batch, rows));
    return s;
}

/* Rows of the largest piece. */
static int64_t rnn_rows(const rnn *s) { return s->pieces ? zk_ceil(s->batch, s->pieces) : 0; }

static int64_t rnn_packed_floats(const rnn *s) { return s->gates * s->units * s->padded; }

static int64_t rnn_scratch(const rnn *s, int64_t local) {
    return (rnn_packed_floats(s) + s->call->threads * local) * (int64_t)sizeof(float);
}

/* Splits the scratch memory: the packed matrix, then `local` floats for each thread. */
static void rnn_place(rnn *s, int64_t local) {
    s->packed = (float *)s->call->scratch;
    s->scratch = s->packed + rnn_packed_floats(s);
    s->local = local;
}

/* The natural place in time of the step that runs as number `i`. */
ZK_INLINE int64_t rnn_time(const rnn *s, int64_t i) { return s->reverse ? s->steps - 1 - i : i; }

ZK_INLINE int rnn_masked(const rnn *s, int64_t row, int64_t t) {
    return s->mask && !s->mask[row * s->steps + t];
}

ZK_INLINE vf rnn_choose(int first, vf a, vf b) { return first ? a : b; }

/* The first n floats (VL, or fewer at the end of the units). */
ZK_INLINE vf rnn_load(const float *p, int64_t n) {
    return n < VL ? vf_load_first(p, n, (vf){0}) : vf_load(p);
}
ZK_INLINE void rnn_store(float *p, vf v, int64_t n) {
    if (n < VL) vf_store_first(p, v, n);
    else vf_store(p, v);
}

/* panel(steps, 16) = b(steps, cols), zero beyond cols */
static void rnn_pack_rows(const float *b, int64_t brow, int64_t steps, int64_t cols, float *panel) {
    for (int64_t t = 0; t < steps; t++, b += brow, panel += PANEL)
        for (int64_t i = 0; i < PANEL; i++) panel[i] = i < cols ? b[i] : 0;
}

/* panel(steps, 16) = b(cols, steps) turned, zero beyond cols */
static void rnn_pack_turned(const float *b, int64_t brow, int64_t steps, int64_t cols,
                            float *panel) {
    for (int64_t i = 0; i < PANEL; i++)
        for (int64_t t = 0; t < steps; t++) panel[t * PANEL + i] = i < cols ? b[i * brow + t] : 0;
}

/* Block `block` of 16 units: one panel (units, 16) for each gate, side by side. */
static inline void rnn_pack_block(void *ctx, int64_t block, int thread) {
    const rnn *s = ctx;
    const int64_t cols = zk_min(PANEL, s->units - block * PANEL), size = s->units * PANEL;
    (void)thread;
    for (int64_t g = 0; g < s->gates; g++)
        rnn_pack_rows(s->u + g * s->units + block * PANEL, s->gates * s->units, s->units, cols,
                      s->packed + (block * s->gates + g) * size);
}

/* Block `block` of 16 rows of the matrix, turned: a panel (gates * units, 16). */
static inline void rnn_pack_turned_block(void *ctx, int64_t block, int thread) {
    const rnn *s = ctx;
    const int64_t width = s->gates * s->units;
    (void)thread;
    rnn_pack_turned(s->u + block * PANEL * width, width, width,
                    zk_min(PANEL, s->units - block * PANEL), s->packed + block * width * PANEL);
}

static void rnn_pack(rnn *s, zk_task block) { zk_parallel(s->call, s->padded / PANEL, block, s); }

/* z(rows, 16 * panels) = a(rows, k) b, or += if `adds`; b is panels (k, 16), one after another. */
static void rnn_product(const float *a, int64_t arow, int64_t rows, const float *b, int64_t k,
                        int64_t panels, float *z, int64_t zrow, int adds) {
    const int64_t tiles = zk_ceil(rows, GEMM_ROWS), small = rows / tiles, larger = rows % tiles;
    const int64_t wide = GEMM_WIDE(small + (larger > 0));
    for (int64_t p = 0, w; p < panels; p += w) {
        w = panels - p < wide ? 1 : wide;
        gemm_tile t = {.a = a, .b = b + p * k * PANEL, .c = z + p * PANEL, .k = k};
        t.add = adds ? t.c : NULL, t.cols = (int)w * PANEL;
        t.arow = arow, t.acol = 1, t.bstep = PANEL, t.bpanel = k * PANEL;
        t.crow = zrow, t.addrow = adds ? zrow : 0;
        for (int64_t i = 0; i < tiles; i++) {
            const int64_t n = small + (i < larger);
            gemm_kernel[n - 1][w > 1](&t);
            t.a += n * arow, t.c += n * zrow, t.add += n * t.addrow;
        }
    }
}

/* Copies rows between an array (batch, units) and scratch rows, `padded` floats apart. NULL as the
 * source means zeros. */
static void rnn_fetch(const rnn *s, const float *from, int64_t rows, float *to) {
    for (int64_t r = 0; r < rows; r++)
        for (int64_t j = 0; j < s->padded; j++)
            to[r * s->padded + j] = from && j < s->units ? from[r * s->units + j] : 0;
}
static void rnn_deliver(const rnn *s, const float *from, int64_t rows, float *to) {
    for (int64_t r = 0; to && r < rows; r++)
        memcpy(to + r * s->units, from + r * s->padded, (size_t)s->units * sizeof *to);
}

/* A place in an array, NULL where the array is. */
ZK_INLINE float *rnn_at(float *p, int64_t offset) { return p ? p + offset : NULL; }

/* Fetches `count` places that are `step` floats apart, `far` floats away. */
ZK_INLINE void rnn_prefetch(const float *p, int count, int64_t step, int64_t far) {
    for (int g = 0; g < count; g++) __builtin_prefetch(p + far + g * step);
}

/* Scratch rows of a forward task: states before and after the step, and products of a block. */
typedef struct {
    float *h, *next, *z;
} rnn_memory;

/* One step of a layer at time t: states from m->h to m->next, for rows from b0 on. */
typedef void (*rnn_step)(const void *layer, const rnn_memory *m, int64_t b0, int64_t rows,
                         int64_t t);

/* Runs the whole sequence for the rows of a task. Scratch: two states, then the layer's own. */
static void rnn_run(const rnn *s, rnn_step step, const void *layer, const float *h0, float *h,
                    int64_t task, int thread) {
    const int64_t b0 = s->batch * task / s->pieces, b1 = s->batch * (task + 1) / s->pieces;
    const int64_t size = rnn_rows(s) * s->padded;
    float *at = s->scratch + thread * s->local;
    rnn_memory m = {at, at + size, at + 2 * size};
    rnn_fetch(s, h0 + b0 * s->units, b1 - b0, m.h);
    for (int64_t i = 0; i < s->steps; i++) {
        step(layer, &m, b0, b1 - b0, rnn_time(s, i));
        float *before = m.h;
        m.h = m.next, m.next = before;
    }
    rnn_deliver(s, m.h, b1 - b0, rnn_at(h, b0 * s->units));
}

/* One step backwards: dh is the gradient of the state after the step, then before it. */
typedef void (*rnn_back_step)(const void *layer, float *dh, float *local, int64_t b0, int64_t rows,
                              int64_t t);

/* Runs the whole sequence backwards for the rows of a task. dh: NULL, or of the last state. */
static void rnn_run_back(const rnn *s, rnn_back_step step, const void *layer, const float *dh,
                         float *dh0, int64_t task, int thread) {
    const int64_t b0 = s->batch * task / s->pieces, b1 = s->batch * (task + 1) / s->pieces;
    float *carried = s->scratch + thread * s->local;
    rnn_fetch(s, dh ? dh + b0 * s->units : NULL, b1 - b0, carried);
    for (int64_t i = s->steps - 1; i >= 0; i--)
        step(layer, carried, carried + rnn_rows(s) * s->padded, b0, b1 - b0, rnn_time(s, i));
    rnn_deliver(s, carried, b1 - b0, dh0 + b0 * s->units);
}

/* An output, or NULL when its flag says that nobody reads it. `flag`: place of the first one. */
static float *rnn_output(const zk_call *c, int i, int flag) {
    return c->attr[flag + i] != 0 ? c->p[i] : NULL;
}

/* The next optional input, or NULL when its flag is 0. */
static const void *rnn_optional(const zk_call *c, int flag, int *next) {
    return c->attr[flag] != 0 ? c->p[c->nout + (*next)++] : NULL;
}
#endif

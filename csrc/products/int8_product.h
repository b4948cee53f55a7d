/* Products of int8 rows with packed weights, scaled back as they are stored: what dense_int8 and
 * conv_int8 share. In: rounded rows, in images of some places each; a list of taps; weights, 1 /
 * scales, bias, residual. Out: float32, int8 for the next layer, or both. Work is cut by shapes
 * alone, and sums are whole numbers: neither threads nor the form of the micro-kernel change a bit.
 *
 * Places are computed in blocks of 16, two blocks by two panels at once: 32 x 32 sums, four tiles
 * of AMX. With a border of zeros beside each row of an image, a whole image is one run of places;
 * those on the border are computed and left out. */
#ifndef ZK_INT8_PRODUCT_H
#define ZK_INT8_PRODUCT_H
#include "amx.h"
#include "conv_act.h"
#include "gemm_int8.h"
#include "int8_round.h"

#define INT8_BLOCK 16                /* places */
#define INT8_BLOCKS 32               /* of a task, at most */
#define INT8_WEIGHTS (1 << 20)       /* bytes of w that a task reads again and again, from L2 */
#define INT8_TASK (1 << 22)          /* multiplications of a task, about */
#define INT8_FEW 4                   /* places for which tiles don't pay */
#define INT8_SQUARE 32               /* places and columns computed at once */
#define INT8_BEHIND (INT8_BLOCK + 1) /* rows that may be read behind the last place */

typedef struct {
    int8_shape shape;
    const int8_t *x;         /* of the first image */
    int64_t images, image;   /* how many, bytes of one */
    int64_t places;          /* of an image, those on the border too */
    int64_t period, columns; /* of each `period` places the first `columns` are stored */
    const float *step;       /* 1 / scale of the inputs */
    int64_t per_step;        /* stored places that have the same one */
    const int8_t *w;
    const float *wstep, *bias, *residual;
    float *y;
    int8_t *q;
    float scale; /* of q */
    int64_t n;
    int act;
    int64_t rows, parts; /* blocks of a task; parts of the panels */
    char *scratch;       /* of each thread: int8_thread_bytes */
} int8_job;

/* A place of a block: the row of y, or -1, and the step of its input. */
typedef struct {
    int64_t at;
    float step;
} int8_place;

/* What a thread keeps: sums of a square, places of the blocks of a task. */
typedef struct {
    int32_t sums[INT8_SQUARE * INT8_SQUARE];
    int8_place places[INT8_BLOCKS * INT8_BLOCK];
} int8_thread;

static inline int64_t int8_thread_bytes(int threads) {
    return threads * zk_align((int64_t)sizeof(int8_thread));
}

static inline int64_t int8_blocks_of(const int8_job *j) { return zk_ceil(j->places, INT8_BLOCK); }

/* Where block `b` of all images begins. */
static inline const int8_t *int8_block(const int8_job *j, int64_t b) {
    const int64_t each = int8_blocks_of(j);
    return j->x + b / each * j->image + b % each * INT8_BLOCK * j->shape.row;
}

/* The places of blocks [b, end). */
static void int8_list_places(const int8_job *j, int64_t b, int64_t end, int8_place *to) {
    const int64_t each = int8_blocks_of(j);
    const int64_t stored = zk_ceil(j->places, j->period) * j->columns; /* of an image */
    for (; b < end; b++)
        for (int64_t i = 0, p = b % each * INT8_BLOCK; i < INT8_BLOCK; i++, p++, to++) {
            const int inside = p < j->places && p % j->period < j->columns;
            to->at = inside ? b / each * stored + p / j->period * j->columns + p % j->period : -1;
            to->step = inside ? j->step[to->at / j->per_step] : 0;
        }
}

/* 16 by 16 sums each: places of x0 and x1, panels of w0 and w1, whose registers are 0 to 3. */
ZK_INLINE void int8_tiles(tiles *t, const int8_shape *s, const int8_t *const *x,
                          const int8_t *const *w, const int blocks, const int panels,
                          int32_t *sums) {
    tile_zero(t, 0);
    if (panels > 1) tile_zero(t, 1);
    if (blocks > 1) tile_zero(t, 2);
    if (panels > 1 && blocks > 1) tile_zero(t, 3);
    const int8_t *w0 = w[0], *w1 = w[panels - 1];
    for (int64_t tap = 0; tap < s->taps; tap++) {
        const int8_t *x0 = x[0] + s->offsets[tap], *x1 = x[blocks - 1] + s->offsets[tap];
        for (int64_t g = 0; g < s->groups;
             g++, x0 += 64, x1 += 64, w0 += INT8_GROUP, w1 += INT8_GROUP) {
            tile_load(t, 6, w0, 64);
            tile_load(t, 4, x0, s->row);
            tile_dp_int8(t, 0, 4, 6);
            if (blocks > 1) {
                tile_load(t, 5, x1, s->row);
                tile_dp_int8(t, 2, 5, 6);
            }
            if (panels > 1) {
                tile_load(t, 7, w1, 64);
                tile_dp_int8(t, 1, 4, 7);
                if (blocks > 1) tile_dp_int8(t, 3, 5, 7);
            }
        }
    }
    const int64_t row = INT8_SQUARE * 4;
    int32_t *below = sums + INT8_BLOCK * INT8_SQUARE;
    tile_store(t, 0, sums, row);
    if (panels > 1) tile_store(t, 1, sums + PANEL, row);
    if (blocks > 1) tile_store(t, 2, below, row);
    if (panels > 1 && blocks > 1) tile_store(t, 3, below + PANEL, row);
}

/* The sums of one or two blocks by one or two panels, on tiles. */
ZK_INLINE void int8_square_on(tiles *t, const int8_shape *s, const int8_t *const *x,
                              const int8_t *const *w, int blocks, int panels, int32_t *sums) {
    if (blocks > 1 && panels > 1) int8_tiles(t, s, x, w, 2, 2, sums);
    else if (blocks > 1) int8_tiles(t, s, x, w, 2, 1, sums);
    else if (panels > 1) int8_tiles(t, s, x, w, 1, 2, sums);
    else int8_tiles(t, s, x, w, 1, 1, sums);
}

/* The same by the micro-kernel; only places that exist are computed. */
static void int8_square(const int8_shape *s, const int8_t *const *x, const int8_t *const *w,
                        const int64_t *rows, int blocks, int panels, int32_t *sums) {
    for (int b = 0; b < blocks; b++)
        for (int p = 0; p < panels; p++)
            int8_multiply((int8_tile){s, x[b], w[p],
                                      sums + b * INT8_BLOCK * INT8_SQUARE + p * PANEL, INT8_SQUARE},
                          rows[b]);
}

/* A vector of one place: y = act(sums * step * wstep + bias + residual). */
ZK_INLINE vf int8_back(const int32_t *sums, vf slope, vf bias, const float *residual,
                       const int act) {
    vf r = vf_from_int(*(const vi *)sums) * slope + bias;
    if (residual) r += vf_load(residual);
    return conv_activate(r, act);
}

/* A whole panel of all places of a square. */
ZK_INLINE void int8_put_panel(const int8_job *j, const int8_place *place, int64_t count,
                              const int32_t *sums, int64_t column, const int act) {
    float own[PANEL];
    vf wstep[PV], slope[PV], bias[PV];
    float step = 0;
    for (int v = 0; v < PV; v++) {
        wstep[v] = vf_load(j->wstep + column + v * VL);
        bias[v] = vf_load(j->bias + column + v * VL), slope[v] = (vf){0};
    }
    for (int64_t r = 0; r < count; r++, place++, sums += INT8_SQUARE) {
        if (place->at < 0) continue;
        if (place->step != step) { /* NaN is never equal */
            step = place->step;
            for (int v = 0; v < PV; v++) slope[v] = vf_set(step) * wstep[v];
        }
        const int64_t at = place->at * j->n + column;
        float *y = j->y ? j->y + at : own;
        for (int v = 0; v < PV; v++) {
            const float *residual = j->residual ? j->residual + at + v * VL : NULL;
            vf_store(y + v * VL, int8_back(sums + v * VL, slope[v], bias[v], residual, act));
        }
        if (j->q) int8_round(y, PANEL, j->scale, j->q + at);
    }
}

/* The same for the last columns, fewer than a panel. */
static void int8_put_some(const int8_job *j, const int8_place *place, int64_t count,
                          const int32_t *sums, int64_t column, int64_t some) {
    const size_t bytes = (size_t)some * sizeof(float);
    float wstep[PANEL] = {0}, bias[PANEL] = {0}, more[PANEL] = {0}, y[PANEL];
    memcpy(wstep, j->wstep + column, bytes), memcpy(bias, j->bias + column, bytes);
    for (int64_t r = 0; r < count; r++, place++, sums += INT8_SQUARE) {
        if (place->at < 0) continue;
        const int64_t at = place->at * j->n + column;
        if (j->residual) memcpy(more, j->residual + at, bytes);
        for (int v = 0; v < PANEL; v += VL) {
            const vf slope = vf_set(place->step) * vf_load(wstep + v);
            const float *residual = j->residual ? more + v : NULL;
            vf_store(y + v, int8_back(sums + v, slope, vf_load(bias + v), residual, j->act));
        }
        if (j->y) memcpy(j->y + at, y, bytes);
        if (j->q) int8_round(y, some, j->scale, j->q + at);
    }
}

/* Stores a square from column `column` on. */
ZK_INLINE void int8_put_square(const int8_job *j, const int8_place *places, int64_t count,
                               const int32_t *sums, int64_t column, int panels, const int act) {
    for (int p = 0; p < panels; p++, column += PANEL, sums += PANEL)
        if (j->n - column >= PANEL) int8_put_panel(j, places, count, sums, column, act);
        else int8_put_some(j, places, count, sums, column, j->n - column);
}

/* Blocks [b, b + blocks) by panels [p, p + panels). */
ZK_INLINE void int8_one(tiles *t, const int8_job *j, const int on_tiles, int64_t b, int blocks,
                        int64_t p, int panels, const int8_place *places, int32_t *sums) {
    const int8_shape *s = &j->shape;
    const int64_t panel = s->taps * s->groups * INT8_GROUP, count = blocks * INT8_BLOCK;
    const int8_t *w[2] = {j->w + p * panel, j->w + (p + panels - 1) * panel};
    const int8_t *x[2] = {int8_block(j, b), int8_block(j, b + blocks - 1)};
    if (on_tiles) int8_square_on(t, s, x, w, blocks, panels, sums);
    else {
        int64_t rows[2];
        for (int i = 0; i < blocks; i++)
            rows[i] = zk_min(INT8_BLOCK, j->places - (b + i) % int8_blocks_of(j) * INT8_BLOCK);
        int8_square(s, x, w, rows, blocks, panels, sums);
    }
    const int64_t c = p * PANEL;
    if (j->act == ZK_RELU) int8_put_square(j, places, count, sums, c, panels, ZK_RELU);
    else if (j->act == ZK_RELU6) int8_put_square(j, places, count, sums, c, panels, ZK_RELU6);
    else if (j->act == ZK_LINEAR) int8_put_square(j, places, count, sums, c, panels, ZK_LINEAR);
    else int8_put_square(j, places, count, sums, c, panels, j->act);
}

/* Blocks [b0, b1) by panels [p0, p1): all columns of 32 places first, so that rows of y are written
 * whole. */
ZK_INLINE void int8_part(tiles *t, const int8_job *j, const int on_tiles, int64_t b0, int64_t b1,
                         int64_t p0, int64_t p1, int8_thread *own) {
    for (int64_t b = b0; b < b1; b += 2)
        for (int64_t p = p0; p < p1; p += 2)
            int8_one(t, j, on_tiles, b, (int)zk_min(2, b1 - b), p, (int)zk_min(2, p1 - p),
                     own->places + (b - b0) * INT8_BLOCK, own->sums);
}

static void int8_task(void *ctx, int64_t task, int thread) {
    const int8_job *j = ctx;
    int8_thread *own = (int8_thread *)(j->scratch + thread * int8_thread_bytes(1));
    const int64_t all = j->images * int8_blocks_of(j), panels = zk_ceil(j->n, PANEL);
    const int64_t part = task % j->parts, pairs = zk_ceil(panels, 2);
    const int64_t b0 = task / j->parts * j->rows, b1 = zk_min(b0 + j->rows, all);
    const int64_t p0 = pairs * part / j->parts * 2;
    const int64_t p1 = zk_min(pairs * (part + 1) / j->parts * 2, panels);
    int8_list_places(j, b0, b1, own->places);
    if (j->places > INT8_FEW && tiles_real()) {
        tile_config(NULL, &tile_full);
        int8_part(NULL, j, 1, b0, b1, p0, p1, own);
        tile_release(NULL);
        return;
    }
#if defined(ZK_EMULATE_AMX)
    tiles model;
    tile_config(&model, &tile_full);
    int8_part(&model, j, 1, b0, b1, p0, p1, own);
    tile_release(&model);
#else
    int8_part(NULL, j, 0, b0, b1, p0, p1, own);
#endif
}

/* Cuts the work and does it. */
static void int8_compute(const zk_call *c, int8_job *j) {
    const int64_t all = j->images * int8_blocks_of(j), pairs = zk_ceil(zk_ceil(j->n, PANEL), 2);
    if (!all || !j->n) return;
    const int64_t inputs = INT8_BLOCK * j->shape.taps * j->shape.steps * ZK_INT8_STEP;
    const double each = (double)inputs * (double)j->n, work = each * (double)all / INT8_TASK;
    const int64_t fit = (int64_t)(INT8_TASK / zk_max(1, (int64_t)each)) & ~1;
    const int64_t bytes = zk_ceil(j->n, PANEL) * j->shape.taps * j->shape.groups * INT8_GROUP;
    j->rows = zk_min(all, zk_max(2, zk_min(fit, INT8_BLOCKS)));
    j->parts = zk_max((int64_t)work / zk_ceil(all, j->rows), zk_ceil(bytes, INT8_WEIGHTS));
    j->parts = zk_max(1, zk_min(pairs, j->parts));
    zk_parallel(c, zk_ceil(all, j->rows) * j->parts, int8_task, j);
}
#endif

/* Products of int8 rows with packed weights, scaled back as they are stored: what dense_int8 and
 * conv_int8 share. In: rounded rows, in images of some places each; a list of taps; weights, 1 /
 * scales, bias, residual. Out: float32, int8 for the next layer, or both. Work is cut by shapes
 * alone, and sums are whole numbers: neither threads nor the form of the micro-kernel change a bit.
 */
#ifndef ZK_INT8_PRODUCT_H
#define ZK_INT8_PRODUCT_H
#include "conv_act.h"
#include "gemm_int8.h"
#include "int8_round.h"

typedef struct {
    tap_job taps;
    int64_t steps;     /* of 4 inputs in a tap */
    const float *step; /* 1 / scale of the inputs */
    int64_t per_step;  /* stored places that have the same one */
    const int8_t *w;   /* panels (taps, groups * 16, 16, 4) */
    const float *wstep, *bias, *residual;
    float *y;
    int8_t *q;
    float scale; /* of q */
    int64_t n;
    int act;
    char *scratch; /* of each thread: int8_thread_bytes */
} int8_job;

/* What a thread keeps: sums of a square; of the places of a task the rows of y, or -1, and the
 * steps of their inputs. */
typedef struct {
    int32_t sums[TAP_SQUARE * TAP_SQUARE];
    int64_t places[TAP_BLOCKS * TAP_BLOCK];
    float steps[TAP_BLOCKS * TAP_BLOCK];
} int8_thread;

/* The places of blocks of a task, from one on. */
typedef struct {
    const int64_t *at;
    const float *step;
    int64_t count;
} int8_places;

static inline int64_t int8_thread_bytes(int threads) {
    return threads * zk_align((int64_t)sizeof(int8_thread));
}

/* The sums of a square by the micro-kernel; only places that exist are computed. */
static void int8_square(const int8_job *j, const char *const *x, const char *const *w, int64_t b,
                        int blocks, int panels, int32_t *sums) {
    for (int i = 0; i < blocks; i++) {
        const int64_t first = (b + i) % tap_blocks(&j->taps) * TAP_BLOCK;
        for (int p = 0; p < panels; p++)
            int8_multiply((int8_tile){&j->taps.shape, (const int8_t *)x[i], (const int8_t *)w[p],
                                      j->steps, sums + i * TAP_BLOCK * TAP_SQUARE + p * PANEL,
                                      TAP_SQUARE},
                          zk_min(TAP_BLOCK, j->taps.places - first));
    }
}

/* A vector of one place: y = act(sums * step * wstep + bias + residual). */
ZK_INLINE vf int8_back(const int32_t *sums, vf slope, vf bias, const float *residual,
                       const int act) {
    vf r = vf_from_int(*(const vi *)sums) * slope + bias;
    if (residual) r += vf_load(residual);
    return conv_activate(r, act);
}

/* A whole panel of all places of a square. */
ZK_INLINE void int8_put_panel(const int8_job *j, const int8_places *places, const int32_t *sums,
                              int64_t column, const int act) {
    float own[PANEL];
    vf wstep[PV], slope[PV], bias[PV];
    float step = 0;
    for (int v = 0; v < PV; v++) {
        wstep[v] = vf_load(j->wstep + column + v * VL);
        bias[v] = vf_load(j->bias + column + v * VL), slope[v] = (vf){0};
    }
    for (int64_t r = 0; r < places->count; r++, sums += TAP_SQUARE) {
        if (places->at[r] < 0) continue;
        if (places->step[r] != step) { /* NaN is never equal */
            step = places->step[r];
            for (int v = 0; v < PV; v++) slope[v] = vf_set(step) * wstep[v];
        }
        const int64_t at = places->at[r] * j->n + column;
        float *y = j->y ? j->y + at : own;
        for (int v = 0; v < PV; v++) {
            const float *residual = j->residual ? j->residual + at + v * VL : NULL;
            vf_store(y + v * VL, int8_back(sums + v * VL, slope[v], bias[v], residual, act));
        }
        if (j->q) int8_round(y, PANEL, j->scale, j->q + at);
    }
}

/* The same for the last columns, fewer than a panel. */
static void int8_put_some(const int8_job *j, const int8_places *places, const int32_t *sums,
                          int64_t column, int64_t some) {
    const size_t bytes = (size_t)some * sizeof(float);
    float wstep[PANEL] = {0}, bias[PANEL] = {0}, more[PANEL] = {0}, y[PANEL];
    memcpy(wstep, j->wstep + column, bytes), memcpy(bias, j->bias + column, bytes);
    for (int64_t r = 0; r < places->count; r++, sums += TAP_SQUARE) {
        if (places->at[r] < 0) continue;
        const int64_t at = places->at[r] * j->n + column;
        if (j->residual) memcpy(more, j->residual + at, bytes);
        for (int v = 0; v < PANEL; v += VL) {
            const vf slope = vf_set(places->step[r]) * vf_load(wstep + v);
            const float *residual = j->residual ? more + v : NULL;
            vf_store(y + v, int8_back(sums + v, slope, vf_load(bias + v), residual, j->act));
        }
        if (j->y) memcpy(j->y + at, y, bytes);
        if (j->q) int8_round(y, some, j->scale, j->q + at);
    }
}

/* Stores a square from column `column` on. */
ZK_INLINE void int8_put_square(const int8_job *j, const int8_places *places, const int32_t *sums,
                               int64_t column, int panels, const int act) {
    for (int p = 0; p < panels; p++, column += PANEL, sums += PANEL)
        if (j->n - column >= PANEL) int8_put_panel(j, places, sums, column, act);
        else int8_put_some(j, places, sums, column, j->n - column);
}

/* Blocks [b, b + blocks) by panels [p, p + panels). */
ZK_INLINE void int8_one(tiles *t, const int8_job *j, const int on_tiles, int64_t b, int blocks,
                        int64_t p, int panels, const int8_places *places, int32_t *sums) {
    const tap_shape *s = &j->taps.shape;
    const int64_t panel = s->taps * s->groups * TAP_GROUP, c = p * PANEL;
    const char *weights = (const char *)j->w;
    const char *w[2] = {weights + p * panel, weights + (p + panels - 1) * panel};
    const char *x[2] = {tap_block(&j->taps, b), tap_block(&j->taps, b + blocks - 1)};
    if (on_tiles) tap_square(t, s, x, w, NULL, 0, blocks, panels, (char *)sums);
    else int8_square(j, x, w, b, blocks, panels, sums);
    if (j->act == ZK_RELU) int8_put_square(j, places, sums, c, panels, ZK_RELU);
    else if (j->act == ZK_RELU6) int8_put_square(j, places, sums, c, panels, ZK_RELU6);
    else if (j->act == ZK_LINEAR) int8_put_square(j, places, sums, c, panels, ZK_LINEAR);
    else int8_put_square(j, places, sums, c, panels, j->act);
}

/* All columns of 32 places first, so that rows of y are written whole. */
ZK_INLINE void int8_part(tiles *t, const int8_job *j, const int on_tiles, tap_part part,
                         int8_thread *own) {
    for (int64_t b = part.b0; b < part.b1; b += 2) {
        const int64_t first = (b - part.b0) * TAP_BLOCK;
        const int blocks = (int)zk_min(2, part.b1 - b);
        const int8_places places = {own->places + first, own->steps + first, blocks * TAP_BLOCK};
        for (int64_t p = part.p0; p < part.p1; p += 2)
            int8_one(t, j, on_tiles, b, blocks, p, (int)zk_min(2, part.p1 - p), &places, own->sums);
    }
}

static void int8_task(void *ctx, int64_t task, int thread) {
    const int8_job *j = ctx;
    int8_thread *own = (int8_thread *)(j->scratch + thread * int8_thread_bytes(1));
    const tap_part part = tap_part_of(&j->taps, task);
    tap_list_places(&j->taps, part.b0, part.b1, own->places);
    for (int64_t i = 0; i < (part.b1 - part.b0) * TAP_BLOCK; i++)
        own->steps[i] = own->places[i] < 0 ? 0 : j->step[own->places[i] / j->per_step];
    if (j->taps.places > INT8_FEW && tiles_real()) {
        tile_config(NULL, &tile_full);
        int8_part(NULL, j, 1, part, own);
        tile_release(NULL);
        return;
    }
#if defined(ZK_EMULATE_AMX)
    tiles model;
    tile_config(&model, &tile_full);
    int8_part(&model, j, 1, part, own);
    tile_release(&model);
#else
    int8_part(NULL, j, 0, part, own);
#endif
}

/* Cuts the work and does it. */
static void int8_compute(const zk_call *c, int8_job *j) {
    j->taps.n = j->n;
    zk_parallel(c, tap_cut(&j->taps), int8_task, j);
}
#endif

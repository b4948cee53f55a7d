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
#include "stored.h"

typedef int8_t int8_some __attribute__((vector_size(VL), aligned(1), may_alias));

/* What is added before the activation, like y: float32, bits of bfloat16, or int8 with the step of
 * each image. */
typedef struct {
    const char *p; /* NULL: nothing */
    const float *step;
    int64_t size; /* bytes of a number */
} int8_more;

typedef struct {
    tap_job taps;
    int64_t steps;     /* of 4 inputs in a tap */
    const float *step; /* 1 / scale of the inputs */
    int64_t per_step;  /* stored places that have the same one */
    const int8_t *w;   /* panels (taps, groups * 16, 16, 4) */
    const float *wstep, *bias;
    int8_more more;
    stored y;     /* float32 or bits; p: NULL or the results */
    int8_t *q;    /* NULL, or the results rounded */
    float scale;  /* of q */
    int positive; /* q is 0..255 */
    int64_t n;
    int act;
    char *scratch; /* of each thread: int8_thread_bytes */
} int8_job;

/* What a thread keeps: sums of a square; of the places of a task the rows of y, or -1, and the
 * steps of their inputs and of what is added. */
typedef struct {
    int32_t sums[TAP_SQUARE * TAP_SQUARE];
    int64_t places[TAP_BLOCKS * TAP_BLOCK];
    float steps[TAP_BLOCKS * TAP_BLOCK], more[TAP_BLOCKS * TAP_BLOCK];
} int8_thread;

/* The places of blocks of a task, from one on. */
typedef struct {
    const int64_t *at;
    const float *step, *more;
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

/* VL bytes as floats. gcc 12 widens vectors of bytes number by number. */
ZK_INLINE vf int8_wide(const int8_t *q) {
#if defined(ZK_ISA_AVX512) && !defined(ZK_EMULATE_AVX512)
    return (vf)_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)q)));
#elif defined(ZK_ISA_AVX2)
    return (vf)_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)q)));
#else
    return vf_from_int(__builtin_convertvector(*(const int8_some *)q, vi));
#endif
}

/* VL numbers of what is added. */
ZK_INLINE vf int8_more_load(const char *p, const int64_t size, float step) {
    if (size == 1) return int8_wide((const int8_t *)p) * vf_set(step);
    if (size == 2) return vf_widened(*(const stored_bits *)p);
    return vf_load((const float *)p);
}

/* A vector of one place: act(sums * slope + bias + what is added, if anything). */
ZK_INLINE vf int8_back(const int32_t *sums, vf slope, vf bias, const char *more, const int64_t size,
                       float step, const int act) {
    vf r = vf_from_int(*(const vi *)sums) * slope + bias;
    if (more) r += int8_more_load(more, size, step);
    return conv_activate(r, act);
}

/* What stores of squares are compiled for: bytes of a number of the residual and of y, 0 for none;
 * whether q is made. ASK: the job says so. */
enum { ASK = -1 };

/* Whole panels of all places of a square. */
ZK_INLINE void int8_put_whole(const int8_job *job, const int8_places *where, const int32_t *sums,
                              int64_t column, const int panels, const int act, const int form,
                              const int form_y, const int makes_q) {
    const int8_job j = *job; /* in registers: stores of bytes might change what lies in memory */
    const int8_places places = *where;
    const int64_t size = form == ASK ? j.more.size : form, later = TAP_SQUARE * j.n;
    const char *more = form == ASK ? j.more.p : form ? j.more.p : NULL;
    char *y = form_y ? j.y.p : NULL;
    const int64_t wide = form_y == ASK ? (j.y.form == ZK_WIDE ? 4 : 2) : form_y;
    const stored bits = {y, ZK_NARROW};
    int8_t *q = makes_q ? j.q : NULL;
    vf slope[2 * PV], bias[2 * PV];
    float step = 0;
    for (int v = 0; v < panels * PV; v++)
        bias[v] = vf_load(j.bias + column + v * VL), slope[v] = (vf){0};
    for (int64_t r = 0; r < places.count; r++, sums += TAP_SQUARE) {
        if (places.at[r] < 0) continue;
        if (places.step[r] != step) { /* NaN is never equal */
            step = places.step[r];
            for (int v = 0; v < panels * PV; v++)
                slope[v] = vf_set(step) * vf_load(j.wstep + column + v * VL);
        }
        const int64_t at = places.at[r] * j.n + column;
        float own[2 * PANEL];
        /* a square's rows lie too far apart for the CPU to see them come */
        if (more) __builtin_prefetch(more + (at + later) * size);
        if (q) __builtin_prefetch(q + at + later, 1);
#pragma GCC unroll 8
        for (int v = 0; v < panels * PV; v++) {
            const char *from = more ? more + (at + v * VL) * size : NULL;
            const vf s =
                int8_back(sums + v * VL, slope[v], bias[v], from, size, places.more[r], act);
            if (y && v % PV == 0) __builtin_prefetch(y + (at + v * VL + later) * wide, 1);
            if (y && wide == 4) vf_store((float *)y + at + v * VL, s);
            else if (y) stored_save(&bits, at + v * VL, s, VL, 0);
            if (q) vf_store(own + v * VL, s);
        }
        if (q) byte_round(own, panels * PANEL, j.scale, j.positive, q + at);
    }
}

/* The usual forms are compiled by themselves. */
ZK_INLINE void int8_put_forms(const int8_job *j, const int8_places *places, const int32_t *sums,
                              int64_t column, const int panels, const int act) {
    const int64_t more = j->more.p ? j->more.size : 0;
    const int y = !j->y.p ? 0 : j->y.form == ZK_WIDE ? 4 : 2;
    if (j->q && !y && !more) int8_put_whole(j, places, sums, column, panels, act, 0, 0, 1);
    else if (j->q && !y && more == 1) int8_put_whole(j, places, sums, column, panels, act, 1, 0, 1);
    else if (j->q && !y && more == 2) int8_put_whole(j, places, sums, column, panels, act, 2, 0, 1);
    else if (!j->q && y == 4 && !more)
        int8_put_whole(j, places, sums, column, panels, act, 0, 4, 0);
    else if (!j->q && y == 2 && !more)
        int8_put_whole(j, places, sums, column, panels, act, 0, 2, 0);
    else int8_put_whole(j, places, sums, column, panels, act, ASK, ASK, ASK);
}

/* The last columns, fewer than a panel. */
static void int8_put_some(const int8_job *j, const int8_places *places, const int32_t *sums,
                          int64_t column, int64_t some) {
    const size_t bytes = (size_t)some * sizeof(float);
    float wstep[PANEL] = {0}, bias[PANEL] = {0}, more[PANEL] = {0}, y[PANEL];
    memcpy(wstep, j->wstep + column, bytes), memcpy(bias, j->bias + column, bytes);
    for (int64_t r = 0; r < places->count; r++, sums += TAP_SQUARE) {
        if (places->at[r] < 0) continue;
        const int64_t at = places->at[r] * j->n + column, size = j->more.size;
        if (j->more.p) memcpy(more, j->more.p + at * size, (size_t)(some * size));
        for (int v = 0; v < PANEL; v += VL) {
            const vf slope = vf_set(places->step[r]) * vf_load(wstep + v);
            const char *from = j->more.p ? (char *)more + v * size : NULL;
            vf_store(y + v, int8_back(sums + v, slope, vf_load(bias + v), from, size,
                                      places->more[r], j->act));
        }
        for (int v = 0; j->y.p && v < some; v += VL)
            stored_save(&j->y, at + v, vf_load(y + v), zk_min(VL, some - v), 0);
        if (j->q) byte_round(y, some, j->scale, j->positive, j->q + at);
    }
}

#define INT8_PUT(name, act)                                                                        \
    static void int8_put_##name(const int8_job *j, const int8_places *places, const int32_t *sums, \
                                int64_t column, int panels) {                                      \
        if (panels > 1) int8_put_forms(j, places, sums, column, 2, act);                           \
        else int8_put_forms(j, places, sums, column, 1, act);                                      \
    }
INT8_PUT(linear, ZK_LINEAR)
INT8_PUT(relu, ZK_RELU)
INT8_PUT(relu6, ZK_RELU6)
INT8_PUT(curve, j->act)

/* Stores a square from column `column` on. */
static void int8_put_square(const int8_job *j, const int8_places *places, const int32_t *sums,
                            int64_t column, int panels) {
    const int whole = (int)zk_min(panels, (j->n - column) / PANEL);
    const int64_t rest = j->n - column - whole * PANEL;
    if (whole < panels)
        int8_put_some(j, places, sums + whole * PANEL, column + whole * PANEL, rest);
    if (!whole) return;
    if (j->act == ZK_RELU) int8_put_relu(j, places, sums, column, whole);
    else if (j->act == ZK_RELU6) int8_put_relu6(j, places, sums, column, whole);
    else if (j->act == ZK_LINEAR) int8_put_linear(j, places, sums, column, whole);
    else int8_put_curve(j, places, sums, column, whole);
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
    int8_put_square(j, places, sums, c, panels);
}

/* All columns of 32 places first, so that rows of y are written whole. */
ZK_INLINE void int8_part(tiles *t, const int8_job *j, const int on_tiles, tap_part part,
                         int8_thread *own) {
    for (int64_t b = part.b0; b < part.b1; b += 2) {
        const int64_t first = (b - part.b0) * TAP_BLOCK;
        const int blocks = (int)zk_min(2, part.b1 - b);
        const int8_places places = {own->places + first, own->steps + first, own->more + first,
                                    blocks * TAP_BLOCK};
        for (int64_t p = part.p0; p < part.p1; p += 2)
            int8_one(t, j, on_tiles, b, blocks, p, (int)zk_min(2, part.p1 - p), &places, own->sums);
    }
}

static void int8_task(void *ctx, int64_t task, int thread) {
    const int8_job *j = ctx;
    int8_thread *own = (int8_thread *)(j->scratch + thread * int8_thread_bytes(1));
    const tap_part part = tap_part_of(&j->taps, task);
    tap_list_places(&j->taps, part.b0, part.b1, own->places);
    for (int64_t i = 0; i < (part.b1 - part.b0) * TAP_BLOCK; i++) {
        const int64_t image = zk_max(own->places[i], 0) / j->per_step;
        own->steps[i] = j->step[image], own->more[i] = j->more.step ? j->more.step[image] : 0;
    }
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

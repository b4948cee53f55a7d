/* Attention's gradient in tile registers: queries, keys, values, the gradient by y, probabilities
 * and their gradients are rounded to bfloat16; sums are float32. Up to 32 queries at a time, whose
 * scores stay in the L1 cache. Gradients of keys and values are summed turned, features by keys:
 * then probabilities are right operands, which only pairs of rows have to be woven for. */
#ifndef ZK_ATTENTION_GRAD_TILES_H
#define ZK_ATTENTION_GRAD_TILES_H
#include "attention_tiles.h"
#include "stored.h"

/* Scratch of a thread; W and D: width and depth, filled up to whole steps. */
typedef struct {
    float *dk, *dv;                          /* (W, WIDTH), (D, WIDTH) */
    float *p, *dp, *dq;                      /* (32, WIDTH) twice, (32, W) */
    uint16_t *keys, *values, *plain;         /* right operands of scores, dp and dq */
    uint16_t *queries, *grads, *rows;        /* left operands (32, W), (32, D), (32, KEYS) */
    uint16_t *turned_queries, *turned_grads; /* left operands of dk and dv: (W, ROWS), (D, ROWS) */
    uint16_t *probabilities, *score_gradients; /* right operands of dv and dk: (ROWS, KEYS) */
} tile_bench;

static int64_t tile_bench_floats(const attention *w) {
    const int64_t wide = whole_steps(w->width) * ZK_TILE_STEP;
    const int64_t deep = whole_steps(w->depth) * ZK_TILE_STEP;
    const int64_t floats = (wide + deep + 2 * TILE_SIDE) * WIDTH + TILE_SIDE * wide;
    const int64_t bits = KEYS * (2 * wide + deep) + TILE_SIDE * (wide + deep + KEYS) +
                         ROWS * (wide + deep + 2 * KEYS);
    return floats + bits / 2;
}

static uint16_t *taken(uint16_t **from, int64_t n) {
    uint16_t *p = *from;
    *from += n;
    return p;
}

static tile_bench new_tile_bench(const attention *w, float *scratch) {
    const int64_t wide = whole_steps(w->width) * ZK_TILE_STEP;
    const int64_t deep = whole_steps(w->depth) * ZK_TILE_STEP;
    tile_bench m = {.dk = scratch, .dv = scratch + wide * WIDTH};
    m.p = m.dv + deep * WIDTH, m.dp = m.p + TILE_SIDE * WIDTH, m.dq = m.dp + TILE_SIDE * WIDTH;
    uint16_t *bits = (uint16_t *)(m.dq + TILE_SIDE * wide);
    m.keys = taken(&bits, KEYS * wide), m.values = taken(&bits, KEYS * deep);
    m.plain = taken(&bits, KEYS * wide);
    m.queries = taken(&bits, TILE_SIDE * wide), m.grads = taken(&bits, TILE_SIDE * deep);
    m.rows = taken(&bits, TILE_SIDE * KEYS);
    m.turned_queries = taken(&bits, ROWS * wide), m.turned_grads = taken(&bits, ROWS * deep);
    m.probabilities = taken(&bits, ROWS * KEYS), m.score_gradients = taken(&bits, ROWS * KEYS);
    return m;
}

/* All columns of w(k, n), or of the turned w(n, k), as a right operand. */
static void pack_all(const float *w, int64_t row, int turned, int64_t k, int64_t n, uint16_t *to) {
    const grid from = {(const char *)w, row, 1};
    for (int64_t j = 0; j < n; j += TILE_SIDE, to += whole_steps(k) * ZK_TILE_BOTH)
        tile_rows_pack(&from, turned, k, n, j, to);
}

/* Step `step` of `steps` of a right operand with n columns: rows of x, `WIDTH` floats apart. */
static void pack_step(const float *x, int64_t rows, int64_t n, int64_t step, int64_t steps,
                      uint16_t *to) {
    const grid from = {(const char *)x, WIDTH, 1};
    tiles model, *t = tiles_real() ? NULL : &model;
    to += step * ZK_TILE_BOTH;
    for (int64_t j = 0; j < n; j += TILE_SIDE, to += steps * ZK_TILE_BOTH)
        for (int64_t half = 0; half < 2; half++) {
            uint16_t *at = to + half * TILE_NUMBERS;
            if (t) pack_right(t, &from, 0, 0, rows, j + 16 * half, n, at);
            else pack_right(NULL, &from, 0, 0, rows, j + 16 * half, n, at);
        }
}

/* Step `step` of `steps` of a left operand, a row for each of n features: rows of x turned. */
static void turn_step(const float *x, int64_t row, int64_t rows, int64_t n, int64_t step,
                      int64_t steps, uint16_t *to) {
    const grid from = {(const char *)x, row, 1};
    tiles model, *t = tiles_real() ? NULL : &model;
    uint16_t tile[TILE_NUMBERS] __attribute__((aligned(64)));
    for (int64_t j = 0; j < n; j += 16) {
        if (t) pack_left(t, &from, 1, j, n, 0, rows, tile);
        else pack_left(NULL, &from, 1, j, n, 0, rows, tile);
        for (int64_t i = 0; i < 16; i++)
            memcpy(to + ((j + i) * steps + step) * ZK_TILE_STEP, tile + i * ZK_TILE_STEP, 64);
    }
}

/* Sum of g, rounded already, times y. */
static float rounded_dot(const uint16_t *g, const float *y, int64_t n) {
    vf sum = {0};
    for (int64_t i = 0; i < n; i += VL)
        sum += vf_widened(*(const stored_bits *)(g + i)) *
               vf_load_first(y + i, zk_min(n - i, VL), (vf){0});
    return vf_total(sum)[0];
}

/* Probabilities and gradients of scores of up to 32 queries, in m->p and m->dp. */
static void score_gradients(const attention *w, const block *s, const tile_bench *m) {
    const int64_t g = query_at(w, s, w->depth), gstep = query_step(w, w->depth);
    const int64_t wide = whole_steps(w->width), deep = whole_steps(w->depth);
    tile_rows_round(w->q + query_at(w, s, w->width), query_step(w, w->width), s->rows, w->width,
                    m->queries);
    tile_rows_round(w->g + g, gstep, s->rows, w->depth, m->grads);
    tile_rows_product(m->queries, s->rows, m->keys, wide, s->keys, m->p, WIDTH, 0);
    scale_and_mask(w, s, m->p);
    tile_rows_product(m->grads, s->rows, m->values, deep, s->keys, m->dp, WIDTH, 0);
    for (int64_t r = 0; r < s->rows; r++) {
        const float *grads = w->out + g + r * gstep;
        const float known = rounded_dot(m->grads + r * deep * ZK_TILE_STEP, grads, w->depth);
        gradient_row(w, s, r, m->p + r * WIDTH, m->dp + r * WIDTH, known);
    }
}

/* to(n) = from(n), n up to 16. */
ZK_INLINE void store_some(const float *from, int64_t n, float *to) {
    for (int v = 0; v < 16; v += VL)
        if (n - v >= VL) vf_store(to + v, vf_load(from + v));
        else if (n > v) memcpy(to + v, from + v, (size_t)(n - v) * sizeof *to);
}

/* dq (+)= gradients of scores times keys. */
static void add_rounded_queries(const attention *w, const block *s, const tile_bench *m) {
    const int64_t wide = whole_steps(w->width) * TILE_SIDE;
    const float *from = m->dq;
    float *to = w->dq + query_at(w, s, w->width);
    tile_rows_round(m->dp, WIDTH, s->rows, s->keys, m->rows);
    tile_rows_product(m->rows, s->rows, m->plain, whole_steps(s->keys), w->width, m->dq, wide, 0);
    for (int64_t r = 0; r < s->rows; r++, from += wide, to += query_step(w, w->width)) {
        for (int64_t i = 0; !s->s && i < w->width; i += 16)
            store_some(from + i, zk_min(16, w->width - i), to + i);
        for (int64_t i = 0; s->s && i < w->width; i++) to[i] += from[i];
    }
}

/* A block of queries; adds: gradients of its keys were begun. */
static void backward_rounded(const attention *w, const block *all, const tile_bench *m, int adds) {
    const int64_t steps = whole_steps(all->rows);
    block s = *all;
    for (int64_t step = 0; step < steps; step++, s.t += TILE_SIDE) {
        s.rows = zk_min(TILE_SIDE, all->t + all->rows - s.t);
        score_gradients(w, &s, m);
        add_rounded_queries(w, &s, m);
        pack_step(m->p, s.rows, s.keys, step, steps, m->probabilities);
        pack_step(m->dp, s.rows, s.keys, step, steps, m->score_gradients);
        turn_step(w->g + query_at(w, &s, w->depth), query_step(w, w->depth), s.rows, w->depth, step,
                  steps, m->turned_grads);
        turn_step(w->q + query_at(w, &s, w->width), query_step(w, w->width), s.rows, w->width, step,
                  steps, m->turned_queries);
    }
    tile_rows_product(m->turned_grads, w->depth, m->probabilities, steps, s.keys, m->dv, WIDTH,
                      adds);
    tile_rows_product(m->turned_queries, w->width, m->score_gradients, steps, s.keys, m->dk, WIDTH,
                      adds);
}

/* to(keys, features), rows `row` apart, = x(features, keys) turned. */
static void store_turned(const float *x, int64_t keys, int64_t features, float *to, int64_t row) {
    float tile[256] __attribute__((aligned(64)));
    for (int64_t j = 0; j < features; j += 16)
        for (int64_t i = 0; i < keys; i += 16) {
            for (int64_t r = 0; r < 16; r++) memcpy(tile + 16 * r, x + (j + r) * WIDTH + i, 64);
            turn_tile((uint16_t *)tile);
            for (int64_t r = 0; r < zk_min(16, keys - i); r++)
                store_some(tile + 16 * r, zk_min(16, features - j), to + (i + r) * row + j);
        }
}

/* All queries that read one block of keys. */
static void backward_keys_rounded(const attention *w, block s, float *scratch) {
    const tile_bench b = new_tile_bench(w, scratch), *m = &b;
    const int64_t blocks = zk_max(1, zk_ceil(w->queries, ROWS)), first = s.h;
    const int64_t rows = whole_steps(zk_ceil(w->queries, blocks)) * TILE_SIDE;
    const int64_t k = key_at(w, &s, w->width), v = key_at(w, &s, w->depth);
    const int64_t kstep = key_step(w, w->width), vstep = key_step(w, w->depth);
    int adds = 0;
    pack_all(w->k + k, kstep, 1, w->width, s.keys, m->keys);
    pack_all(w->k + k, kstep, 0, s.keys, w->width, m->plain);
    pack_all(w->v + v, vstep, 1, w->depth, s.keys, m->values);
    for (; s.h < first + w->group; s.h++)
        for (s.t = 0; s.t < w->queries; s.t += rows) {
            s.rows = zk_min(rows, w->queries - s.t);
            if (is_future(w, &s)) continue;
            backward_rounded(w, &s, m, adds);
            adds = 1;
        }
    if (adds) store_turned(m->dk, s.keys, w->width, w->dk + k, kstep);
    else zero_rows(w->dk + k, kstep, s.keys, w->width);
    if (adds) store_turned(m->dv, s.keys, w->depth, w->dv + v, vstep);
    else zero_rows(w->dv + v, vstep, s.keys, w->depth);
}
#endif

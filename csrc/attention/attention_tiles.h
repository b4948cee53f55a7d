/* The two products of attention in tile registers: queries, keys, values, and exponentials before
 * they are divided by their sum, are rounded to bfloat16; sums are float32. Up to 32 queries at a
 * time, whose scores stay in the L1 cache. */
#ifndef ZK_ATTENTION_TILES_H
#define ZK_ATTENTION_TILES_H
#include "attention.h"

static int64_t whole_steps(int64_t n) { return zk_ceil(n, ZK_TILE_STEP); }

/* Floats behind a tile's first 32 rows: rounded rows, and the product with values. */
static int64_t rounded_floats(const attention *w) {
    const int64_t longest = zk_max(whole_steps(w->width) * ZK_TILE_STEP, KEYS);
    return TILE_SIDE * (longest / 2 + whole_steps(w->depth) * TILE_SIDE);
}

/* keys and values (ceil(columns / 32), ceil(k / 32), 2, 16, 32) as right operands: keys turned. */
static void pack_rounded(const attention *w, const block *s, float *keys, float *values) {
    const grid k = {(const char *)(w->k + key_at(w, s, w->width)), key_step(w, w->width), 1};
    const grid v = {(const char *)(w->v + key_at(w, s, w->depth)), key_step(w, w->depth), 1};
    const int64_t wide = whole_steps(w->width) * ZK_TILE_BOTH;
    const int64_t deep = whole_steps(s->keys) * ZK_TILE_BOTH;
    uint16_t *to = (uint16_t *)keys;
    for (int64_t j = 0; j < s->keys; j += TILE_SIDE, to += wide)
        tile_rows_pack(&k, 1, w->width, s->keys, j, to);
    to = (uint16_t *)values;
    for (int64_t j = 0; j < w->depth; j += TILE_SIDE, to += deep)
        tile_rows_pack(&v, 0, s->keys, w->depth, j, to);
}

static void scale_and_mask(const attention *w, const block *s, float *tile) {
    for (int64_t r = 0; r < s->rows; r++, tile += WIDTH) {
        for (int64_t i = 0; i < padded(s->keys); i += VL)
            vf_store(tile + i, vf_load(tile + i) * w->scale);
        mask_row(w, s, s->t + r, tile);
    }
}

/* The scores of a block of up to 32 queries: tile(rows, keys). */
static void rounded_scores(const attention *w, const block *s, const float *keys, float *tile) {
    const int64_t steps = whole_steps(w->width);
    uint16_t *rows = (uint16_t *)(tile + TILE_SIDE * WIDTH);
    tile_rows_round(w->q + query_at(w, s, w->width), query_step(w, w->width), s->rows, w->width,
                    rows);
    tile_rows_product(rows, s->rows, (const uint16_t *)keys, steps, s->keys, tile, WIDTH, 0);
    scale_and_mask(w, s, tile);
}

/* y (+)= probabilities times values. */
static void add_rounded_values(const attention *w, const block *s, const float *values,
                               float *tile) {
    const int64_t steps = whole_steps(s->keys), wide = whole_steps(w->depth) * TILE_SIDE;
    float *out = tile + TILE_SIDE * WIDTH;
    uint16_t *rows = (uint16_t *)(out + TILE_SIDE * wide);
    tile_rows_round(tile, WIDTH, s->rows, s->keys, rows);
    tile_rows_product(rows, s->rows, (const uint16_t *)values, steps, w->depth, out, wide, 0);
    float *y = w->y + query_at(w, s, w->depth);
    for (int64_t r = 0; r < s->rows; r++, out += wide, y += query_step(w, w->depth)) {
        if (!s->s) memcpy(y, out, (size_t)w->depth * sizeof *y);
        else
            for (int64_t i = 0; i < w->depth; i++) y[i] += out[i];
    }
}
#endif

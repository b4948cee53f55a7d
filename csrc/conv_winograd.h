/* 3 x 3 convolution of stride 1 by Winograd's F(4x4, 3x3). In: a zk_conv with one group, 16
 * channels or more on both sides, and weights at the 36 points (pack_winograd). Out: its output
 * pixels, with bias and activation. A task takes a block of tiles to the points, multiplies them
 * there by one panel of filters after the other, and takes the products back. */
#ifndef ZK_CONV_WINOGRAD_H
#define ZK_CONV_WINOGRAD_H
#include "conv_act.h"
#include "conv_pack.h"
#include "gemm.h"
#include "winograd.h"

#define WINO_PAD 16           /* floats between points: their distance is no power of two */
#define WINO_BLOCK (80 << 10) /* floats of a block at all points, about: they stay in L2 */
#define WINO_TILES 24         /* least tiles of a block: the weights are read once for each */
#define WINO_STEPS 256        /* channels multiplied at once: so much of a panel stays in L1 */

/* Tiles of all images, row by row. */
typedef struct {
    int64_t rows, cols, all; /* of one image; of all */
} wino_tiles;

static inline wino_tiles count_tiles(const zk_conv *p) {
    wino_tiles t = {zk_ceil(p->v.outs, WINO_OUT), zk_ceil(p->h.outs, WINO_OUT), 0};
    t.all = p->images * t.rows * t.cols;
    return t;
}

/* One tile: its image and first output. */
typedef struct {
    int64_t image, row, col;
} wino_place;

static inline wino_place tile_place(const wino_tiles *t, int64_t i) {
    return (wino_place){i / (t->rows * t->cols), i / t->cols % t->rows * WINO_OUT,
                        i % t->cols * WINO_OUT};
}

/* The rows and columns of a square of cells that exist on an array. */
typedef struct {
    int r0, r1, c0, c1;
} wino_part;

static inline wino_part existing(int64_t row, int64_t col, int64_t rows, int64_t cols, int size) {
    return (wino_part){(int)zk_max(-row, 0), (int)zk_min(size, rows - row), (int)zk_max(-col, 0),
                       (int)zk_min(size, cols - col)};
}

/* x(size, size) from an array whose rows lie `row` and cells `cell` floats apart, zero outside. */
ZK_INLINE void load_square(const float *from, int64_t row, int64_t cell, const wino_part *part,
                           vf *x, const int size) {
    if (!part->r0 && !part->c0 && part->r1 == size && part->c1 == size) {
#pragma GCC unroll 36
        for (int i = 0; i < size * size; i++)
            x[i] = vf_load(from + i / size * row + i % size * cell);
        return;
    }
    for (int i = 0; i < size * size; i++) x[i] = (vf){0};
    for (int i = part->r0; i < part->r1; i++)
        for (int j = part->c0; j < part->c1; j++)
            x[i * size + j] = vf_load(from + i * row + j * cell);
}

/* The inputs of a tile at all points: v(36, ci), points v_step apart. */
static void tile_to_points(const zk_conv *p, const wino_place *at, float *v, int64_t v_step) {
    int64_t row = at->row + p->v.shift, col = at->col + p->h.shift, line = p->h.in * p->ci;
    const float *x = p->in + at->image * p->v.in * line + row * line + col * p->ci;
    wino_part part = existing(row, col, p->v.in, p->h.in, WINO_IN);
    for (int64_t c = 0; c < p->ci; c += VL) {
        vf d[WINO_POS], t[WINO_POS];
        int64_t from = zk_min(c, p->ci - VL); /* the last vector may overlap the one before */
        load_square(x + from, line, p->ci, &part, d, WINO_IN);
        wino_input_plane(d, t);
#pragma GCC unroll 36
        for (int i = 0; i < WINO_POS; i++) vf_store(v + i * v_step + from, t[i]);
    }
}

/* --- weights */

/* Floats of a panel at one point: a row more than the channels, of zeros, so that the distance
 * between points is no power of two. */
static inline int64_t point_floats(int64_t ci) { return (ci + 1) * PANEL; }
static inline int64_t winograd_floats(const zk_conv *p) {
    return zk_ceil(p->co, PANEL) * WINO_POS * point_floats(p->ci);
}

typedef struct {
    const float *packed; /* (panels, 9, ci, 16), see conv_pack.h */
    float *u;            /* (panels, 36, ci + 1, 16) */
    int64_t ci;
} wino_weight_job;

/* One panel of weights to the points. */
static void weights_to_points(void *ctx, int64_t panel, int thread) {
    const wino_weight_job *k = ctx;
    int64_t step = k->ci * PANEL, point = point_floats(k->ci);
    const float *w = k->packed + panel * 9 * step;
    float *u = k->u + panel * WINO_POS * point;
    (void)thread;
    for (int64_t c = 0; c < step; c += VL) {
        vf x[9], y[WINO_POS];
#pragma GCC unroll 9
        for (int i = 0; i < 9; i++) x[i] = vf_load(w + i * step + c);
        wino_weights_plane(x, y);
#pragma GCC unroll 36
        for (int i = 0; i < WINO_POS; i++) vf_store(u + i * point + c, y[i]);
    }
    for (int i = 0; i < WINO_POS; i++) memset(u + i * point + step, 0, PANEL * 4);
}

/* Raw weights as in pack_weights. `packed`: packed_floats of memory that is free afterwards. */
static inline void pack_winograd(const zk_call *c, const zk_conv *p, const float *w,
                                 const zk_arg *shape, int turned, float *packed, float *u) {
    wino_weight_job k = {packed, u, p->ci};
    pack_weights(c, p, w, shape, turned, packed);
    zk_parallel(c, zk_ceil(p->co, PANEL), weights_to_points, &k);
}

/* --- blocks of tiles */

typedef struct {
    const zk_conv *p;
    const float *u, *bias; /* weights at the points; bias (co) or NULL */
    int activation;
    wino_tiles tiles;
    int64_t block, blocks;  /* tiles of a block; how many blocks */
    int64_t panels, chunks; /* of filters; parts that the panels are cut into */
    int64_t v_step, m_step; /* floats from point to point, of inputs and of products */
    int64_t thread_bytes;
    char *scratch; /* for each thread: inputs v(36, block, ci), products m(36, block, 16) */
} zk_winograd;

/* m(tiles, 16) = v(tiles, ci) u(ci, 16) at one point. */
static inline void point_product(const zk_winograd *d, const float *v, const float *u, float *m,
                                 int64_t tiles) {
    int64_t ci = d->p->ci, parts = zk_ceil(ci, WINO_STEPS), groups = zk_ceil(tiles, GEMM_ROWS);
    for (int64_t k = 0; k < parts; k++) {
        int64_t from = ci * k / parts, row = 0;
        gemm_tile t = {.b = u + from * PANEL,
                       .arow = ci,
                       .acol = 1,
                       .bstep = PANEL,
                       .crow = PANEL,
                       .addrow = PANEL,
                       .cols = PANEL};
        t.k = ci * (k + 1) / parts - from;
        for (int64_t i = 0; i < groups; i++) {
            int64_t next = tiles * (i + 1) / groups;
            t.a = v + row * ci + from, t.c = m + row * PANEL, t.add = k ? t.c : NULL;
            gemm_kernel[next - row - 1][0](&t);
            row = next;
        }
    }
}

/* Where a tile's outputs are: rows and cells of so many floats, the part of the square that exists,
 * and how many filters of a vector. */
typedef struct {
    float *y;
    const float *residual; /* like y, or NULL */
    int64_t row, cell;
    int rows, columns, filters;
} wino_target;

/* y plus the residual of the outputs that exist. */
ZK_INLINE void add_residual(const wino_target *to, vf *y) {
    for (int i = 0; i < to->rows; i++)
        for (int j = 0; j < to->columns; j++) {
            const float *at = to->residual + i * to->row + j * to->cell;
            y[i * WINO_OUT + j] += to->filters >= VL ? vf_load(at) : vf_load_n(at, to->filters);
        }
}

/* One vector of filters of one tile: y(4, 4) from its products m(36). */
ZK_INLINE void points_to_outputs(const zk_winograd *d, const float *m, vf bias,
                                 const wino_target *to, vf *y) {
    vf x[WINO_POS];
#pragma GCC unroll 36
    for (int i = 0; i < WINO_POS; i++) x[i] = vf_load(m + i * d->m_step);
    wino_output_plane(x, y);
#pragma GCC unroll 16
    for (int i = 0; i < WINO_OUT * WINO_OUT; i++) y[i] += bias;
    if (to->residual) add_residual(to, y);
#pragma GCC unroll 16
    for (int i = 0; i < WINO_OUT * WINO_OUT; i++) y[i] = conv_activate(y[i], d->activation);
}

/* Stores the outputs of a tile that exist. */
ZK_INLINE void store_outputs(const wino_target *to, const vf *y) {
    for (int i = 0; i < to->rows; i++)
        for (int j = 0; j < to->columns; j++) {
            float *at = to->y + i * to->row + j * to->cell;
            if (to->filters >= VL) vf_store(at, y[i * WINO_OUT + j]);
            else vf_store_n(at, y[i * WINO_OUT + j], to->filters);
        }
}

/* A panel of filters of one tile. */
static void store_tile(const zk_winograd *d, const wino_place *at, int64_t panel, const float *m,
                       const float *bias) {
    const zk_conv *p = d->p;
    int64_t line = p->h.outs * p->co, filter = panel * PANEL;
    int64_t place = (at->image * p->v.outs + at->row) * line + at->col * p->co;
    wino_part part = existing(at->row, at->col, p->v.outs, p->h.outs, WINO_OUT);
    wino_target to = {.row = line, .cell = p->co, .rows = part.r1, .columns = part.c1};
    for (int64_t v = 0; v < PANEL && filter + v < p->co; v += VL) {
        vf y[WINO_OUT * WINO_OUT];
        to.y = p->out + place + filter + v;
        to.residual = p->residual ? p->residual + place + filter + v : NULL;
        to.filters = (int)(p->co - filter - v);
        points_to_outputs(d, m + v, vf_load(bias + v), &to, y);
        store_outputs(&to, y);
    }
}

static void winograd_task(void *ctx, int64_t task, int thread) {
    const zk_winograd *d = ctx;
    const zk_conv *p = d->p;
    int64_t block = task / d->chunks, chunk = task % d->chunks;
    int64_t first = d->tiles.all * block / d->blocks;
    int64_t tiles = d->tiles.all * (block + 1) / d->blocks - first;
    float *v = (float *)(d->scratch + thread * d->thread_bytes), *m = v + WINO_POS * d->v_step;
    for (int64_t i = 0; i < tiles; i++) {
        wino_place at = tile_place(&d->tiles, first + i);
        tile_to_points(p, &at, v + i * p->ci, d->v_step);
    }
    for (int64_t o = d->panels * chunk / d->chunks; o < d->panels * (chunk + 1) / d->chunks; o++) {
        float bias[PANEL] = {0};
        if (d->bias)
            memcpy(bias, d->bias + o * PANEL, (size_t)zk_min(PANEL, p->co - o * PANEL) * 4);
        for (int i = 0; i < WINO_POS; i++)
            point_product(d, v + i * d->v_step, d->u + (o * WINO_POS + i) * point_floats(p->ci),
                          m + i * d->m_step, tiles);
        for (int64_t i = 0; i < tiles; i++) {
            wino_place at = tile_place(&d->tiles, first + i);
            store_tile(d, &at, o, m + i * PANEL, bias);
        }
    }
}

static inline zk_winograd plan_winograd(const zk_conv *p, int threads) {
    zk_winograd d = {.p = p, .tiles = count_tiles(p), .panels = zk_ceil(p->co, PANEL), .chunks = 1};
    int64_t most = zk_max(WINO_BLOCK / (WINO_POS * p->ci) / GEMM_ROWS * GEMM_ROWS, WINO_TILES);
    d.blocks = zk_ceil(d.tiles.all, most);
    d.block = d.blocks ? zk_ceil(d.tiles.all, d.blocks) : 0;
    if (threads > 1 && d.blocks)
        d.chunks = zk_max(zk_min(d.panels, zk_ceil(4 * threads, d.blocks)), 1);
    d.v_step = d.block * p->ci + WINO_PAD, d.m_step = d.block * PANEL + WINO_PAD;
    d.thread_bytes = zk_align(WINO_POS * (d.v_step + d.m_step) * 4);
    return d;
}

static inline int64_t winograd_scratch(const zk_conv *p, int threads) {
    return threads * plan_winograd(p, threads).thread_bytes;
}

static inline void run_winograd(const zk_call *c, const zk_conv *p, const float *u,
                                const float *bias, int activation, char *scratch) {
    zk_winograd d = plan_winograd(p, c->threads);
    d.u = u, d.bias = bias, d.activation = activation, d.scratch = scratch;
    zk_parallel(c, d.blocks * d.chunks, winograd_task, &d);
}
#endif

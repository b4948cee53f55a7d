/* 3 x 3 convolution of stride 1 by Winograd's F(4x4, 3x3) or F(2x2, 3x3). In: a zk_conv with one
 * group, 16 channels or more on both sides, and weights at the 36 or 16 points (pack_winograd).
 * Out: its output pixels, with bias and activation. A task takes a block of tiles to the points,
 * multiplies them there by a few panels of filters after the other, and takes the products back. */
#ifndef ZK_CONV_WINOGRAD_H
#define ZK_CONV_WINOGRAD_H
#include "conv_act.h"
#include "conv_pack.h"
#include "conv_product.h"
#include "winograd.h"

#define WINO_PAD 16           /* floats between points: their distance is no power of two */
#define WINO_BLOCK (80 << 10) /* floats of a block at all points, about: they stay in L2 */
#define WINO_TILES 24         /* least tiles of a block: the weights are read once for each */
#define SHARE_PARTS 8         /* tasks that take a shared block to the points */
#define WINO_STEPS 256        /* channels multiplied at once: so much of a panel stays in L1 */

/* Tiles of all images, row by row. */
typedef struct {
    int64_t rows, cols, all; /* of one image; of all */
    int out;                 /* outputs of a tile along an axis */
} wino_tiles;

static inline wino_tiles count_tiles(const zk_conv *p, int out) {
    wino_tiles t = {zk_ceil(p->v.outs, out), zk_ceil(p->h.outs, out), 0, out};
    t.all = p->images * t.rows * t.cols;
    return t;
}

/* One tile: its image and first output. */
typedef struct {
    int64_t image, row, col;
} wino_place;

static inline wino_place tile_place(const wino_tiles *t, int64_t i) {
    return (wino_place){i / (t->rows * t->cols), i / t->cols % t->rows * t->out,
                        i % t->cols * t->out};
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

/* The inputs of a tile at all points: v(points, ci), points v_step apart. */
ZK_INLINE void take_to_points(const zk_conv *p, const wino_place *at, float *v, int64_t v_step,
                              const int out) {
    int64_t row = at->row + p->v.shift, col = at->col + p->h.shift, line = p->h.in * p->ci;
    const float *x = p->in + at->image * p->v.in * line + row * line + col * p->ci;
    wino_part part = existing(row, col, p->v.in, p->h.in, out + 2);
    for (int64_t c = 0; c < p->ci; c += VL) {
        vf d[WINO_POS], t[WINO_POS];
        int64_t from = zk_min(c, p->ci - VL); /* the last vector may overlap the one before */
        load_square(x + from, line, p->ci, &part, d, out + 2);
        if (out == 2) wino2_input_plane(d, t);
        else wino_input_plane(d, t);
#pragma GCC unroll 36
        for (int i = 0; i < WINO_POINTS(out); i++) vf_store(v + i * v_step + from, t[i]);
    }
}

static void tile_to_points(const zk_conv *p, const wino_place *at, float *v, int64_t v_step,
                           int out) {
    if (out == 2) take_to_points(p, at, v, v_step, 2);
    else take_to_points(p, at, v, v_step, WINO_OUT);
}

/* --- weights */

/* Floats of a panel at one point: a row more than the channels, of zeros, so that the distance
 * between points is no power of two. */
static inline int64_t point_floats(int64_t ci) { return (ci + 1) * PANEL; }
static inline int64_t winograd_floats(const zk_conv *p, int out) {
    return zk_ceil(p->co, PANEL) * WINO_POINTS(out) * point_floats(p->ci);
}

typedef struct {
    const float *packed; /* (panels, 9, ci, 16), see conv_pack.h */
    float *u;            /* (panels, points, ci + 1, 16) */
    int64_t ci;
    int out;
} wino_weight_job;

/* One panel of weights to the points: from w(9, ci, 16). */
ZK_INLINE void panel_to_points(const wino_weight_job *k, int64_t panel, const int out) {
    int64_t step = k->ci * PANEL, point = point_floats(k->ci);
    const float *w = k->packed + panel * 9 * step;
    float *u = k->u + panel * WINO_POINTS(out) * point;
    for (int64_t c = 0; c < step; c += VL) {
        vf x[9], y[WINO_POS];
#pragma GCC unroll 9
        for (int i = 0; i < 9; i++) x[i] = vf_load(w + i * step + c);
        if (out == 2) wino2_weights_plane(x, y);
        else wino_weights_plane(x, y);
#pragma GCC unroll 36
        for (int i = 0; i < WINO_POINTS(out); i++) vf_store(u + i * point + c, y[i]);
    }
    for (int i = 0; i < WINO_POINTS(out); i++) memset(u + i * point + step, 0, PANEL * 4);
}

static void weights_to_points(void *ctx, int64_t panel, int thread) {
    const wino_weight_job *k = ctx;
    (void)thread;
    if (k->out == 2) panel_to_points(k, panel, 2);
    else panel_to_points(k, panel, WINO_OUT);
}

/* Raw weights as in pack_weights. `packed`: packed_floats of memory that is free afterwards. */
static inline void pack_winograd(const zk_call *c, const zk_conv *p, const float *w,
                                 const zk_arg *shape, int turned, int out, float *packed,
                                 float *u) {
    wino_weight_job k = {packed, u, p->ci, out};
    pack_weights(c, p, w, shape, turned, packed);
    zk_parallel(c, zk_ceil(p->co, PANEL), weights_to_points, &k);
}

/* --- blocks of tiles */

typedef struct {
    const zk_conv *p;
    const float *u, *bias; /* weights at the points; bias (co) or NULL */
    int activation;
    wino_tiles tiles;
    int64_t points;
    int64_t block, blocks;  /* tiles of a block; how many blocks */
    int64_t panels, chunks; /* of filters; parts that the panels are cut into */
    int64_t width;          /* filters multiplied at once */
    int64_t v_step, m_step; /* floats from point to point, of inputs and of products */
    int64_t shared_bytes, thread_bytes;
    char *shared; /* v(blocks, points, block, ci) when several tasks read a block, or NULL */
    char *own;    /* for each thread: m(points, block, width) and, if not shared, v of a block */
} zk_winograd;

/* m(tiles, width) = v(tiles, ci) u(ci, panels) at one point. */
static inline void point_product(const zk_winograd *d, const float *v, const float *u, float *m,
                                 int64_t tiles, int64_t panels) {
    int64_t ci = d->p->ci, parts = zk_ceil(ci, WINO_STEPS);
    for (int64_t k = 0; k < parts; k++) {
        int64_t from = ci * k / parts;
        zk_product t = {.a = v + from,
                        .b = u + from * PANEL,
                        .c = m,
                        .astep = ci,
                        .bpanel = d->points * point_floats(ci),
                        .crow = d->width,
                        .cpanel = PANEL,
                        .more = k > 0};
        t.k = ci * (k + 1) / parts - from, t.npanel = t.bpanel;
        /* the next steps or point: where the weights come from memory, a sixth of the time */
        t.next = t.b + t.k * PANEL + (k + 1 == parts ? PANEL : 0);
        run_products(&plain_products, &t, panels, tiles, ci);
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
ZK_INLINE void add_residual(const wino_target *to, vf *y, const int out) {
    for (int i = 0; i < to->rows; i++)
        for (int j = 0; j < to->columns; j++) {
            const float *at = to->residual + i * to->row + j * to->cell;
            y[i * out + j] +=
                to->filters >= VL ? vf_load(at) : vf_load_first(at, to->filters, (vf){0});
        }
}

/* One vector of filters of one tile: y(out, out) from its products m(points). */
ZK_INLINE void points_to_outputs(const zk_winograd *d, const float *m, vf bias,
                                 const wino_target *to, vf *y, const int out) {
    vf x[WINO_POS];
#pragma GCC unroll 36
    for (int i = 0; i < WINO_POINTS(out); i++) x[i] = vf_load(m + i * d->m_step);
    if (out == 2) wino2_output_plane(x, y);
    else wino_output_plane(x, y);
#pragma GCC unroll 16
    for (int i = 0; i < out * out; i++) y[i] += bias;
    if (to->residual) add_residual(to, y, out);
#pragma GCC unroll 16
    for (int i = 0; i < out * out; i++) y[i] = conv_activate(y[i], d->activation);
}

/* Stores the outputs of a tile that exist. */
ZK_INLINE void store_outputs(const wino_target *to, const vf *y, const int out) {
    for (int i = 0; i < to->rows; i++)
        for (int j = 0; j < to->columns; j++) {
            float *at = to->y + i * to->row + j * to->cell;
            if (to->filters >= VL) vf_store(at, y[i * out + j]);
            else vf_store_first(at, y[i * out + j], to->filters);
        }
}

/* A panel of filters of one tile. */
ZK_INLINE void store_square(const zk_winograd *d, const wino_place *at, int64_t panel,
                            const float *m, const float *bias, const int out) {
    const zk_conv *p = d->p;
    int64_t line = p->h.outs * p->co, filter = panel * PANEL;
    int64_t place = (at->image * p->v.outs + at->row) * line + at->col * p->co;
    wino_part part = existing(at->row, at->col, p->v.outs, p->h.outs, out);
    wino_target to = {.row = line, .cell = p->co, .rows = part.r1, .columns = part.c1};
    for (int64_t v = 0; v < PANEL && filter + v < p->co; v += VL) {
        vf y[WINO_OUT * WINO_OUT];
        to.y = p->out + place + filter + v;
        to.residual = p->residual ? p->residual + place + filter + v : NULL;
        to.filters = (int)(p->co - filter - v);
        points_to_outputs(d, m + v, vf_load(bias + v), &to, y, out);
        store_outputs(&to, y, out);
    }
}

static void store_tile(const zk_winograd *d, const wino_place *at, int64_t panel, const float *m,
                       const float *bias) {
    if (d->tiles.out == 2) store_square(d, at, panel, m, bias, 2);
    else store_square(d, at, panel, m, bias, WINO_OUT);
}

/* The inputs of tiles [first, first + tiles) at all points: v(points, tiles, ci). */
static void tiles_to_points(const zk_winograd *d, int64_t first, int64_t tiles, float *v) {
    for (int64_t i = 0; i < tiles; i++) {
        wino_place at = tile_place(&d->tiles, first + i);
        tile_to_points(d->p, &at, v + i * d->p->ci, d->v_step, d->tiles.out);
    }
}

static inline int64_t first_tile(const zk_winograd *d, int64_t block) {
    return d->tiles.all * block / d->blocks;
}

/* Part of a block's tiles, for the tasks that will share them. */
static void share_task(void *ctx, int64_t task, int thread) {
    const zk_winograd *d = ctx;
    int64_t block = task / SHARE_PARTS, part = task % SHARE_PARTS, first = first_tile(d, block);
    int64_t tiles = first_tile(d, block + 1) - first, from = tiles * part / SHARE_PARTS;
    float *v = (float *)d->shared + block * d->points * d->v_step + from * d->p->ci;
    (void)thread;
    tiles_to_points(d, first + from, tiles * (part + 1) / SHARE_PARTS - from, v);
}

/* `some` panels of filters from o on of a block of tiles, whose inputs at the points are v. */
static void multiply_panels(const zk_winograd *d, int64_t first, int64_t tiles, int64_t o,
                            int64_t some, const float *v, float *m) {
    const int64_t ci = d->p->ci;
    float bias[PRODUCT_PANELS * PANEL] = {0};
    if (d->bias)
        memcpy(bias, d->bias + o * PANEL, (size_t)zk_min(some * PANEL, d->p->co - o * PANEL) * 4);
    for (int64_t i = 0; i < d->points; i++)
        point_product(d, v + i * d->v_step, d->u + (o * d->points + i) * point_floats(ci),
                      m + i * d->m_step, tiles, some);
    for (int64_t i = 0; i < tiles; i++) {
        wino_place at = tile_place(&d->tiles, first + i);
        for (int64_t q = 0; q < some; q++)
            store_tile(d, &at, o + q, m + i * d->width + q * PANEL, bias + q * PANEL);
    }
}

static void winograd_task(void *ctx, int64_t task, int thread) {
    const zk_winograd *d = ctx;
    int64_t block = task / d->chunks, chunk = task % d->chunks, first = first_tile(d, block);
    int64_t tiles = first_tile(d, block + 1) - first;
    float *m = (float *)(d->own + thread * d->thread_bytes), *v = m + d->points * d->m_step;
    if (d->shared) v = (float *)d->shared + block * d->points * d->v_step;
    else tiles_to_points(d, first, tiles, v);
    const int64_t end = d->panels * (chunk + 1) / d->chunks;
    for (int64_t o = d->panels * chunk / d->chunks, some; o < end; o += some) {
        some = zk_ceil(end - o, zk_ceil(end - o, PRODUCT_PANELS));
        multiply_panels(d, first, tiles, o, some, v, m);
    }
}

static inline zk_winograd plan_winograd(const zk_conv *p, int out, int threads) {
    zk_winograd d = {.p = p, .tiles = count_tiles(p, out), .points = WINO_POINTS(out)};
    int64_t most =
        zk_max(WINO_BLOCK / (d.points * p->ci) / PRODUCT_MOST * PRODUCT_MOST, WINO_TILES);
    d.panels = zk_ceil(p->co, PANEL), d.chunks = 1;
    d.blocks = zk_ceil(d.tiles.all, most);
    d.block = d.blocks ? zk_ceil(d.tiles.all, d.blocks) : 0;
    if (threads > 1 && d.blocks)
        d.chunks = zk_max(zk_min(d.panels, zk_ceil(4 * threads, d.blocks)), 1);
    d.v_step = d.block * p->ci + WINO_PAD, d.width = zk_min(d.panels, PRODUCT_PANELS) * PANEL;
    d.m_step = d.block * d.width + WINO_PAD;
    int64_t inputs = d.chunks > 1 ? 0 : d.v_step;
    d.shared_bytes = d.chunks > 1 ? zk_align(d.blocks * d.points * d.v_step * 4) : 0;
    d.thread_bytes = zk_align(d.points * (inputs + d.m_step) * 4);
    return d;
}

static inline int64_t winograd_scratch(const zk_conv *p, int out, int threads) {
    zk_winograd d = plan_winograd(p, out, threads);
    return d.shared_bytes + threads * d.thread_bytes;
}

static inline void run_winograd(const zk_call *c, const zk_conv *p, int out, const float *u,
                                const float *bias, int activation, char *scratch) {
    zk_winograd d = plan_winograd(p, out, c->threads);
    d.u = u, d.bias = bias, d.activation = activation;
    d.shared = d.chunks > 1 ? scratch : NULL, d.own = scratch + d.shared_bytes;
    if (d.shared) zk_parallel(c, d.blocks * SHARE_PARTS, share_task, &d);
    zk_parallel(c, d.blocks * d.chunks, winograd_task, &d);
}

/* The same with raw weights as in pack_weights, which are taken to the points first. `packed`: as
 * in pack_winograd. */
static inline int64_t raw_winograd_scratch(const zk_conv *p, int out, int threads) {
    return zk_align(winograd_floats(p, out) * 4) + winograd_scratch(p, out, threads);
}

static inline void run_raw_winograd(const zk_call *c, const zk_conv *p, int out, int turned,
                                    float *packed, const float *bias, int activation,
                                    char *scratch) {
    float *u = (float *)scratch;
    pack_winograd(c, p, c->p[2], c->a + 2, turned, out, packed, u);
    run_winograd(c, p, out, u, bias, activation, scratch + zk_align(winograd_floats(p, out) * 4));
}
#endif

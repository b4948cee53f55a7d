/* Gradient of a 3 x 3 convolution of stride 1 with respect to its weights by the transpose of
 * Winograd's F(4x4, 3x3): at each of the 36 points, the sum over tiles of (input channels) x
 * (gradient channels), which is then taken back to 9 taps. In: a zk_conv as in conv_winograd.h and
 * the gradient of its output. Pieces of the tiles are summed by themselves and added in order. */
#ifndef ZK_CONV_WINOGRAD_GRAD_H
#define ZK_CONV_WINOGRAD_GRAD_H
#include "conv_winograd.h"

#define WINO_GRAD_TILES 64
#define WINO_GRAD_PANELS 4
#define WINO_GRAD_TASKS 8 /* aimed at */
#define WINO_GRAD_FLOATS                                                                 \
    (3 << 20)             /* most memory of the sums of all pieces, if there are several \
                           */
#define WINO_GRAD_PARTS 4 /* of a panel's channels, when sums are taken back */

typedef struct {
    const zk_conv *p; /* .in: x */
    const float *g;
    float *sums; /* (pieces, panels, 36, ci, 16) */
    float *dw;   /* (3, 3, ci, co) */
    wino_tiles tiles;
    int64_t block, blocks, pieces; /* tiles of a block; blocks; parts that these are cut into */
    int64_t panels, chunks;        /* of filters; parts that the panels are cut into */
    int64_t v_row, v_step, m_step; /* floats from tile to tile of v; from point to point */
    int64_t floats;                /* of the sums of a piece */
    int64_t thread_bytes;
    char
        *scratch; /* for each thread: inputs v(36, block, ci), gradients m(36, panels, block, 16) */
} zk_winograd_grad;

/* The gradients of a tile at all points, one panel of filters: m(36, 16), points m_step apart. */
static void gradient_to_points(const zk_winograd_grad *d, const wino_place *at, int64_t panel,
                               float *m) {
    const zk_conv *p = d->p;
    int64_t line = p->h.outs * p->co, filter = panel * PANEL;
    const float *g = d->g + (at->image * p->v.outs + at->row) * line + at->col * p->co + filter;
    wino_part part = existing(at->row, at->col, p->v.outs, p->h.outs, WINO_OUT);
    for (int v = 0; v < PANEL; v += VL) {
        vf x[WINO_OUT * WINO_OUT], y[WINO_POS];
        load_square(g + v, line, p->co, &part, x, WINO_OUT);
        wino_gradient_plane(x, y);
#pragma GCC unroll 36
        for (int i = 0; i < WINO_POS; i++) vf_store(m + i * d->m_step + v, y[i]);
    }
}

/* The same for a panel that is not full. */
static void gradient_rest_to_points(const zk_winograd_grad *d, const wino_place *at, int64_t panel,
                                    float *m) {
    const zk_conv *p = d->p;
    int64_t line = p->h.outs * p->co, filter = panel * PANEL, cols = p->co - filter;
    const float *g = d->g + (at->image * p->v.outs + at->row) * line + at->col * p->co + filter;
    wino_part part = existing(at->row, at->col, p->v.outs, p->h.outs, WINO_OUT);
    float square[WINO_OUT * WINO_OUT * PANEL] = {0};
    const wino_part all = {0, WINO_OUT, 0, WINO_OUT};
    for (int i = 0; i < part.r1; i++)
        for (int j = 0; j < part.c1; j++)
            memcpy(square + (i * WINO_OUT + j) * PANEL, g + i * line + j * p->co, (size_t)cols * 4);
    for (int v = 0; v < PANEL; v += VL) {
        vf x[WINO_OUT * WINO_OUT], y[WINO_POS];
        load_square(square + v, WINO_OUT * PANEL, PANEL, &all, x, WINO_OUT);
        wino_gradient_plane(x, y);
        for (int i = 0; i < WINO_POS; i++) vf_store(m + i * d->m_step + v, y[i]);
    }
}

/* sum(panels, ci, 16) += v(tiles, ci)' m(panels, tiles, 16) at one point, or = where it is the
 * first; panels of the sums lie WINO_POS * ci * 16 floats apart. */
static inline void point_sum(const zk_winograd_grad *d, const float *v, const float *m,
                             int64_t tiles, int64_t panels, int first, float *sum) {
    int64_t ci = d->p->ci;
    zk_product t = {.a = v,
                    .b = m,
                    .c = sum,
                    .astep = d->v_row,
                    .bpanel = d->block * PANEL,
                    .crow = PANEL,
                    .cpanel = WINO_POS * ci * PANEL,
                    .k = tiles,
                    .next = m,
                    .more = !first};
    run_products(&turned_products, &t, panels, ci, 1);
}

/* Tiles [from, to) and panels [o0, o1), added to the sums of a piece. */
static void block_gradient(const zk_winograd_grad *d, int64_t from, int64_t to, int64_t o0,
                           int64_t o1, int first, float *v, float *sums) {
    float *m = v + WINO_POS * d->v_step;
    int64_t ci = d->p->ci;
    for (int64_t i = from; i < to; i++) {
        wino_place at = tile_place(&d->tiles, i);
        tile_to_points(d->p, &at, v + (i - from) * d->v_row, d->v_step, WINO_OUT);
        for (int64_t o = o0; o < o1; o++) {
            float *to_points = m + ((o - o0) * d->block + i - from) * PANEL;
            if ((o + 1) * PANEL <= d->p->co) gradient_to_points(d, &at, o, to_points);
            else gradient_rest_to_points(d, &at, o, to_points);
        }
    }
    for (int64_t i = 0; i < WINO_POS; i++)
        for (int64_t o = o0, some; o < o1; o += some) {
            some = zk_ceil(o1 - o, zk_ceil(o1 - o, PRODUCT_PANELS));
            point_sum(d, v + i * d->v_step, m + i * d->m_step + (o - o0) * d->block * PANEL,
                      to - from, some, first, sums + (o * WINO_POS + i) * ci * PANEL);
        }
}

static void winograd_grad_task(void *ctx, int64_t task, int thread) {
    const zk_winograd_grad *d = ctx;
    int64_t piece = task / d->chunks, chunk = task % d->chunks, all = d->tiles.all;
    int64_t first = d->blocks * piece / d->pieces, end = d->blocks * (piece + 1) / d->pieces;
    float *v = (float *)(d->scratch + thread * d->thread_bytes);
    for (int64_t i = first; i < end; i++)
        block_gradient(d, all * i / d->blocks, all * (i + 1) / d->blocks,
                       d->panels * chunk / d->chunks, d->panels * (chunk + 1) / d->chunks,
                       i == first, v, d->sums + piece * d->floats);
}

/* Some channels of one panel: adds the pieces and takes the sums to the taps. */
static void sums_to_taps(void *ctx, int64_t task, int thread) {
    const zk_winograd_grad *d = ctx;
    int64_t panel = task / WINO_GRAD_PARTS, part = task % WINO_GRAD_PARTS, ci = d->p->ci;
    int64_t filter = panel * PANEL, cols = zk_min(PANEL, d->p->co - filter);
    (void)thread;
    for (int64_t c = ci * part / WINO_GRAD_PARTS; c < ci * (part + 1) / WINO_GRAD_PARTS; c++)
        for (int k = 0; k < cols; k += VL) {
            const float *sum = d->sums + (panel * WINO_POS * ci + c) * PANEL + k;
            vf x[WINO_POS], y[9];
            for (int i = 0; i < WINO_POS; i++) x[i] = vf_load(sum + i * ci * PANEL);
            for (int64_t n = 1; n < d->pieces; n++)
                for (int i = 0; i < WINO_POS; i++)
                    x[i] += vf_load(sum + n * d->floats + i * ci * PANEL);
            wino_unweight_plane(x, y);
            for (int i = 0; i < 9; i++) {
                float *to = d->dw + (i * ci + c) * d->p->co + filter + k;
                if (cols - k >= VL) vf_store(to, y[i]);
                else vf_store_first(to, y[i], (int)(cols - k));
            }
        }
}

/* Cut by the shapes alone. */
static inline zk_winograd_grad plan_winograd_grad(const zk_conv *p) {
    zk_winograd_grad d = {
        .p = p, .tiles = count_tiles(p, WINO_OUT), .panels = zk_ceil(p->co, PANEL)};
    d.blocks = zk_ceil(d.tiles.all, WINO_GRAD_TILES);
    d.block = d.blocks ? zk_ceil(d.tiles.all, d.blocks) : 0;
    d.floats = d.panels * WINO_POS * p->ci * PANEL;
    d.chunks = zk_ceil(d.panels, WINO_GRAD_PANELS);
    int64_t most = zk_max(zk_min(WINO_GRAD_FLOATS / d.floats, d.blocks), 1);
    d.pieces = zk_min(zk_ceil(WINO_GRAD_TASKS, d.chunks), most);
    d.v_row = p->ci + WINO_PAD;
    d.v_step = d.block * d.v_row + WINO_PAD;
    d.m_step = zk_ceil(d.panels, d.chunks) * d.block * PANEL + WINO_PAD;
    d.thread_bytes = zk_align(WINO_POS * (d.v_step + d.m_step) * 4);
    return d;
}

static inline int64_t winograd_grad_scratch(const zk_conv *p, int threads) {
    zk_winograd_grad d = plan_winograd_grad(p);
    return zk_align(d.pieces * d.floats * 4) + threads * d.thread_bytes;
}

static inline void run_winograd_grad(const zk_call *c, const zk_conv *p, const float *g,
                                     float *dw) {
    zk_winograd_grad d = plan_winograd_grad(p);
    if (!d.blocks) {
        memset(dw, 0, (size_t)(9 * p->ci * p->co) * 4);
        return;
    }
    d.g = g, d.dw = dw, d.sums = (float *)c->scratch;
    d.scratch = c->scratch + zk_align(d.pieces * d.floats * 4);
    zk_parallel(c, d.pieces * d.chunks, winograd_grad_task, &d);
    zk_parallel(c, d.panels * WINO_GRAD_PARTS, sums_to_taps, &d);
}
#endif

/* Products of bfloat16 with sums in float32, in tile registers: pack_bf16, dense_bf16. A task takes
 * panels of 32 rows; two by two tiles hold 32 x 32 sums over all of k, so that no result depends on
 * rows, tasks or threads. Without AMX the model of the tiles gives the same bits, slowly. */
#include "bf16_result.h"

#define TASK (1 << 22)  /* multiplications of a task, at least: about 4 us */
#define TASKS 4         /* for each thread, for balance */
#define BLOCK (5 << 17) /* bytes of b that pass at once: they stay in L2 */
#define LARGE (1 << 19) /* numbers of b that don't stay in L2 */
#define PACKED 64       /* pairs of tiles that a task packs: some 6 us */

/* y(m, n) = act(a(m, k) b(k, n) + bias + residual) */
typedef struct {
    grid a;
    const uint16_t *b; /* (ceil(n / 32), steps, 2, 16, 32) */
    const float *bias;
    bf16_result y;
    char *scratch;
    int64_t m, n, k, steps;
    int turned;            /* a is stored (k, m) */
    int64_t rows, columns; /* tasks */
} product;

/* Up to 32 x 32 sums: a lies in two tiles of 16 rows `row` bytes apart, `half` bytes from one to
 * the other, `step` bytes from step to step. */
typedef struct {
    const char *a, *b;
    int64_t row, half, step, steps;
    const float *bias; /* 32 */
} block;

static int64_t cut(int64_t n, int64_t i, int64_t parts) { return n * i / parts; }
static int64_t thread_bytes(const product *g) {
    return (g->steps + 2) * ZK_TILE_BOTH * 2; /* a panel of a, then sums */
}
/* c = a b + bias, rows of c `crow` bytes apart. Up to 16 rows need half of the tiles. */
ZK_INLINE void sum_block(tiles *t, const block *w, const int both, float *c, int64_t crow) {
    const char *a = w->a, *b = w->b;
    tile_load(t, 0, w->bias, 0), tile_load(t, 1, w->bias + 16, 0);
    if (both) tile_load(t, 2, w->bias, 0), tile_load(t, 3, w->bias + 16, 0);
    for (int64_t s = 0; s < w->steps; s++, a += w->step, b += 2048) {
        for (int p = 0; p < 4; p++) __builtin_prefetch(b + 4096 + 512 * p);
        tile_load(t, 6, b, 64);
        tile_load(t, 4, a, w->row);
        tile_dp_bf16(t, 0, 4, 6);
        if (both) tile_load(t, 5, a + w->half, w->row);
        if (both) tile_dp_bf16(t, 2, 5, 6);
        tile_load(t, 7, b + 1024, 64);
        tile_dp_bf16(t, 1, 4, 7);
        if (both) tile_dp_bf16(t, 3, 5, 7);
    }
    tile_store(t, 0, c, crow), tile_store(t, 1, c + 16, crow);
    float *low = (float *)((char *)c + 16 * crow);
    if (both) tile_store(t, 2, low, crow), tile_store(t, 3, low + 16, crow);
}

/* Columns j.. of up to 32 rows from i on, whose a the block knows. */
ZK_INLINE void run_block(tiles *t, const product *g, block w, int64_t i, int64_t j, float *sums) {
    const int64_t rows = zk_min(g->m - i, SIDE), cols = zk_min(g->n - j, SIDE);
    float bias[SIDE] = {0};
    w.bias = g->bias + j;
    if (cols < SIDE) w.bias = memcpy(bias, w.bias, (size_t)cols * 4);
    w.b = (const char *)(g->b + j / SIDE * g->steps * ZK_TILE_BOTH);
    if (rows == SIDE && cols == SIDE && bf16_plain(&g->y)) {
        sum_block(t, &w, 1, (float *)g->y.p + i * g->n + j, g->n * 4);
        return;
    }
    if (rows > 16) sum_block(t, &w, 1, sums, SIDE * 4);
    else sum_block(t, &w, 0, sums, SIDE * 4);
    bf16_put(t, &g->y, sums, NULL, i, rows, j, cols);
}

/* a's panel of rows from i on: where it lies, or copied. */
ZK_INLINE block left_of(tiles *t, const product *g, int64_t i, uint16_t *room) {
    if (!g->turned && !g->a.wide && g->k % SIDE == 0 && i + SIDE <= g->m) {
        const int64_t row = g->a.row * 2;
        return (block){.a = grid_at(&g->a, i, 0), .row = row, .half = 16 * row, .step = 64};
    }
    uint16_t *to = room;
    for (int64_t s = 0; s < g->steps; s++, to += ZK_TILE_BOTH)
        for (int64_t half = 0; half < 2; half++)
            pack_left(t, &g->a, g->turned, i + 16 * half, g->m, s * SIDE, g->k,
                      to + half * TILE_NUMBERS);
    return (block){.a = (const char *)room, .row = 64, .half = 1024, .step = 2048};
}

ZK_INLINE void run_part(tiles *t, const product *g, int64_t task, char *scratch) {
    const int64_t r = task / g->columns, c = task % g->columns;
    const int64_t high = zk_ceil(g->m, SIDE), wide = zk_ceil(g->n, SIDE);
    const int64_t i1 = cut(high, r + 1, g->rows), j1 = cut(wide, c + 1, g->columns);
    const int64_t some = zk_max(1, BLOCK / zk_max(1, g->steps * ZK_TILE_BOTH * 2));
    float *sums = (float *)(scratch + g->steps * ZK_TILE_BOTH * 2);
    tile_config(t, &tile_full);
    for (int64_t j0 = cut(wide, c, g->columns); j0 < j1; j0 += some)
        for (int64_t i = cut(high, r, g->rows); i < i1; i++) {
            block w = left_of(t, g, i * SIDE, (uint16_t *)scratch);
            w.steps = g->steps;
            for (int64_t j = j0; j < zk_min(j1, j0 + some); j++)
                run_block(t, g, w, i * SIDE, j * SIDE, sums);
        }
    tile_release(t);
}

static void run_task(void *ctx, int64_t task, int thread) {
    const product *g = ctx;
    char *scratch = g->scratch + thread * thread_bytes(g);
    tiles model;
    if (tiles_real()) run_part(NULL, g, task, scratch);
    else run_part(&model, g, task, scratch);
}

/* Rows are cut first, since a task copies its rows for each block of columns; but where they need
 * none (the last ones may) and b is larger than a and than L2, each task has columns of its own: b
 * is read once. */
static void choose_tasks(product *g, int threads) {
    const int64_t high = zk_ceil(g->m, SIDE), wide = zk_ceil(g->n, SIDE);
    const int64_t most = high * SIDE * g->n * g->k / TASK;
    const int64_t wanted = threads > 1 ? zk_max(1, zk_min(most, TASKS * threads)) : 1;
    const int lies = !g->turned && !g->a.wide && g->k % SIDE == 0;
    if (lies && g->n > g->m && g->n * g->k > LARGE) {
        g->columns = zk_min(wide, wanted), g->rows = zk_min(high, zk_ceil(wanted, g->columns));
        return;
    }
    g->rows = zk_max(1, zk_min(high, wanted));
    g->columns = zk_max(1, zk_min(wide, zk_ceil(wanted, g->rows)));
}

static product product_of(const zk_call *c) {
    const zk_arg *y = c->a, *x = c->a + 1;
    product g = {.turned = c->attr[ZK_DENSE_BF16_TRANSPOSE_A] != 0};
    g.n = (int64_t)c->attr[ZK_DENSE_BF16_UNITS];
    g.m = zk_span(y, 0, y->ndim - 1), g.k = x->dims[g.turned ? 0 : x->ndim - 1];
    g.steps = zk_ceil(g.k, ZK_TILE_STEP);
    g.a = grid_of(x, NULL, g.turned ? g.m : g.k);
    choose_tasks(&g, c->threads);
    return g;
}

/* dense_bf16: y = act(x w + b [+ residual]), x and w rounded to bfloat16, sums in float32.
 * out y(..., n) float32 or bits of bfloat16
 * in x(..., k) or, turned, x(k, m), w(ceil(n / 32), ceil(k / 32), 2, 16, 32) bits, b(n),
 * residual(..., n); x and residual float32 or bits  attr n, act, transpose_a
 * scratch of each thread: 32 rows of x, 32 x 32 sums */
static void dense_bf16(const zk_call *c) {
    product g = product_of(c);
    if (!g.m || !g.n) return;
    g.y = bf16_result_of(c, g.n, (int)c->attr[ZK_DENSE_BF16_ACTIVATION]);
    g.a.p = c->p[1], g.b = c->p[2], g.bias = c->p[3], g.scratch = c->scratch;
    zk_parallel(c, g.rows * g.columns, run_task, &g);
}

static int64_t dense_bf16_scratch(const zk_call *c) {
    const product g = product_of(c);
    return c->threads * thread_bytes(&g);
}

typedef struct {
    grid w;
    uint16_t *y;
    int64_t taps, k, n, steps, per;
    int turned;
} packing;

ZK_INLINE void pack_part(tiles *t, const packing *j, int64_t from, int64_t to) {
    for (int64_t u = from; u < to; u++) {
        const int64_t k = u % j->steps * ZK_TILE_STEP, tap = u / j->steps % j->taps;
        const int64_t column = u / (j->steps * j->taps) * SIDE;
        const grid w = {grid_at(&j->w, tap * (j->turned ? j->n : j->k), 0), j->w.row, j->w.wide};
        uint16_t *y = j->y + u * ZK_TILE_BOTH;
        pack_right(t, &w, j->turned, k, j->k, column, j->n, y);
        pack_right(t, &w, j->turned, k, j->k, column + 16, j->n, y + TILE_NUMBERS);
    }
}

static void pack_task(void *ctx, int64_t task, int thread) {
    const packing *j = ctx;
    const int64_t all = zk_ceil(j->n, SIDE) * j->taps * j->steps, from = task * j->per;
    const int64_t to = zk_min(all, from + j->per);
    tiles model;
    (void)thread;
    if (tiles_real()) pack_part(NULL, j, from, to);
    else pack_part(&model, j, from, to);
}

/* pack_bf16: tiles of pairs of k by 16 columns, two side by side, each tap zero padded.
 * out y(ceil(n / 32), taps ceil(k / 32), 2, 16, 32) bits of bfloat16
 * in w(taps.., k, n) or, turned, w(taps.., n, k); float32 or bits  attr transpose */
static void pack_bf16(const zk_call *c) {
    const zk_arg *w = c->a + 1;
    const int64_t *last = w->dims + w->ndim - 2;
    packing j = {grid_of(w, c->p[1], last[1]), c->p[0], .taps = zk_span(w, 0, w->ndim - 2),
                 .turned = c->attr[ZK_PACK_BF16_TRANSPOSE] != 0};
    j.k = last[j.turned], j.n = last[!j.turned];
    j.steps = zk_ceil(j.k, ZK_TILE_STEP), j.per = PACKED;
    const int64_t pairs = zk_ceil(j.n, SIDE) * j.taps * j.steps;
    if (pairs) zk_parallel(c, zk_ceil(pairs, j.per), pack_task, &j);
}

const zk_kernel ZK_TABLE(gemm_bf16)[] = {
    {"dense_bf16", dense_bf16, dense_bf16_scratch}, {"pack_bf16", pack_bf16, NULL}, {0}};

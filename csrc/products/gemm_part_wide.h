/* A part of a matrix product by the tiles of gemm_wide.h, and how a product is cut into parts.
 * Order of loops: steps, columns (their b stays in L2), rows of a tile (their a stays in L1),
 * tiles. k is cut by shape alone; rows and columns, which change no sum, by the number of threads:
 * arithmetic is so fast beside L3 that each operand should be read seldom, so tasks are few and as
 * near to squares as can be. In: struct gemm, a part. Out: its results in y. */
#ifndef ZK_GEMM_PART_WIDE_H
#define ZK_GEMM_PART_WIDE_H
#include "gemm_pack_wide.h"
#include "gemm_product.h"
#include "gemm_wide.h"

#define KSTEPS 512       /* steps of k at once: sums stay in registers, a tile's rows of a in L1 */
#define NPANELS 32       /* panels at once: with KSTEPS 1 MB of b, which stays in L2 */
#define MLEAST 24        /* rows of a task, at least */
#define TASK 524288      /* multiplications of a task, at least: about 6 us */
#define TASKS 4          /* for each thread, for balance */
#define KCUTS 8          /* of k between tasks, at most */
#define SMALL 32768      /* floats of y up to which k is cut between tasks */
#define LIE_ROWS 64      /* rows of a task up to which b is read where it lies */
#define LIE_COLUMNS 2048 /* unless its rows are that long: each step then needs a new page */

/* A turned a is copied when a tile of it spreads over more floats (100 pages) in place; so many
 * tiles at once, for whole cache lines. */
#define TURNED_SPAN 110000
#define TURNED_TILES 4

/* Scratch floats of a thread for a, which is copied only when it is turned. */
static int64_t a_floats(const gemm *g) {
    return g->ta ? (int64_t)TURNED_TILES * (WIDE_ROWS + 2) * (KSTEPS + 16) : 0;
}

/* What is multiplied at once: steps [k0, k0 + steps), panels [p0, p1) of a part. */
typedef struct {
    const part *s;
    int64_t k0, steps, p0, p1;
    float *a, *b; /* room for copies */
} block;

/* Panels across a tile: wide ones need the fewest instructions; a turned a, of which a step lies
 * in one place, pays for many rows; few rows should read b once. */
static int64_t tile_width(const gemm *g) {
    const int64_t n = g->n, rest = n % (WIDE_PANELS * PANEL);
    if (n <= 2 * PANEL) return panels(n);
    if (g->m <= wide_rows[1] && g->m > wide_rows[3]) return g->m > wide_rows[2] ? 2 : 3;
    if (g->ta) return 2;
    if (rest == 0) return 4;
    return n % 48 == 0 || rest > 2 * PANEL || n > 256 ? 3 : 2;
}

/* Whether panels [., p) of b are read where they lie. */
static int lies(const gemm *g, int64_t p) { return g->in_place && p * PANEL <= g->n; }

static int64_t group_end(const gemm *g, int64_t p, int64_t p1) { return zk_min(p + g->wide, p1); }

/* Copies what does not lie well: groups of g->wide panels as (steps, columns). */
static void copy_b(const gemm *g, const block *w) {
    float *out = w->b;
    for (int64_t p = w->p0, end; p < w->p1 && !g->packed; p = end) {
        end = group_end(g, p, w->p1);
        if (lies(g, end)) continue;
        const float *b = w->s->b + p * PANEL * g->bcol + w->k0 * g->brow;
        const int64_t cols = zk_min(g->n - p * PANEL, (end - p) * PANEL);
        if (g->tb) pack_columns_wide(b, g->bcol, w->steps, cols, end - p, out);
        else pack_rows_wide(b, g->brow, w->steps, cols, end - p, out);
        out += (end - p) * PANEL * w->steps;
    }
}

/* Points the tile at panels [p, end) of b: packed, where they lie, or copied. */
static void point_b(const gemm *g, const block *w, int64_t p, int64_t end, wide_tile *t) {
    if (g->packed) {
        t->b = w->s->b + (p * g->k + w->k0) * PANEL;
        t->bstep = PANEL, t->bpanel = g->k * PANEL;
    } else if (lies(g, end)) {
        t->b = w->s->b + w->k0 * g->n + p * PANEL;
        t->bstep = g->n, t->bpanel = PANEL;
    } else {
        t->b = w->b + (g->in_place ? 0 : (p - w->p0) * PANEL * w->steps);
        t->bstep = (end - p) * PANEL, t->bpanel = PANEL;
    }
}

/* Row `i` of `tiles` tiles of the part: where it starts. */
static int64_t tile_row(const part *s, int64_t i, int64_t tiles) {
    return s->i0 + cut(s->i1 - s->i0, i, tiles);
}

/* Tiles [i, i + TURNED_TILES) of a turned a, each as (steps, its rows). */
static void turn_a(const gemm *g, const block *w, int64_t i, int64_t tiles) {
    const int64_t count = zk_min(TURNED_TILES, tiles - i);
    int64_t row[TURNED_TILES + 1];
    for (int64_t u = 0; u <= count; u++) row[u] = tile_row(w->s, i + u, tiles);
    const float *a = w->s->a + w->k0 * g->m;
    for (int64_t t = 0; t < w->steps; t++, a += g->m)
        for (int64_t u = 0; u < count; u++) {
            const int64_t rows = row[u + 1] - row[u];
            float *out = w->a + u * WIDE_ROWS * KSTEPS + t * rows;
            __builtin_prefetch(a + PACK_AHEAD * g->m + row[u], 0, 2);
            vf_store_first(out, vf_load_first(a + row[u], rows, (vf){0}), rows);
        }
}

/* Points the tile at its rows of a: where they lie, or copied, when a is turned and its steps lie
 * in more pages than the processor remembers. */
static void point_a(const gemm *g, const block *w, int64_t i, int64_t tiles, wide_tile *t) {
    const int64_t row = tile_row(w->s, i, tiles);
    t->a = w->s->a + row * g->arow + w->k0 * g->acol, t->astep = g->ta ? g->m : g->k;
    if (!g->ta || g->m * w->steps < TURNED_SPAN || w->p1 - w->p0 <= g->wide) return;
    if (i % TURNED_TILES == 0) turn_a(g, w, i, tiles);
    t->a = w->a + i % TURNED_TILES * WIDE_ROWS * KSTEPS;
    t->astep = tile_row(w->s, i + 1, tiles) - row;
}

/* One tile at row `row`; t knows a. */
static void run_tile(const gemm *g, const block *w, int64_t row, int64_t rows, int64_t p,
                     wide_tile t) {
    const part *s = w->s;
    const int64_t end = group_end(g, p, w->p1), column = p * PANEL;
    const int first = w->k0 == s->k0, last = w->k0 + w->steps == g->k && g->kcuts == 1;
    const int cols = (int)zk_min(g->n - column, (end - p) * PANEL);
    point_b(g, w, p, end, &t);
    t.crow = g->n, t.c = s->y + row * g->n + column;
    t.add = !first ? t.c : g->bias ? g->bias + column : NULL;
    t.addrow = first ? 0 : g->n;
    t.last = cols - (int)(end - p - 1) * PANEL;
    if (last && g->act <= ZK_RELU) {
        t.residual = g->residual ? g->residual + (t.c - g->y) : NULL;
        t.act = g->act;
    }
    wide_kernel[g->ta][end - p - 1][rows - 1](&t);
    if (last && g->act > ZK_RELU) finish(g, t.c, rows, cols);
}

/* What a tile fetches for the next one, whose a the others of its rows then find in L1: a share of
 * its rows, or of its steps, or of a run of both. */
static void point_fetch(const gemm *g, const wide_tile *next, int64_t rows, int64_t group,
                        wide_tile *t) {
    const int run = next->astep == (g->ta ? rows : t->k);
    t->fetch = next->a + group * (run ? 4 * t->k : next->astep);
    t->fetchstep = run ? 16 : g->ta ? 4 * next->astep : 4;
    if (group * (run || g->ta ? 4 : 1) >= (g->ta && !run ? 16 : rows))
        t->fetch = next->a, t->fetchstep = 0;
}

static void run_block(const gemm *g, const block *w) {
    const int64_t tiles = zk_ceil(w->s->i1 - w->s->i0, wide_rows[g->wide - 1]);
    copy_b(g, w);
    wide_tile next = {0};
    point_a(g, w, 0, tiles, &next);
    for (int64_t i = 0; i < tiles; i++) {
        const int64_t row = tile_row(w->s, i, tiles), rows = tile_row(w->s, i + 1, tiles) - row;
        wide_tile t = next;
        t.k = w->steps;
        if (i + 1 < tiles) point_a(g, w, i + 1, tiles, &next);
        int64_t group = 0;
        for (int64_t p = w->p0; p < w->p1; p += g->wide, group++) {
            point_fetch(g, &next, rows, group, &t);
            run_tile(g, w, row, rows, p, t);
        }
    }
}

/* y = act(a b + bias) for one part. */
static void multiply_part(const gemm *g, const part *s, float *scratch) {
    const int64_t count = s->k1 - s->k0, kparts = zk_max(1, zk_ceil(count, KSTEPS));
    const int64_t groups = zk_ceil(s->p1 - s->p0, g->wide);
    const int64_t nparts = zk_ceil(groups, NPANELS / g->wide);
    for (int64_t q = 0; q < kparts; q++)
        for (int64_t j = 0; j < nparts; j++) {
            block w = {.s = s,
                       .k0 = s->k0 + cut(count, q, kparts),
                       .a = scratch,
                       .b = scratch + a_floats(g)};
            w.steps = s->k0 + cut(count, q + 1, kparts) - w.k0;
            w.p0 = s->p0 + cut(groups, j, nparts) * g->wide;
            w.p1 = zk_min(s->p1, s->p0 + cut(groups, j + 1, nparts) * g->wide);
            run_block(g, &w);
        }
}

/* Scratch floats of a thread: for a, then, when b is copied, one group or all panels of a block. */
static int64_t pack_floats(const gemm *g) {
    if (g->packed || (g->in_place && g->n % PANEL == 0)) return a_floats(g);
    const int64_t most = g->in_place ? WIDE_PANELS : NPANELS;
    return a_floats(g) + zk_min(most, panels(g->n)) * PANEL * zk_min(g->k, KSTEPS);
}

/* Cuts rows and columns into `wanted` blocks, if there is so much, that read as little as can be:
 * each block of rows reads b, each block of columns a. */
static void cut_plane(gemm *g, int64_t wanted) {
    const int64_t most = zk_max(1, g->m / MLEAST), widest = zk_ceil(panels(g->n), g->wide);
    int64_t blocks = 0, least = 0;
    for (int64_t rows = 1; rows <= zk_min(wanted, most); rows++) {
        const int64_t columns = zk_min(zk_ceil(wanted, rows), widest);
        const int64_t found = zk_min(rows * columns, wanted), reads = rows * g->n + columns * g->m;
        if (found < blocks || (found == blocks && reads >= least)) continue;
        g->rows = rows, g->columns = columns, blocks = found, least = reads;
    }
}

static void choose_blocks(gemm *g) {
    if (!g->m || !g->n || !g->batch) return; /* no blocks at all */
    /* reading b costs about as much as 6 rows */
    const double work = (double)g->batch * (double)(g->n * (g->k + 1)) * (double)(g->m + 6);
    const int64_t most = zk_max(1, (int64_t)(work / TASK)), threads = g->call->threads;
    const int64_t tasks = threads > 1 ? zk_min(most, TASKS * threads) : 1;
    const int cut_k = g->may_cut_k && g->m * g->n <= SMALL;
    g->wide = tile_width(g);
    g->kcuts = cut_k ? zk_max(1, zk_min(zk_min(most, KCUTS), g->k / KSTEPS)) : 1;
    cut_plane(g, zk_ceil(tasks, g->batch * g->kcuts));
    const int64_t rows = zk_ceil(g->m, g->rows);
    g->in_place =
        !g->tb && (rows <= wide_rows[g->wide - 1] || (rows <= LIE_ROWS && g->n < LIE_COLUMNS) ||
                   (rows <= 8 * LIE_ROWS && g->n <= 128));
    g->chunk = zk_ceil(g->batch * g->rows * g->columns * g->kcuts, tasks);
}

/* Nothing is shared: each task copies the columns that it needs, which few others do. */
static int64_t shared_floats(const gemm *g) {
    (void)g;
    return 0;
}
static void share_b(gemm *g) { (void)g; }
#endif

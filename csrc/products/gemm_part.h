/* A part of a matrix product by the tiles of gemm.h, and how a product is cut into parts: by its
 * shape alone. A task packs a few panels of b at a time into its own scratch memory and runs the
 * tiles over its rows of a. In: struct gemm, a part. Out: its results in y. */
#ifndef ZK_GEMM_PART_H
#define ZK_GEMM_PART_H
#include "gemm.h"
#include "gemm_pack.h"
#include "gemm_product.h"

#define KBLOCK 256        /* steps of k at once: a panel of b is 16 kB and stays in L1 */
#define MBLOCK 256        /* rows of a task: its MBLOCK * KBLOCK floats of a stay in L2 */
#define MLEAST 24         /* rows of a task, at least, when rows are cut to keep threads busy */
#define GROUP GEMM_WIDEST /* panels packed at once */
#define TASK 524288       /* multiplications of a task, at least: about 10 us */
#define FEW_TASKS 8       /* enough for balance; more when they stay long, up to MANY_TASKS */
#define MANY_TASKS 32
#define SMALL 32768 /* floats of y up to which k is cut between tasks */
#define BROAD 16    /* panels of a task, at least, when a has to be packed or copied */
#define KLEAST 512  /* steps of a task, at least, when k is cut because of that */
#define CLASH 512   /* rows that lie a multiple of so many floats apart share cache sets */

/* Scratch floats of a thread: packed panels of b, then, when a is turned, packed tiles of a. */
#define BPACK ((int64_t)GROUP * KBLOCK * PANEL)
#define APACK ((int64_t)(MBLOCK + 16) * (KBLOCK + 16))
#define SHARE_ROWS 4           /* blocks of rows from which on they share one packed b */
#define SHARE_FLOATS (1 << 20) /* of b, at most */
#define AROOM ((GEMM_ROWS + VL - 1) / VL * VL) /* floats of a step of packed a, as stored */

/* Whether rows of a are copied next to each other before they are used. */
static int copied(const gemm *g) {
    return !g->ta && g->m > GEMM_ROWS && g->k > KBLOCK && g->arow % CLASH == 0;
}

/* GROUP panels at once: a long run of each row of b is read in one go. */
static void pack_group(const float *b, int64_t brow, int64_t steps, float *out) {
    for (int64_t t = 0; t < steps; t++, b += brow, out += PANEL)
#pragma GCC unroll 16
        for (int v = 0; v < GROUP * PV; v++)
            vf_store(out + (v / PV) * KBLOCK * PANEL + (v % PV) * VL, vf_load(b + v * VL));
}

/* Packs panels [p, p + count) of b, steps k0.. */
static void pack_b(const gemm *g, const float *b, int64_t p, int64_t count, int64_t k0,
                   int64_t steps, float *out) {
    int64_t cols = g->n - p * PANEL;
    b += p * PANEL * g->bcol + k0 * g->brow;
    if (!g->tb && count == GROUP && cols >= GROUP * PANEL) {
        pack_group(b, g->brow, steps, out);
        return;
    }
    for (; count > 0; count--, cols -= PANEL, b += PANEL * g->bcol, out += KBLOCK * PANEL)
        if (g->tb) pack_columns(b, g->bcol, steps, cols, out);
        else pack_rows(b, g->brow, steps, cols, out);
}

/* Points the tile at panels [p, p + count) of b, steps k0..; packs them if that pays. */
static void choose_b(const gemm *g, const float *b, int64_t p, int64_t count, int64_t k0,
                     float *scratch, gemm_tile *t) {
    if (g->packed) {
        t->b = b + p * g->k * PANEL + k0 * PANEL;
        t->bstep = PANEL, t->bpanel = g->k * PANEL;
    } else if (!g->tb && g->m <= GEMM_ROWS && (p + count) * PANEL <= g->n) {
        t->b = b + p * PANEL + k0 * g->brow;
        t->bstep = g->brow, t->bpanel = PANEL;
    } else {
        pack_b(g, b, p, count, k0, t->k, scratch);
        t->b = scratch;
        t->bstep = PANEL, t->bpanel = KBLOCK * PANEL;
    }
}

/* Floats of a packed tile of a; its last step may spill. */
static int64_t tile_floats(int64_t steps) { return steps * GEMM_ROWS + AROOM; }

/* A part's rows of a(k, m) from step k0 on, tile by tile as in gemm_rows, as out(tiles, steps,
 * GEMM_ROWS). Goes 8 steps at a time, so that cache lines shared by two tiles are still there for
 * the second. Whole vectors take a third of the time; what they spill, the next step overwrites. */
static void pack_a(const gemm *g, const part *s, int64_t k0, int64_t steps, float *out) {
    const int64_t count = s->i1 - s->i0, tiles = zk_ceil(count, GEMM_ROWS);
    const int64_t small = count / tiles, larger = count % tiles;
    const float *a = s->a + s->i0 + k0 * g->acol;
    for (int64_t t0 = 0; t0 < steps; t0 += 8)
        for (int64_t i = 0, at = 0; i < tiles; at += small + (i < larger), i++) {
            const int64_t rows = zk_min(count - at, GEMM_ROWS), end = zk_min(t0 + 8, steps);
            const int whole = s->i0 + at + AROOM <= g->m;
            const float *from = a + at + t0 * g->acol;
            float *to = out + i * tile_floats(steps) + t0 * GEMM_ROWS;
            for (int64_t t = t0; t < end; t++, from += g->acol, to += GEMM_ROWS)
                if (!whole) memcpy(to, from, (size_t)rows * sizeof *to);
                else
                    for (int v = 0; v < AROOM; v += VL) vf_store(to + v, vf_load(from + v));
        }
}

/* A part's rows of a(m, k) from step k0 on, as out(rows, KBLOCK + 16). */
static void copy_a(const gemm *g, const part *s, int64_t k0, int64_t steps, float *out) {
    const float *a = s->a + s->i0 * g->arow + k0;
    for (int64_t i = s->i0; i < s->i1; i++, a += g->arow, out += KBLOCK + 16)
        memcpy(out, a, (size_t)steps * sizeof *out);
}

/* Steps [k0, k0 + t.k) of a part: the tile knows a and its strides. */
static void run_panels(const gemm *g, const part *s, int64_t k0, gemm_tile t, int apacked,
                       float *scratch) {
    const int64_t rows = s->i1 - s->i0, wide = GEMM_WIDE(zk_ceil(rows, zk_ceil(rows, GEMM_ROWS)));
    const int first = k0 == s->k0;
    const int last = k0 + t.k == g->k && g->kcuts == 1;
    const int finishes = last && (g->residual || g->act > ZK_RELU);
    t.act = last && !g->residual ? g->act : ZK_LINEAR;
    t.crow = g->n, t.addrow = first ? 0 : g->n;
    for (int64_t p = s->p0, count, w; p < s->p1; p += count) {
        count = zk_min(s->p1 - p, GROUP);
        if (count > 1 && (p + count) * PANEL > g->n) count--; /* the incomplete one goes alone */
        choose_b(g, s->b, p, count, k0, scratch, &t);
        for (int64_t i = 0; i < count; i += w) {
            gemm_tile u = t;
            w = count - i < wide ? 1 : wide;
            const int64_t column = (p + i) * PANEL;
            u.cols = (int)zk_min(g->n - column, w * PANEL);
            u.b = t.b + i * t.bpanel;
            u.c = s->y + s->i0 * g->n + column;
            u.add = first ? (g->bias ? g->bias + column : NULL) : u.c;
            gemm_rows(&u, rows, w > 1, apacked ? tile_floats(u.k) : 0);
            if (finishes) finish(g, u.c, rows, u.cols);
        }
    }
}

/* y = act(a b + bias) for one part, by the micro-kernel. */
static void multiply_part(const gemm *g, const part *s, float *scratch) {
    const int64_t count = s->k1 - s->k0, kparts = zk_max(1, zk_ceil(count, KBLOCK));
    const int apacked = g->ta && s->p1 - s->p0 > 2;
    for (int64_t q = 0; q < kparts; q++) {
        const int64_t k0 = s->k0 + cut(count, q, kparts);
        gemm_tile t = {
            .arow = g->arow, .acol = g->acol, .k = s->k0 + cut(count, q + 1, kparts) - k0};
        t.a = s->a + s->i0 * g->arow + k0 * g->acol;
        if (apacked) {
            pack_a(g, s, k0, t.k, scratch + BPACK);
            t.a = scratch + BPACK, t.arow = 1, t.acol = GEMM_ROWS;
        } else if (copied(g) && s->p1 - s->p0 > 2) {
            copy_a(g, s, k0, t.k, scratch + BPACK);
            t.a = scratch + BPACK, t.arow = KBLOCK + 16;
        }
        run_panels(g, s, k0, t, apacked, scratch);
    }
}

static int64_t pack_floats(const gemm *g) {
    if (g->packed && !g->ta && !copied(g)) return 0; /* nothing is copied */
    return g->ta || copied(g) ? BPACK + APACK : BPACK;
}

/* Number of tasks for so many multiplications: pieces of 10 us or more, and of about 150 us once
 * there are enough of them. */
static int64_t tasks_for(double work) {
    const int64_t most = (int64_t)(work / TASK);
    if (most < 2) return 1;
    return zk_min(most, zk_max(FEW_TASKS, zk_min(most / 16, MANY_TASKS)));
}

/* Chooses blocks: at most MBLOCK rows; k is cut when y is small and k long, then columns, down to
 * GROUP panels, then rows. */
static void choose_blocks(gemm *g) {
    if (!g->m || !g->n || !g->batch) return; /* no blocks at all */
    /* reading and packing b costs about as much as 6 rows */
    const double work = (double)g->batch * (double)(g->n * (g->k + 1)) * (double)(g->m + 6);
    const int64_t tasks = tasks_for(work), kparts = g->k / KBLOCK;
    const int cut_k = g->may_cut_k && g->m * g->n <= SMALL && kparts > 3;
    const int broad = !cut_k && (g->ta ? g->may_cut_k : copied(g));
    const int64_t least = broad ? BROAD : GROUP;
    g->wide = 1;
    g->kcuts = cut_k ? zk_min(tasks, kparts) : 1;
    const int64_t wanted = zk_ceil(tasks, g->batch * g->kcuts);
    g->rows = zk_ceil(g->m, MBLOCK);
    g->columns = zk_min(zk_ceil(wanted, g->rows), zk_ceil(g->n, least * PANEL));
    const int64_t most = broad ? zk_min(wanted, FEW_TASKS) : wanted;
    if (broad && g->ta) g->kcuts = zk_max(1, zk_min(most / (g->rows * g->columns), g->k / KLEAST));
    g->rows = zk_max(g->rows, zk_min(most / (g->columns * g->kcuts), g->m / MLEAST));
    g->chunk = zk_ceil(g->batch * g->rows * g->columns * g->kcuts, tasks);
}

/* Whether b is packed once for all: a task for each few rows would do it again and again. */
static int shares_b(const gemm *g) {
    return !g->packed && g->batch == 1 && g->rows >= SHARE_ROWS && g->k * g->n <= SHARE_FLOATS;
}

static int64_t shared_floats(const gemm *g) {
    return shares_b(g) ? panels(g->n) * g->k * PANEL : 0;
}

static void share_task(void *ctx, int64_t p, int thread) {
    const gemm *g = ctx;
    const float *b = g->b + p * PANEL * g->bcol;
    float *to = g->shared + p * g->k * PANEL;
    (void)thread;
    if (g->tb) pack_columns(b, g->bcol, g->k, g->n - p * PANEL, to);
    else pack_rows(b, g->brow, g->k, g->n - p * PANEL, to);
}

static void share_b(gemm *g) {
    if (!shares_b(g)) return;
    zk_parallel(g->call, panels(g->n), share_task, g);
    g->b = g->shared, g->packed = 1;
}
#endif

/* Matrix products: matmul, dense, pack_dense, dense_packed. A product is cut into blocks by its
 * shape alone, so that no result depends on the number of threads. A task packs a few panels of b
 * at a time into its own scratch memory and runs the micro-kernel of gemm.h over its rows of a. */
#include "gemm.h"
#include "gemm_pack.h"
#include "mkl.h"

#define KBLOCK 256        /* steps of k at once: a panel of b is 16 kB and stays in L1 */
#define MBLOCK 256        /* rows of a task: its MBLOCK * KBLOCK floats of a stay in L2 */
#define MLEAST 24         /* rows of a task, at least, when rows are cut to keep threads busy */
#define GROUP GEMM_WIDEST /* panels packed at once */
#define TASK 524288       /* multiplications of a task, at least: about 10 us */
#define FEW_TASKS 8       /* enough for balance; more when they stay long, up to MANY_TASKS */
#define MANY_TASKS 32
#define SMALL 32768     /* floats of y up to which k is cut between tasks */
#define BROAD 16        /* panels of a task, at least, when a has to be packed or copied */
#define KLEAST 512      /* steps of a task, at least, when k is cut because of that */
#define ROW_TASK 32768  /* weights of a task for one row, at least: 128 kB, about 2 us */
#define CLASH 512       /* rows that lie a multiple of so many floats apart share cache sets */
#define SUM_FLOATS 4096 /* of y, summed by one task afterwards */

/* Scratch floats of a thread: packed panels of b, then, when a is turned, packed tiles of a. */
#define BPACK ((int64_t)GROUP * KBLOCK * PANEL)
#define APACK ((int64_t)(MBLOCK + 16) * (KBLOCK + 16))
#define SHARE_ROWS 4           /* blocks of rows from which on they share one packed b */
#define SHARE_FLOATS (1 << 20) /* of b, at most */
#define AROOM ((GEMM_ROWS + VL - 1) / VL * VL) /* floats of a step of packed a, as stored */

/* y(m, n) = act(a(m, k) b(k, n) + bias), for each of `batch` matrices. */
typedef struct {
    const zk_call *call;
    const zk_arg *aarg, *barg;
    int64_t m, n, k, batch;
    const float *a, *b, *bias; /* bias: NULL or n floats */
    const float *residual;     /* NULL, or like y: added before act */
    float *y;
    int ta, tb, packed;             /* stored turned: a(k, m), b(n, k); b in panels */
    int64_t arow, acol, brow, bcol; /* strides of a(m, k) and b(k, n) in memory */
    int act, mkl, may_cut_k;
    int column;                   /* y was one column, see turn_single_column */
    int64_t rows, columns, kcuts; /* blocks of one matrix */
    float *partial;               /* y(kcuts, m, n) before its sum when kcuts > 1 */
    float *shared;                /* b in panels, or NULL when each task packs what it reads */
    int64_t chunk;                /* blocks of one task */
} gemm;

/* Rows [i0, i1), panels [p0, p1) and steps [k0, k1) of one matrix. */
typedef struct {
    const float *a, *b;
    float *y;
    int64_t i0, i1, p0, p1, k0, k1;
} part;

/* Whether rows of a are copied next to each other before they are used. */
static int copied(const gemm *g) {
    return !g->ta && g->m > GEMM_ROWS && g->k > KBLOCK && g->arow % CLASH == 0;
}

static int64_t panels(int64_t n) { return zk_ceil(n, PANEL); }

/* Where part `i` of `parts` equal parts of `n` things starts. */
static int64_t cut(int64_t n, int64_t i, int64_t parts) { return n * i / parts; }

/* Not inlined: a call costs less than the function. */
static __attribute__((noinline)) vf curve(vf y, int act) {
    switch (act) {
    case ZK_LINEAR:
        return y;
    case ZK_RELU:
        return vf_at_least(y, (vf){0});
    case ZK_RELU6:
        return vf_at_most(vf_at_least(y, (vf){0}), vf_set(6));
    case ZK_TANH:
        return vf_tanh(y);
    case ZK_GELU:
        return vf_gelu(y);
    case ZK_GELU_TANH:
        return vf_gelu_tanh(y);
    case ZK_SILU:
        return vf_silu(y);
    default:
        return vf_sigmoid(y);
    }
}

/* c(rows, cols) = act(c + residual), what a tile does not do itself. c lies in y. */
static void finish(const gemm *g, float *c, int64_t rows, int64_t cols) {
    const float *residual = g->residual ? g->residual + (c - g->y) : NULL;
    for (int64_t r = 0; r < rows; r++, c += g->n)
        for (int64_t i = 0; i < cols; i += VL) {
            const int some = (int)zk_min(VL, cols - i);
            vf y = some == VL ? vf_load(c + i) : vf_load_n(c + i, some);
            if (residual) {
                const float *from = residual + r * g->n + i;
                y += some == VL ? vf_load(from) : vf_load_n(from, some);
            }
            y = curve(y, g->act);
            if (some == VL) vf_store(c + i, y);
            else vf_store_n(c + i, y, some);
        }
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

/* The same by MKL. */
static void multiply_part_by_mkl(const gemm *g, const part *s) {
    const int64_t j = s->p0 * PANEL, rows = s->i1 - s->i0;
    const int64_t cols = zk_min(g->n, s->p1 * PANEL) - j;
    const zk_matrix a = {s->a + s->i0 * g->arow + s->k0 * g->acol, g->ta ? g->m : g->k, g->ta};
    const zk_matrix b = {s->b + j * g->bcol + s->k0 * g->brow, g->tb ? g->k : g->n, g->tb};
    float *y = s->y + s->i0 * g->n + j;
    for (int64_t i = 0; g->bias && i < rows; i++)
        memcpy(y + i * g->n, g->bias + j, (size_t)cols * sizeof *y);
    zk_mkl_multiply(rows, cols, s->k1 - s->k0, a, b, g->bias ? 1 : 0, y, g->n);
    if (g->act || g->residual) finish(g, y, rows, cols);
}

/* y(rows) = w(rows, k) x, four rows at a time. */
static void dot_rows(const float *w, int64_t rows, int64_t k, const float *x, float *y) {
    for (int64_t i = 0; i < rows; i += 4) {
        const int64_t n = zk_min(rows - i, 4);
        const float *r[4];
        vf sum[4][2] = {{{0}}};
        for (int64_t j = 0; j < 4; j++) r[j] = w + (i + zk_min(j, n - 1)) * k;
        int64_t t = 0;
        for (; t + 2 * VL <= k; t += 2 * VL)
            for (int u = 0; u < 2; u++) {
                const vf v = vf_load(x + t + u * VL);
#pragma GCC unroll 4
                for (int j = 0; j < 4; j++) sum[j][u] += vf_load(r[j] + t + u * VL) * v;
            }
        for (int64_t j = 0; j < n; j++) {
            y[i + j] = vf_sum(sum[j][0] + sum[j][1]);
            for (int64_t u = t; u < k; u++) y[i + j] += r[j][u] * x[u];
        }
    }
}

/* A single column, see turn_single_column, as dot products; the bias is one number. Other rows take
 * the tile: dot products would give a row alone other bits than the same row in a batch. */
static void multiply_part_by_dots(const gemm *g, const part *s) {
    const int64_t j = s->p0 * PANEL, n = zk_min(g->n, s->p1 * PANEL) - j;
    float *y = s->y + j;
    dot_rows(s->b + j * g->k, n, g->k, s->a, y);
    for (int64_t i = 0; g->bias && i < n; i++) y[i] += *g->bias;
    if (g->act || g->residual) finish(g, y, 1, n);
}

/* Number of floats between the first one of `arg` and its matrix for output matrix `index`. */
static int64_t matrix_at(const gemm *g, const zk_arg *arg, int64_t index) {
    const zk_arg *out = g->call->a;
    int64_t offset = 0, step = zk_span(arg, arg->ndim - 2, arg->ndim);
    for (int i = out->ndim - 3, j = arg->ndim - 3; j >= 0; i--, j--) {
        if (arg->dims[j] > 1) offset += index % out->dims[i] * step;
        index /= out->dims[i];
        step *= arg->dims[j];
    }
    return offset;
}

static void run_part(const gemm *g, const part *s, float *scratch) {
    if (g->mkl) multiply_part_by_mkl(g, s);
    else if (g->column && g->tb) multiply_part_by_dots(g, s);
    else multiply_part(g, s, scratch);
}

static int64_t pack_floats(const gemm *g) { return g->ta || copied(g) ? BPACK + APACK : BPACK; }

static void run_task(void *ctx, int64_t task, int thread) {
    const gemm *g = ctx;
    const int64_t rc = g->rows * g->columns, blocks = rc * g->kcuts, np = panels(g->n);
    float *scratch = (float *)g->call->scratch + thread * pack_floats(g);
    for (int64_t u = task * g->chunk; u < zk_min(g->batch * blocks, (task + 1) * g->chunk); u++) {
        const int64_t matrix = u / blocks, q = u % blocks / rc, r = u % rc / g->columns;
        const int64_t column = u % g->columns, size = g->m * g->n;
        part s = {.a = g->a, .b = g->b};
        if (g->batch > 1) {
            s.a += matrix_at(g, g->aarg, matrix);
            s.b += matrix_at(g, g->barg, matrix);
        }
        s.y = g->kcuts > 1 ? g->partial + q * size : g->y + matrix * size;
        s.i0 = cut(g->m, r, g->rows), s.i1 = cut(g->m, r + 1, g->rows);
        s.p0 = cut(np, column, g->columns), s.p1 = cut(np, column + 1, g->columns);
        s.k0 = cut(g->k, q, g->kcuts), s.k1 = cut(g->k, q + 1, g->kcuts);
        run_part(g, &s, scratch);
    }
}

/* y = sum of the partial matrices, in their order. */
static void sum_task(void *ctx, int64_t task, int thread) {
    const gemm *g = ctx;
    const int64_t size = g->m * g->n, at = task * SUM_FLOATS, n = zk_min(size - at, SUM_FLOATS);
    float *restrict y = g->y + at;
    (void)thread;
    memcpy(y, g->partial + at, (size_t)n * sizeof *y);
    for (int64_t q = 1; q < g->kcuts; q++) {
        const float *restrict more = g->partial + q * size + at;
        for (int64_t i = 0; i < n; i++) y[i] += more[i];
    }
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
    if (g->m == 1 && g->packed) {            /* reads each weight once: fine tasks keep balance */
        g->rows = g->kcuts = 1;
        g->columns = zk_ceil(panels(g->n), GROUP);
        g->chunk = zk_ceil(ROW_TASK, GROUP * PANEL * (g->k + 1));
        return;
    }
    /* reading and packing b costs about as much as 6 rows */
    const double work = (double)g->batch * (double)(g->n * (g->k + 1)) * (double)(g->m + 6);
    const int64_t tasks = tasks_for(work), kparts = g->k / KBLOCK;
    const int cut_k = g->may_cut_k && g->m * g->n <= SMALL && kparts > 3;
    const int broad = !cut_k && (g->ta ? g->may_cut_k : copied(g));
    const int64_t least = broad ? BROAD : GROUP;
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

static void multiply(gemm *g) {
    const int64_t blocks = g->batch * g->rows * g->columns * g->kcuts;
    if (!blocks) return;
    if (g->mkl && !zk_mkl_loaded()) {
        zk_fail(g->call, "the program wants MKL, which is not loaded");
        return;
    }
    if (shares_b(g) && !g->mkl) {
        zk_parallel(g->call, panels(g->n), share_task, g);
        g->b = g->shared, g->packed = 1;
    }
    zk_parallel(g->call, zk_ceil(blocks, g->chunk), run_task, g);
    if (g->kcuts > 1) zk_parallel(g->call, zk_ceil(g->m * g->n, SUM_FLOATS), sum_task, g);
}

/* A column y(m, 1) = a b is the row b' a'. */
static void turn_single_column(gemm *g) {
    const gemm was = *g;
    if (was.n != 1 || was.packed) return;
    g->m = 1, g->n = was.m, g->column = 1;
    g->a = was.b, g->b = was.a;
    g->aarg = was.barg, g->barg = was.aarg;
    g->ta = 0, g->tb = !was.ta;
}

static void set_strides(gemm *g) {
    g->arow = g->ta ? 1 : g->k, g->acol = g->ta ? g->m : 1;
    g->brow = g->tb ? 1 : g->n, g->bcol = g->tb ? g->k : 1;
}

/* Scratch: of the threads, then the shared b, then partial sums. */
static int64_t scratch_bytes(const zk_call *c, const gemm *g) {
    const int64_t partial = g->kcuts > 1 ? g->kcuts * g->m * g->n : 0;
    return (c->threads * pack_floats(g) + shared_floats(g) + partial) * (int64_t)sizeof(float);
}

static void take_scratch(gemm *g) {
    g->shared = (float *)g->call->scratch + g->call->threads * pack_floats(g);
    g->partial = g->shared + shared_floats(g);
}

/* The product of a call. Its blocks, and so its scratch, are the same whoever multiplies. */
static gemm product(const zk_call *c, const float *a, const float *b) {
    const zk_arg *y = c->a, *aarg = c->a + 1, *barg = c->a + 2;
    gemm g = {.call = c, .a = a, .b = b, .aarg = aarg, .barg = barg};
    g.ta = c->attr[ZK_MATMUL_TRANSPOSE_A] != 0, g.tb = c->attr[ZK_MATMUL_TRANSPOSE_B] != 0;
    g.m = y->dims[y->ndim - 2], g.n = y->dims[y->ndim - 1];
    g.k = aarg->dims[aarg->ndim - 1 - g.ta];
    g.batch = zk_span(y, 0, y->ndim - 2);
    if (!g.ta && zk_span(barg, 0, barg->ndim - 2) == 1) g.m *= g.batch, g.batch = 1;
    turn_single_column(&g);
    set_strides(&g);
    g.mkl = c->attr[ZK_MATMUL_BY] == ZK_MKL && zk_mkl_takes(g.m, g.n, g.k);
    g.may_cut_k = g.ta && y->ndim == 2;
    choose_blocks(&g);
    return g;
}

/* matmul: y = a b.  out y(..., m, n)  in a(..., m, k) or (..., k, m), b(..., k, n) or (..., n, k)
 * attr transpose_a, transpose_b, by */
static void matmul(const zk_call *c) {
    gemm g = product(c, c->p[1], c->p[2]);
    g.y = c->p[0];
    take_scratch(&g);
    multiply(&g);
}

static int64_t matmul_scratch(const zk_call *c) {
    const gemm g = product(c, NULL, NULL);
    return scratch_bytes(c, &g);
}

/* A layer of one row of x for each row of y; w is as it is, or packed. */
static gemm layer(const zk_call *c, int64_t k, int64_t n, int act) {
    gemm g = {.call = c, .batch = 1};
    if (c->p) g.y = c->p[0], g.a = c->p[1], g.b = c->p[2], g.bias = c->p[3];
    if (c->p && c->nin == 4) g.residual = c->p[4];
    g.m = zk_span(c->a, 0, c->a->ndim - 1), g.k = k, g.n = n, g.act = act;
    return g;
}

/* The product of a dense call. */
static gemm dense_product(const zk_call *c) {
    gemm g = layer(c, c->a[2].dims[0], c->a[2].dims[1], (int)c->attr[ZK_DENSE_ACTIVATION]);
    turn_single_column(&g);
    set_strides(&g);
    g.mkl = c->attr[ZK_DENSE_BY] == ZK_MKL && c->a[2].dims[1] != 1;
    g.mkl = g.mkl && zk_mkl_takes(g.m, g.n, g.k);
    choose_blocks(&g);
    return g;
}

/* dense: y = act(x w + b [+ residual]).
 * out y(..., n)  in x(..., k), w(k, n), b(n), residual(..., n)  attr act, by */
static void dense(const zk_call *c) {
    gemm g = dense_product(c);
    take_scratch(&g);
    multiply(&g);
}

static int64_t dense_scratch(const zk_call *c) {
    const gemm g = dense_product(c);
    return scratch_bytes(c, &g);
}

/* dense_packed: y = act(x w + b [+ residual]).
 * out y(..., n)  in x(..., k), w(ceil(n / 16), k, 16), b(n), residual(..., n)  attr n, act */
static void dense_packed(const zk_call *c) {
    const int act = (int)c->attr[ZK_DENSE_PACKED_ACTIVATION];
    gemm g = layer(c, c->a[2].dims[1], (int64_t)c->attr[ZK_DENSE_PACKED_UNITS], act);
    g.packed = g.n != 1;
    if (!g.packed) { /* back to a plain column */
        float *column = (float *)c->scratch;
        for (int64_t t = 0; t < g.k; t++) column[t] = g.b[t * PANEL];
        g.b = column;
    }
    turn_single_column(&g);
    set_strides(&g);
    choose_blocks(&g);
    multiply(&g);
}

static int64_t dense_packed_scratch(const zk_call *c) {
    gemm g = layer(c, c->a[2].dims[1], (int64_t)c->attr[ZK_DENSE_PACKED_UNITS], 0);
    if (g.n == 1) return g.k * (int64_t)sizeof(float);
    set_strides(&g);
    return copied(&g) ? scratch_bytes(c, &g) : 0;
}

/* pack_dense: panels of 16 columns, zero padded.  out y(ceil(n / 16), k, 16)  in w(k, n) */
static void pack_dense(const zk_call *c) {
    const int64_t k = c->a[1].dims[0], n = c->a[1].dims[1];
    float *y = c->p[0];
    const float *w = c->p[1];
    for (int64_t p = 0; p < panels(n); p++)
        pack_rows(w + p * PANEL, n, k, zk_min(n - p * PANEL, PANEL), y + p * k * PANEL);
}

const zk_kernel ZK_TABLE(gemm)[] = {{"matmul", matmul, matmul_scratch},
                                    {"dense", dense, dense_scratch},
                                    {"dense_packed", dense_packed, dense_packed_scratch},
                                    {"pack_dense", pack_dense, NULL},
                                    {0}};
